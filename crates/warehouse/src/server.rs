//! The server: statements with every setting that matters pinned, and nothing that waits for ever.

use crate::{WarehouseError, WarehouseSettings};
use clickhouse::Client;
use clickhouse::error::Error;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Duration;

/// For statements and questions.
pub(crate) const ANSWER: Duration = Duration::from_secs(120);

/// Defaults have moved between versions, and a profile may set others: what rows depend on is said with every statement.
pub(crate) const PINNED: &[(&str, &str)] = &[
    // An insert is done when its rows are in the table, and refused as a whole or not at all.
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    // A file is read in one order and cut into the same blocks each time: the token stands for these blocks.
    ("max_insert_threads", "1"),
    ("input_format_parallel_parsing", "0"),
    ("input_format_parquet_preserve_order", "1"),
    ("max_insert_block_size", "1048449"),
    ("min_insert_block_size_rows", "1048449"),
    ("min_insert_block_size_bytes", "1073741824"),
    // A column that is missing or null where none may be is an error, not a zero.
    ("input_format_parquet_allow_missing_columns", "0"),
    ("input_format_null_as_default", "0"),
    // Deleted is deleted when the statement ends.
    ("lightweight_deletes_sync", "2"),
    ("mutations_sync", "2"),
];

/// A ClickHouse server and a database on it.
#[derive(Clone)]
pub struct Server {
    pub(crate) client: Client,
    url: String,
    pub(crate) database: String,
    pub(crate) raw_days: u32,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// The server that the settings name. Nothing is sent yet.
    ///
    /// # Errors
    /// When they make no sense.
    pub fn new(settings: &WarehouseSettings) -> Result<Self, WarehouseError> {
        settings.check()?;
        let mut client = Client::default()
            .with_url(&settings.url)
            .with_product_info("tidemark", env!("CARGO_PKG_VERSION"));
        if !settings.user.is_empty() {
            client = client
                .with_user(&settings.user)
                .with_password(settings.password()?);
        }
        for (name, value) in PINNED {
            client = client.with_setting(*name, *value);
        }
        Ok(Self {
            client,
            url: settings.url.clone(),
            database: settings.database.clone(),
            raw_days: settings.raw_days,
        })
    }

    /// The client, with our database chosen.
    pub(crate) fn here(&self) -> Client {
        self.client.clone().with_database(&self.database)
    }

    /// The version of the server, which answers, and takes our settings.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<String, WarehouseError> {
        #[derive(serde::Deserialize)]
        struct Row {
            name: String,
            value: String,
        }
        let names: Vec<String> = PINNED.iter().map(|(name, _)| format!("'{name}'")).collect();
        let rows: Vec<Row> = self
            .ask(
                &self.client,
                "its settings",
                &format!(
                    "SELECT 'version' AS name, version() AS value UNION ALL \
                     SELECT name, value FROM system.settings WHERE name IN ({})",
                    names.join(", ")
                ),
            )
            .await?;
        let mut found: BTreeMap<String, String> =
            rows.into_iter().map(|row| (row.name, row.value)).collect();
        let version = found.remove("version").unwrap_or_default();
        for (name, wanted) in PINNED {
            match found.get(*name) {
                Some(value) if value == wanted => {}
                other => {
                    return Err(WarehouseError::Setting {
                        name: (*name).to_owned(),
                        found: other.cloned().unwrap_or_else(|| "nothing".to_owned()),
                        wanted: (*wanted).to_owned(),
                    });
                }
            }
        }
        Ok(version)
    }

    /// Runs a statement in our database.
    pub(crate) async fn run(&self, what: &str, sql: &str) -> Result<(), WarehouseError> {
        self.send(&self.here(), what, sql).await
    }

    pub(crate) async fn send(
        &self,
        client: &Client,
        what: &str,
        sql: &str,
    ) -> Result<(), WarehouseError> {
        let done = client.query(&literally(sql)).execute();
        self.in_time(what, ANSWER, done).await
    }

    /// The rows of a question to our database.
    pub(crate) async fn rows<T: DeserializeOwned>(
        &self,
        what: &str,
        sql: &str,
    ) -> Result<Vec<T>, WarehouseError> {
        self.ask(&self.here(), what, sql).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        client: &Client,
        what: &str,
        sql: &str,
    ) -> Result<Vec<T>, WarehouseError> {
        let answer = async {
            client
                .clone()
                .with_setting("output_format_json_quote_64bit_integers", "0")
                .query(&literally(sql))
                .fetch_bytes("JSONEachRow")?
                .collect()
                .await
        };
        let bytes = self.in_time(what, ANSWER, answer).await?;
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line).map_err(|error| WarehouseError::Answer {
                    what: what.to_owned(),
                    cause: error.to_string(),
                })
            })
            .collect()
    }

    pub(crate) async fn in_time<T>(
        &self,
        what: &str,
        limit: Duration,
        done: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, WarehouseError> {
        match tokio::time::timeout(limit, done).await {
            Ok(done) => done.map_err(|error| self.said(what, error)),
            Err(_) => Err(WarehouseError::Away {
                url: self.url.clone(),
                cause: format!("no answer to {what} within {} s", limit.as_secs()),
            }),
        }
    }

    /// What an error of the client means.
    pub(crate) fn said(&self, what: &str, error: Error) -> WarehouseError {
        match error {
            Error::BadResponse(message) => WarehouseError::Refused {
                what: what.to_owned(),
                message: message.trim().chars().take(400).collect(),
            },
            other => WarehouseError::Away {
                url: self.url.clone(),
                cause: with_causes(&other),
            },
        }
    }
}

/// The client takes a question mark for a place to fill.
fn literally(sql: &str) -> String {
    sql.replace('?', "??")
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
