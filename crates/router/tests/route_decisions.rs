//! Decisions over lanes whose history a test makes up, at times that a test makes up: nothing sleeps, nothing is sent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on should fail loudly"
)]

use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_catalog::{Catalog, Sources};
use tidemark_router::adapters::Dialect;
use tidemark_router::ask::Operation;
use tidemark_router::entrance;
use tidemark_router::piece::{ErrorKind, UpstreamError};
use tidemark_router::policy::Policy;
use tidemark_router::route::health::Answered;
use tidemark_router::route::observed::{Observed, Statistics};
use tidemark_router::route::{Plan, Question, Routes};
use tidemark_router::settings::{Settings, Upstream};

const SECOND: Duration = Duration::from_secs(1);
const NOW_S: i64 = 1_790_000_000;

/// Lanes p0, p1, ... of two models, at so many dollars per million tokens.
fn routes(prices: &[&str]) -> Routes {
    let (mut providers, mut endpoints) = (String::new(), String::new());
    for (n, price) in prices.iter().enumerate() {
        writeln!(
            providers,
            "{{ slug = \"p{n}\", name = \"P\", country = \"FR\", regions = [\"us-east\"] }},"
        )
        .unwrap();
        for model in ["m", "other"] {
            writeln!(endpoints, "{{ id = \"p{n}/{model}\", model = \"acme/{model}\", provider = \"p{n}\", upstream = \"m\", quantization = \"fp8\", context_length = 100000, regions = [\"us-east\"], prices = [{{ from = \"2026-01-01\", prompt = \"{price}\", completion = \"{price}\", cache_read = \"0.01\" }}] }},").unwrap();
        }
    }
    let model = |slug: &str| {
        format!(
            "{{ id = \"acme/{slug}\", name = \"M\", author = \"acme\", released = \"2026-01-01\", context_length = 100000, max_output = 1000, open_weights = true, input = [\"text\"], output = [\"text\"], tools = true, reasoning = true, status = \"live\" }},\n"
        )
    };
    let catalog = Catalog::from_toml(Sources {
        authors: "author = [{ slug = \"acme\", name = \"Acme\", country = \"FR\" }]",
        providers: &format!("provider = [\n{providers}]"),
        models: &format!("model = [\n{}{}]", model("m"), model("other")),
        endpoints: &format!("endpoint = [\n{endpoints}]"),
    });
    let upstreams = (0..prices.len()).map(|n| Upstream {
        provider: format!("p{n}"),
        dialect: Dialect::Openai,
        base_url: format!("http://p{n}.invalid"),
        region: None,
        data: None,
        key_env: None,
        simulated: true,
    });
    let settings = Settings {
        upstreams: upstreams.collect(),
        ..Settings::default()
    };
    Routes::new(Arc::new(catalog.unwrap()), &settings).unwrap()
}

fn body(provider: &Value, more: &Value) -> Value {
    let mut body = json!({"model": "acme/m", "messages": [{"role": "user", "content": "hi"}], "provider": provider});
    let object = body.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    body
}

