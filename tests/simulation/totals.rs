//! Sums over many seeds, and how many cores run them.

use std::fmt;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use roundtrip::simulation::ALL_FAULTS;
use roundtrip::simulation::Fired;

use crate::plan::Profile;
use crate::run::Outcome;

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Totals {
    pub seeds: u64,
    pub requests: u64,
    pub answered: u64,
    pub failed: u64,
    pub dropped: u64,
    pub connections: u64,
    pub turns: u64,
    pub fired: Fired,
    /// Virtual time.
    pub elapsed: Duration,
    /// Time of processors.
    pub took: Duration,
    /// Of the calm seeds alone: requests, and the time of processors they took.
    pub calm: (u64, Duration),
}

impl Totals {
    /// One more.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.requests += outcome.counts.requests;
        self.answered += outcome.counts.answered;
        self.failed += outcome.counts.failed;
        self.dropped += outcome.counts.dropped;
        self.connections += outcome.connections;
        self.turns += outcome.turns;
        self.fired.add(&outcome.fired);
        self.elapsed += outcome.elapsed;
        self.took += outcome.took;
        if Profile::of(outcome.seed) == Profile::Calm {
            self.calm.0 += outcome.counts.requests;
            self.calm.1 += outcome.took;
        }
    }

    /// Requests per second of one processor.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals {
            seeds,
            requests,
            answered,
            failed,
            dropped,
            connections,
            turns,
            ..
        } = self;
        writeln!(
            f,
            "{seeds} seeds: {requests} requests ({answered} answered, {failed} failed, {dropped} \
             dropped) on {connections} connections in {turns} turns"
        )?;
        writeln!(
            f,
            "virtual time {:.0} s; {:.0} requests per second of a processor, {:.0} in calm seeds",
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.calm.0 as f64 / self.calm.1.as_secs_f64().max(1e-9)
        )?;
        write!(f, "{} faults:", self.fired.total())?;
        for fault in ALL_FAULTS {
            write!(f, " {fault:?} {}", self.fired.of(fault))?;
        }
        Ok(())
    }
}

/// Processors that seeds run on.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Runs `work` for numbers from 0 on, on all cores, until it says no; `watch` is called now and
/// then meanwhile.
pub fn on_all_cores(work: impl Fn(u64) -> bool + Sync, mut watch: impl FnMut(Duration)) {
    let next = AtomicU64::new(0);
    let left = Mutex::new(cores());
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                while work(next.fetch_add(1, Ordering::Relaxed)) {}
                *left.lock().expect("no panic while it is held") -= 1;
            });
        }
        while *left.lock().expect("as above") > 0 {
            thread::sleep(Duration::from_millis(20));
            watch(started.elapsed());
        }
    });
}
