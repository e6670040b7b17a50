//! Requests to connections: the pool, dialling, and retries, on one core.
//!
//! ```text
//!   round_trip ──► pool ──► idle connection ──────────────────────────► connection
//!                    └────► queue of the host ◄── given back, or dialled ──┘
//!                              └─ dial: look up ─► connect ─► net::open
//! ```
//! A dial belongs to the host and not to the request that caused it: the request takes whichever
//! connection comes first, and a dial that comes too late leaves its connection in the pool.

use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::rc::Weak;
use std::time::Duration;

use ::http::Method;
use bytes::Bytes;
use bytes::BytesMut;
use url::Url;

use crate::client::chain;
use crate::client::connection::Connection;
use crate::client::connection::Slot;
use crate::client::dial;
use crate::client::dial::Dialed;
use crate::client::dial::Made;
use crate::client::dial::Speaks;
use crate::client::exchange::Exchange;
use crate::client::exchange::InFlight;
use crate::client::exchange::Place;
use crate::client::observe::Event;
use crate::client::observe::Observers;
use crate::client::options::RequestOptions;
use crate::client::options::TransportOptions;
use crate::client::pool::Checkout;
use crate::client::pool::Dial;
use crate::client::pool::EntryKey;
use crate::client::pool::OriginRef;
use crate::client::pool::Pool;
use crate::client::pool::PoolStats;
use crate::client::pool::WaiterKey;
use crate::client::round_trip::RoundTrip;
use crate::client::route;
use crate::client::route::pooled_by;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::response::reading::redacted;
use crate::limits::RESPONSE_COPY_BYTES;
use crate::net::ConnectionKey;
use crate::net::Net;
use crate::runtime;
use crate::runtime::Core;
use crate::runtime::Instant;
use crate::runtime::descriptors;
use crate::runtime::descriptors::Holder;

/// Connections of one core, pooled: one request in, one response out. Cheap to clone; clones share
/// the pool. Dropped with its last clone, it closes what rests.
#[derive(Clone)]
pub struct Transport {
    owner: Rc<Owner>,
}

struct Owner {
    shared: Rc<Shared>,
}

/// Counts of a transport, all of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Connections, and who waits for them.
    pub pool: PoolStats,
    /// Requests that were asked for.
    pub requests_total: u64,
    /// Requests sent again since their reused connection was lost without an answer.
    pub retries_total: u64,
}

/// What the transport, its connections and its requests share.
pub(super) struct Shared {
    options: TransportOptions,
    core: Weak<Core>,
    net: Weak<Net>,
    pool: RefCell<Pool<Rc<Slot>, Rc<Exchange>>>,
    /// Short bodies are cut from here; it is used again when all of them are dropped.
    copies: RefCell<BytesMut>,
    is_closed: Cell<bool>,
    connections_total: Cell<u64>,
    requests_total: Cell<u64>,
    retries_total: Cell<u64>,
}

impl Transport {
    /// A transport on this thread's core.
    ///
    /// # Errors
    ///
    /// This thread runs no core.
    pub fn new(options: TransportOptions) -> Result<Transport> {
        let core = Core::try_current()?;
        Ok(Transport::on(&core, options))
    }

    pub(super) fn on(core: &Rc<Core>, options: TransportOptions) -> Transport {
        let net = Rc::downgrade(&Net::of(core));
        let transport = Transport::over(Rc::downgrade(core), net, options);
        let holder: Weak<Owner> = Rc::downgrade(&transport.owner);
        descriptors::register(core, holder);
        transport
    }

    /// A transport without a core: it never dials, and whoever drives its connections calls them
    /// after each request that is sent or given up.
    pub(super) fn detached(options: TransportOptions) -> Transport {
        Transport::over(Weak::new(), Weak::new(), options)
    }

    fn over(core: Weak<Core>, net: Weak<Net>, options: TransportOptions) -> Transport {
        let shared = Rc::new(Shared {
            pool: RefCell::new(Pool::new(options.pool)),
            options,
            core,
            net,
            copies: RefCell::default(),
            is_closed: Cell::new(false),
            connections_total: Cell::new(0),
            requests_total: Cell::new(0),
            retries_total: Cell::new(0),
        });
        Transport {
            owner: Rc::new(Owner { shared }),
        }
    }

