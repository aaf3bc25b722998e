//! What everyone's traffic says of the lanes, taken with care: the source may lie, lag or hang.
//!
//! It can move a lane in the order, never exclude one; a lane's own attempts outweigh it as they come in ([`super::health`]); it
//! is forgotten ten minutes after the newest event behind it; and a row that cannot be true is not taken.

use super::lanes::Lane;
use super::observed::{Observed, Statistics};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Statistics older than this say nothing of now.
const FORGET: Duration = Duration::from_secs(600);
/// How far the source's clock may be ahead of ours, seconds.
const AHEAD_S: i64 = 60;
/// Nobody waits longer for a first token, and nothing speaks faster: a million tokens per second.
const MOST_TTFT_US: u64 = 600_000_000;
const MOST_MTPS: u64 = 1_000_000_000;
/// Nobody has seen more in two hours.
const MOST_REQUESTS: u64 = 1 << 40;
/// Requests from which a rate is compared, and providers that make peers.
const ENOUGH_REQUESTS: u64 = 200;
const ENOUGH_PROVIDERS: usize = 4;
/// Standard deviations below its peers from which an endpoint stands out.
const SIGMAS: f64 = 2.0;

/// What is known of one lane from everyone's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// When it is forgotten.
    pub until: Instant,
    /// Attempts that ended well, of the last five minutes.
    pub ok: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Median time to the first token, microseconds.
    pub ttft_us: Option<u64>,
    /// Median throughput, tokens per second x 1000.
    pub throughput: Option<u64>,
    /// The endpoint stands out among its peers.
    pub drift: Option<Drift>,
}

/// By what an endpoint falls behind the others of its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// More of its tool calls are wrong.
    ToolCalls,
    /// It refuses more.
    Refusals,
}

/// Gives each lane what the statistics say of it, in the place of what was said before. Statistics that are too old, or of a
/// time to come, change nothing. The number of lanes they speak of.
pub(super) fn learn<'a>(
    lanes: impl Iterator<Item = (&'a str, &'a str, &'a Lane)>,
    statistics: &Statistics,
    now: Instant,
    unix_s: i64,
) -> usize {
    let age = unix_s.saturating_sub(statistics.as_of);
    if age < -AHEAD_S || age > FORGET.as_secs() as i64 {
        return 0;
    }
    let until = now + FORGET.saturating_sub(Duration::from_secs(age.max(0) as u64));
    let recent: HashMap<(&str, &str), &Observed> = statistics
        .recent
        .iter()
        .filter(|row| is_sane(row))
        .map(|row| ((row.endpoint.as_str(), row.region.as_str()), row))
        .collect();
    let lanes: Vec<_> = lanes.collect();
    let drifts = drifts(&lanes, &statistics.long);
    let mut taken = 0;
    for (_, endpoint, lane) in lanes {
        let row = recent
            .get(&(endpoint, lane.region.as_str()))
            .or_else(|| recent.get(&(endpoint, "")));
        let drift = drifts.get(endpoint).copied();
        let learned = (row.is_some() || drift.is_some()).then(|| Learned {
            until,
            ok: row.map_or(0, |row| row.attempts_ok),
            failed: row.map_or(0, |row| row.attempts_failed),
            ttft_us: row.and_then(|row| row.ttft_p50_us),
            throughput: row.and_then(|row| row.throughput_p50_mtps),
            drift,
        });
        taken += usize::from(learned.is_some());
        lane.health.learn(learned);
    }
    taken
}

/// Whether a row can be true.
fn is_sane(row: &Observed) -> bool {
    let within = |value: Option<u64>, most| value.is_none_or(|value| (1..=most).contains(&value));
    let counts = [
        row.attempts_ok,
        row.attempts_failed,
        row.refused,
        row.tool_requests,
    ];
    within(row.ttft_p50_us, MOST_TTFT_US)
        && within(row.throughput_p50_mtps, MOST_MTPS)
        && counts.iter().all(|count| *count <= MOST_REQUESTS)
        && row.tool_requests_ok <= row.tool_requests
}

/// Good ones of all.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    good: u64,
    all: u64,
}

impl Rate {
    fn value(self) -> f64 {
        self.good as f64 / self.all.max(1) as f64
    }

    /// Variance of the rate by chance alone. One more good and one more bad one, so that it is never none.
    fn variance(self) -> f64 {
        let all = self.all as f64 + 2.0;
        let p = (self.good as f64 + 1.0) / all;
        p * (1.0 - p) / all
    }
}

