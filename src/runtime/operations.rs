//! One operation of the ring as a future. Dropped, the operation is cancelled and what it owns
//! stays with its slot until the kernel is done.

use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use slab::Slab;

use crate::guard;
use crate::reactor::OwnerId;
use crate::reactor::operation::Completion;
use crate::reactor::operation::Operation;
use crate::reactor::slots::OperationId;
use crate::ring::sys::Socket;
use crate::runtime::Core;
use crate::runtime::Owner;

/// The operations of one core that futures wait for.
pub struct Operations {
    waiting: RefCell<Slab<Waiting>>,
    id: Cell<OwnerId>,
}

enum Waiting {
    Pending(Option<Waker>),
    Done(Completion),
}

impl Operations {
    fn of(core: &Rc<Core>) -> Rc<Operations> {
        core.local(|core| {
            let operations = Rc::new(Operations {
                waiting: RefCell::new(Slab::new()),
                id: Cell::new(OwnerId(0)),
            });
            operations
                .id
                .set(core.register(Rc::clone(&operations) as Rc<dyn Owner>));
            operations
        })
    }
}

impl Owner for Operations {
    fn completed(&self, _core: &Rc<Core>, key: u64, completion: Completion) {
        assert!(!completion.more, "a future waits for one completion");
        let mut waiting = self.waiting.borrow_mut();
        let entry = &mut waiting[key as usize];
        match std::mem::replace(entry, Waiting::Done(completion)) {
            Waiting::Pending(waker) => {
                drop(waiting);
                guard::wake(waker);
            }
            Waiting::Done(_) => panic!("an operation completed twice"),
        }
    }

    fn expired(&self, _core: &Rc<Core>, key: u64) {
        panic!("operations set no timers, but {key} passed");
    }

    fn ready(&self, _core: &Rc<Core>, key: u64) {
        panic!("operations are not woken, but {key} was");
    }

    fn close(&self, _core: &Rc<Core>) {}
}

/// Submits an operation with the end of this turn. `socket` is kept open for it.
pub fn submit(
    core: &Rc<Core>,
    fd: RawFd,
    socket: Option<Rc<Socket>>,
    operation: Operation,
) -> Submitted {
    let operations = Operations::of(core);
    let key = operations
        .waiting
        .borrow_mut()
        .insert(Waiting::Pending(None));
    let owner = (operations.id.get(), key as u64);
    let id = core.reactor().submit(fd, socket, operation, owner);
    Submitted {
        core: Rc::clone(core),
        operations,
        key: Some(key),
        id,
    }
}

/// An operation in flight.
pub struct Submitted {
    core: Rc<Core>,
    operations: Rc<Operations>,
    /// The entry; `None` once the completion has been taken.
    key: Option<usize>,
    id: OperationId,
}

impl Future for Submitted {
    type Output = Completion;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Completion> {
        let key = self
            .key
            .expect("an operation is polled after its completion");
        let is_pending = |waiting: &Slab<Waiting>| matches!(waiting[key], Waiting::Pending(_));
        if is_pending(&self.operations.waiting.borrow()) {
            // Wakers may be of users: they are cloned and dropped while nothing is borrowed.
            let waker = Waiting::Pending(Some(context.waker().clone()));
            let before = std::mem::replace(&mut self.operations.waiting.borrow_mut()[key], waker);
            drop(before);
            return Poll::Pending;
        }
        let mut waiting = self.operations.waiting.borrow_mut();
        let Waiting::Done(completion) = waiting.remove(key) else {
            panic!("a future that is polled is not forgotten")
        };
        drop(waiting);
        self.key = None;
        Poll::Ready(completion)
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        // From here on the slot has no owner: no completion looks for this entry any more.
        self.core.reactor().orphan(self.id);
        let entry = self.operations.waiting.borrow_mut().remove(key);
        drop(entry);
    }
}
