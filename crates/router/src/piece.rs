//! What an upstream said, one thing at a time, whatever its dialect.

/// One thing out of an answer. Adapters turn whole bodies and streams into these; the meter, the judges and the client's
/// shapes read nothing else.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// The upstream's own id of the answer, and the model as it names it. Either may be empty.
    Start {
        /// Id of the answer at the provider.
        id: String,
        /// The provider's name of the model.
        model: String,
    },
    /// Text for the reader.
    Text(String),
    /// Thinking. `signature` proves it to the provider that made it, where it gives one.
    Reasoning {
        /// What was thought.
        text: String,
        /// Opaque, to be sent back unchanged.
        signature: Option<String>,
    },
    /// The API says that the model declined; its words, where given.
    Declined(String),
    /// Part of a tool call. The first part of an index carries id and name; arguments come in any number of parts.
    ToolCall {
        /// Which call of the answer, from 0.
        index: u32,
        /// Id of the call. Made up by the adapter where the dialect has none.
        id: Option<String>,
        /// Name of the tool.
        name: Option<String>,
        /// The next characters of the arguments' JSON text.
        arguments: String,
    },
    /// Why the answer ended.
    Finish {
        /// In our words.
        reason: FinishReason,
        /// In the provider's.
        native: String,
    },
    /// Token counts, normalised. A later one replaces an earlier one.
    Usage(Usage),
    /// The answer ended in an error although it began with a 200.
    Failed(UpstreamError),
}

/// Why an answer ended, in the words of the OpenAI chat API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// The token limit cut it.
    Length,
    /// The model wants tools called.
    ToolCalls,
    /// The provider's filter cut it.
    ContentFilter,
    /// Something broke.
    Error,
}

impl FinishReason {
    /// As events and chat answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Error => "error",
        }
    }
}

/// Token counts in one meaning for all providers: `cached` and `cache_write` are parts of `prompt`, `reasoning` is part of
/// `completion`, and so are the counts by modality.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input tokens.
    pub prompt: u64,
    /// Input tokens read from a cache.
    pub cached: u64,
    /// Input tokens written to a cache.
    pub cache_write: u64,
    /// All output tokens.
    pub completion: u64,
    /// Output tokens spent thinking.
    pub reasoning: u64,
    /// Input tokens that came from images.
    pub image_prompt: u64,
    /// Input tokens that came from audio.
    pub audio_prompt: u64,
    /// Input tokens that came from video.
    pub video_prompt: u64,
    /// Output tokens that are images.
    pub image_completion: u64,
    /// Output tokens that are audio.
    pub audio_completion: u64,
}

/// What an upstream's error means for the client and for the next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamError {
    /// HTTP status, or 0 when none came.
    pub status: u16,
    /// Class of the error.
    pub kind: ErrorKind,
    /// What the client may read. Never a body of unknown shape, a key or a path.
    pub message: String,
    /// Seconds after which to try again, where the provider says so.
    pub retry_after: Option<u64>,
}

/// Classes of errors, as events name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request itself is wrong: no other endpoint would take it either.
    InvalidRequest,
    /// The prompt does not fit.
    ContextOverflow,
    /// The provider's filter refused the prompt.
    Filtered,
    /// Our key is wrong there, or out of credit.
    Credentials,
    /// The endpoint does not know the model.
    NotFound,
    /// Too many requests.
    RateLimited,
    /// The provider has no room now.
    Overloaded,
    /// The provider failed.
    Server,
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Connection,
    /// An answer that is not what its dialect says.
    Garbage,
}

impl ErrorKind {
    /// As events and error bodies spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::ContextOverflow => "context_overflow",
            Self::Filtered => "content_filter",
            Self::Credentials => "credentials",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Server => "upstream_error",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Garbage => "invalid_response",
        }
    }

    /// What a client reads of it where the provider's own sentence is not repeated.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The provider does not accept the request.",
            Self::ContextOverflow => "The prompt is too long for the model.",
            Self::Filtered => "The provider's content filter refused the request.",
            Self::Credentials => "The provider does not accept this router's key or account.",
            Self::NotFound => "The provider does not know the model.",
            Self::RateLimited => "The provider has received too many requests.",
            Self::Overloaded => "The provider has no room now.",
            Self::Server => "The provider failed.",
            Self::Timeout => "The provider did not answer in time.",
            Self::Connection => "The connection to the provider broke.",
            Self::Garbage => "The provider's answer is not valid.",
        }
    }

    /// The usual class of a status.
    pub fn of_status(status: u16) -> Self {
        match status {
            401..=403 => Self::Credentials,
            404 | 405 | 410 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 => Self::ContextOverflow,
            429 => Self::RateLimited,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Server,
        }
    }

    /// Whether another endpoint may do better.
    pub fn try_elsewhere(self) -> bool {
        !matches!(
            self,
            Self::InvalidRequest | Self::ContextOverflow | Self::Filtered
        )
    }
}
