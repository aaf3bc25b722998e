//! One simulated request, from the client's wish to what became of it.
//!
//! This runs for every event of a month, so it writes each field once and allocates only the texts.

use super::accounts::Account;
use super::profile::{HOMES, WORKLOADS, Workload};
use super::{HOUR, Hour, World};
use crate::market::{Model, bill, spread};
use rand::{Rng, rngs::SmallRng};
use tidemark_event::{EventId, FailedAttempt, Micros, UsageEvent};

/// Tries per request, the first included.
const ATTEMPTS: usize = 3;

/// A way an attempt can fail: how often, the upstream's status (0: none came), its name, its usual duration, and
/// what the client sees when nothing else helps.
struct Fault {
    weight: u8,
    status: i32,
    name: &'static str,
    latency_us: f32,
    answer: i32,
}

/// Weights sum to 256.
const FAULTS: [Fault; 6] = [
    Fault {
        weight: 106,
        status: 429,
        name: "rate_limited",
        latency_us: 180_000.0,
        answer: 429,
    },
    Fault {
        weight: 52,
        status: 503,
        name: "unavailable",
        latency_us: 350_000.0,
        answer: 503,
    },
    Fault {
        weight: 30,
        status: 502,
        name: "bad_gateway",
        latency_us: 900_000.0,
        answer: 502,
    },
    Fault {
        weight: 26,
        status: 500,
        name: "server_error",
        latency_us: 1_300_000.0,
        answer: 502,
    },
    Fault {
        weight: 26,
        status: 0,
        name: "timeout",
        latency_us: 30_000_000.0,
        answer: 504,
    },
    Fault {
        weight: 16,
        status: 0,
        name: "connection_reset",
        latency_us: 600_000.0,
        answer: 502,
    },
];

fn fault(rng: &mut SmallRng) -> &'static Fault {
    let mut draw = rng.random::<u8>();
    for fault in &FAULTS {
        match draw.checked_sub(fault.weight) {
            Some(rest) => draw = rest,
            None => return fault,
        }
    }
    &FAULTS[0]
}

fn chance(rng: &mut SmallRng, share: f32) -> bool {
    rng.random::<f32>() < share
}

/// `prefix` and sixteen hex digits, without the formatting machinery.
fn hex(prefix: &str, number: u64) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(prefix.len() + 16);
    text.push_str(prefix);
    (0..16)
        .rev()
        .for_each(|nibble| text.push(DIGITS[(number >> (4 * nibble)) as usize & 15] as char));
    text
}

/// How the maker's own API calls a finish.
fn native(model: &str, finish: &str) -> &'static str {
    let column = match model.split('/').next() {
        Some("anthropic") => 0,
        Some("google") => 1,
        _ => 2,
    };
    match finish {
        "stop" => ["end_turn", "STOP", "stop"][column],
        "length" => ["max_tokens", "MAX_TOKENS", "length"][column],
        "tool_calls" => ["tool_use", "STOP", "tool_calls"][column],
        "content_filter" => ["refusal", "SAFETY", "content_filter"][column],
        _ => "",
    }
}

impl World {
    /// One event at `ts`; `model` overrides what the account would have asked for.
    pub(super) fn event(
        &self,
        rng: &mut SmallRng,
        hour: &Hour,
        ts: Micros,
        id: EventId,
        model: Option<usize>,
    ) -> UsageEvent {
        let account = self.account(rng, hour);
        let index = model.unwrap_or_else(|| self.choose(rng, hour, account));
        let model = &self.market.models[index];
        let work = &WORKLOADS[account.work];
        let mut event = request(rng, account, model, work, ts, id);
        if rejected(rng, &mut event, model) {
            return event;
        }
        if let Some(endpoint) = self.route(rng, hour, model, account, &mut event) {
            self.answer(rng, hour, model, work, endpoint, &mut event);
        }
        event
    }

