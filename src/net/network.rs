//! The owner of all connections and listeners of one core: events in, protocol calls, and what
//! follows from their steps.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use slab::Slab;

use crate::guard::guarded_drop;
use crate::net::listener::ListenSocket;
use crate::net::listener::Listener;
use crate::net::opening::Opening;
use crate::net::opening::preceded;
use crate::net::protocol::Io;
use crate::net::protocol::Origin;
use crate::net::protocol::Protocol;
use crate::net::protocol::Received;
use crate::net::protocol::Step;
use crate::net::returning::Returning;
use crate::net::send::is_late;
use crate::net::send_file::Looks;
use crate::net::table::Closing;
use crate::net::table::Connection;
use crate::net::table::ConnectionKey;
use crate::net::table::Endpoint;
use crate::net::table::NOT_LOOKED;
use crate::net::table::Receiving;
use crate::net::table::Sending;
use crate::net::table::Table;
use crate::reactor::Errno;
use crate::reactor::OwnerId;
use crate::reactor::bug;
use crate::reactor::bug::Bug;
use crate::reactor::operation::Completion;
use crate::reactor::operation::Operation;
use crate::reactor::sys;
use crate::reactor::sys::Shutdown;
use crate::reactor::sys::Socket;
use crate::runtime::Core;
use crate::runtime::Instant;
use crate::runtime::Owner;

/// Keys of listeners have this bit, keys of connections do not: generations stay below 2^31.
pub(super) const LISTENER_BIT: u64 = 1 << 63;

/// Scheduled so that the loop does not sleep while output waits for the next flush.
const FLUSH_AGAIN: u64 = u64::MAX;

/// The connections and listeners of one core.
pub struct Net {
    pub(super) id: Cell<OwnerId>,
    pub(super) table: RefCell<Table>,
    pub(super) listeners: RefCell<Slab<Listener>>,
    /// Connections that have output, or may be finished, since the last flush.
    pub(super) dirty: RefCell<Vec<ConnectionKey>>,
    /// Connections whose receive found no buffer, in order.
    pub(super) starved: RefCell<VecDeque<ConnectionKey>>,
    /// Shared bytes that were sent or given up: dropped by the next flush, when nothing is borrowed.
    pub(super) spent: RefCell<Vec<Bytes>>,
    pub(super) looks: Looks,
    pub(super) returning: Rc<Returning>,
    /// True from the moment that the core ends.
    pub(super) closing: Cell<bool>,
    /// What operations of a core that ends still name by its descriptor's number: open until
    /// nothing is in flight, so that nobody else gets the number.
    ending: RefCell<Ending>,
}

#[derive(Default)]
struct Ending {
    sockets: Vec<Socket>,
    listeners: Vec<ListenSocket>,
}

impl Net {
    /// The network of a core, made on first use.
    pub fn of(core: &Rc<Core>) -> Rc<Net> {
        core.local(|core| {
            let net = Rc::new(Net {
                id: Cell::new(OwnerId(0)),
                table: RefCell::new(Table::new()),
                listeners: RefCell::new(Slab::new()),
                dirty: RefCell::new(Vec::new()),
                starved: RefCell::new(VecDeque::new()),
                spent: RefCell::new(Vec::new()),
                looks: Looks::default(),
                returning: Rc::default(),
                closing: Cell::new(false),
                ending: RefCell::default(),
            });
            net.id.set(core.register(Rc::clone(&net) as Rc<dyn Owner>));
            net
        })
    }

    /// Connections that are open or closing.
    pub fn connections(&self) -> usize {
        self.table.borrow().len()
    }

    /// Takes over a connected socket. The protocol's first call is `on_ready`, soon; before it comes
    /// what was [received](Opening::received) already.
    pub fn open(
        &self,
        core: &Rc<Core>,
        opening: impl Into<Opening>,
        protocol: Box<dyn Protocol>,
    ) -> ConnectionKey {
        let Opening { socket, received } = opening.into();
        let protocol = preceded(received, protocol);
        let key = self
            .adopt(core, socket, |_| Some(protocol))
            .expect("the protocol is given");
        self.wake(core, key);
        key
    }

