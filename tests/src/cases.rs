//! The golden cases in `pipelines/cases`: a recorded input, and the rankings that must come out of it.

use crate::Result;
use crate::traffic::{MODELS, event_of};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::path::PathBuf;
use tidemark_event::UsageEvent;
use tidemark_insight::{
    AuthorRow, By, Metric, ModelRow, Period, Policy, ProviderRow, Ranking, RankingQuery, Rankings,
    Row, held as held_together,
};
use tidemark_lake::Held;

/// Where the cases lie.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../pipelines/cases")
}

/// Whether to write the files anew instead of comparing with them.
pub fn update() -> bool {
    std::env::var_os("UPDATE_CASES").is_some_and(|value| value == "1")
}

/// What boards and statistics read, with every day by itself: for questions of times that are not now.
pub fn held() -> Vec<Held> {
    let held = held_together().into_iter();
    held.map(|mut held| {
        for cut in &mut held.cuts {
            cut.begins = Vec::new();
        }
        held
    })
    .collect()
}

/// 2025-11-18T12:00:00Z.
const BASE_US: i64 = 1_763_467_200_000_000;

/// The time at which the case's "today" is read: two days and an hour after its beginning.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(BASE_US + 49 * 3_600_000_000).unwrap_or_default()
}

/// About 400 events over 48 hours, with ties, a dominating account, a rare model and requests that reached nobody.
pub fn two_days() -> Vec<UsageEvent> {
    let step = 48 * 1200 / 400;
    (0..400_u64)
        .map(|n| {
            // The stream has an event every three seconds: take one in `step`, none of them before the beginning.
            let mut event = event_of("two_days", BASE_US, n * step);
            if event.ts.0 < BASE_US {
                event.ts.0 += 26 * 3_600_000_000;
                event.event_id = tidemark_event::EventId::derived(event.ts, b"two_days", n);
            }
            event.account_id = format!("account-{}", (n * n + n / 7) % 17);
            match event.model.as_str() {
                // One account has most of it.
                "dogwood/tiny" if n % 5 > 0 => event.account_id = "account-3".to_owned(),
                // Two accounts only.
                "elm/rare" => event.account_id = format!("account-{}", n % 2),
                // A tie in requests and tokens is possible only with round numbers.
                "alder/two" => {
                    (
                        event.prompt_tokens,
                        event.cached_tokens,
                        event.cache_write_tokens,
                    ) = (1000, 100, 50)
                }
                _ => {}
            }
            event.cost_prompt_nanousd = event.prompt_tokens * 7;
            event.cost_nanousd = event.cost_prompt_nanousd
                + event.cost_completion_nanousd
                + event.cost_request_nanousd;
            if n % 41 == 0 {
                event.model = String::new();
            }
            event
        })
        .collect()
}

/// One event as a line: fields in wire order, defaults left out.
pub fn line(event: &UsageEvent) -> Result<String> {
    let (of, default) = (
        serde_json::to_value(event)?,
        serde_json::to_value(UsageEvent::default())?,
    );
    let mut parts = Vec::new();
    for field in UsageEvent::FIELDS {
        if of.get(field) == default.get(field) {
            continue;
        }
        let text = match *field {
            "failed_attempts" => serde_json::to_string(&event.failed_attempts)?,
            field => serde_json::to_string(&of.get(field))?,
        };
        parts.push(format!("\"{field}\":{text}"));
    }
    Ok(format!("{{{}}}\n", parts.join(",")))
}

/// The events of an input file.
pub fn read(name: &str) -> Result<Vec<UsageEvent>> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.ndjson")))?;
    Ok(text
        .lines()
        .map(serde_json::from_str)
        .collect::<std::result::Result<_, _>>()?)
}

/// Three accounts, and a cap that some exceed.
pub fn policy() -> Policy {
    Policy {
        min_accounts: 3,
        dominance: 0.5,
        cap_tokens: 20_000,
    }
}

