//! Traffic in memory, and the same rankings computed with hash maps.
#![allow(dead_code, missing_docs, reason = "each test file uses its part")]

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Duration, TimeZone, Utc};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidemark_insight::{
    AuthorRow, Metric, ModelRow, Policy, ProviderRow, Ranking, RankingQuery, Rankings,
    register_catalog_rows, register_volumes,
};

/// One partial of `accounts_by_day`.
#[derive(Debug, Clone)]
pub struct Fact {
    pub days_ago: i64,
    pub account: String,
    pub app: String,
    pub model: String,
    pub free: bool,
    pub provider: String,
    pub simulated: bool,
    pub requests: i64,
    pub prompt: i64,
    pub completion: i64,
    pub cost: i64,
}

pub fn fact(model: &str, account: &str, tokens: i64) -> Fact {
    Fact {
        days_ago: 0,
        account: account.to_owned(),
        app: "cli".to_owned(),
        model: model.to_owned(),
        free: false,
        provider: "north".to_owned(),
        simulated: false,
        requests: 1,
        prompt: tokens / 3,
        completion: tokens - tokens / 3,
        cost: tokens * 7,
    }
}

/// Noon of a fixed day.
pub fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap()
}

pub fn context(facts: &[Fact]) -> SessionContext {
    context_in("UTC", facts)
}

/// The tables, with days stored in one of the two spellings of UTC, over two partitions.
pub fn context_in(zone: &str, facts: &[Fact]) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let day = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
    let names = ["account_id", "app", "model", "variant", "provider"];
    let counts = [
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "cached_tokens",
        "cost_nanousd",
    ];
    let mut fields = vec![Field::new("day", day, false)];
    fields.extend(names.map(|name| Field::new(name, DataType::Utf8, false)));
    fields.push(Field::new("simulated", DataType::Boolean, false));
    fields.extend(counts.map(|name| Field::new(name, DataType::Int64, false)));
    let schema = Arc::new(Schema::new(fields));
    let batch = |facts: &[Fact]| {
        let text = |of: &dyn Fn(&Fact) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(facts.iter().map(of)))
        };
        let count = |of: &dyn Fn(&Fact) -> i64| -> ArrayRef {
            Arc::new(facts.iter().map(of).collect::<Int64Array>())
        };
        let days: TimestampMicrosecondArray = facts
            .iter()
            .map(|fact| {
                Some(
                    (now() - Duration::hours(12) - Duration::days(fact.days_ago))
                        .timestamp_micros(),
                )
            })
            .collect();
        let simulated: BooleanArray = facts.iter().map(|fact| Some(fact.simulated)).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(days.with_timezone(zone)),
            text(&|f| f.account.clone()),
            text(&|f| f.app.clone()),
            text(&|f| f.model.clone()),
            text(&|f| {
                if f.free {
                    "free".to_owned()
                } else {
                    String::new()
                }
            }),
            text(&|f| f.provider.clone()),
            Arc::new(simulated),
            count(&|f| f.requests),
            count(&|f| f.prompt),
            count(&|f| f.completion),
            count(&|_| 0),
            count(&|_| 0),
            count(&|f| f.cost),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    let (left, right) = facts.split_at(facts.len() / 2);
    register_volumes(&context, &[batch(left), batch(right)]).unwrap();
    register_catalog_rows(&context, models(), authors(), providers()).unwrap();
    context
}

pub fn models() -> Vec<ModelRow> {
    let row = |model: &str, author: &str, open: Option<bool>, country: &str| ModelRow {
        model: model.to_owned(),
        author: author.to_owned(),
        name: format!("The {model}"),
        open_weights: open,
        country: country.to_owned(),
    };
    vec![
        row("alder/one", "alder", Some(true), "FR"),
        row("alder/two", "alder", Some(false), "FR"),
        row("birch/large", "birch", Some(true), "CN"),
        row("cedar/mini", "cedar", None, ""),
        // A second row of one key must not double that key's traffic.
        row("birch/large", "birch", Some(false), "US"),
    ]
}

fn authors() -> Vec<AuthorRow> {
    ["alder", "birch"]
        .map(|author| AuthorRow {
            author: author.to_owned(),
            name: author.to_uppercase(),
            country: String::new(),
        })
        .to_vec()
}

