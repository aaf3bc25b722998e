//! Log-bucket histograms: a quantile within 1% of the exact one, merged by adding counts.
//!
//! Bucket 0 holds values of zero and below; bucket `i >= 1` holds values in `(g^(i-2), g^(i-1)]` with
//! `g = (1 + a) / (1 - a)` and `a = 0.01`, reported as `2 g^(i-1) / (g + 1)`, which lies within `a` of
//! every value in it. (The construction of DDSketch, Masson, Rim and Lee, VLDB 2019.)

use super::accumulator::{GroupOf, Groups, OneGroup, Sketch};
use super::triples::Triples;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, Int32Array, Int64Array, MapArray,
    StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int32Type, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, ScalarFunctionArgs,
    ScalarUDFImpl, Signature, Volatility,
};
use std::sync::{Arc, LazyLock};

/// Relative error of a reported quantile.
pub const ERROR: f64 = 0.01;
const GAMMA: f64 = (1.0 + ERROR) / (1.0 - ERROR);
static LN_GAMMA: LazyLock<f64> = LazyLock::new(|| GAMMA.ln());

/// The bucket of `value`.
pub fn bucket(value: i64) -> i32 {
    if value <= 0 {
        0
    } else {
        1 + ((value as f64).ln() / *LN_GAMMA).ceil() as i32
    }
}

/// The value reported for a bucket.
pub fn bucket_value(bucket: i32) -> f64 {
    if bucket <= 0 {
        0.0
    } else {
        2.0 * GAMMA.powi(bucket - 1) / (GAMMA + 1.0)
    }
}

/// The `Map<Int32, Int64>` in which a histogram is stored.
pub fn map_type() -> DataType {
    DataType::Map(entries_field(), false)
}

fn entries_field() -> FieldRef {
    let fields = vec![
        Field::new("key", DataType::Int32, false),
        Field::new("value", DataType::Int64, true),
    ];
    Arc::new(Field::new(
        "key_value",
        DataType::Struct(fields.into()),
        false,
    ))
}

/// `histogram(BIGINT)` and `histogram_merge(MAP)`: aggregates that give a histogram.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Histogram {
    name: &'static str,
    merges: bool,
    signature: Signature,
}

impl Histogram {
    /// Over values.
    pub fn of_values() -> Self {
        Self {
            name: "histogram",
            merges: false,
            signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable),
        }
    }

    /// Over histograms.
    pub fn of_histograms() -> Self {
        Self {
            name: "histogram_merge",
            merges: true,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for Histogram {
    fn name(&self) -> &str {
        self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if self.merges && !matches!(arguments, [DataType::Map(_, _)]) {
            return plan_err!("histogram_merge takes a histogram, as histogram() makes them");
        }
        Ok(map_type())
    }
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(
            format!("{}[histogram]", args.name),
            map_type(),
            true,
        ))])
    }
    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(Groups::new(Buckets, self.merges))))
    }
    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }
    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::new(Buckets, self.merges)))
    }
}

/// Entries are buckets and their counts.
#[derive(Debug, Clone)]
struct Buckets;

impl Sketch for Buckets {
    fn keep(&self) -> usize {
        usize::MAX
    }

    fn add_values(&self, values: &dyn Array, group_of: GroupOf, into: &mut Triples) -> Result<()> {
        let column = values.as_primitive::<Int64Type>();
        for row in 0..column.len() {
            if column.is_valid(row)
                && let Some(group) = group_of(row)
            {
                into.push(group, i64::from(bucket(column.value(row))), 1);
            }
        }
        Ok(())
    }

    fn add_sketches(&self, maps: &dyn Array, group_of: GroupOf, into: &mut Triples) -> Result<()> {
        let Some(maps) = maps.as_map_opt() else {
            return exec_err!("expected a histogram column, found {}", maps.data_type());
        };
        let (Some(keys), Some(values)) = (
            maps.keys().as_primitive_opt::<Int32Type>(),
            maps.values().as_primitive_opt::<Int64Type>(),
        ) else {
            return exec_err!(
                "expected a histogram of integers, found {}",
                maps.data_type()
            );
        };
        for (row, ends) in maps.value_offsets().windows(2).enumerate() {
            let Some(group) = group_of(row).filter(|_| maps.is_valid(row)) else {
                continue;
            };
            for entry in ends[0] as usize..ends[1] as usize {
                into.push(group, i64::from(keys.value(entry)), values.value(entry));
            }
        }
        Ok(())
    }

    fn emit(&self, emit: EmitTo, groups: usize, from: &mut Triples) -> Result<ArrayRef> {
        let mut lengths = Vec::new();
        let mut keys = Vec::new();
        let mut values = Vec::new();
        from.take(emit, groups, self.keep(), |entries| {
            lengths.push(entries.len());
            keys.extend(entries.iter().map(|(_, bucket, _)| *bucket as i32));
            values.extend(entries.iter().map(|(_, _, count)| *count));
        });
        let DataType::Struct(fields) = entries_field().data_type().clone() else {
            return exec_err!("map entries are a struct");
        };
        let entries = StructArray::try_new(
            fields,
            vec![
                Arc::new(Int32Array::from(keys)),
                Arc::new(Int64Array::from(values)),
            ],
            None,
        )?;
        Ok(Arc::new(MapArray::try_new(
            entries_field(),
            OffsetBuffer::from_lengths(lengths),
            entries,
            None,
            false,
        )?))
    }
}

