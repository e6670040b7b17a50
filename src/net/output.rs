//! What a connection has to send: appended by its protocol, taken by the send at the end of a turn.
//!
//! ```text
//!   append_copy ──────► filling ──┐
//!   append_bytes ─────► segment ──┼─► queue ──► one send (net)
//!   append_file ──────► segment ──┘
//!   append_content: both, as it comes
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::content::Content;
use crate::content::Part;
use crate::guard::guarded_drop;
use crate::limits::COPY_BYTES_MAX;
use crate::limits::FILE_READ_BYTES;
use crate::limits::FREE_BUFFER_BYTES_MAX;
use crate::limits::FREE_BUFFERS_MAX;
use crate::limits::FREE_FILE_BUFFERS_MAX;
use crate::limits::SEND_SEGMENTS_MAX;
use crate::reactor::operation::Piece;
use crate::reactor::sys::File;

/// One piece of output, in order.
#[derive(Debug)]
pub enum Segment {
    /// Bytes in memory.
    Memory(Piece),
    /// A part of a file, read shortly before it is sent.
    File {
        /// Kept open until the last byte is read.
        file: Arc<File>,
        /// What is still to be sent.
        range: Range<u64>,
        /// True exactly when it was not in memory when it was looked at: the ring reads it.
        is_cold: bool,
    },
}

/// The output of one connection. Empty, it owns no memory.
#[derive(Debug, Default)]
pub struct Output {
    filling: Vec<u8>,
    queue: VecDeque<Segment>,
    queued_bytes: u64,
}

impl Output {
    /// Nothing to send.
    pub fn new() -> Output {
        Output::default()
    }

