//! The parts of `tidemark up` as processes of their own, with Kafka between them.

pub mod api;
pub mod rollup;
pub mod router;

use crate::config::Config;
use anyhow::{Context, Result, bail};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use std::fmt::Write;
use std::net::TcpListener;
use std::sync::Arc;

/// Ready-made lines of the metrics format.
pub type Figures = Arc<dyn Fn() -> String + Send + Sync>;

/// The settings name a Kafka.
fn named_kafka(config: &Config) -> Result<()> {
    if config.kafka.is_set() {
        return Ok(());
    }
    bail!(
        "no Kafka is named: set `brokers` under [kafka] in tidemark.toml, or TIDEMARK_KAFKA__BROKERS; on one machine `tidemark up` \
         needs none"
    )
}

/// The settings name a Kafka, and this build can speak to it.
fn with_kafka(config: &Config) -> Result<()> {
    tidemark_bus::kafka::is_built()?;
    named_kafka(config)
}

fn listen(config: &Config) -> Result<TcpListener> {
    let listener = TcpListener::bind(&config.listen).with_context(|| {
        format!(
            "cannot listen on {}: another program may hold it; choose another with --listen 127.0.0.1:0",
            config.listen
        )
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// One figure: its name, what it says, `counter` or `gauge`, and its value.
pub type Figure<'a> = (&'a str, &'a str, &'a str, f64);

/// Lines of the metrics format.
pub fn figures(all: &[Figure<'_>]) -> String {
    let mut text = String::new();
    for (name, help, kind, value) in all {
        let family = name.trim_end_matches("_total");
        write!(
            text,
            "# HELP {family} {help}.\n# TYPE {family} {kind}\n{name} {value}\n"
        )
        .ok();
    }
    text
}

/// What a process without pages of its own answers.
fn signs_of_life(figures: Figures) -> Router {
    metrics(figures)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
}

fn metrics(figures: Figures) -> Router {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Router::new().route(
        "/metrics",
        get(move || async move { ([(header::CONTENT_TYPE, kind)], figures() + "# EOF\n") }),
    )
}
