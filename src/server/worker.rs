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
    is_shutting_down: Cell<bool>,
    closes_new: Cell<bool>,
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
            is_shutting_down: Cell::new(false),
            closes_new: Cell::new(false),
        }
    }

    /// The value of `Date`, written once per second. No user code runs while it is borrowed.
    pub fn date(&self) -> RefMut<'_, DateCache> {
        self.date.borrow_mut()
    }

    /// From here on no connection is kept.
    pub fn begin_shutdown(&self) {
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
