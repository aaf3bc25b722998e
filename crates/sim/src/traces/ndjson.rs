//! Usage events as JSON lines, replayed as they were recorded.
//!
//! An event without an id gets one derived from the file's content and its line; one that does not say where
//! it comes from gets `replay:ndjson`. A line that is no event is reported by line, column and field: the
//! parser's own messages quote what they met, so they are never passed on.

use super::lines::{Lines, Step};
use super::{Format, Item, Source, TraceError};
use serde_json::error::Category;
use serde_json::{Map, Value};
use tidemark_event::UsageEvent;

pub(super) struct Events {
    lines: Lines,
}

impl Events {
    pub(super) fn new(lines: Lines) -> Self {
        Self { lines }
    }
}

fn event(line: &[u8], number: u64) -> Result<Item, TraceError> {
    let mut event: UsageEvent =
        serde_json::from_slice(line).map_err(|error| refused(line, number, &error))?;
    if event.ts.0 == 0 {
        return Err(TraceError::Line {
            line: number,
            column: None,
            field: Some("ts"),
            reason: "missing",
        });
    }
    // The default of the field is `router`: only the text tells a default from a statement.
    if event.source == "router" && !contains(line, b"\"source\"") {
        event.source = Format::Ndjson.source().to_owned();
    }
    Ok(Item::Event(Box::new(event), number))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Says what is wrong in words of our own.
fn refused(line: &[u8], number: u64, error: &serde_json::Error) -> TraceError {
    let (field, reason) = match error.classify() {
        Category::Syntax => (None, "not valid JSON"),
        Category::Eof => (None, "the JSON ends too early"),
        Category::Io => (None, "unreadable"),
        Category::Data => blame(line),
    };
    TraceError::Line {
        line: number,
        column: Some(error.column() as u64),
        field,
        reason,
    }
}

/// Tries the fields one by one. Costs only bad lines.
fn blame(line: &[u8]) -> (Option<&'static str>, &'static str) {
    let fields: Map<String, Value> = match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return (None, "not a JSON object"),
        Err(_) => return (None, "not valid JSON"),
    };
    for (key, value) in fields {
        let Some(field) = UsageEvent::FIELDS.iter().find(|name| **name == key) else {
            return (None, "a field that usage events do not have");
        };
        let alone = Value::Object(Map::from_iter([(key, value)]));
        if serde_json::from_value::<UsageEvent>(alone).is_err() {
            return (Some(field), "not a value this field can have");
        }
    }
    // Each field alone is right: the parser refused the second of two with one name.
    (None, "a field is given twice")
}

impl Source for Events {
    fn next(&mut self) -> Option<Result<Item, TraceError>> {
        loop {
            match self.lines.advance() {
                Err(error) => return Some(Err(TraceError::Read(error))),
                Ok(Step::End) => return None,
                Ok(Step::TooLong) => {
                    return Some(Err(TraceError::at(
                        self.lines.number(),
                        "longer than 10 MiB",
                    )));
                }
                Ok(Step::Line) if self.lines.text().trim_ascii().is_empty() => {}
                Ok(Step::Line) => return Some(event(self.lines.text(), self.lines.number())),
            }
        }
    }
}
