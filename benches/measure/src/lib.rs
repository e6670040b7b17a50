//! What the programs share that measure several others in turn (`benches/peers`, `benches/clients`).
//!
//! ```text
//!   program: built, started on its CPU ──► cpus: what it used, what others used ──► table
//!                          random: in which order                   machine: where that was
//! ```

pub mod cpus;
pub mod machine;
pub mod program;
pub mod random;
pub mod table;
