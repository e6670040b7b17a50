//! The submission and completion queues, and io_uring_enter(2).

use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use io_uring::IoUring;
use io_uring::cqueue;

use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::RingCounters;
use crate::ring::queue::Wait;
use crate::ring::sys::Process;
use crate::ring::token::Token;
use crate::ring::uring::entry::entry;

/// Flags of io_uring_enter(2).
const GETEVENTS: u32 = 1;
const EXT_ARG: u32 = 1 << 3;
const REGISTERED_RING: u32 = 1 << 4;
/// Do not count the wait as iowait (since 6.15).
const NO_IOWAIT: u32 = 1 << 7;

/// The queues, shared with the kernel, and with the children of fork(2): those write nothing there.
pub(in crate::ring) struct UringQueue {
    uring: IoUring,
    process: Process,
    /// Index of the ring's own descriptor among the registered ones.
    registered: Option<u32>,
    no_iowait: bool,
}

/// `struct io_uring_getevents_arg` of io_uring_enter(2).
#[repr(C)]
struct GetEventsArg {
    sigmask: u64,
    sigmask_bytes: u32,
    min_wait_microseconds: u32,
    timespec: u64,
}

impl UringQueue {
    pub(in crate::ring) fn new(uring: IoUring) -> UringQueue {
        let registered = register_own_descriptor(&uring);
        let no_iowait = uring.params().is_feature_no_iowait();
        UringQueue {
            uring,
            process: Process::here(),
            registered,
            no_iowait,
        }
    }

    /// True when enters need no look-up of the descriptor.
    #[cfg(test)]
    pub(in crate::ring) fn has_registered_descriptor(&self) -> bool {
        self.registered.is_some()
    }

    /// Puts an operation into the submission queue; false when that is full. What a child of fork(2)
    /// wants is forgotten.
    ///
    /// # Safety
    ///
    /// As for [`Ring::push`](crate::ring::queue::Ring::push).
    pub(in crate::ring) unsafe fn try_push(&mut self, op: Op, token: Token) -> bool {
        if !self.process.is_here() {
            return true;
        }
        let entry = entry(op, token);
        // SAFETY: the caller's promise is the one that `SubmissionQueue::push` asks for.
        unsafe { self.uring.submission().push(&entry) }.is_ok()
    }

    /// True when the submission queue is not empty.
    pub(in crate::ring) fn has_queued(&mut self) -> bool {
        !self.uring.submission().is_empty()
    }

    /// Submits everything, runs the kernel's deferred work, and waits. Counts when the kernel holds
    /// completions back because their queue is full.
    #[inline]
    pub(in crate::ring) fn enter(
        &mut self,
        wait: Wait,
        counters: &mut RingCounters,
    ) -> io::Result<()> {
        if !self.process.is_here() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (to_submit, overflow) = {
            let queue = self.uring.submission();
            (queue.len() as u32, queue.cq_overflow())
        };
        if overflow {
            counters.overflows += 1;
        }
        self.call_enter(to_submit, wait)
    }

    /// Copies up to `max` completions out, in order. Returns how many, and how many are left.
    #[inline]
    pub(in crate::ring) fn completions(
        &mut self,
        into: &mut Vec<Cqe>,
        max: usize,
    ) -> (usize, usize) {
        let mut queue = self.uring.completion();
        // The length is a snapshot of the tail: what arrives from here on is for the next turn.
        let ready = queue.len();
        let taken = ready.min(max);
        for entry in queue.by_ref().take(taken) {
            into.push(from_entry(&entry));
        }
        (taken, ready - taken)
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
        if self.no_iowait {
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

impl Drop for UringQueue {
    fn drop(&mut self) {
        // A registered descriptor keeps the ring, and what it locks, until its thread ends. A child of
        // fork(2) has registered none.
        if let Some(index) = self.registered
            && self.process.is_here()
        {
            unregister_own_descriptor(&self.uring, index);
        }
    }
}

/// A completion in the form that all engines share, which is io_uring's.
fn from_entry(entry: &cqueue::Entry) -> Cqe {
    let token = Token::from_user_data(entry.user_data());
    Cqe::from_flags(token, entry.result(), entry.flags())
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
