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

use crate::http::close_reason::CloseReason;
use crate::limits::CONNECTION_AGE_JITTER_PERCENT;
use crate::net::Io;
use crate::runtime::Instant;
use crate::server::admission::Ticket;
use crate::server::hooks;
use crate::server::hooks::ConnectionEvent;
use crate::server::hooks::ConnectionState;
use crate::server::hooks::ProtocolErrorKind;
use crate::server::log_lines::is_write_late;
use crate::server::worker::Worker;

/// The rarer facts about a connection.
#[derive(Debug)]
pub struct ConnectionRecord {
    /// Names it for the hooks; zero without.
    number: u64,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    /// What the hook was told last.
    told: ConnectionState,
    /// When it is as old as it may get.
    expires_at: Instant,
    /// Requests answered.
    requests: u64,
    /// Its place among all connections.
    ticket: Option<Ticket>,
}

impl ConnectionRecord {
    /// Of a connection that was just accepted; `None` where nobody wants to know.
    pub fn begin(worker: &Worker, io: &mut Io) -> Option<Box<ConnectionRecord>> {
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
        let record = Box::new(ConnectionRecord {
            number,
            peer,
            local,
            told: ConnectionState::New,
            expires_at,
            requests: 0,
            ticket: None,
        });
        record.tell(worker);
        Some(record)
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

    /// Another protocol takes over.
    pub fn upgraded(&mut self, worker: &Worker) {
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

    /// Counts the connection while it lasts.
    pub fn hold_ticket(&mut self, ticket: Option<Ticket>) {
        self.ticket = ticket;
    }

    /// A request begins, or what was none.
    pub fn note_request(&mut self, worker: &Worker) {
        self.turn(worker, ConnectionState::Active);
    }

    /// A request is answered: why it is the last that this connection may have, if it is.
    #[cold]
    pub fn count_answer(&mut self, worker: &Worker, now: Instant) -> Option<CloseReason> {
        self.requests += 1;
        let max = worker.options.requests_per_connection_max;
        if max.is_some_and(|max| self.requests >= max) {
            Some(CloseReason::RequestCount)
        } else {
            self.is_expired(now).then_some(CloseReason::Age)
        }
    }

    /// True when the connection is as old as it may get.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at <= now
    }

    /// After an event: tells what the connection has become. Until when it may idle, if it does.
    #[cold]
    pub fn settle(&mut self, worker: &Worker, io: &mut Io, is_idle: bool) -> Instant {
        if !is_idle {
            self.turn(worker, ConnectionState::Active);
            return Instant::NEVER;
        }
        if self.told != ConnectionState::New {
            if io.pending_bytes() > 0 && !io.is_send_broken() {
                // Its last response is on its way still.
                io.notify_when_taken(io.appended_bytes());
            } else {
                self.turn(worker, ConnectionState::Idle);
            }
        }
        self.expires_at
    }
}

/// The connection has ended, as HTTP or as what it became: the hook is told why, the place among all
/// connections is given back.
pub fn end(
    record: Option<Box<ConnectionRecord>>,
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
    let Some(mut record) = record else {
        return;
    };
    if is_late {
        let rule = "what was sent was not read in time";
        let kind = ProtocolErrorKind::Timeout;
        let addresses = (record.peer, record.local);
        worker.tell_error(|| addresses, kind, rule, None, &[]);
    }
    record.turn(worker, ConnectionState::Closed(reason));
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
