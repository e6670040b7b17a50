//! What holds for the request that runs, and not for most.
//!
//! ```text
//!   route: body_bytes_max, body_timeout ─┐
//!   route or server: handler_timeout ────┼─► Terms, made when one is needed
//!   Upgrade: what the client offers ─────┘
//! ```
//!
//! A connection has one deadline. What it waits for otherwise, and the time of the handler, share
//! it: the earlier one is set.

use std::time::Duration;

use crate::net::Io;
use crate::runtime::Instant;
use crate::server::options::Options;
use crate::server::options::RouteOptions;

/// The terms of one request; without any, the server's options hold.
pub(super) struct Terms {
    route: RouteOptions,
    /// When the handler, and the body that it streams, have to be done.
    handler_deadline: Instant,
    handler_timeout: Duration,
    /// Who said so.
    handler_knob: &'static str,
    /// What the connection waits until, beside its handler.
    other_deadline: Instant,
    /// Protocols that the client offers to change to.
    offered: Vec<u8>,
}

impl Terms {
    /// Of a connection on which none were needed before.
    pub(super) fn new(io: &Io) -> Terms {
        Terms {
            route: RouteOptions::default(),
            handler_deadline: Instant::NEVER,
            handler_timeout: Duration::ZERO,
            handler_knob: "",
            other_deadline: io.deadline().unwrap_or(Instant::NEVER),
            offered: Vec::new(),
        }
    }

    /// The server's own, for the next request.
    pub(super) fn reset(&mut self, io: &mut Io) {
        self.lift(io);
        self.route = RouteOptions::default();
        self.offered = Vec::new();
    }

    /// Those of a route.
    pub(super) fn set_route(&mut self, route: &RouteOptions) {
        self.route = *route;
    }

    /// What the client offers in `Upgrade`.
    pub(super) fn set_offered(&mut self, offered: Vec<u8>) {
        self.offered = offered;
    }

    /// What the client offers in `Upgrade`; nothing, unless it asked properly.
    pub(super) fn offered(&self) -> &[u8] {
        &self.offered
    }

    /// The handler begins now, and has as much time as its route or the server gives it.
    pub(super) fn limit_handler(&mut self, io: &Io, options: &Options) {
        let (timeout, knob) = match (self.route.handler_timeout, options.handler_timeout) {
            (Some(timeout), _) => (timeout, "Router::handler_timeout"),
            (None, Some(timeout)) => (timeout, "Server::handler_timeout"),
            (None, None) => return,
        };
        self.handler_knob = knob;
        self.other_deadline = io.deadline().unwrap_or(Instant::NEVER);
        self.handler_timeout = timeout;
        self.handler_deadline = io.now() + timeout;
    }

    /// The handler's time and who gave it, when it is over.
    pub(super) fn expired(&self, io: &Io) -> Option<(Duration, &'static str)> {
        let is_over = self.handler_deadline <= io.now();
        is_over.then_some((self.handler_timeout, self.handler_knob))
    }

    /// The handler is done, or was given up.
    pub(super) fn lift(&mut self, io: &mut Io) {
        if self.handler_deadline != Instant::NEVER {
            self.handler_deadline = Instant::NEVER;
            io.set_deadline(Some(self.other_deadline));
        }
    }

    /// After each event: the deadline, of which the other part was set just now, or stayed.
    pub(super) fn settle(&mut self, io: &mut Io, was_set: bool, is_running: bool) {
        if self.handler_deadline == Instant::NEVER {
            return;
        }
        if was_set {
            self.other_deadline = io.deadline().unwrap_or(Instant::NEVER);
        }
        if !is_running {
            return self.lift(io);
        }
        io.set_deadline(Some(self.other_deadline.min(self.handler_deadline)));
    }
}

/// Bytes that a request's body may have, and the knob that says so.
pub(super) fn body_bytes_max(
    terms: Option<&Terms>,
    options: &Options,
) -> Option<(u64, &'static str)> {
    let route = terms.and_then(|terms| terms.route.body_bytes_max);
    match route {
        Some(max) => Some((max, "Router::body_bytes_max")),
        None => options
            .body_bytes_max
            .map(|max| (max, "Server::body_bytes_max")),
    }
}

/// How long the next piece of a request's body may take.
pub(super) fn body_timeout(terms: Option<&Terms>, options: &Options) -> Duration {
    let route = terms.and_then(|terms| terms.route.body_timeout);
    route.unwrap_or(options.body_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_deadline_is_set() {
        let seconds = Duration::from_secs;
        let start = Instant::from_nanoseconds(1);
        let mut io = Io::detached(start, 0);
        io.set_deadline(Some(start + seconds(30)));
        let mut terms = Terms::new(&io);
        terms.settle(&mut io, false, true);
        assert_eq!(io.deadline(), Some(start + seconds(30)));
        let options = Options {
            handler_timeout: Some(seconds(20)),
            ..Options::default()
        };
        terms.limit_handler(&io, &options);
        terms.settle(&mut io, false, true);
        assert_eq!(io.deadline(), Some(start + seconds(20)));
        io.set_deadline(Some(start + seconds(10)));
        terms.settle(&mut io, true, true);
        assert_eq!(io.deadline(), Some(start + seconds(10)));
        assert_eq!(terms.expired(&io), None);
        io.set_now(start + seconds(20), 0);
        let expired = (seconds(20), "Server::handler_timeout");
        assert_eq!(terms.expired(&io), Some(expired));
        terms.lift(&mut io);
        assert_eq!(io.deadline(), Some(start + seconds(10)));
        assert_eq!(terms.expired(&io), None);
    }

    #[test]
    fn a_route_comes_before_the_server() {
        let io = Io::detached(Instant::from_nanoseconds(1), 0);
        let mut options = Options::default();
        assert_eq!(body_bytes_max(None, &options), None);
        options.body_bytes_max = Some(5);
        let mut terms = Terms::new(&io);
        let (max, knob) = body_bytes_max(Some(&terms), &options).unwrap();
        assert_eq!((max, knob), (5, "Server::body_bytes_max"));
        terms.set_route(&RouteOptions {
            body_bytes_max: Some(9),
            body_timeout: Some(Duration::from_secs(1)),
            ..RouteOptions::default()
        });
        let (max, knob) = body_bytes_max(Some(&terms), &options).unwrap();
        assert_eq!((max, knob), (9, "Router::body_bytes_max"));
        assert_eq!(body_timeout(Some(&terms), &options), Duration::from_secs(1));
    }
}
