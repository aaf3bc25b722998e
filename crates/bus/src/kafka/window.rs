//! Which records of a partition are delivered, when reports come in any order.

use std::collections::BTreeMap;

/// Everything below `done`, and ranges above it.
#[derive(Debug, Default)]
pub(super) struct Window {
    done: u64,
    later: BTreeMap<u64, u64>,
}

impl Window {
    pub(super) fn starting_at(done: u64) -> Self {
        Self {
            done,
            later: BTreeMap::new(),
        }
    }

    /// One beyond the last of those delivered without a gap.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Takes in that the records from `from` up to `to` are settled.
    pub(super) fn settle(&mut self, from: u64, to: u64) {
        if from > self.done {
            self.later.insert(from, to);
            return;
        }
        self.done = self.done.max(to);
        while let Some(next) = self.later.first_entry()
            && *next.key() <= self.done
        {
            self.done = self.done.max(next.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_does_not_matter(order in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle(), first in 0..9_u64) {
            let mut window = Window::starting_at(first);
            let mut seen = [false; 40];
            for n in order {
                window.settle(first + n, first + n + 1);
                seen[n as usize] = true;
                let gap = seen.iter().position(|seen| !seen).unwrap_or(40) as u64;
                prop_assert_eq!(window.done(), first + gap);
            }
            prop_assert!(window.later.is_empty());
        }
    }
}
