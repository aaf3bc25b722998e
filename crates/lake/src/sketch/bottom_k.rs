//! Bottom-k sketches: distinct accounts, exact below k, merged by a sorted union cut at k.
//!
//! An item is hashed with XXH64 (seed 0) over its UTF-8 bytes, read as a signed integer; the sketch is
//! the ascending list of the k smallest distinct hashes. With k hashes full, the estimate is
//! `(k - 1) / p`, where `p` is the share of the hash range below the largest one kept (Beyer et al.,
//! SIGMOD 2007); its relative standard error is about `1 / sqrt(k - 2)`.

use super::accumulator::{GroupOf, Groups, OneGroup, Sketch};
use super::triples::Triples;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, Int64Builder, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, ScalarFunctionArgs,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

/// The hash of an item.
pub fn hash(item: &str) -> i64 {
    xxhash_rust::xxh64::xxh64(item.as_bytes(), 0) as i64
}

/// The `List<Int64>` in which a sketch is stored.
pub fn list_type() -> DataType {
    DataType::List(item_field())
}

fn item_field() -> FieldRef {
    Arc::new(Field::new("element", DataType::Int64, true))
}

/// `bottom_k(text, k)` and `bottom_k_merge(list, k)`: aggregates that give a sketch.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BottomK {
    name: &'static str,
    merges: bool,
    signature: Signature,
}

impl BottomK {
    /// Over texts.
    pub fn of_values() -> Self {
        Self {
            name: "bottom_k",
            merges: false,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }

    /// Over sketches.
    pub fn of_sketches() -> Self {
        Self {
            name: "bottom_k_merge",
            merges: true,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }

    fn groups(&self, args: &AccumulatorArgs) -> Result<Groups<Hashes>> {
        let k = args
            .exprs
            .get(1)
            .and_then(|e| e.downcast_ref::<Literal>())
            .map(|literal| literal.value().clone());
        match k {
            Some(ScalarValue::Int64(Some(k))) if (1..=65_536).contains(&k) => {
                Ok(Groups::new(Hashes { k: k as usize }, self.merges))
            }
            _ => plan_err!(
                "{}: the second argument is a number from 1 to 65536, as in {}(account_id, 1024)",
                self.name,
                self.name
            ),
        }
    }
}

impl AggregateUDFImpl for BottomK {
    fn name(&self) -> &str {
        self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::List(_), _] if self.merges => Ok(list_type()),
            [DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8, _] if !self.merges => {
                Ok(list_type())
            }
            _ if self.merges => {
                plan_err!("bottom_k_merge takes a sketch, as bottom_k() makes them, and k")
            }
            _ => plan_err!("bottom_k takes a text column and k"),
        }
    }
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(
            format!("{}[bottom_k]", args.name),
            list_type(),
            true,
        ))])
    }
    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(self.groups(&args)?)))
    }
    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }
    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups(&args)?))
    }
}

/// Entries are hashes; how often one was seen does not matter.
#[derive(Debug, Clone)]
struct Hashes {
    k: usize,
}

impl Sketch for Hashes {
    fn keep(&self) -> usize {
        self.k
    }

    fn add_values(&self, texts: &dyn Array, group_of: GroupOf, into: &mut Triples) -> Result<()> {
        let texts = arrow::compute::cast(texts, &DataType::Utf8)?;
        for (row, text) in texts.as_string::<i32>().iter().enumerate() {
            if let (Some(text), Some(group)) = (text, group_of(row)) {
                into.push(group, hash(text), 1);
            }
        }
        Ok(())
    }

    fn add_sketches(&self, lists: &dyn Array, group_of: GroupOf, into: &mut Triples) -> Result<()> {
        let Some(lists) = lists.as_list_opt::<i32>() else {
            return exec_err!("expected a sketch column, found {}", lists.data_type());
        };
        let Some(hashes) = lists.values().as_primitive_opt::<Int64Type>() else {
            return exec_err!(
                "expected a sketch of 64-bit hashes, found {}",
                lists.data_type()
            );
        };
        for (row, ends) in lists.value_offsets().windows(2).enumerate() {
            let Some(group) = group_of(row).filter(|_| lists.is_valid(row)) else {
                continue;
            };
            for entry in ends[0] as usize..ends[1] as usize {
                into.push(group, hashes.value(entry), 1);
            }
        }
        Ok(())
    }

