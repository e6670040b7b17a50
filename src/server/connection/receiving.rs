//! What arrives: bytes of heads and bodies, as far as the exchange takes them.
//!
//! ```text
//!   bytes ─► consume ─► Exchange ─┬─ Request ─► begin
//!              │                  ├─ Data, End ─► Sender ─► handler
//!              └─ hold ─► behind  └─ Refused ─► refuse
//! ```

use std::rc::Rc;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase as ErrorPhase;
use crate::http::framing::CloseReason;
use crate::http::headers::Headers;
use crate::http::serve::Event;
use crate::http::serve::Refusal;
use crate::limits::REQUESTS_PER_TURN;
use crate::net::Io;
use crate::net::output::give_buffer;
use crate::net::output::take_buffer;
use crate::server::connection::Connection;
use crate::server::connection::Work;
use crate::server::connection::input::Chunk;
use crate::server::connection::input::Input;
use crate::server::connection::special::body_too_long;
use crate::server::connection::terms::body_bytes_max;
use crate::server::hooks::ProtocolErrorKind;

impl Connection {
    /// Takes bytes as far as the exchange does, and keeps the rest.
    pub(super) fn consume(&mut self, io: &mut Io, mut input: Input<'_>) {
        let mut requests = 0;
        loop {
            if !self.exchange.takes_bytes() {
                // The next request waits for the one that runs, which may be through at once.
                self.advance(io);
                if !self.exchange.takes_bytes() {
                    break;
                }
            }
            if !self.exchange.is_in_body() && !input.is_empty() {
                if requests == REQUESTS_PER_TURN {
                    io.waker().wake_by_ref();
                    break;
                }
                if io.is_full() {
                    break;
                }
            }
            let limits = &self.worker.options.head_limits;
            let (used, event) = self.exchange.receive(input.rest(), limits);
            match event {
                Event::NeedMore => {
                    input.skip(used);
                    break;
                }
                Event::Request(request) => {
                    input.skip(used);
                    requests += 1;
                    self.begin(io, request);
                }
                Event::Data(range) => self.take_body(io, input.take(used, range)),
                Event::End(trailers) => {
                    input.skip(used);
                    self.end_body(trailers);
                }
                Event::Refused(refusal) => self.refuse(io, refusal, input.rest()),
            }
        }
        if self.exchange.is_closed() && !matches!(self.work, Work::Takeover(_)) {
            self.has_unread |= !input.is_empty();
        } else {
            self.hold(input.rest());
        }
        self.advance(io);
    }

    /// Keeps bytes until the exchange takes them.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.behind.capacity() == 0 {
            self.behind = take_buffer();
        }
        self.behind.extend_from_slice(bytes);
    }

    /// Goes on: what runs first, then the bytes that waited behind it.
    pub(super) fn proceed(&mut self, io: &mut Io) {
        self.advance(io);
        if self.exchange.takes_bytes() && !self.behind.is_empty() {
            let held = std::mem::take(&mut self.behind);
            self.consume(io, Input::Borrowed(&held));
            give_buffer(held);
        }
    }

    pub(super) fn take_body(&mut self, io: &mut Io, chunk: Chunk<'_>) {
        let len = chunk.len();
        self.timing.note_progress();
        let rate = self.worker.options.body_bytes_per_second_min;
        self.credit.earn(len, rate);
        self.body_bytes += len as u64;
        let max = body_bytes_max(self.terms.as_deref(), &self.worker.options);
        if let Some((max, knob)) = max
            && self.body_bytes > max
        {
            let error = body_too_long(max, knob);
            let (kind, text) = (ProtocolErrorKind::Request, error.to_string());
            self.worker.tell_error(io, kind, &text, None, &[]);
            self.fail_body(error, CloseReason::BadMessage);
            return;
        }
        match &mut self.sender {
            Some(sender) if !sender.is_dropped() => sender.push(chunk.into_bytes()),
            _ => self.drained_bytes = self.drained_bytes.saturating_add(len as u32),
        }
    }

    pub(super) fn end_body(&mut self, trailers: Option<Headers>) {
        self.timing.note_progress();
        if let Some(sender) = self.sender.take() {
            sender.finish(trailers);
        }
    }

    /// The body will not arrive: its reader gets the error, and nothing more is read.
    pub(super) fn fail_body(&mut self, error: Error, reason: CloseReason) {
        self.has_unread = true;
        self.exchange.stop_receiving(reason);
        if let Some(sender) = self.sender.take() {
            sender.fail(error.in_phase(ErrorPhase::RequestBody));
        }
    }

    pub(super) fn refuse(&mut self, io: &mut Io, refusal: Refusal, received: &[u8]) {
        self.worker.counters.count_refused();
        let error = Error::new(ErrorKind::Protocol, refusal.rule);
        self.fail_body(error, CloseReason::BadMessage);
        if !matches!(self.work, Work::Nothing) {
            // The handler answers for the body that it reads.
            self.tell_refusal(io, refusal, false, received);
            return;
        }
        let worker = Rc::clone(&self.worker);
        let date = (&mut *worker.date(), io.wall_seconds());
        let written = self
            .exchange
            .respond_to_refusal(refusal, date, io.output.tail());
        if let Some(body_bytes) = written {
            if self.worker.access_log.is_some() && !self.has_running_line() {
                self.begin_log(io, None);
            }
            self.log_head(io, refusal.status, body_bytes);
            self.end_log(io);
        }
        self.tell_refusal(io, refusal, written.is_some(), received);
    }
}
