//! `tidemark account`: what is an account's, taken out of lake and ClickHouse.

use crate::config::Config;
use crate::instance::existing_lake;
use crate::output::{by_day, days_bar, grouped, line};
use crate::warehouse;
use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemark_lake::EVENTS;
use tidemark_rollup::{Erasure, erase, survey};
use tidemark_router::keys::Keys;

/// What can be done with an account's data.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Removes all rows of an account from the raw events, the rollups by account and ClickHouse, and says what remains as aggregates.
    ///
    /// Runs beside whoever writes the lake. Exit code 1 when something is left to do, which it names.
    #[command(
        after_help = "Examples:\n  tidemark account erase acme --dry-run\n  tidemark account erase acme --yes\n  tidemark account erase --id 5d0c2b7a9e3f4a51b2c3d4e5f6071829 --yes --format json\n\nRevoke the account's keys first (`tidemark keys list`, `tidemark keys revoke`): what it sends later is counted as before. The id is the \
        column account_id of usage_events; an account behind a gateway's key is known by it alone."
    )]
    Erase {
        /// Its name, as given to `keys create`.
        #[arg(required_unless_present = "id", conflicts_with = "id")]
        account: Option<String>,
        /// Its id in the events, in place of its name.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// Folder of the router that knows the account, where that is not the lake's.
        #[arg(long, value_name = "DIR", conflicts_with = "id")]
        router_dir: Option<PathBuf>,
        /// Says what there is, and removes nothing.
        #[arg(long)]
        dry_run: bool,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
        /// Output.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
}

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For eyes.
    #[value(alias = "text")]
    Table,
    /// One object.
    Json,
}

/// Runs a command; whether nothing is left to do.
pub async fn run(config: &Config, command: Command) -> Result<bool> {
    let Command::Erase {
        account,
        id,
        router_dir,
        dry_run,
        yes,
        format,
    } = command;
    let (lake, pipelines) = existing_lake(config).await?;
    let shown = account
        .as_ref()
        .or(id.as_ref())
        .cloned()
        .unwrap_or_default();
    let who = match (&account, id) {
        (Some(name), _) => named(router_dir.as_ref().unwrap_or(&config.data_dir), name)?,
        (None, Some(id)) if !id.is_empty() => Who {
            id,
            in_force: Vec::new(),
        },
        _ => bail!("an id is wanted: the column account_id of the account's events"),
    };
    let bar = days_bar()?;
    let found = survey(&lake, &pipelines, &who.id, by_day(&bar)).await?;
    bar.finish_and_clear();
    if found.rows.is_empty() {
        match format {
            Format::Table => line(format!(
                "Nothing of {shown} is in {}.",
                config.place_named()
            )),
            Format::Json => line(report(&who, &found, false, None)),
        }
        // What a run that was cut short took out of the lake may still be in ClickHouse.
        return match dry_run {
            true => Ok(true),
            false => Ok(warehouse::catch_up(config, &lake).await?.is_even()),
        };
    }
    if dry_run {
        match format {
            Format::Table => {
                line(format!("Of {shown}, on {}:", days(&found)));
                rows(&found.rows);
                line("Would remain, in sums over all accounts:");
                stays(&found.stays);
                line("Nothing was removed.");
            }
            Format::Json => line(report(&who, &found, false, None)),
        }
        return Ok(true);
    }
    if !yes {
        confirm(&shown, &found)?;
    }
    let bar = days_bar()?;
    let gone = erase(&lake, &pipelines, &who.id, by_day(&bar)).await?;
    bar.finish_and_clear();
    let copy = warehouse::catch_up(config, &lake).await?;
    let done = copy.is_even() && !gone.in_use;
    if format == Format::Json {
        line(report(&who, &gone, true, Some(copy.to_string())));
        return Ok(done);
    }
    line(format!("Removed of {shown}, on {}:", days(&gone)));
    rows(&gone.rows);
    line(format!("ClickHouse: {copy}"));
    line("What remains, in sums over all accounts:");
    stays(&gone.stays);
    line(
        "Rankings are made of accounts_by_day and count it no more. Sketches of distinct accounts keep a 64-bit hash of the id, and the table `erasures` the ids of the events, so that none is \
         counted again.",
    );
    let retention = Duration::from_secs(config.file_retention_s);
    line(format!(
        "The files that held the rows are deleted {} s from now by upkeep, or then by `tidemark lake vacuum` where nothing runs.{}",
        retention.as_secs(),
        match config.kafka.is_set() {
            true => " Kafka keeps messages for its topic's own time.",
            false => "",
        }
    ));
    if gone.in_use {
        line("Rows still arrive: run this again once nothing is sent any more.");
    }
    if !who.in_force.is_empty() {
        line(format!(
            "Keys of the account that are in force: {}; `tidemark keys revoke` ends one.",
            who.in_force.join(", ")
        ));
    }
    Ok(done)
}

