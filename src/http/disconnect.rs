//! How a request hears that its client is gone.
//!
//! ```text
//!   connection ─► Disconnect::fire ──► every Disconnected future resolves
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use crate::guard;

/// The connection's end: one per connection, shared by its requests.
#[derive(Clone, Default)]
pub struct Disconnect {
    state: Rc<State>,
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
}

impl Disconnect {
    /// The client is there.
    pub fn new() -> Disconnect {
        Disconnect::default()
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
