//! What can be asked of a ranking, and the rules of what is shown.

use crate::InsightError;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use std::str::FromStr;

/// Equal windows before its own that a board of growth compares with.
pub(crate) const COMPARED: u64 = 3;

/// The longest list, and the default one.
pub const MAX_LIMIT: u32 = 50;

/// An enum whose values have public names, read and written by those names only.
macro_rules! choices {
    ($(#[$doc:meta])* $type:ident, $parameter:literal, $default:ident { $($(#[$item_doc:meta])* $item:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$item_doc])* $item),+ }

        impl $type {
            /// Every value, in the order in which pages show them.
            pub const ALL: &'static [Self] = &[$(Self::$item),+];

            /// The name in URLs, JSON and SQL.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$item => $name),+ }
            }
        }

        impl Default for $type {
            fn default() -> Self {
                Self::$default
            }
        }

        impl FromStr for $type {
            type Err = InsightError;
            fn from_str(text: &str) -> Result<Self, InsightError> {
                match text {
                    $($name => Ok(Self::$item),)+
                    _ => Err(InsightError::Parameter {
                        name: $parameter,
                        problem: concat!("unknown ", $parameter).to_owned(),
                        allowed: Self::ALL.iter().map(|choice| choice.as_str().to_owned()).collect(),
                    }),
                }
            }
        }
    };
}

choices! {
    /// How far back. Windows are whole UTC days, the last of which is today and still running.
    Period, "period", Week {
        /// Today.
        Day = "day",
        /// Today and the six days before.
        Week = "week",
        /// Today and the 29 days before.
        Month = "month",
        /// Everything there is.
        All = "all",
    }
}

choices! {
    /// What ranks.
    Metric, "metric", Tokens {
        /// Prompt and completion tokens.
        Tokens = "tokens",
        /// Client requests, each once.
        Requests = "requests",
        /// Cost at the price in force at request time.
        Spend = "spend",
        /// Distinct accounts.
        Accounts = "accounts",
        /// Tokens, each account's up to a cap: one account cannot buy a rank.
        Capped = "capped",
    }
}

choices! {
    /// What a share is divided by.
    By, "by", Weights {
        /// Open or closed weights.
        Weights = "weights",
        /// The model's author.
        Author = "author",
        /// The author's country.
        Country = "country",
    }
}

impl Period {
    /// How many UTC days the window has, today included; none if it has no beginning.
    pub fn days(self) -> Option<u64> {
        match self {
            Self::Day => Some(1),
            Self::Week => Some(7),
            Self::Month => Some(30),
            Self::All => None,
        }
    }
}

/// One question to one board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankingQuery {
    /// The board: a name out of [`Rankings::names`](crate::Rankings::names).
    pub ranking: String,
    /// How far back.
    pub period: Period,
    /// What ranks.
    pub metric: Metric,
    /// How many rows before `other`, 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// For boards that divide by something; the default otherwise.
    pub by: Option<By>,
    /// The time at which "today" is read; the clock if none.
    pub now: Option<DateTime<Utc>>,
}

impl RankingQuery {
    /// The board's week by tokens.
    pub fn of(ranking: impl Into<String>) -> Self {
        Self {
            ranking: ranking.into(),
            period: Period::default(),
            metric: Metric::default(),
            limit: MAX_LIMIT,
            by: None,
            now: None,
        }
    }

    /// The window this question covers.
    pub fn window(&self) -> Window {
        Window::of(self.period, self.now.unwrap_or_else(Utc::now))
    }
}

/// A period, placed in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Midnight at which it begins; none if it holds everything.
    pub since: Option<DateTime<Utc>>,
    /// When it was asked for.
    pub until: DateTime<Utc>,
    days: u64,
}

impl Window {
    /// The period that ends today, today being the day of `now`.
    pub fn of(period: Period, now: DateTime<Utc>) -> Self {
        let days = period.days();
        let since = days.map(|days| midnight(back(now.date_naive(), days.saturating_sub(1))));
        Self {
            since,
            until: now,
            days: days.unwrap_or(0),
        }
    }

    /// How many days before today the windows begin that questions about a period look at: its own, and the equal ones before it that
    /// boards of growth compare with. One without a beginning is all of the past, and today.
    pub(crate) fn begins(period: Period) -> Vec<u32> {
        let Some(days) = period.days() else {
            return vec![0];
        };
        let begins = (0..=COMPARED).map(|windows| days - 1 + windows * days);
        begins.map(|days| days as u32).collect()
    }

    /// Microseconds at which the rows of the window begin and, exclusively, end.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        match self.since {
            None => (i64::MIN, i64::MAX),
            Some(since) => {
                let end = self
                    .until
                    .date_naive()
                    .checked_add_days(Days::new(1))
                    .unwrap_or(NaiveDate::MAX);
                (since.timestamp_micros(), midnight(end).timestamp_micros())
            }
        }
    }

    /// Microseconds at which the window of equal length begins that lies `windows` windows before this one.
    pub(crate) fn before(&self, windows: u64) -> i64 {
        match self.since {
            None => i64::MIN,
            Some(since) => midnight(back(since.date_naive(), self.days.saturating_mul(windows)))
                .timestamp_micros(),
        }
    }
}

fn back(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days))
        .unwrap_or(NaiveDate::MIN)
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// The operator's rules of what is shown. They hold for every board.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// A cell of fewer distinct accounts is part of `other`.
    pub min_accounts: u32,
    /// So is a cell in which one account has more than this share of the tokens.
    pub dominance: f64,
    /// Metric `capped`: an account's tokens in one cell and window count up to this many.
    pub cap_tokens: u64,
}

impl Default for Policy {
    /// Ten accounts, none with more than half, ten million tokens.
    fn default() -> Self {
        Self {
            min_accounts: 10,
            dominance: 0.5,
            cap_tokens: 10_000_000,
        }
    }
}
