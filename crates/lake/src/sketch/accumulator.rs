//! The accumulator that both sketches share: what differs is how values and sketches become entries, and entries a sketch.

use super::triples::Triples;
use arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::common::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;
use std::fmt::Debug;

/// The group of a row; none where the aggregate's filter leaves the row out.
pub(super) type GroupOf<'a> = &'a dyn Fn(usize) -> Option<usize>;

/// A kind of sketch.
pub(super) trait Sketch: Debug + Clone + Send + Sync + 'static {
    /// Entries of one group that matter: the smallest items.
    fn keep(&self) -> usize;
    /// Adds plain values.
    fn add_values(&self, values: &dyn Array, group_of: GroupOf, into: &mut Triples) -> Result<()>;
    /// Adds sketches.
    fn add_sketches(
        &self,
        sketches: &dyn Array,
        group_of: GroupOf,
        into: &mut Triples,
    ) -> Result<()>;
    /// The entries of the groups to emit, as a column of sketches.
    fn emit(&self, emit: EmitTo, groups: usize, from: &mut Triples) -> Result<ArrayRef>;
}

/// The sketches of all groups of a query.
#[derive(Debug)]
pub(super) struct Groups<S> {
    sketch: S,
    /// Whether its input is sketches.
    merges: bool,
    groups: usize,
    entries: Triples,
}

impl<S: Sketch> Groups<S> {
    pub(super) fn new(sketch: S, merges: bool) -> Self {
        Self {
            sketch,
            merges,
            groups: 0,
            entries: Triples::default(),
        }
    }

    fn emit(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let sketches = self.sketch.emit(emit, self.groups, &mut self.entries)?;
        self.groups -= sketches.len().min(self.groups);
        Ok(sketches)
    }
}

impl<S: Sketch> GroupsAccumulator for Groups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups = total;
        let group_of = |row: usize| match filter {
            Some(filter) if !(filter.is_valid(row) && filter.value(row)) => None,
            _ => Some(groups[row]),
        };
        let entries = &mut self.entries;
        if self.merges {
            self.sketch.add_sketches(&values[0], &group_of, entries)?;
        } else {
            self.sketch.add_values(&values[0], &group_of, entries)?;
        }
        self.entries.settle(self.sketch.keep());
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups = total;
        let group_of = |row: usize| Some(groups[row]);
        self.sketch
            .add_sketches(&values[0], &group_of, &mut self.entries)?;
        self.entries.settle(self.sketch.keep());
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.emit(emit)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit)?])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows: Vec<usize> = (0..values[0].len()).collect();
        let mut each = Self::new(self.sketch.clone(), self.merges);
        GroupsAccumulator::update_batch(&mut each, values, &rows, filter, rows.len())?;
        GroupsAccumulator::state(&mut each, EmitTo::All)
    }

    fn size(&self) -> usize {
        self.entries.size()
    }
}

/// The same for a query without GROUP BY.
#[derive(Debug)]
pub(super) struct OneGroup<S>(pub(super) Groups<S>);

impl<S: Sketch> Accumulator for OneGroup<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; values[0].len()];
        GroupsAccumulator::update_batch(&mut self.0, values, &groups, None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.groups = 1;
        ScalarValue::try_from_array(&self.0.emit(EmitTo::All)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states[0].len()];
        GroupsAccumulator::merge_batch(&mut self.0, states, &groups, 1)
    }

    fn size(&self) -> usize {
        self.0.entries.size()
    }
}
