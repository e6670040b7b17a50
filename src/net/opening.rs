//! Sockets that were used before their connection is opened, as for a handshake: what was read of
//! them too early comes first.

use std::io;

use bytes::Bytes;

use crate::net::protocol::Io;
use crate::net::protocol::Protocol;
use crate::net::protocol::Received;
use crate::net::protocol::Step;
use crate::reactor::sys::Socket;

/// A connected socket for [`Net::open`](crate::net::Net::open).
pub struct Opening {
    /// The socket.
    pub socket: Socket,
    /// What was read of it already: the protocol's `on_recv` gets it before all else.
    pub received: Bytes,
}

impl From<Socket> for Opening {
    fn from(socket: Socket) -> Opening {
        Opening {
            socket,
            received: Bytes::new(),
        }
    }
}

/// A protocol that gets these bytes before what its connection receives.
pub(super) fn preceded(received: Bytes, protocol: Box<dyn Protocol>) -> Box<dyn Protocol> {
    match received.is_empty() {
        true => protocol,
        false => Box::new(Preceded {
            received,
            protocol: Some(protocol),
        }),
    }
}

/// Becomes its protocol with the first call, whichever that is.
struct Preceded {
    received: Bytes,
    protocol: Option<Box<dyn Protocol>>,
}

impl Preceded {
    fn begin(&mut self, io: &mut Io, more: &[u8]) -> Step {
        // The first `on_ready` was ours; its own comes behind the bytes.
        io.waker().wake_by_ref();
        let received = std::mem::take(&mut self.received);
        let received = match more {
            [] => received,
            _ => [&received, more].concat().into(),
        };
        let protocol = self.protocol.take();
        Step::Become(protocol.expect("it begins once"), received)
    }
}

impl Protocol for Preceded {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        self.begin(io, data.as_slice())
    }

    fn on_eof(&mut self, io: &mut Io) -> Step {
        self.begin(io, &[])
    }

    fn on_deadline(&mut self, io: &mut Io) -> Step {
        self.begin(io, &[])
    }

    fn on_ready(&mut self, io: &mut Io) -> Step {
        self.begin(io, &[])
    }

    fn group(&self) -> usize {
        self.protocol.as_ref().map_or(0, |own| own.group())
    }

    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        if let Some(protocol) = &mut self.protocol {
            protocol.on_closed(io, cause);
        }
    }
}
