//! The chunked transfer coding (RFC 9112 §7.1), both ways.
//!
//! ```text
//!   size ─► (blanks ;) extension ─► LF ─► data ─► CR ─► LF ─┐
//!    ▲  ▲                            │                       │
//!    │  └────────────────────────────┼───────────────────────┘
//!    │                       size 0  ▼
//!    └── start                    trailers ──► end
//! ```
//!
//! Line ends are CRLF and nothing else: two readers that disagree on them see two different
//! messages. Extensions are checked for control characters and dropped. Of a response alone, blanks
//! may stand behind a size without an extension, as small servers send them, and trailer lines may be
//! folded: a user agent reads both.

use std::fmt;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::h1::head::parse_response_trailers;
use crate::h1::head::parse_trailers;
use crate::http::head::HeadLimits;
use crate::http::head::Scan;
use crate::http::head::Scanner;
use crate::http::headers::Headers;
use crate::http::known::is_forbidden_trailer;
use crate::http::token;
use crate::limits::CHUNK_LINE_BYTES_MAX;
use crate::limits::CHUNK_OVERHEAD_BYTES_MAX;

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Decodes one chunked body; takes its bytes in any pieces.
#[derive(Debug)]
pub struct Decoder {
    message: Message,
    state: State,
    /// Framing bytes beyond what chunks of sensible size need.
    overhead_bytes: usize,
}

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Request,
    Response,
}

#[derive(Debug)]
enum State {
    /// In the digits of the size.
    Size { digits: u8, size: u64 },
    /// In blanks behind the size, which only an extension may follow, or of a response the line's end.
    Blank(Line),
    /// In an extension.
    Extension(Line),
    /// Behind the CR of the size line.
    SizeLf(Line),
    /// In the data; bytes that are left, at least one.
    Data(u64),
    /// Behind the last byte of the data.
    DataCr,
    /// Behind the CR that follows the data.
    DataLf,
    /// In the trailer section; what came of it so far.
    Trailers(Scanner, Vec<u8>),
    /// Behind the end.
    End,
}

/// A size line behind its digits.
#[derive(Clone, Copy, Debug)]
struct Line {
    size: u64,
    bytes: usize,
}

/// What [`Decoder::push`] found.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// Bytes of the body. They are the last of the `used` bytes of the input.
    Data {
        /// Bytes of the input that are done with.
        used: usize,
        /// The body bytes among them; not empty.
        data: &'a [u8],
    },
    /// The whole input was taken, and more must come.
    More,
    /// The body is complete.
    End {
        /// Bytes of the input that are done with; what follows is another message.
        used: usize,
        /// The trailer fields, without those that are not allowed there.
        trailers: Option<Headers>,
    },
}

