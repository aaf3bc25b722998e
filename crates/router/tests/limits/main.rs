//! Policies and limits as clients meet them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on should fail loudly, and one that measures should say what"
)]

#[path = "../support/mod.rs"]
mod support;
mod told;

use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::*;
use tidemark_router::gateway::Gateway;
use tidemark_router::keys::admission::Of;
use tidemark_router::keys::window::Window;
use tidemark_router::keys::{StoredKey, Terms};
use tidemark_router::policy::Policy;
use tokio::task::JoinSet;

/// What the upstream's [`OK`] costs: 400 fresh and 600 cached prompt tokens and 200 of completion, at 2.50, 1.25 and 10 dollars
/// per million.
const COST: u64 = 1_000_000 + 750_000 + 2_000_000;

fn terms(limits: &[&str], soft: &[&str]) -> Terms {
    let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Terms {
        policy: Policy::default(),
        limits: read(limits),
        soft_limits: read(soft),
    }
}

fn key(house: &House, account: &str, terms: Terms) -> (StoredKey, String) {
    house
        .gateway
        .keys()
        .create_with(account, |key| key.terms = terms)
        .unwrap()
}

type Got = (u16, http::HeaderMap, Value);

/// A request as the server would hand it over.
async fn through(gateway: &Gateway, key: &str, method: &str, path: &str, body: String) -> Got {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {key}"))
        .body(Full::new(bytes::Bytes::from(body)))
        .unwrap();
    let (head, body) = gateway.handle(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    (head.status.as_u16(), head.headers, json)
}

async fn send(house: &House, key: &str, method: &str, path: &str, body: String) -> Got {
    through(&house.gateway, key, method, path, body).await
}

async fn chat(house: &House, key: &str) -> Got {
    send(house, key, "POST", "/v1/chat/completions", ask(false)).await
}

fn header<'a>(headers: &'a http::HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// A provider that thinks for a while, so that all requests are at work at the same time.
fn slow() -> Act {
    Act {
        pause: Duration::from_millis(300),
        ..http("200 OK", "application/json", OK)
    }
}

/// Clients that begin at the same moment and ask so many times each, one request after the other; how often each status came.
async fn clients(
    house: &House,
    key: &str,
    body: &str,
    clients: usize,
    times: usize,
) -> BTreeMap<u16, usize> {
    let mut at_work = JoinSet::new();
    for _ in 0..clients {
        let (gateway, key, body) = (Arc::clone(&house.gateway), key.to_owned(), body.to_owned());
        at_work.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..times {
                let (status, headers, _) =
                    through(&gateway, &key, "POST", "/v1/chat/completions", body.clone()).await;
                assert!(
                    [200, 402].contains(&status) || header(&headers, "retry-after") == "1",
                    "{status}"
                );
                statuses.push(status);
            }
            statuses
        });
    }
    let mut counts = BTreeMap::new();
    for status in at_work.join_all().await.into_iter().flatten() {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// A thousand requests at once against a budget for a hundred. Each sets aside a usual answer's price, which is more than this
/// one's: the budget is not overshot by even one request.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_do_not_overshoot_a_budget_they_are_expected_to_keep() {
    let house = with(vec![slow()]).await;
    let budget = 100 * COST;
    let (_, text) = key(&house, "acme", terms(&["0.375 USD/total"], &[]));
    assert_eq!(budget, 375_000_000);
    let statuses = clients(&house, &text, &ask(false), 1_000, 1).await;
    let spent = spent(house).await;
    println!("1,000 at once, budget for 100: {statuses:?}, spent {spent} of {budget} nano-dollars");
    assert!(statuses[&429] > 800 && spent <= budget + COST, "{spent}");
}

