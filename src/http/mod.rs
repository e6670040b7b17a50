//! http (doc to come).
