//! The simulated providers, asked over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

mod client;
mod dialects;
mod faults;
mod lanes;
mod tools;
mod whole;
