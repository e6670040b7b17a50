//! The clocks: monotonic time for deadlines, wall seconds for dates.

use std::ops::Add;
use std::ops::Sub;
use std::time::Duration;

use nix::time::ClockId;
use nix::time::clock_gettime;

#[cfg(feature = "simulation")]
use crate::ring::sim::calls;

/// A point of monotonic time in nanoseconds (CLOCK_MONOTONIC). Comparable within one machine's
/// uptime; wide enough for 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// Later than every deadline.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The instant `nanoseconds` after the clock's own beginning; for tests and simulations.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Instant {
        Instant(nanoseconds)
    }

    /// Nanoseconds since the clock's own beginning.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// So much earlier, at the earliest the clock's own beginning.
    pub const fn before(self, duration: Duration) -> Instant {
        let nanoseconds = duration.as_nanos();
        if nanoseconds >= self.0 as u128 {
            return Instant(0);
        }
        Instant(self.0 - nanoseconds as u64)
    }

    /// Time since `earlier`, zero if that lies ahead.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at [`Instant::NEVER`].
    fn add(self, duration: Duration) -> Instant {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanoseconds))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

/// Reads the monotonic clock. Called once per turn; everything else uses that reading.
pub fn now() -> Instant {
    simulated!(calls::now());
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC is always there");
    let seconds = u64::try_from(time.tv_sec()).expect("uptime is not negative");
    let nanoseconds = u64::try_from(time.tv_nsec()).expect("nanoseconds are not negative");
    Instant(seconds * 1_000_000_000 + nanoseconds)
}

/// Seconds since 1970 by the wall clock, coarse (CLOCK_REALTIME_COARSE), for dates.
pub fn wall_seconds() -> u64 {
    simulated!(calls::wall_seconds());
    let time = clock_gettime(ClockId::CLOCK_REALTIME_COARSE).expect("the wall clock is there");
    u64::try_from(time.tv_sec()).unwrap_or(0)
}
