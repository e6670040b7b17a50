//! Bytes that say where they belong: a body that is mixed up, cut or repeated is seen.

use bytes::Bytes;

/// The byte at place `at` of body number `seed`.
fn byte(seed: usize, at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16) ^ seed) as u8
}

/// The bytes of a body from `from` to `to`.
pub fn part(seed: usize, from: usize, to: usize) -> Bytes {
    (from..to).map(|at| byte(seed, at)).collect()
}

/// A whole body.
pub fn body(seed: usize, bytes: usize) -> Bytes {
    part(seed, 0, bytes)
}

/// Follows a body while it arrives.
pub struct Reading {
    seed: usize,
    at: usize,
}

impl Reading {
    pub fn new(seed: usize) -> Reading {
        Reading { seed, at: 0 }
    }

    /// The next bytes must be those that belong there.
    #[track_caller]
    pub fn take(&mut self, bytes: &[u8]) {
        let start = self.at;
        self.at += bytes.len();
        let expected = |(offset, value): (usize, &u8)| *value == byte(self.seed, start + offset);
        let is_right = bytes.iter().enumerate().all(expected);
        assert!(is_right, "body {}: wrong bytes from {start} on", self.seed);
    }

    /// How much has come.
    pub fn length(&self) -> usize {
        self.at
    }

    /// All of it must have come.
    #[track_caller]
    pub fn end(self, bytes: usize) {
        assert_eq!(self.at, bytes, "the length of body {}", self.seed);
    }
}
