//! Making, changing and ending keys.

use super::admission::{Of, Reading};
use super::file::{self, Stored, StoredKey, Terms};
use super::{Keys, PREFIX, hex};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Why keys could not be read or changed.
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
    #[error("there is no key `{id}` in force: `tidemark keys list` shows them")]
    Unknown {
        /// The id asked for.
        id: String,
    },
    /// An account name that cannot be one.
    #[error("an account is named with 1 to 64 letters, digits, `-`, `_`, `.` or `@`")]
    Account,
    /// A name of a key that cannot be one.
    #[error("a key is named with 1 to 64 characters that can be printed")]
    Name,
}

impl KeysError {
    pub(super) fn io(
        what: &'static str,
        verb: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, verb, source }
    }
}

impl Keys {
    /// Makes a key for an account; the text is shown now and never again.
    ///
    /// # Errors
    /// When the account's name is none, or the file cannot be written.
    pub fn create(&self, account: &str) -> Result<(StoredKey, String), KeysError> {
        self.create_with(account, |_| {})
    }

    /// Makes a key and says what holds for it before anyone can use it.
    ///
    /// # Errors
    /// As [`Keys::create`], and when the key's name is none.
    pub fn create_with(
        &self,
        account: &str,
        set: impl FnOnce(&mut StoredKey),
    ) -> Result<(StoredKey, String), KeysError> {
        let mut secret = [0_u8; 32];
        rand::fill(&mut secret);
        let key = format!("{PREFIX}{}", hex(&secret));
        Ok((self.add_with(account, &key, set)?, key))
    }

    /// Adds a key whose text is given, unless it is there.
    ///
    /// # Errors
    /// As [`Keys::create`].
    pub fn add(&self, account: &str, key: &str) -> Result<StoredKey, KeysError> {
        self.add_with(account, key, |_| {})
    }

    fn add_with(
        &self,
        account: &str,
        key: &str,
        set: impl FnOnce(&mut StoredKey),
    ) -> Result<StoredKey, KeysError> {
        check_account(account)?;
        let sha256 = hex(&Sha256::digest(key.as_bytes()));
        let created = self.now();
        self.change(|stored| {
            let there = |there: &&StoredKey| there.sha256 == sha256 && there.revoked.is_none();
            if let Some(there) = stored.keys.iter().find(there) {
                return Ok(there.clone());
            }
            let mut new = StoredKey {
                id: sha256[..12].to_owned(),
                sha256,
                account: account.to_owned(),
                created,
                revoked: None,
                name: None,
                expires: None,
                gateway: false,
                terms: Terms::default(),
            };
            set(&mut new);
            check_name(&new)?;
            stored.keys.push(new.clone());
            Ok(new)
        })
    }

    /// Changes what holds for a key.
    ///
    /// # Errors
    /// When no such key is in force, its name is none, or the file cannot be written.
    pub fn update(
        &self,
        id: &str,
        set: impl FnOnce(&mut StoredKey),
    ) -> Result<StoredKey, KeysError> {
        self.change(|stored| {
            let in_force = |key: &&mut StoredKey| key.id == id && key.revoked.is_none();
            let Some(key) = stored.keys.iter_mut().find(in_force) else {
                let id = id.chars().take(64).collect();
                return Err(KeysError::Unknown { id });
            };
            set(key);
            check_name(key)?;
            Ok(key.clone())
        })
    }

    /// Revokes a key by its id. Requests under way with it go on.
    ///
    /// # Errors
    /// As [`Keys::update`].
    pub fn revoke(&self, id: &str) -> Result<StoredKey, KeysError> {
        let now = self.now();
        self.update(id, |key| key.revoked = Some(now))
    }

    /// Changes what holds for an account over all its keys, those made later included.
    ///
    /// # Errors
    /// When the account's name is none, or the file cannot be written.
    pub fn update_account(
        &self,
        account: &str,
        set: impl FnOnce(&mut Terms),
    ) -> Result<Terms, KeysError> {
        check_account(account)?;
        self.change(|stored| {
            let terms = stored.accounts.entry(account.to_owned()).or_default();
            set(terms);
            Ok(terms.clone())
        })
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Stored) -> Result<T, KeysError>,
    ) -> Result<T, KeysError> {
        let done = file::change(self.dir(), change)?;
        self.reload()?;
        Ok(done)
    }

    /// All keys, also revoked ones.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<StoredKey>, KeysError> {
        Ok(file::read(self.dir())?.keys)
    }

    /// The accounts for which something was set, by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn accounts(&self) -> Result<BTreeMap<String, Terms>, KeysError> {
        Ok(file::read(self.dir())?.accounts)
    }

    /// How the limits of a key (by its id) or of an account (by its name) stand.
    pub fn readings(&self, of: Of, name: &str, terms: &Terms) -> Vec<Reading> {
        let mut readings = Vec::new();
        self.holder(of, name, terms)
            .read_all(self.now().timestamp(), &mut readings);
        readings
    }
}

fn check_account(account: &str) -> Result<(), KeysError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if account.is_empty() || account.len() > 64 || !account.chars().all(fine) {
        return Err(KeysError::Account);
    }
    Ok(())
}

fn check_name(key: &StoredKey) -> Result<(), KeysError> {
    let fine = |name: &String| {
        !name.trim().is_empty() && name.chars().count() <= 64 && !name.chars().any(char::is_control)
    };
    if key.name.as_ref().is_none_or(fine) {
        Ok(())
    } else {
        Err(KeysError::Name)
    }
}
