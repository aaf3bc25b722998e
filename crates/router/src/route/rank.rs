//! The order of the lanes that may be tried.
//!
//! Lanes in an outage come last. Then the order of the models, that of `order`, how the lane fares, how many preferences it
//! misses; and among equals the price, as a draw weighted by its inverse square, or whatever the request sorts by.

use super::breaker::State;
use super::health::Reading;
use super::lanes::Candidate;
use super::learn::Drift;
use super::needs::Needs;
use super::wants::{Sort, Wants};
use std::cmp::Ordering;
use std::time::{Duration, Instant};
use tidemark_catalog::Price;

/// Uptime in thousandths below which a lane is degraded, and below which it is only there to fall back on.
const DEGRADED_BELOW: u16 = 950;
const POOR_BELOW: u16 = 800;
/// One request in so many looks how a lane fares that nobody has asked for a while, where the order goes by speed: without it, a
/// lane that was slow once would be slow for ever.
const LOOKS_ONE_IN: u64 = 32;
/// The same while there are lanes of whose speed nothing is known.
const FIRST_LOOKS_ONE_IN: u64 = 4;
/// Time after which nobody knows how a lane fares.
const UNSEEN: Duration = Duration::from_secs(2);

/// What the order goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// A draw, weighted by 1 / price².
    Balanced,
    /// As the request says.
    Sorted(Sort),
}

impl Strategy {
    /// The name programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Sorted(Sort::Price) => "price",
            Self::Sorted(Sort::Throughput) => "throughput",
            Self::Sorted(Sort::Latency) => "latency",
        }
    }
}

/// What speaks against a lane, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks(u16);

/// The marks, how much each weighs, and its name.
pub(super) const MARKS: [(Marks, Weight, &str); 10] = [
    (Marks::OUTAGE, Weight::Outage, "outage"),
    (Marks::RATE_LIMITED, Weight::Outage, "rate_limited"),
    (Marks::POOR, Weight::Poor, "uptime_below_80"),
    (Marks::DEGRADED, Weight::Degraded, "uptime_below_95"),
    (
        Marks::TOOL_CALLS,
        Weight::Degraded,
        "tool_calls_below_peers",
    ),
    (Marks::REFUSALS, Weight::Degraded, "refusals_above_peers"),
    (Marks::SLOW, Weight::Miss, "slow_to_start"),
    (Marks::THIN, Weight::Miss, "low_throughput"),
    (Marks::SHORT, Weight::Miss, "short_context"),
    (Marks::NO_TOOLS, Weight::Miss, "no_tools"),
];

/// How much a mark weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Last of all.
    Outage,
    /// Only to fall back on.
    Poor,
    /// After those that are well.
    Degraded,
    /// A preference that is missed.
    Miss,
}

impl Marks {
    const OUTAGE: Self = Self(1 << 0);
    const RATE_LIMITED: Self = Self(1 << 1);
    const POOR: Self = Self(1 << 2);
    const DEGRADED: Self = Self(1 << 3);
    const TOOL_CALLS: Self = Self(1 << 4);
    const REFUSALS: Self = Self(1 << 5);
    const SLOW: Self = Self(1 << 6);
    const THIN: Self = Self(1 << 7);
    const SHORT: Self = Self(1 << 8);
    const NO_TOOLS: Self = Self(1 << 9);

    fn set(&mut self, mark: Self, holds: bool) {
        if holds {
            self.0 |= mark.0;
        }
    }

    /// Whether a mark is set.
    pub(super) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    fn with(self, weight: Weight) -> u32 {
        let of_weight = MARKS.iter().filter(|(_, w, _)| *w == weight);
        of_weight.filter(|(mark, ..)| self.has(*mark)).count() as u32
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let set = MARKS.iter().filter(move |(mark, ..)| self.has(*mark));
        set.map(|(.., name)| *name)
    }

    /// Whether the lane is not to be tried while there is another.
    pub fn is_out(self) -> bool {
        self.with(Weight::Outage) > 0
    }

    /// 0 where all is well, 1 where something is not, 2 where it is only there to fall back on.
    fn tier(self) -> u32 {
        if self.with(Weight::Poor) > 0 {
            2
        } else {
            u32::from(self.with(Weight::Degraded) > 0)
        }
    }
}

/// A lane in its place.
#[derive(Clone, Copy)]
pub struct Ranked<'a> {
    /// The lane.
    pub candidate: Candidate<'a>,
    /// Which of the request's models it serves.
    pub model: usize,
    /// What speaks against it.
    pub marks: Marks,
    /// How it fares.
    pub reading: Reading,
    place: (u32, usize, usize, u32, u32),
    /// What the order goes by among equals, and then the cost.
    value: (f64, f64),
}

/// All that the order goes by.
pub(super) struct Ranking<'a> {
    pub(super) wants: &'a Wants<'a>,
    pub(super) needs: &'a Needs,
    pub(super) seed: u64,
}

