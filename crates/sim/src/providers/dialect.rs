//! What a dialect must be able to say.

use super::answer::Answer;
use super::anthropic::Anthropic;
use super::ask::Ask;
use super::fault::Fault;
use super::frames::Frames;
use super::gemini::Gemini;
use super::openai::Openai;
use super::script::Dialect;

/// One dialect.
pub(super) trait Tongue: Send + Sync {
    /// Reads a request. The model is in the path where the dialect has it there.
    fn read(&self, body: &[u8], path_model: Option<&str>) -> Result<Ask, Fault>;

    /// Whether its API has words for a refusal.
    fn has_refusals(&self) -> bool;

    /// Whether it parses tool arguments itself, so that broken ones never reach the client.
    fn parses_arguments(&self) -> bool {
        false
    }

    /// The id of an answer.
    fn id(&self, answer: &Answer) -> String;

    /// A whole answer.
    fn whole(&self, answer: &Answer) -> Vec<u8>;

    /// The same in parts.
    fn stream(&self, answer: &Answer, include_usage: bool) -> Frames;

    /// An error.
    fn error(&self, fault: &Fault) -> Vec<u8>;

    /// An error as part of a stream.
    fn stream_error(&self, fault: &Fault) -> String;
}

/// The dialect's words.
pub(super) fn tongue(dialect: Dialect) -> &'static dyn Tongue {
    match dialect {
        Dialect::OpenaiCompatible => &Openai { original: false },
        Dialect::Openai => &Openai { original: true },
        Dialect::Anthropic => &Anthropic,
        Dialect::Gemini => &Gemini,
    }
}
