//! A line of the access log while its request lives.
//!
//! ```text
//!   head ─► begin ─► note_head ─► note_end ─► the connection writes it, when our kernel has the rest
//! ```

use ::http::StatusCode;

use crate::http::recycle::FreeList;
use crate::http::request::Request;
use crate::limits::FREE_REQUESTS_MAX;
use crate::runtime;
use crate::server::access_log::Ended;
use crate::server::access_log::Line;
use crate::server::access_log::WorkerLog;
use crate::server::exchange::sink::ResponseSink;

/// What the access log says of a request that deserved no answer: the status that nginx made usual.
const NO_RESPONSE: u16 = 444;
/// What it says where the peer was gone before it was answered, as nginx does.
const CLIENT_CLOSED: u16 = 499;

/// A request whose line is not written yet. Places are counted in bytes of the connection's output.
pub struct LogEntry {
    /// `None` only in recycled memory.
    line: Option<Line>,
    /// `None` while there is no response.
    status: Option<StatusCode>,
    /// Where the body of the response begins.
    body_at: u64,
    /// Where the response ends, or has all that it announced.
    end_at: u64,
    /// How our side ended it, where that is not the end of a response.
    ended: Option<Ended>,
}

thread_local! {
    static FREE: FreeList<Box<LogEntry>> = const { FreeList::new(FREE_REQUESTS_MAX) };
}

impl LogEntry {
    /// The line of a request, or of what was none.
    pub fn begin(sink: &mut impl ResponseSink, request: Option<&Request>) -> Box<LogEntry> {
        let parts = request.map(|r| (r.method(), r.target(), r.version()));
        let (peer, _) = sink.addresses();
        let entry = LogEntry {
            line: Some(Line::begin(peer, parts, sink.now(), sink.wall_seconds())),
            status: None,
            body_at: u64::MAX,
            end_at: u64::MAX,
            ended: None,
        };
        match FREE.try_with(FreeList::take).ok().flatten() {
            Some(mut recycled) => {
                *recycled = entry;
                recycled
            }
            None => Box::new(entry),
        }
    }

    /// The pattern of the route that answers.
    pub(super) fn set_pattern(&mut self, pattern: &str) {
        if let Some(line) = &mut self.line {
            line.set_pattern(pattern);
        }
    }

    /// Our side ends the request in this way. The first way counts.
    pub(super) fn note_ended(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
    }

    /// The head of the response was written; its body begins at `body_at`.
    pub fn note_head(&mut self, status: StatusCode, body_at: u64) {
        self.status = Some(status);
        self.body_at = body_at;
    }

    /// The response ends at `end_at`, or has there all that it announced: who has it all may go.
    pub fn note_end(&mut self, end_at: u64) {
        self.end_at = end_at;
    }

    /// Where the response ends; `u64::MAX` while that is open.
    pub fn end_at(&self) -> u64 {
        self.end_at
    }

    /// Writes the line. `ended` is how the response ended, unless our side ended it otherwise;
    /// `taken_bytes` is how many bytes of the connection's output our kernel took.
    pub fn write(mut self: Box<Self>, log: &WorkerLog, taken_bytes: u64, ended: Ended) {
        let ended = self.ended.unwrap_or(ended);
        let unanswered = match ended {
            Ended::PeerGone => CLIENT_CLOSED,
            _ => NO_RESPONSE,
        };
        let status = self.status.map_or(unanswered, |status| status.as_u16());
        let body_bytes = taken_bytes.min(self.end_at).saturating_sub(self.body_at);
        // Handlers that run inline take their time within a turn.
        let now = runtime::read_clock();
        if let Some(line) = self.line.take() {
            log.write(line, status, body_bytes, now, ended);
        }
        // At the end of a thread the list may be gone already.
        let _ = FREE.try_with(|free| free.give(self));
    }
}
