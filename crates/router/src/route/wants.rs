//! The request's `provider` object: which lanes the client wants, read strictly. What is not understood is refused by name: a
//! limit that is dropped in silence would be a promise broken.

use super::lanes::{Candidate, Routes};
use crate::ask::{Ask, BadRequest};
use crate::veil;
use serde_json::{Map, Value};
use tidemark_catalog::{Quantization, STEALTH, parse_usd};

/// Every field of the object.
const FIELDS: [&str; 13] = [
    "order",
    "only",
    "ignore",
    "allow_fallbacks",
    "require_parameters",
    "data_collection",
    "zdr",
    "quantizations",
    "regions",
    "sort",
    "preferred_min_throughput",
    "preferred_max_latency",
    "max_price",
];
/// Providers in one list, at most.
const MOST_PLACES: usize = 64;

/// What a client wants of the lanes.
#[derive(Debug, Default)]
pub struct Wants<'a> {
    /// These first, in this order.
    pub order: Vec<Place<'a>>,
    /// No others; none: all.
    pub only: Vec<Place<'a>>,
    /// Not these.
    pub ignore: Vec<Place<'a>>,
    /// No other than the first choice.
    pub no_fallbacks: bool,
    /// Only lanes known to take every parameter of the request.
    pub require_parameters: bool,
    /// None that may collect requests.
    pub deny_collection: bool,
    /// None that keep anything.
    pub zdr: bool,
    /// Number formats of the weights, as bits; `None`: all.
    pub quantizations: Option<u16>,
    /// Regions, or beginnings of their names; none: all.
    pub regions: Vec<&'a str>,
    /// What the order goes by.
    pub sort: Option<Sort>,
    /// Lanes of all models are ordered together.
    pub mix_models: bool,
    /// Tokens per second x 1000 that are preferred.
    pub min_throughput: Option<u64>,
    /// Microseconds to the first token that are preferred.
    pub max_latency: Option<u64>,
    /// Most that may be asked.
    pub max_price: MaxPrice,
}

/// A provider, or one region of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Slug of the provider.
    pub provider: &'a str,
    /// One region of it.
    pub region: Option<&'a str>,
}

/// What the order goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The cheapest first.
    Price,
    /// The most tokens per second first.
    Throughput,
    /// The shortest time to the first token first.
    Latency,
}

/// Nano-dollars per million tokens, and per request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaxPrice {
    /// Of the prompt.
    pub prompt: Option<i64>,
    /// Of the completion.
    pub completion: Option<i64>,
    /// Of a request.
    pub request: Option<i64>,
}

impl Place<'_> {
    /// Whether a lane is there. A lane whose region is not pinned is in no region for certain.
    pub fn holds(&self, candidate: &Candidate<'_>) -> bool {
        let lane = candidate.lane;
        self.provider == veil::provider(candidate.model, candidate.endpoint)
            && self
                .region
                .is_none_or(|region| lane.is_pinned && lane.region == region)
    }

    /// Whether a lane may be there: one whose region is not pinned may be in any.
    pub fn may_hold(&self, candidate: &Candidate<'_>) -> bool {
        let lane = candidate.lane;
        self.provider == veil::provider(candidate.model, candidate.endpoint)
            && self
                .region
                .is_none_or(|region| !lane.is_pinned || lane.region == region)
    }

    /// Whether every lane of another place is in this one.
    fn covers(&self, other: &Place<'_>) -> bool {
        self.provider == other.provider && (self.region.is_none() || self.region == other.region)
    }
}

/// Whether a name of a region, or the beginning of one before a `*`, is that of a region.
pub fn is_region(wanted: &str, region: &str) -> bool {
    wanted
        .strip_suffix('*')
        .map_or(wanted == region, |begin| region.starts_with(begin))
}

/// A number format as a bit.
pub fn bit(quantization: Quantization) -> u16 {
    1 << match quantization {
        Quantization::Int4 => 0,
        Quantization::Int8 => 1,
        Quantization::Fp4 => 2,
        Quantization::Fp6 => 3,
        Quantization::Fp8 => 4,
        Quantization::Fp16 => 5,
        Quantization::Bf16 => 6,
        Quantization::Fp32 => 7,
        Quantization::Unknown => 8,
    }
}

