//! A connection that goes on with something else than HTTP: an upgrade (101), or the tunnel of a
//! CONNECT.
//!
//! ```text
//!   connection ─ switched ─► Become(Tunnel) ◄──► Duplex ─► the caller
//!                            what came behind the head goes with it
//! ```
//! It is out of the pool. Writes have the client's time-out; nothing else bounds how long it may
//! rest: who speaks the protocol knows.

use std::io;
use std::rc::Rc;

use crate::client::transport::Shared;
use crate::http::duplex::Driver;
use crate::limits::BODY_RECV_BYTES;
use crate::limits::RECV_BUFFER_BYTES;
use crate::net::Io;
use crate::net::Protocol;
use crate::net::Receive;
use crate::net::Received;
use crate::net::Step;

/// Moves bytes between a connection and its [`Duplex`](crate::http::duplex::Duplex).
pub(super) struct Tunnel {
    /// The client's, whose core must not end before its connections.
    _shared: Rc<Shared>,
    driver: Driver,
    /// True exactly when the last piece that arrived filled its buffer.
    is_bulk: bool,
    /// True exactly when the peer was told that nothing more comes.
    has_ended: bool,
}

impl Tunnel {
    pub(super) fn new(shared: Rc<Shared>, driver: Driver, io: &mut Io) -> Tunnel {
        io.set_deadline(None);
        io.set_linger(true);
        Tunnel {
            _shared: shared,
            driver,
            is_bulk: false,
            has_ended: false,
        }
    }

    fn proceed(&mut self, io: &mut Io) -> Step {
        while let Some(bytes) = self.driver.take() {
            io.append_bytes(bytes);
        }
        self.driver.set_room(!io.is_full());
        if self.driver.is_abandoned() {
            return Step::CloseAfterFlush;
        }
        io.set_receive(self.receive_mode());
        if self.driver.has_taken_all() && !self.has_ended {
            if io.pending_bytes() == 0 {
                self.has_ended = true;
                return Step::EndOutput;
            }
            io.notify_when_all_sent();
        }
        Step::Continue
    }

    fn receive_mode(&self) -> Receive {
        match self.driver.has_appetite() {
            false => Receive::Paused,
            // One that rests owns no buffer.
            true if self.is_bulk && self.driver.is_wanted() => Receive::Body(BODY_RECV_BYTES),
            true => Receive::Once,
        }
    }
}

impl Protocol for Tunnel {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        self.is_bulk = data.as_slice().len() >= RECV_BUFFER_BYTES as usize;
        self.driver.push(data.into_bytes_from(0));
        self.proceed(io)
    }

    fn on_sent(&mut self, io: &mut Io) -> Step {
        self.proceed(io)
    }

    fn on_eof(&mut self, io: &mut Io) -> Step {
        self.driver.end();
        self.proceed(io)
    }

    fn on_deadline(&mut self, io: &mut Io) -> Step {
        self.proceed(io)
    }

    fn on_ready(&mut self, io: &mut Io) -> Step {
        self.proceed(io)
    }

    fn on_closed(&mut self, _: &Io, _cause: Option<io::Error>) {
        self.driver.fail();
    }
}
