//! The closed loop: what everyone's traffic says of the endpoints goes back to the router, every other second.
//!
//! It comes from the api, in this process or at the address `router.statistics_url`; both say the same JSON. Here a source is kept from
//! holding the router up: it may be away, hang, or send too much. Whether its words can be true, and for how long, the router judges
//! ([`tidemark_router::route::learn`]).

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tidemark_router::gateway::Gateway;
use tidemark_router::pool::Pool;
use tidemark_router::route::observed::Statistics;
use tokio::sync::watch;
use tower::ServiceExt;

const EVERY: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Some 30,000 endpoints and regions.
const MAX_BYTES: usize = 8 << 20;
/// Times in a row after which it is worth a word.
const LONG: u32 = 15;

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
}

impl Observer {
    /// Goes on until `stopped`.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut failed = 0;
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
                    failed = 0;
                    self.gateway.learn(&statistics);
                }
                Err(error) => {
                    failed += 1;
                    tracing::debug!("no statistics of endpoints: {error:#}");
                    if failed == LONG {
                        tracing::warn!(
                            "no statistics of endpoints for {} s; the router goes on with what it sees itself: {error:#}",
                            EVERY.as_secs() * u64::from(LONG)
                        );
                    }
                }
            }
        }
    }

    /// What the source says now.
    async fn hear(&self, pool: &mut Option<Pool>) -> Result<Statistics> {
        let body = tokio::time::timeout(TIMEOUT, self.ask(pool)).await;
        let body = body.with_context(|| format!("none came within {} s", TIMEOUT.as_secs()))??;
        read(&body)
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
        let (Some(scheme), Some(authority), Some(path)) =
            (url.scheme_str(), url.authority(), url.path_and_query())
        else {
            anyhow::bail!(
                "router.statistics_url is no address such as http://api:8480/api/v1/statistics"
            );
        };
        let pool = match pool {
            Some(pool) => pool,
            None => pool.insert(Pool::new(settings.connect_timeout())?),
        };
        let request = Request::get("/").body(Full::default())?;
        let base = Arc::from(format!("{scheme}://{authority}"));
        let response = pool.send(&base, path.as_str(), request).await?;
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

fn read(body: &[u8]) -> Result<Statistics> {
    let Said { data } = serde_json::from_slice(body)
        .map_err(|_| anyhow::anyhow!("they are not in the shape of /api/v1/statistics"))?;
    Ok(data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use chrono::Utc;
    use serde_json::{Value, json};
    use std::time::Instant;
    use tidemark_catalog::Catalog;
    use tidemark_router::emit::Emitter;
    use tidemark_router::keys::Keys;
    use tidemark_router::route::Routes;
    use tidemark_router::settings::Settings;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn said(as_of: i64, recent: Value) -> Vec<u8> {
        json!({"data": {"as_of": as_of, "recent": recent, "long": []}, "meta": {}})
            .to_string()
            .into_bytes()
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
                    assert!(socket.read(&mut request).await.unwrap() > 0);
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
        let routes = Routes::new(catalog, &settings).unwrap();
        let (emitter, _) = Emitter::piped();
        let gateway = Gateway::new(settings, routes, Keys::open(dir).unwrap(), emitter).unwrap();
        Observer {
            api: Router::new(),
            gateway: Arc::new(gateway),
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
            ("true", answer("200 OK", &said(now, line)), true),
            ("silent", None, false),
            ("failing", answer("500 Oh", b"{}"), false),
            ("huge", answer("200 OK", &huge), false),
            (
                "cut",
                Some(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{".to_vec()),
                false,
            ),
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
    fn nonsense_is_refused() {
        for nonsense in [
            &b""[..],
            b"{}",
            b"[1]",
            b"<html>",
            br#"{"data":{"recent":[{"attempts_ok":-1}]}}"#,
            br#"{"data":{"as_of":"now"}}"#,
        ] {
            assert!(read(nonsense).is_err());
        }
    }
}
