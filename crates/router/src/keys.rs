//! API keys and the accounts behind them.
//!
//! A key is shown once, when it is made; the file keeps its SHA-256. A key has 32 random bytes, so that a plain hash cannot
//! be searched. It is found by the first bytes of the hash and compared in constant time. Events carry a keyed hash of the
//! account, never its name.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use subtle::ConstantTimeEq;

/// What every key begins with.
pub const PREFIX: &str = "sk-tidemark-";
/// The demo's key. Anyone knows it; it is only taken where `up --demo` added it.
pub const DEMO_KEY: &str = "sk-tidemark-demo";
const FILE: &str = "keys.json";
const SALT: &str = "account-salt";

/// Why keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file system refused.
    #[error(
        "{what} in the data folder cannot be {verb}: check its owner and free space ({source})"
    )]
    Io {
        /// The file.
        what: &'static str,
        /// read or written.
        verb: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what this program writes.
    #[error(
        "keys.json in the data folder is damaged: restore it from a copy, or move it away and make new keys"
    )]
    Damaged,
    /// No key has this id.
    #[error("there is no key `{id}`: `tidemark keys list` shows them")]
    Unknown {
        /// The id asked for.
        id: String,
    },
    /// An account name that cannot be one.
    #[error("an account is named with 1 to 64 letters, digits, `-`, `_`, `.` or `@`")]
    Account,
}

/// A key as the file keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredKey {
    /// First characters of the hash: names the key for people.
    pub id: String,
    /// Hex SHA-256 of the key.
    pub sha256: String,
    /// The account it belongs to.
    pub account: String,
    /// When it was made.
    pub created: chrono::DateTime<chrono::Utc>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<chrono::DateTime<chrono::Utc>>,
}

/// The account of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Keyed hash, as events carry it.
    pub id: Arc<str>,
}

/// The keys of a data folder. Cheap to clone; a change of the file is seen after [`Keys::reload`].
#[derive(Clone)]
pub struct Keys {
    dir: PathBuf,
    salt: Arc<[u8; 32]>,
    by_start: Arc<RwLock<HashMap<[u8; 8], Vec<Known>>>>,
    /// When the file that is known was written.
    written: Arc<RwLock<Option<SystemTime>>>,
}

struct Known {
    hash: [u8; 32],
    account: Arc<str>,
}

impl Keys {
    /// Reads the keys of `dir`; a folder without any has none. Makes the salt of the account hashes when it is not there.
    ///
    /// # Errors
    /// [`KeysError`] when a file cannot be read, written or understood.
    pub fn open(dir: &Path) -> Result<Self, KeysError> {
        let keys = Self {
            dir: dir.to_owned(),
            salt: Arc::new(salt(dir)?),
            by_start: Arc::default(),
            written: Arc::default(),
        };
        keys.reload()?;
        Ok(keys)
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// As [`Keys::open`]; the keys known before stay.
    pub fn reload(&self) -> Result<(), KeysError> {
        *self.written.write().unwrap_or_else(PoisonError::into_inner) = self.file_time();
        let mut by_start: HashMap<[u8; 8], Vec<Known>> = HashMap::new();
        for key in read(&self.dir)?
            .into_iter()
            .filter(|key| key.revoked.is_none())
        {
            let hash = unhex(&key.sha256).ok_or(KeysError::Damaged)?;
            let known = Known {
                hash,
                account: self.account_hash(&key.account),
            };
            by_start.entry(start(&hash)).or_default().push(known);
        }
        *self
            .by_start
            .write()
            .unwrap_or_else(PoisonError::into_inner) = by_start;
        Ok(())
    }

    /// Reads the file again if it is another one than the one known, as after `tidemark keys create`.
    ///
    /// # Errors
    /// As [`Keys::reload`].
    pub fn refresh(&self) -> Result<(), KeysError> {
        if *self.written.read().unwrap_or_else(PoisonError::into_inner) == self.file_time() {
            Ok(())
        } else {
            self.reload()
        }
    }

    fn file_time(&self) -> Option<SystemTime> {
        std::fs::metadata(self.dir.join(FILE))
            .and_then(|about| about.modified())
            .ok()
    }

    /// The account of a key; none for an unknown or revoked one.
    pub fn account(&self, key: &str) -> Option<Account> {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let known = self.by_start.read().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&start(&hash))?
            .iter()
            .find(|known| bool::from(known.hash.ct_eq(&hash)))
            .map(|known| Account {
                id: Arc::clone(&known.account),
            })
    }

    /// Makes a key for an account; the text is shown now and never again.
    ///
    /// # Errors
    /// When the account's name is none, or the file cannot be written.
    pub fn create(&self, account: &str) -> Result<(StoredKey, String), KeysError> {
        let mut secret = [0_u8; 32];
        rand::fill(&mut secret);
        let key = format!("{PREFIX}{}", hex(&secret));
        Ok((self.add(account, &key)?, key))
    }

