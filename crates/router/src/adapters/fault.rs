//! Errors of providers: what they mean, and what of them a client may read.
//!
//! Only the message field of an error object of a known shape is ever repeated, and only cleaned: no keys, no paths, at most
//! [`LONGEST`] characters. HTML, half of a JSON text or anything else becomes a sentence of our own.

use crate::piece::{ErrorKind, UpstreamError};
use serde_json::Value;

/// Most characters of a provider's message.
const LONGEST: usize = 300;
/// Bodies beyond this are not looked into.
const LARGEST_BODY: usize = 1 << 20;

/// An error object.
#[derive(Debug, Default)]
pub(super) struct Fault {
    /// The provider's sentence.
    pub(super) message: String,
    /// `code`, `type` and `status`, whichever are there, lower case.
    pub(super) words: Vec<String>,
    /// What a gateway repeats of the provider behind it: read for its meaning, never shown.
    hidden: String,
    /// A status in the body.
    number: Option<u16>,
    /// Seconds to wait.
    retry_after: Option<u64>,
}

impl Fault {
    /// The error object of a body, if it has a known shape.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        if body.len() > LARGEST_BODY {
            return None;
        }
        Self::of(&serde_json::from_slice::<Value>(body).ok()?)
    }

    /// `{"error": {"message"}}`, `{"error": "..."}`, `{"message"}`, `{"detail"}`, or the first of a list of these.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let value = match value {
            Value::Array(list) => list.first()?,
            other => other,
        };
        let outer = value.as_object()?;
        let (object, message) = match outer.get("error") {
            Some(Value::Object(inner)) => {
                (inner, inner.get("message").or_else(|| inner.get("error")))
            }
            Some(text @ Value::String(_)) => (
                outer,
                outer
                    .get("message")
                    .filter(|m| m.is_string())
                    .or(Some(text)),
            ),
            _ => (outer, outer.get("message").or_else(|| outer.get("detail"))),
        };
        let message = match message? {
            Value::String(text) => text.clone(),
            // FastAPI and Mistral: a list of what is wrong with which field.
            Value::Array(list) => list.first()?.get("msg")?.as_str()?.to_owned(),
            Value::Object(inner) => inner
                .get("detail")?
                .as_array()?
                .first()?
                .get("msg")?
                .as_str()?
                .to_owned(),
            _ => return None,
        };
        let mut fault = Self {
            message,
            ..Self::default()
        };
        for key in ["code", "type", "status", "reason"] {
            match object.get(key) {
                Some(Value::String(word)) => fault.words.push(word.to_ascii_lowercase()),
                Some(Value::Number(number)) => {
                    fault.number = fault.number.or_else(|| status_number(number.as_u64()))
                }
                _ => {}
            }
        }
        fault.number = fault
            .number
            .or_else(|| status_number(object.get("status_code").and_then(Value::as_u64)));
        if let Some(inner) = object
            .get("innererror")
            .or_else(|| object.get("inner_error"))
        {
            fault.words.extend(
                inner
                    .get("code")
                    .and_then(Value::as_str)
                    .map(str::to_ascii_lowercase),
            );
        }
        if let Some(metadata) = object.get("metadata") {
            fault.hidden = metadata
                .get("raw")
                .map(|raw| raw.as_str().map_or_else(|| raw.to_string(), str::to_owned))
                .unwrap_or_default();
        }
        for detail in object
            .get("details")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            fault.words.extend(
                detail
                    .get("reason")
                    .and_then(Value::as_str)
                    .map(str::to_ascii_lowercase),
            );
            if let Some(delay) = detail.get("retryDelay").and_then(Value::as_str) {
                fault.retry_after = seconds(delay);
            }
        }
        let named = object
            .get("retry_after")
            .or_else(|| object.get("metadata")?.get("retry_after"));
        fault.retry_after = fault.retry_after.or_else(|| whole(named?.as_f64()?));
        fault.retry_after = fault.retry_after.or_else(|| {
            let lower = fault.message.to_ascii_lowercase();
            let at = lower.find("try again in ")? + "try again in ".len();
            seconds(lower.get(at..)?.split_whitespace().next()?)
        });
        Some(fault)
    }

    /// Whether a code, type or status is this word.
    fn is(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.contains(&word.as_str()))
    }

    /// Whether the message, or what is behind it, says one of these.
    fn says(&self, phrases: &[&str]) -> bool {
        let (message, hidden) = (
            self.message.to_ascii_lowercase(),
            self.hidden.to_ascii_lowercase(),
        );
        phrases
            .iter()
            .any(|phrase| message.contains(phrase) || hidden.contains(phrase))
    }

    /// What it means. `status` is 0 inside an answer that began with a 200.
    pub(super) fn kind(&self, status: u16) -> ErrorKind {
        if self.is(&[
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "insufficient_balance",
            "billing_error",
        ]) || self.says(&[
            "credit balance is too low",
            "insufficient balance",
            "insufficient credits",
            "insufficient funds",
            "billing hard limit",
        ]) || self.is(&[
            "invalid_api_key",
            "authentication_error",
            "permission_error",
            "api_key_invalid",
            "unauthenticated",
            "permission_denied",
        ]) || self.says(&["api key not valid", "incorrect api key", "invalid api key"])
        {
            return ErrorKind::Credentials;
        }
        if self.is(&[
            "content_filter",
            "content_policy_violation",
            "responsibleaipolicyviolation",
            "data_inspection_failed",
            "invalid_prompt",
            "moderation_blocked",
        ]) || self.says(&[
            "content management policy",
            "content filtering policy",
            "content policy",
            "flagged as potentially",
            "input was flagged",
            "flagged by moderation",
        ]) {
            return ErrorKind::Filtered;
        }
        if self.is(&[
            "rate_limit_exceeded",
            "rate_limit_error",
            "resource_exhausted",
            "too_many_requests",
            "tokens_per_minute",
        ]) {
            return ErrorKind::RateLimited;
        }
        if !matches!(status, 401..=404 | 429) && self.overflows() {
            return ErrorKind::ContextOverflow;
        }
        if self.is(&[
            "overloaded_error",
            "engine_overloaded",
            "unavailable",
            "service_unavailable",
            "model_overloaded",
        ]) {
            return ErrorKind::Overloaded;
        }
        if self.is(&["timeout_error", "deadline_exceeded", "timeout"]) {
            return ErrorKind::Timeout;
        }
        if self.is(&[
            "model_not_found",
            "not_found_error",
            "not_found",
            "deploymentnotfound",
            "model_decommissioned",
        ]) {
            return ErrorKind::NotFound;
        }
        // The model wrote a call that its own provider refuses: another endpoint may write a better one.
        if self.is(&["tool_use_failed"]) {
            return ErrorKind::Server;
        }
        match (status, self.number) {
            (400.., _) => ErrorKind::of_status(status),
            (_, Some(number)) => ErrorKind::of_status(number),
            _ if self.is(&[
                "invalid_request_error",
                "invalid_argument",
                "request_too_large",
                "failed_precondition",
            ]) =>
            {
                ErrorKind::InvalidRequest
            }
            _ => ErrorKind::Server,
        }
    }

    fn overflows(&self) -> bool {
        self.is(&[
            "context_length_exceeded",
            "context_window_exceeded",
            "model_context_window_exceeded",
            "exceed_context_size_error",
        ]) || self.says(&[
            "context_length_exceeded",
            "prompt is too long",
            "maximum context length",
            "exceeds the maximum number of tokens",
            "exceeds the context window",
            "exceed context limit",
            "context length exceeded",
            "input is too long",
            "reduce the length of the messages",
            "maximum prompt length",
            "exceeds the available context size",
            "longer than the model's context length",
            "too large for model with",
            "token limit reached",
        ])
    }
}

