//! The thread that writes the access log.
//!
//! ```text
//!   take a buffer ─► write ─┬─ all of it ─► next buffer … flush ─► park
//!                           └─ error ─► pause, then the rest of it; given up when the log has ended
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

/// Writes until the log is closed and all is written, or the end is not waited for any more.
pub(super) fn run(shared: &Shared, output: impl Write) {
    let mut writer = Writer {
        ending: Ending { shared, in_hand: 0 },
        output,
        pause: ACCESS_LOG_PAUSE_MIN,
        left_at_end: ACCESS_LOG_FLUSH_TIMEOUT / 2,
        told_at: None,
    };
    // What is given up is counted when the writer is dropped.
    let _ = writer.write_until_closed();
}

/// The log has ended, and its output takes nothing.
struct GivenUp;

struct Writer<'a, W> {
    ending: Ending<'a>,
    output: W,
    /// Before the next attempt, after a failure.
    pause: Duration,
    /// How long failures are still waited for, once the log has ended.
    left_at_end: Duration,
    /// When standard error was told last.
    told_at: Option<Instant>,
}

impl<W: Write> Writer<'_, W> {
    fn write_until_closed(&mut self) -> Result<(), GivenUp> {
        let shared = self.ending.shared;
        let mut taken = Lines::default();
        let mut buffers: Vec<Arc<Buffer>> = Vec::new();
        loop {
            let is_closed = shared.is_closed.load(Ordering::SeqCst);
            let known = buffers.len();
            buffers.extend(lock(&shared.buffers)[known..].iter().cloned());
            let mut has_written = false;
            for buffer in &buffers {
                buffer.take(&mut taken);
                if taken.count > 0 {
                    has_written = true;
                    self.write_lines(&mut taken)?;
                }
            }
            if has_written {
                self.attempt(|output| output.flush())?;
            } else if is_closed {
                return Ok(());
            } else {
                // Who fills an empty buffer unparks, even before we park.
                std::thread::park();
            }
        }
    }

    fn write_lines(&mut self, lines: &mut Lines) -> Result<(), GivenUp> {
        self.ending.in_hand = lines.count;
        if lines.lost > 0 {
            writeln!(lines.text, "# {} lines lost", lines.lost).expect("memory takes all");
        }
        let mut rest = &lines.text[..];
        while !rest.is_empty() {
            let written = self.attempt(|output| match output.write(rest) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            })?;
            rest = &rest[written..];
            let ended = rest.iter().filter(|&&byte| byte == b'\n').count();
            self.ending.in_hand = lines.count.min(ended);
        }
        if lines.lost > 0 {
            self.tell(format_args!(
                "{} lines of the access log were lost",
                lines.lost
            ));
        }
        Ok(())
    }

    /// Tries until it succeeds.
    fn attempt<T>(&mut self, mut call: impl FnMut(&mut W) -> io::Result<T>) -> Result<T, GivenUp> {
        loop {
            let error = match call(&mut self.output) {
                Ok(value) => {
                    self.pause = ACCESS_LOG_PAUSE_MIN;
                    return Ok(value);
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => continue,
                // It takes no more for now, like a pipe that blocks.
                io::ErrorKind::WouldBlock => {}
                _ => {
                    self.ending.shared.failures.fetch_add(1, Ordering::Relaxed);
                    self.tell(format_args!(
                        "cannot write the access log, and will try again: {error}"
                    ));
                }
            }
            self.wait()?;
        }
    }

    fn wait(&mut self) -> Result<(), GivenUp> {
        let mut pause = self.pause;
        if self.ending.shared.is_closed.load(Ordering::SeqCst) {
            if self.left_at_end.is_zero() {
                return Err(GivenUp);
            }
            pause = pause.min(self.left_at_end);
            self.left_at_end -= pause;
        }
        self.pause = (2 * self.pause).min(ACCESS_LOG_PAUSE_MAX);
        std::thread::park_timeout(pause);
        Ok(())
    }

    fn tell(&mut self, text: fmt::Arguments<'_>) {
        let now = runtime::read_clock();
        let is_due = |told: Instant| now.since(told) >= ACCESS_LOG_TELL_INTERVAL;
        if self.told_at.is_none_or(is_due) {
            self.told_at = Some(now);
            // Where that fails too, there is nobody to tell.
            let _ = writeln!(io::stderr(), "roundtrip: {text}");
        }
    }
}

/// Tells that the writer has ended, also by a panic of its output.
struct Ending<'a> {
    shared: &'a Shared,
    /// Lines that are being written.
    in_hand: usize,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let shared = self.shared;
        shared.is_closed.store(true, Ordering::SeqCst);
        // After a failure of the output, what still waits is lost too.
        let mut waiting = Lines::default();
        for buffer in &*lock(&shared.buffers) {
            buffer.take(&mut waiting);
            self.in_hand += waiting.count;
        }
        let lost = self.in_hand as u64;
        shared.lost.fetch_add(lost, Ordering::Relaxed);
        *lock(&shared.is_done) = true;
        shared.done.notify_all();
    }
}
