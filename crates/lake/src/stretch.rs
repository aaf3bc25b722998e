//! Days that no question tells apart are held as one: a year of rows costs memory and time by what differs in it, not by its days.

use crate::error::LakeError;
use crate::held::{Cut, Shape};
use arrow::array::RecordBatch;
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

/// Parts of a stretch that may stand beside what is folded of it, before it is folded anew.
const FEW: usize = 64;
/// Rows that wait to be folded.
const MANY_ROWS: usize = 500_000;

/// Which days are held as one: those between which no window begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretches {
    today: i64,
    /// Days before today at which windows begin, ascending; empty if every day is held by itself.
    begins: Vec<i64>,
    /// Days before this one are not held.
    oldest: i64,
}

/// Some of the items of a table that are held together.
#[derive(Debug)]
pub(crate) struct Stretch<T> {
    /// If they are of more than one day: the day that all of them are held as.
    pub several: Option<i64>,
    /// The items.
    pub of: Vec<T>,
}

impl Stretches {
    /// Those of a cut on the day `today`, since 1970.
    pub fn new(cut: &Cut, today: i64) -> Self {
        let mut begins: Vec<i64> = cut.begins.iter().map(|days| i64::from(*days)).collect();
        begins.sort_unstable();
        let oldest = begins.last().filter(|_| !cut.is_endless);
        Self {
            today,
            oldest: oldest.map_or(i64::MIN, |days| today - days),
            begins,
        }
    }

    /// The first day of the stretch of `day`. For days before all windows it is the last one, which is before them as well.
    fn first(&self, day: i64) -> i64 {
        let ago = self.today - day;
        let Some(oldest) = self.begins.last().filter(|_| ago > 0) else {
            return day;
        };
        match self.begins.iter().find(|begin| **begin >= ago) {
            Some(begin) => self.today - begin,
            None => self.today - oldest - 1,
        }
    }

    /// Items that are held by stretch, oldest first.
    pub fn split<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        day: impl Fn(&T) -> i64,
    ) -> Vec<Stretch<T>> {
        let mut by_first: BTreeMap<i64, (HashSet<i64>, Vec<T>)> = BTreeMap::new();
        for item in items {
            let day = day(&item);
            if day < self.oldest {
                continue;
            }
            let (days, of) = by_first.entry(self.first(day)).or_default();
            days.insert(day);
            of.push(item);
        }
        let stretches = by_first.into_iter();
        stretches
            .map(|(first, (days, of))| Stretch {
                several: (days.len() > 1).then_some(first),
                of,
            })
            .collect()
    }
}

/// A stretch as rows of one day, one for each key, and what they were made of.
#[derive(Debug)]
pub(crate) struct Folded<K> {
    of: HashSet<K>,
    seen: HashSet<K>,
    rows: Vec<RecordBatch>,
}

/// What becomes of the items of a stretch.
#[derive(Debug)]
pub(crate) struct Plan<K> {
    /// Folded before, and still right.
    pub folded: Option<Folded<K>>,
    /// To be folded, if that is not right: with what was folded before, unless some of that is gone.
    pub settled: Vec<K>,
    /// Stand beside what is folded.
    pub beside: Vec<K>,
    base: Option<Folded<K>>,
    seen: HashSet<K>,
}

impl<K: Clone + Hash + Eq> Folded<K> {
    /// The rows.
    pub fn rows(&self) -> &[RecordBatch] {
        &self.rows
    }

    /// Days may get rows long after they are over. What was not there the last time stands beside, so that a day that keeps getting
    /// some is not folded for each of them.
    pub fn plan(known: Option<Self>, all: Vec<K>) -> Plan<K> {
        let seen: HashSet<K> = all.iter().cloned().collect();
        let mut plan = Plan {
            folded: None,
            settled: Vec::new(),
            beside: Vec::new(),
            base: None,
            seen,
        };
        let Some(mut known) = known else {
            plan.settled = all;
            return plan;
        };
        let is_there = known.of.is_subset(&plan.seen);
        let new = |item: &K| !is_there || !known.of.contains(item);
        let all: Vec<K> = all.into_iter().filter(new).collect();
        if is_there && all.len() <= FEW {
            known.seen = std::mem::take(&mut plan.seen);
            (plan.folded, plan.beside) = (Some(known), all);
            return plan;
        }
        (plan.settled, plan.beside) = all.into_iter().partition(|item| known.seen.contains(item));
        plan.base = is_there.then_some(known);
        plan
    }
}

/// Folds items one after the other, so that never all of their rows are held.
#[derive(Debug)]
pub(crate) struct Folding<'a, K> {
    shape: &'a Shape,
    day: i64,
    takes: HashSet<K>,
    of: HashSet<K>,
    seen: HashSet<K>,
    rows: Vec<RecordBatch>,
    waiting: usize,
    held: usize,
}

