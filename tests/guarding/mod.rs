//! An allocator that sees who writes where nobody may: AddressSanitizer sees what the program
//! writes, not what the kernel does.
//!
//! ```text
//!   alloc:    [ GUARD ][ FRESH … FRESH ][ GUARD ]
//!   dealloc:  guards untouched? ─► filled with FREED ─► kept for a while
//!   evicted, and at the end of the process:  still all FREED? ─► given back
//! ```
//!
//! Bytes that were changed end the process with a line that says where.

#![allow(unsafe_code)] // An allocator.

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// Around every allocation; what fresh memory holds; what freed memory holds.
const GUARD: u8 = 0xB7;
const FRESH: u8 = 0xC9;
const FREED: u8 = 0xD3;
/// Bytes of a guard, at least: more where the alignment asks for it.
const GUARD_BYTES: usize = 64;
/// Freed allocations that are kept, and their bytes.
const KEPT_MAX: usize = 16 * 1024;
const KEPT_BYTES_MAX: usize = 128 << 20;

/// An allocation of the system's with its guards.
#[derive(Clone, Copy)]
struct Block {
    start: *mut u8,
    /// Bytes before what the user gets, and what the user asked for.
    before: usize,
    bytes: usize,
    align: usize,
}

impl Block {
    fn layout(bytes: usize, align: usize) -> Option<(usize, Layout)> {
        let before = GUARD_BYTES.max(align);
        let all = bytes.checked_add(before)?.checked_add(GUARD_BYTES)?;
        Some((before, Layout::from_size_align(all, align).ok()?))
    }

    /// What lies `offset` bytes after the start, and must hold `pattern`.
    fn check(&self, offset: usize, bytes: usize, pattern: u8, what: &str) {
        // SAFETY: the range lies in the allocation, which is ours: not yet given to the user, or
        // given back, or a guard.
        let range = unsafe { std::slice::from_raw_parts(self.start.add(offset), bytes) };
        if is_filled(range, pattern) {
            return;
        }
        let at = range.iter().position(|byte| *byte != pattern).unwrap_or(0);
        complain(what, self.bytes, at, range[at]);
    }

    fn fill(&self, offset: usize, bytes: usize, pattern: u8) {
        // SAFETY: as in `check`.
        unsafe { self.start.add(offset).write_bytes(pattern, bytes) };
    }

    fn check_guards(&self) {
        self.check(0, self.before, GUARD, "before an allocation");
        let after = self.before + self.bytes;
        self.check(after, GUARD_BYTES, GUARD, "behind an allocation");
    }

    fn check_freed(&self) {
        self.check_guards();
        self.check(self.before, self.bytes, FREED, "in freed memory");
    }

    fn release(self) {
        self.check_freed();
        let (_, layout) = Block::layout(self.bytes, self.align).expect("it was allocated so");
        // SAFETY: `alloc` had it from the system with this layout, and nobody else has it.
        unsafe { System.dealloc(self.start, layout) };
    }
}

/// In blocks: byte by byte would take long where optimisation is off.
fn is_filled(range: &[u8], pattern: u8) -> bool {
    let block = [pattern; 256];
    range
        .chunks(block.len())
        .all(|chunk| *chunk == block[..chunk.len()])
}

/// Freed memory, oldest first.
struct Kept {
    blocks: [Option<Block>; KEPT_MAX],
    first: usize,
    count: usize,
    bytes: usize,
}

// SAFETY: the addresses are of freed memory, which has no owner but this list.
unsafe impl Send for Kept {}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    blocks: [None; KEPT_MAX],
    first: 0,
    count: 0,
    bytes: 0,
});

impl Kept {
    fn take_oldest(&mut self) -> Option<Block> {
        let oldest = self.blocks[self.first].take()?;
        self.first = (self.first + 1) % KEPT_MAX;
        self.count -= 1;
        self.bytes -= oldest.bytes;
        Some(oldest)
    }

    fn keep(&mut self, block: Block) {
        while self.count == KEPT_MAX || (self.count > 0 && self.bytes > KEPT_BYTES_MAX) {
            self.take_oldest().expect("there is one").release();
        }
        self.blocks[(self.first + self.count) % KEPT_MAX] = Some(block);
        self.count += 1;
        self.bytes += block.bytes;
    }
}

struct Guarding;

// SAFETY: memory of the system's with the size and alignment that was asked for, and more on both
// sides; given back with the layout that it was taken with.
unsafe impl GlobalAlloc for Guarding {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (bytes, align) = (layout.size(), layout.align());
        let Some((before, outer)) = Block::layout(bytes, align) else {
            return std::ptr::null_mut();
        };
        // SAFETY: the size is not zero.
        let start = unsafe { System.alloc(outer) };
        if start.is_null() {
            return start;
        }
        let block = Block {
            start,
            before,
            bytes,
            align,
        };
        block.fill(0, before, GUARD);
        block.fill(before, bytes, FRESH);
        block.fill(before + bytes, GUARD_BYTES, GUARD);
        // SAFETY: the guard in front lies in the allocation.
        unsafe { start.add(before) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        look_at_the_end();
        let (before, _) =
            Block::layout(layout.size(), layout.align()).expect("it was allocated so");
        let block = Block {
            // SAFETY: `alloc` went as far in the other direction.
            start: unsafe { memory.sub(before) },
            before,
            bytes: layout.size(),
            align: layout.align(),
        };
        block.check_guards();
        block.fill(before, block.bytes, FREED);
        KEPT.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keep(block);
    }
}

#[global_allocator]
static ALLOCATOR: Guarding = Guarding;

/// Looks at everything that is kept.
pub fn check() {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    for block in kept.blocks.iter().flatten() {
        block.check_freed();
    }
}

/// The test harness ends the process when the last test is done: once more then.
fn look_at_the_end() {
    static IS_SET: AtomicBool = AtomicBool::new(false);
    extern "C" fn look() {
        check();
    }
    if !IS_SET.swap(true, Ordering::Relaxed) {
        // SAFETY: the function is there for as long as the process.
        let set = unsafe { libc::atexit(look) };
        if set != 0 {
            std::process::abort();
        }
    }
}

/// No allocation may happen here.
fn complain(what: &str, bytes: usize, at: usize, value: u8) -> ! {
    use std::io::Write as _;
    let mut text = [0; 160];
    let mut rest = &mut text[..];
    let _ = writeln!(
        rest,
        "a foreign write {what} of {bytes} bytes: {value:#04x} at byte {at}"
    );
    let left = rest.len();
    let line = &text[..text.len() - left];
    // SAFETY: the bytes live; what becomes of the write is no matter before the abort.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    std::process::abort();
}
