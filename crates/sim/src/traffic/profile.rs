//! What kinds of work there are, and what each asks of a model.

/// A kind of work that accounts do.
pub(super) struct Workload {
    /// Share of accounts.
    pub(super) share: f64,
    /// Median prompt tokens of a turn, and the sigma of its log-normal law.
    pub(super) prompt: (f32, f32),
    /// The same for visible completion tokens.
    pub(super) completion: (f32, f32),
    pub(super) streamed: f32,
    /// Share of requests that offer tools, and of those, that end in calls.
    pub(super) tools: f32,
    pub(super) calls: f32,
    /// Share of requests that meet a warm cache.
    pub(super) cached: f32,
    /// Share of requests that a model declines.
    pub(super) declined: f32,
    pub(super) categories: &'static [&'static str],
    pub(super) apps: &'static [&'static str],
}

pub(super) const WORKLOADS: [Workload; 10] = [
    Workload {
        share: 0.24,
        prompt: (1_100.0, 1.1),
        completion: (340.0, 0.8),
        streamed: 0.95,
        tools: 0.12,
        calls: 0.3,
        cached: 0.35,
        declined: 0.005,
        categories: &["trivia", "technology", "health", "science"],
        apps: &[
            "harborchat",
            "dovetalk",
            "lanternly",
            "parlance-desk",
            "askwillow",
            "sparrowbot",
            "hearthside",
        ],
    },
    Workload {
        share: 0.2,
        prompt: (21_000.0, 0.9),
        completion: (420.0, 1.0),
        streamed: 0.9,
        tools: 0.88,
        calls: 0.72,
        cached: 0.82,
        declined: 0.0005,
        categories: &["programming", "programming", "programming", "technology"],
        apps: &[
            "patchwright",
            "lintel-ide",
            "forgepilot",
            "commitcraft",
            "stacksmith",
            "branchkeeper",
            "sudobuddy",
        ],
    },
    Workload {
        share: 0.1,
        prompt: (5_200.0, 0.8),
        completion: (260.0, 0.7),
        streamed: 0.6,
        tools: 0.25,
        calls: 0.4,
        cached: 0.3,
        declined: 0.002,
        categories: &["legal", "finance", "academia", "science"],
        apps: &[
            "beaconsearch",
            "paperheron",
            "citewell",
            "docketeer",
            "indexmoth",
            "stacklibrary",
        ],
    },
    Workload {
        share: 0.1,
        prompt: (1_900.0, 0.7),
        completion: (120.0, 0.8),
        streamed: 0.08,
        tools: 0.3,
        calls: 0.85,
        cached: 0.25,
        declined: 0.001,
        categories: &["finance", "legal", "technology", "seo"],
        apps: &[
            "ledgerleaf",
            "mapleform",
            "sortilege",
            "rowcraft",
            "invoicewren",
            "foldout",
        ],
    },
    Workload {
        share: 0.1,
        prompt: (6_500.0, 0.7),
        completion: (310.0, 0.6),
        streamed: 0.97,
        tools: 0.0,
        calls: 0.0,
        cached: 0.45,
        declined: 0.012,
        categories: &["roleplay"],
        apps: &[
            "emberquest",
            "taleforge-hall",
            "moonparlor",
            "masquerade-cafe",
            "inklantern",
            "wyrmhollow",
        ],
    },
    Workload {
        share: 0.06,
        prompt: (800.0, 0.8),
        completion: (700.0, 0.7),
        streamed: 0.2,
        tools: 0.0,
        calls: 0.0,
        cached: 0.1,
        declined: 0.001,
        categories: &["translation"],
        apps: &[
            "tongueweaver",
            "glossbridge",
            "twolingo-works",
            "subtitlefox",
            "verbatimly",
            "ferryword",
        ],
    },
    Workload {
        share: 0.07,
        prompt: (3_400.0, 0.7),
        completion: (180.0, 0.6),
        streamed: 0.7,
        tools: 0.6,
        calls: 0.45,
        cached: 0.6,
        declined: 0.003,
        categories: &["technology", "finance", "health"],
        apps: &[
            "northdesk",
            "replykite",
            "ticketotter",
            "calmline",
            "queuebird",
        ],
    },
    Workload {
        share: 0.05,
        prompt: (900.0, 0.9),
        completion: (950.0, 0.7),
        streamed: 0.6,
        tools: 0.05,
        calls: 0.3,
        cached: 0.1,
        declined: 0.004,
        categories: &["marketing", "marketing", "seo"],
        apps: &[
            "quillmate",
            "headlinery",
            "brandtern",
            "copyorchard",
            "adfinch",
            "seedling-seo",
        ],
    },
    Workload {
        share: 0.04,
        prompt: (2_400.0, 0.9),
        completion: (620.0, 0.8),
        streamed: 0.85,
        tools: 0.1,
        calls: 0.3,
        cached: 0.2,
        declined: 0.003,
        categories: &["academia", "science"],
        apps: &[
            "tessera-notes",
            "chalkline",
            "proofpebble",
            "lecturelark",
            "homeroom-ai",
        ],
    },
    Workload {
        share: 0.04,
        prompt: (14_000.0, 1.0),
        completion: (500.0, 0.9),
        streamed: 0.4,
        tools: 0.95,
        calls: 0.8,
        cached: 0.7,
        declined: 0.001,
        categories: &["technology", "programming", "marketing"],
        apps: &[
            "errandry",
            "clockwork-crew",
            "gantry-agents",
            "swarmlet",
            "taskmarten",
            "autopilgrim",
        ],
    },
];

