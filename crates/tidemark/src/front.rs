//! The one HTTP address: the router's paths go to the router, all others to the api.

use crate::config::Config;
use crate::parts::Figures;
use anyhow::{Context, Result};
use axum::Router;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::future::Future;
use std::sync::Arc;
use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
use tidemark_bus::Journal;
use tidemark_catalog::Catalog;
use tidemark_router::emit::Emitter;
use tidemark_router::gateway::{Gateway, Reply};
use tidemark_router::keys::Keys;
use tidemark_router::route::Routes;
use tidemark_router::server;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// Lets the calling thread run after the router's where they share a core: rollups, commits and pages can wait for
/// milliseconds, requests should not.
pub fn give_way() {
    // Of 0 to 99, this is niceness 5: a quarter of a core stays theirs where requests want all of it, more than their events
    // need. Where the system forbids it, all run alike.
    if let Ok(low) = ThreadPriorityValue::try_from(35_u8) {
        set_current_thread_priority(ThreadPriority::Crossplatform(low)).ok();
    }
}

/// Threads of the router's own: a commit or a ranking that computes for milliseconds holds no request up.
pub struct Threads(Option<Runtime>);

impl Threads {
    /// As many as there are cores.
    pub fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("router")
            .enable_all()
            .build()
            .context("the router's threads cannot be started")?;
        Ok(Self(Some(runtime)))
    }

    /// Where to start the router's tasks.
    pub fn handle(&self) -> Handle {
        self.0
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Threads {
    /// A runtime that ends where tasks run must not wait for its own.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The router of a data folder, and the task that ends when its last event is durable.
pub fn gateway(
    threads: &Threads,
    config: &Config,
    catalog: &Arc<Catalog>,
    journal: Journal,
) -> Result<(Arc<Gateway>, JoinHandle<u64>)> {
    let routes = Routes::new(Arc::clone(catalog), &config.router)?;
    let keys = Keys::open(&config.data_dir)?;
    let handle = threads.handle();
    let _here = handle.enter();
    let (emitter, emitted) = Emitter::start(journal)?;
    let gateway = Gateway::new(config.router.clone(), routes, keys, emitter)
        .context("TLS cannot be set up")?
        .retaining(config.retention());
    Ok((Arc::new(gateway), emitted))
}

/// Serves until `shutdown`, then drains; `figures` are told with the router's own. Runs on the router's threads; the api's answers are computed on those of `elsewhere`.
pub async fn serve(
    listener: std::net::TcpListener,
    gateway: Arc<Gateway>,
    api: Router,
    figures: Figures,
    elsewhere: Handle,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let keeping = tokio::spawn(gateway.keys().clone().keep());
    let handle = {
        let gateway = Arc::clone(&gateway);
        move |request| {
            answer(
                Arc::clone(&gateway),
                api.clone(),
                Arc::clone(&figures),
                elsewhere.clone(),
                request,
            )
        }
    };
    let settings = gateway.settings().clone();
    let stopping = async {
        shutdown.await;
        gateway.stop();
    };
    let served = server::serve(listener, &settings, handle, stopping).await;
    keeping.abort();
    Ok(served?)
}

async fn answer(
    gateway: Arc<Gateway>,
    api: Router,
    figures: Figures,
    elsewhere: Handle,
    request: Request<Incoming>,
) -> Response<Reply> {
    match request.uri().path() {
        path if Gateway::owns(path) => gateway.handle(request).await,
        "/metrics" => {
            let mut said = gateway.metrics();
            said.insert_str(said.rfind("# EOF").unwrap_or(said.len()), &figures());
            let mut response = Response::new(text(said));
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
            let Ok(answered) = elsewhere.spawn(api.oneshot(request)).await else {
                let mut response = Response::new(text("the answer could not be computed\n"));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return response;
            };
            answered
                .unwrap_or_else(|never| match never {})
                .map(|body| Reply::new(body.map_err(Into::into)))
        }
    }
}

fn text(body: impl Into<bytes::Bytes>) -> Reply {
    Reply::new(Full::new(body.into()).map_err(|never| match never {}))
}
