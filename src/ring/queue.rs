//! The ring itself: operations go in, one `io_uring_enter` a turn, completions come out.
//!
//! ```text
//!   push ─► spill ─► SQ ──┐
//!                         ├── enter (submit all, get events, wait)
//!   completions ◄── CQ ◄──┘
//! ```

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::ring::buffers::BufferRing;
use crate::ring::buffers::Lease;
use crate::ring::engine::Engine;
use crate::ring::epoll::EpollQueue;
use crate::ring::op::Op;
use crate::ring::setup::Features;
#[cfg(feature = "simulation")]
use crate::ring::sim::queue::SimulatedQueue;
#[cfg(feature = "simulation")]
use crate::ring::sim::queue::count_operations;
use crate::ring::token::Token;
use crate::ring::uring::UringQueue;

/// How long one enter may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Zero,
    /// Until something completes, or for this long.
    For(Duration),
    /// Until something completes.
    Forever,
}

/// include/uapi/linux/io_uring.h: IORING_CQE_F_BUFFER, a buffer was picked.
const FLAG_BUFFER: u32 = 1;
/// IORING_CQE_F_MORE: further completions of this operation follow.
const FLAG_MORE: u32 = 1 << 1;
/// IORING_CQE_BUFFER_SHIFT: the buffer stands in the upper half.
const BUFFER_SHIFT: u32 = 16;

/// One completion, copied out of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Cqe {
    /// Whose it is.
    pub token: Token,
    /// Bytes, a descriptor, or a negated errno.
    pub result: i32,
    flags: u32,
}

impl Cqe {
    /// A completion of an engine that has no entries.
    pub(super) fn new(token: Token, result: i32, more: bool, buffer: Option<u16>) -> Cqe {
        let picked = buffer.map_or(0, |id| FLAG_BUFFER | u32::from(id) << BUFFER_SHIFT);
        let flags = picked | if more { FLAG_MORE } else { 0 };
        Cqe::from_flags(token, result, flags)
    }

    /// A completion with the flags of io_uring.
    #[inline]
    pub(super) fn from_flags(token: Token, result: i32, flags: u32) -> Cqe {
        Cqe {
            token,
            result,
            flags,
        }
    }

    /// True exactly when further completions of this operation follow.
    pub fn more(&self) -> bool {
        self.flags & FLAG_MORE != 0
    }

    /// The buffer that the kernel picked, whatever the result.
    pub fn buffer(&self) -> Option<u16> {
        (self.flags & FLAG_BUFFER != 0).then_some((self.flags >> BUFFER_SHIFT) as u16)
    }
}

/// What the ring counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingCounters {
    /// Calls of io_uring_enter(2).
    pub enters: u64,
    /// Completions taken out.
    pub completions: u64,
    /// Submissions that waited because the queue was full.
    pub spills: u64,
    /// Turns in which the kernel held completions back because the queue was full.
    pub overflows: u64,
    /// Calls of epoll_ctl(2) that registered a descriptor.
    pub registrations: u64,
    /// System calls of the engine: on io_uring its enters, on epoll all calls on behalf of operations.
    pub system_calls: u64,
}

/// Which engine it is.
// A ring per thread: the size of the smaller variant does not matter.
#[allow(clippy::large_enum_variant)]
pub(super) enum Backend {
    /// The kernel's queues.
    Uring(UringQueue),
    /// Readiness, and calls that do not block.
    Epoll(EpollQueue),
    /// Those of the simulated kernel.
    #[cfg(feature = "simulation")]
    Simulated(SimulatedQueue),
}

/// One io_uring of one thread.
pub struct Ring {
    // Dropped first of the fields: the kernel forgets the buffers before their memory goes.
    backend: Backend,
    buffers: Rc<BufferRing>,
    /// Submissions that did not fit, in order.
    spill: VecDeque<(Op, Token)>,
    features: Features,
    counters: RingCounters,
}

impl Ring {
    pub(super) fn assemble(backend: Backend, buffers: Rc<BufferRing>, features: Features) -> Ring {
        Ring {
            backend,
            buffers,
            spill: VecDeque::new(),
            features,
            counters: RingCounters::default(),
        }
    }

    /// What this kernel was found to do.
    pub fn features(&self) -> Features {
        self.features
    }

    /// True when the sends of a turn share one call: that of the enter.
    pub fn batches_sends(&self) -> bool {
        !matches!(self.backend, Backend::Epoll(_))
    }

    /// What was counted so far.
    pub fn counters(&self) -> RingCounters {
        let mut counters = self.counters;
        if !matches!(self.backend, Backend::Epoll(_)) {
            counters.system_calls = counters.enters;
        }
        counters
    }

