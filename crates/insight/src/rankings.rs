//! Answers rankings, and keeps the answers while the data stays the same.

use crate::boards::{ACCOUNTS, Boards, CELLS, FOLD, PLACES, STEPS, TOTALS};
use crate::query::{By, COMPARED, MAX_LIMIT, Metric, Period, Policy, RankingQuery, Window};
use crate::ranking::{Meta, Ranking};
use crate::session::{fresh, plan, text, time};
use crate::shape::{self, expect_columns};
use crate::source::Snapshot;
use crate::volumes::{FLOWS, VOLUMES, volumes_of};
use crate::{InsightError, decode};
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use datafusion::scalar::ScalarValue;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Computations at a time: the rest of the machine is for the traffic.
const PARALLEL: usize = 2;
/// Answers kept. There are more possible questions than worth keeping answers for.
const KEPT: usize = 512;

/// Where `_cells.sql` finds the rows of a board.
const BOARD: &str = "board";
/// The steps whose result is a table for the next ones, and what it is called there.
const KEPT_STEPS: [(&str, &str, shape::Expected); 3] = [
    (CELLS, "cells", shape::CELLS),
    (ACCOUNTS, "account_volumes", shape::VOLUMES),
    (PLACES, "places", shape::PLACED),
];

type Slot = Arc<tokio::sync::Mutex<Option<(u64, Arc<Ranking>)>>>;

/// The leaderboards, their rules and their kept answers.
#[derive(Debug)]
pub struct Rankings {
    boards: Boards,
    policy: Policy,
    kept: Mutex<HashMap<Key, Slot>>,
    permits: Semaphore,
}

/// What makes two questions the same: `now` counts only by the window it gives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    ranking: String,
    period: Period,
    metric: Metric,
    limit: u32,
    by: Option<By>,
    since: Option<DateTime<Utc>>,
}

impl Rankings {
    /// The boards that were in `pipelines/rankings` at build time.
    ///
    /// # Errors
    /// A shared step is missing among them.
    pub fn embedded(policy: Policy) -> Result<Self, InsightError> {
        Ok(Self::of(Boards::embedded()?, policy))
    }

    /// The boards in a folder, read once.
    ///
    /// # Errors
    /// The folder cannot be read, or a shared step is missing in it.
    pub fn from_dir(folder: &Path, policy: Policy) -> Result<Self, InsightError> {
        Ok(Self::of(Boards::from_dir(folder)?, policy))
    }

    fn of(boards: Boards, policy: Policy) -> Self {
        Self {
            boards,
            policy,
            kept: Mutex::default(),
            permits: Semaphore::new(PARALLEL),
        }
    }

    /// The boards there are, in alphabetical order.
    pub fn names(&self) -> Vec<String> {
        self.boards.names().map(str::to_owned).collect()
    }

    /// The rules in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether a question makes sense, without asking it.
    ///
    /// # Errors
    /// The board is unknown, or does not take one of the parameters.
    pub fn check(&self, query: &RankingQuery) -> Result<(), InsightError> {
        let sql = self.boards.board(&query.ranking)?;
        if !(1..=MAX_LIMIT).contains(&query.limit) {
            return Err(InsightError::Parameter {
                name: "limit",
                problem: "limit is out of range".to_owned(),
                allowed: vec![format!("1 to {MAX_LIMIT}")],
            });
        }
        if query.by.is_some() && !divides(sql) {
            return Err(InsightError::Parameter {
                name: "by",
                problem: "this ranking takes no by".to_owned(),
                allowed: Vec::new(),
            });
        }
        if query.period.days().is_none() && compares(sql) {
            let bounded = Period::ALL.iter().filter(|period| period.days().is_some());
            return Err(InsightError::Parameter {
                name: "period",
                problem: "this ranking compares equal windows, and there is none before everything"
                    .to_owned(),
                allowed: bounded.map(|period| period.as_str().to_owned()).collect(),
            });
        }
        Ok(())
    }

