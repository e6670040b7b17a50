//! Which way a connection takes when it does not go straight to the host of its URL.
//!
//! ```text
//!   URL ─► host and port ──────────────► TCP to that host
//!            └─ Via::Unix(path) ────────► a Unix socket, whatever the host
//! ```
//! It is a part of what connections are pooled by: one that was made for one way serves no other.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A way that is not the straight one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// The socket at this path; the URL's host is what the request names.
    Unix(Arc<Path>),
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Via::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
