//! A client that asks a router or a provider, and says how it went.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Whom to ask.
#[derive(Debug, Clone)]
pub struct Target {
    /// Address of the chat completions.
    pub url: String,
    /// A key, where one is needed.
    pub key: String,
    /// The model, by the name it has there.
    pub model: String,
}

/// How a request went.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// A whole answer with an end and without an error came in time.
    pub ok: bool,
    /// Status, 0 where none came.
    pub status: u16,
    /// To the first content.
    pub ttft: Duration,
    /// To the end.
    pub took: Duration,
    pub prompt: u64,
    pub cached: u64,
    pub completion: u64,
    /// Dollars, where a router says so.
    pub cost: f64,
}

impl Answer {
    /// Tokens a second after the first one; only of answers long enough to tell.
    pub fn throughput(&self) -> Option<f64> {
        let after = self.took.saturating_sub(self.ttft).as_secs_f64();
        (self.ok && self.completion >= 16 && after > 0.0).then(|| self.completion as f64 / after)
    }
}

/// The client; cheap to clone.
#[derive(Clone)]
pub struct Asker {
    http: Client<HttpConnector, Full<Bytes>>,
    /// How long an answer may take altogether.
    patience: Duration,
}

impl Asker {
    pub fn new(patience: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        Self {
            http: Client::builder(TokioExecutor::new()).build(tcp),
            patience,
        }
    }

    /// Asks with `body`, to which the model is added.
    pub async fn ask(&self, target: &Target, mut body: Value, stream: bool) -> Answer {
        body["model"] = json!(target.model);
        if stream {
            body["stream"] = json!(true);
            body["stream_options"] = json!({ "include_usage": true });
        }
        let sent = Instant::now();
        let mut answer = Answer::default();
        let heard = self.hear(target, body, stream, sent, &mut answer);
        let heard = tokio::time::timeout(self.patience, heard).await;
        answer.took = sent.elapsed();
        answer.ok = matches!(heard, Ok(Ok(true)));
        answer
    }

    /// Whether the answer is whole.
    async fn hear(
        &self,
        target: &Target,
        body: Value,
        stream: bool,
        sent: Instant,
        answer: &mut Answer,
    ) -> Result<bool> {
        let request = Request::post(&target.url)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", target.key))
            .body(Full::from(body.to_string()))?;
        let response = self.http.request(request).await?;
        answer.status = response.status().as_u16();
        if stream && answer.status == 200 {
            return streamed(response, sent, answer).await;
        }
        let body = response.into_body().collect().await?.to_bytes();
        answer.ttft = sent.elapsed();
        let body: Value = serde_json::from_slice(&body)?;
        note(&body, answer);
        let finish = body.pointer("/choices/0/finish_reason");
        Ok(answer.status == 200 && finish.is_some_and(ends_well))
    }

    /// Sends an order to the providers.
    pub async fn order(&self, providers: &str, order: &Value) -> Result<()> {
        let request =
            Request::post(format!("{providers}/control")).body(Full::from(order.to_string()))?;
        let response = self.http.request(request).await?;
        ensure!(
            response.status() == 200,
            "the providers do not understand the order"
        );
        response.into_body().collect().await?;
        Ok(())
    }
}

async fn streamed(
    response: Response<Incoming>,
    sent: Instant,
    answer: &mut Answer,
) -> Result<bool> {
    let mut body = response.into_body();
    let (mut line, mut finished, mut done) = (Vec::new(), false, false);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        for byte in data {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            if let Some(event) = line.strip_prefix(b"data: ") {
                if event.starts_with(b"[DONE]") {
                    done = true;
                } else {
                    let event: Value = serde_json::from_slice(event)?;
                    if event.get("error").is_some() {
                        return Ok(false);
                    }
                    let delta = event.pointer("/choices/0/delta");
                    let said = ["content", "reasoning_content"].iter().any(|field| {
                        let text = delta.and_then(|delta| delta.get(*field)?.as_str());
                        text.is_some_and(|text| !text.is_empty())
                    });
                    if said && answer.ttft.is_zero() {
                        answer.ttft = sent.elapsed();
                    }
                    finished |= event
                        .pointer("/choices/0/finish_reason")
                        .is_some_and(ends_well);
                    note(&event, answer);
                }
            }
            line.clear();
        }
    }
    Ok(finished && done)
}

fn ends_well(finish: &Value) -> bool {
    finish.as_str().is_some_and(|finish| finish != "error")
}

/// Takes counts and cost from a body or an event.
fn note(body: &Value, answer: &mut Answer) {
    if let Some(cost) = body.pointer("/usage/cost").and_then(Value::as_f64) {
        answer.cost = cost;
    }
    let count = |path: &str| body.pointer(path).and_then(Value::as_u64);
    if let Some(prompt) = count("/usage/prompt_tokens") {
        answer.prompt = prompt;
        answer.completion = count("/usage/completion_tokens").unwrap_or(0);
        answer.cached = count("/usage/prompt_tokens_details/cached_tokens").unwrap_or(0);
    }
}
