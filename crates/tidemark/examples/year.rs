//! What rankings cost over a year: `year DIR [ROWS_A_DAY [CLICKHOUSE_URL]]`, for a folder that does not exist yet or was made by this.
//!
//! Makes 365 days of the rollup that rankings read (`accounts_by_day`): 400 models of 40 authors at 60 providers, 5,000 accounts and
//! 100 apps, as uneven as traffic is. An account is one app or none, and has twelve models that it uses, at up to three providers
//! each: about as many rows a day as the demo's traffic makes. Then, as the api does, loads the lake's newest state, and asks every board in every period by
//! every metric once, each answer computed anew.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use anyhow::{Context, Result};
use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use chrono::Utc;
use datafusion::execution::context::SessionContext;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_catalog::Catalog;
use tidemark_insight::{Metric, Period, Policy, RankingQuery, Rankings, Row, Snapshot, held};
use tidemark_lake::{Hot, Lake, Log, TableSpec};
use tidemark_rollup::open_lake;
use tidemark_warehouse::{Follower, Server, WarehouseSettings, Warm};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DAYS: i64 = 365;
const DAY_US: i64 = 86_400_000_000;
const ROLLUP: &str = "accounts_by_day";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments
        .next()
        .filter(|dir| !dir.starts_with('-'))
        .context("usage: year DIR [ROWS_A_DAY [CLICKHOUSE_URL]]")?;
    let rows: usize = arguments
        .next()
        .map_or(Ok(10_000), |text| text.parse())
        .context("ROWS_A_DAY is a number")?;
    let is_new = !Path::new(&dir).exists();
    let (lake, _) = open_lake(Path::new(&dir), &Log::journal(1)).await?;
    if is_new {
        fill(&lake, rows).await?;
    }
    let from_lake = ask("lake", &newest_of_lake(&lake).await?).await?;
    if let Some(url) = arguments.next() {
        let settings = WarehouseSettings {
            url,
            database: format!("year_{}", std::process::id()),
            ..WarehouseSettings::default()
        };
        let from_clickhouse =
            ask("ClickHouse", &newest_of_clickhouse(lake, &settings).await?).await?;
        anyhow::ensure!(from_lake == from_clickhouse, "the answers differ");
    }
    Ok(())
}

async fn fill(lake: &Lake, rows: usize) -> Result<()> {
    let table = lake.table(ROLLUP)?;
    let today = Utc::now().timestamp_micros().div_euclid(DAY_US);
    let mut dice = StdRng::seed_from_u64(7);
    for day in today - DAYS + 1..=today {
        let rows = some_day(table.spec(), day * DAY_US, rows, &mut dice)?;
        table.append(&[rows], &[(0, day as u64)].into()).await?;
    }
    Ok(())
}

/// Rows of one day.
fn some_day(spec: &TableSpec, day: i64, rows: usize, dice: &mut StdRng) -> Result<RecordBatch> {
    let (model, account) = (Zipf::new(400.0, 1.0)?, Zipf::new(5_000.0, 0.8)?);
    let tokens = LogNormal::new(9.0, 2.0)?;
    // Who it is, and which of its models: both say the same on every day.
    let who: Vec<(u64, i64)> = (0..rows)
        .map(|_| {
            let account = account.sample(dice) as u64;
            let mut taste = StdRng::seed_from_u64(account * 12 + dice.random_range(0..12));
            (account, model.sample(&mut taste) as i64)
        })
        .collect();
    let mut text = |of: &mut dyn FnMut(u64, i64, &mut StdRng) -> String| -> ArrayRef {
        let cells = who
            .iter()
            .map(|(account, model)| of(*account, *model, dice));
        Arc::new(StringArray::from_iter_values(cells))
    };
    let columns = [
        text(&mut |account, _, _| format!("{:032x}", u128::from(account) << 64)),
        text(&mut |account, _, _| match account % 300 {
            app @ 0..100 => format!("https://app{app}.example"),
            _ => String::new(),
        }),
        text(&mut |_, model, _| format!("author{}/model-{model}", model % 40)),
        text(&mut |account, _, _| match account % 10 {
            0 => "free".to_owned(),
            _ => String::new(),
        }),
        text(&mut |_, model, dice| {
            format!("provider{}", (model * 7 + dice.random_range(0..3)) % 60)
        }),
    ];
    let [account_id, app, model, variant, provider] = columns;
    let mut batch = Vec::new();
    for field in spec.schema.fields() {
        let column: ArrayRef = match (field.name().as_str(), field.data_type()) {
            ("day", _) => {
                Arc::new(TimestampMicrosecondArray::from_value(day, rows).with_timezone("UTC"))
            }
            ("account_id", _) => Arc::clone(&account_id),
            ("app", _) => Arc::clone(&app),
            ("model", _) => Arc::clone(&model),
            ("variant", _) => Arc::clone(&variant),
            ("provider", _) => Arc::clone(&provider),
            (_, DataType::Boolean) => Arc::new(BooleanArray::from(vec![true; rows])),
            (_, DataType::Int64) => Arc::new(Int64Array::from_iter_values(
                (0..rows).map(|_| 1 + tokens.sample(dice) as i64),
            )),
            (name, kind) => anyhow::bail!("{ROLLUP} has a new column {name}, {kind}"),
        };
        batch.push(arrow::compute::cast(&column, field.data_type())?);
    }
    Ok(RecordBatch::try_new(Arc::clone(&spec.schema), batch)?)
}

