//! Mergeable sketches as SQL functions: histograms for quantiles, bottom-k for distinct counts.
//!
//! Both are stored open (a map of bucket to count, a list of hashes), so that any engine can merge
//! them with what it has: a sum by bucket, a sorted union cut at k.

mod accumulator;
pub mod bottom_k;
pub mod histogram;
mod triples;

use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

/// Makes `histogram`, `histogram_merge`, `quantile`, `samples`, `bottom_k`, `bottom_k_merge` and `distinct` known to `context`.
pub fn register(context: &SessionContext) {
    context.register_udaf(AggregateUDF::from(histogram::Histogram::of_values()));
    context.register_udaf(AggregateUDF::from(histogram::Histogram::of_histograms()));
    context.register_udaf(AggregateUDF::from(bottom_k::BottomK::of_values()));
    context.register_udaf(AggregateUDF::from(bottom_k::BottomK::of_sketches()));
    context.register_udf(ScalarUDF::from(histogram::Quantile::new()));
    context.register_udf(ScalarUDF::from(histogram::Samples::new()));
    context.register_udf(ScalarUDF::from(bottom_k::Distinct::new()));
}
