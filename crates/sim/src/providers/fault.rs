//! Errors of the simulated providers, before they are put into a dialect.

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: u16,
    pub(super) message: String,
    pub(super) kind: Kind,
    /// Field of the request, where one is to blame.
    pub(super) param: Option<&'static str>,
    pub(super) retry_after: Option<u32>,
}

/// What statuses alone do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// The model is not served here.
    NoModel,
    /// The prompt does not fit.
    Context,
    /// The filter refused.
    Filter,
}

impl Fault {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: Kind::Plain,
            param: None,
            retry_after: None,
        }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// What a provider says with a status.
    pub(super) fn of(status: u16, retry_after: u32) -> Self {
        let message = match status {
            401 => "Incorrect API key provided.",
            402 => "Insufficient balance.",
            403 => "Your key may not use this model.",
            408 | 504 => "The request took too long.",
            413 => "The request is too large.",
            429 => "Rate limit reached. Please try again later.",
            503 | 529 => "The model is overloaded. Please try again later.",
            400..=499 => "The request is not valid.",
            _ => "The server had an error while processing your request.",
        };
        Self {
            retry_after: matches!(status, 429 | 503 | 529).then_some(retry_after),
            ..Self::new(status, message)
        }
    }
}

/// The parse error of a request, without its content.
pub(super) fn malformed(error: &serde_json::Error) -> Fault {
    Fault::bad(format!(
        "We could not parse the JSON body of your request: {error}"
    ))
}