async fn newest_of_lake(lake: &Lake) -> Result<Snapshot> {
    let view = lake.table(ROLLUP)?.view();
    let rows: i64 = view.files.iter().map(|file| file.rows).sum();
    let bytes: i64 = view.files.iter().map(|file| file.size).sum();
    println!(
        "{rows} rows in {} files, {} MB",
        view.files.len(),
        bytes / 1_000_000
    );
    let began = Instant::now();
    let mut hot = Hot::new(lake.clone(), held());
    let (version, tables) = hot.refresh().await?.context("the lake is empty")?;
    let (took, held) = (began.elapsed().as_secs_f64(), hot.size() / 1_000_000);
    println!("loaded from the lake in {took:.2} s, {held} MB held");
    snapshot(version, &tables).await
}

async fn newest_of_clickhouse(lake: Lake, settings: &WarehouseSettings) -> Result<Snapshot> {
    let specs: Vec<TableSpec> = lake.tables().map(|table| table.spec().clone()).collect();
    let began = Instant::now();
    let mut follower = Follower::start(Server::new(settings)?, lake).await?;
    follower.pass().await?;
    println!(
        "copied to ClickHouse in {:.2} s",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    let mut warm = Warm::new(Server::new(settings)?, held(), &specs)?;
    let (version, tables) = warm.refresh().await?.context("ClickHouse is empty")?;
    println!(
        "loaded from ClickHouse in {:.2} s",
        began.elapsed().as_secs_f64()
    );
    snapshot(version, &tables).await
}

async fn snapshot(version: u64, tables: &SessionContext) -> Result<Snapshot> {
    let catalog = Arc::new(Catalog::builtin()?);
    let now = Utc::now();
    Ok(Snapshot::publish(version, tables, catalog, now, now).await?)
}

/// Asks everything once, and gives the rows of all answers.
async fn ask(from: &str, snapshot: &Snapshot) -> Result<Vec<Vec<Row>>> {
    let rankings = Rankings::embedded(Policy::default())?;
    let mut answers = Vec::new();
    for period in Period::ALL {
        let mut took: Vec<(Duration, String)> = Vec::new();
        for board in rankings.names() {
            for metric in Metric::ALL {
                let query = RankingQuery {
                    period: *period,
                    metric: *metric,
                    ..RankingQuery::of(&board)
                };
                // A board that compares windows takes no endless one.
                if rankings.check(&query).is_err() {
                    continue;
                }
                let began = Instant::now();
                let ranking = rankings
                    .answer(&snapshot.context, snapshot.as_of, &query)
                    .await?;
                anyhow::ensure!(!ranking.rows.is_empty(), "{board} is empty");
                took.push((began.elapsed(), format!("{board} by {}", metric.as_str())));
                answers.push(ranking.rows);
            }
        }
        took.sort();
        let (median, (most, which)) = (took[took.len() / 2].0, &took[took.len() - 1]);
        println!(
            "{from}, {:<6} {} questions, median {:.0} ms, slowest {:.0} ms ({which})",
            period.as_str(),
            took.len(),
            median.as_secs_f64() * 1e3,
            most.as_secs_f64() * 1e3
        );
    }
    Ok(answers)
}
