//! Draws what happens to a request: from the seed, the endpoint and the request's number there, and from nothing else
//! but the time, which moves brownouts and drifts.

use super::ask::Ask;
use super::behaviour::Behaviour;
use super::directive::{Act, Cut, Directive};
use super::script::{Dialect, Model};
use super::values::{Chance, Trouble};
use chrono::{DateTime, Utc};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use std::time::Duration;

/// When a request came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: DateTime<Utc>,
    pub(super) since_start: Duration,
}

/// What will happen to a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) act: Act,
    pub(super) retry_after: u32,
    /// To the first token.
    pub(super) ttft: Duration,
    pub(super) pace: Pace,
    pub(super) tokens: u32,
    pub(super) reasoning: u32,
    pub(super) tokens_per_chunk: u32,
    pub(super) usage: bool,
    /// Whether tools are called where the request leaves it open.
    pub(super) calls: bool,
    pub(super) parallel: bool,
    /// Where words and ids begin.
    pub(super) salt: u64,
}

/// How fast an answer comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    PerToken(Duration),
    PerChunk(Duration),
}

/// A thing that may happen, by its share.
struct Lot {
    draw: f64,
    act: Option<Act>,
}

impl Lot {
    /// Takes the act unless an earlier one was taken. Every share has its own place on the line from 0 to 1, so that
    /// a raised share changes only requests that were fine.
    fn share(&mut self, chance: f64, act: Act) {
        self.draw -= chance;
        if self.draw < 0.0 && self.act.is_none() {
            self.act = Some(act);
        }
    }
}

/// What an answer depends on besides the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) behaviour: &'a Behaviour,
    pub(super) model: &'a Model,
    pub(super) dialect: Dialect,
    pub(super) moment: Moment,
    /// Factor on every delay.
    pub(super) speed: f64,
    /// Of all requests: what bad times follow from.
    pub(super) world: u64,
    /// Of this one request.
    pub(super) seed: u64,
}

pub(super) fn plan(scene: Scene<'_>, ask: &Ask, directive: &Directive) -> Plan {
    let Scene {
        behaviour,
        model,
        dialect,
        moment,
        speed,
        world,
        seed,
    } = scene;
    let mut rng = SmallRng::seed_from_u64(seed);
    // All draws come first and in one order, whether used or not: then a changed share moves nothing else.
    let (fault, kind, wrong) = (
        rng.random::<f64>(),
        rng.random::<f64>(),
        rng.random::<f64>(),
    );
    let (calls, parallel, usage) = (
        rng.random::<f64>(),
        rng.random::<f64>(),
        rng.random::<f64>(),
    );
    let (first, length, thinking, pace): (f64, f64, f64, f64) = (
        rng.sample(StandardNormal),
        rng.sample(StandardNormal),
        rng.sample(StandardNormal),
        rng.sample(StandardNormal),
    );
    let salt = rng.random::<u64>();

    let trouble = behaviour.trouble(moment.since_start, world);
    let slowdown = trouble.slowdown.max(0.01);
    let act = match directive.act {
        Some(act) => act,
        None if directive.given => Act::Ok,
        None => chance(behaviour, ask, trouble, moment.now, (fault, kind, wrong)),
    };
    // Anthropic has a status of its own for that.
    let act = match act {
        Act::Status(503) if directive.act.is_none() && dialect == Dialect::Anthropic => {
            Act::Status(529)
        }
        act => act,
    };

    let scaled =
        |seconds: f64| Duration::try_from_secs_f64(seconds * speed).unwrap_or(Duration::ZERO);
    let ttft = behaviour.ttft_ms.at(first) / 1_000.0 * slowdown;
    let rate = behaviour.tokens_per_second.0 * (0.12 * pace).exp() / slowdown;
    let per_token = if rate > 0.0 { 1.0 / rate } else { 0.0 };
    let drawn = |value: f64| value.round().clamp(1.0, 200_000.0) as u32;
    let most = u32::try_from(model.max_output).unwrap_or(u32::MAX);
    let reasoning = match directive.reasoning {
        Some(reasoning) => reasoning,
        None if model.reasoning || ask.thinking == Some(true) => {
            drawn(behaviour.reasoning_tokens.at(thinking)).min(most / 2)
        }
        None => 0,
    };
    let per_chunk = match behaviour.tokens_per_chunk.0 as u32 {
        0 => match dialect {
            Dialect::Openai | Dialect::OpenaiCompatible => 1,
            Dialect::Anthropic => 4,
            Dialect::Gemini => 12,
        },
        tokens => tokens,
    };
    Plan {
        act,
        retry_after: directive
            .retry_after
            .unwrap_or(behaviour.retry_after_s.0.ceil() as u32),
        ttft: directive.ttft.unwrap_or_else(|| scaled(ttft)),
        pace: match directive.chunk {
            Some(chunk) => Pace::PerChunk(chunk),
            None => Pace::PerToken(scaled(per_token)),
        },
        tokens: directive
            .tokens
            .unwrap_or_else(|| drawn(behaviour.completion_tokens.at(length)).min(most)),
        reasoning,
        tokens_per_chunk: per_chunk,
        usage: !directive.no_usage && (directive.given || usage >= behaviour.no_usage.0),
        calls: directive.given || calls < behaviour.calls_tools.0,
        parallel: directive.given || parallel < behaviour.parallel_calls.0,
        salt,
    }
}