/// Why a chunked body was refused; nothing of it can be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkError {
    /// The rule or limit that was broken, in a few words.
    pub rule: &'static str,
    /// True when it was a limit of ours.
    pub is_limit: bool,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// Before the first chunk of a request.
    pub fn new() -> Decoder {
        Decoder::of(Message::Request)
    }

    /// Before the first chunk of a response.
    pub fn of_response() -> Decoder {
        Decoder::of(Message::Response)
    }

    fn of(message: Message) -> Decoder {
        Decoder {
            message,
            state: SIZE,
            overhead_bytes: 0,
        }
    }

    /// True behind the end.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Takes input up to the next run of body bytes, the end, or its own end. Call it again with
    /// what is left of the input. After an error or the end the decoder is done.
    pub fn push<'a>(&mut self, input: &'a [u8]) -> Result<Decoded<'a>, ChunkError> {
        let mut used = 0;
        while used < input.len() {
            match &mut self.state {
                State::Data(left) => {
                    let rest = &input[used..];
                    let len =
                        usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= len as u64;
                    if *left == 0 {
                        self.state = State::DataCr;
                    }
                    let data = &rest[..len];
                    used += len;
                    return Ok(Decoded::Data { used, data });
                }
                State::Trailers(scanner, section) => {
                    let rest = &input[used..];
                    let Scan::Complete { used: last } =
                        scanner.push(rest).map_err(trailer_error)?
                    else {
                        section.extend_from_slice(rest);
                        return Ok(Decoded::More);
                    };
                    // Usually there are no trailers, and nothing is to be kept.
                    let trailers = if section.is_empty() {
                        take_trailers(self.message, &rest[..last])?
                    } else {
                        section.extend_from_slice(&rest[..last]);
                        take_trailers(self.message, section)?
                    };
                    self.state = State::End;
                    used += last;
                    return Ok(Decoded::End { used, trailers });
                }
                State::End => return Err(broken("bytes behind the end of a chunked body")),
                _ => {
                    self.push_byte(input[used])?;
                    used += 1;
                }
            }
        }
        Ok(Decoded::More)
    }

    /// One byte of framing.
    fn push_byte(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match self.state {
            State::Size { digits, size } => push_size(digits, size, byte)?,
            State::Blank(line) => match byte {
                b' ' | b'\t' => State::Blank(line.longer()?),
                b';' => State::Extension(line.longer()?),
                b'\r' if self.message == Message::Response => State::SizeLf(line),
                _ => return Err(broken("a chunk size is not followed by CRLF")),
            },
            State::Extension(line) => match byte {
                b'\r' => State::SizeLf(line),
                _ if token::is_value(&[byte]) => State::Extension(line.longer()?),
                _ => return Err(broken("a control character in a chunk extension")),
            },
            State::SizeLf(line) => {
                expect(byte, b'\n')?;
                self.begin_chunk(line)?
            }
            State::DataCr => {
                expect(byte, b'\r')?;
                State::DataLf
            }
            State::DataLf => {
                expect(byte, b'\n')?;
                SIZE
            }
            State::Data(_) | State::Trailers(..) | State::End => {
                unreachable!("these states take slices")
            }
        };
        Ok(())
    }

    /// A size line is complete.
    fn begin_chunk(&mut self, line: Line) -> Result<State, ChunkError> {
        // Go's measure: what the line takes beyond 16 bytes and twice the data, summed up. Chunks
        // of one byte are never an attack by themselves, endless extensions are.
        let sensible = line.size.saturating_mul(2).saturating_add(16);
        let sensible = usize::try_from(sensible).unwrap_or(usize::MAX);
        self.overhead_bytes = (self.overhead_bytes + line.bytes + 2).saturating_sub(sensible);
        if self.overhead_bytes > CHUNK_OVERHEAD_BYTES_MAX {
            return Err(ChunkError {
                rule: "too much chunk framing for the data that it carries",
                is_limit: true,
            });
        }
        if line.size == 0 {
            let scanner = Scanner::trailers(HeadLimits::TRAILERS);
            return Ok(State::Trailers(scanner, Vec::new()));
        }
        Ok(State::Data(line.size))
    }
}

const SIZE: State = State::Size { digits: 0, size: 0 };

/// One byte of a chunk size: hexadecimal digits, read by hand, no sign, no overflow.
fn push_size(digits: u8, size: u64, byte: u8) -> Result<State, ChunkError> {
    let line = Line {
        size,
        bytes: usize::from(digits),
    };
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ if digits == 0 => return Err(broken("a chunk has no size")),
        b'\r' => return Ok(State::SizeLf(line)),
        b';' => return Ok(State::Extension(line.longer()?)),
        b' ' | b'\t' => return Ok(State::Blank(line.longer()?)),
        _ => return Err(broken("a chunk size is not followed by CRLF")),
    };
    let size = size << 4 | u64::from(digit);
    if digits == CHUNK_SIZE_DIGITS_MAX || size > i64::MAX as u64 {
        return Err(broken("a chunk size is too large"));
    }
    let digits = digits + 1;
    Ok(State::Size { digits, size })
}

/// Digits of a chunk size, leading zeros included.
const CHUNK_SIZE_DIGITS_MAX: u8 = 16;

impl Line {
    /// With one more byte.
    fn longer(self) -> Result<Line, ChunkError> {
        if self.bytes == CHUNK_LINE_BYTES_MAX {
            return Err(ChunkError {
                rule: "a chunk-size line is longer than the limit",
                is_limit: true,
            });
        }
        Ok(Line {
            size: self.size,
            bytes: self.bytes + 1,
        })
    }
}

fn expect(byte: u8, expected: u8) -> Result<(), ChunkError> {
    if byte != expected {
        return Err(broken("a chunk or its size does not end in CRLF"));
    }
    Ok(())
}

const fn broken(rule: &'static str) -> ChunkError {
    ChunkError {
        rule,
        is_limit: false,
    }
}

fn take_trailers(message: Message, section: &[u8]) -> Result<Option<Headers>, ChunkError> {
    if section == b"\r\n" {
        return Ok(None);
    }
    let parse = match message {
        Message::Request => parse_trailers,
        Message::Response => parse_response_trailers,
    };
    let trailers = parse(section, &HeadLimits::TRAILERS).map_err(trailer_error)?;
    Ok((!trailers.is_empty()).then_some(trailers))
}

fn trailer_error(error: crate::http::head::HeadError) -> ChunkError {
    ChunkError {
        rule: error.rule,
        is_limit: error.is_limit(),
    }
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)
    }
}

