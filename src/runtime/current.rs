//! The core of the calling thread.

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::runtime::Core;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// While it lives, the core is the thread's. With what was the thread's before a fork.
pub(super) struct Entered(Option<Rc<Core>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let core = CURRENT.try_with(|current| current.replace(self.0.take()));
        drop(core);
    }
}

/// Makes `core` the calling thread's.
///
/// # Errors
///
/// There is one already: `block_on` within `block_on`, or within a handler. The core is that of a
/// parent of this process. The thread ends.
pub(super) fn enter(core: &Rc<Core>) -> Result<Entered, Error> {
    if !core.is_here() {
        return Err(forked());
    }
    let entered = CURRENT.try_with(|current| {
        let mut current = current.borrow_mut();
        if current.as_ref().is_some_and(|current| current.is_here()) {
            return Err(nested());
        }
        Ok(Entered(current.replace(Rc::clone(core))))
    });
    // A core that a thread-local variable holds ends when this one may be gone already.
    entered.unwrap_or_else(|_| Err(Error::new(ErrorKind::Shutdown, "this thread ends")))
}

/// The error of a second core on one thread.
pub(super) fn nested() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "this thread already runs a core: await the future instead of blocking on it",
    )
}

/// The error of using what was made before a fork(2).
pub(crate) fn forked() -> Error {
    Error::new(
        ErrorKind::Shutdown,
        "this process was forked, and this belongs to its parent: make it anew here",
    )
}

/// True while the calling thread runs a core.
pub fn is_inside() -> bool {
    with(|_| ()).is_some()
}

/// Borrows the calling thread's core; `None` without one, or while the thread ends.
pub(super) fn with<T>(call: impl FnOnce(&Rc<Core>) -> T) -> Option<T> {
    let call_here = |current: &RefCell<Option<Rc<Core>>>| {
        let current = current.borrow();
        current.as_ref().filter(|core| core.is_here()).map(call)
    };
    CURRENT.try_with(call_here).ok().flatten()
}

/// Runs `call` as on a thread without a core, even while the core is borrowed.
#[cfg(feature = "simulation")]
pub(super) fn hidden<T>(call: impl FnOnce() -> T) -> T {
    struct Hidden(Option<Rc<Core>>);

    impl Drop for Hidden {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }

    let hidden = Hidden(CURRENT.take());
    let result = call();
    drop(hidden);
    result
}

#[cold]
fn none_runs() -> Error {
    // Within a call that a fork happened in.
    if CURRENT.try_with(|current| current.borrow().is_some()) == Ok(true) {
        return forked();
    }
    Error::new(
        ErrorKind::Shutdown,
        "no core runs on this thread: call this within roundtrip::block_on or a handler, or use \
         roundtrip::blocking, or Client::spawned on another executor",
    )
}

impl Core {
    /// An error unless the calling thread runs this very core: a future that waits for it would
    /// wait for ever.
    pub(crate) fn check_is_here(self: &Rc<Self>) -> std::io::Result<()> {
        match with(|core| Rc::ptr_eq(core, self)) {
            Some(true) => Ok(()),
            _ if !self.is_here() => Err(forked().into()),
            _ => Err(std::io::Error::other(
                "this socket belongs to a core that has ended, or that another thread runs",
            )),
        }
    }

    /// The calling thread's core, if it runs one.
    pub fn current() -> Option<Rc<Core>> {
        with(Rc::clone)
    }

    /// The calling thread's core.
    ///
    /// # Errors
    ///
    /// The thread runs none: what was asked for needs `block_on`, a worker or `blocking`.
    pub fn try_current() -> Result<Rc<Core>, Error> {
        Core::current().ok_or_else(none_runs)
    }
}

#[cfg(feature = "simulation")]
#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;
    use crate::runtime::Runtime;

    #[test]
    fn a_core_is_hidden_for_one_call() {
        let inside = async {
            assert!(!hidden(is_inside));
            assert!(is_inside());
            assert!(catch_unwind(|| hidden(|| panic!("on purpose"))).is_err());
            is_inside()
        };
        assert!(Runtime::small().unwrap().block_on(inside).unwrap());
    }

    #[test]
    fn what_is_woken_by_a_hidden_call_is_woken_from_outside() {
        let woken = async {
            let mut is_first = true;
            std::future::poll_fn(move |context| {
                if std::mem::take(&mut is_first) {
                    hidden(|| context.waker().wake_by_ref());
                    let core = Core::current().unwrap();
                    assert!(core.remote().is_pending());
                    return std::task::Poll::Pending;
                }
                std::task::Poll::Ready(())
            })
            .await;
        };
        Runtime::small().unwrap().block_on(woken).unwrap();
    }
}
