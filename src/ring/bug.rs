//! Bugs that a simulation must find: one is planted, then seeds are tried until it shows.
//!
//! Code asks [`is_planted`] where the bug would be. Without the feature the answer is a constant.

/// Known classes of bugs of servers on io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The memory of an orphaned operation is freed before its last completion.
    SlotFreedEarly,
    /// A receive buffer is given back to the kernel twice.
    BufferReturnedTwice,
    /// What was used again is taken for what it was before.
    GenerationIgnored,
    /// The rest of a short send goes out after the response that follows it.
    SendMisattributed,
    /// A deadline that moved is not watched any more.
    DeadlineLost,
}

/// True while `bug` is planted on this thread.
#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub const fn is_planted(bug: Bug) -> bool {
    let _ = bug;
    false
}

#[cfg(feature = "simulation")]
mod planted {
    use std::cell::Cell;

    use crate::ring::bug::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// True while `bug` is planted on this thread.
    #[inline]
    pub fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants one bug on this thread in place of the last. For simulated kernels alone: the real
    /// one would write into memory that is gone.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }
}

#[cfg(feature = "simulation")]
pub use planted::is_planted;
#[cfg(feature = "simulation")]
pub use planted::plant;
