//! Calls into user code that may panic.
//!
//! ```text
//!   handler, poll, drop ──► catch_unwind ──► value, or None after a panic
//! ```
//!
//! Nothing of ours is half changed when user code panics: it gets no reference to our state.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

/// The value, or `None` after a panic, of which the panic hook has told by then.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // The payload is a value of the user too; a second panic in its drop would end the
            // worker.
            std::mem::forget(payload);
            None
        }
    }
}

/// Drops a value of the user.
pub(super) fn guarded_drop<T>(value: T) {
    let _ = guarded(move || drop(value));
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
    fn a_panic_is_none() {
        assert_eq!(guarded(|| 1), Some(1));
        assert_eq!(guarded(|| -> u8 { panic!("a handler that fails") }), None);
        assert!(guarded(|| std::panic::panic_any(Bomb)).is_none());
        guarded_drop(Bomb);
    }
}
