//! What each feature speaks for: a line of `weights.tsv` is a run of words or concepts and its weight, positive for declining.

use super::features::Features;
use super::hash::{self, Table};
use super::words::Symbol;
use std::sync::LazyLock;

/// The name of the weight that every head has.
const ALWAYS: &str = "always";

/// All weights.
struct Weights {
    /// The number of a feature and its weight.
    of: Table<(u16, f32)>,
    always: f32,
}

static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| {
    let mut weights = Weights {
        of: Table::default(),
        always: 0.0,
    };
    for line in include_str!("weights.tsv").lines() {
        let Some((run, Ok(weight))) = line
            .split_once('\t')
            .map(|(run, weight)| (run, weight.parse::<f32>()))
        else {
            continue;
        };
        if run == ALWAYS {
            weights.always = weight;
        } else {
            let key = run.split(' ').map(hash::word).fold(0, hash::run);
            let number = u16::try_from(weights.of.len()).unwrap_or(u16::MAX);
            weights.of.insert(key, (number, weight));
        }
    }
    weights
});

/// The key of a run.
fn key(run: &[Symbol<'_>]) -> u64 {
    run.iter().map(|symbol| symbol.hash).fold(0, hash::run)
}

/// The weight of a head: each feature once, against the root of their number, so that long heads weigh no more than short ones.
/// Below zero where there is no word to decline with.
pub(super) fn of(head: &str) -> f32 {
    let features = Features::of(head);
    if !features.could_decline() {
        return f32::MIN;
    }
    let mut seen = vec![0_u64; WEIGHTS.of.len() / 64 + 1];
    let (mut sum, mut count) = (0.0_f32, 0.0_f32);
    features.each(|run| {
        let Some(&(number, weight)) = WEIGHTS.of.get(&key(run)) else {
            return;
        };
        let bit = 1 << (number % 64);
        if let Some(word) = seen.get_mut(usize::from(number) / 64)
            && *word & bit == 0
        {
            *word |= bit;
            sum += weight;
            count += 1.0;
        }
    });
    WEIGHTS.always + sum / count.max(1.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_weight_of_its_own() {
        let lines = include_str!("weights.tsv").lines().count();
        assert_eq!(WEIGHTS.of.len() + 1, lines);
    }
}
