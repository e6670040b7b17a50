//! The lines of the access log for the requests of one connection: each is written when its exchange
//! has ended on the wire.
//!
//! ```text
//!   head ─► begin_log ─► running ─ response written ─► written ─ taken by our kernel ─► line
//!                           └──────── the connection ends ──┴─────────────────────────► line
//! ```

use std::collections::VecDeque;
use std::io;

use ::http::StatusCode;

use crate::http::recycle::FreeList;
use crate::http::request::Request;
use crate::limits::FREE_REQUESTS_MAX;
use crate::net;
use crate::net::Io;
use crate::runtime;
use crate::server::access_log::Ended;
use crate::server::access_log::Line;
use crate::server::connection::Connection;
use crate::server::worker::Worker;

/// What the access log says of a request that deserved no answer: the status that nginx made usual.
const NO_RESPONSE: u16 = 444;
/// What it says where the peer was gone before it was answered, as nginx does.
const CLIENT_CLOSED: u16 = 499;

/// Memory for more responses than these is given back.
const RECYCLED_COUNT_MAX: usize = 16;

/// Requests whose lines are not written yet. Made for the first, and recycled with the last.
#[derive(Default)]
pub(in crate::server) struct Log {
    /// The request whose response is not written to its end.
    running: Option<Entry>,
    /// Those whose responses our kernel has not taken yet, in order.
    written: VecDeque<Entry>,
}

/// A request. Places are counted in bytes of the connection's output.
struct Entry {
    line: Line,
    /// `None` while there is no response.
    status: Option<StatusCode>,
    /// Where the body of the response begins.
    body_at: u64,
    /// Where the response ends.
    end_at: u64,
    /// How our side ended it, where that is not the end of a response.
    ended: Option<Ended>,
}

thread_local! {
    static FREE: FreeList<Box<Log>> = const { FreeList::new(FREE_REQUESTS_MAX) };
}

impl Log {
    fn blank() -> Box<Log> {
        let recycled = FREE.try_with(FreeList::take).ok().flatten();
        recycled.unwrap_or_default()
    }

    /// Our side ends the request that runs in this way. The first way counts.
    fn note_ended(&mut self, ended: Ended) {
        if let Some(entry) = &mut self.running {
            entry.ended.get_or_insert(ended);
        }
    }

    /// The head of the response was written, and so many bytes of its body.
    #[inline(never)]
    fn note_head(&mut self, io: &Io, status: StatusCode, body_bytes: usize) {
        if let Some(entry) = &mut self.running {
            entry.status = Some(status);
            entry.body_at = io.appended_bytes() - body_bytes as u64;
        }
    }

    /// The response is written to its end.
    #[inline(never)]
    fn note_end(&mut self, io: &mut Io) {
        if let Some(mut entry) = self.running.take() {
            entry.end_at = io.appended_bytes();
            io.notify_when_taken(entry.end_at);
            self.written.push_back(entry);
        }
    }

    /// Writes the lines of responses that our kernel has taken. True when there are no more.
    pub(in crate::server) fn write_taken(&mut self, worker: &Worker, io: &mut Io) -> bool {
        while let Some(entry) = self.written.front() {
            if entry.end_at > io.taken_bytes() {
                io.notify_when_taken(entry.end_at);
                return false;
            }
            let entry = self.written.pop_front().expect("it was looked at");
            entry.write(worker, io, Ended::Complete);
        }
        self.running.is_none()
    }

    /// The connection has ended: writes the lines that are left. `ended` is how, for responses that
    /// our kernel has not taken to their end.
    pub(in crate::server) fn write_all(
        mut self: Box<Self>,
        worker: &Worker,
        io: &Io,
        ended: Ended,
    ) {
        let running = self.running.take();
        for entry in self.written.drain(..).chain(running) {
            let is_taken = entry.end_at <= io.taken_bytes();
            entry.write(worker, io, if is_taken { Ended::Complete } else { ended });
        }
        recycle(self);
    }
}

