//! Recorded traces as usage events.
//!
//! [`open`] yields a [`Trace`]: an iterator that holds one line at a time, whatever the file's size. A line
//! that cannot be read is an error with its number and the reason, never its content, and reading goes on
//! behind it.
//!
//! **Ids** come from the content: a hash over the whole unpacked file and the place in it. Replaying a file
//! twice adds nothing; two files never share an id, even where their rows are equal. A file that has grown
//! is another file. With [`ReplayOptions::shift_to_now`] an id keeps its derived part, but its embedded time
//! is the new one, because an event's id must lie close to its time: shifted replays made at different
//! moments are different events.
//!
//! **Assigned**: only `ndjson` names models and accounts. For the others, see [`assigned_notice`]; their events are
//! marked `simulated` and their `source` is `replay:<format>`.

mod assign;
mod azure;
mod lines;
mod mooncake;
mod ndjson;
mod servegen;
mod servegen_load;

pub use assign::Assignment;

use assign::Assigner;
use lines::Lines;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidemark_catalog::Catalog;
use tidemark_event::{EventId, Micros, UsageEvent};

/// 2024-01-01T00:00:00Z, where traces with relative times begin unless told otherwise.
pub const DEFAULT_BASE: Micros = Micros(1_704_067_200_000_000);

/// No row has more tokens than this: ten times the largest context ever offered.
const MAX_TOKENS: i64 = 100_000_000;

/// How a trace is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Usage events as JSON lines.
    Ndjson,
    /// Azure's public LLM inference traces, CSV.
    Azure,
    /// Mooncake's request traces, JSON lines.
    Mooncake,
    /// ServeGen's client descriptions, a folder or `.tar.gz`, from which requests are generated.
    Servegen,
}

impl Format {
    /// All of them, for a command line's list of values.
    pub const ALL: [Self; 4] = [Self::Ndjson, Self::Azure, Self::Mooncake, Self::Servegen];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Azure => "azure",
            Self::Mooncake => "mooncake",
            Self::Servegen => "servegen",
        }
    }

    /// What its events carry in `source`.
    pub fn source(self) -> &'static str {
        match self {
            Self::Ndjson => "replay:ndjson",
            Self::Azure => "replay:azure",
            Self::Mooncake => "replay:mooncake",
            Self::Servegen => "replay:servegen",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// No such format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown trace format: expected ndjson, azure, mooncake or servegen")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or(UnknownFormat)
    }
}

/// What a replay made up, in a sentence fit for a terminal or a page.
pub fn assigned_notice(format: Format) -> &'static str {
    match format {
        Format::Ndjson => {
            "Nothing is assigned: events are replayed as recorded. Missing event ids are derived from the file's content."
        }
        Format::Azure => {
            "The trace gives time, prompt tokens and completion tokens. Model, provider, account, app, region, prices and durations are assigned from a seed."
        }
        Format::Mooncake => {
            "The trace gives relative time, prompt and completion tokens and cache blocks. The date, model, provider, account, app, region, prices and durations are assigned from a seed."
        }
        Format::Servegen => {
            "The trace describes clients, not requests: requests are drawn from its arrival and length distributions, thinned to the event limit; each client is an account, and clients without a length distribution borrow another's. The date, model, provider, app, region, prices and durations are assigned from a seed."
        }
    }
}

/// How to replay.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// Where the missing comes from.
    pub assignment: Assignment,
    /// What time 0 of a trace with relative times is.
    pub base: Micros,
    /// Stop after so many events. `servegen` generates a million when this is not set, since its clients
    /// stand for more than a billion.
    pub max_events: Option<u64>,
    /// Leave out what comes later than this after the first event (`servegen`: after its time 0).
    pub duration: Option<Duration>,
    /// `servegen` only: multiplies every client's rate. When not set, rates are thinned so that the whole
    /// duration fits into the event limit, and never raised: the shape of the days stays.
    pub rate_scale: Option<f64>,
    /// Move all times by one amount, so that the last event is now. Reads the trace once more beforehand.
    pub shift_to_now: bool,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            assignment: Assignment::default(),
            base: DEFAULT_BASE,
            max_events: None,
            duration: None,
            rate_scale: None,
            shift_to_now: false,
        }
    }
}

