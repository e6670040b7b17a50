//! Parts of files in the output: which way each goes.
//!
//! ```text
//!   small ──────────► preadv2 ─► leaves in one send with the head
//!   in memory ──────► sendfile(2), and where the socket is full, a piece by the ring, which waits
//!   not in memory ──► read by the ring, one part ahead of the send
//! ```
//!
//! sendfile(2) copies nothing, and costs one call where reading and sending cost two operations and
//! two copies. It would block where a disk has to be waited for: what is not in the page cache is
//! for the ring.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::limits::FILE_BRIDGE_BYTES;
use crate::limits::FILE_COPY_BYTES_MAX;
use crate::limits::FILE_READ_BYTES;
use crate::limits::FILE_SEND_BYTES;
use crate::net::output::Output;
use crate::net::output::Segment;
use crate::net::output::give_buffer;
use crate::net::output::take_buffer;
use crate::net::output::take_file_buffer;
use crate::reactor::Errno;
use crate::reactor::operation::Operation;
use crate::reactor::outcome::SendFailure;
use crate::reactor::outcome::send_failure;
use crate::reactor::sys;
use crate::reactor::sys::File;

/// What stands behind the pieces in memory at the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// No part of a file, or one that nothing can be said of now.
    Nothing,
    /// Nothing any more: there were small ones, which are in memory by now.
    Copied,
    /// A part of a file that the page cache has.
    Cached,
    /// A part of a file that the ring must read.
    Cold,
}

/// What a call that sends at once came to.
pub(super) enum AtOnce {
    /// Everything that was asked for went out.
    Sent,
    /// The socket's buffer is full, or there is too much for one call.
    WouldBlock,
    /// The peer takes nothing more.
    Broken(Errno),
    /// The file cannot be read, or is shorter than when its length was announced: the peer must notice.
    Failed(Errno),
}

/// A part of an open file. Compared within one turn, in which an address is no other file's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FilePart {
    file: *const File,
    start: u64,
    bytes: u64,
}

/// Looks at the first part of a file behind what is in memory; small ones become pieces in memory.
/// Nothing is being read or sent. What was `cached` at the last look need not be asked for again: many
/// want the same file.
pub(super) fn look_ahead(output: &mut Output, cached: &Cell<Option<FilePart>>) -> Ahead {
    let mut found = Ahead::Nothing;
    while let Some(Segment::File {
        file,
        range,
        is_cold,
    }) = output.first_file()
    {
        let bytes = range.end - range.start;
        if bytes > FILE_COPY_BYTES_MAX as u64 {
            let now = bytes.min(FILE_SEND_BYTES as u64);
            let part = FilePart {
                file: Arc::as_ptr(file),
                start: range.start,
                bytes: now,
            };
            let is_known = cached.get() == Some(part);
            let is_cached = || sys::is_cached(file, range.start, now);
            *is_cold = !sys::may_send_files() || !is_known && !is_cached();
            if *is_cold {
                return Ahead::Cold;
            }
            cached.set(Some(part));
            return Ahead::Cached;
        }
        let mut buffer = room_for(bytes as usize);
        let read = sys::read_now(file, range.start, &mut buffer, bytes as usize);
        if !matches!(read, Ok(1..)) {
            give_buffer(buffer);
            *is_cold = true;
            return Ahead::Cold;
        }
        output.replace_file_part(buffer);
        found = Ahead::Copied;
    }
    found
}

/// sendfile(2) of what the page cache has of the file in front. It waits on sockets that were not told
/// otherwise: one that cannot be told is always full.
pub(super) fn send_file(socket: RawFd, nonblocking: &mut bool, output: &mut Output) -> AtOnce {
    if !*nonblocking {
        if sys::set_nonblocking(socket).is_err() {
            return AtOnce::WouldBlock;
        }
        *nonblocking = true;
    }
    let Some(Segment::File { file, range, .. }) = output.front() else {
        panic!("no file in front")
    };
    let left = range.end - range.start;
    let wanted = usize::try_from(left).map_or(FILE_SEND_BYTES, |left| left.min(FILE_SEND_BYTES));
    let sent = match sys::send_file_now(socket, file, range.start, wanted) {
        Ok(0) => return AtOnce::Failed(Errno::EIO),
        Ok(sent) => sent,
        Err(error) => {
            return match send_failure(Errno::from_io(&error)) {
                SendFailure::Retry | SendFailure::Canceled => AtOnce::WouldBlock,
                // The file's, and not the socket's.
                SendFailure::Broken(
                    Errno::EIO | Errno::ENOMEM | Errno::EREMOTEIO | Errno::ESTALE,
                ) => AtOnce::Failed(Errno::EIO),
                // A file system without sendfile(2): read and sent piece by piece.
                SendFailure::Broken(Errno::EINVAL) => AtOnce::WouldBlock,
                SendFailure::Broken(errno) => AtOnce::Broken(errno),
            };
        }
    };
    output.advance_file(sent as u64);
    match sent == wanted {
        true => AtOnce::Sent,
        false => AtOnce::WouldBlock,
    }
}

/// Takes a piece of a file in front into memory, for a send of the ring, which waits until the socket
/// has room: for much more than the piece, since the kernel wakes at a third of its buffer. False
/// when it is not in the page cache any more.
pub(super) fn bridge(output: &mut Output) -> bool {
    if matches!(output.front(), Some(Segment::Memory(_))) {
        return true;
    }
    let Some(Segment::File {
        file,
        range,
        is_cold,
    }) = output.first_file()
    else {
        panic!("no file in front")
    };
    let bytes = (range.end - range.start).min(FILE_BRIDGE_BYTES as u64) as usize;
    let mut buffer = room_for(bytes);
    if matches!(
        sys::read_now(file, range.start, &mut buffer, bytes),
        Ok(1..)
    ) {
        output.replace_file_part(buffer);
        return true;
    }
    give_buffer(buffer);
    *is_cold = true;
    false
}

/// An empty buffer with room for so many bytes, of those that serve again.
fn room_for(bytes: usize) -> Vec<u8> {
    let mut buffer = take_buffer();
    buffer.reserve_exact(bytes);
    buffer
}

/// The ring's read of the file in front.
pub(super) fn read_of_front(output: &mut Output) -> Operation {
    let Some(Segment::File { file, range, .. }) = output.front() else {
        panic!("no file in front")
    };
    let file = Arc::clone(file);
    let offset = range.start;
    // Not beyond the range: less room than there is makes the read shorter.
    let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let buffer = if wanted < FILE_READ_BYTES {
        Vec::with_capacity(wanted)
    } else {
        take_file_buffer()
    };
    Operation::Read {
        file,
        offset,
        buffer,
    }
}
