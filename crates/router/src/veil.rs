//! What nobody may read while a model goes by an alias: who makes it, who serves it, in which dialect. The catalog gives the alias a
//! face of its own, which names, lists, events and prices go by; here is what an answer and an error would tell beside that.
//!
//! Nothing here hides what a model says of itself in its own words, nor how fast, dear or large it is.

use crate::answer::error::Refusal;
use crate::passage::Passage;
use crate::piece::{Piece, UpstreamError};
use tidemark_catalog::{Endpoint, Model, STEALTH, is_alias};

/// How ids of tool calls begin at one maker only, and how they begin elsewhere.
const TELLING_ID: (&str, &str) = ("toolu_", "call_");

/// The provider as a client may name it and is told of it: a hidden model has only one.
pub(crate) fn provider<'a>(model: &Model, endpoint: &'a Endpoint) -> &'a str {
    if is_alias(&model.id) {
        STEALTH
    } else {
        &endpoint.provider
    }
}

/// An endpoint as a client is told of it.
pub(crate) fn endpoint<'a>(model: &'a Model, endpoint: &'a Endpoint) -> &'a str {
    if is_alias(&model.id) {
        &model.id
    } else {
        &endpoint.id
    }
}

/// Whether what a client says of providers can be kept to.
///
/// # Errors
/// 400: who must not be served by somebody cannot ask a model that does not say who serves it. To obey would tell; not to
/// obey would break a promise.
pub(crate) fn check(model: &Model, ignores: bool) -> Result<(), Refusal> {
    if !is_alias(&model.id) || !ignores {
        return Ok(());
    }
    Err(Refusal {
        param: Some("provider.ignore".into()),
        ..Refusal::new(
            400,
            "provider_undisclosed",
            format!(
                "{} does not say who serves it, so `provider.ignore` cannot be kept to: leave it out, or ask another model",
                model.id
            ),
        )
    })
}

/// How an answer goes to the client: never as the provider wrote it.
pub(crate) fn passage(model: &Model, otherwise: Passage) -> Passage {
    if is_alias(&model.id) {
        Passage::Veiled
    } else {
        otherwise
    }
}

/// A piece without what would tell.
pub(crate) fn piece(piece: &Piece) -> Piece {
    match piece {
        // Signed thinking holds the model's name.
        Piece::Reasoning { text, .. } => Piece::Reasoning {
            text: text.clone(),
            signature: None,
        },
        Piece::ToolCall {
            index,
            id,
            name,
            arguments,
        } => Piece::ToolCall {
            index: *index,
            id: id.as_ref().map(|id| match id.strip_prefix(TELLING_ID.0) {
                Some(rest) => format!("{}{rest}", TELLING_ID.1),
                None => id.clone(),
            }),
            name: name.clone(),
            arguments: arguments.clone(),
        },
        // Each dialect has its own words for the same end.
        Piece::Finish { reason, .. } => Piece::Finish {
            reason: *reason,
            native: reason.as_str().to_owned(),
        },
        other => other.clone(),
    }
}

/// What stands in the place of a provider's own sentence, which may name anything.
pub(crate) fn sentence(model: &Model, error: &UpstreamError) -> Option<String> {
    is_alias(&model.id).then(|| error.kind.sentence().to_owned())
}

/// What an adapter says that its dialect cannot do; it names the dialect.
pub(crate) fn unsupported(model: &Model, message: String) -> String {
    if is_alias(&model.id) {
        "this model does not take what stands there".to_owned()
    } else {
        message
    }
}
