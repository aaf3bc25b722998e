//! A streamed answer: every event is a whole answer with the next parts. There is no mark of the end but a finish reason.

use super::error;
use super::usage::Wire as UsageWire;
use crate::adapters::finish::Finish;
use crate::adapters::wire::{Count, Flag, JsonText, List, Maybe, Str, object};
use crate::adapters::{Decoder, Garbage};
use crate::piece::{FinishReason, Piece};
use crate::sse::Event;
use serde::Deserialize;
use serde_json::Value;

/// One event, or a whole answer: they are of one shape.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Frame<'a> {
    #[serde(borrow)]
    pub(super) candidates: List<Maybe<Candidate<'a>>>,
    #[serde(borrow)]
    usage_metadata: Maybe<UsageWire<'a>>,
    #[serde(borrow)]
    prompt_feedback: Maybe<Feedback<'a>>,
    #[serde(borrow)]
    model_version: Str<'a>,
    #[serde(borrow)]
    response_id: Str<'a>,
    error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    index: Count,
    #[serde(borrow)]
    content: Maybe<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    parts: List<Maybe<Part<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Str<'a>,
    thought: Flag,
    #[serde(borrow)]
    thought_signature: Str<'a>,
    #[serde(borrow)]
    function_call: Maybe<Call<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Call<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(borrow)]
    args: JsonText<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Str<'a>,
}

impl Frame<'_> {
    /// Whether it says anything of an answer: a candidate, a blocked prompt or an error.
    pub(super) fn is_answer(&self) -> bool {
        !self.candidates.0.is_empty()
            || self.error.is_some()
            || self
                .prompt_feedback
                .0
                .as_ref()
                .is_some_and(|f| !f.block_reason.is_empty())
    }
}

/// Reads one streamed answer.
#[derive(Debug, Default)]
pub(super) struct Stream {
    started: bool,
    calls: u32,
    finish: Finish,
    failed: bool,
}

impl Decoder for Stream {
    fn event(&mut self, event: &Event, out: &mut Vec<Piece>) -> Result<(), Garbage> {
        let data = event.json();
        if data.is_empty() || data == b"[DONE]" || self.failed {
            return Ok(());
        }
        let frame: Frame<'_> =
            object(data).ok_or(Garbage("an event is not the JSON of an answer"))?;
        self.frame(frame, out);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.failed
    }

    fn at_end(&self) -> bool {
        self.finish.is_said() || self.failed
    }
}

impl Stream {
    /// The pieces of one event.
    pub(super) fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Piece>) {
        if let Some(failure) = frame.error.filter(|error| !error.is_null()) {
            self.failed = true;
            out.push(Piece::Failed(error::in_band(&failure)));
            return;
        }
        let says = !frame.candidates.0.is_empty() || !frame.model_version.is_empty();
        if says && !self.started {
            self.started = true;
            out.push(Piece::Start {
                id: frame.response_id.0.into_owned(),
                model: frame.model_version.0.into_owned(),
            });
        }
        for candidate in frame
            .candidates
            .0
            .into_iter()
            .filter_map(|candidate| candidate.0)
        {
            if candidate.index.or_zero() > 0 {
                continue;
            }
            for part in candidate
                .content
                .0
                .into_iter()
                .flat_map(|content| content.parts.0)
                .filter_map(|part| part.0)
            {
                self.part(part, out);
            }
            let native = &*candidate.finish_reason.0;
            if !native.is_empty() && native != "FINISH_REASON_UNSPECIFIED" {
                self.finish.say(reason(native), native, self.calls > 0, out);
            }
        }
        if let Some(feedback) = frame
            .prompt_feedback
            .0
            .filter(|feedback| !feedback.block_reason.is_empty())
        {
            self.finish.say(
                FinishReason::ContentFilter,
                &feedback.block_reason.0,
                false,
                out,
            );
        }
        out.extend(
            frame
                .usage_metadata
                .0
                .and_then(|usage| usage.usage())
                .map(Piece::Usage),
        );
    }

    fn part(&mut self, part: Part<'_>, out: &mut Vec<Piece>) {
        if let Some(call) = part.function_call.0 {
            let index = self.calls;
            self.calls = self.calls.saturating_add(1);
            let id = if call.id.is_empty() {
                format!("call_{index}")
            } else {
                call.id.0.into_owned()
            };
            let arguments = if call.args.0.is_empty() {
                "{}".to_owned()
            } else {
                call.args.0.into_owned()
            };
            out.push(Piece::ToolCall {
                index,
                id: Some(id),
                name: Some(call.name.0.into_owned()),
                arguments,
            });
        } else if part.thought.0 {
            let signature =
                (!part.thought_signature.is_empty()).then(|| part.thought_signature.0.into_owned());
            if !part.text.is_empty() || signature.is_some() {
                out.push(Piece::Reasoning {
                    text: part.text.0.into_owned(),
                    signature,
                });
            }
        } else if !part.text.is_empty() {
            out.push(Piece::Text(part.text.0.into_owned()));
        }
    }
}

/// The provider's reasons in ours. Whatever is neither an end, nor the limit, nor a filter, is a fault.
fn reason(native: &str) -> FinishReason {
    match native {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        _ => FinishReason::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::testing::{calls, pieces};
    use crate::piece::Usage;

    fn read(events: &[&str]) -> Vec<Piece> {
        pieces(Box::new(Stream::default()), events)
    }

    #[test]
    fn thoughts_text_calls_and_counts() {
        let out = read(&[
            r#"{"responseId":"r","modelVersion":"g","candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"hi"}]}}],"usageMetadata":{"promptTokenCount":2}}"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"s"},{"functionCall":{"id":"x","name":"g"}}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":3}}"#,
        ]);
        assert_eq!(
            out[0],
            Piece::Start {
                id: "r".to_owned(),
                model: "g".to_owned()
            }
        );
        assert_eq!(
            out[1],
            Piece::Reasoning {
                text: "hm".to_owned(),
                signature: None
            }
        );
        assert_eq!(out[2], Piece::Text("hi".to_owned()));
        let call = |id: &str, name: &str, arguments: &str| {
            (id.to_owned(), name.to_owned(), arguments.to_owned())
        };
        assert_eq!(
            calls(&out),
            [call("call_0", "f", r#"{"a":1}"#), call("x", "g", "{}")]
        );
        assert_eq!(
            out[out.len() - 2..],
            [
                Piece::Finish {
                    reason: FinishReason::ToolCalls,
                    native: "STOP".to_owned()
                },
                Piece::Usage(Usage {
                    prompt: 2,
                    completion: 3,
                    ..Usage::default()
                })
            ]
        );
    }

    #[test]
    fn filters_and_faults() {
        for (native, want) in [
            ("SAFETY", FinishReason::ContentFilter),
            ("MALFORMED_FUNCTION_CALL", FinishReason::Error),
            ("MAX_TOKENS", FinishReason::Length),
        ] {
            let out = read(&[&format!(
                r#"{{"candidates":[{{"finishReason":"{native}"}}]}}"#
            )]);
            assert_eq!(
                out[1..],
                [Piece::Finish {
                    reason: want,
                    native: native.to_owned()
                }]
            );
        }
        let out = read(&[
            r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"modelVersion":"g"}"#,
        ]);
        assert_eq!(
            out[1],
            Piece::Finish {
                reason: FinishReason::ContentFilter,
                native: "PROHIBITED_CONTENT".to_owned()
            }
        );
        let out = read(&[r#"{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}"#]);
        assert!(matches!(&out[..], [Piece::Failed(e)] if e.status == 503));
    }
}
