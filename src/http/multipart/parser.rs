//! The parser of `multipart/form-data`: bytes in, parts and their pieces out.
//!
//! ```text
//!            [CRLF] --b                    CRLF
//!   begin ──────────────► delimiter ──────────────► head ── empty line ──► data ─┐
//!                          │     ▲                                              │
//!                       -- │     └──────────────── CRLF --b ────────────────────┘
//!                          ▼
//!                         end: blanks and line ends alone
//! ```
//!
//! Stricter than RFC 2046 §5.1.1 where two readers could read differently: nothing stands before
//! the first delimiter or behind the last, and no line begins with the boundary and goes on
//! otherwise. Data is handed out as it came, without a copy; what is kept between two calls is a
//! number, or a part's head.

use std::fmt;

use ::http::StatusCode;
use bytes::Buf;
use bytes::Bytes;
use memchr::memmem::Finder;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::http::field::Parameterized;
use crate::http::head::HeadError;
use crate::http::head::HeadLimits;
use crate::http::head::Scan;
use crate::http::head::Scanner;
use crate::http::head::parse_fields;
use crate::http::headers::Headers;
use crate::limits::HEADER_COUNT_MAX;
use crate::limits::MULTIPART_BOUNDARY_BYTES_MAX;
use crate::limits::MULTIPART_HEAD_BYTES_MAX;
use crate::limits::MULTIPART_HEADERS_MAX;
use crate::limits::MULTIPART_PADDING_BYTES_MAX;
use crate::limits::MULTIPART_PARTS_MAX;

/// What a form may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultipartLimits {
    /// Parts.
    pub parts_max: usize,
    /// Header fields of all parts together; of one part 128 ([`HEADER_COUNT_MAX`]).
    pub headers_max: usize,
    /// Bytes of the head of one part.
    pub head_bytes_max: usize,
    /// Bytes of everything; `None` leaves it to the server's limit for bodies.
    pub bytes_max: Option<u64>,
}

impl Default for MultipartLimits {
    /// 1,000 parts, 10,000 fields, 8 KiB for a head, any number of bytes.
    fn default() -> MultipartLimits {
        MultipartLimits {
            parts_max: MULTIPART_PARTS_MAX,
            headers_max: MULTIPART_HEADERS_MAX,
            head_bytes_max: MULTIPART_HEAD_BYTES_MAX,
            bytes_max: None,
        }
    }
}

/// What was found next.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A part begins.
    Part(PartHead),
    /// A piece of it, never empty.
    Data(Bytes),
    /// It ends.
    PartEnd,
    /// The last part has ended.
    End,
}

/// What the head of a part says (RFC 7578 §4).
#[derive(Debug, PartialEq)]
pub struct PartHead {
    /// All of its fields.
    pub headers: Headers,
    /// The name of the form's control.
    pub name: String,
    /// The file's name as it came, for a file; U+FFFD stands for what is not UTF-8.
    pub file_name: Option<String>,
    /// The same in bytes.
    pub file_name_bytes: Option<Vec<u8>>,
}

impl PartHead {
    /// The file's name without directories, for a file; see [`Part::file_name`].
    ///
    /// [`Part::file_name`]: crate::http::multipart::Part::file_name
    pub fn safe_file_name(&self) -> Option<&str> {
        let name = self.file_name.as_deref()?;
        let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
        Some(if matches!(last, "." | "..") { "" } else { last })
    }

    /// As [`PartHead::safe_file_name`], in bytes.
    pub fn safe_file_name_bytes(&self) -> Option<&[u8]> {
        let name = self.file_name_bytes.as_deref()?;
        let last = name.rsplit(|byte| matches!(byte, b'/' | b'\\')).next();
        Some(match last.unwrap_or_default() {
            b"." | b".." => b"",
            last => last,
        })
    }
}

