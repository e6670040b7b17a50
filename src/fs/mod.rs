//! fs (doc to come).
