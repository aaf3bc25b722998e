//! The values of a script, each checked as it is read.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::Exp1;
use serde::Deserialize;
use std::time::Duration;
use xxhash_rust::xxh64::xxh64;

/// A probability: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(try_from = "f64")]
pub struct Chance(pub(super) f64);

impl TryFrom<f64> for Chance {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(format!("{value} is not a probability: give 0 to 1"))
        }
    }
}

/// A factor or an amount that is not negative.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(try_from = "f64")]
pub struct Amount(pub(super) f64);

impl TryFrom<f64> for Amount {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        if value.is_finite() && (0.0..=1e9).contains(&value) {
            Ok(Self(value))
        } else {
            Err(format!("{value} is out of range: give 0 to 1e9"))
        }
    }
}

/// A log-normal law, by its median and its 95th percentile.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "RawLaw")]
pub struct Law {
    pub(super) median: f64,
    pub(super) p95: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLaw {
    median: Amount,
    p95: Amount,
}

impl TryFrom<RawLaw> for Law {
    type Error = String;

    fn try_from(raw: RawLaw) -> Result<Self, String> {
        if raw.p95.0 < raw.median.0 {
            return Err(format!(
                "p95 ({}) is below the median ({})",
                raw.p95.0, raw.median.0
            ));
        }
        Ok(Self {
            median: raw.median.0,
            p95: raw.p95.0,
        })
    }
}

impl Law {
    /// The value that belongs to a standard normal draw.
    pub(super) fn at(self, normal: f64) -> f64 {
        if self.median <= 0.0 {
            return 0.0;
        }
        let sigma = (self.p95 / self.median).ln() / 1.644_853_627;
        self.median * (sigma * normal).exp()
    }
}

/// A stretch of time, again and again, in which a provider fails more and is slower.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "RawBrownout")]
pub struct Brownout {
    when: When,
    trouble: Trouble,
}

/// When a brownout is on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    /// By the clock, seconds; without a period once.
    Fixed {
        start: f64,
        duration: f64,
        period: f64,
    },
    /// By chance: the times between two and of each are exponential, with these means in seconds.
    Drawn { between: f64, lasts: f64, salt: u64 },
}

/// What goes wrong meanwhile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trouble {
    /// Share of requests that end in a 503.
    pub(super) error_rate: f64,
    /// Share of requests answered 429.
    pub(super) rate_limited: f64,
    /// Share of requests never answered.
    pub(super) hang: f64,
    /// Multiplies latencies, divides speed.
    pub(super) slowdown: f64,
}

impl Default for Trouble {
    fn default() -> Self {
        Self {
            error_rate: 0.0,
            rate_limited: 0.0,
            hang: 0.0,
            slowdown: 1.0,
        }
    }
}

impl Trouble {
    /// Both at once.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            error_rate: self.error_rate + other.error_rate,
            rate_limited: self.rate_limited + other.rate_limited,
            hang: self.hang + other.hang,
            slowdown: self.slowdown * other.slowdown,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBrownout {
    start_s: Option<Amount>,
    duration_s: Option<Amount>,
    period_s: Option<Amount>,
    between_s: Option<Amount>,
    lasts_s: Option<Amount>,
    #[serde(default)]
    error_rate: Chance,
    #[serde(default)]
    rate_limited: Chance,
    #[serde(default)]
    hang: Chance,
    #[serde(default = "one")]
    slowdown: Amount,
}

fn one() -> Amount {
    Amount(1.0)
}

impl TryFrom<RawBrownout> for Brownout {
    type Error = String;

    fn try_from(raw: RawBrownout) -> Result<Self, String> {
        let when = match raw {
            RawBrownout {
                start_s: Some(start),
                duration_s: Some(duration),
                period_s,
                between_s: None,
                lasts_s: None,
                ..
            } => When::Fixed {
                start: start.0,
                duration: duration.0,
                period: period_s.map_or(0.0, |period| period.0),
            },
            // Shorter ones would be a blur, and take long to count.
            RawBrownout {
                start_s: None,
                duration_s: None,
                period_s: None,
                between_s: Some(between),
                lasts_s: Some(lasts),
                ..
            } if between.0 >= 1.0 && lasts.0 >= 1.0 => When::Drawn {
                between: between.0,
                lasts: lasts.0,
                salt: 0,
            },
            _ => {
                return Err("a brownout has start_s and duration_s, and perhaps period_s, or it has between_s and \
                     lasts_s, of at least a second each"
                    .to_owned());
            }
        };
        Ok(Self {
            when,
            trouble: Trouble {
                error_rate: raw.error_rate.0,
                rate_limited: raw.rate_limited.0,
                hang: raw.hang.0,
                slowdown: raw.slowdown.0.max(0.01),
            },
        })
    }
}

impl Brownout {
    /// Makes its chance that of a place.
    pub(super) fn place(&mut self, place: &str, index: usize) {
        if let When::Drawn { salt, .. } = &mut self.when {
            *salt = xxh64(place.as_bytes(), index as u64);
        }
    }

    pub(super) fn trouble(&self) -> Trouble {
        self.trouble
    }

    /// Whether it is on, so long after the start.
    pub(super) fn is_on(&self, since_start: Duration, seed: u64) -> bool {
        let since = since_start.as_secs_f64();
        match self.when {
            When::Fixed {
                start,
                duration,
                period,
            } => {
                let since = since - start;
                let into = if period > 0.0 { since % period } else { since };
                since >= 0.0 && into < duration
            }
            When::Drawn {
                between,
                lasts,
                salt,
            } => {
                // From the start each time, so that the answer is the same whoever asks, and when.
                let mut rng = SmallRng::seed_from_u64(seed ^ salt);
                let mut drawn = |mean: f64| mean * rng.sample::<f64, _>(Exp1);
                let mut at = 0.0;
                loop {
                    at += drawn(between);
                    if at > since {
                        return false;
                    }
                    at += drawn(lasts);
                    if at > since {
                        return true;
                    }
                }
            }
        }
    }
}

/// From a day on, wrong tool calls are so many times as frequent: what a silent change of quantization looks like.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "RawDrift")]
pub struct Drift {
    from: DateTime<Utc>,
    factor: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDrift {
    from: String,
    factor: Amount,
}

impl TryFrom<RawDrift> for Drift {
    type Error = String;

    fn try_from(raw: RawDrift) -> Result<Self, String> {
        let day = NaiveDate::parse_from_str(&raw.from, "%Y-%m-%d").map_err(|error| {
            format!("from {:?} is not a date like 2026-07-01: {error}", raw.from)
        })?;
        Ok(Self {
            from: day.and_time(NaiveTime::MIN).and_utc(),
            factor: raw.factor.0,
        })
    }
}

impl Drift {
    /// The factor on the rate of wrong tool calls at a moment.
    pub(super) fn factor(self, now: DateTime<Utc>) -> f64 {
        if now >= self.from { self.factor } else { 1.0 }
    }
}
