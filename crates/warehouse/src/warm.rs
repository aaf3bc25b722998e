//! The tables that rankings and statistics read, in memory, kept in step with ClickHouse day by day.

use crate::schema::LEDGER;
use crate::{Server, WarehouseError};
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::execution::context::{SessionConfig, SessionContext};
use futures::{StreamExt, stream};
use serde::Deserialize;
use std::sync::Arc;
use tidemark_lake::{Held, Kept, LakeError, Shape, TableSpec, date_text, sketch};

const DAY_US: i64 = 86_400_000_000;

/// A day of a table as the ledger knows it: another newest commit or another number of files are other rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
struct Day {
    lake_table: String,
    day: String,
    version: u64,
    files: u64,
}

impl Day {
    /// Days since 1970.
    fn number(&self) -> i64 {
        let day: NaiveDate = self.day.parse().unwrap_or_default();
        day.signed_duration_since(NaiveDate::default()).num_days()
    }
}

/// In-memory copies of some tables. A refresh asks only for the days that have changed.
pub struct Warm {
    server: Server,
    held: Vec<(Held, TableSpec)>,
    kept: Kept<Day>,
    days: Vec<Day>,
    today: NaiveDate,
    generation: u64,
}

impl Warm {
    /// Nothing is loaded until the first [`Warm::refresh`]. `specs` are the tables of the lake.
    ///
    /// # Errors
    /// When one that is to be held is not among them.
    pub fn new(
        server: Server,
        held: Vec<Held>,
        specs: &[TableSpec],
    ) -> Result<Self, WarehouseError> {
        let held = held
            .into_iter()
            .map(
                |held| match specs.iter().find(|spec| spec.name == held.table) {
                    Some(spec) => Ok((held, spec.clone())),
                    None => Err(WarehouseError::Missing { table: held.table }),
                },
            )
            .collect::<Result<_, _>>()?;
        Ok(Self {
            server,
            held,
            kept: Kept::default(),
            days: Vec::new(),
            today: NaiveDate::MIN,
            generation: 0,
        })
    }

    /// A context over what ClickHouse now holds and its number, or `None` when nothing has changed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn refresh(&mut self) -> Result<Option<(u64, SessionContext)>, WarehouseError> {
        self.refresh_at(Utc::now()).await
    }

    /// The same, with the day of `now` as today.
    ///
    /// # Errors
    /// As [`Warm::refresh`].
    pub async fn refresh_at(
        &mut self,
        now: DateTime<Utc>,
    ) -> Result<Option<(u64, SessionContext)>, WarehouseError> {
        let sql = format!(
            "SELECT lake_table, day, max(version) AS version, count() AS files FROM {LEDGER} \
             WHERE table_id IN (SELECT uuid FROM system.tables WHERE database = '{}') \
             GROUP BY lake_table, day ORDER BY lake_table, day",
            self.server.database
        );
        let days: Vec<Day> = self.server.rows("the ledger", &sql).await?;
        let today = now.date_naive();
        if days == self.days && today == self.today {
            return Ok(None);
        }
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        sketch::register(&context);
        let mut kept = Kept::default();
        for (held, spec) in &self.held {
            let shape = Shape::of(held, spec, now);
            let since = shape.since_us.map(|us| date_text(us.div_euclid(DAY_US)));
            let of = days.iter().filter(|day| day.lake_table == held.table);
            let of = of.filter(|day| since.as_ref().is_none_or(|since| day.day >= *since));
            let of = of.map(|day| (day.number(), day.clone()));
            let read = |days: Vec<Day>| {
                let (shape, server) = (&shape, &self.server);
                stream::iter(days).then(move |day| async move {
                    let rows = server.read(&shape.source, Some(&day.day)).await?;
                    Ok::<_, WarehouseError>((day, shape.fit(rows).await?))
                })
            };
            let tables = kept.tables(&mut self.kept, held, &shape, of.collect(), read);
            for (name, table) in tables.await? {
                context
                    .register_table(name.as_str(), Arc::new(table))
                    .map_err(LakeError::from)?;
            }
            for (name, rows) in shape.dimensions()? {
                context
                    .register_batch(&name, rows)
                    .map_err(LakeError::from)?;
            }
        }
        self.kept = kept;
        self.days = days;
        self.today = today;
        self.generation += 1;
        Ok(Some((self.generation, context)))
    }
}