/// Where accounts live: share of accounts, hours from UTC, prefix of the regions near them.
pub(super) const HOMES: [(f64, i64, &str); 3] =
    [(0.48, -6, "us"), (0.33, 1, "eu"), (0.19, 8, "ap")];

const HOUR: i64 = 3_600_000_000;

/// How busy a home is at a moment: one hump in the early afternoon, quiet nights, quieter weekends.
pub(super) fn activity(home: usize, ts: i64) -> f64 {
    let local = ts + HOMES[home].1 * HOUR;
    let hour = local.rem_euclid(24 * HOUR) as f64 / HOUR as f64;
    let off = (hour - 14.5).abs();
    let off = off.min(24.0 - off);
    // 1970 began on a Thursday: with three added, Monday is day 0.
    let weekend = (local.div_euclid(24 * HOUR) + 3).rem_euclid(7) >= 5;
    HOMES[home].0 * (0.14 + 0.86 * (-(off / 4.4).powi(2)).exp()) * if weekend { 0.68 } else { 1.0 }
}

/// How a model's popularity moves over a month.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Trend {
    Steady,
    /// Climbs to several times its start.
    Rising,
    /// Loses most of its users.
    Falling,
    /// Hardly used until this point of the month, then tried by everybody, then settled.
    Launch(f32),
}

impl Trend {
    /// The most that [`Trend::factor`] gives.
    pub(super) const MOST: f64 = 2.6;

    pub(super) fn of(draw: f64) -> Self {
        match draw {
            d if d < 0.56 => Self::Steady,
            d if d < 0.72 => Self::Rising,
            d if d < 0.90 => Self::Falling,
            d => Self::Launch(0.25 + ((d - 0.90) / 0.10) as f32 * 0.6),
        }
    }

    /// The factor at `x`, where 0 is the beginning of the month and 1 its end.
    pub(super) fn factor(self, x: f64) -> f64 {
        let step = |x: f64, middle: f64, width: f64| 1.0 / (1.0 + (-(x - middle) / width).exp());
        match self {
            Self::Steady => 1.0,
            Self::Rising => 0.35 + 1.75 * step(x, 0.55, 0.13),
            Self::Falling => 1.7 - 1.35 * step(x, 0.5, 0.15),
            Self::Launch(start) => {
                let since = x - f64::from(start);
                let novelty = if since > 0.0 {
                    (-since / 0.12).exp()
                } else {
                    0.0
                };
                0.02 + 1.6 * step(since, 0.03, 0.012) + 0.95 * novelty * step(since, 0.03, 0.012)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trends_stay_within_their_bound() {
        for trend in [
            Trend::Steady,
            Trend::Rising,
            Trend::Falling,
            Trend::Launch(0.3),
            Trend::Launch(0.85),
        ] {
            for x in 0..=200 {
                let factor = trend.factor(f64::from(x) / 100.0);
                assert!(
                    (0.0..=Trend::MOST).contains(&factor),
                    "{trend:?} at {x}: {factor}"
                );
            }
        }
    }

    #[test]
    fn about_sixty_apps_and_whole_shares() {
        let mut apps: Vec<_> = WORKLOADS.iter().flat_map(|work| work.apps).collect();
        apps.sort_unstable();
        apps.dedup();
        assert_eq!(apps.len(), 60);
        assert!((WORKLOADS.iter().map(|work| work.share).sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
