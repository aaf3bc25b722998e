//! Statistics of endpoints, providers and models against plain sums and sorted lists over the same events, through journal, rollup,
//! compaction and the tables in memory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on should fail loudly"
)]

use chrono::Utc;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use tidemark_catalog::Catalog;
use tidemark_event::{EventId, FailedAttempt, Micros, UsageEvent};
use tidemark_insight::{ENOUGH_ATTEMPTS, Measure, Statistics, Subject, held, measures, publish};
use tidemark_lake::{Held, Hot};
use tidemark_tests::folder::{Folder, Sizes, eager_upkeep};
use tidemark_tests::traffic::event_of;
use tidemark_tests::{Dice, size};

const MINUTE_US: i64 = 60_000_000;
const HALF_HOUR_US: i64 = 30 * MINUTE_US;

/// The `n`th event: one of the made-up traffic, moved to somewhere within the last 30 hours, most of them to the end.
fn recent(n: u64, now: i64) -> UsageEvent {
    let mut dice = Dice::new(n);
    let mut event = event_of("statistics", 0, n);
    let minutes = *dice.pick(&[4, 8, 35, 60, 130, 1_500, 1_800]);
    event.ts = Micros(now - dice.below(minutes * 60_000_000) as i64);
    event.event_id = EventId::derived(event.ts, b"statistics", n);
    event.region = (*dice.pick(&["eu", "us"])).to_owned();
    event.refusal = (*dice.pick(&[
        "none",
        "none",
        "none",
        "filtered",
        "declined",
        "declined_text",
    ]))
    .to_owned();
    for attempt in &mut event.failed_attempts {
        attempt.endpoint = format!("{}/{}@eu", attempt.provider, attempt.model);
        attempt.status = *dice.pick(&[429, 500, 0, 400, 404, 413]);
    }
    event
}

async fn take_in(folder: &Folder, events: &[UsageEvent]) {
    let mut worker = folder.worker().unwrap();
    for part in events.chunks(400) {
        folder.publish(part).await.unwrap();
        while worker.step().await.unwrap() {}
    }
}

async fn folder(dir: &Path) -> Folder {
    Folder::open(dir, Sizes::default()).await.unwrap()
}

/// What must come out, but for the quantiles: those are given as sorted samples.
#[derive(Debug, Default, Clone)]
struct Wanted {
    exact: Measure,
    ttft_5m: Vec<i64>,
    ttft_30m: Vec<i64>,
    throughput_30m: Vec<i64>,
    refused_not_ok: i64,
}

fn counts(status: i32) -> bool {
    ![400, 403, 413, 429].contains(&status)
}