impl std::error::Error for ChunkError {}

impl From<ChunkError> for Error {
    fn from(error: ChunkError) -> Error {
        let kind = if error.is_limit {
            ErrorKind::Limit
        } else {
            ErrorKind::Protocol
        };
        Error::new(kind, error.rule)
    }
}

/// Writes the size line of a chunk of `len` bytes, at least one. The data and [`CHUNK_END`] follow.
pub fn encode_chunk_head(out: &mut Vec<u8>, len: usize) {
    assert!(len > 0, "a chunk of no bytes would end the body");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for position in (0..digits).rev() {
        let digit = (len >> (4 * position)) & 0xf;
        out.push(b"0123456789abcdef"[digit]);
    }
    out.extend_from_slice(b"\r\n");
}

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Writes the end of a chunked body: the last chunk, and the trailers that are allowed there (RFC
/// 9110 §6.5.1); others are left out.
pub fn encode_last_chunk(out: &mut Vec<u8>, trailers: Option<&Headers>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.iter().flat_map(|trailers| trailers.iter()) {
        if !is_forbidden_trailer(name.as_bytes()) {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::prelude::any;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;

    /// What a whole input gives: body, bytes used, trailers.
    type Whole = Result<Option<(Vec<u8>, usize, Option<Headers>)>, ChunkError>;

    fn decode(pieces: &[&[u8]]) -> Whole {
        let mut decoder = Decoder::new();
        let mut body = Vec::new();
        let mut used_all = 0;
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                match decoder.push(rest)? {
                    Decoded::Data { used, data } => {
                        assert_eq!(&rest[used - data.len()..used], data);
                        body.extend_from_slice(data);
                        used_all += used;
                        rest = &rest[used..];
                    }
                    Decoded::More => {
                        used_all += rest.len();
                        rest = &[];
                    }
                    Decoded::End { used, trailers } => {
                        return Ok(Some((body, used_all + used, trailers)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whole, byte by byte, and in two at every point: all must agree.
    fn check(input: &[u8]) -> Whole {
        let whole = decode(&[input]);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(decode(&bytes), whole, "byte by byte: {input:?}");
        for at in 0..=input.len() {
            let (head, tail) = input.split_at(at);
            assert_eq!(decode(&[head, tail]), whole, "split at {at}: {input:?}");
        }
        whole
    }

    #[test]
    fn decodes() {
        for (input, body) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n", "a0123456789"),
            ("0000000000000005\r\nhello\r\n000\r\n\r\n", "hello"),
            ("1;a=b;c=\"d\"\r\na\r\n0;x\r\n\r\n", "a"),
            ("1 \t; a = b\r\na\r\n0\r\n\r\n", "a"),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ] {
            let (found, used, trailers) = check(input.as_bytes()).unwrap().unwrap();
            assert_eq!(found, body.as_bytes(), "{input:?}");
            assert_eq!(used, input.len());
            assert!(trailers.is_none());
        }
    }

    #[test]
    fn leaves_the_next_message_alone() {
        let (_, used, _) = check(b"1\r\na\r\n0\r\n\r\nGET /").unwrap().unwrap();
        assert_eq!(used, 11);
    }

    #[test]
    fn keeps_trailers_but_for_those_that_frame_and_route() {
        let input = b"0\r\nX: 1\r\nContent-Length: 5\r\nHost: a\r\nAuthorization: b\r\n\
            Set-Cookie: c\r\nif-match: *\r\nCACHE-CONTROL: d\r\ny:2 \r\n\r\n";
        let (_, used, trailers) = check(input).unwrap().unwrap();
        assert_eq!(used, input.len());
        let expected = Headers::from_pairs([("X", "1"), ("y", "2")]).unwrap();
        assert_eq!(trailers, Some(expected));
    }

    #[test]
    fn an_end_that_is_missing_is_not_an_end() {
        let whole = b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n";
        for len in 0..whole.len() {
            assert_eq!(decode(&[&whole[..len]]), Ok(None), "{len}");
        }
    }

    /// Each of these once let somebody smuggle a request past somebody.
    #[test]
    fn rejects_what_two_readers_could_read_differently() {
        for input in [
            "1\na\r\n0\r\n\r\n",
            "1\r\r\na\r\n0\r\n\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\na\r0\r\n\r\n",
            "1;\na\r\n0\r\n\r\n",
            "1;a\rb\r\na\r\n0\r\n\r\n",
            "1;a\0\r\na\r\n0\r\n\r\n",
            "0\r\n\n",
            "0\n\r\n",
            "0\r\n\rX",
            "1\r\nab\r\n0\r\n\r\n",
            "1\r\naX\r\n0\r\n\r\n",
            "\r\n0\r\n\r\n",
            " 1\r\na\r\n0\r\n\r\n",
            "1 \r\na\r\n0\r\n\r\n",
            "+1\r\na\r\n0\r\n\r\n",
            "-1\r\na\r\n0\r\n\r\n",
            "0x1\r\na\r\n0\r\n\r\n",
            "1_0\r\na\r\n0\r\n\r\n",
            ";a\r\n\r\n",
            "g\r\n\r\n",
            "8000000000000000\r\n",
            "10000000000000000\r\n",
            "00000000000000001\r\na\r\n0\r\n\r\n",
            "fffffffffffffffff\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\n X: 1\r\n\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\nX: 1\r\n y\r\n\r\n",
            "0\r\nGET /secret HTTP/1.1\r\n\r\n",
            "0\r\nX: 1\nY: 2\r\n\r\n",
        ] {
            assert!(check(input.as_bytes()).is_err(), "{input:?}");
        }
    }

    #[test]
    fn bounds_the_line_the_overhead_and_the_trailers() {
        let long = format!("1;{}\r\na\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX));
        assert!(decode(&[long.as_bytes()]).unwrap_err().is_limit);
        let one = format!("1;{}\r\na\r\n", "x".repeat(1_000));
        let many = one.repeat(CHUNK_OVERHEAD_BYTES_MAX / 1_000 + 2);
        assert!(decode(&[many.as_bytes()]).unwrap_err().is_limit);
        // Chunks of one byte are allowed for ever.
        let plain = "1\r\na\r\n".repeat(20_000) + "0\r\n\r\n";
        let (body, ..) = decode(&[plain.as_bytes()]).unwrap().unwrap();
        assert_eq!(body.len(), 20_000);
        let fields = "0\r\n".to_owned() + &format!("X: {}\r\n", "y".repeat(100)).repeat(200);
        assert!(decode(&[fields.as_bytes()]).unwrap_err().is_limit);
    }

    #[test]
    fn encodes_what_it_decodes() {
        for len in [1, 9, 10, 15, 16, 255, 256, 4_095, 4_096, 65_536] {
            let body = vec![b'x'; len];
            let mut out = Vec::new();
            encode_chunk_head(&mut out, len);
            assert_eq!(out, format!("{len:x}\r\n").as_bytes());
            out.extend_from_slice(&body);
            out.extend_from_slice(CHUNK_END);
            out.extend_from_slice(LAST_CHUNK);
            assert_eq!(decode(&[&out]).unwrap().unwrap().0, body);
        }
        let forbidden = [("Transfer-Encoding", "chunked"), ("Cookie", "a=b")];
        let mut trailers = Headers::from_pairs(forbidden).unwrap();
        trailers.append("X", "1").unwrap();
        let mut out = Vec::new();
        encode_last_chunk(&mut out, Some(&trailers));
        assert_eq!(out, b"0\r\nX: 1\r\n\r\n");
        let mut out = Vec::new();
        encode_last_chunk(&mut out, None);
        assert_eq!(out, LAST_CHUNK);
    }

    /// Pieces from which inputs are made that come close to a chunked body.
    const PIECES: [&str; 16] = [
        "0",
        "1",
        "a",
        "5",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r",
        "\n",
        ";x",
        " ",
        "x",
        "hello",
        "X: y",
        "0\r\n\r\n",
        "1\r\nz\r\n",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However a body is cut into chunks and its bytes into pieces, it arrives as it was.
        #[test]
        fn decodes_any_chunks_in_any_pieces(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                encode_chunk_head(&mut input, chunk.len());
                input.extend_from_slice(chunk);
                input.extend_from_slice(CHUNK_END);
            }
            input.extend_from_slice(LAST_CHUNK);
            let (body, used, _) = decode(&cut(&input, &cuts)).unwrap().unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert_eq!(used, input.len());
        }

        /// Right or wrong, the answer does not depend on how the bytes arrive.
        #[test]
        fn any_split_gives_the_same_answer(
            picks in proptest::collection::vec(0..PIECES.len(), 0..16),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let input: String = picks.iter().map(|&pick| PIECES[pick]).collect();
            let pieces = cut(input.as_bytes(), &cuts);
            prop_assert_eq!(decode(&pieces), decode(&[input.as_bytes()]));
        }
    }

    fn cut<'a>(input: &'a [u8], cuts: &[proptest::sample::Index]) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&input[start..cut]);
            start = cut;
        }
        pieces.push(&input[start..]);
        pieces
    }
}
