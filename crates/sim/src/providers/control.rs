//! Behaviour switched on and off from outside while the providers run.

use super::behaviour::{Behaviour, Layer};
use super::fault::Fault;
use super::values::Amount;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// What somebody wants to be otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub(super) provider: String,
    /// All regions where it is left out.
    pub(super) region: Option<String>,
    /// Laid over the script's; left out, all is again as the script says.
    behaviour: Option<Layer>,
    /// Until taken back where it is left out.
    duration_s: Option<Amount>,
}

impl Order {
    pub(super) fn read(body: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice(body).map_err(|error| {
            Fault::bad(format!(
                "the order cannot be read: {error}; it has `provider`, and perhaps `region`, `behaviour`, `duration_s`"
            ))
        })
    }
}

/// Something switched on.
#[derive(Debug)]
struct Switch {
    provider: String,
    region: Option<String>,
    behaviour: Layer,
    until: Option<Instant>,
}

impl Switch {
    fn is_on(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// One of the things that are on, as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    provider: String,
    region: Option<String>,
    /// Seconds left.
    left_s: Option<f64>,
}

/// Everything switched on; what came later lies over what came before.
#[derive(Debug, Default)]
pub(super) struct Switches(RwLock<Vec<Switch>>);

impl Switches {
    /// Does as ordered; what was ordered for the same provider and region before is over.
    pub(super) fn turn(&self, order: Order) {
        let now = Instant::now();
        let mut switches = self.0.write().unwrap_or_else(PoisonError::into_inner);
        switches.retain(|switch| {
            switch.is_on(now)
                && (&switch.provider, &switch.region) != (&order.provider, &order.region)
        });
        if let Some(behaviour) = order.behaviour {
            switches.push(Switch {
                until: order.duration_s.map(|seconds| {
                    now + Duration::try_from_secs_f64(seconds.0).unwrap_or_default()
                }),
                provider: order.provider,
                region: order.region,
                behaviour,
            });
        }
    }

    /// A behaviour with what is on over it.
    pub(super) fn over<'a>(
        &self,
        scripted: &'a Behaviour,
        provider: &str,
        region: Option<&str>,
    ) -> Cow<'a, Behaviour> {
        let now = Instant::now();
        let switches = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut behaviour = Cow::Borrowed(scripted);
        for switch in switches.iter() {
            let here = switch.region.is_none() || switch.region.as_deref() == region;
            if here && switch.provider == provider && switch.is_on(now) {
                behaviour = Cow::Owned(switch.behaviour.over(&behaviour));
            }
        }
        behaviour
    }

    /// What is on.
    pub(super) fn on(&self) -> Vec<Shown> {
        let now = Instant::now();
        let switches = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let on = switches.iter().filter(|switch| switch.is_on(now));
        on.map(|switch| Shown {
            provider: switch.provider.clone(),
            region: switch.region.clone(),
            left_s: switch
                .until
                .map(|until| until.saturating_duration_since(now).as_secs_f64()),
        })
        .collect()
    }
}
