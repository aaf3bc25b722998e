//! What can go wrong in the lake, each with the way out.

use deltalake::DeltaTableError;

/// An error of the lake. The sentence says what, where and what to do; it never holds row content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LakeError {
    /// Another writer committed first: reload and check the offsets again.
    #[error("table {table}: another writer committed first; offsets must be read again")]
    Conflict {
        /// Table name.
        table: String,
    },
    /// A partition is neither where a batch begins nor beyond it.
    #[error(
        "table {table} is committed up to offset {committed} of partition {partition}, the batch covers {from} to {to}: \
         another process writes this lake, or it belongs to another journal; restore the folder they were saved in"
    )]
    Moved {
        /// Table name.
        table: String,
        /// Partition of the log.
        partition: u32,
        /// The table's next offset.
        committed: u64,
        /// First offset of the batch.
        from: u64,
        /// First offset after it.
        to: u64,
    },
    /// The folder holds a lake this build cannot read.
    #[error(
        "table {table} does not have the columns this version of Tidemark writes ({detail}); \
         the lake was written by another version: use that version, or another --data-dir"
    )]
    OtherVersion {
        /// Table name.
        table: String,
        /// First difference found.
        detail: String,
    },
    /// A rollup's file has changed since its table was made.
    #[error(
        "rollup {table} does not have the columns that its SQL asks for ({detail}): move the folder lake/{table} \
         below the data folder away and start again, and it is filled from the raw events"
    )]
    OtherRollup {
        /// Table name.
        table: String,
        /// First difference found.
        detail: String,
    },
    /// There is no such table.
    #[error("there is no table {table} in this lake; known tables: {known}")]
    NoSuchTable {
        /// Table name.
        table: String,
        /// The tables that exist.
        known: String,
    },
    /// Merging files did not keep every row: the files stay as they were.
    #[error(
        "table {table}: merging files would have turned {before} rows into {after}, so they stay as they are; please report this"
    )]
    RowsLost {
        /// Table name.
        table: String,
        /// Rows in the files.
        before: i64,
        /// Rows after merging.
        after: i64,
    },
    /// No space left.
    #[error(
        "the disk under the lake is full: free some space or move the data folder, then start again; nothing accepted was lost"
    )]
    DiskFull,
    /// The folder cannot be used.
    #[error("the lake folder cannot be used: {0}")]
    Folder(#[source] std::io::Error),
    /// The bucket cannot be used.
    #[error(
        "the lake's bucket {url} cannot be used: {why}; check [lake] in tidemark.toml, and the keys in the environment"
    )]
    Bucket {
        /// Its address.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Delta failed.
    #[error("table {table}: {source}")]
    Delta {
        /// Table name.
        table: String,
        /// Cause.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// Arrow failed.
    #[error("columnar data: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Parquet failed.
    #[error("parquet: {0}")]
    Parquet(#[source] parquet::errors::ParquetError),
    /// A query failed.
    #[error("query: {0}")]
    Query(#[source] datafusion::error::DataFusionError),
    /// The store failed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
}

impl LakeError {
    /// Whether a file is not there: vacuum has taken it since it was named.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }

    pub(crate) fn delta(table: &str, source: DeltaTableError) -> Self {
        let conflict = match &source {
            DeltaTableError::Transaction { source } => is_conflict(source),
            DeltaTableError::VersionAlreadyExists(_) => true,
            _ => false,
        };
        if conflict {
            return Self::Conflict {
                table: table.to_owned(),
            };
        }
        if is_disk_full(&source) {
            return Self::DiskFull;
        }
        Self::Delta {
            table: table.to_owned(),
            source: Box::new(source),
        }
    }

    pub(crate) fn store(source: object_store::Error) -> Self {
        if is_disk_full(&source) {
            Self::DiskFull
        } else {
            Self::Store(source)
        }
    }
}

impl From<parquet::errors::ParquetError> for LakeError {
    fn from(source: parquet::errors::ParquetError) -> Self {
        if is_disk_full(&source) {
            Self::DiskFull
        } else {
            Self::Parquet(source)
        }
    }
}

impl From<datafusion::error::DataFusionError> for LakeError {
    fn from(source: datafusion::error::DataFusionError) -> Self {
        if is_disk_full(&source) {
            Self::DiskFull
        } else {
            Self::Query(source)
        }
    }
}

fn is_conflict(error: &deltalake::kernel::transaction::TransactionError) -> bool {
    use deltalake::kernel::transaction::TransactionError as T;
    matches!(
        error,
        T::MaxCommitAttempts(_) | T::CommitConflict(_) | T::VersionAlreadyExists(_)
    )
}

fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull)
        {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::errors::ParquetError;

    #[test]
    fn a_full_disk_is_said_as_such_through_all_layers() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let stored = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(full()),
        };
        // As a file writer gives it: the store's error in an I/O error in a Parquet error.
        let written = ParquetError::External(Box::new(std::io::Error::from(stored)));
        assert!(matches!(LakeError::from(written), LakeError::DiskFull));
        // As a query gives it that goes to temporary files.
        let spilled = datafusion::error::DataFusionError::from(full());
        assert!(matches!(
            LakeError::from(spilled.context("spilling")),
            LakeError::DiskFull
        ));
        let other = ParquetError::General("something else".to_owned());
        assert!(matches!(LakeError::from(other), LakeError::Parquet(_)));
    }
}
