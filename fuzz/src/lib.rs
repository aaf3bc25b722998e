//! What the fuzz targets share. See README.md for what each of them asserts.
//!
//! - [`dice`]: choices that depend on the input alone, so that a finding happens again.
//! - [`lines`]: a second reader of server-sent events, as plain as can be.
//! - [`client`]: what clients read of an answer, as strictly as SDKs do.
//! - [`said`]: what an answer says, straight from its pieces.
//! - [`stage`]: requests to be answered, and the books over them.
//! - [`answer`]: anything that a provider may send, on its whole way to the client.
//! - [`request`]: anything that a client may send, on its whole way to the provider.

pub mod answer;
pub mod client;
pub mod dice;
pub mod lines;
pub mod request;
pub mod said;
pub mod stage;
