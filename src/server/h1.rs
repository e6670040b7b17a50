//! An HTTP/1 connection of the server: bytes to requests, responses to bytes, one exchange after the
//! other.
//!
//! ```text
//!   on_recv ─► machine (h1::Server) ─┬─ request, body ─► Exchange ─► handler
//!                                    └─ rule broken ──► refuse              │
//!   output ◄── Wire (ResponseSink) ◄───────────────────────────── response ◄┘
//! ```
//!
//! What a request and its response have come to is the exchange's, or the machine's. Idle, a
//! connection owns no buffer.

mod receiving;
mod settling;
#[cfg(test)]
mod tests;
mod timer;
mod wire;

use std::io;
use std::rc::Rc;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::h1::server::ServerMachine;
use crate::http::close_reason::CloseReason;
use crate::net;
use crate::net::Io;
use crate::net::Protocol;
use crate::net::Received;
use crate::net::Step;
use crate::runtime::Instant;
use crate::server::admission::Ticket;
use crate::server::exchange::Exchange;
use crate::server::exchange::Input;
use crate::server::exchange::Late;
use crate::server::h1::timer::HeadTimer;
use crate::server::h1::wire::Ending;
use crate::server::h1::wire::Peer;
use crate::server::h1::wire::Sink;
use crate::server::h1::wire::Wire;
use crate::server::log_lines::LogLines;
use crate::server::log_lines::how_it_ended;
use crate::server::record;
use crate::server::record::ConnectionRecord;
use crate::server::worker::Worker;

/// One connection.
pub struct H1Connection {
    worker: Rc<Worker>,
    /// The request that runs; between two, the memory for the next.
    exchange: Exchange,
    wire: Wire,
    /// Bytes of further requests, behind the one that runs.
    behind: Vec<u8>,
    timer: HeadTimer,
}

impl H1Connection {
    /// A connection that was just accepted.
    pub fn accept(worker: Rc<Worker>, io: &mut Io) -> H1Connection {
        H1Connection::accept_until(Instant::NEVER, worker, io)
    }

    /// The same, with a first head that has to be there at `until`, if not earlier.
    pub(super) fn accept_until(until: Instant, worker: Rc<Worker>, io: &mut Io) -> H1Connection {
        let options = &worker.options;
        io.set_write_timeout(options.write_timeout);
        io.set_write_rate_min(options.write_bytes_per_second_min);
        let mut connection = H1Connection {
            exchange: Exchange::new(),
            timer: HeadTimer::begin(until.min(io.now() + options.header_timeout)),
            wire: Wire {
                machine: ServerMachine::new(),
                record: ConnectionRecord::begin(&worker, io),
                lines: LogLines::default(),
                peer: Peer::Open,
                ending: Ending::Orderly,
                is_standing: false,
            },
            worker,
            behind: Vec::new(),
        };
        connection.arm(io);
        connection
    }

    /// Received bytes that are kept: a part of a head, and what waits behind a request that runs.
    pub fn held_bytes(&self) -> usize {
        self.wire.machine.held_bytes() + self.behind.len()
    }

    /// Counts the connection while it lasts.
    pub(in crate::server) fn hold_ticket(&mut self, ticket: Option<Ticket>) {
        if let Some(record) = &mut self.wire.record {
            record.hold_ticket(ticket);
        } else {
            assert!(ticket.is_none(), "limits are kept in the record");
        }
    }

    /// The exchange, and what it needs: its core, and where it writes to.
    #[inline]
    fn parts<'a>(&'a mut self, io: &'a mut Io) -> (&'a mut Exchange, &'a Worker, Sink<'a>) {
        let core = &*self.worker;
        let wire = &mut self.wire;
        (&mut self.exchange, core, Sink { core, wire, io })
    }

    /// Why the connection ended.
    fn close_reason(&self, io: &Io, cause: Option<&io::Error>) -> CloseReason {
        let planned = self.wire.machine.close_reason();
        match (cause, planned) {
            (Some(cause), None) if net::is_own_end(cause) => CloseReason::Shutdown,
            (Some(cause), _) if !net::is_own_end(cause) && io.is_cut() => CloseReason::Failed,
            (_, Some(planned)) => planned,
            (Some(_), None) => CloseReason::Failed,
            (None, None) if self.wire.peer == Peer::HalfClosed => CloseReason::PeerClosed,
            (None, None) => CloseReason::Shutdown,
        }
    }
}

impl Protocol for H1Connection {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        if self.wire.machine.is_closed() {
            // What comes behind a message that ends the connection belongs to nobody.
            self.wire.ending.linger();
            return self.settle(io);
        }
        if self.behind.is_empty() {
            self.consume(io, Input::from(data));
        } else {
            self.hold(data.as_slice());
            self.proceed(io);
        }
        self.settle(io)
    }

    fn on_sent(&mut self, io: &mut Io) -> Step {
        self.proceed(io);
        self.settle(io)
    }

    fn on_ready(&mut self, io: &mut Io) -> Step {
        self.proceed(io);
        self.settle(io)
    }

    fn on_eof(&mut self, io: &mut Io) -> Step {
        self.wire.peer = Peer::HalfClosed;
        self.exchange.disconnect();
        if self.wire.machine.is_in_body() {
            let error = Error::new(ErrorKind::Closed, "the client closed before the body ended");
            let (exchange, _, mut sink) = self.parts(io);
            exchange.fail_body(&mut sink, error, CloseReason::PeerClosed);
        }
        self.proceed(io);
        self.settle(io)
    }

    fn on_deadline(&mut self, io: &mut Io) -> Step {
        let (exchange, core, mut sink) = self.parts(io);
        match exchange.late(sink.io.now()) {
            Some(Late::Handler) => exchange.time_out_handler(core, &mut sink),
            Some(Late::Body) => exchange.time_out_body(core, &mut sink),
            None => return self.on_head_deadline(io),
        }
        self.proceed(io);
        self.settle(io)
    }

    fn group(&self) -> usize {
        self.worker.group()
    }

    fn on_taken(&mut self, io: &mut Io) {
        self.wire.lines.write_taken(&self.worker, io);
        // One that waits for its next request is idle from now on.
        self.settle_record(io);
    }

    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        let cause = cause.as_ref();
        let core = &*self.worker;
        let running = self.exchange.close(core);
        let ended = how_it_ended(io, cause, self.wire.ending == Ending::Reset);
        self.wire.lines.write_all(core, io, running, ended);
        let reason = self.close_reason(io, cause);
        record::end(self.wire.record.take(), core, reason, io, cause);
        // The last: who sees that a connection is gone sees all that is counted of it.
        core.counters.count_closed(io.is_cut());
    }
}
