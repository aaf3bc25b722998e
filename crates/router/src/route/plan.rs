//! A decision: the lanes for one request, handed out one by one while attempts fail.

use super::lanes::{Candidate, Routes};
use super::limits::{Exclusion, Limits};
use super::names::Named;
use super::needs::Needs;
use super::rank::{Ranked, Ranking, Strategy, caches};
use super::unavailable;
use super::wants::Wants;
use crate::answer::error::Refusal;
use crate::ask::Ask;
use crate::piece::{ErrorKind, UpstreamError};
use crate::policy::Policy;
use crate::veil;
use chrono::{DateTime, Utc};
use std::time::Instant;
use tidemark_catalog::{Endpoint, Model};

/// What is to be decided.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The request.
    pub ask: &'a Ask,
    /// The model it names first.
    pub named: Named<'a>,
    /// What its account may use.
    pub policy: &'a Policy,
    /// Whose request it is.
    pub account: &'a str,
    /// The time, for prices.
    pub at: DateTime<Utc>,
    /// The time, for how lanes fare.
    pub now: Instant,
    /// What chance goes by.
    pub seed: u64,
    /// Lanes tried, at most.
    pub attempts: usize,
}

/// Whether a conversation is kept on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// No lane of the request has a cache that is cheaper, or it names an order of its own.
    Off,
    /// It is not known yet.
    New,
    /// It goes to the lane it was on.
    Held,
    /// The lane it was on cannot be used now.
    Moved,
}

impl Hold {
    /// The name programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::New => "new",
            Self::Held => "held",
            Self::Moved => "moved",
        }
    }
}

/// A lane that is not tried.
#[derive(Clone, Copy)]
pub struct Excluded<'a> {
    /// The model that it would have answered for.
    pub model: &'a Model,
    /// Its endpoint.
    pub endpoint: &'a Endpoint,
    /// Its region; empty where there is no lane.
    pub region: &'a str,
    /// Why.
    pub by: Exclusion,
}

/// The lanes for one request.
pub struct Plan<'a> {
    routes: &'a Routes,
    /// In their order; those handed out are before `next`.
    pub(super) lanes: Vec<Ranked<'a>>,
    pub(super) excluded: Vec<Excluded<'a>>,
    pub(super) strategy: Strategy,
    pub(super) hold: Hold,
    /// A lane goes first because nobody has asked it for a while.
    pub(super) looks: bool,
    pub(super) models: Vec<Named<'a>>,
    /// Seconds until the first of those that rest may be asked again.
    pub(super) rest: Option<u64>,
    key: Option<u64>,
    next: usize,
    attempts: usize,
    /// Places that could not be reached.
    dead: Vec<u64>,
}

impl Routes {
    /// Decides, for a request that is to be answered.
    ///
    /// # Errors
    /// As [`Routes::decide`], and when no lane may be tried.
    pub fn plan<'a>(&'a self, question: &Question<'a>) -> Result<Plan<'a>, Refusal> {
        let plan = self.decide(question)?;
        match unavailable::refusal(&plan, question.policy, question.at) {
            Some(refusal) => Err(refusal),
            None => Ok(plan),
        }
    }

    /// Decides; the plan may have no lanes.
    ///
    /// # Errors
    /// When the request says what cannot be understood, and when its models cannot be asked.
    pub fn decide<'a>(&'a self, question: &Question<'a>) -> Result<Plan<'a>, Refusal> {
        let Question {
            ask,
            named,
            policy,
            now,
            ..
        } = *question;
        let models = self.models(ask, named, question.at)?;
        let wants = Wants::read(ask, named.variant, self)?;
        for named in &models {
            veil::check(named.model, !wants.ignore.is_empty())?;
        }
        let needs = Needs::of(ask, wants.require_parameters);
        let limits = Limits {
            policy,
            wants: &wants,
            needs: &needs,
            now,
        };
        let ranking = Ranking {
            wants: &wants,
            needs: &needs,
            seed: question.seed,
        };
        let mut plan = Plan {
            routes: self,
            lanes: Vec::new(),
            excluded: Vec::new(),
            strategy: ranking.strategy(),
            hold: Hold::Off,
            looks: false,
            models,
            key: None,
            rest: None,
            next: 0,
            attempts: question.attempts.max(1),
            dead: Vec::new(),
        };
        for n in 0..plan.models.len() {
            plan.sort_out(n, &limits, &ranking, question.at);
        }
        plan.looks = ranking.sort(&mut plan.lanes, now);
        if wants.order.is_empty() && plan.lanes.iter().any(|lane| caches(lane.candidate.price)) {
            plan.stay(question);
        }
        if wants.no_fallbacks && wants.order.is_empty() {
            plan.first_choices();
        }
        Ok(plan)
    }
}