    /// The answer out of memory if the data is the same; otherwise computed, once for all who wait for it.
    ///
    /// # Errors
    /// The question makes no sense, or a file does not plan or run.
    pub async fn answer_cached(
        &self,
        snapshot: &Snapshot,
        query: &RankingQuery,
    ) -> Result<Arc<Ranking>, InsightError> {
        self.check(query)?;
        let query = &RankingQuery {
            now: query.now.or_else(|| Some(snapshot.clock(Utc::now()))),
            ..query.clone()
        };
        let slot = self.slot(Key {
            ranking: query.ranking.clone(),
            period: query.period,
            metric: query.metric,
            limit: query.limit,
            by: query.by,
            since: query.window().since,
        });
        let mut kept = slot.lock().await;
        // Versions only grow: who waited with an older snapshot gladly takes the newer answer.
        if let Some((version, ranking)) = kept.as_ref()
            && *version >= snapshot.version
        {
            return Ok(Arc::clone(ranking));
        }
        // The semaphore lives as long as this: it is never closed.
        let _permit = self.permits.acquire().await.ok();
        let ranking = Arc::new(
            self.answer(&snapshot.context, snapshot.as_of, query)
                .await?,
        );
        *kept = Some((snapshot.version, Arc::clone(&ranking)));
        Ok(ranking)
    }

    fn slot(&self, key: Key) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT && !kept.contains_key(&key) {
            // Whoever is computing holds a slot of their own: dropping ours loses no answer, only a memory of it.
            kept.clear();
        }
        Arc::clone(kept.entry(key).or_default())
    }

    /// The answer, computed from the tables in `context`.
    ///
    /// # Errors
    /// The question makes no sense, or a file does not plan or run.
    pub async fn answer(
        &self,
        context: &SessionContext,
        as_of: DateTime<Utc>,
        query: &RankingQuery,
    ) -> Result<Ranking, InsightError> {
        self.check(query)?;
        let sql = self.boards.board(&query.ranking)?;
        let by = divides(sql).then(|| query.by.unwrap_or_default());
        let window = query.window();
        let parameters = self.parameters(query, by, &window, compares(sql));

        let board = plan(context, &query.ranking, sql, &parameters).await?;
        let steps = steps_over(context, board, query.period).await?;
        // A view would be planned and run again for every mention.
        for (step, result, _) in KEPT_STEPS {
            let frame = plan(&steps, step, self.boards.step(step)?, &parameters).await?;
            let planned = Arc::new(frame.schema().as_arrow().clone());
            let batches = frame
                .collect_partitioned()
                .await
                .map_err(InsightError::sql(step))?;
            // Executed batches know best which columns may be null.
            let schema = batches
                .iter()
                .flatten()
                .next()
                .map_or(planned, |batch| batch.schema());
            let table = MemTable::try_new(schema, batches).map_err(InsightError::sql(step))?;
            register(&steps, result, Arc::new(table))?;
        }
        let rows = plan(&steps, FOLD, self.boards.step(FOLD)?, &parameters).await?;
        let rows = decode::rows(&rows.collect().await.map_err(InsightError::sql(FOLD))?)?;
        let totals = plan(&steps, TOTALS, self.boards.step(TOTALS)?, &parameters).await?;
        let totals = decode::totals(&totals.collect().await.map_err(InsightError::sql(TOTALS))?)?;

        let meta = Meta {
            ranking: query.ranking.clone(),
            period: query.period,
            metric: query.metric,
            by,
            limit: query.limit,
            as_of,
            since: window.since,
            until: window.until,
            min_accounts: self.policy.min_accounts,
            dominance: self.policy.dominance,
            cap_tokens: self.policy.cap_tokens,
        };
        Ok(Ranking { rows, totals, meta })
    }

    /// Plans every file with typed parameters and compares each output with what the next step reads.
    /// `context` needs the tables, not their rows. Returns the files that were planned.
    ///
    /// # Errors
    /// The first file that does not plan, or whose output has the wrong shape.
    pub async fn plan_check(&self, context: &SessionContext) -> Result<Vec<String>, InsightError> {
        let query = RankingQuery::of("");
        let parameters = self.parameters(&query, Some(By::default()), &query.window(), true);
        let mut planned = Vec::new();
        for name in self.boards.names() {
            let board = plan(context, name, self.boards.board(name)?, &parameters).await?;
            expect_columns(name, board.schema().as_arrow(), shape::BOARD)?;
            board
                .clone()
                .create_physical_plan()
                .await
                .map_err(InsightError::sql(name))?;
            let steps = steps_over(context, board, query.period).await?;
            let kept = KEPT_STEPS.map(|(step, result, columns)| (step, columns, Some(result)));
            let last = [(FOLD, shape::ROWS, None), (TOTALS, shape::IN_ALL, None)];
            for (step, columns, result) in kept.into_iter().chain(last) {
                let frame = plan(&steps, step, self.boards.step(step)?, &parameters).await?;
                let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
                expect_columns(step, &schema, columns)?;
                frame
                    .create_physical_plan()
                    .await
                    .map_err(InsightError::sql(step))?;
                if let Some(result) = result {
                    let empty = MemTable::try_new(schema, vec![Vec::new()])
                        .map_err(InsightError::sql(step))?;
                    register(&steps, result, Arc::new(empty))?;
                }
            }
            planned.push(format!("{name}.sql"));
        }
        planned.extend(STEPS.map(|step| format!("{step}.sql")));
        Ok(planned)
    }

    /// Everything a file may name with `$`.
    fn parameters(
        &self,
        query: &RankingQuery,
        by: Option<By>,
        window: &Window,
        compares: bool,
    ) -> Vec<(&'static str, ScalarValue)> {
        let (since, until) = window.bounds();
        let oldest = match compares {
            true => window.before(COMPARED),
            false => since,
        };
        vec![
            ("compared", ScalarValue::Int64(Some(COMPARED as i64))),
            ("oldest", time(oldest)),
            ("since", time(since)),
            ("until", time(until)),
            ("before_1", time(window.before(1))),
            ("before_2", time(window.before(2))),
            ("metric", text(query.metric.as_str())),
            ("by", text(by.unwrap_or_default().as_str())),
            ("limit", ScalarValue::Int64(Some(i64::from(query.limit)))),
            (
                "min_accounts",
                ScalarValue::Int64(Some(i64::from(self.policy.min_accounts))),
            ),
            (
                "dominance",
                ScalarValue::Float64(Some(self.policy.dominance)),
            ),
            (
                "cap",
                ScalarValue::Int64(Some(
                    i64::try_from(self.policy.cap_tokens).unwrap_or(i64::MAX),
                )),
            ),
        ]
    }
}

