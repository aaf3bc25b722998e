//! A whole chat answer: the same pieces in the same order as its stream gives.

use super::stream::{Chunk, Stream};
use crate::adapters::Garbage;
use crate::adapters::wire::object;
use crate::ask::{Ask, Operation};
use crate::piece::Piece;

/// The pieces of a body that came with a 200.
pub(in crate::adapters) fn reply(ask: &Ask, body: &[u8]) -> Result<Vec<Piece>, Garbage> {
    let chunk: Chunk<'_> = object(body).ok_or(Garbage("not the JSON of a chat answer"))?;
    let mut out = Vec::new();
    if chunk.error.is_none() && chunk.choices.0.is_empty() && ask.operation != Operation::Embeddings
    {
        return Err(Garbage("no choices"));
    }
    if ask.operation == Operation::Embeddings && chunk.error.is_none() && !chunk.data.is_list() {
        return Err(Garbage("no embeddings"));
    }
    let mut reader = Stream::default();
    let before_usage = reader.chunk(chunk, &mut out);
    if ask.operation != Operation::Embeddings {
        reader.end(before_usage, &mut out);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::adapters::testing::ask;
    use crate::piece::{FinishReason, Usage};
    use serde_json::json;

    fn read(body: &str) -> Result<Vec<Piece>, Garbage> {
        reply(&ask(json!({})), body.as_bytes())
    }

    #[test]
    fn everything_at_once() {
        let pieces = read(
            r#"{"id":"i","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hi","reasoning_content":"hm","refusal":null,
            "tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"function":{"name":"g","arguments":{"b":2}}}]}}],
            "usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
        );
        assert_eq!(
            pieces.unwrap(),
            [
                Piece::Start {
                    id: "i".to_owned(),
                    model: "m".to_owned()
                },
                Piece::Reasoning {
                    text: "hm".to_owned(),
                    signature: None
                },
                Piece::Text("hi".to_owned()),
                Piece::ToolCall {
                    index: 0,
                    id: Some("c".to_owned()),
                    name: Some("f".to_owned()),
                    arguments: r#"{"a":1}"#.to_owned()
                },
                Piece::ToolCall {
                    index: 1,
                    id: Some("call_1".to_owned()),
                    name: Some("g".to_owned()),
                    arguments: r#"{"b":2}"#.to_owned()
                },
                Piece::Finish {
                    reason: FinishReason::ToolCalls,
                    native: "stop".to_owned()
                },
                Piece::Usage(Usage {
                    prompt: 3,
                    completion: 2,
                    ..Usage::default()
                }),
            ]
        );
    }

    #[test]
    fn refusals_errors_and_garbage() {
        let pieces = read(
            r#"{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]}"#,
        )
        .unwrap();
        assert!(pieces.contains(&Piece::Declined("no".to_owned())));
        assert!(
            matches!(&read(r#"{"error":{"message":"x","code":502}}"#).unwrap()[..], [Piece::Failed(e)] if e.status == 502)
        );
        for bad in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"choices":[]}"#,
            r#"{"choices":{}}"#,
            "<html>",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn embeddings_give_counts_only() {
        let mut asked = ask(json!({}));
        asked.operation = Operation::Embeddings;
        let pieces = reply(&asked, br#"{"object":"list","model":"e","data":[{"embedding":[0.1],"index":0}],"usage":{"prompt_tokens":5,"total_tokens":5}}"#).unwrap();
        assert_eq!(
            pieces,
            [
                Piece::Start {
                    id: String::new(),
                    model: "e".to_owned()
                },
                Piece::Usage(Usage {
                    prompt: 5,
                    ..Usage::default()
                })
            ]
        );
        assert!(reply(&asked, b"{}").is_err());
    }
}
