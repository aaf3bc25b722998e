//! When to leave a lane alone because it fails, and when to try it again.
//!
//! A breaker is closed while its lane answers, opens when at least half of the last answers were failures, and after a pause lets
//! single requests through: three good ones close it, a bad one opens it again for twice as long.

use std::time::{Duration, Instant};

/// Outcomes remembered, as bits of a word.
const REMEMBERED: u32 = u64::BITS;
/// After so long without an outcome, the earlier ones say nothing of now.
const FORGET: Duration = Duration::from_secs(30);
/// Fewer failures may be chance.
const FEWEST: u32 = 3;
/// So many failures in a row are an outage, however many answers there were before ...
const RUN: u32 = 5;
/// ... unless they came in one burst.
const RUN_LASTS: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Good probes that close it.
const PROBES: u32 = 3;
/// One that fails again so soon after it had closed waits longer this time.
const RELAPSE: Duration = Duration::from_secs(120);

/// Whether a lane takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Closed,
    /// It takes one request now and then, to see whether it has recovered.
    HalfOpen,
    /// It does not.
    Open,
}

/// The breaker of one lane. Time is what the caller says it is.
#[derive(Debug, Default)]
pub struct Breaker {
    /// The newest outcome is the lowest bit; 1 is a failure.
    outcomes: u64,
    known: u32,
    heard: Option<Instant>,
    /// Failures since the last success.
    run: u32,
    run_began: Option<Instant>,
    pause: Option<Pause>,
    closed_at: Option<Instant>,
    /// Doublings of the pause.
    doublings: u32,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    next_probe: Instant,
    good: u32,
}

impl Breaker {
    /// Whether the lane takes requests now.
    pub fn state(&self, now: Instant) -> State {
        match &self.pause {
            None => State::Closed,
            Some(pause) if now >= pause.until && now >= pause.next_probe => State::HalfOpen,
            Some(_) => State::Open,
        }
    }

    /// A request goes out to the lane.
    pub fn begin(&mut self, now: Instant) {
        if let Some(pause) = &mut self.pause {
            pause.next_probe = now + PROBE_EVERY;
        }
    }

    /// A request that went out at `began` ended now. True when this has opened the breaker.
    pub fn ended(&mut self, began: Instant, now: Instant, failed: bool) -> bool {
        if let Some(pause) = &mut self.pause {
            // What went out before the pause was over says how things were then.
            if began < pause.until {
                return false;
            }
            if failed {
                self.doublings += 1;
                self.open(now);
                return true;
            }
            pause.good += 1;
            if pause.good >= PROBES {
                self.pause = None;
                self.closed_at = Some(now);
                (self.outcomes, self.known, self.run) = (0, 0, 0);
            }
            return false;
        }
        if self.closed_at.is_some_and(|closed| began < closed) && failed {
            return false;
        }
        self.remember(now, failed);
        let failures = self.outcomes.count_ones();
        let mostly = failures >= FEWEST && failures * 2 >= self.known;
        let run = self.run >= RUN
            && self
                .run_began
                .is_some_and(|began| now.saturating_duration_since(began) >= RUN_LASTS);
        if !failed || !(mostly || run) {
            return false;
        }
        let relapsed = self
            .closed_at
            .is_some_and(|closed| now.saturating_duration_since(closed) < RELAPSE);
        self.doublings = if relapsed { self.doublings + 1 } else { 0 };
        self.open(now);
        true
    }

    fn remember(&mut self, now: Instant, failed: bool) {
        let stale = |heard: Instant| now.saturating_duration_since(heard) > FORGET;
        if self.heard.is_some_and(stale) {
            (self.outcomes, self.known, self.run) = (0, 0, 0);
        }
        self.heard = Some(now);
        self.outcomes = self.outcomes << 1 | u64::from(failed);
        self.known = (self.known + 1).min(REMEMBERED);
        if !failed {
            self.run = 0;
        } else {
            if self.run == 0 {
                self.run_began = Some(now);
            }
            self.run += 1;
        }
    }

