//! Connections: limits against slow and greedy clients, and a drain at the end.

use crate::gateway::Reply;
use crate::settings::Settings;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Headers of one request, at most.
const HEADERS: usize = 100;
/// Bytes of headers, at most.
const HEADER_BYTES: usize = 32 << 10;
const AGAIN: Duration = Duration::from_millis(100);

/// Serves `handle` until `shutdown`, then waits for the requests under way, but no longer than the settings say.
///
/// # Errors
/// Never now; accepting goes on after a failure.
pub async fn serve<H, F>(
    listener: TcpListener,
    settings: &Settings,
    handle: H,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Reply>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.receive_timeout())
        .max_headers(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .pipeline_flush(true);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // Out of file handles, most likely: they come back.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        stream.set_nodelay(true).ok();
        let handle = handle.clone();
        let service = service_fn(move |request| {
            let answer = handle(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    tokio::time::timeout(Duration::from_secs(settings.drain_s), graceful.shutdown())
        .await
        .ok();
    // Who is not done by now is cut off; the events are written all the same.
    connections.shutdown().await;
    Ok(())
}
