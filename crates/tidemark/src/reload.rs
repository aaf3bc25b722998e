//! `kill -HUP`: the settings are read again, without a stop. The router takes its own table anew; what else has changed is
//! named, since it waits for the next start.

use crate::config::Config;
use crate::newest;
use crate::output::line;
use anyhow::{Context, Result};
use std::sync::Arc;
use tidemark_catalog::Catalog;
use tidemark_router::gateway::Gateway;
use tidemark_router::route::Routes;
use tidemark_router::settings::Upstream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What a reload needs to know of the running process.
pub struct Reload {
    /// Settings as they were at the start.
    pub started: Config,
    /// Reads the settings as the start did.
    pub read: Box<dyn Fn() -> Result<Config> + Send>,
    /// Upstreams that the process set up itself; one of the settings goes before.
    pub simulated: Vec<Upstream>,
    /// The models and providers, for whoever goes by them.
    pub catalogs: watch::Sender<Arc<Catalog>>,
}

impl Reload {
    /// Puts new settings in force at each SIGHUP. Settings with a fault change nothing.
    ///
    /// # Errors
    /// When the signal cannot be heard.
    pub async fn run(self, gateway: Arc<Gateway>) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be heard")?;
        while hangup.recv().await.is_some() {
            match self.once(&gateway) {
                Ok(said) => line(said),
                Err(error) => {
                    tracing::error!("the settings stay as they were: {error:#}");
                }
            }
        }
        Ok(())
    }

    fn once(&self, gateway: &Gateway) -> Result<String> {
        let fresh = (self.read)()?;
        let waiting = waiting(&self.started, &fresh)?;
        let catalog = newest::catalog(&fresh)?;
        let mut router = fresh.router;
        add_simulated(&mut router.upstreams, &self.simulated);
        let upstreams = router.upstreams.len();
        let routes = Routes::new(Arc::clone(&catalog), &router)?;
        gateway.reload(router, routes)?;
        self.catalogs.send_replace(catalog);
        let mut said = format!("Settings read again: {upstreams} upstreams in force.");
        if !waiting.is_empty() {
            said += &format!(
                " Changed, but in force only after the next start: {}.",
                waiting.join(", ")
            );
        }
        Ok(said)
    }
}

/// Adds the upstreams whose provider is not set up for real.
pub fn add_simulated(upstreams: &mut Vec<Upstream>, simulated: &[Upstream]) {
    let real: Vec<String> = upstreams.iter().map(|up| up.provider.clone()).collect();
    let missing = simulated.iter().filter(|up| !real.contains(&up.provider));
    upstreams.extend(missing.cloned());
}

/// Settings of the router that hold a connection or the process, not a request.
const OF_THE_START: [&str; 2] = ["drain_s", "receive_timeout_s"];

/// The settings that have changed and that a reload does not reach.
fn waiting(started: &Config, fresh: &Config) -> Result<Vec<String>> {
    let (mut old, mut new) = (
        toml::Table::try_from(started)?,
        toml::Table::try_from(fresh)?,
    );
    let mut changed = Vec::new();
    if let (Some(toml::Value::Table(old)), Some(toml::Value::Table(new))) =
        (old.remove("router"), new.remove("router"))
    {
        let of_the_start = OF_THE_START
            .iter()
            .filter(|key| old.get(**key) != new.get(**key));
        changed.extend(of_the_start.map(|key| format!("router.{key}")));
    }
    // The catalog is made anew, with whatever file is named now.
    new.remove("aliases_file");
    changed.extend(
        new.iter()
            .filter(|(key, value)| old.get(*key) != Some(value))
            .map(|(key, _)| key.clone()),
    );
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_start_is_named() -> Result<()> {
        let started = Config::default();
        let mut fresh = started.clone();
        fresh.router.max_attempts = 9;
        assert_eq!(waiting(&started, &fresh)?, Vec::<String>::new());
        fresh.router.drain_s = 1;
        fresh.partitions = 9;
        assert_eq!(waiting(&started, &fresh)?, ["router.drain_s", "partitions"]);
        Ok(())
    }
}
