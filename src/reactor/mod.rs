//! Operations in flight, deadlines, one turn. Knows no protocol.
//!
//! ```text
//!   submit ─► Slots ─► ring ═► kernel          Wheel  deadlines of connections (coarse, many)
//!                                │             TimerHeap  sleeps (precise, few)
//!   owner ◄── Routed ◄── complete┘
//! ```
//!
//! [`Reactor::turn`] is the only way to the kernel's completions: submit all, wait, copy them out.
//! They are dispatched afterwards, by the runtime, when nothing here is borrowed.

pub mod heap;
pub mod operation;
pub mod outcome;
pub mod slots;
pub mod wheel;

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::limits::COMPLETIONS_PER_TURN;
use crate::limits::DRAIN_TIMEOUT;
use crate::limits::WAIT_MAX;
use crate::reactor::heap::HeapId;
use crate::reactor::heap::TimerHeap;
use crate::reactor::operation::Operation;
use crate::reactor::slots::OperationId;
use crate::reactor::slots::Routed;
use crate::reactor::slots::Slots;
use crate::reactor::wheel::Wheel;
use crate::ring::Instant;
use crate::ring::clock;
use crate::ring::diagnosis::SetupError;
use crate::ring::queue::Cqe;
use crate::ring::queue::Ring;
use crate::ring::queue::Wait;
use crate::ring::setup::Features;
use crate::ring::setup::RingOptions;
use crate::ring::sys::Socket;

pub use crate::ring::Errno;
pub use crate::ring::bug;
pub use crate::ring::sys;

/// A registered owner of operations and timers: its place in the runtime's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(pub u8);

/// What one core counted since it began. Most counts mean the same on every engine; these do not:
///
/// | | io_uring | epoll |
/// |---|---|---|
/// | `enters` | calls of io_uring_enter(2) | turns, with one call of epoll_wait(2) each |
/// | `system_calls` | the same | epoll_wait(2), epoll_ctl(2), and each accept, receive, send, read that was tried |
/// | `registrations` | 0: the kernel arms what is submitted | descriptors given to epoll_ctl(2) |
/// | `completions` | taken out of the kernel's queue | of calls that did not block, in the same form |
/// | `spills` | submissions over the kernel's queue | 0: there is always room |
/// | `overflows` | turns in which the kernel held completions back | 0 |
///
/// Neither engine counts what is sent between two turns (send(2), sendfile(2)), nor calls that are no
/// operation (socket(2), close(2), opening files): they are the same on both.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// What drives the core: `io_uring`, `epoll`, or `simulated`; empty where none does.
    pub engine: &'static str,
    /// Turns: each enters the kernel once.
    pub enters: u64,
    /// System calls of the engine; divided by requests, what one costs.
    pub system_calls: u64,
    /// Descriptors that were registered for readiness.
    pub registrations: u64,
    /// Completions taken; divided by `enters`, the batch size.
    pub completions: u64,
    /// Submissions that waited because the queue was full.
    pub spills: u64,
    /// Turns that began with an overflown completion queue.
    pub overflows: u64,
    /// Receives that found no free buffer (ENOBUFS).
    pub starved: u64,
    /// Standing operations that had to be armed again.
    pub rearms: u64,
    /// Operations that outlived their owner.
    pub orphans: u64,
    /// Completions for a slot that has been used again.
    pub stale: u64,
    /// Operations in flight now.
    pub in_flight: u64,
    /// Panics of code of users that were caught on the core's thread: callbacks, tasks, bodies,
    /// wakers, drops.
    pub panics: u64,
}

/// What the upper layers count here, since it belongs beside the rest.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A receive found no free buffer.
    Starved,
    /// A standing operation was armed again.
    Rearmed,
}

/// The operations and deadlines of one core.
pub struct Reactor {
    ring: Ring,
    slots: Slots,
    wheel: Wheel,
    heap: TimerHeap,
    counters: Counters,
    /// Completions that were over the budget of the last turn.
    left_over: usize,
}

impl Reactor {
    /// Sets up a ring for the calling thread.
    ///
    /// # Errors
    ///
    /// Those of [`Ring::new`].
    pub fn new(options: RingOptions, now: Instant) -> Result<Reactor, SetupError> {
        Ok(Reactor {
            ring: Ring::new(options)?,
            slots: Slots::new(),
            wheel: Wheel::new(now),
            heap: TimerHeap::new(),
            counters: Counters::default(),
            left_over: 0,
        })
    }

    /// What this kernel was found to do.
    pub fn features(&self) -> Features {
        self.ring.features()
    }

    /// True when the sends of a turn share one call.
    pub fn batches_sends(&self) -> bool {
        self.ring.batches_sends()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let ring = self.ring.counters();
        Counters {
            engine: self.ring.engine_name(),
            enters: ring.enters,
            system_calls: ring.system_calls,
            registrations: ring.registrations,
            completions: ring.completions,
            spills: ring.spills,
            overflows: ring.overflows,
            in_flight: self.slots.in_flight() as u64,
            ..self.counters
        }
    }

    /// Counts what only a layer above can see.
    pub fn count(&mut self, event: Event) {
        match event {
            Event::Starved => self.counters.starved += 1,
            Event::Rearmed => self.counters.rearms += 1,
        }
    }

    /// Queues an operation for the end of this turn. Never fails. `socket` keeps `fd` open until
    /// the last completion; without it, the owner does.
    pub fn submit(
        &mut self,
        fd: RawFd,
        socket: Option<Rc<Socket>>,
        operation: Operation,
        owner: (OwnerId, u64),
    ) -> OperationId {
        self.slots
            .submit(&mut self.ring, fd, socket, operation, owner)
    }

