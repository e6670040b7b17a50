//! Listening: one multishot accept per listener and core, with a pause when descriptors run out.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::limits::ACCEPT_LAST_MAX;
use crate::limits::ACCEPT_RETRY_DELAY;
use crate::limits::ACCEPT_SKIPS_MAX;
use crate::net::network::LISTENER_BIT;
use crate::net::network::Net;
use crate::net::protocol::Io;
use crate::net::protocol::Protocol;
use crate::reactor::Errno;
use crate::reactor::Event;
use crate::reactor::heap::HeapId;
use crate::reactor::operation::Completion;
use crate::reactor::operation::Operation;
use crate::reactor::outcome::AcceptFailure;
use crate::reactor::outcome::accept_failure;
use crate::reactor::slots::OperationId;
use crate::reactor::sys;
use crate::reactor::sys::Address;
use crate::reactor::sys::Inherited;
use crate::reactor::sys::Socket;
use crate::reactor::sys::SocketFile;
use crate::reactor::sys::UnixOptions;
use crate::runtime::Core;
use crate::runtime::descriptors;

/// What becomes of a connection that was accepted.
pub trait Accept {
    /// The protocol that the connection speaks; `None` closes it.
    fn accept(&self, io: &mut Io) -> Option<Box<dyn Protocol>>;

    /// May send the connection to another core instead, and return `None`.
    fn route(&self, core: &Rc<Core>, socket: Socket) -> Option<Socket> {
        let _ = core;
        Some(socket)
    }

    /// The listener has ended, with an error or as asked.
    fn ended(&self, error: Option<io::Error>) {
        let _ = error;
    }
}

/// A socket that listens, not yet given to a core.
#[derive(Debug)]
pub struct ListenSocket {
    /// Of a Unix socket of ours. Goes first: who connects later must not wait in a queue that
    /// nobody takes from.
    file: Option<SocketFile>,
    socket: Socket,
    address: Address,
    /// True exactly when another process made the socket, and may accept from it as well.
    is_inherited: bool,
}

impl ListenSocket {
    /// Listens on a TCP address; port 0 takes a free one.
    ///
    /// First binds alone, as a probe: with SO_REUSEPORT at once, a second instance of the same
    /// user would silently take half of the connections.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Bind`] naming the address and what to change.
    pub fn bind(address: SocketAddr) -> Result<ListenSocket, Error> {
        let probe = sys::bind_tcp(address, false)
            .map_err(|error| bind_error(&Address::Tcp(address), error))?;
        let address = sys::local_addr(probe.raw()).unwrap_or(address);
        drop(probe);
        ListenSocket::share(address)
    }

    /// Listens on a TCP address beside others that do the same (SO_REUSEPORT), without a probe:
    /// for a restart that overlaps.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Bind`] naming the address and what to change.
    pub fn share(address: SocketAddr) -> Result<ListenSocket, Error> {
        let socket = sys::bind_tcp(address, true)
            .map_err(|error| bind_error(&Address::Tcp(address), error))?;
        let address = sys::local_addr(socket.raw()).unwrap_or(address);
        // Connections inherit these from their listener.
        sys::set_tcp_options(socket.raw());
        Ok(ListenSocket {
            file: None,
            socket,
            address: Address::Tcp(address),
            is_inherited: false,
        })
    }

    /// Listens on a Unix socket. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Bind`] naming the path and what to change.
    pub fn bind_unix(path: impl AsRef<Path>) -> Result<ListenSocket, Error> {
        ListenSocket::bind_unix_with(path, UnixOptions::default())
    }

    /// As [`ListenSocket::bind_unix`], with permissions, or in the place of a socket that is
    /// listened on still.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Bind`] naming the path and what to change.
    pub fn bind_unix_with(
        path: impl AsRef<Path>,
        options: UnixOptions,
    ) -> Result<ListenSocket, Error> {
        let path = path.as_ref();
        let address = Address::Unix(path.to_owned());
        let socket = sys::bind_unix(path, options).map_err(|error| bind_error(&address, error))?;
        Ok(ListenSocket {
            file: Some(SocketFile::bound(path)),
            socket,
            address,
            is_inherited: false,
        })
    }

