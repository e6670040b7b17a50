//! Blocking work of a simulation: no threads, a queue with the delays of the simulated kernel.

use std::cell::Cell;

use crate::error::Error;
use crate::limits::BLOCKING_QUEUE_MAX;
use crate::ring::sim::calls;
use crate::runtime::blocking::run;
use crate::runtime::blocking::too_many;
use crate::runtime::current;

thread_local! {
    /// Jobs of this thread's simulation that have not begun.
    static WAITING: Cell<usize> = const { Cell::new(0) };
}

/// Counts one job until it begins, or is dropped with its simulation: on the same thread, since a
/// simulation has no other.
struct Waiting(());

impl Waiting {
    fn new() -> Waiting {
        WAITING.set(WAITING.get() + 1);
        Waiting(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.set(WAITING.get() - 1);
    }
}

/// True when a simulation runs on this thread.
pub(super) fn is_wanted() -> bool {
    calls::is_installed()
}

/// Runs `job` later, from within the simulated kernel, as on a thread without a core.
///
/// # Errors
///
/// As for the pool: too many wait already.
pub(super) fn submit(job: calls::Job) -> Result<(), Error> {
    if WAITING.get() >= BLOCKING_QUEUE_MAX {
        return Err(too_many());
    }
    let waiting = Waiting::new();
    let deferred = calls::defer(Box::new(move || {
        drop(waiting);
        current::hidden(|| run(job));
    }));
    assert!(deferred.is_ok(), "the simulation ended during a call");
    Ok(())
}
