//! What can be set on a transport, with its defaults, and on one request.
//!
//! ```text
//!   connect ──► write ──► response head ──► body        a time-out for each phase
//!      pool: idle per host · idle · per host · idle time-out · age
//!
//!   RequestOptions: what one request wants otherwise; travels as an extension of the request
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::client::dial::DialOptions;
use crate::client::observe::Observer;
use crate::client::observe::Observers;
use crate::client::observe::OnInformational;
use crate::client::pool::PoolOptions;
use crate::client::proxy::Proxies;
use crate::client::route::Via;
use crate::http::head::HeadLimits;
use crate::http::request::Request;
use crate::limits::BODY_TIMEOUT;
use crate::limits::CONNECT_TIMEOUT;
use crate::limits::CONTINUE_TIMEOUT;
use crate::limits::POOL_TIMEOUT;
use crate::limits::PROXY_TIMEOUT;
use crate::limits::RESPONSE_HEAD_BYTES_MAX;
use crate::limits::RESPONSE_HEAD_TIMEOUT;
use crate::limits::RESPONSE_HEADER_COUNT_MAX;
use crate::limits::WRITE_TIMEOUT;
use crate::runtime::Instant;

/// Time-outs, limits and pool sizes of a transport. All of them hold per core.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Bounds of the pool.
    pub pool: PoolOptions,
    /// How hosts are found and reached.
    pub dial: DialOptions,
    /// How long a request waits for a connection of others, where its host has all it may have.
    pub pool_timeout: Duration,
    /// To look up a name and connect, over all of its addresses.
    pub connect_timeout: Duration,
    /// For a proxy to make a tunnel.
    pub proxy_timeout: Duration,
    /// Between two signs of progress of a request that is sent.
    pub write_timeout: Duration,
    /// From the end of the request to the end of the response head.
    pub response_head_timeout: Duration,
    /// How long a body waits for `100 Continue` where the request has `Expect`; then it is sent. Zero
    /// does not wait.
    pub continue_timeout: Duration,
    /// Between two signs of progress of a response body that is received. A body that nobody reads
    /// is not received, and its time does not run.
    pub body_timeout: Duration,
    /// Bytes of a response head.
    pub response_head_bytes_max: usize,
    /// Fields of a response head.
    pub response_header_count_max: usize,
    /// Whether connections serve further requests.
    pub keep_alive: bool,
    /// Requests that one connection serves; the last one says `Connection: close`.
    pub requests_per_connection_max: Option<u64>,
    /// Who is told of what happens.
    pub observer: Option<Observer>,
    /// By which proxies requests go; none by default, not even those of the environment.
    pub proxies: Proxies,
}

impl Default for TransportOptions {
    fn default() -> TransportOptions {
        TransportOptions {
            pool: PoolOptions::default(),
            dial: DialOptions::default(),
            pool_timeout: POOL_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            proxy_timeout: PROXY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            response_head_timeout: RESPONSE_HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            response_head_bytes_max: RESPONSE_HEAD_BYTES_MAX,
            response_header_count_max: RESPONSE_HEADER_COUNT_MAX,
            continue_timeout: CONTINUE_TIMEOUT,
            keep_alive: true,
            requests_per_connection_max: None,
            observer: None,
            proxies: Proxies::none(),
        }
    }
}

impl TransportOptions {
    /// What a response head may take.
    pub(super) fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            bytes: self.response_head_bytes_max,
            fields: self.response_header_count_max,
            ..HeadLimits::RESPONSE
        }
    }
}

/// The time that the caller gave for everything, up to the end of the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct TotalTime {
    /// How long, for the error's text.
    pub(super) timeout: Duration,
    /// Until when.
    pub(super) deadline: Instant,
}

/// What one request wants otherwise than its client. An extension of the [`Request`], so that it
/// passes through every [`RoundTrip`](crate::client::RoundTrip); the transport takes it out.
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    /// The time for everything: connecting, redirects, and the body to its last byte.
    pub timeout: Option<Duration>,
    /// Set when the request begins, so that all of its attempts share it.
    pub(super) total: Option<TotalTime>,
    /// What few requests have, behind one pointer.
    rare: Option<Arc<Rare>>,
}

#[derive(Clone, Debug, Default)]
struct Rare {
    connect_timeout: Option<Duration>,
    response_head_timeout: Option<Duration>,
    body_timeout: Option<Duration>,
    observer: Option<Observer>,
    on_informational: Option<OnInformational>,
    redirects_max: Option<usize>,
    via: Option<Via>,
    proxies: Option<Proxies>,
}

