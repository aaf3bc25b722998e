//! Kills a process again and again on one data folder, then checks that nothing was lost and nothing counted twice.

use crate::check::{Book, check};
use crate::{Dice, Result};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that catching up after a crash may take.
pub const RECOVERY: Duration = Duration::from_secs(30);
/// A subject that says nothing for this long hangs.
const SILENCE: Duration = Duration::from_secs(60);
/// Groups a subject would send if nobody killed it.
const GROUPS: u64 = 400;
/// Runs in a row in which a failpoint may fail to strike.
const PATIENCE: u32 = 8;

/// Delays some appends, where they do not count for where to die: eight tables are otherwise committed within a
/// millisecond, and a kill would rarely find them at different places.
const JITTER: &str = "30%sleep(30)";

/// How subjects die.
#[derive(Debug, Clone, Copy)]
pub enum Death {
    /// At the failpoint, after it was passed a random number of times between the two.
    At(&'static str, u64, u64),
    /// By SIGKILL, at a random time.
    Anytime,
}

/// One series of kills on one folder.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The `crash_subject` binary.
    pub subject: &'a Path,
    /// How they die.
    pub death: Death,
    /// How often.
    pub kills: u32,
    /// A planted bug that is on all the time.
    pub bug: Option<&'a str>,
    /// Whether killing the process loses what was not synced, as a power cut would.
    pub volatile: bool,
    /// Whether compaction runs beside.
    pub upkeep: bool,
    /// For the dice.
    pub seed: u64,
}

/// What a series went through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Deaths.
    pub kills: u32,
    /// Starts.
    pub starts: u32,
    /// Starts that found tables at different places.
    pub torn: u32,
    /// Events in the lake at the end.
    pub events: usize,
    /// The longest time from a start to having caught up.
    pub slowest_recovery: Duration,
}

impl Report {
    fn add(&mut self, end: &End) {
        self.starts += 1;
        self.torn += u32::from(end.torn);
        self.slowest_recovery = self.slowest_recovery.max(end.recovered.unwrap_or_default());
    }
}

/// Why a series did not end well.
#[derive(Debug)]
pub enum Failed {
    /// The system under test is wrong: this is what planted bugs must lead to.
    Found(String),
    /// The test itself could not be carried out.
    Broken(String),
}

impl From<Box<dyn std::error::Error + Send + Sync>> for Failed {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Carries out `plan`.
pub fn run(plan: &Plan<'_>) -> std::result::Result<Report, Failed> {
    let dir = tempfile::tempdir().map_err(|error| Failed::Broken(error.to_string()))?;
    let mut dice = Dice::new(plan.seed);
    let mut book = Book::default();
    let mut report = Report::default();
    let mut misses = 0;
    // Kills that come before anything was acknowledged prove nothing.
    while report.kills < plan.kills || book.acked.is_empty() {
        // A client sends again what was not acknowledged, or it does not: both must be fine.
        let from = match book.first_unacked() {
            Some(nth) if dice.once_in(2) => nth,
            _ => book.next_new(),
        };
        let (from, to) = (from.to_string(), (from + GROUPS).to_string());
        let failpoints = match plan.death {
            Death::At(point, least, most) => {
                let skip = (least + dice.below(most - least + 1)) >> misses;
                let jitter = if point == "lake::before_files" {
                    "lake::after_files"
                } else {
                    "lake::before_files"
                };
                format!("{point}={skip}*off->return;{jitter}={JITTER}")
            }
            Death::Anytime => format!("lake::before_files={JITTER}"),
        };
        let mut subject = Subject::start(plan, dir.path(), &["load", &from, &to], &failpoints)?;
        let end = match plan.death {
            Death::At(..) => subject.follow(&mut book, None)?,
            Death::Anytime => {
                // Mostly under load, sometimes while it opens.
                let ready = !dice.once_in(4);
                subject.follow(
                    &mut book,
                    Some((ready, Duration::from_millis(20 + dice.below(381)))),
                )?
            }
        };
        report.add(&end);
        end.must_be_well(&failpoints)?;
        match end.status.signal() {
            Some(_) => {
                report.kills += 1;
                misses = 0;
            }
            None => misses += 1,
        }
        if misses > PATIENCE {
            return Err(Failed::Broken(format!("{failpoints} did not strike")));
        }
    }
    let end = Subject::start(plan, dir.path(), &["drain"], "")?.follow(&mut book, None)?;
    end.must_be_well("drain")?;
    if !end.status.success() {
        return Err(Failed::Found(format!(
            "drain ended with {}: {}",
            end.status, end.complaint
        )));
    }
    report.add(&end);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::Broken(error.to_string()))?;
    // A folder that cannot be read is a finding too.
    let (wrong, events) = runtime
        .block_on(check(dir.path(), &book))
        .map_err(|error| Failed::Found(error.to_string()))?;
    report.events = events;
    if !wrong.is_empty() {
        return Err(Failed::Found(wrong.join("\n  ")));
    }
    Ok(report)
}

