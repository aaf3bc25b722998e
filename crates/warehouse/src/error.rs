//! What can go wrong with the warehouse, each with the way out.

use tidemark_lake::LakeError;

/// An error of the warehouse. It never holds row content or a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarehouseError {
    /// No answer: not there, cut off, or too slow.
    #[error(
        "ClickHouse at {url} does not answer ({cause}): check [clickhouse] url and that the server runs; the lake keeps everything \
         and is followed from where this ended"
    )]
    Away {
        /// Address, without a login.
        url: String,
        /// What happened.
        cause: String,
    },
    /// The server refused a statement.
    #[error("ClickHouse refused {what}: {message}")]
    Refused {
        /// What was tried.
        what: String,
        /// Its own words.
        message: String,
    },
    /// The table has other columns than this version writes.
    #[error(
        "table {table} in ClickHouse is not as this version of Tidemark makes it ({detail}): `tidemark clickhouse rebuild --table {lake_table}` \
         makes it anew from the lake"
    )]
    Drift {
        /// Its name in ClickHouse.
        table: String,
        /// Its name in the lake.
        lake_table: String,
        /// First difference found.
        detail: String,
    },
    /// The table is not there.
    #[error("table {table} is not in ClickHouse: `tidemark clickhouse migrate` makes it")]
    Missing {
        /// Name.
        table: String,
    },
    /// A setting that rows depend on is not in force.
    #[error(
        "ClickHouse runs with {name} = {found}, not {wanted}: a profile of the user forbids to set it; rows could be lost or doubled"
    )]
    Setting {
        /// Its name.
        name: String,
        /// What the server says.
        found: String,
        /// What it has to be.
        wanted: String,
    },
    /// The settings do not make sense.
    #[error("{0}")]
    Settings(String),
    /// Rows that went in are not there.
    #[error(
        "day {day} of {table} has {found} rows in ClickHouse and {wanted} in the lake; it is not taken over, please report this"
    )]
    RowsLost {
        /// Table.
        table: String,
        /// UTC day.
        day: String,
        /// Rows loaded.
        found: i64,
        /// Rows in the files.
        wanted: i64,
    },
    /// The lake cannot be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// An answer that is none of ours.
    #[error("ClickHouse answered {what} with something else than rows: {cause}")]
    Answer {
        /// What was asked.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
}
