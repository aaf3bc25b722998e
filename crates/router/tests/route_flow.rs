//! Routing through a real socket: what providers say decides where the next request goes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

mod support;

use arrow::array::AsArray;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::*;
use tidemark_router::adapters::Dialect;
use tidemark_router::settings::{Settings, Upstream};

const OTHER: &str = "openai/gpt-4o-mini";

fn settings(upstreams: Vec<Upstream>) -> Settings {
    Settings {
        upstreams,
        ..Settings::default()
    }
}

fn compatible(provider: &str, base: &str) -> Upstream {
    reach(provider, Dialect::OpenaiCompatible, base)
}

fn body(provider: Value, more: Value) -> String {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "canary prompt 7f3a"}], "provider": provider});
    let object = body.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn asked(counter: &Arc<AtomicU64>) -> u64 {
    counter.load(Ordering::SeqCst)
}

fn limited(seconds: u64) -> Act {
    let body = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: {seconds}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Act {
        parts: vec![[head.as_bytes(), body.as_bytes()].concat()],
        ..Act::default()
    }
}

#[tokio::test]
async fn a_provider_that_names_a_time_is_not_asked_before() {
    let (busy, asked_busy) =
        upstream(vec![limited(3), http("200 OK", "application/json", OK)]).await;
    let (free, asked_free) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let house = house(settings(vec![
        compatible("openai", &busy),
        compatible("azure", &free),
    ]))
    .await;
    let first = body(json!({"order": ["openai", "azure"]}), json!({}));
    for _ in 0..5 {
        let (status, _, text) = house.post("/v1/chat/completions", first.clone()).await;
        assert_eq!(status, 200, "{text}");
    }
    assert_eq!((asked(&asked_busy), asked(&asked_free)), (1, 5));
    // Nobody else may answer: the client is told how long to wait.
    let only = body(json!({"only": ["openai"]}), json!({}));
    let (status, headers, text) = house.post("/v1/chat/completions", only).await;
    let wait = headers["retry-after"].to_str().unwrap().parse::<u64>();
    let wait = wait.unwrap();
    assert!(status == 429 && (1..=3).contains(&wait), "{text}");
    let error: Value = serde_json::from_str(&text).unwrap();
    let availability = &error["error"]["metadata"]["availability"];
    assert_eq!(availability["constraint"], "rate_limited");
    assert_eq!(
        (&availability["retryable"], &availability["retry_after"]),
        (&json!(true), &json!(wait))
    );
    assert_eq!(availability["excluded_by"]["only"], 1);
    tokio::time::sleep(std::time::Duration::from_millis(3_100)).await;
    house.post("/v1/chat/completions", first).await;
    assert_eq!((asked(&asked_busy), asked(&asked_free)), (2, 5));
    let events = house.events().await;
    let rejected: Vec<usize> = (0..events.len())
        .filter(|row| events.text(*row, "outcome") == "rejected")
        .collect();
    assert_eq!((events.len(), rejected.len()), (7, 1));
    assert_eq!(events.text(rejected[0], "error_type"), "rate_limited");
}

#[tokio::test]
async fn a_dead_provider_is_left_alone() {
    let (dead, asked_dead) = upstream(vec![http("503 Service Unavailable", "text/html", "")]).await;
    let (alive, _) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let house = house(settings(vec![
        compatible("openai", &dead),
        compatible("azure", &alive),
    ]))
    .await;
    for n in 0..100 {
        let more = json!({"session_id": format!("conversation {}", n % 50)});
        let (status, _, text) = house
            .post("/v1/chat/completions", body(json!({}), more))
            .await;
        assert_eq!(status, 200, "{text}");
    }
    // Three failures open the breaker; a slow machine may see a probe or two.
    assert!((3..=6).contains(&asked(&asked_dead)));
    assert!(
        house.gateway.metrics().contains(
            "tidemark_router_lane_broken{endpoint=\"openai/gpt-4o\",region=\"us-east\"} 1"
        )
    );
    let events = house.events().await;
    assert_eq!(events.len(), 100);
    assert!((0..100).all(|row| events.failed_attempts(row) <= 1));
    let routes: Vec<String> = (0..100).map(|row| events.text(row, "route")).collect();
    assert!(
        routes
            .iter()
            .any(|route| route.contains("marked=outage:1") && route.contains("sticky=held")),
        "{routes:?}"
    );
    assert!(!events.dump().contains("canary prompt") && !events.dump().contains("conversation"));
}

