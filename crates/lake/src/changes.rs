//! What each commit did to a table's files, for whoever keeps a copy of the table elsewhere.

use crate::error::LakeError;
use crate::files::{self, DataFile};
use crate::offsets::Offsets;
use crate::spec::TableSpec;
use crate::table::{Table, TableView};
use bytes::Bytes;
use deltalake::DeltaTableError;
use deltalake::kernel::{Action, Add};
use deltalake::logstore::{LogStore, get_actions};
use futures::{Stream, TryStreamExt};
use object_store::{ObjectStoreExt, path::Path};
use std::collections::HashSet;
use std::sync::Arc;

/// Commits behind from which a view is loaded as a whole.
const MANY: u64 = 50;

/// What one commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The version that it made.
    pub version: u64,
    /// Files whose rows were not in the table before.
    pub new: Vec<DataFile>,
    /// Files whose rows are those of `replaced`, put together anew.
    pub rearranged: Vec<DataFile>,
    /// Paths of the files that `rearranged` stands for.
    pub replaced: Vec<String>,
    /// Paths of files whose rows are in the table no more.
    pub gone: Vec<String>,
}

impl Table {
    /// What the commit of a version did, or none if the log does not reach back to it any more.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn changes(&self, version: u64) -> Result<Option<Changes>, LakeError> {
        let log = self.delta().await.log_store();
        let entry = self.entry(version, log.as_ref()).await?;
        Ok(entry.map(|(changes, _)| changes))
    }

    /// What the commit of a version did, and where it moved offsets to.
    async fn entry(
        &self,
        version: u64,
        log: &dyn LogStore,
    ) -> Result<Option<(Changes, Offsets)>, LakeError> {
        let fail = |source: DeltaTableError| LakeError::delta(&self.spec().name, source);
        let Some(entry) = log.read_commit_entry(version).await.map_err(fail)? else {
            return Ok(None);
        };
        let mut offsets = Offsets::new();
        let mut changes = Changes {
            version,
            ..Changes::default()
        };
        for action in get_actions(version, &entry).map_err(fail)? {
            match action {
                Action::Add(add) if add.data_change => changes.new.push(file(add, self.spec())),
                Action::Add(add) => changes.rearranged.push(file(add, self.spec())),
                Action::Remove(remove) if remove.data_change => changes.gone.push(remove.path),
                Action::Remove(remove) => changes.replaced.push(remove.path),
                Action::Txn(moved) => {
                    if let Some(partition) = self.log().partition_of(&moved.app_id) {
                        offsets.insert(partition, moved.version.max(0) as u64);
                    }
                }
                _ => {}
            }
        }
        Ok(Some((changes, offsets)))
    }

    /// A view as the commits up to `version` leave it, each read once; none if the log does not hold them all, or too many.
    pub(crate) async fn advanced(
        &self,
        mut view: TableView,
        version: u64,
        log: &dyn LogStore,
    ) -> Result<Option<TableView>, LakeError> {
        if view.version == version {
            return Ok(Some(view));
        }
        if version < view.version || version - view.version > MANY {
            return Ok(None);
        }
        let mut files = Arc::unwrap_or_clone(view.files);
        for version in view.version + 1..=version {
            let Some((changes, offsets)) = self.entry(version, log).await? else {
                return Ok(None);
            };
            let gone: HashSet<_> = changes.gone.iter().chain(&changes.replaced).collect();
            if !gone.is_empty() {
                files.retain(|file| !gone.contains(&file.path));
            }
            files.extend(changes.new);
            files.extend(changes.rearranged);
            view.offsets.extend(offsets);
        }
        view.files = Arc::new(files);
        view.version = version;
        Ok(Some(view))
    }

    /// The bytes of a data file, as they are asked for. A file that vacuum has taken is [`LakeError::is_gone`].
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub async fn bytes(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, LakeError>> + use<>, LakeError> {
        let store = self.store().await;
        let found = store
            .get(&Path::from(path))
            .await
            .map_err(LakeError::store)?;
        Ok(found.into_stream().map_err(LakeError::store))
    }
}

fn file(add: Add, spec: &TableSpec) -> DataFile {
    let stats = add.stats.as_deref();
    let rows = stats
        .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
        .and_then(|stats| stats.get("numRecords")?.as_i64());
    DataFile {
        date: add
            .partition_values
            .get("date")
            .cloned()
            .flatten()
            .unwrap_or_default(),
        size: add.size,
        rows: rows.unwrap_or_default(),
        window: files::window_of(stats, spec),
        path: add.path,
    }
}
