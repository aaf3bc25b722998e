//! `POST /v1/embeddings`.

use super::{Ask, BadRequest, Operation, chat};
use crate::judge::tools::Offered;
use serde_json::{Map, Value};

/// Reads the body of an embeddings request.
///
/// # Errors
/// [`BadRequest`] that names the field.
pub fn read(body: Map<String, Value>) -> Result<Ask, BadRequest> {
    let model = chat::model(&body)?;
    let fine = match body.get("input") {
        Some(Value::String(_)) => true,
        Some(Value::Array(inputs)) => {
            let same = |check: fn(&Value) -> bool| inputs.iter().all(check);
            let tokens = |list: &Value| {
                list.as_array()
                    .is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_u64))
            };
            !inputs.is_empty()
                && (same(Value::is_string) || same(Value::is_u64) || inputs.iter().all(tokens))
        }
        _ => false,
    };
    if !fine {
        return Err(BadRequest::field(
            "input",
            "`input` is a text, a list of texts, or token numbers",
        ));
    }
    Ok(Ask {
        operation: Operation::Embeddings,
        model,
        stream: false,
        include_usage: false,
        session: chat::session(&body),
        body,
        messages_body: None,
        offered: Offered::default(),
    })
}
