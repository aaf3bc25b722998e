//! The rows of held tables, and what was folded of them: what a refresh takes over from the one before.

use crate::error::LakeError;
use crate::held::{Held, Shape};
use crate::stretch::{Folded, Folding, Stretches};
use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;

/// What is held, by what it was read from: a `K` is a file of the lake, or a day of ClickHouse in one of its states.
#[derive(Debug)]
pub struct Kept<K> {
    /// By name of the held table.
    loaded: HashMap<(String, K), Vec<RecordBatch>>,
    /// By name of the cut, and first day.
    folded: HashMap<(String, i64), Folded<K>>,
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self {
            loaded: HashMap::new(),
            folded: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Kept<K> {
    /// The cuts of a held table in SQL, by name. `items` are what there is of it, each with its day. What is known of them is taken over
    /// from `before`; `read` gives the rows of others, as they are held and in that order, and is asked for each of them once, however
    /// many cuts it is in.
    ///
    /// # Errors
    /// When items cannot be read, or are not rows of the table.
    pub async fn tables<S, E>(
        &mut self,
        before: &mut Self,
        held: &Held,
        shape: &Shape,
        mut items: Vec<(i64, K)>,
        read: impl FnOnce(Vec<K>) -> S,
    ) -> Result<Vec<(String, MemTable)>, E>
    where
        S: Stream<Item = Result<(K, Vec<RecordBatch>), E>>,
        E: From<LakeError>,
    {
        // One day after the other: what is folded waits for no more days than it must.
        items.sort_by_key(|(day, _)| *day);
        let (mut parts, mut foldings, mut apart) = (Vec::new(), Vec::new(), HashSet::new());
        for cut in &held.cuts {
            let stretches = Stretches::new(cut, shape.today);
            for stretch in stretches.split(&items, |(day, _)| *day) {
                let mut of: Vec<K> = stretch.of.into_iter().map(|(_, key)| key.clone()).collect();
                let folded = stretch.several.map(|first| (cut.name.clone(), first));
                if let Some(name) = &folded {
                    let mut plan = Folded::plan(before.folded.remove(name), of);
                    match plan.folded.take() {
                        Some(folded) => {
                            self.folded.insert(name.clone(), folded);
                        }
                        None => {
                            foldings.push((name.clone(), Folding::new(shape, name.1, &mut plan)))
                        }
                    }
                    of = plan.beside;
                }
                apart.extend(of.iter().cloned());
                parts.push((cut, folded, of));
            }
        }

        let wanted = items.into_iter().map(|(_, key)| key).filter(|key| {
            apart.contains(key) || foldings.iter().any(|(_, folding)| folding.takes(key))
        });
        let (mut known, mut new) = (Vec::new(), Vec::new());
        for key in wanted {
            let name = (held.name.clone(), key);
            match before.loaded.remove(&name) {
                Some(rows) => known.push(Ok((name.1, rows))),
                None => new.push(name.1),
            }
        }
        let mut all = pin!(stream::iter(known).chain(read(new)));
        while let Some((key, rows)) = all.try_next().await? {
            for (_, folding) in &mut foldings {
                if folding.takes(&key) {
                    folding.add(key.clone(), &rows).await?;
                }
            }
            if apart.contains(&key) {
                self.loaded.insert((held.name.clone(), key), rows);
            }
        }
        for (name, folding) in foldings {
            self.folded.insert(name, folding.finish().await?);
        }

        let mut tables = Vec::new();
        for cut in &held.cuts {
            let mut rows = Vec::new();
            for (_, folded, of) in parts.iter().filter(|(part, _, _)| *part == cut) {
                let folded = folded.as_ref().and_then(|name| self.folded.get(name));
                rows.extend(folded.into_iter().flat_map(Folded::rows).cloned());
                let of = of.iter().cloned().map(|key| (held.name.clone(), key));
                let of = of.filter_map(|name| self.loaded.get(&name));
                rows.extend(of.flatten().cloned());
            }
            let table = MemTable::try_new(Arc::clone(&shape.spec.schema), vec![rows]);
            tables.push((cut.name.clone(), table.map_err(LakeError::from)?));
        }
        Ok(tables)
    }

    /// Bytes that the rows take.
    pub fn size(&self) -> usize {
        let folded = self.folded.values().flat_map(Folded::rows);
        let batches = self.loaded.values().flatten().chain(folded);
        batches.map(RecordBatch::get_array_memory_size).sum()
    }
}
