//! What an answer was like, read while it passes and without keeping it: did the model decline, were its tool calls right.

pub mod refusal;
pub mod tools;