struct Subject {
    child: Child,
    lines: Receiver<String>,
    complaints: thread::JoinHandle<String>,
    started: Instant,
}

/// How a subject ended.
struct End {
    status: ExitStatus,
    recovered: Option<Duration>,
    torn: bool,
    complaint: String,
}

impl End {
    /// Dying where it was told to is well, and so is reaching the end; all else is not.
    fn must_be_well(&self, what: &str) -> std::result::Result<(), Failed> {
        let Self {
            status, complaint, ..
        } = self;
        if complaint.contains("panicked at") || complaint.contains("overflowed its stack") {
            return Err(Failed::Found(format!("{what}: {complaint}")));
        }
        if let Some(slow) = self.recovered.filter(|recovered| *recovered > RECOVERY) {
            return Err(Failed::Found(format!("{what}: catching up took {slow:?}")));
        }
        match (status.code(), status.signal()) {
            (Some(0), _) | (None, Some(6 | 9)) => Ok(()),
            _ => Err(Failed::Found(format!(
                "{what}: the subject ended with {status}: {complaint}"
            ))),
        }
    }
}

impl Subject {
    fn start(plan: &Plan<'_>, dir: &Path, args: &[&str], failpoints: &str) -> Result<Self> {
        let bug = plan.bug.map(|bug| format!("{bug}=return"));
        let failpoints: Vec<&str> = bug
            .as_deref()
            .into_iter()
            .chain([failpoints])
            .filter(|text| !text.is_empty())
            .collect();
        let mut command = Command::new(plan.subject);
        command
            .arg(dir)
            .args(args)
            .env("FAILPOINTS", failpoints.join(";"))
            .env(
                "TIDEMARK_VOLATILE_PAGE_CACHE",
                if plan.volatile { "1" } else { "0" },
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if plan.upkeep {
            command.env("TIDEMARK_TEST_UPKEEP", "1");
        }
        let started = Instant::now();
        let mut child = command.spawn()?;
        let (out, mut err) = (
            child.stdout.take().ok_or("no stdout")?,
            child.stderr.take().ok_or("no stderr")?,
        );
        let (said, lines) = channel();
        thread::spawn(move || {
            // A last line without its end was cut off by the kill.
            let mut out = BufReader::new(out);
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
                if said.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
        let complaints = thread::spawn(move || {
            let mut text = Vec::new();
            err.read_to_end(&mut text).ok();
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        Ok(Self {
            child,
            lines,
            complaints,
            started,
        })
    }

    /// Notes what it says until it ends. `kill`: SIGKILL so long after the start or, with true, after it was ready.
    fn follow(
        &mut self,
        book: &mut Book,
        kill: Option<(bool, Duration)>,
    ) -> std::result::Result<End, Failed> {
        let mut deadline = kill
            .filter(|(ready, _)| !ready)
            .map(|(_, delay)| self.started + delay);
        let (mut recovered, mut torn) = (None, false);
        loop {
            let wait = deadline.map_or(SILENCE, |at| at.saturating_duration_since(Instant::now()));
            match self.lines.recv_timeout(wait) {
                Ok(line) => {
                    let line = line.trim_end();
                    if line == "ready" && deadline.is_none() {
                        deadline = kill.map(|(_, delay)| Instant::now() + delay);
                    } else if line.starts_with("recovered") {
                        recovered = Some(self.started.elapsed());
                    } else if line == "torn" {
                        torn = true;
                    } else {
                        book.note(line);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.child
                        .kill()
                        .map_err(|error| Failed::Broken(error.to_string()))?;
                    if deadline.take().is_none() {
                        return Err(Failed::Found("the subject hangs".to_owned()));
                    }
                }
            }
        }
        let status = self
            .child
            .wait()
            .map_err(|error| Failed::Broken(error.to_string()))?;
        let complaints = std::mem::replace(&mut self.complaints, thread::spawn(String::new));
        let complaint = complaints.join().unwrap_or_default();
        Ok(End {
            status,
            recovered,
            torn,
            complaint,
        })
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