    fn open(&mut self, now: Instant) {
        let pause = PAUSE
            .saturating_mul(1 << self.doublings.min(8))
            .min(LONGEST_PAUSE);
        self.pause = Some(Pause {
            until: now + pause,
            next_probe: now + pause,
            good: 0,
        });
        (self.outcomes, self.known, self.run) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One request at a time, 10 ms each, until told otherwise.
    fn ask(breaker: &mut Breaker, now: &mut Instant, failed: bool) -> bool {
        let began = *now;
        breaker.begin(began);
        *now += Duration::from_millis(10);
        breaker.ended(began, *now, failed)
    }

    fn opened(now: &mut Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for n in 0..3 {
            assert_eq!(ask(&mut breaker, now, true), n == 2);
        }
        breaker
    }

    #[test]
    fn three_failures_and_nothing_else_open_it() {
        let mut now = Instant::now();
        let breaker = opened(&mut now);
        assert_eq!(breaker.state(now), State::Open);
        assert_eq!(breaker.state(now + 4 * SECOND), State::Open);
        assert_eq!(breaker.state(now + 5 * SECOND), State::HalfOpen);
    }

    #[test]
    fn one_failure_in_five_is_borne() {
        let (mut now, mut breaker) = (Instant::now(), Breaker::default());
        for n in 0..10_000 {
            assert!(!ask(&mut breaker, &mut now, n % 5 == 4));
        }
    }

    #[test]
    fn a_busy_lane_that_dies_is_left_after_as_many_failures_as_it_had_successes() {
        let (mut now, mut breaker) = (Instant::now(), Breaker::default());
        for _ in 0..10_000 {
            ask(&mut breaker, &mut now, false);
        }
        let until = (1..).find(|_| ask(&mut breaker, &mut now, true));
        assert_eq!(until, Some(32));
    }

    #[test]
    fn a_quiet_lane_that_dies_is_left_after_five() {
        let (mut now, mut breaker) = (Instant::now(), Breaker::default());
        for _ in 0..64 {
            ask(&mut breaker, &mut now, false);
            now += SECOND;
        }
        let until = (1..).find(|_| {
            now += SECOND;
            ask(&mut breaker, &mut now, true)
        });
        assert_eq!(until, Some(5));
    }

    #[test]
    fn it_closes_after_three_good_probes_a_second_apart() {
        let mut now = Instant::now();
        let mut breaker = opened(&mut now);
        now += 5 * SECOND;
        for _ in 0..3 {
            assert_eq!(breaker.state(now), State::HalfOpen);
            let began = now;
            breaker.begin(began);
            assert_eq!(breaker.state(now), State::Open, "one probe at a time");
            now += SECOND;
            breaker.ended(began, now, false);
        }
        assert_eq!(breaker.state(now), State::Closed);
    }

    #[test]
    fn a_bad_probe_doubles_the_pause_up_to_a_minute() {
        let mut now = Instant::now();
        let mut breaker = opened(&mut now);
        for pause in [5, 10, 20, 40, 60, 60] {
            assert_eq!(
                breaker.state(now + pause * SECOND - SECOND / 2),
                State::Open
            );
            now += pause * SECOND;
            assert_eq!(breaker.state(now), State::HalfOpen);
            assert!(ask(&mut breaker, &mut now, true));
        }
    }

    #[test]
    fn a_relapse_waits_longer_than_a_first_failure() {
        let mut now = Instant::now();
        let mut breaker = opened(&mut now);
        now += 5 * SECOND;
        for _ in 0..3 {
            ask(&mut breaker, &mut now, false);
            now += SECOND;
        }
        assert_eq!(breaker.state(now), State::Closed);
        for _ in 0..3 {
            ask(&mut breaker, &mut now, true);
        }
        assert_eq!(breaker.state(now + 9 * SECOND), State::Open);
        assert_eq!(breaker.state(now + 10 * SECOND), State::HalfOpen);
    }

    #[test]
    fn stragglers_of_the_outage_neither_open_nor_close_it() {
        let mut now = Instant::now();
        let before = now;
        let mut breaker = opened(&mut now);
        now += 6 * SECOND;
        for failed in [false, false, false, true] {
            assert!(!breaker.ended(before, now, failed));
        }
        assert_eq!(breaker.state(now), State::HalfOpen);
        for _ in 0..3 {
            ask(&mut breaker, &mut now, false);
            now += SECOND;
        }
        for _ in 0..10 {
            assert!(!breaker.ended(before, now, true));
        }
        assert_eq!(breaker.state(now), State::Closed);
    }

    /// A lane that fails for ten seconds of every twenty: it is opened and closed no more than the pauses allow.
    #[test]
    fn an_unsteady_lane_does_not_flap() {
        let start = Instant::now();
        let (mut now, mut breaker, mut opened) = (start, Breaker::default(), 0);
        while now < start + 600 * SECOND {
            now += Duration::from_millis(90);
            if breaker.state(now) == State::Open {
                continue;
            }
            let failed = (now - start).as_secs() % 20 < 10;
            opened += u32::from(ask(&mut breaker, &mut now, failed));
        }
        assert!(opened <= 20, "{opened} times in ten minutes");
    }
}
