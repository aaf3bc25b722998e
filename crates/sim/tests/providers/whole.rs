//! The simulation as a whole: seeds, the catalog, regions, shutdown, the ledger.

use crate::client::{DIALECTS, World, eventually, request};
use serde_json::json;
use std::time::{Duration, Instant};
use tidemark_catalog::Catalog;
use tidemark_sim::providers::{Dialect, Script};

const RESTLESS: &str = r#"
    speed = 0
    [behaviour]
    rate_limited = 0.2
    server_error = 0.2
    refuse_text = 0.2
    truncate = 0.2
    [provider.acme]
    any_model = true
"#;

async fn run(seed: u64) -> Vec<(u16, String)> {
    let world = World::of(Script::from_toml(RESTLESS).unwrap(), seed).await;
    let mut out = Vec::new();
    for _ in 0..40 {
        let (_, body) = request("compatible", "", true, json!({}));
        let got = world.raw("/acme/v1/chat/completions", &[], body).await;
        // The time of the answer is the only thing that differs.
        let text = got.text();
        let text = text
            .split("\"created\":")
            .map(|part| part.split_once(',').map_or(part, |(_, rest)| rest))
            .collect();
        out.push((got.status, text));
    }
    out
}

#[tokio::test]
async fn a_seed_repeats_and_another_does_not() {
    let (one, again, other) = (run(1).await, run(1).await, run(2).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    let statuses: std::collections::BTreeSet<u16> = one.iter().map(|(status, _)| *status).collect();
    assert!(
        statuses.contains(&200) && statuses.contains(&429),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn every_endpoint_of_the_catalog_answers() {
    let catalog = Catalog::builtin().unwrap();
    let script = Script::demo(&catalog).with_speed(0.0).without_faults();
    let dialects: std::collections::BTreeMap<String, Dialect> = script
        .providers()
        .map(|(name, dialect)| (name.to_owned(), dialect))
        .collect();
    let world = World::of(script, 7).await;
    for endpoint in catalog.endpoints() {
        let (provider, model) = (&endpoint.provider, &endpoint.upstream);
        let (path, body) = match dialects[provider] {
            Dialect::Gemini => (
                format!(
                    "/{provider}/v1beta/models/{}:generateContent",
                    model.replace('/', "%2F")
                ),
                json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }),
            ),
            Dialect::Anthropic => (
                format!("/{provider}/v1/messages"),
                json!({ "model": model, "max_tokens": 50, "messages": [{ "role": "user", "content": "hi" }] }),
            ),
            _ => (
                format!("/{provider}/v1/chat/completions"),
                json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] }),
            ),
        };
        let got = world.raw(&path, &[], body.to_string()).await;
        assert_eq!(got.status, 200, "{} {}", endpoint.id, got.text());
    }
    assert_eq!(
        world.ledger.total().answered,
        catalog.endpoints().len() as u64
    );
}

#[tokio::test]
async fn unknown_models_and_long_prompts_are_refused_in_shape() {
    let catalog = Catalog::builtin().unwrap();
    let world = World::of(Script::demo(&catalog).with_speed(0.0).without_faults(), 7).await;
    let message = json!([{ "role": "user", "content": "hi" }]);
    let openai = json!({ "model": "nope", "messages": message }).to_string();
    let got = world.raw("/openai/v1/chat/completions", &[], openai).await;
    assert_eq!(
        (got.status, &got.json()["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    let anthropic = json!({ "model": "nope", "max_tokens": 5, "messages": message }).to_string();
    let got = world.raw("/anthropic/v1/messages", &[], anthropic).await;
    assert_eq!(
        (got.status, &got.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
    let gemini = json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }).to_string();
    let got = world
        .raw("/google/v1beta/models/nope:generateContent", &[], gemini)
        .await;
    assert_eq!(
        (got.status, &got.json()["error"]["status"]),
        (404, &json!("NOT_FOUND"))
    );

    let script = Script::from_toml("[provider.p.model.m]\ncontext_length = 10").unwrap();
    let world = World::of(script.with_speed(0.0), 7).await;
    let long = json!({ "model": "m", "messages": [{ "role": "user", "content": "x".repeat(50) }] });
    let got = world
        .raw("/p/v1/chat/completions", &[], long.to_string())
        .await;
    assert_eq!(
        (got.status, &got.json()["error"]["code"]),
        (400, &json!("context_length_exceeded"))
    );
}

#[tokio::test]
async fn regions_behave_differently() {
    let script = Script::from_toml(
        "speed = 0\n[provider.p]\nany_model = true\ndefault_region = \"good\"\n[provider.p.region.bad]\nrate_limited = 1",
    )
    .unwrap();
    // Regions hold for any model, too.
    let world = World::of(script, 7).await;
    let (_, body) = request("compatible", "", false, json!({}));
    let ask = |region: &'static str| {
        let (world, body) = (&world, body.clone());
        async move {
            let headers = [("x-sim-region", region)];
            world
                .raw("/p/v1/chat/completions", &headers, body)
                .await
                .status
        }
    };
    assert_eq!(
        (ask("good").await, ask("bad").await, ask("moon").await),
        (200, 429, 200)
    );
}

#[tokio::test]
async fn the_ledger_agrees_with_what_was_told() {
    let world = World::new().await;
    let (mut prompt, mut completion) = (0, 0);
    for stream in [false, true] {
        for _ in 0..5 {
            let got = world.ask("openai", "", stream, json!({})).await;
            let usage = if stream {
                got.events().last().unwrap().1["usage"].clone()
            } else {
                got.json()["usage"].clone()
            };
            prompt += usage["prompt_tokens"].as_u64().unwrap();
            completion += usage["completion_tokens"].as_u64().unwrap();
        }
    }
    let served = world.ledger.served("openai");
    assert_eq!((served.requests, served.answered), (10, 10));
    assert_eq!(
        (served.billed.prompt, served.billed.completion),
        (prompt, completion)
    );
    let told = world.ask("anthropic", "", false, json!({})).await.json();
    assert_eq!(
        world.ledger.recent().last().unwrap().id,
        told["id"].as_str().unwrap()
    );
    let shown = world.get("/ledger").await.json();
    assert_eq!(shown["openai"]["billed"]["completion"], completion);
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_was_generated() {
    let world = World::new().await;
    for dialect in DIALECTS {
        let (path, body) = request(dialect, "tokens=1000 chunk-ms=5", true, json!({}));
        let mut body = world.open(&path, &[], body).await.into_body();
        for _ in 0..6 {
            http_body_util::BodyExt::frame(&mut body)
                .await
                .unwrap()
                .unwrap();
        }
        drop(body);
        eventually(|| world.ledger.served(dialect).left == 1).await;
        let billed = world.ledger.served(dialect).billed;
        assert!(
            billed.completion > 0 && billed.completion < 1_000 && billed.prompt > 0,
            "{billed:?}"
        );
    }
}

#[tokio::test]
async fn shutdown_does_not_wait_for_what_hangs() {
    let world = World::new().await;
    let (path, body) = request("openai", "hang", false, json!({}));
    let answer = world.open(&path, &[], body);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), answer)
            .await
            .is_err()
    );
    let (path, body) = request("openai", "stall", true, json!({}));
    let _held = world.open(&path, &[], body).await;
    let start = Instant::now();
    world.stop.send(()).unwrap();
    world.served.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(3));
}
