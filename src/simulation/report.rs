//! How a simulation went.

use std::time::Duration;

use crate::ring::sim::Fired;
use crate::runtime::Counters;

/// What came of a run.
#[derive(Clone, Debug)]
#[must_use = "it says whether anything was wrong"]
pub struct Report<T> {
    pub(super) seed: u64,
    pub(super) output: Option<T>,
    pub(super) failure: Option<String>,
    pub(super) fired: Fired,
    pub(super) elapsed: Duration,
    pub(super) counters: Counters,
}

impl<T> Report<T> {
    /// What the program returned.
    ///
    /// # Panics
    ///
    /// Something was wrong; the text names the seed that shows it again.
    pub fn unwrap(self) -> T {
        if let Some(failure) = self.failure {
            panic!("seed {}: {failure}", self.seed);
        }
        self.output.expect("a program without a failure has ended")
    }

    /// What the program returned, unless it did not come to that.
    pub fn output(&self) -> Option<&T> {
        self.output.as_ref()
    }

    /// What was wrong: the first of all.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How often each fault happened.
    pub fn fired(&self) -> &Fired {
        &self.fired
    }

    /// How much virtual time has passed.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What the core counted up to the last turn of the program.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
