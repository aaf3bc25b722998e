//! `tidemark replay --to URL`: a recorded trace to a running instance, over `/v1/events`.

use crate::config::Config;
use crate::output::{grouped, line};
use crate::replay::{GROUP, Pace, Speed, progress};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_catalog::Catalog;
use tidemark_event::UsageEvent;
use tidemark_router::pool::Pool;
use tidemark_sim::traces::{self, Format, ReplayOptions, Trace, TraceError};

/// Holds the API key: on the command line anyone could read it.
pub const KEY: &str = "TIDEMARK_API_KEY";
/// How long an instance that takes nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const COMPLAINTS: usize = 5;

/// What the instance says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    accepted: u64,
    rejected: u64,
    errors: Vec<Complaint>,
    error: Option<Problem>,
}

#[derive(Debug, Deserialize)]
struct Complaint {
    field: Option<String>,
    message: String,
}

#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    message: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    rejected: u64,
    errors: Vec<Complaint>,
}

/// Sends `file`; returns when the instance has all of it durably.
pub async fn run(
    config: &Config,
    to: &str,
    file: &Path,
    format: Format,
    options: ReplayOptions,
    speed: Speed,
) -> Result<()> {
    let door = Door::of(config, to)?;
    let catalog = Catalog::builtin()?;
    let mut feed = Feed {
        trace: traces::open(file, format, &catalog, options)?,
        pace: Pace::new(speed),
        next: None,
    };
    line(traces::assigned_notice(format));
    let bar = progress(feed.trace.total_bytes())?;
    let mut totals = Totals::default();
    loop {
        let group = tokio::task::block_in_place(|| feed.group(&mut totals))?;
        if group.is_empty() {
            break;
        }
        totals.add(door.send(group).await?);
        bar.set_position(feed.trace.bytes_read());
        bar.set_message(format!("{} read", grouped(totals.read)));
    }
    bar.finish_and_clear();
    for complaint in &totals.complaints {
        line(format!("  {complaint}"));
    }
    line(format!(
        "{} read, {} accepted, {} refused; what {} has already is counted once",
        grouped(totals.read),
        grouped(totals.accepted),
        grouped(totals.refused),
        door.base,
    ));
    Ok(())
}

#[derive(Default)]
struct Totals {
    read: u64,
    accepted: u64,
    refused: u64,
    complaints: Vec<String>,
}

impl Totals {
    fn add(&mut self, said: Said) {
        self.accepted += said.accepted;
        self.refused += said.rejected;
        for Complaint { field, message } in said.errors {
            self.complain(match field {
                Some(field) => format!("field {field}: {message}"),
                None => message,
            });
        }
    }

    fn unreadable(&mut self, error: &TraceError) {
        self.read += 1;
        self.refused += 1;
        self.complain(error.to_string());
    }

    fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS {
            self.complaints.push(complaint);
        }
    }
}

/// A trace, at its pace.
struct Feed {
    trace: Trace,
    pace: Pace,
    /// Read, and not due yet.
    next: Option<UsageEvent>,
}

impl Feed {
    /// The next events as JSON lines: a full group, or what there is before one that is not due yet. Empty at the end.
    fn group(&mut self, totals: &mut Totals) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        for lines in 0..GROUP {
            let Some(event) = self.event(totals)? else {
                break;
            };
            if lines > 0 && self.pace.must_wait(&event) {
                self.next = Some(event);
                break;
            }
            self.pace.wait(&event);
            totals.read += 1;
            serde_json::to_writer(&mut body, &event)?;
            body.push(b'\n');
        }
        Ok(body)
    }

    fn event(&mut self, totals: &mut Totals) -> Result<Option<UsageEvent>> {
        if let Some(event) = self.next.take() {
            return Ok(Some(event));
        }
        loop {
            match self.trace.next() {
                None => return Ok(None),
                Some(Ok(event)) => return Ok(Some(event)),
                Some(Err(error)) if error.line().is_some() => totals.unreadable(&error),
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}

/// Where events go.
struct Door {
    pool: Pool,
    /// The instance.
    base: Arc<str>,
    key: HeaderValue,
}

impl Door {
    fn of(config: &Config, to: &str) -> Result<Self> {
        let base = to.trim_end_matches('/');
        base.parse()
            .ok()
            .filter(|uri: &Uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
            })
            .context(
                "--to takes the address of a running instance, as in --to http://127.0.0.1:8480",
            )?;
        let Ok(key) = std::env::var(KEY) else {
            bail!(
                "put the API key of the account whose events these are into the environment variable {KEY}: `tidemark keys create --account NAME` makes one"
            );
        };
        let mut key = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
            .with_context(|| format!("{KEY} holds no API key"))?;
        key.set_sensitive(true);
        Ok(Self {
            pool: Pool::new(config.router.connect_timeout()).context("TLS cannot be set up")?,
            base: Arc::from(base),
            key,
        })
    }

    /// Sends one group until it is taken. Sent twice it counts once, so every doubt is settled by sending again.
    async fn send(&self, group: Vec<u8>) -> Result<Said> {
        let group = Bytes::from(group);
        let since = Instant::now();
        loop {
            let problem = match self.try_send(group.clone()).await {
                Ok((200, said)) => return Ok(said),
                Ok((400, said)) if said.error.as_ref().is_some_and(|e| e.code == "no_events") => {
                    let metadata = said.error.map(|error| error.metadata).unwrap_or_default();
                    return Ok(Said {
                        rejected: metadata.rejected,
                        errors: metadata.errors,
                        ..Said::default()
                    });
                }
                Ok((status @ (429 | 502 | 503 | 504), said)) => refusal(status, said),
                Ok((status, said)) => return Err(refusal(status, said)),
                Err(error) => error,
            };
            if since.elapsed() > PATIENCE {
                return Err(problem.context(
                    "the rest was not sent; replay again, what is there already counts once",
                ));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn try_send(&self, body: Bytes) -> Result<(u16, Said)> {
        let request = Request::post("/")
            .header(header::AUTHORIZATION, self.key.clone())
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .body(Full::new(body))?;
        let response = self
            .pool
            .send(&self.base, "/v1/events", request)
            .await
            .with_context(|| format!("{} does not answer", self.base))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

fn refusal(status: u16, said: Said) -> anyhow::Error {
    let why = said.error.map_or_else(
        || "it is no Tidemark, or one that takes no events".to_owned(),
        |error| error.message,
    );
    anyhow::anyhow!("the instance refused with {status}: {why}")
}
