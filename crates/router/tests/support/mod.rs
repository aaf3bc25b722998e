//! A router with a journal in a temporary folder, and an upstream whose every byte a test decides.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: what cannot go on should fail loudly"
)]

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use http_body_util::BodyExt;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidemark_bus::{Journal, JournalOptions, Read};
use tidemark_catalog::Catalog;
use tidemark_event::wire;
use tidemark_router::adapters::Dialect;
use tidemark_router::emit::Emitter;
use tidemark_router::gateway::Gateway;
use tidemark_router::keys::Keys;
use tidemark_router::route::Routes;
use tidemark_router::server;
use tidemark_router::settings::{Settings, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What the upstream does with one request.
#[derive(Clone, Default)]
pub struct Act {
    /// Written as they are, one after the other, with a pause before each.
    pub parts: Vec<Vec<u8>>,
    /// Before each part.
    pub pause: Duration,
    /// The connection is left open and silent at the end instead of being closed.
    pub hang: bool,
}

pub fn http(status: &str, kind: &str, body: &str) -> Act {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Act {
        parts: vec![[head.as_bytes(), body.as_bytes()].concat()],
        ..Act::default()
    }
}

/// A stream that ends where the connection ends.
pub fn stream(parts: &[&str]) -> Act {
    let mut all = vec![
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec(),
    ];
    all.extend(parts.iter().map(|part| part.as_bytes().to_vec()));
    Act {
        parts: all,
        ..Act::default()
    }
}

/// An upstream that answers the n-th request with the n-th act, and the last for ever.
pub async fn upstream(acts: Vec<Act>) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let served = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&served);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (acts, counter) = (acts.clone(), Arc::clone(&counter));
            tokio::spawn(async move {
                if read_request(&mut socket).await.is_none() {
                    return;
                }
                let n = counter.fetch_add(1, Ordering::SeqCst) as usize;
                let act = acts[n.min(acts.len() - 1)].clone();
                for part in act.parts {
                    tokio::time::sleep(act.pause).await;
                    if socket.write_all(&part).await.is_err() {
                        return;
                    }
                    socket.flush().await.ok();
                }
                if act.hang {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                }
            });
        }
    });
    (address, served)
}

async fn read_request(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let n = socket.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        all.extend_from_slice(&buffer[..n]);
        if let Some(at) = all.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&all[..at]).to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))?
                .trim()
                .parse()
                .ok()?;
            if all.len() >= at + 4 + length {
                return Some(all);
            }
        }
    }
}

pub struct House {
    pub address: String,
    pub key: String,
    pub gateway: Arc<Gateway>,
    pub dir: tempfile::TempDir,
    journal: Journal,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    emitted: JoinHandle<u64>,
}

pub fn reach(provider: &str, dialect: Dialect, base_url: &str) -> Upstream {
    Upstream {
        provider: provider.into(),
        dialect,
        base_url: base_url.into(),
        region: None,
        data: None,
        key_env: None,
        simulated: true,
    }
}

pub async fn house(settings: Settings) -> House {
    house_with(settings, JournalOptions::default()).await
}

pub async fn house_with(settings: Settings, options: JournalOptions) -> House {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("journal"), options).unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    let (_, key) = keys.create_with("acme", |key| key.gateway = true).unwrap();
    let routes = Routes::new(Arc::new(Catalog::builtin().unwrap()), &settings).unwrap();
    let (emitter, emitted) = Emitter::start(journal.clone()).unwrap();
    let gateway = Arc::new(Gateway::new(settings.clone(), routes, keys, emitter).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = Arc::clone(&gateway);
    let server = tokio::spawn(async move {
        let handle = {
            let gateway = Arc::clone(&served);
            move |request| {
                let gateway = Arc::clone(&gateway);
                async move { gateway.handle(request).await }
            }
        };
        let down = async {
            stopped.await.ok();
            served.stop();
        };
        server::serve(listener, &settings, handle, down)
            .await
            .unwrap();
    });
    House {
        address,
        key,
        gateway,
        dir,
        journal,
        stop,
        server,
        emitted,
    }
}

