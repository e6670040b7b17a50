//! Tests of your own handlers: without sockets and waiting, or on a real port.
//!
//! ```text
//!   test ─► App ─ get(path).send() ─► Answer          the whole stack, on a kernel in memory:
//!            │                                        no sockets, no threads, and a clock that
//!            ├─ connect() ─► Wire ─► bytes            moves when the test says so
//!            └─ advance(time)
//!
//!   test ─► serve(router) ─► Serving ─ url(path)      a real port of 127.0.0.1, real time
//! ```
//!
//! It is the feature `testing`; name it in `[dev-dependencies]`.
//!
//! ```
//! use std::time::Duration;
//!
//! use roundtrip::Request;
//! use roundtrip::Router;
//! use roundtrip::runtime::sleep;
//! use roundtrip::testing::App;
//!
//! let router = Router::new()
//!     .get("/users/{id}", |r: &Request| format!("user {}", r.param("id")))
//!     .get("/slow", async |_: Request| {
//!         sleep(Duration::from_secs(60)).await;
//!         "at last"
//!     });
//! let app = App::new(router);
//! let answer = app.get("/users/7").send();
//! assert_eq!(answer.status(), 200);
//! assert_eq!(answer.text(), "user 7");
//! // A minute passes for the handler, and none for the test.
//! assert_eq!(app.get("/slow").send().text(), "at last");
//! assert!(app.elapsed() >= Duration::from_secs(60));
//! // What time-outs do is seen byte by byte.
//! let mut wire = app.connect();
//! wire.send("GET / HT");
//! app.advance(Duration::from_secs(31));
//! assert!(wire.receive().starts_with("HTTP/1.1 408 "));
//! assert!(wire.is_closed());
//! ```
//!
//! What runs is what runs in production, from the router down to the operations of the ring; the
//! kernel below is the one of [`simulation`](crate::simulation), which also looks for leaks and for
//! a stack that broke its own rules. So `sleep`, `spawn`, `blocking`, [`Client`](crate::Client) and
//! files work within handlers; the clocks of `std::time` are real and do not move along. Names lead
//! to what [`App::host`] put there. What comes from threads of your own does not wake anybody: for
//! handlers that talk to them, use [`serve`].
//!
//! Handlers that await tokio (feature `tokio`) do so in both: with [`serve`] as they are, in an app in
//! the runtime that its server has of `Server::tokio`. While handlers run there and nothing else is to
//! be done, the app waits for tokio, up to 5 s of real time, before its own time passes; nothing that
//! it does moves the timers of tokio.
//!
//! A handler that panics fails the test, as soon as the app or the server is used again or dropped.

mod answer;
mod app;
mod ask;
#[cfg(feature = "json")]
mod json;
mod serving;
mod wire;

use crate::server::Router;
use crate::server::Server;

pub use crate::testing::answer::Answer;
pub use crate::testing::app::App;
pub use crate::testing::ask::Ask;
pub use crate::testing::serving::Serving;
pub use crate::testing::serving::serve;
pub use crate::testing::wire::Wire;

/// What can be tested: a [`Router`], or a [`Server`] whose knobs were turned.
pub trait IntoServer {
    /// The server. A router gets one worker: many tests run side by side.
    fn into_server(self) -> Server;
}

impl IntoServer for Router {
    fn into_server(self) -> Server {
        Server::new(self).workers(1)
    }
}

impl IntoServer for Server {
    fn into_server(self) -> Server {
        self
    }
}

#[cfg(test)]
mod tests;