#[tokio::test]
async fn the_next_model_answers_at_its_own_price() {
    let (bad, _) = upstream(vec![
        http("500 Internal Server Error", "text/html", ""),
        http("200 OK", "application/json", OK),
    ])
    .await;
    let house = house(settings(vec![compatible("openai", &bad)])).await;
    let two = body(json!({}), json!({"models": [OTHER]}));
    let (status, headers, text) = house.post("/v1/chat/completions", two).await;
    assert_eq!(status, 200, "{text}");
    assert!(!headers.contains_key("x-tidemark-route"));
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["model"], OTHER);
    let events = house.events().await;
    only(&events);
    assert_eq!(
        (events.text(0, "model_requested"), events.text(0, "model")),
        (MODEL.to_owned(), OTHER.to_owned())
    );
    // $0.15 a million for 400, $0.075 for 600 cached, $0.60 for 200.
    assert_eq!(events.int(0, "cost_nanousd"), 60_000 + 45_000 + 120_000);
    assert_eq!(events.failed_attempts(0), 1);
    let failed = events.0.column_by_name("failed_attempts").unwrap();
    let failed = failed.as_list::<i32>().value(0);
    let models = failed.as_struct().column_by_name("model").unwrap();
    assert_eq!(models.as_string::<i32>().value(0), MODEL);
    assert!(events.text(0, "route").contains("models=2"));
}

#[tokio::test]
async fn models_to_fall_back_on_must_exist_and_those_that_are_over_are_passed_over() {
    let (good, asked_good) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let house = house(settings(vec![
        compatible("openai", &good),
        compatible("anthropic", &good),
    ]))
    .await;
    for (models, param, code) in [
        (json!(["openai/gpt-4p"]), "models[0]", "model_not_found"),
        (
            json!([OTHER, "openai/text-embedding-3-small"]),
            "models[1]",
            "wrong_model",
        ),
        (json!([7]), "models", "invalid_request"),
        (json!(OTHER), "models", "invalid_request"),
        (json!(vec![OTHER; 16]), "models", "invalid_request"),
    ] {
        let (status, _, text) = house
            .post(
                "/v1/chat/completions",
                body(json!({}), json!({"models": models})),
            )
            .await;
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&error["error"]["param"], &error["error"]["code"]),
            (&json!(param), &json!(code)),
            "{text}"
        );
        assert!(status == 400 || status == 404);
    }
    assert_eq!(asked(&asked_good), 0);
    let retired = "anthropic/claude-3-opus";
    for (model, models, served) in [
        (json!(retired), json!([OTHER]), 200),
        (json!(MODEL), json!([retired]), 200),
        (Value::Null, json!([MODEL, retired]), 200),
        (json!(retired), json!([retired]), 410),
    ] {
        let (status, _, text) = house
            .post(
                "/v1/chat/completions",
                body(json!({}), json!({"model": model, "models": models})),
            )
            .await;
        assert_eq!(status, served, "{text}");
    }
    assert_eq!(asked(&asked_good), 3);
}

#[tokio::test]
async fn a_region_is_a_lane_of_its_own() {
    let (east, asked_east) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let (west, asked_west) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let (nowhere, asked_nowhere) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let in_region = |region: &str, base: &str| Upstream {
        region: Some(region.to_owned()),
        ..compatible("openai", base)
    };
    let house = house(settings(vec![
        in_region("us-east", &east),
        in_region("eu-west", &west),
        compatible("azure", &nowhere),
    ]))
    .await;
    for provider in [
        json!({"regions": ["eu-*"]}),
        json!({"only": ["openai/eu-west"]}),
        json!({"ignore": ["openai/us-east", "azure/us-east"]}),
    ] {
        let (status, _, text) = house
            .post("/v1/chat/completions", body(provider, json!({})))
            .await;
        assert_eq!(status, 200, "{text}");
    }
    assert_eq!(
        (
            asked(&asked_east),
            asked(&asked_west),
            asked(&asked_nowhere)
        ),
        (0, 3, 0)
    );
    let (status, _, text) = house
        .post(
            "/v1/chat/completions",
            body(json!({"regions": ["us-west"]}), json!({})),
        )
        .await;
    assert_eq!(status, 404, "{text}");
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(error["error"]["param"], "provider.regions");
    let events = house.events().await;
    let regions: Vec<String> = (0..events.len())
        .filter(|row| events.text(*row, "outcome") == "ok")
        .map(|row| events.text(row, "region"))
        .collect();
    assert_eq!(regions, ["eu-west", "eu-west", "eu-west"]);
}

