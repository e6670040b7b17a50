//! Files of a directory as responses.
//!
//! ```text
//!   path ──► directory ──► page with links
//! ```
pub mod listing;