/// The endpoints that stand out among those of their model, by endpoint.
fn drifts<'a>(
    lanes: &[(&'a str, &'a str, &'a Lane)],
    long: &[Observed],
) -> HashMap<&'a str, Drift> {
    // Regions of an endpoint run the same model: they count together.
    let mut sums: HashMap<&str, (Rate, Rate)> = HashMap::new();
    for row in long.iter().filter(|row| is_sane(row)) {
        let (tools, answers) = sums.entry(row.endpoint.as_str()).or_default();
        tools.good += row.tool_requests_ok;
        tools.all += row.tool_requests;
        answers.good += row.attempts_ok.saturating_sub(row.refused);
        answers.all += row.attempts_ok;
    }
    let mut models: HashMap<&str, HashSet<&'a str>> = HashMap::new();
    for (model, endpoint, _) in lanes {
        models.entry(model).or_default().insert(endpoint);
    }
    let mut found = HashMap::new();
    for endpoints in models.values() {
        let rates = |of: fn(&(Rate, Rate)) -> Rate| -> Vec<(&'a str, Rate)> {
            let rate = |endpoint: &&'a str| Some((*endpoint, of(sums.get(endpoint)?)));
            endpoints
                .iter()
                .filter_map(rate)
                .filter(|(_, rate)| rate.all >= ENOUGH_REQUESTS)
                .collect()
        };
        for endpoint in outliers(&rates(|sums| sums.1)) {
            found.insert(endpoint, Drift::Refusals);
        }
        for endpoint in outliers(&rates(|sums| sums.0)) {
            found.insert(endpoint, Drift::ToolCalls);
        }
    }
    found
}

/// Those that lie [`SIGMAS`] standard deviations below the mean of the others. An endpoint is no peer of itself: among four, one
/// that is counted in can never be two deviations away. Chance in its own few requests counts as deviation, too.
fn outliers<'a>(rates: &[(&'a str, Rate)]) -> Vec<&'a str> {
    if rates.len() < ENOUGH_PROVIDERS {
        return Vec::new();
    }
    let peers = (rates.len() - 1) as f64;
    let far = |(name, rate): &(&'a str, Rate)| {
        let others = || {
            rates
                .iter()
                .filter(|(other, _)| other != name)
                .map(|(_, rate)| rate.value())
        };
        let mean = others().sum::<f64>() / peers;
        let variance = others().map(|value| (value - mean).powi(2)).sum::<f64>() / (peers - 1.0);
        let sigma = (variance + rate.variance()).sqrt();
        (mean - rate.value() > SIGMAS * sigma).then_some(*name)
    };
    rates.iter().filter_map(far).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(values: &[(u64, u64)]) -> Vec<(&'static str, Rate)> {
        let names = ["a", "b", "c", "d", "e", "f"];
        names
            .into_iter()
            .zip(values)
            .map(|(name, (good, all))| {
                (
                    name,
                    Rate {
                        good: *good,
                        all: *all,
                    },
                )
            })
            .collect()
    }

    #[test]
    fn one_that_errs_far_more_than_its_peers_stands_out() {
        let values = [(990, 1000), (985, 1000), (988, 1000), (900, 1000)];
        assert_eq!(outliers(&rates(&values)), ["d"]);
    }

    #[test]
    fn too_few_peers_and_chance_make_no_outlier() {
        assert!(outliers(&rates(&[(990, 1000), (985, 1000), (100, 1000)])).is_empty());
        // Perfect peers, and one with a single slip in two hundred.
        assert!(outliers(&rates(&[(200, 200), (200, 200), (200, 200), (199, 200)])).is_empty());
        // All differ widely: none is out of the ordinary.
        assert!(
            outliers(&rates(&[
                (900, 1000),
                (700, 1000),
                (500, 1000),
                (400, 1000)
            ]))
            .is_empty()
        );
    }

    #[test]
    fn rows_that_cannot_be_true_are_not_taken() {
        let fair = Observed {
            attempts_ok: 100,
            tool_requests: 50,
            tool_requests_ok: 49,
            ttft_p50_us: Some(300_000),
            throughput_p50_mtps: Some(80_000),
            ..Observed::default()
        };
        assert!(is_sane(&fair));
        let lies = [
            Observed {
                ttft_p50_us: Some(0),
                ..fair.clone()
            },
            Observed {
                ttft_p50_us: Some(u64::MAX),
                ..fair.clone()
            },
            Observed {
                throughput_p50_mtps: Some(u64::MAX),
                ..fair.clone()
            },
            Observed {
                attempts_failed: u64::MAX,
                ..fair.clone()
            },
            Observed {
                tool_requests_ok: 51,
                ..fair
            },
        ];
        assert!(lies.iter().all(|lie| !is_sane(lie)));
    }
}
