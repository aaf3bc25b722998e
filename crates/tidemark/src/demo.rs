//! `up --demo`: a month of simulated history and then live simulated traffic, both through the journal.

use crate::config::Config;
use crate::instance::Instance;
use crate::output::{grouped, line};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tidemark_catalog::Catalog;
use tidemark_event::{Micros, UsageEvent};
use tidemark_rollup::Tally;
use tidemark_sim::traffic::Traffic;
use tokio::sync::watch;

/// Events of history: a month at about 70 a minute.
const HISTORY: u64 = 3_000_000;
const MONTH_US: i64 = 30 * 86_400 * 1_000_000;
const GROUP: usize = 4096;
/// Journal entries the rollup may lie behind before the history waits for it.
const LEAD: u64 = 400_000;
const LIVE_TICK: Duration = Duration::from_millis(200);

/// What was decided at the first start, so that a later one makes the very same history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Demo {
    seed: u64,
    from: i64,
    to: i64,
    events: u64,
    complete: bool,
    #[serde(skip)]
    file: PathBuf,
}

impl Demo {
    /// Reads or makes the plan of the data folder.
    pub fn prepare(config: &Config, instance: &Instance) -> Result<Self> {
        let file = config.data_dir.join("demo.json");
        if let Ok(text) = std::fs::read_to_string(&file) {
            let mut demo: Self = serde_json::from_str(&text).with_context(|| {
                format!(
                    "{} is damaged: delete it, or choose another --data-dir",
                    file.display()
                )
            })?;
            demo.file = file;
            return Ok(demo);
        }
        let now = Micros::now().0;
        let events = std::env::var("TIDEMARK_DEMO_EVENTS")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(HISTORY);
        // A folder that already has events of its own keeps them: no history is put before them.
        let complete = instance.appended() > 0;
        let demo = Self {
            seed: 20_261_123,
            from: now - MONTH_US,
            to: now,
            events,
            complete,
            file,
        };
        demo.save()?;
        Ok(demo)
    }

    fn save(&self) -> Result<()> {
        let draft = self.file.with_extension("new");
        std::fs::write(&draft, serde_json::to_string_pretty(self)?)?;
        Ok(std::fs::rename(draft, &self.file)?)
    }

    /// Publishes the history if it is not complete, then live traffic until stopped.
    pub fn run(
        mut self,
        catalog: &Catalog,
        instance: &Instance,
        tally: &watch::Receiver<Tally>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<()> {
        let traffic = Traffic::new(catalog, self.seed);
        if !self.complete {
            if !self.history(&traffic, instance, tally, stopped)? {
                return Ok(());
            }
            self.complete = true;
            self.save()?;
        }
        line("Live simulated traffic is running: watch the ranking move.");
        let mut live = traffic.live(Micros::now());
        while !*stopped.borrow() {
            std::thread::sleep(LIVE_TICK);
            let events = live.tick(Micros::now());
            if !events.is_empty() {
                instance.publish(&events)?;
            }
        }
        Ok(())
    }

    /// Whether the history is complete; not, when told to stop.
    fn history(
        &self,
        traffic: &Traffic,
        instance: &Instance,
        tally: &watch::Receiver<Tally>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<bool> {
        // What an interrupted start has appended need not be made again; at the seam, ids sort out what was.
        let skip = instance.appended().saturating_sub(2 * GROUP as u64);
        line(format!(
            "Demo: {} simulated requests of the last 30 days go through journal, rollup and lake; every figure on the page is simulated and marked so.",
            grouped(self.events)
        ));
        let bar = ProgressBar::with_draw_target(Some(self.events), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(
            "{bar:40} {percent:>3}%  {msg}  {elapsed}, {eta} to go",
        )?);
        let before = instance.committed();
        let mut events = traffic
            .history(Micros(self.from), Micros(self.to), self.events)
            .skip(skip as usize);
        loop {
            let group: Vec<UsageEvent> = events.by_ref().take(GROUP).collect();
            if group.is_empty() {
                break;
            }
            instance.publish(&group)?;
            loop {
                let (appended, committed) =
                    (instance.appended(), before + tally.borrow().counts.received);
                bar.set_position(committed.min(self.events));
                bar.set_message(format!("{} requests committed", grouped(committed)));
                if *stopped.borrow() {
                    bar.abandon();
                    return Ok(false);
                }
                if appended.saturating_sub(committed) <= LEAD || tally.has_changed().is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        while !*stopped.borrow()
            && instance.committed() < instance.appended()
            && tally.has_changed().is_ok()
        {
            bar.set_position((before + tally.borrow().counts.received).min(self.events));
            std::thread::sleep(Duration::from_millis(50));
        }
        bar.finish_and_clear();
        line(format!(
            "History is in: {} requests in {:.0} s.",
            grouped(instance.committed()),
            bar.elapsed().as_secs_f64()
        ));
        Ok(true)
    }
}