    /// The buffer at the end of the output, to write heads into.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        if self.filling.capacity() == 0 {
            self.filling = take_buffer();
        }
        &mut self.filling
    }

    /// Appends a copy.
    pub fn append_copy(&mut self, bytes: &[u8]) {
        self.tail().extend_from_slice(bytes);
    }

    /// Appends without copying, unless copying is cheaper.
    pub fn append_bytes(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.append_copy(&bytes);
            guarded_drop(bytes);
        } else {
            self.push_back(Segment::Memory(Piece::Shared(bytes)));
        }
    }

    /// Appends a part of a file; it is read while it is sent, never held whole.
    pub fn append_file(&mut self, file: Arc<File>, range: Range<u64>) {
        assert!(
            range.start <= range.end,
            "a file range ends before it begins"
        );
        if range.start == range.end {
            return;
        }
        self.push_back(Segment::File {
            file,
            range,
            is_cold: false,
        });
    }

    /// Appends all of a body that is at hand.
    #[inline(always)]
    pub fn append_content(&mut self, content: Content) {
        match content {
            Content::Empty => {}
            Content::Bytes(bytes) => self.append_bytes(bytes),
            Content::File { file, range } => self.append_file(file, range),
            Content::Parts(pieces) => self.append_parts(pieces),
        }
    }

    #[inline(never)]
    fn append_parts(&mut self, pieces: VecDeque<Part>) {
        for piece in pieces {
            self.append_content(piece.into());
        }
    }

    /// Bytes appended and not yet taken.
    pub fn len(&self) -> u64 {
        self.queued_bytes + self.filling.len() as u64
    }

    /// True when nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.filling.is_empty()
    }

    /// Takes the output if it is one buffer of copies: the common case, which needs no queue.
    pub(super) fn take_filled(&mut self) -> Option<Vec<u8>> {
        let is_all = self.queue.is_empty() && !self.filling.is_empty();
        is_all.then(|| std::mem::take(&mut self.filling))
    }

    /// Takes the first piece.
    pub fn pop(&mut self) -> Option<Segment> {
        if self.queue.is_empty() {
            self.seal();
        }
        let segment = self.queue.pop_front()?;
        self.queued_bytes -= segment.len();
        if self.queue.is_empty() {
            give_queue(std::mem::take(&mut self.queue));
        }
        Some(segment)
    }

    /// Puts back what could not be sent.
    pub fn push_front(&mut self, segment: Segment) {
        self.queued_bytes += segment.len();
        self.queue().push_front(segment);
    }

    /// Appends a piece.
    pub(super) fn push_back(&mut self, segment: Segment) {
        self.seal();
        self.queued_bytes += segment.len();
        self.queue().push_back(segment);
    }

    /// The first piece, to be looked at before it is taken.
    pub fn front(&mut self) -> Option<&Segment> {
        if self.queue.is_empty() {
            self.seal();
        }
        self.queue.front()
    }

    /// The pieces in memory before the first part of a file.
    pub fn front_pieces(&mut self) -> impl Iterator<Item = &Piece> {
        self.seal();
        self.queue.iter().map_while(|segment| match segment {
            Segment::Memory(piece) => Some(piece),
            Segment::File { .. } => None,
        })
    }

    /// The first part of a file, unless more pieces are before it than one send takes.
    pub(super) fn first_file(&mut self) -> Option<&mut Segment> {
        let is_file = |segment: &&mut Segment| matches!(segment, Segment::File { .. });
        let mut nearest = self.queue.iter_mut().take(SEND_SEGMENTS_MAX);
        nearest.find(is_file)
    }

    /// A part of the file in front was sent.
    pub(super) fn advance_file(&mut self, sent: u64) {
        let Some(Segment::File { range, .. }) = self.queue.front_mut() else {
            panic!("no file in front")
        };
        range.start += sent;
        assert!(range.start <= range.end, "more was sent than asked for");
        self.queued_bytes -= sent;
        if range.start == range.end {
            self.queue.pop_front();
            if self.queue.is_empty() {
                give_queue(std::mem::take(&mut self.queue));
            }
        }
    }

    /// Puts what was read of the first file in the place of that part of it. An earlier send may
    /// have been cut short meanwhile: its rest stays before.
    pub(super) fn replace_file_part(&mut self, read: Vec<u8>) {
        let is_file = |segment: &Segment| matches!(segment, Segment::File { .. });
        let index = self
            .queue
            .iter()
            .position(is_file)
            .expect("a part of a file was being read");
        let Segment::File { range, .. } = &mut self.queue[index] else {
            unreachable!()
        };
        range.start += read.len() as u64;
        assert!(range.start <= range.end, "more was read than asked for");
        let piece = Segment::Memory(Piece::Owned {
            buffer: read,
            sent: 0,
        });
        if range.start == range.end {
            self.queue[index] = piece;
        } else {
            self.queue.insert(index, piece);
        }
    }

    /// Drops `bytes` that were sent from the front. Shared bytes go to `spent`: see [`recycle`].
    pub fn advance(&mut self, bytes: usize, spent: &mut Vec<Bytes>) {
        let mut left = bytes;
        while left > 0 {
            let Some(Segment::Memory(mut piece)) = self.pop() else {
                panic!("more was sent than there was in front")
            };
            let now = left.min(piece.rest().len());
            piece.advance(now);
            left -= now;
            if piece.rest().is_empty() {
                recycle(piece, spent);
            } else {
                self.push_front(Segment::Memory(piece));
            }
        }
    }

    /// Drops everything that is not taken yet, for a connection that is aborted. Shared bytes go
    /// to `spent`: see [`recycle`].
    pub fn clear(&mut self, spent: &mut Vec<Bytes>) {
        give_buffer(std::mem::take(&mut self.filling));
        while let Some(segment) = self.pop() {
            segment.recycle(spent);
        }
    }

    /// Everything that is in memory, as one vector; for tests. Parts of files are left out.
    pub fn take_memory(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(segment) = self.pop() {
            if let Segment::Memory(piece) = &segment {
                all.extend_from_slice(piece.rest());
            }
            segment.recycle(&mut Vec::new());
        }
        all
    }

    /// The queue, with memory.
    fn queue(&mut self) -> &mut VecDeque<Segment> {
        if self.queue.capacity() == 0 {
            self.queue = FREE_QUEUES
                .with_borrow_mut(|free| free.pop())
                .unwrap_or_default();
        }
        &mut self.queue
    }

    fn seal(&mut self) {
        if !self.filling.is_empty() {
            let filled = std::mem::take(&mut self.filling);
            self.queued_bytes += filled.len() as u64;
            self.queue().push_back(Segment::Memory(Piece::Owned {
                buffer: filled,
                sent: 0,
            }));
        }
    }
}