impl RequestOptions {
    /// Takes the options of a request out of it.
    pub fn take_from(request: &mut Request) -> RequestOptions {
        if request.extensions().is_empty() {
            return RequestOptions::default();
        }
        let taken = request.extensions_mut().remove::<RequestOptions>();
        taken.unwrap_or_default()
    }

    /// True exactly when nothing was asked for.
    pub fn is_default(&self) -> bool {
        self.timeout.is_none() && self.total.is_none() && self.rare.is_none()
    }

    /// Puts the options into a request, where they replace others.
    pub fn put_into(self, request: &mut Request) {
        request.extensions_mut().insert(self);
    }

    /// With this time to get a connection: waiting for one of others included.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> RequestOptions {
        self.rare_mut().connect_timeout = Some(timeout);
        self
    }

    /// With this time from the end of the request to the end of the response head.
    #[must_use]
    pub fn response_head_timeout(mut self, timeout: Duration) -> RequestOptions {
        self.rare_mut().response_head_timeout = Some(timeout);
        self
    }

    /// With this time between two signs of progress of the response body.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> RequestOptions {
        self.rare_mut().body_timeout = Some(timeout);
        self
    }

    /// With so many redirects that are followed; 0 returns them as they come.
    #[must_use]
    pub fn redirects_max(mut self, count: usize) -> RequestOptions {
        self.rare_mut().redirects_max = Some(count);
        self
    }

    /// With this observer, beside that of the client.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> RequestOptions {
        self.rare_mut().observer = Some(observer);
        self
    }

    /// Calls `hook` for each informational response (1xx but for 101), 100 included. Its error ends
    /// the request.
    #[must_use]
    pub fn on_informational(mut self, hook: OnInformational) -> RequestOptions {
        self.rare_mut().on_informational = Some(hook);
        self
    }

    /// By this way, whatever the client would choose.
    #[must_use]
    pub fn via(mut self, via: Via) -> RequestOptions {
        self.rare_mut().via = Some(via);
        self
    }

    /// By these proxies, or by none, instead of those of the client.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> RequestOptions {
        self.rare_mut().proxies = Some(proxies);
        self
    }

    /// The request begins: its time for everything runs, unless it runs already.
    pub(super) fn begin(&mut self, now: Instant, default_timeout: Option<Duration>) {
        if self.total.is_none() {
            self.total = self.timeout.or(default_timeout).map(|timeout| TotalTime {
                timeout,
                deadline: now + timeout,
            });
        }
    }

    /// The way that this request goes, where it is not the straight one.
    pub(super) fn set_via(&mut self, via: Via) {
        self.rare_mut().via = Some(via);
    }

    pub(super) fn via_override(&self) -> Option<&Via> {
        self.rare.as_ref()?.via.as_ref()
    }

    pub(super) fn own_connect_timeout(&self) -> Option<Duration> {
        self.rare.as_ref()?.connect_timeout
    }

    pub(super) fn informational_hook(&self) -> Option<&OnInformational> {
        self.rare.as_ref()?.on_informational.as_ref()
    }

    pub(super) fn has_proxies(&self) -> bool {
        let rare = self.rare.as_ref();
        rare.is_some_and(|rare| rare.proxies.is_some())
    }

    pub(super) fn proxies_or<'a>(&'a self, default: &'a Proxies) -> &'a Proxies {
        let own = self.rare.as_ref().and_then(|rare| rare.proxies.as_ref());
        own.unwrap_or(default)
    }

    pub(super) fn head_timeout_or(&self, default: Duration) -> Duration {
        let own = self
            .rare
            .as_ref()
            .and_then(|rare| rare.response_head_timeout);
        own.unwrap_or(default)
    }

    pub(super) fn redirects_max_or(&self, default: usize) -> usize {
        let own = self.rare.as_ref().and_then(|rare| rare.redirects_max);
        own.unwrap_or(default)
    }

    pub(super) fn body_timeout_or(&self, default: Duration) -> Duration {
        let own = self.rare.as_ref().and_then(|rare| rare.body_timeout);
        own.unwrap_or(default)
    }

    /// Who hears of this request; `None` where nobody does.
    pub(super) fn observers(&self, client: &Option<Observer>) -> Option<Observers> {
        let request = self.rare.as_ref().and_then(|rare| rare.observer.clone());
        if request.is_none() && client.is_none() {
            return None;
        }
        let client = client.clone();
        Some(Observers { request, client })
    }

    fn rare_mut(&mut self) -> &mut Rare {
        Arc::make_mut(self.rare.get_or_insert_default())
    }
}