impl<'a, K: Hash + Eq> Folding<'a, K> {
    /// What is settled of a plan, into rows of this day.
    pub fn new(shape: &'a Shape, day: i64, plan: &mut Plan<K>) -> Self {
        let (of, rows) = plan.base.take().map_or_else(
            || (HashSet::new(), Vec::new()),
            |folded| (folded.of, folded.rows),
        );
        Self {
            shape,
            day,
            takes: std::mem::take(&mut plan.settled).into_iter().collect(),
            of,
            seen: std::mem::take(&mut plan.seen),
            held: rows.iter().map(RecordBatch::num_rows).sum(),
            rows,
            waiting: 0,
        }
    }

    /// Whether an item is to be folded.
    pub fn takes(&self, item: &K) -> bool {
        self.takes.contains(item)
    }

    /// Takes the rows of an item.
    ///
    /// # Errors
    /// When they are not rows of the table.
    pub async fn add(&mut self, item: K, rows: &[RecordBatch]) -> Result<(), LakeError> {
        self.of.insert(item);
        self.waiting += rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        self.rows.extend_from_slice(rows);
        if self.waiting > MANY_ROWS.max(self.held) {
            self.fold().await?;
        }
        Ok(())
    }

    async fn fold(&mut self) -> Result<(), LakeError> {
        let rows = std::mem::take(&mut self.rows);
        let rows = self.shape.fold(rows, self.day).await?;
        self.held = rows.num_rows();
        self.rows = vec![rows];
        self.waiting = 0;
        Ok(())
    }

    /// All of them.
    ///
    /// # Errors
    /// When they are not rows of the table.
    pub async fn finish(mut self) -> Result<Folded<K>, LakeError> {
        self.fold().await?;
        Ok(Folded {
            of: self.of,
            seen: self.seen,
            rows: self.rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_begins_within_a_stretch() {
        let (today, begins) = (20_000, [0, 1, 2, 3, 6, 13, 29, 59]);
        let cut = |begins: &[u32], is_endless| Cut {
            name: String::new(),
            begins: begins.to_vec(),
            is_endless,
        };
        let stretches = Stretches::new(&cut(&begins, true), today);
        for day in today - 400..today + 3 {
            let held = stretches.first(day);
            for begin in begins {
                let since = today - i64::from(begin);
                assert_eq!(day >= since, held >= since, "{day} as {held}, {since}");
            }
        }
        let days: HashSet<i64> = (today - 400..=today)
            .map(|day| stretches.first(day))
            .collect();
        assert_eq!(days.len(), begins.len() + 1);
        let apart = Stretches::new(&cut(&[], true), today);
        assert_eq!(apart.first(today - 9), today - 9);
    }

    #[test]
    fn older_days_are_held_for_endless_windows_only() {
        let held = |is_endless| {
            let cut = Cut {
                name: String::new(),
                begins: vec![6, 13],
                is_endless,
            };
            let stretches = Stretches::new(&cut, 100).split([80, 86, 87, 93, 94, 99, 100], |d| *d);
            let stretches = stretches.into_iter();
            stretches.map(|s| (s.several, s.of)).collect::<Vec<_>>()
        };
        let windows = [
            (Some(87), vec![87, 93]),
            (Some(94), vec![94, 99]),
            (None, vec![100]),
        ];
        assert_eq!(held(false), windows);
        assert_eq!(held(true)[0], (Some(86), vec![80, 86]));
        assert_eq!(held(true)[1..], windows);
    }

    #[test]
    fn what_comes_late_stands_beside() {
        let folded = |of: &[u32], seen: &[u32]| Folded {
            of: of.iter().copied().collect(),
            seen: seen.iter().copied().collect(),
            rows: Vec::new(),
        };
        let plan = |known, all: &[u32]| Folded::plan(known, all.to_vec());
        let first = plan(None, &[1, 2]);
        assert_eq!((first.settled, first.beside), (vec![1, 2], vec![]));
        let more = plan(Some(folded(&[1, 2], &[1, 2])), &[1, 2, 3]);
        assert!(more.folded.is_some());
        assert_eq!(more.beside, [3]);
        // 2 and 3 became 4, which may change again.
        let other = plan(Some(folded(&[1, 2], &[1, 2, 3])), &[1, 4]);
        assert!(other.folded.is_none());
        assert_eq!((other.settled, other.beside), (vec![1], vec![4]));
        let many: Vec<u32> = (1..=100).collect();
        let anew = plan(Some(folded(&[1], &many[..90])), &many);
        assert_eq!((anew.settled.len(), anew.beside.len()), (89, 10));
        assert!(anew.base.is_some());
    }
}
