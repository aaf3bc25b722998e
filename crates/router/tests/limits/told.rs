//! What a client is told of its limits and of what it may ask.

use super::*;

#[tokio::test]
async fn rates_are_told_in_headers_and_refused_with_the_time_to_wait() {
    let house = with(vec![http("200 OK", "application/json", OK)]).await;
    let (_, text) = key(
        &house,
        "acme",
        terms(
            &["3 requests/hour", "900 requests/day", "2000 tokens/month"],
            &[],
        ),
    );
    let (status, headers, _) = chat(&house, &text).await;
    assert_eq!(status, 200);
    let told = |name: &str| header(&headers, name).to_owned();
    assert_eq!(
        (
            told("x-ratelimit-limit-requests"),
            told("x-ratelimit-remaining-requests")
        ),
        ("3".into(), "2".into())
    );
    assert_eq!(
        (
            told("x-ratelimit-limit-tokens"),
            told("x-ratelimit-remaining-tokens")
        ),
        ("2000".into(), "800".into())
    );
    assert!(
        told("x-ratelimit-reset-requests").ends_with('s')
            && told("x-ratelimit-reset-tokens").contains('h')
    );
    // A body that is no request counts as one; embeddings and messages count like chat.
    assert_eq!(
        send(&house, &text, "POST", "/v1/embeddings", "{}".into())
            .await
            .0,
        400
    );
    assert_eq!(
        send(&house, &text, "POST", "/v1/messages", "{}".into())
            .await
            .0,
        400
    );
    let (status, headers, body) = chat(&house, &text).await;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (429, Some("rate_limit_exceeded"))
    );
    let wait: u64 = header(&headers, "retry-after").parse().unwrap();
    assert!((1..=3600).contains(&wait));
    assert_eq!(header(&headers, "x-ratelimit-remaining-requests"), "0");
    assert!(
        body["error"]["metadata"]["resets_at"]
            .as_str()
            .unwrap()
            .ends_with(":00:00Z")
    );

    let (_, tokens) = key(&house, "acme", terms(&["1000 tokens/minute"], &[]));
    assert_eq!(chat(&house, &tokens).await.0, 200);
    let (status, headers, _) = chat(&house, &tokens).await;
    assert_eq!(status, 429);
    assert!(header(&headers, "retry-after").parse::<u64>().unwrap() <= 60);
    let (_, unlimited) = key(&house, "acme", Terms::default());
    let (_, headers, _) = chat(&house, &unlimited).await;
    assert!(
        !headers
            .keys()
            .any(|name| name.as_str().starts_with("x-ratelimit"))
    );
    house.events().await;
}

#[tokio::test]
async fn a_soft_limit_warns_and_refuses_nothing() {
    let house = with(vec![http("200 OK", "application/json", OK)]).await;
    let (_, text) = key(
        &house,
        "acme",
        terms(&[], &["0.007 USD/day", "5 requests/minute"]),
    );
    let warning = "x-tidemark-limit-warning";
    let (_, headers, _) = chat(&house, &text).await;
    assert!(!headers.contains_key(warning));
    let (status, headers, _) = chat(&house, &text).await;
    assert_eq!(
        (status, header(&headers, warning)),
        (200, "this key has used 0.0075 of 0.007 USD/day")
    );
    let figures = house.gateway.metrics();
    assert!(
        figures.contains(r#"limits_met_total{of="key",unit="USD",window="day",kind="soft"} 1"#),
        "{figures}"
    );
    house.events().await;
}

#[tokio::test]
async fn a_budget_that_runs_out_in_the_middle_cuts_no_stream() {
    let parts = [chunk("one "), chunk("two ")];
    let act = Act {
        pause: Duration::from_millis(50),
        ..stream(&[&parts[0], &parts[1], FINISH, USAGE, DONE])
    };
    let house = with(vec![act]).await;
    let (_, text) = key(&house, "acme", terms(&["0.000001 USD/total"], &[]));
    let request = house.request("/v1/chat/completions", ask(true));
    let (mut head, body) = request.into_parts();
    head.headers
        .insert("authorization", format!("Bearer {text}").parse().unwrap());
    let answer = house
        .gateway
        .handle(http::Request::from_parts(head, body))
        .await;
    let answer = answer.into_body().collect().await.unwrap().to_bytes();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.contains("two ") && answer.ends_with(DONE),
        "{answer}"
    );
    let (status, headers, body) = chat(&house, &text).await;
    assert_eq!(status, 402);
    assert!(!headers.contains_key("retry-after"));
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("does not begin anew")
    );
    house.events().await;
}

