//! What a client asks, checked, in one shape: the body of an OpenAI chat request.

pub mod chat;
pub mod embeddings;
pub mod messages;

use crate::judge::tools::Offered;
use serde_json::{Map, Value};

/// Which API the client spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/embeddings`
    Embeddings,
}

impl Operation {
    /// As events spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
        }
    }
}

/// A checked request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The API the client spoke.
    pub operation: Operation,
    /// The model as the client named it, variant included.
    pub model: String,
    /// The client wants a stream.
    pub stream: bool,
    /// The client wants the usage chunk of a chat stream.
    pub include_usage: bool,
    /// The body in the shape of an OpenAI chat (or embeddings) request; a messages request translated.
    pub body: Map<String, Value>,
    /// The body as it came, of a messages request: goes unchanged to providers that speak that API.
    pub messages_body: Option<Map<String, Value>>,
    /// Conversation, from `session_id` or `prompt_cache_key`; empty if unknown.
    pub session: String,
    /// Tools in the request, with their schemas.
    pub offered: Offered,
}

impl Ask {
    /// A field that steers the router, whichever API the body is of.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let in_messages = || self.messages_body.as_ref()?.get(name);
        self.body.get(name).or_else(in_messages)
    }
}

/// Why a body is not a request: one sentence, and the field at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// What is wrong and what would be right. Never a value of the client's.
    pub message: String,
    /// Path of the field, such as `messages[2].content`.
    pub param: Option<String>,
}

impl BadRequest {
    /// A fault of one field.
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: Some(param.into()),
        }
    }
}
