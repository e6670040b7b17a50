//! What can be set on a transport, with its defaults.
//!
//! ```text
//!   connect ──► write ──► response head ──► body        a time-out for each phase
//!      pool: idle per host · idle · per host · idle time-out · age
//! ```

use std::time::Duration;

use crate::client::pool::PoolOptions;
use crate::limits::BODY_TIMEOUT;
use crate::limits::CONNECT_TIMEOUT;
use crate::limits::RESPONSE_HEAD_BYTES_MAX;
use crate::limits::RESPONSE_HEAD_TIMEOUT;
use crate::limits::WRITE_TIMEOUT;

/// Time-outs, limits and pool sizes of a transport. All of them hold per core.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Bounds of the pool.
    pub pool: PoolOptions,
    /// To look up a name and connect, over all of its addresses.
    pub connect_timeout: Duration,
    /// Between two signs of progress of a request that is sent.
    pub write_timeout: Duration,
    /// From the end of the request to the end of the response head.
    pub response_head_timeout: Duration,
    /// Between two signs of progress of a response body that is received. A body that nobody reads
    /// is not received, and its time does not run.
    pub body_timeout: Duration,
    /// Bytes of a response head.
    pub response_head_bytes_max: usize,
}

impl Default for TransportOptions {
    fn default() -> TransportOptions {
        TransportOptions {
            pool: PoolOptions::default(),
            connect_timeout: CONNECT_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            response_head_timeout: RESPONSE_HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            response_head_bytes_max: RESPONSE_HEAD_BYTES_MAX,
        }
    }
}
