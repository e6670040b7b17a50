//! Receiving: arming, modes, starvation, and what a completion means.

use std::rc::Rc;

use bytes::BytesMut;

use crate::limits::LINGER_BYTES_MAX;
use crate::net::network::Net;
use crate::net::protocol::Receive;
use crate::net::protocol::Received;
use crate::net::table::Closing;
use crate::net::table::Connection;
use crate::net::table::ConnectionKey;
use crate::net::table::Receiving;
use crate::net::table::Sending;
use crate::reactor::Event;
use crate::reactor::operation::Completion;
use crate::reactor::operation::Operation;
use crate::reactor::outcome::RecvFailure;
use crate::reactor::outcome::recv_failure;
use crate::runtime::Core;

impl Net {
    /// Brings the receive in flight in line with the mode that is asked for.
    pub(super) fn settle_recv(
        &self,
        core: &Rc<Core>,
        key: ConnectionKey,
        connection: &mut Connection,
    ) {
        let Some(endpoint) = &connection.endpoint else {
            return;
        };
        let wanted = match connection.close {
            Closing::Open => endpoint.io.receive,
            // The peer's end is all that is waited for.
            Closing::Lingering { .. } => Receive::Once,
            // What is in flight comes back by itself, with the end of the connection at the latest.
            Closing::Flushing | Closing::Waiting => return,
        };
        match (connection.recv, wanted) {
            (Receiving::Idle, Receive::Paused) => {}
            (Receiving::Idle, Receive::Once) => self.arm_once(core, key, connection),
            (Receiving::Idle, Receive::Standing) => self.arm_standing(core, key, connection),
            (Receiving::Idle, Receive::Body(bytes)) => self.arm_body(core, key, connection, bytes),
            (Receiving::Standing(id), Receive::Paused | Receive::Body(_)) => {
                core.reactor().cancel(id);
                connection.recv = Receiving::Canceling;
            }
            // One in flight is enough, and is never cut short; the rest follows its completion.
            (
                Receiving::Once(_)
                | Receiving::Body(_)
                | Receiving::Canceling
                | Receiving::Standing(_),
                _,
            ) => {}
            // Fed in order when buffers came back, unless nothing is wanted any more.
            (Receiving::Starved, _) | (Receiving::Ended, _) => {}
        }
    }

    fn arm_once(&self, core: &Rc<Core>, key: ConnectionKey, connection: &mut Connection) {
        let operation = Operation::RecvShared {
            poll_first: connection.has_received,
        };
        let owner = (self.id.get(), key.pack());
        let id = core
            .reactor()
            .submit(connection.socket.raw(), None, operation, owner);
        connection.recv = Receiving::Once(id);
    }

    fn arm_standing(&self, core: &Rc<Core>, key: ConnectionKey, connection: &mut Connection) {
        // Polling first would miss an end that is there already, behind data.
        let operation = Operation::RecvMulti { poll_first: false };
        let owner = (self.id.get(), key.pack());
        let id = core
            .reactor()
            .submit(connection.socket.raw(), None, operation, owner);
        connection.recv = Receiving::Standing(id);
    }

    fn arm_body(
        &self,
        core: &Rc<Core>,
        key: ConnectionKey,
        connection: &mut Connection,
        bytes: usize,
    ) {
        self.returning.note(bytes);
        let operation = Operation::RecvOwned(BytesMut::with_capacity(bytes.max(1)));
        let owner = (self.id.get(), key.pack());
        let id = core
            .reactor()
            .submit(connection.socket.raw(), None, operation, owner);
        connection.recv = Receiving::Body(id);
    }

