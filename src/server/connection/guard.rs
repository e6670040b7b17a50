//! Calls into user code that may panic.
//!
//! ```text
//!   handler, poll, drop ──► catch_unwind ──► value, or None after a panic
//! ```
//!
//! Nothing of ours is half changed when user code panics: it gets no reference to our state.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use crate::http::request::Request;

/// Payloads that are dropped when each panics in its drop; the next one stays for ever.
const PAYLOADS_MAX: usize = 3;

/// The value, or `None` after a panic, of which the panic hook has told by then.
pub(in crate::server) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            drop_payload(payload);
            None
        }
    }
}

/// The payload is a value of the user too: a panic in its drop must not end the worker.
fn drop_payload(mut payload: Box<dyn Any + Send>) {
    for _ in 0..PAYLOADS_MAX {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    std::mem::forget(payload);
}

/// Drops a value of the user.
pub(in crate::server) fn guarded_drop<T>(value: T) {
    let _ = guarded(move || drop(value));
}

/// Drops a request, which may carry values of the user.
#[inline]
pub(in crate::server) fn drop_request(request: Request) {
    if !request.extensions().is_empty() {
        drop_guarded(request);
    }
}

#[cold]
fn drop_guarded(request: Request) {
    guarded_drop(request);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a drop that fails");
        }
    }

    #[test]
    fn what_a_panic_carries_is_dropped() {
        let carried = std::sync::Arc::new(());
        let theirs = std::sync::Arc::clone(&carried);
        assert!(guarded(|| std::panic::panic_any(theirs)).is_none());
        assert_eq!(std::sync::Arc::strong_count(&carried), 1);
    }

    #[test]
    fn a_panic_is_none() {
        assert_eq!(guarded(|| 1), Some(1));
        assert_eq!(guarded(|| -> u8 { panic!("a handler that fails") }), None);
        assert!(guarded(|| std::panic::panic_any(Bomb)).is_none());
        guarded_drop(Bomb);
    }

    #[test]
    fn a_request_may_carry_bombs() {
        #[derive(Clone)]
        struct Carried;
        impl Drop for Carried {
            fn drop(&mut self) {
                panic!("a drop that fails");
            }
        }
        let mut request = Request::for_target("GET", "/").unwrap();
        request.extensions_mut().insert(Carried);
        drop_request(request);
    }
}
