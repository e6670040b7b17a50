//! AddressSanitizer is at work: planted bugs are reported. Run by `make asan` alone.
//!
//! ```text
//!   this test ─► itself, with PLANTED=name ─► report on standard error, status ≠ 0
//! ```

// A planted bug is one that safe code cannot have.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::process::Command;

/// Names the bug that the process shall have.
const PLANTED: &str = "PLANTED";

/// What the report says, and who makes the bug.
const BUGS: &[(&str, fn())] = &[
    ("heap-use-after-free", read_after_free),
    ("heap-buffer-overflow", read_behind_the_end),
    ("detected memory leaks", leak),
];

fn read_after_free() {
    let memory = Box::into_raw(Box::new([0_u8; 64]));
    // SAFETY: none: the second line reads what the first has freed. It runs under the sanitizer
    // alone, in a process of its own, which ends there.
    unsafe {
        drop(Box::from_raw(black_box(memory)));
        black_box(memory.cast::<u8>().read_volatile());
    }
}

fn read_behind_the_end() {
    let memory = black_box(vec![0_u8; 64]);
    // SAFETY: none: as above, one byte behind the end.
    unsafe {
        black_box(memory.as_ptr().add(64).read_volatile());
    }
}

fn leak() {
    // More than one, since a copy of one address may linger in a register or on the stack.
    for size in 100..200 {
        std::mem::forget(black_box(vec![1_u8; size]));
    }
}

#[test]
fn planted_bugs_are_reported() {
    if let Ok(name) = std::env::var(PLANTED) {
        let (_, bug) = BUGS.iter().find(|(text, _)| *text == name).unwrap();
        bug();
        return;
    }
    for (text, _) in BUGS {
        let output = Command::new(std::env::current_exe().unwrap())
            .env(PLANTED, text)
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text} passed unseen");
        assert!(report.contains(text), "expected {text}, got {report}");
    }
}
