//! Parts of files in the output: which way each goes.
//!
//! ```text
//!   small ──────────► preadv2 ─► leaves in one send with the head
//!   in memory ──────► sendfile(2), and where the socket is full, a piece by the ring, which waits
//!   not in memory ──► read by the ring, one part ahead of the send
//!   not known ──────► local: as if it were in memory, until a disk was waited for
//!                     of another machine or process: as if it were not
//! ```
//!
//! sendfile(2) copies nothing, and costs one call where reading and sending cost two operations and
//! two copies. It would block where a disk has to be waited for: what is not in the page cache is
//! for the ring. overlayfs, which containers see, and tmpfs do not say what is there. Reads of the ring
//! cost twice to three times as much, since the kernel leaves each to a thread of its own: what is
//! local is sent all the same, and where that took long, all such files are the ring's for a while.

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::Weak;

use crate::limits::FILE_BRIDGE_BYTES;
use crate::limits::FILE_COPY_BYTES_MAX;
use crate::limits::FILE_READ_BYTES;
use crate::limits::FILE_SEND_BYTES;
use crate::limits::FILE_WAIT_MAX;
use crate::limits::FILE_WAIT_REST_FACTOR;
use crate::limits::UNSAID_FILES_MAX;
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
use crate::runtime::Instant;
use crate::runtime::read_clock;

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
struct FilePart {
    file: *const File,
    start: u64,
    bytes: u64,
}

/// What one core knows of the memory that files are in.
#[derive(Default)]
pub(super) struct Looks {
    /// The part that was found in memory last, in this turn: many want the same file.
    cached: Cell<Option<FilePart>>,
    unsaid: RefCell<Unsaid>,
    /// Until then, the ring reads what is not said.
    rests_until: Cell<Instant>,
    /// How often this thread had waited when such a file was sent first in this turn.
    waits: Cell<Option<i64>>,
}

/// Files whose file systems do not say what is in memory, and whether those are local: the last that were
/// sent. While one is here, no other gets its address.
#[derive(Default)]
struct Unsaid {
    files: Vec<(Weak<File>, bool)>,
    next: usize,
}

impl Looks {
    /// Another turn: what was in memory may be no more.
    pub(super) fn begin_turn(&self) {
        self.cached.set(None);
        self.waits.set(None);
    }

    /// True when a part of a file may be sent between two turns.
    fn is_at_hand(&self, file: &Arc<File>, start: u64, bytes: u64) -> bool {
        let part = FilePart {
            file: Arc::as_ptr(file),
            start,
            bytes,
        };
        if self.cached.get() == Some(part) {
            return true;
        }
        let is_at_hand = match self.unsaid_of(file) {
            Some(is_local) => is_local && self.may_wait(),
            None => sys::is_cached(file, start, bytes)
                .unwrap_or_else(|| self.learn(file) && self.may_wait()),
        };
        if is_at_hand {
            self.cached.set(Some(part));
        }
        is_at_hand
    }

    /// Reads a piece into a buffer that serves again, if it may be read between two turns.
    #[inline]
    fn read(&self, file: &Arc<File>, start: u64, bytes: usize) -> Option<Vec<u8>> {
        let mut buffer = take_buffer();
        buffer.reserve_exact(bytes);
        let read = match self.unsaid_of(file) {
            None => sys::read_now(file, start, &mut buffer, bytes, false),
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        let read = match read {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.read_unsaid(file, start, &mut buffer, bytes)
            }
            read => read,
        };
        if matches!(read, Ok(1..)) {
            return Some(buffer);
        }
        give_buffer(buffer);
        None
    }

    /// The same of a file whose file system says nothing.
    #[cold]
    fn read_unsaid(
        &self,
        file: &Arc<File>,
        start: u64,
        buffer: &mut Vec<u8>,
        bytes: usize,
    ) -> io::Result<usize> {
        let is_local = self.unsaid_of(file).unwrap_or_else(|| self.learn(file));
        match is_local && self.may_wait() {
            true => self.timed(file, || sys::read_now(file, start, buffer, bytes, true)),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether a file is local, for those of which nothing else can be known.
    fn unsaid_of(&self, file: &Arc<File>) -> Option<bool> {
        let unsaid = self.unsaid.borrow();
        let found = unsaid
            .files
            .iter()
            .find(|(known, _)| known.as_ptr() == Arc::as_ptr(file));
        found.map(|(_, is_local)| *is_local)
    }

    /// Remembers a file whose file system has said nothing. True when it is local.
    #[cold]
    fn learn(&self, file: &Arc<File>) -> bool {
        let is_local = sys::is_local(file);
        let learnt = (Arc::downgrade(file), is_local);
        let unsaid = &mut *self.unsaid.borrow_mut();
        if unsaid.files.len() < UNSAID_FILES_MAX {
            unsaid.files.push(learnt);
        } else {
            unsaid.files[unsaid.next] = learnt;
            unsaid.next = (unsaid.next + 1) % UNSAID_FILES_MAX;
        }
        is_local
    }

    fn may_wait(&self) -> bool {
        self.rests_until.get() == Instant::default() || read_clock() >= self.rests_until.get()
    }

    /// Does what may wait for the disk of such a file.
    fn timed<T>(&self, file: &Arc<File>, work: impl FnOnce() -> T) -> T {
        if self.unsaid_of(file).is_none() {
            return work();
        }
        let waits = self.waits.get().unwrap_or_else(sys::waits_of_thread);
        self.waits.set(Some(waits));
        let began = read_clock();
        let done = work();
        let ended = read_clock();
        let took = ended - began;
        // Else it was the processor that others had.
        if took > FILE_WAIT_MAX && sys::waits_of_thread() != waits {
            self.rests_until.set(ended + took * FILE_WAIT_REST_FACTOR);
            self.waits.set(None);
        }
        done
    }
}

/// Looks at the first part of a file behind what is in memory; small ones become pieces in memory.
/// Nothing is being read or sent.
pub(super) fn look_ahead(output: &mut Output, looks: &Looks) -> Ahead {
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
            *is_cold = !sys::may_send_files() || !looks.is_at_hand(file, range.start, now);
            return match is_cold {
                true => Ahead::Cold,
                false => Ahead::Cached,
            };
        }
        let Some(buffer) = looks.read(file, range.start, bytes as usize) else {
            *is_cold = true;
            return Ahead::Cold;
        };
        output.replace_file_part(buffer);
        found = Ahead::Copied;
    }
    found
}

