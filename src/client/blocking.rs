//! The client for threads without a runtime: the same machine, driven by the calling thread.
//!
//! ```text
//!   get(url) ──► this thread's own small core ──► Client ──► Response: text, bytes, json
//!                        ▲                                             │
//!                  io::Read ── body_reader           io::Read, copy_to ┘
//! ```
//! Each thread has its own core and thus its own pool; between two calls nobody turns that core, so
//! that a request first takes note of what has happened to its connections. No hidden thread runs.
//! In a child of fork(2), [`get`] and clients that are made there work, with connections of their own;
//! clients and responses of the parent are an error there, and their drop leaves its connections alone.
//!
//! A response belongs to the thread that asked for it:
//!
//! ```compile_fail
//! let response = roundtrip::blocking::get("http://127.0.0.1:8080/").unwrap();
//! std::thread::spawn(move || response.text());
//! ```
//!
//! ```no_run
//! let text = roundtrip::client::blocking::get("http://127.0.0.1:8080/")?.text()?;
//! # Ok::<(), roundtrip::Error>(())
//! ```

mod reader;
mod response;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use ::http::Method;

use crate::client::IntoUrl;
use crate::client::TransportStats;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::request::Request;
use crate::runtime;
use crate::runtime::RingOptions;
use crate::runtime::Runtime;

pub use crate::client::blocking::reader::reader;
pub use crate::client::blocking::response::Response;

thread_local! {
    static RUNTIME: RefCell<Option<Rc<Runtime>>> = const { RefCell::new(None) };
    static DEFAULT: RefCell<Client> = RefCell::new(Client::new());
}

/// GETs a URL with a client that this thread keeps for it.
///
/// # Errors
///
/// Those of [`crate::client::Client::send`]; no ring can be had.
pub fn get(url: impl IntoUrl) -> Result<Response> {
    let of_thread = |client: &RefCell<Client>| {
        let mut client = client.borrow_mut();
        if !client.client.is_here() {
            *client = Client::new();
        }
        client.clone()
    };
    let client = DEFAULT.try_with(of_thread).unwrap_or_default();
    client.get(url).send()
}

/// Sends requests and waits for them. Cheap to clone, `Send` and `Sync`; each thread that uses it
/// has its own pool. The last clone closes what rests on its own thread at once, and on others with
/// their next call or their end.
#[derive(Clone, Debug, Default)]
pub struct Client {
    client: crate::client::Client,
}

/// A request that is put together, for a client of this module.
pub type RequestBuilder = crate::client::RequestBuilder<Client>;

/// Settings of a client of this module.
pub type ClientBuilder = crate::client::ClientBuilder<Client>;

impl Client {
    /// With the defaults.
    pub fn new() -> Client {
        Client::default()
    }

    /// With other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::with_defaults()
    }

    /// A GET.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A PATCH.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A DELETE.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Any method. An error in the URL shows when the request is sent.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, self.client.resolve(url))
    }

    /// Sends a request that was built, a [`Request`] or one of the `http` crate.
    ///
    /// # Errors
    ///
    /// Those of [`crate::client::Client::send`]; no ring can be had; the thread runs a core
    /// already.
    #[doc(alias = "execute")]
    pub fn send(&self, request: impl TryInto<Request, Error: Into<Error>>) -> Result<Response> {
        drive(self.client.send(request)).map(Response::new)
    }

    /// Counts of this client's connections on this thread, as they are now; `None` when there were
    /// none.
    pub fn stats(&self) -> Option<TransportStats> {
        on_core(|| self.client.stats())?
    }

    /// Closes this client's connections that rest on this thread.
    pub fn close_idle(&self) {
        on_core(|| self.client.close_idle());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.client.is_last() {
            on_core(|| self.client.close_here());
        }
    }
}

impl From<crate::client::Client> for Client {
    fn from(client: crate::client::Client) -> Client {
        Client { client }
    }
}

impl RequestBuilder {
    /// Sends it; returns with the head of the response.
    ///
    /// # Errors
    ///
    /// See [`Client::send`]; the URL or a header field is invalid.
    pub fn send(self) -> Result<Response> {
        let (client, request, options) = self.into_parts()?;
        drive(client.client.execute(request, options)).map(Response::new)
    }
}

/// Runs a future on this thread's core. It is one that was made in this process.
fn drive<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    // First, also since what is asked first here is taken apart last when the thread ends.
    if runtime::is_inside() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "this thread runs a core: use roundtrip::Client there, not roundtrip::blocking",
        ));
    }
    let runtime = runtime()?;
    runtime.block_on_soon(async {
        // One turn without waiting: what closed since the last call leaves the pool, and times
        // that have passed count.
        runtime::yield_now().await;
        let outcome = future.await;
        // And one that ends what is to end, as a connection does that is not kept.
        runtime::yield_now().await;
        outcome
    })?
}

/// Calls on this thread's core, if it has one, and lets it act on that without waiting. Nothing
/// happens where the thread runs another core, or ends.
fn on_core<T>(call: impl FnOnce() -> T) -> Option<T> {
    if runtime::is_inside() {
        return None;
    }
    let runtime = RUNTIME.try_with(|cell| cell.borrow().clone()).ok()??;
    // The parent's, in a child of fork(2), is an error here.
    let called = runtime.block_on_soon(async {
        runtime::yield_now().await;
        let value = call();
        runtime::yield_now().await;
        value
    });
    called.ok()
}

fn runtime() -> Result<Rc<Runtime>> {
    let gone = |_| Error::new(ErrorKind::Shutdown, "the thread is ending");
    let found = RUNTIME.try_with(|cell| cell.borrow().clone());
    if let Some(runtime) = found.map_err(gone)?
        && runtime.core().is_here()
    {
        return Ok(runtime);
    }
    let runtime = Rc::new(Runtime::silent(RingOptions::SMALL)?);
    RUNTIME
        .try_with(|cell| *cell.borrow_mut() = Some(Rc::clone(&runtime)))
        .map_err(gone)?;
    Ok(runtime)
}
