//! Routers and providers to ask.

use crate::asker::Target;
use crate::{CLOCK, SPEED};
use anyhow::Result;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::Exp1;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidemark_catalog::{Catalog, Endpoint, Tokens};
use tidemark_event::UsageEvent;
use tidemark_router::emit::Emitter;
use tidemark_router::gateway::Gateway;
use tidemark_router::keys::Keys;
use tidemark_router::route::Routes;
use tidemark_router::server;
use tidemark_router::settings::Settings;
use tidemark_sim::providers::{Ledger, Providers, Script};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How long a client waits: two minutes of unscaled time.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// Seconds until the router gives an attempt up: 30 of unscaled time.
const FIRST_BYTE_S: u64 = 3;

/// The world of published faults, at the pace of the benchmark.
pub fn troubled() -> Script {
    Script::published_faults()
        .with_speed(SPEED)
        .with_clock(CLOCK)
}

/// A router and its providers.
pub struct Routed {
    pub target: Target,
    /// Where the providers are.
    pub providers: String,
    /// What they did.
    pub ledger: Arc<Ledger>,
    events: JoinHandle<Vec<UsageEvent>>,
    stop: watch::Sender<bool>,
    _dir: TempDir,
}

/// A router for whom each provider is one upstream, or each region of each.
pub async fn routed(script: Script, seed: u64, by_region: bool, model: &str) -> Result<Routed> {
    let behind = TcpListener::bind("127.0.0.1:0").await?;
    let address = behind.local_addr()?;
    let upstreams = if by_region {
        script.upstreams_by_region(address)
    } else {
        script.upstreams(address)
    };
    let settings = Settings {
        first_byte_timeout_s: FIRST_BYTE_S,
        idle_timeout_s: FIRST_BYTE_S,
        ..toml::from_str(&upstreams)?
    };
    let providers = Providers::new(script, seed);
    let ledger = providers.ledger();
    tokio::spawn(providers.serve(behind, std::future::pending::<()>()));

    let dir = tempfile::tempdir()?;
    let keys = Keys::open(dir.path())?;
    let (_, key) = keys.create("acme")?;
    let routes = Routes::new(Arc::new(Catalog::builtin()?), &settings)?;
    let (emitter, mut emitted) = Emitter::piped();
    let gateway = Arc::new(Gateway::new(settings.clone(), routes, keys, emitter)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1/chat/completions", listener.local_addr()?);
    let (stop, mut stopped) = watch::channel(false);
    tokio::spawn(async move {
        let handle = move |request| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.handle(request).await }
        };
        let until = async {
            stopped.wait_for(|stop| *stop).await.ok();
        };
        server::serve(listener, &settings, handle, until).await
    });
    let events = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = emitted.recv().await {
            events.push(*event);
        }
        events
    });
    Ok(Routed {
        target: Target {
            url,
            key,
            model: model.to_owned(),
        },
        providers: format!("http://{address}"),
        ledger,
        events,
        stop,
        _dir: dir,
    })
}

impl Routed {
    /// Stops the router: the events of all its requests.
    pub async fn end(self) -> Result<Vec<UsageEvent>> {
        self.stop.send_replace(true);
        Ok(self.events.await?)
    }
}

/// Providers without a router.
pub struct Direct {
    base: String,
}

/// The same providers, asked straight; they end with the process.
pub async fn direct(script: Script, seed: u64) -> Result<Direct> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let providers = Providers::new(script, seed);
    tokio::spawn(providers.serve(listener, std::future::pending::<()>()));
    Ok(Direct { base })
}

impl Direct {
    /// A provider's endpoint as a target.
    pub fn target(&self, endpoint: &Endpoint) -> Target {
        Target {
            url: format!("{}/{}/v1/chat/completions", self.base, endpoint.provider),
            key: String::new(),
            model: endpoint.upstream.clone(),
        }
    }
}

/// The endpoints of the benchmark's model at the providers of a script.
pub fn endpoints(catalog: &Catalog, script: &Script, model: &str) -> Vec<Endpoint> {
    let known = |endpoint: &&Endpoint| script.knows(&endpoint.provider, &endpoint.upstream);
    catalog.endpoints_of(model).filter(known).cloned().collect()
}

/// What an answer cost, in dollars, by the catalog.
pub fn cost(endpoint: &Endpoint, answer: &crate::asker::Answer) -> f64 {
    let price = endpoint.price_at(chrono::Utc::now());
    price.map_or(0.0, |price| {
        let cost = price.cost(&Tokens {
            prompt: answer.prompt,
            cached: answer.cached,
            completion: answer.completion,
            ..Tokens::default()
        });
        cost.total() as f64 / 1e9
    })
}

/// Starts things at random times, so many a second on average, and returns what came of them.
pub async fn at_random<F, T>(
    rate: f64,
    time: Duration,
    seed: u64,
    mut start: impl FnMut(u64) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut under_way = JoinSet::new();
    let began = tokio::time::Instant::now();
    let mut due = Duration::ZERO;
    for number in 0.. {
        due += exponential(&mut rng, Duration::from_secs_f64(1.0 / rate));
        if due >= time {
            break;
        }
        tokio::time::sleep_until(began + due).await;
        under_way.spawn(start(number));
    }
    under_way.join_all().await
}

/// A time of which only the mean is known.
pub fn exponential(rng: &mut SmallRng, mean: Duration) -> Duration {
    mean.mul_f64(rng.sample(Exp1))
}
