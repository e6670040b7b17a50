//! The client for threads without a runtime: the same machine, driven by the calling thread.
//!
//! ```text
//!   get(url) ──► this thread's own small core ──► Client ──► Response: text, bytes, io::Read
//! ```
//! Each thread has its own core and thus its own pool; between two calls nobody turns that core, so
//! that a request first takes note of what has happened to its connections. No hidden thread runs.
//!
//! ```no_run
//! let text = roundtrip::client::blocking::get("http://127.0.0.1:8080/")?.text()?;
//! # Ok::<(), roundtrip::Error>(())
//! ```

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::io::Read;
use std::rc::Rc;

use ::http::Method;
use ::http::StatusCode;
use bytes::Buf;
use bytes::Bytes;
use url::Url;

use crate::client::IntoUrl;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::http::response;
use crate::runtime;
use crate::runtime::Runtime;

thread_local! {
    static RUNTIME: RefCell<Option<Rc<Runtime>>> = const { RefCell::new(None) };
    static DEFAULT: Client = Client::new();
}

/// GETs a URL with a client that this thread keeps for it.
///
/// # Errors
///
/// Those of [`crate::client::Client::send`]; io_uring cannot be had.
pub fn get(url: impl IntoUrl) -> Result<Response> {
    let client = DEFAULT
        .try_with(Client::clone)
        .unwrap_or_else(|_| Client::new());
    client.get(url).send()
}

/// Sends requests and waits for them. Cheap to clone, `Send` and `Sync`; each thread that uses it
/// has its own pool.
#[derive(Clone, Debug, Default)]
pub struct Client {
    client: crate::client::Client,
}

/// A request that is put together, for a client of this module.
pub type RequestBuilder = crate::client::RequestBuilder<Client>;

/// Settings of a client of this module.
pub type ClientBuilder = crate::client::ClientBuilder<Client>;

/// A response whose body is read by the calling thread, as values or as [`Read`].
#[derive(Debug)]
pub struct Response {
    response: response::Response,
    /// What `read` has not returned yet.
    unread: Bytes,
}

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
    /// Those of [`crate::client::Client::send`]; io_uring cannot be had; the thread runs a core
    /// already.
    #[doc(alias = "execute")]
    pub fn send(&self, request: impl TryInto<Request, Error: Into<Error>>) -> Result<Response> {
        drive(self.client.send(request)).map(Response::new)
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

impl Response {
    fn new(response: response::Response) -> Response {
        Response {
            response,
            unread: Bytes::new(),
        }
    }

    /// The status.
    pub fn status_code(&self) -> StatusCode {
        self.response.status_code()
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        self.response.headers()
    }

    /// The URL that answered, after redirects.
    pub fn url(&self) -> Option<&Url> {
        self.response.url()
    }

    /// The redirects that were followed on the way here, in order.
    pub fn history(&self) -> &[response::Hop] {
        self.response.history()
    }

    /// An error where the status is 4xx or 5xx.
    ///
    /// # Errors
    ///
    /// The status is one.
    pub fn error_for_status(self) -> Result<Response> {
        Ok(Response {
            response: self.response.error_for_status()?,
            unread: self.unread,
        })
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// The body cannot be completed.
    pub fn chunk(&mut self) -> Result<Option<Bytes>> {
        if !self.unread.is_empty() {
            return Ok(Some(std::mem::take(&mut self.unread)));
        }
        let body = self.response.body_mut();
        drive(async { body.chunk().await.transpose() })
    }

    /// All of the body, up to 2 MiB.
    ///
    /// # Errors
    ///
    /// The body is longer, or cannot be completed.
    pub fn bytes(self) -> Result<Bytes> {
        let rest = drive(self.response.bytes())?;
        if self.unread.is_empty() {
            return Ok(rest);
        }
        Ok([self.unread, rest].concat().into())
    }

    /// All of the body as UTF-8 text, up to 2 MiB.
    ///
    /// # Errors
    ///
    /// The body is longer, is no text, or cannot be completed.
    pub fn text(self) -> Result<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|error| {
            Error::new(ErrorKind::Protocol, "the body is not UTF-8 text").because(error)
        })
    }

    /// The response without this thread's part: status, fields and body as a handler sees them.
    pub fn into_inner(self) -> response::Response {
        self.response
    }
}

impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            match self.chunk()? {
                Some(chunk) => self.unread = chunk,
                None => return Ok(0),
            }
        }
        let len = self.unread.len().min(buffer.len());
        self.unread.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

/// Runs a future on this thread's core.
fn drive<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    // First, also since what is asked first here is taken apart last when the thread ends.
    if runtime::is_inside() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "this thread runs a core: use roundtrip::Client there, not roundtrip::blocking",
        ));
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        // One turn without waiting: what closed since the last call leaves the pool, and the
        // clock is read.
        runtime::yield_now().await;
        future.await
    })?
}

fn runtime() -> Result<Rc<Runtime>> {
    let gone = |_| Error::new(ErrorKind::Shutdown, "the thread is ending");
    let found = RUNTIME.try_with(|cell| cell.borrow().clone());
    if let Some(runtime) = found.map_err(gone)? {
        return Ok(runtime);
    }
    let runtime = Rc::new(Runtime::small()?);
    RUNTIME
        .try_with(|cell| *cell.borrow_mut() = Some(Rc::clone(&runtime)))
        .map_err(gone)?;
    Ok(runtime)
}