    /// The sockets that another process passed (sd_listen_fds(3)): those with this name, or all
    /// that nobody has taken. None in a process that was passed none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Bind`]: the environment contradicts itself, or a descriptor is no listening
    /// stream socket.
    pub fn inherited(name: Option<&str>) -> Result<Vec<ListenSocket>, Error> {
        let taken = sys::take_inherited(name).map_err(|error| {
            let text = "cannot listen on the sockets that were passed (LISTEN_FDS)";
            Error::new(ErrorKind::Bind, text)
                .in_phase(Phase::Bind)
                .because(error)
        })?;
        let own = |one: Inherited| ListenSocket {
            file: None,
            socket: one.socket,
            address: one.address,
            is_inherited: true,
        };
        Ok(taken.into_iter().map(own).collect())
    }

    /// Where it listens.
    pub fn local_addr(&self) -> &Address {
        &self.address
    }

    /// The same socket by another descriptor; not closed before both are dropped.
    pub(super) fn duplicate_descriptor(&self) -> io::Result<Socket> {
        self.socket.duplicate()
    }

    /// True for a socket that only one core can serve: a Unix socket, or an inherited one. Others
    /// that listen beside it would end with this process, and an inherited one is to outlive it.
    pub fn is_single(&self) -> bool {
        self.is_inherited || matches!(self.address, Address::Unix(_))
    }

    /// Another socket that listens on the same port; the kernel spreads connections over both.
    /// `None` for one that only one core can serve.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Bind`].
    pub fn duplicate(&self) -> Result<Option<ListenSocket>, Error> {
        match &self.address {
            Address::Tcp(address) if !self.is_inherited => ListenSocket::share(*address).map(Some),
            _ => Ok(None),
        }
    }

    /// From here on clients that begin to connect are not heard. They try again, a second later
    /// for the first time (RFC 6298 §2.1), and come to whoever listens on the port then. A socket
    /// that others accept from as well stays as it is.
    fn refuse_handshakes(&self) {
        if !self.is_single() {
            sys::drop_handshakes(self.socket.raw());
        }
    }

    /// The next connection of the accept queue, without waiting.
    fn accept_now(&self) -> io::Result<Socket> {
        sys::accept_now(self.socket.raw())
    }
}

fn bind_error(address: &Address, error: io::Error) -> Error {
    let advice = match Errno::from_io(&error) {
        Errno::EADDRINUSE => "another process listens there: end it, or choose another address",
        Errno::EACCES | Errno::EPERM => {
            "no permission: choose a port from 1024 on, or a path that this user may write"
        }
        Errno::EADDRNOTAVAIL => "no interface of this machine has that address",
        Errno::ENOENT => "the directory does not exist",
        Errno::ENOTSOCK => "a file that is no socket has that name: choose another path",
        Errno::ENAMETOOLONG => "the path of a Unix socket has at most 107 bytes",
        Errno::EINVAL if matches!(address, Address::Unix(_)) => {
            "the path of a Unix socket is not empty, and holds no NUL"
        }
        Errno::EMFILE | Errno::ENFILE => "no descriptor is left: raise `ulimit -n`",
        _ => "the system refused it",
    };
    Error::new(
        ErrorKind::Bind,
        format!("cannot listen on {address}: {advice}"),
    )
    .in_phase(Phase::Bind)
    .because(error)
}

/// Names a listener of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerKey(u64);

/// A listener of this core.
pub(super) struct Listener {
    pub(super) socket: ListenSocket,
    accept: Rc<dyn Accept>,
    state: State,
    /// How many in a row could not be accepted, each for a reason of its own.
    skipped: Cell<u8>,
}

#[derive(Clone, Copy)]
enum State {
    Accepting(OperationId),
    /// Out of descriptors or memory: armed again by the timer, or when a connection closes.
    Exhausted(HeapId),
    /// Asked to end; the operation is on its way back.
    Stopping,
}

