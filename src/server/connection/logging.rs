//! The line of the access log for the request that runs.
//!
//! ```text
//!   head ─► begin_log ─► bytes of the body are counted ─► end_log
//! ```

use ::http::StatusCode;

use crate::http::request::Request;
use crate::net::Io;
use crate::server::access_log::Line;
use crate::server::connection::Connection;
use crate::server::connection::Entry;

impl Connection {
    pub(super) fn begin_log(&mut self, io: &mut Io, request: Option<&Request>) {
        let parts = request.map(|r| (r.method(), r.target(), r.version()));
        let line = Line::begin(io.peer_addr(), parts, io.now(), io.wall_seconds());
        self.log = Some(Box::new(Entry {
            line,
            status: StatusCode::OK,
            bytes: 0,
        }));
    }

    pub(super) fn count_bytes(&mut self, bytes: u64) {
        if let Some(entry) = &mut self.log {
            entry.bytes += bytes;
        }
    }

    pub(super) fn log_pattern(&mut self, request: &Request) {
        if let Some(entry) = &mut self.log
            && let Some(pattern) = request.pattern()
        {
            entry.line.set_pattern(pattern);
        }
    }

    pub(super) fn end_log(&mut self, io: &mut Io, status: Option<StatusCode>) {
        if let Some(entry) = self.log.take()
            && let Some(log) = &self.worker.access_log
        {
            let status = status.unwrap_or(entry.status);
            log.write(entry.line, status, entry.bytes, io.now());
        }
    }
}
