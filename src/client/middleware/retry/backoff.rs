//! How long to wait before another attempt: exponential, with full jitter.
//!
//! ```text
//!   attempt     1        2        3        4
//!   wait     0..first 0..2·first 0..4·first …  ..max      each a random part
//! ```

use std::cell::Cell;
use std::time::Duration;

use crate::runtime::Instant;

/// Draws waits. The numbers need be no secret, only different among clients: the clock when the
/// first one is drawn, in nanoseconds, is their seed.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    /// 0 before the first number was drawn.
    state: Cell<u64>,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Backoff {
        Backoff {
            first,
            max,
            state: Cell::new(0),
        }
    }

    /// The wait behind this attempt, of which the first is 1.
    pub(super) fn delay(&self, attempt: u32, now: Instant) -> Duration {
        let doubled = 1u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
        let most = self.first.saturating_mul(doubled).min(self.max);
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        // The high half of a product is below `most`, and as good as even.
        let part = (u128::from(self.number(now)) * u128::from(most)) >> 64;
        Duration::from_nanos(part as u64)
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn number(&self, now: Instant) -> u64 {
        let state = match self.state.get() {
            0 => now.as_nanoseconds(),
            state => state,
        };
        let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn waits_are_spread_over_twice_as_much_each_time() {
        let backoff = Backoff::new(100 * MILLISECOND, 1_000 * MILLISECOND);
        let now = Instant::from_nanoseconds(7);
        for (attempt, most) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (4, 800),
            (5, 1_000),
            (99, 1_000),
        ] {
            let draws: Vec<Duration> = (0..1_000).map(|_| backoff.delay(attempt, now)).collect();
            let (least, largest) = (draws.iter().min().unwrap(), draws.iter().max().unwrap());
            assert!(*largest < most * MILLISECOND, "{attempt}: {largest:?}");
            assert!(
                *largest > most * MILLISECOND * 9 / 10,
                "{attempt}: {largest:?}"
            );
            assert!(*least < most * MILLISECOND / 10, "{attempt}: {least:?}");
        }
    }

    #[test]
    fn the_seed_is_the_clock() {
        let draw = |seed: u64| {
            let backoff = Backoff::new(MILLISECOND, MILLISECOND);
            let now = Instant::from_nanoseconds(seed);
            [1, 1, 1].map(|attempt| backoff.delay(attempt, now))
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn no_delay_is_possible() {
        let backoff = Backoff::new(Duration::ZERO, Duration::MAX);
        assert_eq!(backoff.delay(9, Instant::default()), Duration::ZERO);
        let backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert!(backoff.delay(9, Instant::default()) > Duration::ZERO);
    }
}
