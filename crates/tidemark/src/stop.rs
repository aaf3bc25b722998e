//! Being told to stop.

use tokio::signal::unix::{SignalKind, signal as on};
use tokio::sync::watch;

/// Ends at Ctrl-C or SIGTERM.
pub async fn signal() {
    let interrupt = tokio::signal::ctrl_c();
    match on(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
        }
        Err(_) => {
            interrupt.await.ok();
        }
    }
}

/// True from Ctrl-C or SIGTERM on.
pub fn stopping() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        signal().await;
        stop.send_replace(true);
    });
    stopped
}

/// Ends when that is true.
pub async fn until(mut stopped: watch::Receiver<bool>) {
    stopped.wait_for(|stop| *stop).await.ok();
}
