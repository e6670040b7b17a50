//! One line per request, written by a thread of its own.
//!
//! ```text
//!   worker ─ line ─┐                        ┌─ swap ─► writer thread ─► file, pipe, terminal
//!   worker ─ line ─┼─► bounded buffer ──────┘
//!   worker ─ line ─┘    full: counted and dropped
//! ```
//!
//! A worker never waits for the writer: the lock is held only to copy a line or to swap the buffer.
//! The format is the Common Log Format with the seconds that the request took behind it:
//!
//! ```text
//! 127.0.0.1 - - [22/Nov/2026:21:15:00 +0000] "GET /a HTTP/1.1" 200 13 0.000212
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
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

/// The access log of a server. Clones write to the same queue.
#[derive(Clone)]
pub struct AccessLog {
    queue: Arc<Queue>,
}

struct Queue {
    lines_max: usize,
    dropped: AtomicU64,
    state: Mutex<State>,
    /// Tells the writer of lines or the end, and a flush of a written buffer.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    filling: Vec<u8>,
    lines: usize,
    /// True exactly while the writer is outside the lock with lines in hand.
    is_writing: bool,
    /// True exactly when no further line will come.
    is_stopped: bool,
    /// True exactly when the writer gave up: its output failed.
    is_broken: bool,
}

/// The first half of a line: everything that is known when the request arrives.
#[derive(Debug)]
pub struct Line {
    text: Vec<u8>,
    started: Instant,
}

impl AccessLog {
    /// Starts the thread that writes to `writer`. Lines beyond [`ACCESS_LOG_QUEUE_MAX`] that it has
    /// not taken yet are dropped and counted.
    pub fn start(writer: impl Write + Send + 'static) -> Result<AccessLog> {
        AccessLog::with_lines_max(writer, ACCESS_LOG_QUEUE_MAX)
    }

    fn with_lines_max(writer: impl Write + Send + 'static, lines_max: usize) -> Result<AccessLog> {
        let queue = Arc::new(Queue {
            lines_max,
            dropped: AtomicU64::new(0),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || own.write_until_stopped(writer))
            .map_err(|error| {
                Error::new(
                    ErrorKind::Setup,
                    "cannot start the thread of the access log",
                )
                .in_phase(Phase::Setup)
                .because(error)
            })?;
        Ok(AccessLog { queue })
    }

    /// Ends a line and queues it. Never blocks on the writer.
    pub fn write(&self, line: Line, status: StatusCode, body_bytes: u64, now: Instant) {
        let mut text = line.text;
        text.extend_from_slice(status.as_str().as_bytes());
        text.push(b' ');
        text.extend_from_slice(itoa::Buffer::new().format(body_bytes).as_bytes());
        text.push(b' ');
        append_seconds(&mut text, now.since(line.started));
        text.push(b'\n');
        self.queue.push(&text);
        give_buffer(text);
    }

    /// Lines that were dropped, because the writer could not keep up or its output failed.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written, at most [`ACCESS_LOG_FLUSH_TIMEOUT`]; then ends the
    /// writer.
    pub fn stop(&self) {
        let mut state = self.queue.lock();
        state.is_stopped = true;
        self.queue.changed.notify_all();
        let busy =
            |state: &mut State| !state.is_broken && (state.is_writing || !state.filling.is_empty());
        // A reader that stalls must not keep the server from ending.
        let waited = self
            .queue
            .changed
            .wait_timeout_while(state, ACCESS_LOG_FLUSH_TIMEOUT, busy);
        drop(waited);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is plain data: no panic leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, text: &[u8]) {
        let mut state = self.lock();
        if state.is_broken || state.is_stopped || state.lines >= self.lines_max {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.filling.extend_from_slice(text);
        state.lines += 1;
        let wake = state.lines == 1 && !state.is_writing;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    fn write_until_stopped(&self, mut writer: impl Write) {
        let mut taken = Vec::new();
        while self.take(&mut taken) {
            if writer
                .write_all(&taken)
                .and_then(|()| writer.flush())
                .is_err()
            {
                let mut state = self.lock();
                state.is_broken = true;
                state.is_writing = false;
                self.changed.notify_all();
                return;
            }
        }
    }

    /// Waits for lines and swaps them into `taken`; false at the end.
    fn take(&self, taken: &mut Vec<u8>) -> bool {
        taken.clear();
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        while state.filling.is_empty() {
            if state.is_stopped {
                return false;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.filling, taken);
        state.lines = 0;
        state.is_writing = true;
        true
    }
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
        Line { text, started: now }
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
        log.write(line("/a\"b\\c\n"), StatusCode::OK, 13, later);
        let nobody = Line::begin(None, None, Instant::default(), 0);
        log.write(nobody, StatusCode::BAD_REQUEST, 0, Instant::default());
        log.stop();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a\\x22b\\x5cc\\x0a HTTP/1.1\" 200 13 1.000212\n\
             - - - [01/Jan/1970:00:00:00 +0000] \"-\" 400 0 0.000000\n"
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
        for _ in 0..100 {
            log.write(line("/"), StatusCode::OK, 0, Instant::default());
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
        log.write(line("/"), StatusCode::OK, 0, Instant::default());
        log.stop();
        log.write(line("/"), StatusCode::OK, 0, Instant::default());
        assert_eq!(log.dropped(), 1);
    }
}
