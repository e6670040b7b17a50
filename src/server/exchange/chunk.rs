//! Received bytes, and how far they are used.
//!
//! ```text
//!   Borrowed │used│────── rest ──────│      pieces of it are copied
//!   Shared   │used│────── rest ──────│      large pieces of it are shared
//! ```

use std::ops::Range;

use bytes::Bytes;

use crate::limits::COPY_BYTES_MAX;
use crate::net::Received;

/// Bytes that arrived, from the first that is not used.
pub enum Input<'a> {
    /// Valid for this call only.
    Borrowed(&'a [u8]),
    /// Ours.
    Shared(Bytes),
}

/// A piece of them.
pub enum Chunk<'a> {
    /// To be copied.
    Borrowed(&'a [u8]),
    /// To be shared.
    Shared(Bytes),
}

impl<'a> From<Received<'a>> for Input<'a> {
    fn from(received: Received<'a>) -> Input<'a> {
        match received {
            Received::Borrowed(bytes) => Input::Borrowed(bytes),
            Received::Owned(bytes) => Input::Shared(bytes.freeze()),
        }
    }
}

impl<'a> Input<'a> {
    /// True when all is used.
    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// What is not used.
    pub fn rest(&self) -> &[u8] {
        match self {
            Input::Borrowed(bytes) => bytes,
            Input::Shared(bytes) => bytes,
        }
    }

    /// Marks bytes as used.
    pub fn skip(&mut self, used: usize) {
        match self {
            Input::Borrowed(bytes) => *bytes = &bytes[used..],
            Input::Shared(bytes) => drop(bytes.split_to(used)),
        }
    }

    /// Marks bytes as used and returns a range of them.
    pub fn take(&mut self, used: usize, range: Range<usize>) -> Chunk<'a> {
        assert!(range.end <= used, "a piece of the bytes that are used");
        match self {
            Input::Borrowed(bytes) => {
                let (piece, rest) = bytes.split_at(used);
                *bytes = rest;
                Chunk::Borrowed(&piece[range])
            }
            Input::Shared(bytes) => Chunk::Shared(bytes.split_to(used).slice(range)),
        }
    }
}

impl Chunk<'_> {
    pub fn len(&self) -> usize {
        match self {
            Chunk::Borrowed(bytes) => bytes.len(),
            Chunk::Shared(bytes) => bytes.len(),
        }
    }

    /// As bytes that stay. Few of them are copied, so that they do not keep a large buffer alive.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Chunk::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Chunk::Shared(bytes) if bytes.len() <= COPY_BYTES_MAX => Bytes::copy_from_slice(&bytes),
            Chunk::Shared(bytes) => bytes,
        }
    }
}
