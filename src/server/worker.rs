//! What all connections of one worker share.
//!
//! ```text
//!   Server ──► Worker (one per core) ──► Connection · Connection · Connection
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::cell::RefMut;
use std::net::SocketAddr;
use std::sync::Arc;

use ::http::StatusCode;

use crate::guard::guarded;
use crate::http::date::DateCache;
use crate::server::access_log::WorkerLog;
use crate::server::hooks::ConnectionEvent;
use crate::server::hooks::HandlerError;
use crate::server::hooks::Hooks;
use crate::server::hooks::ProtocolError;
use crate::server::hooks::ProtocolErrorKind;
use crate::server::lifecycle::Lifecycle;
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
    /// What is done about connections beside serving them.
    pub lifecycle: Lifecycle,
    date: RefCell<DateCache>,
    /// Listeners that have not ended.
    listeners: Cell<usize>,
    is_draining: Cell<bool>,
    is_shutting_down: Cell<bool>,
    closes_new: Cell<bool>,
    is_over: Cell<bool>,
    /// True exactly when something is to be kept about each connection.
    keeps_lives: bool,
    /// Connections over a limit that wait for their answer.
    refusals: Cell<usize>,
}

impl Worker {
    /// A worker without connections.
    pub fn new(router: Router, options: Options, access_log: Option<WorkerLog>) -> Worker {
        Worker {
            router,
            options,
            access_log,
            counters: Arc::new(Counters::default()),
            lifecycle: Lifecycle::default(),
            date: RefCell::new(DateCache::new()),
            listeners: Cell::new(0),
            is_draining: Cell::new(false),
            is_shutting_down: Cell::new(false),
            closes_new: Cell::new(false),
            is_over: Cell::new(false),
            keeps_lives: Lifecycle::default().keeps_lives(&options),
            refusals: Cell::new(0),
        }
    }

    /// With limits on connections, PROXY headers and hooks, as they are set.
    #[must_use]
    pub fn with_lifecycle(mut self, lifecycle: Lifecycle) -> Worker {
        self.keeps_lives = lifecycle.keeps_lives(&self.options);
        self.lifecycle = lifecycle;
        self
    }

    /// True when something is to be kept about each connection.
    pub fn keeps_lives(&self) -> bool {
        self.keeps_lives
    }

    /// True when no further request may be begun, beside so many that this worker runs already.
    pub fn is_loaded(&self, own: u64) -> bool {
        self.options
            .requests_in_flight_max
            .is_some_and(|max| self.counters.in_flight() - own >= max as u64)
    }

    /// Connections over a limit that wait for their answer.
    pub fn refusals(&self) -> usize {
        self.refusals.get()
    }

    /// One more connection over a limit waits.
    pub fn refusal_began(&self) {
        self.refusals.set(self.refusals.get() + 1);
    }

    /// It has ended.
    pub fn refusal_ended(&self) {
        self.refusals.set(self.refusals.get() - 1);
    }

    /// Tells the hook of a connection, if there is one.
    pub fn tell_state(&self, event: &ConnectionEvent) {
        self.tell(|hooks| hooks.tell_state(event));
    }

    /// Tells the hook of a fault of a peer, if there is one.
    pub fn tell_error(
        &self,
        addresses: impl FnOnce() -> (Option<SocketAddr>, Option<SocketAddr>),
        kind: ProtocolErrorKind,
        rule: &str,
        status: Option<StatusCode>,
        received: &[u8],
    ) {
        let hooks = self.lifecycle.hooks.as_ref();
        if !hooks.is_some_and(|hooks| hooks.watches_errors()) {
            return;
        }
        let (peer, local) = addresses();
        let error = ProtocolError {
            kind,
            peer,
            local,
            rule,
            status,
            received,
        };
        self.tell(|hooks| hooks.tell_error(&error));
    }

    /// True when somebody is told about handlers that fail.
    pub fn watches_handlers(&self) -> bool {
        let hooks = self.lifecycle.hooks.as_ref();
        hooks.is_some_and(|hooks| hooks.watches_handlers())
    }

    /// Tells the hook of a handler that failed, if there is one.
    pub fn tell_handler_error(&self, error: &HandlerError<'_>) {
        self.tell(|hooks| hooks.tell_handler_error(error));
    }

    fn tell(&self, call: impl FnOnce(&Hooks)) {
        if let Some(hooks) = &self.lifecycle.hooks
            && guarded(|| call(hooks)).is_none()
        {
            self.counters.count_panic();
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
