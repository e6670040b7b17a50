//! `sleep` and `timeout`, precise to the loop's turn.

use std::cell::Cell;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::guard;
use crate::reactor::OwnerId;
use crate::reactor::heap::HeapId;
use crate::reactor::operation::Completion;
use crate::ring::Instant;
use crate::runtime::Core;
use crate::runtime::Owner;

/// The sleepers of one core.
struct Sleepers {
    sleepers: RefCell<Slab<Option<Waker>>>,
    id: Cell<OwnerId>,
}

impl Sleepers {
    fn of(core: &Rc<Core>) -> Rc<Sleepers> {
        core.local(|core| {
            let sleepers = Rc::new(Sleepers {
                sleepers: RefCell::new(Slab::new()),
                id: Cell::new(OwnerId(0)),
            });
            sleepers
                .id
                .set(core.register(Rc::clone(&sleepers) as Rc<dyn Owner>));
            sleepers
        })
    }
}

impl Owner for Sleepers {
    fn completed(&self, _core: &Rc<Core>, key: u64, _completion: Completion) {
        panic!("sleepers submit no operations, but {key} completed");
    }

    fn expired(&self, _core: &Rc<Core>, key: u64) {
        let waker = self
            .sleepers
            .borrow_mut()
            .get_mut(key as usize)
            .and_then(Option::take);
        guard::wake(waker);
    }

    fn ready(&self, _core: &Rc<Core>, key: u64) {
        panic!("sleepers are not woken, but {key} was");
    }

    fn close(&self, _core: &Rc<Core>) {}
}

/// Waits for `duration`, counted from the time of the current turn.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep {
        when: When::After(duration),
        place: None,
    }
}

/// Waits until `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        when: When::At(deadline),
        place: None,
    }
}

/// The future of [`sleep`]. Dropped, its timer is gone.
///
/// # Panics
///
/// Polled on a thread that runs no core.
pub struct Sleep {
    when: When,
    place: Option<Place>,
}

#[derive(Clone, Copy)]
enum When {
    After(Duration),
    At(Instant),
}

struct Place {
    core: Rc<Core>,
    sleepers: Rc<Sleepers>,
    key: usize,
    timer: HeapId,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let core = match &self.place {
            Some(place) => Rc::clone(&place.core),
            None => Core::current().expect("sleep needs a core on this thread: use block_on"),
        };
        let deadline = match self.when {
            When::After(duration) => core.now() + duration,
            When::At(deadline) => deadline,
        };
        self.when = When::At(deadline);
        if core.now() >= deadline {
            self.place = None;
            return Poll::Ready(());
        }
        // Wakers may be of users: they are cloned and dropped while nothing is borrowed.
        let waker = Some(context.waker().clone());
        if let Some(place) = &self.place {
            let before =
                std::mem::replace(&mut place.sleepers.sleepers.borrow_mut()[place.key], waker);
            drop(before);
            return Poll::Pending;
        }
        let sleepers = Sleepers::of(&core);
        let key = sleepers.sleepers.borrow_mut().insert(waker);
        let timer = core
            .reactor()
            .sleep(deadline, (sleepers.id.get(), key as u64));
        self.place = Some(Place {
            core,
            sleepers,
            key,
            timer,
        });
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.reactor().cancel_sleep(self.timer);
        let waker = self.sleepers.sleepers.borrow_mut().remove(self.key);
        drop(waker);
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleep")
    }
}

/// Awaits `future` for at most `duration`.
///
/// # Errors
///
/// [`ErrorKind::Timeout`]; the future has been dropped then.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Error> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep(duration));
    std::future::poll_fn(move |context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        sleep.as_mut().poll(context).map(|()| {
            Err(Error::new(
                ErrorKind::Timeout,
                format!("not finished within {duration:?}"),
            ))
        })
    })
    .await
}