/// The formulas of uptime, rates and speeds, over events.
fn oracle(events: &[UsageEvent], subject: Subject, now: i64) -> BTreeMap<(String, String), Wanted> {
    let minute = |us: i64| us.div_euclid(MINUTE_US);
    let half_hour = |us: i64| us.div_euclid(HALF_HOUR_US);
    let mut all = BTreeMap::<_, Wanted>::new();
    for event in events {
        let ts = event.ts.0;
        let by_minute = |minutes: i64| minute(ts) >= minute(now - minutes * MINUTE_US);
        let by_half_hour = |hours: i64| half_hour(ts) >= half_hour(now - hours * 60 * MINUTE_US);
        let (last_5m, last_30m) = (by_minute(5), by_minute(30));
        let (last_2h, last_1d) = (by_half_hour(2), by_half_hour(24));
        if !last_1d {
            continue;
        }
        let last = FailedAttempt {
            provider: event.provider.clone(),
            endpoint: event.endpoint.clone(),
            region: event.region.clone(),
            model: event.model.clone(),
            status: event.status,
            ..FailedAttempt::default()
        };
        let failed = event.failed_attempts.iter().map(|attempt| (attempt, false));
        for (attempt, is_last) in failed.chain([(&last, true)]) {
            if attempt.provider.is_empty() || (subject == Subject::Model && !is_last) {
                continue;
            }
            let key = match subject {
                Subject::Endpoint => (attempt.endpoint.clone(), attempt.region.clone()),
                Subject::Provider => (attempt.provider.clone(), String::new()),
                Subject::Model => (attempt.model.clone(), String::new()),
            };
            let wanted = all.entry(key).or_default();
            let m = &mut wanted.exact;
            let ok = i64::from(is_last && event.outcome == "ok");
            let failed =
                i64::from(counts(attempt.status) && (!is_last || event.outcome == "error"));
            let limited = i64::from(attempt.status == 429);
            let add = |to: &mut i64, within: bool, number: i64| {
                if within {
                    *to += number;
                }
            };
            add(&mut m.ok_5m, last_5m, ok);
            add(&mut m.failed_5m, last_5m, failed);
            add(&mut m.rate_limited_5m, last_5m, limited);
            add(&mut m.ok_30m, last_30m, ok);
            add(&mut m.failed_30m, last_30m, failed);
            add(&mut m.rate_limited_30m, last_30m, limited);
            add(&mut m.attempts_30m, last_30m, 1);
            add(&mut m.ok_2h, last_2h, ok);
            m.ok_1d += ok;
            m.failed_1d += failed;
            m.rate_limited_1d += limited;
            m.attempts_1d += 1;
            m.simulated_1d += i64::from(event.simulated);
            if !is_last {
                continue;
            }
            let tools = event.finish_reason == "tool_calls";
            let right =
                event.tool_invalid_json + event.tool_unknown_name + event.tool_schema_mismatch == 0;
            add(&mut m.tool_requests_2h, last_2h, i64::from(tools));
            add(
                &mut m.tool_requests_ok_2h,
                last_2h,
                i64::from(tools && right),
            );
            m.tool_requests_1d += i64::from(tools);
            m.tool_requests_ok_1d += i64::from(tools && right);
            let refused = event.refusal != "none";
            add(&mut m.refused_2h, last_2h, i64::from(refused));
            m.filtered_1d += i64::from(event.refusal == "filtered");
            m.declined_1d += i64::from(event.refusal == "declined");
            m.declined_text_1d += i64::from(event.refusal == "declined_text");
            wanted.refused_not_ok += i64::from(refused && event.outcome != "ok");
            wanted.ttft_5m.extend(event.ttft_us.filter(|_| last_5m));
            wanted.ttft_30m.extend(event.ttft_us.filter(|_| last_30m));
            let generation = event.generation_us.filter(|us| *us > 0);
            if let (true, true, true, Some(us)) = (
                last_30m,
                event.streamed,
                event.completion_tokens >= 16,
                generation,
            ) {
                wanted
                    .throughput_30m
                    .push(event.completion_tokens * 1_000_000_000 / us);
            }
        }
    }
    for wanted in all.values_mut() {
        for samples in [
            &mut wanted.ttft_5m,
            &mut wanted.ttft_30m,
            &mut wanted.throughput_30m,
        ] {
            samples.sort_unstable();
        }
        let m = &mut wanted.exact;
        let part = |of: i64, all: i64| (all > 0).then(|| of as f64 / all as f64);
        let uptime =
            |ok: i64, failed: i64| part(ok, ok + failed).filter(|_| ok + failed >= ENOUGH_ATTEMPTS);
        m.answered_1d = m.ok_1d + wanted.refused_not_ok;
        m.uptime_5m = uptime(m.ok_5m, m.failed_5m);
        m.uptime_30m = uptime(m.ok_30m, m.failed_30m);
        m.uptime_1d = uptime(m.ok_1d, m.failed_1d);
        m.status = match m.uptime_30m {
            Some(uptime) if uptime < 0.80 => -2,
            Some(uptime) if uptime < 0.95 => -1,
            _ => 0,
        };
        m.rate_limited_share_30m = part(m.rate_limited_30m, m.attempts_30m);
        m.refusal_rate_1d = part(m.declined_1d + m.declined_text_1d, m.answered_1d);
        m.filter_rate_1d = part(m.filtered_1d, m.answered_1d);
        m.tool_success_1d = part(m.tool_requests_ok_1d, m.tool_requests_1d);
        m.ttft_30m_samples = wanted.ttft_30m.len() as i64;
        m.throughput_30m_samples = wanted.throughput_30m.len() as i64;
    }
    all
}

/// The value of rank `ceil(q * n)`.
fn exact(samples: &[i64], q: f64) -> Option<f64> {
    let rank = ((q * samples.len() as f64).ceil() as usize).max(1);
    samples.get(rank - 1).map(|value| *value as f64)
}

