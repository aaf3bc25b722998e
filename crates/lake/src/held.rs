//! What is held in memory of a table, and how its rows are read for that.

use crate::dimension::{self, Dimension};
use crate::error::LakeError;
use crate::files::{self, DAY_US, DataFile};
use crate::merge::merged;
use crate::spec::{Merge, TableSpec};
use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch, unary};
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use datafusion::execution::context::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use std::sync::Arc;
use std::time::Duration;

/// What is held of a table.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its name, which no other held table has.
    pub name: String,
    /// The table of the lake.
    pub table: String,
    /// Which part; none for all.
    pub part: Option<Part>,
    /// What it is in SQL.
    pub cuts: Vec<Cut>,
    /// Keys that the held rows have as numbers.
    pub dimensions: Vec<Arc<Dimension>>,
}

/// A held table in SQL, as far as questions of some windows need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Its name in SQL.
    pub name: String,
    /// How many UTC days before today those windows begin. Days that none of them tells apart are held as one: exact for those
    /// windows, and for no others. Empty to hold every day by itself.
    pub begins: Vec<u32>,
    /// Whether a window goes back to the first day: otherwise older days than the oldest window's are left out.
    pub is_endless: bool,
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
        let cut = Cut {
            name: table.clone(),
            begins: Vec::new(),
            is_endless: true,
        };
        Self {
            name: table.clone(),
            table,
            part: None,
            cuts: vec![cut],
            dimensions: Vec::new(),
        }
    }
}

impl Held {
    /// Part of a table, under a name of its own.
    pub fn part(name: &str, table: &str, part: Part) -> Self {
        Self {
            table: table.to_owned(),
            part: Some(part),
            ..Self::from(name.to_owned())
        }
    }

    /// A table that has windows of a day, cut for the questions that are asked of it.
    pub fn by_windows(name: &str, table: &str, cuts: Vec<Cut>) -> Self {
        Self {
            table: table.to_owned(),
            cuts,
            ..Self::from(name.to_owned())
        }
    }

    /// The same with some keys as numbers.
    pub fn numbered(self, dimensions: Vec<Dimension>) -> Self {
        Self {
            dimensions: dimensions.into_iter().map(Arc::new).collect(),
            ..self
        }
    }

    /// Whether it is another one on another day, with the same rows.
    pub fn depends_on_today(&self) -> bool {
        self.cuts.iter().any(|cut| !cut.begins.is_empty())
    }
}

/// The UTC day of a time in microseconds, since 1970.
pub(crate) fn day_of(us: i64) -> i64 {
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
    /// The day that is today, since 1970.
    pub(crate) today: i64,
    grain_us: Option<i64>,
    dimensions: Vec<Arc<Dimension>>,
}

impl Shape {
    /// That of a table at `now`: what is recent enough moves on.
    pub fn of(held: &Held, table: &TableSpec, now: DateTime<Utc>) -> Self {
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
            today: day_of(now.timestamp_micros()),
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

    pub(crate) fn wants(&self, file: &DataFile) -> bool {
        self.since_us.is_none_or(|since| file.window.1 >= since)
    }

    /// The rows of a file as they are held.
    pub(crate) async fn read(
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

    /// Rows as rows of one day, in the order of their keys. As one batch: those of one aggregation share buffers with room to spare.
    pub(crate) async fn fold(
        &self,
        rows: Vec<RecordBatch>,
        day: i64,
    ) -> Result<RecordBatch, LakeError> {
        let rows = self.coarsen(rows, |_| day * DAY_US).await?;
        let rows = concat_batches(&self.spec.schema, &rows)?;
        let Merge::ByKey { keys, .. } = &self.spec.merge else {
            return Ok(rows);
        };
        let columns = keys.iter().flat_map(|key| rows.column_by_name(key));
        let columns = columns.map(|values| SortColumn {
            values: Arc::clone(values),
            options: None,
        });
        let order = lexsort_to_indices(&columns.collect::<Vec<_>>(), None)?;
        Ok(take_record_batch(&rows, &order)?)
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
