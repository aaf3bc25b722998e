//! One Delta table: rows and the offsets they came from, in one commit.

use crate::AT_ONCE;
use crate::columns;
use crate::error::LakeError;
use crate::files::{self, DataFile};
use crate::offsets::{Log, Offsets};
use crate::place::{Place, Root};
use crate::spec::TableSpec;
use crate::writer::FileWriter;
use arrow::array::RecordBatch;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableError};
use fail::fail_point;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;

/// Commits between checkpoints: a reader replays at most this many small log files.
const CHECKPOINT_EVERY: u64 = 100;

/// How often a log is looked at that cannot be read, and how long it is left alone in between.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// A table of the lake. Commits take turns; reading goes by the snapshot of the last commit.
pub struct Table {
    spec: TableSpec,
    log: Log,
    root: Root,
    delta: Mutex<DeltaTable>,
    view: RwLock<TableView>,
    /// Files whose bytes may still be only in the page cache.
    unsynced: std::sync::Mutex<Vec<PathBuf>>,
}

/// Rows in files that no commit names yet. Dropped, they stay as files that nothing reads.
#[derive(Debug, Default)]
pub struct Written(Vec<(DataFile, Add)>);

/// What a committed version of a table holds.
#[derive(Debug, Clone, Default)]
pub struct TableView {
    /// Delta version.
    pub version: u64,
    /// Its files.
    pub files: Arc<Vec<DataFile>>,
    /// Its offsets: the next one to take, by partition.
    pub offsets: Offsets,
}

