//! ClickHouse beside the lake: followed by one process at a time, and looked after by `tidemark clickhouse`.

use crate::claim::claim;
use crate::config::Config;
use crate::instance::existing_lake;
use crate::output::{grouped, line};
use crate::parts::{Figures, figures};
use crate::stop::{stopping, until};
use anyhow::{Result, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tidemark_lake::Lake;
use tidemark_warehouse::{Follower, Report, Server};
use tokio::sync::watch;

/// Between tries while ClickHouse does not answer.
const AGAIN: Duration = Duration::from_secs(5);

/// Who holds it follows the lake.
const LOCK: &str = "warehouse.lock";

/// What `tidemark clickhouse` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes the database, tables and views that are not there yet, and says what differs from the lake's.
    Migrate,
    /// Loads what the lake has more than ClickHouse; a running `tidemark rollup` or `tidemark up` does it by itself.
    #[command(
        after_help = "Examples:\n  tidemark clickhouse sync --data-dir /srv/lake\n  tidemark clickhouse sync --follow"
    )]
    Sync {
        /// Goes on as the lake grows.
        #[arg(long)]
        follow: bool,
    },
    /// Loads every day again, each put in its place at once: queries go on meanwhile.
    #[command(
        after_help = "Examples:\n  tidemark clickhouse rebuild\n  tidemark clickhouse rebuild --table models_by_hour"
    )]
    Rebuild {
        /// One table of the lake only; made anew if its columns are not those of this version.
        #[arg(long, value_name = "NAME")]
        table: Option<String>,
    },
}

/// Runs a command.
pub async fn run(config: &Config, command: Command) -> Result<()> {
    if !config.clickhouse.is_set() {
        bail!(
            "no ClickHouse is named: set `url` under [clickhouse] in tidemark.toml, or TIDEMARK_CLICKHOUSE__URL"
        );
    }
    let server = Server::new(&config.clickhouse)?;
    let (lake, _) = existing_lake(config).await?;
    let _one = match claim(&config.data_dir, LOCK)? {
        Some(lock) => lock,
        None => bail!(
            "another process follows this lake: a running `tidemark rollup` or `tidemark up` does it by itself; stop it for this command"
        ),
    };
    match command {
        Command::Migrate => {
            let specs: Vec<_> = lake.tables().map(|table| table.spec().clone()).collect();
            let made = server.migrate(&specs).await?;
            match made.is_empty() {
                true => line("All tables are there, as this version makes them."),
                false => made.iter().for_each(|name| line(format!("made  {name}"))),
            }
        }
        Command::Sync { follow: false } => {
            let mut follower = Follower::start(server, lake).await?;
            say(follower.pass().await?);
        }
        Command::Sync { follow: true } => {
            line("Following the lake; Ctrl-C stops.");
            let following = Following::default();
            follow(&following, server, lake, config, stopping()).await;
            say(following.report());
        }
        Command::Rebuild { table } => rebuild(server, lake, table).await?,
    }
    Ok(())
}

async fn rebuild(server: Server, lake: Lake, table: Option<String>) -> Result<()> {
    let names: Vec<String> = match table {
        Some(name) => {
            let spec = lake.table(&name)?.spec();
            // A table that cannot be filled as it is has to be another one.
            if let Err(error) = server.migrate(std::slice::from_ref(spec)).await {
                if !matches!(error, tidemark_warehouse::WarehouseError::Drift { .. }) {
                    return Err(error.into());
                }
                line(format!(
                    "{name} has other columns: made anew, and empty until it is filled"
                ));
                server.remake(spec).await?;
            }
            vec![name]
        }
        None => lake
            .tables()
            .map(|table| table.spec().name.clone())
            .collect(),
    };
    let days = names
        .iter()
        .map(|name| Ok(lake.table(name)?.days().len()))
        .sum::<Result<usize>>()?;
    let bar = ProgressBar::with_draw_target(Some(days as u64), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} day {pos} of {len}  {msg}",
    )?);
    let mut follower = Follower::start(server, lake).await?;
    let mut report = Report::default();
    for name in names {
        bar.set_message(name.clone());
        report += follower.rebuild(&name, |_| bar.inc(1)).await?;
    }
    bar.finish_and_clear();
    say(report);
    Ok(())
}

fn say(report: Report) {
    line(format!(
        "{} files with {} rows loaded; {} days as a whole",
        grouped(report.files as u64),
        grouped(report.rows as u64),
        grouped(report.days as u64)
    ));
}

/// Whether ClickHouse has what the lake has.
pub enum Caught {
    /// None is named.
    None,
    /// It has, after a pass.
    Even(Report),
    /// Another process sees to it.
    Followed,
    /// It could not be brought to it.
    Behind(String),
}

impl Caught {
    /// Whether nothing is left to do.
    pub fn is_even(&self) -> bool {
        !matches!(self, Self::Behind(_))
    }
}

impl std::fmt::Display for Caught {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => write!(f, "none is named"),
            Self::Even(report) => write!(f, "the same; {} days loaded again", report.days),
            Self::Followed => write!(
                f,
                "the running process that follows this lake does the same within moments"
            ),
            Self::Behind(why) => write!(
                f,
                "NOT DONE ({why}); `tidemark clickhouse sync` does it once that is mended"
            ),
        }
    }
}

