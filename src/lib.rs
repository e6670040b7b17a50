//! An HTTP/1.1 server and client on a hand-written reactor, one per core: on io_uring, and on epoll
//! where that is refused.
//!
//! ```text
//!      server                      client          handlers, router, files │ requests, pool
//!         └────────┬─────────────────┘
//!                http                              heads, bodies, framing: no I/O
//!                 ·
//!            net      fs                           connections │ files beneath a root
//!              └──┬───┘
//!              runtime                             one core: loop, tasks, timers, workers
//!                 │
//!              reactor                             operations in flight, deadlines
//!                 │
//!               ring                               io_uring or epoll, system calls, the clock
//! ```
//!
//! To use it, start with [`Server`] and [`Router`], or [`Client`]; `examples/tour.rs` shows both.
//! To read it, start with [`architecture`].
//!
//! | looking for | see |
//! |---|---|
//! | what a handler is, and may return | [`server::handler`], [`server::into_response`] |
//! | the request: parameters, query, forms, cookies, credentials | [`Request`], [`http::cookie`], [`http::multipart`] |
//! | the response: JSON, events, redirects, files, trailers, streams | [`Response`], [`Body`], [`server`], [`mod@files`] |
//! | routers in routers, middleware | [`Router`], [`server::middleware`] |
//! | time-outs, limits, PROXY headers, hooks, restarts | [`Server`], with defaults in [`limits`] |
//! | database crates, and whatever needs tokio | `Server::tokio`: feature `tokio` |
//! | WebSocket and other protocols on a connection | [`server::upgrade`] |
//! | cookies of a client | `client::jar`: feature `cookies` |
//! | what is other than in Go | [`server::net_http`], [`client::net_http`] |
//! | sleeping, tasks, blocking work | [`runtime`] |
//! | io_uring or epoll | [`runtime::Engine`], [`runtime::EngineChoice`] |
//! | tests | `testing`, `simulation`: features of the same names |
//!
//! What it is not: no framework (no templates, no sessions), no other system than Linux.

#[doc = include_str!("ARCHITECTURE.md")]
pub mod architecture {}

pub mod client;
pub(crate) mod content;
pub mod error;
pub mod fs;
pub(crate) mod guard;
#[doc(hidden)]
pub mod h1;
pub mod http;
pub mod limits;
pub mod net;
pub(crate) mod reactor;
pub(crate) mod ring;
pub mod runtime;
pub mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(feature = "testing")]
pub mod testing;
pub(crate) mod tunnel;

pub use crate::client::Client;
pub use crate::client::RoundTrip;
pub use crate::client::blocking;
pub use crate::error::Error;
pub use crate::error::Result;
pub use crate::http::body::Body;
pub use crate::http::cookie::Cookie;
pub use crate::http::headers::Headers;
pub use crate::http::request::Request;
pub use crate::http::response::Response;
pub use crate::runtime::block_on;
pub use crate::server::Html;
pub use crate::server::IntoResponse;
#[cfg(feature = "json")]
pub use crate::server::Json;
pub use crate::server::Redirect;
pub use crate::server::Router;
pub use crate::server::Server;
pub use crate::server::files;
pub use ::http::Method;
pub use ::http::StatusCode;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub mod readme {}

/// For the benchmarks, fuzzers and tests of this crate alone: no part of the API.
#[doc(hidden)]
pub mod internals {
    use crate::runtime::Core;
    use crate::runtime::Remote;

    pub use crate::client::detached::DetachedTransport;
    pub use crate::reactor::OwnerId;
    pub use crate::reactor::Reactor;
    pub use crate::reactor::heap::TimerHeap;
    pub use crate::reactor::operation::Operation;
    pub use crate::reactor::slots::Routed;
    pub use crate::reactor::wheel::TimerId;
    pub use crate::reactor::wheel::Wheel;
    pub use crate::ring::setup::RingOptions;
    pub use crate::ring::sys::affinity;
    pub use crate::ring::sys::pin_to;
    pub use crate::ring::sys::raise_soft_limits;
    pub use crate::server::files::named_beneath;

    /// Breaks an invariant of a core, which is its end.
    pub fn break_core(remote: &Remote, text: &'static str) {
        remote.post_own(move |_| panic!("{text}"));
    }

    /// Shared receive buffers of a core that are not with the kernel.
    pub fn leased(core: &Core) -> u16 {
        core.reactor().leased()
    }
}