/// Decides and looks at the plan.
fn with<T>(
    routes: &Routes,
    body: &Value,
    now: Instant,
    seed: u64,
    look: impl FnOnce(Plan<'_>) -> T,
) -> T {
    let ask = entrance::ask(Operation::Chat, body.to_string().as_bytes()).unwrap();
    let question = Question {
        ask: &ask,
        named: routes
            .named(&ask.model, "2026-06-01T12:00:00Z".parse().unwrap())
            .unwrap(),
        policy: &Policy::default(),
        account: "acme",
        at: "2026-06-01T12:00:00Z".parse().unwrap(),
        now,
        seed,
        attempts: 4,
    };
    look(
        routes
            .plan(&question)
            .map_err(|refusal| refusal.message)
            .unwrap(),
    )
}

/// Providers in the order of a plan.
fn order(plan: &Plan<'_>) -> Vec<String> {
    let providers = plan
        .lanes()
        .iter()
        .map(|lane| lane.candidate.endpoint.provider.clone());
    providers.collect()
}

fn first(routes: &Routes, body: &Value, now: Instant, seed: u64) -> String {
    with(routes, body, now, seed, |plan| order(&plan).remove(0))
}

fn error(kind: ErrorKind) -> UpstreamError {
    UpstreamError {
        status: 0,
        kind,
        message: String::new(),
        retry_after: None,
    }
}

fn lane<T>(
    routes: &Routes,
    endpoint: &str,
    look: impl FnOnce(&tidemark_router::route::Lane) -> T,
) -> T {
    let lane = routes.lanes().find(|(_, id, _)| *id == endpoint).unwrap().2;
    look(lane)
}

fn answer(routes: &Routes, endpoint: &str, now: Instant, ttft_us: i64) {
    let answered = Answered {
        whole: true,
        ttft_us: Some(ttft_us),
        ..Answered::default()
    };
    lane(routes, endpoint, |lane| {
        lane.health.begin(now);
        lane.health.answered(now, now, &answered);
    });
}

fn kill(routes: &Routes, endpoint: &str, now: Instant) {
    lane(routes, endpoint, |lane| {
        for _ in 0..100 {
            lane.health.failed(now, now, &error(ErrorKind::Server));
        }
    });
}

#[test]
fn without_a_wish_lanes_are_drawn_by_the_inverse_square_of_their_price() {
    let routes = routes(&["1", "2", "4"]);
    let (now, draws) = (Instant::now(), 100_000);
    let mut counts: HashMap<String, f64> = HashMap::new();
    for seed in 0..draws {
        *counts
            .entry(first(&routes, &body(&json!({}), &json!({})), now, seed))
            .or_default() += 1.0;
    }
    let all = 1.0 + 1.0 / 4.0 + 1.0 / 16.0;
    for (provider, weight) in [("p0", 1.0), ("p1", 1.0 / 4.0), ("p2", 1.0 / 16.0)] {
        let (share, wanted) = (counts[provider] / draws as f64, weight / all);
        // Five standard deviations.
        let chance = 5.0 * (wanted * (1.0 - wanted) / draws as f64).sqrt();
        assert!(
            (share - wanted).abs() < chance,
            "{provider}: {share} for {wanted}"
        );
    }
}

#[test]
fn what_wins_over_what() {
    let routes = routes(&["1", "2", "3", "4"]);
    let now = Instant::now();
    let go = |provider: Value| {
        with(&routes, &body(&provider, &json!({})), now, 1, |plan| {
            order(&plan)
        })
    };
    assert_eq!(go(json!({"sort": "price"})), ["p0", "p1", "p2", "p3"]);
    assert_eq!(
        go(json!({"sort": "price", "order": ["p2", "p1"]})),
        ["p2", "p1", "p0", "p3"]
    );
    assert_eq!(
        go(json!({"sort": "price", "allow_fallbacks": false})),
        ["p0"]
    );
    assert_eq!(
        go(json!({"order": ["p2", "p1"], "allow_fallbacks": false})),
        ["p2", "p1"]
    );
    // A slow lane misses a preference; one of which nothing is known does not.
    answer(&routes, "p0/m", now, 3_000_000);
    assert_eq!(
        go(json!({"sort": "price", "preferred_max_latency": 1.0})),
        ["p1", "p2", "p3", "p0"]
    );
    // Outages come after everything, also after what was ordered.
    kill(&routes, "p2/m", now);
    assert_eq!(
        go(json!({"sort": "price", "order": ["p2", "p1"]})),
        ["p1", "p0", "p3", "p2"]
    );
    let mixed = json!({"sort": {"by": "price", "partition": "none"}});
    let both = json!({"models": ["acme/other"]});
    let models = |provider: &Value| {
        with(&routes, &body(provider, &both), now, 1, |plan| {
            let lanes = plan
                .lanes()
                .iter()
                .map(|lane| lane.candidate.endpoint.id.clone());
            lanes.collect::<Vec<_>>()
        })
    };
    assert_eq!(
        models(&json!({"sort": "price"}))[..4],
        ["p0/m", "p1/m", "p3/m", "p0/other"]
    );
    let mut cheapest = models(&mixed)[..2].to_vec();
    cheapest.sort();
    assert_eq!(cheapest, ["p0/m", "p0/other"]);
}

#[test]
fn a_conversation_stays_for_ten_minutes_and_leaves_after_one_failure() {
    let routes = routes(&["1", "1", "1"]);
    let mut now = Instant::now();
    let talk = body(&json!({}), &json!({"session_id": "s"}));
    let home = with(&routes, &talk, now, 1, |mut plan| {
        let provider = plan.next_lane().unwrap().endpoint.provider.clone();
        plan.answered(now);
        provider
    });
    for seed in 0..200 {
        now += 599 * SECOND;
        with(&routes, &talk, now, seed, |mut plan| {
            assert_eq!(plan.next_lane().unwrap().endpoint.provider, home);
            assert!(plan.summary().contains("sticky=held"), "{}", plan.summary());
            plan.answered(now);
        });
    }
    // An order of one's own, and another conversation, are not bound.
    let seen = |body: &Value| -> Vec<String> {
        (0..50)
            .map(|seed| first(&routes, body, now, seed))
            .collect()
    };
    assert!(
        seen(&body(&json!({}), &json!({"session_id": "t"})))
            .iter()
            .any(|at| *at != home)
    );
    let other = if home == "p0" { "p1" } else { "p0" };
    let ordered = body(&json!({"order": [other]}), &json!({"session_id": "s"}));
    assert!(seen(&ordered).iter().all(|at| at == other));
    // One failure, and it is somewhere else from then on, although the lane is not in an outage.
    let next = with(&routes, &talk, now, 7, |mut plan| {
        assert_eq!(plan.next_lane().unwrap().endpoint.provider, home);
        assert!(plan.failed(&error(ErrorKind::Server)));
        let next = plan.next_lane().unwrap().endpoint.provider.clone();
        plan.answered(now);
        next
    });
    assert_ne!(next, home);
    for seed in 0..50 {
        assert_eq!(first(&routes, &talk, now, seed), next);
    }
    // A lane whose breaker is open is not even tried once.
    kill(&routes, &format!("{next}/m"), now);
    for seed in 0..50 {
        with(&routes, &talk, now, seed, |plan| {
            assert_ne!(order(&plan)[0], next);
            assert!(plan.summary().contains("sticky=moved"));
        });
    }
    // Ten minutes of silence end it.
    with(&routes, &talk, now + 600 * SECOND, 1, |plan| {
        assert!(plan.summary().contains("sticky=new"));
    });
}

/// A thousand conversations on four providers, one of which dies: no request meets it more than once, and after the breaker has
/// opened only probes do.
#[test]
fn a_dead_provider_costs_no_request_more_than_one_attempt() {
    let routes = routes(&["1", "1", "1", "1"]);
    let mut now = Instant::now();
    let dead = "p2";
    let (mut met, mut most, mut failed) = (0, 0, 0);
    for n in 0..20_000_u64 {
        now += Duration::from_millis(10);
        let talk = body(
            &json!({}),
            &json!({"session_id": format!("s{}", n % 1_000)}),
        );
        let attempts = with(&routes, &talk, now, n, |mut plan| {
            let mut attempts = 0;
            while let Some(candidate) = plan.next_lane() {
                let health = &candidate.lane.health;
                health.begin(now);
                if n > 5_000 && candidate.endpoint.provider == dead {
                    attempts += 1;
                    health.failed(now, now, &error(ErrorKind::Connection));
                    plan.failed(&error(ErrorKind::Connection));
                    continue;
                }
                let answered = Answered {
                    whole: true,
                    ..Answered::default()
                };
                health.answered(now, now, &answered);
                plan.answered(now);
                return attempts;
            }
            failed += 1;
            attempts
        });
        met += u64::from(attempts > 0);
        most = most.max(attempts);
    }
    println!(
        "15,000 requests after its death: {met} met the dead provider, none more than {most} time, {failed} failed"
    );
    assert_eq!((most, failed), (1, 0));
    assert!(met < 60, "{met}");
}

/// A lane that becomes slow is left within seconds of its slow answers, is looked at now and then, and comes back when it has healed.
#[test]
fn a_slow_lane_is_avoided_and_comes_back() {
    let routes = routes(&["1", "1", "1"]);
    let start = Instant::now();
    let fast = body(&json!({"sort": "latency"}), &json!({}));
    // What is known, and when: an answer is known when it has come.
    let mut pending: Vec<(Instant, String, i64)> = Vec::new();
    let (mut chosen, mut changes, mut last) = (Vec::new(), 0, String::new());
    for n in 0..18_000_u64 {
        let now = start + Duration::from_millis(n * 50);
        let due: Vec<_> = pending.extract_if(.., |(at, _, _)| *at <= now).collect();
        for (at, endpoint, ttft) in due {
            answer(&routes, &endpoint, at, ttft);
        }
        let at = first(&routes, &fast, now, n);
        // p0 is the fastest, but for five minutes from the fifth on.
        let slow = (300..600).contains(&(now - start).as_secs());
        let ttft = match at.as_str() {
            "p0" if slow => 4_000_000,
            "p0" => 200_000,
            "p1" => 300_000,
            _ => 400_000,
        };
        lane(&routes, &format!("{at}/m"), |lane| lane.health.begin(now));
        pending.push((
            now + Duration::from_micros(ttft as u64),
            format!("{at}/m"),
            ttft,
        ));
        if n % 200 == 0 {
            let most = if at == last { 0 } else { 1 };
            changes += most;
            last.clone_from(&at);
        }
        chosen.push(((now - start).as_secs(), at));
    }
    let share = |from: u64, to: u64| {
        let within: Vec<_> = chosen
            .iter()
            .filter(|(at, _)| (from..to).contains(at))
            .collect();
        within.iter().filter(|(_, at)| at == "p0").count() as f64 / within.len() as f64
    };
    let left = (300..600)
        .find(|second| share(*second, second + 3) < 0.2)
        .unwrap()
        - 300;
    let back = (600..900)
        .find(|second| share(*second, second + 3) > 0.8)
        .unwrap()
        - 600;
    println!(
        "healthy {:.3}; avoided after {left} s, then {:.3} still meet it; back {back} s after it healed, then {:.3}; changes {changes}",
        share(60, 300),
        share(310, 600),
        share(600 + back, 900)
    );
    assert!(share(60, 300) > 0.9 && left <= 6 && share(310, 600) < 0.03);
    assert!(back <= 300 && share(600 + back, 900) > 0.9);
}

#[test]
fn statistics_move_lanes_and_never_exclude_them() {
    let routes = routes(&["1", "2", "3", "4", "5"]);
    let now = Instant::now();
    let row = |n: usize| Observed {
        endpoint: format!("p{n}/m"),
        attempts_ok: 1_000,
        ..Observed::default()
    };
    let go = |provider: Value| {
        with(&routes, &body(&provider, &json!({})), now, 1, |plan| {
            order(&plan)
        })
    };
    let by_price = ["p0", "p1", "p2", "p3", "p4"];
    let cheap = || go(json!({"sort": "price"}));
    let mut statistics = Statistics {
        as_of: NOW_S,
        recent: (0..5).map(row).collect(),
        long: Vec::new(),
    };
    for (n, row) in statistics.recent.iter_mut().enumerate() {
        row.ttft_p50_us = Some(100_000 * (5 - n as u64));
    }
    statistics.recent[0].attempts_failed = 100;
    statistics.recent[1].attempts_failed = 1_000;
    assert_eq!(routes.learn(&statistics, now, NOW_S), 5);
    assert_eq!(
        cheap(),
        ["p2", "p3", "p4", "p0", "p1"],
        "degraded, then poor"
    );
    let latency = with(
        &routes,
        &body(&json!({"sort": "latency"}), &json!({})),
        now,
        1,
        |plan| order(&plan),
    );
    assert_eq!(latency[..3], ["p4", "p3", "p2"]);

    // Too old, of a time to come: nothing changes. Newer ones replace all.
    for as_of in [NOW_S - 601, NOW_S + 61, i64::MIN, i64::MAX] {
        let odd = Statistics {
            as_of,
            ..Statistics::default()
        };
        assert_eq!(routes.learn(&odd, now, NOW_S), 0);
        assert_eq!(cheap()[4], "p1");
    }
    let none = Statistics {
        as_of: NOW_S,
        ..Statistics::default()
    };
    assert_eq!(routes.learn(&none, now, NOW_S), 0);
    assert_eq!(cheap(), by_price);

    // A source that hangs is forgotten ten minutes after its newest event.
    routes.learn(&statistics, now, NOW_S + 300);
    let at = |seconds: u32| {
        with(
            &routes,
            &body(&json!({"sort": "price"}), &json!({})),
            now + seconds * SECOND,
            1,
            |plan| order(&plan),
        )
    };
    assert_eq!(at(299)[4], "p1");
    assert_eq!(at(300), by_price);

    // All dead, says a liar: all are still there, and a hundred own attempts beat it.
    for row in &mut statistics.recent {
        (row.attempts_ok, row.attempts_failed) = (0, 1 << 39);
    }
    routes.learn(&statistics, now, NOW_S);
    assert_eq!(cheap(), by_price);
    for _ in 0..100 {
        answer(&routes, "p3/m", now, 1);
    }
    assert_eq!(cheap(), ["p3", "p0", "p1", "p2", "p4"]);
}

#[test]
fn an_endpoint_whose_tool_calls_drift_is_ranked_down_where_tools_are_asked_for() {
    let routes = routes(&["1", "2", "3", "4", "5"]);
    let now = Instant::now();
    let row = |n: usize, ok: u64, refused: u64| Observed {
        endpoint: format!("p{n}/m"),
        region: "us-east".to_owned(),
        attempts_ok: 2_000,
        refused,
        tool_requests: 1_000,
        tool_requests_ok: ok,
        ..Observed::default()
    };
    let statistics = Statistics {
        as_of: NOW_S,
        recent: Vec::new(),
        long: vec![
            row(0, 800, 20),
            row(1, 985, 22),
            row(2, 990, 400),
            row(3, 980, 18),
            row(4, 984, 21),
        ],
    };
    routes.learn(&statistics, now, NOW_S);
    let tools = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]});
    let go = |more: &Value| {
        with(
            &routes,
            &body(&json!({"sort": "price"}), more),
            now,
            1,
            |plan| (order(&plan), plan.explain()),
        )
    };
    let (order, why) = go(&tools);
    assert_eq!(order, ["p1", "p3", "p4", "p0", "p2"]);
    assert_eq!(why.lanes[3].marks, ["tool_calls_below_peers"]);
    assert_eq!(why.lanes[4].marks, ["refusals_above_peers"]);
    assert_eq!(go(&json!({})).0, ["p0", "p1", "p3", "p4", "p2"]);
}