impl Ranking<'_> {
    pub(super) fn strategy(&self) -> Strategy {
        self.wants.sort.map_or(Strategy::Balanced, Strategy::Sorted)
    }

    /// A lane with its place.
    pub(super) fn place<'a>(
        &self,
        candidate: Candidate<'a>,
        model: usize,
        reading: Reading,
    ) -> Ranked<'a> {
        let Self { wants, needs, .. } = self;
        let marks = self.marks(&candidate, &reading);
        let listed = |place: &super::wants::Place<'_>| place.holds(&candidate);
        let order = wants.order.iter().position(listed);
        let cost = cost(candidate.price, needs);
        let unknown = f64::INFINITY;
        let value = match self.strategy() {
            Strategy::Balanced => draw(self.seed, &candidate) * cost * cost,
            Strategy::Sorted(Sort::Price) => cost,
            Strategy::Sorted(Sort::Latency) => reading.ttft_us.map_or(unknown, |us| us as f64),
            Strategy::Sorted(Sort::Throughput) => {
                reading.throughput.map_or(unknown, |tps| -(tps as f64))
            }
        };
        Ranked {
            candidate,
            model,
            marks,
            reading,
            place: (
                u32::from(marks.is_out()),
                if wants.mix_models { 0 } else { model },
                order.unwrap_or(wants.order.len()),
                marks.tier(),
                marks.with(Weight::Miss),
            ),
            value: (value, cost),
        }
    }

    fn marks(&self, candidate: &Candidate<'_>, reading: &Reading) -> Marks {
        let Self { wants, needs, .. } = self;
        let lane = candidate.lane;
        let below = |uptime: u16| reading.uptime.is_some_and(|measured| measured < uptime);
        let tools = needs.parameters.tools();
        let room = needs
            .prompt_tokens()
            .saturating_add(needs.max_tokens.unwrap_or(0));
        let mut marks = Marks::default();
        marks.set(Marks::OUTAGE, reading.state == State::Open);
        marks.set(Marks::RATE_LIMITED, reading.limited);
        marks.set(Marks::POOR, below(POOR_BELOW));
        marks.set(Marks::DEGRADED, below(DEGRADED_BELOW) && !below(POOR_BELOW));
        marks.set(
            Marks::TOOL_CALLS,
            tools && reading.drift == Some(Drift::ToolCalls),
        );
        marks.set(Marks::REFUSALS, reading.drift == Some(Drift::Refusals));
        let slower = |most: u64| reading.ttft_us.is_some_and(|us| us > most);
        marks.set(Marks::SLOW, wants.max_latency.is_some_and(slower));
        let thinner = |least: u64| reading.throughput.is_some_and(|tps| tps < least);
        marks.set(Marks::THIN, wants.min_throughput.is_some_and(thinner));
        marks.set(Marks::SHORT, room > candidate.endpoint.context_length);
        let no_tools = lane.parameters.is_some_and(|known| !known.tools());
        marks.set(Marks::NO_TOOLS, tools && no_tools);
        marks
    }

    /// Puts lanes in order; then, where speed counts and the seed says so, one that nobody has asked for a while goes first.
    /// True where one does.
    pub(super) fn sort(&self, lanes: &mut [Ranked<'_>], now: Instant) -> bool {
        lanes.sort_unstable_by(Ranked::order);
        let by_speed = matches!(self.wants.sort, Some(Sort::Latency | Sort::Throughput))
            || self.wants.max_latency.is_some()
            || self.wants.min_throughput.is_some();
        let Some(first) = lanes.first().copied() else {
            return false;
        };
        if !by_speed || !self.wants.order.is_empty() {
            return false;
        }
        let is_unseen = |lane: &Ranked<'_>| {
            let asked = lane.reading.asked;
            asked.is_none_or(|asked| now.saturating_duration_since(asked) >= UNSEEN)
        };
        let is_peer = |lane: &Ranked<'_>| {
            lane.place.0 == 0 && lane.place.1 == first.place.1 && lane.place.3 == first.place.3
        };
        let longest_ago = lanes
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(_, lane)| is_peer(lane) && is_unseen(lane))
            .min_by_key(|(_, lane)| lane.reading.asked);
        let Some((at, lane)) = longest_ago else {
            return false;
        };
        let is_new = lane.reading.ttft_us.is_none() && lane.reading.throughput.is_none();
        let one_in = if is_new {
            FIRST_LOOKS_ONE_IN
        } else {
            LOOKS_ONE_IN
        };
        let looks = mix(self.seed).is_multiple_of(one_in);
        if looks {
            lanes[..=at].rotate_right(1);
        }
        looks
    }
}

impl Ranked<'_> {
    fn order(&self, other: &Self) -> Ordering {
        let tie = |lane: &Self| lane.candidate.lane.key;
        self.place
            .cmp(&other.place)
            .then(self.value.0.total_cmp(&other.value.0))
            .then(self.value.1.total_cmp(&other.value.1))
            .then(tie(self).cmp(&tie(other)))
    }

    /// Whether a conversation may stay on it.
    pub(super) fn can_hold(&self) -> bool {
        !self.marks.is_out() && self.marks.tier() < 2 && caches(self.candidate.price)
    }
}

/// Whether reading from the provider's cache is cheaper than sending anew.
pub(super) fn caches(price: &Price) -> bool {
    price.cache_read.is_some_and(|read| read < price.prompt)
}

/// What a request will cost, roughly; nano-dollars x a million. Never nothing, so that free lanes can be weighed.
fn cost(price: &Price, needs: &Needs) -> f64 {
    let tokens = needs.prompt_tokens();
    let tier = price.tiers.iter().rev().find(|tier| tokens > tier.above);
    let (prompt, completion) = tier.map_or((price.prompt, price.completion), |tier| {
        (tier.prompt, tier.completion)
    });
    let cost = prompt as f64 * tokens as f64
        + completion as f64 * needs.answer_tokens() as f64
        + price.request as f64 * 1e6;
    cost.max(1.0)
}

/// A draw from the exponential distribution. The smallest of draws times squared prices falls to each lane with a chance in
/// proportion to 1 / price².
fn draw(seed: u64, candidate: &Candidate<'_>) -> f64 {
    let bits = mix(seed ^ mix(candidate.lane.key)) >> 11;
    // In (0, 1]: 53 bits, and none of them zero.
    let uniform = (bits + 1) as f64 / (1_u64 << 53) as f64;
    -uniform.ln()
}

/// SplitMix64: neighbouring seeds have nothing in common.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
