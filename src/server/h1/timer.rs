//! Until when a connection waits for the head of a request.
//!
//! ```text
//!   accept ─► Head ─request─► Exchange ─ response through ─► Idle
//!              ▲                                              │ first byte
//!              └──────────────────────────────────────────────┘
//! ```
//!
//! A deadline stands with whoever waits for it: this one here, those of a handler and of a body with
//! the exchange, the connection's age with its record. `H1Connection::arm` sets the earliest.

use crate::h1::server::ServerMachine;
use crate::net::Io;
use crate::runtime::Instant;
use crate::server::options::Options;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The end of a head. Its deadline never moves: that of the next one is another.
    Head,
    /// The next request.
    Idle,
    /// Nothing: the exchange watches its own deadlines, and `net` that the peer reads.
    Exchange,
}

/// The deadline of the next head.
#[derive(Debug)]
pub(super) struct HeadTimer {
    waits_for: WaitsFor,
    /// True when a request came since the last `settle`.
    has_progress: bool,
    until: Instant,
}

impl HeadTimer {
    /// Of a connection that was just accepted: its first head has to be there at `until`.
    pub(super) fn begin(until: Instant) -> HeadTimer {
        HeadTimer {
            waits_for: WaitsFor::Head,
            has_progress: false,
            until,
        }
    }

    /// What the connection waits for.
    pub(super) fn waits_for(&self) -> WaitsFor {
        self.waits_for
    }

    /// When that should have come.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// True until the first request is complete.
    pub(super) fn is_new(&self) -> bool {
        self.waits_for == WaitsFor::Head
    }

    /// A request came.
    pub(super) fn note_request(&mut self) {
        self.has_progress = true;
    }

    /// After each event: what the connection waits for now.
    pub(super) fn settle(&mut self, options: &Options, now: Instant, machine: &ServerMachine) {
        let has_progress = std::mem::take(&mut self.has_progress);
        let waits_for = if machine.is_in_head() {
            WaitsFor::Head
        } else if machine.is_idle() {
            // Until the first request it is the head that is waited for.
            let is_new = self.is_new() && !has_progress;
            if is_new {
                WaitsFor::Head
            } else {
                WaitsFor::Idle
            }
        } else {
            WaitsFor::Exchange
        };
        // A request that came between two events which both end in a head: this is the next one.
        if waits_for == self.waits_for && !has_progress {
            return;
        }
        self.waits_for = waits_for;
        self.until = match waits_for {
            WaitsFor::Head => now + options.header_timeout,
            WaitsFor::Idle => now + options.idle_timeout,
            WaitsFor::Exchange => Instant::NEVER,
        };
    }

    /// Lets an idle connection rest on, if its time is not over: the deadline was set when the
    /// response was handed over, and a peer that takes its time to read it was not idle meanwhile.
    /// False when it is over.
    pub(super) fn rest_on(&mut self, options: &Options, io: &Io) -> bool {
        let is_sending = io.pending_bytes() > 0;
        let since = if is_sending { io.now() } else { io.sent_at() };
        self.until = since + options.idle_timeout;
        self.until > io.now()
    }
}
