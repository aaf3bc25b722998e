//! What other gateways call providers and models, and what the catalog calls them.
//!
//! A **provider** is compared without regard to case and punctuation, first with the slugs and names of the catalog, then with
//! [`PROVIDERS`]. A **model** is looked for among the catalog's ids and slugs and among the names its providers have for it,
//! first those of the provider stated; then again without what is wrapped around such names: a path or region in front, a
//! date or version behind. What is not found stays as it was stated if it is a plain name, and is left empty if it is not.

use std::collections::HashMap;
use tidemark_catalog::{Catalog, Endpoint, Model};

/// Names of providers that are not spelled like the catalog's, without case and punctuation: OpenTelemetry's, then
/// LiteLLM's and OpenLLMetry's.
const PROVIDERS: &[(&str, &str)] = &[
    ("awsbedrock", "amazon-bedrock"),
    ("azureaiinference", "azure"),
    ("azureaiopenai", "azure"),
    ("azaiinference", "azure"),
    ("azaiopenai", "azure"),
    ("gcpgemini", "google"),
    ("gcpgenai", "google"),
    ("gcpvertexai", "google-vertex"),
    ("mistralai", "mistral"),
    ("aws", "amazon-bedrock"),
    ("bedrock", "amazon-bedrock"),
    ("bedrockconverse", "amazon-bedrock"),
    ("azureai", "azure"),
    ("azureopenai", "azure"),
    ("gemini", "google"),
    ("vertexai", "google-vertex"),
    ("vertexaibeta", "google-vertex"),
    ("coherechat", "cohere"),
    ("textcompletionopenai", "openai"),
    ("togetherai", "together"),
    ("fireworksai", "fireworks"),
    ("dashscope", "alibaba"),
    ("moonshot", "moonshotai"),
    ("zhipuai", "zai"),
    ("friendliai", "friendli"),
];

/// A longer name is none.
const LONGEST: usize = 200;

/// The catalog, by the names others have for what is in it.
pub(super) struct Names<'a> {
    catalog: &'a Catalog,
    providers: HashMap<String, &'a str>,
    by_provider: HashMap<(&'a str, String), &'a Endpoint>,
    /// `None` for a name that several models have.
    models: HashMap<String, Option<&'a str>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        let mut names = Self {
            catalog,
            providers: HashMap::new(),
            by_provider: HashMap::new(),
            models: HashMap::new(),
        };
        for (name, slug) in PROVIDERS {
            names.providers.insert((*name).to_owned(), slug);
        }
        for provider in catalog.providers() {
            for name in [&provider.name, &provider.slug] {
                names.providers.insert(letters(name), &provider.slug);
            }
        }
        for endpoint in catalog.endpoints() {
            let name = spelling(&endpoint.upstream);
            names.add(name.clone(), &endpoint.model);
            names
                .by_provider
                .insert((endpoint.provider.as_str(), name), endpoint);
        }
        // The catalog's own names come last: they are right whatever a provider calls by the same name.
        for model in catalog.models() {
            names.models.remove(&spelling(model.slug()));
        }
        for model in catalog.models() {
            names.add(spelling(model.slug()), &model.id);
        }
        for model in catalog.models() {
            names
                .models
                .insert(spelling(&model.id), Some(model.id.as_str()));
        }
        names
    }

    fn add(&mut self, name: String, model: &'a str) {
        self.models
            .entry(name)
            .and_modify(|known| *known = known.filter(|known| *known == model))
            .or_insert(Some(model));
    }

    /// The catalog's slug of a provider.
    pub(super) fn provider(&self, stated: &str) -> Option<&'a str> {
        self.providers.get(&letters(stated)).copied()
    }

    /// The catalog's model of a name, at a provider of the catalog or at an unknown one.
    pub(super) fn model(&self, provider: Option<&'a str>, stated: &str) -> Option<&'a Model> {
        if stated.is_empty() || stated.len() > LONGEST {
            return None;
        }
        let whole = spelling(stated);
        let last = whole.rsplit('/').next().unwrap_or(&whole);
        let inner = without_region(last);
        let forms = [
            &*whole,
            last,
            inner,
            without_version(last),
            without_version(inner),
        ];
        let found = forms.iter().find_map(|form| {
            let own = provider.and_then(|slug| self.by_provider.get(&(slug, (*form).to_owned())));
            own.map(|endpoint| endpoint.model.as_str())
                .or_else(|| self.models.get(*form).copied().flatten())
        });
        self.catalog.model(found?)
    }

    /// The endpoint that serves a model at a provider.
    pub(super) fn endpoint(&self, provider: &str, model: &str) -> Option<&'a Endpoint> {
        self.catalog
            .endpoints_of(model)
            .find(|endpoint| endpoint.provider == provider)
    }
}

/// A text that can stand in an event as a name; what does not look like one might be anything, a prompt too.
pub(super) fn plain(text: &str) -> Option<&str> {
    let fine = !text.is_empty()
        && text.len() <= LONGEST
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/@+".contains(&byte));
    fine.then_some(text)
}

