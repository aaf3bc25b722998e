//! What simulated traffic promises: its own consistency, its order, its count, and the same again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::collections::{HashMap, HashSet};
use tidemark_catalog::Catalog;
use tidemark_event::{Micros, UsageEvent, validate, wire};
use tidemark_sim::traffic::Traffic;

const DAY: i64 = 86_400_000_000;
/// 2026-10-24T00:00:00Z.
const FROM: Micros = Micros(1_792_800_000_000_000);
const TO: Micros = Micros(FROM.0 + 30 * DAY);

fn traffic(seed: u64) -> Traffic {
    Traffic::new(&Catalog::builtin().unwrap(), seed)
}

fn month(seed: u64, events: u64) -> Vec<UsageEvent> {
    traffic(seed).history(FROM, TO, events).collect()
}

fn consistent(event: &UsageEvent) {
    let numbers = [
        event.prompt_tokens,
        event.cached_tokens,
        event.cache_write_tokens,
        event.completion_tokens,
        event.reasoning_tokens,
        event.image_prompt_tokens,
        event.cost_nanousd,
        event.cost_prompt_nanousd,
        event.cost_cached_nanousd,
        event.cost_cache_write_nanousd,
        event.cost_completion_nanousd,
        event.cost_request_nanousd,
        event.cost_other_nanousd,
        event.latency_us,
        event.overhead_us,
        event.ttft_us.unwrap_or(0),
        event.generation_us.unwrap_or(0),
        event.tools_called.into(),
        event.tools_offered.into(),
    ];
    assert!(numbers.iter().all(|number| *number >= 0), "{event:?}");
    assert!(
        event.cached_tokens + event.cache_write_tokens <= event.prompt_tokens,
        "{event:?}"
    );
    assert!(
        event.image_prompt_tokens <= event.prompt_tokens,
        "{event:?}"
    );
    assert!(
        event.reasoning_tokens <= event.completion_tokens,
        "{event:?}"
    );
    let parts = event.cost_prompt_nanousd
        + event.cost_cached_nanousd
        + event.cost_cache_write_nanousd
        + event.cost_completion_nanousd
        + event.cost_request_nanousd
        + event.cost_other_nanousd;
    assert_eq!(parts, event.cost_nanousd, "{event:?}");
    assert_eq!(
        event.truncated,
        event.finish_reason == "length",
        "{event:?}"
    );
    assert_eq!(event.cancelled, event.outcome == "cancelled", "{event:?}");
    assert!(
        ["ok", "error", "cancelled", "rejected"].contains(&event.outcome.as_str()),
        "{event:?}"
    );
    assert!(
        [
            "",
            "tool_calls",
            "stop",
            "length",
            "content_filter",
            "error"
        ]
        .contains(&event.finish_reason.as_str())
    );
    if event.outcome == "error" {
        assert!(
            ["error", ""].contains(&event.finish_reason.as_str()),
            "{event:?}"
        );
        assert!(!event.error_type.is_empty());
    }
    assert_eq!(
        event.outcome == "rejected",
        event.provider.is_empty(),
        "{event:?}"
    );
    assert!(["none", "filtered", "declined", "declined_text"].contains(&event.refusal.as_str()));
    assert!(["none", "auto", "required", "named"].contains(&event.tool_choice.as_str()));
    assert!(["provider", "estimated"].contains(&event.usage_source.as_str()));
    let wrong = event.tool_invalid_json + event.tool_unknown_name + event.tool_schema_mismatch;
    assert!(
        wrong <= event.tools_called && (event.tools_called == 0 || event.tools_offered > 0),
        "{event:?}"
    );
    assert!(event.generation_us.is_none() || event.streamed);
    assert!(event.simulated && event.source == "simulated");
    assert_eq!(event.account_id.len(), 16);
    assert!((event.event_id.unix_millis() - event.ts.0 / 1000).abs() <= 1);
    assert!(event.ts >= FROM && event.ts < TO, "{event:?}");
}

#[test]
fn events_agree_with_themselves() {
    let events = month(7, 20_000);
    events.iter().for_each(consistent);
    let ids: HashSet<_> = events.iter().map(|event| event.event_id).collect();
    assert_eq!(ids.len(), events.len());
}

#[test]
fn the_rollup_would_count_every_event() {
    let writer = wire::Writer::new().unwrap();
    let messages: Vec<_> = month(9, 5_000)
        .iter()
        .map(|event| writer.write(event))
        .collect();
    let decoded = wire::Reader::new(&[]).unwrap().read(&messages).unwrap();
    assert!(decoded.rejected.is_empty());
    let limits = validate::Limits {
        arrived: &[TO.0; 5_000],
        retention_us: None,
    };
    let verdicts = validate::check(&decoded.batch, limits);
    assert_eq!(verdicts, vec![None; 5_000]);
}

#[test]
fn history_is_ordered_and_its_count_exact() {
    for count in [0, 1, 999, 50_000] {
        let events = month(7, count);
        assert_eq!(events.len() as u64, count);
        assert!(events.is_sorted_by_key(|event| event.ts));
    }
    assert_eq!(traffic(7).history(TO, FROM, 5).count(), 0);
    assert_eq!(traffic(7).history(FROM, Micros(FROM.0 + 1), 5).count(), 5);
}

#[test]
fn one_seed_one_month() {
    assert_eq!(month(7, 3_000), month(7, 3_000));
    assert_ne!(month(7, 10), month(8, 10));
}

