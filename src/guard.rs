//! Calls into code of users, which may panic: whatever belongs to them is called, polled, woken and
//! dropped through here, wherever a panic would end more than what it belongs to.
//!
//! ```text
//!   callback, poll, wake, drop ──► catch_unwind ──► value, or what the panic said; counted
//! ```
//!
//! Nothing of ours is half changed when such code panics: it gets no reference to our state, and
//! nothing is borrowed meanwhile. What is not called through here are our own assertions: they end
//! their core.

use std::any::Any;
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

/// Payloads that are dropped when each panics in its drop; the next one stays for ever.
const PAYLOADS_MAX: usize = 3;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// The value, or what the panic said. The panic hook has told of it by then.
#[inline]
pub fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(text_of)
}

/// The value, or `None` after a panic.
#[inline]
pub fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            let _ = text_of(payload);
            None
        }
    }
}

/// The value of a future of a user, or what its panic said. Behind either it is dropped.
pub fn catching<F: Future>(future: F) -> Catching<F> {
    Catching(Some(Box::pin(future)))
}

/// The future of [`catching`]; a panic in its drop while it runs is not caught.
pub struct Catching<F>(Option<Pin<Box<F>>>);

impl<F: Future> Future for Catching<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.0.as_mut().expect("it is polled until it is done");
        let result = match caught(|| future.as_mut().poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(panic),
        };
        guarded_drop(self.0.take());
        Poll::Ready(result)
    }
}

/// Drops a value of a user.
#[inline]
pub fn guarded_drop<T>(value: T) {
    let _ = guarded(move || drop(value));
}

/// Wakes a waker, which may be of a user.
#[inline]
pub fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        let _ = guarded(move || waker.wake());
    }
}

/// Panics that were caught on this thread.
pub fn count() -> u64 {
    PANICS.get()
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "without a message".to_owned()
    }
}

/// Counts a panic. Its payload is a value of the user too: a panic in its drop is caught as well.
#[cold]
fn text_of(mut payload: Box<dyn Any + Send>) -> String {
    PANICS.set(PANICS.get() + 1);
    let text = panic_text(&*payload);
    for _ in 0..PAYLOADS_MAX {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return text,
            Err(next) => payload = next,
        }
    }
    std::mem::forget(payload);
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    /// Panics when it is dropped, with another of its kind.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    struct Alarm;

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            panic!("a waker that fails");
        }
    }

    #[test]
    fn what_a_panic_carries_is_dropped() {
        let carried = Arc::new(());
        let theirs = Arc::clone(&carried);
        assert!(guarded(|| std::panic::panic_any(theirs)).is_none());
        assert_eq!(Arc::strong_count(&carried), 1);
    }

    #[test]
    fn a_panic_is_told_and_counted() {
        let before = count();
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(count(), before);
        type Call = fn();
        let table: [(Call, &str); 6] = [
            (|| panic!("a text"), "a text"),
            (|| panic!("a number: {}", 1), "a number: 1"),
            (|| std::panic::panic_any(1), "without a message"),
            (|| std::panic::panic_any(Bomb), "without a message"),
            (|| drop(Bomb), "without a message"),
            (|| Waker::from(Arc::new(Alarm)).wake(), "a waker that fails"),
        ];
        for (index, (call, text)) in table.into_iter().enumerate() {
            assert_eq!(caught(call), Err(text.to_owned()));
            assert_eq!(count(), before + index as u64 + 1);
        }
        guarded_drop(Bomb);
        wake(Some(Waker::from(Arc::new(Alarm))));
        wake(None);
        assert_eq!(count(), before + 8);
    }
}
