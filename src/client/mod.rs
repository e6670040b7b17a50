//! The client: requests over pooled connections, one pool per core.
//!
//! ```text
//!   Client ── configuration and an id: Clone + Send + Sync
//!     │  redirects, time for everything, User-Agent, credentials of the URL
//!     ▼
//!   Transport ── one per core and client: pool, dials, retries       (RoundTrip: the seam)
//!     │
//!     ▼
//!   connection ── one exchange at a time (http::fetch) over net
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
//! Without a runtime: [`blocking`].

pub mod blocking;
mod builder;
#[cfg(feature = "simulation")]
mod check;
mod connection;
mod credentials;
#[doc(hidden)]
pub mod detached;
mod exchange;
mod failure;
mod options;
pub mod pool;
mod redirect;
mod request;
mod transport;

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Weak;
use std::task::Poll;
use std::time::Duration;

use ::http::Method;

use crate::client::builder::Config;
use crate::client::exchange::TotalTime;
use crate::client::failure::redacted;
use crate::client::failure::total_timeout;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime;
use crate::runtime::Core;

pub use crate::client::builder::ClientBuilder;
#[cfg(feature = "simulation")]
pub(crate) use crate::client::check::check;
pub use crate::client::exchange::InFlight;
pub use crate::client::options::TransportOptions;
pub use crate::client::request::IntoUrl;
pub use crate::client::request::RequestBuilder;
pub use crate::client::transport::RoundTrip;
pub use crate::client::transport::Transport;
pub use crate::client::transport::TransportStats;

/// Sends requests. Cheap to clone; clones share their pools, of which each core has its own, so
/// that all bounds hold per core. A connection that rests closes with the last clone on its core,
/// and on other cores after its idle time-out.
#[derive(Clone)]
pub struct Client {
    config: Arc<Config>,
}

impl Client {
    /// With the defaults: up to 10 redirects, no time-out for everything, 10 s to connect, 60 s
    /// to the response head, 30 s without progress.
    pub fn new() -> Client {
        ClientBuilder::new().build()
    }

    /// With other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(in crate::client) fn with_config(config: Config) -> Client {
        Client {
            config: Arc::new(config),
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
        RequestBuilder::new(self.clone(), method, url)
    }

    /// Sends a request that was built, follows redirects, and returns the response with its head.
    ///
    /// # Errors
    ///
    /// No connection, a peer that breaks the protocol or the connection, a time-out, too many
    /// redirects, a request that cannot be sent, a thread without a core. A status is none.
    pub async fn send(&self, request: Request) -> Result<Response> {
        self.execute(request, self.config.timeout).await
    }

    /// Counts of this client's connections on this thread's core; `None` when there were none.
    pub fn stats(&self) -> Option<TransportStats> {
        let core = Core::current()?;
        let transport = core.find_local::<Transports>()?.find(self.config.id)?;
        Some(transport.stats())
    }

    /// Closes this client's connections that rest on this thread's core.
    pub fn close_idle(&self) {
        let transports = Core::current().and_then(|core| core.find_local::<Transports>());
        if let Some(transport) = transports.and_then(|all| all.find(self.config.id)) {
            transport.close_idle();
        }
    }

    pub(in crate::client) async fn execute(
        &self,
        mut request: Request,
        timeout: Option<Duration>,
    ) -> Result<Response> {
        let core = Core::try_current()?;
        let transport = self.transport(&core);
        let total = timeout.map(|timeout| TotalTime {
            timeout,
            deadline: core.now() + timeout,
        });
        let mut redirects_count = 0;
        loop {
            self.prepare(&mut request);
            let url = request.url().cloned();
            let method = request.method().clone();
            let is_replayable = request.body().is_replayable();
            let follows = self.config.redirects_max > 0;
            let mut in_flight = transport.send_with(request, total, follows);
            let for_url = |error: Error| match &url {
                Some(url) if error.url().is_none() => error.for_url(redacted(url)),
                _ => error,
            };
            let mut response = within(&mut in_flight, total).await.map_err(for_url)?;
            if let (true, Some(url)) = (follows, &url) {
                let location = response.headers().get_bytes("location");
                let status = response.status_code();
                let redirect = redirect::decide(&method, url, status, location).map_err(for_url)?;
                let next = redirect.filter(|to| is_replayable || !to.keeps_body);
                if let (Some(redirect), Some(mut again)) = (next, in_flight.take_request()) {
                    redirects_count += 1;
                    if redirects_count > self.config.redirects_max {
                        return Err(for_url(too_many_redirects(self.config.redirects_max)));
                    }
                    redirect::follow(&mut again, redirect);
                    request = again;
                    continue;
                }
            }
            response.set_url(url);
            return Ok(response);
        }
    }

    /// What every request of this client gets.
    fn prepare(&self, request: &mut Request) {
        credentials::from_url(request);
        if let Some(agent) = &self.config.user_agent
            && !request.headers().contains("user-agent")
        {
            // Checked when the client was built.
            let added = request.headers_mut().append("User-Agent", agent.as_bytes());
            assert!(added.is_ok(), "the User-Agent was checked");
        }
    }

    fn transport(&self, core: &Rc<Core>) -> Transport {
        let transports = core.local(|_| Rc::new(Transports::default()));
        if let Some(transport) = transports.find(self.config.id) {
            return transport;
        }
        let transport = Transport::on(core, self.config.transport.clone());
        transports.add(&self.config, transport.clone());
        transport
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

impl Drop for Client {
    fn drop(&mut self) {
        if Arc::strong_count(&self.config) > 1 {
            return;
        }
        let transports = Core::current().and_then(|core| core.find_local::<Transports>());
        if let Some(transports) = transports {
            transports.remove(self.config.id);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .finish()
    }
}

/// The transports of one core: one per client that was used there. Few, so a list.
#[derive(Default)]
struct Transports {
    all: RefCell<Vec<Entry>>,
}

struct Entry {
    id: u64,
    client: Weak<Config>,
    transport: Transport,
}

impl Transports {
    fn find(&self, id: u64) -> Option<Transport> {
        let all = self.all.borrow();
        let entry = all.iter().find(|entry| entry.id == id)?;
        Some(entry.transport.clone())
    }

    /// Adds one, and drops those whose clients are gone.
    fn add(&self, config: &Arc<Config>, transport: Transport) {
        let is_gone = |entry: &mut Entry| entry.client.strong_count() == 0;
        let gone: Vec<Entry> = self.all.borrow_mut().extract_if(.., is_gone).collect();
        drop(gone);
        self.all.borrow_mut().push(Entry {
            id: config.id,
            client: Arc::downgrade(config),
            transport,
        });
    }

    fn remove(&self, id: u64) {
        let found = {
            let mut all = self.all.borrow_mut();
            let at = all.iter().position(|entry| entry.id == id);
            at.map(|at| all.swap_remove(at))
        };
        drop(found);
    }
}

/// Waits for the response head, no longer than the caller's time for everything.
async fn within(in_flight: &mut InFlight, total: Option<TotalTime>) -> Result<Response> {
    let Some(total) = total else {
        return in_flight.await;
    };
    let mut sleep = pin!(runtime::sleep_until(total.deadline));
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = Pin::new(&mut *in_flight).poll(cx) {
            return Poll::Ready(outcome);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(total_timeout(total.timeout, in_flight.phase())));
        }
        Poll::Pending
    })
    .await
}

fn too_many_redirects(max: usize) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!("more than {max} redirects (redirects_max)"),
    )
    .in_phase(Phase::ResponseHead)
}