#[tokio::test]
async fn why_is_told_where_it_is_asked() {
    let (bad, _) = upstream(vec![http("500 Internal Server Error", "text/html", "")]).await;
    let (good, _) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let house = house(settings(vec![
        compatible("openai", &bad),
        compatible("azure", &good),
    ]))
    .await;
    let mut request = house.request(
        "/v1/chat/completions",
        body(json!({"order": ["openai", "azure"]}), json!({})),
    );
    request
        .headers_mut()
        .insert("x-tidemark-explain", "1".parse().unwrap());
    let response = house.gateway_client().request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let route: Value =
        serde_json::from_str(response.headers()["x-tidemark-route"].to_str().unwrap()).unwrap();
    assert_eq!(
        (&route["by"], &route["sticky"], &route["tried"]),
        (&json!("balanced"), &json!("off"), &json!(2))
    );
    assert_eq!(route["lanes"][0], json!(["openai/gpt-4o@us-east", []]));
    assert_eq!(route["lanes"].as_array().unwrap().len(), 2);
    assert!(
        !route["excluded"]["no_upstream"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn when_no_lane_is_left_the_last_limit_is_named() {
    let (good, asked_good) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let house = house(settings(vec![
        compatible("openai", &good),
        compatible("azure", &good),
    ]))
    .await;
    for (provider, more, status, param, constraint) in [
        (
            json!({"max_price": {"prompt": 0.1}}),
            json!({}),
            404,
            "provider.max_price",
            "max_price",
        ),
        (json!({"zdr": true}), json!({}), 404, "provider.zdr", "zdr"),
        (
            json!({"only": ["groq"]}),
            json!({}),
            404,
            "provider.only",
            "only",
        ),
        (
            json!({"quantizations": ["fp8"]}),
            json!({}),
            404,
            "provider.quantizations",
            "quantizations",
        ),
        (
            json!({"ignore": ["azure"], "data_collection": "deny"}),
            json!({}),
            404,
            "provider.data_collection",
            "data_collection",
        ),
        (
            json!({}),
            json!({"model": format!("{MODEL}:free")}),
            404,
            "model",
            "free",
        ),
        (
            json!({}),
            json!({"max_tokens": 1_000_000}),
            400,
            "max_tokens",
            "max_output",
        ),
        (
            json!({"require_parameters": true}),
            json!({"top_a": 0.5}),
            404,
            "provider.require_parameters",
            "require_parameters",
        ),
        (
            json!({}),
            json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}]}),
            400,
            "messages",
            "modality",
        ),
        (
            json!({}),
            json!({"messages": [{"role": "user", "content": "canary 7f3a ".repeat(100_000)}]}),
            400,
            "messages",
            "context_length",
        ),
    ] {
        let (got, _, text) = house
            .post("/v1/chat/completions", body(provider.clone(), more))
            .await;
        let error: Value = serde_json::from_str(&text).unwrap();
        let availability = &error["error"]["metadata"]["availability"];
        assert_eq!(
            (got, &error["error"]["param"], &availability["constraint"]),
            (status, &json!(param), &json!(constraint)),
            "{provider} {text}"
        );
        assert_eq!(availability["requested_models"], json!([MODEL]));
        assert!(
            availability["affected_providers"]
                .as_array()
                .unwrap()
                .contains(&json!("openai"))
        );
        assert!(availability["fallback_models"].is_array() && !text.contains("canary"));
    }
    assert_eq!(asked(&asked_good), 0);
    let events = house.events().await;
    assert!((0..events.len()).all(
        |row| events.text(row, "outcome") == "rejected" && events.text(row, "route").is_empty()
    ));
}