fn providers() -> Vec<ProviderRow> {
    vec![ProviderRow {
        provider: "north".to_owned(),
        name: "North".to_owned(),
        country: "NO".to_owned(),
    }]
}

/// Pseudo-random traffic over 40 days: several partials per key, small models, idle apps, requests that reached nobody.
pub fn traffic(mut seed: u64) -> Vec<Fact> {
    let mut next = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let models = [
        "alder/one",
        "alder/two",
        "birch/large",
        "cedar/mini",
        "dogwood/tiny",
        "elm/rare",
        "bare",
        "",
    ];
    let apps = ["cli", "editor", "chat", "", "tiny"];
    let providers = ["north", "south", "east", ""];
    let mut facts = Vec::new();
    for _ in 0..3_000 {
        let model = models[next(models.len() as u64) as usize];
        let account = if model == "elm/rare" {
            next(4)
        } else {
            next(60)
        };
        let tokens = if account == 7 {
            next(3_000_000)
        } else {
            next(40_000)
        };
        facts.push(Fact {
            days_ago: next(40) as i64,
            account: format!("account-{account}"),
            app: apps[next(apps.len() as u64) as usize].to_owned(),
            free: next(5) == 0,
            provider: providers[next(providers.len() as u64) as usize].to_owned(),
            simulated: next(3) == 0,
            requests: 1 + next(9) as i64,
            cost: if next(4) == 0 { 0 } else { tokens as i64 * 11 },
            ..fact(model, "", tokens as i64)
        });
    }
    facts
}

/// What a board's SQL says about one fact: its key.
pub fn key_of(ranking: &str, by: &str, fact: &Fact) -> String {
    let known = models().into_iter().find(|row| row.model == fact.model);
    let author = || {
        let before = fact.model.split('/').next().unwrap_or_default().to_owned();
        known.as_ref().map_or(before, |row| row.author.clone())
    };
    match (ranking, by) {
        (_, _) if fact.model.is_empty() && !matches!(ranking, "providers" | "apps") => {
            String::new()
        }
        ("models" | "trending", _) if fact.free => format!("{}:free", fact.model),
        ("models" | "trending", _) => fact.model.clone(),
        ("authors", _) | ("share", "author") => author(),
        ("providers", _) => fact.provider.clone(),
        ("apps", _) => fact.app.clone(),
        ("share", "country") => known
            .map(|row| row.country)
            .filter(|country| !country.is_empty())
            .unwrap_or("unknown".to_owned()),
        ("share", _) => match known.and_then(|row| row.open_weights) {
            Some(true) => "open".to_owned(),
            Some(false) => "closed".to_owned(),
            None => "unknown".to_owned(),
        },
        other => panic!("no oracle for {other:?}"),
    }
}

/// An expected line: rank, key, tokens, requests, spend, accounts, capped tokens.
pub type Line = (Option<u32>, String, i64, i64, i64, i64, i64);

#[derive(Default, Clone)]
struct Cell {
    by_account: BTreeMap<String, (i64, i64, i64)>,
}

impl Cell {
    fn add(&mut self, fact: &Fact) {
        let volume = self.by_account.entry(fact.account.clone()).or_default();
        volume.0 += fact.prompt + fact.completion;
        volume.1 += fact.requests;
        volume.2 += fact.cost;
    }
    fn tokens(&self) -> i64 {
        self.by_account.values().map(|volume| volume.0).sum()
    }
    fn requests(&self) -> i64 {
        self.by_account.values().map(|volume| volume.1).sum()
    }
    fn spend(&self) -> i64 {
        self.by_account.values().map(|volume| volume.2).sum()
    }
    fn capped(&self, cap: i64) -> i64 {
        self.by_account
            .values()
            .map(|volume| volume.0.min(cap))
            .sum()
    }
    fn accounts(&self) -> i64 {
        self.by_account.len() as i64
    }
    fn value(&self, metric: Metric, cap: i64) -> i64 {
        match metric {
            Metric::Tokens => self.tokens(),
            Metric::Requests => self.requests(),
            Metric::Spend => self.spend(),
            Metric::Accounts => self.accounts(),
            Metric::Capped => self.capped(cap),
        }
    }
}

