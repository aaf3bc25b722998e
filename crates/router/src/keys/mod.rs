//! API keys, the accounts behind them, and what both may use.
//!
//! A key is shown once, when it is made; the file keeps its SHA-256. A key has 32 random bytes, so that a plain hash cannot
//! be searched. It is found by the first bytes of the hash and compared in constant time. Events carry a keyed hash of the
//! account, never its name.
//!
//! - `file` is `keys.json`: keys and accounts with their [`Terms`], which are a policy and [`limit`]s in [`window`]s of time.
//!   [`change`] changes it.
//! - [`counter`] counts what was used, [`admission`] lets a request in and settles when it ends, [`report`] says how limits
//!   stand.
//! - `ledger` keeps the counters over a restart.

pub mod admission;
pub mod change;
pub mod counter;
pub mod file;
mod ledger;
pub mod limit;
pub mod report;
pub mod window;

pub use change::KeysError;
pub use file::{StoredKey, Terms};

use crate::policy::Policy;
use admission::{Holder, Of, Standing};
use chrono::{DateTime, Utc};
use counter::Counter;
use ledger::Ledger;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use subtle::ConstantTimeEq;

/// What every key begins with.
pub const PREFIX: &str = "sk-tidemark-";
/// The demo's key. Anyone knows it; it is only taken where `up --demo` added it.
pub const DEMO_KEY: &str = "sk-tidemark-demo";
/// How soon a change by another process counts, and how much use a crash can make forgotten.
const EVERY: Duration = Duration::from_millis(500);

/// Tells the time. Tests set it.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The account of a request, and what it may do.
#[derive(Clone)]
pub struct Account {
    /// Keyed hash, as events carry it.
    pub id: Arc<str>,
    /// Whether its events may be those of accounts of its own.
    pub gateway: bool,
    /// What may be used: the key's policy within the account's.
    pub policy: Arc<Policy>,
    /// How the key stands; none for an account that came without one.
    pub standing: Option<Arc<Standing>>,
}

impl Account {
    /// An account without key, policy and limits, such as those that a simulation makes up.
    pub fn unlimited(id: &str) -> Self {
        Self {
            id: Arc::from(id),
            gateway: false,
            policy: Arc::default(),
            standing: None,
        }
    }
}

/// The keys of a data folder. Cheap to clone; a change of the file is seen after [`Keys::refresh`].
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    salt: [u8; 32],
    clock: Clock,
    known: RwLock<Known>,
    /// Of every key and account that was ever known, by name. No request looks here.
    counters: Mutex<HashMap<String, Arc<Counter>>>,
    ledger: Mutex<Ledger>,
}

/// The keys in force.
#[derive(Default)]
struct Known {
    by_start: HashMap<[u8; 8], Vec<Key>>,
    /// Which file they are from.
    version: Option<SystemTime>,
}

struct Key {
    hash: [u8; 32],
    expires: Option<DateTime<Utc>>,
    account: Account,
}

impl Keys {
    /// Reads the keys of `dir`; a folder without any has none. Makes the salt of the account hashes when it is not there.
    ///
    /// # Errors
    /// [`KeysError`] when a file cannot be read, written or understood.
    pub fn open(dir: &Path) -> Result<Self, KeysError> {
        Self::open_at(dir, Arc::new(Utc::now))
    }

