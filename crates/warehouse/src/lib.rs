//! The warehouse: a copy of the lake in ClickHouse, for analysts' own tools and for queries that should not meet the router's machine.
//!
//! The lake is the truth. A [`Follower`] reads the log of each table and loads the Parquet files that commits have added,
//! byte for byte, each once; what it has loaded stands in a ledger beside the rows. A day that it cannot follow file by file, it
//! loads again as a whole. [`schema`] says what a table looks like there, [`Server::migrate`] makes it so.

mod error;
mod follow;
mod ledger;
mod load;
mod migrate;
mod read;
pub mod schema;
mod server;
mod settings;
mod warm;

pub use error::WarehouseError;
pub use follow::{Follower, Report};
pub use server::Server;
pub use settings::WarehouseSettings;
pub use warm::Warm;
