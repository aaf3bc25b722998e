//! The tool calls of one answer, collected as they come and counted at the end.

use super::offer::{Check, Tools};
use super::strict;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Bytes of arguments and names kept of one answer. A call that would go beyond counts as invalid JSON.
const KEPT: usize = 1 << 20;
/// Calls kept of one answer. Those beyond count as invalid JSON.
const CALLS: usize = 1_024;

/// What one answer's tool calls were like. A wrong call is in one count, the first that fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolCounts {
    /// All calls.
    pub called: u32,
    /// Arguments that are not JSON.
    pub invalid_json: u32,
    /// Names that were not offered.
    pub unknown_name: u32,
    /// Arguments that fail the offered schema.
    pub schema_mismatch: u32,
}

/// One call.
#[derive(Debug)]
struct Call {
    index: u32,
    name: String,
    arguments: String,
    /// More came than is kept.
    cut: bool,
}

/// Collects the tool calls of one answer.
#[derive(Debug)]
pub struct ToolJudge {
    tools: Arc<Tools>,
    calls: Vec<Call>,
    kept: usize,
    beyond: u32,
}

impl ToolJudge {
    pub(super) fn of(tools: Arc<Tools>) -> Self {
        Self {
            tools,
            calls: Vec::new(),
            kept: 0,
            beyond: 0,
        }
    }

    /// Takes in one part of a call; the fields are those of [`crate::piece::Piece::ToolCall`].
    ///
    /// An index that comes again with another name, or with the same name and whole new arguments, is a new call: some
    /// providers give every parallel call the index 0.
    pub fn part(&mut self, index: u32, name: Option<&str>, arguments: &str) {
        let name = name.unwrap_or_default();
        let last = self.calls.iter().rposition(|call| call.index == index);
        let same = last.filter(|place| {
            self.calls
                .get(*place)
                .is_some_and(|call| call.goes_on(name, arguments))
        });
        let place = match same {
            Some(place) => place,
            None if self.calls.len() >= CALLS => {
                // Only a name tells another call from more of one of those.
                if !name.is_empty() {
                    self.beyond = self.beyond.saturating_add(1);
                }
                return;
            }
            None => {
                self.calls.push(Call {
                    index,
                    name: String::new(),
                    arguments: String::new(),
                    cut: false,
                });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(place) else {
            return;
        };
        let more = arguments.len() + if call.name.is_empty() { name.len() } else { 0 };
        if call.cut || self.kept.saturating_add(more) > KEPT {
            self.kept -= call.arguments.len();
            call.arguments = String::new();
            call.cut = true;
            return;
        }
        self.kept += more;
        if call.name.is_empty() {
            name.clone_into(&mut call.name);
        }
        call.arguments.push_str(arguments);
    }

    /// The counts.
    pub fn finish(self) -> ToolCounts {
        let mut counts = ToolCounts {
            called: self.beyond,
            invalid_json: self.beyond,
            ..ToolCounts::default()
        };
        for call in &self.calls {
            counts.called = counts.called.saturating_add(1);
            let check = self.tools.names.get(&call.name);
            if matches!(check, Some(Check::Nothing)) {
                continue;
            }
            match (call.value(), check) {
                (None, _) => counts.invalid_json += 1,
                (Some(_), None) => counts.unknown_name += 1,
                (Some(value), Some(Check::Arguments(schema))) => {
                    // Arguments are the members of an object, whatever the schema leaves open.
                    if !value.is_object()
                        || schema.as_ref().is_some_and(|schema| schema.fails(&value))
                    {
                        counts.schema_mismatch += 1;
                    }
                }
                (Some(_), Some(Check::Nothing)) => {}
            }
        }
        counts
    }
}

impl Call {
    /// Whether a part belongs to this call.
    fn goes_on(&self, name: &str, arguments: &str) -> bool {
        if name.is_empty() || self.name.is_empty() {
            return true;
        }
        let whole = || {
            self.arguments.trim_end().ends_with('}')
                && arguments.trim_start().starts_with('{')
                && self.value().is_some()
        };
        self.name == name && !whole()
    }

    /// The arguments, if they are JSON. None at all are no arguments.
    fn value(&self) -> Option<Value> {
        if self.cut {
            None
        } else if self.arguments.trim().is_empty() {
            Some(Value::Object(Map::new()))
        } else {
            strict::parse(&self.arguments)
        }
    }
}
