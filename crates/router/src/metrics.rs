//! Figures for Prometheus, in its text format.

use crate::emit::Emitter;
use crate::route::breaker::State;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicI64, Ordering};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    operation: String,
    outcome: String,
    status: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tried {
    provider: String,
    result: &'static str,
}

/// What the router counts while it runs.
pub struct Metrics {
    registry: Registry,
    requests: Family<Ended, Counter>,
    attempts: Family<Tried, Counter>,
    turned_away: Counter,
    overhead: Histogram,
    ttft: Histogram,
    active: AtomicI64,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = |from| Histogram::new(exponential_buckets(from, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix("tidemark_router"),
            requests: Family::default(),
            attempts: Family::default(),
            turned_away: Counter::default(),
            overhead: seconds(0.000_05),
            ttft: seconds(0.01),
            active: AtomicI64::new(0),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "requests",
            "Requests that ended, one event each",
            metrics.requests.clone(),
        );
        registry.register(
            "attempts",
            "Tries at providers, by result",
            metrics.attempts.clone(),
        );
        registry.register(
            "turned_away",
            "Requests refused because no event could be recorded",
            metrics.turned_away.clone(),
        );
        registry.register(
            "overhead_seconds",
            "Time the router itself added",
            metrics.overhead.clone(),
        );
        registry.register(
            "ttft_seconds",
            "Request sent to first content",
            metrics.ttft.clone(),
        );
        metrics
    }
}

impl Metrics {
    pub(crate) fn attempt(&self, provider: &str, result: &'static str) {
        self.attempts
            .get_or_create(&Tried {
                provider: provider.to_owned(),
                result,
            })
            .inc();
    }

    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    pub(crate) fn began(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, event: &tidemark_event::UsageEvent) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        let ended = Ended {
            operation: event.operation.clone(),
            outcome: event.outcome.clone(),
            status: i64::from(event.status),
        };
        self.requests.get_or_create(&ended).inc();
        self.overhead.observe(event.overhead_us as f64 / 1e6);
        if let Some(ttft) = event.ttft_us {
            self.ttft.observe(ttft as f64 / 1e6);
        }
    }

    /// All of them, with the lanes whose breaker is not closed.
    pub fn text(&self, emitter: &Emitter, broken: &[(&str, &str, State)]) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            return String::new();
        }
        let mut now = String::new();
        for (name, help, kind, value) in [
            (
                "active_requests",
                "Requests at work",
                "gauge",
                self.active.load(Ordering::Relaxed),
            ),
            (
                "unwritten_events",
                "Places taken by requests at work and events that wait for the journal",
                "gauge",
                emitter.waiting() as i64,
            ),
            (
                "durable_events_total",
                "Events made durable",
                "counter",
                emitter.durable() as i64,
            ),
        ] {
            let family = name.trim_end_matches("_total");
            write!(now, "# HELP tidemark_router_{family} {help}.\n# TYPE tidemark_router_{family} {kind}\ntidemark_router_{name} {value}\n").ok();
        }
        if !broken.is_empty() {
            now.push_str("# HELP tidemark_router_lane_broken Lanes left alone because they fail: 1, and 0.5 while they are tried again.\n# TYPE tidemark_router_lane_broken gauge\n");
        }
        for (endpoint, region, state) in broken {
            let value = if *state == State::Open { "1" } else { "0.5" };
            writeln!(
                now,
                "tidemark_router_lane_broken{{endpoint=\"{endpoint}\",region=\"{region}\"}} {value}"
            )
            .ok();
        }
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.insert_str(end, &now);
        text
    }
}
