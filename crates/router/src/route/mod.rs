//! Which endpoints can answer, in which order: as the catalog lists them, cheapest first. Clever orders come here.

pub mod observed;

use crate::adapters::{Adapter, Dialect, adapter};
use crate::answer::error::Refusal;
use crate::ask::Ask;
use crate::settings::{Settings, Upstream};
use crate::veil;
use chrono::{DateTime, Utc};
use http::Uri;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tidemark_catalog::{Catalog, Endpoint, Modality, Model, Price, Status};

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

/// Catalog and upstreams.
pub struct Routes {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    reach: HashMap<String, Reach>,
    by_slug: HashMap<String, Option<String>>,
}

/// An endpoint that can answer.
pub struct Candidate<'a> {
    /// From the catalog.
    pub endpoint: &'a Endpoint,
    /// Its model.
    pub model: &'a Model,
    /// The price in force.
    pub price: &'a Price,
    /// How to reach it.
    pub reach: &'a Reach,
}

/// A named model.
pub struct Named<'a> {
    /// The model.
    pub model: &'a Model,
    /// free, nitro, floor or empty.
    pub variant: &'static str,
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
        let mut reach = HashMap::new();
        for upstream in &settings.upstreams {
            let provider = upstream.provider.clone();
            if catalog.provider(&provider).is_none() {
                let slugs = catalog.providers().iter().map(|known| known.slug.as_str());
                let known = slugs.collect::<Vec<_>>().join(", ");
                return Err(BadUpstream::Provider { provider, known });
            }
            reach.insert(provider, reach_of(upstream)?);
        }
        let mut by_slug: HashMap<String, Option<String>> = HashMap::new();
        let aliases = catalog.aliases().iter().map(|alias| &alias.face);
        for model in catalog.models().iter().chain(aliases) {
            // A slug that two authors use names neither.
            by_slug
                .entry(model.slug().to_owned())
                .and_modify(|id| *id = None)
                .or_insert_with(|| Some(model.id.clone()));
        }
        Ok(Self {
            catalog,
            reach,
            by_slug,
        })
    }

    /// The model of a name, served or not, and the variant asked for: `author/slug`, or a slug that only one author uses, with
    /// or without a variant. An alias that is revealed names the model behind it.
    ///
    /// # Errors
    /// 404 with near matches.
    pub fn named(&self, name: &str, now: DateTime<Utc>) -> Result<Named<'_>, Refusal> {
        let (id, variant) = variant(name);
        let by_slug = || {
            let id = self.by_slug.get(id)?.as_deref()?;
            self.catalog.model_named(id, now)
        };
        if let Some(model) = self.catalog.model_named(id, now).or_else(by_slug) {
            return Ok(Named { model, variant });
        }
        let near = self.catalog.nearest(id, 3);
        let hint = if near.is_empty() {
            "GET /v1/models lists the models".to_owned()
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        Err(Refusal {
            param: Some("model".into()),
            ..Refusal::new(
                404,
                "model_not_found",
                format!("there is no such model; {hint}"),
            )
        }
        .with(
            "suggestions",
            near.iter().map(|id| Value::from(*id)).collect::<Vec<_>>(),
        ))
    }

    /// The model of a name that can be asked now.
    ///
    /// # Errors
    /// As [`Routes::named`] and [`Routes::in_service`].
    pub fn model(&self, name: &str, now: DateTime<Utc>) -> Result<Named<'_>, Refusal> {
        let named = self.named(name, now)?;
        self.in_service(named.model, now)?;
        Ok(named)
    }

    /// Whether a model can be asked now.
    ///
    /// # Errors
    /// 410 with the successor.
    pub fn in_service(&self, model: &Model, now: DateTime<Utc>) -> Result<(), Refusal> {
        let ended = model.deprecated.is_some_and(|day| day < now.date_naive());
        let reachable = self
            .catalog
            .endpoints_of(&model.id)
            .any(|endpoint| self.reach.contains_key(&endpoint.provider));
        if model.status == Status::Retired || (ended && !reachable) {
            let successor = model.successor.as_deref();
            let hint = successor.map_or_else(
                || "GET /v1/models lists what is served".to_owned(),
                |to| format!("its successor is {to}"),
            );
            return Err(Refusal {
                param: Some("model".into()),
                ..Refusal::new(
                    410,
                    "model_deprecated",
                    format!("{} is no longer served; {hint}", model.id),
                )
            }
            .with("model", model.id.as_str())
            .with("successor", successor.map_or(Value::Null, Value::from))
            .with(
                "sunset",
                model
                    .deprecated
                    .map_or(Value::Null, |day| Value::from(day.to_string())),
            ));
        }
        Ok(())
    }

    /// The endpoints that can answer an ask, cheapest first, as far as its `provider` object lets them.
    ///
    /// # Errors
    /// 404 or 503 when none can.
    pub fn candidates<'a>(
        &'a self,
        ask: &Ask,
        named: &Named<'a>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Candidate<'a>>, Refusal> {
        let wants = ask.body.get("provider").or_else(|| {
            ask.messages_body
                .as_ref()
                .and_then(|body| body.get("provider"))
        });
        let list = |name: &str| -> Vec<&str> {
            let list = wants
                .and_then(|wants| wants.get(name))
                .and_then(Value::as_array);
            list.map(|list| list.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default()
        };
        let (order, only, ignore) = (list("order"), list("only"), list("ignore"));
        veil::check(named.model, &ignore)?;
        let mut found: Vec<Candidate<'a>> = self
            .catalog
            .endpoints_of(&named.model.id)
            .filter(|endpoint| {
                let provider = veil::provider(named.model, endpoint);
                (only.is_empty() || only.contains(&provider)) && !ignore.contains(&provider)
            })
            .filter_map(|endpoint| {
                Some(Candidate {
                    endpoint,
                    model: named.model,
                    price: endpoint.price_at(now)?,
                    reach: self.reach.get(&endpoint.provider)?,
                })
            })
            .collect();
        if found.is_empty() {
            let message = if only.is_empty() && ignore.is_empty() {
                format!(
                    "no provider of {} is set up here: name one in the router's upstreams",
                    named.model.id
                )
            } else {
                format!(
                    "no provider of {} is left by `provider.only` and `provider.ignore`",
                    named.model.id
                )
            };
            return Err(Refusal::new(
                if only.is_empty() && ignore.is_empty() {
                    503
                } else {
                    404
                },
                "no_endpoint",
                message,
            ));
        }
        let place = |candidate: &Candidate<'_>| {
            order
                .iter()
                .position(|slug| *slug == veil::provider(named.model, candidate.endpoint))
                .unwrap_or(order.len())
        };
        found.sort_by_key(|candidate| {
            (
                place(candidate),
                candidate
                    .price
                    .prompt
                    .saturating_add(candidate.price.completion),
            )
        });
        let fallbacks = wants
            .and_then(|wants| wants.get("allow_fallbacks"))
            .and_then(Value::as_bool)
            .unwrap_or(true);
        if !fallbacks {
            found.truncate(1);
        }
        Ok(found)
    }

    /// Models that can be called now.
    pub fn callable(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Model> {
        self.catalog
            .named_models(now)
            .filter(|model| model.status != Status::Retired)
            .filter(|model| {
                self.catalog
                    .endpoints_of(&model.id)
                    .any(|endpoint| self.reach.contains_key(&endpoint.provider))
            })
    }

    /// Whether a model gives vectors.
    pub fn embeds(model: &Model) -> bool {
        model.output.contains(&Modality::Embeddings)
    }
}

/// A name without its variant, and the variant.
fn variant(name: &str) -> (&str, &'static str) {
    match name.rsplit_once(':') {
        Some((id, "free")) => (id, "free"),
        Some((id, "nitro")) => (id, "nitro"),
        Some((id, "floor")) => (id, "floor"),
        _ => (name, ""),
    }
}

fn reach_of(upstream: &Upstream) -> Result<Reach, BadUpstream> {
    let bad = || BadUpstream::Url(upstream.provider.clone());
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