fn check(found: &[Measure], wanted: &BTreeMap<(String, String), Wanted>, subject: Subject) {
    let keys: Vec<_> = found
        .iter()
        .map(|m| (m.key.clone(), m.region.clone()))
        .collect();
    assert_eq!(
        keys,
        wanted.keys().cloned().collect::<Vec<_>>(),
        "{subject:?}"
    );
    for (found, wanted) in found.iter().zip(wanted.values()) {
        for (name, found, wanted) in [
            (
                "ttft 5m p50",
                found.ttft_5m_p50,
                exact(&wanted.ttft_5m, 0.5),
            ),
            ("ttft p50", found.ttft_30m_p50, exact(&wanted.ttft_30m, 0.5)),
            (
                "ttft p75",
                found.ttft_30m_p75,
                exact(&wanted.ttft_30m, 0.75),
            ),
            ("ttft p90", found.ttft_30m_p90, exact(&wanted.ttft_30m, 0.9)),
            (
                "ttft p99",
                found.ttft_30m_p99,
                exact(&wanted.ttft_30m, 0.99),
            ),
            (
                "throughput p50",
                found.throughput_30m_p50,
                exact(&wanted.throughput_30m, 0.5),
            ),
            (
                "throughput p75",
                found.throughput_30m_p75,
                exact(&wanted.throughput_30m, 0.25),
            ),
            (
                "throughput p90",
                found.throughput_30m_p90,
                exact(&wanted.throughput_30m, 0.1),
            ),
            (
                "throughput p99",
                found.throughput_30m_p99,
                exact(&wanted.throughput_30m, 0.01),
            ),
        ] {
            let near = match (found, wanted) {
                (Some(found), Some(wanted)) => (found - wanted).abs() <= 0.0101 * wanted,
                (found, wanted) => found == wanted,
            };
            assert!(near, "{subject:?} {name}: {found:?} for {wanted:?}");
        }
        let counted = Measure {
            key: String::new(),
            region: String::new(),
            ttft_5m_p50: None,
            throughput_5m_p50: None,
            ttft_30m_p50: None,
            ttft_30m_p75: None,
            ttft_30m_p90: None,
            ttft_30m_p99: None,
            throughput_30m_p50: None,
            throughput_30m_p75: None,
            throughput_30m_p90: None,
            throughput_30m_p99: None,
            ..found.clone()
        };
        assert_eq!(
            counted, wanted.exact,
            "{subject:?} {} {}",
            found.key, found.region
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_figure_is_that_of_plain_sums() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path()).await;
    let now = Utc::now();
    let now_us = now.timestamp_micros();
    let events: Vec<UsageEvent> = (0..12_000).map(|n| recent(n, now_us)).collect();
    let mut hot = Hot::new(folder.lake.clone(), held());
    let (early, late) = events.split_at(7_000);
    take_in(&folder, early).await;
    hot.refresh().await.unwrap();
    folder.lake.compact(eager_upkeep()).await.unwrap();
    hot.refresh().await.unwrap();
    take_in(&folder, late).await;
    let (_, tables) = hot.refresh().await.unwrap().unwrap();
    let public = publish(&tables, &Catalog::builtin().unwrap(), now)
        .await
        .unwrap();
    for subject in [Subject::Endpoint, Subject::Provider, Subject::Model] {
        let found = measures(&public, subject, now).await.unwrap();
        let wanted = oracle(&events, subject, now_us);
        assert!(found.iter().any(|m| m.uptime_5m.is_some()) && found.len() > 2);
        check(&found, &wanted, subject);
    }
    Statistics::plan_check(&public).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_shows_at_the_provider_and_not_at_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path()).await;
    let now = Utc::now();
    let events: Vec<UsageEvent> = (0..600)
        .map(|n| {
            let ts = Micros(now.timestamp_micros() - 1_000_000 - n * 100_000);
            // North fails two tries in three; each request goes on to south and succeeds.
            let falls_over = n % 3 != 0;
            let provider = if falls_over { "south" } else { "north" };
            let failed = FailedAttempt {
                provider: "north".to_owned(),
                endpoint: "north/one".to_owned(),
                model: "alder/one".to_owned(),
                status: 503,
                ..FailedAttempt::default()
            };
            UsageEvent {
                event_id: EventId::derived(ts, b"outage", n as u64),
                ts,
                model: "alder/one".to_owned(),
                provider: provider.to_owned(),
                endpoint: format!("{provider}/one"),
                outcome: "ok".to_owned(),
                status: 200,
                failed_attempts: if falls_over { vec![failed] } else { Vec::new() },
                ..UsageEvent::default()
            }
        })
        .collect();
    take_in(&folder, &events).await;
    let mut hot = Hot::new(folder.lake.clone(), held());
    let (_, tables) = hot.refresh().await.unwrap().unwrap();
    let public = publish(&tables, &Catalog::default(), now).await.unwrap();
    let uptime = async |subject, key: &str| {
        let found = measures(&public, subject, now).await.unwrap();
        let found = found.iter().find(|m| m.key == key).unwrap();
        (found.uptime_5m.unwrap(), found.ok_5m + found.failed_5m)
    };
    assert_eq!(
        uptime(Subject::Provider, "north").await,
        (200.0 / 600.0, 600)
    );
    assert_eq!(uptime(Subject::Provider, "south").await, (1.0, 400));
    assert_eq!(uptime(Subject::Endpoint, "north/one").await.1, 600);
    assert_eq!(uptime(Subject::Model, "alder/one").await, (1.0, 600));
}

