//! The tables that rankings and statistics read, in memory, kept in step with the lake file by file.

use crate::dimension::{self, Dimension};
use crate::error::LakeError;
use crate::files::{DAY_US, DataFile};
use crate::merge::merged;
use crate::spec::{Merge, TableSpec};
use crate::stretch::{Folded, Folding, Stretches};
use crate::{AT_ONCE, Lake, files, sketch};
use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::unary;
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use datafusion::datasource::MemTable;
use datafusion::execution::context::{SessionConfig, SessionContext};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// What is held of a table.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its name in SQL.
    pub name: String,
    /// The table of the lake.
    pub table: String,
    /// Which part; none for all.
    pub part: Option<Part>,
    /// How many UTC days before today the windows begin that are asked for. Days that none of them tells apart are held as one: exact
    /// for those windows, and for no others. Empty to hold every day.
    pub begins: Vec<u32>,
    /// Keys that the held rows have as numbers.
    pub dimensions: Vec<Arc<Dimension>>,
}

/// The newest rows of a rollup and some of its values: what bounds the memory of a table that has a row for every minute.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Values to hold beside the keys.
    pub values: &'static [&'static str],
    /// Windows that began longer ago than this need not be held.
    pub since: Duration,
    /// Windows are put together into ones of this length, which must divide a day.
    pub grain: Option<Duration>,
}

impl From<String> for Held {
    /// All of a table.
    fn from(table: String) -> Self {
        Self {
            name: table.clone(),
            table,
            part: None,
            begins: Vec::new(),
            dimensions: Vec::new(),
        }
    }
}

impl Held {
    /// Part of a table, under a name of its own.
    pub fn part(name: &str, table: &str, part: Part) -> Self {
        Self {
            name: name.to_owned(),
            table: table.to_owned(),
            part: Some(part),
            ..Self::from(table.to_owned())
        }
    }

    /// All of a table that has windows of a day, under a name of its own, for questions whose windows begin that many days before
    /// today.
    pub fn by_windows(name: &str, table: &str, begins: Vec<u32>) -> Self {
        Self {
            name: name.to_owned(),
            begins,
            ..Self::from(table.to_owned())
        }
    }

    /// The same with some keys as numbers.
    pub fn numbered(self, dimensions: Vec<Dimension>) -> Self {
        Self {
            dimensions: dimensions.into_iter().map(Arc::new).collect(),
            ..self
        }
    }
}

/// In-memory copies of some tables. A refresh reads only the files that commits have added since.
pub struct Hot {
    lake: Lake,
    held: Vec<Held>,
    loaded: HashMap<String, Vec<RecordBatch>>,
    /// By name of the held table and first day.
    folded: HashMap<(String, i64), Folded<String>>,
    versions: Vec<u64>,
    /// The day that was today at the last refresh.
    today: i64,
    generation: u64,
}

impl Hot {
    /// Nothing is loaded until the first [`Hot::refresh`].
    pub fn new(lake: Lake, held: Vec<impl Into<Held>>) -> Self {
        Self {
            lake,
            held: held.into_iter().map(Into::into).collect(),
            loaded: HashMap::new(),
            folded: HashMap::new(),
            versions: Vec::new(),
            today: 0,
            generation: 0,
        }
    }

    /// A context over the newest committed state and its number, or `None` when nothing has changed.
    ///
    /// # Errors
    /// When a table is unknown or a file cannot be read.
    pub async fn refresh(&mut self) -> Result<Option<(u64, SessionContext)>, LakeError> {
        self.refresh_at(Utc::now()).await
    }

