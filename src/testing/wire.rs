//! A raw connection in memory.
//!
//! ```text
//!   Wire ── cells: bytes to send, bytes received, the end ── Peer, within the simulated kernel
//! ```

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::simulation::Peer;
use crate::simulation::PeerIo;
use crate::simulation::PeerReceived;
use crate::simulation::PeerSent;
use crate::simulation::PeerSocket;
use crate::testing::app::App;

/// Bytes taken by one receive.
const RECEIVE_BYTES: usize = 64 * 1024;

/// A connection to an [`App`], for bytes. Each call runs the app until there is nothing to do
/// before time passes. Dropped, the connection is closed.
pub struct Wire<'app> {
    app: &'app App,
    state: Rc<RefCell<State>>,
}

/// What the wire and its end within the kernel share.
#[derive(Default)]
struct State {
    to_send: Vec<u8>,
    received: Vec<u8>,
    end: Option<End>,
    finishes: bool,
    is_paused: bool,
    leaves: Option<Leave>,
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// How we end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Close,
    Reset,
}

/// The end of a wire within the kernel.
struct Far {
    address: SocketAddr,
    socket: Option<PeerSocket>,
    is_finished: bool,
    state: Rc<RefCell<State>>,
}

impl Wire<'_> {
    pub(super) fn open(app: &App, address: SocketAddr) -> Wire<'_> {
        let state = Rc::new(RefCell::new(State::default()));
        app.session().add_peer(Far {
            address,
            socket: None,
            is_finished: false,
            state: Rc::clone(&state),
        });
        app.wake_wires();
        Wire { app, state }
    }

    /// Sends bytes, in one segment.
    ///
    /// # Panics
    ///
    /// A handler panicked.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.state.borrow_mut().to_send.extend_from_slice(bytes);
        self.act();
        self
    }

    /// Sends nothing more (a half-close); what the server sends still arrives.
    #[track_caller]
    pub fn finish(&mut self) -> &mut Self {
        self.state.borrow_mut().finishes = true;
        self.act();
        self
    }

    /// Takes what has arrived since the last time. Nothing is waited for: let time pass with
    /// [`App::advance`] where a handler takes some.
    ///
    /// # Panics
    ///
    /// It is not UTF-8.
    #[track_caller]
    pub fn receive(&mut self) -> String {
        match String::from_utf8(self.receive_bytes()) {
            Ok(text) => text,
            Err(error) => panic!("what arrived is not text: {error}"),
        }
    }

    /// Takes what has arrived since the last time, whatever it is.
    #[track_caller]
    pub fn receive_bytes(&mut self) -> Vec<u8> {
        self.app.settle();
        std::mem::take(&mut self.state.borrow_mut().received)
    }

    /// Stops reading, or reads again: the server sees a peer that takes nothing.
    #[track_caller]
    pub fn pause(&mut self, is_paused: bool) -> &mut Self {
        self.state.borrow_mut().is_paused = is_paused;
        self.act();
        self
    }

    /// True when the server has ended the connection, in order or with a reset.
    pub fn is_closed(&mut self) -> bool {
        self.app.settle();
        self.state.borrow().end.is_some()
    }

    /// True when the server has reset the connection.
    pub fn is_reset(&mut self) -> bool {
        self.app.settle();
        self.state.borrow().end == Some(End::Reset)
    }

    /// Goes away with a reset, as a client that was killed.
    #[track_caller]
    pub fn reset(self) {
        self.state.borrow_mut().leaves = Some(Leave::Reset);
        self.act();
    }

    #[track_caller]
    fn act(&self) {
        self.app.wake_wires();
        self.app.settle();
    }
}

impl Peer for Far {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        let address = self.address;
        let socket = *self.socket.get_or_insert_with(|| io.connect(address));
        let mut state = self.state.borrow_mut();
        match state.leaves {
            None => {}
            Some(Leave::Close) => {
                io.close(socket);
                return false;
            }
            Some(Leave::Reset) => {
                io.reset(socket);
                return false;
            }
        }
        loop {
            match io.send(socket, &state.to_send) {
                PeerSent::Bytes(count) => drop(state.to_send.drain(..count)),
                PeerSent::Nothing => break,
                PeerSent::Reset => {
                    state.to_send.clear();
                    break;
                }
            }
        }
        if state.finishes && state.to_send.is_empty() && !self.is_finished {
            self.is_finished = true;
            io.shut_write(socket);
        }
        while !state.is_paused && state.end.is_none() {
            match io.receive(socket, &mut state.received, RECEIVE_BYTES) {
                PeerReceived::Bytes(_) => {}
                PeerReceived::Nothing => break,
                PeerReceived::End => state.end = Some(End::Closed),
                PeerReceived::Reset => state.end = Some(End::Reset),
            }
        }
        // Who was told of the end closes too, and may not have been told yet.
        if state.end.is_some() {
            io.close(socket);
            return false;
        }
        true
    }
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() || self.state.borrow().end.is_some() {
            return;
        }
        self.state.borrow_mut().leaves.get_or_insert(Leave::Close);
        self.act();
    }
}

impl fmt::Debug for Wire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Wire")
            .field("received", &state.received.escape_ascii().to_string())
            .field("end", &state.end)
            .finish_non_exhaustive()
    }
}