    /// The same by another clock.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn open_at(dir: &Path, clock: Clock) -> Result<Self, KeysError> {
        let (ledger, states) = Ledger::read(dir).map_err(KeysError::io(ledger::FILE, "read"))?;
        let counters = states
            .into_iter()
            .map(|(name, state)| (name, Arc::new(Counter::new(state))));
        let keys = Self(Arc::new(Shared {
            dir: dir.to_owned(),
            salt: file::salt(dir)?,
            clock,
            known: RwLock::default(),
            counters: Mutex::new(counters.collect()),
            ledger: Mutex::new(ledger),
        }));
        keys.reload()?;
        Ok(keys)
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// As [`Keys::open`]; the keys known before stay.
    pub fn reload(&self) -> Result<(), KeysError> {
        let mut known = Known {
            // Asked for before the file is read: a change in between is seen the next time.
            version: file::version(&self.0.dir),
            ..Known::default()
        };
        let stored = file::read(&self.0.dir)?;
        let no_terms = Terms::default();
        for key in stored.keys.iter().filter(|key| key.revoked.is_none()) {
            let hash = unhex(&key.sha256).ok_or(KeysError::Damaged)?;
            let terms = stored.accounts.get(&key.account).unwrap_or(&no_terms);
            let standing = Standing {
                label: key.name.clone().unwrap_or_else(|| key.id.clone()),
                expires: key.expires,
                holders: [
                    self.holder(Of::Key, &key.id, &key.terms),
                    self.holder(Of::Account, &key.account, terms),
                ],
                clock: Arc::clone(&self.0.clock),
            };
            known.by_start.entry(start(&hash)).or_default().push(Key {
                hash,
                expires: key.expires,
                account: Account {
                    id: self.account_hash(&key.account),
                    gateway: key.gateway,
                    policy: Arc::new(Policy::of_key(&key.terms.policy, &terms.policy)),
                    standing: Some(Arc::new(standing)),
                },
            });
        }
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// A key or an account, with a counter that lives as long as the process.
    fn holder(&self, of: Of, name: &str, terms: &Terms) -> Holder {
        let name = format!("{} {name}", of.as_str());
        let mut counters = self
            .0
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Holder {
            of,
            terms: terms.clone(),
            counter: Arc::clone(counters.entry(name).or_default()),
        }
    }

    /// Reads the file again if it is another one than the one known, as after `tidemark keys create`.
    ///
    /// # Errors
    /// As [`Keys::reload`].
    pub fn refresh(&self) -> Result<(), KeysError> {
        let known = self
            .0
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .version;
        if known == file::version(&self.0.dir) {
            Ok(())
        } else {
            self.reload()
        }
    }

    /// Puts on disk what was used, so that limits outlive the process. Only for the process that serves the requests.
    ///
    /// # Errors
    /// When the disk refuses; the next save writes all of it.
    pub fn save(&self) -> Result<(), KeysError> {
        let mut ledger = self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = self
            .0
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ledger
            .save(&counters, self.now().timestamp())
            .map_err(KeysError::io(ledger::FILE, "written"))
    }

    /// Reads what other processes change and saves what was used, for as long as it is polled.
    pub async fn keep(self) {
        let mut tick = tokio::time::interval(EVERY);
        let mut well = true;
        loop {
            tick.tick().await;
            let keys = self.clone();
            let done = tokio::task::spawn_blocking(move || [keys.refresh(), keys.save()]).await;
            let failed = done.iter().flatten().find_map(|done| done.as_ref().err());
            match failed {
                // Said once, not twice a second.
                Some(error) if well => {
                    tracing::error!(%error, "keys stay as they are known, and what they use is only remembered; this is tried again")
                }
                None if !well => tracing::warn!("keys are read and saved again"),
                _ => {}
            }
            well = failed.is_none();
        }
    }

    /// The account of a key; none for one that is unknown, revoked or expired.
    pub fn account(&self, key: &str) -> Option<Account> {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .by_start
            .get(&start(&hash))?
            .iter()
            .find(|known| bool::from(known.hash.ct_eq(&hash)))
            .filter(|known| known.expires.is_none_or(|expires| self.now() < expires))
            .map(|known| known.account.clone())
    }

    fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// The keyed hash that stands for an account, or for another name that must not be seen.
    pub fn account_hash(&self, account: &str) -> Arc<str> {
        // HMAC would guard against length extension; a truncated hash with the key in front has no such weakness.
        let hash = Sha256::new()
            .chain_update(self.0.salt)
            .chain_update(account.as_bytes())
            .finalize();
        Arc::from(hex(&hash[..16]))
    }

    /// A keyed hash over several parts; it differs from that of any account, whose name has no such length in front.
    pub(crate) fn keyed_hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new().chain_update(self.0.salt);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn now(&self) -> DateTime<Utc> {
        (self.0.clock)()
    }
}

fn start(hash: &[u8; 32]) -> [u8; 8] {
    let mut start = [0; 8];
    start.copy_from_slice(&hash[..8]);
    start
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
        let same = again.account(&text).unwrap();
        assert_eq!(same.id, account.id, "the hash outlives a restart");
        again.revoke(&stored.id).unwrap();
        keys.reload().unwrap();
        assert!(keys.account(&text).is_none() && again.account(&text).is_none());
        assert!(matches!(
            again.revoke(&stored.id),
            Err(KeysError::Unknown { .. })
        ));
        assert!(matches!(keys.create("no spaces"), Err(KeysError::Account)));
        let blank = keys.create_with("acme", |key| key.name = Some(" ".to_owned()));
        assert!(matches!(blank, Err(KeysError::Name)));
    }

