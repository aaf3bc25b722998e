//! Providers that fail as often as published figures say real ones do.

use super::script::Script;

/// Says where each figure comes from.
const FAULTS: &str = include_str!("../../data/published_faults.toml");

impl Script {
    /// Twenty providers of one open model, with faults, incidents and latencies from published figures. `data/published_faults.toml`
    /// says which.
    pub fn published_faults() -> Self {
        // A test reads the file: it is right.
        Self::from_toml(FAULTS).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use tidemark_catalog::Catalog;

    #[test]
    fn the_file_is_right_and_has_every_provider_of_the_model() {
        let script = Script::from_toml(FAULTS).unwrap();
        let catalog = Catalog::builtin().unwrap();
        let endpoints: Vec<_> = catalog.endpoints_of("openai/gpt-oss-120b").collect();
        assert_eq!(script.providers().count(), 20);
        assert_eq!(endpoints.len(), 20);
        for endpoint in endpoints {
            assert!(
                script.knows(&endpoint.provider, &endpoint.upstream),
                "{}",
                endpoint.id
            );
            for region in script.regions(&endpoint.provider) {
                let provider = catalog.provider(&endpoint.provider).unwrap();
                assert!(provider.regions.contains(region), "{region}");
            }
        }
    }
}
