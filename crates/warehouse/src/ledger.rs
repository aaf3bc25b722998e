//! What has been loaded, as it stands in ClickHouse beside the rows.

use crate::schema::{self, LEDGER};
use crate::{Server, WarehouseError};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tidemark_lake::{DataFile, TableSpec};

/// What is known to be in one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// The table's own id: one that is made anew has another, and an empty ledger.
    table_id: String,
    lake_table: String,
    /// By path: the day.
    files: BTreeMap<String, String>,
    /// The newest commit that a line is from: those up to the one before are in.
    pub version: u64,
    /// Lines in ClickHouse, more than `files` where some were written twice.
    lines: usize,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Line {
    day: String,
    path: String,
    version: u64,
}

/// Lines beyond the table's files at which the old ones are cleared.
const SPARE: usize = 20_000;

impl Server {
    /// The ledger of a table.
    pub(crate) async fn ledger(&self, spec: &TableSpec) -> Result<Ledger, WarehouseError> {
        let table = schema::stored(spec);
        let sql = format!(
            "SELECT toString(uuid) AS id FROM system.tables WHERE database = '{}' AND name = '{table}'",
            self.database
        );
        let ids: Vec<Id> = self.rows(&format!("the id of {table}"), &sql).await?;
        let Some(Id { id }) = ids.into_iter().next() else {
            return Err(WarehouseError::Missing { table });
        };
        let sql = format!("SELECT day, path, version FROM {LEDGER} WHERE table_id = '{id}'");
        let lines: Vec<Line> = self.rows("the ledger", &sql).await?;
        Ok(Ledger {
            table_id: id,
            lake_table: spec.name.clone(),
            version: lines.iter().map(|line| line.version).max().unwrap_or(0),
            lines: lines.len(),
            files: lines
                .into_iter()
                .map(|line| (line.path, line.day))
                .collect(),
        })
    }

    /// Writes that these files are in.
    pub(crate) async fn book(
        &self,
        ledger: &mut Ledger,
        files: &[(DataFile, u64)],
    ) -> Result<(), WarehouseError> {
        if files.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for (file, version) in files {
            let line = serde_json::json!({
                "table_id": ledger.table_id,
                "lake_table": ledger.lake_table,
                "day": file.date,
                "path": file.path,
                "version": version,
            });
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        let columns = "table_id, lake_table, day, path, version";
        let sql = format!("INSERT INTO {LEDGER} ({columns}) FORMAT JSONEachRow");
        self.insert("the ledger", &self.here(), &sql, lines.into())
            .await?;
        ledger.lines += files.len();
        for (file, version) in files {
            ledger.files.insert(file.path.clone(), file.date.clone());
            ledger.version = ledger.version.max(*version);
        }
        Ok(())
    }

    /// Writes that nothing of a day is in. Its lines are gone when this returns.
    pub(crate) async fn strike(
        &self,
        ledger: &mut Ledger,
        day: &str,
    ) -> Result<(), WarehouseError> {
        let sql = format!(
            "DELETE FROM {LEDGER} WHERE table_id = '{}' AND day = '{day}'",
            ledger.table_id
        );
        self.run("the ledger", &sql).await?;
        ledger.files.retain(|_, of| of != day);
        Ok(())
    }

    /// Forgets files that were put together with others since, once there are many of them.
    pub(crate) async fn clear(
        &self,
        ledger: &mut Ledger,
        files: &[DataFile],
        version: u64,
    ) -> Result<(), WarehouseError> {
        if ledger.lines < files.len() + SPARE {
            return Ok(());
        }
        let current: Vec<(DataFile, u64)> =
            files.iter().map(|file| (file.clone(), version)).collect();
        self.book(ledger, &current).await?;
        let sql = format!(
            "DELETE FROM {LEDGER} WHERE table_id = '{}' AND version < {version}",
            ledger.table_id
        );
        self.run("the ledger", &sql).await?;
        let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        ledger.files.retain(|path, _| paths.contains(path.as_str()));
        ledger.lines = files.len();
        Ok(())
    }
}

impl Ledger {
    /// Whether a file's rows are in.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Whether nothing is in.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The days of which something is in.
    pub fn days(&self) -> BTreeSet<&str> {
        self.files.values().map(String::as_str).collect()
    }
}