#[test]
fn each_model_keeps_an_attempt_and_a_dead_place_waits() {
    let routes = routes(&["1", "2", "3", "4", "5", "6"]);
    let now = Instant::now();
    let two = body(
        &json!({"sort": "price"}),
        &json!({"models": ["acme/other"]}),
    );
    let tried = |kind: ErrorKind| {
        with(&routes, &two, now, 1, |mut plan| {
            let mut tried = Vec::new();
            while let Some(candidate) = plan.next_lane() {
                tried.push(candidate.endpoint.id.clone());
                plan.failed(&error(kind));
            }
            tried
        })
    };
    assert_eq!(
        tried(ErrorKind::Server),
        ["p0/m", "p1/m", "p2/m", "p0/other"]
    );
    // p0 to p2 cannot be reached: the other model is not asked there either.
    assert_eq!(
        tried(ErrorKind::Connection),
        ["p0/m", "p1/m", "p2/m", "p3/other"]
    );
}

#[test]
fn health_and_conversations_outlive_a_reload() {
    let before = routes(&["1", "1", "1"]);
    let now = Instant::now();
    kill(&before, "p1/m", now);
    let talk = body(&json!({}), &json!({"session_id": "s"}));
    let home = with(&before, &talk, now, 3, |mut plan| {
        let provider = plan.next_lane().unwrap().endpoint.provider.clone();
        plan.answered(now);
        provider
    });
    let mut after = routes(&["1", "1", "1", "1"]);
    after.take_over(&before);
    for seed in 0..50 {
        let order = with(&after, &talk, now, seed, |plan| order(&plan));
        assert_eq!(
            (order[0].as_str(), order[3].as_str()),
            (home.as_str(), "p1")
        );
    }
}
