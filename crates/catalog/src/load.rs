//! From TOML text to checked lists.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::catalog::Listed;
use crate::error::{CatalogError, Kind};
use crate::model::{Author, DataPolicy, Endpoint, Model, Provider, Quantization};
use crate::price::{Hours, Price, Tier, parse_usd};

/// The texts a catalog is read from, in the shapes of `crates/catalog/data`.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// `author = [{ slug, name, country }, ...]`
    pub authors: &'a str,
    /// `provider = [{ slug, name, country, regions }, ...]`
    pub providers: &'a str,
    /// `model = [{ id, name, author, released, ... }, ...]`
    pub models: &'a str,
    /// `endpoint = [{ id, model, provider, ..., prices = [{ from, prompt, completion, ... }] }, ...]`,
    /// prices as decimal text in dollars per million tokens
    pub endpoints: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorFile {
    #[serde(default)]
    author: Vec<Author>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderFile {
    #[serde(default)]
    provider: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    #[serde(default)]
    model: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointFile {
    #[serde(default)]
    endpoint: Vec<EndpointEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointEntry {
    id: String,
    model: String,
    provider: String,
    upstream: String,
    quantization: Quantization,
    context_length: u64,
    max_output: Option<u64>,
    parameters: Option<Vec<String>>,
    data: Option<DataPolicy>,
    regions: Vec<String>,
    prices: Vec<PriceEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceEntry {
    from: NaiveDate,
    prompt: String,
    completion: String,
    cache_read: Option<String>,
    cache_write: Option<String>,
    request: Option<String>,
    #[serde(default)]
    tiers: Vec<TierEntry>,
    #[serde(default)]
    hours: Vec<HoursEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoursEntry {
    from: NaiveTime,
    to: NaiveTime,
    prompt: String,
    completion: String,
    cache_read: Option<String>,
    cache_write: Option<String>,
    request: Option<String>,
    #[serde(default)]
    tiers: Vec<TierEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierEntry {
    above: u64,
    prompt: String,
    completion: String,
    cache_read: Option<String>,
    cache_write: Option<String>,
}

pub(crate) fn authors(text: &str) -> Result<Listed<Author>, CatalogError> {
    let file: AuthorFile = parse(Kind::Author, text)?;
    list(Kind::Author, file.author, |author| &author.slug)
}

pub(crate) fn providers(text: &str) -> Result<Listed<Provider>, CatalogError> {
    let file: ProviderFile = parse(Kind::Provider, text)?;
    list(Kind::Provider, file.provider, |provider| &provider.slug)
}

pub(crate) fn models(text: &str, authors: &Listed<Author>) -> Result<Listed<Model>, CatalogError> {
    let file: ModelFile = parse(Kind::Model, text)?;
    let models = list(Kind::Model, file.model, |model| &model.id)?;
    for model in &models.items {
        if authors.get(&model.author).is_none() {
            return Err(CatalogError::UnknownAuthor {
                model: model.id.clone(),
                author: model.author.clone(),
            });
        }
        expect_id(
            Kind::Model,
            &model.id,
            &format!("{}/{}", model.author, model.slug()),
        )?;
        if let Some(successor) = &model.successor
            && (models.get(successor).is_none() || *successor == model.id)
        {
            return Err(CatalogError::UnknownSuccessor {
                model: model.id.clone(),
                successor: successor.clone(),
            });
        }
    }
    Ok(models)
}

pub(crate) fn endpoints(
    text: &str,
    models: &Listed<Model>,
    providers: &Listed<Provider>,
) -> Result<Listed<Endpoint>, CatalogError> {
    let file: EndpointFile = parse(Kind::Endpoint, text)?;
    let mut endpoints = Vec::with_capacity(file.endpoint.len());
    for entry in file.endpoint {
        if providers.get(&entry.provider).is_none() {
            return Err(CatalogError::UnknownProvider {
                endpoint: entry.id,
                provider: entry.provider,
            });
        }
        let Some(model) = models.get(&entry.model) else {
            return Err(CatalogError::UnknownModel {
                endpoint: entry.id,
                model: entry.model,
            });
        };
        expect_id(
            Kind::Endpoint,
            &entry.id,
            &format!("{}/{}", entry.provider, model.slug()),
        )?;
        endpoints.push(endpoint(entry)?);
    }
    list(Kind::Endpoint, endpoints, |endpoint| &endpoint.id)
}

fn endpoint(entry: EndpointEntry) -> Result<Endpoint, CatalogError> {
    if entry.prices.is_empty() {
        return Err(CatalogError::NoPrice { endpoint: entry.id });
    }
    for pair in entry.prices.windows(2) {
        if let [older, newer] = pair
            && newer.from <= older.from
        {
            return Err(CatalogError::UnorderedPrices {
                endpoint: entry.id,
                from: newer.from,
                after: older.from,
            });
        }
    }
    let prices = entry
        .prices
        .into_iter()
        .map(|listed| price(&entry.id, listed))
        .collect::<Result<_, _>>()?;
    Ok(Endpoint {
        id: entry.id,
        model: entry.model,
        provider: entry.provider,
        upstream: entry.upstream,
        quantization: entry.quantization,
        context_length: entry.context_length,
        max_output: entry.max_output,
        parameters: entry.parameters,
        data: entry.data,
        regions: entry.regions,
        prices,
    })
}

fn price(endpoint: &str, entry: PriceEntry) -> Result<Price, CatalogError> {
    let mut hours: Vec<Hours> = Vec::with_capacity(entry.hours.len());
    for listed in entry.hours {
        let listed = hours_of(endpoint, entry.from, listed)?;
        // Two spans of a day overlap where one holds the other's beginning.
        if let Some(other) = hours
            .iter()
            .find(|other| other.contain(listed.from) || listed.contain(other.from))
        {
            return Err(CatalogError::OverlappingHours {
                endpoint: endpoint.to_owned(),
                from: listed.from,
                other: other.from,
            });
        }
        hours.push(listed);
    }
    Ok(Price {
        from: midnight(entry.from),
        prompt: nano(endpoint, "prompt", &entry.prompt)?,
        completion: nano(endpoint, "completion", &entry.completion)?,
        cache_read: optional_nano(endpoint, "cache_read", entry.cache_read.as_deref())?,
        cache_write: optional_nano(endpoint, "cache_write", entry.cache_write.as_deref())?,
        request: optional_nano(endpoint, "request", entry.request.as_deref())?.unwrap_or(0),
        tiers: tiers(endpoint, &entry.tiers)?,
        hours,
    })
}

/// The prices of certain hours are those of a day of their own.
fn hours_of(endpoint: &str, day: NaiveDate, entry: HoursEntry) -> Result<Hours, CatalogError> {
    let HoursEntry {
        from,
        to,
        prompt,
        completion,
        cache_read,
        cache_write,
        request,
        tiers,
    } = entry;
    let entry = PriceEntry {
        from: day,
        prompt,
        completion,
        cache_read,
        cache_write,
        request,
        tiers,
        hours: Vec::new(),
    };
    Ok(Hours {
        from,
        to,
        price: price(endpoint, entry)?,
    })
}

fn tiers(endpoint: &str, entries: &[TierEntry]) -> Result<Vec<Tier>, CatalogError> {
    for pair in entries.windows(2) {
        if let [lower, upper] = pair
            && upper.above <= lower.above
        {
            return Err(CatalogError::UnorderedTiers {
                endpoint: endpoint.to_owned(),
                above: upper.above,
                after: lower.above,
            });
        }
    }
    entries
        .iter()
        .map(|listed| tier(endpoint, listed))
        .collect()
}

fn tier(endpoint: &str, entry: &TierEntry) -> Result<Tier, CatalogError> {
    Ok(Tier {
        above: entry.above,
        prompt: nano(endpoint, "prompt", &entry.prompt)?,
        completion: nano(endpoint, "completion", &entry.completion)?,
        cache_read: optional_nano(endpoint, "cache_read", entry.cache_read.as_deref())?,
        cache_write: optional_nano(endpoint, "cache_write", entry.cache_write.as_deref())?,
    })
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn optional_nano(
    endpoint: &str,
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<i64>, CatalogError> {
    text.map(|text| nano(endpoint, field, text)).transpose()
}

fn nano(endpoint: &str, field: &'static str, text: &str) -> Result<i64, CatalogError> {
    match parse_usd(text) {
        Ok(nano) if nano < 0 => Err(CatalogError::NegativePrice {
            endpoint: endpoint.to_owned(),
            field,
            value: text.to_owned(),
        }),
        Ok(nano) => Ok(nano),
        Err(source) => Err(CatalogError::BadPrice {
            endpoint: endpoint.to_owned(),
            field,
            value: text.to_owned(),
            source,
        }),
    }
}

/// The parser's own error carries the whole text along; only place and reason are kept.
fn parse<T: DeserializeOwned>(kind: Kind, text: &str) -> Result<T, CatalogError> {
    toml::from_str(text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        CatalogError::Syntax {
            kind,
            line,
            reason: error.message().to_owned(),
        }
    })
}

fn list<T>(kind: Kind, items: Vec<T>, id: impl Fn(&T) -> &str) -> Result<Listed<T>, CatalogError> {
    let mut by_id = HashMap::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        if by_id.insert(id(item).to_owned(), at).is_some() {
            return Err(CatalogError::DuplicateId {
                kind,
                id: id(item).to_owned(),
            });
        }
    }
    Ok(Listed { items, by_id })
}

fn expect_id(kind: Kind, id: &str, expected: &str) -> Result<(), CatalogError> {
    if id == expected {
        return Ok(());
    }
    Err(CatalogError::WrongId {
        kind,
        id: id.to_owned(),
        expected: expected.to_owned(),
    })
}
