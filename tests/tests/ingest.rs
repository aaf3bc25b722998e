//! The same events three times, in shuffled order, over two protocols: counted once. What is in the lake is compared with plain sums over
//! what was sent.
//!
//! `TIDEMARK_INGEST_EVENTS=100000` is the size used for acceptance.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on should fail loudly, and says what it measured"
)]

#[path = "../../crates/router/tests/support/otlp.rs"]
mod otlp;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use otlp::{Any, ExportTraceServiceRequest, Span, pairs, text};
use prost::Message;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Instant;
use tidemark_catalog::Catalog;
use tidemark_lake::{EVENTS, INTAKE};
use tidemark_sim::providers::Script;
use tidemark_tests::folder::{Folder, Sizes, rows};
use tidemark_tests::gateway::{Front, front};
use tidemark_tests::{Dice, size};

/// 2025-10-01, 12:00 UTC.
const FROM_US: i64 = 1_759_320_000_000_000;
const HOUR_US: i64 = 3_600_000_000;
/// Events of one body.
const BODY: usize = 5_000;

/// Provider and model as a sender names them, the catalog's model, and its price per million tokens, in dollars.
const SERVED: [(&str, &str, &str, [f64; 2]); 3] = [
    ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o", [2.5, 10.0]),
    (
        "azure.ai.openai",
        "gpt-4o-mini-2024-07-18",
        "openai/gpt-4o-mini",
        [0.15, 0.6],
    ),
    (
        "gcp.gemini",
        "gemini-2.5-flash",
        "google/gemini-2.5-flash",
        [0.3, 2.5],
    ),
];

/// One request, as both protocols can tell of it.
#[derive(Debug, Clone, Copy)]
struct Told {
    n: u64,
    at_us: i64,
    served: usize,
    account: u64,
    prompt: i64,
    completion: i64,
    reasoning: i64,
    latency_us: i64,
}

fn told(n: u64) -> Told {
    let mut dice = Dice::new(n);
    let completion = 1 + dice.below(2_000) as i64;
    Told {
        n,
        // Half an hour into each of 40 hours, so that events share milliseconds and hours.
        at_us: FROM_US + (n % 40) as i64 * HOUR_US + dice.below(1_800_000_000) as i64,
        served: dice.below(3) as usize,
        account: dice.below(25),
        prompt: 1 + dice.below(20_000) as i64,
        completion,
        reasoning: dice.below(completion as u64) as i64,
        latency_us: dice.below(60_000_000) as i64,
    }
}

impl Told {
    /// Every third is known by its trace and span, every third by the provider's id, every third by an id of the sender's own.
    fn request_id(self) -> String {
        match self.n % 3 {
            0 => format!("{:032x}-{:016x}", self.n + 1, self.n + 1),
            _ => format!("chatcmpl-{}", self.n),
        }
    }

    fn event_id(self) -> Option<String> {
        (self.n % 3 == 2).then(|| format!("{:08x}-0000-4000-8000-000000000000", self.n))
    }

    fn line(self) -> Value {
        let (provider, model, _, _) = SERVED[self.served];
        let mut line = json!({
            "ts": self.at_us, "request_id": self.request_id(), "account_id": self.account.to_string(), "provider": provider, "model": model,
            "prompt_tokens": self.prompt, "completion_tokens": self.completion, "reasoning_tokens": self.reasoning, "latency_us": self.latency_us,
        });
        if let Some(id) = self.event_id() {
            line["event_id"] = id.into();
        }
        line
    }

