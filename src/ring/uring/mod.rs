//! The engine of completions: io_uring. What is its alone is here: entries, flags, set-up, probes.
//!
//! ```text
//!   setup ─► UringQueue:  push ─ entry ─► SQ ── io_uring_enter(2) ─► CQ ─► completions
//! ```

mod entry;
mod queue;
mod setup;

pub(in crate::ring) use queue::UringQueue;
pub(in crate::ring) use setup::new_ring;
