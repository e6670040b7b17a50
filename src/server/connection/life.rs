//! What is kept about a connection only where somebody wants it: its age, its count of requests,
//! its place among all connections, and what its hook was told.
//!
//! ```text
//!   accept ─► New ─ request begins ─► Active ─ settled between requests ─► Idle ─► … ─► Closed
//!                        └─ the last by age or count: Connection: close
//! ```

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ::http::StatusCode;

use crate::error::Error;
use crate::http::framing::CloseReason;
use crate::http::request::Request;
use crate::http::serve::Refusal;
use crate::limits::CONNECTION_AGE_JITTER_PERCENT;
use crate::net;
use crate::net::Io;
use crate::runtime::Instant;
use crate::server::admission::Ticket;
use crate::server::connection::Connection;
use crate::server::connection::Work;
use crate::server::connection::logging::is_write_late;
use crate::server::hooks;
use crate::server::hooks::ConnectionEvent;
use crate::server::hooks::ConnectionState;
use crate::server::hooks::HandlerError;
use crate::server::hooks::ProtocolErrorKind;
use crate::server::into_response::error_page;
use crate::server::worker::Worker;

/// The rarer facts about a connection.
#[derive(Debug)]
pub(in crate::server) struct Life {
    /// Names it for the hooks; zero without.
    number: u64,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    /// What the hook was told last.
    told: ConnectionState,
    /// Method and target of the last request; empty where no hook wants them.
    request: String,
    /// When it is as old as it may get.
    expires_at: Instant,
    /// Requests answered.
    requests: u64,
    /// Its place among all connections.
    ticket: Option<Ticket>,
}

impl Life {
    /// Of a connection that was just accepted; `None` where nobody wants to know.
    pub(super) fn begin(worker: &Worker, io: &mut Io) -> Option<Box<Life>> {
        if !worker.keeps_lives() {
            return None;
        }
        let is_watched = worker.lifecycle.hooks.is_some();
        let (number, (peer, local)) = if is_watched {
            (hooks::next_connection(), io.addresses())
        } else {
            (0, (None, None))
        };
        let expires_at = match worker.options.connection_age_max {
            None => Instant::NEVER,
            Some(age) => {
                let seed = io.now().as_nanoseconds() ^ worker.counters.accepted().rotate_left(32);
                io.now() + jittered(age, seed)
            }
        };
        let life = Box::new(Life {
            number,
            peer,
            local,
            told: ConnectionState::New,
            request: String::new(),
            expires_at,
            requests: 0,
            ticket: None,
        });
        life.tell(worker);
        Some(life)
    }

    fn tell(&self, worker: &Worker) {
        worker.tell_state(&ConnectionEvent {
            connection: self.number,
            peer: self.peer,
            local: self.local,
            state: self.told,
            requests: self.requests,
        });
    }

    /// What was asked for could not be answered as it should.
    pub(in crate::server) fn tell_failure(
        &self,
        worker: &Worker,
        error: &Error,
        status: Option<StatusCode>,
    ) {
        worker.tell_handler_error(&HandlerError {
            peer: self.peer,
            local: self.local,
            request: &self.request,
            error,
            status,
        });
    }

    /// Another protocol takes over.
    pub(in crate::server) fn upgraded(&mut self, worker: &Worker) {
        self.turn(worker, ConnectionState::Upgraded);
    }

    #[cold]
    fn turn(&mut self, worker: &Worker, state: ConnectionState) {
        let is_over = matches!(self.told, ConnectionState::Closed(_));
        if self.told != state && !is_over {
            self.told = state;
            self.tell(worker);
        }
    }
}

impl Connection {
    /// Counts the connection while it lasts.
    pub(in crate::server) fn hold_ticket(&mut self, ticket: Option<Ticket>) {
        if let Some(life) = &mut self.life {
            life.ticket = ticket;
        } else {
            assert!(ticket.is_none(), "limits are kept in the life");
        }
    }

    // ---- requests in flight ----------------------------------------------------------------

