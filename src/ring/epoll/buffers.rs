//! The free receive buffers, as the kernel sees them on io_uring: who gives a buffer back knows no
//! other way.

use std::rc::Rc;

use crate::ring::buffers::BufferRing;

/// The engine's end of the ring of free buffers. What came back last is taken first: it is in the
/// processor's cache.
pub(super) struct FreeBuffers {
    ring: Rc<BufferRing>,
    /// The next entry of the ring to be looked at.
    head: u16,
    free: Vec<u16>,
}

/// A buffer to receive into.
#[derive(Clone, Copy)]
pub(super) struct Buffer {
    pub(super) id: u16,
    pub(super) start: *mut u8,
    pub(super) bytes: u32,
}

impl FreeBuffers {
    pub(super) fn new(ring: &Rc<BufferRing>) -> FreeBuffers {
        FreeBuffers {
            ring: Rc::clone(ring),
            head: 0,
            free: Vec::with_capacity(usize::from(ring.count())),
        }
    }

    /// Takes over what was given back since.
    pub(super) fn look(&mut self) {
        while let Some(id) = self.ring.offered(self.head) {
            self.head = self.head.wrapping_add(1);
            self.free.push(id);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// The buffer to receive into next.
    pub(super) fn peek(&self) -> Option<Buffer> {
        self.free.last().map(|&id| Buffer {
            id,
            start: self.ring.start(id),
            bytes: self.ring.buffer_bytes(),
        })
    }

    /// The buffer of [`FreeBuffers::peek`] was filled.
    pub(super) fn take(&mut self) {
        self.free.pop().expect("a buffer that was shown");
    }
}
