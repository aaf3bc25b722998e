//! One line of statistics.

use crate::InsightError;
use crate::decode::{Columns, integer, real, text};
use arrow::record_batch::RecordBatch;

/// The columns of `measures.sql` as a struct and the reading of them: each name stands once.
macro_rules! measure {
    (counts { $($(#[$count_doc:meta])* $count:ident,)+ } ratios { $($(#[$ratio_doc:meta])* $ratio:ident,)+ }) => {
        /// How one endpoint in a region, one provider or one model has done. Windows end now: 5 and 30 minutes, two hours, a day.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Measure {
            /// Endpoint, provider or model.
            pub key: String,
            /// Region; empty for providers and models.
            pub region: String,
            $($(#[$count_doc])* pub $count: i64,)+
            $($(#[$ratio_doc])* pub $ratio: Option<f64>,)+
        }

        impl Measure {
            /// The rows of one batch of the result of `file`.
            pub(crate) fn read(file: &'static str, batch: &RecordBatch) -> Result<Vec<Self>, InsightError> {
                let columns = Columns { file, batch };
                let (key, region) = (columns.texts("key")?, columns.texts("region")?);
                $(let $count = columns.integers(stringify!($count))?;)+
                $(let $ratio = columns.reals(stringify!($ratio))?;)+
                Ok((0..batch.num_rows())
                    .map(|row| Self {
                        key: text(&key, row),
                        region: text(&region, row),
                        $($count: integer(&$count, row).unwrap_or(0),)+
                        $($ratio: real(&$ratio, row),)+
                    })
                    .collect())
            }
        }
    };
}

measure! {
    counts {
        /// Attempts that ended well.
        ok_5m,
        /// Attempts that failed by the formula of uptime.
        failed_5m,
        /// Attempts answered with 429.
        rate_limited_5m,
        /// Attempts that ended well.
        ok_30m,
        /// Attempts that failed by the formula of uptime.
        failed_30m,
        /// Attempts answered with 429.
        rate_limited_30m,
        /// Attempts, however they ended.
        attempts_30m,
        /// Attempts that ended well.
        ok_2h,
        /// Requests that finished with tool calls.
        tool_requests_2h,
        /// Those of them without a wrong call.
        tool_requests_ok_2h,
        /// Answers that were refused, in whatever way.
        refused_2h,
        /// Attempts that ended well.
        ok_1d,
        /// Attempts that failed by the formula of uptime.
        failed_1d,
        /// Attempts answered with 429.
        rate_limited_1d,
        /// Attempts, however they ended.
        attempts_1d,
        /// Those of them that were simulated.
        simulated_1d,
        /// Requests that finished with tool calls.
        tool_requests_1d,
        /// Those of them without a wrong call.
        tool_requests_ok_1d,
        /// Answers stopped by the provider's filter.
        filtered_1d,
        /// Answers that the model declined, as the API says.
        declined_1d,
        /// Answers that decline in their text.
        declined_text_1d,
        /// Answers, refused ones included: what refusal rates are parts of.
        answered_1d,
        /// 0 well or not known, -1 degraded, -2 for when nothing else is left.
        status,
        /// Answers whose first token was timed.
        ttft_30m_samples,
        /// Streamed answers long enough for a speed.
        throughput_30m_samples,
    }
    ratios {
        /// Part of attempts that ended well, 0 to 1; none under [`ENOUGH_ATTEMPTS`](crate::ENOUGH_ATTEMPTS).
        uptime_5m,
        /// The same over half an hour.
        uptime_30m,
        /// The same over a day.
        uptime_1d,
        /// Part of attempts answered with 429.
        rate_limited_share_30m,
        /// Part of answers that the model declined, in either way.
        refusal_rate_1d,
        /// Part of answers that the provider's filter stopped.
        filter_rate_1d,
        /// Part of requests with tool calls in which none was wrong.
        tool_success_1d,
        /// Median time to the first token, microseconds.
        ttft_5m_p50,
        /// Median throughput, tokens per second x 1000.
        throughput_5m_p50,
        /// Time to the first token that half of the answers kept, microseconds.
        ttft_30m_p50,
        /// Three quarters.
        ttft_30m_p75,
        /// Nine tenths.
        ttft_30m_p90,
        /// All but one in a hundred.
        ttft_30m_p99,
        /// Throughput that half of the answers reached, tokens per second x 1000.
        throughput_30m_p50,
        /// Three quarters.
        throughput_30m_p75,
        /// Nine tenths.
        throughput_30m_p90,
        /// All but one in a hundred.
        throughput_30m_p99,
    }
}
