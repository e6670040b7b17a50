//! The beginning of a connection on which a PROXY header comes first.
//!
//! ```text
//!   bytes ─► parse ─┬─ Partial ─► kept (few bytes)
//!                   ├─ error ─► close, without a word
//!                   └─ Complete ─► addresses ─► Connection, which takes the rest where it lies
//! ```

use std::io;
use std::rc::Rc;

use bytes::Bytes;

use crate::net::Io;
use crate::net::Protocol;
use crate::net::Received;
use crate::net::Step;
use crate::server::admission::Ticket;
use crate::server::entry;
use crate::server::hooks::ProtocolErrorKind;
use crate::server::proxy_protocol::Announced;
use crate::server::proxy_protocol::Parsed;
use crate::server::proxy_protocol::parse;
use crate::server::worker::Worker;

/// A connection whose header is not complete.
pub struct Prefix {
    worker: Rc<Worker>,
    ticket: Option<Ticket>,
    /// What arrived of the header.
    held: Vec<u8>,
    /// What follows: here only while it is being put in place, or when it ended at once.
    next: Option<Box<dyn Protocol>>,
}

impl Prefix {
    /// A connection that was just accepted.
    pub fn accept(worker: &Rc<Worker>, io: &mut Io, ticket: Option<Ticket>) -> Prefix {
        io.set_deadline(Some(io.now() + worker.options.header_timeout));
        Prefix {
            worker: Rc::clone(worker),
            ticket,
            held: Vec::new(),
            next: None,
        }
    }

    fn take(&mut self, io: &mut Io, bytes: &[u8]) -> Step {
        match parse(bytes) {
            Ok(Parsed::Partial) => {
                // `bytes` begin with what is held.
                self.held.extend_from_slice(&bytes[self.held.len()..]);
                Step::Continue
            }
            Ok(Parsed::Complete { used, announced }) => {
                match announced {
                    Announced::Addresses { peer, local } => {
                        io.set_addresses(Some(peer), Some(local));
                    }
                    Announced::Unix => io.set_addresses(None, None),
                    Announced::Own => {}
                }
                self.begin(io, announced, &bytes[used..])
            }
            Err(error) => self.refuse(io, error.rule, bytes),
        }
    }

    /// The first request begins with `rest`.
    fn begin(&mut self, io: &mut Io, announced: Announced, rest: &[u8]) -> Step {
        let ticket = self.ticket.take();
        // What a proxy asks for itself is no client's: it counts for no address.
        let is_client = announced != Announced::Own;
        let Some(mut next) = entry::admit(&self.worker, io, ticket, is_client) else {
            io.set_linger(false);
            return Step::CloseAfterFlush;
        };
        if rest.is_empty() {
            return Step::Become(next, Bytes::new());
        }
        match next.on_recv(io, Received::Borrowed(rest)) {
            Step::Continue => Step::Become(next, Bytes::new()),
            step => {
                // It has to be told of its end.
                self.next = Some(next);
                step
            }
        }
    }

    fn refuse(&mut self, io: &mut Io, rule: &'static str, received: &[u8]) -> Step {
        self.worker.counters.count_connection_refused();
        self.worker.tell_error(
            || io.addresses(),
            ProtocolErrorKind::ProxyHeader,
            rule,
            None,
            received,
        );
        io.set_linger(false);
        Step::CloseAfterFlush
    }
}

impl Protocol for Prefix {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        if self.held.is_empty() {
            return self.take(io, data.as_slice());
        }
        let mut bytes = self.held.clone();
        bytes.extend_from_slice(data.as_slice());
        self.take(io, &bytes)
    }

    fn on_eof(&mut self, io: &mut Io) -> Step {
        if self.held.is_empty() {
            // A probe that only connects.
            return Step::CloseAfterFlush;
        }
        let held = std::mem::take(&mut self.held);
        self.refuse(io, "the PROXY header is cut", &held)
    }

    fn on_deadline(&mut self, io: &mut Io) -> Step {
        self.worker.counters.count_header_timeout();
        let held = std::mem::take(&mut self.held);
        self.refuse(io, "the PROXY header did not arrive in time", &held)
    }

    fn on_ready(&mut self, _: &mut Io) -> Step {
        if self.worker.closes_new() {
            Step::CloseAfterFlush
        } else {
            Step::Continue
        }
    }

    fn group(&self) -> usize {
        self.worker.group()
    }

    fn on_taken(&mut self, io: &mut Io) {
        if let Some(next) = &mut self.next {
            next.on_taken(io);
        }
    }

    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        match &mut self.next {
            Some(next) => next.on_closed(io, cause),
            None => self.worker.counters.count_closed(io.is_cut()),
        }
    }
}
