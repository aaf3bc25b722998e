use std::collections::HashMap;

use crate::alias::Alias;
use crate::error::CatalogError;
use crate::load::{self, Sources};
use crate::model::{Author, Endpoint, Model, Provider};
use crate::nearest::nearest;

/// A consistent set of models, authors, providers, endpoints and aliases. Lists keep the order of their files.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub(crate) authors: Listed<Author>,
    pub(crate) providers: Listed<Provider>,
    pub(crate) models: Listed<Model>,
    pub(crate) endpoints: Listed<Endpoint>,
    /// Of aliases too.
    pub(crate) endpoints_of: HashMap<String, Vec<usize>>,
    pub(crate) aliases: Listed<Alias>,
    /// How many entries of each list are public. Those behind them came with aliases and show only once these are revealed.
    pub(crate) public: Counts,
}

/// Lengths of the lists.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) authors: usize,
    pub(crate) providers: usize,
    pub(crate) models: usize,
    pub(crate) endpoints: usize,
}

/// A list with an index over its ids.
#[derive(Debug, Clone)]
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    pub(crate) by_id: HashMap<String, usize>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            by_id: HashMap::new(),
        }
    }
}

impl<T> Listed<T> {
    pub(crate) fn get(&self, id: &str) -> Option<&T> {
        self.by_id.get(id).and_then(|&at| self.items.get(at))
    }
}

impl Catalog {
    /// The catalog that comes with the program.
    ///
    /// # Errors
    /// [`CatalogError`] where the embedded files are inconsistent; a test keeps them from being so.
    pub fn builtin() -> Result<Self, CatalogError> {
        Self::from_toml(Sources {
            authors: include_str!("../data/authors.toml"),
            providers: include_str!("../data/providers.toml"),
            models: include_str!("../data/models.toml"),
            endpoints: include_str!("../data/endpoints.toml"),
        })?
        .with_aliases(include_str!("../data/aliases.toml"))
    }

    /// Reads and checks a catalog given as TOML text, one text per list.
    ///
    /// # Errors
    /// The first fault found, as a [`CatalogError`] that names the entry.
    pub fn from_toml(sources: Sources<'_>) -> Result<Self, CatalogError> {
        let authors = load::authors(sources.authors)?;
        let providers = load::providers(sources.providers)?;
        let models = load::models(sources.models, &authors)?;
        let endpoints = load::endpoints(sources.endpoints, &models, &providers)?;
        let endpoints_of = by_model(&endpoints);
        Ok(Self {
            authors,
            providers,
            models,
            endpoints,
            endpoints_of,
            aliases: Listed::default(),
            public: Counts::default(),
        }
        .all_public())
    }

    fn all_public(mut self) -> Self {
        self.public = Counts {
            authors: self.authors.items.len(),
            providers: self.providers.items.len(),
            models: self.models.items.len(),
            endpoints: self.endpoints.items.len(),
        };
        self
    }

    /// All models, without those that only an alias may name.
    pub fn models(&self) -> &[Model] {
        &self.models.items[..self.public.models]
    }

    /// The model of an id, `author/slug` without a variant.
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.models.get(id)
    }

    /// All authors, without those that came with aliases.
    pub fn authors(&self) -> &[Author] {
        &self.authors.items[..self.public.authors]
    }

    /// The author of a slug.
    pub fn author(&self, slug: &str) -> Option<&Author> {
        self.authors.get(slug)
    }

    /// All providers, without those that came with aliases.
    pub fn providers(&self) -> &[Provider] {
        &self.providers.items[..self.public.providers]
    }

    /// The provider of a slug.
    pub fn provider(&self, slug: &str) -> Option<&Provider> {
        self.providers.get(slug)
    }

    /// All endpoints, without those that came with aliases.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints.items[..self.public.endpoints]
    }

    /// All endpoints, also those that came with aliases: for whoever sends requests there, never for whoever shows what there is.
    pub fn every_endpoint(&self) -> &[Endpoint] {
        &self.endpoints.items
    }

    /// The endpoint of an id, `provider/model-slug`.
    pub fn endpoint(&self, id: &str) -> Option<&Endpoint> {
        self.endpoints.get(id)
    }

    /// The endpoints that serve a model, or the one behind an alias; none for an unknown one.
    pub fn endpoints_of(&self, model_id: &str) -> impl Iterator<Item = &Endpoint> {
        let positions = self
            .endpoints_of
            .get(model_id)
            .map_or(&[][..], Vec::as_slice);
        positions
            .iter()
            .filter_map(|&at| self.endpoints.items.get(at))
    }

    /// Up to `n` ids of public models and aliases that a misspelled one may have meant, the nearest first. Empty where nothing is near.
    pub fn nearest(&self, id: &str, n: usize) -> Vec<&str> {
        let models = self.models().iter().map(|model| model.id.as_str());
        let aliases = self
            .aliases
            .items
            .iter()
            .map(|alias| alias.face.id.as_str());
        nearest(id, models.chain(aliases), n)
    }
}

/// Positions of the endpoints of each model.
pub(crate) fn by_model(endpoints: &Listed<Endpoint>) -> HashMap<String, Vec<usize>> {
    let mut of = HashMap::<_, Vec<_>>::new();
    for (at, endpoint) in endpoints.items.iter().enumerate() {
        of.entry(endpoint.model.clone()).or_default().push(at);
    }
    of
}
