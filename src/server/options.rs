//! What can be set about a server, and where it starts from.
//!
//! ```text
//!   Server knobs ──► Options ──► every connection of every worker
//! ```

use std::time::Duration;

use crate::http::head::HeadLimits;
use crate::limits::BODY_TIMEOUT;
use crate::limits::HEADER_TIMEOUT;
use crate::limits::IDLE_TIMEOUT;
use crate::limits::PIPELINED_BYTES_MAX;
use crate::limits::SHUTDOWN_TIMEOUT;
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
    /// Between two signs of progress of what is sent.
    pub write_timeout: Duration,
    /// How long a shutdown waits for the requests that run.
    pub shutdown_timeout: Duration,
    /// Bytes and fields of a request head, bytes of a target.
    pub head_limits: HeadLimits,
    /// Bytes of a request body; `None` is no bound, since bodies are streamed.
    pub body_bytes_max: Option<u64>,
    /// Bytes of further requests that are kept while one runs.
    pub pipelined_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            header_timeout: HEADER_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            head_limits: HeadLimits::REQUEST,
            body_bytes_max: None,
            pipelined_bytes_max: PIPELINED_BYTES_MAX,
        }
    }
}
