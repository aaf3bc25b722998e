//! What a test or a demo asks of one request, in a header or in the last user message.

use std::time::Duration;

/// The one thing that happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Ok,
    /// An error of this status.
    Status(u16),
    /// Never answered.
    Hang,
    /// Stops in the middle with the connection open.
    Stall,
    /// The connection breaks.
    Cut(Cut),
    /// The API says that the model declined.
    Refuse,
    /// The provider's filter stops the answer.
    Filter,
    /// Declined in prose.
    RefuseText,
    BadJson,
    UnknownTool,
    SchemaMismatch,
    IgnoreTools,
    /// Stopped by the token limit.
    Length,
    /// A web page with status 200.
    Html,
    /// Ends cleanly in the middle of a line.
    HalfSse,
    /// An error body with status 200.
    Error200,
    /// An error after the first half of a stream.
    ErrorInStream,
    /// Never ends.
    Endless,
    /// The right body under the wrong content type.
    WrongType,
}

/// Where a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Half,
    Chunks(usize),
    Bytes(usize),
}

/// All that one request asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directive {
    /// Whether anything was asked: then chance has no say.
    pub(super) given: bool,
    pub(super) act: Option<Act>,
    pub(super) no_usage: bool,
    pub(super) tokens: Option<u32>,
    pub(super) reasoning: Option<u32>,
    pub(super) chunk: Option<Duration>,
    pub(super) ttft: Option<Duration>,
    pub(super) retry_after: Option<u32>,
}

const WORDS: &str = "ok, a status from 400 to 599, hang, stall, cut, cut=N, cut=Nb, refuse, filter, refuse-text, \
    bad-json, unknown-tool, schema-mismatch, ignore-tools, length, html, half-sse, wrong-type, error-200, \
    error-in-stream, endless, no-usage, tokens=N, reasoning=N, chunk-ms=N, ttft-ms=N, retry-after=N";

/// The longest answer that can be asked for.
const MOST_TOKENS: u32 = 200_000;

impl Directive {
    /// Takes in words, separated by blanks, commas or semicolons.
    pub(super) fn read(&mut self, words: &str) -> Result<(), String> {
        let separators = [' ', ',', ';', '\t', '\n'];
        for word in words.split(separators).filter(|word| !word.is_empty()) {
            self.word(word)?;
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        let unknown = || format!("the simulator does not know {word:?}; it knows {WORDS}");
        let (name, value) = word
            .split_once('=')
            .map_or((word, None), |(name, value)| (name, Some(value)));
        let number = |most: u32| {
            value
                .and_then(|value| value.parse::<u32>().ok())
                .map(|value| value.min(most))
                .ok_or_else(unknown)
        };
        let millis = || number(3_600_000).map(|ms| Duration::from_millis(u64::from(ms)));
        self.given = true;
        let act = match name {
            "tokens" => {
                self.tokens = Some(number(MOST_TOKENS)?);
                return Ok(());
            }
            "reasoning" => {
                self.reasoning = Some(number(MOST_TOKENS)?);
                return Ok(());
            }
            "chunk-ms" => {
                self.chunk = Some(millis()?);
                return Ok(());
            }
            "ttft-ms" => {
                self.ttft = Some(millis()?);
                return Ok(());
            }
            "retry-after" => {
                self.retry_after = Some(number(86_400)?);
                return Ok(());
            }
            "cut" => Act::Cut(match value {
                None => Cut::Half,
                Some(value) => {
                    let (digits, bytes) =
                        match value.strip_suffix("bytes").or(value.strip_suffix('b')) {
                            Some(digits) => (digits, true),
                            None => (value.strip_suffix("chunks").unwrap_or(value), false),
                        };
                    let count = digits.parse().map_err(|_| unknown())?;
                    if bytes {
                        Cut::Bytes(count)
                    } else {
                        Cut::Chunks(count)
                    }
                }
            }),
            _ if value.is_some() => return Err(unknown()),
            "no-usage" => {
                self.no_usage = true;
                return Ok(());
            }
            "ok" => Act::Ok,
            "hang" => Act::Hang,
            "stall" => Act::Stall,
            "refuse" => Act::Refuse,
            "filter" => Act::Filter,
            "refuse-text" => Act::RefuseText,
            "bad-json" => Act::BadJson,
            "unknown-tool" => Act::UnknownTool,
            "schema-mismatch" => Act::SchemaMismatch,
            "ignore-tools" => Act::IgnoreTools,
            "length" => Act::Length,
            "html" => Act::Html,
            "half-sse" => Act::HalfSse,
            "error-200" => Act::Error200,
            "error-in-stream" => Act::ErrorInStream,
            "endless" => Act::Endless,
            "wrong-type" => Act::WrongType,
            status => match status.parse() {
                Ok(status @ 400..=599) => Act::Status(status),
                _ => return Err(unknown()),
            },
        };
        self.act = Some(act);
        Ok(())
    }
}

/// The words between `[sim:` and `]` in a text.
pub(super) fn in_text(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("[sim:")?;
    rest.split_once(']').map(|(words, _)| words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn reads_all_words() {
        let mut directive = Directive::default();
        directive
            .read(in_text("Tell me. [sim: cut=3 tokens=50 chunk-ms=5 no-usage] Please.").unwrap())
            .unwrap();
        assert_eq!(
            directive,
            Directive {
                given: true,
                act: Some(Act::Cut(Cut::Chunks(3))),
                no_usage: true,
                tokens: Some(50),
                chunk: Some(Duration::from_millis(5)),
                ..Directive::default()
            }
        );
        for (word, act) in [
            ("cut", Act::Cut(Cut::Half)),
            ("cut=100b", Act::Cut(Cut::Bytes(100))),
            ("529", Act::Status(529)),
            ("refuse-text", Act::RefuseText),
        ] {
            directive.read(word).unwrap();
            assert_eq!(directive.act, Some(act));
        }
        for word in ["200", "teapot", "tokens=x", "tokens", "cut=x", "hang=1"] {
            assert!(directive.read(word).is_err(), "{word}");
        }
    }
}
