//! The usage event: what one request to the router leaves behind.
//!
//! `schemas/usage_event.avsc` owns the wire format. [`UsageEvent`] is its Rust shape, [`wire`] writes
//! it as an Avro single object and reads whole batches of them straight into Arrow, and [`validate`]
//! says which rows of such a batch may be counted.

pub mod encode;
mod identity;
pub mod ndjson;
mod usage;

pub use identity::{EventId, Micros};
pub use usage::{FailedAttempt, UsageEvent};
pub mod validate;
pub mod wire;
