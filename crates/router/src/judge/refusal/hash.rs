//! Hashes of words and of runs of words: the keys of the two tables.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Odd, and with its bits well spread.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// The hash of no bytes.
pub(super) const NONE: u64 = SPREAD;

/// The hash of some bytes and one more.
pub(super) const fn byte(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

/// The hash of a word.
pub(super) const fn word(text: &str) -> u64 {
    let mut hash = NONE;
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        hash = byte(hash, *first);
        rest = after;
    }
    hash
}

/// The hash of a run, given those of what comes before its last word and of that word.
pub(super) fn run(before: u64, last: u64) -> u64 {
    let mixed = (before.rotate_left(23) ^ last).wrapping_mul(SPREAD);
    mixed ^ (mixed >> 29)
}

/// A table whose keys are such hashes already.
pub(super) type Table<V> = HashMap<u64, V, BuildHasherDefault<AsItIs>>;

/// Takes a key for its own hash.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = run(self.0, key);
    }
}