    /// A receive completed, once or for good.
    pub(super) fn received(&self, core: &Rc<Core>, key: ConnectionKey, completion: Completion) {
        let is_over = {
            let mut table = self.table.borrow_mut();
            let connection = table
                .get_mut(key)
                .expect("a connection waits for its operations");
            connection.has_received = true;
            if let Sending::Broken { since, .. } = &mut connection.send {
                *since = core.now();
            }
            if completion.more {
                assert!(connection.is_in_flight(), "a receive nobody waits for");
            } else {
                if matches!(connection.recv, Receiving::Standing(_)) && completion.result.is_ok() {
                    core.reactor().count(Event::Rearmed);
                }
                connection.recv = Receiving::Idle;
            }
            connection.close != Closing::Open
        };
        if is_over {
            self.received_while_closing(core, key, completion);
            return;
        }
        match completion.result {
            Ok(0) => self.ended(core, key),
            Ok(_) => self.deliver(core, key, completion),
            Err(errno) => match recv_failure(errno) {
                RecvFailure::Retry | RecvFailure::Canceled => self.settle(core, key),
                RecvFailure::Starved => self.starve(core, key),
                RecvFailure::Broken(errno) => self.fail(core, key, errno),
            },
        }
    }

    fn deliver(&self, core: &Rc<Core>, key: ConnectionKey, completion: Completion) {
        if let Some(Operation::RecvOwned(buffer)) = completion.operation {
            self.call(core, key, |protocol, io| {
                // A body is asked for piece by piece. What else was asked for meanwhile stays.
                if matches!(io.receive, Receive::Body(_)) {
                    io.receive = Receive::Paused;
                }
                protocol.on_recv(io, Received::Owned(buffer))
            });
            return;
        }
        let lease = completion
            .lease
            .expect("a receive into shared buffers names its buffer");
        self.call(core, key, |protocol, io| {
            protocol.on_recv(io, Received::Borrowed(&lease))
        });
        // The lease ends here: the buffer is the kernel's again before it is entered next.
    }

    fn ended(&self, core: &Rc<Core>, key: ConnectionKey) {
        let broken = {
            let mut table = self.table.borrow_mut();
            let connection = table.get_mut(key).expect("it was there a moment ago");
            connection.recv = Receiving::Ended;
            match connection.send {
                Sending::Broken { errno, .. } => Some(errno),
                _ => None,
            }
        };
        match broken {
            // Neither direction works any more.
            Some(errno) => self.fail(core, key, errno),
            None => self.call(core, key, |protocol, io| protocol.on_eof(io)),
        }
    }

    fn starve(&self, core: &Rc<Core>, key: ConnectionKey) {
        core.reactor().count(Event::Starved);
        let mut table = self.table.borrow_mut();
        let connection = table.get_mut(key).expect("it was there a moment ago");
        connection.recv = Receiving::Starved;
        self.starved.borrow_mut().push_back(key);
    }

    /// Every buffer is back by now: arms again, in order, those that found none.
    pub(super) fn feed_starved(&self, core: &Rc<Core>) {
        if self.starved.borrow().is_empty() {
            return;
        }
        let mut starved = std::mem::take(&mut *self.starved.borrow_mut());
        for key in starved.drain(..) {
            if let Some(connection) = self.table.borrow_mut().get_mut(key)
                && connection.recv == Receiving::Starved
            {
                connection.recv = Receiving::Idle;
                core.reactor().count(Event::Rearmed);
            }
            self.settle(core, key);
        }
    }

    fn received_while_closing(&self, core: &Rc<Core>, key: ConnectionKey, completion: Completion) {
        let bytes = match completion.result {
            Ok(0) => None,
            Ok(bytes) => Some(bytes as usize),
            Err(errno) => match recv_failure(errno) {
                RecvFailure::Broken(_) => None,
                // Armed again at once, if anything is received any more; its turn does not matter.
                RecvFailure::Starved => {
                    core.reactor().count(Event::Starved);
                    Some(0)
                }
                RecvFailure::Retry | RecvFailure::Canceled => Some(0),
            },
        };
        let is_spent = {
            let mut table = self.table.borrow_mut();
            let connection = table.get_mut(key).expect("it was there a moment ago");
            match (&mut connection.close, bytes) {
                (Closing::Lingering { .. }, None) => true,
                (Closing::Lingering { bytes: dropped, .. }, Some(more)) => {
                    *dropped += more;
                    *dropped > LINGER_BYTES_MAX
                }
                (_, None) => {
                    if !completion.more {
                        connection.recv = Receiving::Ended;
                    }
                    false
                }
                _ => false,
            }
        };
        if is_spent {
            self.shut_both(core, key);
        } else {
            self.settle(core, key);
            self.finish_if_idle(core, key);
        }
    }
}