/// sendfile(2) of what the page cache has of the file in front. It waits on sockets that were not told
/// otherwise: one that cannot be told is always full.
pub(super) fn send_file(
    socket: RawFd,
    nonblocking: &mut bool,
    output: &mut Output,
    looks: &Looks,
) -> AtOnce {
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
    let sent = looks.timed(file, || {
        sys::send_file_now(socket, file, range.start, wanted)
    });
    let sent = match sent {
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
pub(super) fn bridge(output: &mut Output, looks: &Looks) -> bool {
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
    let read = looks.read(file, range.start, bytes);
    *is_cold = read.is_none();
    read.map(|buffer| output.replace_file_part(buffer))
        .is_some()
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::runtime::Runtime;
    use crate::runtime::sleep;

    const BYTES: usize = 100_000;

    /// A file of a tmpfs, which does not say what is in memory.
    fn in_memory() -> Arc<File> {
        let mut file = tempfile::tempfile_in("/dev/shm").expect("/dev/shm is a tmpfs");
        file.write_all(&[b'x'; BYTES]).unwrap();
        Arc::new(file)
    }

    /// What is seen of so many bytes of a file, in a turn of its own.
    fn look(file: &Arc<File>, bytes: usize, looks: &Looks) -> Ahead {
        let mut output = Output::new();
        output.append_file(Arc::clone(file), 0..bytes as u64);
        looks.begin_turn();
        let ahead = look_ahead(&mut output, looks);
        let copied = match output.pop() {
            Some(Segment::Memory(piece)) => piece.rest().len(),
            _ => 0,
        };
        assert_eq!(copied == bytes, ahead == Ahead::Copied);
        ahead
    }

    /// As a file in memory, until a disk was waited for; what is made up while it is read, never.
    #[test]
    fn where_nothing_is_said_the_kind_of_file_system_decides() {
        let in_memory = in_memory();
        let made_up = Arc::new(File::open("/proc/self/status").unwrap());
        let looks = Looks::default();
        for _ in 0..2 {
            for (file, rests_until, large, small) in [
                (&in_memory, Instant::default(), Ahead::Cached, Ahead::Copied),
                (&in_memory, Instant::NEVER, Ahead::Cold, Ahead::Cold),
                (&in_memory, read_clock(), Ahead::Cached, Ahead::Copied),
                (&made_up, Instant::default(), Ahead::Cold, Ahead::Cold),
            ] {
                looks.rests_until.set(rests_until);
                assert_eq!(look(file, BYTES, &looks), large, "{rests_until:?}");
                assert_eq!(look(file, 100, &looks), small, "{rests_until:?}");
            }
        }
        assert_eq!(looks.unsaid_of(&in_memory), Some(true));
        assert_eq!(looks.unsaid_of(&made_up), Some(false));
        assert_eq!(looks.unsaid.borrow().files.len(), 2);
    }

    /// Long without a wait is a thread that the processor was taken from.
    #[test]
    fn only_a_long_wait_is_followed_by_a_rest() {
        let (file, looks) = (in_memory(), Looks::default());
        let said = Arc::new(tempfile::tempfile().unwrap());
        let spin = || {
            let began = read_clock();
            while read_clock() - began <= FILE_WAIT_MAX {}
        };
        let wait = || {
            let asleep = Runtime::small().unwrap().block_on(sleep(2 * FILE_WAIT_MAX));
            asleep.unwrap();
        };
        looks.timed(&said, wait);
        assert_eq!(look(&file, BYTES, &looks), Ahead::Cached);
        looks.timed(&file, spin);
        assert_eq!(looks.rests_until.get(), Instant::default());
        looks.timed(&file, wait);
        assert_ne!(looks.rests_until.get(), Instant::default());
    }

    #[test]
    fn no_file_is_taken_for_another_and_only_some_are_remembered() {
        let looks = Looks::default();
        for _ in 0..3 * UNSAID_FILES_MAX {
            let made_up = Arc::new(File::open("/proc/self/status").unwrap());
            assert_eq!(look(&made_up, BYTES, &looks), Ahead::Cold);
            drop(made_up);
            let file = in_memory();
            assert_eq!(looks.unsaid_of(&file), None);
            assert_eq!(look(&file, BYTES, &looks), Ahead::Cached);
        }
        assert_eq!(looks.unsaid.borrow().files.len(), UNSAID_FILES_MAX);
    }
}