/// A catalog of its own, so that the real one may change. It does not know every model.
pub fn models() -> Vec<ModelRow> {
    let rows = [
        (MODELS[0], Some(true), "FR"),
        (MODELS[1], Some(false), "FR"),
        (MODELS[2], Some(true), "CN"),
        (MODELS[3], None, ""),
    ];
    let row = |(model, open_weights, country): (&str, Option<bool>, &str)| ModelRow {
        model: model.to_owned(),
        author: model.split('/').next().unwrap_or_default().to_owned(),
        name: format!("The {model}"),
        open_weights,
        country: country.to_owned(),
    };
    rows.into_iter().map(row).collect()
}

/// Authors of that catalog.
pub fn authors() -> Vec<AuthorRow> {
    vec![AuthorRow {
        author: "alder".to_owned(),
        name: "Alder Labs".to_owned(),
        country: "FR".to_owned(),
    }]
}

/// Providers of that catalog.
pub fn providers() -> Vec<ProviderRow> {
    vec![ProviderRow {
        provider: "north".to_owned(),
        name: "North".to_owned(),
        country: "NO".to_owned(),
    }]
}

/// Everything that is asked of one board.
pub fn questions(rankings: &Rankings, board: &str) -> Vec<RankingQuery> {
    let of = |period, metric, limit| RankingQuery {
        period,
        metric,
        limit,
        now: Some(now()),
        ..RankingQuery::of(board)
    };
    let mut asked: Vec<RankingQuery> = Vec::new();
    for metric in Metric::ALL {
        asked.extend([of(Period::Day, *metric, 50), of(Period::Week, *metric, 50)]);
    }
    asked.extend([
        of(Period::Week, Metric::Tokens, 2),
        of(Period::All, Metric::Tokens, 50),
    ]);
    // A board that divides by something is asked for every division.
    for by in By::ALL {
        asked.extend(Metric::ALL.iter().map(|metric| RankingQuery {
            by: Some(*by),
            ..of(Period::Week, *metric, 50)
        }));
    }
    // Boards that take no `by`, or have nothing to compare everything with, say so.
    asked.retain(|query| rankings.check(query).is_ok());
    asked
}

#[derive(Serialize)]
struct Line<'a> {
    rank: Option<u32>,
    key: &'a str,
    name: &'a str,
    tokens: i64,
    requests: i64,
    spend_nanousd: i64,
    accounts: i64,
    capped_tokens: i64,
    simulated_requests: i64,
    share: f64,
    growth: Option<f64>,
    growth_percent: Option<f64>,
}

impl<'a> From<&'a Row> for Line<'a> {
    fn from(row: &'a Row) -> Self {
        Self {
            rank: row.rank,
            key: &row.key,
            name: &row.name,
            tokens: row.tokens,
            requests: row.requests,
            spend_nanousd: row.spend_nanousd,
            accounts: row.accounts,
            capped_tokens: row.capped_tokens,
            simulated_requests: row.simulated_requests,
            share: row.share,
            growth: row.growth,
            growth_percent: row.growth_percent,
        }
    }
}

/// An answer as the expected files show it: one line per row, for reviewing.
pub fn text(query: &RankingQuery, ranking: &Ranking) -> Result<String> {
    let by = query
        .by
        .map_or("null".to_owned(), |by| format!("\"{}\"", by.as_str()));
    let t = &ranking.totals;
    let mut out = format!(
        "{{\"period\":\"{}\",\"metric\":\"{}\",\"by\":{by},\"limit\":{},\n \"totals\":{{\"tokens\":{},\"requests\":{},\"spend_nanousd\":{},\"accounts\":{},\"capped_tokens\":{},\"simulated_requests\":{}}},\n \"rows\":[",
        query.period.as_str(),
        query.metric.as_str(),
        query.limit,
        t.tokens,
        t.requests,
        t.spend_nanousd,
        t.accounts,
        t.capped_tokens,
        t.simulated_requests,
    );
    let rows = ranking
        .rows
        .iter()
        .map(|row| serde_json::to_string(&Line::from(row)))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    for (nth, row) in rows.iter().enumerate() {
        out.push_str(if nth == 0 { "\n  " } else { ",\n  " });
        out.push_str(row);
    }
    out.push_str("\n ]}");
    Ok(out)
}
