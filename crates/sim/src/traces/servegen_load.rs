//! Reads ServeGen's client descriptions from a folder or a `.tar.gz`.
//!
//! For each client a `chunk-N-trace.csv` (`ts,rate,cv,Gamma|Weibull,p1,p2`, windows of ten minutes, no header)
//! and mostly a `chunk-N-dataset.json`: per window of hours, how often which input and output length occurs,
//! written as text in Python's notation (`{34: 0.0013, 35: 0.05}`).
//!
//! All clients act at once, so all descriptions are held; they are parameters, not events. Nothing of an
//! archive is ever written to the disk.

use super::{Format, TraceError, lines};
use rand::Rng;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh64::{Xxh64, xxh64};

/// No description is near this size; what exceeds it is something else.
const MAX_ENTRY_BYTES: u64 = 64 << 20;
/// How long the last window is, which nothing follows.
const WINDOW_SECONDS: f64 = 600.0;
const MAX_ENTRIES: usize = 100_000;

/// The law of a window's inter-arrival times, by its shape; the rate gives the scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Law {
    Gamma(f64),
    Weibull(f64),
    Exponential,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Seconds from the trace's time 0.
    pub(super) start: f64,
    /// Where the next one begins.
    pub(super) end: f64,
    /// Requests a second.
    pub(super) rate: f64,
    pub(super) law: Law,
}

/// How often which length occurs, as cumulated shares.
#[derive(Debug, Clone, Default)]
pub(super) struct Lengths(Vec<(u32, f32)>);

impl Lengths {
    pub(super) fn draw(&self, rng: &mut impl Rng) -> i64 {
        let at: f32 = rng.random::<f32>() * self.0.last().map_or(0.0, |last| last.1);
        let index = self.0.partition_point(|entry| entry.1 <= at);
        self.0
            .get(index)
            .or(self.0.last())
            .map_or(0, |entry| i64::from(entry.0))
    }
}

#[derive(Debug)]
pub(super) struct Dataset {
    /// By their start in seconds, empty ones left out.
    windows: Vec<(f64, Lengths, Lengths)>,
}

impl Dataset {
    /// Input and output lengths in force at `time`; before the first window, that one.
    pub(super) fn at(&self, time: f64) -> Option<(&Lengths, &Lengths)> {
        let after = self.windows.partition_point(|window| window.0 <= time);
        self.windows
            .get(after.saturating_sub(1))
            .map(|window| (&window.1, &window.2))
    }
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: u32,
    pub(super) windows: Vec<Window>,
    pub(super) lengths: Arc<Dataset>,
}

#[derive(Debug)]
pub(super) struct Clients {
    pub(super) all: Vec<Client>,
    /// Over names and contents of the descriptions: the same for a folder and for its archive.
    pub(super) fingerprint: u64,
    pub(super) bytes: u64,
    /// The end of the last window, seconds.
    pub(super) end: f64,
}

impl Clients {
    /// How many requests the clients send from time 0 to `until`, at their own rates.
    pub(super) fn expected(&self, until: f64) -> f64 {
        self.all
            .iter()
            .flat_map(|client| &client.windows)
            .map(|window| window.rate * (window.end.min(until) - window.start).max(0.0))
            .sum()
    }
}

#[derive(Default)]
struct Parts {
    trace: Option<Vec<Window>>,
    dataset: Option<Arc<Dataset>>,
}

#[derive(Default)]
struct Loader {
    parts: BTreeMap<u32, Parts>,
    /// Hashes by name, so that the order in an archive does not matter.
    hashes: BTreeMap<String, u64>,
}

fn not_servegen(expected: &'static str) -> TraceError {
    TraceError::NotThisFormat {
        format: Format::Servegen,
        expected,
    }
}

/// Reads all descriptions.
pub(super) fn load(path: &Path) -> Result<Clients, TraceError> {
    let mut loader = Loader::default();
    let opening = |source| TraceError::Open {
        path: path.to_owned(),
        source,
    };
    let meta = std::fs::metadata(path).map_err(opening)?;
    let mut bytes = meta.len();
    if meta.is_dir() {
        bytes = 0;
        for entry in std::fs::read_dir(path).map_err(opening)? {
            let file = entry.map_err(TraceError::Read)?.path();
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if chunk(name).is_some() && file.is_file() {
                let mut content = File::open(&file).map_err(|source| TraceError::Open {
                    path: file.clone(),
                    source,
                })?;
                bytes += loader.add(name, &mut content)?;
            }
        }
    } else {
        let mut archive = tar::Archive::new(lines::open(path, Arc::default())?);
        let broken = |_: io::Error| {
            not_servegen("a folder or .tar.gz of chunk-N-trace.csv and chunk-N-dataset.json")
        };
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let entry_path = entry.path().map_err(broken)?.into_owned();
            let Some(name) = entry_path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if chunk(name).is_some() {
                loader.add(name, &mut entry)?;
            }
        }
    }
    loader.finish(bytes)
}

/// `chunk-7-trace.csv` is client 7's arrivals.
fn chunk(name: &str) -> Option<(u32, bool)> {
    let rest = name.strip_prefix("chunk-")?;
    if let Some(number) = rest.strip_suffix("-trace.csv") {
        return Some((number.parse().ok()?, true));
    }
    Some((rest.strip_suffix("-dataset.json")?.parse().ok()?, false))
}

