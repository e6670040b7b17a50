//! Numbers that others cannot guess.

use std::hash::BuildHasher;
use std::hash::RandomState;

#[cfg(feature = "simulation")]
use crate::ring::sim::calls;

/// A number that others cannot guess, without a system call: a keyed hash (SipHash), whose key each
/// thread has from the kernel. For boundaries and delays, not for keys. Of a simulated kernel it
/// follows from the seed, beside all else that is drawn from it.
pub fn random_number() -> u64 {
    simulated!(calls::random_number());
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let numbers: std::collections::HashSet<u64> = (0..1_000).map(|_| random_number()).collect();
        assert_eq!(numbers.len(), 1_000);
    }

    #[cfg(feature = "simulation")]
    #[test]
    fn simulated_ones_follow_from_the_seed() {
        use crate::ring::sim;

        let draw = |seed| {
            let installed = sim::install(sim::Options::new(seed));
            let numbers = [random_number(), random_number()];
            drop(installed);
            numbers
        };
        let (one, other) = (draw(1), draw(2));
        assert_eq!(one, draw(1));
        assert!(one[0] != one[1] && one != other);
    }
}
