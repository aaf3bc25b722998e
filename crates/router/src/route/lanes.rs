//! The lanes there are: every endpoint of the catalog whose provider is set up, in each region it is set up for.

use super::health::Health;
use super::names::by_slug;
use super::needs::Parameters;
use super::observed::Statistics;
use super::sticky::Sticky;
use super::{breaker, learn};
use crate::adapters::{Adapter, Dialect, adapter};
use crate::settings::{Settings, Upstream};
use http::Uri;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;
use tidemark_catalog::{Catalog, DataPolicy, Endpoint, Model, Price, is_alias};

/// A provider that can be reached.
#[derive(Clone)]
pub struct Reach {
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Its adapter.
    pub adapter: &'static dyn Adapter,
    /// Base URL, without a slash at its end.
    pub base: Arc<str>,
    /// Our key there.
    pub key: Arc<str>,
    /// It only simulates.
    pub simulated: bool,
}

/// An endpoint in a region.
pub struct Lane {
    /// Tells lanes apart, the same for the same lane after a reload or a restart.
    pub key: u64,
    /// Tells places apart: lanes of one place fail together when it cannot be reached.
    pub place: u64,
    /// Position of its endpoint in the catalog.
    endpoint: usize,
    /// The region it is in; where the settings name none, the first one of the endpoint.
    pub region: String,
    /// The settings name the region: nothing is sent elsewhere.
    pub is_pinned: bool,
    /// How to reach it.
    pub reach: Reach,
    /// What becomes of requests there.
    pub data: DataPolicy,
    /// Parameters known to work; `None` where nothing is known.
    pub parameters: Option<Parameters>,
    /// Longest completion, in tokens; 0 for vectors.
    pub max_output: u64,
    /// How it fares.
    pub health: Arc<Health>,
}

/// What serves a model.
#[derive(Default)]
pub(super) struct Served {
    pub(super) lanes: Vec<Lane>,
    /// Positions of the endpoints that are not set up.
    pub(super) unreached: Vec<usize>,
}

/// Catalog and upstreams, and what is remembered of the lanes.
pub struct Routes {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    pub(super) by_slug: HashMap<String, Option<String>>,
    served: HashMap<String, Served>,
    pub(super) sticky: Arc<Sticky>,
}

/// A lane that can answer, with what the catalog says of it.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// From the catalog.
    pub endpoint: &'a Endpoint,
    /// Its model.
    pub model: &'a Model,
    /// The price in force.
    pub price: &'a Price,
    /// The lane.
    pub lane: &'a Lane,
}

/// An upstream that cannot be used as set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUpstream {
    /// No such provider.
    #[error("the upstream `{provider}` is not a provider of the catalog, which has {known}")]
    Provider {
        /// As the settings name it.
        provider: String,
        /// The slugs there are.
        known: String,
    },
    /// Not an address.
    #[error("the base_url of the upstream `{0}` is not an http or https address")]
    Url(String),
    /// Not the name of a region.
    #[error("the region of the upstream `{0}` is not a name such as `eu-west`")]
    Region(String),
    /// Set up twice for the same region.
    #[error("the upstream `{0}` is set up twice: give each a `region` of its own")]
    Twice(String),
    /// The key is not there.
    #[error(
        "the upstream `{provider}` takes its key from the environment variable {variable}, which is not set"
    )]
    Key {
        /// The provider.
        provider: String,
        /// The variable.
        variable: String,
    },
}

impl Routes {
    /// Checks the upstreams against the catalog.
    ///
    /// # Errors
    /// [`BadUpstream`] for the first that cannot be used.
    pub fn new(catalog: Arc<Catalog>, settings: &Settings) -> Result<Self, BadUpstream> {
        let mut upstreams: HashMap<&str, Vec<(&Upstream, Reach)>> = HashMap::new();
        for upstream in &settings.upstreams {
            let provider = upstream.provider.as_str();
            if catalog.provider(provider).is_none() {
                let slugs = catalog.providers().iter().map(|known| known.slug.as_str());
                return Err(BadUpstream::Provider {
                    provider: provider.to_owned(),
                    known: slugs.collect::<Vec<_>>().join(", "),
                });
            }
            let reach = reach(upstream)?;
            let known = upstreams.entry(provider).or_default();
            if known
                .iter()
                .any(|(other, _)| other.region == upstream.region)
            {
                return Err(BadUpstream::Twice(provider.to_owned()));
            }
            known.push((upstream, reach));
        }
        let mut served: HashMap<String, Served> = HashMap::new();
        for (at, endpoint) in catalog.every_endpoint().iter().enumerate() {
            let entry = served.entry(endpoint.model.clone()).or_default();
            let before = entry.lanes.len();
            for (upstream, reach) in upstreams
                .get(endpoint.provider.as_str())
                .into_iter()
                .flatten()
            {
                if is_served_in(&catalog, endpoint, upstream.region.as_deref()) {
                    entry
                        .lanes
                        .push(lane(&catalog, at, endpoint, upstream, reach));
                }
            }
            if entry.lanes.len() == before {
                entry.unreached.push(at);
            }
        }
        Ok(Self {
            by_slug: by_slug(&catalog),
            catalog,
            served,
            sticky: Arc::default(),
        })
    }

    /// Goes on with what other routes have learned of the lanes that both have, and with their conversations.
    pub fn take_over(&mut self, before: &Self) {
        let known: HashMap<(u64, u64), &Arc<Health>> = before
            .lanes()
            .map(|(_, _, lane)| ((lane.key, lane.place), &lane.health))
            .collect();
        for lane in self.served.values_mut().flat_map(|model| &mut model.lanes) {
            if let Some(health) = known.get(&(lane.key, lane.place)) {
                lane.health = Arc::clone(health);
            }
        }
        self.sticky = Arc::clone(&before.sticky);
    }

