//! The client: requests over pooled connections, one pool per core.
//!
//! ```text
//!   Client ── configuration and an id: Clone + Send + Sync
//!     │  redirects, time for everything, User-Agent, credentials of the URL, decompression
//!     ▼
//!   middleware ── logging, retries, … : sees each request as it is sent  (RoundTrip: the seam)
//!     │
//!     ▼
//!   Transport ── one per core and client: pool, dials               (a RoundTrip too)
//!     │
//!     ▼
//!   connection ── one exchange at a time (h1::client) over net
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use roundtrip::client::Client;
//!
//! let text = roundtrip::runtime::block_on(async {
//!     let client = Client::new();
//!     let request = client.get("http://127.0.0.1:8080/").timeout(Duration::from_secs(5));
//!     request.send().await?.error_for_status()?.text().await
//! })?;
//! # Ok::<(), roundtrip::Error>(())
//! ```
//!
//! A response is returned with its head; its body is a stream with back-pressure: what nobody
//! reads is not received. A body that is dropped is read and dropped in the background within 256
//! KiB and 50 ms, so that the connection is used again, and the connection closed beyond that.
//!
//! Requests go by the [proxies](proxy) of the environment, unless others are set, or none.
//!
//! Without a runtime: [`blocking`]. With another one, or one pool for many threads: [`spawned`].

pub mod blocking;
mod builder;
mod chain;
#[cfg(feature = "simulation")]
mod check;
mod connection;
#[cfg(feature = "cookies")]
mod cookies;
mod credentials;
#[doc(hidden)]
pub mod decompress;
#[doc(hidden)]
pub mod detached;
pub mod dial;
mod exchange;
mod execute;
mod failure;
#[cfg(feature = "cookies")]
pub mod jar;
mod local;
pub mod middleware;
pub mod multipart;
#[doc = include_str!("net_http.md")]
pub mod net_http {}
pub mod observe;
mod options;
mod policy;
pub mod pool;
pub mod proxy;
mod redirect;
mod request;
mod resolve;
mod round_trip;
pub mod route;
pub mod spawned;
mod transport;
mod zone;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use ::http::Method;

use crate::client::builder::Config;
use crate::client::local::Caller;
use crate::client::local::Shared;
use crate::client::request::into_url;
use crate::client::request::into_url::Located;
use crate::error::Error;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::Core;

pub use crate::client::builder::ClientBuilder;
#[cfg(feature = "simulation")]
pub(crate) use crate::client::check::check;
pub use crate::client::dial::DialOptions;
pub use crate::client::exchange::InFlight;
pub use crate::client::middleware::RetryPolicy;
pub use crate::client::options::RequestOptions;
pub use crate::client::options::TransportOptions;
pub use crate::client::policy::RedirectAction;
pub use crate::client::policy::RedirectAttempt;
pub use crate::client::policy::ReferrerPolicy;
pub use crate::client::request::RequestBuilder;
pub use crate::client::request::into_url::IntoUrl;
pub use crate::client::resolve::Resolver;
pub use crate::client::round_trip::Next;
pub use crate::client::round_trip::RoundTrip;
pub use crate::client::transport::Transport;
pub use crate::client::transport::TransportStats;

/// Sends requests. Cheap to clone; clones share their pools, of which each core has its own, so
/// that all bounds hold per core. With the last clone, the connections that rest close on all of
/// them.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// With the defaults: up to 9 redirects, no time-out for everything, 10 s to connect, 60 s
    /// to the response head, 30 s without progress; by the proxies of the environment
    /// ([`Proxies::from_environment`](proxy::Proxies::from_environment)).
    pub fn new() -> Client {
        ClientBuilder::new().build()
    }

    /// With other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// With the defaults, on a thread of its own: for other executors, and for sharing one pool among
    /// threads. See [`spawned`].
    ///
    /// # Errors
    ///
    /// There is no thread to be had, or no ring; the text holds the remedy.
    pub fn spawned() -> Result<spawned::Client> {
        ClientBuilder::new().spawned()
    }

    pub(in crate::client) fn with_config(config: Config) -> Client {
        Client {
            shared: Arc::new(Shared::new(config)),
        }
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
        RequestBuilder::new(Caller::of(self), method, self.resolve(url))
    }

    /// Sends a request that was built, a [`Request`] or one of the `http` crate; follows redirects,
    /// and returns the response with its head.
    ///
    /// ```no_run
    /// # async fn example(client: roundtrip::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = http::Request::put("http://127.0.0.1:8080/").body("a text")?;
    /// let response = client.send(request).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// No connection, a peer that breaks the protocol or the connection, a time-out, too many
    /// redirects, a request that cannot be sent, a thread without a core. A status is none.
    #[doc(alias = "execute")]
    pub async fn send(
        &self,
        request: impl TryInto<Request, Error: Into<Error>>,
    ) -> Result<Response> {
        let mut request = request.try_into().map_err(Into::into)?;
        let options = RequestOptions::take_from(&mut request);
        self.execute(request, options).await
    }

    /// A client for tests, without a network: what `answer` makes of a request is its response.
    /// All that is above the connections is as ever: redirects, time-outs, decompression.
    ///
    /// ```
    /// use roundtrip::Client;
    /// use roundtrip::Request;
    /// use roundtrip::Response;
    ///
    /// let client = Client::fake(async |request: Request| {
    ///     Ok(Response::new().body(format!("{} {}", request.method(), request.target())))
    /// });
    /// let text = roundtrip::block_on(async {
    ///     client.get("http://any.example/path?query").send().await?.text().await
    /// })?;
    /// assert_eq!(text, "GET /path?query");
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// With other settings: [`ClientBuilder::transport`].
    pub fn fake<F>(answer: F) -> Client
    where
        F: AsyncFn(Request) -> Result<Response> + Send + Sync + 'static,
    {
        let answer = Arc::new(answer);
        let make = move || {
            let answer = Arc::clone(&answer);
            async move |request: Request| answer(request).await
        };
        ClientBuilder::new().transport(make).build()
    }

    /// Counts of this client's connections on this thread's core; `None` when there were none.
    pub fn stats(&self) -> Option<TransportStats> {
        let local = local::find(&*Core::current()?, self)?;
        Some(local.chain.transport()?.stats())
    }

    /// Closes this client's connections that rest on this thread's core.
    pub fn close_idle(&self) {
        let local = Core::current().and_then(|core| local::find(&core, self));
        if let Some(transport) = local.as_ref().and_then(|local| local.chain.transport()) {
            transport.close_idle();
        }
    }

    /// The URL, as seen from the base URL.
    fn resolve(&self, url: impl IntoUrl) -> Result<Located> {
        into_url::resolve(url, self.shared.config.base_url.as_ref())
    }

    /// False in a child of the process that made it.
    fn is_here(&self) -> bool {
        self.shared.is_here()
    }

    /// True when no clone of it is left.
    fn is_last(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    /// Closes what rests on this thread's core, for good.
    fn close_here(&self) {
        if let Some(core) = Core::current() {
            local::forget(&core, self.shared.config.id);
        }
    }

    async fn execute(&self, request: Request, options: RequestOptions) -> Result<Response> {
        let core = Core::try_current()?;
        local::of(&core, self)?.execute(request, options).await
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl RoundTrip for Client {
    fn round_trip(&self, request: Request) -> impl Future<Output = Result<Response>> {
        self.send(request)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.shared.config)
            .finish()
    }
}
