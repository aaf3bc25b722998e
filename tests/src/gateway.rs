//! A router on a real port, over a journal in a temporary folder and simulated providers on another port.

use crate::Result;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tidemark_bus::{Journal, JournalOptions, Read};
use tidemark_catalog::Catalog;
use tidemark_event::wire;
use tidemark_router::emit::Emitter;
use tidemark_router::gateway::Gateway;
use tidemark_router::keys::Keys;
use tidemark_router::route::Routes;
use tidemark_router::server;
use tidemark_router::settings::Settings;
use tidemark_sim::providers::{Ledger, Providers, Script};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The router and its providers.
pub struct Front {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// The simulated providers' address, without a provider's own path.
    pub providers: String,
    /// A key of the account `acme`.
    pub key: String,
    /// What the providers did and billed.
    pub ledger: Arc<Ledger>,
    /// The router itself.
    pub gateway: Arc<Gateway>,
    journal: Journal,
    stop: watch::Sender<bool>,
    server: JoinHandle<io::Result<()>>,
    emitted: JoinHandle<u64>,
}

/// Starts a router in `dir` whose providers follow `script`.
///
/// # Errors
/// When a port, a folder or a setting cannot be used.
pub async fn front(dir: &Path, script: Script) -> Result<Front> {
    front_of(dir, script, Arc::new(Catalog::builtin()?)).await
}

/// The same over a given catalog.
///
/// # Errors
/// When a port, a folder or a setting cannot be used.
pub async fn front_of(dir: &Path, script: Script, catalog: Arc<Catalog>) -> Result<Front> {
    let (stop, stopped) = watch::channel(false);
    let until = |mut stopped: watch::Receiver<bool>| async move {
        stopped.wait_for(|stop| *stop).await.ok();
    };
    let upstream = TcpListener::bind("127.0.0.1:0").await?;
    let address = upstream.local_addr()?;
    let settings: Settings = toml::from_str(&script.upstreams(address))?;
    let providers = Providers::new(script, 7);
    let ledger = providers.ledger();
    tokio::spawn(providers.serve(upstream, until(stopped.clone())));

    let journal = Journal::open(&dir.join("journal"), JournalOptions::default())?;
    let keys = Keys::open(dir)?;
    let (_, key) = keys.create_with("acme", |key| key.gateway = true)?;
    let routes = Routes::new(catalog, &settings)?;
    let (emitter, emitted) = Emitter::start(journal.clone())?;
    let gateway = Arc::new(Gateway::new(settings.clone(), routes, keys, emitter)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let served = Arc::clone(&gateway);
    let server = tokio::spawn(async move {
        let handle = move |request| {
            let gateway = Arc::clone(&served);
            async move { gateway.handle(request).await }
        };
        server::serve(listener, &settings, handle, until(stopped)).await
    });
    Ok(Front {
        url,
        providers: format!("http://{address}"),
        key,
        ledger,
        gateway,
        journal,
        stop,
        server,
        emitted,
    })
}

impl Front {
    /// Stops everything; how many events the journal in the folder has.
    ///
    /// # Errors
    /// When serving has failed.
    pub async fn stop(self) -> Result<u64> {
        self.stop.send_replace(true);
        self.server.await??;
        // It holds the emitter, which ends with it.
        drop(self.gateway);
        Ok(self.emitted.await?)
    }

    /// Stops everything and returns what came of it: a batch of events.
    ///
    /// # Errors
    /// When the journal cannot be read or holds something else than events.
    pub async fn events(self) -> Result<arrow::array::RecordBatch> {
        self.stop.send_replace(true);
        self.server.await??;
        // It holds the emitter, which ends with it.
        drop(self.gateway);
        let durable = self.emitted.await?;
        let mut payloads = Vec::new();
        for partition in 0..self.journal.partitions() {
            let mut reads = Vec::new();
            let mut from = self.journal.reader(partition, 0);
            while from.position() < self.journal.end_offset(partition) {
                from.poll(10_000, 1 << 30, &mut reads)?;
            }
            payloads.extend(reads.into_iter().filter_map(|read| match read {
                Read::Record(record) => Some(record.payload),
                Read::Damaged { .. } => None,
            }));
        }
        let decoded = wire::Reader::new(&[])?.read(&payloads)?;
        if payloads.len() as u64 != durable || !decoded.rejected.is_empty() {
            return Err("the journal does not hold what was emitted".into());
        }
        Ok(decoded.batch)
    }
}
