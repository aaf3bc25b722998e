//! Requests through the router, over tables in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use chrono::{NaiveTime, Utc};
use datafusion::prelude::SessionContext;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tidemark_api::{ApiState, router, run};
use tidemark_insight::{
    Directory, ModelRow, Policy, Rankings, Snapshot, Source, register_catalog_rows,
    register_volumes,
};
use tower::ServiceExt;

struct Shelf(Mutex<Option<Snapshot>>);

impl Source for Shelf {
    fn current(&self) -> Option<Snapshot> {
        self.0.lock().unwrap().clone()
    }
}

/// Twelve accounts on each model, today.
async fn snapshot(version: u64, models: &[(&str, i64)], simulated: bool) -> Snapshot {
    let rows: Vec<(String, &str, i64)> = models
        .iter()
        .flat_map(|(model, tokens)| (0..12).map(move |n| (format!("a{n}"), *model, *tokens)))
        .collect();
    let midnight = Utc::now()
        .date_naive()
        .and_time(NaiveTime::MIN)
        .and_utc()
        .timestamp_micros();
    let same =
        |text: &'static str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows.len()])) };
    let count = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| of(row.2)).collect::<Int64Array>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "day",
            Arc::new(
                TimestampMicrosecondArray::from(vec![midnight; rows.len()]).with_timezone("UTC"),
            ),
        ),
        (
            "account_id",
            Arc::new(
                rows.iter()
                    .map(|row| Some(row.0.as_str()))
                    .collect::<StringArray>(),
            ),
        ),
        ("app", same("editor")),
        (
            "model",
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
        ),
        ("variant", same("")),
        ("provider", same("north")),
        (
            "simulated",
            Arc::new(BooleanArray::from(vec![simulated; rows.len()])),
        ),
        ("requests", count(&|_| 1)),
        ("prompt_tokens", count(&|tokens| tokens)),
        ("completion_tokens", count(&|_| 0)),
        ("cost_nanousd", count(&|tokens| tokens * 1_000)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let context = SessionContext::new();
    register_volumes(&context, &[batch]).unwrap();
    let named = ModelRow {
        model: "alder/one".to_owned(),
        author: "alder".to_owned(),
        name: "Alder <One>".to_owned(),
        open_weights: Some(true),
        country: "FR".to_owned(),
    };
    for (table, counts, histograms) in [
        (
            "endpoints_by_minute",
            COUNTS,
            &["ttft_us", "throughput_mtps"][..],
        ),
        ("endpoints_by_half_hour", COUNTS, &[]),
        ("failed_attempts_by_minute", FAILURES, &[]),
        ("failed_attempts_by_half_hour", FAILURES, &[]),
        ("refusals_by_half_hour", REFUSALS, &[]),
    ] {
        let nothing = RecordBatch::new_empty(Arc::new(rollup(counts, histograms)));
        context.register_batch(table, nothing).unwrap();
    }
    let snapshot = Snapshot::publish(version, &context, Arc::default(), Utc::now(), Utc::now());
    let snapshot = snapshot.await.unwrap();
    for table in ["catalog_models", "catalog_authors", "catalog_providers"] {
        snapshot.context.deregister_table(table).unwrap();
    }
    register_catalog_rows(&snapshot.context, [named], [], []).unwrap();
    snapshot
}

const COUNTS: &[&str] = &[
    "requests",
    "attempts_ok",
    "attempts_failed",
    "rate_limited",
    "tool_requests",
    "tool_requests_ok",
];
const FAILURES: &[&str] = &["attempts", "attempts_failed", "rate_limited"];
const REFUSALS: &[&str] = &["filtered", "declined", "declined_text", "not_ok"];

/// The columns of a rollup of endpoints.
fn rollup(counts: &[&str], histograms: &[&str]) -> Schema {
    let minute = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let entries = vec![
        Field::new("key", DataType::Int32, false),
        Field::new("value", DataType::Int64, true),
    ];
    let entries = Field::new("key_value", DataType::Struct(entries.into()), false);
    let histogram = DataType::Map(Arc::new(entries), false);
    let mut fields = vec![Field::new("minute", minute, true)];
    let names = ["provider", "endpoint", "model", "region"];
    fields.extend(names.map(|name| Field::new(name, DataType::Utf8, true)));
    fields.push(Field::new("simulated", DataType::Boolean, true));
    fields.extend(
        counts
            .iter()
            .map(|name| Field::new(*name, DataType::Int64, true)),
    );
    fields.extend(
        histograms
            .iter()
            .map(|name| Field::new(*name, histogram.clone(), true)),
    );
    Schema::new(fields)
}

