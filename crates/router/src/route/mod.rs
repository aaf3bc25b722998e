//! Which lanes can answer a request, and in which order they are tried.
//!
//! A *lane* is an endpoint in a region: one address to which one model can be sent. From a request to its lanes:
//!
//! 1. [`names`]: the model asked for and those to fall back on.
//! 2. [`wants`]: the request's `provider` object, read strictly. [`needs`]: what the request itself takes, such as images or tools.
//! 3. [`limits`]: what must hold. A lane that breaks a limit is excluded, with the reason.
//! 4. [`rank`]: the order of the rest, from price or speed and from how each lane fares: its [`health`], which is made of a
//!    [`breaker`], of [`windows`] over its own attempts and of what everyone's traffic says ([`observed`], [`learn`]).
//! 5. [`sticky`]: a conversation stays on the lane that holds its prompt in a cache.
//! 6. [`plan`] hands the lanes out one by one while attempts fail; `unavailable` says why there is none, [`explain`] why
//!    the order is what it is.
//!
//! A decision reads no clock and draws no chance of its own: the same state, time and seed give the same order.

pub mod breaker;
pub mod explain;
pub mod health;
pub mod lanes;
pub mod learn;
pub mod limits;
pub mod names;
pub mod needs;
pub mod observed;
pub mod plan;
pub mod rank;
pub mod sticky;
mod unavailable;
pub mod wants;
pub mod windows;

pub use lanes::{BadUpstream, Candidate, Lane, Reach, Routes};
pub use names::Named;
pub use plan::{Plan, Question};
