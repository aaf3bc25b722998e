//! Looking inside: events, SQL, pipelines, lake, doctor.

use crate::config::Config;
use crate::instance::{existing_lake, schemas, upkeep};
use crate::newest;
use crate::output::{self, Format, by_day, days_bar, grouped, line};
use anyhow::{Context, Result, bail};
use std::net::TcpListener;
use std::path::Path;
use tidemark_bus::{Journal, Read};
use tidemark_catalog::Catalog;
use tidemark_event::wire;
use tidemark_insight::{Policy, Rankings, Statistics, held, publish};
use tidemark_lake::UpkeepReport;
use tidemark_rollup::{open_lake, verify};
use tidemark_warehouse::Server;

/// `tidemark events`: what is on the bus, decoded.
pub fn events(
    config: &Config,
    follow: bool,
    from_start: bool,
    limit: Option<usize>,
    format: Format,
) -> Result<()> {
    let dir = config.data_dir.join("journal");
    if !dir.is_dir() {
        bail!(
            "there is no journal in {}: `tidemark up --demo` makes one, or name its folder with --data-dir",
            config.data_dir.display()
        );
    }
    let journal = Journal::open_read_only(&dir)?;
    let mut reader = wire::Reader::new(&schemas(&config.data_dir)?)?;
    let mut readers: Vec<_> = (0..journal.partitions())
        .map(|partition| {
            let from = if from_start {
                journal.start_offset(partition)
            } else {
                journal.end_offset(partition).saturating_sub(10)
            };
            journal.reader(partition, from)
        })
        .collect();
    let mut shown = 0;
    loop {
        let mut idle = true;
        for partition in &mut readers {
            let mut reads = Vec::new();
            let room = limit.map_or(1024, |limit| (limit - shown).min(1024));
            if room == 0 {
                return Ok(());
            }
            partition.poll(room, 8 << 20, &mut reads)?;
            let messages: Vec<_> = reads
                .iter()
                .filter_map(|read| match read {
                    Read::Record(record) => Some(&record.payload),
                    Read::Damaged { .. } => None,
                })
                .take(room)
                .collect();
            if messages.is_empty() {
                continue;
            }
            idle = false;
            let decoded = reader.read(&messages)?;
            shown += messages.len();
            let shape = if format == Format::Table {
                brief(&decoded.batch)?
            } else {
                decoded.batch
            };
            output::rows(&shape.schema(), &[shape], format)?;
        }
        if idle && !follow {
            return Ok(());
        }
        if idle {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}

/// The columns that fit a terminal.
fn brief(batch: &arrow::array::RecordBatch) -> Result<arrow::array::RecordBatch> {
    let wanted = [
        "ts",
        "model",
        "provider",
        "region",
        "prompt_tokens",
        "completion_tokens",
        "cost_nanousd",
        "latency_us",
        "outcome",
        "finish_reason",
        "refusal",
    ];
    let columns = wanted
        .iter()
        .map(|name| batch.schema().index_of(name))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(batch.project(&columns)?)
}

/// `tidemark sql`: a query over the lake.
pub async fn sql(config: &Config, query: &str, format: Format) -> Result<()> {
    let (lake, _) = existing_lake(config).await?;
    let context = lake.sql().await?;
    let options = datafusion::execution::context::SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let frame = match context.sql_with_options(query, options).await {
        Ok(frame) => frame,
        Err(error) => {
            let mut tables: Vec<String> = context
                .catalog("datafusion")
                .and_then(|c| c.schema("public"))
                .map(|s| s.table_names())
                .unwrap_or_default();
            tables.sort();
            bail!("{}\ntables: {}", error.strip_backtrace(), tables.join(", "));
        }
    };
    let schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
    let rows = frame
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!(error.strip_backtrace()))?;
    output::rows(&schema, &rows, format)
}

/// `tidemark pipelines check`: plans every SQL file.
pub async fn pipelines() -> Result<()> {
    let scratch = tempfile_dir()?;
    let (lake, pipelines) = open_lake(&scratch, &tidemark_lake::Log::journal(1)).await?;
    for pipeline in &pipelines {
        line(format!(
            "ok  rollups/{}.sql   {} columns",
            pipeline.spec().name,
            pipeline.spec().schema.fields().len()
        ));
    }
    let rankings = Rankings::embedded(Policy::default())?;
    let mut hot = tidemark_lake::Hot::new(lake, held());
    if let Some((_, tables)) = hot.refresh().await? {
        let context = publish(&tables, &Catalog::builtin()?, chrono::Utc::now()).await?;
        for name in rankings.plan_check(&context).await? {
            line(format!("ok  rankings/{name}"));
        }
        let name = Statistics::plan_check(&context).await?;
        line(format!("ok  statistics/{name}"));
    }
    std::fs::remove_dir_all(&scratch).ok();
    Ok(())
}

fn tempfile_dir() -> Result<std::path::PathBuf> {
    let dir = std::env::temp_dir().join(format!("tidemark-check-{}", std::process::id()));
    std::fs::create_dir_all(&dir).context("no temporary folder can be made")?;
    Ok(dir)
}

/// `tidemark lake verify`.
pub async fn lake_verify(config: &Config) -> Result<bool> {
    let (lake, pipelines) = existing_lake(config).await?;
    let bar = days_bar()?;
    let found = verify(&lake, &pipelines, by_day(&bar)).await?;
    bar.finish_and_clear();
    if found.is_empty() {
        line(format!(
            "{} rollups equal the raw events, and the ledger balances.",
            pipelines.len()
        ));
        return Ok(true);
    }
    for difference in &found {
        line(format!(
            "DIFFERENT  {}  {}  {}",
            difference.table, difference.date, difference.what
        ));
    }
    Ok(false)
}

/// `tidemark lake compact` and `tidemark lake vacuum`: for when no `tidemark up` owns the folder.
pub async fn lake_upkeep(config: &Config, vacuum: bool) -> Result<()> {
    let lock = Journal::open(
        &config.data_dir.join("journal"),
        tidemark_bus::JournalOptions {
            partitions: config.partitions,
            ..Default::default()
        },
    );
    let _owner = lock
        .context("upkeep needs the folder for itself: a running `tidemark up` does it by itself")?;
    let (lake, _) = existing_lake(config).await?;
    let UpkeepReport {
        files_before,
        files_after,
        rows_before,
        rows_after,
        deleted,
    } = if vacuum {
        lake.vacuum(upkeep(config)).await?
    } else {
        let all = tidemark_lake::Upkeep {
            settle: std::time::Duration::ZERO,
            open_files: 2,
            ..upkeep(config)
        };
        lake.compact(all).await?
    };
    if vacuum {
        line(format!("{deleted} files deleted"));
    } else {
        line(format!(
            "{files_before} files became {files_after}, {} rows became {}",
            grouped(rows_before as u64),
            grouped(rows_after as u64)
        ));
    }
    Ok(())
}

/// `tidemark doctor`: checks what a start needs; whether all is well.
pub async fn doctor(config: &Config) -> Result<bool> {
    let mut well = true;
    let mut report = |ok: bool, what: &str, detail: String| {
        well &= ok;
        line(format!(
            "{}  {what}: {detail}",
            if ok { "ok  " } else { "FAIL" }
        ));
    };
    report(true, "settings", "read without complaint".to_owned());
    match newest::catalog(config) {
        Ok(catalog) => report(
            true,
            "catalog",
            format!(
                "{} models, {} aliases",
                catalog.models().len(),
                catalog.aliases().len()
            ),
        ),
        Err(error) => report(false, "catalog", format!("{error:#}")),
    }
    match TcpListener::bind(&config.listen) {
        Ok(_) => report(true, "address", format!("{} is free", config.listen)),
        Err(error) => report(
            false,
            "address",
            format!(
                "{} cannot be used ({error}): stop what holds it or choose another with --listen",
                config.listen
            ),
        ),
    }
    if config.kafka.is_set() {
        match tokio::task::block_in_place(|| tidemark_bus::kafka::ends(&config.kafka)) {
            Ok(ends) => report(
                true,
                "Kafka",
                format!(
                    "{} answers, {} events ever in {}",
                    config.kafka.brokers,
                    grouped(ends.iter().sum()),
                    config.kafka.topic
                ),
            ),
            Err(error) => report(false, "Kafka", error.to_string()),
        }
    }
    if config.clickhouse.is_set() {
        let answer = match Server::new(&config.clickhouse) {
            Ok(server) => server.check().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(version) => report(
                true,
                "ClickHouse",
                format!("{} answers, version {version}", config.clickhouse.url),
            ),
            Err(error) => report(false, "ClickHouse", error.to_string()),
        }
    }
    let dir = &config.data_dir;
    if !dir.exists() {
        report(
            true,
            "data folder",
            format!("{} will be made at the first start", dir.display()),
        );
        return Ok(well);
    }
    match probe_write(dir) {
        Ok(()) => report(
            true,
            "data folder",
            format!("{} can be written", dir.display()),
        ),
        Err(error) => report(
            false,
            "data folder",
            format!(
                "{} cannot be written ({error}): check its owner and free space",
                dir.display()
            ),
        ),
    }
    match Journal::open_read_only(&dir.join("journal")) {
        Ok(journal) => {
            let stats = journal.stats();
            report(
                true,
                "journal",
                format!(
                    "{} partitions, {} bytes",
                    journal.partitions(),
                    grouped(stats.bytes)
                ),
            );
        }
        Err(error) => report(!dir.join("journal").exists(), "journal", error.to_string()),
    }
    match existing_lake(config).await {
        Ok((lake, _)) => {
            let files: usize = lake.tables().map(|table| table.view().files.len()).sum();
            let rows: i64 = lake
                .table(tidemark_lake::EVENTS)?
                .view()
                .files
                .iter()
                .map(|file| file.rows)
                .sum();
            report(
                true,
                "lake",
                format!(
                    "{} events in {} tables of {files} files",
                    grouped(rows as u64),
                    lake.tables().count()
                ),
            );
        }
        Err(error) => {
            let none_yet = config.lake.url.is_empty() && !dir.join("lake").exists();
            report(none_yet, "lake", error.to_string());
        }
    }
    Ok(well)
}

fn probe_write(dir: &Path) -> std::io::Result<()> {
    let probe = dir.join(".doctor");
    std::fs::write(&probe, b"ok")?;
    std::fs::remove_file(probe)
}
