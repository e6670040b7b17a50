//! Lines of the access log that wait until our kernel has taken their responses.
//!
//! ```text
//!   exchange ends ─► push ─ taken by our kernel ─► line
//!                      └─── the connection ends ──► line
//! ```

use std::collections::VecDeque;
use std::io;

use crate::http::recycle::FreeList;
use crate::limits::FREE_REQUESTS_MAX;
use crate::net;
use crate::net::Io;
use crate::server::access_log::Ended;
use crate::server::exchange::log_entry::LogEntry;
use crate::server::worker::Worker;

/// Memory for more lines than these is given back.
const RECYCLED_COUNT_MAX: usize = 16;

/// The lines of one connection, in the order of its output. Memory is there while some wait.
#[derive(Default)]
pub struct LogLines {
    waiting: Option<Box<Waiting>>,
}

/// Behind a pointer: few connections have a line that waits.
#[derive(Default)]
struct Waiting {
    lines: VecDeque<Box<LogEntry>>,
}

thread_local! {
    static FREE: FreeList<Box<Waiting>> = const { FreeList::new(FREE_REQUESTS_MAX) };
}

impl LogLines {
    /// A response was written to its end: its line waits for our kernel.
    #[inline(never)]
    pub fn push(&mut self, io: &mut Io, entry: Box<LogEntry>) {
        io.notify_when_taken(entry.end_at());
        let waiting = self.waiting.get_or_insert_with(|| {
            let recycled = FREE.try_with(FreeList::take).ok().flatten();
            recycled.unwrap_or_default()
        });
        waiting.lines.push_back(entry);
    }

    /// Our kernel took output: writes the lines of what it has taken.
    #[inline]
    pub fn write_taken(&mut self, core: &Worker, io: &mut Io) {
        if self.waiting.is_some() {
            self.write_front(core, io);
        }
    }

    fn write_front(&mut self, core: &Worker, io: &mut Io) {
        let (Some(waiting), Some(log)) = (&mut self.waiting, &core.access_log) else {
            return;
        };
        let taken_bytes = io.taken_bytes();
        while let Some(entry) = waiting.lines.front() {
            if entry.end_at() > taken_bytes {
                return io.notify_when_taken(entry.end_at());
            }
            let entry = waiting.lines.pop_front().expect("it was looked at");
            entry.write(log, taken_bytes, Ended::Complete);
        }
        self.recycle();
    }

    /// The connection has ended: writes the lines that are left, and those of `running` exchanges.
    /// `ended` is how, for responses that our kernel has not taken to their end.
    pub fn write_all(
        &mut self,
        core: &Worker,
        io: &Io,
        running: impl IntoIterator<Item = Box<LogEntry>>,
        ended: Ended,
    ) {
        let Some(log) = &core.access_log else {
            return;
        };
        let taken_bytes = io.taken_bytes();
        let waiting = self.waiting.iter_mut().flat_map(|it| it.lines.drain(..));
        for entry in waiting.chain(running) {
            let is_taken = entry.end_at() <= taken_bytes;
            let ended = if is_taken { Ended::Complete } else { ended };
            entry.write(log, taken_bytes, ended);
        }
        self.recycle();
    }

    /// Keeps the memory for the next connection of this core that needs it.
    fn recycle(&mut self) {
        if let Some(mut waiting) = self.waiting.take() {
            waiting.lines.shrink_to(RECYCLED_COUNT_MAX);
            // At the end of a thread the list may be gone already.
            let _ = FREE.try_with(|free| free.give(waiting));
        }
    }
}

/// How a connection ended that had not sent all. `is_cut` says that we have cut it.
pub fn how_it_ended(io: &Io, cause: Option<&io::Error>, is_cut: bool) -> Ended {
    match cause {
        Some(cause) if net::is_own_end(cause) && is_cut => Ended::Cut,
        Some(cause) if net::is_own_end(cause) => Ended::ShutDown,
        Some(cause) if is_write_late(io, cause) => Ended::TimedOut,
        Some(cause) if net::is_file_fault(cause) => Ended::Cut,
        _ => Ended::PeerGone,
    }
}

/// True when the connection ended since its peer took nothing for the write time-out. The kernel has
/// time-outs too: a peer that is gone without a word.
pub fn is_write_late(io: &Io, cause: &io::Error) -> bool {
    io.is_write_late() && cause.kind() == io::ErrorKind::TimedOut
}
