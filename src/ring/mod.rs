//! The engine of a core, every other system call, and the clock. Nothing above knows submission
//! entries, events of epoll, `libc` or `std::net`.
//!
//! ```text
//!                             ┌─ uring  the kernel's queues ─┐
//!    reactor ── Op + Token ─► ┼─ epoll  readiness, threads   ┼─ enter ── kernel
//!    reactor ◄─ Cqe, Lease ── └─ sim    a kernel in memory ──┘    │
//!                                                                └─ BufferRing: received bytes
//!    sys   sockets, files, limits, signals        clock   monotonic, wall
//!    engine   which it is        diagnosis   why there is no ring, and what to change
//! ```

// The proofs of these blocks stand beside them; `op`, `queue` and `buffers` hold the kernel's side.
#![allow(unsafe_code)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("roundtrip needs Linux on a 64-bit processor");

/// Returns the answer of the simulated kernel where that is the one to ask: it made the descriptor
/// after `for`, or, without one, runs on this thread. Nothing at all without the feature.
macro_rules! simulated {
    (for $fd:expr) => {
        #[cfg(feature = "simulation")]
        if calls::is_simulated($fd) {
            return;
        }
    };
    (for $fd:expr => $answer:expr) => {
        #[cfg(feature = "simulation")]
        if calls::is_simulated($fd) {
            return $answer;
        }
    };
    ($answer:expr) => {
        #[cfg(feature = "simulation")]
        if let Some(answer) = $answer {
            return answer;
        }
    };
}

pub mod buffers;
pub mod bug;
pub mod clock;
pub mod diagnosis;
pub mod engine;
mod epoll;
pub mod errno;
mod guard;
pub mod op;
pub mod queue;
pub mod setup;
#[cfg(feature = "simulation")]
pub mod sim;
pub mod sys;
pub mod token;
mod uring;

pub use clock::Instant;
pub use errno::Errno;

#[cfg(test)]
mod tests;
