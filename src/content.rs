//! What a message carries where all of it is at hand: bytes in memory, and ranges of open files.
//! Bodies are made of it, and outputs take it as it is.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// All of a body that is at hand. It can be sent as it is, any number of times.
#[derive(Clone, Debug, Default)]
pub enum Content {
    /// Nothing.
    #[default]
    Empty,
    /// In memory; not empty.
    Bytes(Bytes),
    /// A range of an open file; not empty.
    File {
        /// The file.
        file: Arc<File>,
        /// Which bytes of it.
        range: Range<u64>,
    },
    /// Pieces, in order; none of them is empty.
    Parts(VecDeque<Part>),
}

/// A piece of a body that is made of several ([`Body::parts`](crate::Body::parts)).
#[derive(Clone, Debug)]
pub enum Part {
    /// In memory.
    Bytes(Bytes),
    /// A range of an open file, as in [`Body::file`](crate::Body::file).
    File {
        /// The file.
        file: Arc<File>,
        /// Which bytes of it.
        range: Range<u64>,
    },
}

impl Part {
    /// Bytes of this piece.
    pub fn length(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File { range, .. } => range.end.saturating_sub(range.start),
        }
    }
}

impl Content {
    /// Pieces, one behind the other. Empty ones are left out.
    pub(crate) fn of(pieces: impl IntoIterator<Item = Part>) -> Content {
        let not_empty = |piece: &Part| piece.length() > 0;
        let pieces: VecDeque<Part> = pieces.into_iter().filter(not_empty).collect();
        match pieces.is_empty() {
            true => Content::Empty,
            false => Content::Parts(pieces),
        }
    }

    /// Bytes of all pieces.
    #[inline]
    pub fn length(&self) -> u64 {
        match self {
            Content::Empty => 0,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File { range, .. } => range.end - range.start,
            Content::Parts(pieces) => length_of(pieces),
        }
    }

    /// True when the connection may have to read files while it sends.
    #[inline]
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Content::File { .. } | Content::Parts(_))
    }

    /// Takes the first piece.
    pub(crate) fn pop(&mut self) -> Option<Part> {
        if let Content::Parts(pieces) = self {
            return pieces.pop_front();
        }
        match std::mem::take(self) {
            Content::Bytes(bytes) => Some(Part::Bytes(bytes)),
            Content::File { file, range } => Some(Part::File { file, range }),
            Content::Empty | Content::Parts(_) => None,
        }
    }

    /// What it is, for messages to developers.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Content::Empty => "empty",
            Content::Bytes(_) => "bytes",
            Content::File { .. } => "file",
            Content::Parts(_) => "parts",
        }
    }
}

/// Few responses have parts, and all are asked for their length.
#[inline(never)]
fn length_of(pieces: &VecDeque<Part>) -> u64 {
    pieces.iter().map(Part::length).sum()
}

impl From<Part> for Content {
    #[inline]
    fn from(part: Part) -> Content {
        match part {
            _ if part.length() == 0 => Content::Empty,
            Part::Bytes(bytes) => Content::Bytes(bytes),
            Part::File { file, range } => Content::File { file, range },
        }
    }
}

impl From<Bytes> for Content {
    #[inline]
    fn from(bytes: Bytes) -> Content {
        match bytes.is_empty() {
            true => Content::Empty,
            false => Content::Bytes(bytes),
        }
    }
}
