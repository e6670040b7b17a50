//! Makes a ring: its sizes, and the engine that drives it.

#[cfg(feature = "simulation")]
use std::rc::Rc;

use crate::limits::CQ_ENTRIES;
use crate::limits::CQ_ENTRIES_MIN;
use crate::limits::RECV_BUFFER_BYTES;
use crate::limits::RECV_BUFFER_BYTES_SETTABLE_MAX;
use crate::limits::RECV_BUFFERS;
use crate::limits::RECV_BUFFERS_SETTABLE_MAX;
use crate::limits::SMALL_CQ_ENTRIES;
use crate::limits::SMALL_RECV_BUFFERS;
use crate::limits::SMALL_SQ_ENTRIES;
use crate::limits::SQ_ENTRIES;
#[cfg(feature = "simulation")]
use crate::ring::buffers::BufferRing;
use crate::ring::diagnosis::SetupError;
use crate::ring::engine;
use crate::ring::engine::Engine;
#[cfg(feature = "simulation")]
use crate::ring::queue::Backend;
use crate::ring::queue::Ring;
#[cfg(feature = "simulation")]
use crate::ring::sim::calls;
#[cfg(feature = "simulation")]
use crate::ring::sim::queue::SimulatedQueue;
use crate::ring::sys;

/// Sizes of a ring, and its engine.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Entries of io_uring's submission queue, at least 1.
    pub sq_entries: u32,
    /// Entries of io_uring's completion queue, no less than of the other; halved while memory may not be
    /// locked.
    pub cq_entries: u32,
    /// Receive buffers: a power of two, at most [`RECV_BUFFERS_SETTABLE_MAX`].
    pub buffers: u16,
    /// Bytes of each, at most [`RECV_BUFFER_BYTES_SETTABLE_MAX`].
    pub buffer_bytes: u32,
    /// What drives it: an engine that the process has decided against is an error.
    pub engine: Engine,
}

impl RingOptions {
    /// For a worker.
    pub const WORKER: RingOptions = RingOptions {
        sq_entries: SQ_ENTRIES,
        cq_entries: CQ_ENTRIES,
        buffers: RECV_BUFFERS,
        buffer_bytes: RECV_BUFFER_BYTES,
        engine: Engine::Auto,
    };
    /// For a thread that makes a request now and then.
    pub const SMALL: RingOptions = RingOptions {
        sq_entries: SMALL_SQ_ENTRIES,
        cq_entries: SMALL_CQ_ENTRIES,
        buffers: SMALL_RECV_BUFFERS,
        buffer_bytes: RECV_BUFFER_BYTES,
        engine: Engine::Auto,
    };

    /// Which size no ring can have.
    pub fn refused(&self) -> Option<&'static str> {
        let is_count = self.buffers.is_power_of_two() && self.buffers <= RECV_BUFFERS_SETTABLE_MAX;
        if !is_count {
            return Some(
                "RingOptions::buffers is a power of two, at most RECV_BUFFERS_SETTABLE_MAX",
            );
        }
        if self.sq_entries == 0 || self.cq_entries < self.sq_entries {
            return Some("RingOptions::cq_entries is no less than sq_entries, and that at least 1");
        }
        let is_size = (1..=RECV_BUFFER_BYTES_SETTABLE_MAX).contains(&self.buffer_bytes);
        (!is_size).then_some("RingOptions::buffer_bytes is 1 to RECV_BUFFER_BYTES_SETTABLE_MAX")
    }

    /// A ring of half the size, for where memory may not be locked; `None` when it would be too
    /// small.
    pub(crate) fn halved(self) -> Option<RingOptions> {
        (self.cq_entries > CQ_ENTRIES_MIN).then_some(RingOptions {
            sq_entries: self.sq_entries / 2,
            cq_entries: self.cq_entries / 2,
            buffers: self.buffers / 2,
            ..self
        })
    }
}

/// What this kernel was found to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// No indirection through an array of indices (6.6).
    pub no_sqarray: bool,
    /// Waiting is not shown as iowait (6.15).
    pub no_iowait: bool,
    /// Entries of the completion queue as granted.
    pub cq_entries: u32,
}

impl Ring {
    /// Makes a ring for the calling thread, which alone may use it.
    ///
    /// # Errors
    ///
    /// [`SetupError`] with errno, kernel release, settings and the remedy; of an engine that
    /// contradicts this process's choice, or a name that is none.
    pub fn new(options: RingOptions) -> Result<Ring, SetupError> {
        #[cfg(feature = "simulation")]
        if calls::is_installed() {
            return Ring::simulated(options);
        }
        sys::raise_soft_limits();
        engine::new_ring(options)
    }

    /// A ring of the simulated kernel, which can do everything.
    #[cfg(feature = "simulation")]
    fn simulated(options: RingOptions) -> Result<Ring, SetupError> {
        let buffers = BufferRing::new(options.buffers, options.buffer_bytes)?;
        let buffers = Rc::new(buffers);
        let queue = SimulatedQueue::new(options, &buffers).expect("a simulation runs");
        let features = Features {
            no_sqarray: true,
            no_iowait: true,
            cq_entries: options.cq_entries,
        };
        let backend = Backend::Simulated(queue);
        Ok(Ring::assemble(backend, buffers, features))
    }
}
