//! What happens when: the clock of a simulated kernel, and what it has still to do.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::ring::clock::Instant;
use crate::ring::sim::network::EndpointId;
use crate::ring::sim::network::OperationRef;
use crate::ring::sim::peer::PeerId;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// Bytes under way to a socket are there.
    Arrive { endpoint: EndpointId, bytes: u32 },
    /// The other side of a socket will send nothing more.
    End { endpoint: EndpointId },
    /// The connection of a socket is reset.
    Reset { endpoint: EndpointId },
    /// A connection attempt reaches its address, the n-th time.
    Dial { endpoint: EndpointId, attempt: u32 },
    /// A connection attempt has failed.
    DialFailed { endpoint: EndpointId, errno: i32 },
    /// An operation that was held back goes on.
    Work(OperationRef),
    /// A peer acts.
    Peer(PeerId),
    /// Work that may block is done.
    Job(u32),
}

/// The clock and the list of events.
pub(super) struct Agenda {
    now: Instant,
    events: BinaryHeap<Entry>,
    /// Events at one time happen in the order in which they were added.
    sequence: u64,
}

struct Entry {
    at: Instant,
    sequence: u64,
    event: Event,
}

impl Agenda {
    pub(super) fn new(now: Instant) -> Agenda {
        Agenda {
            now,
            events: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Moves the clock; never back.
    pub(super) fn advance(&mut self, to: Instant) {
        assert!(to >= self.now, "time runs forward");
        self.now = to;
    }

    pub(super) fn add(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.events.push(Entry {
            at,
            sequence: self.sequence,
            event,
        });
    }

    /// What the list holds on the heap, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.events.capacity() * size_of::<Entry>()
    }

    /// When the next event happens.
    pub(super) fn next(&self) -> Option<Instant> {
        self.events.peek().map(|entry| entry.at)
    }

    /// Takes the next event if its time has come.
    pub(super) fn pop_due(&mut self) -> Option<Event> {
        if self.next()? > self.now {
            return None;
        }
        self.events.pop().map(|entry| entry.event)
    }
}

impl Ord for Entry {
    /// The earliest is the greatest: the heap gives it first.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
