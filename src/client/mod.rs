//! client (doc to come).
