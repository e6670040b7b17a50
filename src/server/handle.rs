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

use crate::net::Address;
use crate::runtime::Event;
use crate::server::access_log::AccessLog;
use crate::server::statistics::Counters;
use crate::server::statistics::Statistics;

/// A handle to a server, for any thread; clones are the same handle.
#[derive(Clone)]
pub struct ServerHandle {
    state: Arc<State>,
}

/// What a server and its handles share.
#[derive(Default)]
pub(super) struct State {
    is_ready: AtomicBool,
    is_shutdown_requested: AtomicBool,
    parts: Mutex<Parts>,
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
}

impl ServerHandle {
    pub(super) fn new(state: Arc<State>) -> ServerHandle {
        ServerHandle { state }
    }

    /// Asks the server to end: it stops to listen, finishes the requests that run within the
    /// shutdown time-out, and `run` returns. Returns at once.
    pub fn shutdown(&self) {
        self.state
            .is_shutdown_requested
            .store(true, Ordering::SeqCst);
        let (event, waker) = {
            let mut parts = self.state.parts();
            (parts.event.clone(), parts.waker.take())
        };
        if let Some(event) = event {
            event.notify();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// True from the moment that all workers accept connections until a shutdown begins.
    pub fn is_ready(&self) -> bool {
        self.state.is_ready.load(Ordering::SeqCst) && !self.state.is_shutdown_requested()
    }

    /// What the server did so far, over all workers.
    pub fn statistics(&self) -> Statistics {
        let parts = self.state.parts();
        let mut sum = Statistics::default();
        for counters in &parts.counters {
            counters.add_to(&mut sum);
        }
        sum.access_log_dropped = parts.access_log.as_ref().map_or(0, AccessLog::dropped);
        sum
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
    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Plain data: no panic leaves it half changed.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_address(&self, address: Address) {
        self.parts().addresses.push(address);
    }

    pub(super) fn add_counters(&self, counters: Arc<Counters>) {
        self.parts().counters.push(counters);
    }

    pub(super) fn set_access_log(&self, log: Option<AccessLog>) {
        self.parts().access_log = log;
    }

    /// Sets whom a shutdown notifies.
    pub(super) fn set_event(&self, event: Option<Arc<Event>>) {
        self.parts().event = event;
    }

    /// Sets whom a shutdown wakes.
    pub(super) fn set_waker(&self, waker: Waker) {
        let replaced = self.parts().waker.replace(waker);
        drop(replaced);
    }

    pub(super) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::SeqCst);
    }

    pub(super) fn is_shutdown_requested(&self) -> bool {
        self.is_shutdown_requested.load(Ordering::SeqCst)
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.parts()
            .addresses
            .iter()
            .find_map(|address| match address {
                Address::Tcp(address) => Some(*address),
                Address::Unix(_) => None,
            })
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        self.parts().addresses.clone()
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