/// `quantile(histogram, q)`: the value at rank `ceil(q * n)`, within 1%; null for an empty histogram.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Quantile {
    signature: Signature,
}

impl Quantile {
    /// The function.
    #[allow(clippy::new_without_default, reason = "made once, at registration")]
    pub fn new() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Quantile {
    fn name(&self) -> &str {
        "quantile"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Map(_, _), q] if q.is_numeric() => Ok(DataType::Float64),
            _ => plan_err!(
                "quantile takes a histogram and a number from 0 to 1, as in quantile(latency_us, 0.95)"
            ),
        }
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let quantiles = arrow::compute::cast(&arrays[1], &DataType::Float64)?;
        let quantiles: &Float64Array = quantiles.as_primitive::<Float64Type>();
        let Some(maps) = arrays[0].as_map_opt() else {
            return exec_err!("quantile takes a histogram");
        };
        let (Some(keys), Some(counts)) = (
            maps.keys().as_primitive_opt::<Int32Type>(),
            maps.values().as_primitive_opt::<Int64Type>(),
        ) else {
            return exec_err!("quantile takes a histogram of integers");
        };
        let mut out = Float64Builder::with_capacity(maps.len());
        let mut entries: Vec<(i32, i64)> = Vec::new();
        for (row, ends) in maps.value_offsets().windows(2).enumerate() {
            entries.clear();
            entries.extend(
                (ends[0] as usize..ends[1] as usize)
                    .map(|entry| (keys.value(entry), counts.value(entry))),
            );
            // Other writers may store a map's entries in any order.
            entries.sort_unstable_by_key(|(bucket, _)| *bucket);
            out.append_option(if maps.is_null(row) {
                None
            } else {
                quantile(&entries, quantiles.value(row))
            });
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

/// `samples(histogram)`: how many values it stands for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Samples {
    signature: Signature,
}

impl Samples {
    /// The function.
    #[allow(clippy::new_without_default, reason = "made once, at registration")]
    pub fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Samples {
    fn name(&self) -> &str {
        "samples"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Map(_, _)] => Ok(DataType::Int64),
            _ => plan_err!("samples takes a histogram"),
        }
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(maps) = arrays[0].as_map_opt() else {
            return exec_err!("samples takes a histogram");
        };
        let Some(counts) = maps.values().as_primitive_opt::<Int64Type>() else {
            return exec_err!("samples takes a histogram of integers");
        };
        let sums: Int64Array = maps
            .value_offsets()
            .windows(2)
            .map(|ends| {
                (ends[0] as usize..ends[1] as usize)
                    .map(|at| counts.value(at))
                    .sum::<i64>()
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(sums)))
    }
}

/// The value at rank `ceil(q * n)` of sorted `(bucket, count)` entries.
pub fn quantile(entries: &[(i32, i64)], q: f64) -> Option<f64> {
    let total: i64 = entries.iter().map(|(_, count)| count).sum();
    let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as i64).max(1);
    let mut seen = 0;
    entries
        .iter()
        .find(|(_, count)| {
            seen += count;
            seen >= rank
        })
        .map(|(bucket, _)| bucket_value(*bucket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Folds values into sorted buckets the way the accumulator does, through two partials.
    fn sketch(values: &[i64]) -> Vec<(i32, i64)> {
        let mut counts = Triples::default();
        for value in values {
            counts.push(0, i64::from(bucket(*value)), 1);
        }
        let mut out = Vec::new();
        counts.take(EmitTo::All, 1, usize::MAX, |entries| {
            out.extend(
                entries
                    .iter()
                    .map(|(_, bucket, count)| (*bucket as i32, *count)),
            );
        });
        out
    }

    proptest! {
        #[test]
        fn a_quantile_lies_within_one_percent_of_the_exact_one(
            mut values in prop::collection::vec(prop_oneof![0_i64..100, 0_i64..10_000_000, 0_i64..600_000_000_000], 1..500),
            q in 0.0_f64..=1.0,
        ) {
            let estimate = quantile(&sketch(&values), q);
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1] as f64;
            let estimate = estimate.unwrap_or(f64::NAN);
            prop_assert!((estimate - exact).abs() <= ERROR * exact * (1.0 + 1e-9), "{estimate} for {exact}");
        }

        #[test]
        fn partials_merge_to_the_whole_in_any_order(
            values in prop::collection::vec(0_i64..1_000_000, 0..300),
            cut in 0_usize..300,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut counts = Triples::default();
            for (bucket, count) in sketch(right).into_iter().chain(sketch(left)) {
                counts.push(0, i64::from(bucket), count);
            }
            let mut merged = Vec::new();
            counts.take(EmitTo::All, 1, usize::MAX, |entries| {
                merged.extend(entries.iter().map(|(_, bucket, count)| (*bucket as i32, *count)));
            });
            prop_assert_eq!(merged, sketch(&values));
        }
    }
}