    /// The model: mostly a habit, as long as the habit is in fashion.
    fn choose(&self, rng: &mut SmallRng, hour: &Hour, account: &Account) -> usize {
        if chance(rng, account.loyalty) {
            let habit = account.habit(rng);
            // Twice the chance, so that a steady model keeps most of its regulars.
            if chance(rng, 2.0 * hour.accepted[habit]) {
                return habit;
            }
        }
        hour.models.pick(rng)
    }

    /// Tries endpoints until one answers. `None`: none did, and the event says so.
    fn route(
        &self,
        rng: &mut SmallRng,
        hour: &Hour,
        model: &Model,
        account: &Account,
        event: &mut UsageEvent,
    ) -> Option<usize> {
        let mut at = match event.variant.as_str() {
            "nitro" => model.fastest,
            "floor" => model.cheapest,
            _ => model.endpoints[model.reach.pick(rng)],
        };
        at = self.market.fitting(model, at, event.prompt_tokens);
        let mut spent = 0;
        for attempt in 1..=ATTEMPTS {
            let endpoint = &self.market.endpoints[at];
            let provider = &self.market.providers[endpoint.provider];
            let faults = if hour.down[endpoint.provider] {
                0.85
            } else {
                provider.faults
            };
            let near = || {
                endpoint
                    .regions
                    .iter()
                    .find(|region| region.starts_with(HOMES[account.home].2))
            };
            let region = near()
                .or(endpoint.regions.first())
                .cloned()
                .unwrap_or_default();
            if !chance(rng, faults) {
                event.latency_us = spent;
                event.provider.clone_from(&provider.slug);
                event.endpoint.clone_from(&endpoint.id);
                endpoint.quantization.clone_into(&mut event.quantization);
                event.region = region;
                return Some(at);
            }
            let fault = fault(rng);
            let latency = spread(rng, fault.latency_us, 0.3) as i64;
            spent += latency;
            // The next try goes elsewhere where there is an elsewhere.
            let next = model
                .endpoints
                .iter()
                .position(|&other| other == at)
                .unwrap_or(0)
                + 1;
            let next = self.market.fitting(
                model,
                model.endpoints[next % model.endpoints.len()],
                event.prompt_tokens,
            );
            if attempt == ATTEMPTS || next == at {
                event.latency_us = spent + event.overhead_us;
                event.provider.clone_from(&provider.slug);
                event.endpoint.clone_from(&endpoint.id);
                endpoint.quantization.clone_into(&mut event.quantization);
                event.region = region;
                "error".clone_into(&mut event.outcome);
                event.status = fault.answer;
                fault.name.clone_into(&mut event.error_type);
                break;
            }
            event.failed_attempts.push(FailedAttempt {
                provider: provider.slug.clone(),
                endpoint: endpoint.id.clone(),
                region,
                model: model.id.clone(),
                status: fault.status,
                error_type: fault.name.to_owned(),
                latency_us: latency,
                cost_nanousd: 0,
            });
            at = next;
        }
        // What was asked was never counted by anybody.
        event.prompt_tokens = 0;
        event.image_prompt_tokens = 0;
        event.completion_tokens = 0;
        None
    }

