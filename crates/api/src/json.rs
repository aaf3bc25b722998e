//! Rankings as JSON. Token totals are strings: they outgrow what every client can hold in a number.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tidemark_insight::{Meta, Ranking, Row, Totals};

/// `{"data": [...], "meta": {...}}`.
#[derive(Debug, Serialize)]
pub(crate) struct Body<'a> {
    data: Vec<Line<'a>>,
    meta: About<'a>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    rank: Option<u32>,
    key: &'a str,
    name: &'a str,
    /// The names under which clients of other routers look for the key.
    #[serde(flatten)]
    also: Also<'a>,
    #[serde(serialize_with = "as_text")]
    total_tokens: i64,
    total_requests: i64,
    total_cost: f64,
    spend_nanousd: i64,
    accounts: i64,
    #[serde(serialize_with = "as_text")]
    capped_tokens: i64,
    simulated_requests: i64,
    share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth_percent: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Also<'a> {
    Model { model_permaslug: &'a str },
    App { app_id: &'a str, app_name: &'a str },
    Nothing {},
}

#[derive(Debug, Serialize)]
struct About<'a> {
    version: &'static str,
    ranking: &'a str,
    as_of: String,
    period: &'static str,
    since: Option<String>,
    until: String,
    metric: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    limit: u32,
    min_accounts: u32,
    dominance: f64,
    #[serde(serialize_with = "as_text")]
    cap_tokens: u64,
    totals: InAll,
    simulated_share: f64,
}

#[derive(Debug, Serialize)]
struct InAll {
    #[serde(serialize_with = "as_text")]
    total_tokens: i64,
    total_requests: i64,
    total_cost: f64,
    spend_nanousd: i64,
    accounts: i64,
    #[serde(serialize_with = "as_text")]
    capped_tokens: i64,
    simulated_requests: i64,
}

impl<'a> Body<'a> {
    pub(crate) fn of(ranking: &'a Ranking) -> Self {
        Self {
            data: ranking
                .rows
                .iter()
                .map(|row| line(&ranking.meta.ranking, row))
                .collect(),
            meta: about(&ranking.meta, &ranking.totals),
        }
    }
}

fn line<'a>(ranking: &str, row: &'a Row) -> Line<'a> {
    let also = match ranking {
        "models" | "trending" => Also::Model {
            model_permaslug: &row.key,
        },
        "apps" => Also::App {
            app_id: &row.key,
            app_name: &row.name,
        },
        _ => Also::Nothing {},
    };
    Line {
        rank: row.rank,
        key: &row.key,
        name: &row.name,
        also,
        total_tokens: row.tokens,
        total_requests: row.requests,
        total_cost: dollars(row.spend_nanousd),
        spend_nanousd: row.spend_nanousd,
        accounts: row.accounts,
        capped_tokens: row.capped_tokens,
        simulated_requests: row.simulated_requests,
        share: row.share,
        growth: row.growth,
        growth_percent: row.growth_percent,
    }
}

fn about<'a>(meta: &'a Meta, totals: &Totals) -> About<'a> {
    About {
        version: "v1",
        ranking: &meta.ranking,
        as_of: time(meta.as_of),
        period: meta.period.as_str(),
        since: meta.since.map(time),
        until: time(meta.until),
        metric: meta.metric.as_str(),
        by: meta.by.map(|by| by.as_str()),
        limit: meta.limit,
        min_accounts: meta.min_accounts,
        dominance: meta.dominance,
        cap_tokens: meta.cap_tokens,
        totals: InAll {
            total_tokens: totals.tokens,
            total_requests: totals.requests,
            total_cost: dollars(totals.spend_nanousd),
            spend_nanousd: totals.spend_nanousd,
            accounts: totals.accounts,
            capped_tokens: totals.capped_tokens,
            simulated_requests: totals.simulated_requests,
        },
        simulated_share: totals.simulated_share,
    }
}

/// Dollars for eyes; the exact amount stands beside it in nano-dollars.
pub(crate) fn dollars(nanousd: i64) -> f64 {
    nanousd as f64 / 1e9
}

/// A UTC time to the millisecond.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    number: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}
