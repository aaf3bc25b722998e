//! Rankings over the lake's rollup tables, and statistics of who serves.
//!
//! A ranking's way: a [`Snapshot`] of the lake gives a session in which the rollups and the catalog
//! are tables, each as anyone may see it ([`publish`]). [`Rankings`] plans the board's own SQL over them, for example
//! `pipelines/rankings/models.sql`, which says for every flow (an app's requests for a model to a provider) which key it
//! counts for. `_cells.sql` makes numbered cells of the keys, `_accounts.sql` sums volumes by cell and account, `_places.sql`
//! ranks the cells, `_fold.sql` puts small and dominated ones in `other`, and `_totals.sql` says how much there was in all.
//!
//! [`Statistics`] has one file, `pipelines/statistics/measures.sql`, for endpoints, providers and models; the [`Directory`] is what
//! the catalog says of them.
//!
//! No formula is written in Rust: a file added to `pipelines/rankings` is a new leaderboard. Rust
//! validates the [`RankingQuery`], computes where its window begins, binds the parameters, reads the
//! result and keeps it for as long as the lake does not change.

mod boards;
mod catalog;
mod decode;
mod directory;
mod error;
mod measure;
mod public;
mod query;
mod ranking;
mod rankings;
mod session;
mod shape;
mod source;
mod statistics;
mod volumes;

pub use catalog::{AuthorRow, ModelRow, ProviderRow, register_catalog_rows};
pub use directory::{Directory, EndpointEntry, ModelEntry, Pricing, ProviderEntry};
pub use error::InsightError;
pub use measure::Measure;
pub use public::publish;
pub use query::{By, MAX_LIMIT, Metric, Period, Policy, RankingQuery, Window};
pub use ranking::{Meta, Ranking, Row, Totals};
pub use rankings::Rankings;
pub use source::{Snapshot, Source};
pub use statistics::{ENOUGH_ATTEMPTS, Statistics, Subject, measures};
pub use volumes::register_volumes;

use tidemark_lake::Held;

/// What boards and statistics read: what a [`Source`] has to hold beside the catalog.
pub fn held() -> Vec<Held> {
    let mut held = vec![volumes::held()];
    held.extend(Statistics::held());
    held
}
