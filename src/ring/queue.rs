//! The ring itself: operations go in, one `io_uring_enter` a turn, completions come out.
//!
//! ```text
//!   push ─► spill ─► SQ ──┐
//!                         ├── enter (submit all, get events, wait)
//!   completions ◄── CQ ◄──┘
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use io_uring::IoUring;
use io_uring::cqueue;
use io_uring::squeue::Entry;

use crate::ring::buffers::BufferRing;
use crate::ring::buffers::Lease;
use crate::ring::op::Op;
use crate::ring::setup::Features;
use crate::ring::token::Token;

/// Flags of io_uring_enter(2).
const GETEVENTS: u32 = 1;
const EXT_ARG: u32 = 1 << 3;
const REGISTERED_RING: u32 = 1 << 4;
/// Do not count the wait as iowait (since 6.15).
const NO_IOWAIT: u32 = 1 << 7;

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
    /// True exactly when further completions of this operation follow.
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The buffer that the kernel picked, whatever the result.
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
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
}

/// One io_uring of one thread.
pub struct Ring {
    // Dropped first of the fields: the kernel forgets the buffers before their memory goes.
    uring: IoUring,
    buffers: Rc<BufferRing>,
    /// Index of the ring's own descriptor among the registered ones.
    registered: Option<u32>,
    /// Submissions that did not fit, in order.
    spill: VecDeque<Entry>,
    features: Features,
    counters: RingCounters,
}

/// `struct io_uring_getevents_arg` of io_uring_enter(2).
#[repr(C)]
struct GetEventsArg {
    sigmask: u64,
    sigmask_bytes: u32,
    min_wait_microseconds: u32,
    timespec: u64,
}

impl Ring {
    pub(super) fn assemble(uring: IoUring, buffers: Rc<BufferRing>, features: Features) -> Ring {
        let registered = register_own_descriptor(&uring);
        Ring {
            uring,
            buffers,
            registered,
            spill: VecDeque::new(),
            features,
            counters: RingCounters::default(),
        }
    }

    pub(super) fn set_features(&mut self, features: Features) {
        self.features = features;
    }

    /// What this kernel was found to do.
    pub fn features(&self) -> Features {
        self.features
    }

    /// What was counted so far.
    pub fn counters(&self) -> RingCounters {
        self.counters
    }

    /// True when enters need no look-up of the descriptor.
    #[cfg(test)]
    pub(super) fn has_registered_descriptor(&self) -> bool {
        self.registered.is_some()
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
        let entry = op.entry(token);
        if !self.spill.is_empty() {
            self.spill.push_back(entry);
            self.counters.spills += 1;
            return;
        }
        // SAFETY: the caller's promise is the one that `SubmissionQueue::push` asks for.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        if pushed.is_err() {
            self.spill.push_back(entry);
            self.counters.spills += 1;
        }
    }

    /// Submits everything that fits, runs the kernel's deferred work, and waits.
    ///
    /// Always asks for events: with DEFER_TASKRUN nothing completes otherwise. Interruptions,
    /// time-outs and a kernel that wants its completions taken first are not errors: the caller
    /// takes completions and comes back.
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.unspill();
        let wait = if self.spill.is_empty() {
            wait
        } else {
            Wait::Zero
        };
        let (to_submit, overflow) = {
            let queue = self.uring.submission();
            (queue.len() as u32, queue.cq_overflow())
        };
        self.counters.enters += 1;
        self.counters.overflows += u64::from(overflow);
        match self.call_enter(to_submit, wait) {
            Ok(()) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Copies up to `max` completions out, in order. Returns how many are left.
    pub fn completions(&mut self, into: &mut Vec<Cqe>, max: usize) -> usize {
        let mut queue = self.uring.completion();
        // The length is a snapshot of the tail: what arrives from here on is for the next turn.
        let ready = queue.len();
        for entry in queue.by_ref().take(ready.min(max)) {
            into.push(Cqe {
                token: Token::from_user_data(entry.user_data()),
                result: entry.result(),
                flags: entry.flags(),
            });
        }
        let taken = ready.min(max);
        self.counters.completions += taken as u64;
        ready - taken
    }

    /// The received bytes of a completion, if it used a buffer of the ring.
    pub fn lease(&self, cqe: &Cqe) -> Option<Lease> {
        let id = cqe.buffer()?;
        Some(
            self.buffers
                .lease(id, u32::try_from(cqe.result).unwrap_or(0)),
        )
    }

    fn unspill(&mut self) {
        if self.spill.is_empty() {
            return;
        }
        let mut queue = self.uring.submission();
        while let Some(entry) = self.spill.front() {
            // SAFETY: `push` was promised what the queue asks for, until the last completion, and
            // this entry has not been submitted yet.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.spill.pop_front();
        }
    }

    fn call_enter(&self, to_submit: u32, wait: Wait) -> io::Result<()> {
        let timespec;
        let mut arg = GetEventsArg {
            sigmask: 0,
            sigmask_bytes: 0,
            min_wait_microseconds: 0,
            timespec: 0,
        };
        let mut flags = GETEVENTS | EXT_ARG;
        if self.features.no_iowait {
            flags |= NO_IOWAIT;
        }
        let min_complete = match wait {
            Wait::Zero => 0,
            Wait::Forever => 1,
            Wait::For(duration) => {
                timespec = [duration.as_secs(), u64::from(duration.subsec_nanos())];
                arg.timespec = &raw const timespec as u64;
                1
            }
        };
        let fd = match self.registered {
            Some(index) => {
                flags |= REGISTERED_RING;
                index as libc::c_int
            }
            None => self.uring.as_raw_fd(),
        };
        // SAFETY: the descriptor is this ring's; `arg` and the timespec behind it (two 64-bit
        // fields, as the kernel wants it on every architecture) outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                to_submit,
                min_complete,
                flags,
                &raw const arg,
                size_of::<GetEventsArg>(),
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // A registered descriptor keeps the ring, and what it locks, until its thread ends.
        if let Some(index) = self.registered {
            unregister_own_descriptor(&self.uring, index);
        }
    }
}

/// `struct io_uring_rsrc_update` of io_uring_register(2).
#[repr(C)]
struct ResourceUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// IORING_REGISTER_RING_FDS (since 5.18) saves a look-up per enter; doing without is no error.
fn register_own_descriptor(uring: &IoUring) -> Option<u32> {
    const REGISTER_RING_FDS: libc::c_uint = 20;
    let mut update = ResourceUpdate {
        offset: u32::MAX,
        reserved: 0,
        data: uring.as_raw_fd() as u64,
    };
    // SAFETY: one update structure, alive for the call, is what this request reads and writes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            uring.as_raw_fd(),
            REGISTER_RING_FDS,
            ptr::from_mut(&mut update),
            1,
        )
    };
    (result == 1).then_some(update.offset)
}

/// IORING_UNREGISTER_RING_FDS (since 5.18), on the thread that registered.
fn unregister_own_descriptor(uring: &IoUring, index: u32) {
    const UNREGISTER_RING_FDS: libc::c_uint = 21;
    let mut update = ResourceUpdate {
        offset: index,
        reserved: 0,
        data: 0,
    };
    // SAFETY: one update structure, alive for the call, is what this request reads.
    let _ = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            uring.as_raw_fd(),
            UNREGISTER_RING_FDS,
            ptr::from_mut(&mut update),
            1,
        )
    };
}