    /// After an event: what runs longer than one counts.
    #[inline]
    pub(super) fn settle_flight(&mut self) {
        let runs = matches!(self.work, Work::Handler(_) | Work::Body(_));
        if runs != self.is_in_flight {
            self.is_in_flight = runs;
            let counters = &self.worker.counters;
            if runs {
                counters.flight_began();
            } else {
                counters.flight_ended();
            }
        }
    }

    /// As many requests run as may run. The connection is kept: to come again is cheaper on it.
    pub(super) fn shed(&mut self, io: &mut Io) {
        self.worker.counters.count_shed();
        let text = "as many requests run as may run; Server::requests_in_flight_max";
        let response = error_page(StatusCode::SERVICE_UNAVAILABLE, text);
        self.respond(io, response.header("Retry-After", "1"));
    }

    // ---- what went wrong -------------------------------------------------------------------

    /// The peer broke a rule, and that was answered, or could not be any more.
    pub(super) fn tell_refusal(
        &mut self,
        io: &mut Io,
        refusal: Refusal,
        is_answered: bool,
        received: &[u8],
    ) {
        self.live_active();
        let kind = match refusal.status {
            StatusCode::REQUEST_TIMEOUT => ProtocolErrorKind::Timeout,
            _ => ProtocolErrorKind::Request,
        };
        let status = is_answered.then_some(refusal.status);
        self.worker
            .tell_error(io, kind, refusal.rule, status, received);
    }

    /// The handler or its body failed: with this status, or after the head was sent.
    #[cold]
    pub(super) fn tell_failure(&self, error: &Error, status: Option<StatusCode>) {
        if let Some(life) = &self.life {
            life.tell_failure(&self.worker, error, status);
        }
    }

    /// The body came too slowly.
    pub(super) fn note_late_body(&mut self, io: &mut Io) {
        self.worker.counters.count_body_timeout();
        let rule = "the request's body came too slowly";
        self.worker
            .tell_error(io, ProtocolErrorKind::Timeout, rule, None, &[]);
    }

    /// Until when the connection may still idle, now that a deadline has passed; `None` is no
    /// longer.
    pub(super) fn may_idle_until(&self, io: &Io) -> Option<Instant> {
        let until = self.timing.idle_until(&self.worker.options, io)?;
        match &self.life {
            None => Some(until),
            Some(life) => (life.expires_at > io.now()).then_some(until.min(life.expires_at)),
        }
    }

    /// Nothing arrived, and now the connection ends.
    pub(super) fn note_idle_over(&mut self, io: &mut Io) {
        let is_expired = self
            .life
            .as_ref()
            .is_some_and(|life| life.expires_at <= io.now());
        let counters = &self.worker.counters;
        let reason = if self.timing.is_new() {
            counters.count_header_timeout();
            CloseReason::Timeout
        } else if is_expired {
            counters.count_retired();
            CloseReason::Age
        } else {
            counters.count_idle_timeout();
            CloseReason::Timeout
        };
        self.exchange.stop_receiving(reason);
    }

    // ---- age, count, and who is told -------------------------------------------------------

    /// A request begins.
    #[inline]
    pub(super) fn live_active(&mut self) {
        if let Some(life) = &mut self.life {
            life.turn(&self.worker, ConnectionState::Active);
        }
    }

    /// A request was read.
    #[inline]
    pub(super) fn live_request(&mut self, request: &Request) {
        if self.life.is_some() {
            self.begin_life_of(request);
        }
    }

    #[cold]
    fn begin_life_of(&mut self, request: &Request) {
        self.live_active();
        if let Some(life) = &mut self.life
            && self.worker.watches_handlers()
        {
            life.request = format!("{} {}", request.method(), request.target());
        }
    }

    /// A request is answered: perhaps the last that this connection may have.
    #[inline]
    pub(super) fn live_answer(&mut self, io: &Io) {
        if self.life.is_some() {
            self.count_answer(io);
        }
    }

