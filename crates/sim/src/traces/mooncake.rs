//! Mooncake's request traces: JSON lines of `timestamp` (milliseconds from 0), `input_length`,
//! `output_length` and `hash_ids`, one id for every block of 512 prompt tokens.
//!
//! A cache that never forgets is assumed: the leading run of blocks seen before counts as cached. The ids
//! seen are the only thing kept, eight bytes for each distinct block.

use super::lines::{Lines, Step};
use super::{Item, MAX_TOKENS, Row, Source, TraceError};
use serde::Deserialize;
use std::collections::HashSet;
use tidemark_event::Micros;

const BLOCK_TOKENS: i64 = 512;

#[derive(Deserialize)]
struct Request {
    timestamp: f64,
    input_length: i64,
    output_length: i64,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

pub(super) struct Rows {
    lines: Lines,
    base: Micros,
    seen: HashSet<u64>,
}

impl Rows {
    pub(super) fn new(lines: Lines, base: Micros) -> Self {
        Self {
            lines,
            base,
            seen: HashSet::new(),
        }
    }

    fn row(&mut self) -> Result<Row, TraceError> {
        let number = self.lines.number();
        let request: Request =
            serde_json::from_slice(self.lines.text()).map_err(|error| TraceError::Line {
                line: number,
                column: Some(error.column() as u64),
                field: None,
                reason: "not an object with timestamp, input_length, output_length and hash_ids",
            })?;
        let wrong = |field| TraceError::Line {
            line: number,
            column: None,
            field: Some(field),
            reason: "out of range",
        };
        for (field, count) in [
            ("input_length", request.input_length),
            ("output_length", request.output_length),
        ] {
            if !(0..=MAX_TOKENS).contains(&count) {
                return Err(wrong(field));
            }
        }
        // A century of milliseconds: beyond it lies a mistake, and the sum below stays exact.
        if !(0.0..=3.2e12).contains(&request.timestamp) {
            return Err(wrong("timestamp"));
        }
        let known = request
            .hash_ids
            .iter()
            .take_while(|id| self.seen.contains(id))
            .count() as i64;
        self.seen.extend(&request.hash_ids);
        Ok(Row {
            ts: Micros(
                self.base
                    .0
                    .saturating_add((request.timestamp * 1000.0).round() as i64),
            ),
            place: number,
            prompt: request.input_length,
            cached: (known * BLOCK_TOKENS).min(request.input_length),
            completion: request.output_length,
            client: None,
        })
    }
}

impl Source for Rows {
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
                Ok(Step::Line) => return Some(self.row().map(Item::Row)),
            }
        }
    }
}
