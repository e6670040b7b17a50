//! One at a time, on one core: what many want at once is made by one of them.
//!
//! ```text
//!   enter ─┬─ nobody is inside ─► Inside ─ dropped ─► all who wait look again
//!          └─ else: wait
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;
use std::task::Waker;

use crate::guard;

/// Lets one future in at a time, and wakes the others when it leaves.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_shut: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// Whoever is inside of a [`Gate`], until this is dropped.
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    /// Waits until nobody is inside. What one wants may be there by then.
    pub(crate) async fn enter(&self) -> Inside<'_> {
        poll_fn(|context| {
            if !self.is_shut.replace(true) {
                return Poll::Ready(Inside(self));
            }
            // Wakers may be of users: they are cloned while nothing is borrowed.
            let waker = context.waker().clone();
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|other| other.will_wake(&waker)) {
                waiting.push(waker);
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.is_shut.set(false);
        let waiting = self.0.waiting.take();
        waiting
            .into_iter()
            .for_each(|waker| guard::wake(Some(waker)));
    }
}
