//! The closed loop: what everyone's traffic says of the endpoints goes back to the router, every other second.
//!
//! It comes from the api, in this process or at the address `router.statistics_url`; both say the same JSON and go through the same
//! doubts. A source that is away, hangs, sends too much or nonsense, or speaks of another time is not believed: the router forgets
//! what it was told and goes on with what it sees itself.

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use chrono::Utc;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_catalog::Catalog;
use tidemark_router::gateway::Gateway;
use tidemark_router::route::observed::{Observed, Statistics};
use tidemark_router::upstream::{self, Pool};
use tokio::sync::watch;
use tower::ServiceExt;

const EVERY: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Some 30,000 endpoints and regions.
const MAX_BYTES: usize = 8 << 20;
/// Statistics of which the newest event is older say nothing of the last five minutes.
const MAX_AGE_S: i64 = 300;
/// Clocks differ.
const AHEAD_S: i64 = 60;
/// So long is believed what was last heard.
const FORGET_AFTER: Duration = Duration::from_secs(30);

/// No endpoint has answered later than this, or faster, and none so often.
const MAX_TTFT_US: u64 = 3_600_000_000;
const MAX_MTPS: u64 = 1_000_000_000;
const MAX_COUNT: u64 = 1 << 40;

#[derive(Deserialize)]
struct Said {
    data: Statistics,
}

/// Where statistics come from, and whom they reach.
pub struct Observer {
    /// The api of this process.
    pub api: Router,
    /// Who learns.
    pub gateway: Arc<Gateway>,
    /// Which endpoints there are.
    pub catalog: watch::Receiver<Arc<Catalog>>,
}

impl Observer {
    /// Goes on until `stopped`.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut heard: Option<Instant> = None;
        let mut pool: Option<Pool> = None;
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                _ = every.tick() => {}
            }
            match self.hear(&mut pool).await {
                Ok(statistics) => {
                    heard = Some(Instant::now());
                    self.gateway.learn(statistics);
                }
                Err(error) => {
                    tracing::debug!("no statistics of endpoints: {error:#}");
                    if heard.is_some_and(|at| at.elapsed() >= FORGET_AFTER) {
                        tracing::warn!(
                            "no statistics of endpoints for {} s; the router goes on with what it sees itself: {error:#}",
                            FORGET_AFTER.as_secs()
                        );
                        heard = None;
                        self.gateway.learn(Statistics::default());
                    }
                }
            }
        }
    }

    /// What the source says now, as far as it can be true.
    async fn hear(&self, pool: &mut Option<Pool>) -> Result<Statistics> {
        let body = tokio::time::timeout(TIMEOUT, self.ask(pool)).await;
        let body = body.with_context(|| format!("none came within {} s", TIMEOUT.as_secs()))??;
        believe(&body, &self.catalog.borrow(), Utc::now().timestamp())
    }

    async fn ask(&self, pool: &mut Option<Pool>) -> Result<Bytes> {
        let settings = self.gateway.settings();
        let Some(url) = &settings.statistics_url else {
            let request = Request::get("/api/v1/statistics").body(Body::empty())?;
            let response = self.api.clone().oneshot(request).await?;
            ensure!(response.status().is_success(), "the api has none yet");
            return whole(response.into_body()).await;
        };
        let url: Uri = url.parse().context("router.statistics_url is no address")?;
        let pool = match pool {
            Some(pool) => pool,
            None => pool.insert(upstream::pool(&settings)?),
        };
        let request = Request::get(url).body(Full::default())?;
        let response = pool.request(request).await?;
        ensure!(
            response.status().is_success(),
            "router.statistics_url answers {}",
            response.status().as_u16()
        );
        whole(response.into_body()).await
    }
}

async fn whole<B>(body: B) -> Result<Bytes>
where
    B: http_body_util::BodyExt<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Limited::new(body, MAX_BYTES).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!(error))?;
    Ok(body.to_bytes())
}

/// What of a source's words can be true.
fn believe(body: &[u8], catalog: &Catalog, now: i64) -> Result<Statistics> {
    let Said { data } = serde_json::from_slice(body)
        .map_err(|_| anyhow::anyhow!("they are not in the shape of /api/v1/statistics"))?;
    ensure!(data.as_of <= now + AHEAD_S, "they are of a time to come");
    ensure!(data.as_of >= now - MAX_AGE_S, "they are too old");
    Ok(Statistics {
        as_of: data.as_of,
        recent: plausible(data.recent, catalog),
        long: plausible(data.long, catalog),
    })
}