    /// Replaces what is known from everyone's traffic; `unix_s` is the time now. The number of lanes it speaks of.
    pub fn learn(&self, statistics: &Statistics, now: Instant, unix_s: i64) -> usize {
        learn::learn(self.lanes(), statistics, now, unix_s)
    }

    /// All lanes, with their model and endpoint.
    pub fn lanes(&self) -> impl Iterator<Item = (&str, &str, &Lane)> {
        self.served.iter().flat_map(|(model, served)| {
            served
                .lanes
                .iter()
                .map(|lane| (model.as_str(), self.endpoint(lane.endpoint), lane))
                .filter_map(|(model, endpoint, lane)| Some((model, endpoint?.id.as_str(), lane)))
        })
    }

    /// The lanes whose breaker is not closed, by endpoint and region. Those that only an alias has are not named.
    pub fn broken(&self, now: Instant) -> Vec<(&str, &str, breaker::State)> {
        let state = |lane: &Lane| {
            let state = lane.health.breaker(now)?;
            (state != breaker::State::Closed).then_some(state)
        };
        self.lanes()
            .filter(|(_, _, lane)| lane.endpoint < self.catalog.endpoints().len())
            .filter_map(|(_, endpoint, lane)| Some((endpoint, lane.region.as_str(), state(lane)?)))
            .collect()
    }

    /// Names of regions, each as often as it is named.
    pub(super) fn regions(&self) -> impl Iterator<Item = &str> {
        let providers = self.catalog.providers().iter();
        let theirs = providers.flat_map(|provider| provider.regions.iter().map(String::as_str));
        let ours = self.served.values().flat_map(|served| &served.lanes);
        theirs.chain(ours.map(|lane| lane.region.as_str()))
    }

    /// What serves a model, or the one behind an alias.
    pub(super) fn served(&self, model: &Model) -> Option<&Served> {
        let alias = is_alias(&model.id).then(|| self.catalog.alias_named(&model.id));
        let id = alias.flatten().map_or(&model.id, |alias| &alias.of);
        self.served.get(id)
    }

    /// The endpoint at a position of the catalog.
    pub(super) fn endpoint(&self, at: usize) -> Option<&Endpoint> {
        self.catalog.every_endpoint().get(at)
    }

    pub(super) fn is_reachable(&self, model: &Model) -> bool {
        self.served(model)
            .is_some_and(|served| !served.lanes.is_empty())
    }
}

impl Lane {
    /// Its endpoint in the catalog.
    pub fn endpoint<'a>(&self, catalog: &'a Catalog) -> Option<&'a Endpoint> {
        catalog.every_endpoint().get(self.endpoint)
    }
}

/// Whether an endpoint is served in the region of an upstream. Where the catalog knows the region at the provider but not at the
/// endpoint, it is not; a region that the catalog does not know at all is the operator's own knowledge.
fn is_served_in(catalog: &Catalog, endpoint: &Endpoint, region: Option<&str>) -> bool {
    let Some(region) = region else { return true };
    let is_in = |regions: &[String]| regions.iter().any(|known| known == region);
    let at_provider = catalog
        .provider(&endpoint.provider)
        .is_some_and(|provider| is_in(&provider.regions));
    is_in(&endpoint.regions) || !at_provider
}

fn lane(
    catalog: &Catalog,
    at: usize,
    endpoint: &Endpoint,
    upstream: &Upstream,
    reach: &Reach,
) -> Lane {
    let provider = catalog.provider(&endpoint.provider);
    let first = || endpoint.regions.first().cloned();
    let max_output = || catalog.model(&endpoint.model).map(|model| model.max_output);
    Lane {
        key: hash((&endpoint.id, &upstream.region)),
        place: hash(&*reach.base),
        endpoint: at,
        region: upstream.region.clone().or_else(first).unwrap_or_default(),
        is_pinned: upstream.region.is_some(),
        reach: reach.clone(),
        data: upstream
            .data
            .or(endpoint.data)
            .or(provider.map(|provider| provider.data))
            .unwrap_or_default(),
        parameters: endpoint.parameters.as_deref().map(Parameters::known),
        max_output: endpoint.max_output.or_else(max_output).unwrap_or(0),
        health: Arc::new(Health::new(Instant::now())),
    }
}

/// The same for the same value in every run of the program.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn reach(upstream: &Upstream) -> Result<Reach, BadUpstream> {
    let bad = || BadUpstream::Url(upstream.provider.clone());
    let is_name = |region: &String| {
        (1..=64).contains(&region.len())
            && region
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if upstream.region.as_ref().is_some_and(|name| !is_name(name)) {
        return Err(BadUpstream::Region(upstream.provider.clone()));
    }
    let base = upstream.base_url.trim_end_matches('/');
    let uri: Uri = base.parse().map_err(|_| bad())?;
    if !matches!(uri.scheme_str(), Some("http" | "https"))
        || uri.host().is_none()
        || uri.query().is_some()
    {
        return Err(bad());
    }
    let key = match &upstream.key_env {
        None => String::new(),
        Some(variable) => std::env::var(variable).map_err(|_| BadUpstream::Key {
            provider: upstream.provider.clone(),
            variable: variable.clone(),
        })?,
    };
    Ok(Reach {
        dialect: upstream.dialect,
        adapter: adapter(upstream.dialect),
        base: Arc::from(base),
        key: Arc::from(key.trim()),
        simulated: upstream.simulated,
    })
}
