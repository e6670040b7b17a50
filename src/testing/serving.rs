//! A server on a real port, beside the test.
//!
//! ```text
//!   serve(router) ─ thread: Server::run_until ─► drop: shutdown, join, panics reported
//! ```

use std::fmt;
use std::future;
use std::mem;
use std::net::SocketAddr;
use std::thread;
use std::thread::JoinHandle;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::runtime::Process;
use crate::server::ServerHandle;
use crate::testing::IntoServer;

/// Serves a router, or a [`Server`](crate::Server) whose knobs were turned, on a free port of
/// 127.0.0.1, until the value that is returned is dropped.
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::Router;
/// use roundtrip::blocking;
/// use roundtrip::testing;
///
/// let server = testing::serve(Router::new().get("/{$}", |_: &Request| "hello"))?;
/// let text = blocking::Client::new().get(server.url("/")).send()?.text()?;
/// assert_eq!(text, "hello");
/// # Ok::<(), roundtrip::Error>(())
/// ```
///
/// # Errors
///
/// No port, or no thread.
pub fn serve(served: impl IntoServer) -> Result<Serving> {
    let server = served.into_server().bind("127.0.0.1:0")?;
    let handle = server.handle();
    let address = server
        .addresses()
        .iter()
        .rev()
        .find_map(|address| match address {
            crate::net::Address::Tcp(address) => Some(*address),
            crate::net::Address::Unix(_) => None,
        })
        .expect("it was bound just now");
    let thread = thread::Builder::new()
        .name("roundtrip-testing".to_owned())
        .spawn(|| server.run_until(future::pending()))
        .map_err(|error| Error::new(ErrorKind::Setup, "cannot start a thread").because(error))?;
    Ok(Serving {
        process: Process::here(),
        address,
        handle,
        thread: Some(thread),
        expects_panics: false,
    })
}

/// A server that runs until this is dropped: then it finishes the requests that run, and the test
/// fails if a handler panicked.
pub struct Serving {
    process: Process,
    address: SocketAddr,
    handle: ServerHandle,
    /// `None` only while it ends.
    thread: Option<JoinHandle<Result<()>>>,
    expects_panics: bool,
}

impl Serving {
    /// Handlers may panic: the answer, or the end of the connection, is what is looked at.
    #[must_use]
    pub fn expect_panics(mut self) -> Serving {
        self.expects_panics = true;
        self
    }

    /// The URL of a path.
    pub fn url(&self, path: impl AsRef<str>) -> String {
        format!("http://{}{}", self.address, path.as_ref())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handle of the server: statistics, and its shutdown.
    pub fn handle(&self) -> &ServerHandle {
        &self.handle
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !self.process.is_here() {
            // The thread is the parent's: its handle may name another one here.
            mem::forget(self.thread.take());
            return;
        }
        self.handle.shutdown();
        let ended = self.thread.take().map(JoinHandle::join);
        if thread::panicking() {
            return;
        }
        match ended {
            Some(Ok(Err(error))) => panic!("{error:#}"),
            Some(Err(_)) => panic!("the server panicked; its own words stand above"),
            Some(Ok(Ok(()))) | None => {}
        }
        let panics = self.handle.statistics().panics;
        assert!(
            self.expects_panics || panics == 0,
            "{panics} handlers panicked; their own words stand above"
        );
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("address", &self.address)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
