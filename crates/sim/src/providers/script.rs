//! What the simulated providers are like: who they are, how fast, and how often what goes wrong.
//!
//! A script is TOML. Behaviour is laid in layers, the later one wins field by field: the script's own
//! `[behaviour]`, the provider's, its model's, the provider's region, the model's region.
//! `data/demo_providers.toml` shows and explains every field.

use super::behaviour::{Behaviour, Layer};
use super::values::{Amount, Law};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// The OpenAI chat API as most providers serve it.
    #[default]
    OpenaiCompatible,
    /// The OpenAI chat API as OpenAI serves it: thinking is counted but not shown.
    Openai,
    /// The Anthropic messages API.
    Anthropic,
    /// The Gemini `generateContent` API.
    Gemini,
}

/// The file. Its parts that the demo fills in from the catalog are reachable from there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawScript {
    pub(super) speed: Option<Amount>,
    clock: Option<Amount>,
    behaviour: Layer,
    pub(super) provider: BTreeMap<String, RawProvider>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProvider {
    pub(super) dialect: Option<Dialect>,
    pub(super) default_region: Option<String>,
    pub(super) regions: Vec<String>,
    any_model: Option<bool>,
    behaviour: Layer,
    region: BTreeMap<String, Layer>,
    pub(super) model: BTreeMap<String, RawModel>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawModel {
    pub(super) reasoning: bool,
    pub(super) context_length: Option<u64>,
    pub(super) max_output: Option<u64>,
    behaviour: Layer,
    region: BTreeMap<String, Layer>,
}

impl RawProvider {
    /// Sets what the file leaves open, so that undescribed providers and models differ, too.
    pub(super) fn lean(&mut self, ttft: Law) {
        self.behaviour.ttft_ms.get_or_insert(ttft);
    }

    /// The speed that the file gives all its models.
    pub(super) fn pace(&self) -> Option<Amount> {
        self.behaviour.tokens_per_second
    }
}

impl RawModel {
    pub(super) fn lean(&mut self, tokens_per_second: f64) {
        self.behaviour
            .tokens_per_second
            .get_or_insert(Amount(tokens_per_second));
    }
}

/// A provider, ready to serve.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) dialect: Dialect,
    pub(super) default_region: Option<String>,
    /// Where it can be asked.
    pub(super) regions: Vec<String>,
    /// What answers for models that the script does not name, where it answers for any.
    pub(super) any: Option<Model>,
    /// By the provider's own name of the model.
    pub(super) models: BTreeMap<String, Model>,
}

impl Provider {
    /// Whether it can be asked in a region; one that names none takes all.
    pub(super) fn has(&self, region: &str) -> bool {
        self.regions.is_empty() || self.regions.iter().any(|known| known == region)
    }
}

/// A model at a provider.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) reasoning: bool,
    pub(super) context_length: u64,
    pub(super) max_output: u64,
    base: Arc<Behaviour>,
    regions: BTreeMap<String, Arc<Behaviour>>,
}

impl Model {
    pub(super) fn behaviour(&self, region: Option<&str>) -> &Behaviour {
        region
            .and_then(|region| self.regions.get(region))
            .unwrap_or(&self.base)
    }
}

/// Who the simulated providers are and how they behave.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) speed: f64,
    pub(super) clock: f64,
    pub(super) providers: BTreeMap<String, Provider>,
}

/// A script that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {field}: {message}")]
pub struct ScriptError {
    /// Line of the file, from 1.
    pub line: usize,
    /// Key or table that the line sets.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl ScriptError {
    fn new(text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let source = text.lines().nth(line - 1).unwrap_or_default();
        let field = source
            .split('=')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        Self {
            line,
            field,
            message: error.message().to_owned(),
        }
    }
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// The first thing wrong in it: TOML that is none, an unknown key, a probability above 1.
    pub fn from_toml(text: &str) -> Result<Self, ScriptError> {
        Ok(Self::resolve(&Self::parse(text)?))
    }