    fn span(self) -> Span {
        let (provider, model, _, _) = SERVED[self.served];
        let mut attributes = vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.provider.name", text(provider)),
            ("gen_ai.response.model", text(model)),
            ("gen_ai.usage.input_tokens", Any::IntValue(self.prompt)),
            ("gen_ai.usage.output_tokens", Any::IntValue(self.completion)),
            (
                "gen_ai.usage.reasoning.output_tokens",
                Any::IntValue(self.reasoning),
            ),
            ("tidemark.account_id", text(&self.account.to_string())),
        ];
        if !self.n.is_multiple_of(3) {
            attributes.push(("gen_ai.response.id", text(&self.request_id())));
        }
        if let Some(id) = self.event_id() {
            attributes.push(("tidemark.event_id", text(&id)));
        }
        let start = self.at_us as u64 * 1000;
        Span {
            trace_id: u128::from(self.n + 1).to_be_bytes().to_vec(),
            span_id: (self.n + 1).to_be_bytes().to_vec(),
            name: format!("chat {model}"),
            start_time_unix_nano: start,
            end_time_unix_nano: start + self.latency_us as u64 * 1000,
            attributes: pairs(&attributes),
            ..Span::default()
        }
    }

    fn cost_nanousd(self) -> i64 {
        let [prompt, completion] = SERVED[self.served].3;
        // Dollars per million tokens are thousands of nano-dollars per token; each part is rounded half up.
        let part = |tokens: i64, price: f64| (tokens as f64 * price * 1000.0 + 0.5).floor() as i64;
        part(self.prompt, prompt) + part(self.completion, completion)
    }
}

fn lines(told: &[Told]) -> Vec<u8> {
    let lines: Vec<String> = told.iter().map(|told| told.line().to_string()).collect();
    lines.join("\n").into_bytes()
}

fn trace(told: &[Told]) -> ExportTraceServiceRequest {
    otlp::request(&[], told.iter().map(|told| told.span()).collect())
}

struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    key: String,
    bytes: usize,
}

impl Poster {
    fn new(front: &Front) -> Self {
        Self {
            client: Client::builder(hyper_util::rt::TokioExecutor::new()).build_http(),
            url: front.url.clone(),
            key: front.key.clone(),
            bytes: 0,
        }
    }

    async fn post(&mut self, path: &str, kind: &str, packed: bool, body: Vec<u8>) -> Bytes {
        self.bytes += body.len();
        let mut request = http::Request::post(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", kind);
        let mut sent = body;
        if packed {
            request = request.header("content-encoding", "gzip");
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&sent).unwrap();
            sent = gzip.finish().unwrap();
        }
        let request = request.body(Full::from(sent)).unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        body
    }

    async fn events(&mut self, told: &[Told], packed: bool) {
        let said = self
            .post("/v1/events", "application/x-ndjson", packed, lines(told))
            .await;
        let said: Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(said["accepted"], told.len(), "{said}");
    }

