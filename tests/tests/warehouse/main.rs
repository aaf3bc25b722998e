//! The lake and the real ClickHouse engine hold the same, whatever happens between them.
//!
//! Acceptance: `TIDEMARK_WAREHOUSE_KILLS=25 TIDEMARK_WAREHOUSE_CUTS=20 cargo test --release --workspace --test warehouse -- --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails should fail loudly, and figures are for people"
)]

mod faults;
mod same;
mod shape;
mod stage;