/// Number formats by name. Those that the catalog does not tell apart match nothing.
const QUANTIZATIONS: [(&str, u16); 12] = [
    ("int4", 1 << 0),
    ("int8", 1 << 1),
    ("fp4", 1 << 2),
    ("fp6", 1 << 3),
    ("fp8", 1 << 4),
    ("fp16", 1 << 5),
    ("bf16", 1 << 6),
    ("fp32", 1 << 7),
    ("unknown", 1 << 8),
    ("mxfp4", 0),
    ("nvfp4", 0),
    ("mxfp8", 0),
];

impl<'a> Wants<'a> {
    /// Reads the `provider` object of a request; the variant of its model says what the order goes by, too.
    ///
    /// # Errors
    /// [`BadRequest`] that names the field.
    pub fn read(ask: &'a Ask, variant: &str, routes: &'a Routes) -> Result<Self, BadRequest> {
        let object = match ask.field("provider") {
            None | Some(Value::Null) => {
                return Ok(Self {
                    sort: suffix(variant),
                    ..Self::default()
                });
            }
            Some(Value::Object(object)) => object,
            Some(_) => {
                return Err(BadRequest::field(
                    "provider",
                    "`provider` is an object such as {\"order\": [\"openai\"], \"zdr\": true}",
                ));
            }
        };
        // The name is the client's text: it is not repeated.
        if object.keys().any(|key| !FIELDS.contains(&key.as_str())) {
            return Err(BadRequest::field(
                "provider",
                format!(
                    "`provider` has a field that is not known; the fields are {}",
                    FIELDS.join(", ")
                ),
            ));
        }
        let mut wants = Self {
            order: places(object, "order", routes)?,
            only: places(object, "only", routes)?,
            ignore: places(object, "ignore", routes)?,
            no_fallbacks: !flag(object, "allow_fallbacks")?.unwrap_or(true),
            require_parameters: flag(object, "require_parameters")?.unwrap_or(false),
            deny_collection: collection(object)?,
            zdr: flag(object, "zdr")?.unwrap_or(false),
            quantizations: quantizations(object)?,
            regions: regions(object, routes)?,
            min_throughput: positive(object, "preferred_min_throughput", "tokens per second")?
                .map(|tps| (tps * 1e3) as u64),
            max_latency: positive(object, "preferred_max_latency", "seconds")?
                .map(|seconds| (seconds * 1e6) as u64),
            max_price: max_price(object)?,
            ..Self::default()
        };
        wants.sort(object, variant)?;
        wants.contradictions()?;
        Ok(wants)
    }

    fn sort(&mut self, object: &Map<String, Value>, variant: &str) -> Result<(), BadRequest> {
        let wrong = || {
            BadRequest::field(
                "provider.sort",
                "`provider.sort` is \"price\", \"throughput\" or \"latency\", or {\"by\": one of them, \"partition\": \"model\" or \"none\"}",
            )
        };
        let by = match object.get("sort") {
            None | Some(Value::Null) => None,
            Some(Value::Object(sort)) => {
                if sort.keys().any(|key| key != "by" && key != "partition") {
                    return Err(wrong());
                }
                self.mix_models = match sort.get("partition") {
                    None | Some(Value::Null) => false,
                    Some(Value::String(text)) if text == "model" => false,
                    Some(Value::String(text)) if text == "none" => true,
                    Some(_) => return Err(wrong()),
                };
                sort.get("by").filter(|by| !by.is_null())
            }
            Some(by) => Some(by),
        };
        self.sort = match by.map(Value::as_str) {
            None => None,
            Some(Some("price")) => Some(Sort::Price),
            Some(Some("throughput")) => Some(Sort::Throughput),
            Some(Some("latency")) => Some(Sort::Latency),
            Some(_) => return Err(wrong()),
        };
        let suffix = suffix(variant);
        if suffix.is_none() {
            return Ok(());
        }
        if self.sort.is_some() && self.sort != suffix {
            return Err(BadRequest::field(
                "provider.sort",
                "`provider.sort` contradicts the model's suffix, `:nitro` (throughput) or `:floor` (price): leave one out",
            ));
        }
        self.sort = suffix;
        Ok(())
    }