impl<'a> Plan<'a> {
    /// Sorts the lanes of one model into those that may be tried and the others.
    fn sort_out(
        &mut self,
        n: usize,
        limits: &Limits<'_>,
        ranking: &Ranking<'_>,
        at: DateTime<Utc>,
    ) {
        let named = self.models[n];
        let Some(served) = self.routes.served(named.model) else {
            return;
        };
        let of_model = limits.of_model(&named);
        self.lanes.reserve(served.lanes.len());
        for lane in &served.lanes {
            let Some(endpoint) = lane.endpoint(&self.routes.catalog) else {
                continue;
            };
            let mut exclude = |by| {
                self.excluded.push(Excluded {
                    model: named.model,
                    endpoint,
                    region: &lane.region,
                    by,
                })
            };
            let Some(price) = endpoint.price_at(at) else {
                exclude(Exclusion::NoPrice);
                continue;
            };
            let candidate = Candidate {
                endpoint,
                model: named.model,
                price,
                lane,
            };
            let reading = lane.health.read(limits.now);
            let broken = limits.of_lane(&named, &candidate, &reading);
            match of_model.into_iter().chain(broken).min() {
                None => self.lanes.push(ranking.place(candidate, n, reading)),
                Some(by) => {
                    exclude(by);
                    if let (Exclusion::RateLimited, Some(until)) = (by, reading.stated_rest) {
                        let wait = until.saturating_duration_since(limits.now);
                        let seconds = wait.as_millis().div_ceil(1000) as u64;
                        self.rest = Some(self.rest.map_or(seconds, |rest| rest.min(seconds)));
                    }
                }
            }
        }
        let unreached = served
            .unreached
            .iter()
            .filter_map(|at| self.routes.endpoint(*at));
        self.excluded.extend(unreached.map(|endpoint| Excluded {
            model: named.model,
            endpoint,
            region: "",
            by: Exclusion::NoUpstream,
        }));
    }

    /// Puts the lane that the conversation is on first.
    fn stay(&mut self, question: &Question<'_>) {
        let Question {
            ask, named, now, ..
        } = question;
        let sticky = &self.routes.sticky;
        self.key = sticky.key(question.account, &named.model.id, ask);
        let Some(held) = self.key.and_then(|key| sticky.get(key, *now)) else {
            self.hold = Hold::New;
            return;
        };
        let at = self
            .lanes
            .iter()
            .position(|lane| lane.candidate.lane.key == held && lane.can_hold());
        self.hold = match at {
            None => Hold::Moved,
            Some(at) => {
                self.lanes[..=at].rotate_right(1);
                self.looks = false;
                Hold::Held
            }
        };
    }

    /// Leaves the first lane of each model.
    fn first_choices(&mut self) {
        let mut seen = 0_u32;
        self.lanes.retain(|lane| {
            let model = 1 << lane.model;
            let is_first = seen & model == 0;
            seen |= model;
            is_first
        });
    }

    /// The lane to try next. A place that could not be reached waits until all others were tried, and each model keeps one of
    /// the attempts.
    pub fn next_lane(&mut self) -> Option<Candidate<'a>> {
        if self.attempts == 0 {
            return None;
        }
        let models =
            |lanes: &[Ranked<'_>]| lanes.iter().fold(0_u32, |all, lane| all | 1 << lane.model);
        let (tried, left) = self.lanes.split_at(self.next);
        let tried = models(tried);
        let waiting = (models(left) & !tried).count_ones() as usize;
        let is_alive = |lane: &Ranked<'_>| !self.dead.contains(&lane.candidate.lane.place);
        let has_room = |lane: &Ranked<'_>| tried & 1 << lane.model == 0 || self.attempts > waiting;
        let at = left
            .iter()
            .position(|lane| is_alive(lane) && has_room(lane))
            .or_else(|| left.iter().position(has_room))?;
        self.lanes[self.next..=self.next + at].rotate_right(1);
        let next = self.lanes[self.next].candidate;
        self.next += 1;
        Some(next)
    }

    /// The lane handed out last has failed. Whether another may do better.
    pub fn failed(&mut self, error: &UpstreamError) -> bool {
        self.attempts = self.attempts.saturating_sub(1);
        let Some(failed) = self.next.checked_sub(1).and_then(|at| self.lanes.get(at)) else {
            return false;
        };
        let failed = failed.candidate;
        if let Some(key) = self.key {
            self.routes.sticky.let_go(key, failed.lane.key);
        }
        match error.kind {
            // What does not fit there may fit where there is more room.
            ErrorKind::ContextOverflow => {
                let (tried, left) = self.lanes.split_at(self.next);
                let roomier = left.iter().filter(|lane| {
                    lane.candidate.endpoint.context_length > failed.endpoint.context_length
                });
                self.lanes = tried.iter().chain(roomier).copied().collect();
                self.next < self.lanes.len()
            }
            ErrorKind::Credentials | ErrorKind::Connection | ErrorKind::Timeout => {
                self.dead.push(failed.lane.place);
                true
            }
            kind => kind.try_elsewhere(),
        }
    }

    /// The lane handed out last has begun to answer: its conversation stays there.
    pub fn answered(&self, now: Instant) {
        let last = self.next.checked_sub(1).and_then(|at| self.lanes.get(at));
        if let (Some(key), Some(lane)) = (self.key, last)
            && caches(lane.candidate.price)
        {
            self.routes.sticky.hold(key, lane.candidate.lane.key, now);
        }
    }

    pub(super) fn routes(&self) -> &'a Routes {
        self.routes
    }

    /// How many lanes were handed out.
    pub fn tried(&self) -> usize {
        self.next
    }

    /// Lanes in their order; those handed out first.
    pub fn lanes(&self) -> &[Ranked<'a>] {
        &self.lanes
    }

    /// Lanes that are not tried.
    pub fn excluded(&self) -> &[Excluded<'a>] {
        &self.excluded
    }
}
