//! One core: the loop, tasks, timers, workers.
pub use crate::ring::Instant;
