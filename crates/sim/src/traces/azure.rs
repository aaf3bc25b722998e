//! Azure's public LLM inference traces: `TIMESTAMP,ContextTokens,GeneratedTokens`.

use super::lines::{Lines, Step};
use super::{Format, Item, MAX_TOKENS, Row, Source, TraceError};
use chrono::{DateTime, NaiveDateTime};
use tidemark_event::Micros;

/// Where the three columns stand: later editions of the trace may order them differently.
#[derive(Clone, Copy)]
struct Columns {
    timestamp: usize,
    context: usize,
    generated: usize,
}

pub(super) struct Rows {
    lines: Lines,
    columns: Columns,
}

impl Rows {
    pub(super) fn new(mut lines: Lines) -> Result<Self, TraceError> {
        let header = lines.advance().map_err(TraceError::Read)?;
        let wrong = TraceError::NotThisFormat {
            format: Format::Azure,
            expected: "its first line must name the columns TIMESTAMP, ContextTokens and GeneratedTokens",
        };
        let columns = (header == Step::Line)
            .then(|| columns(lines.text()))
            .flatten()
            .ok_or(wrong)?;
        Ok(Self { lines, columns })
    }
}

fn cells(line: &[u8]) -> impl Iterator<Item = &str> {
    line.split(|&byte| byte == b',')
        .map(|cell| str::from_utf8(cell).unwrap_or("").trim().trim_matches('"'))
}

fn columns(header: &[u8]) -> Option<Columns> {
    let find = |name: &str| cells(header).position(|cell| cell.eq_ignore_ascii_case(name));
    Some(Columns {
        timestamp: find("TIMESTAMP")?,
        context: find("ContextTokens")?,
        generated: find("GeneratedTokens")?,
    })
}

/// `2023-11-16 18:17:03.9799600` is UTC; later editions add an offset.
fn time(text: &str) -> Option<Micros> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f"))
        .map(|time| time.and_utc().timestamp_micros())
        .or_else(|_| DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros()))
        .ok()
        .map(Micros)
}

fn row(line: &[u8], number: u64, columns: Columns) -> Result<Row, TraceError> {
    let wrong = |field: &'static str, reason: &'static str| TraceError::Line {
        line: number,
        column: None,
        field: Some(field),
        reason,
    };
    let cell = |index: usize, field: &'static str| {
        cells(line)
            .nth(index)
            .ok_or_else(|| wrong(field, "missing"))
    };
    let count = |index: usize, field: &'static str| {
        let count: i64 = cell(index, field)?
            .parse()
            .map_err(|_| wrong(field, "expected a whole number"))?;
        if (0..=MAX_TOKENS).contains(&count) {
            Ok(count)
        } else {
            Err(wrong(field, "out of range"))
        }
    };
    Ok(Row {
        ts: time(cell(columns.timestamp, "TIMESTAMP")?).ok_or_else(|| {
            wrong(
                "TIMESTAMP",
                "expected a time like 2023-11-16 18:17:03.9799600",
            )
        })?,
        place: number,
        prompt: count(columns.context, "ContextTokens")?,
        completion: count(columns.generated, "GeneratedTokens")?,
        ..Row::default()
    })
}

impl Source for Rows {
    fn next(&mut self) -> Option<Result<Item, TraceError>> {
        loop {
            let step = match self.lines.advance() {
                Ok(step) => step,
                Err(error) => return Some(Err(TraceError::Read(error))),
            };
            let number = self.lines.number();
            match step {
                Step::End => return None,
                Step::TooLong => return Some(Err(TraceError::at(number, "longer than 10 MiB"))),
                Step::Line if self.lines.text().trim_ascii().is_empty() => {}
                Step::Line => {
                    return Some(row(self.lines.text(), number, self.columns).map(Item::Row));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_seven_digits_and_with_offsets() {
        assert_eq!(
            time("2023-11-16 18:17:03.9799600"),
            Some(Micros(1_700_158_623_979_960))
        );
        assert_eq!(
            time("2023-11-16T18:17:03Z"),
            Some(Micros(1_700_158_623_000_000))
        );
        assert_eq!(
            time("2023-11-16 19:17:03.5+01:00"),
            Some(Micros(1_700_158_623_500_000))
        );
        assert_eq!(time("yesterday"), None);
    }
}
