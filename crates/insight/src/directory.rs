//! What the catalog says in public of models, endpoints and providers.

use crate::catalog::UNDISCLOSED;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use tidemark_catalog::{Catalog, Endpoint, Modality, Model, Price, Provider, STEALTH, is_alias};

/// The public side of a catalog. A model behind an alias that is still a secret is listed under its own name as ever, and the alias
/// as a model of its own with one endpoint, whose provider and region are not told.
#[derive(Debug, Clone, Default)]
pub struct Directory(Arc<Catalog>);

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEntry {
    /// `author/slug`.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people; empty if nothing is said.
    pub description: String,
    /// First day, seconds since 1970.
    pub created: i64,
    /// Longest prompt and completion, tokens.
    pub context_length: u64,
    /// Longest completion, tokens.
    pub max_completion_tokens: u64,
    /// What it takes in.
    pub input: Vec<&'static str>,
    /// What it gives out.
    pub output: Vec<&'static str>,
    /// It can call tools.
    pub tools: bool,
    /// It can think first.
    pub reasoning: bool,
    /// Its last day, if that is known.
    pub expiration_date: Option<String>,
    /// The model to move to.
    pub successor: Option<String>,
    /// Who serves it, the cheapest first.
    pub endpoints: Vec<EndpointEntry>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointEntry {
    /// As in statistics.
    pub id: String,
    /// Slug.
    pub provider: String,
    /// For people.
    pub provider_name: String,
    /// Number format of the weights.
    pub quantization: String,
    /// Longest prompt and completion, tokens.
    pub context_length: u64,
    /// The price now; none where it is not on sale yet.
    pub pricing: Option<Pricing>,
}

/// Prices: nano-dollars per million tokens, and per request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pricing {
    /// Prompt tokens.
    pub prompt: i64,
    /// Completion tokens.
    pub completion: i64,
    /// Prompt tokens read from a cache, where that has a price of its own.
    pub cache_read: Option<i64>,
    /// Prompt tokens written to a cache, where that has a price of its own.
    pub cache_write: Option<i64>,
    /// A request, nano-dollars.
    pub request: i64,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderEntry {
    /// Slug.
    pub slug: String,
    /// For people.
    pub name: String,
    /// Country of the main office.
    pub country: String,
    /// Its endpoints' ids.
    pub endpoints: Vec<String>,
}

impl Directory {
    /// Of this catalog.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self(catalog)
    }

    /// All models that can be named at `now`.
    pub fn models(&self, now: DateTime<Utc>) -> Vec<ModelEntry> {
        let models = self.0.named_models(now);
        models.map(|model| self.entry(model, now)).collect()
    }

    /// The model of an id.
    pub fn model(&self, id: &str, now: DateTime<Utc>) -> Option<ModelEntry> {
        let model = self.0.model_named(id, now)?;
        Some(self.entry(model, now))
    }

    /// All providers that may be known at `now`.
    pub fn providers(&self, now: DateTime<Utc>) -> Vec<ProviderEntry> {
        let providers = self.0.named_providers(now);
        providers
            .map(|provider| self.serving(provider, now))
            .collect()
    }

    /// The provider of a slug.
    pub fn provider(&self, slug: &str, now: DateTime<Utc>) -> Option<ProviderEntry> {
        let mut providers = self.0.named_providers(now);
        let provider = providers.find(|provider| provider.slug == slug)?;
        Some(self.serving(provider, now))
    }

    fn serving(&self, provider: &Provider, now: DateTime<Utc>) -> ProviderEntry {
        let endpoints = self
            .0
            .named_models(now)
            .filter(|model| !is_alias(&model.id))
            .flat_map(|model| self.0.endpoints_of(&model.id))
            .filter(|endpoint| endpoint.provider == provider.slug);
        ProviderEntry {
            slug: provider.slug.clone(),
            name: provider.name.clone(),
            country: provider.country.clone(),
            endpoints: endpoints.map(|endpoint| endpoint.id.clone()).collect(),
        }
    }

    fn entry(&self, model: &Model, now: DateTime<Utc>) -> ModelEntry {
        let is_hidden = is_alias(&model.id);
        let alias = self.0.alias_named(&model.id);
        let mut endpoints: Vec<EndpointEntry> = self
            .0
            .endpoints_of(&model.id)
            .map(|endpoint| self.endpoint(endpoint, now))
            .collect();
        endpoints.sort_by_key(|endpoint| {
            endpoint.pricing.map_or(i64::MAX, |price| {
                price.prompt.saturating_add(price.completion)
            })
        });
        if is_hidden {
            // How many serve it would tell, too.
            endpoints.truncate(1);
            for endpoint in &mut endpoints {
                endpoint.id.clone_from(&model.id);
                STEALTH.clone_into(&mut endpoint.provider);
                UNDISCLOSED.clone_into(&mut endpoint.provider_name);
                "unknown".clone_into(&mut endpoint.quantization);
                endpoint.context_length = model.context_length;
            }
        }
        ModelEntry {
            id: model.id.clone(),
            name: model.name.clone(),
            description: alias
                .map(|alias| alias.description.clone())
                .unwrap_or_default(),
            created: model
                .released
                .and_hms_opt(0, 0, 0)
                .map_or(0, |day| day.and_utc().timestamp()),
            context_length: model.context_length,
            max_completion_tokens: model.max_output,
            input: model.input.iter().map(modality).collect(),
            output: model.output.iter().map(modality).collect(),
            tools: model.tools,
            reasoning: model.reasoning,
            expiration_date: model.deprecated.map(|day| day.to_string()),
            successor: model.successor.clone(),
            endpoints,
        }
    }

    fn endpoint(&self, endpoint: &Endpoint, now: DateTime<Utc>) -> EndpointEntry {
        let provider = self.0.provider(&endpoint.provider);
        EndpointEntry {
            id: endpoint.id.clone(),
            provider: endpoint.provider.clone(),
            provider_name: provider
                .map_or_else(|| endpoint.provider.clone(), |known| known.name.clone()),
            quantization: format!("{:?}", endpoint.quantization).to_lowercase(),
            context_length: endpoint.context_length,
            pricing: endpoint.price_at(now).map(pricing),
        }
    }
}

fn pricing(price: &Price) -> Pricing {
    Pricing {
        prompt: price.prompt,
        completion: price.completion,
        cache_read: price.cache_read,
        cache_write: price.cache_write,
        request: price.request,
    }
}

fn modality(modality: &Modality) -> &'static str {
    match modality {
        Modality::Text => "text",
        Modality::Image => "image",
        Modality::Audio => "audio",
        Modality::Video => "video",
        Modality::File => "file",
        Modality::Embeddings => "embeddings",
    }
}