fn app(snapshot: Option<Snapshot>) -> (Router, Arc<Shelf>) {
    let shelf = Arc::new(Shelf(Mutex::new(snapshot)));
    let rankings = Arc::new(Rankings::embedded(Policy::default()).unwrap());
    (
        router(ApiState::new(
            rankings,
            Arc::clone(&shelf) as Arc<dyn Source>,
        )),
        shelf,
    )
}

async fn get(app: &Router, path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (
        head.status,
        head.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn json(app: &Router, path: &str) -> (StatusCode, Value) {
    let (status, _, body) = get(app, path).await;
    (status, serde_json::from_str(&body).unwrap())
}

async fn full() -> Option<Snapshot> {
    Some(snapshot(1, &[("alder/one", 1_000), ("birch/large", 3_000)], false).await)
}

#[tokio::test]
async fn a_ranking_has_rows_and_says_how_it_came_about() {
    let (app, _) = app(full().await);
    let (status, body) = json(
        &app,
        "/api/v1/rankings/models?period=day&metric=tokens&limit=1",
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let first = &body["data"][0];
    assert_eq!(
        (&first["rank"], &first["key"]),
        (&1.into(), &"birch/large".into())
    );
    assert_eq!(first["model_permaslug"], "birch/large");
    assert_eq!(first["total_tokens"], "36000", "token totals are strings");
    assert_eq!(
        (first["total_requests"].as_i64(), first["accounts"].as_i64()),
        (Some(12), Some(12))
    );
    assert_eq!(first["total_cost"].as_f64(), Some(0.036));
    assert_eq!(first["share"].as_f64(), Some(0.75));
    let other = &body["data"][1];
    assert_eq!(
        (&other["rank"], &other["key"]),
        (&Value::Null, &"other".into())
    );
    let meta = &body["meta"];
    assert_eq!(meta["totals"]["total_tokens"], "48000");
    assert_eq!(meta["totals"]["accounts"], 12);
    assert_eq!(
        (&meta["period"], &meta["metric"], &meta["limit"]),
        (&"day".into(), &"tokens".into(), &1.into())
    );
    assert_eq!(meta["min_accounts"], 10);
    assert_eq!(meta["simulated_share"], 0.0);
    assert!(meta["as_of"].as_str().unwrap().ends_with('Z'));
    assert!(meta["since"].as_str().unwrap().ends_with("T00:00:00.000Z"));
}

#[tokio::test]
async fn every_board_metric_and_period_answers() {
    let (app, _) = app(full().await);
    for board in [
        "models",
        "authors",
        "providers",
        "apps",
        "trending",
        "share",
    ] {
        for metric in ["tokens", "requests", "spend", "accounts", "capped"] {
            for period in ["day", "week", "month", "all"] {
                let (status, body) = json(
                    &app,
                    &format!("/api/v1/rankings/{board}?period={period}&metric={metric}"),
                )
                .await;
                if board == "trending" && period == "all" {
                    assert_eq!(status, StatusCode::BAD_REQUEST);
                    assert_eq!(
                        body["error"]["metadata"]["allowed"],
                        serde_json::json!(["day", "week", "month"])
                    );
                } else {
                    assert_eq!(status, StatusCode::OK, "{board} {metric} {period}: {body}");
                    assert!(!body["data"].as_array().unwrap().is_empty());
                }
            }
        }
    }
    for by in ["weights", "author", "country"] {
        let (status, body) = json(&app, &format!("/api/v1/rankings/share?by={by}")).await;
        assert_eq!((status, &body["meta"]["by"]), (StatusCode::OK, &by.into()));
    }
}

#[tokio::test]
async fn mistakes_are_named_with_what_is_allowed() {
    let (app, _) = app(full().await);
    for (question, parameter, allowed) in [
        ("period=decade", "period", Some("week")),
        ("metric=love", "metric", Some("capped")),
        ("limit=0", "limit", Some("1 to 50")),
        ("limit=51", "limit", Some("1 to 50")),
        ("limit=-1", "limit", Some("1 to 50")),
        ("limit=", "limit", Some("1 to 50")),
        ("by=author", "by", None),
        ("colour=red", "colour", Some("period")),
        ("period=day&period=week", "period", None),
        ("PERIOD=day", "PERIOD", Some("period")),
    ] {
        let (status, body) = json(&app, &format!("/api/v1/rankings/models?{question}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{question}");
        assert_eq!(body["error"]["code"], 400);
        assert_eq!(
            body["error"]["metadata"]["parameter"], parameter,
            "{question}"
        );
        if let Some(allowed) = allowed {
            assert!(
                body["error"]["message"].as_str().unwrap().contains(allowed),
                "{question}: {body}"
            );
            assert!(
                body["error"]["metadata"]["allowed"]
                    .as_array()
                    .unwrap()
                    .contains(&allowed.into()),
                "{body}"
            );
        }
    }
    let (status, body) = json(&app, "/api/v1/rankings/planets").await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::NOT_FOUND, &404.into())
    );
    assert!(
        body["error"]["metadata"]["rankings"]
            .as_array()
            .unwrap()
            .contains(&"trending".into())
    );
    assert_eq!(
        json(&app, "/api/v1/rankings/_fold").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(json(&app, "/api/v1/nothing").await.0, StatusCode::NOT_FOUND);
    let request = Request::post("/api/v1/rankings/models")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        app.clone().oneshot(request).await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn errors_show_nothing_from_inside() {
    let broken = Snapshot {
        version: 1,
        context: SessionContext::new(),
        directory: Directory::default(),
        as_of: Utc::now(),
        today: Utc::now().date_naive(),
    };
    let (app, _) = app(Some(broken));
    let (status, body) = json(&app, "/api/v1/rankings/models").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body["error"]["message"], "the answer could not be computed");
    assert_eq!(body["error"]["metadata"], serde_json::json!({}));
    let (status, _, page) = get(&app, "/rankings").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(page.contains("the answer could not be computed") && !page.contains("flows"));
}

#[tokio::test]
async fn ready_once_there_is_data() {
    let (app, shelf) = app(None);
    assert_eq!(get(&app, "/healthz").await.0, StatusCode::OK);
    let (status, headers, _) = get(&app, "/readyz").await;
    assert_eq!(
        (status, headers[header::RETRY_AFTER].to_str().unwrap()),
        (StatusCode::SERVICE_UNAVAILABLE, "1")
    );
    assert_eq!(
        get(&app, "/api/v1/rankings/models").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        get(&app, "/rankings").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    *shelf.0.lock().unwrap() = full().await;
    assert_eq!(get(&app, "/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn new_traffic_moves_the_ranking() {
    let (app, shelf) = app(full().await);
    let leader = async || json(&app, "/api/v1/rankings/models").await.1["data"][0]["key"].clone();
    assert_eq!(leader().await, "birch/large");
    *shelf.0.lock().unwrap() =
        Some(snapshot(2, &[("alder/one", 9_000), ("birch/large", 3_000)], false).await);
    assert_eq!(leader().await, "alder/one");
}

#[tokio::test]
async fn the_page_reads_without_a_script() {
    let (app, _) = app(Some(
        snapshot(1, &[("alder/one", 1_000), ("birch/<b>", 3_000)], true).await,
    ));
    let (status, headers, _) = get(&app, "/").await;
    assert_eq!(
        (status, headers[header::LOCATION].to_str().unwrap()),
        (StatusCode::TEMPORARY_REDIRECT, "/rankings")
    );
    let (status, headers, page) = get(&app, "/rankings?period=week&metric=spend").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        headers[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.contains("Simulated traffic") && page.contains("All of the traffic shown here"));
    for heading in [
        "Models",
        "Trending",
        "Providers",
        "Apps",
        "Share by weights",
    ] {
        assert!(page.contains(&format!(">{heading}</h2>")), "{heading}");
    }
    assert!(
        page.contains("Alder &lt;One&gt;")
            && page.contains("birch/&lt;b&gt;")
            && !page.contains("birch/<b>")
    );
    assert!(
        page.contains(r#"<a href="/rankings?period=day&amp;metric=spend">Day</a>"#),
        "{page}"
    );
    assert!(page.contains(r#"aria-current="page">Spend</a>"#));
    assert!(
        !page.contains("{{") && !page.contains("style="),
        "no hole is left and nothing is inline"
    );
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("<table>").count(), 5);

    let (status, _, page) = get(&app, "/rankings?period=all&by=country").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("compares equal windows") && page.contains("Share by country"));
    let (status, _, page) = get(&app, "/rankings?period=%3Cscript%3E").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(!page.contains("<script>") && page.contains("allowed: day, week, month, all"));
}

#[tokio::test]
async fn real_traffic_carries_no_notice() {
    let (app, _) = app(full().await);
    assert!(!get(&app, "/rankings").await.2.contains("Simulated traffic"));
}

#[tokio::test]
async fn every_response_is_guarded() {
    let (app, _) = app(full().await);
    for path in [
        "/",
        "/rankings",
        "/static/live.js",
        "/static/tidemark.css",
        "/api/v1/rankings/models",
        "/healthz",
        "/no",
    ] {
        let (_, headers, _) = get(&app, path).await;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
    }
    assert_eq!(
        get(&app, "/api/v1/rankings/models").await.1[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        "*"
    );
}

#[tokio::test]
async fn serves_until_told_to_stop() {
    let (app, _) = app(full().await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(run(listener, app, async {
        stopped.await.ok();
    }));
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    socket
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
