//! How an endpoint behaves in a region, and the layers that this comes from.

use super::values::{Amount, Brownout, Chance, Drift, Law, Trouble};
use serde::Deserialize;
use std::time::Duration;

macro_rules! behaviour {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        /// How an endpoint behaves in a region: the outcome of all layers.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Behaviour {
            $($(#[$doc])* pub(super) $name: $type,)*
        }

        impl Default for Behaviour {
            /// Never fails.
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// Some fields of a [`Behaviour`].
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Layer {
            $(pub(super) $name: Option<$type>,)*
        }

        impl Layer {
            pub(super) fn over(&self, below: &Behaviour) -> Behaviour {
                Behaviour {
                    $($name: self.$name.clone().unwrap_or_else(|| below.$name.clone()),)*
                }
            }
        }
    };
}

behaviour! {
    /// Milliseconds to the first token.
    ttft_ms: Law = Law { median: 300.0, p95: 600.0 };
    /// Speed of generation.
    tokens_per_second: Amount = Amount(80.0);
    /// Multiplies latencies, divides speed.
    slowdown: Amount = Amount(1.0);
    /// Length of an answer's text.
    completion_tokens: Law = Law { median: 120.0, p95: 400.0 };
    /// Length of the thinking before it, at models that reason.
    reasoning_tokens: Law = Law { median: 80.0, p95: 600.0 };
    /// Tokens in one part of a stream; 0: what is usual in the dialect.
    tokens_per_chunk: Amount = Amount(0.0);
    /// Prompts below this are not cached.
    cache_min_tokens: Amount = Amount(1_024.0);
    /// Seconds for which a prompt's prefix stays cached.
    cache_s: Amount = Amount(300.0);
    /// Share of requests answered 429.
    rate_limited: Chance = Chance(0.0);
    /// What `Retry-After` then says, seconds.
    retry_after_s: Amount = Amount(2.0);
    /// Share of requests answered 500, 502 or 503.
    server_error: Chance = Chance(0.0);
    /// Share of requests never answered.
    hang: Chance = Chance(0.0);
    /// Share of answers that stop in the middle, connection open.
    stall: Chance = Chance(0.0);
    /// Share of answers whose connection is cut in the middle.
    cut: Chance = Chance(0.0);
    /// Share of answers refused in the API's own words.
    refuse: Chance = Chance(0.0);
    /// Share of answers stopped by the provider's filter.
    filter: Chance = Chance(0.0);
    /// Share of answers refused in prose.
    refuse_text: Chance = Chance(0.0);
    /// Share of tool calls whose arguments are not JSON.
    invalid_json: Chance = Chance(0.0);
    /// Share of tool calls with a name that was not offered.
    unknown_tool: Chance = Chance(0.0);
    /// Share of tool calls whose arguments fail the schema.
    schema_mismatch: Chance = Chance(0.0);
    /// Share of requests that must call a tool and get text.
    ignore_tools: Chance = Chance(0.0);
    /// Share of requests that may call a tool and do.
    calls_tools: Chance = Chance(1.0);
    /// Of those, share that calls several at once where several are offered.
    parallel_calls: Chance = Chance(1.0);
    /// Share of answers cut at the token limit.
    truncate: Chance = Chance(0.0);
    /// Share of answers that are garbage: HTML, half a line, the wrong content type.
    garbage: Chance = Chance(0.0);
    /// Share of answers that begin with a 200 and are, or end in, an error.
    error_200: Chance = Chance(0.0);
    /// Share of streams that never end.
    endless: Chance = Chance(0.0);
    /// Share of answers without token counts.
    no_usage: Chance = Chance(0.0);
    /// Bad times.
    brownouts: Vec<Brownout> = Vec::new();
    /// A change for the worse.
    drift: Option<Drift> = None;
}

impl Behaviour {
    /// The same pace without any fault.
    pub(super) fn calm(&self) -> Self {
        Self {
            ttft_ms: self.ttft_ms,
            tokens_per_second: self.tokens_per_second,
            slowdown: self.slowdown,
            completion_tokens: self.completion_tokens,
            reasoning_tokens: self.reasoning_tokens,
            tokens_per_chunk: self.tokens_per_chunk,
            cache_min_tokens: self.cache_min_tokens,
            cache_s: self.cache_s,
            calls_tools: self.calls_tools,
            parallel_calls: self.parallel_calls,
            ..Self::default()
        }
    }

    /// What all bad times that are on do together, so long after the start.
    pub(super) fn trouble(&self, since_start: Duration, seed: u64) -> Trouble {
        let calm = Trouble {
            slowdown: self.slowdown.0,
            ..Trouble::default()
        };
        self.brownouts
            .iter()
            .filter(|brownout| brownout.is_on(since_start, seed))
            .fold(calm, |sum, brownout| sum.and(brownout.trouble()))
    }
}

impl Layer {
    /// Gives bad times that come by chance a chance of their own: those of one place come together, those of two places do not.
    pub(super) fn placed(mut self, place: &str) -> Self {
        for (index, brownout) in self.brownouts.iter_mut().flatten().enumerate() {
            brownout.place(place, index);
        }
        self
    }
}
