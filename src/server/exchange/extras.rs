//! What few requests have: limits of their route, a time for the handler, an offer to change the
//! protocol, a name for hooks.
//!
//! ```text
//!   route: body_bytes_max, body_timeout ─┐
//!   route or server: handler_timeout ────┼─► RequestExtras, made when one is needed
//!   Upgrade: what the client offers ─────┤
//!   hooks: method and target ────────────┘
//! ```

use std::time::Duration;

use crate::runtime::Instant;
use crate::server::options::Options;
use crate::server::options::RouteOptions;

/// The extras of one request; without any, the server's options hold.
#[derive(Default)]
pub(super) struct RequestExtras {
    /// Limits of the route.
    pub(super) route: RouteOptions,
    /// Protocols that the client offers to change to; empty, unless it asked properly.
    pub(super) offered: Vec<u8>,
    /// Method and target, where a hook wants them.
    pub(super) label: String,
    handler_time: Option<HandlerTime>,
}

/// The time of a handler, and of the body that it streams.
#[derive(Clone, Copy)]
pub(super) struct HandlerTime {
    /// When it is over.
    until: Instant,
    /// How long it was.
    pub(super) timeout: Duration,
    /// The setting that says so.
    pub(super) setting: &'static str,
}

impl RequestExtras {
    /// The handler begins now, and has as much time as its route or the server gives it.
    pub(super) fn limit_handler(&mut self, now: Instant, options: &Options) {
        let (timeout, setting) = match (self.route.handler_timeout, options.handler_timeout) {
            (Some(timeout), _) => (timeout, "Router::handler_timeout"),
            (None, Some(timeout)) => (timeout, "Server::handler_timeout"),
            (None, None) => return,
        };
        self.handler_time = Some(HandlerTime {
            until: now + timeout,
            timeout,
            setting,
        });
    }

    /// The handler is done, or was given up, or has as much time as it likes.
    pub(super) fn lift_handler_limit(&mut self) {
        self.handler_time = None;
    }

    /// When the handler's time is over.
    pub(super) fn handler_deadline(&self) -> Instant {
        self.handler_time.map_or(Instant::NEVER, |time| time.until)
    }

    /// The handler's time, if it is over.
    pub(super) fn expired(&self, now: Instant) -> Option<HandlerTime> {
        self.handler_time.filter(|time| time.until <= now)
    }
}

/// Bytes that a request's body may have, and the setting that says so.
pub(super) fn body_bytes_max(
    extras: Option<&RequestExtras>,
    options: &Options,
) -> Option<(u64, &'static str)> {
    match extras.and_then(|extras| extras.route.body_bytes_max) {
        Some(max) => Some((max, "Router::body_bytes_max")),
        None => options
            .body_bytes_max
            .map(|max| (max, "Server::body_bytes_max")),
    }
}

/// How long the next piece of a request's body may take.
pub(super) fn body_timeout(extras: Option<&RequestExtras>, options: &Options) -> Duration {
    let route = extras.and_then(|extras| extras.route.body_timeout);
    route.unwrap_or(options.body_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_comes_before_the_server() {
        let mut options = Options::default();
        assert_eq!(body_bytes_max(None, &options), None);
        options.body_bytes_max = Some(5);
        options.handler_timeout = Some(Duration::from_secs(7));
        let start = Instant::from_nanoseconds(1);
        let mut extras = RequestExtras::default();
        let (max, setting) = body_bytes_max(Some(&extras), &options).unwrap();
        assert_eq!((max, setting), (5, "Server::body_bytes_max"));
        extras.limit_handler(start, &options);
        assert_eq!(extras.handler_deadline(), start + Duration::from_secs(7));

        extras.route = RouteOptions {
            body_bytes_max: Some(9),
            body_timeout: Some(Duration::from_secs(1)),
            handler_timeout: Some(Duration::from_secs(2)),
        };
        let (max, setting) = body_bytes_max(Some(&extras), &options).unwrap();
        assert_eq!((max, setting), (9, "Router::body_bytes_max"));
        let timeout = body_timeout(Some(&extras), &options);
        assert_eq!(timeout, Duration::from_secs(1));
        extras.limit_handler(start, &options);
        let end = start + Duration::from_secs(2);
        assert!(extras.expired(start).is_none());
        let expired = extras.expired(end).unwrap();
        assert_eq!(expired.setting, "Router::handler_timeout");
        extras.lift_handler_limit();
        assert!(extras.expired(end).is_none());
        assert_eq!(extras.handler_deadline(), Instant::NEVER);
    }
}