    /// Begins a request. Nothing is sent before this core's next turn, and it goes on while the
    /// future is not polled.
    pub fn send(&self, mut request: Request) -> InFlight {
        let mut options = RequestOptions::take_from(&mut request);
        options.begin(self.owner.shared.now(), None);
        self.send_with(request, options, false)
    }

    pub(super) fn send_with(
        &self,
        request: Request,
        mut options: RequestOptions,
        keeps_request: bool,
    ) -> InFlight {
        let shared = &self.owner.shared;
        shared.requests_total.set(shared.requests_total.get() + 1);
        let routed = shared.route(&request, &mut options);
        let exchange = Exchange::new(request, options, shared.now());
        exchange.set_keeps_request(keeps_request);
        let in_flight = InFlight::new(Rc::clone(&exchange), Rc::clone(shared));
        match routed {
            Ok(()) => shared.dispatch(exchange),
            Err(error) => shared.refuse(&exchange, error),
        }
        in_flight
    }

    /// Begins a request on a detached transport. Where it needs a new connection, that is made at
    /// once, and returned: it has to be called with `on_ready` first.
    pub(super) fn send_detached(
        &self,
        request: Request,
        mut options: RequestOptions,
        now: Instant,
    ) -> Result<(InFlight, Option<Connection>)> {
        let shared = &self.owner.shared;
        shared.route(&request, &mut options)?;
        let exchange = Exchange::new(request, options, now);
        let checkout = shared.checkout(&exchange, now);
        let checkout = checkout.expect("the request is here")?;
        let in_flight = InFlight::new(Rc::clone(&exchange), Rc::clone(shared));
        let connection = match checkout {
            Checkout::Dial(waiter, dial) => {
                exchange.set_place(Place::Dialing(waiter));
                let slot = Rc::new(Slot::new());
                let connection =
                    Connection::new(Rc::clone(shared), Rc::clone(&slot), Made::default());
                shared.adopt(dial, slot, None, now);
                Some(connection)
            }
            other => {
                shared.place(other, exchange);
                None
            }
        };
        shared.settle();
        Ok((in_flight, connection))
    }

    /// Closes the connections that rest. Those at work stay.
    pub fn close_idle(&self) {
        let shared = &self.owner.shared;
        shared.pool.borrow_mut().evict_idle();
        shared.settle();
    }

    /// Looks at the pool.
    #[cfg(feature = "simulation")]
    pub(super) fn check(&self) {
        let shared = &self.owner.shared;
        shared.pool.borrow_mut().check();
    }

    /// Counts, now.
    pub fn stats(&self) -> TransportStats {
        let shared = &self.owner.shared;
        TransportStats {
            pool: shared.pool.borrow().stats(),
            requests_total: shared.requests_total.get(),
            retries_total: shared.retries_total.get(),
        }
    }
}

impl RoundTrip for Transport {
    async fn round_trip(&self, mut request: Request) -> Result<Response> {
        let mut options = RequestOptions::take_from(&mut request);
        options.begin(self.owner.shared.now(), None);
        chain::head_of(
            &mut self.send_with(request, options.clone(), false),
            &options,
        )
        .await
    }
}

impl Holder for Owner {
    /// One connection, the oldest: each is worth a dial. It is closed in the next turn.
    fn give_up(&self) -> bool {
        self.shared.pool.borrow_mut().evict_oldest();
        self.shared.settle();
        false
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.is_closed.set(true);
        self.shared.pool.borrow_mut().evict_idle();
        self.shared.settle();
    }
}

impl Shared {
    pub(super) fn options(&self) -> &TransportOptions {
        &self.options
    }

    /// True when connections are not kept: the head says so.
    pub(super) fn is_last_use(&self) -> bool {
        let pool = &self.options.pool;
        !self.options.keep_alive || pool.idle_per_host_max == 0 || pool.idle_max == 0
    }

    /// The number of a connection that is made.
    pub(super) fn number_connection(&self) -> u64 {
        let number = self.connections_total.get() + 1;
        self.connections_total.set(number);
        number
    }

