//! The connections of one core: what each owns, and where it stands.
//!
//! ```text
//!   receive:  Idle ─► Once / Standing / Body ─► (Canceling) ─► Idle … Starved … Ended
//!   send:     Idle ─► InFlight ─► Idle …                                  Broken
//!   close:    Open ─► Flushing ─► Lingering ─► Waiting ─► gone
//! ```

use std::time::Duration;

use crate::net::protocol::Io;
use crate::net::protocol::Protocol;
use crate::reactor::Errno;
use crate::reactor::slots::OperationId;
use crate::reactor::sys::Socket;
use crate::reactor::wheel::TimerId;
use crate::runtime::Instant;

/// Connections per chunk; chunks are added, never moved or copied.
const CHUNK: usize = 256;
const NONE: u32 = u32::MAX;
/// The highest bit of a packed key tells listeners from connections.
const GENERATION_MASK: u32 = u32::MAX >> 1;

/// Names one connection; stale once it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnectionKey {
    /// As one number, for completions, timers and wakers.
    pub(super) fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(super) fn unpack(key: u64) -> ConnectionKey {
        ConnectionKey {
            index: key as u32,
            generation: (key >> 32) as u32,
        }
    }
}

/// Where receiving stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// Nothing is in flight.
    Idle,
    /// One receive into a shared buffer.
    Once(OperationId),
    /// A standing receive into shared buffers.
    Standing(OperationId),
    /// A standing receive that was asked to end, and may still deliver.
    Canceling,
    /// One receive into a buffer of its own.
    Body(OperationId),
    /// No shared buffer was free; queued to be armed again.
    Starved,
    /// The peer has ended its side.
    Ended,
}

impl Receiving {
    fn is_in_flight(self) -> bool {
        matches!(
            self,
            Receiving::Once(_) | Receiving::Standing(_) | Receiving::Canceling | Receiving::Body(_)
        )
    }
}

/// Where sending stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// Nothing is in flight.
    Idle,
    /// One send, since the given time, less what the peer lagged behind before.
    InFlight(Instant),
    /// The peer takes nothing more; output is dropped. What it sent before may still be read, as
    /// long as the write time-out allows from the last sign of life.
    Broken { errno: Errno, since: Instant },
}

impl Sending {
    /// Since when something has been waited for that the write time-out limits.
    pub(super) fn waits_since(self) -> Option<Instant> {
        match self {
            Sending::Idle => None,
            Sending::InFlight(since) | Sending::Broken { since, .. } => Some(since),
        }
    }
}

/// Where closing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Not closing.
    Open,
    /// What is left is being sent; what arrives is dropped.
    Flushing,
    /// Our side has ended; what arrives is dropped until the peer ends too, the deadline, or so
    /// many bytes.
    Lingering { deadline: Instant, bytes: usize },
    /// Both sides are shut down; operations in flight are on their way back.
    Waiting,
}

/// No look was taken at the send in flight.
pub(super) const NOT_LOOKED: u32 = u32::MAX;

/// When a send that takes long is looked at: what the peer acknowledges from then on is progress.
/// The kernel itself tells of room only when a third of the send buffer is free, which may be more
/// than a slow reader takes in the whole time.
pub(super) fn look_at(since: Instant, write_timeout: Duration) -> Instant {
    since + (write_timeout - write_timeout / 4)
}

/// What a connection drives, out of its place while user code may run.
pub(super) struct Endpoint {
    pub(super) protocol: Box<dyn Protocol>,
    pub(super) io: Io,
}

/// One connection.
pub(super) struct Connection {
    pub(super) socket: Socket,
    pub(super) timer: TimerId,
    pub(super) recv: Receiving,
    pub(super) send: Sending,
    pub(super) close: Closing,
    /// How far the peer has lagged behind the least rate of reading, in the output that is sent.
    pub(super) lag_ms: u32,
    /// Bytes that the peer had not acknowledged when the send in flight was looked at, or
    /// [`NOT_LOOKED`].
    pub(super) unacknowledged: u32,
    /// True while a part of a file is being read for the output.
    pub(super) reading: bool,
    /// Reads of the file in front that have failed for the moment, in a row.
    pub(super) failed_reads: u8,
    /// True exactly when the socket was told not to block, for sendfile(2).
    pub(super) nonblocking: bool,
    /// True exactly when it is in the list of connections to be flushed.
    pub(super) dirty: bool,
    /// True after the first receive: later ones wait for readiness first.
    pub(super) has_received: bool,
    /// When the timer fires: not later than the deadline in force.
    pub(super) armed: Instant,
    /// What ended the connection, for `on_closed`.
    pub(super) cause: Option<Errno>,
    pub(super) endpoint: Option<Box<Endpoint>>,
}

