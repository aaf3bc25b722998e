//! `tidemark sim`: the simulated providers as a process of their own, to try a router without accounts.

use crate::output::line;
use crate::replay::Speed;
use crate::stop::signal;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use tidemark_catalog::Catalog;
use tidemark_sim::providers::{Providers, Script};
use tokio::net::TcpListener;

/// What to simulate.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// HTTP address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8490")]
    listen: String,
    /// Who the providers are and how they fail, as TOML; without it, those of the demo.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// `max` for no waiting, or so many times as fast as the script says.
    #[arg(long, default_value = "1")]
    speed: Speed,
    /// Seed: the same one fails in the same way.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Prints an upstream for each region of each provider.
    #[arg(long)]
    regions: bool,
    /// Nothing goes wrong unless a request asks for it.
    #[arg(long)]
    no_faults: bool,
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn run(options: Options) -> Result<()> {
    let mut script = match &options.script {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| {
                format!(
                    "the script {} cannot be read: check its name",
                    file.display()
                )
            })?;
            Script::from_toml(&text)
                .with_context(|| format!("the script {} is not right", file.display()))?
        }
        None => Script::demo(&Catalog::builtin()?),
    };
    script = match options.speed {
        Speed::Max => script.with_speed(0.0),
        Speed::Times(times) => script.faster(times),
    };
    if options.no_faults {
        script = script.without_faults();
    }
    let listener = TcpListener::bind(&options.listen).await.with_context(|| {
        format!(
            "cannot listen on {}: another program may hold it; choose another with --listen 127.0.0.1:0",
            options.listen
        )
    })?;
    let address = listener.local_addr()?;
    line(settings(&script, address, options.regions));
    line(format!(
        "# Simulated: {} providers at http://{address}/PROVIDER/v1 and http://{address}/PROVIDER@REGION/v1; GET http://{address}/ lists \
         them, /ledger says what they did, POST /control switches faults. Ctrl-C stops.",
        script.providers().count()
    ));
    Ok(Providers::new(script, options.seed)
        .serve(listener, signal())
        .await?)
}

/// What `tidemark.toml` needs to reach the providers.
fn settings(script: &Script, address: SocketAddr, regions: bool) -> String {
    let upstreams = if regions {
        script.upstreams_by_region(address)
    } else {
        script.upstreams(address)
    };
    let upstreams = upstreams.replace("[[upstreams]]", "\n[[router.upstreams]]");
    format!("# For tidemark.toml:\n{upstreams}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::sync::Arc;
    use tidemark_router::route::Routes;

    #[test]
    fn a_router_can_use_what_is_printed() -> Result<()> {
        let catalog = Arc::new(Catalog::builtin()?);
        let script = Script::demo(&catalog);
        let mut counts = Vec::new();
        for regions in [false, true] {
            let text = settings(&script, "127.0.0.1:9000".parse()?, regions);
            let config: Config = toml::from_str(&text)?;
            Routes::new(Arc::clone(&catalog), &config.router)?;
            counts.push(config.router.upstreams.len());
        }
        let of_all = catalog.providers().iter();
        let lanes = of_all.map(|provider| provider.regions.len().max(1)).sum();
        assert_eq!(counts, [catalog.providers().len(), lanes]);
        Ok(())
    }
}
