//! What the simulated providers are like: who they are, how fast, and how often what goes wrong.
//!
//! A script is TOML. Behaviour is laid in layers, the later one wins field by field: the script's own
//! `[behaviour]`, the provider's, its model's, the provider's region, the model's region.
//! `data/demo_providers.toml` shows and explains every field.

use super::values::{Amount, Brownout, Chance, Drift, Law};
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

macro_rules! behaviour {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        /// How an endpoint behaves in a region: the outcome of all layers.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Behaviour {
            $($(#[$doc])* pub(super) $name: $type,)*
        }

        impl Default for Behaviour {
            /// Never fails.
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// Some fields of a [`Behaviour`].
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Layer {
            $($name: Option<$type>,)*
        }

        impl Layer {
            fn over(&self, below: &Behaviour) -> Behaviour {
                Behaviour {
                    $($name: self.$name.clone().unwrap_or_else(|| below.$name.clone()),)*
                }
            }
        }
    };
}

behaviour! {
    /// Milliseconds to the first token.
    ttft_ms: Law = Law { median: 300.0, p95: 600.0 };
    /// Speed of generation.
    tokens_per_second: Amount = Amount(80.0);
    /// Length of an answer's text.
    completion_tokens: Law = Law { median: 120.0, p95: 400.0 };
    /// Length of the thinking before it, at models that reason.
    reasoning_tokens: Law = Law { median: 80.0, p95: 600.0 };
    /// Tokens in one part of a stream; 0: what is usual in the dialect.
    tokens_per_chunk: Amount = Amount(0.0);
    /// Prompts below this are not cached.
    cache_min_tokens: Amount = Amount(1_024.0);
    /// Share of requests answered 429.
    rate_limited: Chance = Chance(0.0);
    /// What `Retry-After` then says, seconds.
    retry_after_s: Amount = Amount(2.0);
    /// Share of requests answered 500, 502 or 503.
    server_error: Chance = Chance(0.0);
    /// Share of requests never answered.
    hang: Chance = Chance(0.0);
    /// Share of answers that stop in the middle, connection open.
    stall: Chance = Chance(0.0);
    /// Share of answers whose connection is cut in the middle.
    cut: Chance = Chance(0.0);
    /// Share of answers refused in the API's own words.
    refuse: Chance = Chance(0.0);
    /// Share of answers stopped by the provider's filter.
    filter: Chance = Chance(0.0);
    /// Share of answers refused in prose.
    refuse_text: Chance = Chance(0.0);
    /// Share of tool calls whose arguments are not JSON.
    invalid_json: Chance = Chance(0.0);
    /// Share of tool calls with a name that was not offered.
    unknown_tool: Chance = Chance(0.0);
    /// Share of tool calls whose arguments fail the schema.
    schema_mismatch: Chance = Chance(0.0);
    /// Share of requests that must call a tool and get text.
    ignore_tools: Chance = Chance(0.0);
    /// Share of requests that may call a tool and do.
    calls_tools: Chance = Chance(1.0);
    /// Of those, share that calls several at once where several are offered.
    parallel_calls: Chance = Chance(1.0);
    /// Share of answers cut at the token limit.
    truncate: Chance = Chance(0.0);
    /// Share of answers that are garbage: HTML, half a line, the wrong content type.
    garbage: Chance = Chance(0.0);
    /// Share of answers that begin with a 200 and are, or end in, an error.
    error_200: Chance = Chance(0.0);
    /// Share of streams that never end.
    endless: Chance = Chance(0.0);
    /// Share of answers without token counts.
    no_usage: Chance = Chance(0.0);
    /// Bad times.
    brownouts: Vec<Brownout> = Vec::new();
    /// A change for the worse.
    drift: Option<Drift> = None;
}

impl Behaviour {
    /// The same pace without any fault.
    fn calm(&self) -> Self {
        Self {
            ttft_ms: self.ttft_ms,
            tokens_per_second: self.tokens_per_second,
            completion_tokens: self.completion_tokens,
            reasoning_tokens: self.reasoning_tokens,
            tokens_per_chunk: self.tokens_per_chunk,
            cache_min_tokens: self.cache_min_tokens,
            calls_tools: self.calls_tools,
            parallel_calls: self.parallel_calls,
            ..Self::default()
        }
    }
}

/// The file. Its parts that the demo fills in from the catalog are reachable from there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawScript {
    pub(super) speed: Option<Amount>,
    behaviour: Layer,
    pub(super) provider: BTreeMap<String, RawProvider>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProvider {
    pub(super) dialect: Option<Dialect>,
    pub(super) default_region: Option<String>,
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
    /// What answers for models that the script does not name, where it answers for any.
    pub(super) any: Option<Model>,
    /// By the provider's own name of the model.
    pub(super) models: BTreeMap<String, Model>,
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
        let base = raw.behaviour.over(&Behaviour::default());
        let providers = raw
            .provider
            .iter()
            .map(|(name, provider)| (name.clone(), resolve_provider(name, provider, &base)))
            .collect();
        Self {
            speed: raw.speed.map_or(1.0, |speed| speed.0),
            providers,
        }
    }

    /// Multiplies every delay that no request forces; 0 is no waiting at all. Not a number and negative are 0.
    #[must_use]
    pub fn with_speed(mut self, factor: f64) -> Self {
        self.speed = if factor.is_finite() {
            factor.max(0.0)
        } else {
            0.0
        };
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
        self.providers()
            .map(|(provider, dialect)| {
                let (dialect, version) = match dialect {
                    Dialect::OpenaiCompatible => ("openai_compatible", "v1"),
                    Dialect::Openai => ("openai", "v1"),
                    Dialect::Anthropic => ("anthropic", "v1"),
                    Dialect::Gemini => ("gemini", "v1beta"),
                };
                format!(
                    "[[upstreams]]\nprovider = \"{provider}\"\ndialect = \"{dialect}\"\n\
                     base_url = \"http://{address}/{provider}/{version}\"\nsimulated = true\n"
                )
            })
            .collect()
    }

    /// Slugs and dialects of the providers.
    pub fn providers(&self) -> impl Iterator<Item = (&str, Dialect)> {
        self.providers
            .values()
            .map(|provider| (provider.name.as_str(), provider.dialect))
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

fn resolve_provider(name: &str, raw: &RawProvider, base: &Behaviour) -> Provider {
    let own = raw.behaviour.over(base);
    let model = |raw_model: &RawModel| {
        let own = raw_model.behaviour.over(&own);
        let regions = raw
            .region
            .keys()
            .chain(raw_model.region.keys())
            .map(|region| {
                let nothing = Layer::default();
                let there = raw.region.get(region).unwrap_or(&nothing).over(&own);
                let there = raw_model
                    .region
                    .get(region)
                    .unwrap_or(&nothing)
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
        default_region: raw.default_region.clone(),
        any: raw
            .any_model
            .unwrap_or(false)
            .then(|| model(&RawModel::default())),
        models: raw
            .model
            .iter()
            .map(|(name, raw)| (name.clone(), model(raw)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
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
        let on = |s| brownout.is_on(Duration::from_secs(s));
        assert_eq!(
            [0, 60, 69, 70, 160, 171].map(on),
            [false, true, true, false, true, false]
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
