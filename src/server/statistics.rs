//! Counts of what a server did.
//!
//! ```text
//!   worker ─ adds to its own Counters ─┐
//!   worker ─ adds to its own Counters ─┴─ summed when asked ─► Statistics
//! ```

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// What a server did since it started, over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections that are open.
    pub connections_open: u64,
    /// Requests whose head was complete and well-formed.
    pub requests: u64,
    /// Requests that broke a rule or a limit, or came too slowly.
    pub requests_refused: u64,
    /// Handlers and bodies that panicked, each of which cost its connection, and hooks. Of the rest
    /// of users' code tells [`Core::counters`](crate::runtime::Core::counters).
    pub panics: u64,
    /// Responses of handlers that could not be sent, because of a malformed field or a status that
    /// is no answer; the client got a 500 or 501 instead.
    pub invalid_responses: u64,
    /// Connections that went on with another protocol, or as a tunnel.
    pub connections_upgraded: u64,
    /// Requests whose handler, or the body that it streamed, took longer than it may
    /// (`Server::handler_timeout`).
    pub handler_timeouts: u64,
    /// Requests that were answered with [`Response::abort`](crate::Response::abort).
    pub requests_aborted: u64,
    /// Connections over a limit, or that broke the rules of the PROXY protocol. They count as
    /// accepted too.
    pub connections_refused: u64,
    /// Connections that were ended at their age or number of requests.
    pub connections_retired: u64,
    /// Requests whose asynchronous handlers or streamed bodies run now.
    pub requests_in_flight: u64,
    /// Requests answered 503 because as many ran as may run.
    pub requests_shed: u64,
    /// Connections that sent no request, or no end of its head, in time.
    pub header_timeouts: u64,
    /// Connections closed because no further request came.
    pub idle_timeouts: u64,
    /// Bodies of requests that came too slowly.
    pub body_timeouts: u64,
    /// Connections whose peer read too slowly.
    pub write_timeouts: u64,
    /// Connections that ended before our kernel had taken all that was to be sent: the peer was gone
    /// or too slow, or the time of a shutdown was over.
    pub connections_cut: u64,
    /// Lines that the access log dropped.
    pub access_log_dropped: u64,
    /// Writes of the access log that failed. Each is tried again.
    pub access_log_failures: u64,
}

/// The counts of one worker: written by it alone, read by anybody.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    closed: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
    panics: AtomicU64,
    invalid_responses: AtomicU64,
    upgraded: AtomicU64,
    handler_timeouts: AtomicU64,
    aborted: AtomicU64,
    connections_refused: AtomicU64,
    connections_retired: AtomicU64,
    in_flight: AtomicU64,
    shed: AtomicU64,
    header_timeouts: AtomicU64,
    idle_timeouts: AtomicU64,
    body_timeouts: AtomicU64,
    write_timeouts: AtomicU64,
    cut: AtomicU64,
}

impl Counters {
    /// A connection was accepted.
    pub fn count_accepted(&self) {
        add_one(&self.accepted);
    }

    /// A connection has ended; `is_cut` says that there was output which our kernel had not taken.
    pub fn count_closed(&self, is_cut: bool) {
        if is_cut {
            add_one(&self.cut);
        }
        add_one(&self.closed);
    }

    /// A request arrived.
    pub fn count_request(&self) {
        add_one(&self.requests);
    }

    /// A request was refused.
    pub fn count_refused(&self) {
        add_one(&self.refused);
    }

    /// User code panicked.
    pub fn count_panic(&self) {
        add_one(&self.panics);
    }

    /// A handler's response was replaced.
    pub fn count_invalid_response(&self) {
        add_one(&self.invalid_responses);
    }

    /// A connection went on with another protocol.
    pub fn count_upgraded(&self) {
        add_one(&self.upgraded);
    }

    /// A handler took too long.
    pub fn count_handler_timeout(&self) {
        add_one(&self.handler_timeouts);
    }

    /// A request was not answered on purpose.
    pub fn count_aborted(&self) {
        add_one(&self.aborted);
    }

