//! Which process this is: a child of fork(2) has a copy of all memory, the same descriptors and
//! mappings shared with the kernel, and one thread.
//!
//! ```text
//!   made by a Process ── fork(2) ──► child: is_here() is false, and what was made stays untouched
//! ```

use std::ptr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use crate::ring::sys::event;

/// How often this process is the child of one that used this crate.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// In the child, on its one thread, before fork(3) returns there: calls that are async-signal-safe
/// only. No pid is compared: two namespaces may have the same.
extern "C" fn on_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    event::forget_signals();
}

/// The process that made something. Children of fork(3) are another; those of a bare clone(2)
/// cannot be told from their parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// The calling process.
    pub fn here() -> Process {
        static IS_WATCHED: AtomicBool = AtomicBool::new(false);
        // Two threads at once may both do it: then a fork counts twice, which is as good.
        if !IS_WATCHED.load(Ordering::Acquire) {
            // SAFETY: the function lives as long as this crate's code, and is async-signal-safe.
            let failed = unsafe { libc::pthread_atfork(None, None, Some(on_fork)) };
            assert_eq!(failed, 0, "no memory for a list of one entry");
            IS_WATCHED.store(true, Ordering::Release);
        }
        Process(FORKS.load(Ordering::Relaxed))
    }

    /// True in this very process, false in a child that was forked from it.
    #[inline]
    pub fn is_here(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

impl Default for Process {
    fn default() -> Process {
        Process::here()
    }
}

/// A value that each process makes for itself: what a child finds of its parent's may be locked by a
/// thread that it does not have. Nobody waits for anybody here, so that no fork is at a bad time.
pub struct PerProcess<T> {
    made: AtomicPtr<(Process, T)>,
    make: fn() -> T,
}

impl<T: Send + Sync> PerProcess<T> {
    /// Made by this function, on first use.
    pub const fn new(make: fn() -> T) -> PerProcess<T> {
        PerProcess {
            made: AtomicPtr::new(ptr::null_mut()),
            make,
        }
    }

    /// The value of the calling process.
    pub fn get(&'static self) -> &'static T {
        loop {
            let found = self.made.load(Ordering::Acquire);
            // SAFETY: null, or a box that was leaked below: it lives for ever, and is only read.
            if let Some((process, value)) = unsafe { found.as_ref() }
                && process.is_here()
            {
                return value;
            }
            let fresh = Box::into_raw(Box::new((Process::here(), (self.make)())));
            let order = (Ordering::AcqRel, Ordering::Relaxed);
            let stored = self.made.compare_exchange(found, fresh, order.0, order.1);
            if stored.is_err() {
                // SAFETY: it was made by `into_raw` above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_one_process_share_the_value() {
        static VALUE: PerProcess<AtomicU32> = PerProcess::new(|| AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| VALUE.get().fetch_add(1, Ordering::Relaxed));
            }
        });
        assert_eq!(VALUE.get().load(Ordering::Relaxed), 8);
        assert!(Process::here().is_here());
    }
}
