//! Adapters against exchanges that others recorded: streams cut anywhere, whole bodies, published prices, errors, and noise.
//!
//! The recordings lie beside the project (`../shared/data`, or `TIDEMARK_SHARED_DATA`); without them these tests say so and
//! pass. What is compared with the adapters is read here a second time, from the JSON, with none of their code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

mod exchanges;
mod fixtures;
mod noise;
mod prices;
mod reading;
mod tally;

use flate2::read::GzDecoder;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reading::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tally::*;
use tidemark_router::adapters::{Decoder, Dialect, Garbage, Target, adapter};
use tidemark_router::ask::{Ask, Operation};
use tidemark_router::judge::tools::Offered;
use tidemark_router::piece::{ErrorKind, FinishReason, Piece, Usage};
use tidemark_router::sse::{Event, Parser};

const ALL: [Dialect; 4] = [
    Dialect::OpenaiCompatible,
    Dialect::Openai,
    Dialect::Anthropic,
    Dialect::Gemini,
];

fn data(under: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TIDEMARK_SHARED_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = root.join(under);
    if !path.exists() {
        eprintln!("skipped: {under} is not beside the project");
        return None;
    }
    Some(path)
}

fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn ask(operation: Operation, body: Value) -> Ask {
    Ask {
        operation,
        model: "author/model".to_owned(),
        stream: false,
        include_usage: false,
        body: body.as_object().cloned().unwrap_or_default(),
        messages_body: None,
        session: String::new(),
        offered: Offered::default(),
    }
}