impl Connection {
    /// True when the end of a send changes nothing: it was the last, and nobody asked to be told.
    /// The timer needs no look: while a send is in flight it is not set later than without.
    pub(super) fn is_at_rest(&self) -> bool {
        self.close == Closing::Open
            && self
                .endpoint
                .as_ref()
                .is_some_and(|endpoint| endpoint.io.is_at_rest())
    }

    /// When something has to happen at the latest; `None` while its protocol is called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let io = &self.endpoint.as_ref()?.io;
        let deadline = match self.close {
            Closing::Open => io.deadline,
            Closing::Flushing | Closing::Waiting => Instant::NEVER,
            Closing::Lingering { deadline, .. } => deadline,
        };
        Some(match self.send.waits_since() {
            Some(since) if self.unacknowledged == NOT_LOOKED => {
                deadline.min(look_at(since, io.write_timeout))
            }
            Some(since) => deadline.min(since + io.write_timeout),
            None => deadline,
        })
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.recv.is_in_flight() || matches!(self.send, Sending::InFlight(_)) || self.reading
    }
}

enum Entry {
    Free { next: u32 },
    Used(Connection),
}

struct Place {
    generation: u32,
    entry: Entry,
}

/// Connections in chunks, found by index and generation.
pub(super) struct Table {
    chunks: Vec<Box<[Place]>>,
    free: u32,
    count: usize,
}

impl Table {
    pub(super) fn new() -> Table {
        Table {
            chunks: Vec::new(),
            free: NONE,
            count: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Puts in what `make` returns for the key it gets.
    pub(super) fn insert(
        &mut self,
        make: impl FnOnce(ConnectionKey) -> Connection,
    ) -> ConnectionKey {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let place = self.place_mut(index);
        let key = ConnectionKey {
            index,
            generation: place.generation,
        };
        let Entry::Free { next } = place.entry else {
            panic!("a used place is free")
        };
        place.entry = Entry::Used(make(key));
        self.free = next;
        self.count += 1;
        key
    }

    pub(super) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let chunk = self.chunks.get_mut(key.index as usize / CHUNK)?;
        let place = &mut chunk[key.index as usize % CHUNK];
        match &mut place.entry {
            Entry::Used(connection) if place.generation == key.generation => Some(connection),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, key: ConnectionKey) -> Connection {
        let next = self.free;
        let place = self.place_mut(key.index);
        assert_eq!(
            place.generation, key.generation,
            "a connection is removed twice"
        );
        let Entry::Used(connection) = std::mem::replace(&mut place.entry, Entry::Free { next })
        else {
            panic!("a free place is removed")
        };
        place.generation = (place.generation + 1) & GENERATION_MASK;
        self.free = key.index;
        self.count -= 1;
        connection
    }

    /// The keys of all connections.
    pub(super) fn keys(&self) -> Vec<ConnectionKey> {
        let mut keys = Vec::with_capacity(self.count);
        for (chunk_index, chunk) in self.chunks.iter().enumerate() {
            for (offset, place) in chunk.iter().enumerate() {
                if matches!(place.entry, Entry::Used(_)) {
                    let index = (chunk_index * CHUNK + offset) as u32;
                    keys.push(ConnectionKey {
                        index,
                        generation: place.generation,
                    });
                }
            }
        }
        keys
    }

    fn grow(&mut self) {
        let first = u32::try_from(self.chunks.len() * CHUNK).expect("fewer than 2^32 connections");
        let end = first + CHUNK as u32;
        let chunk = (first..end)
            .map(|index| Place {
                generation: 0,
                entry: Entry::Free {
                    next: if index + 1 == end { NONE } else { index + 1 },
                },
            })
            .collect();
        self.chunks.push(chunk);
        self.free = first;
    }

    fn place_mut(&mut self, index: u32) -> &mut Place {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}
