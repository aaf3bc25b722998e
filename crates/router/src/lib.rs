//! The router: every model behind one API, and one usage event for every request.
//!
//! # A request's path
//!
//! 1. [`server`] takes the connection, with limits against slow and greedy clients.
//! 2. [`gateway`] takes a place for the event ([`emit`]): without one, the request is refused. From here on a [`meter`] owns
//!    the request; dropping it, at whatever point, writes the event.
//! 3. [`keys`] finds the account, [`ask`] checks the body and brings it into one shape.
//! 4. [`route`] names the endpoints that can answer, in order; [`upstream`] tries them, over the connections of
//!    [`pool`], until one begins to answer well.
//! 5. The endpoint's adapter ([`adapters`]) turns its dialect into [`piece`]s. The meter counts them, [`judge`] looks for
//!    refusals and wrong tool calls.
//! 6. [`relay`] passes the answer on as it arrives, in the client's words ([`passage`], [`answer`]).
//!
//! Events of other gateways come in by a way of their own, in `ingest`.
//!
//! # Rules
//!
//! - **One request, one event**, also when it is refused, breaks, or the client leaves in the middle.
//! - **No prompt, answer, key or header enters an event, a log line or an error body.**
//! - **Nothing is sent where the client says**: addresses come from the settings, models from the catalog.
//! - **No client header is passed on.**

pub mod adapters;
pub mod answer;
pub mod ask;
pub mod emit;
pub mod entrance;
pub mod gateway;
mod ingest;
pub mod judge;
pub mod keys;
pub mod meter;
pub mod metrics;
mod mould;
pub mod passage;
pub mod piece;
pub mod policy;
pub mod pool;
pub mod relay;
mod respond;
pub mod route;
pub mod server;
pub mod settings;
pub mod sse;
pub mod upstream;
mod veil;
