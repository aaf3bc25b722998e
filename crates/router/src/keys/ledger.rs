//! What has been used, on disk, so that limits survive the process.
//!
//! A file of lines, one for each counter that has changed since the line before: its whole state, behind a checksum. The last
//! line of a counter holds. Lines are appended and synced beside the requests, twice a second; when most of the file is
//! outdated, it is written anew. A line that a crash has cut off is not there; one that is damaged is left out, the file set
//! aside, and that is said.

use super::counter::{Amounts, Counter, Use};
use super::file::private;
use super::window::Window;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const FILE: &str = "keys-used.log";
/// Outdated bytes that are not worth writing the file anew, beside as many as it had when it was.
const SLACK: u64 = 1 << 20;

/// One line: a counter and its state.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    of: Cow<'a, str>,
    used: Vec<(Window, i64, Amounts)>,
}

/// The ledger of a folder.
pub(super) struct Ledger {
    dir: PathBuf,
    /// Lines that could not be read.
    damaged: usize,
    /// None until something is saved, and after a failure: the next save writes all.
    open: Option<Open>,
}

/// The file, to be appended to.
struct Open {
    file: File,
    bytes: u64,
    bytes_at_first: u64,
}

impl Ledger {
    /// Reads the ledger of a folder: the states, by the name of the counter. Changes nothing.
    pub(super) fn read(dir: &Path) -> io::Result<(Self, HashMap<String, Use>)> {
        let bytes = match std::fs::read(dir.join(FILE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut states = HashMap::new();
        let mut damaged = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // The process ended while it wrote this one.
            let Some(line) = line.strip_suffix(b"\n") else {
                break;
            };
            match parse(line) {
                Some(Line { of, used }) => {
                    states.insert(of.into_owned(), Use::saved(&used));
                }
                None => damaged += 1,
            }
        }
        let ledger = Self {
            dir: dir.to_owned(),
            damaged,
            open: None,
        };
        Ok((ledger, states))
    }

    /// Writes what has changed since the last time; returns when the disk has it.
    pub(super) fn save(
        &mut self,
        counters: &HashMap<String, Arc<Counter>>,
        now: i64,
    ) -> io::Result<()> {
        let changed: Vec<(&str, Use)> = counters
            .iter()
            .filter_map(|(name, counter)| Some((name.as_str(), counter.changed(now)?)))
            .collect();
        // Taken out: after a failure the next save writes all of it.
        let open = match self.open.take() {
            Some(open) if changed.is_empty() => open,
            Some(mut open) if !open.is_outdated() => {
                open.append(&lines(changed)?)?;
                open
            }
            _ => {
                self.set_aside_if_damaged(now)?;
                let all = counters
                    .iter()
                    .map(|(name, counter)| (name.as_str(), counter.at(now).clone()));
                Open::anew(&self.dir.join(FILE), &lines(all)?)?
            }
        };
        self.open = Some(open);
        Ok(())
    }

    /// Keeps a copy of a damaged ledger for whoever wants to look into it.
    fn set_aside_if_damaged(&mut self, now: i64) -> io::Result<()> {
        if self.damaged > 0 {
            let copy = format!("{FILE}.damaged-{now}");
            std::fs::copy(self.dir.join(FILE), self.dir.join(&copy))?;
            tracing::error!(
                lines = self.damaged,
                copy,
                "what keys have used was damaged on disk: these lines are left out, so that some limits may begin anew; the file is set aside in the data folder"
            );
            self.damaged = 0;
        }
        Ok(())
    }
}

impl Open {
    fn anew(path: &Path, text: &[u8]) -> io::Result<Self> {
        private(path, text)?;
        let bytes = text.len() as u64;
        Ok(Self {
            file: OpenOptions::new().append(true).open(path)?,
            bytes,
            bytes_at_first: bytes,
        })
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        self.bytes += text.len() as u64;
        self.file.sync_data()
    }

