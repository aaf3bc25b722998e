//! A limit as people write it: `10 USD/day`, `100 requests/minute`, `1.5M tokens/month`, `500 USD/total`. No float touches it.

use super::window::Window;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Requests, also those that are refused for what they ask.
    Requests,
    /// Prompt and completion tokens, as the provider counted them.
    Tokens,
    /// Nano-dollars.
    Spend,
}

/// So much of something in a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How much: requests, tokens or nano-dollars.
    pub amount: u64,
    /// Of what.
    pub measure: Measure,
    /// Within.
    pub window: Window,
}

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLimit {
    /// Not the form of one.
    #[error(
        "a limit is an amount, a unit and a window, such as \"10 USD/day\", \"100 requests/minute\" or \"1.5M tokens/month\""
    )]
    Form,
    /// Not a number.
    #[error(
        "the amount of a limit is a number such as 100, 0.25 or 1.5M (K, M or B for thousands, millions or billions)"
    )]
    Amount,
    /// A part of a request or token, or less than a nano-dollar.
    #[error("the amount of a limit is too fine: whole {0}")]
    TooFine(&'static str),
    /// More than can be counted.
    #[error("the amount of a limit is too large to be counted: leave the limit out instead")]
    TooLarge,
    /// Not a unit.
    #[error("the unit of a limit is requests, tokens or USD")]
    Unit,
    /// Not a window.
    #[error("the window of a limit is minute, hour, day, week, month or total")]
    Window,
}

/// Digits after the point of a dollar.
const NANOS: u32 = 9;
/// More is never counted.
const MOST: u64 = i64::MAX as u64;

impl Measure {
    /// As people write it.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Spend => "USD",
        }
    }

    fn named(unit: &str) -> Option<Self> {
        Some(match unit.to_ascii_lowercase().as_str() {
            "request" | "requests" => Self::Requests,
            "token" | "tokens" => Self::Tokens,
            "usd" => Self::Spend,
            _ => return None,
        })
    }

    fn digits_after_point(self) -> u32 {
        match self {
            Self::Requests | Self::Tokens => 0,
            Self::Spend => NANOS,
        }
    }

    /// An amount without its unit: `1200`, or dollars as `12.5`.
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Requests | Self::Tokens => amount.to_string(),
            Self::Spend => {
                let one = 10_u64.pow(NANOS);
                let text = format!("{}.{:09}", amount / one, amount % one);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        }
    }
}

impl FromStr for Limit {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let (what, window) = text.trim().rsplit_once('/').ok_or(BadLimit::Form)?;
        let (number, unit) = what
            .trim()
            .rsplit_once(char::is_whitespace)
            .ok_or(BadLimit::Form)?;
        let measure = Measure::named(unit).ok_or(BadLimit::Unit)?;
        let window = Window::named(&window.trim().to_ascii_lowercase()).ok_or(BadLimit::Window)?;
        let number = number.trim();
        let (number, thousands) = match number.bytes().last() {
            Some(b'k' | b'K') => (&number[..number.len() - 1], 3),
            Some(b'm' | b'M') => (&number[..number.len() - 1], 6),
            Some(b'b' | b'B') => (&number[..number.len() - 1], 9),
            _ => (number, 0),
        };
        Ok(Self {
            amount: decimal(number, measure.digits_after_point() + thousands, measure)?,
            measure,
            window,
        })
    }
}

/// A decimal number, times ten to the power of `scale`.
fn decimal(text: &str, scale: u32, measure: Measure) -> Result<u64, BadLimit> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || text.ends_with('.') || !digits(whole) || !digits(part) {
        return Err(BadLimit::Amount);
    }
    let part = part.trim_end_matches('0');
    let missing = scale
        .checked_sub(part.len() as u32)
        .ok_or(BadLimit::TooFine(match measure {
            Measure::Spend => "nano-dollars, nine digits after the point",
            other => other.unit(),
        }))?;
    // One of them is empty only if the other is not.
    format!("{whole}{part}")
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(10_u64.checked_pow(missing)?))
        .filter(|amount| *amount <= MOST)
        .ok_or(BadLimit::TooLarge)
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (amount, unit) = (self.measure.amount(self.amount), self.measure.unit());
        write!(f, "{amount} {unit}/{}", self.window.as_str())
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_read_without_floats() {
        for (text, amount, measure, window, shown) in [
            (
                "10 USD/day",
                10_000_000_000,
                Measure::Spend,
                Window::Day,
                "10 USD/day",
            ),
            (
                "0.1 usd / Month",
                100_000_000,
                Measure::Spend,
                Window::Month,
                "0.1 USD/month",
            ),
            (
                "0.000000001 USD/total",
                1,
                Measure::Spend,
                Window::Total,
                "0.000000001 USD/total",
            ),
            (
                "1.5K USD/week",
                1_500_000_000_000,
                Measure::Spend,
                Window::Week,
                "1500 USD/week",
            ),
            (
                "100 requests/minute",
                100,
                Measure::Requests,
                Window::Minute,
                "100 requests/minute",
            ),
            (
                "1 request/hour",
                1,
                Measure::Requests,
                Window::Hour,
                "1 requests/hour",
            ),
            (
                "1.5M tokens/month",
                1_500_000,
                Measure::Tokens,
                Window::Month,
                "1500000 tokens/month",
            ),
            (
                "2b tokens/total",
                2_000_000_000,
                Measure::Tokens,
                Window::Total,
                "2000000000 tokens/total",
            ),
            ("0 USD/day", 0, Measure::Spend, Window::Day, "0 USD/day"),
            (
                "7.00 tokens/day",
                7,
                Measure::Tokens,
                Window::Day,
                "7 tokens/day",
            ),
        ] {
            let limit: Limit = text.parse().unwrap();
            assert_eq!(
                limit,
                Limit {
                    amount,
                    measure,
                    window
                },
                "{text}"
            );
            assert_eq!(limit.to_string(), shown);
            assert_eq!(shown.parse(), Ok(limit));
        }
    }

    #[test]
    fn what_is_no_limit_is_told_what_would_be() {
        for (text, why) in [
            ("", BadLimit::Form),
            ("10", BadLimit::Form),
            ("10 USD", BadLimit::Form),
            ("10USD/day", BadLimit::Form),
            ("ten USD/day", BadLimit::Amount),
            ("-1 USD/day", BadLimit::Amount),
            ("1e3 USD/day", BadLimit::Amount),
            (".5 USD/day", BadLimit::Amount),
            ("5. USD/day", BadLimit::Amount),
            ("1,000 USD/day", BadLimit::Amount),
            ("M USD/day", BadLimit::Amount),
            ("10 EUR/day", BadLimit::Unit),
            ("10 USD/year", BadLimit::Window),
            ("10 USD/", BadLimit::Window),
            ("1.5 requests/day", BadLimit::TooFine("requests")),
            ("0.0005K tokens/day", BadLimit::TooFine("tokens")),
            ("9223372037 USD/day", BadLimit::TooLarge),
            ("99999999999999999999999 tokens/day", BadLimit::TooLarge),
            ("99999999999B USD/day", BadLimit::TooLarge),
        ] {
            assert_eq!(text.parse::<Limit>(), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_amount_comes_back_as_it_went(amount in 0..=MOST, measure in 0..3_usize, window in 0..6_usize) {
            let measure = [Measure::Requests, Measure::Tokens, Measure::Spend][measure];
            let limit = Limit { amount, measure, window: Window::ALL[window] };
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            text.parse::<Limit>().ok();
        }
    }
}
