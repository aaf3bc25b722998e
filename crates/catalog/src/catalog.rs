use std::collections::HashMap;

use crate::error::CatalogError;
use crate::load::{self, Sources};
use crate::model::{Author, Endpoint, Model, Provider};
use crate::nearest::nearest;

/// A consistent set of models, authors, providers and endpoints. Lists keep the order of their files.
#[derive(Debug, Clone)]
pub struct Catalog {
    authors: Listed<Author>,
    providers: Listed<Provider>,
    models: Listed<Model>,
    endpoints: Listed<Endpoint>,
    endpoints_of: HashMap<String, Vec<usize>>,
}

/// A list with an index over its ids.
#[derive(Debug, Clone)]
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    pub(crate) by_id: HashMap<String, usize>,
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
        })
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
        let mut endpoints_of = HashMap::<_, Vec<_>>::new();
        for (at, endpoint) in endpoints.items.iter().enumerate() {
            endpoints_of
                .entry(endpoint.model.clone())
                .or_default()
                .push(at);
        }
        Ok(Self {
            authors,
            providers,
            models,
            endpoints,
            endpoints_of,
        })
    }

    /// All models.
    pub fn models(&self) -> &[Model] {
        &self.models.items
    }

    /// The model of an id, `author/slug` without a variant.
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.models.get(id)
    }

    /// All authors.
    pub fn authors(&self) -> &[Author] {
        &self.authors.items
    }

    /// The author of a slug.
    pub fn author(&self, slug: &str) -> Option<&Author> {
        self.authors.get(slug)
    }

    /// All providers.
    pub fn providers(&self) -> &[Provider] {
        &self.providers.items
    }

    /// The provider of a slug.
    pub fn provider(&self, slug: &str) -> Option<&Provider> {
        self.providers.get(slug)
    }

    /// All endpoints.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints.items
    }

    /// The endpoint of an id, `provider/model-slug`.
    pub fn endpoint(&self, id: &str) -> Option<&Endpoint> {
        self.endpoints.get(id)
    }

    /// The endpoints that serve a model; none for an unknown one.
    pub fn endpoints_of(&self, model_id: &str) -> impl Iterator<Item = &Endpoint> {
        let positions = self
            .endpoints_of
            .get(model_id)
            .map_or(&[][..], Vec::as_slice);
        positions
            .iter()
            .filter_map(|&at| self.endpoints.items.get(at))
    }

    /// Up to `n` model ids that a misspelled one may have meant, the nearest first. Empty where nothing is near.
    pub fn nearest(&self, id: &str, n: usize) -> Vec<&str> {
        nearest(
            id,
            self.models.items.iter().map(|model| model.id.as_str()),
            n,
        )
    }
}
