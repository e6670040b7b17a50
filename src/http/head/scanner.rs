//! Finds the end of a head, over any split of its bytes.
//!
//! ```text
//!              ┌────── any byte a line may hold ──────┐
//!              ▼                                      │
//!   start ──► line ── CR ──► after CR ── LF ──► line not empty: next line
//!              │                │                line empty: complete
//!              ▼                ▼
//!        LF, NUL, control    not LF: bare CR                  ──► HeadError
//! ```

use crate::http::head::HeadError;
use crate::http::head::HeadLimits;
use crate::limits::HEADER_COUNT_MAX;
use crate::limits::METHOD_BYTES_MAX;
use ::http::StatusCode;

/// What became of the bytes that were pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// All of them belong to the head, and more must come.
    Partial,
    /// The head is complete.
    Complete {
        /// Bytes of the slice just pushed that belong to the head.
        used: usize,
    },
}

/// Finds the end of one head. Each byte costs the same however they are split, and the first byte
/// that no head may hold is an error at once.
#[derive(Clone, Debug)]
pub struct Scanner {
    limits: HeadLimits,
    section: Section,
    /// Bytes seen so far.
    bytes: usize,
    /// Bytes of the current line seen so far.
    line_bytes: usize,
    /// Complete lines seen so far.
    lines: usize,
    /// True exactly when the last byte seen was the CR of a line end.
    after_cr: bool,
}

/// What is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// A request; one empty line may stand before it (RFC 9112 §2.2).
    Request,
    /// A request behind its one empty line.
    RequestAfterEmptyLine,
    Response,
    /// Fields without a start line.
    Trailers,
}

impl Scanner {
    /// For one request head.
    pub fn request(limits: HeadLimits) -> Scanner {
        Scanner::new(limits, Section::Request)
    }

    /// For one response head.
    pub fn response(limits: HeadLimits) -> Scanner {
        Scanner::new(limits, Section::Response)
    }

    /// For the trailer section behind a chunked body.
    pub fn trailers(limits: HeadLimits) -> Scanner {
        Scanner::new(limits, Section::Trailers)
    }

    fn new(limits: HeadLimits, section: Section) -> Scanner {
        Scanner {
            limits,
            section,
            bytes: 0,
            line_bytes: 0,
            lines: 0,
            after_cr: false,
        }
    }

    /// True before the first byte.
    pub fn is_fresh(&self) -> bool {
        self.bytes == 0
    }

    /// Takes the next bytes of the connection. After `Complete` or an error the scanner is done.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Scan, HeadError> {
        let mut at = 0;
        if self.after_cr
            && let Some(&byte) = bytes.first()
        {
            if byte != b'\n' {
                return Err(BARE_CR);
            }
            self.after_cr = false;
            at = 1;
            if self.end_line(at)? {
                return Ok(Scan::Complete { used: at });
            }
        }
        loop {
            let line_start = at;
            at = self.line_end(bytes, at)?;
            self.line_bytes += at - line_start;
            if at == bytes.len() {
                break;
            }
            at += 1;
            match bytes.get(at) {
                Some(b'\n') => at += 1,
                Some(_) => return Err(BARE_CR),
                None => {
                    self.after_cr = true;
                    break;
                }
            }
            if self.end_line(at)? {
                return Ok(Scan::Complete { used: at });
            }
        }
        self.check_line()?;
        self.bytes += bytes.len();
        self.check_bytes(0)?;
        Ok(Scan::Partial)
    }

    /// Where the CR stands that ends the line, or the end of the bytes.
    fn line_end(&self, bytes: &[u8], mut at: usize) -> Result<usize, HeadError> {
        loop {
            at += control_position(&bytes[at..]);
            match bytes.get(at) {
                None | Some(b'\r') => return Ok(at),
                // The tab is the one control character that is allowed, in field values.
                Some(b'\t') => at += 1,
                Some(b'\n') => return Err(HeadError::bad("a line ends in LF without CR")),
                Some(_) => return Err(HeadError::bad("a control character in the head")),
            }
        }
    }

    /// Counts a line that ended before position `at` of the current slice; true at the last.
    fn end_line(&mut self, at: usize) -> Result<bool, HeadError> {
        self.check_line()?;
        self.check_bytes(at)?;
        if self.line_bytes == 0 {
            return match self.section {
                Section::Trailers => Ok(true),
                _ if self.lines > 0 => Ok(true),
                Section::Request => {
                    self.section = Section::RequestAfterEmptyLine;
                    Ok(false)
                }
                _ => Err(HeadError::bad("an empty line before the head")),
            };
        }
        self.line_bytes = 0;
        self.lines += 1;
        let fields = match self.section {
            Section::Trailers => self.lines,
            _ => self.lines - 1,
        };
        let fields_max = match self.section {
            Section::Response => self.limits.response_fields_max(),
            _ => self.limits.fields.min(HEADER_COUNT_MAX),
        };
        if fields > fields_max {
            return Err(TOO_MANY_FIELDS);
        }
        Ok(false)
    }

    /// A request line that is too long is answered 414, before the rest of it is awaited.
    fn check_line(&self) -> Result<(), HeadError> {
        let is_request = matches!(
            self.section,
            Section::Request | Section::RequestAfterEmptyLine
        );
        const BESIDE_TARGET: usize = METHOD_BYTES_MAX + " HTTP/1.1".len();
        let line_max = self.limits.target_bytes.saturating_add(BESIDE_TARGET);
        if is_request && self.lines == 0 && self.line_bytes > line_max {
            return Err(TARGET_TOO_LONG);
        }
        Ok(())
    }

    fn check_bytes(&self, more: usize) -> Result<(), HeadError> {
        if self.bytes + more > self.limits.bytes_max() {
            return Err(TOO_MANY_BYTES);
        }
        Ok(())
    }
}

