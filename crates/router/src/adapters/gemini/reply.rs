//! A whole answer: the same pieces in the same order as its stream gives.

use super::stream::{Frame, Stream};
use crate::adapters::wire::object;
use crate::adapters::{Decoder, Garbage};
use crate::piece::{FinishReason, Piece};

/// The pieces of a body that came with a 200.
pub(super) fn reply(body: &[u8]) -> Result<Vec<Piece>, Garbage> {
    let frame: Frame<'_> = object(body).ok_or(Garbage("not the JSON of an answer"))?;
    if !frame.is_answer() {
        return Err(Garbage("no candidates"));
    }
    let (mut reader, mut out) = (Stream::default(), Vec::new());
    reader.frame(frame, &mut out);
    if !reader.at_end() {
        out.push(Piece::Finish {
            reason: FinishReason::Error,
            native: String::new(),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn answers_and_garbage() {
        let out = reply(br#"{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}],"modelVersion":"g"}"#).unwrap();
        assert_eq!(out[1], Piece::Text("hi".to_owned()));
        assert_eq!(
            out[2],
            Piece::Finish {
                reason: FinishReason::Stop,
                native: "STOP".to_owned()
            }
        );
        let cut = reply(br#"{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}"#).unwrap();
        assert!(matches!(
            cut.last(),
            Some(Piece::Finish {
                reason: FinishReason::Error,
                ..
            })
        ));
        for bad in [
            "",
            "{}",
            "[]",
            "null",
            "<html>",
            r#"{"usageMetadata":{"promptTokenCount":1}}"#,
        ] {
            assert!(reply(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
