//! `tidemark keys`: make, end and list the keys of a data folder. A running router sees the change within a second.

use crate::KeysCommand;
use crate::config::Config;
use crate::output::{self, Format, line};
use anyhow::{Context, Result};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use std::sync::Arc;
use tidemark_router::keys::Keys;

/// Runs one of the commands.
pub fn run(config: &Config, command: KeysCommand) -> Result<()> {
    let dir = &config.data_dir;
    std::fs::create_dir_all(dir).with_context(|| {
        format!(
            "the data folder {} cannot be made: choose another with --data-dir",
            dir.display()
        )
    })?;
    let keys = Keys::open(dir)?;
    match command {
        KeysCommand::Create { account, format } => {
            let (stored, key) = keys.create(&account)?;
            match format.as_str() {
                "text" => line(key),
                "json" => line(
                    serde_json::json!({"id": stored.id, "account": stored.account, "key": key}),
                ),
                _ => line(format!(
                    "{key}\n\nKey {} of the account {}. It is shown this once; `tidemark keys revoke {}` ends it.",
                    stored.id, stored.account, stored.id
                )),
            }
        }
        KeysCommand::Revoke { id } => {
            let revoked = keys.revoke(&id)?;
            line(format!(
                "Key {} of the account {} is revoked.",
                revoked.id, revoked.account
            ));
        }
        KeysCommand::List { format } => list(&keys, format)?,
    }
    Ok(())
}

fn list(keys: &Keys, format: Format) -> Result<()> {
    let keys = keys.list()?;
    let time = |time: chrono::DateTime<chrono::Utc>| {
        time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    };
    let column = |values: Vec<Option<String>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let rows = RecordBatch::try_from_iter([
        (
            "id",
            column(keys.iter().map(|key| Some(key.id.clone())).collect()),
        ),
        (
            "account",
            column(keys.iter().map(|key| Some(key.account.clone())).collect()),
        ),
        (
            "created",
            column(keys.iter().map(|key| Some(time(key.created))).collect()),
        ),
        (
            "revoked",
            column(keys.iter().map(|key| key.revoked.map(time)).collect()),
        ),
    ])?;
    output::rows(&rows.schema(), &[rows], format)
}