    /// What no lane can ever satisfy.
    fn contradictions(&self) -> Result<(), BadRequest> {
        let ignored = |place: &Place<'_>| self.ignore.iter().any(|ignore| ignore.covers(place));
        if self.only.iter().any(ignored) {
            return Err(BadRequest::field(
                "provider.ignore",
                "`provider.ignore` names a provider that `provider.only` names, too",
            ));
        }
        if self.order.iter().any(ignored) {
            return Err(BadRequest::field(
                "provider.ignore",
                "`provider.ignore` names a provider that `provider.order` names, too",
            ));
        }
        let meet = |a: &Place<'_>, b: &Place<'_>| a.covers(b) || b.covers(a);
        let left_out = |place: &Place<'_>| !self.only.iter().any(|only| meet(only, place));
        if !self.only.is_empty() && self.order.iter().any(left_out) {
            return Err(BadRequest::field(
                "provider.order",
                "`provider.order` names a provider that `provider.only` leaves out",
            ));
        }
        Ok(())
    }
}

/// What the suffix of a model says of the order.
fn suffix(variant: &str) -> Option<Sort> {
    match variant {
        "nitro" => Some(Sort::Throughput),
        "floor" => Some(Sort::Price),
        _ => None,
    }
}

fn flag(object: &Map<String, Value>, name: &str) -> Result<Option<bool>, BadRequest> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(set)) => Ok(Some(*set)),
        Some(_) => Err(BadRequest::field(
            format!("provider.{name}"),
            format!("`provider.{name}` is true or false"),
        )),
    }
}

/// A list of texts; an empty one is none.
fn texts<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    of: &str,
) -> Result<Vec<&'a str>, BadRequest> {
    let wrong = || {
        BadRequest::field(
            format!("provider.{name}"),
            format!("`provider.{name}` is a list of at most {MOST_PLACES} {of}"),
        )
    };
    match object.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MOST_PLACES => list
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .ok_or_else(wrong),
        Some(_) => Err(wrong()),
    }
}

fn places<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    routes: &'a Routes,
) -> Result<Vec<Place<'a>>, BadRequest> {
    let texts = texts(
        object,
        name,
        "providers, such as \"openai\" or \"openai/eu-west\"",
    )?;
    let place = |(n, text): (usize, &'a str)| {
        let (slug, region) = match text.split_once('/') {
            Some((slug, region)) => (slug, Some(region)),
            None => (text, None),
        };
        let wrong = |message: String| BadRequest::field(format!("provider.{name}[{n}]"), message);
        // Of providers that only aliases have, nobody may learn that they are here.
        let known = routes.catalog.providers().iter().map(|p| p.slug.as_str());
        let Some(provider) = known.chain([STEALTH]).find(|known| *known == slug) else {
            return Err(wrong(
                "there is no such provider: `GET /api/v1/providers` lists them".to_owned(),
            ));
        };
        if region.is_some_and(|region| !routes.regions().any(|known| known == region)) {
            return Err(wrong(unknown_region(routes)));
        }
        Ok(Place { provider, region })
    };
    texts.into_iter().enumerate().map(place).collect()
}

fn regions<'a>(
    object: &'a Map<String, Value>,
    routes: &Routes,
) -> Result<Vec<&'a str>, BadRequest> {
    let texts = texts(
        object,
        "regions",
        "regions, such as \"eu-west\" or \"eu-*\"",
    )?;
    let unknown = |wanted: &&str| !routes.regions().any(|region| is_region(wanted, region));
    match texts.iter().position(unknown) {
        Some(n) => Err(BadRequest::field(
            format!("provider.regions[{n}]"),
            unknown_region(routes),
        )),
        None => Ok(texts),
    }
}

fn unknown_region(routes: &Routes) -> String {
    let mut known: Vec<&str> = routes.regions().collect();
    known.sort_unstable();
    known.dedup();
    format!(
        "there is no such region; the regions are {}",
        known.join(", ")
    )
}

fn collection(object: &Map<String, Value>) -> Result<bool, BadRequest> {
    match object.get("data_collection") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(text)) if text == "allow" => Ok(false),
        Some(Value::String(text)) if text == "deny" => Ok(true),
        Some(_) => Err(BadRequest::field(
            "provider.data_collection",
            "`provider.data_collection` is \"allow\" or \"deny\"",
        )),
    }
}

