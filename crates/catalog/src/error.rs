use chrono::{NaiveDate, NaiveTime};

use crate::price::UsdError;

/// Which list of the catalog an id belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `authors.toml`
    Author,
    /// `providers.toml`
    Provider,
    /// `models.toml`
    Model,
    /// `endpoints.toml`
    Endpoint,
    /// `aliases.toml`
    Alias,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Author => "author",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Endpoint => "endpoint",
            Self::Alias => "alias",
        })
    }
}

/// Why a catalog was not accepted. A catalog with any fault is refused as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The text is not TOML, or an entry lacks a field, has an unknown one or one of the wrong type.
    #[error("the {kind} list cannot be read: line {line}: {reason}")]
    Syntax {
        /// The list at fault.
        kind: Kind,
        /// Line of the fault, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Two entries of one list share an id.
    #[error("{kind} `{id}` is listed twice")]
    DuplicateId {
        /// The list at fault.
        kind: Kind,
        /// The repeated id or slug.
        id: String,
    },
    /// An id does not follow from the entry's other fields.
    #[error("{kind} id `{id}` should be `{expected}`")]
    WrongId {
        /// The list at fault.
        kind: Kind,
        /// The id as stated.
        id: String,
        /// The id or form wanted.
        expected: String,
    },
    /// A model names an author that is not listed.
    #[error("model `{model}` names the unknown author `{author}`")]
    UnknownAuthor {
        /// Id of the model.
        model: String,
        /// Slug of the missing author.
        author: String,
    },
    /// A real author or provider has the slug that stands for hidden ones.
    #[error("{kind} `{slug}` has the slug that is kept for aliases")]
    Reserved {
        /// The list at fault.
        kind: Kind,
        /// The slug.
        slug: String,
    },
    /// An alias cannot be used. What it stands for is not said: errors end up in logs.
    #[error("alias `{alias}`: {problem}")]
    BadAlias {
        /// Id of the alias.
        alias: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An endpoint names a provider that is not listed.
    #[error("endpoint `{endpoint}` names the unknown provider `{provider}`")]
    UnknownProvider {
        /// Id of the endpoint.
        endpoint: String,
        /// Slug of the missing provider.
        provider: String,
    },
    /// An endpoint serves a model that is not listed.
    #[error("endpoint `{endpoint}` serves the unknown model `{model}`")]
    UnknownModel {
        /// Id of the endpoint.
        endpoint: String,
        /// Id of the missing model.
        model: String,
    },
    /// A model's successor is not listed, or is the model itself.
    #[error(
        "model `{model}` names `{successor}` as its successor, which is not another listed model"
    )]
    UnknownSuccessor {
        /// Id of the model.
        model: String,
        /// Id that leads nowhere.
        successor: String,
    },
    /// A price is below zero.
    #[error("endpoint `{endpoint}` has the negative price `{value}` for {field}")]
    NegativePrice {
        /// Id of the endpoint.
        endpoint: String,
        /// The component: `prompt`, `completion` ...
        field: &'static str,
        /// The text as stated.
        value: String,
    },
    /// A price is not a decimal number of dollars.
    #[error("endpoint `{endpoint}` has the price `{value}` for {field}: {source}")]
    BadPrice {
        /// Id of the endpoint.
        endpoint: String,
        /// The component: `prompt`, `completion` ...
        field: &'static str,
        /// The text as stated.
        value: String,
        /// What is wrong with it.
        #[source]
        source: UsdError,
    },
    /// An endpoint has no price at all.
    #[error("endpoint `{endpoint}` has no price")]
    NoPrice {
        /// Id of the endpoint.
        endpoint: String,
    },
    /// Prices are not listed from the oldest to the newest, each from a date of its own.
    #[error("endpoint `{endpoint}`: the price from {from} is listed after the one from {after}")]
    UnorderedPrices {
        /// Id of the endpoint.
        endpoint: String,
        /// Date of the price out of order.
        from: NaiveDate,
        /// Date of the price before it in the list.
        after: NaiveDate,
    },
    /// Tiers of one price are not listed by ascending prompt length.
    #[error(
        "endpoint `{endpoint}`: the tier above {above} tokens is listed after the one above {after}"
    )]
    UnorderedTiers {
        /// Id of the endpoint.
        endpoint: String,
        /// Threshold of the tier out of order, in prompt tokens.
        above: u64,
        /// Threshold of the tier before it, in prompt tokens.
        after: u64,
    },
    /// Two spans of hours of one price overlap.
    #[error("endpoint `{endpoint}`: the hours from {from} overlap those from {other} (UTC)")]
    OverlappingHours {
        /// Id of the endpoint.
        endpoint: String,
        /// Beginning of the later listed span.
        from: NaiveTime,
        /// Beginning of the earlier listed span.
        other: NaiveTime,
    },
}