impl Loader {
    fn add(&mut self, name: &str, content: &mut dyn Read) -> Result<u64, TraceError> {
        let Some((number, is_trace)) = chunk(name) else {
            return Ok(0);
        };
        let mut text = Vec::new();
        content
            .take(MAX_ENTRY_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(TraceError::Read)?;
        if text.len() as u64 > MAX_ENTRY_BYTES || self.hashes.len() >= MAX_ENTRIES {
            return Err(not_servegen(
                "descriptions of at most 64 MiB each, at most 100,000 of them",
            ));
        }
        self.hashes.insert(name.to_owned(), xxh64(&text, 0));
        let parts = self.parts.entry(number).or_default();
        if is_trace {
            parts.trace = Some(windows(&text)?);
        } else {
            parts.dataset = Some(Arc::new(dataset(&text)?));
        }
        Ok(text.len() as u64)
    }

    fn finish(self, bytes: u64) -> Result<Clients, TraceError> {
        let mut hash = Xxh64::new(0);
        for (name, content) in &self.hashes {
            hash.update(name.as_bytes());
            hash.update(&content.to_be_bytes());
        }
        // The published archives lack some datasets, of busy clients too. Leaving those clients out would lose
        // the concentration that makes the trace worth replaying, so they borrow from the others in turn.
        let lenders: Vec<Arc<Dataset>> = self
            .parts
            .values()
            .filter_map(|parts| parts.dataset.clone())
            .filter(|set| !set.windows.is_empty())
            .collect();
        let mut all = Vec::new();
        for (number, parts) in self.parts {
            let Some(windows) = parts.trace else { continue };
            let own = parts.dataset.filter(|set| !set.windows.is_empty());
            let borrowed = || lenders.get(number as usize % lenders.len().max(1)).cloned();
            if let Some(lengths) = own.or_else(borrowed) {
                all.push(Client {
                    number,
                    windows,
                    lengths,
                });
            }
        }
        if all.is_empty() {
            return Err(not_servegen(
                "at least one chunk-N-trace.csv and one chunk-N-dataset.json with lengths",
            ));
        }
        let end = all
            .iter()
            .flat_map(|client| &client.windows)
            .map(|window| window.end)
            .fold(0.0, f64::max);
        Ok(Clients {
            all,
            fingerprint: hash.digest(),
            bytes,
            end,
        })
    }
}

fn windows(text: &[u8]) -> Result<Vec<Window>, TraceError> {
    let mut windows: Vec<Window> = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = str::from_utf8(line).unwrap_or("?").trim();
        if line.is_empty() {
            continue;
        }
        let wrong = |field, reason| TraceError::Line {
            line: index as u64 + 1,
            column: None,
            field: Some(field),
            reason,
        };
        let mut cells = line.split(',');
        let mut number = |field: &'static str| {
            let value = cells
                .next()
                .and_then(|cell| cell.trim().parse::<f64>().ok())
                .filter(|v| v.is_finite() && *v >= 0.0);
            value.ok_or_else(|| wrong(field, "expected a number of zero or more"))
        };
        let (start, rate, _cv) = (number("ts")?, number("rate")?, number("cv")?);
        let law = cells.next().unwrap_or("").trim();
        let shape = cells
            .next()
            .and_then(|cell| cell.trim().parse::<f64>().ok())
            .filter(|shape| *shape > 0.0);
        let law = match (law, shape) {
            ("Gamma", Some(shape)) => Law::Gamma(shape),
            ("Weibull", Some(shape)) => Law::Weibull(shape),
            ("", _) | ("Exponential" | "Poisson", _) => Law::Exponential,
            _ => {
                return Err(wrong(
                    "distribution",
                    "expected Gamma or Weibull and a shape above zero",
                ));
            }
        };
        if let Some(last) = windows.last_mut() {
            if last.start >= start {
                return Err(wrong("ts", "windows must follow each other in time"));
            }
            last.end = start;
        }
        windows.push(Window {
            start,
            end: start + WINDOW_SECONDS,
            rate,
            law,
        });
    }
    Ok(windows)
}

#[derive(Deserialize)]
struct Texts {
    #[serde(default)]
    input_tokens: String,
    #[serde(default)]
    output_tokens: String,
}

fn dataset(text: &[u8]) -> Result<Dataset, TraceError> {
    let wrong =
        || not_servegen("chunk-N-dataset.json maps seconds to input_tokens and output_tokens");
    let raw: BTreeMap<String, Texts> = serde_json::from_slice(text).map_err(|_| wrong())?;
    let mut windows = Vec::new();
    for (start, texts) in raw {
        let start: f64 = start.parse().map_err(|_| wrong())?;
        let lengths = |text: &str| lengths(text).ok_or_else(wrong);
        let (input, output) = (
            lengths(&texts.input_tokens)?,
            lengths(&texts.output_tokens)?,
        );
        if !input.0.is_empty() && !output.0.is_empty() {
            windows.push((start, input, output));
        }
    }
    windows.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(Dataset { windows })
}

/// `{34: 0.5, 35: 0.5}`.
fn lengths(text: &str) -> Option<Lengths> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut sum = 0.0_f32;
    let mut entries = Vec::new();
    for pair in inner.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (length, share) = pair.split_once(':')?;
        let length: f64 = length.trim().parse().ok()?;
        let share: f32 = share.trim().parse().ok()?;
        if !(0.0..=super::MAX_TOKENS as f64).contains(&length) || !(0.0..=1e9).contains(&share) {
            return None;
        }
        if share > 0.0 {
            sum += share;
            entries.push((length as u32, sum));
        }
    }
    Some(Lengths(entries))
}