impl Segment {
    /// Bytes of this piece.
    pub fn len(&self) -> u64 {
        match self {
            Segment::Memory(piece) => piece.rest().len() as u64,
            Segment::File { range, .. } => range.end - range.start,
        }
    }

    /// True when no byte is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the memory back to the core's free list where that is possible, as [`recycle`].
    pub fn recycle(self, spent: &mut Vec<Bytes>) {
        if let Segment::Memory(piece) = self {
            recycle(piece, spent);
        }
    }
}

/// Keeps the memory of a drained queue for the next connection that sends.
fn give_queue(queue: VecDeque<Segment>) {
    assert!(queue.is_empty(), "a queue in use is not given away");
    if queue.capacity() <= FREE_QUEUE_SEGMENTS_MAX {
        // At thread exit the list may be gone already; then the allocator takes it.
        let _ = FREE_QUEUES.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < FREE_BUFFERS_MAX {
                free.push(queue);
            }
        });
    }
}

/// Longer queues are given back to the allocator.
const FREE_QUEUE_SEGMENTS_MAX: usize = 2 * SEND_SEGMENTS_MAX;

thread_local! {
    /// Queues of this core that nobody uses.
    static FREE_QUEUES: RefCell<Vec<VecDeque<Segment>>> = const { RefCell::new(Vec::new()) };
    /// Output buffers of this core that nobody uses.
    static FREE_BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    /// Buffers of this core for parts of files.
    static FREE_FILE_BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer for one part of a file.
pub(super) fn take_file_buffer() -> Vec<u8> {
    FREE_FILE_BUFFERS
        .with_borrow_mut(|free| free.pop())
        .unwrap_or_else(|| Vec::with_capacity(FILE_READ_BYTES))
}

/// Gives the memory of a sent piece back. Shared bytes are put into `spent`, for the caller to drop
/// when nothing is borrowed: the last drop of them may run code of the user ([`Bytes::from_owner`]).
pub fn recycle(piece: Piece, spent: &mut Vec<Bytes>) {
    match piece {
        Piece::Owned { buffer, .. } => give_buffer(buffer),
        Piece::Shared(bytes) => spent.push(bytes),
    }
}

/// A cleared buffer, recycled where one is free.
pub fn take_buffer() -> Vec<u8> {
    FREE_BUFFERS
        .with_borrow_mut(|free| free.pop())
        .unwrap_or_else(|| Vec::with_capacity(1_024))
}

/// Returns a buffer to the core's bounded free list.
pub fn give_buffer(mut buffer: Vec<u8>) {
    let (list, count_max) = match buffer.capacity() {
        0 => return,
        1..=FREE_BUFFER_BYTES_MAX => (&FREE_BUFFERS, FREE_BUFFERS_MAX),
        FILE_READ_BYTES => (&FREE_FILE_BUFFERS, FREE_FILE_BUFFERS_MAX),
        _ => return,
    };
    buffer.clear();
    // At thread exit the list may be gone already; then the allocator takes the buffer.
    let _ = list.try_with(|free| {
        let mut free = free.borrow_mut();
        if free.len() < count_max {
            free.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_buffer_leaves_without_a_queue() {
        let mut output = Output::new();
        assert_eq!(output.take_filled(), None);
        output.append_copy(b"a");
        output.append_copy(b"b");
        assert_eq!(output.take_filled().as_deref(), Some(&b"ab"[..]));
        assert!(output.is_empty());
        output.append_bytes(Bytes::from(vec![b'c'; COPY_BYTES_MAX + 1]));
        output.append_copy(b"d");
        assert_eq!(output.take_filled(), None, "it would overtake");
    }

    #[test]
    fn pieces_leave_in_order() {
        let mut output = Output::new();
        output.append_copy(b"a");
        output.append_bytes(Bytes::from_static(b"b"));
        output.append_bytes(Bytes::from(vec![b'c'; COPY_BYTES_MAX + 1]));
        output.append_copy(b"d");
        assert_eq!(output.len(), 3 + COPY_BYTES_MAX as u64 + 1);
        let mut rest = || match output.pop() {
            Some(Segment::Memory(piece)) => piece.rest().to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(rest(), b"ab");
        assert_eq!(rest().len(), COPY_BYTES_MAX + 1);
        assert_eq!(rest(), b"d");
        assert!(output.pop().is_none());
        assert_eq!(output.len(), 0);
    }
}