    /// Calls `on_ready` of a connection, soon; one that is gone is none.
    pub fn wake(&self, core: &Rc<Core>, key: ConnectionKey) {
        core.schedule(self.id.get(), key.pack());
    }

    /// Calls `on_ready` of every connection, soon: a shutdown began.
    pub fn wake_all(&self, core: &Rc<Core>) {
        for key in self.table.borrow().keys() {
            self.wake(core, key);
        }
    }

    /// Closes a connection without sending what is left.
    pub fn abort(&self, core: &Rc<Core>, key: ConnectionKey) {
        {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return;
            };
            if connection.endpoint.is_none() {
                // Its protocol is being called: the end of that call sees the cause.
                connection.cause = Some(Errno::ECONNABORTED);
                return;
            }
        }
        self.fail(core, key, Errno::ECONNABORTED);
    }

    /// Closes every connection without sending what is left.
    pub fn abort_all(&self, core: &Rc<Core>) {
        let keys = self.table.borrow().keys();
        for key in keys {
            self.abort(core, key);
        }
    }

    /// Closes every connection of a group, but for one that is being called, without sending what
    /// is left.
    pub fn abort_group(&self, core: &Rc<Core>, group: usize) {
        let keys = self.table.borrow().keys();
        for key in keys {
            let is_of_group = self
                .table
                .borrow_mut()
                .get_mut(key)
                .is_some_and(|connection| {
                    let endpoint = connection.endpoint.as_ref();
                    endpoint.is_some_and(|endpoint| endpoint.protocol.group() == group)
                });
            if is_of_group {
                self.abort(core, key);
            }
        }
    }

    /// Puts a socket into the table; `make` sees its `Io` first, and may refuse it.
    pub(super) fn adopt(
        &self,
        core: &Rc<Core>,
        socket: Socket,
        make: impl FnOnce(&mut Io) -> Option<Box<dyn Protocol>>,
    ) -> Option<ConnectionKey> {
        let id = self.id.get();
        let fd = socket.raw();
        let key = self.table.borrow_mut().insert(|key| Connection {
            socket,
            timer: core.reactor().wheel().insert(id, key.pack()),
            recv: Receiving::Idle,
            send: Sending::Idle,
            close: Closing::Open,
            lag_ms: 0,
            unacknowledged: NOT_LOOKED,
            reading: false,
            failed_reads: 0,
            nonblocking: false,
            dirty: false,
            has_received: false,
            armed: Instant::NEVER,
            cause: None,
            endpoint: None,
        });
        let origin = Origin {
            owner: id,
            key: key.pack(),
            fd,
        };
        let mut io = Io::new(Some(origin), core.now(), core.wall_seconds());
        // User code may run here: the connection is in its place, its endpoint is not.
        let Some(protocol) = make(&mut io) else {
            let refused = self.table.borrow_mut().remove(key);
            core.reactor().wheel().remove(refused.timer);
            return None;
        };
        let cause = {
            let mut table = self.table.borrow_mut();
            let connection = table.get_mut(key).expect("a connection outlives its calls");
            connection.endpoint = Some(Box::new(Endpoint { protocol, io }));
            connection.cause
        };
        match cause {
            Some(cause) => self.fail(core, key, cause),
            None => self.settle(core, key),
        }
        Some(key)
    }

    /// Calls the protocol of an open connection, and does what its step says.
    pub(super) fn call(
        &self,
        core: &Rc<Core>,
        key: ConnectionKey,
        event: impl FnOnce(&mut dyn Protocol, &mut Io) -> Step,
    ) {
        let is_open = |connection: &mut Connection| connection.close == Closing::Open;
        let step = self.lend(core, key, is_open, |net, endpoint| {
            let mut step = event(&mut *endpoint.protocol, &mut endpoint.io);
            while let Step::Become(protocol, leftover) = step {
                let former = std::mem::replace(&mut endpoint.protocol, protocol);
                drop(former);
                step = net.introduce(key, endpoint, &leftover);
            }
            step
        });
        let Some(step) = step else {
            return;
        };
        match step {
            Step::Continue => self.settle(core, key),
            Step::CloseAfterFlush => self.close_after_flush(core, key),
            Step::Abort => self.fail(core, key, Errno::ECONNABORTED),
            Step::EndOutput => {
                if core.is_here()
                    && let Some(connection) = self.table.borrow_mut().get_mut(key)
                    && let Some(endpoint) = &connection.endpoint
                {
                    end_output(&endpoint.io);
                }
                self.settle(core, key);
            }
            Step::Become(..) => unreachable!("the loop above ends without one"),
        }
    }

    /// Takes the endpoint of a connection that may be called out of its place, for as long as the
    /// call lasts. `None` when it may not, or was given up meanwhile.
    pub(super) fn lend<T>(
        &self,
        core: &Rc<Core>,
        key: ConnectionKey,
        may_be_called: impl FnOnce(&mut Connection) -> bool,
        call: impl FnOnce(&Net, &mut Endpoint) -> T,
    ) -> Option<T> {
        let taken = {
            let mut table = self.table.borrow_mut();
            let connection = table.get_mut(key)?;
            if !may_be_called(connection) {
                return None;
            }
            connection.endpoint.take()
        };
        let mut called = Called {
            net: self,
            core,
            key,
            endpoint: Some(taken.expect("a protocol is not called from within its own call")),
        };
        let endpoint = called.endpoint.as_mut().expect("it was put there just now");
        endpoint.io.now = core.now();
        endpoint.io.wall_seconds = core.wall_seconds();
        let result = call(self, endpoint);
        let endpoint = called.endpoint.take();
        let cause = {
            let mut table = self.table.borrow_mut();
            let connection = table.get_mut(key).expect("a connection outlives its calls");
            connection.endpoint = endpoint;
            connection.cause
        };
        if let Some(cause) = cause {
            self.fail(core, key, cause);
            return None;
        }
        Some(result)
    }

    /// The first calls of a protocol that took over: what is left, and what it missed.
    fn introduce(&self, key: ConnectionKey, endpoint: &mut Endpoint, leftover: &[u8]) -> Step {
        let (protocol, io) = (&mut endpoint.protocol, &mut endpoint.io);
        let step = match leftover {
            [] => protocol.on_ready(io),
            _ => protocol.on_recv(io, Received::Borrowed(leftover)),
        };
        let has_ended = {
            let mut table = self.table.borrow_mut();
            table
                .get_mut(key)
                .is_some_and(|connection| connection.recv == Receiving::Ended)
        };
        match step {
            Step::Continue if has_ended => protocol.on_eof(io),
            Step::EndOutput if has_ended => {
                end_output(io);
                protocol.on_eof(io)
            }
            step => step,
        }
    }

    /// Brings the kernel in line with what the protocol asks for: receive mode, deadline, output.
    pub(super) fn settle(&self, core: &Rc<Core>, key: ConnectionKey) {
        let mut table = self.table.borrow_mut();
        let Some(connection) = table.get_mut(key) else {
            return;
        };
        self.settle_recv(core, key, connection);
        self.settle_deadline(core, connection);
        self.settle_output(key, connection);
    }

    /// Queues the connection for the flush at the end of the turn, if there is something to do.
    pub(super) fn settle_output(&self, key: ConnectionKey, connection: &mut Connection) {
        let has_output = connection
            .endpoint
            .as_ref()
            .is_some_and(|endpoint| !endpoint.io.output.is_empty());
        if (has_output || connection.close != Closing::Open) && !connection.dirty {
            connection.dirty = true;
            self.dirty.borrow_mut().push(key);
        }
    }

    /// One deadline per connection: the protocol's, the send's, or the lingering's.
    pub(super) fn settle_deadline(&self, core: &Rc<Core>, connection: &mut Connection) {
        let Some(deadline) = connection.deadline() else {
            return;
        };
        // A later deadline is nothing to do now: the timer fires at its old time, and is set anew.
        if deadline < connection.armed {
            connection.armed = deadline;
            core.reactor().wheel().set(connection.timer, deadline);
        }
    }

    /// The last drop of shared bytes may run code of the user.
    fn drop_spent(&self) {
        if self.spent.borrow().is_empty() {
            return;
        }
        let mut spent = self.spent.take();
        spent.drain(..).for_each(guarded_drop);
        let mut place = self.spent.borrow_mut();
        // Its memory serves again, unless something was spent meanwhile.
        if place.is_empty() {
            *place = spent;
        }
    }

    /// What became dirty during a flush stays for the next turn, which then does not sleep. Once
    /// each: a connection that was sent several times may be in the list as often.
    fn keep_dirty(&self, core: &Rc<Core>, mut emptied: Vec<ConnectionKey>) {
        let mut dirty = self.dirty.borrow_mut();
        if dirty.is_empty() {
            *dirty = emptied;
            return;
        }
        let mut table = self.table.borrow_mut();
        let mut is_first = |key: &ConnectionKey| {
            table
                .get_mut(*key)
                .is_some_and(|connection| std::mem::take(&mut connection.dirty))
        };
        emptied.extend(dirty.drain(..).filter(|key| is_first(key)));
        for key in &emptied {
            table.get_mut(*key).expect("it was found above").dirty = true;
        }
        *dirty = emptied;
        if !dirty.is_empty() {
            core.schedule(self.id.get(), FLUSH_AGAIN);
        }
    }

    fn connection_expired(&self, core: &Rc<Core>, key: ConnectionKey) {
        let now = core.now();
        let mut table = self.table.borrow_mut();
        let Some(connection) = table.get_mut(key) else {
            return;
        };
        connection.armed = Instant::NEVER;
        let send_is_late = is_late(connection, now);
        let Some(endpoint) = &mut connection.endpoint else {
            return;
        };
        endpoint.io.is_write_late |= send_is_late;
        let has_lingered = matches!(
            connection.close,
            Closing::Lingering { deadline, .. } if deadline <= now
        );
        if send_is_late || has_lingered {
            let errno = match connection.send {
                Sending::Broken { errno, .. } => errno,
                _ => Errno::ETIMEDOUT,
            };
            drop(table);
            self.fail(core, key, errno);
        } else if connection.close == Closing::Open && endpoint.io.deadline <= now {
            endpoint.io.deadline = Instant::NEVER;
            drop(table);
            self.call(core, key, |protocol, io| protocol.on_deadline(io));
        } else if !bug::is_planted(Bug::DeadlineLost) {
            self.settle_deadline(core, connection);
        }
    }
}

