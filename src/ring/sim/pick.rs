//! The kernel's half of a buffer ring: picks free buffers in order, and watches who has which.

use std::ptr;
use std::rc::Rc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

use io_uring::types::BufRingEntry;

use crate::ring::buffers::BufferRing;

/// What a returned buffer is overwritten with, so that who still reads it is found.
const SCRIBBLE: u8 = 0xd5;
/// How much of it; what was received begins there.
const SCRIBBLE_BYTES: usize = 128;

/// Reads the ring of free buffers as the kernel does.
pub(super) struct BufferPicker {
    /// Keeps the shared memory there.
    ring: Rc<BufferRing>,
    /// The next entry to be picked.
    head: u16,
    /// The tail as it was last seen.
    tail: u16,
    /// True for each buffer that the kernel has.
    is_free: Vec<bool>,
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
            is_free: vec![false; usize::from(ring.count())],
        }
    }

    /// Sees what was returned since. An error names a buffer that nobody had.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let base = self.entries();
        // SAFETY: the tail lies in the first entry of the mapping, aligned to 2 bytes, and is only
        // ever accessed as an atomic (`BufferRing::give`). The mapping lives as long as `ring`.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        let tail = tail.load(Ordering::Acquire);
        while self.tail != tail {
            let entry = self.entry(self.tail);
            self.tail = self.tail.wrapping_add(1);
            let is_free = self
                .is_free
                .get_mut(usize::from(entry.id))
                .ok_or_else(|| format!("buffer {} does not exist", entry.id))?;
            if std::mem::replace(is_free, true) {
                return Err(format!("buffer {} was returned twice", entry.id));
            }
            let buffer_bytes = self.ring.buffer_bytes() as usize;
            let offset = usize::from(entry.id) * buffer_bytes;
            let expected = self.ring.memory().start as usize + offset;
            if entry.start.addr() != expected || entry.bytes != buffer_bytes {
                return Err(format!(
                    "buffer {} was returned with other memory",
                    entry.id
                ));
            }
            // SAFETY: the buffer is the kernel's now, that is, ours; it has at least these bytes.
            unsafe { ptr::write_bytes(entry.start, SCRIBBLE, entry.bytes.min(SCRIBBLE_BYTES)) };
        }
        Ok(())
    }

    /// The buffer that would be picked next.
    pub(super) fn peek(&self) -> Option<Picked> {
        (self.head != self.tail).then(|| self.entry(self.head))
    }

    /// Picks it.
    pub(super) fn take(&mut self) {
        let picked = self.entry(self.head);
        self.head = self.head.wrapping_add(1);
        self.is_free[usize::from(picked.id)] = false;
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
