//! What can be set about a server, and where it starts from.
//!
//! ```text
//!   Server knobs ──► Options ──► every connection of every worker
//! ```

use std::time::Duration;

use crate::http::head::HeadLimits;
use crate::limits::BODY_BYTES_PER_SECOND_MIN;
use crate::limits::BODY_TIMEOUT;
use crate::limits::FILE_WRITE_TIMEOUT;
use crate::limits::HEADER_TIMEOUT;
use crate::limits::IDLE_TIMEOUT;
use crate::limits::PIPELINED_BYTES_MAX;
use crate::limits::SHUTDOWN_TIMEOUT;
use crate::limits::WRITE_BYTES_PER_SECOND_MIN;
use crate::limits::WRITE_TIMEOUT;

/// Limits and time-outs of a server.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// From accept, or the first byte of a further request, to the end of the head.
    pub header_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// Between two signs of progress of a request's body.
    pub body_timeout: Duration,
    /// From the whole head of a request to the end of its handler and of the body that it streams;
    /// `None` is no bound.
    pub handler_timeout: Option<Duration>,
    /// Between two signs of progress of what is sent.
    pub write_timeout: Duration,
    /// The same once a connection was sent a part of a file.
    pub file_write_timeout: Duration,
    /// How long a shutdown goes on accepting and answering before it stops to listen.
    pub drain_delay: Duration,
    /// How long a shutdown waits for the requests that run.
    pub shutdown_timeout: Duration,
    /// Bytes and fields of a request head, bytes of a target.
    pub head_limits: HeadLimits,
    /// Bytes of a request body; `None` is no bound, since bodies are streamed.
    pub body_bytes_max: Option<u64>,
    /// Bytes of further requests that are kept while one runs.
    pub pipelined_bytes_max: usize,
    /// Least rate of a request's body while it is waited for; zero is none.
    pub body_bytes_per_second_min: u32,
    /// Least rate at which a response is read; zero is none.
    pub write_bytes_per_second_min: u32,
    /// Connections of all workers.
    pub connections_max: Option<usize>,
    /// Connections of one address, over all workers.
    pub connections_per_address_max: Option<usize>,
    /// Requests whose handlers or bodies run, of one worker.
    pub requests_in_flight_max: Option<usize>,
    /// Requests that one connection may send.
    pub requests_per_connection_max: Option<u64>,
    /// How old a connection may get, give or take the jitter.
    pub connection_age_max: Option<Duration>,
}

/// What holds for some routes instead of the server's value; see
/// [`Router::body_bytes_max`](crate::server::router::Router::body_bytes_max) and its neighbours. `None` everywhere is the
/// server's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteOptions {
    /// Bytes of a request body.
    pub body_bytes_max: Option<u64>,
    /// From the whole head of a request to the end of its handler and of the body that it streams.
    pub handler_timeout: Option<Duration>,
    /// Between two signs of progress of a request's body.
    pub body_timeout: Option<Duration>,
}

impl RouteOptions {
    /// True when the server's values hold.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.body_bytes_max.is_none()
            && self.handler_timeout.is_none()
            && self.body_timeout.is_none()
    }

    /// These, and what they leave open from `outer`.
    #[must_use]
    pub fn or(self, outer: RouteOptions) -> RouteOptions {
        RouteOptions {
            body_bytes_max: self.body_bytes_max.or(outer.body_bytes_max),
            handler_timeout: self.handler_timeout.or(outer.handler_timeout),
            body_timeout: self.body_timeout.or(outer.body_timeout),
        }
    }
}

impl Options {
    /// The options of one worker of so many: its share of what is counted per worker, at least one.
    #[must_use]
    pub fn of_one_worker(mut self, workers: usize) -> Options {
        let share = |max: usize| max.div_ceil(workers.max(1));
        self.requests_in_flight_max = self.requests_in_flight_max.map(share);
        self
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            header_timeout: HEADER_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            handler_timeout: None,
            write_timeout: WRITE_TIMEOUT,
            file_write_timeout: FILE_WRITE_TIMEOUT,
            drain_delay: Duration::ZERO,
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            head_limits: HeadLimits::REQUEST,
            body_bytes_max: None,
            pipelined_bytes_max: PIPELINED_BYTES_MAX,
            body_bytes_per_second_min: BODY_BYTES_PER_SECOND_MIN,
            write_bytes_per_second_min: WRITE_BYTES_PER_SECOND_MIN,
            connections_max: None,
            connections_per_address_max: None,
            requests_in_flight_max: None,
            requests_per_connection_max: None,
            connection_age_max: None,
        }
    }
}
