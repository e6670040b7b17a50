//! reactor (doc to come).
