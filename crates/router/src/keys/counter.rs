//! What one key, or one account over all its keys, has used of everything that can be limited, in every window of time. It is
//! counted whether a limit is set or not: one that is set later holds for what was used before.

use super::limit::{Limit, Measure};
use super::window::Window;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many requests, tokens and nano-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// Requests.
    pub requests: u64,
    /// Prompt and completion tokens.
    pub tokens: u64,
    /// Nano-dollars.
    pub nanousd: u64,
}

impl Amounts {
    /// One request, of which nothing else is known yet.
    pub const REQUEST: Self = Self {
        requests: 1,
        tokens: 0,
        nanousd: 0,
    };

    /// One of them.
    pub fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Requests => self.requests,
            Measure::Tokens => self.tokens,
            Measure::Spend => self.nanousd,
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.tokens = self.tokens.saturating_add(more.tokens);
        self.nanousd = self.nanousd.saturating_add(more.nanousd);
    }

    fn take(&mut self, less: Self) {
        self.requests = self.requests.saturating_sub(less.requests);
        self.tokens = self.tokens.saturating_sub(less.tokens);
        self.nanousd = self.nanousd.saturating_sub(less.nanousd);
    }
}

/// What was used in one window: from its first second up to the first after it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Span {
    window: Range<i64>,
    used: Amounts,
}

/// The state of a counter at a moment.
#[derive(Debug, Clone, Default)]
pub struct Use {
    spans: [Span; Window::ALL.len()],
    /// Set aside for requests at work. Belongs to the window in which they end.
    held: Amounts,
    unsaved: bool,
}

impl Use {
    /// As a ledger keeps it: for each window its first second and what was used. What is set aside counts as used: if this is
    /// the last that is known of it, a provider has most likely billed it.
    pub(super) fn to_save(&self) -> Vec<(Window, i64, Amounts)> {
        let spans = Window::ALL.into_iter().zip(&self.spans);
        spans
            .map(|(window, span)| {
                let mut used = span.used;
                used.add(self.held);
                // All time began with 1970, for readers of the file.
                (window, span.window.start.max(0), used)
            })
            .collect()
    }

    /// As it was saved.
    pub(super) fn saved(spans: &[(Window, i64, Amounts)]) -> Self {
        let mut state = Self::default();
        for (window, since, used) in spans {
            let (window, used) = (*window, *used);
            if let Some(span) = state.spans.get_mut(window as usize) {
                *span = Span {
                    window: window.around(*since),
                    used,
                };
            }
        }
        state
    }

    /// Begins anew what is over.
    pub(super) fn roll(&mut self, now: i64) {
        // Every window begins with a minute: while this one lasts, none is over.
        if self.spans[0].window.contains(&now) {
            return;
        }
        for (window, span) in Window::ALL.into_iter().zip(&mut self.spans) {
            if now >= span.window.end {
                span.used = Amounts::default();
                span.window = window.around(now);
            } else if now < span.window.start {
                // The clock was put back. Nothing is given away for that, and nothing waits for a day that was none.
                span.window = window.around(now);
            }
        }
    }

    /// Used in a window.
    pub fn used(&self, window: Window) -> Amounts {
        self.spans[window as usize].used
    }

    /// The first second of the next window; none for all time.
    pub fn resets(&self, window: Window) -> Option<i64> {
        Some(self.spans[window as usize].window.end).filter(|end| *end < i64::MAX)
    }

    /// Set aside for requests at work.
    pub fn held(&self) -> Amounts {
        self.held
    }

    /// What is left of a limit, with what requests at work will likely use taken off.
    pub fn left(&self, limit: &Limit) -> u64 {
        limit
            .amount
            .saturating_sub(self.used(limit.window).of(limit.measure))
            .saturating_sub(self.held.of(limit.measure))
    }

    pub(super) fn count(&mut self, used: Amounts) {
        self.unsaved = true;
        self.spans.iter_mut().for_each(|span| span.used.add(used));
    }

    pub(super) fn hold(&mut self, expected: Amounts) {
        self.unsaved = true;
        self.held.add(expected);
    }

