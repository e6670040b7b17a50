//! What arrives: bytes of heads and bodies, as far as the machine takes them.
//!
//! ```text
//!   bytes ─► consume ─► machine ─┬─ Request ─► Exchange::begin
//!              │                 ├─ Data, End ─► Exchange::receive, end_body
//!              └─ hold ─► behind └─ Refused ─► refuse
//! ```

use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::h1::server::Event;
use crate::h1::server::Refusal;
use crate::http::request::Request;
use crate::limits::OWN_BUFFER_BODY_BYTES;
use crate::limits::REQUESTS_PER_TURN;
use crate::net::Io;
use crate::net::output::give_buffer;
use crate::net::output::take_buffer;
use crate::server::exchange::Input;
use crate::server::exchange::ResponseSink as _;
use crate::server::h1::H1Connection;
use crate::server::hooks::ProtocolErrorKind;

impl H1Connection {
    /// Takes bytes as far as the machine does, and keeps the rest.
    pub(super) fn consume(&mut self, io: &mut Io, mut input: Input<'_>) {
        let mut requests = 0;
        loop {
            if !self.wire.machine.takes_bytes() {
                // The next request waits for the one that runs, which may be through at once.
                self.advance(io);
                if !self.wire.machine.takes_bytes() {
                    break;
                }
            }
            if !self.wire.machine.is_in_body() && !input.is_empty() {
                if requests == REQUESTS_PER_TURN {
                    io.waker().wake_by_ref();
                    break;
                }
                if io.is_full() {
                    break;
                }
            }
            let limits = &self.worker.options.head_limits;
            let (used, event) = self.wire.machine.receive(input.rest(), limits);
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
                Event::Data(range) => {
                    let chunk = input.take(used, range);
                    let (exchange, core, mut sink) = self.parts(io);
                    exchange.receive(core, &mut sink, chunk);
                }
                Event::End(trailers) => {
                    input.skip(used);
                    self.exchange.end_body(trailers);
                }
                Event::Refused(refusal) => self.refuse(io, refusal, input.rest()),
            }
        }
        if !self.wire.machine.is_closed() || self.exchange.is_taken_over() {
            self.hold(input.rest());
        } else if !input.is_empty() {
            self.wire.ending.linger();
        }
        self.advance(io);
    }

    /// Keeps bytes until the machine takes them.
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
        if self.wire.machine.takes_bytes() && !self.behind.is_empty() {
            let held = std::mem::take(&mut self.behind);
            self.consume(io, Input::Borrowed(&held));
            give_buffer(held);
        }
    }

    #[inline(always)]
    fn advance(&mut self, io: &mut Io) {
        if self.exchange.is_running() {
            self.work(io);
        }
    }

    #[inline(never)]
    fn work(&mut self, io: &mut Io) {
        let (exchange, core, mut sink) = self.parts(io);
        exchange.advance(core, &mut sink);
    }

    fn begin(&mut self, io: &mut Io, request: Request) {
        self.timer.note_request();
        let machine = &self.wire.machine;
        let length = machine.body_length();
        if length.is_none_or(|length| length > OWN_BUFFER_BODY_BYTES) {
            self.wire.is_standing = false;
        } else if machine.close_reason().is_none() {
            self.wire.is_standing = true;
        }
        if let Some(record) = &mut self.wire.record {
            record.note_request(&self.worker);
        }
        let (exchange, core, mut sink) = self.parts(io);
        exchange.begin(core, &mut sink, request);
    }

    /// The peer broke a rule: answers that, if nothing else is answered, and reads nothing more.
    pub(super) fn refuse(&mut self, io: &mut Io, refusal: Refusal, received: &[u8]) {
        let (exchange, core, mut sink) = self.parts(io);
        core.counters.count_refused();
        sink.wire.ending.linger();
        exchange.drop_body(Some(Error::new(ErrorKind::Protocol, refusal.rule)));
        // Else the handler answers for the body that it reads.
        let mut is_answered = false;
        if !exchange.is_running() {
            let date = (&mut *core.date(), sink.io.wall_seconds());
            let out = sink.io.output.tail();
            let written = sink.wire.machine.respond_to_refusal(refusal, date, out);
            if let Some(body_bytes) = written {
                exchange.log_refusal(core, &mut sink, refusal.status, body_bytes);
                is_answered = true;
            }
        }
        if let Some(record) = &mut sink.wire.record {
            record.note_request(core);
        }
        let kind = match refusal.status {
            StatusCode::REQUEST_TIMEOUT => ProtocolErrorKind::Timeout,
            _ => ProtocolErrorKind::Request,
        };
        let status = is_answered.then_some(refusal.status);
        core.tell_error(|| sink.addresses(), kind, refusal.rule, status, received);
    }
}
