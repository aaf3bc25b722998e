//! Why no lane is left, as an error that says which limit excluded the last one.

use super::limits::Exclusion;
use super::plan::Plan;
use crate::answer::error::Refusal;
use crate::policy::Policy;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Models named to fall back on, at most.
const FALLBACKS: usize = 3;

/// The error of a plan without lanes. Limits are looked at one after the other; the one that left no lane is the last that
/// excluded any.
pub(super) fn refusal(plan: &Plan<'_>, policy: &Policy) -> Option<Refusal> {
    if !plan.lanes.is_empty() {
        return None;
    }
    let constraint = plan
        .excluded
        .iter()
        .map(|lane| lane.by)
        .max()
        .unwrap_or(Exclusion::NoUpstream);
    let (status, code) = match constraint {
        Exclusion::NoUpstream | Exclusion::NoPrice => (503, "no_endpoint"),
        Exclusion::Policy => (403, "not_allowed"),
        Exclusion::Modality | Exclusion::MaxOutput => (400, "no_endpoint"),
        Exclusion::ContextLength => (400, "context_overflow"),
        Exclusion::RateLimited => (429, "rate_limited"),
        _ => (404, "no_endpoint"),
    };
    let names: Vec<&str> = plan
        .models
        .iter()
        .map(|named| named.model.id.as_str())
        .collect();
    let models = names.join(", ");
    let retry_after = plan.rest.filter(|_| constraint == Exclusion::RateLimited);
    let message = match constraint {
        Exclusion::NoUpstream => {
            format!("no provider of {models} is set up here: name one in the router's upstreams")
        }
        Exclusion::RateLimited => format!(
            "all providers of {models} that may be used have asked to wait: try again in {} s",
            retry_after.unwrap_or(1)
        ),
        _ => format!("no endpoint of {models} is left: {}", sentence(constraint)),
    };
    let mut excluded_by = Map::new();
    for exclusion in Exclusion::ALL {
        let lanes = plan.excluded.iter().filter(|lane| lane.by == exclusion);
        let count = lanes.count();
        if count > 0 {
            excluded_by.insert(exclusion.as_str().to_owned(), count.into());
        }
    }
    let providers: BTreeSet<&str> = plan
        .excluded
        .iter()
        .map(|lane| lane.endpoint.provider.as_str())
        .collect();
    let refusal = Refusal {
        param: constraint.param().map(str::to_owned),
        retry_after,
        ..Refusal::new(status, code, message)
    };
    Some(refusal.with(
        "availability",
        json!({
            "code": code,
            "retryable": matches!(constraint, Exclusion::RateLimited | Exclusion::NoUpstream),
            "retry_after": retry_after,
            "requested_models": names,
            "affected_providers": providers,
            "excluded_by": excluded_by,
            "constraint": constraint.as_str(),
            "fallback_models": fallbacks(plan, policy),
        }),
    ))
}

/// What the last limit is, and what could be done.
fn sentence(constraint: Exclusion) -> &'static str {
    match constraint {
        Exclusion::NoUpstream | Exclusion::RateLimited => "try again later",
        Exclusion::NoPrice => "none has a price yet",
        Exclusion::Policy => "the account's policy does not allow it",
        Exclusion::Only => "`provider.only` names none that is set up",
        Exclusion::Ignored => "`provider.ignore` leaves out the last",
        Exclusion::Order => {
            "`provider.order` names none that can be used, and `provider.allow_fallbacks` is false"
        }
        Exclusion::Region => "none of the last is known to be in the regions of `provider.regions`",
        Exclusion::DataCollection => {
            "the last may collect requests, which `provider.data_collection` or the account's policy denies"
        }
        Exclusion::Zdr => {
            "the last are not known to keep nothing, as `provider.zdr` or the account's policy wants it"
        }
        Exclusion::Quantization => "`provider.quantizations` leaves out the last",
        Exclusion::Modality => "the model does not take the kinds of input in the messages",
        Exclusion::ContextLength => "the prompt is too long for the last",
        Exclusion::MaxOutput => "`max_tokens` is more than the last can give: ask for fewer",
        Exclusion::Parameters => {
            "the last are not known to take every parameter, as `provider.require_parameters` wants it"
        }
        Exclusion::Free => "none costs nothing: leave out `:free`",
        Exclusion::MaxPrice => "the last cost more than `provider.max_price`",
    }
}

/// Successors of the models first, then the newest that can be asked of the same authors.
fn fallbacks(plan: &Plan<'_>, policy: &Policy) -> Vec<Value> {
    let catalog = &plan.routes().catalog;
    let is_asked = |id: &str| plan.models.iter().any(|named| named.model.id == id);
    let mut others: Vec<_> = plan
        .routes()
        .callable()
        .filter(|model| {
            let same = |named: &super::Named<'_>| {
                named.model.author == model.author && named.model.output == model.output
            };
            plan.models.iter().any(same)
        })
        .collect();
    others.sort_by_key(|model| std::cmp::Reverse(model.released));
    let successors = plan
        .models
        .iter()
        .filter_map(|named| catalog.model(named.model.successor.as_deref()?));
    let mut found: Vec<Value> = Vec::new();
    for model in successors.chain(others) {
        let id = Value::from(model.id.as_str());
        if !is_asked(&model.id) && policy.allows_model(&model.id) && !found.contains(&id) {
            found.push(id);
        }
    }
    found.truncate(FALLBACKS);
    found
}
