//! The request's `provider` object: which lanes the client wants, read strictly. What is not understood is refused by name: a
//! limit that is dropped in silence would be a promise broken.

mod fields;

use super::lanes::{Candidate, Routes};
use crate::ask::{Ask, BadRequest};
use crate::veil;
use fields::{collection, flag, max_price, places, positive, quantizations, regions};
use serde_json::{Map, Value};
use tidemark_catalog::Quantization;

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

#[cfg(test)]
mod tests;
