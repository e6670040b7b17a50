//! What stands around the transport of a client: middleware.
//!
//! ```text
//!   Client::builder().middleware(a).middleware(b)
//!
//!              redirects,          ┌─ a ─────────────────────────────┐
//!              cookies,            │      ┌─ b ────────────────────┐ │
//!   caller ──► decompression ─────►│──────│───────► connections ───│─│───► caller
//!              (once)              │      └────────────────────────┘ │
//!                                  └─────────────────────────────────┘
//!                                          once per request that is sent
//! ```
//!
//! What is registered first is outermost, as on our server. Middleware sees requests as they are
//! sent: each hop of a chain of redirects, with the fields that the client added, and bodies in the
//! coding in which they came; net/http's `RoundTripper` stands in the same place.
//!
//! What a request brings along for middleware travels in its
//! [extensions](crate::Request::extensions); copies of the request have them too. The options of
//! the request ([`RequestOptions`](crate::client::RequestOptions)) travel like this, to the
//! transport, with the deadline for everything; a time-out drops the future of the middleware.
//!
//! | form | for |
//! |---|---|
//! | [`ClientBuilder::wrap`] | an asynchronous closure of request and next |
//! | [`ClientBuilder::middleware`] | anything that is a [`RoundTrip`], made once per core |
//! | [`ClientBuilder::retry`] | [`retry`](self::retry()), by its policy |
//! | [`Client::fake`], [`ClientBuilder::transport`] | something else in place of connections |
//!
//! A request costs one allocation per middleware; a client without any costs none.
//!
//! [`Client::fake`]: crate::Client::fake
//! [`ClientBuilder::middleware`]: crate::client::ClientBuilder::middleware
//! [`ClientBuilder::retry`]: crate::client::ClientBuilder::retry
//! [`ClientBuilder::transport`]: crate::client::ClientBuilder::transport
//! [`ClientBuilder::wrap`]: crate::client::ClientBuilder::wrap
//! [`RoundTrip`]: crate::client::RoundTrip

mod authorization;
mod logging;
mod retry;

pub use crate::client::middleware::authorization::Authorization;
pub use crate::client::middleware::authorization::authorization;
pub use crate::client::middleware::authorization::basic;
pub use crate::client::middleware::authorization::bearer;
pub use crate::client::middleware::logging::LogEntry;
pub use crate::client::middleware::logging::Logging;
pub use crate::client::middleware::logging::Outcome;
pub use crate::client::middleware::logging::logging;
pub use crate::client::middleware::retry::Attempt;
pub use crate::client::middleware::retry::Retry;
pub use crate::client::middleware::retry::RetryPolicy;
pub use crate::client::middleware::retry::retry;
