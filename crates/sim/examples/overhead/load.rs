//! Load on one target, and what it took.
//!
//! With a rate, requests leave at fixed times, whatever became of those before, and a latency counts from that time: a target
//! that falls behind is not spared. Without one, each connection asks again as soon as it has its answer.

use crate::client::Connection;
use serde::Deserialize;
use serde_json::json;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Plan {
    target: String,
    #[serde(default = "path")]
    path: String,
    #[serde(default)]
    key: String,
    model: String,
    /// Further headers, each a line.
    #[serde(default)]
    headers: Vec<String>,
    /// Requests per second; as many as go, where it is not stated.
    #[serde(default)]
    rate: Option<f64>,
    #[serde(default = "connections")]
    connections: usize,
    seconds: f64,
    /// Chunks of each stream; a whole answer, where it is 0.
    #[serde(default)]
    chunks: u64,
    /// Microseconds between chunks.
    #[serde(default)]
    every_us: u64,
    /// Whole answers, streams, tools, faults and clients that leave, by turns.
    #[serde(default)]
    mixed: bool,
}

fn path() -> String {
    "/v1/chat/completions".into()
}

fn connections() -> usize {
    32
}

#[derive(Default)]
struct Seen {
    latencies: Vec<u64>,
    under_way: Vec<u64>,
    failed: u64,
    first_failure: Option<String>,
}

/// Runs a plan and reports in JSON.
pub fn run(plan: &str) -> Result<String, Box<dyn Error>> {
    let plan: Plan = serde_json::from_str(plan)?;
    let turn = AtomicU64::new(0);
    let start = Instant::now() + Duration::from_millis(50);
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let (plan, turn) = (&plan, &turn);
        let workers: Vec<_> = (0..plan.connections.max(1))
            .map(|_| scope.spawn(move || worker(plan, turn, start)))
            .collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().ok())
            .collect()
    });
    let took = start.elapsed().as_secs_f64();
    let mut all = Seen::default();
    for one in seen {
        all.latencies.extend(one.latencies);
        all.under_way.extend(one.under_way);
        all.failed += one.failed;
        all.first_failure = all.first_failure.or(one.first_failure);
    }
    let requests = all.latencies.len();
    Ok(json!({
        "requests": requests, "failed": all.failed, "first_failure": all.first_failure, "seconds": took,
        "latency_us": quantiles(all.latencies), "chunks": all.under_way.len(), "chunk_us": quantiles(all.under_way),
    })
    .to_string())
}

fn worker(plan: &Plan, turn: &AtomicU64, start: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut connection = Connection::new(&plan.target);
    let length = Duration::from_secs_f64(plan.seconds);
    loop {
        let n = turn.fetch_add(1, Ordering::Relaxed);
        let begin = match plan.rate {
            Some(rate) => start + Duration::from_secs_f64(n as f64 / rate),
            None => Instant::now().max(start),
        };
        if begin.saturating_duration_since(start) >= length {
            return seen;
        }
        std::thread::sleep(begin.saturating_duration_since(Instant::now()));
        let (request, leave_after, wanted) = request(plan, n);
        match connection.ask(&request, leave_after) {
            Ok(answered) if leave_after.is_some() || answered.status == wanted => {
                let nanoseconds = begin.elapsed().as_nanos();
                seen.latencies
                    .push(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
                seen.under_way.extend(answered.under_way);
            }
            other => {
                seen.failed += 1;
                seen.first_failure.get_or_insert_with(|| match other {
                    Ok(answered) => format!("status {}", answered.status),
                    Err(error) => error.to_string(),
                });
            }
        }
    }
}

/// The n-th request, after how many bytes its client leaves, and the status that is right.
fn request(plan: &Plan, n: u64) -> (Vec<u8>, Option<usize>, u16) {
    let mut chunks = plan.chunks;
    let (mut leave, mut wanted, mut model, mut tools) = (None, 200, plan.model.as_str(), None);
    if plan.mixed {
        match n % 20 {
            0..=7 => {}
            8..=13 => chunks = 20,
            14 => chunks = 2_000,
            15 | 16 => tools = Some(tool()),
            17 => (chunks, leave) = (200, Some(600 + (n as usize * 7919) % 9_000)),
            18 => (model, wanted) = ("no/such-model", 404),
            _ => (chunks, leave) = (20, Some(1)),
        }
    }
    let prompt = if chunks > 0 {
        format!("Say it slowly. [chunks {chunks} every {}]", plan.every_us)
    } else {
        "Say it at once.".to_owned()
    };
    let mut body = json!({
        "model": model, "stream": chunks > 0,
        "messages": [{"role": "system", "content": "You keep the log of a harbour."}, {"role": "user", "content": prompt}],
    });
    if let Some(tools) = tools {
        body["tools"] = tools;
    }
    let body = body.to_string();
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n",
        plan.path,
        plan.target,
        plan.key,
        body.len()
    );
    for header in &plan.headers {
        request += header;
        request += "\r\n";
    }
    request += "\r\n";
    request += &body;
    (request.into_bytes(), leave, wanted)
}

fn tool() -> serde_json::Value {
    json!([{"type": "function", "function": {"name": "tide", "description": "The height of the tide.", "parameters": {
        "type": "object", "properties": {"port": {"type": "string"}, "hour": {"type": "integer", "minimum": 0, "maximum": 23}},
        "required": ["port"], "additionalProperties": false}}}])
}

/// Microseconds at the usual places of the distribution, exactly.
fn quantiles(mut nanoseconds: Vec<u64>) -> serde_json::Value {
    nanoseconds.sort_unstable();
    let at = |q: f64| {
        let rank = (q * nanoseconds.len() as f64).ceil() as usize;
        nanoseconds
            .get(rank.saturating_sub(1))
            .map(|ns| *ns as f64 / 1e3)
    };
    json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)})
}
