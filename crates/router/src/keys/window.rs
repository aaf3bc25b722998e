//! The spans of time in which use is counted. They follow the calendar, in UTC, so that everyone can tell when a limit begins
//! anew.

use chrono::{DateTime, Months, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A span of time that comes again and again, or all time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// From second 0 on.
    Minute,
    /// From minute 0 on.
    Hour,
    /// From midnight on.
    Day,
    /// From Monday on.
    Week,
    /// From the first day on.
    Month,
    /// Never begins anew.
    Total,
}

const DAY: i64 = 86_400;
/// 1970 began on a Thursday: its first Monday.
const MONDAY: i64 = 4 * DAY;

impl Window {
    /// All of them, the shortest first. Each begins with a minute.
    pub const ALL: [Self; 6] = [
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Total,
    ];

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// The window of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.as_str() == name)
    }

    /// The window around a second since 1970: its first second, and the first after it.
    pub fn around(self, now: i64) -> Range<i64> {
        let aligned = |length: i64, from: i64| {
            let start = (now - from).div_euclid(length) * length + from;
            start..start + length
        };
        match self {
            Self::Minute => aligned(60, 0),
            Self::Hour => aligned(3_600, 0),
            Self::Day => aligned(DAY, 0),
            Self::Week => aligned(7 * DAY, MONDAY),
            Self::Month => month(now).unwrap_or(i64::MIN..i64::MAX),
            Self::Total => i64::MIN..i64::MAX,
        }
    }
}

fn month(now: i64) -> Option<Range<i64>> {
    use chrono::Datelike;
    let day = DateTime::<Utc>::from_timestamp(now, 0)?.date_naive();
    let first = day.with_day(1)?;
    let second_of = |day: chrono::NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp();
    Some(second_of(first)..second_of(first.checked_add_months(Months::new(1))?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn second(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp()
    }

    #[test]
    fn windows_follow_the_calendar() {
        let now = second("2024-02-29T23:59:59Z"); // a Thursday
        for (window, from, to) in [
            (
                Window::Minute,
                "2024-02-29T23:59:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (Window::Hour, "2024-02-29T23:00:00Z", "2024-03-01T00:00:00Z"),
            (Window::Day, "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            (Window::Week, "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"),
            (
                Window::Month,
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
        ] {
            assert_eq!(window.around(now), second(from)..second(to), "{window:?}");
            // The first second belongs to it, the first after it to the next.
            assert_eq!(window.around(second(from)), second(from)..second(to));
            assert_eq!(window.around(second(to)).start, second(to));
        }
        assert!(Window::Total.around(now).contains(&i64::MIN));
        assert_eq!(
            Window::Month.around(second("2026-12-31T12:00:00Z")).end,
            second("2027-01-01T00:00:00Z")
        );
    }

    #[test]
    fn every_window_begins_with_a_minute() {
        for now in (-3_000_000_000..3_000_000_000).step_by(7_777_777) {
            for window in &Window::ALL[..5] {
                let around = window.around(now);
                assert!(around.contains(&now) && around.start % 60 == 0 && around.end % 60 == 0);
            }
        }
    }
}