/// Whether a board divides by something.
fn divides(sql: &str) -> bool {
    mentions(sql, "$by")
}

/// Whether a board compares its window with earlier ones.
fn compares(sql: &str) -> bool {
    mentions(sql, "$compared")
}

/// Whether a parameter stands in the SQL itself, comments apart.
fn mentions(sql: &str, parameter: &str) -> bool {
    sql.lines()
        .any(|line| line.split("--").next().unwrap_or(line).contains(parameter))
}

/// A session for the steps of a board, with its rows and the tables that they count.
async fn steps_over(
    context: &SessionContext,
    board: DataFrame,
    period: Period,
) -> Result<SessionContext, InsightError> {
    let steps = fresh(context).map_err(InsightError::sql(CELLS))?;
    register(&steps, BOARD, board.into_view())?;
    for (table, of) in [(FLOWS, FLOWS.to_owned()), (VOLUMES, volumes_of(period))] {
        let rows = context.table_provider(of.as_str()).await;
        register(&steps, table, rows.map_err(InsightError::sql(CELLS))?)?;
    }
    Ok(steps)
}

fn register(
    steps: &SessionContext,
    name: &str,
    table: Arc<dyn TableProvider>,
) -> Result<(), InsightError> {
    steps
        .register_table(name, table)
        .map(|_| ())
        .map_err(InsightError::sql(CELLS))
}
