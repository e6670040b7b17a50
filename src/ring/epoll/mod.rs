//! The engine of readiness: epoll(7) and system calls that do not block, for where io_uring is refused.
//! Above it nothing can tell the two apart.
//!
//! ```text
//!   push ─► submissions ── enter ─► tried in order ──── it would block ──► waits at its descriptor
//!                                        │                                      │ epoll_wait(2), once
//!           completions ◄────────────────┴───────── tried again ◄── ready ◄─────┘ an enter
//!                 ▲
//!                 └── mailbox ◄── threads that read files ◄── what is not in memory
//! ```

mod abilities;
mod attempts;
mod buffers;
mod calls;
mod chunks;
mod closing;
mod descriptors;
mod engine;
mod operations;
mod queue;
mod readers;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use crate::ring::buffers::BufferRing;
use crate::ring::diagnosis::SetupError;
use crate::ring::queue::Backend;
use crate::ring::queue::Ring;
use crate::ring::setup::Features;
use crate::ring::setup::RingOptions;

pub(in crate::ring) use abilities::features;
pub(in crate::ring) use closing::forget;
pub(in crate::ring) use closing::notice_shutdown;
pub(in crate::ring) use queue::EpollQueue;

/// Makes a ring on epoll. None of the calls of io_uring is made.
pub(in crate::ring) fn new_ring(options: RingOptions) -> Result<Ring, SetupError> {
    let failed = |error| SetupError::other("epoll", error);
    let buffers = BufferRing::new(options.buffers, options.buffer_bytes).map_err(failed)?;
    let buffers = Rc::new(buffers);
    let queue = EpollQueue::new(&buffers).map_err(failed)?;
    let features = Features {
        cq_entries: options.cq_entries,
        ..Features::default()
    };
    Ok(Ring::assemble(Backend::Epoll(queue), buffers, features))
}
