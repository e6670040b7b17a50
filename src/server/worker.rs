//! What all connections of one worker share.
//!
//! ```text
//!   Server ──► Worker (one per core) ──► Connection · Connection · Connection
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::cell::RefMut;
use std::sync::Arc;

use crate::http::date::DateCache;
use crate::server::access_log::WorkerLog;
use crate::server::options::Options;
use crate::server::router::Router;
use crate::server::statistics::Counters;

/// One core's part of a server.
pub struct Worker {
    /// Who answers.
    pub router: Router,
    /// Limits and time-outs.
    pub options: Options,
    /// Where requests are noted.
    pub access_log: Option<WorkerLog>,
    /// What this worker did.
    pub counters: Arc<Counters>,
    date: RefCell<DateCache>,
    /// Listeners that have not ended.
    listeners: Cell<usize>,
    is_draining: Cell<bool>,
    is_shutting_down: Cell<bool>,
    closes_new: Cell<bool>,
    is_over: Cell<bool>,
}

impl Worker {
    /// A worker without connections.
    pub fn new(router: Router, options: Options, access_log: Option<WorkerLog>) -> Worker {
        Worker {
            router,
            options,
            access_log,
            counters: Arc::new(Counters::default()),
            date: RefCell::new(DateCache::new()),
            listeners: Cell::new(0),
            is_draining: Cell::new(false),
            is_shutting_down: Cell::new(false),
            closes_new: Cell::new(false),
            is_over: Cell::new(false),
        }
    }

    /// The value of `Date`, written once per second. No user code runs while it is borrowed.
    pub fn date(&self) -> RefMut<'_, DateCache> {
        self.date.borrow_mut()
    }

    /// Names the connections of this worker in `net`.
    pub fn group(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// A listener accepts for this worker.
    pub fn listener_began(&self) {
        self.listeners.set(self.listeners.get() + 1);
    }

    /// A listener has ended, and what it had queued is accepted.
    pub fn listener_ended(&self) {
        self.listeners.set(self.listeners.get() - 1);
    }

    /// True while connections are open, or may still be accepted.
    pub fn is_serving(&self) -> bool {
        self.counters.open() > 0 || self.listeners.get() > 0
    }

    /// From here on connections are refused.
    pub fn end(&self) {
        self.is_over.set(true);
    }

    /// True when connections are refused.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// From here on every response is the last of its connection.
    pub fn begin_drain(&self) {
        self.is_draining.set(true);
    }

    /// True when a response is the last of its connection.
    pub fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// From here on no connection is kept.
    pub fn begin_shutdown(&self) {
        self.is_draining.set(true);
        self.is_shutting_down.set(true);
    }

    /// True when connections end with the request that runs.
    pub fn is_shutting_down(&self) -> bool {
        self.is_shutting_down.get()
    }

    /// From here on connections that have not sent a request are closed too.
    pub fn close_new(&self) {
        self.closes_new.set(true);
    }

    /// True when connections that have not sent a request are closed too.
    pub fn closes_new(&self) -> bool {
        self.closes_new.get()
    }
}
