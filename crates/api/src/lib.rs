//! The public HTTP side: rankings as JSON and as a page.
//!
//! A request's way: `parameters` turns the query string into a question or says which values there
//! are; the [`Source`] gives the newest snapshot; [`Rankings`] answers, mostly out of memory; `json`
//! or `page` writes it. Everything that is not an answer is an `ApiError`, which never
//! carries a path, a query plan or anything else from inside: those go to the log.

mod error;
mod figures;
mod headers;
mod health;
mod json;
mod listings;
mod page;
mod parameters;
mod template;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use error::ApiError;
use parameters::Asked;
use std::future::Future;
use std::sync::Arc;
use tidemark_insight::{Rankings, Snapshot, Source, Statistics};
use tokio::net::TcpListener;

/// What the handlers share.
#[derive(Clone)]
pub struct ApiState {
    rankings: Arc<Rankings>,
    statistics: Arc<Statistics>,
    source: Arc<dyn Source>,
}

impl ApiState {
    /// Boards and statistics over a source of snapshots.
    pub fn new(rankings: Arc<Rankings>, source: Arc<dyn Source>) -> Self {
        Self {
            rankings,
            statistics: Arc::default(),
            source,
        }
    }

    fn snapshot(&self) -> Result<Snapshot, ApiError> {
        self.source.current().ok_or_else(ApiError::not_ready)
    }
}

/// The routes of this crate, complete with security headers and error bodies.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/rankings") }))
        .route("/rankings", get(page::rankings))
        .route("/static/tidemark.css", get(page::stylesheet))
        .route("/static/live.js", get(page::script))
        .route("/models/{author}/{slug}", get(health::model))
        .route("/providers/{slug}", get(health::provider))
        .route("/api/v1/rankings/{name}", get(ranking))
        .route("/api/v1/models", get(listings::models))
        .route(
            "/api/v1/models/{author}/{slug}/endpoints",
            get(listings::endpoints),
        )
        .route("/api/v1/providers", get(listings::providers))
        .route("/api/v1/statistics", get(listings::statistics))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .fallback(|| async { ApiError::not_found() })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(axum::middleware::map_response(headers::secure))
        .with_state(state)
}

/// Serves until `shutdown` completes, then lets running requests finish.
///
/// # Errors
/// The listener fails.
pub async fn run(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
}

async fn ranking(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let query = asked.question(&name, parameters::OF_RANKINGS)?;
    state.rankings.check(&query)?;
    let snapshot = state.snapshot()?;
    let ranking = state.rankings.answer_cached(&snapshot, &query).await?;
    let open = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((open, axum::Json(json::Body::of(&ranking))).into_response())
}

async fn ready(State(state): State<ApiState>) -> Result<&'static str, ApiError> {
    state.snapshot().map(|_| "ready")
}