    #[cold]
    fn count_answer(&mut self, io: &Io) {
        let Some(life) = &mut self.life else {
            return;
        };
        life.requests += 1;
        let max = self.worker.options.requests_per_connection_max;
        let reason = if max.is_some_and(|max| life.requests >= max) {
            CloseReason::RequestCount
        } else if life.expires_at <= io.now() {
            CloseReason::Age
        } else {
            return;
        };
        if self.exchange.close_after_response(reason) {
            self.worker.counters.count_retired();
        }
    }

    /// After an event: tells what the connection has become, and bounds how long it idles.
    #[inline]
    pub(super) fn live_on(&mut self, io: &mut Io) {
        if self.life.is_some() {
            self.settle_life(io);
        }
    }

    #[cold]
    fn settle_life(&mut self, io: &mut Io) {
        let Some(life) = &mut self.life else {
            return;
        };
        let is_idle = self.exchange.is_idle() && matches!(self.work, Work::Nothing);
        if !is_idle {
            life.turn(&self.worker, ConnectionState::Active);
            return;
        }
        if life.told != ConnectionState::New {
            if io.pending_bytes() > 0 && !io.is_send_broken() {
                // Its last response is on its way still.
                io.notify_when_taken(io.appended_bytes());
            } else {
                life.turn(&self.worker, ConnectionState::Idle);
            }
        }
        if io.deadline().is_some_and(|at| at > life.expires_at) {
            io.set_deadline(Some(life.expires_at));
        }
    }

    /// The last: tells why, and gives the place back.
    pub(super) fn live_closed(&mut self, io: &Io, cause: Option<&io::Error>) {
        let planned = self.exchange.close_reason();
        let reason = match (cause, planned) {
            (Some(cause), None) if net::is_own_end(cause) => CloseReason::Shutdown,
            (Some(cause), _) if !net::is_own_end(cause) && io.is_cut() => CloseReason::Failed,
            (_, Some(planned)) => planned,
            (Some(_), None) => CloseReason::Failed,
            (None, None) if self.is_half_closed => CloseReason::PeerClosed,
            (None, None) => CloseReason::Shutdown,
        };
        end(self.life.take(), &self.worker, reason, io, cause);
    }
}

/// The connection has ended, as HTTP or as what it became.
pub(in crate::server) fn end(
    life: Option<Box<Life>>,
    worker: &Worker,
    mut reason: CloseReason,
    io: &Io,
    cause: Option<&io::Error>,
) {
    let is_late = cause.is_some_and(|cause| is_write_late(io, cause));
    if is_late {
        worker.counters.count_write_timeout();
        reason = CloseReason::Timeout;
    }
    let Some(mut life) = life else {
        return;
    };
    if is_late {
        let rule = "what was sent was not read in time";
        let kind = ProtocolErrorKind::Timeout;
        let addresses = (life.peer, life.local);
        worker.tell_error_of(addresses, kind, rule, None, &[]);
    }
    life.turn(worker, ConnectionState::Closed(reason));
}

/// The age, up to so many percent more or less: connections that began together, after a restart,
/// do not end together.
fn jittered(age: Duration, seed: u64) -> Duration {
    // The last steps of SplitMix64: every bit depends on every other.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let steps = 2 * CONNECTION_AGE_JITTER_PERCENT * 1_000;
    let step = (mixed >> 33) as u32 % (steps + 1);
    let least = age - age / 100 * CONNECTION_AGE_JITTER_PERCENT;
    least.saturating_add(age / 100_000 * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_over_ten_percent_each_way() {
        let age = Duration::from_secs(1_000);
        let ages: Vec<u64> = (0..10_000)
            .map(|seed| jittered(age, seed * 1_000_003).as_millis() as u64)
            .collect();
        let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!((900_000..901_000).contains(least), "{least}");
        assert!((1_099_000..=1_100_000).contains(most), "{most}");
        let mean = ages.iter().sum::<u64>() / ages.len() as u64;
        assert!((995_000..1_005_000).contains(&mean), "{mean}");
        assert_eq!(jittered(Duration::ZERO, 7), Duration::ZERO);
        assert!(jittered(Duration::MAX, u64::MAX) > Duration::from_secs(1 << 60));
    }
}