/// What happens when nobody asked for anything.
fn chance(
    behaviour: &Behaviour,
    ask: &Ask,
    trouble: Trouble,
    now: DateTime<Utc>,
    (fault, kind, wrong): (f64, f64, f64),
) -> Act {
    let mut lot = Lot {
        draw: fault,
        act: None,
    };
    let errors = match kind {
        kind if kind < 0.5 => 500,
        kind if kind < 0.65 => 502,
        _ => 503,
    };
    let garbage = match kind {
        kind if kind < 0.34 => Act::Html,
        kind if kind < 0.67 => Act::HalfSse,
        _ => Act::WrongType,
    };
    let failed = if ask.stream && kind < 0.6 {
        Act::ErrorInStream
    } else {
        Act::Error200
    };
    for (Chance(share), act) in [
        (behaviour.server_error, Act::Status(errors)),
        (behaviour.rate_limited, Act::Status(429)),
        (behaviour.hang, Act::Hang),
        (behaviour.stall, Act::Stall),
        (behaviour.cut, Act::Cut(Cut::Half)),
        (behaviour.refuse, Act::Refuse),
        (behaviour.filter, Act::Filter),
        (behaviour.refuse_text, Act::RefuseText),
        (behaviour.truncate, Act::Length),
        (behaviour.garbage, garbage),
        (behaviour.error_200, failed),
        (behaviour.endless, Act::Endless),
        (Chance(trouble.rate_limited), Act::Status(429)),
        (Chance(trouble.hang), Act::Hang),
        (Chance(trouble.error_rate), Act::Status(503)),
    ] {
        lot.share(share, act);
    }
    if let Some(act) = lot.act {
        return act;
    }
    let mut lot = Lot {
        draw: wrong,
        act: None,
    };
    if ask.must_call() {
        lot.share(behaviour.ignore_tools.0, Act::IgnoreTools);
    }
    if ask.may_call() {
        let drift = behaviour.drift.map_or(1.0, |drift| drift.factor(now));
        lot.share(behaviour.invalid_json.0 * drift, Act::BadJson);
        lot.share(behaviour.unknown_tool.0 * drift, Act::UnknownTool);
        lot.share(behaviour.schema_mismatch.0 * drift, Act::SchemaMismatch);
    }
    lot.act.unwrap_or(Act::Ok)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::providers::script::Script;

    fn draw(script: &str, number: u64, moment: Moment, tools: bool) -> Plan {
        let script = Script::from_toml(script).unwrap();
        let model = &script.providers["p"].models["m"];
        let mut ask = Ask::default();
        if tools {
            ask.tools.push(super::super::ask::Tool {
                name: "t".to_owned(),
                schema: serde_json::json!({}),
            });
        }
        let scene = Scene {
            behaviour: model.behaviour(None),
            model,
            dialect: Dialect::Openai,
            moment,
            speed: 1.0,
            world: 7,
            seed: number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        };
        plan(scene, &ask, &Directive::default())
    }

    fn at(seconds: u64, date: &str) -> Moment {
        Moment {
            now: format!("{date}T00:00:00Z").parse().unwrap(),
            since_start: Duration::from_secs(seconds),
        }
    }

    fn share(script: &str, moment: Moment, tools: bool, of: impl Fn(Act) -> bool) -> f64 {
        (0..4_000)
            .filter(|number| of(draw(script, *number, moment, tools).act))
            .count() as f64
            / 4_000.0
    }

    #[test]
    fn shares_are_met_and_draws_repeat() {
        let script =
            "[provider.p.behaviour]\nrate_limited = 0.1\nrefuse = 0.05\n[provider.p.model.m]";
        let moment = at(0, "2026-01-01");
        let limited = share(script, moment, false, |act| act == Act::Status(429));
        let refused = share(script, moment, false, |act| act == Act::Refuse);
        assert!((limited - 0.1).abs() < 0.02, "{limited}");
        assert!((refused - 0.05).abs() < 0.015, "{refused}");
        for number in 0..50 {
            assert_eq!(
                draw(script, number, moment, false),
                draw(script, number, moment, false)
            );
        }
    }

    #[test]
    fn brownouts_and_drifts_follow_the_time() {
        let script = r#"
            [provider.p.behaviour]
            schema_mismatch = 0.02
            drift = { from = "2026-06-01", factor = 10 }
            brownouts = [{ start_s = 100, duration_s = 50, error_rate = 0.6, slowdown = 4 }]
            [provider.p.model.m]
        "#;
        let failed = |act| matches!(act, Act::Status(503));
        assert!(share(script, at(0, "2026-01-01"), false, failed) < 1e-9);
        assert!((share(script, at(120, "2026-01-01"), false, failed) - 0.6).abs() < 0.04);
        let (before, during) = (
            draw(script, 1, at(0, "2026-01-01"), false).ttft,
            draw(script, 1, at(120, "2026-01-01"), false).ttft,
        );
        assert!(during > before * 3, "{before:?} {during:?}");
        let wrong = |act| act == Act::SchemaMismatch;
        assert!((share(script, at(0, "2026-05-31"), true, wrong) - 0.02).abs() < 0.01);
        assert!((share(script, at(0, "2026-06-02"), true, wrong) - 0.2).abs() < 0.03);
        assert!(share(script, at(0, "2026-06-02"), false, wrong) < 1e-9);
    }
}
