//! What is known of the descriptors that operations have waited for.
//!
//! ```text
//!   number ─► by_number ─► Descriptor ◄─ index, if the generation is right ◄─ data of an event
//! ```

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::hash::Hasher;
use std::os::fd::RawFd;

use crate::ring::epoll::chunks::Chunks;
use crate::ring::epoll::operations::List;
use crate::ring::epoll::operations::Side;

/// One open descriptor, until it is closed or leaves this thread.
pub(super) struct Descriptor {
    pub(super) fd: RawFd,
    generation: u32,
    pub(super) kind: Kind,
    pub(super) is_registered: bool,
    /// It is registered for room to send as well.
    pub(super) tells_room: bool,
    /// An event said that there is something to receive, and no receive has found it empty since.
    pub(super) is_readable: bool,
    /// An event said that there is room, and no send has been tried since.
    pub(super) is_writable: bool,
    /// Its last event told of nothing but data: no end, no error, no urgent byte behind it.
    pub(super) has_data_alone: bool,
    /// A listener was shut down: nobody will come, and accept4(2) of a Unix listener does not say so.
    pub(super) is_hung_up: bool,
    /// It is in the queue of those that are served in this turn or in the next.
    pub(super) is_queued: bool,
    pub(super) receivers: List,
    pub(super) senders: List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A connection of which nobody has asked.
    Unknown,
    /// A connection over TCP.
    Tcp,
    /// Another connection: a Unix socket.
    Other,
    /// The counter of an eventfd(2).
    Counter,
    /// A listener that this process alone accepts from.
    Listener,
    /// A listener that did not block when it came to us: others may accept from it.
    SharedListener,
}

impl Kind {
    pub(super) fn is_listener(self) -> bool {
        matches!(self, Kind::Listener | Kind::SharedListener)
    }
}

impl Descriptor {
    pub(super) fn list(&mut self, side: Side) -> &mut List {
        match side {
            Side::In => &mut self.receivers,
            Side::Out => &mut self.senders,
        }
    }

    /// True when something that waits can be tried.
    pub(super) fn is_ready(&self) -> bool {
        self.is_readable && !self.receivers.is_empty()
            || self.is_writable && !self.senders.is_empty()
    }
}

/// The descriptors of one engine.
#[derive(Default)]
pub(super) struct Descriptors {
    entries: Chunks<Descriptor>,
    free: Vec<u32>,
    by_number: HashMap<RawFd, u32, BuildHasherDefault<NumberHasher>>,
}

impl Descriptors {
    pub(super) fn find(&self, fd: RawFd) -> Option<u32> {
        self.by_number.get(&fd).copied()
    }

    pub(super) fn get(&mut self, index: u32) -> &mut Descriptor {
        &mut self.entries[index]
    }

    /// What an event carries.
    pub(super) fn data(&self, index: u32) -> u64 {
        let generation = self.entries[index].generation;
        u64::from(generation) << 32 | u64::from(index)
    }

    /// The descriptor of an event; `None` for one that was closed since.
    pub(super) fn of_event(&self, data: u64) -> Option<u32> {
        let index = data as u32;
        let entry = self.entries.get(index)?;
        let is_same = entry.generation == (data >> 32) as u32 && entry.fd >= 0;
        is_same.then_some(index)
    }

    pub(super) fn insert(&mut self, fd: RawFd, kind: Kind) -> u32 {
        let index = self.free.pop().unwrap_or(self.entries.len());
        let generation = self.entries.get(index).map_or(0, |entry| entry.generation);
        let entry = Descriptor {
            fd,
            generation,
            kind,
            is_registered: false,
            tells_room: false,
            is_readable: false,
            is_writable: false,
            has_data_alone: false,
            is_hung_up: false,
            is_queued: false,
            receivers: List::EMPTY,
            senders: List::EMPTY,
        };
        match index == self.entries.len() {
            true => self.entries.push(entry),
            false => self.entries[index] = entry,
        }
        let before = self.by_number.insert(fd, index);
        assert!(before.is_none(), "descriptor {fd} is known");
        index
    }

    /// Forgets a descriptor. Events that are under way for it find nobody.
    pub(super) fn remove(&mut self, index: u32) {
        let entry = &mut self.entries[index];
        self.by_number.remove(&entry.fd);
        entry.fd = -1;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
    }
}

/// Spreads numbers that are small and dense by one multiplication.
#[derive(Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        panic!("only descriptors are hashed")
    }

    fn write_i32(&mut self, number: i32) {
        self.0 = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
