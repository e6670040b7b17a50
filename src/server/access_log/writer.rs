//! Writing the access log, step by step: on a thread, or wherever [`Writer::turn`] is called.
//!
//! ```text
//!   turn ─► take a buffer ─► write ─┬─ all of it ─► next buffer … flush ─► Wait
//!                                   └─ error ─► Pause, then the rest of it; End when the log has ended
//! ```

use std::fmt;
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::limits::ACCESS_LOG_FLUSH_TIMEOUT;
use crate::limits::ACCESS_LOG_PAUSE_MAX;
use crate::limits::ACCESS_LOG_PAUSE_MIN;
use crate::limits::ACCESS_LOG_TELL_INTERVAL;
use crate::runtime;
use crate::runtime::Instant;
use crate::server::access_log::Buffer;
use crate::server::access_log::Lines;
use crate::server::access_log::Shared;
use crate::server::access_log::lock;

/// When a writer is to be called again.
pub(super) enum Next {
    /// When there are lines again, or the log has ended.
    Wait,
    /// After this time: the output has failed.
    Pause(Duration),
    /// Never: all is written, or its end is not waited for any more.
    End,
}

/// Dropped, also by a panic of its output, it takes no further lines: what waits still is lost.
pub(super) struct Writer<W> {
    shared: Arc<Shared>,
    output: W,
    /// All that are known.
    buffers: Vec<Arc<Buffer>>,
    /// The next of them, while all are swept.
    sweep: Option<usize>,
    /// True exactly when the log had ended before this sweep began.
    is_last: bool,
    /// What is being written, and how many bytes of it were.
    lines: Lines,
    written: usize,
    /// True exactly when something was written since the last flush.
    is_unflushed: bool,
    /// Before the next attempt, after a failure.
    pause: Duration,
    /// How long failures are still waited for, once the log has ended.
    left_at_end: Duration,
    /// When standard error was told last.
    told_at: Option<Instant>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(shared: Arc<Shared>, output: W) -> Writer<W> {
        Writer {
            shared,
            output,
            buffers: Vec::new(),
            sweep: None,
            is_last: false,
            lines: Lines::default(),
            written: 0,
            is_unflushed: false,
            pause: ACCESS_LOG_PAUSE_MIN,
            left_at_end: ACCESS_LOG_FLUSH_TIMEOUT / 2,
            told_at: None,
        }
    }

    /// Turns until the end, on a thread of its own. Who fills an empty buffer unparks it, even before
    /// it parks.
    pub(super) fn run(mut self) {
        loop {
            match self.turn() {
                Next::Wait => std::thread::park(),
                Next::Pause(pause) => std::thread::park_timeout(pause),
                Next::End => return,
            }
        }
    }

    /// Writes all there is, as far as the output takes it.
    pub(super) fn turn(&mut self) -> Next {
        loop {
            match self.write() {
                Ok(next) => return next,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn write(&mut self) -> io::Result<Next> {
        loop {
            self.write_lines()?;
            match self.sweep {
                None => self.begin_sweep(),
                Some(index) if index < self.buffers.len() => self.take(index),
                Some(_) if self.is_unflushed => {
                    self.output.flush()?;
                    self.is_unflushed = false;
                    self.sweep = None;
                }
                Some(_) => {
                    self.sweep = None;
                    return Ok(if self.is_last { Next::End } else { Next::Wait });
                }
            }
        }
    }

    fn begin_sweep(&mut self) {
        self.is_last = self.shared.is_closed.load(Ordering::SeqCst);
        let known = self.buffers.len();
        let new = lock(&self.shared.buffers)[known..].to_vec();
        self.buffers.extend(new);
        self.sweep = Some(0);
    }

    fn take(&mut self, index: usize) {
        self.sweep = Some(index + 1);
        self.buffers[index].take(&mut self.lines);
        self.written = 0;
        let lost = self.lines.lost;
        if lost > 0 {
            writeln!(self.lines.text, "# {lost} lines lost").expect("memory takes all");
            self.tell(format_args!("{lost} lines of the access log were lost"));
        }
    }

    fn write_lines(&mut self) -> io::Result<()> {
        while self.written < self.lines.text.len() {
            match self.output.write(&self.lines.text[self.written..])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
            self.is_unflushed = true;
            self.pause = ACCESS_LOG_PAUSE_MIN;
        }
        Ok(())
    }

    fn failed(&mut self, error: &io::Error) -> Next {
        // A pipe that does not block, and is full, has not failed.
        if error.kind() != io::ErrorKind::WouldBlock {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            self.tell(format_args!(
                "cannot write the access log, and will try again: {error}"
            ));
        }
        let mut pause = self.pause;
        if self.shared.is_closed.load(Ordering::SeqCst) {
            if self.left_at_end.is_zero() {
                return Next::End;
            }
            pause = pause.min(self.left_at_end);
            self.left_at_end -= pause;
        }
        self.pause = (2 * self.pause).min(ACCESS_LOG_PAUSE_MAX);
        Next::Pause(pause)
    }

    fn tell(&mut self, text: fmt::Arguments<'_>) {
        let now = runtime::read_clock();
        let is_due = |told: Instant| now.since(told) >= ACCESS_LOG_TELL_INTERVAL;
        if self.told_at.is_none_or(is_due) && !runtime::is_simulated() {
            self.told_at = Some(now);
            // Where that fails too, there is nobody to tell.
            let _ = writeln!(io::stderr(), "roundtrip: {text}");
        }
    }
}

impl<W> Drop for Writer<W> {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.is_closed.store(true, Ordering::SeqCst);
        let rest = &self.lines.text[self.written..];
        let ended = rest.iter().filter(|&&byte| byte == b'\n').count();
        // Where lines are lost the last one says so, and is none.
        let mut lost = ended - usize::from(ended > 0 && self.lines.lost > 0);
        let mut waiting = Lines::default();
        for buffer in &*lock(&shared.buffers) {
            buffer.take(&mut waiting);
            lost += waiting.count;
        }
        shared.lost.fetch_add(lost as u64, Ordering::Relaxed);
        *lock(&shared.is_done) = true;
        shared.done.notify_all();
    }
}
