//! What routing brings: the real router over HTTP, in front of simulated providers that fail as published figures say.
//!
//! `cargo run --release -p tidemark --example routing -- [uptime] [lanes] [region] [sticky] [--full] [--seed N] [--trace FILE]
//! [--json FILE]`. Without a name, all four parts. `benches/routing/README.md` says how it is measured and what came out.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod asker;
mod figures;
mod lanes;
mod region;
mod sticky;
mod talk;
mod uptime;
mod world;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// The model that twenty providers of the catalog serve.
const MODEL: &str = "openai/gpt-oss-120b";

/// Factor on every delay of the providers, and on the router's timeouts: a tenth.
const SPEED: f64 = 0.1;

/// An hour of incidents passes in ten seconds. Nothing of the router is scaled with it: its windows see each incident for a
/// 360th of the time they would have.
const CLOCK: f64 = 360.0;

const USAGE: &str =
    "[uptime] [lanes] [region] [sticky] [--full] [--seed N] [--trace FILE] [--json FILE]";

/// What to measure.
struct Options {
    /// Several times as long.
    full: bool,
    seed: u64,
    /// Recorded conversations, in the form of the Mooncake trace.
    trace: Option<PathBuf>,
}

fn main() -> Result<()> {
    let mut options = Options {
        full: false,
        seed: 7,
        trace: None,
    };
    let (mut parts, mut file) = (Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--full" => options.full = true,
            "--seed" => options.seed = arguments.next().context(USAGE)?.parse()?,
            "--trace" => options.trace = Some(arguments.next().context(USAGE)?.into()),
            "--json" => file = Some(arguments.next().context(USAGE)?),
            "uptime" | "lanes" | "region" | "sticky" => parts.push(argument),
            _ => bail!(USAGE),
        }
    }
    if parts.is_empty() {
        parts = ["uptime", "lanes", "region", "sticky"]
            .map(str::to_owned)
            .to_vec();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut results = Map::new();
    for part in parts {
        let result: Value = runtime.block_on(async {
            match part.as_str() {
                "uptime" => uptime::measure(&options).await,
                "lanes" => lanes::measure(&options).await,
                "region" => region::measure(&options).await,
                _ => sticky::measure(&options).await,
            }
        })?;
        println!("{}\n", serde_json::json!({ &part: &result }));
        results.insert(part, result);
    }
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_string_pretty(&results)?)?;
    }
    // What hangs on purpose must not hold the end up.
    runtime.shutdown_background();
    Ok(())
}