/// Reads the newest state of a log. Listing a folder takes no snapshot: while others commit it may name an entry without the one
/// before it, which the library takes for a broken log. The next look has both.
async fn look(delta: &mut DeltaTable) -> Result<(), DeltaTableError> {
    for _ in 1..LOOKS {
        match delta.update_state().await {
            Ok(()) => return Ok(()),
            Err(error) => tracing::debug!(%error, "a log is looked at again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    delta.update_state().await
}

impl Table {
    /// Opens the table in `place`, making it if it is not there. A table of facts that an earlier version made gets
    /// the columns that are new since.
    ///
    /// # Errors
    /// When the place cannot be used or holds a table with other columns.
    pub async fn open(place: &Place, mut spec: TableSpec, log: &Log) -> Result<Self, LakeError> {
        let fail = |source| LakeError::delta(&spec.name, source);
        let (mut delta, root) = place.table(&spec.name)?;
        let made = match delta.verify_deltatable_existence().await.map_err(fail)? {
            true => None,
            false => match columns::create(delta.clone(), &spec).await {
                Ok(made) => Some(made),
                // Another process that starts just now was first.
                Err(_) if delta.verify_deltatable_existence().await.map_err(fail)? => None,
                Err(error) => return Err(error),
            },
        };
        let delta = match made {
            Some(made) => made,
            None => {
                look(&mut delta).await.map_err(fail)?;
                columns::widen(delta, &mut spec).await?
            }
        };
        let table = Self {
            root,
            log: log.clone(),
            delta: Mutex::new(delta),
            view: RwLock::default(),
            unsynced: std::sync::Mutex::default(),
            spec,
        };
        let delta = table.delta.lock().await;
        table.load_view(&delta).await?;
        drop(delta);
        table.distrust_page_cache();
        Ok(table)
    }

    /// What the table is.
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// Whose offsets it keeps.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// The last committed state.
    pub fn view(&self) -> TableView {
        self.view
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn set_view(&self, view: TableView) {
        *self
            .view
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = view;
    }

    /// Reads what another process may have committed since.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn reload(&self) -> Result<(), LakeError> {
        let mut delta = self.delta.lock().await;
        self.catch_up(&mut delta).await
    }

    async fn catch_up(&self, delta: &mut DeltaTable) -> Result<(), LakeError> {
        look(delta)
            .await
            .map_err(|source| LakeError::delta(&self.spec.name, source))?;
        let version = delta.version().unwrap_or_default();
        match self
            .advanced(self.view(), version, delta.log_store().as_ref())
            .await?
        {
            Some(view) => self.set_view(view),
            None => self.load_view(delta).await?,
        }
        Ok(())
    }

    /// The view from nothing: for each partition's offset the library goes through the log as far as its checkpoint.
    async fn load_view(&self, delta: &DeltaTable) -> Result<(), LakeError> {
        let fail = |source| LakeError::delta(&self.spec.name, source);
        let state = delta.snapshot().map_err(fail)?;
        let store = delta.log_store();
        let mut offsets = Offsets::new();
        for partition in 0..self.log.partitions() {
            let version = state
                .snapshot()
                .transaction_version(store.as_ref(), self.log.app_id(partition))
                .await
                .map_err(fail)?;
            offsets.insert(partition, version.unwrap_or(0).max(0) as u64);
        }
        let files = state
            .log_data()
            .iter()
            .map(|file| {
                let stats = file.stats();
                DataFile {
                    path: file.path().into_owned(),
                    date: file
                        .partition_values_map()
                        .remove("date")
                        .flatten()
                        .unwrap_or_default(),
                    size: file.size(),
                    rows: file.num_records().unwrap_or_default() as i64,
                    window: files::window_of(stats.as_deref(), &self.spec),
                }
            })
            .collect();
        self.set_view(TableView {
            version: state.version(),
            files: Arc::new(files),
            offsets,
        });
        Ok(())
    }

    /// The store below the table's folder.
    pub async fn store(&self) -> Arc<dyn ObjectStore> {
        self.delta.lock().await.object_store()
    }

    /// Appends `rows` and moves `offsets`, in one commit.
    ///
    /// # Errors
    /// [`LakeError::Conflict`] when someone else committed since; then nothing of this is in the table.
    pub async fn append(&self, rows: &[RecordBatch], offsets: &Offsets) -> Result<(), LakeError> {
        let written = self.write_all(rows).await?;
        self.append_written(written, offsets).await
    }

    /// Appends `rows`, which are what the log holds between two offsets of some partitions, in one commit, beside other writers.
    /// Does nothing where they are in already.
    ///
    /// # Errors
    /// [`LakeError::Moved`] when a partition is neither where the rows begin nor beyond them: another writer has it.
    pub async fn append_between(
        &self,
        rows: &[RecordBatch],
        from: &Offsets,
        to: &Offsets,
    ) -> Result<(), LakeError> {
        let (files, adds): (Vec<_>, Vec<_>) = self.write_all(rows).await?.0.into_iter().unzip();
        let mut delta = self.delta.lock().await;
        let mut has_failed = false;
        while self.lacks(from, to)? {
            let actions = adds.iter().cloned().map(Action::Add).collect();
            let done = self
                .commit(&mut delta, actions, Some(to), writing(), |all| {
                    all.extend(files.iter().cloned());
                })
                .await;
            match done {
                // The other one may have been of any partition: look again, and only then try again.
                Err(LakeError::Conflict { .. }) => self.catch_up(&mut delta).await?,
                // The library looks at the log before and after it commits, and it may be such a look that failed (see `look`): whether
                // the rows are in is for the log to say.
                Err(error) if !has_failed => {
                    tracing::warn!(table = self.spec.name, %error, "a commit failed; the log is asked whether it is in");
                    has_failed = true;
                    self.catch_up(&mut delta).await?;
                }
                done => return done,
            }
        }
        Ok(())
    }

    /// Whether what the log holds between two offsets of some partitions is not in yet, as far as is known here.
    ///
    /// # Errors
    /// [`LakeError::Moved`] as [`Table::append_between`].
    pub fn lacks(&self, from: &Offsets, to: &Offsets) -> Result<bool, LakeError> {
        let offsets = self.view().offsets;
        let committed = |partition: &u32| offsets.get(partition).copied().unwrap_or(0);
        if to.iter().all(|(partition, to)| committed(partition) >= *to) {
            return Ok(false);
        }
        match from
            .iter()
            .find(|(partition, from)| committed(partition) != **from)
        {
            None => Ok(true),
            Some((partition, from)) => Err(LakeError::Moved {
                table: self.spec.name.clone(),
                partition: *partition,
                committed: committed(partition),
                from: *from,
                to: to.get(partition).copied().unwrap_or(*from),
            }),
        }
    }

    async fn write_all(&self, rows: &[RecordBatch]) -> Result<Written, LakeError> {
        fail_point!("lake::before_files", |_| std::process::abort());
        let mut written = Written::default();
        self.write(rows, &mut written).await?;
        fail_point!("lake::after_files", |_| std::process::abort());
        Ok(written)
    }

    /// Writes `rows` to files that are no part of the table until [`Table::append_written`] names them.
    ///
    /// # Errors
    /// When they do not fit the table or cannot be written.
    pub async fn write(
        &self,
        rows: &[RecordBatch],
        written: &mut Written,
    ) -> Result<(), LakeError> {
        let store = self.store().await;
        let rows = rows
            .iter()
            .map(|rows| files::conform(rows, &self.spec.schema))
            .collect::<Result<Vec<_>, _>>()?;
        let days = files::split_by_day(&rows, &self.spec)?;
        let files = stream::iter(days).map(|(day, rows)| self.write_day(&store, day, rows));
        let files: Vec<_> = files.buffered(AT_ONCE).try_collect().await?;
        written.0.extend(files);
        Ok(())
    }

    async fn write_day(
        &self,
        store: &Arc<dyn ObjectStore>,
        day: i64,
        rows: Vec<RecordBatch>,
    ) -> Result<(DataFile, Add), LakeError> {
        let mut writer = FileWriter::new(store, &self.spec, &files::date_text(day))?;
        for rows in &rows {
            writer.write(rows).await?;
        }
        writer.finish(false).await
    }

    /// Appends what has been written and moves `offsets`, in one commit.
    ///
    /// # Errors
    /// As [`Table::append`].
    pub async fn append_written(
        &self,
        written: Written,
        offsets: &Offsets,
    ) -> Result<(), LakeError> {
        let (new_files, adds): (Vec<_>, Vec<_>) = written.0.into_iter().unzip();
        let actions = adds.into_iter().map(Action::Add).collect();
        let mut delta = self.delta.lock().await;
        self.commit(&mut delta, actions, Some(offsets), writing(), |files| {
            files.extend(new_files)
        })
        .await
    }

    /// Replaces `old` by files holding the same facts, or fewer.
    pub(crate) async fn replace(
        &self,
        old: &[DataFile],
        new: Vec<(DataFile, Add)>,
        fewer: bool,
    ) -> Result<(), LakeError> {
        let removed: std::collections::HashSet<&str> =
            old.iter().map(|file| file.path.as_str()).collect();
        let (files, adds): (Vec<_>, Vec<_>) = new.into_iter().unzip();
        let mut delta = self.delta.lock().await;
        let state = delta
            .snapshot()
            .map_err(|source| LakeError::delta(&self.spec.name, source))?;
        let mut actions: Vec<Action> = state
            .log_data()
            .iter()
            .filter(|file| removed.contains(file.path().as_ref()))
            .map(|file| Action::Remove(file.remove_action(fewer)))
            .collect();
        if actions.len() < removed.len() {
            return Err(LakeError::Conflict {
                table: self.spec.name.clone(),
            });
        }
        actions.extend(adds.into_iter().map(Action::Add));
        fail_point!("lake::before_compaction", |_| std::process::abort());
        loop {
            let operation = match fewer {
                true => DeltaOperation::Delete { predicate: None },
                false => DeltaOperation::Optimize {
                    predicate: None,
                    target_size: 0,
                },
            };
            let done = self
                .commit(&mut delta, actions.clone(), None, operation, |all| {
                    all.retain(|file| !removed.contains(file.path.as_str()));
                    all.extend(files.iter().cloned());
                })
                .await;
            let Err(LakeError::Conflict { .. }) = &done else {
                return done;
            };
            // Appends of others are none of its business; another compaction is.
            self.catch_up(&mut delta).await?;
            let view = self.view();
            let there = view
                .files
                .iter()
                .filter(|file| removed.contains(file.path.as_str()));
            if there.count() < removed.len() {
                return done;
            }
        }
    }

    async fn commit(
        &self,
        delta: &mut DeltaTable,
        actions: Vec<Action>,
        offsets: Option<&Offsets>,
        operation: DeltaOperation,
        change: impl FnOnce(&mut Vec<DataFile>),
    ) -> Result<(), LakeError> {
        let fail = |source: DeltaTableError| LakeError::delta(&self.spec.name, source);
        let mut view = self.view();
        let transactions = offsets
            .into_iter()
            .flatten()
            .map(|(partition, next)| Transaction {
                app_id: self.log.app_id(*partition),
                version: *next as i64,
                last_updated: None,
            })
            .collect();
        let mut touched: Vec<String> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Add(add) => Some(add.path.clone()),
                _ => None,
            })
            .collect();
        // No retry inside the library: it would commit without looking at the offsets again.
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_application_transactions(transactions)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false));
        fail_point!("lake::before_commit", |_| std::process::abort());
        let state = delta.snapshot().map_err(fail)?.snapshot().clone();
        let done = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(&state), delta.log_store(), operation)
            .await;
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                // It may be in all the same, and then has to be forced to the disk like any other.
                touched.push(format!("_delta_log/{:020}.json", state.version() + 1));
                self.distrust(touched);
                return Err(fail(error));
            }
        };
        fail_point!("lake::after_commit", |_| std::process::abort());
        let version = done.version();
        delta.state = Some(done.snapshot());
        let mut files = Arc::unwrap_or_clone(view.files);
        change(&mut files);
        view.files = Arc::new(files);
        view.version = version;
        if let Some(offsets) = offsets {
            view.offsets
                .extend(offsets.iter().map(|(partition, next)| (*partition, *next)));
        }
        self.set_view(view);
        touched.push(format!("_delta_log/{version:020}.json"));
        self.distrust(touched);
        if version > 0 && version % CHECKPOINT_EVERY == 0 {
            // The rows are in: a checkpoint only makes the next opening quicker, and the next one is as good.
            match deltalake::checkpoints::create_checkpoint(delta, None).await {
                Ok(()) => self.distrust(vec![
                    format!("_delta_log/{version:020}.checkpoint.parquet"),
                    "_delta_log/_last_checkpoint".to_owned(),
                ]),
                Err(error) => {
                    tracing::warn!(table = self.spec.name, version, %error, "no checkpoint could be written");
                }
            }
        }
        Ok(())
    }

    /// The days that hold rows.
    pub fn days(&self) -> std::collections::BTreeSet<String> {
        self.view()
            .files
            .iter()
            .map(|file| file.date.clone())
            .collect()
    }

    /// The stored rows of one day, partials as they are.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn read_day(&self, date: &str) -> Result<Vec<RecordBatch>, LakeError> {
        let store = self.store().await;
        let mut rows = Vec::new();
        for file in self.view().files.iter().filter(|file| file.date == date) {
            for batch in files::read(store.as_ref(), &file.path, None).await? {
                rows.push(files::conform(&batch, &self.spec.schema)?);
            }
        }
        Ok(rows)
    }

    /// Forces everything committed so far to the disk. Only then may the journal forget it.
    ///
    /// # Errors
    /// When a file cannot be synced. Its journal entries must then stay.
    pub fn make_durable(&self) -> Result<(), LakeError> {
        let Some(root) = &self.root.folder else {
            return Ok(());
        };
        let files = std::mem::take(&mut *self.unsynced());
        let mut folders: Vec<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        folders.push(root);
        folders.sort_unstable();
        folders.dedup();
        for path in files.iter().map(PathBuf::as_path).chain(folders) {
            match std::fs::File::open(path).and_then(|file| file.sync_all()) {
                Ok(()) => {}
                // Compaction and vacuum, or log clean-up, have replaced it by something synced in its turn.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.unsynced().extend(files);
                    return Err(LakeError::Folder(error));
                }
            }
        }
        Ok(())
    }

    fn unsynced(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.unsynced
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What has been written to these paths may be in the page cache only.
    fn distrust(&self, paths: Vec<String>) {
        if let Some(root) = &self.root.folder {
            self.unsynced()
                .extend(paths.iter().map(|path| root.join(path)));
        }
    }

    /// What a killed predecessor committed may be in the page cache only: it counts as unsynced.
    fn distrust_page_cache(&self) {
        let Some(root) = &self.root.folder else {
            return;
        };
        let mut files: Vec<PathBuf> = self
            .view()
            .files
            .iter()
            .map(|file| root.join(&file.path))
            .collect();
        if let Ok(log) = std::fs::read_dir(root.join("_delta_log")) {
            files.extend(
                log.flatten()
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
                    .map(|entry| entry.path()),
            );
        }
        self.unsynced().extend(files);
    }

    /// A handle for queries and upkeep, at the last committed state.
    pub(crate) async fn delta(&self) -> DeltaTable {
        self.delta.lock().await.clone()
    }

    /// Puts back a state that upkeep committed.
    pub(crate) async fn adopt(
        &self,
        run: impl AsyncFnOnce(DeltaTable) -> Result<DeltaTable, DeltaTableError>,
    ) -> Result<(), LakeError> {
        let mut delta = self.delta.lock().await;
        *delta = run(delta.clone())
            .await
            .map_err(|source| LakeError::delta(&self.spec.name, source))?;
        self.load_view(&delta).await
    }
}

fn writing() -> DeltaOperation {
    DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: Some(vec!["date".to_owned()]),
        predicate: None,
    }
}
