//! What is in flight, with everything that the kernel may touch, and what comes back.

use std::sync::Arc;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;

use crate::ring::Errno;
use crate::ring::buffers::Lease;
use crate::ring::sys::File;
use crate::ring::sys::PieceList;
use crate::ring::sys::Socket;
use crate::ring::sys::SocketAddress;

/// An operation and what it owns while it is in flight.
#[derive(Debug)]
pub enum Operation {
    /// One connection from a listener.
    Accept,
    /// Every connection from a listener.
    AcceptMulti,
    /// To an address.
    Connect(SocketAddress),
    /// Once, into a shared buffer.
    RecvShared {
        /// Wait for readiness first: no data is likely yet.
        poll_first: bool,
    },
    /// Again and again, into shared buffers.
    RecvMulti {
        /// Wait for readiness first: no data is likely yet.
        poll_first: bool,
    },
    /// Once, into the free capacity behind the buffer's bytes.
    RecvOwned(BytesMut),
    /// One piece.
    Send(Piece),
    /// Several pieces at once.
    SendPieces(Box<Pieces>),
    /// From a file, into the free capacity of the buffer.
    Read {
        /// Kept open.
        file: Arc<File>,
        /// Where in the file.
        offset: u64,
        /// Where to; its spare capacity is filled.
        buffer: Vec<u8>,
    },
    /// The counter of an eventfd(2).
    Wake(Box<u64>),
}

/// Bytes to be sent, and how many of them have been.
#[derive(Debug)]
pub enum Piece {
    /// A buffer of ours.
    Owned {
        /// All of it.
        buffer: Vec<u8>,
        /// How much is behind us.
        sent: usize,
    },
    /// Shared bytes; what has been sent is cut off.
    Shared(Bytes),
}

impl Piece {
    /// What is still to be sent.
    pub fn rest(&self) -> &[u8] {
        match self {
            Piece::Owned { buffer, sent } => &buffer[*sent..],
            Piece::Shared(bytes) => bytes,
        }
    }

    /// Counts `bytes` as sent.
    pub fn advance(&mut self, bytes: usize) {
        match self {
            Piece::Owned { buffer, sent } => {
                *sent += bytes;
                assert!(*sent <= buffer.len(), "more was sent than there is");
            }
            Piece::Shared(shared) => shared.advance(bytes),
        }
    }
}

/// Several pieces and the list of them that the kernel reads.
#[derive(Debug, Default)]
pub struct Pieces {
    /// In order.
    pub pieces: Vec<Piece>,
    /// Filled by the slot when the operation is in its place.
    pub(super) list: PieceList,
}

/// What the kernel said, and what the operation gives back.
#[derive(Debug)]
pub struct Completion {
    /// Bytes, or an error number.
    pub result: Result<u32, Errno>,
    /// True exactly when more completions of this operation follow.
    pub more: bool,
    /// Received bytes, for receives into shared buffers.
    pub lease: Option<Lease>,
    /// The connection that was accepted.
    pub socket: Option<Socket>,
    /// What the operation owned; there exactly when `more` is false.
    pub operation: Option<Operation>,
}
