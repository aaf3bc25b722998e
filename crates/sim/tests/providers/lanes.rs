//! Regions as upstreams of their own, and behaviour switched from outside.

use crate::client::{World, eventually, request};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidemark_sim::providers::Script;

const SCRIPT: &str = r#"
speed = 0
[behaviour]
cache_min_tokens = 100
[provider.acme]
any_model = true
regions = ["us-east", "eu-west"]
[provider.acme.region.eu-west]
server_error = 1
[provider.other]
any_model = true
"#;

async fn world() -> World {
    World::of(Script::from_toml(SCRIPT).unwrap(), 7).await
}

async fn ask(world: &World, place: &str, text: &str) -> crate::client::Got {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
    world
        .raw(
            &format!("/{place}/v1/chat/completions"),
            &[],
            body.to_string(),
        )
        .await
}

async fn order(world: &World, order: Value) -> crate::client::Got {
    world.raw("/control", &[], order.to_string()).await
}

#[tokio::test]
async fn a_region_in_the_path_has_its_own_behaviour_and_books() {
    let world = world().await;
    for (place, status) in [
        ("acme", 200),
        ("acme@us-east", 200),
        ("other@anywhere", 200),
        ("acme@mars", 404),
    ] {
        assert_eq!(ask(&world, place, "hi").await.status, status, "{place}");
    }
    assert!(ask(&world, "acme@eu-west", "hi").await.status >= 500);
    let ledger = &world.ledger;
    eventually(|| ledger.served("acme").answered == 2).await;
    assert_eq!(ledger.served_in("acme", "us-east").requests, 2);
    assert_eq!(ledger.served_in("acme", "eu-west").refused, 1);
    assert_eq!(ledger.served("acme").requests, 3);
    assert_eq!(ledger.total().requests, 4);
    assert_eq!(world.get("/ledger").await.json()["acme"]["requests"], 3);
}

#[tokio::test]
async fn the_gemini_path_takes_a_region_too() {
    let script = Script::from_toml(
        "[provider.g]\ndialect = \"gemini\"\nany_model = true\nregions = [\"us\"]\n",
    );
    let world = World::of(script.unwrap().with_speed(0.0), 7).await;
    let (path, body) = request("gemini", "", false, json!({}));
    let got = world
        .raw(&path.replace("/gemini/", "/g@us/"), &[], body)
        .await;
    assert_eq!(got.status, 200);
    assert_eq!(world.ledger.served_in("g", "us").requests, 1);
}

#[tokio::test]
async fn each_region_remembers_its_own_prompts() {
    let script = SCRIPT.replace("server_error = 1", "server_error = 0");
    let world = World::of(Script::from_toml(&script).unwrap(), 7).await;
    let prompt = "tide ".repeat(200);
    let mut cached = Vec::new();
    for place in ["acme@us-east", "acme@us-east", "acme@eu-west", "acme"] {
        let got = ask(&world, place, &prompt).await.json();
        cached.push(got["usage"]["prompt_tokens_details"]["cached_tokens"].clone());
    }
    // 1,000 characters are 250 tokens, the last of which is always read; a path without a region means the first.
    assert_eq!(cached, [json!(0), json!(249), json!(0), json!(249)]);
}

#[tokio::test]
async fn a_region_is_switched_while_it_runs_and_heals_by_itself() {
    let world = world().await;
    let failing = json!({ "provider": "acme", "region": "us-east", "behaviour": { "server_error": 1 }, "duration_s": 0.3 });
    let got = order(&world, failing).await.json();
    assert_eq!(got["data"][0]["region"], "us-east");
    let left = got["data"][0]["left_s"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 0.3, "{left}");
    assert!(ask(&world, "acme@us-east", "hi").await.status >= 500);
    assert_eq!(ask(&world, "other", "hi").await.status, 200);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(ask(&world, "acme@us-east", "hi").await.status, 200);
    assert_eq!(world.get("/control").await.json()["data"], json!([]));
}

#[tokio::test]
async fn a_provider_is_switched_in_all_regions_until_taken_back() {
    let script = SCRIPT.replace("speed = 0", "speed = 1").replace(
        "cache_min",
        "ttft_ms = { median = 3, p95 = 3 }\ntokens_per_second = 100000\ncache_min",
    );
    let world = World::of(Script::from_toml(&script).unwrap(), 7).await;
    let slow = json!({ "provider": "acme", "behaviour": { "slowdown": 100 } });
    assert_eq!(order(&world, slow).await.status, 200);
    let began = Instant::now();
    assert_eq!(ask(&world, "acme@us-east", "hi").await.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(290));
    let back = order(&world, json!({ "provider": "acme" })).await;
    assert_eq!(back.json()["data"], json!([]));
    let began = Instant::now();
    assert_eq!(ask(&world, "acme@us-east", "hi").await.status, 200);
    assert!(began.elapsed() < Duration::from_millis(200));
}

#[tokio::test]
async fn orders_that_make_no_sense_change_nothing() {
    let world = world().await;
    for (bad, status) in [
        (json!({ "provider": "nobody", "behaviour": {} }), 404),
        (json!({ "provider": "acme", "region": "mars" }), 404),
        (
            json!({ "provider": "acme", "behaviour": { "hangs": 1 } }),
            400,
        ),
        (
            json!({ "provider": "acme", "behaviour": { "hang": 2 } }),
            400,
        ),
        (json!({ "provider": "acme", "duration_s": -1 }), 400),
        (json!("x".repeat(70_000)), 413),
        (json!([]), 400),
    ] {
        assert_eq!(order(&world, bad).await.status, status);
    }
    assert_eq!(world.get("/control").await.json()["data"], json!([]));
}