    /// The engine's name: `io_uring`, `epoll`, or `simulated`.
    pub fn engine_name(&self) -> &'static str {
        match self.backend {
            Backend::Uring(_) => Engine::IoUring.name(),
            Backend::Epoll(_) => Engine::Epoll.name(),
            #[cfg(feature = "simulation")]
            Backend::Simulated(_) => "simulated",
        }
    }

    /// True when enters need no look-up of the descriptor.
    #[cfg(test)]
    pub(super) fn has_registered_descriptor(&self) -> bool {
        match &self.backend {
            Backend::Uring(queue) => queue.has_registered_descriptor(),
            Backend::Epoll(_) => false,
            #[cfg(feature = "simulation")]
            Backend::Simulated(_) => false,
        }
    }

    /// Operations that a simulated kernel knows of, and those that wait to be submitted.
    #[cfg(feature = "simulation")]
    pub fn known(&self) -> usize {
        match &self.backend {
            Backend::Uring(_) | Backend::Epoll(_) => 0,
            Backend::Simulated(queue) => queue.known() + count_operations(&self.spill),
        }
    }

    /// The receive buffers.
    pub fn buffers(&self) -> &Rc<BufferRing> {
        &self.buffers
    }

    /// Queues an operation for the next [`Ring::enter`]. Never fails: what does not fit waits.
    ///
    /// # Safety
    ///
    /// All memory that `op` points to stays valid, and is not touched by anybody else, until the
    /// last completion of `token` has been taken out.
    pub unsafe fn push(&mut self, op: Op, token: Token) {
        // What waits goes first.
        // SAFETY: the caller's promise.
        if !self.spill.is_empty() || !unsafe { self.backend.try_push(op, token) } {
            self.spill.push_back((op, token));
            self.counters.spills += 1;
        }
    }

    /// True when operations wait for the next [`Ring::enter`].
    pub fn has_queued(&mut self) -> bool {
        if !self.spill.is_empty() {
            return true;
        }
        match &mut self.backend {
            Backend::Uring(queue) => queue.has_queued(),
            Backend::Epoll(queue) => queue.has_queued(),
            #[cfg(feature = "simulation")]
            Backend::Simulated(queue) => queue.has_queued(),
        }
    }

    /// Submits everything that fits, runs the kernel's deferred work, and waits.
    ///
    /// Always asks for events: with DEFER_TASKRUN nothing completes otherwise. Interruptions,
    /// time-outs and a kernel that wants its completions taken first are not errors: the caller
    /// takes completions and comes back.
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let wait = if self.spill.is_empty() || self.unspill() {
            wait
        } else {
            Wait::Zero
        };
        self.counters.enters += 1;
        let entered = match &mut self.backend {
            Backend::Uring(queue) => queue.enter(wait, &mut self.counters),
            Backend::Epoll(queue) => queue.enter(wait, &mut self.counters),
            #[cfg(feature = "simulation")]
            Backend::Simulated(queue) => queue.enter(wait, &mut self.counters),
        };
        match entered {
            Ok(()) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Copies up to `max` completions out, in order. Returns how many are left.
    #[inline]
    pub fn completions(&mut self, into: &mut Vec<Cqe>, max: usize) -> usize {
        let (taken, left) = match &mut self.backend {
            Backend::Uring(queue) => queue.completions(into, max),
            Backend::Epoll(queue) => queue.completions(into, max),
            #[cfg(feature = "simulation")]
            Backend::Simulated(queue) => {
                let before = into.len();
                let left = queue.completions(into, max);
                (into.len() - before, left)
            }
        };
        self.counters.completions += taken as u64;
        left
    }

    /// The memory of an operation goes back to its owner: a simulated kernel checks that it is
    /// done with it.
    #[inline]
    pub fn release(&mut self, token: Token) {
        let _ = token;
        match &mut self.backend {
            Backend::Uring(_) | Backend::Epoll(_) => {}
            #[cfg(feature = "simulation")]
            Backend::Simulated(queue) => queue.release(token),
        }
    }

    /// The received bytes of a completion, if it used a buffer of the ring.
    pub fn lease(&self, cqe: &Cqe) -> Option<Lease> {
        let id = cqe.buffer()?;
        Some(
            self.buffers
                .lease(id, u32::try_from(cqe.result).unwrap_or(0)),
        )
    }

    /// Queues what did not fit before; true when that is all of it.
    #[cold]
    fn unspill(&mut self) -> bool {
        while let Some((op, token)) = self.spill.front() {
            // SAFETY: `push` was promised this until the last completion, and this operation has not
            // been submitted yet.
            if !unsafe { self.backend.try_push(*op, *token) } {
                return false;
            }
            self.spill.pop_front();
        }
        true
    }
}

impl Backend {
    /// Puts an operation into the submission queue; false when that is full.
    ///
    /// # Safety
    ///
    /// As for [`Ring::push`].
    unsafe fn try_push(&mut self, op: Op, token: Token) -> bool {
        match self {
            // SAFETY: the caller's promise.
            Backend::Uring(queue) => unsafe { queue.try_push(op, token) },
            // SAFETY: the caller's promise.
            Backend::Epoll(queue) => unsafe {
                queue.push(op, token);
                true
            },
            #[cfg(feature = "simulation")]
            Backend::Simulated(queue) => queue.try_push(op, token),
        }
    }
}