/// The worst that can be: every answer costs far more than was to be expected of it. Overshot by no more than the requests that
/// were at work.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cost_more_than_expected_overshoot_by_at_most_the_requests_at_work() {
    let house = with(vec![slow()]).await;
    let (_, text) = key(&house, "acme", terms(&["0.375 USD/total"], &[]));
    let body =
        json!({"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]})
            .to_string();
    let first = clients(&house, &text, &body, 1_000, 1).await;
    let second = clients(&house, &text, &body, 1_000, 1).await;
    let spent = spent(house).await;
    println!(
        "the same with answers 300 times as dear as expected: {first:?}, then {second:?}, spent {spent}"
    );
    assert!(spent <= 375_000_000 + 1_000 * COST);
    assert_eq!(
        second,
        BTreeMap::from([(402, 1_000)]),
        "none is admitted once it is spent"
    );
}

/// Twenty clients, one request after the other: as in service, where not all requests arrive in the same millisecond.
#[tokio::test(flavor = "multi_thread")]
async fn clients_in_a_row_overshoot_by_at_most_one_request_each() {
    let house = with(vec![Act {
        pause: Duration::from_millis(5),
        ..http("200 OK", "application/json", OK)
    }])
    .await;
    let (_, text) = key(&house, "acme", terms(&["0.375 USD/total"], &[]));
    let body =
        json!({"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]})
            .to_string();
    let statuses = clients(&house, &text, &body, 20, 50).await;
    let spent = spent(house).await;
    let over = spent.saturating_sub(375_000_000).div_ceil(COST);
    println!(
        "20 clients, 50 requests each, one after the other: {statuses:?}, {over} requests over the budget"
    );
    assert!((375_000_000..=375_000_000 + 20 * COST).contains(&spent));
}

/// By the events, which know nothing of limits.
async fn spent(house: House) -> u64 {
    let events = house.events().await;
    (0..events.len())
        .map(|row| events.int(row, "cost_nanousd") as u64)
        .sum()
}

#[tokio::test]
async fn every_way_out_settles_what_the_event_says() {
    let parts = [chunk("one "), chunk("two ")];
    let acts = vec![
        http("200 OK", "application/json", OK),
        stream(&[&parts[0], FINISH, USAGE, DONE]),
        stream(&[&parts[0]]), // breaks
        http("500 Internal Server Error", "application/json", "{}"),
        http("200 OK", "application/json", "not json"),
        Act {
            hang: true,
            ..stream(&[&parts[0], &parts[1]])
        }, // the client leaves
    ];
    let settings = tidemark_router::settings::Settings {
        linger_s: 1,
        max_attempts: 1,
        ..Default::default()
    };
    let house = with_settings(acts, settings).await;
    let (stored, text) = key(&house, "acme", Terms::default());
    let post = |path: &'static str, body: String| send(&house, &text, "POST", path, body);
    let path = "/v1/chat/completions";
    assert_eq!(post(path, ask(false)).await.0, 200);
    assert_eq!(post(path, ask(true)).await.0, 200);
    assert_eq!(post(path, ask(true)).await.0, 200);
    assert_eq!(post(path, ask(false)).await.0, 502);
    assert_eq!(post(path, ask(false)).await.0, 502);
    let leaving = http::Request::post(path)
        .header("authorization", format!("Bearer {text}"))
        .body(Full::new(bytes::Bytes::from(ask(true))))
        .unwrap();
    let mut body = house.gateway.handle(leaving).await.into_body();
    body.frame().await.unwrap().unwrap();
    let standing = house
        .gateway
        .keys()
        .account(&text)
        .unwrap()
        .standing
        .unwrap();
    assert!(standing.used().held().nanousd > 0, "at work");
    drop(body);
    // Refused at the door: counted as requests, at no cost.
    for (path, body) in [
        (path, "{".to_owned()),
        (
            path,
            json!({"model": "nobody/nothing", "messages": [{"role": "user", "content": "x"}]})
                .to_string(),
        ),
        (
            "/v1/messages",
            json!({"model": MODEL, "max_tokens": 0, "messages": []}).to_string(),
        ),
        (
            "/v1/embeddings",
            json!({"model": MODEL, "input": "x"}).to_string(),
        ),
    ] {
        let (status, ..) = post(path, body).await;
        assert!((400..500).contains(&status), "{status}");
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let used = standing.used();
    drop(standing);
    assert_eq!(used.held(), Default::default(), "nothing stays set aside");
    let keys = house.gateway.keys().clone();
    let events = house.events().await;
    assert_eq!(events.len(), 10);
    let sum = |field: &str| {
        (0..events.len())
            .map(|row| events.int(row, field))
            .sum::<i64>() as u64
    };
    let used = used.used(Window::Total);
    assert_eq!(used.requests, 10);
    assert_eq!(used.nanousd, sum("cost_nanousd"));
    assert_eq!(used.tokens, sum("prompt_tokens") + sum("completion_tokens"));
    assert!(used.nanousd > COST);
    // And so it is of the account.
    let account = keys.readings(Of::Account, &stored.account, &terms(&["1 USD/total"], &[]));
    assert_eq!(account[0].used, used.nanousd);
}

#[tokio::test]
async fn an_account_s_limit_holds_over_all_its_keys() {
    let house = with(vec![http("200 OK", "application/json", OK)]).await;
    let (_, first) = key(&house, "acme", Terms::default());
    let (_, second) = key(&house, "acme", Terms::default());
    let (_, other) = key(&house, "else", Terms::default());
    house
        .gateway
        .keys()
        .update_account("acme", |account| *account = terms(&["0.005 USD/day"], &[]))
        .unwrap();
    assert_eq!(chat(&house, &first).await.0, 200);
    assert_eq!(chat(&house, &second).await.0, 200, "something was left");
    for key in [&first, &second] {
        let (status, headers, body) = chat(&house, key).await;
        assert_eq!(status, 402);
        let error = &body["error"];
        assert_eq!(
            (error["type"].as_str(), error["code"].as_str()),
            (Some("insufficient_quota"), Some("insufficient_quota"))
        );
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(
                "this key's account has used up its limit of 0.005 USD/day; it begins anew at "
            ),
            "{message}"
        );
        assert_eq!(error["metadata"]["used"], json!(0.0075));
        assert_eq!(error["metadata"]["of"], json!("account"));
        assert!(!headers.contains_key("retry-after"));
        let (_, _, anthropic) = send(&house, key, "POST", "/v1/messages", "{}".into()).await;
        assert_eq!(anthropic["error"]["type"], json!("billing_error"));
    }
    assert_eq!(chat(&house, &other).await.0, 200);
    let figures = house.gateway.metrics();
    let line =
        r#"tidemark_router_limits_met_total{of="account",unit="USD",window="day",kind="hard"} 4"#;
    assert!(figures.contains(line), "{figures}");
    house.events().await;
}
