//! Rankings over the lake's rollup tables.
//!
//! A ranking's way: a [`Snapshot`] of the lake gives a session in which the rollups and the catalog
//! ([`register_catalog`]) are tables. [`Rankings`] plans the board's own SQL over them, for example
//! `pipelines/rankings/models.sql`, which says for every row which key it counts for. `_accounts.sql`
//! sums that by key and account, `_fold.sql` ranks the keys, hides small and dominated ones in `other`,
//! and `_totals.sql` says how much there was in all.
//!
//! No formula is written in Rust: a file added to `pipelines/rankings` is a new leaderboard. Rust
//! validates the [`RankingQuery`], computes where its window begins, binds the parameters, reads the
//! result and keeps it for as long as the lake does not change.

mod boards;
mod catalog;
mod decode;
mod error;
mod query;
mod ranking;
mod rankings;
mod shape;
mod source;

pub use catalog::{AuthorRow, ModelRow, ProviderRow, register_catalog, register_catalog_rows};
pub use error::InsightError;
pub use query::{By, MAX_LIMIT, Metric, Period, Policy, RankingQuery, Window};
pub use ranking::{Meta, Ranking, Row, Totals};
pub use rankings::Rankings;
pub use source::{Snapshot, Source};

/// The tables that boards read: what a [`Source`] has to hold beside the catalog.
pub const RANKED: [&str; 1] = ["accounts_by_day"];
