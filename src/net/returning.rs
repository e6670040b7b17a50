//! Memory of large receives returns to the system. glibc's allocator keeps what was freed between
//! things that live on (its threshold for mappings of their own grows with what is freed), so that a
//! server stayed as large for ever as its busiest moment.
//!
//! ```text
//!   32 MiB received into large buffers ─► 4 s ─► malloc_trim(3) ─► 8 s ─► malloc_trim(3) ─► … 1 h
//! ```
//! Who holds what was received, and until when, is not known. With pauses that double, what was held
//! for a while returns within as long again, and all of it costs a dozen calls, beside the core. Under
//! uploads that go on it is a call every 4 s for all cores together: whoever allocates waits for the
//! part of it that is about its arena.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::limits::MEMORY_RETURN_BYTES;
use crate::limits::MEMORY_RETURN_PAUSE;
use crate::limits::MEMORY_RETURN_PAUSE_MAX;
use crate::reactor::sys;
use crate::runtime::Class;
use crate::runtime::Core;
use crate::runtime::Instant;
use crate::runtime::blocking_in;
use crate::runtime::is_simulated;
use crate::runtime::read_clock;
use crate::runtime::sleep;
use crate::runtime::spawn;

/// When a core gave memory back last, in nanoseconds: it is that of all of them.
static RETURNED_AT: AtomicU64 = AtomicU64::new(0);

/// True for the core whose turn it is.
fn is_due(now: Instant) -> bool {
    let before = RETURNED_AT.load(Ordering::Relaxed);
    let is_late = now.since(Instant::from_nanoseconds(before)) >= MEMORY_RETURN_PAUSE;
    let (order, now) = (Ordering::Relaxed, now.as_nanoseconds());
    is_late
        && RETURNED_AT
            .compare_exchange(before, now, order, order)
            .is_ok()
}

/// What one core received into large buffers.
#[derive(Default)]
pub(super) struct Returning {
    /// Room of those since memory was last given back at short notice.
    bytes: Cell<usize>,
    /// True exactly while a task gives memory back.
    is_running: Cell<bool>,
}

impl Returning {
    /// A buffer of this size is received into.
    pub(super) fn note(self: &Rc<Self>, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
        if self.bytes.get() >= MEMORY_RETURN_BYTES && !self.is_running.get() {
            self.begin();
        }
    }

    #[cold]
    fn begin(self: &Rc<Self>) {
        if !is_simulated() && Core::current().is_some() {
            self.is_running.set(true);
            spawn(Rc::clone(self).give_back());
        }
    }

    async fn give_back(self: Rc<Self>) {
        let mut pause = MEMORY_RETURN_PAUSE;
        while pause <= MEMORY_RETURN_PAUSE_MAX {
            if self.bytes.get() >= MEMORY_RETURN_BYTES {
                self.bytes.set(0);
                pause = MEMORY_RETURN_PAUSE;
            }
            sleep(pause).await;
            // Where the pool is full, it is for another time.
            if is_due(read_clock()) {
                let _ = blocking_in(Class::File, sys::return_memory).await;
            }
            pause *= 2;
        }
        self.is_running.set(false);
    }
}