    /// Most of it is outdated.
    fn is_outdated(&self) -> bool {
        self.bytes > 2 * self.bytes_at_first + SLACK
    }
}

fn lines<'a>(states: impl IntoIterator<Item = (&'a str, Use)>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for (of, state) in states {
        let line = Line {
            of: of.into(),
            used: state.to_save(),
        };
        let text = serde_json::to_vec(&line)?;
        write!(out, "{:08x} ", crc32c::crc32c(&text))?;
        out.extend_from_slice(&text);
        out.push(b'\n');
    }
    Ok(out)
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (sum, text) = line.split_at_checked(9)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum.strip_suffix(b" ")?).ok()?, 16).ok()?;
    (crc32c::crc32c(text) == sum)
        .then(|| serde_json::from_slice(text).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const NOW: i64 = 1_764_028_800;

    fn counters(names: &[&str]) -> HashMap<String, Arc<Counter>> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), Arc::default()))
            .collect()
    }

    fn spend(counters: &HashMap<String, Arc<Counter>>, name: &str, nanousd: u64) {
        counters[name].at(NOW).count(Amounts {
            requests: 1,
            tokens: 2,
            nanousd,
        });
    }

    fn spent(dir: &Path, name: &str) -> u64 {
        let (_, states) = Ledger::read(dir).unwrap();
        states
            .get(name)
            .map_or(0, |state| state.used(Window::Day).nanousd)
    }

    #[test]
    fn the_last_line_of_a_counter_holds() {
        let dir = tempfile::tempdir().unwrap();
        let counters = counters(&["key a", "key b"]);
        let (mut ledger, _) = Ledger::read(dir.path()).unwrap();
        for _ in 0..3 {
            spend(&counters, "key a", 5);
            ledger.save(&counters, NOW).unwrap();
        }
        counters["key b"].at(NOW).hold(Amounts {
            requests: 0,
            tokens: 0,
            nanousd: 9,
        });
        ledger.save(&counters, NOW).unwrap();
        assert_eq!(spent(dir.path(), "key a"), 15);
        assert_eq!(
            spent(dir.path(), "key b"),
            9,
            "what a crash leaves set aside is taken for spent"
        );
        let before = std::fs::metadata(dir.path().join(FILE)).unwrap().len();
        ledger.save(&counters, NOW).unwrap();
        assert_eq!(
            std::fs::metadata(dir.path().join(FILE)).unwrap().len(),
            before,
            "nothing changed, nothing written"
        );
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_not_there_and_a_damaged_one_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let counters = counters(&["key a", "key b"]);
        let (mut ledger, _) = Ledger::read(dir.path()).unwrap();
        spend(&counters, "key a", 5);
        ledger.save(&counters, NOW).unwrap();
        spend(&counters, "key a", 5);
        ledger.save(&counters, NOW).unwrap();
        let whole = std::fs::read(&file).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&file, &whole[..cut]).unwrap();
            let (ledger, _) = Ledger::read(dir.path()).unwrap();
            assert_eq!(ledger.damaged, 0, "cut at {cut}");
            assert!([0, 5].contains(&spent(dir.path(), "key a")));
        }
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            std::fs::write(&file, &bent).unwrap();
            let (mut ledger, states) = Ledger::read(dir.path()).unwrap();
            let last = states
                .get("key a")
                .map_or(0, |state| state.used(Window::Day).nanousd);
            assert!(
                ledger.damaged > 0 || at + 1 == whole.len(),
                "a flipped bit at {at} was not noticed"
            );
            assert!([0, 5, 10].contains(&last));
            if at == 20 {
                ledger.save(&counters, NOW).unwrap();
                let copy = dir.path().join(format!("{FILE}.damaged-{NOW}"));
                assert_eq!(std::fs::read(copy).unwrap(), bent);
                assert_eq!(spent(dir.path(), "key a"), 10);
            }
        }
    }

    #[test]
    fn it_stays_as_small_as_what_it_has_to_say() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..64).map(|n| format!("key {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let counters = counters(&names);
        let (mut ledger, _) = Ledger::read(dir.path()).unwrap();
        let (mut largest, mut written) = (0, 0);
        for _ in 0..150 {
            names.iter().for_each(|name| spend(&counters, name, 1));
            ledger.save(&counters, NOW).unwrap();
            let size = std::fs::metadata(dir.path().join(FILE)).unwrap().len();
            largest = largest.max(size);
            written += 64 * 300;
        }
        assert!(
            written > 2 * SLACK && largest > SLACK && largest < SLACK + (128 << 10),
            "{largest}"
        );
        assert_eq!(spent(dir.path(), "key 63"), 150);
    }

    #[test]
    fn after_a_failure_all_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let counters = counters(&["key a"]);
        let (mut ledger, _) = Ledger::read(dir.path()).unwrap();
        spend(&counters, "key a", 5);
        // A folder stands where the draft belongs.
        let draft = dir.path().join(FILE).with_extension("new");
        std::fs::create_dir(&draft).unwrap();
        assert!(ledger.save(&counters, NOW).is_err());
        std::fs::remove_dir(&draft).unwrap();
        ledger.save(&counters, NOW).unwrap();
        assert_eq!(spent(dir.path(), "key a"), 5);
    }
}