/// A protocol that is being called. Should it panic, its connection is closed soon: without its
/// endpoint it would stay for ever, and every event of it would panic again.
struct Called<'a> {
    net: &'a Net,
    core: &'a Rc<Core>,
    key: ConnectionKey,
    /// `None` after the call.
    endpoint: Option<Box<Endpoint>>,
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        let Some(mut endpoint) = self.endpoint.take() else {
            return;
        };
        let idle: Box<dyn Protocol> = Box::new(Fallen(None));
        let fallen = std::mem::replace(&mut endpoint.protocol, idle);
        endpoint.protocol = Box::new(Fallen(Some(fallen)));
        if let Some(connection) = self.net.table.borrow_mut().get_mut(self.key) {
            connection.endpoint = Some(endpoint);
        }
        self.net.wake(self.core, self.key);
    }
}

/// A protocol that has panicked: it is told the end of its connection, and nothing else.
struct Fallen(Option<Box<dyn Protocol>>);

impl Protocol for Fallen {
    fn on_recv(&mut self, _io: &mut Io, _data: Received<'_>) -> Step {
        Step::Abort
    }

    fn on_sent(&mut self, _io: &mut Io) -> Step {
        Step::Abort
    }

    fn on_eof(&mut self, _io: &mut Io) -> Step {
        Step::Abort
    }

