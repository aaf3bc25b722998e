//! The SQL files: one per board, and the shared steps, whose names begin with an underscore.

use crate::InsightError;
use std::collections::BTreeMap;
use std::path::Path;

/// The files of `pipelines/rankings` as they were when this was built: name without `.sql`, text.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/rankings.rs"));

/// Makes cells of a board's keys.
pub(crate) const CELLS: &str = "_cells";
/// Sums volumes by cell, account and window.
pub(crate) const ACCOUNTS: &str = "_accounts";
/// Gives cells their places.
pub(crate) const PLACES: &str = "_places";
/// Folds what has no place.
pub(crate) const FOLD: &str = "_fold";
/// Sums what there is in all.
pub(crate) const TOTALS: &str = "_totals";
/// All of them, in the order in which they run.
pub(crate) const STEPS: [&str; 5] = [CELLS, ACCOUNTS, PLACES, FOLD, TOTALS];

/// A set of SQL files.
#[derive(Debug)]
pub(crate) struct Boards {
    boards: BTreeMap<String, String>,
    steps: BTreeMap<String, String>,
}

impl Boards {
    pub(crate) fn embedded() -> Result<Self, InsightError> {
        Self::of(
            EMBEDDED
                .iter()
                .map(|(name, sql)| ((*name).to_owned(), (*sql).to_owned())),
        )
    }

    pub(crate) fn from_dir(folder: &Path) -> Result<Self, InsightError> {
        let failed = |source| InsightError::Files {
            path: folder.to_owned(),
            source,
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "sql")
                && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
            {
                let sql = std::fs::read_to_string(&path).map_err(|source| InsightError::Files {
                    path: path.clone(),
                    source,
                })?;
                files.push((name.to_owned(), sql));
            }
        }
        Self::of(files)
    }

    fn of(files: impl IntoIterator<Item = (String, String)>) -> Result<Self, InsightError> {
        let (steps, boards): (BTreeMap<_, _>, BTreeMap<_, _>) = files
            .into_iter()
            .partition(|(name, _)| name.starts_with('_'));
        for step in STEPS {
            if !steps.contains_key(step) {
                return Err(InsightError::MissingFile {
                    file: format!("{step}.sql"),
                });
            }
        }
        Ok(Self { boards, steps })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.boards.keys().map(String::as_str)
    }

    pub(crate) fn board(&self, name: &str) -> Result<&str, InsightError> {
        let known = || self.names().map(str::to_owned).collect();
        self.boards
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| InsightError::UnknownRanking { known: known() })
    }

    pub(crate) fn step(&self, name: &str) -> Result<&str, InsightError> {
        let missing = || InsightError::MissingFile {
            file: format!("{name}.sql"),
        };
        self.steps.get(name).map(String::as_str).ok_or_else(missing)
    }
}