    /// Asks for the end of an operation; its last completion still comes.
    pub fn cancel(&mut self, id: OperationId) {
        self.slots.cancel(&mut self.ring, id);
    }

    /// Its owner is gone: cancel it, and drop what comes back.
    pub fn orphan(&mut self, id: OperationId) {
        if self.slots.orphan(&mut self.ring, id) {
            self.counters.orphans += 1;
            self.slots.cancel(&mut self.ring, id);
        }
    }

    /// Operations whose last completion has not come.
    pub fn in_flight(&self) -> usize {
        self.slots.in_flight()
    }

    /// Operations that the simulated kernel knows of, and those that wait to be submitted.
    #[cfg(feature = "simulation")]
    pub fn known(&self) -> usize {
        self.ring.known()
    }

    /// Receive buffers that are not with the kernel; zero between turns.
    pub fn leased(&self) -> u16 {
        self.ring.buffers().leased()
    }

    /// The coarse timers, for connections.
    pub fn wheel(&mut self) -> &mut Wheel {
        &mut self.wheel
    }

    /// Adds a precise timer.
    pub fn sleep(&mut self, at: Instant, owner: (OwnerId, u64)) -> HeapId {
        self.heap.insert(at, owner.0, owner.1)
    }

    /// Takes a precise timer out.
    pub fn cancel_sleep(&mut self, id: HeapId) {
        self.heap.remove(id);
    }

    /// Collects every timer that has passed.
    pub fn expire(&mut self, now: Instant, expired: &mut Vec<(OwnerId, u64)>) {
        while let Some(timer) = self.heap.pop(now) {
            expired.push(timer);
        }
        self.wheel.expire(now, expired);
    }

    /// Submits everything, waits (not at all if `ready` says that there is work, or if completions
    /// are left over), and copies completions out.
    pub fn turn(&mut self, now: Instant, ready: bool, cqes: &mut Vec<Cqe>) -> io::Result<()> {
        let wait = if ready || self.left_over > 0 {
            Wait::Zero
        } else {
            self.wait(now)
        };
        self.ring.enter(wait)?;
        self.left_over = self.ring.completions(cqes, COMPLETIONS_PER_TURN);
        Ok(())
    }

    /// True when something waits for the next turn to be submitted.
    pub fn has_queued(&mut self) -> bool {
        self.ring.has_queued()
    }

    /// Finds the owner of a completion.
    pub fn complete(&mut self, cqe: &Cqe) -> Routed {
        let routed = self.slots.complete(&mut self.ring, cqe);
        if matches!(routed, Routed::Stale) {
            self.counters.stale += 1;
        }
        routed
    }

    fn wait(&self, now: Instant) -> Wait {
        let next = match (self.wheel.next(), self.heap.next()) {
            (Some(a), Some(b)) => a.min(b),
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => return Wait::Forever,
        };
        if next <= now {
            return Wait::Zero;
        }
        // The work of this turn took time as well: it must not make the deadline late.
        let left = next - clock::now();
        if left.is_zero() {
            Wait::Zero
        } else {
            Wait::For(left.min(WAIT_MAX))
        }
    }

    /// Ends everything in flight and waits for it, at most [`DRAIN_TIMEOUT`]. What came back is in
    /// `ended`, for the caller to drop when nothing is borrowed. False if the kernel still holds
    /// memory of ours: the caller then leaks the reactor, since closing a ring does not stop the
    /// kernel from writing.
    #[must_use]
    pub fn drain(&mut self, ended: &mut Vec<Routed>) -> bool {
        let deadline = clock::now() + DRAIN_TIMEOUT;
        let mut cqes = Vec::new();
        if self.slots.in_flight() > 0 {
            self.slots.cancel_all(&mut self.ring);
        }
        while self.slots.in_flight() > 0 {
            let now = clock::now();
            if now >= deadline || self.ring.enter(Wait::For(deadline - now)).is_err() {
                return false;
            }
            cqes.clear();
            self.ring.completions(&mut cqes, usize::MAX);
            for cqe in &cqes {
                ended.push(self.slots.complete(&mut self.ring, cqe));
            }
        }
        true
    }
}

impl Drop for Reactor {
    /// Usually nothing is in flight any more. When a panic went past the orderly end, memory that
    /// the kernel holds must outlive us all the same.
    fn drop(&mut self) {
        let mut ended = Vec::new();
        if !self.drain(&mut ended) {
            // The slots stay by themselves.
            mem::forget(Rc::clone(self.ring.buffers()));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn dropped_with_a_receive_in_flight_it_ends_that_first() {
        let (ours, theirs) = sys::socket_pair().unwrap();
        let socket = Rc::new(ours);
        let mut reactor = Reactor::new(RingOptions::SMALL, clock::now()).unwrap();
        let operation = Operation::RecvOwned(BytesMut::with_capacity(64));
        let kept = Some(Rc::clone(&socket));
        reactor.submit(socket.raw(), kept, operation, (OwnerId(0), 0));
        reactor.turn(clock::now(), true, &mut Vec::new()).unwrap();
        drop(reactor);
        assert_eq!(Rc::strong_count(&socket), 1);
        // Nobody receives any more: what is sent now stays in the socket.
        sys::send_now(theirs.raw(), b"x").unwrap();
        let mut ring = Ring::new(RingOptions::SMALL).unwrap();
        let mut slots = Slots::new();
        let operation = Operation::RecvOwned(BytesMut::with_capacity(64));
        slots.submit(&mut ring, socket.raw(), None, operation, (OwnerId(0), 0));
        ring.enter(Wait::Zero).unwrap();
        let mut cqes = Vec::new();
        ring.completions(&mut cqes, 1);
        assert!(matches!(
            slots.complete(&mut ring, &cqes[0]),
            Routed::Owner(_, _, completion) if completion.result == Ok(1)
        ));
    }
}