    fn emit(&self, emit: EmitTo, groups: usize, from: &mut Triples) -> Result<ArrayRef> {
        let mut lengths = Vec::new();
        let mut values = Vec::new();
        from.take(emit, groups, self.keep(), |entries| {
            lengths.push(entries.len());
            values.extend(entries.iter().map(|(_, hash, _)| *hash));
        });
        let values = Arc::new(Int64Array::from(values));
        Ok(Arc::new(ListArray::try_new(
            item_field(),
            OffsetBuffer::from_lengths(lengths),
            values,
            None,
        )?))
    }
}

/// `distinct(sketch, k)`: how many distinct items; exact below k.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Distinct {
    signature: Signature,
}

impl Distinct {
    /// The function.
    #[allow(clippy::new_without_default, reason = "made once, at registration")]
    pub fn new() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Distinct {
    fn name(&self) -> &str {
        "distinct"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::List(_), k] if k.is_integer() => Ok(DataType::Int64),
            _ => plan_err!("distinct takes a sketch and its k, as in distinct(accounts, 1024)"),
        }
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let ks = arrow::compute::cast(&arrays[1], &DataType::Int64)?;
        let ks: &Int64Array = ks.as_primitive::<Int64Type>();
        let Some(lists) = arrays[0].as_list_opt::<i32>() else {
            return exec_err!("distinct takes a sketch");
        };
        let mut out = Int64Builder::with_capacity(lists.len());
        for row in 0..lists.len() {
            let hashes = lists.value(row);
            let Some(hashes) = hashes.as_primitive_opt::<Int64Type>() else {
                return exec_err!("distinct takes a sketch");
            };
            out.append_option(
                lists
                    .is_valid(row)
                    .then(|| estimate(hashes.values(), ks.value(row))),
            );
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

/// The number of distinct items behind a sketch of size `k`.
pub fn estimate(hashes: &[i64], k: i64) -> i64 {
    match hashes.iter().max() {
        Some(largest) if hashes.len() as i64 >= k => {
            let below = (*largest as f64 - i64::MIN as f64) / 2.0_f64.powi(64);
            ((k - 1) as f64 / below).round() as i64
        }
        _ => hashes.len() as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sketch(items: &[u32], keep: usize) -> Vec<i64> {
        let mut hashes = Triples::default();
        for item in items {
            hashes.push(0, hash(&item.to_string()), 1);
        }
        let mut out = Vec::new();
        hashes.take(EmitTo::All, 1, keep, |entries| {
            out.extend(entries.iter().map(|(_, hash, _)| *hash))
        });
        out
    }

    proptest! {
        #[test]
        fn distinct_is_exact_below_k(items in prop::collection::vec(0_u32..2_000, 0..1_000)) {
            let exact: BTreeSet<u32> = items.iter().copied().collect();
            prop_assume!(exact.len() < 1024);
            prop_assert_eq!(estimate(&sketch(&items, 1024), 1024), exact.len() as i64);
        }

        #[test]
        fn a_sketch_of_sketches_is_the_sketch_of_all(
            items in prop::collection::vec(0_u32..500, 0..600),
            cut in 0_usize..600,
            keep in 1_usize..64,
        ) {
            let (left, right) = items.split_at(cut.min(items.len()));
            let mut hashes = Triples::default();
            for hash in sketch(left, keep).into_iter().chain(sketch(right, keep)) {
                hashes.push(0, hash, 1);
            }
            let mut merged = Vec::new();
            hashes.take(EmitTo::All, 1, keep, |entries| merged.extend(entries.iter().map(|(_, hash, _)| *hash)));
            prop_assert_eq!(merged, sketch(&items, keep));
        }
    }

    #[test]
    fn above_k_the_estimate_is_near() {
        let items: Vec<u32> = (0..100_000).collect();
        let estimate = estimate(&sketch(&items, 1024), 1024) as f64;
        assert!((estimate / 100_000.0 - 1.0).abs() < 0.125, "{estimate}");
    }
}
