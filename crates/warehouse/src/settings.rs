//! Where the warehouse is.

use crate::WarehouseError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The `[clickhouse]` section. Without a URL there is no warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarehouseSettings {
    /// Address of the HTTP interface, as `http://127.0.0.1:8123`; empty for no warehouse.
    pub url: String,
    /// Database; made if it is not there.
    pub database: String,
    /// User; empty for the server's default.
    pub user: String,
    /// File that holds the password, so that no setting does.
    pub password_file: PathBuf,
    /// Milliseconds between looks for new files of the lake.
    pub follow_every_ms: u64,
    /// Days for which ClickHouse keeps raw events; 0 for as long as the lake. Rollups are kept.
    pub raw_days: u32,
}

impl Default for WarehouseSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            database: "tidemark".to_owned(),
            user: String::new(),
            password_file: PathBuf::new(),
            follow_every_ms: 1000,
            raw_days: 0,
        }
    }
}

impl WarehouseSettings {
    /// Whether there is a warehouse.
    pub fn is_set(&self) -> bool {
        !self.url.is_empty()
    }

    /// The password, read now.
    pub(crate) fn password(&self) -> Result<String, WarehouseError> {
        if self.password_file.as_os_str().is_empty() {
            return Ok(String::new());
        }
        let file = &self.password_file;
        let text = std::fs::read_to_string(file).map_err(|error| {
            WarehouseError::Settings(format!(
                "the clickhouse.password_file {} cannot be read: {error}",
                file.display()
            ))
        })?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Says what makes no sense.
    ///
    /// # Errors
    /// The first thing found.
    pub fn check(&self) -> Result<(), WarehouseError> {
        let plain = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            return Err(WarehouseError::Settings(
                "clickhouse.url must begin with http:// or https://, as http://127.0.0.1:8123"
                    .to_owned(),
            ));
        }
        if self.url.contains('@') || self.url.contains('?') {
            return Err(WarehouseError::Settings(
                "clickhouse.url must be an address only: the login is clickhouse.user and clickhouse.password_file"
                    .to_owned(),
            ));
        }
        if !plain(&self.database) {
            return Err(WarehouseError::Settings(
                "clickhouse.database must be of letters, digits and _ only".to_owned(),
            ));
        }
        Ok(())
    }
}