    pub(super) fn release(&mut self, expected: Amounts) {
        self.held.take(expected);
    }
}

/// Counts. One short lock; nothing is done under it but additions and comparisons.
#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<Use>);

impl Counter {
    pub(super) fn new(state: Use) -> Self {
        Self(Mutex::new(state))
    }

    /// As it stands now, and held until it is let go.
    pub(super) fn at(&self, now: i64) -> MutexGuard<'_, Use> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.roll(now);
        state
    }

    /// A copy, if it has changed since the last one.
    pub(super) fn changed(&self, now: i64) -> Option<Use> {
        let mut state = self.at(now);
        std::mem::take(&mut state.unsaved).then(|| state.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn spent(nanousd: u64) -> Amounts {
        Amounts {
            requests: 1,
            tokens: 10,
            nanousd,
        }
    }

    fn second(text: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp()
    }

    #[test]
    fn a_window_begins_anew_with_its_first_second() {
        let mut state = Use::default();
        let mut used_at = |time: &str, amounts: Amounts| {
            state.roll(second(time));
            state.count(amounts);
            Window::ALL.map(|window| state.used(window).nanousd)
        };
        assert_eq!(
            used_at("2026-11-29T23:59:59Z", spent(1)),
            [1, 1, 1, 1, 1, 1]
        );
        // A Monday: minute, hour, day and week are new, the month is not.
        assert_eq!(
            used_at("2026-11-30T00:00:00Z", spent(2)),
            [2, 2, 2, 2, 3, 3]
        );
        assert_eq!(
            used_at("2026-11-30T00:00:59Z", spent(4)),
            [6, 6, 6, 6, 7, 7]
        );
        assert_eq!(
            used_at("2026-11-30T00:01:00Z", spent(8)),
            [8, 14, 14, 14, 15, 15]
        );
        assert_eq!(
            used_at("2026-12-01T00:00:00Z", spent(16)),
            [16, 16, 16, 30, 16, 31]
        );
    }

    #[test]
    fn a_clock_that_is_put_back_gives_nothing_away_and_sticks_nowhere() {
        let mut state = Use::default();
        state.roll(second("2026-11-25T12:00:30Z"));
        state.count(spent(5));
        state.roll(second("2026-11-24T12:00:30Z"));
        assert_eq!(state.used(Window::Day).nanousd, 5);
        assert_eq!(
            state.resets(Window::Minute),
            Some(second("2026-11-24T12:01:00Z"))
        );
        // From a wrong century back to ours: the minute lasts a minute.
        state.roll(second("2126-11-24T12:00:30Z"));
        state.count(spent(7));
        state.roll(second("2026-11-25T12:00:30Z"));
        assert_eq!(state.used(Window::Minute).nanousd, 7);
        state.roll(second("2026-11-25T12:01:00Z"));
        assert_eq!(state.used(Window::Minute).nanousd, 0);
    }

    proptest! {
        /// Against the plain sum over everything that was ever used.
        #[test]
        fn counts_are_those_of_brute_force(steps in prop::collection::vec((0..100_000_i64, 0..1_000_u64), 1..80)) {
            let mut state = Use::default();
            let mut all: Vec<(i64, u64)> = Vec::new();
            let mut now = 1_700_000_000;
            for (later, amount) in steps {
                now += later * later / 50_000;
                state.roll(now);
                state.count(spent(amount));
                all.push((now, amount));
                for window in Window::ALL {
                    let within = window.around(now);
                    let since: Vec<u64> = all.iter().filter(|(at, _)| within.contains(at)).map(|(_, amount)| *amount).collect();
                    let used = state.used(window);
                    prop_assert_eq!(used.nanousd, since.iter().sum::<u64>());
                    prop_assert_eq!(used.requests, since.len() as u64);
                }
                // And as it comes back from the ledger, at whatever time it is read.
                let mut saved = Use::saved(&state.to_save());
                saved.roll(now);
                prop_assert_eq!(Window::ALL.map(|window| saved.used(window)), Window::ALL.map(|window| state.used(window)));
            }
        }
    }
}