/// Brings ClickHouse to what the lake has, unless a running process does so by itself.
pub async fn catch_up(config: &Config, lake: &Lake) -> Result<Caught> {
    if !config.clickhouse.is_set() {
        return Ok(Caught::None);
    }
    let Some(_one) = claim(&config.data_dir, LOCK)? else {
        return Ok(Caught::Followed);
    };
    let pass = async {
        let server = Server::new(&config.clickhouse)?;
        let mut follower = Follower::start(server, lake.clone()).await?;
        follower.pass().await
    };
    Ok(match pass.await {
        Ok(report) => Caught::Even(report),
        Err(error) => Caught::Behind(error.to_string()),
    })
}

/// How following goes.
#[derive(Clone, Default)]
pub struct Following(Arc<Counters>);

#[derive(Default)]
struct Counters {
    files: AtomicU64,
    rows: AtomicI64,
    days: AtomicU64,
    failures: AtomicU64,
    /// When the warehouse last equalled the lake, or this process began to follow, in microseconds; 0 where there is none.
    equal_us: AtomicI64,
}

impl Following {
    fn add(&self, report: Report) {
        let all = &self.0;
        all.files.fetch_add(report.files as u64, Relaxed);
        all.rows.fetch_add(report.rows, Relaxed);
        all.days.fetch_add(report.days as u64, Relaxed);
        all.equal_us
            .store(chrono::Utc::now().timestamp_micros(), Relaxed);
    }

    fn report(&self) -> Report {
        let all = &self.0;
        Report {
            files: all.files.load(Relaxed) as usize,
            rows: all.rows.load(Relaxed),
            days: all.days.load(Relaxed) as usize,
        }
    }

    /// Lines for `/metrics`.
    pub fn figures(&self) -> Figures {
        let all = Arc::clone(&self.0);
        Arc::new(move || {
            let equal = all.equal_us.load(Relaxed);
            let now = chrono::Utc::now().timestamp_micros();
            figures(&[
                (
                    "tidemark_warehouse_files_total",
                    "Files of the lake loaded into ClickHouse",
                    "counter",
                    all.files.load(Relaxed) as f64,
                ),
                (
                    "tidemark_warehouse_days_total",
                    "Days loaded as a whole",
                    "counter",
                    all.days.load(Relaxed) as f64,
                ),
                (
                    "tidemark_warehouse_failures_total",
                    "Passes that failed and were tried again",
                    "counter",
                    all.failures.load(Relaxed) as f64,
                ),
                (
                    "tidemark_warehouse_behind_seconds",
                    "Since ClickHouse last had all that the lake has",
                    "gauge",
                    if equal == 0 {
                        0.0
                    } else {
                        (now - equal) as f64 / 1e6
                    },
                ),
            ])
        })
    }
}

/// Follows the lake into ClickHouse, if one is named, until `stopped`. Where another process of this lake does so already, waits for it
/// to end.
pub async fn keep(
    following: Following,
    lake: Lake,
    config: Config,
    stopped: watch::Receiver<bool>,
) {
    if !config.clickhouse.is_set() {
        return;
    }
    // Behind since now, until it has all.
    let now = chrono::Utc::now().timestamp_micros();
    following.0.equal_us.store(now, Relaxed);
    let server = match Server::new(&config.clickhouse) {
        Ok(server) => server,
        Err(error) => {
            tracing::error!("ClickHouse is not followed: {error}");
            return;
        }
    };
    let _one = loop {
        match claim(&config.data_dir, LOCK) {
            Ok(Some(lock)) => break lock,
            Ok(None) => {}
            Err(error) => tracing::warn!("ClickHouse is not followed yet: {error:#}"),
        }
        tokio::select! {
            () = until(stopped.clone()) => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    };
    follow(&following, server, lake, &config, stopped).await;
}

/// Pass after pass; what fails is said once and tried again.
async fn follow(
    following: &Following,
    server: Server,
    lake: Lake,
    config: &Config,
    stopped: watch::Receiver<bool>,
) {
    let every = Duration::from_millis(config.clickhouse.follow_every_ms.max(50));
    let mut follower = None;
    let mut said = String::new();
    loop {
        let done = tokio::select! {
            () = until(stopped.clone()) => return,
            done = step(&mut follower, &server, &lake) => done,
        };
        let wait = match done {
            Ok(report) => {
                following.add(report);
                if !said.is_empty() {
                    tracing::warn!("ClickHouse is followed again");
                    said.clear();
                }
                every
            }
            Err(error) => {
                following.0.failures.fetch_add(1, Relaxed);
                let error = format!("{error:#}");
                if error != said {
                    tracing::warn!("ClickHouse is behind: {error}");
                    said = error;
                }
                AGAIN
            }
        };
        tokio::select! {
            () = until(stopped.clone()) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn step(follower: &mut Option<Follower>, server: &Server, lake: &Lake) -> Result<Report> {
    lake.reload().await?;
    let follower = match follower {
        Some(follower) => follower,
        none => none.insert(Follower::start(server.clone(), lake.clone()).await?),
    };
    Ok(follower.pass().await?)
}
