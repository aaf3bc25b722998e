//! Learns the weights of the refusal judge from the labelled heads beside the tests and writes them where it reads them:
//! `cargo run --release -p tidemark-router --example train_refusals`.
//!
//! Logistic regression with adaptive steps over the features of `judge::refusal`. The held-out half is never read. Everything is
//! in a fixed order, so the same heads give the same file. Printed are precision and recall under five-fold cross-validation.
#![allow(clippy::print_stdout, reason = "what it found is what it is run for")]

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use tidemark_router::judge::refusal::RefusalJudge;

const HEADS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/refusals.jsonl");
const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/judge/refusal/weights.tsv");
/// Heads that must hold a feature before it is learnt: rarer ones are learnt by heart.
const SEEN_IN: usize = 3;
/// Rounds over the heads.
const ROUNDS: usize = 20;
/// The size of a step.
const STEP: f32 = 0.24;
/// Pull towards zero.
const SHRINK: f32 = 0.0004;
/// Weights below this are left out.
const LEAST: f32 = 0.2;
/// Parts for cross-validation.
const FOLDS: usize = 5;

#[derive(Deserialize)]
struct Item {
    text: String,
    declined: bool,
    half: String,
}

/// A head as the numbers of its features.
struct Head {
    features: Vec<usize>,
    declined: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut texts: Vec<(BTreeSet<String>, bool)> = Vec::new();
    for line in std::fs::read_to_string(HEADS)?.lines() {
        let item: Item = serde_json::from_str(line)?;
        if item.half == "tune" {
            texts.push((features(&item.text), item.declined));
        }
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for feature in texts.iter().flat_map(|(features, _)| features) {
        *seen.entry(feature).or_default() += 1;
    }
    seen.retain(|_, count| *count >= SEEN_IN);
    let names: Vec<&str> = seen.keys().copied().collect();
    let heads: Vec<Head> = texts
        .iter()
        .map(|(features, declined)| Head {
            features: features
                .iter()
                .filter_map(|feature| names.binary_search(&feature.as_str()).ok())
                .collect(),
            declined: *declined,
        })
        .collect();
    validate(&heads, names.len());
    let model = Model::learn(&heads.iter().collect::<Vec<_>>(), names.len());
    let mut out = format!("always\t{:.2}\n", model.always);
    let mut kept = 0;
    for (name, weight) in names.iter().zip(&model.weights) {
        if weight.abs() >= LEAST {
            kept += 1;
            out.push_str(&format!("{name}\t{weight:.2}\n"));
        }
    }
    std::fs::write(WEIGHTS, out)?;
    println!("{} heads, {kept} weights", heads.len());
    Ok(())
}

/// The features of an answer by name.
fn features(text: &str) -> BTreeSet<String> {
    let mut judge = RefusalJudge::default();
    judge.text(text);
    let mut names = BTreeSet::new();
    judge.features(|name| {
        names.insert(name);
    });
    names
}

/// Precision and recall on each part by what was learnt from the others.
fn validate(heads: &[Head], features: usize) {
    let (mut hit, mut alarm, mut missed) = (0_u32, 0_u32, 0_u32);
    for fold in 0..FOLDS {
        let part = |wanted: bool| {
            let heads = heads.iter().enumerate();
            heads.filter_map(move |(n, head)| ((n % FOLDS == fold) == wanted).then_some(head))
        };
        let model = Model::learn(&part(false).collect::<Vec<_>>(), features);
        for head in part(true) {
            match (head.declined, model.weight(head) > 0.0) {
                (true, true) => hit += 1,
                (false, true) => alarm += 1,
                (true, false) => missed += 1,
                (false, false) => {}
            }
        }
    }
    println!(
        "cross-validation: precision {:.3}, recall {:.3} ({hit} hit, {alarm} false alarms, {missed} missed)",
        f64::from(hit) / f64::from((hit + alarm).max(1)),
        f64::from(hit) / f64::from((hit + missed).max(1)),
    );
}

struct Model {
    weights: Vec<f32>,
    always: f32,
}

impl Model {
    fn learn(heads: &[&Head], features: usize) -> Self {
        let mut model = Self {
            weights: vec![0.0; features],
            always: 0.0,
        };
        let mut slopes = vec![1e-6_f32; features];
        let mut order: Vec<usize> = (0..heads.len()).collect();
        let mut dice = 12_345_u64;
        for _ in 0..ROUNDS {
            for last in (1..order.len()).rev() {
                dice = dice
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                order.swap(last, (dice >> 33) as usize % (last + 1));
            }
            for head in order.iter().map(|n| heads[*n]) {
                let odds = model.weight(head);
                let error = 1.0 / (1.0 + (-odds).exp()) - f32::from(u8::from(head.declined));
                model.always -= 0.02 * error;
                for &n in &head.features {
                    let slope = error * share(head) + SHRINK * model.weights[n];
                    slopes[n] += slope * slope;
                    model.weights[n] -= STEP * slope / slopes[n].sqrt();
                }
            }
        }
        model
    }

    fn weight(&self, head: &Head) -> f32 {
        let sum: f32 = head.features.iter().map(|n| self.weights[*n]).sum();
        self.always + sum * share(head)
    }
}

/// What one of a head's features adds.
fn share(head: &Head) -> f32 {
    1.0 / (head.features.len().max(1) as f32).sqrt()
}
