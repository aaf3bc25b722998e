//! Whether a request may be worked on, and what it takes from its key's and its account's limits.
//!
//! 1. At the door ([`Standing::admit`]) the request is counted and every hard limit looked at: where nothing is left, it is refused
//!    before any work.
//! 2. When its model is known, what it will likely use is set aside ([`Admission::expect`]), so that requests at the same time
//!    do not all spend the same rest.
//! 3. However it ends, dropping its [`Admission`] gives back what was set aside and counts what was used.
//!
//! A request is admitted while something is left. So a limit is overshot by what the requests at work use beyond what was set aside
//! for them, and by no more than those requests in all.

use super::Clock;
use super::counter::{Amounts, Counter, Use};
use super::file::Terms;
use super::limit::{Limit, Measure};
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Of {
    /// The key's.
    Key,
    /// The account's, over all its keys.
    Account,
}

impl Of {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Account => "account",
        }
    }
}

/// A key or an account: its limits and what it has used.
pub(super) struct Holder {
    pub(super) of: Of,
    pub(super) terms: Terms,
    pub(super) counter: Arc<Counter>,
}

/// How a key stands: its own limits and use, and those of its account.
pub struct Standing {
    /// What people call the key.
    pub label: String,
    /// From when on it is not taken.
    pub expires: Option<DateTime<Utc>>,
    pub(super) holders: [Holder; 2],
    pub(super) clock: Clock,
}

/// How a limit stands at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The limit.
    pub limit: Limit,
    /// Whose it is.
    pub of: Of,
    /// Requests are refused where nothing is left; otherwise answers carry a warning.
    pub hard: bool,
    /// Used of it.
    pub used: u64,
    /// Neither used nor set aside.
    pub left: u64,
    /// The second, since 1970, in which it begins anew; none if it never does.
    pub resets: Option<i64>,
    /// The second in which it was read.
    pub now: i64,
}

impl Reading {
    /// All of it is used. Where nothing is left and it is not, requests at work hold the rest, and some of it may come back.
    pub fn is_used_up(&self) -> bool {
        self.used >= self.limit.amount
    }
}

impl Standing {
    /// Counts a request that has come to the door.
    ///
    /// # Errors
    /// The hard limit of which nothing is left; the request is not counted then.
    pub fn admit(self: &Arc<Self>) -> Result<Admission, Reading> {
        self.take(|_| true, |state| state.count(Amounts::REQUEST))?;
        Ok(Admission {
            standing: Arc::clone(self),
            expected: Amounts::default(),
            used: Amounts::default(),
        })
    }

    /// Takes from key and account, or, where a hard limit of either leaves nothing of what is looked at, from neither.
    fn take(
        &self,
        looked_at: impl Fn(Measure) -> bool,
        take: impl Fn(&mut Use),
    ) -> Result<(), Reading> {
        let now = self.now();
        // The key before its account, always: no two requests wait for each other.
        let mut states = self.holders.each_ref().map(|holder| holder.counter.at(now));
        let met = self
            .holders
            .iter()
            .zip(&states)
            .flat_map(|(holder, state)| {
                let limits = holder.terms.limits.iter();
                limits
                    .filter(|limit| looked_at(limit.measure) && state.left(limit) == 0)
                    .map(|limit| holder.read(limit, true, state, now))
            });
        // Who waits for a minute should not find the day's limit met behind it.
        if let Some(longest) = met.max_by_key(|met| met.resets.unwrap_or(i64::MAX)) {
            return Err(longest);
        }
        states.iter_mut().for_each(|state| take(state));
        Ok(())
    }

    /// How every limit stands, those of the key first.
    pub fn readings(&self) -> Vec<Reading> {
        let (now, mut readings) = (self.now(), Vec::new());
        self.holders
            .iter()
            .for_each(|holder| holder.read_all(now, &mut readings));
        readings
    }

    /// What the key has used.
    pub fn used(&self) -> Use {
        let [key, _] = &self.holders;
        key.counter.at(self.now()).clone()
    }

    fn now(&self) -> i64 {
        (self.clock)().timestamp()
    }
}

impl Holder {
    /// How every limit stands; no lock is taken for none.
    pub(super) fn read_all(&self, now: i64, readings: &mut Vec<Reading>) {
        let Terms {
            limits,
            soft_limits,
            ..
        } = &self.terms;
        if limits.is_empty() && soft_limits.is_empty() {
            return;
        }
        let state = self.counter.at(now);
        readings.extend(
            limits
                .iter()
                .map(|limit| self.read(limit, true, &state, now)),
        );
        readings.extend(
            soft_limits
                .iter()
                .map(|limit| self.read(limit, false, &state, now)),
        );
    }

    fn read(&self, limit: &Limit, hard: bool, state: &Use, now: i64) -> Reading {
        Reading {
            limit: *limit,
            of: self.of,
            hard,
            used: state.used(limit.window).of(limit.measure),
            left: state.left(limit),
            resets: state.resets(limit.window),
            now,
        }
    }
}

