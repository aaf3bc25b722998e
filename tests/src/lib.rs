//! What the end-to-end tests share: deterministic traffic, a data folder as the binary wires it,
//! the crash harness, and rankings recomputed in plain Rust.
//!
//! This package switches failpoints on. It is not a default member of the workspace, so that a plain
//! `cargo build` never lends them to the binary.
//!
//! | test | acceptance size |
//! |---|---|
//! | `crash` | `TIDEMARK_KILLS=25 TIDEMARK_RANDOM_KILLS=100` |
//! | `lake_longevity` | `TIDEMARK_COMMITS=5000` |
//! | `kafka`, with `--features kafka` | `TIDEMARK_KAFKA_STEP_KILLS=25 TIDEMARK_KAFKA_RANDOM_KILLS=100 TIDEMARK_KAFKA_FREEZES=50 TIDEMARK_KAFKA_CHURN_S=300 TIDEMARK_KAFKA_OUTAGES=20 TIDEMARK_KAFKA_OUTAGE_S=45` |
//! | `warehouse` | `TIDEMARK_WAREHOUSE_KILLS=25 TIDEMARK_WAREHOUSE_CUTS=20` |
//! | `ingest` | `TIDEMARK_INGEST_EVENTS=100000` |
//! | `golden` | `UPDATE_CASES=1` writes the files in `pipelines/cases` anew |

pub mod bucket;
pub mod cases;
pub mod check;
pub mod folder;
pub mod gateway;
pub mod harness;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod oracle;
pub mod process;
pub mod traffic;
pub mod warehouse;

/// Any failure of a helper.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A number from the environment, or `default`.
pub fn size(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Repeatable chance, the same for ever and on every machine (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that always fall alike for `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.roll() % bound }
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.roll() as u8).collect()
    }
}