/// The ranking, computed with maps: keys to accounts to sums.
pub fn oracle(facts: &[Fact], query: &RankingQuery, policy: &Policy) -> Vec<Line> {
    let cap = policy.cap_tokens as i64;
    let by = query.by.unwrap_or_default();
    let days = query.period.days().map_or(i64::MAX, |days| days as i64);
    let mut windows: Vec<BTreeMap<String, Cell>> = vec![BTreeMap::new(); 4];
    for fact in facts {
        let ago = fact.days_ago / days;
        if ago < 4 {
            let key = key_of(&query.ranking, by.as_str(), fact);
            windows[ago as usize].entry(key).or_default().add(fact);
        }
    }
    let trending = query.ranking == "trending";
    let empty = Cell::default();
    let mut listed = Vec::new();
    let mut folded = Vec::new();
    let keys: BTreeSet<&String> = windows.iter().flat_map(BTreeMap::keys).collect();
    for key in keys {
        let cell = windows[0].get(key).unwrap_or(&empty);
        let value = cell.value(query.metric, cap);
        let before: i64 = windows[1..]
            .iter()
            .map(|window| window.get(key).unwrap_or(&empty).value(query.metric, cap))
            .sum();
        let score = if trending { 3 * value - before } else { value };
        let top = cell
            .by_account
            .values()
            .map(|volume| volume.0)
            .max()
            .unwrap_or(0);
        let shown = !key.is_empty()
            && score > 0
            && cell.accounts() >= i64::from(policy.min_accounts)
            && top as f64 <= policy.dominance * cell.tokens() as f64;
        if shown {
            listed.push((score, key.clone(), cell.clone()));
        } else if !trending || score > 0 {
            folded.push(cell.clone());
        }
    }
    listed.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let beyond = listed.split_off(listed.len().min(query.limit as usize));
    folded.extend(beyond.into_iter().map(|(_, _, cell)| cell));
    let line = |rank, key: String, cell: &Cell| {
        (
            rank,
            key,
            cell.tokens(),
            cell.requests(),
            cell.spend(),
            cell.accounts(),
            cell.capped(cap),
        )
    };
    let mut lines: Vec<Line> = listed
        .iter()
        .enumerate()
        .map(|(position, (_, key, cell))| line(Some(position as u32 + 1), key.clone(), cell))
        .collect();
    let accounts: BTreeSet<&String> = folded
        .iter()
        .flat_map(|cell| cell.by_account.keys())
        .collect();
    if folded
        .iter()
        .map(|cell| cell.value(query.metric, cap))
        .sum::<i64>()
        > 0
    {
        lines.push((
            None,
            "other".to_owned(),
            folded.iter().map(Cell::tokens).sum(),
            folded.iter().map(Cell::requests).sum(),
            folded.iter().map(Cell::spend).sum(),
            accounts.len() as i64,
            folded.iter().map(|cell| cell.capped(cap)).sum(),
        ));
    }
    lines
}

pub fn lines(ranking: &Ranking) -> Vec<Line> {
    ranking
        .rows
        .iter()
        .map(|r| {
            (
                r.rank,
                r.key.clone(),
                r.tokens,
                r.requests,
                r.spend_nanousd,
                r.accounts,
                r.capped_tokens,
            )
        })
        .collect()
}

pub fn query(ranking: &str) -> RankingQuery {
    RankingQuery {
        now: Some(now()),
        ..RankingQuery::of(ranking)
    }
}

pub fn rankings(policy: Policy) -> Rankings {
    Rankings::embedded(policy).unwrap()
}

pub async fn ask(facts: &[Fact], policy: Policy, query: &RankingQuery) -> Ranking {
    rankings(policy)
        .answer(&context(facts), now(), query)
        .await
        .unwrap()
}

/// The same traffic from each of `count` accounts.
pub fn spread(model: &str, count: usize, tokens: i64) -> Vec<Fact> {
    (0..count)
        .map(|account| fact(model, &format!("account-{account}"), tokens))
        .collect()
}