impl Net {
    /// Accepts connections from now on.
    pub fn listen(
        &self,
        core: &Rc<Core>,
        socket: ListenSocket,
        accept: Rc<dyn Accept>,
    ) -> ListenerKey {
        let index = self.listeners.borrow().vacant_key();
        let key = index as u64 | LISTENER_BIT;
        let id = self.arm_accept(core, key, &socket);
        let listener = Listener {
            socket,
            accept,
            state: State::Accepting(id),
            skipped: Cell::new(0),
        };
        assert_eq!(self.listeners.borrow_mut().insert(listener), index);
        ListenerKey(key)
    }

    /// Accepts what the kernel has queued already, then closes the listener.
    pub fn stop_listening(&self, core: &Rc<Core>, key: ListenerKey) {
        let state = {
            let mut listeners = self.listeners.borrow_mut();
            let Some(listener) = listeners.get_mut(index(key.0)) else {
                return;
            };
            std::mem::replace(&mut listener.state, State::Stopping)
        };
        match state {
            State::Accepting(id) => core.reactor().cancel(id),
            State::Exhausted(timer) => {
                core.reactor().cancel_sleep(timer);
                self.end_listener(core, key.0, None);
            }
            State::Stopping => {}
        }
    }

    fn arm_accept(&self, core: &Rc<Core>, key: u64, socket: &ListenSocket) -> OperationId {
        let owner = (self.id.get(), key);
        core.reactor()
            .submit(socket.socket.raw(), None, Operation::AcceptMulti, owner)
    }

    /// An accept completed, once or for good.
    pub(super) fn accepted(&self, core: &Rc<Core>, key: u64, completion: Completion) {
        if let Some(socket) = completion.socket {
            self.accept_socket(core, key, socket);
        }
        if completion.more {
            return;
        }
        let is_stopping = match self.listeners.borrow().get(index(key)) {
            None => return,
            Some(listener) => matches!(listener.state, State::Stopping),
        };
        if is_stopping {
            self.end_listener(core, key, None);
            return;
        }
        let goes_on = match completion.result {
            Err(errno) if descriptors::are_short(errno) => {
                let then = |core: &Rc<Core>| Net::of(core).retry_exhausted(core);
                descriptors::reclaim(core, then)
            }
            Err(errno) if accept_failure(errno) == AcceptFailure::Skip => self.may_skip(key),
            _ => false,
        };
        match completion.result.map_err(accept_failure) {
            Ok(_) | Err(AcceptFailure::Canceled) => self.rearm(core, key),
            Err(AcceptFailure::Skip | AcceptFailure::Exhausted) if goes_on => self.rearm(core, key),
            Err(AcceptFailure::Skip | AcceptFailure::Exhausted) => {
                let at = core.now() + ACCEPT_RETRY_DELAY;
                let timer = core.reactor().sleep(at, (self.id.get(), key));
                self.set_state(key, State::Exhausted(timer));
            }
            Err(AcceptFailure::Fatal(errno)) => self.end_listener(core, key, Some(errno)),
        }
    }

    /// One could not be accepted. False when too many in a row could not.
    fn may_skip(&self, key: u64) -> bool {
        let listeners = self.listeners.borrow();
        let Some(listener) = listeners.get(index(key)) else {
            return false;
        };
        listener
            .skipped
            .set(listener.skipped.get().saturating_add(1));
        listener.skipped.get() <= ACCEPT_SKIPS_MAX
    }

    fn accept_socket(&self, core: &Rc<Core>, key: u64, socket: Socket) {
        let accept = match self.listeners.borrow().get(index(key)) {
            None => return,
            Some(listener) => {
                listener.skipped.set(0);
                Rc::clone(&listener.accept)
            }
        };
        if let Some(socket) = accept.route(core, socket) {
            self.adopt(core, socket, |io| accept.accept(io));
        }
    }

    /// Takes over a connection that another core accepted.
    pub fn accept_routed(&self, core: &Rc<Core>, socket: Socket, accept: &Rc<dyn Accept>) {
        self.adopt(core, socket, |io| accept.accept(io));
    }

