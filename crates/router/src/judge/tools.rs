//! Tool calls against what was offered.
//!
//! [`Offered::read`] checks the tools of a request once; the same tools in a later request cost one hash (`cache`). A schema
//! that is wrong fails the request before any call; one too costly to check (`cost`) is passed on, and calls of it are checked
//! for JSON and name alone. `calls` collects the calls of an answer and counts them.

mod cache;
mod calls;
mod cost;
mod offer;
mod schema;
mod strict;
#[cfg(test)]
mod suite;

pub use calls::{ToolCounts, ToolJudge};

use crate::ask::BadRequest;
use offer::Tools;
use serde_json::Value;
use std::sync::Arc;

/// What the client said about calling tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// No tools, or not to be called.
    #[default]
    None,
    /// The model may.
    Auto,
    /// The model must call one.
    Required,
    /// The model must call this one.
    Named(String),
}

/// The tools of one request. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Offered {
    tools: Arc<Tools>,
    choice: ToolChoice,
}

impl Offered {
    /// Reads `tools` and `tool_choice` of a chat request (`{"type": "function", "function": {name, description, parameters, strict}}`).
    /// Tools of other types are counted and not checked.
    ///
    /// # Errors
    /// [`BadRequest`] that names the field where a tool has no name, a name twice, or a schema that is not one.
    pub fn read(tools: Option<&Value>, choice: Option<&Value>) -> Result<Self, BadRequest> {
        let tools = match tools {
            None | Some(Value::Null) => Arc::default(),
            Some(tools) => offer::read_cached(tools)?,
        };
        let choice = offer::read_choice(choice, &tools)?;
        Ok(Self { tools, choice })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.tools.count
    }

    /// What the client said about calling them.
    pub fn choice(&self) -> ToolChoice {
        self.choice.clone()
    }

    /// A judge for one answer.
    pub fn judge(&self) -> ToolJudge {
        ToolJudge::of(Arc::clone(&self.tools))
    }
}
