//! Until when a connection waits, and what for.
//!
//! ```text
//!   accept ─► Head ─request─► Idle ◄─────────────────────────────┐
//!              ▲               │ first byte                       │
//!              └───────────────┤                                  │
//!                              ├─► Body   pieces of a body come   ├─ response through
//!                              └─► Busy   the handler works ──────┘
//! ```
//!
//! One deadline, set by a plain store. That the peer reads what is sent is watched by the
//! connection itself (`Io::set_write_timeout`).
//!
//! A body has credit: at first its time-out. Waiting uses it up, bytes give it back at the least
//! rate, never beyond the time-out; at its end the body is late. So no gap is longer than the
//! time-out, and no body is slower than the rate for longer than that.

use std::time::Duration;

use crate::http::serve::Exchange;
use crate::net::Io;
use crate::runtime::Instant;
use crate::server::options::Options;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The end of a head. Its deadline never moves: that of the next one is another.
    Head,
    /// The next request.
    Idle,
    /// A piece of a body.
    Body,
    /// Our own handler, or the peer to read: no deadline.
    Busy,
}

/// What it means that the deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// Nothing.
    Not,
    /// Close; there is nothing to say.
    Silently,
    /// No request came: close, if it was time for one.
    Idle,
    /// A head did not arrive in time.
    Head,
    /// A body made no progress in time.
    Body,
}

/// The deadline of a connection.
#[derive(Debug)]
pub(super) struct Timing {
    phase: Phase,
    /// True exactly when something happened since the last `settle`.
    has_progress: bool,
}

/// How long a body may still be waited for.
///
/// Nanoseconds: while the body is waited for, when the credit is used up by the clock; else what is
/// left of it. So that bytes add to it either way.
#[derive(Debug)]
pub(super) struct Credit(u64);

impl Credit {
    /// Of a body that begins: its time-out.
    pub(super) const FULL: Credit = Credit(u64::MAX);

    /// Bytes of the body came: each so many give back a second, and without a rate each all of it.
    #[inline]
    pub(super) fn earn(&mut self, bytes: usize, bytes_per_second: u32) {
        let earned = (bytes as u64 * 1_000_000_000).checked_div(u64::from(bytes_per_second));
        self.0 = self.0.saturating_add(earned.unwrap_or(u64::MAX));
    }

    /// The body is not waited for any more.
    fn pause(&mut self, now: Instant) {
        if self.0 != u64::MAX {
            let used_up = Instant::from_nanoseconds(self.0);
            self.0 = used_up.since(now).as_nanos() as u64;
        }
    }

    /// The body is waited for from now on: for how long.
    fn resume(&mut self, now: Instant, most: Duration) -> Duration {
        let left = Duration::from_nanos(self.0).min(most);
        self.0 = (now + left).as_nanoseconds();
        left
    }
}

impl Timing {
    /// Of a connection that was just accepted.
    pub(super) fn accepted(options: &Options, io: &mut Io) -> Timing {
        io.set_write_timeout(options.write_timeout);
        io.set_write_rate_min(options.write_bytes_per_second_min);
        io.set_deadline(Some(io.now() + options.header_timeout));
        Timing {
            phase: Phase::Head,
            has_progress: false,
        }
    }

    /// True until the first request is complete.
    pub(super) fn is_new(&self) -> bool {
        self.phase == Phase::Head
    }

    /// A request or a piece of a body came.
    pub(super) fn note_progress(&mut self) {
        self.has_progress = true;
    }

    /// Sets the deadline for what the connection waits for now; false when it stays as it was. Who
    /// waits for a piece of a body says how long.
    pub(super) fn settle(
        &mut self,
        options: &Options,
        io: &mut Io,
        exchange: &Exchange,
        waits_for_body: Option<Duration>,
        credit: &mut Credit,
    ) -> bool {
        let has_progress = std::mem::take(&mut self.has_progress);
        let phase = if exchange.is_in_head() {
            Phase::Head
        } else if exchange.is_idle() {
            // Until the first request it is the head that is waited for.
            let is_new = self.phase == Phase::Head && !has_progress;
            if is_new { Phase::Head } else { Phase::Idle }
        } else if waits_for_body.is_some() {
            Phase::Body
        } else {
            Phase::Busy
        };
        // A request that came between two events which both end in a head: this is the next one.
        let moves = has_progress && phase != Phase::Busy;
        if phase == self.phase && !moves {
            return false;
        }
        if self.phase == Phase::Body {
            credit.pause(io.now());
        }
        self.phase = phase;
        let timeout = match phase {
            Phase::Head => options.header_timeout,
            Phase::Idle => options.idle_timeout,
            Phase::Body => {
                let timeout = waits_for_body.unwrap_or(options.body_timeout);
                credit.resume(io.now(), timeout)
            }
            Phase::Busy => {
                io.set_deadline(None);
                return true;
            }
        };
        io.set_deadline(Some(io.now() + timeout));
        true
    }

    /// Until when an idle connection may still rest, if the deadline that passed came too early. It
    /// was set when the response was handed over, and a peer that takes its time to read it has not
    /// been idle meanwhile.
    pub(super) fn idle_until(&self, options: &Options, io: &Io) -> Option<Instant> {
        let is_sending = io.pending_bytes() > 0;
        let since = if is_sending { io.now() } else { io.sent_at() };
        let until = since + options.idle_timeout;
        (until > io.now()).then_some(until)
    }

    /// Looks what it means that the deadline passed.
    pub(super) fn expired(&self, exchange: &Exchange) -> Expired {
        match self.phase {
            Phase::Head if exchange.is_in_head() => Expired::Head,
            Phase::Head => Expired::Silently,
            Phase::Idle => Expired::Idle,
            Phase::Body => Expired::Body,
            Phase::Busy => Expired::Not,
        }
    }
}
