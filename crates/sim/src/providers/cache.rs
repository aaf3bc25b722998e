//! Prompt prefixes that a provider has seen within the last minutes, in one of its regions.

use super::ask::Ask;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Beyond this the old ones go, and then all.
const MOST: usize = 200_000;

/// All prefixes, by a hash that the names of provider, region and model are part of.
#[derive(Debug, Default)]
pub(super) struct Cache {
    seen: Mutex<HashMap<u64, Instant>>,
}

impl Cache {
    /// How many tokens of the prompt are cached, and remembers the prompt: prefixes of at least so many tokens, for so long. At
    /// least one token is never cached: something must be read to answer.
    pub(super) fn look(
        &self,
        endpoint: u64,
        ask: &Ask,
        (least, kept): (u64, Duration),
        now: Instant,
    ) -> u64 {
        let total = ask.prompt_tokens();
        if total < least.max(2) {
            return 0;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() > MOST {
            seen.retain(|_, at| now.saturating_duration_since(*at) < kept);
            if seen.len() > MOST {
                seen.clear();
            }
        }
        let (mut hash, mut tokens, mut cached) = (endpoint, 0_u64, 0_u64);
        for turn in &ask.turns {
            hash = (hash.rotate_left(17) ^ turn.hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            tokens += turn.tokens;
            if tokens < least {
                continue;
            }
            let before = seen.insert(hash, now);
            if before.is_some_and(|at| now.saturating_duration_since(at) < kept) {
                cached = tokens;
            }
        }
        cached.min(total - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::ask::Turn;

    fn ask(turns: &[u64]) -> Ask {
        Ask {
            turns: turns
                .iter()
                .map(|&hash| Turn {
                    tokens: 1_000,
                    hash,
                })
                .collect(),
            ..Ask::default()
        }
    }

    #[test]
    fn a_prefix_is_found_for_five_minutes() {
        let (cache, now) = (Cache::default(), Instant::now());
        let look = |endpoint, turns: &[u64], seconds| {
            cache.look(
                endpoint,
                &ask(turns),
                (1_024, Duration::from_secs(300)),
                now + Duration::from_secs(seconds),
            )
        };
        assert_eq!(look(1, &[1, 2], 0), 0);
        assert_eq!(look(1, &[1, 2, 3], 1), 2_000);
        assert_eq!(look(1, &[1, 2, 3], 2), 2_999);
        assert_eq!(look(2, &[1, 2, 3], 3), 0);
        assert_eq!(look(1, &[9, 2, 3], 4), 0);
        assert_eq!(look(1, &[1, 2, 3], 400), 0);
    }
}
