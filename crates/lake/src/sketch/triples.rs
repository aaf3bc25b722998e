//! The flat accumulator both sketches share: `(group, item)` pairs in one vector, sorted and folded when asked.
//!
//! One allocation for all groups instead of one per group: with hundreds of thousands of small
//! groups, allocation is what costs.

use datafusion::logical_expr::EmitTo;

/// Fold once this many unfolded entries have piled up.
const FOLD_AT: usize = 1 << 18;

/// Entries `(group, item, count)`, folded to one per group and item on demand.
#[derive(Debug, Default)]
pub(super) struct Triples {
    entries: Vec<(u32, i64, i64)>,
    folded: usize,
}

impl Triples {
    /// Adds one.
    pub(super) fn push(&mut self, group: usize, item: i64, count: i64) {
        self.entries.push((group as u32, item, count));
    }

    /// Folds when it pays.
    pub(super) fn settle(&mut self, keep: usize) {
        if self.entries.len() - self.folded > FOLD_AT.max(self.folded) {
            self.fold(keep);
        }
    }

    /// Sorts, adds up equal items of a group and keeps the `keep` smallest items of each group.
    fn fold(&mut self, keep: usize) {
        self.entries
            .sort_unstable_by_key(|(group, item, _)| (*group, *item));
        let mut kept = 0;
        let mut in_group = 0;
        for index in 0..self.entries.len() {
            let (group, item, count) = self.entries[index];
            if kept > 0 && self.entries[kept - 1].0 == group {
                if self.entries[kept - 1].1 == item {
                    self.entries[kept - 1].2 += count;
                    continue;
                }
                if in_group == keep {
                    continue;
                }
            } else {
                in_group = 0;
            }
            self.entries[kept] = (group, item, count);
            kept += 1;
            in_group += 1;
        }
        self.entries.truncate(kept);
        self.folded = kept;
    }

    /// Takes the groups to emit out, calling `each(group)` with its folded entries, empty ones included.
    pub(super) fn take(
        &mut self,
        emit: EmitTo,
        groups: usize,
        keep: usize,
        mut each: impl FnMut(&[(u32, i64, i64)]),
    ) {
        self.fold(keep);
        let first = match emit {
            EmitTo::All => groups,
            EmitTo::First(n) => n,
        };
        let mut at = 0;
        for group in 0..first as u32 {
            let start = at;
            while at < self.entries.len() && self.entries[at].0 == group {
                at += 1;
            }
            each(&self.entries[start..at]);
        }
        self.entries.drain(..at);
        // An aggregation that goes to disk for want of memory wants this memory back.
        self.entries.shrink_to_fit();
        for entry in &mut self.entries {
            entry.0 -= first as u32;
        }
        self.folded = self.entries.len();
    }

    /// Bytes held.
    pub(super) fn size(&self) -> usize {
        self.entries.capacity() * size_of::<(u32, i64, i64)>()
    }
}