    fn on_deadline(&mut self, _io: &mut Io) -> Step {
        Step::Abort
    }

    fn on_ready(&mut self, _io: &mut Io) -> Step {
        Step::Abort
    }

    fn group(&self) -> usize {
        self.0.as_ref().map_or(0, |protocol| protocol.group())
    }

    fn on_taken(&mut self, io: &mut Io) {
        if let Some(protocol) = &mut self.0 {
            protocol.on_taken(io);
        }
    }

    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        if let Some(mut protocol) = self.0.take() {
            protocol.on_closed(io, cause);
        }
    }
}

impl Owner for Net {
    fn completed(&self, core: &Rc<Core>, key: u64, completion: Completion) {
        if key & LISTENER_BIT != 0 {
            self.accepted(core, key, completion);
            return;
        }
        let key = ConnectionKey::unpack(key);
        match &completion.operation {
            // Only standing receives complete without giving their operation back.
            None => self.received(core, key, completion),
            Some(
                Operation::RecvShared { .. }
                | Operation::RecvMulti { .. }
                | Operation::RecvOwned(_),
            ) => self.received(core, key, completion),
            Some(Operation::Send(_) | Operation::SendPieces(_)) => self.sent(core, key, completion),
            Some(Operation::Read { .. }) => self.file_read(core, key, completion),
            Some(other) => panic!("a connection never submits {other:?}"),
        }
    }

