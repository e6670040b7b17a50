//! One line per request, written by a thread of its own.
//!
//! ```text
//!   worker ─ line ─► its buffer ─┐
//!   worker ─ line ─► its buffer ─┼─ swaps, in turn ─► writer thread ─► file, pipe, terminal
//!   worker ─ line ─► its buffer ─┘
//!                    full: counted and dropped
//! ```
//!
//! A worker waits neither for the writer nor for another worker: the lock of its buffer is held only
//! to copy a line or to swap the buffer. Lines of one worker are in order; those of different
//! workers need not be.
//!
//! A write that fails is tried again, after a pause that grows to a second, for as long as the server
//! runs: a reader may come back, a disk may get room. Nothing is left in the middle of a line, and
//! what does not fit into the buffers meanwhile is counted: in the statistics, and where the log
//! goes on, as a line `# 17 lines lost`. Standard error is told once a minute at most.
//!
//! A line is written when its exchange has ended on the wire, and tells what happened there. The format
//! is the Common Log Format with three fields behind it: the seconds from the request's head until our
//! kernel had taken the last byte, or the connection ended; the pattern of the route that answered,
//! `"-"` if none did; and [how it ended](Ended).
//!
//! ```text
//! 127.0.0.1 - - [22/Nov/2026:21:15:00 +0000] "GET /a/7 HTTP/1.1" 200 13 0.000212 "GET /a/{id}" complete
//! ```
//!
//! The bytes are what our kernel took of the response behind its head, with what chunked coding adds,
//! as nginx counts `$body_bytes_sent`. Where there was no answer, the status is nginx's: 499 if the
//! client was gone, else 444. A connection that was upgraded has the line of its request when it
//! ends, with the bytes that were sent on it. Connections over a limit are no requests.

mod line;
mod writer;

use std::io::Write;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread::Thread;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::limits::ACCESS_LOG_FLUSH_TIMEOUT;
use crate::limits::ACCESS_LOG_QUEUE_MAX;
use crate::net::output::give_buffer;
use crate::runtime;
use crate::runtime::Instant;
use crate::server::access_log::writer::Next;
use crate::server::access_log::writer::Writer;

pub use crate::server::access_log::line::Ended;
pub use crate::server::access_log::line::Line;

/// The access log of a server. Clones are the same log.
#[derive(Clone)]
pub struct AccessLog {
    shared: Arc<Shared>,
    driver: Driver,
}

/// One worker's part of the log. With the last one the log ends.
pub struct WorkerLog {
    buffer: Arc<Buffer>,
    shared: Arc<Shared>,
    driver: Driver,
}

/// Who turns the writer.
#[derive(Clone)]
enum Driver {
    /// A thread of its own.
    Thread(Thread),
    /// Whoever has a line, on its own thread: in a simulation, which has no other.
    Simulated(Arc<Mutex<Simulated>>),
}

struct Simulated {
    /// Turns the writer; `None` when it has ended.
    turn: Option<Box<dyn FnMut() -> Next + Send>>,
    /// After a failure it pauses.
    not_before: Instant,
}

struct Shared {
    lines_max: usize,
    /// True from the moment that no further line is taken: the log ends, or its output panicked.
    is_closed: AtomicBool,
    /// Lines that were in hand, or waited, when the writer ended.
    lost: AtomicU64,
    /// Writes that failed, but for those that would have blocked.
    failures: AtomicU64,
    /// Of all workers; grows only.
    buffers: Mutex<Vec<Arc<Buffer>>>,
    /// Workers that may have lines yet.
    workers: AtomicUsize,
    /// True exactly when the writer has ended.
    is_done: Mutex<bool>,
    /// Tells of `is_done`.
    done: Condvar,
}

/// Filled by one worker, swapped by the writer.
#[derive(Default)]
struct Buffer {
    lines: Mutex<Lines>,
    /// Counted by the worker alone.
    dropped: AtomicU64,
}

#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    count: usize,
    /// Lines for which there was no room, behind these.
    lost: u64,
}

impl AccessLog {
    /// Starts the thread that writes to `writer`. Of each worker, lines beyond
    /// [`ACCESS_LOG_QUEUE_MAX`] that it has not taken yet are dropped and counted.
    pub fn start(writer: impl Write + Send + 'static) -> Result<AccessLog> {
        AccessLog::with_lines_max(writer, ACCESS_LOG_QUEUE_MAX)
    }

