//! Names that hide who made a model until a given moment.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;

use crate::catalog::{Catalog, Listed, by_model};
use crate::error::{CatalogError, Kind};
use crate::load;
use crate::model::{Author, Modality, Model, Provider, Status};

/// The author of every alias. No real author or provider has this slug, so that what carries it is known to be hidden, even
/// where the list of aliases is not at hand.
pub const STEALTH: &str = "stealth";

/// A name for a model that does not tell which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// What is shown of it: id, name, author and first day are the alias's own, limits and abilities the real model's. It has no
    /// end and no successor, and its weights count as closed, for any of these would tell.
    pub face: Model,
    /// A sentence for people.
    pub description: String,
    /// Id of the model it stands for.
    pub of: String,
    /// From when on it is no secret; none while nobody knows.
    pub revealed: Option<DateTime<Utc>>,
}

impl Alias {
    /// Whether everyone may know what it stands for.
    pub fn is_revealed(&self, now: DateTime<Utc>) -> bool {
        self.revealed.is_some_and(|moment| moment <= now)
    }
}

/// Whether an id is that of an alias, known or not.
pub fn is_alias(id: &str) -> bool {
    id.split_once('/')
        .is_some_and(|(author, _)| author == STEALTH)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasFile {
    #[serde(default)]
    alias: Vec<Entry>,
    // Entries that nobody may see before an alias of theirs is revealed, in the shapes of the other files.
    #[serde(default)]
    author: Vec<toml::Table>,
    #[serde(default)]
    provider: Vec<toml::Table>,
    #[serde(default)]
    model: Vec<toml::Table>,
    #[serde(default)]
    endpoint: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: String,
    #[serde(default)]
    description: String,
    of: String,
    released: NaiveDate,
    revealed: Option<DateTime<Utc>>,
}

impl Catalog {
    /// The catalog with the aliases of a TOML text added, in the shape of `crates/catalog/data/aliases.toml`. Models, authors,
    /// providers and endpoints that stand there, too, are known to nobody before an alias for one of their models is revealed.
    ///
    /// # Errors
    /// The first fault found. One of an alias names the alias, never what it stands for.
    pub fn with_aliases(mut self, text: &str) -> Result<Self, CatalogError> {
        let file: AliasFile = load::parse(Kind::Alias, text)?;
        let authors = load::authors(&listing("author", file.author))?;
        self.authors = joined(Kind::Author, self.authors, authors, |author| &author.slug)?;
        let providers = load::providers(&listing("provider", file.provider))?;
        self.providers = joined(Kind::Provider, self.providers, providers, |provider| {
            &provider.slug
        })?;
        let models = load::models(&listing("model", file.model), &self.authors)?;
        self.models = joined(Kind::Model, self.models, models, |model| &model.id)?;
        let endpoints = listing("endpoint", file.endpoint);
        let endpoints = load::endpoints(&endpoints, &self.models, &self.providers)?;
        self.endpoints = joined(Kind::Endpoint, self.endpoints, endpoints, |endpoint| {
            &endpoint.id
        })?;
        let mut aliases = std::mem::take(&mut self.aliases).items;
        for entry in file.alias {
            aliases.push(self.alias(entry)?);
        }
        self.aliases = load::list(Kind::Alias, aliases, |alias| &alias.face.id)?;
        self.endpoints_of = by_model(&self.endpoints);
        for alias in &self.aliases.items {
            let served_by = self.endpoints_of.get(&alias.of).cloned();
            self.endpoints_of
                .insert(alias.face.id.clone(), served_by.unwrap_or_default());
        }
        Ok(self)
    }

    fn alias(&self, entry: Entry) -> Result<Alias, CatalogError> {
        let refuse = |problem| CatalogError::BadAlias {
            alias: entry.id.clone(),
            problem,
        };
        let slug = entry
            .id
            .strip_prefix(STEALTH)
            .and_then(|rest| rest.strip_prefix('/'));
        if slug.is_none_or(|slug| slug.is_empty() || slug.contains(['/', ':'])) {
            return Err(refuse("an alias is named `stealth/` and a slug"));
        }
        let real = self
            .model(&entry.of)
            .ok_or_else(|| refuse("it stands for a model that is not listed"))?;
        // Vectors of one model are useless to another: whoever stored some could tell.
        if real.output.contains(&Modality::Embeddings) {
            return Err(refuse("a model of embeddings cannot be hidden"));
        }
        Ok(Alias {
            face: Model {
                id: entry.id,
                name: entry.name,
                author: STEALTH.to_owned(),
                released: entry.released,
                open_weights: false,
                status: match real.status {
                    Status::Retired => Status::Retired,
                    Status::Live | Status::Deprecated => Status::Live,
                },
                deprecated: None,
                successor: None,
                ..real.clone()
            },
            description: entry.description,
            of: entry.of,
            revealed: entry.revealed,
        })
    }

    /// All aliases, secret or not.
    pub fn aliases(&self) -> &[Alias] {
        &self.aliases.items
    }

    /// The alias of an id.
    pub fn alias_named(&self, id: &str) -> Option<&Alias> {
        self.aliases.get(id)
    }

    /// What a name means at a moment: the model, an alias's face while it is a secret, and from then on the model behind it.
    pub fn model_named(&self, id: &str, now: DateTime<Utc>) -> Option<&Model> {
        match self.aliases.get(id) {
            Some(alias) if alias.is_revealed(now) => self.model(&alias.of),
            Some(alias) => Some(&alias.face),
            None => self.model(id).filter(|model| self.is_public(model, now)),
        }
    }

    /// Every model that can be named at a moment, the faces of the aliases that are a secret then among them.
    pub fn named_models(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Model> {
        let models = self
            .models
            .items
            .iter()
            .filter(move |model| self.is_public(model, now));
        let secret = self
            .aliases
            .items
            .iter()
            .filter(move |alias| !alias.is_revealed(now));
        models.chain(secret.map(|alias| &alias.face))
    }

    /// The authors that may be known at a moment.
    pub fn named_authors(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Author> {
        let came_out =
            move |author: &Author| self.revealed(now).any(|model| model.author == author.slug);
        let (public, later) = self.authors.items.split_at(self.public.authors);
        public
            .iter()
            .chain(later.iter().filter(move |author| came_out(author)))
    }

    /// The providers that may be known at a moment.
    pub fn named_providers(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Provider> {
        let came_out = move |provider: &Provider| {
            let mut served = self
                .revealed(now)
                .flat_map(|model| self.endpoints_of(&model.id));
            served.any(|endpoint| endpoint.provider == provider.slug)
        };
        let (public, later) = self.providers.items.split_at(self.public.providers);
        public
            .iter()
            .chain(later.iter().filter(move |provider| came_out(provider)))
    }

    fn is_public(&self, model: &Model, now: DateTime<Utc>) -> bool {
        let is_listed = |at: &usize| *at < self.public.models;
        self.models.by_id.get(&model.id).is_some_and(is_listed)
            || self.revealed(now).any(|revealed| revealed.id == model.id)
    }

    /// The models behind the aliases that are a secret no more.
    fn revealed(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Model> {
        let aliases = self.aliases.items.iter();
        aliases
            .filter(move |alias| alias.is_revealed(now))
            .filter_map(|alias| self.model(&alias.of))
    }
}

/// Entries as the text of a file of their own.
fn listing(key: &str, entries: Vec<toml::Table>) -> String {
    let entries = entries.into_iter().map(toml::Value::Table).collect();
    toml::Table::from_iter([(key.to_owned(), toml::Value::Array(entries))]).to_string()
}

fn joined<T>(
    kind: Kind,
    public: Listed<T>,
    later: Listed<T>,
    id: impl Fn(&T) -> &str,
) -> Result<Listed<T>, CatalogError> {
    let mut items = public.items;
    items.extend(later.items);
    load::list(kind, items, id)
}
