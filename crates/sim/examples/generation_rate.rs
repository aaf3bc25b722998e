//! How fast simulated history is made: `cargo run --release -p tidemark-sim --example generation_rate`.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Instant;
use tidemark_catalog::{Catalog, CatalogError};
use tidemark_event::Micros;
use tidemark_sim::traffic::Traffic;

const EVENTS: u64 = 2_000_000;
const MONTH_US: i64 = 30 * 86_400 * 1_000_000;

fn main() -> Result<(), CatalogError> {
    let now = Micros::now();
    let history =
        Traffic::new(&Catalog::builtin()?, 7).history(Micros(now.0 - MONTH_US), now, EVENTS);
    let start = Instant::now();
    // The sum keeps the events from being optimised away.
    let tokens: i64 = history
        .map(|event| event.prompt_tokens + event.completion_tokens)
        .sum();
    println!(
        "{:.0} events/s, {tokens} tokens",
        EVENTS as f64 / start.elapsed().as_secs_f64()
    );
    Ok(())
}
