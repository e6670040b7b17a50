//! Where an exchange over HTTP/1 writes to: the connection itself.

use std::net::SocketAddr;
use std::task::Waker;

use ::http::StatusCode;
use bytes::Bytes;

use crate::h1::server::Circumstances;
use crate::h1::server::Sends;
use crate::h1::server::ServerMachine;
use crate::http::body::Content;
use crate::http::close_reason::CloseReason;
use crate::http::headers::Headers;
use crate::http::response::Response;
use crate::net::Io;
use crate::runtime::Instant;
use crate::server::exchange::ResponseSink;
use crate::server::exchange::log_entry::LogEntry;
use crate::server::log_lines::LogLines;
use crate::server::record::ConnectionRecord;
use crate::server::worker::Worker;

/// What a connection and its exchange share.
pub(super) struct Wire {
    pub(super) machine: ServerMachine,
    /// What is known of the connection where somebody wants it.
    pub(super) record: Option<Box<ConnectionRecord>>,
    /// Lines of the access log that wait for our kernel.
    pub(super) lines: LogLines,
    pub(super) peer: Peer,
    pub(super) ending: Ending,
    /// True while one receive stands for all that arrives: a head said that the connection is kept,
    /// and the last request had no body that is received in large pieces.
    pub(super) is_standing: bool,
}

/// What may still arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Requests, and their bodies.
    Open,
    /// Nothing: the peer has ended its side, and may still read.
    HalfClosed,
}

/// How the connection has to end, when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Everything that the peer sent was read.
    Orderly,
    /// The peer may have sent what was not read: closing at once could reset the connection before
    /// the peer has read the response.
    Linger,
    /// The response was cut so that only a reset can tell the peer.
    Reset,
}

impl Ending {
    /// Something stays unread.
    pub(super) fn linger(&mut self) {
        if *self == Ending::Orderly {
            *self = Ending::Linger;
        }
    }
}

/// A connection at work for its exchange.
pub(super) struct Sink<'a> {
    pub(super) core: &'a Worker,
    pub(super) wire: &'a mut Wire,
    pub(super) io: &'a mut Io,
}

impl ResponseSink for Sink<'_> {
    fn now(&self) -> Instant {
        self.io.now()
    }

    fn wall_seconds(&self) -> u64 {
        self.io.wall_seconds()
    }

    fn addresses(&mut self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.io.addresses()
    }

    fn waker(&mut self) -> &Waker {
        self.io.waker()
    }

    fn appended_bytes(&self) -> u64 {
        self.io.appended_bytes()
    }

    fn is_receiving(&self) -> bool {
        self.wire.machine.is_in_body()
    }

    fn body_left(&self) -> Option<u64> {
        self.wire.machine.body_length()
    }

    fn ask_for_body(&mut self) {
        self.wire.machine.write_continue(self.io.output.tail());
    }

    fn stop_receiving(&mut self, reason: CloseReason) {
        if self.wire.machine.is_in_body() {
            self.wire.ending.linger();
        }
        self.wire.machine.stop_receiving(reason);
    }

    fn may_inform(&self) -> bool {
        self.wire.machine.may_inform()
    }

    fn inform(&mut self, status: StatusCode, headers: &Headers) {
        let out = self.io.output.tail();
        self.wire.machine.write_informational(status, headers, out);
    }

    fn replacement_for(&self, response: &Response) -> Option<StatusCode> {
        self.wire.machine.replacement_for(response)
    }

    fn head(&mut self, response: &mut Response, is_unread: bool) -> Sends {
        let (core, machine) = (self.core, &mut self.wire.machine);
        if let Some(record) = &mut self.wire.record
            && let Some(reason) = record.count_answer(core, self.io.now())
            && machine.close_after_response(reason)
        {
            core.counters.count_retired();
        }
        let circumstances = Circumstances {
            date: &mut core.date(),
            wall_seconds: self.io.wall_seconds(),
            body_is_abandoned: is_unread,
            is_shutting_down: core.is_draining(),
        };
        let sends = machine.respond(response, circumstances, self.io.output.tail());
        if sends == Sends::Chunks {
            self.io.set_resets(machine.ends_with_connection());
        }
        sends
    }

    fn content(&mut self, content: Content) {
        if content.is_file() {
            self.io
                .set_write_timeout(self.core.options.file_write_timeout);
        }
        self.io.output.append_content(content);
    }

    fn is_full(&mut self) -> bool {
        self.io.is_full()
    }

    fn chunk(&mut self, chunk: Bytes) -> bool {
        let (machine, io) = (&mut self.wire.machine, &mut *self.io);
        let fits = machine.begin_chunk(chunk.len(), io.output.tail());
        if fits {
            io.append_bytes(chunk);
            machine.end_chunk(io.output.tail());
        }
        fits
    }

    fn has_sent_length(&self) -> bool {
        self.wire.machine.has_sent_length()
    }

    fn end(&mut self, trailers: Option<&Headers>) -> bool {
        let out = self.io.output.tail();
        self.wire.machine.finish_body(trailers, out)
    }

    fn cut(&mut self) {
        // Where the end of the connection is the end of the body, an orderly one would lie.
        if self.wire.machine.ends_with_connection() {
            self.wire.ending = Ending::Reset;
        }
        self.wire.machine.fail_body();
    }

    fn reset(&mut self) {
        self.wire.ending = Ending::Reset;
        self.io.set_resets(true);
        self.wire.machine.give_up(CloseReason::WeAsked);
    }

    fn log(&mut self, entry: Box<LogEntry>) {
        self.wire.lines.push(self.io, entry);
    }

    fn wants_upgrade(&self) -> bool {
        self.wire.machine.wants_upgrade()
    }

    fn refuses_takeover(
        &self,
        protocol: Option<&str>,
        offered: &[u8],
    ) -> Option<(StatusCode, &'static str)> {
        self.wire.machine.refuses_takeover(protocol, offered)
    }

    fn hand_over(&mut self, response: &mut Response) {
        let date = (&mut *self.core.date(), self.io.wall_seconds());
        let out = self.io.output.tail();
        self.wire.machine.hand_over(response, date, out);
    }
}