/// The error of an answer: with a status of its own, or (status 0) inside an answer that began with a 200.
pub(super) fn error(status: u16, fault: Option<Fault>) -> UpstreamError {
    let kind = fault
        .as_ref()
        .map_or_else(|| ErrorKind::of_status(status), |fault| fault.kind(status));
    let status = if status == 0 {
        fault.as_ref().and_then(|f| f.number).unwrap_or(0)
    } else {
        status
    };
    let retry_after = fault.as_ref().and_then(|fault| fault.retry_after);
    // What is wrong with the request, its author must read. What is wrong there, or with our account, is told in our words.
    let message = fault
        .filter(|_| !kind.try_elsewhere())
        .map(|fault| clean(&fault.message))
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| kind.sentence().to_owned());
    UpstreamError {
        status,
        kind,
        message,
        retry_after,
    }
}

/// A message without keys, tokens, paths and control characters, cut to [`LONGEST`] characters.
fn clean(message: &str) -> String {
    let (mut text, mut length, mut after_bearer) = (String::new(), 0, false);
    for word in message
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
    {
        let word = if after_bearer || is_secret(word) {
            "[key]"
        } else if is_path(word) {
            "[path]"
        } else {
            word
        };
        after_bearer = word
            .trim_matches(|c: char| !c.is_ascii_alphanumeric())
            .eq_ignore_ascii_case("bearer");
        let room = LONGEST - length.min(LONGEST);
        if !text.is_empty() && room > 1 {
            text.push(' ');
            length += 1;
        }
        for c in word.chars().take(LONGEST - length.min(LONGEST)) {
            text.push(c);
            length += 1;
        }
        if length >= LONGEST {
            break;
        }
    }
    text
}

fn is_secret(word: &str) -> bool {
    const PREFIXES: [&str; 11] = [
        "sk-", "sk_", "gsk_", "xai-", "aiza", "pplx-", "hf_", "r8_", "bearer", "api_key=", "key=",
    ];
    word.split(|c: char| {
        matches!(
            c,
            '"' | '\''
                | '`'
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | ','
                | ';'
                | ':'
                | '<'
                | '>'
                | '='
        )
    })
    .any(|part| {
        let lower = part.to_ascii_lowercase();
        let run = part.len() >= 40
            && part.bytes().any(|b| b.is_ascii_digit())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+' | b'/'));
        run || PREFIXES
            .iter()
            .any(|prefix| lower.starts_with(prefix) && lower.len() >= prefix.len() + 5)
    })
}

