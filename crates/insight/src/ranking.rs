//! A ranking as it is answered.

use crate::query::{By, Metric, Period};
use chrono::{DateTime, Utc};

/// An answered ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// By rank, `other` last.
    pub rows: Vec<Row>,
    /// What the window holds in all, shown or not.
    pub totals: Totals,
    /// What was asked, of which data, under which rules.
    pub meta: Meta,
}

/// One line of a ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// From 1; none for `other`.
    pub rank: Option<u32>,
    /// Model, author, provider, app: what the board ranks. `other` has no rank.
    pub key: String,
    /// The same for people.
    pub name: String,
    /// Prompt and completion tokens.
    pub tokens: i64,
    /// Client requests: the sample size.
    pub requests: i64,
    /// Nano-dollars.
    pub spend_nanousd: i64,
    /// Distinct accounts. They do not add up over rows.
    pub accounts: i64,
    /// Tokens, each account's up to the cap.
    pub capped_tokens: i64,
    /// Requests out of `requests` that were simulated or replayed with assigned models.
    pub simulated_requests: i64,
    /// Part of the total of what was ranked by, 0 to 1.
    pub share: f64,
    /// On boards that compare windows: this window minus the mean of the earlier ones.
    pub growth: Option<f64>,
    /// The same in percent of that mean; none where there was nothing before.
    pub growth_percent: Option<f64>,
}

/// What a window holds in all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Prompt and completion tokens.
    pub tokens: i64,
    /// Client requests.
    pub requests: i64,
    /// Nano-dollars.
    pub spend_nanousd: i64,
    /// Distinct accounts.
    pub accounts: i64,
    /// Tokens, each account's up to the cap in each cell.
    pub capped_tokens: i64,
    /// Simulated requests.
    pub simulated_requests: i64,
    /// The part of requests that was simulated, 0 to 1.
    pub simulated_share: f64,
}

/// How a ranking came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// The board.
    pub ranking: String,
    /// How far back.
    pub period: Period,
    /// What ranked.
    pub metric: Metric,
    /// What the shares are divided by, on boards that divide.
    pub by: Option<By>,
    /// Rows before `other`.
    pub limit: u32,
    /// Everything committed up to here is counted.
    pub as_of: DateTime<Utc>,
    /// Where the window begins; none if it holds everything.
    pub since: Option<DateTime<Utc>>,
    /// When the window was placed: its last day is this one.
    pub until: DateTime<Utc>,
    /// Cells of fewer accounts are in `other`.
    pub min_accounts: u32,
    /// So are cells in which one account has more than this share of the tokens.
    pub dominance: f64,
    /// The cap of `capped_tokens`.
    pub cap_tokens: u64,
}