/// Why a trace, or one line of it, cannot be replayed. Never quotes content.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Reading stopped: the disk failed, or a packed file is damaged or cut off.
    #[error("cannot read the trace to its end: {0}")]
    Read(#[source] io::Error),
    /// The file is not in the format named.
    #[error("this is not a {format} trace: {expected}")]
    NotThisFormat {
        /// The format named.
        format: Format,
        /// What was looked for.
        expected: &'static str,
    },
    /// The catalog offers nothing to assign.
    #[error("the catalog has no model with an endpoint and a price: nothing to assign")]
    EmptyCatalog,
    /// One line is unreadable; reading goes on behind it.
    #[error("line {line}{}{}: {reason}", column.map(|c| format!(", column {c}")).unwrap_or_default(), field.map(|f| format!(", field {f}")).unwrap_or_default())]
    Line {
        /// Its number, from 1.
        line: u64,
        /// Where in it, from 1, when known.
        column: Option<u64>,
        /// The field concerned, when it is one the format knows.
        field: Option<&'static str>,
        /// What is wrong.
        reason: &'static str,
    },
}

impl TraceError {
    /// The line concerned; `None` when the whole trace is, and nothing more will come.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Line { line, .. } => Some(*line),
            _ => None,
        }
    }

    fn at(line: u64, reason: &'static str) -> Self {
        Self::Line {
            line,
            column: None,
            field: None,
            reason,
        }
    }
}

/// What a trace without names says about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Row {
    ts: Micros,
    place: u64,
    prompt: i64,
    cached: i64,
    completion: i64,
    /// Which of the trace's clients sent it, when the trace tells them apart.
    client: Option<u32>,
}

/// A row still to be filled in, or an event that says all itself. The event is boxed: rows are the usual case
/// and thirty times smaller.
enum Item {
    Row(Row),
    Event(Box<UsageEvent>, u64),
}

impl Item {
    fn ts(&self) -> Micros {
        match self {
            Self::Row(row) => row.ts,
            Self::Event(event, _) => event.ts,
        }
    }
}

/// One format's reader.
trait Source: Send {
    fn next(&mut self) -> Option<Result<Item, TraceError>>;
    /// Share of the work done, for sources that read everything at the start.
    fn done(&self) -> Option<f64> {
        None
    }
}

/// A trace being replayed.
pub struct Trace {
    limited: Limited,
    assigner: Option<Assigner>,
    id_source: Vec<u8>,
    format: Format,
    shift: i64,
    total: u64,
    read: Arc<AtomicU64>,
}

/// Opens a recorded trace.
///
/// # Errors
/// When the file cannot be read, is not in `format`, or the catalog has nothing to assign.
pub fn open(
    path: &Path,
    format: Format,
    catalog: &Catalog,
    options: ReplayOptions,
) -> Result<Trace, TraceError> {
    let read = Arc::new(AtomicU64::new(0));
    let assigner = match format {
        Format::Ndjson => None,
        _ => Some(Assigner::new(catalog, options.assignment)?),
    };
    let mut id_source = format.source().as_bytes().to_vec();
    let mut total = std::fs::metadata(path)
        .map_err(|source| TraceError::Open {
            path: path.to_owned(),
            source,
        })?
        .len();
    let clients = if format == Format::Servegen {
        let clients = Arc::new(servegen_load::load(path)?);
        total = clients.bytes;
        id_source.extend(servegen::Requests::identity(&clients, &options));
        Some(clients)
    } else {
        id_source.extend(lines::fingerprint(path)?.to_be_bytes());
        None
    };
    let source = |count: Arc<AtomicU64>| -> Result<Limited, TraceError> {
        let lines = || lines::open(path, count).map(Lines::new);
        let source: Box<dyn Source> = match (&clients, format) {
            (Some(clients), _) => Box::new(servegen::Requests::new(clients.clone(), &options)),
            (None, Format::Azure) => Box::new(azure::Rows::new(lines()?)?),
            (None, Format::Mooncake) => Box::new(mooncake::Rows::new(lines()?, options.base)),
            (None, _) => Box::new(ndjson::Events::new(lines()?)),
        };
        Ok(Limited::new(source, &options))
    };
    let mut shift = 0;
    if options.shift_to_now {
        let last = source(Arc::default())?
            .filter_map(Result::ok)
            .map(|item| item.ts())
            .max();
        shift = last.map_or(0, |last| Micros::now().0.saturating_sub(last.0));
    }
    Ok(Trace {
        limited: source(read.clone())?,
        assigner,
        id_source,
        format,
        shift,
        total,
        read,
    })
}

