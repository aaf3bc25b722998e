//! Making the tables, and seeing that those there are the ones that this version writes.

use crate::schema::{self, quoted};
use crate::{Server, WarehouseError};
use serde::Deserialize;
use tidemark_lake::{EVENTS, Merge, TableSpec};

#[derive(Deserialize)]
struct Column {
    name: String,
    r#type: String,
}

/// Whether two types are one: the server quotes names only where it must.
fn is_same(found: &str, wanted: &str) -> bool {
    found.replace('`', "") == wanted.replace('`', "")
}

impl Server {
    /// Makes the database, the tables and views that are not there yet, and columns of raw tables that are new; gives the names
    /// of what it made.
    ///
    /// # Errors
    /// When the server does not answer or refuses, or a table has other columns: [`WarehouseError::Drift`].
    pub async fn migrate(&self, specs: &[TableSpec]) -> Result<Vec<String>, WarehouseError> {
        self.check().await?;
        let database = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(&self.database));
        self.send(&self.client, "the database", &database).await?;
        self.run("the ledger", &schema::ledger()).await?;
        let mut made = Vec::new();
        for spec in specs {
            let name = schema::stored(spec);
            let found = self.columns(&name).await?;
            if found.is_empty() {
                self.run(&format!("the table {name}"), &schema::table(spec))
                    .await?;
                made.push(name);
            } else {
                made.extend(self.widen(spec, &found).await?);
            }
            if let Some(view) = schema::view(spec) {
                self.run(&format!("the view {}", schema::shown(spec)), &view)
                    .await?;
            }
            if spec.name == EVENTS {
                self.keep_raw(spec).await?;
            }
        }
        for function in schema::functions() {
            self.run("a function", function).await?;
        }
        Ok(made)
    }

    /// Drops a table and what the ledger says of it; its view stays and is empty until the table is filled again.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub async fn remake(&self, spec: &TableSpec) -> Result<(), WarehouseError> {
        let name = schema::stored(spec);
        let sql = format!("DROP TABLE IF EXISTS {} SYNC", quoted(&name));
        self.run(&format!("dropping {name}"), &sql).await?;
        self.migrate(std::slice::from_ref(spec)).await?;
        Ok(())
    }

    async fn columns(&self, table: &str) -> Result<Vec<Column>, WarehouseError> {
        let sql = format!(
            "SELECT name, type FROM system.columns WHERE database = '{}' AND table = '{table}' ORDER BY position",
            self.database
        );
        self.rows(&format!("the columns of {table}"), &sql).await
    }

    /// Adds what is new; anything else that differs is an error.
    async fn widen(
        &self,
        spec: &TableSpec,
        found: &[Column],
    ) -> Result<Vec<String>, WarehouseError> {
        let table = schema::stored(spec);
        let drift = |detail: String| WarehouseError::Drift {
            table: table.clone(),
            lake_table: spec.name.clone(),
            detail,
        };
        let wanted = schema::columns(spec);
        let unknown = found
            .iter()
            .find(|column| wanted.iter().all(|(name, _)| *name != column.name));
        if let Some(column) = unknown {
            return Err(drift(format!("column {} is unknown here", column.name)));
        }
        let mut made = Vec::new();
        for (name, kind) in &wanted {
            match found.iter().find(|column| column.name == *name) {
                Some(column) if is_same(&column.r#type, kind) => {}
                Some(column) => {
                    let detail = format!("column {name} is {}, not {kind}", column.r#type);
                    return Err(drift(detail));
                }
                None if spec.merge == Merge::Keep => {
                    let sql = format!(
                        "ALTER TABLE {} ADD COLUMN {} {kind}",
                        quoted(&table),
                        quoted(name)
                    );
                    self.run(&format!("the column {table}.{name}"), &sql)
                        .await?;
                    made.push(format!("{table}.{name}"));
                }
                None => return Err(drift(format!("column {name} is missing"))),
            }
        }
        Ok(made)
    }

    /// How long raw events are kept there.
    async fn keep_raw(&self, spec: &TableSpec) -> Result<(), WarehouseError> {
        let table = quoted(&schema::stored(spec));
        let has = format!(
            "SELECT name, engine_full AS type FROM system.tables WHERE database = '{}' AND name = '{}' AND engine_full LIKE '% TTL %'",
            self.database,
            schema::stored(spec)
        );
        let has: Vec<Column> = self.rows("the time to live", &has).await?;
        let sql = match (self.raw_days, has.is_empty()) {
            (0, true) => return Ok(()),
            (0, false) => format!("ALTER TABLE {table} REMOVE TTL"),
            (days, _) => format!(
                "ALTER TABLE {table} MODIFY TTL toDateTime({}) + INTERVAL {days} DAY DELETE",
                quoted(&spec.window)
            ),
        };
        self.run("the time to live", &sql).await
    }
}