#[test]
fn a_history_may_cross_threads() {
    let history = traffic(1).history(FROM, TO, 10);
    assert_eq!(
        std::thread::spawn(move || history.count()).join().unwrap(),
        10
    );
}

fn share(events: &[UsageEvent], holds: impl Fn(&UsageEvent) -> bool) -> f64 {
    events.iter().filter(|event| holds(event)).count() as f64 / events.len() as f64
}

#[test]
fn the_month_is_varied_and_plausible() {
    let events = month(7, 120_000);
    let distinct = |key: fn(&UsageEvent) -> &str| {
        events
            .iter()
            .map(key)
            .filter(|key| !key.is_empty())
            .collect::<HashSet<_>>()
            .len()
    };
    assert!(
        distinct(|event| &event.model) >= 60,
        "{} models",
        distinct(|event| &event.model)
    );
    assert!(
        distinct(|event| &event.provider) >= 15,
        "{} providers",
        distinct(|event| &event.provider)
    );
    assert!(distinct(|event| &event.account_id) > 2_000);
    assert!(distinct(|event| &event.app) > 50);
    assert_eq!(distinct(|event| &event.variant), 3);
    for (name, value, low, high) in [
        (
            "attempts",
            share(&events, |event| !event.failed_attempts.is_empty()),
            0.008,
            0.04,
        ),
        (
            "ok",
            share(&events, |event| event.outcome == "ok"),
            0.93,
            0.99,
        ),
        (
            "errors",
            share(&events, |event| event.outcome == "error"),
            0.001,
            0.03,
        ),
        (
            "cancelled",
            share(&events, |event| event.cancelled),
            0.003,
            0.03,
        ),
        (
            "length",
            share(&events, |event| event.truncated),
            0.005,
            0.05,
        ),
        (
            "overflow",
            share(&events, |event| event.context_overflow),
            0.00001,
            0.02,
        ),
        (
            "refused",
            share(&events, |event| event.refusal != "none"),
            0.001,
            0.02,
        ),
        ("streamed", share(&events, |event| event.streamed), 0.5, 0.9),
        (
            "tool calls",
            share(&events, |event| event.tools_called > 0),
            0.1,
            0.5,
        ),
        (
            "category",
            share(&events, |event| !event.category.is_empty()),
            0.03,
            0.25,
        ),
        (
            "cached",
            share(&events, |event| event.cached_tokens > 0),
            0.2,
            0.7,
        ),
        (
            "reasoning",
            share(&events, |event| event.reasoning_tokens > 0),
            0.05,
            0.8,
        ),
        (
            "free",
            share(&events, |event| event.variant == "free"),
            0.005,
            0.1,
        ),
    ] {
        assert!((low..high).contains(&value), "{name}: {value}");
    }
    for refusal in ["filtered", "declined", "declined_text"] {
        assert!(
            events.iter().any(|event| event.refusal == refusal),
            "no {refusal}"
        );
    }
    // Nights are quieter than days.
    let mut hours = [0_u32; 24];
    events
        .iter()
        .for_each(|event| hours[(event.ts.0 / 3_600_000_000 % 24) as usize] += 1);
    assert!(
        f64::from(*hours.iter().max().unwrap()) > 1.4 * f64::from(*hours.iter().min().unwrap()),
        "{hours:?}"
    );
}

#[test]
fn models_rise_and_fall_within_the_month() {
    let events = month(7, 120_000);
    let mut thirds: HashMap<&str, [f64; 3]> = HashMap::new();
    for event in &events {
        thirds.entry(&event.model).or_default()[((event.ts.0 - FROM.0) / (10 * DAY)) as usize] +=
            1.0;
    }
    let busy: Vec<_> = thirds
        .values()
        .filter(|thirds| thirds.iter().sum::<f64>() > 600.0)
        .collect();
    assert!(
        busy.iter().any(|thirds| thirds[2] > 2.0 * thirds[0]),
        "nothing rises"
    );
    assert!(
        busy.iter().any(|thirds| thirds[2] < 0.6 * thirds[0]),
        "nothing falls"
    );
}

#[test]
fn live_follows_the_clock() {
    let mut live = traffic(7).live(FROM);
    assert!(live.tick(FROM).is_empty());
    let mut events = Vec::new();
    let mut surges = HashSet::new();
    for second in 1..=600 {
        events.extend(live.tick(Micros(FROM.0 + second * 1_000_000)));
        surges.extend(live.surging().map(str::to_owned));
    }
    assert!(
        (35_990..=36_000).contains(&events.len()),
        "{}",
        events.len()
    );
    assert!(events.is_sorted_by_key(|event| event.ts));
    assert!(surges.len() >= 4, "{surges:?}");
    events.iter().for_each(consistent);
    let ids: HashSet<_> = events.iter().map(|event| event.event_id).collect();
    assert_eq!(ids.len(), events.len());
    // A machine that slept for a day owes one minute; a clock that went back owes nothing.
    let asleep = Micros(FROM.0 + DAY);
    assert!((3_590..=3_610).contains(&live.tick(asleep).len()));
    assert!(live.tick(FROM).is_empty());
    assert_eq!(
        traffic(7)
            .live(FROM)
            .rate(1_000.0)
            .tick(Micros(FROM.0 + 1_000_000))
            .len(),
        1_000
    );
}