    /// The same, with the day of `now` as today.
    ///
    /// # Errors
    /// As [`Hot::refresh`].
    pub async fn refresh_at(
        &mut self,
        now: DateTime<Utc>,
    ) -> Result<Option<(u64, SessionContext)>, LakeError> {
        let views = self
            .held
            .iter()
            .map(|held| {
                let table = self.lake.table(&held.table)?;
                Ok((held, Arc::clone(table), table.view()))
            })
            .collect::<Result<Vec<_>, LakeError>>()?;
        let versions: Vec<u64> = views.iter().map(|(_, _, view)| view.version).collect();
        let today = day_of(now.timestamp_micros());
        let has_moved = today != self.today && self.held.iter().any(|held| !held.begins.is_empty());
        if versions == self.versions && !has_moved {
            return Ok(None);
        }
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        sketch::register(&context);
        let (mut kept, mut kept_folded) = (HashMap::new(), HashMap::new());
        for (held, table, view) in &views {
            let shape = Shape::of(held, table.spec(), now);
            let store = table.store().await;
            let mut rows = Vec::new();
            let wanted = view.files.iter().filter(|file| shape.wants(file));
            for stretch in shape.stretches.split(wanted, |file| day_of(file.window.0)) {
                let mut apart = stretch.of;
                if let Some(first) = stretch.several {
                    let key = (held.name.clone(), first);
                    let known = self.folded.remove(&key);
                    let mut plan = Folded::plan(known, apart, |file| file.path.clone());
                    let folded = match plan.folded.take() {
                        Some(folded) => folded,
                        None => {
                            let mut folding = Folding::new(&shape, first, &mut plan);
                            let settled: Vec<_> =
                                plan.settled.iter().map(|f| f.path.clone()).collect();
                            let mut files = pin!(shape.read_all(&store, settled));
                            while let Some((path, rows)) = files.try_next().await? {
                                folding.add(path, rows).await?;
                            }
                            folding.finish().await?
                        }
                    };
                    apart = plan.beside;
                    rows.extend(folded.rows().iter().cloned());
                    kept_folded.insert(key, folded);
                }
                let key = |path: &str| format!("{}/{path}", held.name);
                let (mut files, mut new) = (Vec::new(), Vec::new());
                for file in apart {
                    match self.loaded.remove(&key(&file.path)) {
                        Some(batches) => files.push((file.path.clone(), batches)),
                        None => new.push(file.path.clone()),
                    }
                }
                files.extend(shape.read_all(&store, new).try_collect::<Vec<_>>().await?);
                for (path, batches) in files {
                    rows.extend(batches.iter().cloned());
                    kept.insert(key(&path), batches);
                }
            }
            let rows = MemTable::try_new(Arc::clone(&shape.spec.schema), vec![rows])?;
            context.register_table(held.name.as_str(), Arc::new(rows))?;
            for (name, rows) in shape.dimensions()? {
                context.register_batch(&name, rows)?;
            }
        }
        self.loaded = kept;
        self.folded = kept_folded;
        self.versions = versions;
        self.today = today;
        self.generation += 1;
        Ok(Some((self.generation, context)))
    }

    /// Bytes that the held rows take.
    pub fn size(&self) -> usize {
        let folded = self.folded.values().flat_map(Folded::rows);
        let batches = self.loaded.values().flatten().chain(folded);
        batches.map(RecordBatch::get_array_memory_size).sum()
    }
}

/// The UTC day of a time in microseconds, since 1970.
fn day_of(us: i64) -> i64 {
    us.div_euclid(DAY_US)
}

/// How the rows of one held table are read.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The table, as far as it is read.
    pub source: TableSpec,
    /// The same as it is held: with numbers for some keys.
    pub spec: TableSpec,
    /// Older windows are left out.
    pub since_us: Option<i64>,
    /// Which days are held as one.
    pub stretches: Stretches,
    grain_us: Option<i64>,
    dimensions: Vec<Arc<Dimension>>,
}

impl Shape {
    /// That of a table at `now`: what is recent enough moves on.
    pub fn of(held: &Held, table: &TableSpec, now: DateTime<Utc>) -> Self {
        let stretches = Stretches::new(&held.begins, day_of(now.timestamp_micros()));
        let (mut source, mut since_us, mut grain_us) = (table.clone(), None, None);
        if let Some(part) = held.part {
            source = narrow(source, part.values);
            let since = now.timestamp_micros() - part.since.as_micros() as i64;
            grain_us = part.grain.map(|grain| (grain.as_micros() as i64).max(1));
            // The window that was running then is held whole.
            since_us = Some(grain_us.map_or(since, |grain| since - since.rem_euclid(grain)));
        }
        Self {
            spec: dimension::numbered(source.clone(), &held.dimensions),
            source,
            since_us,
            stretches,
            grain_us,
            dimensions: held.dimensions.clone(),
        }
    }

