//! Closing, by name: open → flushing → shut for writing, lingering → waiting → gone.
//!
//! shutdown(2) makes everything in flight complete; close(2) comes after the last completion.
//! Nothing is cancelled by descriptor: that is a linear scan in the kernel.

use std::io;
use std::rc::Rc;

use crate::limits::LINGER_TIMEOUT;
use crate::net::network::Net;
use crate::net::network::end;
use crate::net::table::Closing;
use crate::net::table::ConnectionKey;
use crate::net::table::Receiving;
use crate::net::table::Sending;
use crate::reactor::Errno;
use crate::reactor::sys;
use crate::reactor::sys::Shutdown;
use crate::runtime::Core;
use crate::runtime::Instant;

/// True for a cause that is our own doing: the connection was given up, or its core has ended.
pub fn is_own_end(cause: &io::Error) -> bool {
    let errno = Errno::from_io(cause);
    errno == Errno::ECONNABORTED || errno == Errno::ECANCELED
}

/// True for the cause that a part of a file in the output could not be read, or is there no more.
pub fn is_file_fault(cause: &io::Error) -> bool {
    Errno::from_io(cause) == Errno::EIO
}

impl Net {
    /// The protocol is done: what is left is sent, then the connection closes.
    pub(super) fn close_after_flush(&self, core: &Rc<Core>, key: ConnectionKey) {
        {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return;
            };
            assert_eq!(connection.close, Closing::Open, "a connection closes once");
            connection.close = Closing::Flushing;
            if let Some(endpoint) = &mut connection.endpoint {
                endpoint.io.deadline = Instant::NEVER;
            }
        }
        self.settle(core, key);
    }

    /// After a flush: a connection that has sent its last goes on closing.
    pub(super) fn finish_if_flushed(&self, core: &Rc<Core>, key: ConnectionKey) {
        let lingers = {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return;
            };
            if connection.close != Closing::Flushing {
                return;
            }
            let Some(endpoint) = &connection.endpoint else {
                return;
            };
            if !endpoint.io.output.is_empty() || matches!(connection.send, Sending::InFlight(_)) {
                return;
            }
            let lingers = endpoint.io.linger && connection.recv != Receiving::Ended;
            if lingers {
                sys::shutdown(connection.socket.raw(), Shutdown::Write);
                let deadline = core.now() + LINGER_TIMEOUT;
                connection.close = Closing::Lingering { deadline, bytes: 0 };
            }
            lingers
        };
        if lingers {
            self.settle(core, key);
        } else {
            self.shut_both(core, key);
        }
    }

    /// Ends both directions. Once nothing is in flight, the connection is gone.
    pub(super) fn shut_both(&self, core: &Rc<Core>, key: ConnectionKey) {
        {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return;
            };
            connection.close = Closing::Waiting;
            if connection.is_in_flight() {
                // Without anything in flight close(2) says it all.
                sys::shutdown(connection.socket.raw(), Shutdown::Both);
            }
            if let Receiving::Standing(id) = connection.recv {
                // It may sleep through the shutdown (liburing issue 1549, mended in 6.18 and later):
                // the connection would wait for it for ever.
                core.reactor().cancel(id);
                connection.recv = Receiving::Canceling;
            }
            self.settle_deadline(core, connection);
        }
        self.finish_if_idle(core, key);
    }

    /// The connection cannot go on. In a child of fork(2) it is the parent's, for whom it may.
    pub(super) fn fail(&self, core: &Rc<Core>, key: ConnectionKey, errno: Errno) {
        if !core.is_here() {
            return;
        }
        {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return;
            };
            // A connection that only waits for the peer's end has said all it wanted to.
            let is_early = matches!(connection.close, Closing::Open | Closing::Flushing);
            if is_early {
                connection.cause = connection.cause.or(Some(errno));
            }
            if let Some(endpoint) = &mut connection.endpoint {
                if is_early && endpoint.io.resets {
                    sys::reset(connection.socket.raw());
                }
                endpoint.io.drop_output(&mut self.spent.borrow_mut());
            }
        }
        self.shut_both(core, key);
    }

    /// The last step: nothing is in flight any more.
    pub(super) fn finish_if_idle(&self, core: &Rc<Core>, key: ConnectionKey) {
        let connection = {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return;
            };
            if connection.close != Closing::Waiting || connection.is_in_flight() {
                return;
            }
            table.remove(key)
        };
        core.reactor().wheel().remove(connection.timer);
        drop(connection.socket);
        end(core, connection.endpoint, connection.cause);
        self.retry_exhausted(core);
    }
}