impl House {
    /// Sends a request; status, headers and body.
    pub async fn post(
        &self,
        path: &str,
        body: impl Into<String>,
    ) -> (u16, http::HeaderMap, String) {
        let request = self.request(path, body.into());
        let response = self.gateway_client().request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (
            head.status.as_u16(),
            head.headers,
            String::from_utf8_lossy(&body).into_owned(),
        )
    }

    pub fn request(
        &self,
        path: &str,
        body: String,
    ) -> http::Request<http_body_util::Full<bytes::Bytes>> {
        http::Request::post(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap()
    }

    pub fn gateway_client(
        &self,
    ) -> hyper_util::client::legacy::Client<
        hyper_util::client::legacy::connect::HttpConnector,
        http_body_util::Full<bytes::Bytes>,
    > {
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http()
    }

    /// Stops everything and reads the events.
    pub async fn events(self) -> Events {
        self.stop.send(()).ok();
        self.server.await.unwrap();
        drop(self.gateway);
        let durable = self.emitted.await.unwrap();
        let mut reader = wire::Reader::new(&[]).unwrap();
        let mut payloads = Vec::new();
        for partition in 0..self.journal.partitions() {
            let mut reads = Vec::new();
            let mut from = self.journal.reader(partition, 0);
            while from.position() < self.journal.end_offset(partition) {
                from.poll(10_000, 1 << 30, &mut reads).unwrap();
            }
            payloads.extend(reads.into_iter().map(|read| match read {
                Read::Record(record) => record.payload,
                Read::Damaged { .. } => panic!("damage"),
            }));
        }
        assert_eq!(payloads.len() as u64, durable);
        let decoded = reader.read(&payloads).unwrap();
        assert!(decoded.rejected.is_empty());
        let arrived = vec![i64::MAX / 2; decoded.batch.num_rows()];
        let limits = tidemark_event::validate::Limits {
            arrived: &arrived,
            retention_us: None,
        };
        let verdicts = tidemark_event::validate::check(&decoded.batch, limits);
        assert!(
            verdicts.iter().all(Option::is_none),
            "an event of the router would be a dead letter: {verdicts:?}"
        );
        Events(decoded.batch)
    }
}

/// Events, by field.
pub struct Events(pub RecordBatch);

impl Events {
    pub fn len(&self) -> usize {
        self.0.num_rows()
    }

    pub fn text(&self, row: usize, field: &str) -> String {
        self.0
            .column_by_name(field)
            .unwrap()
            .as_string::<i32>()
            .value(row)
            .to_owned()
    }

    pub fn int(&self, row: usize, field: &str) -> i64 {
        let column = self.0.column_by_name(field).unwrap();
        match column.as_primitive_opt::<Int64Type>() {
            Some(column) => column.value(row),
            None => i64::from(column.as_primitive::<Int32Type>().value(row)),
        }
    }

    pub fn flag(&self, row: usize, field: &str) -> bool {
        self.0
            .column_by_name(field)
            .unwrap()
            .as_boolean()
            .value(row)
    }

    pub fn failed_attempts(&self, row: usize) -> usize {
        self.0
            .column_by_name("failed_attempts")
            .unwrap()
            .as_list::<i32>()
            .value(row)
            .len()
    }

    /// Everything, as text.
    pub fn dump(&self) -> String {
        format!("{:?}", self.0)
    }
}

pub const MODEL: &str = "openai/gpt-4o";
pub const OK: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":200,"total_tokens":1200,"prompt_tokens_details":{"cached_tokens":600}}}"#;

pub fn ask(stream: bool) -> String {
    json!({"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "canary prompt 7f3a"}]}).to_string()
}

pub fn chunk(text: &str) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

pub const FINISH: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub const USAGE: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3,\"total_tokens\":15}}\n\n";
pub const DONE: &str = "data: [DONE]\n\n";

pub async fn with(acts: Vec<Act>) -> House {
    with_settings(acts, Settings::default()).await
}

pub async fn with_settings(acts: Vec<Act>, settings: Settings) -> House {
    let (base, _) = upstream(acts).await;
    house(Settings {
        upstreams: vec![reach("openai", Dialect::OpenaiCompatible, &base)],
        ..settings
    })
    .await
}

pub fn only(events: &Events) {
    assert_eq!(events.len(), 1, "one request, one event");
}
