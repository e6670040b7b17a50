//! The kernel's half of a buffer ring: picks free buffers in order, and watches who has which.

use std::mem;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

use io_uring::types::BufRingEntry;

use crate::ring::buffers::BufferRing;

/// What was received is overwritten with it when its buffer returns, so that who still reads it is
/// found.
const SCRIBBLE: u8 = 0xd5;

/// Reads the ring of free buffers as the kernel does.
pub(super) struct BufferPicker {
    /// Keeps the shared memory there.
    ring: Rc<BufferRing>,
    /// The next entry to be picked.
    head: u16,
    /// The tail as it was last seen.
    tail: u16,
    /// For each buffer who has it.
    states: Vec<State>,
    /// Buffers that were filled and have not been seen to return.
    held: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The kernel.
    Free,
    /// The program: so many bytes were received.
    Filled(usize),
}

/// A free buffer.
#[derive(Clone, Copy)]
pub(super) struct Picked {
    pub(super) id: u16,
    pub(super) start: *mut u8,
    pub(super) bytes: usize,
}

impl BufferPicker {
    pub(super) fn new(ring: &Rc<BufferRing>) -> BufferPicker {
        BufferPicker {
            ring: Rc::clone(ring),
            head: 0,
            tail: 0,
            states: vec![State::Filled(0); usize::from(ring.count())],
            held: usize::from(ring.count()),
        }
    }

    /// Sees what was returned since. An error names a buffer that nobody had.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let tail = self.shared_tail();
        while self.tail != tail {
            let entry = self.entry(self.tail);
            self.tail = self.tail.wrapping_add(1);
            let state = self
                .states
                .get_mut(usize::from(entry.id))
                .ok_or_else(|| format!("buffer {} does not exist", entry.id))?;
            let State::Filled(filled) = mem::replace(state, State::Free) else {
                return Err(format!("buffer {} was returned twice", entry.id));
            };
            self.held -= 1;
            let buffer_bytes = self.ring.buffer_bytes() as usize;
            let offset = usize::from(entry.id) * buffer_bytes;
            let expected = self.ring.memory().start as usize + offset;
            if entry.start.addr() != expected || entry.bytes != buffer_bytes {
                return Err(format!(
                    "buffer {} was returned with other memory",
                    entry.id
                ));
            }
            // SAFETY: the buffer is the kernel's now, that is, ours; so much of it was filled.
            unsafe { ptr::write_bytes(entry.start, SCRIBBLE, filled) };
        }
        Ok(())
    }

    /// The buffer that would be picked next.
    pub(super) fn peek(&self) -> Option<Picked> {
        (self.head != self.tail).then(|| self.entry(self.head))
    }

    /// Picks it: so many bytes were received into it.
    pub(super) fn take(&mut self, bytes: usize) {
        let picked = self.entry(self.head);
        self.head = self.head.wrapping_add(1);
        self.states[usize::from(picked.id)] = State::Filled(bytes);
        self.held += 1;
    }

    /// Buffers that were filled and have not been returned.
    pub(super) fn out(&self) -> usize {
        let returned = self.shared_tail().wrapping_sub(self.tail);
        // More than were out: one of them twice, as the next look will find.
        self.held.saturating_sub(usize::from(returned))
    }

    /// The tail as the program has published it.
    fn shared_tail(&self) -> u16 {
        // SAFETY: the tail lies in the first entry of the mapping, aligned to 2 bytes, and is only
        // ever accessed as an atomic (`BufferRing::give`). The mapping lives as long as `ring`.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries()).cast_mut()) };
        tail.load(Ordering::Acquire)
    }

    fn entries(&self) -> *const BufRingEntry {
        ptr::with_exposed_provenance(self.ring.address() as usize)
    }

    fn entry(&self, position: u16) -> Picked {
        let index = usize::from(position & (self.ring.count() - 1));
        // SAFETY: the mapping has `count` entries (`BufferRing::new`), this one has been published
        // by the tail, and its writer does not touch it again before it was picked.
        let entry = unsafe { &*self.entries().add(index) };
        Picked {
            id: entry.bid(),
            start: ptr::with_exposed_provenance_mut(entry.addr() as usize),
            bytes: entry.len() as usize,
        }
    }
}