    /// Adds a key whose text is given, unless it is there.
    ///
    /// # Errors
    /// As [`Keys::create`].
    pub fn add(&self, account: &str, key: &str) -> Result<StoredKey, KeysError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if account.is_empty() || account.len() > 64 || !account.chars().all(fine) {
            return Err(KeysError::Account);
        }
        let sha256 = hex(&Sha256::digest(key.as_bytes()));
        let mut stored = read(&self.dir)?;
        if let Some(there) = stored
            .iter()
            .find(|there| there.sha256 == sha256 && there.revoked.is_none())
        {
            return Ok(there.clone());
        }
        let new = StoredKey {
            id: sha256[..12].to_owned(),
            sha256,
            account: account.to_owned(),
            created: chrono::Utc::now(),
            revoked: None,
        };
        stored.push(new.clone());
        write(&self.dir, &stored)?;
        self.reload()?;
        Ok(new)
    }

    /// Revokes a key by its id. Requests under way with it go on.
    ///
    /// # Errors
    /// When no such key is in force, or the file cannot be written.
    pub fn revoke(&self, id: &str) -> Result<StoredKey, KeysError> {
        let mut stored = read(&self.dir)?;
        let Some(key) = stored
            .iter_mut()
            .find(|key| key.id == id && key.revoked.is_none())
        else {
            return Err(KeysError::Unknown {
                id: id.chars().take(64).collect(),
            });
        };
        key.revoked = Some(chrono::Utc::now());
        let revoked = key.clone();
        write(&self.dir, &stored)?;
        self.reload()?;
        Ok(revoked)
    }

    /// All keys, also revoked ones.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<StoredKey>, KeysError> {
        read(&self.dir)
    }

    /// The keyed hash that stands for an account, or for another name that must not be seen.
    pub fn account_hash(&self, account: &str) -> Arc<str> {
        // HMAC would guard against length extension; a truncated hash with the key in front has no such weakness.
        let hash = Sha256::new()
            .chain_update(self.salt.as_slice())
            .chain_update(account.as_bytes())
            .finalize();
        Arc::from(hex(&hash[..16]))
    }

    /// A keyed hash over several parts; it differs from that of any account, whose name has no such length in front.
    pub(crate) fn keyed_hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new().chain_update(self.salt.as_slice());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

fn start(hash: &[u8; 32]) -> [u8; 8] {
    let mut start = [0; 8];
    start.copy_from_slice(&hash[..8]);
    start
}

fn salt(dir: &Path) -> Result<[u8; 32], KeysError> {
    let io = |verb| {
        move |source| KeysError::Io {
            what: SALT,
            verb,
            source,
        }
    };
    let file = dir.join(SALT);
    match std::fs::read(&file) {
        Ok(bytes) => bytes.try_into().map_err(|_| KeysError::Damaged),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut salt = [0_u8; 32];
            rand::fill(&mut salt);
            private(&file, &salt).map_err(io("written"))?;
            Ok(salt)
        }
        Err(error) => Err(io("read")(error)),
    }
}

fn read(dir: &Path) -> Result<Vec<StoredKey>, KeysError> {
    match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| KeysError::Damaged),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(KeysError::Io {
            what: FILE,
            verb: "read",
            source,
        }),
    }
}

fn write(dir: &Path, keys: &[StoredKey]) -> Result<(), KeysError> {
    let text = serde_json::to_vec_pretty(keys).map_err(|_| KeysError::Damaged)?;
    private(&dir.join(FILE), &text).map_err(|source| KeysError::Io {
        what: FILE,
        verb: "written",
        source,
    })
}

/// Writes a file that only its owner reads, whole or not at all.
fn private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let draft = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&draft)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(draft, file)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
            }
            text
        })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_key_lives_until_it_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let (stored, text) = keys.create("acme").unwrap();
        let account = keys.account(&text).unwrap();
        assert_ne!(&*account.id, "acme");
        assert!(keys.account(&text[..text.len() - 1]).is_none());
        let file = std::fs::read_to_string(dir.path().join("keys.json")).unwrap();
        assert!(!file.contains(&text));
        let again = Keys::open(dir.path()).unwrap();
        assert_eq!(
            again.account(&text),
            Some(account),
            "the hash outlives a restart"
        );
        again.revoke(&stored.id).unwrap();
        keys.reload().unwrap();
        assert!(keys.account(&text).is_none() && again.account(&text).is_none());
        assert!(matches!(
            again.revoke(&stored.id),
            Err(KeysError::Unknown { .. })
        ));
        assert!(matches!(keys.create("no spaces"), Err(KeysError::Account)));
    }
}
