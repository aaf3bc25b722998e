//! Usage events as JSON lines, replayed as they were recorded.
//!
//! An event without an id gets one derived from the file's content and its line; one that does not say where
//! it comes from gets `replay:ndjson`. A line that is no event is reported by line, column and field.

use super::lines::{Lines, Step};
use super::{Format, Item, Source, TraceError};
use tidemark_event::ndjson::{self, BadLine};

pub(super) struct Events {
    lines: Lines,
}

impl Events {
    pub(super) fn new(lines: Lines) -> Self {
        Self { lines }
    }
}

fn event(line: &[u8], number: u64) -> Result<Item, TraceError> {
    let mut event = ndjson::read(line).map_err(|bad| {
        let BadLine {
            column,
            field,
            reason,
        } = bad;
        TraceError::Line {
            line: number,
            column,
            field,
            reason,
        }
    })?;
    // The default of the field is `router`.
    if event.source == "router" && !ndjson::names(line, "source") {
        event.source = Format::Ndjson.source().to_owned();
    }
    Ok(Item::Event(Box::new(event), number))
}

impl Source for Events {
    fn next(&mut self) -> Option<Result<Item, TraceError>> {
        loop {
            match self.lines.advance() {
                Err(error) => return Some(Err(TraceError::Read(error))),
                Ok(Step::End) => return None,
                Ok(Step::TooLong) => {
                    return Some(Err(TraceError::at(self.lines.number(), ndjson::TOO_LONG)));
                }
                Ok(Step::Line) if self.lines.text().trim_ascii().is_empty() => {}
                Ok(Step::Line) => return Some(event(self.lines.text(), self.lines.number())),
            }
        }
    }
}
