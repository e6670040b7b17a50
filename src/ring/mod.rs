//! The io_uring, every other system call, and the clock. Nothing above knows submission entries,
//! `libc` or `std::net`.
//!
//! ```text
//!    reactor ── Op + Token ──► push ─► SQ ─┐
//!                                          ├── enter ── kernel
//!    reactor ◄── Cqe, Lease ── completions ┘      │
//!                                                 └─ BufferRing: received bytes
//!    sys   sockets, files, limits, signals        clock   monotonic, wall
//!    diagnosis   why there is no ring, and what to change
//! ```

// The proofs of these blocks stand beside them; `op`, `queue` and `buffers` hold the kernel's side.
#![allow(unsafe_code)]

pub mod buffers;
pub mod clock;
pub mod diagnosis;
pub mod errno;
mod guard;
pub mod op;
pub mod queue;
pub mod setup;
pub mod sys;
pub mod token;

pub use clock::Instant;
pub use errno::Errno;

#[cfg(test)]
mod tests;