/// Lines of known endpoints, each once, that do not contradict themselves.
fn plausible(lines: Vec<Observed>, catalog: &Catalog) -> Vec<Observed> {
    let mut seen = HashSet::new();
    lines
        .into_iter()
        .filter(|line| {
            let counts = [
                line.attempts_ok,
                line.attempts_failed,
                line.rate_limited,
                line.refused,
                line.tool_requests,
            ];
            catalog.endpoint(&line.endpoint).is_some()
                && counts.iter().all(|count| *count <= MAX_COUNT)
                && line.tool_requests_ok <= line.tool_requests
                && line.ttft_p50_us.is_none_or(|ttft| ttft <= MAX_TTFT_US)
                && line.throughput_p50_mtps.is_none_or(|mtps| mtps <= MAX_MTPS)
                && seen.insert((line.endpoint.clone(), line.region.clone()))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tidemark_router::emit::Emitter;
    use tidemark_router::keys::Keys;
    use tidemark_router::route::Routes;
    use tidemark_router::settings::Settings;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const NOW: i64 = 1_790_000_000;

    fn said(as_of: i64, recent: Value) -> Vec<u8> {
        json!({"data": {"as_of": as_of, "recent": recent, "long": []}, "meta": {}})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn only_what_can_be_true_is_believed() {
        let catalog = Catalog::builtin().unwrap();
        let line = |more: Value| {
            let mut line =
                json!({"endpoint": "openai/gpt-4o", "region": "us-east", "attempts_ok": 9});
            line.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            line
        };
        let recent = json!([
            line(json!({"ttft_p50_us": 400_000, "a_field_of_later": 1})),
            line(json!({"attempts_ok": 10})),
            line(json!({"region": "a", "tool_requests": 1, "tool_requests_ok": 2})),
            line(json!({"region": "b", "ttft_p50_us": u64::MAX})),
            line(json!({"region": "c", "attempts_failed": u64::MAX})),
            line(json!({"endpoint": "nobody/nothing"})),
        ]);
        let believed = believe(&said(NOW, recent), &catalog, NOW).unwrap();
        assert_eq!(believed.recent.len(), 1, "{believed:?}");
        assert_eq!(believed.recent[0].ttft_p50_us, Some(400_000));
    }

    /// A source that answers every request with `answer`, or not at all.
    async fn source(answer: Option<Vec<u8>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/api/v1/statistics",
            listener.local_addr().unwrap()
        );
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                if let Some(answer) = &answer {
                    let mut request = [0; 4096];
                    socket.read(&mut request).await.unwrap();
                    socket.write_all(answer).await.ok();
                } else {
                    open.push(socket);
                }
            }
        });
        url
    }

    fn answer(status: &str, body: &[u8]) -> Option<Vec<u8>> {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        Some([head.as_bytes(), body].concat())
    }

    fn observer(url: &str, dir: &std::path::Path) -> Observer {
        let settings = Settings {
            statistics_url: Some(url.to_owned()),
            ..Settings::default()
        };
        let catalog = Arc::new(Catalog::builtin().unwrap());
        let routes = Routes::new(Arc::clone(&catalog), &settings).unwrap();
        let (emitter, _) = Emitter::piped();
        let gateway = Gateway::new(settings, routes, Keys::open(dir).unwrap(), emitter).unwrap();
        Observer {
            api: Router::new(),
            gateway: Arc::new(gateway),
            catalog: watch::channel(catalog).1,
        }
    }

    #[tokio::test]
    async fn a_source_that_lies_or_hangs_teaches_nothing() {
        let dir = std::env::temp_dir().join(format!("tidemark-observe-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let now = Utc::now().timestamp();
        let line = json!([{"endpoint": "openai/gpt-4o", "attempts_ok": 9}]);
        let huge = [said(now, line.clone()), vec![b' '; MAX_BYTES]].concat();
        for (what, answer, fine) in [
            ("true", answer("200 OK", &said(now, line.clone())), true),
            ("silent", None, false),
            ("failing", answer("500 Oh", b"{}"), false),
            ("huge", answer("200 OK", &huge), false),
            (
                "cut",
                Some(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{".to_vec()),
                false,
            ),
            ("old", answer("200 OK", &said(now - 4_000, line)), false),
        ] {
            let observer = observer(&source(answer).await, &dir);
            let began = Instant::now();
            let told = observer.hear(&mut None).await;
            assert_eq!(told.is_ok(), fine, "{what}: {told:?}");
            assert!(began.elapsed() < TIMEOUT + Duration::from_secs(1), "{what}");
        }
        let nobody = observer("http://127.0.0.1:1/", &dir).hear(&mut None).await;
        assert!(nobody.is_err());
        std::fs::remove_dir_all(&dir).ok();
    }

    #[test]
    fn other_times_and_nonsense_are_refused() {
        let catalog = Catalog::builtin().unwrap();
        for (as_of, fine) in [
            (NOW, true),
            (NOW - 299, true),
            (NOW - 301, false),
            (NOW + 59, true),
            (NOW + 61, false),
            (0, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            let believed = believe(&said(as_of, json!([])), &catalog, NOW);
            assert_eq!(believed.is_ok(), fine, "{as_of}");
        }
        for nonsense in [
            &b""[..],
            b"{}",
            b"[1]",
            b"<html>",
            br#"{"data":{"recent":[{"attempts_ok":-1}]}}"#,
            br#"{"data":{"as_of":"now"}}"#,
        ] {
            assert!(believe(nonsense, &catalog, NOW).is_err());
        }
    }
}
