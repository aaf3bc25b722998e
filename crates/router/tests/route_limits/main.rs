//! Limits hold whatever comes: random catalogs, settings, requests and policies against a plain checker that was written from
//! docs/routing.md alone. What is excluded must break the limit it is said to break, too.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

mod plain;
mod world;

use chrono::{DateTime, Utc};
use plain::broken;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_catalog::{Catalog, DataPolicy, Endpoint, Sources};
use tidemark_router::adapters::Dialect;
use tidemark_router::ask::{Ask, Operation};
use tidemark_router::entrance;
use tidemark_router::piece::{ErrorKind, UpstreamError};
use tidemark_router::policy::Policy;
use tidemark_router::route::{Question, Routes};
use tidemark_router::settings::{Settings, Upstream};
use world::{World, policy, request, world};

fn question<'a>(
    world: &'a World,
    ask: &'a Ask,
    policy: &'a Policy,
    at: DateTime<Utc>,
    seed: u64,
) -> Question<'a> {
    Question {
        ask,
        named: world.routes.named(&ask.model, at).unwrap(),
        policy,
        account: "acme",
        at,
        now: world.now,
        seed,
        attempts: 1_000,
    }
}

#[test]
fn limits_hold_for_100_000_random_requests() {
    let at: DateTime<Utc> = "2026-06-01T12:00:00Z".parse().unwrap();
    let mut rng = SmallRng::seed_from_u64(4);
    let (mut requests, mut lanes, mut excluded, mut contradictory, mut refused) = (0, 0, 0, 0, 0);
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    while requests < 100_000 {
        let world = world(&mut rng);
        for _ in 0..1_000 {
            requests += 1;
            let (body, policy, seed) = (request(&mut rng), policy(&mut rng), rng.random());
            let ask = entrance::ask(Operation::Chat, body.to_string().as_bytes()).unwrap();
            let question = question(&world, &ask, &policy, at, seed);
            let mut plan = match world.routes.decide(&question) {
                Ok(plan) => plan,
                Err(refusal) => {
                    // What contradicts itself names the field.
                    assert_eq!(refusal.status, 400, "{body}");
                    assert!(refusal.param.unwrap().starts_with("provider."), "{body}");
                    contradictory += 1;
                    continue;
                }
            };
            let order: Vec<u64> = plan
                .lanes()
                .iter()
                .map(|lane| lane.candidate.lane.key)
                .collect();
            for lane in plan.lanes() {
                let candidate = &lane.candidate;
                let broken = broken(
                    &world,
                    &body,
                    &policy,
                    candidate.endpoint,
                    &candidate.lane.region,
                    candidate.lane.is_pinned,
                );
                assert!(
                    broken.is_empty(),
                    "{} breaks {broken:?}: {body} {policy:?}",
                    candidate.endpoint.id
                );
                lanes += 1;
            }
            for lane in plan.excluded() {
                excluded += 1;
                *seen.entry(lane.by.as_str()).or_default() += 1;
                let reached = |upstream: &Upstream| upstream.provider == lane.endpoint.provider;
                if lane.by.as_str() == "no_upstream" {
                    continue;
                }
                assert!(world.upstreams.iter().any(reached));
                let is_broken = [true, false].into_iter().any(|is_pinned| {
                    let pinned = is_pinned.then_some(lane.region);
                    world
                        .upstreams
                        .iter()
                        .any(|up| reached(up) && up.region.as_deref() == pinned)
                        && broken(
                            &world,
                            &body,
                            &policy,
                            lane.endpoint,
                            lane.region,
                            is_pinned,
                        )
                        .contains(&lane.by.as_str())
                });
                assert!(
                    is_broken,
                    "{} does not break {}: {body}",
                    lane.endpoint.id,
                    lane.by.as_str()
                );
            }
            let again = world.routes.decide(&question).unwrap();
            let keys: Vec<u64> = again
                .lanes()
                .iter()
                .map(|lane| lane.candidate.lane.key)
                .collect();
            assert_eq!(order, keys, "the same seed gives the same order");
            // Handed out: each lane once at most, and none but these.
            let mut handed = Vec::new();
            while let Some(candidate) = plan.next_lane() {
                assert!(
                    order.contains(&candidate.lane.key) && !handed.contains(&candidate.lane.key)
                );
                handed.push(candidate.lane.key);
            }
            assert_eq!(handed.len(), order.len());
            if let Err(refusal) = world.routes.plan(&question) {
                refused += 1;
                let availability = &refusal.metadata["availability"];
                let constraint = availability["constraint"].as_str().unwrap();
                let by = availability["excluded_by"].as_object().unwrap();
                assert!(
                    order.is_empty() && (by.is_empty() || by.contains_key(constraint)),
                    "{availability}"
                );
            }
        }
    }
    println!(
        "{requests} requests: {lanes} lanes within all limits, {excluded} excluded, {refused} without a lane, {contradictory} contradictory; by limit {seen:?}"
    );
    // A test that meets a limit never proves nothing of it.
    for limit in tidemark_router::route::limits::Exclusion::ALL {
        let name = limit.as_str();
        assert!(
            name == "no_price" || seen.get(name).is_some_and(|n| *n > 100),
            "{name}: {seen:?}"
        );
    }
    assert!(lanes > 100_000);
}