    pub(super) fn parse(text: &str) -> Result<RawScript, ScriptError> {
        toml::from_str(text).map_err(|error| ScriptError::new(text, &error))
    }

    pub(super) fn resolve(raw: &RawScript) -> Self {
        let providers = raw
            .provider
            .iter()
            .map(|(name, provider)| {
                let everybody = raw.behaviour.clone().placed(name);
                let base = everybody.over(&Behaviour::default());
                (name.clone(), resolve_provider(name, provider, &base))
            })
            .collect();
        Self {
            speed: raw.speed.map_or(1.0, |speed| speed.0),
            clock: raw.clock.map_or(1.0, |clock| clock.0),
            providers,
        }
    }

    /// Multiplies every delay that no request forces; 0 is no waiting at all. Not a number and negative are 0.
    #[must_use]
    pub fn with_speed(mut self, factor: f64) -> Self {
        self.speed = sane(factor);
        self
    }

    /// So many times as fast as it says; not above 0 is no waiting at all.
    #[must_use]
    pub fn faster(self, times: f64) -> Self {
        let speed = self.speed / times;
        self.with_speed(speed)
    }

    /// How fast the time of brownouts runs: at 60 an hour of the script passes in a minute.
    #[must_use]
    pub fn with_clock(mut self, factor: f64) -> Self {
        self.clock = sane(factor);
        self
    }

    /// Only these of the providers.
    #[must_use]
    pub fn only(mut self, providers: &[&str]) -> Self {
        self.providers
            .retain(|name, _| providers.contains(&name.as_str()));
        self
    }

    /// The same providers and models at the same pace, without any fault: for benchmarks, and for tests that
    /// force their faults one by one.
    #[must_use]
    pub fn without_faults(mut self) -> Self {
        for provider in self.providers.values_mut() {
            for model in provider.models.values_mut().chain(&mut provider.any) {
                model.base = Arc::new(model.base.calm());
                for region in model.regions.values_mut() {
                    *region = Arc::new(region.calm());
                }
            }
        }
        self
    }

    /// The settings that let a router reach these providers at `address`: `[[upstreams]]` of its `[router]` table, as TOML.
    pub fn upstreams(&self, address: impl std::fmt::Display) -> String {
        let provider = |provider| upstream(provider, None, &address);
        self.providers.values().map(provider).collect()
    }

    /// The same with an upstream for each region of each provider, so that a router can tell them apart.
    pub fn upstreams_by_region(&self, address: impl std::fmt::Display) -> String {
        let mut out = String::new();
        for provider in self.providers.values() {
            if provider.regions.is_empty() {
                out += &upstream(provider, None, &address);
            }
            for region in &provider.regions {
                out += &upstream(provider, Some(region), &address);
            }
        }
        out
    }

    /// Slugs and dialects of the providers.
    pub fn providers(&self) -> impl Iterator<Item = (&str, Dialect)> {
        self.providers
            .values()
            .map(|provider| (provider.name.as_str(), provider.dialect))
    }

    /// Where a provider can be asked.
    pub fn regions(&self, provider: &str) -> &[String] {
        self.providers
            .get(provider)
            .map_or(&[], |provider| &provider.regions)
    }

    /// Whether a provider knows a model by this upstream name.
    pub fn knows(&self, provider: &str, upstream: &str) -> bool {
        self.providers.get(provider).is_some_and(|provider| {
            provider.any.is_some() || provider.models.contains_key(upstream)
        })
    }
}

impl Default for Script {
    /// One provider of each dialect, named `compatible`, `openai`, `anthropic` and `gemini`, that know any model and
    /// never fail.
    fn default() -> Self {
        let provider = |dialect| RawProvider {
            dialect: Some(dialect),
            any_model: Some(true),
            ..RawProvider::default()
        };
        Self::resolve(&RawScript {
            provider: [
                ("compatible", Dialect::OpenaiCompatible),
                ("openai", Dialect::Openai),
                ("anthropic", Dialect::Anthropic),
                ("gemini", Dialect::Gemini),
            ]
            .into_iter()
            .map(|(name, dialect)| (name.to_owned(), provider(dialect)))
            .collect(),
            ..RawScript::default()
        })
    }
}