/// What statistics hold does not grow with the number of requests, only with that of endpoints; and what is held of accounts
/// only with that of its keys. Both are printed for the record.
/// `TIDEMARK_ENDPOINTS` says how many endpoints there are; each is used in every minute of a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_by_endpoints_and_by_keys_of_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(
        dir.path(),
        Sizes {
            max_rows: 65_536,
            segment_bytes: 64 << 20,
            ..Sizes::default()
        },
    )
    .await
    .unwrap();
    let endpoints = size("TIDEMARK_ENDPOINTS", 20);
    let now = Utc::now().timestamp_micros();
    let mut worker = folder.worker().unwrap();
    let mut of_statistics = Hot::new(folder.lake.clone(), Statistics::held());
    let mut of_accounts = Hot::new(
        folder.lake.clone(),
        vec![Held::from("accounts_by_day".to_owned())],
    );
    let mut keys = HashSet::new();
    // Bytes of statistics, bytes of accounts for each of their keys.
    let mut held_at = Vec::new();
    // The same day twice: twice the requests.
    for round in 0..2_u64 {
        for minute in 0..24 * 60_u64 {
            let events: Vec<UsageEvent> = (0..endpoints)
                .map(|endpoint| {
                    let n = (round * 24 * 60 + minute) * endpoints + endpoint;
                    let mut event = recent(n, now);
                    event.ts = Micros(now - minute as i64 * MINUTE_US);
                    event.event_id = EventId::derived(event.ts, b"memory", n);
                    // An endpoint is one model at one provider.
                    event.model = format!("author/model-{endpoint}");
                    event.simulated = false;
                    event.provider = format!("provider-{}", endpoint % 40);
                    event.endpoint = format!("provider-{}/model-{endpoint}", endpoint % 40);
                    event.region = "eu-west".to_owned();
                    event.failed_attempts.clear();
                    event
                })
                .collect();
            keys.extend(events.iter().map(key_of_account));
            folder.publish(&events).await.unwrap();
            if minute % 60 == 59 {
                while worker.step().await.unwrap() {}
            }
        }
        folder.lake.compact(eager_upkeep()).await.unwrap();
        of_statistics.refresh().await.unwrap();
        of_accounts.refresh().await.unwrap();
        held_at.push((of_statistics.size(), of_accounts.size() / keys.len()));
    }
    let rows = 2 * endpoints * 24 * 60;
    let began = std::time::Instant::now();
    let (_, tables) = Hot::new(folder.lake.clone(), held())
        .refresh()
        .await
        .unwrap()
        .unwrap();
    let loaded = began.elapsed();
    let public = publish(&tables, &Catalog::default(), Utc::now())
        .await
        .unwrap();
    let began = std::time::Instant::now();
    let found = measures(&public, Subject::Endpoint, Utc::now())
        .await
        .unwrap();
    let measured = began.elapsed();
    let [once, twice] = held_at[..] else {
        panic!("{held_at:?}")
    };
    println!(
        "{rows} requests at {endpoints} endpoints: {} then {} bytes held, {} an endpoint; {} keys of accounts, {} then {} bytes each; \
         {loaded:?} to load a day, {measured:?} to measure {} lines",
        once.0,
        twice.0,
        twice.0 / endpoints as usize,
        keys.len(),
        once.1,
        twice.1,
        found.len()
    );
    assert!(twice.0 < once.0 * 3 / 2, "{held_at:?}");
    assert!(twice.1 < once.1 * 3 / 2, "{held_at:?}");
}

/// What `pipelines/rollups/accounts_by_day.sql` groups by.
fn key_of_account(event: &UsageEvent) -> impl Eq + std::hash::Hash + use<> {
    (
        event.ts.0.div_euclid(24 * 60 * MINUTE_US),
        event.account_id.clone(),
        event.app.clone(),
        event.model.clone(),
        event.variant == "free",
        event.provider.clone(),
        event.simulated,
    )
}
