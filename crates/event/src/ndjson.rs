//! Usage events as JSON lines: what people write by hand and what other gateways send.
//!
//! Fields have the defaults of `schemas/usage_event.avsc`; only `ts` must be there. A line that is no event is refused by
//! column, field and reason, in words of our own: the parser's messages quote what they met, so they are never passed on.

use crate::UsageEvent;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::{Map, Value};
use std::fmt;

/// A longer line is no event: it is passed over without being parsed.
pub const MAX_LINE_BYTES: usize = 10 << 20;
/// Why.
pub const TOO_LONG: &str = "longer than 10 MiB";

/// Why a line is no event. Holds nothing of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct BadLine {
    /// Where in it, from 1, when known.
    pub column: Option<u64>,
    /// The field concerned, when usage events have it.
    pub field: Option<&'static str>,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(column) = self.column {
            write!(f, "column {column}, ")?;
        }
        if let Some(field) = self.field {
            write!(f, "field {field}: ")?;
        }
        f.write_str(self.reason)
    }
}

/// Reads one line, given without its end.
///
/// # Errors
/// [`BadLine`] when it is not one usage event with a time.
pub fn read(line: &[u8]) -> Result<UsageEvent, BadLine> {
    let whole = |field, reason| BadLine {
        column: None,
        field,
        reason,
    };
    if line.len() > MAX_LINE_BYTES {
        return Err(whole(None, TOO_LONG));
    }
    // A derived reader takes an array for a struct, field by field.
    if line.trim_ascii_start().starts_with(b"[") {
        return Err(match serde_json::from_slice::<IgnoredAny>(line) {
            Ok(_) => whole(None, "not a JSON object"),
            Err(error) => refused(line, &error),
        });
    }
    let event: UsageEvent = serde_json::from_slice(line).map_err(|error| refused(line, &error))?;
    if event.ts.0 == 0 {
        return Err(whole(Some("ts"), "missing"));
    }
    Ok(event)
}

/// Whether the text of a line names a field. The struct does not tell a default from a statement; only the text does.
pub fn names(line: &[u8], field: &str) -> bool {
    line.windows(field.len() + 2).any(|window| {
        window.first() == Some(&b'"')
            && window.last() == Some(&b'"')
            && &window[1..=field.len()] == field.as_bytes()
    })
}

/// Says what is wrong in words of our own.
fn refused(line: &[u8], error: &serde_json::Error) -> BadLine {
    let (field, reason) = match error.classify() {
        Category::Syntax => (None, "not valid JSON"),
        Category::Eof => (None, "the JSON ends too early"),
        Category::Io => (None, "unreadable"),
        Category::Data => blame(line),
    };
    BadLine {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_an_event_or_says_where_it_is_none() {
        let event = read(br#"{"ts":"2025-06-01T12:00:00Z","prompt_tokens":7}"#).unwrap();
        assert_eq!((event.prompt_tokens, event.outcome.as_str()), (7, "ok"));
        let bad = |line: &str| {
            let bad = read(line.as_bytes()).unwrap_err();
            (bad.field, bad.reason)
        };
        assert_eq!(bad("{}"), (Some("ts"), "missing"));
        assert_eq!(bad("{\"ts\":1"), (None, "the JSON ends too early"));
        assert_eq!(bad("[]"), (None, "not a JSON object"));
        assert_eq!(bad(" [\"0198\"]"), (None, "not a JSON object"));
        assert_eq!(bad("[1"), (None, "the JSON ends too early"));
        assert_eq!(bad("{\"ts\":1,,}"), (None, "not valid JSON"));
        assert_eq!(
            bad(r#"{"ts":1,"prompt_tokens":"many"}"#),
            (Some("prompt_tokens"), "not a value this field can have")
        );
        assert_eq!(
            bad(r#"{"ts":1,"prompt":"secret"}"#),
            (None, "a field that usage events do not have")
        );
        assert_eq!(bad(r#"{"ts":1,"ts":2}"#), (None, "a field is given twice"));
        assert_eq!(bad("{\"ts\":1,\"app\":\"\u{0}\"}").1, "not valid JSON");
        assert!(read(b"{\"ts\":1,\"app\":\"\xFF\"}").is_err());
        assert_eq!(
            read(&vec![b'x'; MAX_LINE_BYTES + 1]).unwrap_err().reason,
            TOO_LONG
        );
    }

    #[test]
    fn a_stated_field_is_told_from_a_default() {
        assert!(names(br#"{"ts":1,"source":"router"}"#, "source"));
        assert!(!names(br#"{"ts":1,"app":"sources"}"#, "source"));
        assert!(!names(b"", "source"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_refused(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&line).ok();
        }

        #[test]
        fn a_damaged_line_is_an_event_or_refused(at in 0usize..90, byte: u8) {
            let mut line = br#"{"ts":"2025-06-01T12:00:00Z","prompt_tokens":7,"failed_attempts":[{"status":429}],"ttft_us":null}"#.to_vec();
            line[at] = byte;
            read(&line).ok();
        }
    }
}