/// A factor on time.
fn sane(factor: f64) -> f64 {
    if factor.is_finite() {
        factor.max(0.0)
    } else {
        0.0
    }
}

fn upstream(provider: &Provider, region: Option<&str>, address: &impl std::fmt::Display) -> String {
    let (dialect, version) = match provider.dialect {
        Dialect::OpenaiCompatible => ("openai_compatible", "v1"),
        Dialect::Openai => ("openai", "v1"),
        Dialect::Anthropic => ("anthropic", "v1"),
        Dialect::Gemini => ("gemini", "v1beta"),
    };
    let name = &provider.name;
    let (at, region) = region.map_or_else(Default::default, |region| {
        (format!("@{region}"), format!("region = \"{region}\"\n"))
    });
    format!(
        "[[upstreams]]\nprovider = \"{name}\"\n{region}dialect = \"{dialect}\"\n\
         base_url = \"http://{address}/{name}{at}/{version}\"\nsimulated = true\n"
    )
}

fn resolve_provider(name: &str, raw: &RawProvider, base: &Behaviour) -> Provider {
    let layer =
        |layer: Option<&Layer>, place: &str| layer.cloned().unwrap_or_default().placed(place);
    let own = layer(Some(&raw.behaviour), name).over(base);
    let model = |model: &str, raw_model: &RawModel| {
        let at_model = format!("{name}/{model}");
        let own = layer(Some(&raw_model.behaviour), &at_model).over(&own);
        let regions = raw
            .region
            .keys()
            .chain(raw_model.region.keys())
            .map(|region| {
                let there = layer(raw.region.get(region), &format!("{name}@{region}")).over(&own);
                let there = layer(
                    raw_model.region.get(region),
                    &format!("{at_model}@{region}"),
                )
                .over(&there);
                (region.clone(), Arc::new(there))
            })
            .collect();
        Model {
            reasoning: raw_model.reasoning,
            context_length: raw_model.context_length.unwrap_or(u64::MAX),
            max_output: raw_model
                .max_output
                .filter(|most| *most > 0)
                .unwrap_or(u64::MAX),
            base: Arc::new(own),
            regions,
        }
    };
    Provider {
        name: name.to_owned(),
        dialect: raw.dialect.unwrap_or_default(),
        default_region: raw
            .default_region
            .clone()
            .or_else(|| raw.regions.first().cloned()),
        regions: raw.regions.clone(),
        any: raw
            .any_model
            .unwrap_or(false)
            .then(|| model("", &RawModel::default())),
        models: raw
            .model
            .iter()
            .map(|(name, raw)| (name.clone(), model(name, raw)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use crate::providers::{Brownout, Chance};
    use std::time::Duration;

    #[test]
    fn layers_lie_over_each_other() {
        let script = Script::from_toml(
            r#"
            speed = 0.5
            [behaviour]
            rate_limited = 0.1
            hang = 0.2
            [provider.acme.behaviour]
            hang = 0.3
            [provider.acme.region.eu]
            cut = 0.5
            [provider.acme.model."m:1".behaviour]
            cut = 0.4
            [provider.acme.model."m:1".region.eu]
            stall = 1
            "#,
        )
        .unwrap();
        let model = &script.providers["acme"].models["m:1"];
        let (base, eu) = (model.behaviour(None), model.behaviour(Some("eu")));
        assert_eq!(base.rate_limited, Chance(0.1));
        assert_eq!(base.hang, Chance(0.3));
        assert_eq!(base.cut, Chance(0.4));
        assert_eq!((eu.cut, eu.stall), (Chance(0.5), Chance(1.0)));
        assert!((script.speed - 0.5).abs() < 1e-12);
        assert!(!script.knows("acme", "other"));
    }

    #[test]
    fn errors_name_line_and_field() {
        for (text, line, field) in [
            ("[behaviour]\nhangs = 0.1", 2, "hangs"),
            ("\n[behaviour]\nhang = 1.5", 3, "hang"),
            (
                "[behaviour]\nttft_ms = { median = 5, p95 = 1 }",
                2,
                "ttft_ms",
            ),
            ("[provider.a]\ndialect = \"french\"", 2, "dialect"),
            (
                "[behaviour]\ndrift = { from = \"May\", factor = 2 }",
                2,
                "drift",
            ),
            ("[behaviour]\nretry_after_s = -1", 2, "retry_after_s"),
        ] {
            let error = Script::from_toml(text).unwrap_err();
            assert_eq!((error.line, error.field.as_str()), (line, field), "{error}");
        }
    }

    #[test]
    fn brownouts_come_back() {
        let brownout: Brownout =
            toml::from_str("start_s = 60\nduration_s = 10\nperiod_s = 100\nerror_rate = 0.5")
                .unwrap();
        let on = |s| brownout.is_on(Duration::from_secs(s), 7);
        assert_eq!(
            [0, 60, 69, 70, 160, 171].map(on),
            [false, true, true, false, true, false]
        );
    }

    #[test]
    fn drawn_brownouts_meet_their_means_and_each_place_has_its_own() {
        let script = Script::from_toml(
            r#"
            [behaviour]
            brownouts = [{ between_s = 300, lasts_s = 100, error_rate = 0.5, slowdown = 2 }]
            [provider.a.model.m]
            [provider.b.model.m]
            [provider.b.region.eu]
            ttft_ms = { median = 1, p95 = 2 }
            [provider.b.region.us]
            brownouts = [{ between_s = 300, lasts_s = 100, error_rate = 0.5 }]
            "#,
        )
        .unwrap();
        let on = |provider: &str, region: Option<&str>| -> Vec<bool> {
            let behaviour = script.providers[provider].models["m"].behaviour(region);
            (0..40_000)
                .map(|step| {
                    let at = Duration::from_secs(step * 5);
                    behaviour.trouble(at, 7).error_rate > 0.0
                })
                .collect()
        };
        let (a, b) = (on("a", None), on("b", None));
        for times in [&a, &b] {
            let share = times.iter().filter(|on| **on).count() as f64 / times.len() as f64;
            // 500 cycles: the standard error of the share is 0.012.
            assert!((share - 0.25).abs() < 0.05, "{share}");
        }
        assert_ne!(a, b);
        assert_eq!(
            b,
            on("b", Some("eu")),
            "a region's own layer says nothing of them"
        );
        assert_ne!(b, on("b", Some("us")));
        assert_eq!(a, on("a", None));
    }

    #[test]
    fn each_region_is_an_upstream_of_its_own() {
        let script = Script::from_toml(
            "[provider.a]\nregions = [\"us-east\", \"eu-west\"]\n[provider.b]\ndialect = \"gemini\"",
        )
        .unwrap();
        let settings: toml::Table = script.upstreams_by_region("127.0.0.1:9").parse().unwrap();
        let upstreams = settings["upstreams"].as_array().unwrap();
        let of = |index: usize, field: &str| {
            upstreams[index]
                .get(field)
                .and_then(|value| value.as_str().map(str::to_owned))
        };
        assert_eq!(upstreams.len(), 3);
        assert_eq!(of(1, "region").as_deref(), Some("eu-west"));
        assert_eq!(
            of(1, "base_url").as_deref(),
            Some("http://127.0.0.1:9/a@eu-west/v1")
        );
        assert_eq!(
            (of(2, "region"), of(2, "base_url").as_deref()),
            (None, Some("http://127.0.0.1:9/b/v1beta"))
        );
    }

    #[test]
    fn a_law_meets_its_percentiles() {
        let law = Law {
            median: 100.0,
            p95: 400.0,
        };
        assert!((law.at(0.0) - 100.0).abs() < 1e-9);
        assert!((law.at(1.644_853_627) - 400.0).abs() < 1e-6);
    }
}
