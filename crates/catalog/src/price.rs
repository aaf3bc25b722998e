use chrono::{DateTime, NaiveTime, Utc};
use serde::Serialize;

const TOKENS_PER_PRICE: i128 = 1_000_000;
const FRACTION_DIGITS: usize = 9;

/// What one endpoint asks from a moment on, until its next price.
///
/// All token prices are in nano-dollars per million tokens: $3 per million is `3_000_000_000`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Price {
    /// First moment it is in force.
    pub from: DateTime<Utc>,
    /// Prompt tokens, nano-dollars per million.
    pub prompt: i64,
    /// Completion tokens, nano-dollars per million.
    pub completion: i64,
    /// Prompt tokens read from the provider's cache, nano-dollars per million; as `prompt` where not stated.
    pub cache_read: Option<i64>,
    /// Prompt tokens written to the provider's cache, nano-dollars per million; as `prompt` where not stated.
    pub cache_write: Option<i64>,
    /// Fixed part, nano-dollars per request.
    pub request: i64,
    /// Other token prices for long prompts, by ascending threshold.
    pub tiers: Vec<Tier>,
    /// Other prices at certain hours of each day; none of them overlap.
    pub hours: Vec<Hours>,
}

/// What an endpoint asks at certain hours of each day, such as a discount at night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hours {
    /// First moment of the day, UTC.
    pub from: NaiveTime,
    /// First moment after it, UTC; not later than `from` where the hours run past midnight.
    pub to: NaiveTime,
    /// The price then, whole: nothing is taken from the price of the other hours.
    pub price: Price,
}

impl Hours {
    /// Whether a time of day, UTC, is one of them.
    pub fn contain(&self, time: NaiveTime) -> bool {
        if self.from < self.to {
            self.from <= time && time < self.to
        } else {
            self.from <= time || time < self.to
        }
    }
}

/// Token prices of requests whose prompt is longer than a threshold. They hold for all tokens of such a
/// request, not only for those above the threshold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tier {
    /// The tier holds for prompts of more than this many tokens.
    pub above: u64,
    /// Prompt tokens, nano-dollars per million.
    pub prompt: i64,
    /// Completion tokens, nano-dollars per million.
    pub completion: i64,
    /// Prompt tokens read from the provider's cache, nano-dollars per million; as `prompt` where not stated.
    pub cache_read: Option<i64>,
    /// Prompt tokens written to the provider's cache, nano-dollars per million; as `prompt` where not stated.
    pub cache_write: Option<i64>,
}

/// Tokens of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// All prompt tokens, `cached` and `cache_write` included.
    pub prompt: u64,
    /// Prompt tokens read from the cache; part of `prompt`.
    pub cached: u64,
    /// Prompt tokens written to the cache; part of `prompt`, apart from `cached`.
    pub cache_write: u64,
    /// All completion tokens, reasoning included.
    pub completion: u64,
}

/// What one request cost, in nano-dollars per component. Each component is rounded half up for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Prompt tokens neither read from the cache nor written to it, nano-dollars.
    pub prompt: i64,
    /// Prompt tokens read from the cache, nano-dollars.
    pub cached: i64,
    /// Prompt tokens written to the cache, nano-dollars.
    pub cache_write: i64,
    /// Completion tokens, nano-dollars.
    pub completion: i64,
    /// Fixed part, nano-dollars.
    pub request: i64,
}

impl Cost {
    /// Sum of the components, nano-dollars; stays at the largest number where it would overflow.
    pub fn total(&self) -> i64 {
        [
            self.prompt,
            self.cached,
            self.cache_write,
            self.completion,
            self.request,
        ]
        .into_iter()
        .fold(0, i64::saturating_add)
    }
}

impl Price {
    /// The price at a time of day, UTC.
    pub fn at_time(&self, time: NaiveTime) -> &Self {
        self.hours
            .iter()
            .find(|hours| hours.contain(time))
            .map_or(self, |hours| &hours.price)
    }

    /// What a request of so many tokens costs.
    ///
    /// Where `cached` and `cache_write` together exceed `prompt`, they are charged as stated and no plain
    /// prompt token is left.
    pub fn cost(&self, tokens: &Tokens) -> Cost {
        let rates = self.rates(tokens.prompt);
        let plain = tokens
            .prompt
            .saturating_sub(tokens.cached)
            .saturating_sub(tokens.cache_write);
        Cost {
            prompt: charge(plain, rates.prompt),
            cached: charge(tokens.cached, rates.cache_read.unwrap_or(rates.prompt)),
            cache_write: charge(
                tokens.cache_write,
                rates.cache_write.unwrap_or(rates.prompt),
            ),
            completion: charge(tokens.completion, rates.completion),
            request: self.request,
        }
    }

    fn rates(&self, prompt_tokens: u64) -> Rates {
        match self
            .tiers
            .iter()
            .rev()
            .find(|tier| prompt_tokens > tier.above)
        {
            Some(tier) => Rates {
                prompt: tier.prompt,
                completion: tier.completion,
                cache_read: tier.cache_read,
                cache_write: tier.cache_write,
            },
            None => Rates {
                prompt: self.prompt,
                completion: self.completion,
                cache_read: self.cache_read,
                cache_write: self.cache_write,
            },
        }
    }
}

/// The token prices that hold for one request.
struct Rates {
    prompt: i64,
    completion: i64,
    cache_read: Option<i64>,
    cache_write: Option<i64>,
}

