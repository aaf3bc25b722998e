//! A small client, and a server to ask.

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tidemark_sim::providers::{Ledger, Providers, Script};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub struct World {
    pub base: String,
    pub ledger: Arc<Ledger>,
    client: Client<HttpConnector, Full<Bytes>>,
    pub stop: oneshot::Sender<()>,
    pub served: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The connection broke before the end.
    pub broken: bool,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The data of all events, `[DONE]` left out, and their names.
    pub fn events(&self) -> Vec<(String, Value)> {
        let text = self.text().replace("\r\n", "\n");
        assert!(text.ends_with("\n\n"), "{text:?}");
        text.split("\n\n")
            .filter(|event| !event.is_empty())
            .filter_map(|event| {
                let (mut name, mut data) = (String::new(), None);
                for line in event.lines() {
                    if let Some(rest) = line.strip_prefix("event: ") {
                        rest.clone_into(&mut name);
                    } else {
                        data = Some(line.strip_prefix("data: ").expect(line));
                    }
                }
                let data = data.unwrap();
                (data != "[DONE]").then(|| (name, serde_json::from_str(data).expect(data)))
            })
            .collect()
    }
}

impl World {
    pub async fn new() -> Self {
        Self::of(Script::default().with_speed(0.0), 7).await
    }

    pub async fn of(script: Script, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let providers = Providers::new(script, seed);
        let ledger = providers.ledger();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(providers.serve(listener, stopped));
        Self {
            base,
            ledger,
            client: Client::builder(TokioExecutor::new()).build_http(),
            stop,
            served,
        }
    }

    pub async fn open(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Response<Incoming> {
        let mut request = Request::post(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        self.client.request(request).await.unwrap()
    }

    pub async fn raw(&self, path: &str, headers: &[(&str, &str)], body: String) -> Got {
        let (head, mut body) = self.open(path, headers, body).await.into_parts();
        let (mut bytes, mut broken) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
                Err(_) => broken = true,
            }
        }
        Got {
            status: head.status.as_u16(),
            headers: head.headers,
            body: bytes,
            broken,
        }
    }

    pub async fn get(&self, path: &str) -> Got {
        let request = Request::get(format!("{}{path}", self.base))
            .body(Full::default())
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        Got {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
            broken: false,
        }
    }

    /// Asks a provider of the default script, named as its dialect; `more` is added to the body.
    pub async fn ask(&self, dialect: &str, words: &str, stream: bool, more: Value) -> Got {
        let (path, body) = request(dialect, words, stream, more);
        self.raw(&path, &[], body).await
    }
}

pub const DIALECTS: [&str; 4] = ["compatible", "openai", "anthropic", "gemini"];

/// Path and body of a request with these words for the simulator.
pub fn request(dialect: &str, words: &str, stream: bool, more: Value) -> (String, String) {
    let text = if words.is_empty() {
        "What is the tide?".to_owned()
    } else {
        format!("What is the tide? [sim: {words}]")
    };
    let mut body = match dialect {
        "gemini" => json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }] }),
        "anthropic" => json!({
            "model": "m", "max_tokens": 10_000, "stream": stream,
            "messages": [{ "role": "user", "content": text }],
        }),
        _ => json!({
            "model": "m", "stream": stream, "stream_options": { "include_usage": true },
            "messages": [{ "role": "user", "content": text }],
        }),
    };
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let path = match (dialect, stream) {
        ("gemini", false) => "/gemini/v1beta/models/m:generateContent".to_owned(),
        ("gemini", true) => "/gemini/v1beta/models/m:streamGenerateContent?alt=sse".to_owned(),
        ("anthropic", _) => "/anthropic/v1/messages".to_owned(),
        (name, _) => format!("/{name}/v1/chat/completions"),
    };
    (path, body.to_string())
}

/// Waits until something holds; ledgers are written when the server notices.
pub async fn eventually(what: impl Fn() -> bool) {
    for _ in 0..200 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came true");
}