    /// Fills in the answer of the endpoint that gave one.
    fn answer(
        &self,
        rng: &mut SmallRng,
        hour: &Hour,
        model: &Model,
        work: &Workload,
        at: usize,
        event: &mut UsageEvent,
    ) {
        let provider = &self.market.providers[self.market.endpoints[at].provider];
        cache(rng, event, model, work);
        let mut finish = "stop";
        let fate = rng.random::<f32>();
        if fate < provider.filtered {
            finish = "content_filter";
            "filtered".clone_into(&mut event.refusal);
            event.completion_tokens = event.completion_tokens.min(8);
        } else if fate < provider.filtered + work.declined {
            if chance(rng, 0.4) {
                "declined"
            } else {
                "declined_text"
            }
            .clone_into(&mut event.refusal);
            event.completion_tokens = event.completion_tokens.min(60);
        } else {
            if model.reasoning && chance(rng, 0.7) {
                event.reasoning_tokens = (spread(rng, 620.0, 1.0) as i64).min(60_000);
                event.completion_tokens += event.reasoning_tokens;
            }
            if tools(rng, event, work, provider.tool_faults) {
                finish = "tool_calls";
            }
        }
        // No answer is longer than what the window leaves, and now and then the client's limit is shorter still.
        let room =
            (self.market.endpoints[at].context - event.prompt_tokens).clamp(1, model.max_output);
        if finish == "stop" && (event.completion_tokens > room || chance(rng, 0.022)) {
            finish = "length";
            event.truncated = true;
        }
        event.completion_tokens = event.completion_tokens.min(room);
        let whole = event.completion_tokens;
        let breaks = rng.random::<f32>();
        if event.streamed && finish == "stop" && breaks < 0.022 {
            let share = rng.random::<f32>();
            event.completion_tokens = (whole as f32 * share) as i64;
            "estimated".clone_into(&mut event.usage_source);
            if breaks < 0.019 {
                "cancelled".clone_into(&mut event.outcome);
                event.cancelled = true;
                finish = "";
            } else {
                "error".clone_into(&mut event.outcome);
                "stream_broken".clone_into(&mut event.error_type);
                finish = "error";
            }
        } else if chance(rng, 0.012) {
            "estimated".clone_into(&mut event.usage_source);
        }
        event.reasoning_tokens = event.reasoning_tokens.min(event.completion_tokens);
        finish.clone_into(&mut event.finish_reason);
        native(&model.id, finish).clone_into(&mut event.native_finish_reason);
        let pace = self.market.pace(
            rng,
            at,
            event.prompt_tokens - event.cached_tokens,
            event.completion_tokens,
        );
        event.latency_us += event.overhead_us + pace.ttft + pace.generation;
        if event.streamed && event.completion_tokens > 0 {
            event.ttft_us = Some(pace.ttft);
            event.generation_us = Some(pace.generation);
        }
        if event.variant != "free" {
            bill(event, hour.prices[at].as_ref());
        }
    }
}