fn charge(tokens: u64, rate: i64) -> i64 {
    let millionths = i128::from(tokens) * i128::from(rate);
    let rounded = (millionths + TOKENS_PER_PRICE / 2).div_euclid(TOKENS_PER_PRICE);
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// Why a text is not an amount of dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsdError {
    /// Something other than digits, one point and a leading minus.
    #[error("not a decimal number of dollars")]
    NotDecimal,
    /// More than nine digits after the point: finer than a nano-dollar.
    #[error("finer than a nano-dollar")]
    TooFine,
    /// More than about nine billion dollars.
    #[error("too large")]
    TooLarge,
}

/// Reads a decimal number of dollars, such as `0.075`, as nano-dollars, exactly.
///
/// ```
/// assert_eq!(tidemark_catalog::parse_usd("0.075"), Ok(75_000_000));
/// ```
///
/// # Errors
/// [`UsdError`] where the text is no decimal number, is finer than a nano-dollar or does not fit.
pub fn parse_usd(text: &str) -> Result<i64, UsdError> {
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(UsdError::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > FRACTION_DIGITS {
        return Err(UsdError::TooFine);
    }
    let nano = format!("{whole}{fraction:0<FRACTION_DIGITS$}")
        .parse::<i64>()
        .map_err(|_| UsdError::TooLarge)?;
    Ok(if negative { -nano } else { nano })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price() -> Price {
        Price {
            from: DateTime::UNIX_EPOCH,
            prompt: 3_000_000_000,
            completion: 15_000_000_000,
            cache_read: Some(300_000_000),
            cache_write: Some(3_750_000_000),
            request: 5_000_000,
            tiers: Vec::new(),
            hours: Vec::new(),
        }
    }

    #[test]
    fn dollars_are_read_exactly() {
        assert_eq!(parse_usd("3"), Ok(3_000_000_000));
        assert_eq!(parse_usd("0"), Ok(0));
        assert_eq!(parse_usd("0.1"), Ok(100_000_000));
        assert_eq!(parse_usd("0.000000001"), Ok(1));
        assert_eq!(parse_usd("2.50000000000"), Ok(2_500_000_000));
        assert_eq!(parse_usd("-0.5"), Ok(-500_000_000));
        for text in [
            "", ".", "1.", ".5", "+1", "1e3", "1,5", " 1", "--1", "1.2.3", "NaN",
        ] {
            assert_eq!(parse_usd(text), Err(UsdError::NotDecimal), "{text:?}");
        }
        assert_eq!(parse_usd("0.0000000001"), Err(UsdError::TooFine));
        assert_eq!(parse_usd("9223372037"), Err(UsdError::TooLarge));
    }

    #[test]
    fn each_part_of_the_prompt_has_its_own_price() {
        let cost = price().cost(&Tokens {
            prompt: 1_000,
            cached: 600,
            cache_write: 100,
            completion: 200,
        });
        let expected = Cost {
            prompt: 900_000,
            cached: 180_000,
            cache_write: 375_000,
            completion: 3_000_000,
            request: 5_000_000,
        };
        assert_eq!(cost, expected);
        assert_eq!(cost.total(), 9_455_000);
    }

    #[test]
    fn missing_cache_prices_are_the_prompt_price() {
        let price = Price {
            cache_read: None,
            cache_write: None,
            ..price()
        };
        let cost = price.cost(&Tokens {
            prompt: 300,
            cached: 100,
            cache_write: 100,
            completion: 0,
        });
        assert_eq!(
            (cost.prompt, cost.cached, cost.cache_write),
            (300_000, 300_000, 300_000)
        );
    }

    #[test]
    fn components_round_half_up() {
        let at = |rate| {
            Price {
                prompt: rate,
                request: 0,
                ..price()
            }
            .cost(&Tokens {
                prompt: 1,
                ..Tokens::default()
            })
        };
        assert_eq!(at(499_999).prompt, 0);
        assert_eq!(at(500_000).prompt, 1);
        assert_eq!(at(1_499_999).prompt, 1);
        assert_eq!(at(1_500_000).prompt, 2);
    }

    #[test]
    fn cache_counts_beyond_the_prompt_leave_no_plain_token() {
        let cost = price().cost(&Tokens {
            prompt: 10,
            cached: 20,
            cache_write: 0,
            completion: 0,
        });
        assert_eq!((cost.prompt, cost.cached), (0, 6_000));
    }

    #[test]
    fn a_long_prompt_moves_the_whole_request_to_its_tier() {
        let tier = |above, prompt| Tier {
            above,
            prompt,
            completion: 0,
            cache_read: None,
            cache_write: None,
        };
        let price = Price {
            tiers: vec![tier(100, 6_000_000_000), tier(1_000, 9_000_000_000)],
            ..price()
        };
        let prompt_cost = |prompt| {
            price
                .cost(&Tokens {
                    prompt,
                    ..Tokens::default()
                })
                .prompt
        };
        assert_eq!(prompt_cost(100), 300_000);
        assert_eq!(prompt_cost(101), 606_000);
        assert_eq!(prompt_cost(1_001), 9_009_000);
    }

    #[test]
    fn absurd_counts_saturate() {
        let cost = price().cost(&Tokens {
            prompt: u64::MAX,
            completion: u64::MAX,
            ..Tokens::default()
        });
        assert_eq!(cost.prompt, i64::MAX);
        assert_eq!(cost.total(), i64::MAX);
    }
}