fn quantizations(object: &Map<String, Value>) -> Result<Option<u16>, BadRequest> {
    let texts = texts(object, "quantizations", "number formats, such as \"fp8\"")?;
    let mut bits = 0;
    for (n, text) in texts.iter().enumerate() {
        let Some((_, bit)) = QUANTIZATIONS.iter().find(|(name, _)| name == text) else {
            let names = QUANTIZATIONS.map(|(name, _)| name).join(", ");
            return Err(BadRequest::field(
                format!("provider.quantizations[{n}]"),
                format!("there is no such number format; they are {names}"),
            ));
        };
        bits |= bit;
    }
    Ok((!texts.is_empty()).then_some(bits))
}

fn positive(
    object: &Map<String, Value>,
    name: &str,
    unit: &str,
) -> Result<Option<f64>, BadRequest> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_f64()
            .filter(|n| *n > 0.0 && n.is_finite())
            .map(Some)
            .ok_or_else(|| {
                BadRequest::field(
                    format!("provider.{name}"),
                    format!("`provider.{name}` is a number above 0, in {unit}"),
                )
            }),
    }
}

fn max_price(object: &Map<String, Value>) -> Result<MaxPrice, BadRequest> {
    let wrong = |param: &str| {
        BadRequest::field(
            param,
            "`provider.max_price` is an object with `prompt` and `completion` in USD per million tokens and `request` in USD, none below 0",
        )
    };
    let mut prices = MaxPrice::default();
    let object = match object.get("max_price") {
        None | Some(Value::Null) => return Ok(prices),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(wrong("provider.max_price")),
    };
    for (name, value) in object {
        let (param, price) = match name.as_str() {
            "prompt" => ("provider.max_price.prompt", &mut prices.prompt),
            "completion" => ("provider.max_price.completion", &mut prices.completion),
            "request" => ("provider.max_price.request", &mut prices.request),
            _ => return Err(wrong("provider.max_price")),
        };
        if !value.is_null() {
            *price = Some(nano(value).ok_or_else(|| wrong(param))?);
        }
    }
    Ok(prices)
}

