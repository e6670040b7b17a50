//! The server as seen from other threads.
//!
//! ```text
//!   ServerHandle ─► State ◄─ Server, Workers
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Waker;

use crate::guard;
use crate::guard::guarded;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::net::Address;
use crate::runtime;
use crate::runtime::EngineChoice;
use crate::runtime::Event;
use crate::runtime::Process;
use crate::server::access_log::AccessLog;
use crate::server::readiness;
use crate::server::statistics::Counters;
use crate::server::statistics::Statistics;

/// A handle to a server, for any thread; clones are the same handle. In a child of fork(2), which has
/// no part in the server, it tells of none and has no effect.
#[derive(Clone)]
pub struct ServerHandle {
    state: Arc<State>,
}

/// What a server and its handles share.
#[derive(Default)]
pub(super) struct State {
    process: Process,
    /// True exactly while all workers accept connections.
    is_serving: AtomicBool,
    /// True exactly when the user said that the server is not ready.
    is_held: AtomicBool,
    is_shutdown_requested: AtomicBool,
    is_aborted: AtomicBool,
    parts: Mutex<Parts>,
}

/// What a health check is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Starting,
    Ready,
    /// The user said that it is not ready.
    Held,
    Draining,
}

#[derive(Default)]
struct Parts {
    addresses: Vec<Address>,
    counters: Vec<Arc<Counters>>,
    access_log: Option<AccessLog>,
    /// Of who waits in `run`.
    event: Option<Arc<Event>>,
    /// Of who waits in `run_until`.
    waker: Option<Waker>,
    /// What is called when a shutdown begins.
    on_shutdown: Vec<Box<dyn FnOnce() + Send>>,
}

impl ServerHandle {
    pub(super) fn new(state: Arc<State>) -> ServerHandle {
        ServerHandle { state }
    }

    /// Asks the server to end, as SIGTERM does. Returns at once. What happens then, in this order:
    ///
    /// 1. [`ServerHandle::is_ready`] is false, [`readiness`](fn@crate::server::readiness) answers
    ///    503, and every response says `Connection: close`.
    /// 2. For [`Server::drain_delay`](crate::Server::drain_delay), connections and requests are
    ///    taken as before.
    /// 3. The server stops to listen. Connections that wait to be accepted are served still; those
    ///    that are idle are closed.
    /// 4. Requests that run are finished. What is not through within
    ///    [`Server::shutdown_timeout`](crate::Server::shutdown_timeout) is aborted.
    /// 5. `run` returns.
    pub fn shutdown(&self) {
        self.state.request_shutdown();
    }

    /// Asks the server to end without waiting: connections are aborted, whatever runs on them.
    /// Returns at once. Also cuts short a shutdown that has begun.
    pub fn abort(&self) {
        self.state.is_aborted.store(true, Ordering::SeqCst);
        self.shutdown();
    }

    /// Calls `call` when a shutdown begins: to end what would go on for ever, such as streams of
    /// events. At once when it has begun already. `call` runs on the thread that begins it, and must
    /// not block.
    pub fn on_shutdown(&self, call: impl FnOnce() + Send + 'static) {
        let Some(mut parts) = self.state.parts() else {
            return;
        };
        if !self.state.is_shutdown_requested() {
            parts.on_shutdown.push(Box::new(call));
            return;
        }
        drop(parts);
        call();
    }

    /// True from the moment that all workers accept connections until a shutdown begins, unless
    /// [`ServerHandle::set_ready`] says otherwise.
    pub fn is_ready(&self) -> bool {
        self.state.health() == Health::Ready
    }

    /// With `false`, [`ServerHandle::is_ready`] and health checks say no until it is called with
    /// `true`: while a cache is filled, or something is gone that requests need. The server goes on
    /// serving those that come.
    pub fn set_ready(&self, is_ready: bool) {
        self.state.is_held.store(!is_ready, Ordering::SeqCst);
    }