    fn with_lines_max(writer: impl Write + Send + 'static, lines_max: usize) -> Result<AccessLog> {
        let shared = Arc::new(Shared {
            lines_max,
            is_closed: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            buffers: Mutex::default(),
            workers: AtomicUsize::new(0),
            is_done: Mutex::new(false),
            done: Condvar::new(),
        });
        let mut writer = Writer::new(Arc::clone(&shared), writer);
        let driver = if runtime::is_simulated() {
            Driver::Simulated(Arc::new(Mutex::new(Simulated {
                turn: Some(Box::new(move || writer.turn())),
                not_before: Instant::default(),
            })))
        } else {
            let thread = runtime::start_thread("access-log", move || writer.run());
            let thread = thread.map_err(|error| {
                let text = "cannot start the thread of the access log";
                let error = Error::new(ErrorKind::Setup, text).because(error);
                error.in_phase(Phase::Setup)
            })?;
            Driver::Thread(thread.thread().clone())
        };
        Ok(AccessLog { shared, driver })
    }

    /// A part of the log for one more worker.
    pub fn for_worker(&self) -> WorkerLog {
        let buffer = Arc::new(Buffer::default());
        lock(&self.shared.buffers).push(Arc::clone(&buffer));
        self.shared.workers.fetch_add(1, Ordering::Relaxed);
        WorkerLog {
            buffer,
            shared: Arc::clone(&self.shared),
            driver: self.driver.clone(),
        }
    }

    /// Lines that were dropped, because the output took them too slowly or not at all.
    pub fn dropped(&self) -> u64 {
        let buffers = lock(&self.shared.buffers);
        let dropped = buffers.iter().map(|b| b.dropped.load(Ordering::Relaxed));
        dropped.sum::<u64>() + self.shared.lost.load(Ordering::Relaxed)
    }

    /// Writes that failed; each is tried again.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written, at most [`ACCESS_LOG_FLUSH_TIMEOUT`]; then ends the
    /// writer.
    pub fn stop(&self) {
        self.driver.end(&self.shared);
        let is_done = lock(&self.shared.is_done);
        // A reader that stalls must not keep the server from ending.
        let waited =
            self.shared
                .done
                .wait_timeout_while(is_done, ACCESS_LOG_FLUSH_TIMEOUT, |is_done| !*is_done);
        drop(waited);
    }
}

impl WorkerLog {
    /// Ends a line and queues it. Never blocks on the writer.
    pub fn write(&self, line: Line, status: u16, body_bytes: u64, now: Instant, ended: Ended) {
        let text = line.end(status, body_bytes, now, ended);
        self.push(&text);
        give_buffer(text);
    }

    fn push(&self, text: &[u8]) {
        let mut lines = lock(&self.buffer.lines);
        // Looked at under the lock: the writer takes each buffer once more after it was set.
        let is_closed = self.shared.is_closed.load(Ordering::SeqCst);
        if is_closed || lines.count >= self.shared.lines_max {
            lines.lost += 1;
            drop(lines);
            self.buffer.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.text.extend_from_slice(text);
        lines.count += 1;
        let is_first = lines.count == 1;
        drop(lines);
        self.driver.tell(is_first);
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        if self.shared.workers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.driver.end(&self.shared);
        }
    }
}

impl Driver {
    /// There is a line; `is_first` says that there was none in its buffer.
    fn tell(&self, is_first: bool) {
        match self {
            // No lock, and no system call while the writer is busy.
            Driver::Thread(thread) if is_first => thread.unpark(),
            Driver::Thread(_) => {}
            Driver::Simulated(simulated) => {
                let mut simulated = lock(simulated);
                if runtime::read_clock() >= simulated.not_before {
                    simulated.turn();
                }
            }
        }
    }

    /// The log takes no further lines.
    fn end(&self, shared: &Shared) {
        shared.is_closed.store(true, Ordering::SeqCst);
        match self {
            Driver::Thread(thread) => thread.unpark(),
            // Pauses take no time here: nobody waits for them.
            Driver::Simulated(simulated) => while lock(simulated).turn() {},
        }
    }
}

impl Simulated {
    /// False when the writer has ended.
    fn turn(&mut self) -> bool {
        match self.turn.as_mut().map(|turn| turn()) {
            Some(Next::Wait) => {}
            Some(Next::Pause(pause)) => self.not_before = runtime::read_clock() + pause,
            Some(Next::End) | None => self.turn = None,
        }
        self.turn.is_some()
    }
}

impl Buffer {
    /// Swaps what waits into `taken`, whose memory serves the next lines.
    fn take(&self, taken: &mut Lines) {
        taken.text.clear();
        taken.count = 0;
        taken.lost = 0;
        std::mem::swap(&mut *lock(&self.lines), taken);
    }
}

/// What is locked here is plain data: no panic leaves it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
