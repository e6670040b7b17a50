//! Which standard descriptors were closed when this program was started.
//!
//! ```text
//!   execve ─► .init_array: LOOK ─► std: /dev/null in the place of what is closed ─► main
//! ```
//! Behind the start of the standard library nobody can tell `>&-` from `>/dev/null` any more: what is
//! written to either is gone, but only with the latter it was meant to be.
#![allow(
    unsafe_code,
    reason = "a function runs before main, and asks the kernel without the standard library"
)]

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// By descriptor: standard input, output, error.
static WAS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

// SAFETY: `.init_array` holds pointers to functions that the C library calls one after the other
// before `main` (System V ABI, gABI 5 "Initialization and Termination Functions"), and this is one
// of the C calling convention. The arguments that glibc adds are ignored, which that allows.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for (descriptor, was_closed) in (0..).zip(&WAS_CLOSED) {
        // SAFETY: F_GETFD takes no pointer and changes nothing; it fails for what is not open alone.
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
        was_closed.store(flags == -1, Ordering::Relaxed);
    }
}

/// True when standard input was closed.
pub fn input_was_closed() -> bool {
    WAS_CLOSED[0].load(Ordering::Relaxed)
}

/// True when standard output was closed.
pub fn output_was_closed() -> bool {
    WAS_CLOSED[1].load(Ordering::Relaxed)
}