impl Entry {
    fn write(self, worker: &Worker, io: &Io, ended: Ended) {
        let Some(log) = &worker.access_log else {
            return;
        };
        let ended = self.ended.unwrap_or(ended);
        let unanswered = match ended {
            Ended::PeerGone => CLIENT_CLOSED,
            _ => NO_RESPONSE,
        };
        let status = self.status.map_or(unanswered, |status| status.as_u16());
        let body_bytes = io
            .taken_bytes()
            .min(self.end_at)
            .saturating_sub(self.body_at);
        // Handlers that run inline take their time within a turn.
        let now = runtime::read_clock();
        log.write(self.line, status, body_bytes, now, ended);
    }
}

/// Keeps the memory for the next request of this core.
fn recycle(mut log: Box<Log>) {
    log.written.shrink_to(RECYCLED_COUNT_MAX);
    // At the end of a thread the list may be gone already.
    let _ = FREE.try_with(|free| free.give(log));
}

/// How a connection ended that had not sent all. `is_cut` says that we have cut it.
pub(in crate::server) fn how_it_ended(io: &Io, cause: Option<&io::Error>, is_cut: bool) -> Ended {
    match cause {
        Some(cause) if net::is_own_end(cause) && is_cut => Ended::Cut,
        Some(cause) if net::is_own_end(cause) => Ended::ShutDown,
        Some(cause) if is_write_late(io, cause) => Ended::TimedOut,
        Some(cause) if net::is_file_fault(cause) => Ended::Cut,
        _ => Ended::PeerGone,
    }
}

/// True when the connection ended since its peer took nothing for the write time-out. The kernel has
/// time-outs too: a peer that is gone without a word.
pub(in crate::server) fn is_write_late(io: &Io, cause: &io::Error) -> bool {
    io.is_write_late() && cause.kind() == io::ErrorKind::TimedOut
}

impl Connection {
    pub(super) fn begin_log(&mut self, io: &mut Io, request: Option<&Request>) {
        let parts = request.map(|r| (r.method(), r.target(), r.version()));
        let line = Line::begin(io.peer_addr(), parts, io.now(), io.wall_seconds());
        let log = self.log.get_or_insert_with(Log::blank);
        log.running = Some(Entry {
            line,
            status: None,
            body_at: u64::MAX,
            end_at: u64::MAX,
            ended: None,
        });
    }

    /// True when a line has begun for a request that is not answered.
    pub(super) fn has_running_line(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.running.is_some())
    }

    pub(super) fn log_pattern(&mut self, request: &Request) {
        if let Some(log) = &mut self.log
            && let Some(entry) = &mut log.running
            && let Some(pattern) = request.pattern()
        {
            entry.line.set_pattern(pattern);
        }
    }

    /// The head of the response was written, and so many bytes of its body; the rest comes next.
    #[inline]
    pub(super) fn log_head(&mut self, io: &Io, status: StatusCode, body_bytes: usize) {
        if let Some(log) = &mut self.log {
            log.note_head(io, status, body_bytes);
        }
    }

    /// Our side ends the exchange in this way.
    pub(super) fn log_ended(&mut self, ended: Ended) {
        if let Some(log) = &mut self.log {
            log.note_ended(ended);
        }
    }

    /// The response is written as far as its length goes, and its stream has not ended: who has it all may
    /// go.
    pub(super) fn log_length(&mut self, io: &Io) {
        if let Some(log) = &mut self.log
            && let Some(entry) = &mut log.running
        {
            entry.end_at = io.appended_bytes();
        }
    }

    /// The response is written to its end.
    #[inline]
    pub(super) fn end_log(&mut self, io: &mut Io) {
        if let Some(log) = &mut self.log {
            log.note_end(io);
        }
    }

    /// Our kernel took output.
    #[inline]
    pub(super) fn log_taken(&mut self, io: &mut Io) {
        if let Some(log) = &mut self.log
            && log.write_taken(&self.worker, io)
        {
            self.log.take().into_iter().for_each(recycle);
        }
    }

    /// The connection has ended.
    pub(super) fn log_closed(&mut self, io: &Io, cause: Option<&io::Error>) {
        if let Some(log) = self.log.take() {
            let ended = how_it_ended(io, cause, self.is_cut);
            log.write_all(&self.worker, io, ended);
        }
    }
}
