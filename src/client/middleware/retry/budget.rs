//! How many retries there may be: a bucket of tokens, as in Finagle.
//!
//! ```text
//!   each request: + percent/100 ──┐
//!   each second:  + per_second ───┴──► tokens, up to 100 ──► each retry: − 1
//! ```

use std::cell::Cell;

use crate::limits::RETRY_BUDGET_SAVED_MAX;
use crate::runtime::Instant;

/// A token, in the unit that is counted: small enough for a percent, and for a nanosecond's part of
/// one per second.
const TOKEN: u128 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Budget {
    percent: u32,
    per_second: u32,
    tokens: Cell<u128>,
    /// Until when seconds were counted; `None` before the first request.
    since: Cell<Option<Instant>>,
}

impl Budget {
    /// Starts with the tokens of ten seconds, so that the first requests may be repeated too.
    pub(super) fn new(percent: u32, per_second: u32) -> Budget {
        let tokens = u128::from(per_second) * 10 * TOKEN;
        Budget {
            percent,
            per_second,
            tokens: Cell::new(tokens.min(most())),
            since: Cell::new(None),
        }
    }

    /// A request begins.
    pub(super) fn deposit(&self, now: Instant) {
        self.add(now, u128::from(self.percent) * (TOKEN / 100));
    }

    /// A retry is wanted: true when there may be one.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        self.add(now, 0);
        let left = self.tokens.get().checked_sub(TOKEN);
        if let Some(left) = left {
            self.tokens.set(left);
        }
        left.is_some()
    }

    /// Adds this, and what the time since the last call brought.
    fn add(&self, now: Instant, more: u128) {
        let elapsed = self.since.get().map_or(0, |since| (now - since).as_nanos());
        self.since.set(Some(now));
        let tokens = self.tokens.get() + elapsed * u128::from(self.per_second) + more;
        self.tokens.set(tokens.min(most()));
    }
}

fn most() -> u128 {
    u128::from(RETRY_BUDGET_SAVED_MAX) * TOKEN
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::default() + Duration::from_millis(milliseconds)
    }

    /// Retries until there may be none.
    fn drain(budget: &Budget, now: Instant) -> u32 {
        let mut count = 0;
        while budget.withdraw(now) {
            count += 1;
            assert!(count <= 1_000);
        }
        count
    }

    #[test]
    fn a_part_of_the_requests() {
        let budget = Budget::new(20, 0);
        assert_eq!(drain(&budget, at(0)), 0);
        for _ in 0..49 {
            budget.deposit(at(0));
        }
        assert_eq!(drain(&budget, at(0)), 9);
        budget.deposit(at(0));
        assert_eq!(drain(&budget, at(9_999_999)), 1);
    }

    #[test]
    fn and_some_per_second() {
        let budget = Budget::new(0, 2);
        assert_eq!(drain(&budget, at(0)), 20);
        assert_eq!(drain(&budget, at(499)), 0);
        assert_eq!(drain(&budget, at(500)), 1);
        assert_eq!(drain(&budget, at(3_500)), 6);
    }

    #[test]
    fn what_is_saved_is_bounded() {
        let budget = Budget::new(100, 1_000);
        for _ in 0..10_000 {
            budget.deposit(at(0));
        }
        assert_eq!(drain(&budget, at(1_000_000_000)), RETRY_BUDGET_SAVED_MAX);
        let none = Budget::new(0, 0);
        none.deposit(at(0));
        assert_eq!(drain(&none, at(1_000_000)), 0);
    }
}