fn is_path(word: &str) -> bool {
    let word = word.trim_start_matches(['"', '\'', '`', '(', '[']);
    (word.starts_with('/') && word.matches('/').count() > 1) || word.get(1..3) == Some(":\\")
}

fn status_number(number: Option<u64>) -> Option<u16> {
    number
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| (400..600).contains(n))
}

/// `34s`, `34.4s`, `1m30s`, `345ms`, rounded up.
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim_end_matches(['.', ',', ')']);
    let (mut total, mut rest, mut any) = (0.0, text, false);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(end)?;
        let number: f64 = number.parse().ok()?;
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit)?;
        total += number
            * match unit {
                "ms" => 0.001,
                "s" | "sec" | "second" | "seconds" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        (rest, any) = (tail, true);
    }
    if any { whole(total) } else { None }
}

fn whole(seconds: f64) -> Option<u64> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded just before"
    )]
    (0.0..=86_400.0 * 31.0)
        .contains(&seconds)
        .then_some(seconds.ceil() as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(status: u16, body: &str) -> UpstreamError {
        error(status, Fault::read(body.as_bytes()))
    }

    #[test]
    fn bodies_of_unknown_shape_never_leak() {
        for body in [
            "<html>secret</html>",
            "{\"error\":{\"mess",
            "",
            "[]",
            "42",
            "{\"stack\":\"secret\"}",
            "null",
        ] {
            for status in [400, 500, 503, 429] {
                assert!(!of(status, body).message.contains("secret"));
                assert!(!of(status, body).message.is_empty());
            }
        }
    }

    #[test]
    fn keys_and_paths_are_taken_out() {
        let error = of(
            400,
            r#"{"error":{"message":"bad sk-abcdefghijk and Bearer abc.def at /srv/app/x.py, 'gsk_1234567890' AIzaSyAbcdefghijk\u0007 end"}}"#,
        );
        assert_eq!(
            error.message,
            "bad [key] and Bearer [key] at [path] [key] [key] end"
        );
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "wörd ".repeat(200));
        assert!(of(400, &long).message.chars().count() <= LONGEST);
        let ours = of(
            401,
            r#"{"error":{"message":"Incorrect API key provided: sk-a***b of org-x"}}"#,
        );
        assert!(ours.kind == ErrorKind::Credentials && !ours.message.contains("org-x"));
    }

    #[test]
    fn kinds() {
        for (status, body, kind) in [
            (
                400,
                r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#,
                ErrorKind::ContextOverflow,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                ErrorKind::ContextOverflow,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"The input token count (2) exceeds the maximum number of tokens allowed (1).","status":"INVALID_ARGUMENT"}}"#,
                ErrorKind::ContextOverflow,
            ),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 8 tokens","type":"BadRequestError","code":400}"#,
                ErrorKind::ContextOverflow,
            ),
            (
                429,
                r#"{"error":{"message":"x","code":"insufficient_quota"}}"#,
                ErrorKind::Credentials,
            ),
            (
                400,
                r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API"}}"#,
                ErrorKind::Credentials,
            ),
            (
                413,
                r#"{"error":{"message":"Request too large on tokens per minute","code":"rate_limit_exceeded"}}"#,
                ErrorKind::RateLimited,
            ),
            (
                400,
                r#"{"error":{"message":"blocked","code":"content_filter"}}"#,
                ErrorKind::Filtered,
            ),
            (
                400,
                r#"{"error":{"message":"x","code":"model_not_found"}}"#,
                ErrorKind::NotFound,
            ),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                ErrorKind::Overloaded,
            ),
            (
                0,
                r#"{"error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                ErrorKind::Overloaded,
            ),
            (
                0,
                r#"{"error":{"code":429,"message":"x"}}"#,
                ErrorKind::RateLimited,
            ),
            (400, "<html>", ErrorKind::InvalidRequest),
            (502, "<html>", ErrorKind::Server),
            (
                422,
                r#"{"detail":[{"loc":["body"],"msg":"Field required"}]}"#,
                ErrorKind::InvalidRequest,
            ),
        ] {
            assert_eq!(of(status, body).kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn waits() {
        for (text, wait) in [
            ("34s", Some(34)),
            ("34.4s", Some(35)),
            ("1m30s", Some(90)),
            ("345ms", Some(1)),
            ("soon", None),
            ("", None),
            ("9", None),
            ("1.2.3s", None),
        ] {
            assert_eq!(seconds(text), wait, "{text}");
        }
        let body = r#"{"error":{"message":"Please try again in 7.66s. Visit","code":"rate_limit_exceeded"}}"#;
        assert_eq!(of(429, body).retry_after, Some(8));
    }
}
