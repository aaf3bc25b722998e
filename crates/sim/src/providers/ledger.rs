//! What the providers say they did and billed, for tests to compare with what the router says.

use super::answer::Tokens;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// So many of the latest requests are kept one by one.
const KEPT: usize = 4_096;

/// How a request ended, as the provider saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The whole answer went out.
    Answered,
    /// Answered with an error status.
    Refused(u16),
    /// The provider broke the connection.
    Cut,
    /// The client left first: before the answer, in the middle, or after a hang.
    Left,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Slug of the provider.
    pub provider: String,
    /// Region that was asked; empty where there is none.
    pub region: String,
    /// The provider's name of the model.
    pub model: String,
    /// Id of the answer; empty where there was none.
    pub id: String,
    /// How it ended.
    pub ending: Ending,
    /// What was billed for it.
    pub billed: Tokens,
}

/// What one provider did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Served {
    /// Requests that came in, those still open included.
    pub requests: u64,
    /// Whole answers that went out, however wrong.
    pub answered: u64,
    /// Answers with an error status.
    pub refused: u64,
    /// Of those, 429.
    pub rate_limited: u64,
    /// Connections that the provider broke.
    pub cut: u64,
    /// Requests whose client left first.
    pub left: u64,
    /// All tokens billed.
    pub billed: Tokens,
}

#[derive(Debug, Default)]
struct Books {
    /// By provider and region.
    lanes: BTreeMap<String, BTreeMap<String, Served>>,
    recent: VecDeque<Entry>,
}

/// The books of all providers.
///
/// Billed are whole answers, and of answers that broke off (cut, or left by the client) the prompt and what had been
/// generated. Errors, web pages, hangs and requests left before anything was sent cost nothing. Whether the client was told is
/// another matter.
#[derive(Debug, Default)]
pub struct Ledger {
    books: Mutex<Books>,
}

impl Ledger {
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn came(&self, provider: &str, region: &str) {
        self.books().lane(provider, region).requests += 1;
    }

    pub(super) fn ended(&self, entry: Entry) {
        let mut books = self.books();
        let served = books.lane(&entry.provider, &entry.region);
        match entry.ending {
            Ending::Answered => served.answered += 1,
            Ending::Refused(status) => {
                served.refused += 1;
                served.rate_limited += u64::from(status == 429);
            }
            Ending::Cut => served.cut += 1,
            Ending::Left => served.left += 1,
        }
        served.billed = served.billed.plus(&entry.billed);
        if books.recent.len() >= KEPT {
            books.recent.pop_front();
        }
        books.recent.push_back(entry);
    }

    /// What a provider did so far, in all its regions.
    pub fn served(&self, provider: &str) -> Served {
        let books = self.books();
        sum(books
            .lanes
            .get(provider)
            .into_iter()
            .flat_map(BTreeMap::values))
    }

    /// What a provider did in a region.
    pub fn served_in(&self, provider: &str, region: &str) -> Served {
        let books = self.books();
        let lane = books
            .lanes
            .get(provider)
            .and_then(|lanes| lanes.get(region));
        lane.copied().unwrap_or_default()
    }

    /// What each provider did that was asked at all.
    pub fn all(&self) -> BTreeMap<String, Served> {
        let books = self.books();
        let lanes = books.lanes.iter();
        lanes
            .map(|(provider, lanes)| (provider.clone(), sum(lanes.values())))
            .collect()
    }

    /// The sum over all providers.
    pub fn total(&self) -> Served {
        sum(self.books().lanes.values().flat_map(BTreeMap::values))
    }

    /// The latest requests that ended, up to 4,096, oldest first.
    pub fn recent(&self) -> Vec<Entry> {
        self.books().recent.iter().cloned().collect()
    }
}

impl Books {
    fn lane(&mut self, provider: &str, region: &str) -> &mut Served {
        self.lanes
            .entry(provider.to_owned())
            .or_default()
            .entry(region.to_owned())
            .or_default()
    }
}

fn sum<'a>(parts: impl Iterator<Item = &'a Served>) -> Served {
    parts.fold(Served::default(), |sum, served| Served {
        requests: sum.requests + served.requests,
        answered: sum.answered + served.answered,
        refused: sum.refused + served.refused,
        rate_limited: sum.rate_limited + served.rate_limited,
        cut: sum.cut + served.cut,
        left: sum.left + served.left,
        billed: sum.billed.plus(&served.billed),
    })
}

impl Tokens {
    fn plus(self, other: &Self) -> Self {
        Self {
            prompt: self.prompt + other.prompt,
            cached: self.cached + other.cached,
            cache_write: self.cache_write + other.cache_write,
            completion: self.completion + other.completion,
            reasoning: self.reasoning + other.reasoning,
        }
    }
}
