//! How a lane fares: what its own attempts say, and what everyone's do.

use super::breaker::{Breaker, State};
use super::learn::Learned;
use super::windows::{Counts, Median, Middle, Tally};
use crate::piece::{ErrorKind, UpstreamError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest `Retry-After` that is honoured: a slip of a provider must not put it out of use for a day.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// Rest after a 429 that names no time. The lane comes last meanwhile, and is not excluded.
const SHORT_REST: Duration = Duration::from_secs(2);
/// Attempts from which an uptime means something, and from which one's own need no help of others'.
const ENOUGH: u64 = 100;
/// What everyone's median weighs beside one's own samples.
const OTHERS_WEIGH: u64 = 4;
/// Shorter answers say nothing of throughput.
const FEWEST_TOKENS: u64 = 16;

/// What is known of one lane. It outlives a reload of the settings.
#[derive(Debug)]
pub struct Health(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    tally: Tally,
    ttft_us: Median,
    /// Tokens per second x 1000.
    throughput: Median,
    /// Until when the provider has asked not to be asked.
    stated_rest: Option<Instant>,
    /// Until when a 429 that named no time counts.
    short_rest: Option<Instant>,
    asked: Option<Instant>,
    learned: Option<Learned>,
}

/// How an attempt ended that gave an answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answered {
    /// The answer was whole.
    pub whole: bool,
    /// Request sent to first content, microseconds.
    pub ttft_us: Option<i64>,
    /// First content to end, microseconds, of a stream.
    pub generation_us: Option<i64>,
    /// Tokens of the answer.
    pub completion_tokens: i64,
}

/// A lane at one moment, as ranking sees it.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Whether it takes requests.
    pub state: State,
    /// Until when the provider has asked not to be asked.
    pub stated_rest: Option<Instant>,
    /// It has just answered 429 and named no time.
    pub limited: bool,
    /// Share of attempts that did not fail, in thousandths, where there were enough.
    pub uptime: Option<u16>,
    /// Median time to the first token, microseconds.
    pub ttft_us: Option<u64>,
    /// Median tokens per second x 1000.
    pub throughput: Option<u64>,
    /// It stands out among its peers.
    pub drift: Option<super::learn::Drift>,
    /// When it was asked last.
    pub asked: Option<Instant>,
}

impl Health {
    /// Of a lane that was never asked.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Inner {
            breaker: Breaker::default(),
            tally: Tally::new(now),
            ttft_us: Median::default(),
            throughput: Median::default(),
            stated_rest: None,
            short_rest: None,
            asked: None,
            learned: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request goes out.
    pub fn begin(&self, now: Instant) {
        let mut inner = self.lock();
        inner.asked = Some(now);
        inner.breaker.begin(now);
    }

    /// A request that went out at `began` gave no answer, or one that broke.
    pub fn failed(&self, began: Instant, now: Instant, error: &UpstreamError) {
        let mut inner = self.lock();
        match error.kind {
            // The request was at fault.
            ErrorKind::InvalidRequest | ErrorKind::ContextOverflow | ErrorKind::Filtered => return,
            ErrorKind::RateLimited => inner.tally.now(now).limited += 1,
            _ => inner.ended(began, now, true),
        }
        let stated = error
            .retry_after
            .filter(|_| matches!(error.kind, ErrorKind::RateLimited | ErrorKind::Overloaded));
        // The longest of several holds.
        match stated.map(Duration::from_secs) {
            Some(rest) => {
                let until = Some(now + rest.min(LONGEST_REST));
                inner.stated_rest = inner.stated_rest.max(until);
            }
            None if error.kind == ErrorKind::RateLimited => {
                inner.short_rest = Some(now + SHORT_REST);
            }
            None => {}
        }
    }

    /// A request that went out at `began` was answered.
    pub fn answered(&self, began: Instant, now: Instant, answered: &Answered) {
        let mut inner = self.lock();
        inner.ended(began, now, !answered.whole);
        inner.speed(now, answered);
    }

    /// The client left in the middle: the speed counts, the end does not.
    pub fn left(&self, now: Instant, answered: &Answered) {
        self.lock().speed(now, answered);
    }

    /// Takes over what everyone's traffic says; `None` forgets it.
    pub fn learn(&self, learned: Option<Learned>) {
        self.lock().learned = learned;
    }

    /// How it fares now.
    pub fn read(&self, now: Instant) -> Reading {
        let inner = self.lock();
        let learned = inner.learned.filter(|learned| now < learned.until);
        Reading {
            state: inner.breaker.state(now),
            stated_rest: inner.stated_rest.filter(|until| now < *until),
            limited: inner.short_rest.is_some_and(|until| now < until),
            uptime: uptime(inner.tally.sum(now), learned),
            ttft_us: blend(inner.ttft_us.get(now), learned.and_then(|l| l.ttft_us)),
            throughput: blend(
                inner.throughput.get(now),
                learned.and_then(|l| l.throughput),
            ),
            drift: learned.and_then(|learned| learned.drift),
            asked: inner.asked,
        }
    }

    /// Whether it was ever asked, and the state of its breaker, for figures.
    pub fn breaker(&self, now: Instant) -> Option<State> {
        let inner = self.lock();
        inner.asked.map(|_| inner.breaker.state(now))
    }
}

impl Inner {
    fn ended(&mut self, began: Instant, now: Instant, failed: bool) {
        let counts = self.tally.now(now);
        if failed {
            counts.failed += 1;
        } else {
            counts.ok += 1;
        }
        self.breaker.ended(began, now, failed);
    }

