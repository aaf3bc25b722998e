//! Simulated providers as a process of their own:
//! `cargo run -p tidemark-sim --example providers -- --listen 127.0.0.1:9001 [--script FILE] [--seed N] [--speed X] [--no-faults]`
//!
//! Without a script it plays the demo. Prints the `tidemark.toml` of a router that is to use it; ends with the process.
#![allow(clippy::print_stdout, reason = "the settings are its output")]

use std::error::Error;
use std::future;
use tidemark_catalog::Catalog;
use tidemark_sim::providers::{Providers, Script};
use tokio::net::TcpListener;

const USAGE: &str =
    "--listen ADDR [--script FILE] [--seed N] [--speed X, 0 is no waiting] [--no-faults]";

fn main() -> Result<(), Box<dyn Error>> {
    let (mut listen, mut seed, mut speed) = ("127.0.0.1:9001".to_owned(), 7_u64, None);
    let (mut file, mut faults) = (None, true);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--no-faults" {
            faults = false;
            continue;
        }
        let value = arguments.next().ok_or(USAGE)?;
        match name.as_str() {
            "--listen" => listen = value,
            "--seed" => seed = value.parse()?,
            "--speed" => speed = Some(value.parse::<f64>()?),
            "--script" => file = Some(value),
            _ => return Err(USAGE.into()),
        }
    }
    let mut script = match file {
        Some(file) => Script::from_toml(&std::fs::read_to_string(file)?)?,
        None => Script::demo(&Catalog::builtin()?),
    };
    if let Some(speed) = speed {
        script = script.with_speed(speed);
    }
    if !faults {
        script = script.without_faults();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(&listen).await?;
        let upstreams = script.upstreams(listener.local_addr()?);
        println!(
            "{}",
            upstreams.replace("[[upstreams]]", "[[router.upstreams]]")
        );
        Providers::new(script, seed)
            .serve(listener, future::pending::<()>())
            .await?;
        Ok(())
    })
}
