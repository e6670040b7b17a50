//! What a request and its connection say to each other beside the request and its body: that the
//! client is gone, and informational responses.
//!
//! ```text
//!   connection ─► Disconnect::fire ──► every Disconnected future resolves
//!   Request::inform ─► Disconnect: heads that wait ──► connection: sent before the response
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::guard;
use crate::http::encode;
use crate::http::headers::Headers;
use crate::limits::INFORMATIONAL_BYTES_MAX;
use crate::limits::INFORMATIONAL_COUNT_MAX;

/// The connection's end: one per connection, shared by its requests.
#[derive(Clone, Default)]
pub struct Disconnect {
    state: Rc<State>,
    /// The request that this one belongs to; zero for the connection's own.
    request: u32,
}

/// Resolves when the client has closed, or closed its side; see [`Request::disconnected`].
///
/// [`Request::disconnected`]: crate::http::request::Request::disconnected
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Disconnected {
    disconnect: Option<Disconnect>,
    /// Which of the wakers is ours; zero before the first poll.
    id: u64,
}

#[derive(Default)]
struct State {
    fired: Cell<bool>,
    last_id: Cell<u64>,
    /// Few at any time: the futures of this connection's handlers that wait.
    waiting: RefCell<Vec<(u64, Waker)>>,
    /// The last request that began.
    request: Cell<u32>,
    informational: RefCell<Informational>,
    /// The connection, which has to be told of heads.
    notify: RefCell<Option<Waker>>,
}

/// Informational responses of the request that runs.
#[derive(Default)]
struct Informational {
    /// False before a request, behind the head of its response, and for clients of HTTP/1.0, which
    /// do not know them.
    is_open: bool,
    /// Written, and not taken by the connection.
    heads: Vec<u8>,
    /// How many there were.
    count: usize,
    /// Bytes that all of them had.
    bytes: usize,
}

impl Disconnect {
    /// The client is there.
    pub fn new() -> Disconnect {
        Disconnect::default()
    }

    /// Sets who is woken when there are informational responses to be sent.
    pub fn set_notify(&self, waker: Waker) {
        let replaced = self.state.notify.replace(Some(waker));
        drop(replaced);
    }

    /// For the next request of the connection. Whether its client may be informed before the
    /// response is a matter of its version (RFC 9110 §15.2).
    pub fn for_request(&self, may_inform: bool) -> Disconnect {
        let request = self.state.request.get().wrapping_add(1).max(1);
        self.state.request.set(request);
        *self.state.informational.borrow_mut() = Informational {
            is_open: may_inform,
            ..Informational::default()
        };
        Disconnect {
            state: Rc::clone(&self.state),
            request,
        }
    }

    /// The head of the response comes next: nothing may be sent before it any more.
    pub fn answered(&self) {
        self.state.informational.borrow_mut().is_open = false;
    }

    /// Informational responses that are to be sent now, written.
    pub fn take_informational(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.informational.borrow_mut().heads)
    }

    /// Writes an informational response, for the connection to send; see
    /// [`Request::inform`](crate::http::request::Request::inform).
    pub(super) fn inform(&self, status: StatusCode, headers: &Headers) -> Result<()> {
        if self.request == 0 || self.request != self.state.request.get() {
            return Ok(());
        }
        {
            let mut informational = self.state.informational.borrow_mut();
            if !informational.is_open {
                return Ok(());
            }
            if informational.count == INFORMATIONAL_COUNT_MAX {
                let text = format!(
                    "more than {INFORMATIONAL_COUNT_MAX} informational responses to one request"
                );
                return Err(Error::new(ErrorKind::Limit, text));
            }
            let start = informational.heads.len();
            encode::informational_head(&mut informational.heads, status, headers);
            let bytes = informational.heads.len() - start;
            if informational.bytes + bytes > INFORMATIONAL_BYTES_MAX {
                informational.heads.truncate(start);
                let text = format!(
                    "informational responses to one request of more than \
                     {INFORMATIONAL_BYTES_MAX} bytes"
                );
                return Err(Error::new(ErrorKind::Limit, text));
            }
            informational.count += 1;
            informational.bytes += bytes;
        }
        let notify = self.state.notify.borrow().clone();
        if let Some(notify) = notify {
            notify.wake();
        }
        Ok(())
    }

    /// The client is gone: wakes all that wait for it.
    pub fn fire(&self) {
        self.state.fired.set(true);
        let waiting = self.state.waiting.take();
        for (_, waker) in waiting {
            guard::wake(Some(waker));
        }
    }

    /// True when the client is gone.
    pub fn is_fired(&self) -> bool {
        self.state.fired.get()
    }

    /// A future that resolves when the client is gone.
    pub fn wait(&self) -> Disconnected {
        Disconnected {
            disconnect: Some(self.clone()),
            id: 0,
        }
    }
}

impl Disconnected {
    /// A future that never resolves, for requests without a connection.
    pub(super) fn never() -> Disconnected {
        Disconnected {
            disconnect: None,
            id: 0,
        }
    }
}

impl Future for Disconnected {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(disconnect) = self.disconnect.clone() else {
            return Poll::Pending;
        };
        let state = &disconnect.state;
        if state.fired.get() {
            return Poll::Ready(());
        }
        if self.id == 0 {
            self.id = state.last_id.get() + 1;
            state.last_id.set(self.id);
        }
        // A waker may run anything: it is cloned before, and dropped after, the table is borrowed.
        let waker = cx.waker().clone();
        let mut waiting = state.waiting.borrow_mut();
        let replaced = match waiting.iter_mut().find(|(id, _)| *id == self.id) {
            Some((_, ours)) => Some(std::mem::replace(ours, waker)),
            None => {
                waiting.push((self.id, waker));
                None
            }
        };
        drop(waiting);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Disconnected {
    fn drop(&mut self) {
        let Some(disconnect) = &self.disconnect else {
            return;
        };
        let mut waiting = disconnect.state.waiting.borrow_mut();
        let index = waiting.iter().position(|(id, _)| *id == self.id);
        let ours = index.map(|index| waiting.swap_remove(index));
        drop(waiting);
        drop(ours);
    }
}

impl fmt::Debug for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disconnect")
            .field("is_fired", &self.is_fired())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(future: &mut Disconnected) -> Poll<()> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn wakes_all_and_forgets_the_dropped() {
        let disconnect = Disconnect::new();
        let (mut first, mut second) = (disconnect.wait(), disconnect.wait());
        assert!(poll(&mut first).is_pending());
        assert!(poll(&mut second).is_pending());
        assert!(poll(&mut second).is_pending());
        assert_eq!(disconnect.state.waiting.borrow().len(), 2);
        drop(first);
        assert_eq!(disconnect.state.waiting.borrow().len(), 1);
        disconnect.fire();
        assert!(poll(&mut second).is_ready());
        assert!(poll(&mut disconnect.wait()).is_ready());
    }

    #[test]
    fn without_a_connection_it_never_resolves() {
        assert!(poll(&mut Disconnected::never()).is_pending());
    }
}
