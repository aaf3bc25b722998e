//! Chunks of every make.

#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::adapters::testing::{calls, pieces};
use crate::piece::Usage;

fn read(events: &[&str]) -> Vec<Piece> {
    pieces(Box::new(Stream::default()), events)
}

fn tools(events: &[&str]) -> Vec<(String, String, String)> {
    let events: Vec<String> = events
        .iter()
        .map(|calls| {
            format!(r#"{{"id":"i","choices":[{{"index":0,"delta":{{"tool_calls":{calls}}}}}]}}"#)
        })
        .collect();
    calls(&read(
        &events.iter().map(String::as_str).collect::<Vec<_>>(),
    ))
}

fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.to_owned(), name.to_owned(), arguments.to_owned())
}

#[test]
fn text_counts_and_end() {
    let out = read(&[
        r#"{"id":"","model":"","choices":[],"prompt_filter_results":[]}"#,
        r#"{"id":"i","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
        r#"{"id":"i","model":"m","choices":[{"index":0,"delta":{"content":"a\n"}},{"index":1,"delta":{"content":"not this"}}]}"#,
        r#"{"id":"i","choices":[{"index":0,"delta":{},"finish_reason":"length"}],"usage":null}"#,
        r#"{"id":"i","choices":[{"index":0,"delta":{"content":""},"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
        "[DONE]",
    ]);
    assert_eq!(
        out,
        [
            Piece::Start {
                id: "i".to_owned(),
                model: "m".to_owned()
            },
            Piece::Text("a\n".to_owned()),
            Piece::Finish {
                reason: FinishReason::Length,
                native: "length".to_owned()
            },
            Piece::Usage(Usage {
                prompt: 1,
                completion: 2,
                ..Usage::default()
            }),
        ]
    );
}

#[test]
fn tool_calls_of_every_make() {
    // OpenAI: index, then arguments in parts.
    let openai = tools(&[
        r#"[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]"#,
        r#"[{"index":0,"function":{"arguments":"{\"x\""}}]"#,
        r#"[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]"#,
        r#"[{"index":0,"function":{"arguments":":1}"}}]"#,
    ]);
    assert_eq!(openai, [call("a", "f", r#"{"x":1}"#), call("b", "g", "{}")]);
    // Id and name in every part.
    let repeated = tools(&[
        r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]"#,
        r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}]"#,
    ]);
    assert_eq!(repeated, [call("a", "f", "{}")]);
    // No index; the second call has no id either.
    let bare = tools(&[
        r#"[{"id":"a","function":{"name":"f","arguments":"{"}}]"#,
        r#"[{"function":{"arguments":"}"}}]"#,
        r#"[{"function":{"name":"g","arguments":{"y":[1]}}}]"#,
    ]);
    assert_eq!(
        bare,
        [call("a", "f", "{}"), call("call_1", "g", r#"{"y":[1]}"#)]
    );
    // Every call with the index 0.
    let zero = tools(&[
        r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]"#,
    ]);
    assert_eq!(zero, [call("a", "f", "{}"), call("b", "f", "{}")]);
    // Counting from 1.
    let one = tools(&[
        r#"[{"index":1,"id":"a","function":{"name":"f"}}]"#,
        r#"[{"index":1,"function":{"arguments":"{}"}}]"#,
    ]);
    assert_eq!(one, [call("a", "f", "{}")]);
}

#[test]
fn a_call_begins_with_its_name() {
    let out = read(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a"}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}},{"index":2,"id":"c","function":{"arguments":"{"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":":1"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]},"finish_reason":"tool_calls"}]}"#,
    ]);
    let begun: Vec<_> = out
        .iter()
        .filter_map(|piece| match piece {
            Piece::ToolCall {
                index, id, name, ..
            } => Some((*index, id.as_deref(), name.as_deref())),
            _ => None,
        })
        .collect();
    assert_eq!(
        begun,
        [
            (0, Some("b"), Some("g")),
            (1, Some("a"), Some("f")),
            (1, None, None),
            (2, Some("c"), Some(""))
        ]
    );
    assert_eq!(
        calls(&out),
        [
            call("b", "g", "{}"),
            call("a", "f", r#"{"x":1}"#),
            call("c", "", "{")
        ]
    );
}

#[test]
fn thinking_refusal_and_lists() {
    let out = read(&[
        r#"{"id":"i","choices":[{"delta":{"reasoning":"a","reasoning_content":"a","reasoning_details":[{"type":"reasoning.text","signature":"s"}]}}]}"#,
        r#"{"id":"i","choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"b"}]},{"type":"text","text":"c"}]}}]}"#,
        r#"{"id":"i","choices":[{"delta":{"refusal":"no"},"finish_reason":"stop","native_finish_reason":"end"}]}"#,
    ]);
    let thought = |text: &str, signature: Option<&str>| Piece::Reasoning {
        text: text.to_owned(),
        signature: signature.map(str::to_owned),
    };
    assert_eq!(
        out[1..],
        [
            thought("a", None),
            thought("", Some("s")),
            thought("b", None),
            Piece::Text("c".to_owned()),
            Piece::Declined("no".to_owned()),
            Piece::Finish {
                reason: FinishReason::Stop,
                native: "end".to_owned()
            }
        ]
    );
}

#[test]
fn a_stream_that_fails() {
    for event in [
        r#"{"error":{"message":"x","code":502}}"#,
        r#"{"id":"i","choices":[{"index":0,"delta":{},"finish_reason":"error","error":{"message":"x","code":502}}]}"#,
    ] {
        let out = read(&[
            r#"{"id":"i","choices":[{"delta":{"content":"a"}}]}"#,
            event,
            "[DONE]",
        ]);
        assert!(
            matches!(out.last(), Some(Piece::Failed(e)) if e.status == 502 && e.message == "The provider failed."),
            "{out:?}"
        );
    }
}

#[test]
fn the_end_without_a_reason() {
    let out = read(&[
        r#"{"id":"","model":"m","choices":[{"delta":{"content":"4"}}]}"#,
        "[DONE]",
    ]);
    assert!(matches!(
        out.last(),
        Some(Piece::Finish {
            reason: FinishReason::Stop,
            ..
        })
    ));
    let mut stream = Stream::default();
    let event = Event {
        name: String::new(),
        data: br#"{"choices":[{"delta":{"content":"4"}}]}"#.as_slice().into(),
    };
    stream.event(&event, &mut Vec::new()).unwrap();
    assert!(!stream.at_end());
    assert!(
        stream
            .event(
                &Event {
                    name: String::new(),
                    data: b"<html>".as_slice().into()
                },
                &mut Vec::new()
            )
            .is_err()
    );
}
