//! Choices that depend on the input alone.

/// A generator whose seed is the input.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Seeded by an input (FNV-1a).
    pub fn of(data: &[u8]) -> Self {
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// The next number (SplitMix64).
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, or 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % (n.max(1) as u64)) as usize
    }

    /// The bytes, cut at a few places.
    pub fn cut<'a>(&mut self, data: &'a [u8]) -> Vec<&'a [u8]> {
        let mut places: Vec<usize> = (0..self.below(9))
            .map(|_| self.below(data.len() + 1))
            .collect();
        places.push(data.len());
        places.sort_unstable();
        let mut from = 0;
        places
            .into_iter()
            .map(|to| &data[std::mem::replace(&mut from, to)..to])
            .collect()
    }
}