impl Trace {
    /// Bytes on the disk: the file's, or those of all files of a folder.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    /// Of those, how many are behind us. A `servegen` trace is read before its first event; there it is the
    /// same share of the bytes as of the simulated time.
    pub fn bytes_read(&self) -> u64 {
        match self.limited.source.done() {
            Some(share) => (self.total as f64 * share.clamp(0.0, 1.0)) as u64,
            None => self.read.load(Ordering::Relaxed).min(self.total),
        }
    }

    /// The format it is read as.
    pub fn format(&self) -> Format {
        self.format
    }
}

impl Iterator for Trace {
    type Item = Result<UsageEvent, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match self.limited.next()? {
            Ok(item) => item,
            Err(error) => return Some(Err(error)),
        };
        let ts = Micros(item.ts().0.saturating_add(self.shift));
        Some(Ok(match item {
            Item::Row(row) => {
                let id = EventId::derived(ts, &self.id_source, row.place);
                let Some(assigner) = &self.assigner else {
                    return Some(Err(TraceError::EmptyCatalog));
                };
                assigner.event(&row, ts, id, self.format)
            }
            Item::Event(mut event, place) => {
                if event.event_id == EventId::default() {
                    event.event_id = EventId::derived(ts, &self.id_source, place);
                } else if self.shift != 0 {
                    event.event_id = with_time(event.event_id, ts);
                }
                event.ts = ts;
                *event
            }
        }))
    }
}

/// The same id at another time.
fn with_time(mut id: EventId, ts: Micros) -> EventId {
    let millis = (ts.0.max(0) as u64 / 1000).to_be_bytes();
    id.0[..6].copy_from_slice(&millis[2..]);
    id
}

/// Applies the event and time limits, which a first pass for the last time must meet in the same way.
struct Limited {
    source: Box<dyn Source>,
    left: u64,
    duration: Option<i64>,
    end: Option<i64>,
    over: bool,
}

impl Limited {
    fn new(source: Box<dyn Source>, options: &ReplayOptions) -> Self {
        Self {
            source,
            left: options.max_events.unwrap_or(u64::MAX),
            duration: options
                .duration
                .map(|d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
            end: None,
            over: false,
        }
    }
}

impl Iterator for Limited {
    type Item = Result<Item, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over && self.left > 0 {
            match self.source.next() {
                None => self.over = true,
                Some(Err(error)) => {
                    self.over = error.line().is_none();
                    return Some(Err(error));
                }
                Some(Ok(item)) => {
                    let ts = item.ts().0;
                    if let Some(duration) = self.duration {
                        let end = *self.end.get_or_insert(ts.saturating_add(duration));
                        // Files are not always in order: pass over what is late instead of stopping at it.
                        if ts > end {
                            continue;
                        }
                    }
                    self.left -= 1;
                    return Some(Ok(item));
                }
            }
        }
        None
    }
}