    /// A handler that answers health checks for this server, wherever it is asked; within the
    /// server itself, [`server::readiness`](fn@crate::server::readiness) does.
    ///
    /// ```
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    ///
    /// let public = Server::new(Router::new().get("/{$}", |_: &Request| "hello"));
    /// let private = Server::new(Router::new().get("/ready", public.handle().readiness()));
    /// # drop(private);
    /// ```
    pub fn readiness(&self) -> impl Fn(&Request) -> Response + Clone + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move |_: &Request| readiness::answer(state.health())
    }

    /// What the server did so far, over all workers.
    pub fn statistics(&self) -> Statistics {
        let mut sum = Statistics::default();
        let Some(parts) = self.state.parts() else {
            return sum;
        };
        for counters in &parts.counters {
            counters.add_to(&mut sum);
        }
        if let Some(log) = &parts.access_log {
            sum.access_log_dropped = log.dropped();
            sum.access_log_failures = log.failures();
        }
        sum
    }

    /// What drives the rings of this process, and why; `None` before there is one.
    pub fn engine(&self) -> Option<EngineChoice> {
        runtime::engine()
    }

    /// The first TCP address that is listened on.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.state.local_addr()
    }

    /// All addresses that are listened on.
    pub fn addresses(&self) -> Vec<Address> {
        self.state.addresses()
    }
}

impl State {
    /// False in a child of the process that made the server.
    pub(super) fn is_here(&self) -> bool {
        self.process.is_here()
    }

    /// `None` in a child of fork(2), for which they may be locked for ever.
    fn parts(&self) -> Option<MutexGuard<'_, Parts>> {
        // Plain data: no panic leaves it half changed.
        let lock = || self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_here().then(lock)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Parts) -> T) -> Option<T> {
        self.parts().map(|mut parts| change(&mut parts))
    }

    pub(super) fn add_address(&self, address: Address) {
        self.change(|parts| parts.addresses.push(address));
    }

    pub(super) fn add_counters(&self, counters: Arc<Counters>) {
        self.change(|parts| parts.counters.push(counters));
    }

    pub(super) fn set_access_log(&self, log: Option<AccessLog>) {
        self.change(|parts| parts.access_log = log);
    }

    /// Sets whom a shutdown notifies.
    pub(super) fn set_event(&self, event: Option<Arc<Event>>) {
        self.change(|parts| parts.event = event);
    }

    /// Sets whom a shutdown wakes. After one nobody is kept: handles outlive the core of that waker.
    pub(super) fn set_waker(&self, waker: Waker) {
        // Dropped when nothing is locked: the one before, or this one.
        let mut waker = Some(waker);
        self.change(|parts| {
            if !self.is_shutdown_requested() {
                std::mem::swap(&mut parts.waker, &mut waker);
            }
        });
    }

    /// Says whether all workers accept connections.
    pub(super) fn set_serving(&self, is_serving: bool) {
        self.is_serving.store(is_serving, Ordering::SeqCst);
    }

    pub(super) fn health(&self) -> Health {
        if self.is_shutdown_requested() {
            Health::Draining
        } else if !self.is_here() || !self.is_serving.load(Ordering::SeqCst) {
            Health::Starting
        } else if self.is_held.load(Ordering::SeqCst) {
            Health::Held
        } else {
            Health::Ready
        }
    }

    /// Begins a shutdown: whoever waits for one is told.
    pub(super) fn request_shutdown(&self) {
        let (event, waker, calls) = {
            let Some(mut parts) = self.parts() else {
                return;
            };
            self.is_shutdown_requested.store(true, Ordering::SeqCst);
            let calls = std::mem::take(&mut parts.on_shutdown);
            (parts.event.clone(), parts.waker.take(), calls)
        };
        for call in calls {
            // A shutdown goes on whatever its guests do.
            let _ = guarded(call);
        }
        if let Some(event) = event {
            event.notify();
        }
        guard::wake(waker);
    }

    pub(super) fn is_shutdown_requested(&self) -> bool {
        self.is_shutdown_requested.load(Ordering::SeqCst)
    }

    /// True when a shutdown is not to wait for anything.
    pub(super) fn is_aborted(&self) -> bool {
        self.is_aborted.load(Ordering::SeqCst)
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses()
            .into_iter()
            .find_map(|address| match address {
                Address::Tcp(address) => Some(address),
                Address::Unix(_) => None,
            })
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        let addresses = self.change(|parts| parts.addresses.clone());
        addresses.unwrap_or_default()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("is_ready", &self.is_ready())
            .field("statistics", &self.statistics())
            .finish()
    }
}