    fn speed(&mut self, now: Instant, answered: &Answered) {
        let sample = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        if let Some(us) = answered.ttft_us.and_then(|us| u64::try_from(us).ok()) {
            self.ttft_us.push(now, sample(us));
        }
        let tokens = u64::try_from(answered.completion_tokens).unwrap_or(0);
        if let Some(us) = answered.generation_us.filter(|us| *us > 0)
            && answered.whole
            && tokens >= FEWEST_TOKENS
        {
            let per_second = tokens.saturating_mul(1_000_000_000) / us as u64;
            self.throughput.push(now, sample(per_second));
        }
    }
}

/// Uptime in thousandths: from one's own attempts where they are enough, else from all.
fn uptime(own: Counts, learned: Option<Learned>) -> Option<u16> {
    let (mut ok, mut all) = (own.ok, own.ok + own.failed);
    if all < ENOUGH {
        let learned = learned?;
        ok += learned.ok;
        all += learned.ok + learned.failed;
    }
    (all >= ENOUGH).then(|| (ok * 1000 / all) as u16)
}

/// One's own median and everyone's. The own one weighs with its samples, and stands alone where there is no other; an old one
/// only counts where nothing newer is known.
fn blend(own: Option<Middle>, others: Option<u64>) -> Option<u64> {
    match (own, others) {
        (Some(own), Some(others)) => {
            let weight = u64::from(own.samples);
            Some((u64::from(own.value) * weight + others * OTHERS_WEIGH) / (weight + OTHERS_WEIGH))
        }
        (Some(own), None) => Some(u64::from(own.value)),
        (None, others) => others,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn error(kind: ErrorKind, retry_after: Option<u64>) -> UpstreamError {
        UpstreamError {
            status: 0,
            kind,
            message: String::new(),
            retry_after,
        }
    }

    fn learned(now: Instant) -> Learned {
        Learned {
            until: now + 600 * SECOND,
            ok: 0,
            failed: 0,
            ttft_us: None,
            throughput: None,
            drift: None,
        }
    }

    #[test]
    fn retry_after_is_honoured_and_bounded() {
        let now = Instant::now();
        let health = Health::new(now);
        health.failed(now, now, &error(ErrorKind::RateLimited, Some(7)));
        health.failed(now, now, &error(ErrorKind::RateLimited, None));
        assert_eq!(health.read(now).stated_rest, Some(now + 7 * SECOND));
        assert_eq!(health.read(now + 7 * SECOND).stated_rest, None);
        health.failed(now, now, &error(ErrorKind::Overloaded, Some(u64::MAX)));
        assert_eq!(health.read(now).stated_rest, Some(now + LONGEST_REST));
        assert_eq!(
            health.read(now).state,
            State::Closed,
            "a rate limit is no outage"
        );
    }

    #[test]
    fn a_429_without_a_time_is_a_short_rest() {
        let now = Instant::now();
        let health = Health::new(now);
        health.failed(now, now, &error(ErrorKind::RateLimited, None));
        let reading = health.read(now);
        assert!(reading.limited && reading.stated_rest.is_none());
        assert!(!health.read(now + 2 * SECOND).limited);
    }

    #[test]
    fn the_request_s_own_faults_count_for_nothing() {
        let now = Instant::now();
        let health = Health::new(now);
        for _ in 0..1_000 {
            for kind in [
                ErrorKind::InvalidRequest,
                ErrorKind::ContextOverflow,
                ErrorKind::Filtered,
            ] {
                health.failed(now, now, &error(kind, Some(9)));
            }
        }
        let reading = health.read(now);
        assert_eq!(
            (reading.state, reading.uptime, reading.stated_rest),
            (State::Closed, None, None)
        );
    }

    #[test]
    fn uptime_needs_a_hundred_attempts_and_trusts_its_own_first() {
        let now = Instant::now();
        let health = Health::new(now);
        let ok = Answered {
            whole: true,
            ..Answered::default()
        };
        for _ in 0..99 {
            health.answered(now, now, &ok);
        }
        assert_eq!(health.read(now).uptime, None);
        // A source that calls a healthy lane dead is heard only until the lane's own attempts are enough.
        health.learn(Some(Learned {
            failed: 901,
            ..learned(now)
        }));
        assert_eq!(health.read(now).uptime, Some(99));
        health.answered(now, now, &ok);
        assert_eq!(health.read(now).uptime, Some(1000));
    }

    #[test]
    fn everyone_s_median_fades_beside_one_s_own() {
        let now = Instant::now();
        let health = Health::new(now);
        assert_eq!(health.read(now).ttft_us, None);
        health.learn(Some(Learned {
            ttft_us: Some(1_000),
            ..learned(now)
        }));
        let mut before = health.read(now).ttft_us.unwrap();
        assert_eq!(before, 1_000);
        for _ in 0..16 {
            let answer = Answered {
                whole: true,
                ttft_us: Some(200_000),
                ..Answered::default()
            };
            health.answered(now, now, &answer);
            let blended = health.read(now).ttft_us.unwrap();
            assert!(blended > before);
            before = blended;
        }
        assert!(before > 150_000, "{before}");
        // What is told grows old even if nobody takes it back.
        assert_eq!(health.read(now + 600 * SECOND).ttft_us, Some(200_000));
    }

    #[test]
    fn throughput_is_of_whole_streams_of_sixteen_tokens() {
        let now = Instant::now();
        let health = Health::new(now);
        let mut answer = Answered {
            whole: true,
            generation_us: Some(1_000_000),
            completion_tokens: 15,
            ..Answered::default()
        };
        health.answered(now, now, &answer);
        assert_eq!(health.read(now).throughput, None);
        answer.completion_tokens = 80;
        health.answered(now, now, &answer);
        assert_eq!(health.read(now).throughput, Some(80_000));
    }
}
