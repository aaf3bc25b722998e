//! Usage events that no client caused: recorded traces played again, and invented traffic; and providers that no
//! model stands behind.
//!
//! [`traces`] reads files that others recorded and fills in what they do not say; [`traffic`] invents a
//! month of a router's life, or its present minute; [`providers`] answers a router's requests over HTTP. All take
//! models, endpoints and prices from the catalog, and the first two mark every event as simulated, so that no page
//! can pass them off as real use.
//!
//! Everything here is a pure function of its input and a seed: the same call yields the same events with
//! the same ids, which is what makes a replay safe to repeat.

mod alias;
mod market;
pub mod providers;
pub mod traces;
pub mod traffic;
