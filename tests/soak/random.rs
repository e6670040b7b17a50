//! Random numbers from a seed (SplitMix64): the same mix in every run, though not the same timing.

/// A source of numbers.
pub struct Random(u64);

impl Random {
    /// A source of its own for every actor of every round.
    pub fn new(seed: u64, round: u64, actor: u64) -> Random {
        let mut random = Random(seed);
        random.0 ^= random.next().wrapping_add(round);
        random.0 ^= random.next().wrapping_add(actor);
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Up to `max`, small ones as likely as large ones: every number of digits counts the same.
    pub fn spread(&mut self, max: usize) -> usize {
        let bits = usize::BITS - max.leading_zeros();
        let bound = 1 << self.below(bits as usize + 1);
        self.below(bound).min(max)
    }
}