    /// A connection was refused.
    pub fn count_connection_refused(&self) {
        add_one(&self.connections_refused);
    }

    /// A connection ends at its age or number of requests.
    pub fn count_retired(&self) {
        add_one(&self.connections_retired);
    }

    /// A request was shed.
    pub fn count_shed(&self) {
        add_one(&self.shed);
    }

    /// A head did not come in time.
    pub fn count_header_timeout(&self) {
        add_one(&self.header_timeouts);
    }

    /// No further request came.
    pub fn count_idle_timeout(&self) {
        add_one(&self.idle_timeouts);
    }

    /// A body came too slowly.
    pub fn count_body_timeout(&self) {
        add_one(&self.body_timeouts);
    }

    /// A peer read too slowly.
    pub fn count_write_timeout(&self) {
        add_one(&self.write_timeouts);
    }

    /// A handler or a body runs that will take longer than one event.
    pub fn flight_began(&self) {
        add_one(&self.in_flight);
    }

    /// It has ended.
    pub fn flight_ended(&self) {
        let count = self.in_flight.load(Ordering::Relaxed);
        self.in_flight.store(count - 1, Ordering::Release);
    }

    /// Handlers and bodies that run, for the worker itself.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Connections accepted, for the worker itself.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open, for the worker itself.
    pub fn open(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed) - self.closed.load(Ordering::Relaxed)
    }

    /// Adds these counts to a sum.
    pub fn add_to(&self, sum: &mut Statistics) {
        // Closed first: what is open may then be counted one too high, and never below zero.
        let closed = self.closed.load(Ordering::Acquire);
        let accepted = self.accepted.load(Ordering::Acquire);
        sum.connections_accepted += accepted;
        sum.connections_open += accepted.saturating_sub(closed);
        sum.requests += self.requests.load(Ordering::Relaxed);
        sum.requests_refused += self.refused.load(Ordering::Relaxed);
        sum.panics += self.panics.load(Ordering::Relaxed);
        sum.invalid_responses += self.invalid_responses.load(Ordering::Relaxed);
        sum.connections_upgraded += self.upgraded.load(Ordering::Relaxed);
        sum.handler_timeouts += self.handler_timeouts.load(Ordering::Relaxed);
        sum.requests_aborted += self.aborted.load(Ordering::Relaxed);
        sum.connections_refused += self.connections_refused.load(Ordering::Relaxed);
        sum.connections_retired += self.connections_retired.load(Ordering::Relaxed);
        sum.requests_in_flight += self.in_flight.load(Ordering::Relaxed);
        sum.requests_shed += self.shed.load(Ordering::Relaxed);
        sum.header_timeouts += self.header_timeouts.load(Ordering::Relaxed);
        sum.idle_timeouts += self.idle_timeouts.load(Ordering::Relaxed);
        sum.body_timeouts += self.body_timeouts.load(Ordering::Relaxed);
        sum.write_timeouts += self.write_timeouts.load(Ordering::Relaxed);
        sum.connections_cut += self.cut.load(Ordering::Relaxed);
    }
}

/// Only one thread writes: no locked instruction is needed.
fn add_one(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed() {
        let workers = [Counters::default(), Counters::default()];
        workers[0].count_accepted();
        workers[1].count_accepted();
        workers[1].count_request();
        workers[1].count_refused();
        workers[1].count_panic();
        workers[1].count_invalid_response();
        workers[1].count_upgraded();
        workers[0].count_handler_timeout();
        workers[1].count_aborted();
        workers[1].count_closed(false);
        let mut sum = Statistics::default();
        workers.iter().for_each(|worker| worker.add_to(&mut sum));
        let expected = Statistics {
            connections_accepted: 2,
            connections_open: 1,
            requests: 1,
            requests_refused: 1,
            panics: 1,
            invalid_responses: 1,
            connections_upgraded: 1,
            handler_timeouts: 1,
            requests_aborted: 1,
            access_log_dropped: 0,
            ..Statistics::default()
        };
        assert_eq!(sum, expected);
    }
}