    fn expired(&self, core: &Rc<Core>, key: u64) {
        if key & LISTENER_BIT != 0 {
            self.retry_accept(core, key);
        } else {
            self.connection_expired(core, ConnectionKey::unpack(key));
        }
    }

    fn ready(&self, core: &Rc<Core>, key: u64) {
        if key == FLUSH_AGAIN {
            return;
        }
        let key = ConnectionKey::unpack(key);
        {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return;
            };
            if let Some(endpoint) = &connection.endpoint
                && let Some(waker) = &endpoint.io.waker
                && let Some(target) = &waker.target
            {
                target.begin();
            }
        }
        self.call(core, key, |protocol, io| protocol.on_ready(io));
    }

    fn flush(&self, core: &Rc<Core>) {
        self.feed_starved(core);
        self.looks.begin_turn();
        let mut dirty = std::mem::take(&mut *self.dirty.borrow_mut());
        for key in dirty.drain(..) {
            self.flush_connection(core, key);
        }
        self.keep_dirty(core, dirty);
        self.drop_spent();
    }

    fn close(&self, core: &Rc<Core>) {
        self.closing.set(true);
        for (_, listener) in self.listeners.take() {
            self.ending.borrow_mut().listeners.push(listener.socket);
        }
        let keys = self.table.borrow().keys();
        for key in keys {
            self.fail(core, key, Errno::ECANCELED);
        }
        // What the kernel still holds comes back while the reactor drains; nobody is told then.
        let keys = self.table.borrow().keys();
        for key in keys {
            let connection = self.table.borrow_mut().remove(key);
            self.ending.borrow_mut().sockets.push(connection.socket);
            end(core, connection.endpoint, Some(Errno::ECANCELED));
        }
        self.drop_spent();
    }

    fn drained(&self, _core: &Rc<Core>) {
        drop(self.ending.take());
    }
}

/// The protocol has said all, and goes on to listen.
fn end_output(io: &Io) {
    assert_eq!(io.pending_bytes(), 0, "the end comes behind all output");
    if let Some(origin) = io.origin {
        sys::shutdown(origin.fd, Shutdown::Write);
    }
}

/// The last of a connection, out of the table: tells the protocol.
pub(super) fn end(core: &Core, endpoint: Option<Box<Endpoint>>, cause: Option<Errno>) {
    if let Some(mut endpoint) = endpoint {
        // The descriptor is closed, and may be another connection's.
        endpoint.io.origin = None;
        endpoint.io.now = core.now();
        let mut spent = Vec::new();
        endpoint.io.drop_output(&mut spent);
        spent.into_iter().for_each(guarded_drop);
        let cause = cause.map(io::Error::from);
        endpoint.protocol.on_closed(&endpoint.io, cause);
    }
}
