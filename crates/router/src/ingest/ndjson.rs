//! Usage events as JSON lines, over HTTP.

use super::batch::{Batch, Fault, Taken};
use super::{Refusal, TooMany};
use crate::gateway::Reply;
use crate::respond::json_response;
use http::{HeaderMap, Response};
use serde_json::{Value, json};
use tidemark_event::ndjson;

/// What events of JSON lines carry in `source`.
const SOURCE: &str = "ingest";

/// Whether a content type can be JSON lines. What `curl --data-binary` says without being told is among them.
pub(super) fn speaks(headers: &HeaderMap) -> bool {
    matches!(
        super::media_type(headers),
        "" | "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/json"
            | "application/octet-stream"
            | "application/x-www-form-urlencoded"
            | "text/plain"
    )
}

/// Reads all lines. A bad one is refused and harms no other.
///
/// # Errors
/// 413 for too many.
pub(super) fn read(body: &[u8], batch: &mut Batch<'_>) -> Result<(), Refusal> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    for (line, number) in body.split(|byte| *byte == b'\n').zip(1..) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match ndjson::read(line) {
            Ok(mut event) => {
                SOURCE.clone_into(&mut event.source);
                let costs_stated = ndjson::names(line, "cost_nanousd");
                batch
                    .push(number, event, costs_stated)
                    .map_err(|TooMany| super::too_many("lines"))?;
            }
            Err(bad) => batch.refuse(Fault {
                place: number,
                field: bad.field,
                message: bad.reason.into(),
            }),
        }
    }
    Ok(())
}

/// How many were taken, and what was wrong with the others.
///
/// # Errors
/// 400 when there was nothing to take.
pub(super) fn answer(taken: &Taken) -> Result<Response<Reply>, Refusal> {
    let errors: Vec<Value> = taken
        .faults
        .iter()
        .map(|fault| json!({"line": fault.place, "field": fault.field, "message": fault.message}))
        .collect();
    if taken.accepted == 0 {
        let message = if taken.rejected == 0 {
            "the body has no lines: send one usage event as a JSON object per line"
        } else {
            "no line is a usage event that can be counted; `errors` says why"
        };
        return Err(Refusal::new(400, "no_events", message)
            .with("accepted", 0)
            .with("rejected", taken.rejected)
            .with("errors", errors));
    }
    let body = json!({"accepted": taken.accepted, "rejected": taken.rejected, "errors": errors});
    Ok(json_response(200, body.to_string().into_bytes()))
}
