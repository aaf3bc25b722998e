//! How limits stand, in the words that clients know: refusals, `x-ratelimit-*` headers and `GET /v1/key`.

use super::admission::{Of, Reading, Standing};
use super::limit::{Limit, Measure};
use super::window::Window;
use crate::answer::dollars;
use crate::answer::error::Refusal;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// Carries the soft limits that are met.
const WARNING: HeaderName = HeaderName::from_static("x-tidemark-limit-warning");

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

impl Reading {
    /// Whose it is, as a client reads it.
    fn whose(&self) -> &'static str {
        match self.of {
            Of::Key => "this key",
            Of::Account => "this key's account",
        }
    }

    /// Seconds until it begins anew.
    fn wait(&self) -> Option<u64> {
        Some(self.resets?.saturating_sub(self.now).max(1) as u64)
    }

    fn resets_at(&self) -> Option<String> {
        let at = DateTime::<Utc>::from_timestamp(self.resets?, 0)?;
        Some(at.to_rfc3339_opts(SecondsFormat::Secs, true))
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let Limit {
            measure, window, ..
        } = self.limit;
        let number = |amount: u64| match measure {
            Measure::Spend => Value::from(dollars(i64::try_from(amount).unwrap_or(i64::MAX))),
            Measure::Requests | Measure::Tokens => Value::from(amount),
        };
        json!({
            "limit": self.limit.to_string(), "of": self.of.as_str(), "hard": self.hard,
            "unit": measure.unit(), "window": window.as_str(),
            "amount": number(self.limit.amount), "used": number(self.used), "remaining": number(self.left),
            "resets_at": self.resets_at(),
        })
    }
}

impl From<&Reading> for Refusal {
    /// 429 where waiting helps, 402 where it does not or where it is about money.
    fn from(met: &Reading) -> Self {
        let (limit, whose) = (met.limit, met.whose());
        let (status, code, message, retry_after) = if !met.is_used_up() {
            (
                429,
                "rate_limit_exceeded",
                format!(
                    "what {whose} has left of its limit of {limit} is set aside for requests at work: try again when they are done"
                ),
                Some(1),
            )
        } else {
            let then = match met.resets_at() {
                Some(at) => format!("it begins anew at {at}: wait until then, or have it raised"),
                None => "it does not begin anew: have it raised".to_owned(),
            };
            let message = format!("{whose} has used up its limit of {limit}; {then}");
            match (limit.measure, met.wait()) {
                (Measure::Requests | Measure::Tokens, Some(wait)) => {
                    (429, "rate_limit_exceeded", message, Some(wait))
                }
                _ => (402, "insufficient_quota", message, None),
            }
        };
        let refusal = Self {
            retry_after,
            ..Self::new(status, code, message)
        };
        match met.json() {
            Value::Object(facts) => Self {
                metadata: facts,
                ..refusal
            },
            _ => refusal,
        }
    }
}

/// Says in the headers of an answer how the limits stand: of requests and of tokens the one that will be met next.
pub fn tell(readings: &[Reading], headers: &mut HeaderMap) {
    for (measure, names) in [(Measure::Requests, REQUESTS), (Measure::Tokens, TOKENS)] {
        let Some(nearest) = nearest(readings, measure) else {
            continue;
        };
        let [limit, remaining, reset] = names;
        headers.insert(limit, HeaderValue::from(nearest.limit.amount));
        headers.insert(remaining, HeaderValue::from(nearest.left));
        let until = nearest.wait().map(length);
        if let Some(until) = until.and_then(|until| HeaderValue::from_str(&until).ok()) {
            headers.insert(reset, until);
        }
    }
    for met in warnings(readings) {
        let Limit { measure, .. } = met.limit;
        let text = format!(
            "{} has used {} of {}",
            met.whose(),
            measure.amount(met.used),
            met.limit
        );
        if let Ok(text) = HeaderValue::from_str(&text) {
            headers.append(WARNING, text);
        }
    }
}

/// The soft limits that are met.
pub fn warnings(readings: &[Reading]) -> impl Iterator<Item = &Reading> {
    readings
        .iter()
        .filter(|reading| !reading.hard && reading.is_used_up())
}

fn nearest(readings: &[Reading], measure: Measure) -> Option<&Reading> {
    readings
        .iter()
        .filter(|reading| reading.hard && reading.limit.measure == measure)
        .min_by_key(|reading| reading.left)
}

/// `59s`, `6m0s`, `23h0m12s`: the form that clients of these headers read.
fn length(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// What `GET /v1/key` answers: OpenRouter's fields, and every limit under `limits`.
pub fn key_json(standing: &Standing) -> Value {
    let (used, readings) = (standing.used(), standing.readings());
    let spent = |window| dollars(i64::try_from(used.used(window).nanousd).unwrap_or(i64::MAX));
    let budget = nearest(&readings, Measure::Spend);
    let rate = nearest(&readings, Measure::Requests);
    let adverb = |window: Window| match window {
        Window::Minute => Some("minutely"),
        Window::Hour => Some("hourly"),
        Window::Day => Some("daily"),
        Window::Week => Some("weekly"),
        Window::Month => Some("monthly"),
        Window::Total => None,
    };
    let usd = |amount: u64| dollars(i64::try_from(amount).unwrap_or(i64::MAX));
    json!({"data": {
        "label": standing.label,
        "usage": spent(Window::Total), "usage_daily": spent(Window::Day), "usage_weekly": spent(Window::Week), "usage_monthly": spent(Window::Month),
        "byok_usage": 0, "byok_usage_daily": 0, "byok_usage_weekly": 0, "byok_usage_monthly": 0, "include_byok_in_limit": false,
        "limit": budget.map(|budget| usd(budget.limit.amount)),
        "limit_remaining": budget.map(|budget| usd(budget.left)),
        "limit_reset": budget.and_then(|budget| adverb(budget.limit.window)),
        "is_free_tier": false, "is_management_key": false, "is_provisioning_key": false,
        "expires_at": standing.expires.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        "rate_limit": rate.map(|rate| json!({"requests": rate.limit.amount, "interval": interval(rate.limit.window), "note": "see `limits`"})),
        "limits": readings.iter().map(Reading::json).collect::<Vec<_>>(),
    }})
}

/// The length of a window as `rate_limit` writes it.
fn interval(window: Window) -> &'static str {
    match window {
        Window::Minute => "1m",
        Window::Hour => "1h",
        Window::Day => "1d",
        Window::Week => "1w",
        Window::Month => "1mo",
        Window::Total => "total",
    }
}
