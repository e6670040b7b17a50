//! Receive buffers that the kernel picks from: a ring shared with it, and leases on filled ones.
//!
//! ```text
//!    give (tail) ──► [ ring of free buffers ] ──► kernel picks one, fills it
//!        ▲                                               │
//!        └────── drop ◄────── Lease (bytes) ◄── completion
//! ```

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Deref;
#[cfg(feature = "simulation")]
use std::ops::Range;
use std::ptr;
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

use io_uring::types::BufRingEntry;

use crate::ring::bug;
use crate::ring::bug::Bug;
use crate::ring::guard::Guard;

/// Buffers of one size, owned in turn by the kernel and by leases.
pub struct BufferRing {
    /// The ring of free buffers: page-aligned, `count` entries, shared with the kernel.
    entries: Mapping,
    /// The memory of all buffers, mapped lazily.
    memory: Mapping,
    count: u16,
    buffer_bytes: u32,
    /// Equals the tail that the kernel sees; only we write it.
    tail: Cell<u16>,
    /// Buffers that are not in the ring as far as we know: leases alive.
    leased: Cell<u16>,
    guard: Guard,
}

impl BufferRing {
    /// Maps the memory and offers every buffer. `count` is a power of two.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> io::Result<BufferRing> {
        assert!(
            count.is_power_of_two(),
            "{count} buffers are no power of two"
        );
        let entries = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Mapping::new(usize::from(count) * buffer_bytes as usize)?;
        let ring = BufferRing {
            entries,
            memory,
            count,
            buffer_bytes,
            tail: Cell::new(0),
            leased: Cell::new(count),
            guard: Guard::new(count, buffer_bytes),
        };
        for id in 0..count {
            ring.give(id);
        }
        assert_eq!(ring.leased.get(), 0);
        Ok(ring)
    }

    /// Address of the shared ring, for its registration.
    pub(super) fn address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    /// The memory of all buffers: buffer `id` lies `id * buffer_bytes` bytes after the start.
    #[cfg(feature = "simulation")]
    pub(super) fn memory(&self) -> Range<u64> {
        let start = self.memory.start.as_ptr() as u64;
        start..start + self.memory.bytes as u64
    }

    /// Bytes of one buffer.
    pub(super) fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// The buffer that was given back as the `position`th, if so many were: for an engine in this
    /// process, on this thread.
    pub(super) fn offered(&self, position: u16) -> Option<u16> {
        if position == self.tail.get() {
            return None;
        }
        let slot = usize::from(position & (self.count - 1));
        let base = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `slot < count` entries fit the mapping (`new`), and this thread alone writes them.
        Some(unsafe { (*base.add(slot)).bid() })
    }

    /// How many buffers there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Leases alive. Zero between turns.
    pub fn leased(&self) -> u16 {
        self.leased.get()
    }

    /// The bytes that the kernel wrote into buffer `id`.
    pub(super) fn lease(self: &Rc<Self>, id: u16, bytes: u32) -> Lease {
        assert!(
            id < self.count,
            "the kernel named buffer {id} of {}",
            self.count
        );
        assert!(
            bytes <= self.buffer_bytes,
            "{bytes} bytes in a buffer of {}",
            self.buffer_bytes
        );
        self.leased.set(self.leased.get() + 1);
        assert!(self.leased.get() <= self.count, "more leases than buffers");
        // SAFETY: the kernel has just given this buffer up; nobody writes there until `give`.
        let whole = unsafe { slice::from_raw_parts(self.start(id), self.buffer_bytes as usize) };
        self.guard.lend(id, whole, bytes as usize);
        Lease {
            ring: Rc::clone(self),
            id,
            bytes,
        }
    }

    /// Address of buffer `id`.
    pub(super) fn start(&self, id: u16) -> *mut u8 {
        debug_assert!(id < self.count, "buffer {id} of {}", self.count);
        let offset = usize::from(id) * self.buffer_bytes as usize;
        // SAFETY: `id < count` (`new`, and checked in `lease`): the buffer lies in the mapping.
        unsafe { self.memory.start.as_ptr().add(offset) }
    }

    /// Takes buffer `id` back from its lease.
    fn take_back(&self, id: u16) {
        // SAFETY: its one lease is being dropped, and the kernel does not have it before `give`.
        let whole =
            unsafe { slice::from_raw_parts_mut(self.start(id), self.buffer_bytes as usize) };
        self.guard.offer(id, whole);
        self.give(id);
    }

    /// Gives buffer `id` back.
    fn give(&self, id: u16) {
        self.offer(id);
        self.leased.set(self.leased.get() - 1);
    }

    /// Offers buffer `id` to the kernel.
    fn offer(&self, id: u16) {
        let tail = self.tail.get();
        let slot = usize::from(tail & (self.count - 1));
        let base = self.entries.start.as_ptr().cast::<BufRingEntry>();
        let address = self.start(id) as u64;
        // SAFETY: `slot < count` entries fit the mapping (`new`), which lives as long as `self`.
        // The kernel reads an entry only once the tail has passed it, and it has not: at most
        // `count` buffers exist, each is given only when its one lease is dropped.
        let entry = unsafe { &mut *base.add(slot) };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        let tail = tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry of the mapping (io_uring_register(2)), is
        // aligned to 2 bytes there, and is only ever accessed as an atomic by us.
        let shared = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        // Release: the entry is written before the kernel sees the new tail.
        shared.store(tail, Ordering::Release);
        self.tail.set(tail);
    }
}

/// Bytes received into one buffer of the ring. Dropped, the buffer returns to the kernel.
pub struct Lease {
    ring: Rc<BufferRing>,
    id: u16,
    bytes: u32,
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `bytes <= buffer_bytes` (checked in `lease`), so the range lies in the mapping.
        // The kernel picked this buffer and does not touch it until `give`, which only `drop`
        // calls.
        unsafe { slice::from_raw_parts(self.ring.start(self.id), self.bytes as usize) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ring.take_back(self.id);
        if bug::is_planted(Bug::BufferReturnedTwice) && self.bytes % 7 == 3 {
            self.ring.offer(self.id);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({}, {} bytes)", self.id, self.bytes)
    }
}

/// Anonymous memory from mmap(2), zeroed and page-aligned.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Mapping> {
        // SAFETY: a fresh private anonymous mapping touches no memory that anybody has.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap(2) never maps page zero unasked");
        Ok(Mapping { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly what `new` mapped, and nobody refers to it any more: leases
        // hold the `BufferRing` that holds this, and the reactor leaks the ring when operations
        // are still in flight at its end.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        assert_eq!(result, 0, "munmap(2) of our own mapping failed");
    }
}