/// What the client sent.
fn request(
    rng: &mut SmallRng,
    account: &Account,
    model: &Model,
    work: &Workload,
    ts: Micros,
    id: EventId,
) -> UsageEvent {
    let lean = rng.random::<f32>();
    let free = if model.open { account.free } else { 0.0 };
    let variant = match lean {
        lean if lean < free => "free",
        lean if lean < free + account.nitro => "nitro",
        lean if lean < free + account.nitro + account.floor => "floor",
        _ => "",
    };
    let mut model_requested = String::with_capacity(model.id.len() + 1 + variant.len());
    model_requested.push_str(&model.id);
    if !variant.is_empty() {
        model_requested.push(':');
        model_requested.push_str(variant);
    }
    let mut prompt =
        (spread(rng, work.prompt.0 * account.size, work.prompt.1) as i64).clamp(4, 4_000_000);
    let image = if chance(rng, 0.03) {
        258 * rng.random_range(1..=4)
    } else {
        0
    };
    prompt += image;
    let offers = model.tools && chance(rng, work.tools);
    let offered = if offers {
        (spread(rng, 6.0, 0.7) as i32).clamp(1, 96)
    } else {
        0
    };
    let choice = match rng.random::<u8>() {
        _ if !offers => "none",
        0..218 => "auto",
        218..242 => "required",
        242..251 => "named",
        _ => "none",
    };
    // Conversations last some twenty minutes.
    let session = account.key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (ts.0 as u64 / (HOUR as u64 / 3)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let anthropic = model.id.starts_with("anthropic/");
    let tail = u64::from_be_bytes([
        id.0[8], id.0[9], id.0[10], id.0[11], id.0[12], id.0[13], id.0[14], id.0[15],
    ]);
    let category = if account.sampled {
        work.categories[rng.random_range(0..work.categories.len())]
    } else {
        ""
    };
    UsageEvent {
        event_id: id,
        ts,
        request_id: hex("gen-", tail),
        session_id: if session & 7 == 0 {
            String::new()
        } else {
            hex("", session)
        },
        account_id: account.id.clone(),
        app: account.app.to_owned(),
        operation: if anthropic && account.key & 3 == 0 {
            "messages"
        } else {
            "chat"
        }
        .to_owned(),
        streamed: chance(rng, work.streamed),
        model_requested,
        model: model.id.clone(),
        variant: variant.to_owned(),
        prompt_tokens: prompt,
        completion_tokens: (spread(rng, work.completion.0, work.completion.1) as i64)
            .clamp(1, 64_000),
        image_prompt_tokens: image,
        overhead_us: spread(rng, 420.0, 0.5) as i64,
        tools_offered: offered,
        tool_choice: choice.to_owned(),
        category: category.to_owned(),
        simulated: true,
        source: "simulated".to_owned(),
        router_id: ["sim-us-1", "sim-eu-1", "sim-ap-1"][account.home].to_owned(),
        router_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..UsageEvent::default()
    }
}

/// Turned away at the door: no credit, no key, too many requests, or a prompt that fits nowhere.
fn rejected(rng: &mut SmallRng, event: &mut UsageEvent, model: &Model) -> bool {
    let mut reason = None;
    if event.prompt_tokens + 64 > model.context {
        // Most clients cut their history before the window ends.
        if chance(rng, 0.06) {
            event.context_overflow = true;
            reason = Some((400, "context_length_exceeded"));
        } else {
            event.prompt_tokens = (model.context as f32 * (0.3 + 0.6 * rng.random::<f32>())) as i64;
            event.image_prompt_tokens = event.image_prompt_tokens.min(event.prompt_tokens);
        }
    } else if chance(rng, 0.006) {
        reason = Some(match rng.random::<u8>() {
            0..90 => (402, "insufficient_credits"),
            90..130 => (401, "invalid_key"),
            130..210 => (429, "account_rate_limited"),
            _ => (400, "invalid_request"),
        });
    }
    let Some((status, name)) = reason else {
        return false;
    };
    "rejected".clone_into(&mut event.outcome);
    event.status = status;
    name.clone_into(&mut event.error_type);
    event.prompt_tokens = 0;
    event.image_prompt_tokens = 0;
    event.completion_tokens = 0;
    event.latency_us = event.overhead_us;
    true
}

/// Which part of the prompt a cache held, and which part went into one.
fn cache(rng: &mut SmallRng, event: &mut UsageEvent, model: &Model, work: &Workload) {
    if event.prompt_tokens < 1_024 {
        return;
    }
    let warm = chance(rng, work.cached);
    if warm {
        let share = 0.45 + 0.5 * rng.random::<f32>();
        event.cached_tokens =
            ((event.prompt_tokens as f32 * share) as i64).min(event.prompt_tokens) & !127;
    }
    if model.id.starts_with("anthropic/") && (warm || chance(rng, 0.4)) {
        let rest = event.prompt_tokens - event.cached_tokens;
        event.cache_write_tokens = ((rest as f32 * 0.8 * rng.random::<f32>()) as i64).min(rest);
    }
}

/// Decides on tool calls. True when the answer ends in some.
fn tools(rng: &mut SmallRng, event: &mut UsageEvent, work: &Workload, faults: f32) -> bool {
    let share = match event.tool_choice.as_str() {
        "auto" => work.calls,
        "required" | "named" => 0.97 - faults,
        _ => return false,
    };
    if event.tools_offered == 0 || !chance(rng, share) {
        return false;
    }
    event.tools_called = 1;
    while event.tools_called < 6 && chance(rng, 0.22) {
        event.tools_called += 1;
    }
    for _ in 0..event.tools_called {
        if chance(rng, faults) {
            match rng.random::<u8>() {
                0..90 => event.tool_invalid_json += 1,
                90..140 => event.tool_unknown_name += 1,
                _ => event.tool_schema_mismatch += 1,
            }
        }
    }
    true
}
