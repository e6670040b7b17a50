//! server (doc to come).
