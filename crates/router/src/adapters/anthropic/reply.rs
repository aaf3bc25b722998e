//! A whole message: the same pieces in the same order as its stream gives.

use super::error;
use super::stream::{Message, Stream};
use crate::adapters::Garbage;
use crate::adapters::wire::object;
use crate::piece::Piece;

/// The pieces of a body that came with a 200.
pub(super) fn reply(body: &[u8]) -> Result<Vec<Piece>, Garbage> {
    let message: Message<'_> = object(body).ok_or(Garbage("not the JSON of a message"))?;
    if let Some(failure) = message.error.as_ref().filter(|error| !error.is_null()) {
        return Ok(vec![Piece::Failed(error::in_band(failure))]);
    }
    if message.r#type.0 != "message" {
        return Err(Garbage("not a message"));
    }
    let mut out = Vec::new();
    Stream::default().message(message, &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::adapters::testing::calls;
    use crate::piece::{FinishReason, Usage};

    #[test]
    fn a_message() {
        let out = reply(
            br#"{"type":"message","id":"m","model":"claude","content":[{"type":"thinking","thinking":"hm","signature":"sig"},{"type":"text","text":"hi"},
            {"type":"web_search_tool_result","content":[]},{"type":"tool_use","id":"t","name":"f","input":{"a":1}}],"stop_reason":"tool_use",
            "usage":{"input_tokens":3,"output_tokens":4}}"#,
        )
        .unwrap();
        assert_eq!(
            out[1],
            Piece::Reasoning {
                text: "hm".to_owned(),
                signature: Some("sig".to_owned())
            }
        );
        assert_eq!(out[2], Piece::Text("hi".to_owned()));
        assert_eq!(
            calls(&out),
            [("t".to_owned(), "f".to_owned(), r#"{"a":1}"#.to_owned())]
        );
        assert_eq!(
            out[out.len() - 2..],
            [
                Piece::Finish {
                    reason: FinishReason::ToolCalls,
                    native: "tool_use".to_owned()
                },
                Piece::Usage(Usage {
                    prompt: 3,
                    completion: 4,
                    ..Usage::default()
                })
            ]
        );
    }

    #[test]
    fn errors_and_garbage() {
        let failed =
            reply(br#"{"type":"error","error":{"type":"api_error","message":"x"}}"#).unwrap();
        assert!(matches!(&failed[..], [Piece::Failed(e)] if e.status == 500));
        for bad in [
            "",
            "{}",
            "[]",
            "null",
            "<html>",
            r#"{"type":"message","content":"#,
        ] {
            assert!(reply(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