/// The rule or limit that a form broke. Nothing of the peer's bytes is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidMultipart {
    /// The boundary has 1 to 70 characters of a small set, and no blank at its end.
    Boundary,
    /// Something stands before the first delimiter.
    Preamble,
    /// A line begins with the boundary and goes on with something else.
    Delimiter,
    /// Something stands behind the last delimiter.
    Epilogue,
    /// The end came before the last delimiter.
    Incomplete,
    /// A part's head is malformed or too large.
    Head(HeadError),
    /// A part has no `Content-Disposition: form-data` with a name, or it is malformed.
    Disposition,
    /// A part has a `Content-Transfer-Encoding` that changes its bytes (RFC 7578 §4.7).
    TransferEncoding,
    /// There are more parts than this.
    TooManyParts(usize),
    /// All parts together have more header fields than this.
    TooManyHeaders(usize),
    /// There are more bytes than this.
    TooManyBytes(u64),
}

/// Finds the parts of a form, over any split of its bytes.
#[derive(Debug)]
pub struct Parser {
    limits: MultipartLimits,
    /// CRLF, two dashes, the boundary. No byte but the first is CR, so that a part of it that
    /// turns out to be data holds no beginning of another one.
    delimiter: Bytes,
    finder: Finder<'static>,
    state: State,
    parts: usize,
    headers: usize,
    bytes: u64,
}

/// The first `matched` bytes of a delimiter were seen, the first `implied` of them behind the head.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    matched: usize,
    implied: usize,
}

#[derive(Debug)]
enum State {
    /// Before the first byte. A line end is implied before it, and may stand there.
    Start,
    /// In the first delimiter, behind so many bytes of it.
    Begin(usize),
    /// Behind a delimiter.
    Delimiter,
    /// In so many blanks behind a delimiter.
    Padding(usize),
    /// Behind the CR that ends the line of a delimiter.
    DelimiterCr,
    /// In the head of a part; what came of it so far.
    Head(Scanner, Vec<u8>),
    /// In the data of a part, whose last bytes may be the beginning of a delimiter.
    Data(Held),
    /// Behind the first dash of the end.
    Dash,
    /// Behind the end, and so many bytes.
    End(usize),
    Failed(InvalidMultipart),
}

impl Parser {
    /// For the parts between delimiters of this boundary (RFC 2046 §5.1.1).
    pub fn new(boundary: &str, limits: MultipartLimits) -> Result<Parser, InvalidMultipart> {
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let is_long = boundary.len() > MULTIPART_BOUNDARY_BYTES_MAX;
        let is_valid = !boundary.is_empty() && boundary.bytes().all(is_allowed);
        if is_long || !is_valid || boundary.ends_with(' ') {
            return Err(InvalidMultipart::Boundary);
        }
        let delimiter = Bytes::from(format!("\r\n--{boundary}"));
        Ok(Parser {
            limits,
            finder: Finder::new(&delimiter).into_owned(),
            delimiter,
            state: State::Start,
            parts: 0,
            headers: 0,
            bytes: 0,
        })
    }

    /// Takes bytes from the front of `input`, up to the next event; `None` when all are taken and
    /// more must come. After an error there is nothing but that error.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Event>, InvalidMultipart> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        let before = input.len();
        let mut result = self.read(input);
        self.bytes += (before - input.len()) as u64;
        if let Some(max) = self.limits.bytes_max
            && self.bytes > max
        {
            result = Err(InvalidMultipart::TooManyBytes(max));
        }
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// Says that no more bytes will come.
    pub fn finish(&self) -> Result<(), InvalidMultipart> {
        match self.state {
            State::End(_) => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(InvalidMultipart::Incomplete),
        }
    }

