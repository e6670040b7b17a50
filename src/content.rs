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
    /// One piece; not empty.
    Part(Part),
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
            Content::Part(part) => part.length(),
            Content::Parts(pieces) => pieces.iter().map(Part::length).sum(),
        }
    }

    /// True when the connection may have to read files while it sends.
    #[inline]
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Content::Part(Part::File { .. }) | Content::Parts(_))
    }

    /// Takes the first piece.
    pub(crate) fn pop(&mut self) -> Option<Part> {
        match self {
            Content::Parts(pieces) => pieces.pop_front(),
            Content::Empty => None,
            Content::Part(_) => match std::mem::take(self) {
                Content::Part(part) => Some(part),
                _ => unreachable!("just seen"),
            },
        }
    }

    /// What it is, for messages to developers.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Content::Empty => "empty",
            Content::Part(Part::Bytes(_)) => "bytes",
            Content::Part(Part::File { .. }) => "file",
            Content::Parts(_) => "parts",
        }
    }
}

impl From<Part> for Content {
    #[inline]
    fn from(part: Part) -> Content {
        match part.length() {
            0 => Content::Empty,
            _ => Content::Part(part),
        }
    }
}

impl From<Bytes> for Content {
    #[inline]
    fn from(bytes: Bytes) -> Content {
        Part::Bytes(bytes).into()
    }
}
