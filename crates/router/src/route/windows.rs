//! What a lane has done of late: counts over five minutes, and medians of its speed.

use std::time::{Duration, Instant};

/// How long an attempt counts.
pub const WINDOW: Duration = Duration::from_secs(300);
const SLICE_S: u64 = 30;
const SLICES: usize = 10;
/// Samples behind a median: the newest ones, since a lane that has become slow should be noticed soon.
const SAMPLES: usize = 16;

/// Ends of attempts, by the formula of uptime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ended well.
    pub ok: u64,
    /// Failed.
    pub failed: u64,
    /// Answered with 429, which is neither.
    pub limited: u64,
}

/// Counts of the last five minutes, to half a minute.
#[derive(Debug)]
pub struct Tally {
    since: Instant,
    /// A slice with the number of the half minute it counts.
    slices: [(u64, Counts); SLICES],
}

impl Tally {
    /// An empty one.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            slices: [(0, Counts::default()); SLICES],
        }
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs() / SLICE_S
    }

    /// The counts of now, to be added to.
    pub fn now(&mut self, now: Instant) -> &mut Counts {
        let number = self.number(now);
        let slice = &mut self.slices[number as usize % SLICES];
        if slice.0 != number {
            *slice = (number, Counts::default());
        }
        &mut slice.1
    }

    /// All counts of the window.
    pub fn sum(&self, now: Instant) -> Counts {
        let number = self.number(now);
        let mut sum = Counts::default();
        for (_, counts) in self
            .slices
            .iter()
            .filter(|(at, _)| number.saturating_sub(*at) < SLICES as u64)
        {
            sum.ok += counts.ok;
            sum.failed += counts.failed;
            sum.limited += counts.limited;
        }
        sum
    }
}

/// The median of the newest samples. It is kept when they have grown old, and says so.
#[derive(Debug, Default)]
pub struct Median {
    samples: Vec<(Instant, u32)>,
    next: usize,
    value: u32,
    fresh: u32,
}

/// A median and the samples of the window behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Middle {
    /// The median.
    pub value: u32,
    /// Samples no older than the window; none: it is what was known before.
    pub samples: u32,
}

impl Median {
    /// Takes a sample in.
    pub fn push(&mut self, now: Instant, sample: u32) {
        if self.samples.len() < SAMPLES {
            self.samples.push((now, sample));
        } else {
            self.samples[self.next] = (now, sample);
        }
        self.next = (self.next + 1) % SAMPLES;
        let mut fresh = [0; SAMPLES];
        let mut count = 0;
        for (at, sample) in &self.samples {
            if now.saturating_duration_since(*at) < WINDOW {
                fresh[count] = *sample;
                count += 1;
            }
        }
        let fresh = &mut fresh[..count];
        self.fresh = count as u32;
        // The sample just taken in is among them. Of an even number, the worse of the middle two.
        self.value = *fresh.select_nth_unstable(count / 2).1;
    }

    /// The median, if there ever was a sample.
    pub fn get(&self, now: Instant) -> Option<Middle> {
        let newest = self.samples[..].get((self.next + SAMPLES - 1) % SAMPLES);
        let (at, _) = newest?;
        let is_fresh = now.saturating_duration_since(*at) < WINDOW;
        Some(Middle {
            value: self.value,
            samples: if is_fresh { self.fresh } else { 0 },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn counts_leave_after_five_minutes() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for second in 0..2_000 {
            let now = start + second * SECOND;
            tally.now(now).ok += 1;
            let ok = tally.sum(now).ok;
            let whole = u64::from(second) + 1;
            assert!(
                ok == whole || (whole > 270 && (270..=300).contains(&ok)),
                "{second} {ok}"
            );
        }
        let later = start + 2_400 * SECOND;
        assert_eq!(tally.sum(later), Counts::default());
        tally.now(later).failed += 2;
        assert_eq!(tally.sum(later).failed, 2);
    }

    /// Against sorting all samples.
    #[test]
    fn the_median_is_that_of_the_newest_samples() {
        let start = Instant::now();
        let (mut median, mut all) = (Median::default(), Vec::new());
        assert_eq!(median.get(start), None);
        let mut x = 1_u32;
        for n in 0..500_u32 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let now = start + n * n / 40 * SECOND;
            median.push(now, x >> 8);
            all.push((now, x >> 8));
            let mut wanted: Vec<u32> = all
                .iter()
                .rev()
                .take(SAMPLES)
                .filter(|(at, _)| now - *at < WINDOW)
                .map(|(_, sample)| *sample)
                .collect();
            wanted.sort_unstable();
            let middle = median.get(now).unwrap();
            assert_eq!(middle.samples as usize, wanted.len());
            assert_eq!(middle.value, wanted[wanted.len() / 2]);
        }
    }

    #[test]
    fn an_old_median_is_kept_without_weight() {
        let start = Instant::now();
        let mut median = Median::default();
        median.push(start, 7);
        assert_eq!(
            median.get(start + WINDOW).unwrap(),
            Middle {
                value: 7,
                samples: 0
            }
        );
    }
}