    /// Bytes that are kept: those of a head that is not complete.
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::Head(_, head) => head.len(),
            _ => 0,
        }
    }

    fn read(&mut self, input: &mut Bytes) -> Result<Option<Event>, InvalidMultipart> {
        while let Some(&byte) = input.first() {
            let event = match self.state {
                State::Head(..) => self.read_head(input)?,
                State::Data(held) => self.read_data(held, input),
                _ => {
                    input.advance(1);
                    self.step(byte)?
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// One byte of a delimiter and what stands beside it.
    fn step(&mut self, byte: u8) -> Result<Option<Event>, InvalidMultipart> {
        let padding_max = MULTIPART_PADDING_BYTES_MAX;
        let next = match (&self.state, byte) {
            (State::Start, b'\r') => State::Begin(1),
            (State::Start, b'-') => State::Begin(3),
            (State::Begin(matched), _) if byte == self.delimiter[*matched] => match matched + 1 {
                all if all == self.delimiter.len() => State::Delimiter,
                matched => State::Begin(matched),
            },
            (State::Start | State::Begin(_), _) => return Err(InvalidMultipart::Preamble),
            (State::Delimiter, b' ' | b'\t') => State::Padding(1),
            (State::Padding(bytes), b' ' | b'\t') if *bytes < padding_max => {
                State::Padding(bytes + 1)
            }
            (State::Delimiter | State::Padding(_), b'\r') => State::DelimiterCr,
            (State::DelimiterCr, b'\n') => self.begin_part()?,
            (State::Delimiter, b'-') => State::Dash,
            (State::Dash, b'-') => {
                self.state = State::End(0);
                return Ok(Some(Event::End));
            }
            (State::End(bytes), b' ' | b'\t' | b'\r' | b'\n') if *bytes < padding_max => {
                State::End(bytes + 1)
            }
            (State::End(_), _) => return Err(InvalidMultipart::Epilogue),
            _ => return Err(InvalidMultipart::Delimiter),
        };
        self.state = next;
        Ok(None)
    }

    fn begin_part(&mut self) -> Result<State, InvalidMultipart> {
        self.parts += 1;
        if self.parts > self.limits.parts_max {
            return Err(InvalidMultipart::TooManyParts(self.limits.parts_max));
        }
        let scanner = Scanner::trailers(self.head_limits());
        Ok(State::Head(scanner, Vec::new()))
    }

    fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            bytes: self.limits.head_bytes_max,
            fields: HEADER_COUNT_MAX,
            target_bytes: 0,
        }
    }

    fn read_head(&mut self, input: &mut Bytes) -> Result<Option<Event>, InvalidMultipart> {
        let limits = self.head_limits();
        let State::Head(scanner, held) = &mut self.state else {
            panic!("a head is read in a head")
        };
        let used = match scanner.push(input).map_err(InvalidMultipart::Head)? {
            Scan::Partial => {
                held.extend_from_slice(input);
                input.clear();
                return Ok(None);
            }
            Scan::Complete { used } => used,
        };
        let mut section = input.split_to(used);
        if !held.is_empty() {
            held.extend_from_slice(&section);
            section = Bytes::from(std::mem::take(held));
        }
        let headers = parse_fields(&section, &limits).map_err(InvalidMultipart::Head)?;
        self.headers += headers.len();
        if self.headers > self.limits.headers_max {
            return Err(InvalidMultipart::TooManyHeaders(self.limits.headers_max));
        }
        // The line end of the head is also that of a delimiter that follows at once.
        self.state = State::Data(Held {
            matched: 2,
            implied: 2,
        });
        Ok(Some(Event::Part(part_head(headers)?)))
    }

    /// Data up to the next delimiter, or to the last bytes that may be the beginning of one.
    fn read_data(&mut self, held: Held, input: &mut Bytes) -> Option<Event> {
        if held.matched > 0 {
            return self.read_on_in_delimiter(held, input);
        }
        if let Some(at) = self.finder.find(input) {
            if at > 0 {
                return Some(Event::Data(input.split_to(at)));
            }
            input.advance(self.delimiter.len());
            self.state = State::Delimiter;
            return Some(Event::PartEnd);
        }
        let tail_start = input.len().saturating_sub(self.delimiter.len() - 1);
        let tail = &input[tail_start..];
        // If a delimiter begins in the tail, then with its last CR.
        let begun = memchr::memrchr(b'\r', tail)
            .map(|at| &tail[at..])
            .filter(|begun| self.delimiter.starts_with(begun));
        let matched = begun.map_or(0, <[u8]>::len);
        let data = input.split_to(input.len() - matched);
        input.clear();
        let implied = 0;
        self.state = State::Data(Held { matched, implied });
        (!data.is_empty()).then_some(Event::Data(data))
    }

    fn read_on_in_delimiter(&mut self, held: Held, input: &mut Bytes) -> Option<Event> {
        let rest = &self.delimiter[held.matched..];
        let is_same = |(a, b): &(&u8, &u8)| a == b;
        let more = rest.iter().zip(input.iter()).take_while(is_same).count();
        let matched = held.matched + more;
        input.advance(more);
        if matched == self.delimiter.len() {
            self.state = State::Delimiter;
            return Some(Event::PartEnd);
        }
        if input.is_empty() {
            self.state = State::Data(Held { matched, ..held });
            return None;
        }
        // No delimiter: what was held is data.
        self.state = State::Data(Held::default());
        let data = self.delimiter.slice(held.implied..matched);
        (!data.is_empty()).then_some(Event::Data(data))
    }
}

/// What the fields of a part say (RFC 7578 §4.2, §4.7). `filename*` is ignored, as the RFC wants.
fn part_head(headers: Headers) -> Result<PartHead, InvalidMultipart> {
    let (name, file_name_bytes) = names(&headers).ok_or(InvalidMultipart::Disposition)?;
    let text_of = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let file_name = file_name_bytes.as_ref().map(text_of);
    for coding in headers.get_all("content-transfer-encoding") {
        let is = |known: &[u8]| coding.eq_ignore_ascii_case(known);
        if !is(b"binary") && !is(b"8bit") && !is(b"7bit") {
            return Err(InvalidMultipart::TransferEncoding);
        }
    }
    Ok(PartHead {
        headers,
        name,
        file_name,
        file_name_bytes,
    })
}

/// The names of the control, which is text, and of the file, which are the bytes that its machine has
/// for it.
fn names(headers: &Headers) -> Option<(String, Option<Vec<u8>>)> {
    let mut values = headers.get_all("content-disposition");
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    // Each byte as the letter of its number: what delimits is ASCII, and the rest comes back as it was.
    let letters: String = value.iter().copied().map(char::from).collect();
    let bytes_of = |letters: &str| letters.chars().map(|letter| letter as u8).collect();
    let disposition = Parameterized::parse(&letters)?;
    if !disposition.value.eq_ignore_ascii_case("form-data") {
        return None;
    }
    let name = String::from_utf8(bytes_of(disposition.get("name")?)).ok()?;
    Some((name, disposition.get("filename").map(bytes_of)))
}

impl InvalidMultipart {
    /// True when a limit of ours was reached; the peer broke a rule otherwise.
    pub fn is_limit(&self) -> bool {
        match self {
            InvalidMultipart::Head(error) => error.is_limit(),
            InvalidMultipart::TooManyParts(_)
            | InvalidMultipart::TooManyHeaders(_)
            | InvalidMultipart::TooManyBytes(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for InvalidMultipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidMultipart::Boundary => "the boundary of the form is malformed",
            InvalidMultipart::Preamble => "the form does not begin with its boundary",
            InvalidMultipart::Delimiter => {
                "a line of the form begins with its boundary and goes on"
            }
            InvalidMultipart::Epilogue => "the form goes on behind its end",
            InvalidMultipart::Incomplete => "the form has no end",
            InvalidMultipart::Head(error) => {
                return write!(f, "the head of a part: {error}");
            }
            InvalidMultipart::Disposition => {
                "a part has no Content-Disposition: form-data with a name in UTF-8"
            }
            InvalidMultipart::TransferEncoding => "a part has a Content-Transfer-Encoding",
            InvalidMultipart::TooManyParts(max) => {
                return write!(
                    f,
                    "more than {max} parts; parts_max of MultipartLimits, or of FormOptions"
                );
            }
            InvalidMultipart::TooManyHeaders(max) => {
                return write!(
                    f,
                    "more than {max} fields in the heads of all parts; \
                     MultipartLimits::headers_max"
                );
            }
            InvalidMultipart::TooManyBytes(max) => {
                return write!(
                    f,
                    "the form is longer than {max} bytes; bytes_max of MultipartLimits, or of \
                     FormOptions"
                );
            }
        })
    }
}

impl std::error::Error for InvalidMultipart {}

impl From<InvalidMultipart> for Error {
    /// Answered 413 for a limit, 400 otherwise.
    fn from(invalid: InvalidMultipart) -> Error {
        let (kind, status) = if invalid.is_limit() {
            (ErrorKind::Limit, StatusCode::PAYLOAD_TOO_LARGE)
        } else {
            (ErrorKind::Protocol, StatusCode::BAD_REQUEST)
        };
        Error::new(kind, invalid.to_string())
            .in_phase(Phase::RequestBody)
            .answered(status)
    }
}
