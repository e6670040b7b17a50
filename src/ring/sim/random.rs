//! Numbers from one seed. The same on every machine and in every version of this crate, so that a
//! seed stays a regression test.

use std::ops::Range;
use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood 2014): one addition and one mix per number.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Random {
        // Neighbouring seeds begin far apart.
        let mut random = Random(seed);
        random.0 = random.number();
        random
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below zero");
        // The high half of a product: as good as even for the small bounds used here.
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// A number of a range that is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// An index below `count`, which is not zero.
    pub fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// A duration of a range that is not empty, down to the nanosecond.
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        let nanoseconds = range.start.as_nanos() as u64..range.end.as_nanos() as u64;
        Duration::from_nanos(self.within(nanoseconds))
    }

    /// One of a list that is not empty.
    pub fn choose<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// True with this probability, from 0 to 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits: what a double holds exactly.
        probability > 0.0 && ((self.number() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// Another stream of numbers, which this one only starts.
    pub fn fork(&mut self) -> Random {
        Random::new(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        let mut random = Random::new(7);
        let first = [random.number(), random.number(), random.number()];
        let again = {
            let mut random = Random::new(7);
            [random.number(), random.number(), random.number()]
        };
        assert_eq!(first, again);
        assert_ne!(Random::new(8).number(), first[0]);
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            seen[random.index(10)] += 1;
        }
        assert!(
            seen.iter().all(|count| (800..1200).contains(count)),
            "{seen:?}"
        );
        assert!(!random.chance(0.0) && random.chance(1.0));
    }
}