    #[test]
    fn a_file_from_before_terms_is_read_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let hash = hex(&Sha256::digest(b"sk-tidemark-old"));
        let old = format!(
            r#"[{{"id": "{}", "sha256": "{hash}", "account": "acme", "created": "2026-11-01T00:00:00Z"}},
                {{"id": "0", "sha256": "{hash}", "account": "acme", "created": "2026-11-01T00:00:00Z", "revoked": "2026-11-02T00:00:00Z"}}]"#,
            &hash[..12]
        );
        std::fs::write(dir.path().join("keys.json"), old).unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        assert!(keys.account("sk-tidemark-old").is_some());
        let before = keys.list().unwrap();
        keys.update_account("acme", |terms| {
            terms.limits = vec!["1 USD/day".parse().unwrap()]
        })
        .unwrap();
        assert_eq!(Keys::open(dir.path()).unwrap().list().unwrap(), before);
        assert!(keys.account("sk-tidemark-old").is_some());
    }

    #[test]
    fn an_expired_key_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let end: DateTime<Utc> = "2027-01-01T00:00:00Z".parse().unwrap();
        let (_, text) = Keys::open(dir.path())
            .unwrap()
            .create_with("acme", |key| key.expires = Some(end))
            .unwrap();
        let at = |time: DateTime<Utc>| Keys::open_at(dir.path(), Arc::new(move || time)).unwrap();
        assert!(at(end - Duration::from_millis(1)).account(&text).is_some());
        assert!(at(end).account(&text).is_none());
    }

    #[test]
    fn a_change_keeps_what_was_used_and_another_process_sees_both() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let (stored, text) = keys.create("acme").unwrap();
        let admission = keys
            .account(&text)
            .unwrap()
            .standing
            .unwrap()
            .admit()
            .unwrap();
        let other = Keys::open(dir.path()).unwrap();
        other
            .update(&stored.id, |key| {
                key.terms.limits = vec!["1 requests/total".parse().unwrap()]
            })
            .unwrap();
        keys.refresh().unwrap();
        assert!(
            keys.account(&text)
                .unwrap()
                .standing
                .unwrap()
                .admit()
                .is_err()
        );
        drop(admission);
        keys.save().unwrap();
        let stored = &other.list().unwrap()[0];
        let readings = Keys::open(dir.path())
            .unwrap()
            .readings(Of::Key, &stored.id, &stored.terms);
        assert_eq!((readings[0].used, readings[0].left), (1, 0));
    }

    #[test]
    fn processes_that_change_keys_at_the_same_time_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).for_each(|_| drop(keys.create("acme").unwrap())));
            }
        });
        assert_eq!(keys.list().unwrap().len(), 40);
    }
}