/// What a request takes from the limits, while it is at work. Whatever becomes of it, dropping this settles.
pub struct Admission {
    standing: Arc<Standing>,
    expected: Amounts,
    used: Amounts,
}

impl Admission {
    /// Sets aside what the request will likely use.
    ///
    /// # Errors
    /// The hard limit of which nothing is left.
    pub fn expect(&mut self, tokens: u64, nanousd: u64) -> Result<(), Reading> {
        let expected = Amounts {
            requests: 0,
            tokens,
            nanousd,
        };
        // The request itself is counted: a limit of requests that it has just met is none of its concern.
        self.standing.take(
            |measure| measure != Measure::Requests,
            |state| state.hold(expected),
        )?;
        self.expected.add(expected);
        Ok(())
    }

    /// What it has used in the end.
    pub fn settle(&mut self, tokens: u64, nanousd: u64) {
        self.used = Amounts {
            requests: 0,
            tokens,
            nanousd,
        };
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let now = self.standing.now();
        for holder in &self.standing.holders {
            let mut state = holder.counter.at(now);
            state.release(self.expected);
            state.count(self.used);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::keys::window::Window;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    /// A key and its account, and a clock that a test sets.
    struct Stage {
        standing: Arc<Standing>,
        time: Arc<AtomicI64>,
    }

    fn holder(of: Of, limits: &[&str], counter: Arc<Counter>) -> Holder {
        let terms = Terms {
            limits: limits.iter().map(|text| text.parse().unwrap()).collect(),
            ..Terms::default()
        };
        Holder { of, terms, counter }
    }

    fn stage(key: &[&str], account: &[&str]) -> Stage {
        let time = Arc::new(AtomicI64::new(1_764_028_800)); // a midnight
        let clock = Arc::clone(&time);
        let standing = Standing {
            label: String::new(),
            expires: None,
            holders: [
                holder(Of::Key, key, Arc::default()),
                holder(Of::Account, account, Arc::default()),
            ],
            clock: Arc::new(move || {
                DateTime::from_timestamp(clock.load(Ordering::SeqCst), 0).unwrap()
            }),
        };
        Stage {
            standing: Arc::new(standing),
            time,
        }
    }

    #[test]
    fn a_limit_of_requests_is_exact_under_threads() {
        let stage = stage(&["5000 requests/hour"], &["4000 requests/day"]);
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if stage.standing.admit().is_ok() {
                            admitted.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 4_000);
        // Who was refused by the account has taken nothing from the key.
        assert_eq!(stage.standing.used().used(Window::Hour).requests, 4_000);
    }

    #[test]
    fn what_is_set_aside_is_not_spent_twice_and_comes_back() {
        let stage = stage(&["1 USD/day"], &[]);
        let mut first = stage.standing.admit().unwrap();
        let mut second = stage.standing.admit().unwrap();
        first.expect(1, 600_000_000).unwrap();
        second.expect(1, 600_000_000).unwrap();
        let met = stage.standing.admit().err().unwrap();
        assert!(!met.is_used_up() && met.used == 0 && met.left == 0);
        second.settle(1, 300_000_000);
        drop(second);
        let mut third = stage.standing.admit().unwrap();
        third.expect(1, 1).unwrap();
        first.settle(1, 900_000_000);
        drop(first);
        let met = third.expect(1, 1).unwrap_err();
        assert!(met.is_used_up() && met.used == 1_200_000_000);
        drop(third);
        assert_eq!(stage.standing.used().held(), Amounts::default());
    }

    #[test]
    fn of_several_limits_met_the_one_that_lasts_longest_is_named() {
        let stage = stage(&["1 requests/minute"], &["2 requests/day"]);
        assert!(stage.standing.admit().is_ok());
        assert_eq!(
            stage.standing.admit().err().unwrap().limit.window,
            Window::Minute
        );
        stage.time.fetch_add(60, Ordering::SeqCst);
        assert!(stage.standing.admit().is_ok());
        let met = stage.standing.admit().err().unwrap();
        assert_eq!((met.limit.window, met.of), (Window::Day, Of::Account));
        stage.time.fetch_add(86_400 - 61, Ordering::SeqCst);
        assert_eq!(
            stage.standing.admit().err().unwrap().resets,
            Some(1_764_028_800 + 86_400)
        );
        stage.time.fetch_add(1, Ordering::SeqCst);
        assert!(stage.standing.admit().is_ok());
    }

    #[test]
    fn what_ends_after_midnight_belongs_to_the_new_day() {
        let stage = stage(&["100 tokens/day"], &[]);
        stage.time.fetch_add(86_399, Ordering::SeqCst);
        let mut late = stage.standing.admit().unwrap();
        late.expect(50, 0).unwrap();
        stage.time.fetch_add(1, Ordering::SeqCst);
        late.settle(100, 0);
        drop(late);
        assert!(stage.standing.admit().is_err());
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        for text in ["0 requests/total", "0 tokens/day", "0 USD/month"] {
            assert!(stage(&[text], &[]).standing.admit().is_err(), "{text}");
            assert!(stage(&[], &[text]).standing.admit().is_err(), "{text}");
        }
    }
}
