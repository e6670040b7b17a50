//! client (doc to come).
pub mod pool;