/// An account as the events know it.
struct Who {
    id: String,
    /// Its keys that still open the router.
    in_force: Vec<String>,
}

/// The account of that name, if `dir` has ever had a key for it: under another router's salt its id would be another one.
fn named(dir: &Path, name: &str) -> Result<Who> {
    let keys = Keys::open(dir)?;
    let all = keys.list()?;
    let mut own = all.iter().filter(|key| key.account == name).peekable();
    if own.peek().is_none() && !keys.accounts()?.contains_key(name) {
        bail!(
            "{} knows no account {name}: name the router's folder with --router-dir, or the account's id with --id",
            dir.display()
        );
    }
    Ok(Who {
        id: keys.account_hash(name).to_string(),
        in_force: own
            .filter(|key| key.revoked.is_none())
            .map(|key| key.id.clone())
            .collect(),
    })
}

fn days(erasure: &Erasure) -> String {
    match erasure.days.len() {
        1 => "one day".to_owned(),
        days => format!("{days} days"),
    }
}

fn rows(rows: &BTreeMap<String, i64>) {
    for (table, rows) in rows {
        let name = match table.as_str() {
            EVENTS => "usage_events",
            name => name,
        };
        line(format!("  {name:<26}{:>16} rows", grouped(*rows as u64)));
    }
}

/// The measures that people ask for; `--format json` has all.
fn stays(stays: &BTreeMap<(String, String), i64>) {
    let of = |rollup: &str, measure: &str| stays.get(&(rollup.to_owned(), measure.to_owned()));
    let rollups: std::collections::BTreeSet<&String> = stays.keys().map(|key| &key.0).collect();
    for rollup in rollups {
        let mut said = Vec::new();
        for measure in ["requests", "attempts", "prompt_tokens", "completion_tokens"] {
            if let Some(sum) = of(rollup, measure) {
                said.push(format!(
                    "{} {}",
                    grouped(*sum as u64),
                    measure.replace('_', " ")
                ));
            }
        }
        if let Some(nano) = of(rollup, "cost_nanousd") {
            said.push(format!("${:.2}", *nano as f64 / 1e9));
        }
        line(format!("  {rollup:<26}{}", said.join(", ")));
    }
}

fn report(
    who: &Who,
    erasure: &Erasure,
    removed: bool,
    clickhouse: Option<String>,
) -> serde_json::Value {
    let mut stays: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
    for ((rollup, measure), sum) in &erasure.stays {
        stays.entry(rollup).or_default().insert(measure, *sum);
    }
    serde_json::json!({
        "account_id": who.id,
        "removed": removed,
        "rows": erasure.rows,
        "days": erasure.days,
        "remains": stays,
        "clickhouse": clickhouse,
        "still_arriving": erasure.in_use,
        "keys_in_force": who.in_force,
    })
}

/// Asks whether to go on.
fn confirm(shown: &str, found: &Erasure) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "nothing was removed: say --yes to go on without being asked, or --dry-run to see what there is"
        );
    }
    rows(&found.rows);
    line(format!(
        "This cannot be undone. Type {shown} to remove these rows:"
    ));
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("no answer can be read")?;
    match answer.trim() == shown {
        true => Ok(()),
        false => bail!("nothing was removed"),
    }
}
