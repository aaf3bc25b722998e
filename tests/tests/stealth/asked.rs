//! Requests under the aliases, and everything a client reads of the answers.

use super::*;

/// Everything the router lets a client read, as text.
pub async fn ask(front: &Front, path: &str, key: &str, body: Option<Value>) -> String {
    let request = Request::builder()
        .uri(path)
        .method(if body.is_some() { "POST" } else { "GET" })
        .header("authorization", format!("Bearer {key}"))
        .body(Full::<Bytes>::from(
            body.map_or(String::new(), |body| body.to_string()),
        ))
        .unwrap();
    let (head, body) = front.gateway.handle(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    format!(
        "{} {:?}\n{}",
        head.status,
        head.headers,
        String::from_utf8_lossy(&body)
    )
}

pub fn bodies(model: &str) -> Vec<(&'static str, Value)> {
    let tools = json!([{"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "properties": {"day": {"type": "integer"}}}}}]);
    let say = json!([{"role": "user", "content": "When is high tide?"}]);
    let mut all = Vec::new();
    for stream in [false, true] {
        all.push(("/v1/chat/completions", json!({"model": model, "stream": stream, "messages": say, "stream_options": {"include_usage": true}})));
        all.push(("/v1/chat/completions", json!({"model": model, "stream": stream, "messages": say, "tools": tools, "reasoning_effort": "high"})));
        all.push((
            "/v1/messages",
            json!({"model": model, "stream": stream, "max_tokens": 2000, "messages": say}),
        ));
        all.push(("/v1/messages", json!({"model": model, "stream": stream, "max_tokens": 2000, "messages": say, "thinking": {"type": "enabled", "budget_tokens": 1024}})));
    }
    // What cannot be had, each in a way that a provider or an adapter would word itself.
    all.push((
        "/v1/chat/completions",
        json!({"model": model, "messages": say, "n": 3, "logprobs": true, "seed": 1}),
    ));
    all.push((
        "/v1/chat/completions",
        json!({"model": model, "messages": say, "temperature": 9}),
    ));
    all.push((
        "/v1/chat/completions",
        json!({"model": model, "messages": [{"role": "user", "content": "tide ".repeat(400_000)}]}),
    ));
    for provider in [
        json!({"only": ["stealth"]}),
        json!({"ignore": ["stealth"]}),
        json!({"order": ["somebody"], "allow_fallbacks": false}),
    ] {
        all.push((
            "/v1/chat/completions",
            json!({"model": model, "messages": say, "provider": provider}),
        ));
    }
    all.push(("/v1/embeddings", json!({"model": model, "input": "tide"})));
    all
}

pub fn none_of(what: &str, text: &str, words: &[&str]) {
    let lower = text.to_lowercase();
    for word in words {
        if let Some(at) = lower.find(word) {
            let from = lower.floor_char_boundary(at.saturating_sub(200));
            let to = lower.ceil_char_boundary((at + 200).min(lower.len()));
            panic!("{what} names {word}: ...{}...", &lower[from..to]);
        }
    }
}

pub const OF_HIDDEN: [&str; 1] = ["zephyr"];
/// Names, and what only one dialect says.
pub const OF_KNOWN: [&str; 6] = [
    "claude",
    "anthropic",
    "sonnet",
    "toolu_",
    "msg_0",
    "signature_",
];

/// Requests under the aliases; every answer is looked through.
pub async fn traffic(dir: &Path) -> usize {
    let script = Script::from_toml(SCRIPT).unwrap();
    let front = front_of(dir, script, catalog(None)).await.unwrap();
    let mut requests = 0;
    for account in 0..ACCOUNTS {
        let (_, key) = front
            .gateway
            .keys()
            .create(&format!("account-{account}"))
            .unwrap();
        for (alias, words) in [(QUIET, &OF_HIDDEN[..]), (GREY, &OF_KNOWN[..])] {
            for (path, body) in bodies(alias) {
                let said = ask(&front, path, &key, Some(body.clone())).await;
                none_of(&format!("{path} {}", body["stream"]), &said, words);
                requests += 1;
            }
        }
    }
    let key = front.key.clone();
    for path in [
        "/v1/models",
        "/v1/models/stealth/quiet-heron",
        "/v1/models/zephyr-labs/zephyr-9",
        "/v1/models/zephyr-9",
    ] {
        none_of(path, &ask(&front, path, &key, None).await, &OF_HIDDEN);
    }
    assert!(ask(&front, "/v1/models", &key, None).await.contains(QUIET));
    none_of(
        "a model",
        &ask(&front, "/v1/models/stealth/grey-owl", &key, None).await,
        &OF_KNOWN,
    );
    // Only the alias may name it. What a name almost means is no way to find out either.
    for name in [HIDDEN, "zephyr-9", "zephyr-labs/zephyr-8"] {
        let said = ask(
            &front,
            "/v1/chat/completions",
            &key,
            Some(json!({"model": name, "messages": [{"role": "user", "content": "x"}]})),
        )
        .await;
        assert!(said.starts_with("404"), "{said}");
        none_of(name, &said, &OF_HIDDEN);
        requests += 1;
    }
    let near = ask(&front, "/v1/models/stealth/quiet-herin", &key, None).await;
    assert!(near.contains(QUIET), "{near}");
    // Whoever must not be served by somebody is told that this cannot be kept to, whatever the name.
    // A provider that only an alias has is one that does not exist.
    for (provider, field, status, code) in [
        ("openai", "ignore", "400", "provider_undisclosed"),
        ("openai", "only", "404", "no_endpoint"),
        ("zephyr", "ignore", "400", "no such provider"),
        ("nobody", "ignore", "400", "no such provider"),
        ("zephyr", "only", "400", "no such provider"),
        ("nobody", "only", "400", "no such provider"),
    ] {
        let body = json!({"model": QUIET, "messages": [{"role": "user", "content": "x"}], "provider": {field: [provider]}});
        let said = ask(&front, "/v1/chat/completions", &key, Some(body)).await;
        assert!(said.starts_with(status) && said.contains(code), "{said}");
        requests += 1;
    }
    // That a lane of a known provider is left alone does not tell who asked for it.
    let metrics = front.gateway.metrics();
    none_of("/metrics", &metrics, &OF_HIDDEN);
    assert!(metrics.contains("provider=\"stealth\""), "{metrics}");

    let events = front.events().await.unwrap();
    assert_eq!(events.num_rows(), requests, "one request, one event");
    // The operator's own record says who served.
    let column = |name: &str| {
        let column = events.column_by_name(name).unwrap().as_string::<i32>();
        column
            .iter()
            .map(|text| text.unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let served: BTreeMap<_, usize> = column("model").into_iter().zip(column("provider")).fold(
        BTreeMap::new(),
        |mut served, pair| {
            *served.entry(pair).or_default() += 1;
            served
        },
    );
    assert!(
        served[&(QUIET.to_owned(), "zephyr".to_owned())] > 50,
        "{served:?}"
    );
    assert!(
        served[&(GREY.to_owned(), "anthropic".to_owned())] > 50,
        "{served:?}"
    );
    requests
}
