//! Which decoded rows may be counted. Column at a time: the usual batch passes on a few minimum and maximum scans.

use crate::wire::Reason;
use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{ArrowNumericType, Int32Type, Int64Type, TimestampMicrosecondType};

/// How far ahead of our clock an event may be.
pub const MAX_AHEAD_US: i64 = 5 * 60 * 1_000_000;
/// How far an id's embedded time may lie from the event's time.
pub const ID_TOLERANCE_US: i64 = 3_600_000_000;

const MAX_TOKENS: i64 = 100_000_000; // ten times the largest context ever offered
const MAX_NANOUSD: i64 = 1_000_000_000_000_000; // a million dollars for one request
const MAX_DURATION_US: i64 = 7 * 86_400 * 1_000_000;
const MAX_TOOLS: i32 = 100_000;
const MAX_TEXT: i32 = 512;

/// Against what times are checked. The journal's clock, not the reader's, so that reading again gives the same verdict.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// For each row, when the journal took it in, microseconds.
    pub arrived: &'a [i64],
    /// Events older than this at arrival are refused; `None` keeps all.
    pub retention_us: Option<i64>,
}

/// What speaks against a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objection {
    /// Why it may not be counted.
    pub reason: Reason,
    /// The column it is about, by its place.
    pub column: usize,
}

/// The reason against each row, `None` for those to count. The first objection found is the one given.
pub fn check(batch: &RecordBatch, limits: Limits<'_>) -> Vec<Option<Reason>> {
    objections(batch, limits)
        .into_iter()
        .map(|objection| objection.map(|objection| objection.reason))
        .collect()
}

/// As [`check`], with the column each objection is about: for those who can still mend it.
pub fn objections(batch: &RecordBatch, limits: Limits<'_>) -> Vec<Option<Objection>> {
    let mut verdict = vec![None; batch.num_rows()];
    let fields = batch.schema_ref().fields();
    for (place, (field, column)) in fields.iter().zip(batch.columns()).enumerate() {
        let name = field.name().as_str();
        let mut verdict = About {
            verdict: &mut verdict,
            column: place,
        };
        if let Some(values) = column.as_primitive_opt::<Int64Type>() {
            let limit = match name {
                n if n.ends_with("_us") => MAX_DURATION_US,
                n if n.ends_with("_nanousd") => MAX_NANOUSD,
                _ => MAX_TOKENS,
            };
            range(values, 0, limit, &mut verdict);
        } else if let Some(values) = column.as_primitive_opt::<Int32Type>() {
            range(
                values,
                0,
                if name == "status" { 999 } else { MAX_TOOLS },
                &mut verdict,
            );
        } else if let Some(texts) = column.as_string_opt::<i32>() {
            if texts.value_data().len() > MAX_TEXT as usize || texts.len() > MAX_TEXT as usize {
                for (row, ends) in texts.value_offsets().windows(2).enumerate() {
                    if ends[1] - ends[0] > MAX_TEXT {
                        verdict.object(row, Reason::TextTooLong);
                    }
                }
            }
            if let Some(allowed) = allowed_values(name) {
                for (row, text) in texts.iter().enumerate() {
                    if !text.is_some_and(|text| allowed.contains(&text)) {
                        verdict.object(row, Reason::UnknownValue);
                    }
                }
            }
        }
    }
    times(batch, limits, &mut verdict);
    wholes(batch, &mut verdict);
    attempts(batch, &mut verdict);
    verdict
}

/// Objections to one column.
struct About<'a> {
    verdict: &'a mut [Option<Objection>],
    column: usize,
}

impl About<'_> {
    fn object(&mut self, row: usize, reason: Reason) {
        self.verdict[row].get_or_insert(Objection {
            reason,
            column: self.column,
        });
    }
}

fn range<T: ArrowNumericType>(
    values: &PrimitiveArray<T>,
    low: T::Native,
    high: T::Native,
    verdict: &mut About<'_>,
) {
    if min(values).is_none_or(|least| least >= low) && max(values).is_none_or(|most| most <= high) {
        return;
    }
    for (row, value) in values.iter().enumerate() {
        match value {
            Some(value) if value < low => verdict.object(row, Reason::Negative),
            Some(value) if value > high => verdict.object(row, Reason::Absurd),
            _ => {}
        }
    }
}

fn allowed_values(field: &str) -> Option<&'static [&'static str]> {
    match field {
        "outcome" => Some(&["ok", "error", "cancelled", "rejected"]),
        "refusal" => Some(&["none", "filtered", "declined", "declined_text"]),
        "tool_choice" => Some(&["none", "auto", "required", "named"]),
        "usage_source" => Some(&["provider", "estimated"]),
        "finish_reason" => Some(&[
            "stop",
            "tool_calls",
            "length",
            "",
            "content_filter",
            "error",
        ]),
        _ => None,
    }
}

