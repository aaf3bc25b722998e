//! What the data folder keeps of keys and accounts: `keys.json`, and the salt of the hashes that stand for accounts.

use super::KeysError;
use super::limit::Limit;
use crate::policy::Policy;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

const FILE: &str = "keys.json";
const SALT: &str = "account-salt";

/// What holds for a key, or for an account over all its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terms {
    /// What may be used.
    #[serde(skip_serializing_if = "is_default")]
    pub policy: Policy,
    /// Limits at which requests are refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// Limits at which answers carry a warning.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub soft_limits: Vec<Limit>,
}

/// A key as the file keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredKey {
    /// First characters of the hash: names the key for people.
    pub id: String,
    /// Hex SHA-256 of the key.
    pub sha256: String,
    /// The account it belongs to.
    pub account: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<DateTime<Utc>>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// From when on it is not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime<Utc>>,
    /// Whether it belongs to a gateway, which says whose its events are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gateway: bool,
    /// What holds for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub terms: Terms,
}

/// All of `keys.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    pub(super) keys: Vec<StoredKey>,
    /// By the name of the account.
    #[serde(default)]
    pub(super) accounts: BTreeMap<String, Terms>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads the file; without one there are no keys.
pub(super) fn read(dir: &Path) -> Result<Stored, KeysError> {
    let bytes = match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::default()),
        Err(source) => return Err(KeysError::io(FILE, "read")(source)),
    };
    // Before accounts had terms, the file was the list of keys alone.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let keys = serde_json::from_slice(&bytes).map_err(|_| KeysError::Damaged)?;
        return Ok(Stored {
            keys,
            ..Stored::default()
        });
    }
    serde_json::from_slice(&bytes).map_err(|_| KeysError::Damaged)
}

/// Changes the file, whole or not at all. Of two processes that want to, one waits for the other.
pub(super) fn change<T>(
    dir: &Path,
    change: impl FnOnce(&mut Stored) -> Result<T, KeysError>,
) -> Result<T, KeysError> {
    // The salt is always there and never replaced, which makes it a good thing to hold on to.
    let turn = File::open(dir.join(SALT)).map_err(KeysError::io(SALT, "read"))?;
    turn.lock().map_err(KeysError::io(SALT, "locked"))?;
    let mut stored = read(dir)?;
    let done = change(&mut stored)?;
    let text = serde_json::to_vec_pretty(&stored).map_err(|_| KeysError::Damaged)?;
    private(&dir.join(FILE), &text).map_err(KeysError::io(FILE, "written"))?;
    Ok(done)
}

/// Which file it is that stands there now: another one after each change.
pub(super) fn version(dir: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(dir.join(FILE))
        .and_then(|about| about.modified())
        .ok()
}

/// Reads the salt of the account hashes, or makes it.
pub(super) fn salt(dir: &Path) -> Result<[u8; 32], KeysError> {
    let file = dir.join(SALT);
    match std::fs::read(&file) {
        Ok(bytes) => bytes.try_into().map_err(|_| KeysError::Damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut salt = [0_u8; 32];
            rand::fill(&mut salt);
            private(&file, &salt).map_err(KeysError::io(SALT, "written"))?;
            Ok(salt)
        }
        Err(error) => Err(KeysError::io(SALT, "read")(error)),
    }
}

/// Writes a file that only its owner reads, whole or not at all.
pub(super) fn private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&draft)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(draft, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
