//! The script of the demo: a file with characters, and the catalog for who there is.

use super::script::{Dialect, RawModel, RawScript, Script};
use super::values::{Amount, Law};
use crate::market::unit;
use tidemark_catalog::{Catalog, Endpoint, Tokens};

/// Described in the file itself.
const DEMO: &str = include_str!("../../data/demo_providers.toml");

impl Script {
    /// All providers and endpoints of a catalog, under their upstream names. Whom `data/demo_providers.toml` describes
    /// is as described there; the others get a speed from their price and a temper from their name.
    pub fn demo(catalog: &Catalog) -> Self {
        // A test reads the file: it is right.
        let mut raw = Self::parse(DEMO).unwrap_or_default();
        fill(&mut raw, catalog);
        Self::resolve(&raw)
    }
}

fn fill(raw: &mut RawScript, catalog: &Catalog) {
    for provider in catalog.providers() {
        let slug = &provider.slug;
        let entry = raw.provider.entry(slug.clone()).or_default();
        entry.dialect.get_or_insert(match slug.as_str() {
            "anthropic" => Dialect::Anthropic,
            "openai" => Dialect::Openai,
            slug if slug.starts_with("google") => Dialect::Gemini,
            _ => Dialect::OpenaiCompatible,
        });
        if entry.regions.is_empty() {
            entry.regions.clone_from(&provider.regions);
        }
        let median = 200.0 + 600.0 * unit(slug, 1).powi(2);
        entry.lean(Law {
            median,
            p95: median * (2.0 + 3.0 * unit(slug, 2)),
        });
    }
    for endpoint in catalog.endpoints() {
        let Some(provider) = raw.provider.get_mut(&endpoint.provider) else {
            continue;
        };
        let model = catalog.model(&endpoint.model);
        let pace = provider.pace();
        let entry = provider.model.entry(endpoint.upstream.clone()).or_default();
        entry.reasoning |= model.is_some_and(|model| model.reasoning);
        entry.context_length.get_or_insert(endpoint.context_length);
        if entry.max_output.is_none() {
            entry.max_output = model.map(|model| model.max_output);
        }
        lean(entry, endpoint, pace);
    }
}

/// Cheap models are fast ones, by and large.
fn lean(entry: &mut RawModel, endpoint: &Endpoint, provider: Option<Amount>) {
    let price = endpoint.prices.last();
    let dollars = price.map_or(1.0, |price| {
        let cost = price.cost(&Tokens {
            prompt: 3_000_000,
            completion: 1_000_000,
            ..Tokens::default()
        });
        (cost.total() as f64 / 1e9).max(0.02)
    });
    let size = dollars.powf(-0.22) * (0.75 + 0.5 * unit(&endpoint.id, 3));
    let usual = provider.map_or(95.0, |pace| pace.0);
    entry.lean((usual * size).clamp(9.0, 2_500.0).round());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_file_is_right_and_covers_the_catalog() {
        let raw = Script::parse(DEMO).unwrap();
        let catalog = Catalog::builtin().unwrap();
        for (slug, provider) in &raw.provider {
            assert!(
                catalog.provider(slug).is_some(),
                "{slug} is not in the catalog"
            );
            for upstream in provider.model.keys() {
                assert!(
                    catalog.endpoints().iter().any(
                        |endpoint| endpoint.provider == *slug && endpoint.upstream == *upstream
                    ),
                    "{slug} {upstream} is not in the catalog"
                );
            }
        }
        let script = Script::demo(&catalog);
        assert_eq!(script.providers().count(), catalog.providers().len());
        for endpoint in catalog.endpoints() {
            assert!(
                script.knows(&endpoint.provider, &endpoint.upstream),
                "{}",
                endpoint.id
            );
        }
        let dialects: std::collections::BTreeMap<_, _> = script.providers().collect();
        assert_eq!(dialects["anthropic"], Dialect::Anthropic);
        assert_eq!(dialects["google"], Dialect::Gemini);
        assert_eq!(dialects["google-vertex"], Dialect::Gemini);
        assert_eq!(dialects["openai"], Dialect::Openai);
        assert_eq!(dialects["groq"], Dialect::OpenaiCompatible);
    }
}