    /// A copy of a few received bytes, in memory that is used again.
    pub(super) fn copy(&self, bytes: &[u8]) -> Bytes {
        if bytes.len() > RESPONSE_COPY_BYTES / 4 {
            return Bytes::copy_from_slice(bytes);
        }
        let mut copies = self.copies.borrow_mut();
        if copies.capacity() < bytes.len() {
            copies.reserve(RESPONSE_COPY_BYTES);
        }
        copies.extend_from_slice(bytes);
        copies.split().freeze()
    }

    // ---- requests ----------------------------------------------------------------------------

    /// Chooses the way of a request, where proxies may be one: calls what the user gave for it.
    fn route(&self, request: &Request, options: &mut RequestOptions) -> Result<()> {
        if self.options.dial.via.is_some() && !options.has_proxies() {
            return Ok(());
        }
        let proxies = options.proxies_or(&self.options.proxies);
        let Some(url) = request.url() else {
            return Ok(());
        };
        if proxies.is_none()
            || route::choose(options.via_override(), None, url.host_str()).is_some()
        {
            return Ok(());
        }
        // A CONNECT of the caller's is for the proxy that its URL names.
        if *request.method() == Method::CONNECT {
            return Ok(());
        }
        let chosen = proxies.choose(url, runtime::is_simulated());
        if let Some(via) = chosen.map_err(|error| error.for_url(redacted(url)))? {
            options.set_via(via);
        }
        Ok(())
    }

    /// Finds a connection for a request, or lets it wait for one.
    pub(super) fn dispatch(self: &Rc<Self>, exchange: Rc<Exchange>) {
        let observers = self.observers(&exchange);
        if let Some(observers) = &observers {
            self.tell_of(&exchange, observers, |origin| Event::Wanted { origin });
        }
        match self.checkout(&exchange, self.now()) {
            // The caller has gone.
            None => return,
            Some(Err(error)) => self.refuse(&exchange, error),
            Some(Ok(checkout)) => {
                if let (Checkout::Wait(_), Some(observers)) = (&checkout, &observers) {
                    self.tell_of(&exchange, observers, |origin| Event::Queued { origin });
                }
                self.place(checkout, exchange);
            }
        }
        self.settle();
    }

    /// The request cannot be sent.
    fn refuse(&self, exchange: &Exchange, error: Error) {
        exchange.fail(error, self.observers(exchange).as_ref());
    }

