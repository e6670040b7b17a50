//! One line of the access log, as it grows with its request.
//!
//! ```text
//!   head ─► begin: who, when, what ─► set_pattern ─► end: status, bytes, seconds ─► text
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use ::http::Method;
use ::http::Version;

use crate::limits::ACCESS_LOG_TARGET_BYTES_MAX;
use crate::net::output::take_buffer;
use crate::runtime::Instant;
use crate::server::calendar::Moment;

/// The first half of a line: everything that is known when the request arrives.
#[derive(Debug)]
pub struct Line {
    pub(super) text: Vec<u8>,
    /// Where the pattern of the route begins in the text: behind all that is written before the
    /// response is known.
    pattern_at: usize,
    started: Instant,
}

/// How an exchange ended: the last word of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// Our kernel took the whole response, or the tunnel ended in good order.
    Complete,
    /// The peer closed or reset the connection, or is out of reach.
    PeerGone,
    /// The peer read too slowly.
    TimedOut,
    /// The time of a shutdown was over.
    ShutDown,
    /// The handler, or the body that it streamed, panicked: before the response it is a 500.
    Panicked,
    /// The body of the response failed, took too long, or was not as long as it said.
    Cut,
    /// The handler wanted no answer ([`Response::abort`](crate::http::response::Response::abort)).
    Aborted,
}

impl Ended {
    /// As it stands in the line.
    pub fn word(self) -> &'static str {
        match self {
            Ended::Complete => "complete",
            Ended::PeerGone => "peer-gone",
            Ended::TimedOut => "timed-out",
            Ended::ShutDown => "shut-down",
            Ended::Panicked => "panicked",
            Ended::Cut => "cut",
            Ended::Aborted => "aborted",
        }
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

    /// The whole line, its end included.
    pub(super) fn end(self, status: u16, body_bytes: u64, now: Instant, ended: Ended) -> Vec<u8> {
        let mut text = self.text;
        let pattern_end = text.len();
        text.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        text.push(b' ');
        text.extend_from_slice(itoa::Buffer::new().format(body_bytes).as_bytes());
        text.push(b' ');
        append_seconds(&mut text, now.since(self.started));
        text.extend_from_slice(b" \"");
        // The pattern, which was known before, goes behind that.
        let pattern_len = pattern_end - self.pattern_at;
        text[self.pattern_at..].rotate_left(pattern_len);
        if pattern_len == 0 {
            text.push(b'-');
        }
        text.extend_from_slice(b"\" ");
        text.extend_from_slice(ended.word().as_bytes());
        text.push(b'\n');
        text
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
