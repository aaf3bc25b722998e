//! The router and its journal, without rollup, lake and pages: `gateway LISTEN DIR UPSTREAM`, where every provider of the
//! catalog is reached at UPSTREAM. Prints a key. Ends at Ctrl-C, with the number of durable events.
#![allow(clippy::print_stdout, reason = "the key is its output")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use tidemark_bus::{Journal, JournalOptions};
use tidemark_catalog::Catalog;
use tidemark_router::adapters::Dialect;
use tidemark_router::emit::Emitter;
use tidemark_router::gateway::Gateway;
use tidemark_router::keys::Keys;
use tidemark_router::route::Routes;
use tidemark_router::server;
use tidemark_router::settings::{Settings, Upstream};
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, dir, base_url] = &arguments[..] else {
        return Err("usage: gateway LISTEN DIR UPSTREAM".into());
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(listen, Path::new(dir), base_url))
}

async fn serve(listen: &str, dir: &Path, base_url: &str) -> Result<(), Box<dyn Error>> {
    let catalog = Arc::new(Catalog::builtin()?);
    let upstreams = catalog.providers().iter().map(|provider| Upstream {
        provider: provider.slug.clone(),
        dialect: Dialect::Openai,
        base_url: base_url.to_owned(),
        region: None,
        data: None,
        key_env: None,
        simulated: true,
    });
    let settings = Settings {
        upstreams: upstreams.collect(),
        ..Settings::default()
    };
    let journal = Journal::open(&dir.join("journal"), JournalOptions::default())?;
    let keys = Keys::open(dir)?;
    println!("{}", keys.create("bench")?.1);
    let routes = Routes::new(catalog, &settings)?;
    let (emitter, emitted) = Emitter::start(journal)?;
    let gateway = Arc::new(Gateway::new(settings.clone(), routes, keys, emitter)?);
    let listener = TcpListener::bind(listen).await?;
    let handle = {
        let gateway = Arc::clone(&gateway);
        move |request| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.handle(request).await }
        }
    };
    let stop = async {
        tokio::signal::ctrl_c().await.ok();
        gateway.stop();
    };
    server::serve(listener, &settings, handle, stop).await?;
    drop(gateway);
    println!("{} events are durable", emitted.await?);
    Ok(())
}
