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
    /// Handlers and bodies that panicked; each cost its connection.
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
    /// Lines that the access log dropped.
    pub access_log_dropped: u64,
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
}

impl Counters {
    /// A connection was accepted.
    pub fn count_accepted(&self) {
        add_one(&self.accepted);
    }

    /// A connection has ended.
    pub fn count_closed(&self) {
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
        workers[1].count_closed();
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
        };
        assert_eq!(sum, expected);
    }
}