    async fn spans(&mut self, told: &[Told], json: bool, packed: bool) {
        let trace = trace(told);
        let (kind, body) = if json {
            ("application/json", serde_json::to_vec(&trace).unwrap())
        } else {
            ("application/x-protobuf", trace.encode_to_vec())
        };
        let said = self.post("/v1/traces", kind, packed, body).await;
        assert!(
            said.is_empty() || &said[..] == b"{}",
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
}

type Sums = BTreeMap<Vec<String>, Vec<i64>>;

fn add(sums: &mut Sums, key: Vec<String>, numbers: &[i64]) {
    let sum = sums.entry(key).or_insert_with(|| vec![0; numbers.len()]);
    sum.iter_mut()
        .zip(numbers)
        .for_each(|(sum, number)| *sum += number);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thrice_shuffled_over_two_protocols_is_once() {
    let count = size("TIDEMARK_INGEST_EVENTS", 6_000);
    let mut all: Vec<Told> = (0..count).map(told).collect();
    let dir = tempfile::tempdir().unwrap();
    let front = front(dir.path(), Script::demo(&Catalog::builtin().unwrap()))
        .await
        .unwrap();
    let mut dice = Dice::new(4);
    let mut poster = Poster::new(&front);
    // Once each way, and once both ways mixed.
    for (round, what) in [
        "JSON lines",
        "OTLP, protobuf",
        "both, and OTLP's JSON, packed",
    ]
    .iter()
    .enumerate()
    {
        dice.shuffle(&mut all);
        let (since, before) = (Instant::now(), poster.bytes);
        for (nth, part) in all.chunks(BODY).enumerate() {
            match (round, nth % 3) {
                (0, _) | (2, 0) => poster.events(part, round == 2).await,
                (1, _) | (2, 1) => poster.spans(part, false, round == 2).await,
                _ => poster.spans(part, true, true).await,
            }
        }
        let seconds = since.elapsed().as_secs_f64();
        eprintln!(
            "{count} events as {what}: durable in {seconds:.2} s, {:.0} a second, {:.1} MB",
            count as f64 / seconds,
            (poster.bytes - before) as f64 / 1e6
        );
    }
    drop(poster);
    assert_eq!(front.stop().await.unwrap(), 3 * count);

    let sizes = Sizes {
        partitions: 4,
        max_rows: 65_536,
        ..Sizes::default()
    };
    let folder = Folder::open(dir.path(), sizes).await.unwrap();
    let since = Instant::now();
    let tally = folder.worker().unwrap().drain().await.unwrap().counts;
    eprintln!(
        "{} records rolled up in {:.2} s: {tally:?}",
        3 * count,
        since.elapsed().as_secs_f64()
    );
    assert_eq!(
        [
            tally.received,
            tally.accepted,
            tally.duplicates,
            tally.dead_letters,
            tally.damaged
        ],
        [3 * count, count, 2 * count, 0, 0]
    );

    // Plain sums over what was sent.
    let (mut by_model, mut by_hour) = (Sums::new(), Sums::new());
    let mut requests = BTreeSet::new();
    for told in &all {
        let model = SERVED[told.served].2.to_owned();
        let numbers = [1, told.prompt, told.completion, told.cost_nanousd()];
        let hour = told.at_us - told.at_us.rem_euclid(HOUR_US);
        add(
            &mut by_hour,
            vec![hour.to_string(), model.clone()],
            &numbers,
        );
        let [_, rest @ ..] = numbers;
        let mut numbers = rest.to_vec();
        numbers.extend([told.reasoning, told.latency_us]);
        add(&mut by_model, vec![model], &numbers);
        requests.insert(told.request_id());
    }
    let texts = ["model", "event_id", "request_id", "account_id"];
    let numbers = [
        "prompt_tokens",
        "completion_tokens",
        "cost_nanousd",
        "reasoning_tokens",
        "latency_us",
    ];
    let raw = rows(folder.lake.table(EVENTS).unwrap(), &texts, &numbers)
        .await
        .unwrap();
    let mut stored = Sums::new();
    raw.iter()
        .for_each(|(texts, numbers)| add(&mut stored, vec![texts[0].clone()], numbers));
    assert_eq!(stored, by_model, "raw events");
    let distinct = |column: usize| {
        raw.iter()
            .map(|(texts, _)| &texts[column])
            .collect::<BTreeSet<_>>()
    };
    assert_eq!((raw.len() as u64, distinct(1).len() as u64), (count, count));
    assert!(
        distinct(2).into_iter().eq(&requests),
        "requests by their ids"
    );
    assert_eq!(distinct(3).len() as u64, 25.min(count));

    let numbers = [
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "cost_nanousd",
    ];
    let rollup = rows(
        folder.lake.table("models_by_hour").unwrap(),
        &["hour", "model"],
        &numbers,
    )
    .await
    .unwrap();
    let mut stored = Sums::new();
    rollup
        .into_iter()
        .for_each(|(key, numbers)| add(&mut stored, key, &numbers));
    assert_eq!(stored, by_hour, "the rollup");
    let accounts = rows(
        folder.lake.table("accounts_by_day").unwrap(),
        &["account_id"],
        &["requests"],
    )
    .await
    .unwrap();
    assert_eq!(
        accounts.iter().map(|(_, numbers)| numbers[0]).sum::<i64>() as u64,
        count
    );
    let ledger = rows(
        folder.lake.table(INTAKE).unwrap(),
        &[],
        &["received", "duplicates"],
    )
    .await
    .unwrap();
    assert_eq!(
        ledger.iter().map(|(_, numbers)| numbers[1]).sum::<i64>() as u64,
        2 * count
    );
    let differences = tidemark_rollup::verify(&folder.lake, &folder.pipelines, |_, _| {})
        .await
        .unwrap();
    assert!(differences.is_empty(), "{differences:?}");
}
