//! How long the parts of an exchange took, as its client saw it.
//!
//! ```text
//!   begun ── waited ──────────────────────► has a connection ── head ──► response head
//!             └ resolve ─► connect ┘  (only for the request whose connection was new)
//! ```

use std::time::Duration;

/// Times of one exchange, of its last attempt. Those of the core's turns: what happened within one
/// turn took no time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// True exactly when the connection had served another request before.
    pub is_reused: bool,
    /// From the beginning of the request until it had a connection.
    pub waited: Duration,
    /// What looking up the name took; zero on a reused connection, and where the address was known.
    pub resolve: Duration,
    /// What connecting took, with a proxy's handshake; zero on a reused connection.
    pub connect: Duration,
    /// From there to the end of the response head.
    pub head: Duration,
}
