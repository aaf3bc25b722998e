//! What can be called and what it costs: models, authors, providers, endpoints and their dated prices.
//!
//! The [`Catalog`] is read once, checked as a whole and never changed afterwards. The built-in one
//! ([`Catalog::builtin`]) is embedded from `data/*.toml`; another one can be given as text
//! ([`Catalog::from_toml`]). Whatever loads is consistent: every author, provider, model and successor
//! named by an entry exists, ids are unique, prices are not negative and their dates ascend.
//!
//! Money is integers. A price is in **nano-dollars per million tokens** (`$3` per million is
//! `3_000_000_000`), a cost in **nano-dollars**. The files state dollars as decimal text, which is parsed
//! digit by digit: no float is involved anywhere.
//!
//! ```
//! use tidemark_catalog::{Catalog, Tokens};
//!
//! let catalog = Catalog::builtin()?;
//! let endpoint = catalog.endpoint("openai/gpt-4o").ok_or("no such endpoint")?;
//! let price = endpoint.price_at("2026-06-01T00:00:00Z".parse()?).ok_or("not on sale yet")?;
//! let cost = price.cost(&Tokens { prompt: 1_200, cached: 1_000, cache_write: 0, completion: 300 });
//! assert_eq!(cost.total(), 4_750_000); // $0.00475
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod catalog;
mod error;
mod load;
mod model;
mod nearest;
mod price;

pub use catalog::Catalog;
pub use error::{CatalogError, Kind};
pub use load::Sources;
pub use model::{Author, DataPolicy, Endpoint, Modality, Model, Provider, Quantization, Status};
pub use price::{Cost, Price, Tier, Tokens, UsdError, parse_usd};
