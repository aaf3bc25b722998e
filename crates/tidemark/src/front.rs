//! The one HTTP address: the router's paths go to the router, all others to the api.

use crate::config::Config;
use anyhow::{Context, Result};
use axum::Router;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tidemark_bus::Journal;
use tidemark_catalog::Catalog;
use tidemark_router::emit::Emitter;
use tidemark_router::gateway::{Gateway, Reply};
use tidemark_router::keys::Keys;
use tidemark_router::route::Routes;
use tidemark_router::server;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// How soon a key made or revoked by another process counts.
const KEYS_EVERY: Duration = Duration::from_millis(500);

/// The router of a data folder, and the task that ends when its last event is durable.
pub fn gateway(
    config: &Config,
    catalog: &Arc<Catalog>,
    journal: Journal,
) -> Result<(Arc<Gateway>, JoinHandle<u64>)> {
    let routes = Routes::new(Arc::clone(catalog), &config.router)?;
    let keys = Keys::open(&config.data_dir)?;
    let (emitter, emitted) = Emitter::start(journal)?;
    let gateway = Gateway::new(config.router.clone(), routes, keys, emitter)
        .context("TLS cannot be set up")?;
    Ok((Arc::new(gateway), emitted))
}

/// Serves until `shutdown`, then drains.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    api: Router,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let keys = gateway.keys().clone();
    let watching = tokio::spawn(async move {
        loop {
            tokio::time::sleep(KEYS_EVERY).await;
            if let Err(error) = keys.refresh() {
                tracing::error!(%error, "the keys could not be read again; those known stay in force");
            }
        }
    });
    let handle = {
        let gateway = Arc::clone(&gateway);
        move |request| answer(Arc::clone(&gateway), api.clone(), request)
    };
    let settings = gateway.settings().clone();
    let stopping = async {
        shutdown.await;
        gateway.stop();
    };
    let served = server::serve(listener, &settings, handle, stopping).await;
    watching.abort();
    Ok(served?)
}

async fn answer(gateway: Arc<Gateway>, api: Router, request: Request<Incoming>) -> Response<Reply> {
    match request.uri().path() {
        path if Gateway::owns(path) => gateway.handle(request).await,
        "/metrics" => {
            let mut response = Response::new(text(gateway.metrics()));
            let kind = http::HeaderValue::from_static(
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            );
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        "/readyz" if !gateway.is_ready() => {
            let mut response = Response::new(text("the router takes no requests right now\n"));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
        _ => {
            let answered = api.oneshot(request).await;
            answered
                .unwrap_or_else(|never| match never {})
                .map(|body| Reply::new(body.map_err(Into::into)))
        }
    }
}

fn text(body: impl Into<bytes::Bytes>) -> Reply {
    Reply::new(Full::new(body.into()).map_err(|never| match never {}))
}
