//! Watches the receive buffers in builds with debug assertions: does the kernel write only where
//! and when it may? In other builds it does nothing, nor on a simulated kernel, which watches us.
//!
//! ```text
//!   with the kernel, full of a pattern ─► lent: the rest untouched?  bytes are copied
//!                 ▲                                                         │
//!                 └──── full of the pattern again ◄─ still untouched, bytes unchanged?
//! ```

use std::cell::RefCell;

/// What a buffer holds that goes back to the kernel. Before the first time it holds zeros.
const PATTERN: u8 = 0xA9;

/// One for all buffers of a ring.
pub(super) struct Guard {
    watched: RefCell<Watched>,
}

struct Watched {
    states: Vec<State>,
    buffer_bytes: usize,
    /// What was received into the buffers that are lent.
    copies: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    /// With the kernel.
    Offered { pattern: u8 },
    /// With us: so many bytes were received, the pattern is behind them.
    Lent { pattern: u8, bytes: usize },
}

impl Guard {
    /// For `count` buffers of zeros that are with the kernel.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> Guard {
        let (count, buffer_bytes) = match cfg!(debug_assertions) && !is_simulated() {
            true => (usize::from(count), buffer_bytes as usize),
            false => (0, 0),
        };
        Guard {
            watched: RefCell::new(Watched {
                states: vec![State::Offered { pattern: 0 }; count],
                buffer_bytes,
                copies: vec![0; count * buffer_bytes],
            }),
        }
    }

    /// The kernel says that it filled the first `bytes` bytes of `buffer`.
    pub(super) fn lend(&self, id: u16, buffer: &[u8], bytes: usize) {
        if !cfg!(debug_assertions) || self.watched.borrow().states.is_empty() {
            return;
        }
        let mut watched = self.watched.borrow_mut();
        let State::Offered { pattern } = watched.states[usize::from(id)] else {
            panic!("the kernel filled buffer {id}, which it does not have")
        };
        assert_full(&buffer[bytes..], pattern, "behind what was received");
        watched.states[usize::from(id)] = State::Lent { pattern, bytes };
        watched.copy(id)[..bytes].copy_from_slice(&buffer[..bytes]);
    }

    /// `buffer` is about to go back to the kernel.
    pub(super) fn offer(&self, id: u16, buffer: &mut [u8]) {
        if !cfg!(debug_assertions) || self.watched.borrow().states.is_empty() {
            return;
        }
        let mut watched = self.watched.borrow_mut();
        let State::Lent { pattern, bytes } = watched.states[usize::from(id)] else {
            panic!("buffer {id} is given back, and the kernel has it")
        };
        assert!(
            watched.copy(id)[..bytes] == buffer[..bytes],
            "a write into buffer {id} while we had it"
        );
        assert_full(&buffer[bytes..], pattern, "while we had the buffer");
        buffer.fill(PATTERN);
        watched.states[usize::from(id)] = State::Offered { pattern: PATTERN };
    }
}

impl Watched {
    fn copy(&mut self, id: u16) -> &mut [u8] {
        let start = usize::from(id) * self.buffer_bytes;
        &mut self.copies[start..start + self.buffer_bytes]
    }
}

#[cfg(feature = "simulation")]
fn is_simulated() -> bool {
    crate::ring::sim::calls::is_installed()
}

#[cfg(not(feature = "simulation"))]
fn is_simulated() -> bool {
    false
}

/// Compares in blocks: byte by byte would cost more than all else where optimisation is off.
fn assert_full(range: &[u8], pattern: u8, when: &str) {
    let block = [pattern; 512];
    let is_full = |chunk: &[u8]| *chunk == block[..chunk.len()];
    assert!(
        range.chunks(block.len()).all(is_full),
        "a write {when}: {range:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 2_000;

    fn guard() -> (Guard, [u8; BYTES]) {
        let guard = Guard::new(2, BYTES as u32);
        let mut buffer = [0; BYTES];
        buffer[..5].copy_from_slice(b"hello");
        guard.lend(1, &buffer, 5);
        (guard, buffer)
    }

    #[test]
    fn what_is_right_passes() {
        let (guard, mut buffer) = guard();
        guard.offer(1, &mut buffer);
        buffer[..2].copy_from_slice(b"hi");
        guard.lend(1, &buffer, 2);
        guard.offer(1, &mut buffer);
    }

    #[test]
    #[should_panic(expected = "behind what was received")]
    fn a_write_behind_the_end_is_seen() {
        let (guard, mut buffer) = guard();
        guard.offer(1, &mut buffer);
        buffer[BYTES - 1] = 0;
        guard.lend(1, &buffer, 2);
    }

    #[test]
    #[should_panic(expected = "into buffer 1 while we had it")]
    fn a_write_into_what_was_received_is_seen() {
        let (guard, mut buffer) = guard();
        buffer[0] = b'j';
        guard.offer(1, &mut buffer);
    }

    #[test]
    #[should_panic(expected = "while we had the buffer")]
    fn a_late_write_behind_the_end_is_seen() {
        let (guard, mut buffer) = guard();
        buffer[5] = b'!';
        guard.offer(1, &mut buffer);
    }

    #[test]
    #[should_panic(expected = "which it does not have")]
    fn a_buffer_that_was_filled_twice_is_seen() {
        let (guard, buffer) = guard();
        guard.lend(1, &buffer, 5);
    }

    #[test]
    #[should_panic(expected = "and the kernel has it")]
    fn a_buffer_that_is_given_back_twice_is_seen() {
        let (guard, mut buffer) = guard();
        guard.offer(1, &mut buffer);
        guard.offer(1, &mut buffer);
    }
}