#[tokio::test]
async fn a_key_asks_and_sees_only_its_models() {
    let house = with(vec![http("200 OK", "application/json", OK)]).await;
    let allow = |models: &[&str]| {
        let policy = Policy {
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            ..Policy::default()
        };
        Terms {
            policy,
            ..Terms::default()
        }
    };
    let (_, text) = key(
        &house,
        "acme",
        allow(&["openai/gpt-4o-mini", "anthropic/*"]),
    );
    let (status, _, body) = chat(&house, &text).await;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (403, Some("model_not_allowed"))
    );
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("this key may not ask openai/gpt-4o:")
    );
    let mini =
        json!({"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]})
            .to_string();
    assert_eq!(
        send(&house, &text, "POST", "/v1/chat/completions", mini)
            .await
            .0,
        200
    );
    let get = |key: String, path: &'static str| {
        let house = &house;
        async move { send(house, &key, "GET", path, String::new()).await }
    };
    let ids = |body: &Value| -> Vec<String> {
        let data = body["data"].as_array().unwrap();
        data.iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, _, body) = get(text.clone(), "/v1/models").await;
    assert_eq!(
        ids(&body),
        ["openai/gpt-4o-mini"],
        "only what is served here, too"
    );
    assert_eq!(get(text.clone(), "/v1/models/openai/gpt-4o").await.0, 403);
    assert_eq!(
        get(text.clone(), "/v1/models/openai/gpt-4o-mini").await.0,
        200
    );
    let (_, _, all) = get(house.key.clone(), "/v1/models").await;
    assert!(ids(&all).len() > 3);
    // Within the account's list, whatever the key's own says.
    house
        .gateway
        .keys()
        .update_account("acme", |terms| *terms = allow(&["openai/gpt-4o"]))
        .unwrap();
    let (_, _, body) = get(text.clone(), "/v1/models").await;
    assert!(ids(&body).is_empty());
    assert_eq!(chat(&house, &text).await.0, 403);
    // A provider that may not answer takes its models with it.
    house
        .gateway
        .keys()
        .update_account("acme", |terms| {
            terms.policy = Policy {
                ignore: vec!["openai".into()],
                ..Policy::default()
            };
        })
        .unwrap();
    let (_, _, body) = get(house.key.clone(), "/v1/models").await;
    assert!(!ids(&body).contains(&"openai/gpt-4o-mini".to_owned()));
    assert_eq!(get("sk-tidemark-nobody".into(), "/v1/models").await.0, 401);
    house.events().await;
}

#[tokio::test]
async fn a_key_can_ask_how_it_stands() {
    let house = with(vec![http("200 OK", "application/json", OK)]).await;
    let limits = terms(
        &["10 USD/month", "0.01 USD/day", "60 requests/minute"],
        &["0.001 USD/total"],
    );
    let (_, text) = house
        .gateway
        .keys()
        .create_with("acme", |key| {
            key.name = Some("ci".into());
            key.expires = Some("2100-01-01T00:00:00Z".parse().unwrap());
            key.terms = limits;
        })
        .unwrap();
    chat(&house, &text).await;
    let (status, headers, body) = send(&house, &text, "GET", "/v1/key", String::new()).await;
    assert_eq!(
        (status, header(&headers, "cache-control")),
        (200, "no-store")
    );
    let data = &body["data"];
    for (field, value) in [
        ("label", json!("ci")),
        ("usage", json!(0.00375)),
        ("usage_daily", json!(0.00375)),
        ("usage_weekly", json!(0.00375)),
        ("usage_monthly", json!(0.00375)),
        ("limit", json!(0.01)),
        ("limit_remaining", json!(0.00625)),
        ("limit_reset", json!("daily")),
        ("is_free_tier", json!(false)),
        ("expires_at", json!("2100-01-01T00:00:00Z")),
    ] {
        assert_eq!(data[field], value, "{field}");
    }
    assert_eq!(data["rate_limit"]["requests"], json!(60));
    assert_eq!(data["rate_limit"]["interval"], json!("1m"));
    assert_eq!(data["limits"].as_array().unwrap().len(), 4);
    assert_eq!(data["limits"][3]["hard"], json!(false));
    assert!(!body.to_string().contains(&text) && !body.to_string().contains("acme"));
    assert_eq!(
        send(&house, "", "GET", "/v1/key", String::new()).await.0,
        401
    );
    assert_eq!(
        send(&house, &text, "POST", "/v1/key", String::new())
            .await
            .0,
        404
    );
    let (_, bare) = key(&house, "acme", Terms::default());
    let (_, _, body) = send(&house, &bare, "GET", "/v1/key", String::new()).await;
    assert_eq!(
        (&body["data"]["limit"], &body["data"]["limit_remaining"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        house.events().await.len(),
        1,
        "asking how one stands is no request"
    );
}

/// The key's text is nowhere: not in what is kept, not in what is answered.
#[tokio::test]
async fn no_key_is_written_or_shown() {
    let house = with(vec![http("200 OK", "application/json", OK)]).await;
    let (_, text) = key(
        &house,
        "acme",
        terms(&["1 requests/day"], &["1 requests/day"]),
    );
    let mut shown = String::new();
    for _ in 0..2 {
        let (_, headers, body) = chat(&house, &text).await;
        shown += &format!("{headers:?}{body}");
    }
    shown += &house.gateway.metrics();
    house.gateway.keys().save().unwrap();
    for file in std::fs::read_dir(house.dir.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            shown += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
        }
    }
    shown += &house.events().await.dump();
    let secret = text.strip_prefix("sk-tidemark-").unwrap();
    assert!(!shown.contains(secret) && !shown.contains(&secret[..16]));
    assert!(shown.contains("keys.json") || shown.contains("sha256"));
}
