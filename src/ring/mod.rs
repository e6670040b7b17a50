//! The io_uring, every other system call, and the clock.
pub mod clock;
pub use clock::Instant;
