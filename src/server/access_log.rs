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
//! The format is the Common Log Format with the seconds that the request took behind it, and the
//! pattern of the route that answered, `"-"` if none did:
//!
//! ```text
//! 127.0.0.1 - - [22/Nov/2026:21:15:00 +0000] "GET /a/7 HTTP/1.1" 200 13 0.000212 "GET /a/{id}"
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::Duration;

use ::http::Method;
use ::http::StatusCode;
use ::http::Version;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::limits::ACCESS_LOG_FLUSH_TIMEOUT;
use crate::limits::ACCESS_LOG_QUEUE_MAX;
use crate::limits::ACCESS_LOG_TARGET_BYTES_MAX;
use crate::net::output::give_buffer;
use crate::net::output::take_buffer;
use crate::runtime::Instant;
use crate::server::calendar::Moment;

/// The access log of a server. Clones are the same log.
#[derive(Clone)]
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Thread,
}

/// One worker's part of the log.
#[derive(Clone)]
pub struct WorkerLog {
    buffer: Arc<Buffer>,
    shared: Arc<Shared>,
    writer: Thread,
}

struct Shared {
    lines_max: usize,
    /// True from the moment that no further line is taken: the log ends, or its output failed.
    is_closed: AtomicBool,
    /// Lines that were in hand, or waited, when the output failed.
    lost: AtomicU64,
    /// Of all workers; grows only.
    buffers: Mutex<Vec<Arc<Buffer>>>,
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
}