fn times(batch: &RecordBatch, limits: Limits<'_>, verdict: &mut [Option<Objection>]) {
    let mut about = |name: &str, row: usize, reason| {
        let column = batch.schema_ref().index_of(name).unwrap_or(0);
        verdict[row].get_or_insert(Objection { reason, column });
    };
    let Some(ts) = batch
        .column_by_name("ts")
        .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
    else {
        return;
    };
    let Some(ids) = batch
        .column_by_name("event_id")
        .and_then(|c| c.as_fixed_size_binary_opt())
    else {
        return;
    };
    for row in 0..batch.num_rows() {
        let at = ts.value(row);
        let arrived = limits.arrived.get(row).copied().unwrap_or(i64::MAX);
        if at > arrived.saturating_add(MAX_AHEAD_US) {
            about("ts", row, Reason::InTheFuture);
        } else if at < 0
            || limits
                .retention_us
                .is_some_and(|retention| at < arrived.saturating_sub(retention))
        {
            about("ts", row, Reason::TooOld);
        }
        let id = ids.value(row);
        let millis = id[..6]
            .iter()
            .fold(0_i64, |ms, byte| (ms << 8) | i64::from(*byte));
        if id[6] >> 4 != 7 || at.saturating_sub(millis * 1000).abs() > ID_TOLERANCE_US {
            about("event_id", row, Reason::BadEventId);
        }
    }
}

/// Parts must not exceed their whole.
fn wholes(batch: &RecordBatch, verdict: &mut [Option<Objection>]) {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .and_then(|c| c.as_primitive_opt::<Int64Type>())
    };
    let sums: [(&str, &[&str], bool); 4] = [
        (
            "prompt_tokens",
            &["cached_tokens", "cache_write_tokens"],
            false,
        ),
        (
            "prompt_tokens",
            &[
                "image_prompt_tokens",
                "audio_prompt_tokens",
                "video_prompt_tokens",
            ],
            false,
        ),
        ("completion_tokens", &["reasoning_tokens"], false),
        (
            "cost_nanousd",
            &[
                "cost_prompt_nanousd",
                "cost_cached_nanousd",
                "cost_cache_write_nanousd",
                "cost_completion_nanousd",
                "cost_request_nanousd",
                "cost_other_nanousd",
            ],
            true,
        ),
    ];
    for (name, parts, exact) in sums {
        let Some(whole) = column(name) else { continue };
        let place = batch.schema_ref().index_of(name).unwrap_or(0);
        let parts: Vec<_> = parts.iter().filter_map(|part| column(part)).collect();
        for (row, slot) in verdict.iter_mut().enumerate() {
            let sum = parts
                .iter()
                .fold(0_i64, |sum, part| sum.saturating_add(part.value(row)));
            let whole = whole.value(row);
            if if exact { sum != whole } else { sum > whole } {
                slot.get_or_insert(Objection {
                    reason: Reason::Inconsistent,
                    column: place,
                });
            }
        }
    }
}

/// Nested attempts obey the same limits; an objection falls on the whole event.
fn attempts(batch: &RecordBatch, verdict: &mut [Option<Objection>]) {
    let mut verdict = About {
        verdict,
        column: batch.schema_ref().index_of("failed_attempts").unwrap_or(0),
    };
    let Some(lists) = batch
        .column_by_name("failed_attempts")
        .and_then(|c| c.as_list_opt::<i32>())
    else {
        return;
    };
    let Some(items) = lists.values().as_struct_opt() else {
        return;
    };
    if items.is_empty() {
        return;
    }
    for (row, ends) in lists.value_offsets().windows(2).enumerate() {
        if ends[1] - ends[0] > 64 {
            verdict.object(row, Reason::Absurd);
        }
        for item in ends[0] as usize..ends[1] as usize {
            for (name, high) in [
                ("latency_us", MAX_DURATION_US),
                ("cost_nanousd", MAX_NANOUSD),
            ] {
                match items
                    .column_by_name(name)
                    .and_then(|c| c.as_primitive_opt::<Int64Type>())
                    .map(|c| c.value(item))
                {
                    Some(value) if value < 0 => verdict.object(row, Reason::Negative),
                    Some(value) if value > high => verdict.object(row, Reason::Absurd),
                    _ => {}
                }
            }
            for texts in items
                .columns()
                .iter()
                .filter_map(|c| c.as_string_opt::<i32>())
            {
                if texts.value_length(item) > MAX_TEXT {
                    verdict.object(row, Reason::TextTooLong);
                }
            }
        }
    }
}
