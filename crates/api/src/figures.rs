//! How someone does, as JSON: in OpenRouter's names, with the size of every sample beside.

use serde::Serialize;
use serde_json::{Value, json};
use tidemark_insight::Measure;

/// What the figures are in, for the `meta` of every answer that has some.
pub(crate) const UNITS: &str = "uptime, rates and tool_call_success in percent; latency (to the first token) in milliseconds; \
    throughput in tokens per second; p99 is what 99 of 100 answers kept or reached; null where the sample is too small";

/// Figures under the names that clients of other routers know.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    status: i64,
    uptime_last_5m: Option<f64>,
    uptime_last_30m: Option<f64>,
    uptime_last_1d: Option<f64>,
    latency_last_30m: Option<Percentiles>,
    throughput_last_30m: Option<Percentiles>,
    rate_limited_last_30m: Option<f64>,
    refusal_rate_last_1d: Option<f64>,
    filter_rate_last_1d: Option<f64>,
    tool_call_success_last_1d: Option<f64>,
    samples: Samples,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50: f64,
    p75: f64,
    p90: f64,
    p99: f64,
}

/// What each figure is computed from.
#[derive(Debug, Default, Serialize)]
struct Samples {
    uptime_last_5m: i64,
    uptime_last_30m: i64,
    uptime_last_1d: i64,
    latency_last_30m: i64,
    throughput_last_30m: i64,
    rate_limited_last_30m: i64,
    refusal_rate_last_1d: i64,
    filter_rate_last_1d: i64,
    tool_call_success_last_1d: i64,
    declined_last_1d: i64,
    declined_text_last_1d: i64,
    simulated_last_1d: i64,
}

impl From<&Measure> for Figures {
    fn from(m: &Measure) -> Self {
        let percentiles = |of: [Option<f64>; 4]| match of {
            [Some(p50), Some(p75), Some(p90), Some(p99)] => {
                let [p50, p75, p90, p99] = [p50, p75, p90, p99].map(|value| value / 1000.0);
                Some(Percentiles { p50, p75, p90, p99 })
            }
            _ => None,
        };
        let percent = |part: Option<f64>| part.map(|part| part * 100.0);
        Self {
            status: m.status,
            uptime_last_5m: percent(m.uptime_5m),
            uptime_last_30m: percent(m.uptime_30m),
            uptime_last_1d: percent(m.uptime_1d),
            latency_last_30m: percentiles([
                m.ttft_30m_p50,
                m.ttft_30m_p75,
                m.ttft_30m_p90,
                m.ttft_30m_p99,
            ]),
            throughput_last_30m: percentiles([
                m.throughput_30m_p50,
                m.throughput_30m_p75,
                m.throughput_30m_p90,
                m.throughput_30m_p99,
            ]),
            rate_limited_last_30m: percent(m.rate_limited_share_30m),
            refusal_rate_last_1d: percent(m.refusal_rate_1d),
            filter_rate_last_1d: percent(m.filter_rate_1d),
            tool_call_success_last_1d: percent(m.tool_success_1d),
            samples: Samples {
                uptime_last_5m: m.ok_5m + m.failed_5m,
                uptime_last_30m: m.ok_30m + m.failed_30m,
                uptime_last_1d: m.ok_1d + m.failed_1d,
                latency_last_30m: m.ttft_30m_samples,
                throughput_last_30m: m.throughput_30m_samples,
                rate_limited_last_30m: m.attempts_30m,
                refusal_rate_last_1d: m.answered_1d,
                filter_rate_last_1d: m.answered_1d,
                tool_call_success_last_1d: m.tool_requests_1d,
                declined_last_1d: m.declined_1d,
                declined_text_last_1d: m.declined_text_1d,
                simulated_last_1d: m.simulated_1d,
            },
        }
    }
}

/// Figures of whoever was measured; empty ones of whoever was not.
pub(crate) fn figures(measure: Option<&Measure>) -> Value {
    json!(measure.map(Figures::from).unwrap_or_default())
}
