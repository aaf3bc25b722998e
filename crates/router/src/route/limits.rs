//! What must hold. A lane that breaks a limit is never tried, and the reason is told.

use super::health::Reading;
use super::lanes::Candidate;
use super::names::Named;
use super::needs::{Modalities, Needs};
use super::wants::{self, Wants};
use crate::policy::Policy;
use std::time::Instant;
use tidemark_catalog::Price;

/// Why a lane is not tried. The order is that in which limits are looked at: of several that a lane breaks, the first is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusion {
    /// The settings do not reach its provider.
    NoUpstream,
    /// It has no price yet.
    NoPrice,
    /// The account's policy leaves out the model or the provider.
    Policy,
    /// Not among `only`.
    Only,
    /// Among `ignore`.
    Ignored,
    /// Not among `order`, and there are to be no fallbacks.
    Order,
    /// Not known to be in one of the regions.
    Region,
    /// It may collect requests.
    DataCollection,
    /// It is not known to keep nothing.
    Zdr,
    /// Other number formats.
    Quantization,
    /// The model does not take what the prompt holds.
    Modality,
    /// The prompt does not fit.
    ContextLength,
    /// Longer answers are wanted than it gives.
    MaxOutput,
    /// Not known to take all parameters.
    Parameters,
    /// It costs something, and `:free` was asked for.
    Free,
    /// It costs more than may be asked.
    MaxPrice,
    /// The provider has asked not to be asked for a while.
    RateLimited,
}

impl Exclusion {
    /// All, in their order.
    pub const ALL: [Self; 17] = [
        Self::NoUpstream,
        Self::NoPrice,
        Self::Policy,
        Self::Only,
        Self::Ignored,
        Self::Order,
        Self::Region,
        Self::DataCollection,
        Self::Zdr,
        Self::Quantization,
        Self::Modality,
        Self::ContextLength,
        Self::MaxOutput,
        Self::Parameters,
        Self::Free,
        Self::MaxPrice,
        Self::RateLimited,
    ];

    /// The name programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoUpstream => "no_upstream",
            Self::NoPrice => "no_price",
            Self::Policy => "policy",
            Self::Only => "only",
            Self::Ignored => "ignore",
            Self::Order => "order",
            Self::Region => "regions",
            Self::DataCollection => "data_collection",
            Self::Zdr => "zdr",
            Self::Quantization => "quantizations",
            Self::Modality => "modality",
            Self::ContextLength => "context_length",
            Self::MaxOutput => "max_output",
            Self::Parameters => "require_parameters",
            Self::Free => "free",
            Self::MaxPrice => "max_price",
            Self::RateLimited => "rate_limited",
        }
    }

    /// The field of the request behind it, if it is one.
    pub fn param(self) -> Option<&'static str> {
        match self {
            Self::NoUpstream | Self::NoPrice | Self::Policy | Self::RateLimited => None,
            Self::Only => Some("provider.only"),
            Self::Ignored => Some("provider.ignore"),
            Self::Order => Some("provider.allow_fallbacks"),
            Self::Region => Some("provider.regions"),
            Self::DataCollection => Some("provider.data_collection"),
            Self::Zdr => Some("provider.zdr"),
            Self::Quantization => Some("provider.quantizations"),
            Self::Modality | Self::ContextLength => Some("messages"),
            Self::MaxOutput => Some("max_tokens"),
            Self::Parameters => Some("provider.require_parameters"),
            Self::Free => Some("model"),
            Self::MaxPrice => Some("provider.max_price"),
        }
    }
}

/// All that limits a request.
pub(super) struct Limits<'a> {
    pub(super) policy: &'a Policy,
    pub(super) wants: &'a Wants<'a>,
    pub(super) needs: &'a Needs,
    pub(super) now: Instant,
}

impl Limits<'_> {
    /// Whether the account may ask a model at all.
    pub(super) fn of_model(&self, named: &Named<'_>) -> Option<Exclusion> {
        if !self.policy.allows_model(&named.model.id) {
            return Some(Exclusion::Policy);
        }
        let takes = Modalities::of(&named.model.input);
        (!self.needs.input.within(takes)).then_some(Exclusion::Modality)
    }

    /// Why a lane is left out; `None` for one that can be tried.
    pub(super) fn of_lane(
        &self,
        named: &Named<'_>,
        candidate: &Candidate<'_>,
        reading: &Reading,
    ) -> Option<Exclusion> {
        let Self {
            policy,
            wants,
            needs,
            now,
        } = self;
        let Candidate {
            endpoint,
            lane,
            price,
            ..
        } = candidate;
        let broken = |limit: Exclusion| match limit {
            Exclusion::NoUpstream | Exclusion::NoPrice | Exclusion::Modality => false,
            Exclusion::Policy => !policy.allows_provider(&endpoint.provider),
            Exclusion::Only => {
                !wants.only.is_empty() && !wants.only.iter().any(|place| place.holds(candidate))
            }
            Exclusion::Ignored => wants.ignore.iter().any(|place| place.may_hold(candidate)),
            Exclusion::Order => {
                wants.no_fallbacks
                    && !wants.order.is_empty()
                    && !wants.order.iter().any(|place| place.holds(candidate))
            }
            Exclusion::Region => {
                let is_in = |wanted: &&str| wants::is_region(wanted, &lane.region);
                !(wants.regions.is_empty() || lane.is_pinned && wants.regions.iter().any(is_in))
            }
            Exclusion::DataCollection => {
                (wants.deny_collection || policy.deny_data_collection) && lane.data.may_collect()
            }
            // Request or account, whichever is stricter.
            Exclusion::Zdr => (wants.zdr || policy.zdr) && !lane.data.zdr,
            Exclusion::Quantization => wants
                .quantizations
                .is_some_and(|bits| bits & wants::bit(endpoint.quantization) == 0),
            Exclusion::ContextLength => {
                let answer = needs.max_tokens.unwrap_or(0).min(lane.max_output);
                needs.least_prompt_tokens().saturating_add(answer) > endpoint.context_length
            }
            Exclusion::MaxOutput => {
                !needs.embeds && needs.max_tokens.is_some_and(|most| most > lane.max_output)
            }
            Exclusion::Parameters => {
                wants.require_parameters
                    && !needs.parameters.within(lane.parameters.unwrap_or_default())
            }
            Exclusion::Free => named.variant == "free" && !is_free(price),
            Exclusion::MaxPrice => exceeds(price, wants, needs),
            Exclusion::RateLimited => reading.stated_rest.is_some_and(|until| until > *now),
        };
        Exclusion::ALL.into_iter().find(|limit| broken(*limit))
    }
}

fn is_free(price: &Price) -> bool {
    let tiers = price.tiers.iter();
    price.request == 0
        && price.prompt == 0
        && price.completion == 0
        && tiers.fold(0, |most, tier| most.max(tier.prompt).max(tier.completion)) == 0
}

/// Whether a price may turn out higher than allowed. Tiers begin at prompt lengths that are known only when the bill comes: each
/// that the prompt might reach must be within the limit.
fn exceeds(price: &Price, wants: &Wants<'_>, needs: &Needs) -> bool {
    let max = wants.max_price;
    let over = |price: i64, max: Option<i64>| max.is_some_and(|max| price > max);
    let tiers = price
        .tiers
        .iter()
        .filter(|tier| needs.most_prompt_tokens() > tier.above);
    over(price.prompt, max.prompt)
        || over(price.completion, max.completion)
        || over(price.request, max.request)
        || { tiers }
            .any(|tier| over(tier.prompt, max.prompt) || over(tier.completion, max.completion))
}
