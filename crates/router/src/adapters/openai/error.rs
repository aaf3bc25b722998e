//! As the compatible ones say it.

pub use crate::adapters::openai_compatible::error::*;