    fn rearm(&self, core: &Rc<Core>, key: u64) {
        let id = {
            let listeners = self.listeners.borrow();
            let Some(listener) = listeners.get(index(key)) else {
                return;
            };
            self.arm_accept(core, key, &listener.socket)
        };
        core.reactor().count(Event::Rearmed);
        self.set_state(key, State::Accepting(id));
    }

    fn set_state(&self, key: u64, state: State) {
        if let Some(listener) = self.listeners.borrow_mut().get_mut(index(key)) {
            listener.state = state;
        }
    }

    /// The pause after running out of descriptors is over.
    pub(super) fn retry_accept(&self, core: &Rc<Core>, key: u64) {
        let is_paused = self
            .listeners
            .borrow()
            .get(index(key))
            .is_some_and(|listener| matches!(listener.state, State::Exhausted(_)));
        // A connection that closed in this very turn may have ended the pause already.
        if is_paused {
            self.rearm(core, key);
        }
    }

    /// A connection closed: a descriptor is free, so a paused listener goes on at once.
    pub(super) fn retry_exhausted(&self, core: &Rc<Core>) {
        if self.closing.get() {
            return;
        }
        let paused = self
            .listeners
            .borrow()
            .iter()
            .find_map(|(index, listener)| match listener.state {
                State::Exhausted(timer) => Some((index as u64 | LISTENER_BIT, timer)),
                _ => None,
            });
        if let Some((key, timer)) = paused {
            core.reactor().cancel_sleep(timer);
            self.rearm(core, key);
        }
    }

    /// Takes what the accept queue holds, so that closing drops nobody, and closes.
    fn end_listener(&self, core: &Rc<Core>, key: u64, errno: Option<Errno>) {
        let mut listener = self.listeners.borrow_mut().remove(index(key));
        if errno.is_none() {
            drop(listener.socket.file.take());
            self.empty_queue(core, &listener);
            // This thread may have to wait for its processor between here and the close: nobody
            // may get into the queue meanwhile.
            listener.socket.refuse_handshakes();
            self.empty_queue(core, &listener);
        }
        let Listener { socket, accept, .. } = listener;
        drop(socket);
        accept.ended(errno.map(io::Error::from));
    }

    fn empty_queue(&self, core: &Rc<Core>, listener: &Listener) {
        for _ in 0..ACCEPT_LAST_MAX {
            let socket = match listener.socket.accept_now() {
                Ok(socket) => socket,
                Err(error) => match accept_failure(Errno::from_io(&error)) {
                    AcceptFailure::Skip => continue,
                    _ => break,
                },
            };
            if let Some(socket) = listener.accept.route(core, socket) {
                self.adopt(core, socket, |io| listener.accept.accept(io));
            }
        }
    }
}

fn index(key: u64) -> usize {
    (key & !LISTENER_BIT) as usize
}

#[cfg(test)]
pub(super) fn key_for_tests(index: u64) -> ListenerKey {
    ListenerKey(index | LISTENER_BIT)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::runtime::Runtime;
    use crate::runtime::sleep;

    struct Nobody;

    impl Accept for Nobody {
        fn accept(&self, _io: &mut Io) -> Option<Box<dyn Protocol>> {
            None
        }
    }

    /// Each failure is one that may be of a single connection, and was tried again at once.
    #[test]
    fn a_listener_that_always_fails_pauses() {
        let runtime = Runtime::small().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = ListenSocket {
            file: None,
            address: Address::Tcp(udp.local_addr().unwrap()),
            socket: Socket::from_owned(udp.into()),
            is_inherited: false,
        };
        let core = runtime.core();
        Net::of(core).listen(core, socket, Rc::new(Nobody));
        let wait = sleep(Duration::from_millis(300));
        runtime.block_on(wait).unwrap();
        let turns = core.counters().enters;
        assert!(turns < 10 * u64::from(ACCEPT_SKIPS_MAX), "{turns}");
    }
}
