//! Walker's alias method: a draw from any discrete distribution for one random number and one look-up.

use rand::Rng;

/// Weights prepared for constant-time draws.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alias {
    keep: Vec<f32>,
    other: Vec<u32>,
}

impl Alias {
    /// Negative and non-finite weights count as zero; when nothing is left, all are equal.
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut scaled: Vec<f64> = weights
            .into_iter()
            .map(|weight| {
                if weight.is_finite() {
                    weight.max(0.0)
                } else {
                    0.0
                }
            })
            .collect();
        let count = scaled.len();
        let sum: f64 = scaled.iter().sum();
        if sum > 0.0 {
            scaled
                .iter_mut()
                .for_each(|weight| *weight *= count as f64 / sum);
        } else {
            scaled.fill(1.0);
        }
        let mut table = Self {
            keep: vec![1.0; count],
            other: (0..count as u32).collect(),
        };
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..count).partition(|&index| scaled[index] < 1.0);
        while let (Some(&low), Some(&high)) = (small.last(), large.last()) {
            small.pop();
            table.keep[low] = scaled[low] as f32;
            table.other[low] = high as u32;
            scaled[high] -= 1.0 - scaled[low];
            if scaled[high] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        // What rounding leaves over in `small` never had anything to give away, unless its weight is zero.
        for index in small {
            if scaled[index] <= 0.0 {
                table.keep[index] = 0.0;
                table.other[index] = large.first().map_or(index as u32, |&high| high as u32);
            }
        }
        table
    }

    /// An index into the weights; zero for an empty table.
    pub(crate) fn pick(&self, rng: &mut impl Rng) -> usize {
        if self.keep.is_empty() {
            return 0;
        }
        // One 64-bit draw serves both: the high half picks the column, the low half tosses the coin.
        let bits: u64 = rng.random();
        let column = (((bits >> 32) * self.keep.len() as u64) >> 32) as usize;
        let coin = (bits as u32 >> 8) as f32 / (1 << 24) as f32;
        if coin < self.keep[column] {
            column
        } else {
            self.other[column] as usize
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Alias;
    use rand::{SeedableRng, rngs::SmallRng};

    #[test]
    fn draws_follow_the_weights() {
        let table = Alias::new([1.0, 0.0, 3.0, f64::NAN, 6.0]);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut seen = [0_u32; 5];
        (0..100_000).for_each(|_| seen[table.pick(&mut rng)] += 1);
        assert_eq!((seen[1], seen[3]), (0, 0));
        for (index, share) in [(0, 0.1), (2, 0.3), (4, 0.6)] {
            assert!(
                (f64::from(seen[index]) / 100_000.0 - share).abs() < 0.01,
                "{seen:?}"
            );
        }
    }

    #[test]
    fn nothing_to_choose_from() {
        let mut rng = SmallRng::seed_from_u64(1);
        assert_eq!(Alias::new([]).pick(&mut rng), 0);
        assert!(Alias::new([0.0, 0.0]).pick(&mut rng) < 2);
    }
}