/// Dollars as nano-dollars, rounded down: a limit is not widened.
fn nano(value: &Value) -> Option<i64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let exact = parse_usd(&text).ok();
    let rounded = || {
        let dollars = text.parse::<f64>().ok().filter(|_| value.is_number())?;
        (dollars.abs() < 9e9).then(|| (dollars * 1e9).floor() as i64)
    };
    exact.or_else(rounded).filter(|nano| *nano >= 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::ask::chat;
    use crate::settings::Settings;
    use serde_json::json;
    use std::sync::Arc;
    use tidemark_catalog::Catalog;

    fn read(provider: Value, variant: &str, check: impl Fn(Result<Wants<'_>, BadRequest>)) {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "provider": provider});
        let ask = chat::read(body.as_object().unwrap().clone()).unwrap();
        let catalog = Arc::new(Catalog::builtin().unwrap());
        let routes = Routes::new(catalog, &Settings::default()).unwrap();
        check(Wants::read(&ask, variant, &routes));
    }

    #[test]
    fn everything_at_once() {
        let all = json!({
            "order": ["openai/eu-west", "azure"], "only": ["openai", "azure", "groq"], "ignore": ["openai/us-east"],
            "allow_fallbacks": false, "require_parameters": true, "data_collection": "deny", "zdr": true,
            "quantizations": ["fp8", "bf16", "mxfp4"], "regions": ["eu-*", "us-west"], "sort": {"by": "latency", "partition": "none"},
            "preferred_min_throughput": 50, "preferred_max_latency": 1.5,
            "max_price": {"prompt": 0.1, "completion": "2.5", "request": 1e-7}
        });
        read(all, "", |wants| {
            let wants = wants.unwrap();
            assert_eq!(
                wants.order[0],
                Place {
                    provider: "openai",
                    region: Some("eu-west")
                }
            );
            assert_eq!((wants.only.len(), wants.ignore.len()), (3, 1));
            assert!(wants.no_fallbacks && wants.require_parameters && wants.mix_models);
            assert!(wants.deny_collection && wants.zdr);
            assert_eq!(wants.quantizations, Some(1 << 4 | 1 << 6));
            assert_eq!(wants.sort, Some(Sort::Latency));
            assert_eq!(wants.min_throughput, Some(50_000));
            assert_eq!(wants.max_latency, Some(1_500_000));
            let price = MaxPrice {
                prompt: Some(100_000_000),
                completion: Some(2_500_000_000),
                request: Some(100),
            };
            assert_eq!(wants.max_price, price);
        });
    }

    #[test]
    fn nothing_and_null_and_empty_are_no_wish() {
        for provider in [
            Value::Null,
            json!({}),
            json!({"order": [], "only": null, "ignore": [], "quantizations": [], "sort": null, "max_price": {"prompt": null}}),
        ] {
            read(provider, "nitro", |wants| {
                let wants = wants.unwrap();
                assert!(wants.order.is_empty() && wants.only.is_empty());
                assert!(!wants.no_fallbacks && wants.quantizations.is_none());
                assert_eq!(wants.max_price, MaxPrice::default());
                assert_eq!(wants.sort, Some(Sort::Throughput));
            });
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        for (provider, param) in [
            (json!("canary"), "provider"),
            (json!({"canary": 1}), "provider"),
            (json!({"order": "canary"}), "provider.order"),
            (json!({"order": ["openai", 3]}), "provider.order"),
            (json!({"order": ["openai", "canary"]}), "provider.order[1]"),
            (json!({"only": ["openai/canary"]}), "provider.only[0]"),
            (json!({"only": ["Openai"]}), "provider.only[0]"),
            (
                json!({"allow_fallbacks": "canary"}),
                "provider.allow_fallbacks",
            ),
            (
                json!({"require_parameters": 1}),
                "provider.require_parameters",
            ),
            (
                json!({"data_collection": "canary"}),
                "provider.data_collection",
            ),
            (
                json!({"data_collection": false}),
                "provider.data_collection",
            ),
            (json!({"zdr": "true"}), "provider.zdr"),
            (
                json!({"quantizations": ["fp8", "canary"]}),
                "provider.quantizations[1]",
            ),
            (json!({"regions": ["mars-*"]}), "provider.regions[0]"),
            (json!({"sort": "canary"}), "provider.sort"),
            (
                json!({"sort": {"by": "price", "canary": 1}}),
                "provider.sort",
            ),
            (
                json!({"sort": {"by": "price", "partition": "canary"}}),
                "provider.sort",
            ),
            (
                json!({"preferred_min_throughput": 0}),
                "provider.preferred_min_throughput",
            ),
            (
                json!({"preferred_max_latency": -1}),
                "provider.preferred_max_latency",
            ),
            (
                json!({"preferred_max_latency": {"p90": 1}}),
                "provider.preferred_max_latency",
            ),
            (json!({"max_price": 1}), "provider.max_price"),
            (json!({"max_price": {"canary": 1}}), "provider.max_price"),
            (
                json!({"max_price": {"prompt": -0.1}}),
                "provider.max_price.prompt",
            ),
            (
                json!({"max_price": {"completion": "canary"}}),
                "provider.max_price.completion",
            ),
            (
                json!({"max_price": {"request": 1e300}}),
                "provider.max_price.request",
            ),
            (
                json!({"only": ["openai"], "ignore": ["openai"]}),
                "provider.ignore",
            ),
            (
                json!({"only": ["openai/eu-west"], "ignore": ["openai"]}),
                "provider.ignore",
            ),
            (
                json!({"order": ["openai"], "ignore": ["openai"]}),
                "provider.ignore",
            ),
            (
                json!({"order": ["azure"], "only": ["openai"]}),
                "provider.order",
            ),
        ] {
            read(provider.clone(), "", |wants| {
                let bad = wants.unwrap_err();
                assert_eq!(bad.param.as_deref(), Some(param), "{provider}");
                assert!(!bad.message.contains("canary"), "{}", bad.message);
            });
        }
    }

    #[test]
    fn a_suffix_and_a_sort_must_agree() {
        read(json!({"sort": "throughput"}), "nitro", |wants| {
            assert!(wants.is_ok())
        });
        read(json!({"sort": "price"}), "nitro", |wants| {
            assert_eq!(wants.unwrap_err().param.as_deref(), Some("provider.sort"));
        });
    }
}