const BARE_CR: HeadError = HeadError::bad("a CR without LF");
pub(crate) const TOO_MANY_BYTES: HeadError =
    HeadError::too_large("the head is longer than the limit");
pub(crate) const TOO_MANY_FIELDS: HeadError =
    HeadError::too_large("the head has more fields than the limit");
pub(crate) const TARGET_TOO_LONG: HeadError = HeadError {
    status: StatusCode::URI_TOO_LONG,
    rule: "the request target is longer than the limit",
};

/// Where the first byte below 0x20 stands, or the length. Eight bytes at a time: a byte is below
/// 0x20 exactly when its upper three bits are zero.
fn control_position(bytes: &[u8]) -> usize {
    const HIGH: u64 = 0xe0e0_e0e0_e0e0_e0e0;
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let upper = u64::from_le_bytes(*word) & HIGH;
        // The lowest set bit marks the first zero byte; bits above it may be wrong.
        let zeros = upper.wrapping_sub(ONES) & !upper & TOPS;
        if zeros != 0 {
            return index * 8 + zeros.trailing_zeros() as usize / 8;
        }
    }
    let in_tail = tail.iter().position(|&byte| byte < 0x20);
    bytes.len() - tail.len() + in_tail.unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the pieces until the scanner is done; the bytes that it used.
    fn scan(scanner: &mut Scanner, pieces: &[&[u8]]) -> Result<Option<usize>, HeadError> {
        let mut used = 0;
        for piece in pieces {
            match scanner.push(piece)? {
                Scan::Partial => used += piece.len(),
                Scan::Complete { used: last } => return Ok(Some(used + last)),
            }
        }
        Ok(None)
    }

    /// Whole, byte by byte, and in two at every point: all must agree.
    fn check(new: fn(HeadLimits) -> Scanner, input: &[u8]) -> Result<Option<usize>, HeadError> {
        let scanner = || new(HeadLimits::REQUEST);
        let whole = scan(&mut scanner(), &[input]);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(scan(&mut scanner(), &bytes), whole, "byte by byte");
        for at in 0..=input.len() {
            let (head, tail) = input.split_at(at);
            assert_eq!(scan(&mut scanner(), &[head, tail]), whole, "split at {at}");
        }
        whole
    }

    #[test]
    fn finds_the_end() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: \t y\r\n\r\n";
        assert_eq!(check(Scanner::request, head), Ok(Some(head.len())));
        let with_body = [&head[..], b"body\0\n"].concat();
        assert_eq!(check(Scanner::request, &with_body), Ok(Some(head.len())));
        assert_eq!(check(Scanner::request, &head[..head.len() - 1]), Ok(None));
        assert_eq!(check(Scanner::trailers, b"\r\nx"), Ok(Some(2)));
        assert_eq!(check(Scanner::trailers, b"a: b\r\n\r\n"), Ok(Some(8)));
    }

    #[test]
    fn skips_one_empty_line_before_a_request() {
        assert_eq!(check(Scanner::request, b"\r\nG\r\n\r\n"), Ok(Some(7)));
        assert!(check(Scanner::request, b"\r\n\r\n").is_err());
        assert!(check(Scanner::response, b"\r\n").is_err());
        assert_eq!(check(Scanner::request, b"\r\n"), Ok(None));
    }

    #[test]
    fn rejects_at_the_first_bad_byte() {
        for bad in [
            &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
            b"\n",
            b"GET / HTTP/1.1\r\nHost: a\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\rX",
            b"GET / HTTP/1.1\r\r\n",
            b"GET /\0",
            b"\x16\x03\x01",
            b"GET / HTTP/1.1\r\nX: \x0bchunked",
        ] {
            let error = check(Scanner::request, bad).unwrap_err();
            assert_eq!(error.status, StatusCode::BAD_REQUEST, "{bad:?}");
        }
    }

    #[test]
    fn counts_lines_and_bytes() {
        let limits = HeadLimits {
            bytes: 100,
            fields: 2,
            target_bytes: 10,
        };
        let head = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n");
        let run = |text: &str| scan(&mut Scanner::request(limits), &[text.as_bytes()]);
        assert!(run(&head("a: b\r\nc: d\r\n")).unwrap().is_some());
        let error = run(&head("a: b\r\nc: d\r\ne: f\r\n")).unwrap_err();
        assert_eq!(error, TOO_MANY_FIELDS);
        let error = run(&head(&format!("a: {}\r\n", "x".repeat(100)))).unwrap_err();
        assert_eq!(error, TOO_MANY_BYTES);
        // Without the end of the line in sight.
        let line = format!("GET /{}", "x".repeat(100));
        let error = scan(&mut Scanner::request(limits), &[line.as_bytes()]).unwrap_err();
        assert_eq!(error, TARGET_TOO_LONG);
        assert!(error.is_limit());
    }

    #[test]
    fn limits_may_be_as_large_as_they_can_be() {
        let limits = HeadLimits {
            bytes: usize::MAX,
            fields: usize::MAX,
            target_bytes: usize::MAX,
        };
        let pieces: [&[u8]; 2] = [b"GET / HTTP/1.1\r\nA", b": b\r\n\r\n"];
        assert!(
            scan(&mut Scanner::request(limits), &pieces)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn finds_control_characters_anywhere() {
        for len in 0..40 {
            let mut bytes = vec![0xa0u8; len];
            assert_eq!(control_position(&bytes), len);
            for at in (0..len).rev() {
                bytes[at] = 0x1f;
                assert_eq!(control_position(&bytes), at);
            }
        }
        assert_eq!(control_position(b"        \x7f\xff\x80\x20\r"), 12);
    }
}
