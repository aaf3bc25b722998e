//! The fields of the `provider` object, each read into its type. An error names the field and what it takes, never what was sent.

use super::{MaxPrice, Place, is_region};
use crate::ask::BadRequest;
use crate::route::Routes;
use serde_json::{Map, Value};
use tidemark_catalog::{STEALTH, parse_usd};

/// Providers in one list, at most.
const MOST_PLACES: usize = 64;

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

pub(super) fn flag(object: &Map<String, Value>, name: &str) -> Result<Option<bool>, BadRequest> {
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

pub(super) fn places<'a>(
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

pub(super) fn regions<'a>(
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

pub(super) fn collection(object: &Map<String, Value>) -> Result<bool, BadRequest> {
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

pub(super) fn quantizations(object: &Map<String, Value>) -> Result<Option<u16>, BadRequest> {
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

pub(super) fn positive(
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

pub(super) fn max_price(object: &Map<String, Value>) -> Result<MaxPrice, BadRequest> {
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
