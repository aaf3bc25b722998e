//! A bounded map from the hash of a JSON value to what was made of it, shared by all requests.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Hash of a value's JSON text. Cryptographic: a client must not be able to make its tools pass for another's.
pub(super) type Key = [u8; 32];

/// Key of a value, and the length of its JSON text.
pub(super) fn key(value: &impl Serialize) -> Option<(Key, usize)> {
    struct Hash(Sha256, usize);
    impl Write for Hash {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            self.0.update(part);
            self.1 += part.len();
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut out = io::BufWriter::with_capacity(4096, Hash(Sha256::new(), 0));
    serde_json::to_writer(&mut out, value).ok()?;
    let hash = out.into_inner().ok()?;
    Some((hash.0.finalize().into(), hash.1))
}

/// Two generations: when the young one is full, the old one goes. What is asked for becomes young again.
struct Generations<V> {
    young: HashMap<Key, (V, usize)>,
    old: HashMap<Key, (V, usize)>,
    weight: usize,
}

/// See the module.
pub(super) struct Cache<V> {
    inner: Mutex<Option<Generations<V>>>,
    entries: usize,
    weight: usize,
}

impl<V: Clone> Cache<V> {
    /// Holds at most twice so many entries and twice so much weight.
    pub(super) const fn new(entries: usize, weight: usize) -> Self {
        Self {
            inner: Mutex::new(None),
            entries,
            weight,
        }
    }

    /// What is kept under a key.
    pub(super) fn get(&self, key: &Key) -> Option<V> {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let all = guard.as_mut()?;
        if let Some((value, _)) = all.young.get(key) {
            return Some(value.clone());
        }
        let (value, weight) = all.old.remove(key)?;
        self.insert(all, *key, value.clone(), weight);
        Some(value)
    }

    /// Keeps a value that weighs so much.
    pub(super) fn put(&self, key: Key, value: V, weight: usize) {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let all = guard.get_or_insert_with(|| Generations {
            young: HashMap::new(),
            old: HashMap::new(),
            weight: 0,
        });
        self.insert(all, key, value, weight);
    }

    fn insert(&self, all: &mut Generations<V>, key: Key, value: V, weight: usize) {
        if all.young.len() >= self.entries || all.weight.saturating_add(weight) > self.weight {
            all.old = std::mem::take(&mut all.young);
            all.weight = 0;
        }
        all.weight = all.weight.saturating_add(weight);
        all.young.insert(key, (value, weight));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stays_bounded_and_keeps_what_is_used() {
        let cache = Cache::new(10, 1_000);
        for n in 0_u32..500 {
            cache.put(key(&n).unwrap().0, n, 1);
            assert_eq!(cache.get(&key(&0).unwrap().0), Some(0));
        }
        let guard = cache.inner.lock().unwrap();
        let all = guard.as_ref().unwrap();
        assert!(all.young.len() <= 10 && all.old.len() <= 10);
    }
}