/// The first half of a line: everything that is known when the request arrives.
#[derive(Debug)]
pub struct Line {
    text: Vec<u8>,
    /// Where the pattern of the route begins in the text: behind all that is written before the
    /// response is known.
    pattern_at: usize,
    started: Instant,
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
            buffers: Mutex::default(),
            is_done: Mutex::new(false),
            done: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || own.write_until_closed(writer))
            .map_err(|error| {
                Error::new(
                    ErrorKind::Setup,
                    "cannot start the thread of the access log",
                )
                .in_phase(Phase::Setup)
                .because(error)
            })?;
        let writer = thread.thread().clone();
        Ok(AccessLog { shared, writer })
    }

    /// A part of the log for one more worker.
    pub fn for_worker(&self) -> WorkerLog {
        let buffer = Arc::new(Buffer::default());
        lock(&self.shared.buffers).push(Arc::clone(&buffer));
        WorkerLog {
            buffer,
            shared: Arc::clone(&self.shared),
            writer: self.writer.clone(),
        }
    }

    /// Lines that were dropped, because the writer could not keep up or its output failed.
    pub fn dropped(&self) -> u64 {
        let buffers = lock(&self.shared.buffers);
        let dropped = buffers.iter().map(|b| b.dropped.load(Ordering::Relaxed));
        dropped.sum::<u64>() + self.shared.lost.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written, at most [`ACCESS_LOG_FLUSH_TIMEOUT`]; then ends the
    /// writer.
    pub fn stop(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.writer.unpark();
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
    pub fn write(&self, line: Line, status: StatusCode, body_bytes: u64, now: Instant) {
        let mut text = line.text;
        let pattern_end = text.len();
        text.extend_from_slice(status.as_str().as_bytes());
        text.push(b' ');
        text.extend_from_slice(itoa::Buffer::new().format(body_bytes).as_bytes());
        text.push(b' ');
        append_seconds(&mut text, now.since(line.started));
        text.extend_from_slice(b" \"");
        // The pattern, which was known before, goes behind that.
        let pattern_len = pattern_end - line.pattern_at;
        text[line.pattern_at..].rotate_left(pattern_len);
        if pattern_len == 0 {
            text.push(b'-');
        }
        text.extend_from_slice(b"\"\n");
        self.push(&text);
        give_buffer(text);
    }

    fn push(&self, text: &[u8]) {
        let mut lines = lock(&self.buffer.lines);
        // Looked at under the lock: the writer takes each buffer once more after it was set.
        let is_closed = self.shared.is_closed.load(Ordering::SeqCst);
        if is_closed || lines.count >= self.shared.lines_max {
            drop(lines);
            self.buffer.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.text.extend_from_slice(text);
        lines.count += 1;
        let is_first = lines.count == 1;
        drop(lines);
        if is_first {
            // No lock, and no system call while the writer is busy.
            self.writer.unpark();
        }
    }
}

impl Shared {
    /// What the writer does.
    fn write_until_closed(&self, mut writer: impl Write) {
        let mut ending = Ending {
            shared: self,
            in_hand: 0,
        };
        let mut taken = Lines::default();
        let mut buffers: Vec<Arc<Buffer>> = Vec::new();
        loop {
            let is_closed = self.is_closed.load(Ordering::SeqCst);
            let known = buffers.len();
            buffers.extend(lock(&self.buffers)[known..].iter().cloned());
            let mut has_written = false;
            for buffer in &buffers {
                buffer.take(&mut taken);
                if taken.count == 0 {
                    continue;
                }
                has_written = true;
                ending.in_hand = taken.count;
                if writer.write_all(&taken.text).is_err() {
                    return;
                }
                ending.in_hand = 0;
            }
            if has_written {
                if writer.flush().is_err() {
                    return;
                }
            } else if is_closed {
                return;
            } else {
                // Who fills an empty buffer unparks, even before we park.
                std::thread::park();
            }
        }
    }
}

impl Buffer {
    /// Swaps what waits into `taken`, whose memory serves the next lines.
    fn take(&self, taken: &mut Lines) {
        taken.text.clear();
        taken.count = 0;
        std::mem::swap(&mut *lock(&self.lines), taken);
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

/// What is locked here is plain data: no panic leaves it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Begins the line of a request. Bytes of the target that could confuse a reader of the log are
    /// written as `\xHH`, and a very long target is cut.
    pub fn begin(
        peer: Option<SocketAddr>,
        request: Option<(&Method, &str, Version)>,
        now: Instant,
        wall_seconds: u64,
    ) -> Line {
        let mut text = take_buffer();
        match peer {
            // The formatting machinery allocates nothing here.
            Some(peer) => write!(text, "{}", peer.ip()).expect("memory takes all that is written"),
            None => text.push(b'-'),
        }
        append_moment(&mut text, Moment::from_seconds(wall_seconds));
        match request {
            None => text.push(b'-'),
            Some((method, target, version)) => {
                text.extend_from_slice(method.as_str().as_bytes());
                text.push(b' ');
                append_escaped(&mut text, target);
                text.push(b' ');
                text.extend_from_slice(version_text(version).as_bytes());
            }
        }
        text.extend_from_slice(b"\" ");
        Line {
            pattern_at: text.len(),
            text,
            started: now,
        }
    }

    /// Adds the pattern of the route that answers.
    pub fn set_pattern(&mut self, pattern: &str) {
        self.text.truncate(self.pattern_at);
        let mut words = pattern.split(' ');
        append_escaped(&mut self.text, words.next().unwrap_or_default());
        for word in words {
            self.text.push(b' ');
            append_escaped(&mut self.text, word);
        }
    }
}

fn append_moment(text: &mut Vec<u8>, moment: Moment) {
    text.extend_from_slice(b" - - [");
    append_two(text, moment.day);
    text.push(b'/');
    text.extend_from_slice(moment.month_name().as_bytes());
    text.push(b'/');
    text.extend_from_slice(itoa::Buffer::new().format(moment.year).as_bytes());
    for part in [moment.hour, moment.minute, moment.second] {
        text.push(b':');
        append_two(text, part);
    }
    text.extend_from_slice(b" +0000] \"");
}

fn append_two(text: &mut Vec<u8>, number: u8) {
    text.extend_from_slice(&[b'0' + number / 10 % 10, b'0' + number % 10]);
}

fn append_seconds(text: &mut Vec<u8>, duration: Duration) {
    let microseconds = duration.as_micros();
    let mut digits = itoa::Buffer::new();
    text.extend_from_slice(digits.format(microseconds / 1_000_000).as_bytes());
    text.push(b'.');
    let fraction = digits.format(microseconds % 1_000_000).as_bytes();
    text.extend_from_slice(&b"000000"[fraction.len()..]);
    text.extend_from_slice(fraction);
}

fn append_escaped(text: &mut Vec<u8>, target: &str) {
    let bytes = target.as_bytes();
    let kept = &bytes[..bytes.len().min(ACCESS_LOG_TARGET_BYTES_MAX)];
    for &byte in kept {
        if byte.is_ascii_graphic() && byte != b'"' && byte != b'\\' {
            text.push(byte);
        } else {
            write!(text, "\\x{byte:02x}").expect("memory takes all that is written");
        }
    }
    if kept.len() < bytes.len() {
        text.extend_from_slice(b"...");
    }
}

fn version_text(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::*;

    /// Writes into memory that the test can see; waits for a permit before each write, if any.
    struct Sink {
        written: Arc<Mutex<Vec<u8>>>,
        permits: Option<mpsc::Receiver<()>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(permits) = &self.permits {
                permits
                    .recv()
                    .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(target: &str) -> Line {
        let peer = Some("127.0.0.1:9".parse().unwrap());
        let request = Some((&Method::GET, target, Version::HTTP_11));
        Line::begin(peer, request, Instant::default(), 784_111_777)
    }

    #[test]
    fn a_line_is_in_common_log_format() {
        let written = Arc::default();
        let log = AccessLog::start(Sink {
            written: Arc::clone(&written),
            permits: None,
        })
        .unwrap();
        let later = Instant::default() + Duration::from_micros(1_000_212);
        let worker = log.for_worker();
        let mut routed = line("/a\"b\\c\n");
        routed.set_pattern("GET /{\"");
        routed.set_pattern("GET /{ä}");
        worker.write(routed, StatusCode::OK, 13, later);
        let nobody = Line::begin(None, None, Instant::default(), 0);
        worker.write(nobody, StatusCode::BAD_REQUEST, 0, Instant::default());
        log.stop();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a\\x22b\\x5cc\\x0a HTTP/1.1\" 200 13 1.000212 \
             \"GET /{\\xc3\\xa4}\"\n\
             - - - [01/Jan/1970:00:00:00 +0000] \"-\" 400 0 0.000000 \"-\"\n"
        );
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_long_target_is_cut() {
        let line = line(&"x".repeat(ACCESS_LOG_TARGET_BYTES_MAX + 1));
        let text = String::from_utf8(line.text).unwrap();
        assert!(text.ends_with("xxx... HTTP/1.1\" "), "{text}");
    }

    #[test]
    fn a_stalled_writer_costs_lines_and_no_time() {
        let written = Arc::default();
        let (permit, permits) = mpsc::channel();
        let sink = Sink {
            written: Arc::clone(&written),
            permits: Some(permits),
        };
        let log = AccessLog::with_lines_max(sink, 4).unwrap();
        let worker = log.for_worker();
        for _ in 0..100 {
            worker.write(line("/"), StatusCode::OK, 0, Instant::default());
        }
        // The writer may have taken up to four lines before it stalled, and four wait.
        let dropped = log.dropped();
        assert!((92..=96).contains(&dropped), "{dropped}");
        for _ in 0..100 {
            permit.send(()).unwrap();
        }
        log.stop();
        let lines = written
            .lock()
            .unwrap()
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        assert_eq!(lines as u64 + dropped, 100);
    }

    #[test]
    fn a_broken_writer_is_left_alone() {
        let (_, permits) = mpsc::channel();
        let sink = Sink {
            written: Arc::default(),
            permits: Some(permits),
        };
        let log = AccessLog::start(sink).unwrap();
        let worker = log.for_worker();
        worker.write(line("/"), StatusCode::OK, 0, Instant::default());
        log.stop();
        worker.write(line("/"), StatusCode::OK, 0, Instant::default());
        assert_eq!(log.dropped(), 2);
    }

    #[test]
    fn a_writer_that_panics_is_left_alone() {
        struct Panics;

        impl Write for Panics {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                panic!("an output that fails");
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let log = AccessLog::start(Panics).unwrap();
        let worker = log.for_worker();
        worker.write(line("/"), StatusCode::OK, 0, Instant::default());
        log.stop();
        worker.write(line("/"), StatusCode::OK, 0, Instant::default());
        assert_eq!(log.dropped(), 2);
    }

    #[test]
    fn workers_share_no_bound() {
        let written = Arc::default();
        let (permit, permits) = mpsc::channel();
        let sink = Sink {
            written: Arc::clone(&written),
            permits: Some(permits),
        };
        let log = AccessLog::with_lines_max(sink, 4).unwrap();
        let (busy, quiet) = (log.for_worker(), log.for_worker());
        for _ in 0..100 {
            busy.write(line("/busy"), StatusCode::OK, 0, Instant::default());
        }
        for _ in 0..4 {
            quiet.write(line("/quiet"), StatusCode::OK, 0, Instant::default());
        }
        assert_eq!(quiet.buffer.dropped.load(Ordering::Relaxed), 0);
        assert_eq!(busy.buffer.dropped.load(Ordering::Relaxed), log.dropped());
        for _ in 0..100 {
            permit.send(()).unwrap();
        }
        log.stop();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("/quiet").count(), 4);
        let busy_lines = text.matches("/busy").count() as u64;
        assert_eq!(busy_lines + log.dropped(), 100);
    }

    #[test]
    fn each_worker_keeps_its_order_and_no_line_is_lost() {
        const LINES: usize = 5_000;
        let written = Arc::default();
        let log = AccessLog::start(Sink {
            written: Arc::clone(&written),
            permits: None,
        })
        .unwrap();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let worker = log.for_worker();
                scope.spawn(move || {
                    for number in 0..LINES {
                        let target = format!("/{name}/{number}");
                        worker.write(line(&target), StatusCode::OK, 0, Instant::default());
                    }
                });
            }
        });
        log.stop();
        assert_eq!(log.dropped(), 0);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        for name in ["a", "b", "c"] {
            let mark = format!("/{name}/");
            let numbers = text.lines().filter_map(|line| {
                let rest = line.split_once(&mark)?.1;
                rest.split(' ').next()?.parse::<usize>().ok()
            });
            assert!(numbers.eq(0..LINES), "{name}");
        }
    }
}
