//! Programs at the other end of the simulated network: written as a state machine, not with the
//! crate under test.
//!
//! ```text
//!   network event, timer ──► Peer::act(PeerIo) ──► connect, listen, send, receive, close, reset
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::ring::clock::Instant;
use crate::ring::sim::agenda::Event;
use crate::ring::sim::network::EndpointId;
use crate::ring::sim::network::Owner;
use crate::ring::sim::random::Random;
use crate::ring::sim::world::World;
use crate::ring::sys::Address;

/// A program beyond the network. Called first when it is added, then whenever something happened
/// on one of its sockets or its timer passed; it does what it can at once and returns.
///
/// It runs within the kernel: no socket, task or waker of the program may be used or dropped there,
/// and of `simulation` only `fail`. What it shares with the program are cells.
pub trait Peer {
    /// Acts. False once the peer is done: its sockets close, and it is not called again.
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool;
}

/// Names a peer of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerId(pub(super) u32);

/// A socket of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSocket(pub(super) EndpointId);

/// What a receive of a peer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerReceived {
    /// This many bytes were appended.
    Bytes(usize),
    /// Nothing is there yet, or the connection is not made yet.
    Nothing,
    /// The other side will send nothing more.
    End,
    /// The connection was reset or refused, or is closed.
    Reset,
}

/// What a send of a peer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerSent {
    /// This many bytes were taken, at least one.
    Bytes(usize),
    /// There is no room yet, or the connection is not made yet.
    Nothing,
    /// The connection was reset or refused, or is closed.
    Reset,
}

/// What a peer may do.
pub struct PeerIo<'world> {
    pub(super) world: &'world mut World,
    pub(super) peer: PeerId,
}

impl PeerIo<'_> {
    /// Notes a step of this peer, for a person to read.
    fn note(&mut self, text: impl FnOnce() -> String) {
        let peer = self.peer.0;
        self.world.note(|| format!("peer {peer} {}", text()));
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// Numbers from the simulation's seed.
    pub fn random(&mut self) -> &mut Random {
        &mut self.world.chaos.random
    }

    /// One of so many ways, not zero: drawn, or chosen where every way is taken.
    pub fn pick(&mut self, count: usize) -> usize {
        self.world.chaos.pick(count)
    }

    /// Begins to connect; the peer is called when that is done.
    pub fn connect(&mut self, address: SocketAddr) -> PeerSocket {
        let endpoint = self.world.net.new_stream(Owner::Peer(self.peer));
        self.world.count_sockets(self.peer, 1);
        self.note(|| format!("connects {endpoint} to {address}"));
        self.world.begin_connect(endpoint, Address::Tcp(address));
        PeerSocket(endpoint)
    }

    /// Listens; the peer is called when connections come. `None` when the address is taken.
    pub fn listen(&mut self, address: SocketAddr) -> Option<PeerSocket> {
        self.listen_at(&Address::Tcp(address))
    }

    /// Listens on a Unix socket. `None` when somebody does.
    pub fn listen_unix(&mut self, path: impl Into<PathBuf>) -> Option<PeerSocket> {
        self.listen_at(&Address::Unix(path.into()))
    }

    fn listen_at(&mut self, address: &Address) -> Option<PeerSocket> {
        let owner = Owner::Peer(self.peer);
        let listener = self.world.net.listen(address, false, owner).ok()?;
        self.world.count_sockets(self.peer, 1);
        Some(PeerSocket(listener))
    }

    /// The next connection of a listener.
    pub fn accept(&mut self, listener: PeerSocket) -> Option<PeerSocket> {
        let endpoint = self.world.net.take_accepted(listener.0)?;
        self.world.net.set_owner(endpoint, Owner::Peer(self.peer));
        self.world.count_sockets(self.peer, 1);
        self.note(|| format!("accepts {endpoint}"));
        Some(PeerSocket(endpoint))
    }

    /// True once a connection is made, and until it is closed here.
    pub fn is_connected(&self, socket: PeerSocket) -> bool {
        self.world.net.is_connected(socket.0)
    }

    /// Sends as much as there is room for.
    pub fn send(&mut self, socket: PeerSocket, bytes: &[u8]) -> PeerSent {
        if bytes.is_empty() {
            return PeerSent::Nothing;
        }
        let sent = self.world.transmit(socket.0, &[bytes], usize::MAX);
        if sent != Err(libc::EAGAIN) {
            self.note(|| format!("sends {} on {}: {sent:?}", bytes.len(), socket.0));
        }
        match sent {
            Ok(bytes) => PeerSent::Bytes(bytes),
            Err(libc::EAGAIN) => PeerSent::Nothing,
            Err(_) => PeerSent::Reset,
        }
    }

    /// Appends what arrived, at most `bytes_max`.
    pub fn receive(
        &mut self,
        socket: PeerSocket,
        into: &mut Vec<u8>,
        bytes_max: usize,
    ) -> PeerReceived {
        let received = self
            .world
            .take_received(socket.0, bytes_max, |piece| into.extend_from_slice(piece));
        if received != Err(libc::EAGAIN) {
            self.note(|| format!("receives on {}: {received:?}", socket.0));
        }
        match received {
            Ok(0) if bytes_max > 0 => PeerReceived::End,
            Ok(bytes) => PeerReceived::Bytes(bytes),
            Err(libc::EAGAIN) => PeerReceived::Nothing,
            Err(_) => PeerReceived::Reset,
        }
    }

    /// Sends nothing more.
    pub fn shut_write(&mut self, socket: PeerSocket) {
        self.note(|| format!("shuts {} Write", socket.0));
        self.world.shut(socket.0, false, true);
    }

    /// Closes in order: what was sent still arrives, unless something is unread here.
    pub fn close(&mut self, socket: PeerSocket) {
        self.end(socket, false);
    }

    /// Closes with a reset; what is on its way is lost.
    pub fn reset(&mut self, socket: PeerSocket) {
        self.end(socket, true);
    }

    fn end(&mut self, socket: PeerSocket, reset: bool) {
        if self.world.net.get(socket.0).is_some() {
            let how = if reset { "resets" } else { "closes" };
            self.note(|| format!("{how} {}", socket.0));
            self.world.count_sockets(self.peer, -1);
            self.world.close_endpoint(socket.0, reset);
        }
    }

    /// The peer is called again after this time, whatever happens before.
    pub fn wake_in(&mut self, delay: Duration) {
        let at = self.world.now() + delay;
        self.world.agenda.add(at, Event::Peer(self.peer));
    }
}
