//! A rollup is a SQL file. What it groups by are its keys; how its values merge follows from their aggregate functions.

use crate::RollupError;
use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::DataType::Timestamp;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::MemTable;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::logical_expr::expr::{Alias, Cast};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::scalar::ScalarValue;
use std::sync::Arc;
use tidemark_lake::{Merge, MergeFn, TableSpec, sketch, stored_type};

include!(concat!(env!("OUT_DIR"), "/rollups.rs"));

/// The table name that rollup SQL reads.
pub const SOURCE: &str = "usage_events";

/// One rollup, planned and understood.
#[derive(Debug, Clone)]
pub struct Pipeline {
    spec: TableSpec,
    /// The columns that the plan reads from, times without a zone.
    source: SchemaRef,
    /// Planned once, over no rows; each batch takes the place of the source.
    plan: Arc<dyn ExecutionPlan>,
    tasks: Arc<TaskContext>,
}

/// `events` with times in UTC that do not say so: `date_trunc` then divides instead of asking a calendar for every row.
fn without_zones(events: &Schema) -> SchemaRef {
    let fields = events.fields().iter().map(|field| match field.data_type() {
        Timestamp(unit, Some(_)) => Arc::new(Field::new(
            field.name(),
            Timestamp(*unit, None),
            field.is_nullable(),
        )),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `rows` with the columns of `schema`, which is theirs without zones.
fn zoneless(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = rows
        .columns()
        .iter()
        .map(|column| match column.as_primitive_opt() {
            Some(times) => {
                let times: &TimestampMicrosecondArray = times;
                Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)) as ArrayRef
            }
            None => Arc::clone(column),
        })
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// A context whose only table is `usage_events`, with no rows.
fn context(source: &SchemaRef) -> Result<SessionContext, RollupError> {
    // One partition: batches are small and tables already run beside each other.
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    sketch::register(&context);
    let table = MemTable::try_new(Arc::clone(source), vec![vec![]])?;
    context.register_table(SOURCE, Arc::new(table))?;
    Ok(context)
}

impl Pipeline {
    /// All built-in rollups over events of the schema `events`, as the lake stores them.
    ///
    /// # Errors
    /// When one of them does not plan or does not merge.
    pub async fn built_in(events: &SchemaRef) -> Result<Vec<Self>, RollupError> {
        let mut pipelines = Vec::new();
        for (name, sql) in BUILT_IN {
            pipelines.push(Self::plan(name, sql, events).await?);
        }
        Ok(pipelines)
    }

    /// Plans `sql` and derives its table.
    ///
    /// # Errors
    /// With the file's name and what to change.
    pub async fn plan(name: &str, sql: &str, events: &SchemaRef) -> Result<Self, RollupError> {
        let fail = |why: String| RollupError::Pipeline {
            name: name.to_owned(),
            why,
        };
        let source = without_zones(events);
        let context = context(&source)?;
        let frame = context
            .sql(sql)
            .await
            .map_err(|error| fail(error.strip_backtrace()))?;
        let plan = frame.logical_plan();
        let (projection, aggregate) = match plan {
            LogicalPlan::Projection(projection) => match projection.input.as_ref() {
                LogicalPlan::Aggregate(aggregate) => (projection, aggregate),
                _ => {
                    return Err(fail(
                        "the outermost query must be one SELECT ... GROUP BY".to_owned(),
                    ));
                }
            },
            _ => {
                return Err(fail(
                    "the outermost query must be one SELECT ... GROUP BY".to_owned(),
                ));
            }
        };
        let mut keys = Vec::new();
        let mut values = Vec::new();
        let mut fields = Vec::new();
        for (expr, field) in projection.expr.iter().zip(plan.schema().fields()) {
            match role(expr, aggregate)
                .map_err(|why| fail(format!("column {}: {why}", field.name())))?
            {
                None => keys.push(field.name().clone()),
                Some(merge) => values.push((field.name().clone(), merge)),
            }
            fields.push(Field::new(
                field.name(),
                stored_type(field.data_type()),
                true,
            ));
        }
        let window = fields
            .first()
            .filter(|field| matches!(field.data_type(), Timestamp(_, _)));
        let Some(window) = window
            .filter(|window| keys.first() == Some(window.name()))
            .map(|f| f.name().clone())
        else {
            return Err(fail(
                "the first column must be the window, as in date_trunc('hour', ts) AS hour"
                    .to_owned(),
            ));
        };
        let spec = TableSpec {
            name: name.to_owned(),
            schema: Arc::new(Schema::new(fields)),
            window,
            merge: Merge::ByKey { keys, values },
        };
        let plan = frame.create_physical_plan().await?;
        // Else it would never see an event.
        if !plan.exists(|step| Ok(source_of(step).is_some()))? {
            return Err(fail(format!("it does not read {SOURCE}")));
        }
        Ok(Self {
            spec,
            source,
            plan,
            tasks: context.task_ctx(),
        })
    }

    /// The table it fills.
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// The partial rows of one micro-batch, whose events have the columns that the rollup was planned over.
    ///
    /// # Errors
    /// When the query fails, which planning should have ruled out.
    pub async fn run(&self, events: &[RecordBatch]) -> Result<Vec<RecordBatch>, RollupError> {
        let rows = events
            .iter()
            .map(|rows| zoneless(rows, &self.source))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = [rows];
        let plan = Arc::clone(&self.plan).transform_up(|step| {
            let step: Arc<dyn ExecutionPlan> = match source_of(&step) {
                Some(source) => MemorySourceConfig::try_new_exec(
                    &rows,
                    source.original_schema(),
                    source.projection().clone(),
                )?,
                // What a step remembers of its last run, its metrics, is not wanted.
                None => step.reset_state()?,
            };
            Ok(Transformed::yes(step))
        })?;
        Ok(collect(plan.data, Arc::clone(&self.tasks)).await?)
    }
}

/// What `step` reads, if it is the plan's source.
fn source_of(step: &Arc<dyn ExecutionPlan>) -> Option<&MemorySourceConfig> {
    let scan = step.downcast_ref::<DataSourceExec>()?;
    scan.data_source().downcast_ref::<MemorySourceConfig>()
}

/// `None` for a key, else how the column merges.
fn role(expr: &Expr, aggregate: &Aggregate) -> Result<Option<MergeFn>, String> {
    let column = match expr {
        Expr::Alias(Alias { expr, .. }) => return role(expr, aggregate),
        Expr::Column(column) => column,
        _ => {
            return Err(
                "must be a key or an aggregate as it is; compute inside the aggregate".to_owned(),
            );
        }
    };
    let index = aggregate
        .schema
        .index_of_column(column)
        .map_err(|error| error.strip_backtrace())?;
    let Some(at) = index.checked_sub(aggregate.group_expr.len()) else {
        return Ok(None);
    };
    merge_fn(&aggregate.aggr_expr[at]).map(Some)
}

fn merge_fn(expr: &Expr) -> Result<MergeFn, String> {
    match expr {
        Expr::Alias(Alias { expr, .. }) => merge_fn(expr),
        Expr::AggregateFunction(call) if call.params.distinct => {
            Err("DISTINCT cannot be merged; use bottom_k(column, 1024)".to_owned())
        }
        Expr::AggregateFunction(call) => match call.func.name() {
            "count" | "sum" => Ok(MergeFn::Sum),
            "min" => Ok(MergeFn::Min),
            "max" => Ok(MergeFn::Max),
            "histogram" => Ok(MergeFn::Histogram),
            "bottom_k" => match call.params.args.get(1).map(literal) {
                Some(Some(k)) => Ok(MergeFn::BottomK(k)),
                _ => Err(
                    "bottom_k needs its k as a number, as in bottom_k(account_id, 1024)".to_owned(),
                ),
            },
            other => Err(format!(
                "{other}() cannot be merged from partials; use count, sum, min, max, histogram or bottom_k"
            )),
        },
        _ => Err("is not an aggregate".to_owned()),
    }
}

fn literal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(k), _) => *k,
        Expr::Cast(Cast { expr, .. }) => literal(expr),
        _ => None,
    }
}