fn letters(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Case and punctuation differ between those who write of a model: `claude-3.5-haiku`, `claude-3-5-haiku@20241022`.
fn spelling(name: &str) -> String {
    name.chars()
        .map(|c| match c.to_ascii_lowercase() {
            '.' | '_' | ':' | '@' | ' ' => '-',
            c => c,
        })
        .collect()
}

/// Bedrock's inference profiles: `eu.anthropic.claude-...`.
fn without_region(name: &str) -> &str {
    ["us-", "eu-", "apac-", "global-", "jp-", "au-"]
        .iter()
        .find_map(|region| name.strip_prefix(region))
        .unwrap_or(name)
}

/// `-2024-08-06`, `-20241022`, `-20241022-v1-0`, `-latest`, as far as they are there.
fn without_version(name: &str) -> &str {
    let name = name.strip_suffix("-latest").unwrap_or(name);
    let name = match name.rsplit_once("-v") {
        Some((front, version)) if digits(version, &[1, 1]) => front,
        _ => name,
    };
    for parts in [&[8][..], &[4, 2, 2]] {
        let length = parts.iter().sum::<usize>() + parts.len() - 1;
        if let Some((front, date)) = name
            .len()
            .checked_sub(length)
            .and_then(|at| name.split_at_checked(at))
            && let Some(front) = front.strip_suffix('-')
            && digits(date, parts)
        {
            return front;
        }
    }
    name
}

/// Whether a text is groups of so many digits, with dashes between.
fn digits(text: &str, groups: &[usize]) -> bool {
    let mut found = text.split('-');
    groups.iter().all(|length| {
        found.next().is_some_and(|group| {
            group.len() == *length && group.bytes().all(|byte| byte.is_ascii_digit())
        })
    }) && found.next().is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_of_others_lead_to_the_catalog() {
        let catalog = Catalog::builtin().unwrap();
        let names = Names::new(&catalog);
        for (provider, model, slug, id) in [
            ("openai", "gpt-4o-2024-08-06", "openai", "openai/gpt-4o"),
            ("OpenAI", "openai/gpt-4o", "openai", "openai/gpt-4o"),
            (
                "azure.ai.openai",
                "gpt-4o-mini-2024-07-18",
                "azure",
                "openai/gpt-4o-mini",
            ),
            ("az.ai.openai", "gpt-4o", "azure", "openai/gpt-4o"),
            (
                "anthropic",
                "claude-sonnet-4-5-20250929",
                "anthropic",
                "anthropic/claude-sonnet-4.5",
            ),
            (
                "Anthropic",
                "claude-3-5-haiku-20241022",
                "anthropic",
                "anthropic/claude-3.5-haiku",
            ),
            (
                "anthropic",
                "claude-3-5-haiku-latest",
                "anthropic",
                "anthropic/claude-3.5-haiku",
            ),
            (
                "aws.bedrock",
                "anthropic.claude-haiku-4-5-20251001-v1:0",
                "amazon-bedrock",
                "anthropic/claude-haiku-4.5",
            ),
            (
                "bedrock",
                "us.anthropic.claude-haiku-4-5-20251001-v1:0",
                "amazon-bedrock",
                "anthropic/claude-haiku-4.5",
            ),
            (
                "vertex_ai",
                "claude-haiku-4-5@20251001",
                "google-vertex",
                "anthropic/claude-haiku-4.5",
            ),
            (
                "gcp.gemini",
                "models/gemini-2.5-flash",
                "google",
                "google/gemini-2.5-flash",
            ),
            (
                "gcp.vertex_ai",
                "publishers/google/models/gemini-2.5-pro",
                "google-vertex",
                "google/gemini-2.5-pro",
            ),
            ("x_ai", "grok-4.3", "xai", "x-ai/grok-4.3"),
        ] {
            let found = names.provider(provider);
            assert_eq!(found, Some(slug), "{provider}");
            let found = names.model(found, model).map(|model| model.id.as_str());
            assert_eq!(found, Some(id), "{provider} {model}");
        }
        assert!(names.provider("my own").is_none() && names.provider("").is_none());
        for unknown in ["", "my-finetune", "gpt", "-", "2024-08-06", "é-20240806"] {
            assert!(names.model(Some("openai"), unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn every_id_of_the_catalog_is_itself() {
        let catalog = Catalog::builtin().unwrap();
        let names = Names::new(&catalog);
        for model in catalog.models() {
            assert_eq!(names.model(None, &model.id).unwrap().id, model.id);
        }
        for endpoint in catalog.endpoints() {
            let provider = names.provider(&endpoint.provider);
            let found = names.model(provider, &endpoint.upstream).unwrap();
            let same = catalog.endpoints_of(&found.id).any(|other| {
                other.provider == endpoint.provider && other.upstream == endpoint.upstream
            });
            assert!(same || found.id == endpoint.model, "{}", endpoint.id);
        }
        for provider in catalog.providers() {
            assert_eq!(names.provider(&provider.slug), Some(provider.slug.as_str()));
        }
    }

    #[test]
    fn a_plain_name_holds_no_sentence() {
        assert_eq!(plain("my-model:v2@eu"), Some("my-model:v2@eu"));
        for text in ["", "two words", "línea", "a\nb", &"x".repeat(LONGEST + 1)] {
            assert_eq!(plain(text), None);
        }
    }
}
