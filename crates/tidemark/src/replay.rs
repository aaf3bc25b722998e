//! `tidemark replay`: a recorded trace through journal and rollup.

use crate::config::Config;
use crate::instance::Instance;
use crate::output::{grouped, line};
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::Path;
use std::time::{Duration, Instant};
use tidemark_catalog::Catalog;
use tidemark_event::UsageEvent;
use tidemark_sim::traces::{self, Format, ReplayOptions};

/// How fast to replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as it goes.
    Max,
    /// So many times the recorded pace.
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Max),
            Ok(times) if times > 0.0 && times.is_finite() => Ok(Self::Times(times)),
            _ => Err("expected `max` or a number above 0, as in `--speed 10` for ten times the recorded pace".to_owned()),
        }
    }
}

/// Events per durable append.
pub const GROUP: usize = 4096;
/// Journal entries the rollup may lie behind before reading waits for it.
const LEAD: u64 = 400_000;

/// Replays `file`; returns when all of it is committed.
pub async fn run(
    config: &Config,
    file: &Path,
    format: Format,
    options: ReplayOptions,
    speed: Speed,
) -> Result<()> {
    let catalog = Catalog::builtin()?;
    let mut trace = traces::open(file, format, &catalog, options)?;
    let instance = Instance::open(config).await?;
    line(traces::assigned_notice(format));
    let bar = progress(trace.total_bytes())?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = instance.worker()?;
    let tally = worker.tally();
    let job = tokio::spawn(worker.run(async {
        stopped.await.ok();
    }));
    let mut read = 0_u64;
    let mut unreadable = 0_u64;
    let mut first_complaints = Vec::new();
    let fed = tokio::task::block_in_place(|| -> Result<()> {
        let mut group: Vec<UsageEvent> = Vec::with_capacity(GROUP);
        let mut pace = Pace::new(speed);
        loop {
            let next = trace.next();
            let flush = next.is_none()
                || group.len() == GROUP
                || next
                    .as_ref()
                    .is_some_and(|n| n.as_ref().is_ok_and(|e| pace.must_wait(e)));
            if flush && !group.is_empty() {
                instance.publish(&group)?;
                group.clear();
                bar.set_position(trace.bytes_read());
                bar.set_message(format!("{} read", grouped(read)));
                while instance.appended().saturating_sub(instance.committed()) > LEAD {
                    if job.is_finished() {
                        bail!("the rollup stopped");
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            match next {
                None => break Ok(()),
                Some(Ok(event)) => {
                    pace.wait(&event);
                    read += 1;
                    group.push(event);
                }
                Some(Err(error)) if error.line().is_some() => {
                    read += 1;
                    unreadable += 1;
                    instance.publish_unreadable(1)?;
                    if first_complaints.len() < 5 {
                        first_complaints.push(error.to_string());
                    }
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    });
    stop.send(()).ok();
    let done = job.await?;
    fed?;
    done?;
    bar.finish_and_clear();
    for complaint in &first_complaints {
        line(format!("  {complaint}"));
    }
    if unreadable > first_complaints.len() as u64 {
        line(format!(
            "  ... and {} more lines that are no events",
            grouped(unreadable - first_complaints.len() as u64)
        ));
    }
    let counts = tally.borrow().counts;
    line(format!(
        "{} read, {} accepted, {} duplicates, {} dead-lettered",
        grouped(read),
        grouped(counts.accepted),
        grouped(counts.duplicates),
        grouped(counts.dead_letters + counts.damaged)
    ));
    Ok(())
}

/// A bar over the bytes of a trace.
pub fn progress(bytes: u64) -> Result<ProgressBar> {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {percent:>3}%  {msg}  {elapsed}",
    )?);
    Ok(bar)
}

/// Keeps the recorded distances between events, scaled.
pub struct Pace {
    speed: Speed,
    start: Option<(Instant, i64)>,
}

impl Pace {
    /// As fast as `speed` says.
    pub fn new(speed: Speed) -> Self {
        Self { speed, start: None }
    }

    fn delay(&self, event: &UsageEvent) -> Duration {
        match (self.speed, self.start) {
            (Speed::Times(times), Some((at, ts))) => {
                let due = Duration::from_micros(((event.ts.0 - ts).max(0) as f64 / times) as u64);
                due.saturating_sub(at.elapsed())
            }
            _ => Duration::ZERO,
        }
    }

    /// Whether what was read so far should be published before this event is due.
    pub fn must_wait(&self, event: &UsageEvent) -> bool {
        self.delay(event) > Duration::from_millis(50)
    }

    /// Until the event is due.
    pub fn wait(&mut self, event: &UsageEvent) {
        if self.start.is_none() {
            self.start = Some((Instant::now(), event.ts.0));
        }
        std::thread::sleep(self.delay(event));
    }
}
