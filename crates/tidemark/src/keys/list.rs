//! Keys and accounts, and how their limits stand. What was used is as the serving process last saved it, half a second ago
//! at most.

use crate::output::{self, Format, line};
use anyhow::Result;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use std::sync::Arc;
use tidemark_router::keys::admission::{Of, Reading};
use tidemark_router::keys::{Keys, StoredKey, Terms};
use tidemark_router::policy::Policy;

/// All keys.
pub fn keys(keys: &Keys, format: Format) -> Result<()> {
    let (all, accounts, now) = (keys.list()?, keys.accounts()?, Utc::now());
    let none = Terms::default();
    let mut rows = Rows::new([
        "id", "account", "name", "state", "created", "expires", "gateway", "limits", "policy",
    ]);
    for key in &all {
        let account = accounts.get(&key.account).unwrap_or(&none);
        let mut readings = keys.readings(Of::Key, &key.id, &key.terms);
        readings.extend(keys.readings(Of::Account, &key.account, account));
        rows.add([
            key.id.clone().into(),
            key.account.clone().into(),
            key.name.clone().into(),
            state(key, now).into(),
            time(key.created).into(),
            key.expires.map(time).into(),
            key.gateway.into(),
            limits(&readings, format)?,
            policy(&key.terms.policy, format)?,
        ]);
    }
    rows.print(format)
}

/// One account.
pub fn account(keys: &Keys, name: &str, format: Format) -> Result<()> {
    let terms = keys.accounts()?.remove(name).unwrap_or_default();
    let in_force = keys
        .list()?
        .iter()
        .filter(|key| key.account == name && key.revoked.is_none())
        .count();
    let readings = keys.readings(Of::Account, name, &terms);
    let mut rows = Rows::new(["account", "keys", "limits", "policy"]);
    rows.add([
        name.into(),
        in_force.into(),
        limits(&readings, format)?,
        policy(&terms.policy, format)?,
    ]);
    rows.print(format)
}

fn state(key: &StoredKey, now: DateTime<Utc>) -> &'static str {
    if key.revoked.is_some() {
        "revoked"
    } else if key.expires.is_some_and(|expires| expires <= now) {
        "expired"
    } else {
        "in force"
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// For programs as facts, for eyes a line for each limit: `3.2 of 10 USD/day`.
fn limits(readings: &[Reading], format: Format) -> Result<Value> {
    if format == Format::Json {
        return Ok(readings.iter().map(Reading::json).collect());
    }
    let lines = readings.iter().map(|reading| {
        let used = reading.limit.measure.amount(reading.used);
        let soft = if reading.hard { "" } else { ", soft" };
        let whose = match reading.of {
            Of::Key => "",
            Of::Account => ", account",
        };
        format!("{used} of {}{soft}{whose}", reading.limit)
    });
    Ok(lines.collect::<Vec<_>>().join("\n").into())
}

fn policy(policy: &Policy, format: Format) -> Result<Value> {
    if format == Format::Json {
        return Ok(serde_json::to_value(policy)?);
    }
    let list = |what: &str, names: &[String]| {
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    };
    let switch = |what: &str, on: bool| on.then(|| what.to_owned());
    let lines = [
        list("models", &policy.models),
        list("providers", &policy.providers),
        list("not", &policy.ignore),
        switch("zdr", policy.zdr),
        switch("no data collection", policy.deny_data_collection),
        switch("sampling", policy.sampling),
    ];
    Ok(lines
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
        .into())
}

/// Rows of named values.
struct Rows<const N: usize> {
    names: [&'static str; N],
    rows: Vec<[Value; N]>,
}

impl<const N: usize> Rows<N> {
    fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            rows: Vec::new(),
        }
    }

    fn add(&mut self, row: [Value; N]) {
        self.rows.push(row);
    }

    fn print(self, format: Format) -> Result<()> {
        if format == Format::Json {
            for row in self.rows {
                let names = self.names.iter().map(|name| (*name).to_owned());
                line(Value::Object(names.zip(row).collect::<Map<_, _>>()));
            }
            return Ok(());
        }
        let columns = self.names.iter().enumerate().map(|(at, name)| {
            let texts = self.rows.iter().map(|row| match &row[at] {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
            (*name, Arc::new(StringArray::from_iter(texts)) as ArrayRef)
        });
        let batch = RecordBatch::try_from_iter(columns)?;
        output::rows(&batch.schema(), &[batch], format)
    }
}
