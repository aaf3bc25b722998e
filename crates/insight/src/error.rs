//! What can go wrong on the way to a ranking, and whose fault it is.

use datafusion::error::DataFusionError;
use std::path::PathBuf;
use tidemark_lake::LakeError;

/// Why there is no ranking.
#[derive(Debug, thiserror::Error)]
pub enum InsightError {
    /// No board of that name. The caller's mistake.
    #[error("there is no ranking of that name")]
    UnknownRanking {
        /// The boards there are.
        known: Vec<String>,
    },
    /// A parameter has a value that this board does not take. The caller's mistake.
    #[error("{problem}")]
    Parameter {
        /// Which parameter.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
        /// The values it takes; empty if it takes none here.
        allowed: Vec<String>,
    },
    /// A folder of rankings cannot be read.
    #[error("the rankings in {path} cannot be read: {source}", path = path.display())]
    Files {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is missing that every board needs.
    #[error("the file {file} is missing among the rankings; restore it from pipelines/rankings")]
    MissingFile {
        /// Its name.
        file: String,
    },
    /// A file does not plan or does not run.
    #[error("{file}: {source}")]
    Sql {
        /// The SQL file.
        file: String,
        /// What the engine says.
        source: Box<DataFusionError>,
    },
    /// A file's output is not what the next step reads.
    #[error("{file}: {problem}")]
    Shape {
        /// The SQL file.
        file: String,
        /// What is wrong with its columns.
        problem: String,
    },
    /// The catalog's tables cannot be made.
    #[error("the catalog cannot be registered: {0}")]
    Catalog(Box<DataFusionError>),
    /// Rows are not what boards count.
    #[error("the rows cannot be held: {0}")]
    Held(Box<LakeError>),
}

impl InsightError {
    /// Whether the caller asked for something that is not there, rather than something failing here.
    pub fn is_callers(&self) -> bool {
        matches!(self, Self::UnknownRanking { .. } | Self::Parameter { .. })
    }

    /// Names the file in which the engine failed.
    pub(crate) fn sql(file: &str) -> impl Fn(DataFusionError) -> Self + '_ {
        move |source| Self::Sql {
            file: format!("{file}.sql"),
            source: Box::new(source),
        }
    }
}