    /// Tells of a request that has no connection yet.
    fn tell_of(
        &self,
        exchange: &Exchange,
        observers: &Observers,
        event: impl FnOnce(OriginRef<'_>) -> Event<'_>,
    ) {
        let origin = exchange.with_request(|request, options| {
            let origin = origin_of(request.url(), options, &self.options).ok()?;
            Some(origin.to_origin())
        });
        if let Some(origin) = origin.flatten() {
            observers.tell(&event(origin.borrowed()));
        }
    }

    /// A connection, or a place in the queue of the host; `None` when the caller has gone.
    fn checkout(&self, exchange: &Rc<Exchange>, now: Instant) -> Option<Result<Checkout>> {
        exchange.with_request(|request, options| {
            let origin = pooled_by(origin_of(request.url(), options, &self.options)?);
            let mut pool = self.pool.borrow_mut();
            match pool.checkout(origin, now, || Rc::clone(exchange)) {
                Checkout::Full => Err(too_many_wait(self.options.pool.waiting_max)),
                checkout => Ok(checkout),
            }
        })
    }

    fn place(self: &Rc<Self>, checkout: Checkout, exchange: Rc<Exchange>) {
        match checkout {
            Checkout::Ready(entry) => {
                let slot = self.pool.borrow().get(entry).cloned();
                self.give(slot.expect("checked out just now"), exchange);
            }
            Checkout::Wait(waiter) => exchange.set_place(Place::Queued(waiter)),
            Checkout::Full => unreachable!("told as an error"),
            Checkout::Dial(waiter, dial) => {
                exchange.set_place(Place::Dialing(waiter));
                self.dial(dial, self.observers(&exchange));
            }
        }
    }

    /// Who hears of this request.
    fn observers(&self, exchange: &Exchange) -> Option<Observers> {
        let client = &self.options.observer;
        exchange
            .with_request(|_, options| options.observers(client))
            .flatten()
    }

    /// A request whose connection was lost before it could answer.
    pub(super) fn retry(self: &Rc<Self>, exchange: Rc<Exchange>) {
        self.retries_total.set(self.retries_total.get() + 1);
        if let Some(observers) = self.observers(&exchange) {
            observers.tell(&Event::Retrying);
        }
        self.dispatch(exchange);
    }

    fn give(&self, slot: Rc<Slot>, exchange: Rc<Exchange>) {
        exchange.set_place(Place::Given(Rc::clone(&slot)));
        slot.give(exchange);
        slot.wake(self);
    }

    /// The caller of a waiting request has gone.
    pub(super) fn cancel_waiter(self: &Rc<Self>, waiter: WaiterKey) {
        let canceled = self.pool.borrow_mut().cancel(waiter);
        drop(canceled);
        self.settle();
    }

    /// The caller of a request has gone that was given to a connection: if that has not begun, it
    /// serves another.
    pub(super) fn take_back(self: &Rc<Self>, slot: &Rc<Slot>, exchange: &Rc<Exchange>) {
        match slot.take() {
            Some(given) if Rc::ptr_eq(&given, exchange) => {
                drop(given);
                if let Some(next) = self.release(slot, self.now()) {
                    self.give(Rc::clone(slot), next);
                }
                slot.wake(self);
            }
            Some(other) => slot.give(other),
            None => slot.wake(self),
        }
    }

    // ---- connections -------------------------------------------------------------------------

    /// The server of a connection says how long it keeps one that rests.
    pub(super) fn set_peer_timeout(&self, slot: &Slot, timeout: Duration) {
        if let Some(entry) = slot.entry() {
            self.pool.borrow_mut().set_peer_timeout(entry, timeout);
        }
    }

    /// A connection is free: the request that it has to serve next, if one waits.
    pub(super) fn release(self: &Rc<Self>, slot: &Slot, now: Instant) -> Option<Rc<Exchange>> {
        let entry = slot.entry()?;
        let next = {
            let mut pool = self.pool.borrow_mut();
            let next = pool.release(entry, now);
            if self.is_closed.get() && next.is_none() {
                pool.evict_idle();
            }
            next
        };
        self.settle();
        next
    }

    /// A connection closes.
    pub(super) fn remove(self: &Rc<Self>, entry: EntryKey) {
        let removed = self.pool.borrow_mut().remove(entry);
        drop(removed);
        self.settle();
    }

    /// Until when the connection may rest; `None` when the pool does not have it at rest.
    pub(super) fn idle_deadline(&self, slot: &Slot) -> Option<Instant> {
        self.pool.borrow().idle_deadline(slot.entry()?)
    }

    /// The deadline of a connection at rest has come: how long it may rest from here on, `None`
    /// when it has to close.
    pub(super) fn expire(self: &Rc<Self>, slot: &Slot, now: Instant) -> Option<Instant> {
        let deadline = self.pool.borrow_mut().expire(slot.entry()?, now);
        self.settle();
        deadline
    }

    pub(super) fn wake(&self, connection: ConnectionKey) {
        if let (Some(core), Some(net)) = (self.core.upgrade(), self.net.upgrade()) {
            net.wake(&core, connection);
        }
    }

    /// Does what the pool has asked for: closes what was evicted, dials for those who wait.
    fn settle(self: &Rc<Self>) {
        loop {
            let evicted = self.pool.borrow_mut().next_evicted();
            let Some(slot) = evicted else { break };
            slot.evict();
            slot.wake(self);
        }
        loop {
            let dial = self.pool.borrow_mut().next_dial();
            let Some(dial) = dial else { break };
            let client = self.options.observer.clone();
            let observers = client.map(|client| Observers {
                request: None,
                client: Some(client),
            });
            self.dial(dial, observers);
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.core
            .upgrade()
            .map_or(Instant::default(), |core| core.now())
    }

    // ---- dialling ----------------------------------------------------------------------------

    fn dial(self: &Rc<Self>, dial: Dial, observers: Option<Observers>) {
        if !runtime::is_inside() {
            // A request was given up outside of the core that would have to dial for the next.
            self.dial_failed(
                dial,
                Error::new(ErrorKind::Shutdown, "the core is not running"),
            );
            return;
        }
        let origin = self.pool.borrow().dial_origin(&dial);
        let mut dialing = Dialing {
            shared: Rc::clone(self),
            dial: Some(dial),
        };
        runtime::spawn(async move {
            let options = &dialing.shared.options;
            let dialed = dial::dial(&origin, options, observers.as_ref()).await;
            dialing.end(dialed);
        });
    }

    fn dialed(self: &Rc<Self>, dial: Dial, dialed: Result<Dialed>) {
        let opened = dialed.and_then(|dialed| self.open(dialed));
        match opened {
            Ok((slot, connection)) => {
                self.adopt(dial, slot, Some(connection), self.now());
            }
            Err(error) => self.dial_failed(dial, error),
        }
        self.settle();
    }

    /// A connection was made. Without a request it begins to rest, when it is called first.
    fn adopt(&self, dial: Dial, slot: Rc<Slot>, connection: Option<ConnectionKey>, now: Instant) {
        let mut pool = self.pool.borrow_mut();
        let (entry, waiting) = pool.connected(dial, Rc::clone(&slot), now);
        if self.is_closed.get() && waiting.is_none() {
            // The client is gone, and nobody would close what rests.
            pool.evict_idle();
        }
        drop(pool);
        slot.set_keys(entry, connection);
        if let Some(exchange) = waiting {
            self.give(slot, exchange);
        }
    }

    fn open(self: &Rc<Self>, dialed: Dialed) -> Result<(Rc<Slot>, ConnectionKey)> {
        let (Some(core), Some(net)) = (self.core.upgrade(), self.net.upgrade()) else {
            return Err(Error::new(ErrorKind::Shutdown, "the core is ending"));
        };
        let slot = Rc::new(Slot::new());
        let connection = match dialed.speaks {
            Speaks::Http1 => Connection::new(Rc::clone(self), Rc::clone(&slot), dialed.made),
        };
        Ok((slot, net.open(&core, dialed.opening, Box::new(connection))))
    }

    fn dial_failed(&self, dial: Dial, error: Error) {
        let told = self.pool.borrow_mut().dial_failed(dial);
        let Some(exchange) = told else {
            return;
        };
        let error = match error.phase() {
            Some(_) => error,
            None => error.in_phase(Phase::Connect),
        };
        let url = exchange.with_request(|request, _| request.url().map(redacted));
        let error = match url.flatten() {
            Some(url) => error.for_url(url),
            None => error,
        };
        exchange.fail(error, self.observers(&exchange).as_ref());
    }
}

/// A dial under way. Whatever becomes of it, the pool hears: others wait for its place.
struct Dialing {
    shared: Rc<Shared>,
    /// `None` once it has ended.
    dial: Option<Dial>,
}

impl Dialing {
    fn end(&mut self, dialed: Result<Dialed>) {
        if let Some(dial) = self.dial.take() {
            self.shared.dialed(dial, dialed);
        }
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        let text = "the dial was given up: its core ended, or code that it called has panicked";
        self.end(Err(Error::new(ErrorKind::Canceled, text)));
    }
}

fn too_many_wait(max: usize) -> Error {
    let text = format!("{max} requests wait for connections already (waiting_max)");
    Error::new(ErrorKind::Limit, text).in_phase(Phase::Pool)
}

/// Where a request goes.
fn origin_of<'a>(
    url: Option<&'a Url>,
    options: &'a RequestOptions,
    defaults: &'a TransportOptions,
) -> Result<OriginRef<'a>> {
    let invalid = |text| Error::new(ErrorKind::Invalid, text);
    let Some(url) = url else {
        return Err(invalid("a request that is sent needs a URL: Request::new"));
    };
    let error = match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        ("http", Some(host), Some(port)) => {
            return Ok(OriginRef {
                secure: false,
                host,
                port,
                via: route::choose(
                    options.via_override(),
                    defaults.dial.via.as_ref(),
                    Some(host),
                ),
            });
        }
        ("https", ..) => invalid("this build has no TLS: only http URLs can be fetched"),
        ("http", ..) => invalid("the URL has no host"),
        _ => invalid("only http URLs can be fetched"),
    };
    Err(error.for_url(redacted(url)))
}
