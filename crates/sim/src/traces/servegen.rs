//! Requests drawn from ServeGen's client descriptions.
//!
//! Each client is a renewal process in its own operational time: inter-arrival times of mean one are drawn
//! from the window's law and stretched by the rate in force. Drawing afresh in every window would send far too
//! many requests from bursty clients, most of whose windows are shorter than one wait once rates are thinned.
//!
//! Everything follows from the descriptions, the seed and the scale, and each client has its own generator,
//! so that an event limit cuts the same sequence short and changes nothing before the cut.

use super::servegen_load::{Client, Clients, Law};
use super::{Item, ReplayOptions, Row, Source, TraceError};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, Exp1, Gamma};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use tidemark_event::Micros;

/// Events generated when the options give no limit.
const DEFAULT_EVENTS: u64 = 1_000_000;

/// Where one client stands.
struct State {
    rng: SmallRng,
    window: usize,
    /// Seconds from the trace's time 0.
    now: f64,
}

pub(super) struct Requests {
    clients: Arc<Clients>,
    states: Vec<State>,
    /// Next arrivals in microseconds, earliest first; equal times go by client.
    due: BinaryHeap<Reverse<(i64, usize)>>,
    scale: f64,
    until: f64,
    base: i64,
    sent: u64,
    limit: u64,
    now: f64,
}

fn until(clients: &Clients, options: &ReplayOptions) -> f64 {
    options
        .duration
        .map_or(clients.end, |limit| limit.as_secs_f64().min(clients.end))
}

fn scale(clients: &Clients, options: &ReplayOptions) -> f64 {
    let fitting = || {
        let limit = options.max_events.unwrap_or(DEFAULT_EVENTS) as f64;
        (limit / clients.expected(until(clients, options)).max(1.0)).min(1.0)
    };
    options
        .rate_scale
        .filter(|scale| scale.is_finite() && *scale >= 0.0)
        .unwrap_or_else(fitting)
}

impl Requests {
    /// What the generated requests depend on, for their ids.
    pub(super) fn identity(clients: &Clients, options: &ReplayOptions) -> Vec<u8> {
        let parts = [
            clients.fingerprint,
            options.assignment.seed,
            scale(clients, options).to_bits(),
            options.base.0 as u64,
        ];
        parts.iter().flat_map(|part| part.to_be_bytes()).collect()
    }

    pub(super) fn new(clients: Arc<Clients>, options: &ReplayOptions) -> Self {
        let seed = options.assignment.seed;
        let states = clients.all.iter().map(|client| State {
            rng: SmallRng::seed_from_u64(xxhash_rust::xxh64::xxh64(
                &client.number.to_be_bytes(),
                seed,
            )),
            window: 0,
            now: 0.0,
        });
        let mut requests = Self {
            states: states.collect(),
            due: BinaryHeap::new(),
            scale: scale(&clients, options),
            until: until(&clients, options),
            base: options.base.0,
            sent: 0,
            limit: options.max_events.unwrap_or(DEFAULT_EVENTS),
            now: 0.0,
            clients,
        };
        (0..requests.states.len()).for_each(|index| requests.plan(index));
        requests
    }

    /// Puts a client's next arrival on the list, unless the client is done.
    fn plan(&mut self, index: usize) {
        let client = &self.clients.all[index];
        let state = &mut self.states[index];
        if let Some(at) = arrival(client, state, self.scale).filter(|at| *at <= self.until) {
            self.due.push(Reverse(((at * 1e6) as i64, index)));
        }
    }
}

/// A wait of mean one.
fn wait(law: Law, rng: &mut SmallRng) -> f64 {
    match law {
        Law::Exponential => rng.sample(Exp1),
        Law::Gamma(shape) => match Gamma::new(shape, 1.0 / shape) {
            Ok(gamma) => gamma.sample(rng),
            Err(_) => rng.sample(Exp1),
        },
        Law::Weibull(shape) => {
            let draw: f64 = rng.sample(Exp1);
            draw.powf(1.0 / shape) / gamma_function(1.0 + 1.0 / shape)
        }
    }
}

/// Lanczos' approximation (g = 5, six terms), good to ten digits for arguments of one and more.
fn gamma_function(x: f64) -> f64 {
    const C: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.120_865_097_386_617_9e-2,
        -0.539_523_938_495_3e-5,
    ];
    let series = C
        .iter()
        .enumerate()
        .fold(1.000_000_000_190_015, |sum, (n, c)| {
            sum + c / (x + 1.0 + n as f64)
        });
    let t = x + 5.5;
    (-t + (x + 0.5) * t.ln() + (2.506_628_274_631_000_5 * series / x).ln()).exp()
}

/// Walks the windows until the wait is used up.
fn arrival(client: &Client, state: &mut State, scale: f64) -> Option<f64> {
    let mut left: Option<f64> = None;
    while let Some(window) = client.windows.get(state.window) {
        let rate = window.rate * scale;
        if rate > 0.0 {
            let from = state.now.max(window.start);
            let wait = *left.get_or_insert_with(|| wait(window.law, &mut state.rng));
            let room = (window.end - from) * rate;
            if wait <= room {
                state.now = from + wait / rate;
                return Some(state.now);
            }
            left = Some(wait - room);
        }
        state.now = window.end;
        state.window += 1;
    }
    None
}

impl Source for Requests {
    fn next(&mut self) -> Option<Result<Item, TraceError>> {
        if self.sent >= self.limit {
            return None;
        }
        let Reverse((at, index)) = self.due.pop()?;
        self.sent += 1;
        self.now = at as f64 / 1e6;
        let client = &self.clients.all[index];
        let rng = &mut self.states[index].rng;
        let (prompt, completion) = client
            .lengths
            .at(self.now)
            .map_or((0, 0), |(input, output)| {
                (input.draw(rng), output.draw(rng))
            });
        let row = Row {
            ts: Micros(self.base.saturating_add(at)),
            place: self.sent,
            prompt,
            cached: 0,
            completion,
            client: Some(client.number),
        };
        self.plan(index);
        Some(Ok(Item::Row(row)))
    }

    fn done(&self) -> Option<f64> {
        if self.due.is_empty() || self.sent >= self.limit {
            return Some(1.0);
        }
        Some((self.now / self.until.max(1e-9)).max(self.sent as f64 / self.limit as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_mean_one() {
        let mut rng = SmallRng::seed_from_u64(3);
        for law in [Law::Exponential, Law::Gamma(0.8), Law::Weibull(0.7)] {
            let mean = (0..200_000).map(|_| wait(law, &mut rng)).sum::<f64>() / 200_000.0;
            assert!((mean - 1.0).abs() < 0.02, "{law:?}: {mean}");
        }
        assert!((gamma_function(5.0) - 24.0).abs() < 1e-6);
    }
}