    /// The tables that say what the numbers in the rows read so far stand for, by name.
    ///
    /// # Errors
    /// When the table lacks a key that is to be a number.
    pub fn dimensions(&self) -> Result<Vec<(String, RecordBatch)>, LakeError> {
        dimension::tables(&self.dimensions, &self.source.schema)
    }

    fn wants(&self, file: &DataFile) -> bool {
        self.since_us.is_none_or(|since| file.window.1 >= since)
    }

    /// Files and their rows in that order, several read at once.
    fn read_all(
        &self,
        store: &Arc<dyn ObjectStore>,
        paths: Vec<String>,
    ) -> impl Stream<Item = Result<(String, Vec<RecordBatch>), LakeError>> {
        let reads = paths.into_iter().map(move |path| async move {
            let rows = self.read(store.as_ref(), &path).await?;
            Ok((path, rows))
        });
        stream::iter(reads).buffered(AT_ONCE)
    }

    async fn read(
        &self,
        store: &dyn ObjectStore,
        path: &str,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let schema = &self.source.schema;
        let rows = match self.since_us {
            None => files::read(store, path, None).await?,
            Some(since) => {
                let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                files::read_since(store, path, &names, &self.source.window, since).await?
            }
        };
        let rows = rows
            .iter()
            .map(|batch| files::conform(batch, schema))
            .collect::<Result<Vec<_>, _>>()?;
        self.fit(rows).await
    }

    /// Rows of the columns that are read as they are held: with numbers for some keys, and windows of the held length.
    ///
    /// # Errors
    /// When they are not rows of the table.
    pub async fn fit(&self, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, LakeError> {
        let rows = rows.iter().map(|rows| self.number(rows));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        match self.grain_us {
            Some(grain) => self.coarsen(rows, |us| us - us.rem_euclid(grain)).await,
            None => Ok(rows),
        }
    }

    /// Rows of the columns that are read, with numbers for some keys.
    ///
    /// # Errors
    /// When they lack a column.
    pub fn number(&self, rows: &RecordBatch) -> Result<RecordBatch, LakeError> {
        dimension::number(rows, &self.dimensions, &self.spec.schema)
    }

    /// Rows as rows of one day.
    pub(crate) async fn fold(
        &self,
        rows: Vec<RecordBatch>,
        day: i64,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        self.coarsen(rows, |_| day * DAY_US).await
    }

    /// Windows moved to where others are, and the rows that then have one key as one row.
    async fn coarsen(
        &self,
        rows: Vec<RecordBatch>,
        begin: impl Fn(i64) -> i64,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        if rows.is_empty() {
            return Ok(rows);
        }
        let schema = &self.spec.schema;
        let at = schema.index_of(&self.spec.window)?;
        let rows = rows
            .into_iter()
            .map(|batch| {
                let mut columns = batch.columns().to_vec();
                let times = columns[at].as_primitive::<TimestampMicrosecondType>();
                let floored: TimestampMicrosecondArray = unary(times, &begin);
                columns[at] = Arc::new(floored.with_timezone_opt(times.timezone())) as ArrayRef;
                Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
            })
            .collect::<Result<Vec<_>, LakeError>>()?;
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        merged(context.read_batches(rows)?, &self.spec)?
            .collect()
            .await?
            .iter()
            .map(|batch| files::conform(batch, schema))
            .collect()
    }
}

/// A table with its keys and these of its values only.
fn narrow(spec: TableSpec, values: &[&str]) -> TableSpec {
    let Merge::ByKey { keys, values: all } = &spec.merge else {
        return spec;
    };
    let held = |name: &str| keys.iter().any(|key| key == name) || values.contains(&name);
    let fields: Vec<_> = spec
        .schema
        .fields()
        .iter()
        .filter(|field| held(field.name()))
        .cloned()
        .collect();
    let merge = Merge::ByKey {
        keys: keys.clone(),
        values: all.iter().filter(|(name, _)| held(name)).cloned().collect(),
    };
    TableSpec {
        schema: Arc::new(Schema::new(fields)),
        merge,
        ..spec
    }
}
