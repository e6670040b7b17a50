//! A connection that goes on with something else than HTTP: an upgrade (101), or the tunnel of a
//! CONNECT.
//!
//! ```text
//!   HTTP ─ Become ─► Tunnel ◄─ Driver ─► Duplex: a closure of the server, a caller of the client
//!                      │  what was received behind the head goes with it
//!                      └─► TunnelOwner: whose connection it still is
//! ```
//!
//! Writes keep their time-out; nothing else bounds how long the connection may rest: who speaks the
//! protocol knows. What a stream of another protocol has to do for a [`Driver`] stands there.

use std::io;

use crate::http::duplex::Driver;
use crate::limits::BODY_RECV_BYTES;
use crate::limits::RECV_BUFFER_BYTES;
use crate::net::Io;
use crate::net::Protocol;
use crate::net::Receive;
use crate::net::Received;
use crate::net::Step;

/// Whose connection it is, for all that is not its bytes.
pub(crate) trait TunnelOwner {
    /// True when the connection should end soon.
    fn is_closing(&self) -> bool {
        false
    }

    /// As [`Protocol::group`].
    fn group(&self) -> usize {
        0
    }

    /// The peer sends nothing more, or is gone; may be called more than once.
    fn on_eof(&self) {}

    /// The closure that has the connection panicked, which ends it.
    fn on_panicked(&mut self, io: &mut Io, panic: &str) {
        let _ = (io, panic);
    }

    /// As [`Protocol::on_taken`].
    fn on_taken(&mut self, io: &mut Io) {
        let _ = io;
    }

    /// As [`Protocol::on_closed`]. Both halves of the duplex were told before.
    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        let _ = (io, cause);
    }
}

/// Moves bytes between a connection and its [`Duplex`](crate::http::duplex::Duplex).
pub(crate) struct Tunnel<O> {
    owner: O,
    driver: Driver,
    /// True exactly when the last piece that arrived filled its buffer.
    is_bulk: bool,
    /// True exactly when the peer was told that nothing more comes.
    has_ended: bool,
}

impl<O: TunnelOwner> Tunnel<O> {
    /// The protocol that the connection of `io` becomes. It is called next.
    pub(crate) fn new(owner: O, driver: Driver, io: &mut Io) -> Tunnel<O> {
        io.set_deadline(None);
        io.set_linger(true);
        if owner.is_closing() {
            driver.fire_closing();
        }
        Tunnel {
            owner,
            driver,
            is_bulk: false,
            has_ended: false,
        }
    }

    /// Lets the closure go on, and takes what is written.
    fn proceed(&mut self, io: &mut Io) -> Step {
        self.driver.set_room(!io.is_full());
        if let Err(panic) = self.driver.run(io.waker()) {
            self.owner.on_panicked(io, &panic);
            io.set_resets(true);
            return Step::Abort;
        }
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

impl<O: TunnelOwner> Protocol for Tunnel<O> {
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
        self.owner.on_eof();
        self.proceed(io)
    }

    fn on_deadline(&mut self, io: &mut Io) -> Step {
        self.proceed(io)
    }

    fn on_ready(&mut self, io: &mut Io) -> Step {
        if self.owner.is_closing() {
            self.driver.fire_closing();
        }
        self.proceed(io)
    }

    fn group(&self) -> usize {
        self.owner.group()
    }

    fn on_taken(&mut self, io: &mut Io) {
        self.owner.on_taken(io);
    }

    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        self.owner.on_eof();
        self.driver.fail();
        self.owner.on_closed(io, cause);
    }
}
