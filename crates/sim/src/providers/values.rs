//! The values of a script, each checked as it is read.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;
use std::time::Duration;

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
#[serde(deny_unknown_fields)]
pub struct Brownout {
    /// Seconds from the start of the simulation to the first one.
    start_s: Amount,
    /// How long one lasts.
    duration_s: Amount,
    /// Seconds from one beginning to the next; 0: it happens once.
    #[serde(default)]
    period_s: Amount,
    /// Share of requests that end in a 5xx meanwhile.
    pub(super) error_rate: Chance,
    /// Multiplies latencies, divides speed.
    #[serde(default = "one")]
    pub(super) slowdown: Amount,
}

fn one() -> Amount {
    Amount(1.0)
}

impl Brownout {
    /// Whether it is on, so long after the start.
    pub(super) fn is_on(&self, since_start: Duration) -> bool {
        let since = since_start.as_secs_f64() - self.start_s.0;
        if since < 0.0 {
            return false;
        }
        let into = if self.period_s.0 > 0.0 {
            since % self.period_s.0
        } else {
            since
        };
        into < self.duration_s.0
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
