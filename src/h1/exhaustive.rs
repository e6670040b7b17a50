//! All short inputs, and all small changes of valid heads, against readers of a few lines.
//!
//! ```text
//!   every string over an alphabet ──► decoder, scanner ──► same answer for every split,
//!                                                          same answer as the small reader
//!   valid head, one byte changed  ──► scanner, parser, framing ──► error, or one reading
//!                                     strict, lenient readers ──┘  that all readers share
//! ```
//!
//! Deterministic: what fails once fails always.

use ::http::Method;

use crate::h1::chunked::Decoded;
use crate::h1::chunked::Decoder;
use crate::h1::framing::Framing;
use crate::h1::framing::request_framing;
use crate::h1::framing::response_framing;
use crate::h1::head::parse_request;
use crate::h1::head::parse_response;
use crate::http::head::HeadLimits;
use crate::http::head::Scan;
use crate::http::head::Scanner;

/// What a reader says of an input: an error, the need for more, or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer<T> {
    Error,
    More,
    Done(T),
}

use Answer::Done;
use Answer::Error;
use Answer::More;

/// The answer to `input`: the same whole, byte by byte, and split in two anywhere.
fn same_for_every_split<T: PartialEq + std::fmt::Debug>(
    input: &[u8],
    read: impl Fn(&[&[u8]]) -> Answer<T>,
) -> Answer<T> {
    let whole = read(&[input]);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(
        read(&bytes),
        whole,
        "byte by byte: {}",
        input.escape_ascii()
    );
    for at in 1..input.len() {
        let (head, tail) = input.split_at(at);
        assert_eq!(
            read(&[head, tail]),
            whole,
            "at {at}: {}",
            input.escape_ascii()
        );
    }
    whole
}

/// Calls `visit` with `prefix` and all that it can become within `len` more bytes. What `visit`
/// answers with false is not made longer. How many strings were visited.
fn walk(
    prefix: &mut Vec<u8>,
    alphabet: &[u8],
    len: usize,
    visit: &mut impl FnMut(&[u8]) -> bool,
) -> usize {
    let mut count = 1;
    if visit(prefix) && len > 0 {
        for &byte in alphabet {
            prefix.push(byte);
            count += walk(prefix, alphabet, len - 1, visit);
            prefix.pop();
        }
    }
    count
}

// ---- chunked bodies ------------------------------------------------------------------------

/// Body, bytes used, number of trailers.
type ChunkedBody = (Vec<u8>, usize, usize);

fn decode(pieces: &[&[u8]]) -> Answer<ChunkedBody> {
    decode_by(Decoder::new(), pieces)
}

fn decode_by(mut decoder: Decoder, pieces: &[&[u8]]) -> Answer<ChunkedBody> {
    let mut body = Vec::new();
    let mut total = 0;
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match decoder.push(rest) {
                Err(_) => return Error,
                Ok(Decoded::More) => break,
                Ok(Decoded::Data { used, data }) => {
                    assert!(!data.is_empty() && rest[..used].ends_with(data));
                    body.extend_from_slice(data);
                    total += used;
                    rest = &rest[used..];
                }
                Ok(Decoded::End { used, trailers }) => {
                    let trailers = trailers.map_or(0, |trailers| trailers.len());
                    return Done((body, total + used, trailers));
                }
            }
        }
        total += rest.len();
    }
    More
}

/// Up to the first CRLF, and what follows it; `None` where there is none, or the line holds
/// another control character than a tab.
fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = input.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &input[..at];
    let is_clean = line.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f));
    is_clean.then_some((line, &input[at + 2..]))
}

/// A strict reader of complete chunked bodies; `None` for all others. Of a response it skips blanks
/// behind a size, and joins folded lines.
fn read_chunked(input: &[u8], is_request: bool) -> Option<ChunkedBody> {
    let mut rest = input;
    let mut body = Vec::new();
    loop {
        let (size, after) = line(rest)?;
        let text = std::str::from_utf8(size.split(|&b| b == b';').next()?).ok()?;
        let has_extension = size.contains(&b';');
        let digits = if has_extension || !is_request {
            text.trim_end_matches([' ', '\t'])
        } else {
            text
        };
        let is_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hex || digits.len() > 16 {
            return None;
        }
        let size = usize::from_str_radix(digits, 16).ok()?;
        if size == 0 {
            let end = head_len(after, false, false)?;
            let trailers = read_fields(&after[..end], is_request)?.len();
            let used = input.len() - after.len() + end;
            return Some((body, used, trailers));
        }
        body.extend_from_slice(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// Names and values up to the empty line that ends the input. Of a response folded lines are joined,
/// but for those of some names.
fn read_fields(mut rest: &[u8], is_request: bool) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while rest != b"\r\n" {
        let (text, after) = line(rest)?;
        rest = after;
        let [b' ' | b'\t', ..] = text else {
            let (name, value) = field_of(text)?;
            fields.push((name.to_vec(), value.to_vec()));
            continue;
        };
        let (name, value) = fields.last_mut()?;
        let name = name.to_ascii_lowercase();
        let is_plain = ![
            &b"content-length"[..],
            b"transfer-encoding",
            b"connection",
            b"upgrade",
            b"location",
        ]
        .contains(&&name[..]);
        if is_request || !is_plain {
            return None;
        }
        *value = [trim(value), b" ", trim(text)].concat();
    }
    // Blanks at the end belong to no value.
    let trimmed = |(name, value): (Vec<u8>, Vec<u8>)| (name, trim(&value).to_vec());
    Some(fields.into_iter().map(trimmed).collect())
}

/// Name and value of a field line.
fn field_of(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&b| b == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    if name.is_empty() || !name.iter().all(is_token) {
        return None;
    }
    Some((name, trim(value)))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[test]
fn every_short_chunked_body() {
    const ALPHABET: &[u8] = b"012a;: \t\r\n\0\xff";
    let mut ends = 0;
    let mut visited = 0;
    for (prefix, len) in [
        (&b""[..], 5),
        (b"0\r\n", 5),
        (b"0\r\na:", 5),
        (b"0\r\na:\r\n", 5),
        (b"1\r\n", 5),
        (b"1\r\n0\r\n", 5),
        (b"2\r\n\r\n", 5),
        (b"0;", 5),
        (b"1 ", 4),
        (b"2\r\n0\r\n0\r\n", 4),
        (b"1\r\n\r\r\n0\r\n", 4),
        (b"7ffffffffffffff", 4),
        (b"00000000000000", 5),
    ] {
        visited += walk(&mut prefix.to_vec(), ALPHABET, len, &mut |input| {
            let mut is_open = false;
            for (new, is_request) in [
                (Decoder::new as fn() -> Decoder, true),
                (Decoder::of_response, false),
            ] {
                let answer = same_for_every_split(input, |pieces| decode_by(new(), pieces));
                let reference = read_chunked(input, is_request);
                match &answer {
                    Done(found) => {
                        assert_eq!(Some(found), reference.as_ref(), "{}", input.escape_ascii());
                        ends += 1;
                    }
                    _ => assert_eq!(reference, None, "{}", input.escape_ascii()),
                }
                is_open |= answer == More;
            }
            is_open
        });
    }
    // The walk reached what it should.
    assert!(ends > 20 && visited > 100_000, "{ends} of {visited}");
}

#[test]
fn what_a_decoder_refused_stays_refused() {
    // Without pruning: no continuation makes a body of what was an error.
    walk(&mut Vec::new(), b"01;\r\n\0", 6, &mut |input| {
        if decode(&[input]) == Error {
            for end in [
                &b""[..],
                b"\r\n",
                b"\r\n\r\n",
                b"0\r\n\r\n",
                b"\r\n0\r\n\r\n",
            ] {
                let longer = [input, end].concat();
                assert_eq!(decode(&[&longer]), Error);
                assert_eq!(
                    read_chunked(&longer, true),
                    None,
                    "{}",
                    longer.escape_ascii()
                );
            }
        }
        true
    });
}

// ---- the end of a head ---------------------------------------------------------------------

fn scan(mut scanner: Scanner, pieces: &[&[u8]]) -> Answer<usize> {
    let mut total = 0;
    for piece in pieces {
        match scanner.push(piece) {
            Err(_) => return Error,
            Ok(Scan::Partial) => total += piece.len(),
            Ok(Scan::Complete { used }) => return Done(total + used),
        }
    }
    More
}

/// Bytes of a complete head: one line, and more up to an empty one. `None` for all else.
fn head_len(input: &[u8], may_begin_empty: bool, needs_line: bool) -> Option<usize> {
    let mut rest = input;
    if may_begin_empty {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    let mut lines = 0;
    loop {
        let at = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let is_clean = rest[..at].iter().all(|&b| b == b'\t' || b >= b' ');
        if !is_clean {
            return None;
        }
        rest = &rest[at + 2..];
        if at == 0 {
            let is_complete = lines > 0 || !needs_line;
            return is_complete.then_some(input.len() - rest.len());
        }
        lines += 1;
    }
}

#[test]
fn every_short_head_ends_where_it_ends() {
    type New = fn(HeadLimits) -> Scanner;
    let kinds: [(New, bool, bool); 3] = [
        (Scanner::request, true, true),
        (Scanner::response, false, true),
        (Scanner::trailers, false, false),
    ];
    for (new, may_begin_empty, needs_line) in kinds {
        let mut ends = 0;
        for (prefix, len) in [(&b""[..], 7), (b"a\r\n", 6), (b"a\r\na:\r\n", 5)] {
            walk(&mut prefix.to_vec(), b"a \t\r\n\0\xff", len, &mut |input| {
                let limits = HeadLimits::REQUEST;
                let answer = same_for_every_split(input, |pieces| scan(new(limits), pieces));
                let reference = head_len(input, may_begin_empty, needs_line);
                match answer {
                    Done(used) => {
                        assert_eq!(Some(used), reference, "{}", input.escape_ascii());
                        ends += 1;
                    }
                    _ => assert_eq!(reference, None, "{}", input.escape_ascii()),
                }
                answer == More
            });
        }
        assert!(ends > 100, "{ends}");
    }
}

// ---- one reading of a head -----------------------------------------------------------------

/// What all readers have to agree on: how many bytes the head has, its fields, where its body
/// ends.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    used: usize,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    framing: Framing,
}

fn fields_of(headers: &crate::http::headers::Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
        .collect()
}

/// Ours: scanner, parser and framing, as a connection uses them.
fn our_reading(pieces: &[&[u8]], is_request: bool) -> Answer<Reading> {
    let limits = HeadLimits::REQUEST;
    let scanner = if is_request {
        Scanner::request(limits)
    } else {
        Scanner::response(limits)
    };
    let used = match scan(scanner, pieces) {
        Done(used) => used,
        More => return More,
        Error => return Error,
    };
    let head = &pieces.concat()[..used];
    let found = if is_request {
        parse_request(head, &limits).and_then(|head| {
            let framing = request_framing(&head)?;
            Ok((fields_of(head.request().headers()), framing))
        })
    } else {
        parse_response(head, &limits).and_then(|head| {
            let framing = response_framing(&Method::GET, &head)?;
            Ok((fields_of(head.headers()), framing))
        })
    };
    found.map_or(Error, |(fields, framing)| {
        Done(Reading {
            used,
            fields,
            framing,
        })
    })
}

/// A strict reader: lines by CRLF, fields by the first colon, framing by the two fields.
fn strict_reading(input: &[u8], is_request: bool) -> Option<Reading> {
    let used = head_len(input, is_request, true)?;
    let mut rest = &input[..used];
    if is_request {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    let (start, rest) = line(rest)?;
    let is_response_start = start.starts_with(b"HTTP/1.");
    let words: Vec<&[u8]> = start.split(|&b| b == b' ').collect();
    if is_request && (words.len() != 3 || words.iter().any(|word| word.is_empty())) {
        return None;
    }
    if is_request == is_response_start {
        return None;
    }
    let fields = read_fields(rest, is_request)?;
    let values = |wanted: &str| -> Vec<&[u8]> {
        let own = fields.iter();
        own.filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()))
            .map(|(_, value)| &value[..])
            .collect()
    };
    let (codings, lengths) = (values("transfer-encoding"), values("content-length"));
    let status = words.get(1).copied().unwrap_or_default();
    let framing = match (&codings[..], &lengths[..]) {
        _ if !is_request && (status[0] == b'1' || status == b"204" || status == b"304") => {
            Framing::Empty
        }
        ([], []) if is_request => Framing::Empty,
        ([], []) => Framing::UntilClose,
        ([one], []) if one.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        ([], lengths) => length_of(&lengths.join(&b","[..]))?,
        _ => return None,
    };
    Some(Reading {
        used,
        fields,
        framing,
    })
}

/// One number, or the same several times.
fn length_of(list: &[u8]) -> Option<Framing> {
    let mut numbers = Vec::new();
    for element in list.split(|&b| b == b',') {
        let element = trim(element);
        if element.is_empty() || !element.iter().all(u8::is_ascii_digit) {
            return None;
        }
        numbers.push(std::str::from_utf8(element).ok()?.parse::<u64>().ok()?);
    }
    numbers.dedup();
    match numbers[..] {
        [0] => Some(Framing::Empty),
        [length] => Some(Framing::Length(length)),
        _ => None,
    }
}

/// How careless a lenient reader is.
#[derive(Clone, Copy, Debug)]
struct Lenient {
    /// A CR alone ends a line, too.
    cr_ends_lines: bool,
    /// Lines that begin with a blank continue the one before.
    folds: bool,
    /// `Content-Length` wins over `Transfer-Encoding`.
    length_wins: bool,
    /// Of several `Content-Length` the last counts.
    last_counts: bool,
}

/// Reads whatever it can: where the body of a request ends, as somebody else might see it.
fn lenient_framing(head: &[u8], how: Lenient) -> Framing {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let is_end = |b: &u8| *b == b'\n' || (how.cr_ends_lines && *b == b'\r');
    for line in head.split(is_end) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
        match lines.last_mut() {
            Some(last) if how.folds && is_folded => last.extend_from_slice(line),
            _ => lines.push(line.to_vec()),
        }
    }
    let (mut is_chunked, mut length) = (false, None);
    for line in lines.iter().skip(1) {
        let Some(colon) = line.iter().position(|&b| b == b':' || b == b'\0') else {
            continue;
        };
        let visible = line[..colon].iter().filter(|b| b.is_ascii_graphic());
        let name: Vec<u8> = visible.map(u8::to_ascii_lowercase).collect();
        let value = line[colon + 1..].to_ascii_lowercase();
        if name == b"transfer-encoding" {
            is_chunked |= value.windows(7).any(|text| text == b"chunked");
        }
        if name == b"content-length" && (length.is_none() || how.last_counts) {
            let digits = value.iter().skip_while(|b| !b.is_ascii_digit());
            let digits = digits.take_while(|b| b.is_ascii_digit());
            let number = digits.fold(0u64, |n, b| {
                n.wrapping_mul(10).wrapping_add(u64::from(b - b'0'))
            });
            length = Some(number);
        }
    }
    match length {
        Some(0) if how.length_wins => Framing::Empty,
        Some(length) if how.length_wins => Framing::Length(length),
        _ if is_chunked => Framing::Chunked,
        None | Some(0) => Framing::Empty,
        Some(length) => Framing::Length(length),
    }
}

const REQUESTS: [&str; 9] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET /a?b HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nX: y\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 10, 10\r\nHost: [::1]:80\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX:  y \t\r\n\r\n",
    "POST http://a/b HTTP/1.1\r\nHost: a\r\nX: chunked\r\ntransfer-encoding:Chunked\r\n\r\n",
    "POST / HTTP/1.0\r\nX-Content-Length: 7\r\nConnection: keep-alive\r\nEmpty:\r\n\r\n",
    "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nA: 0123456789012345678901234567890123456789\
     \r\nContent-Length: 0\r\n\r\n",
];

const RESPONSES: [&str; 6] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX: y\r\n z\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
    "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n",
    "HTTP/1.0 200 \r\nX: 0123456789012345678901234567890123456789\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
];

const BYTES: &[u8] = b"\0\t\n\r :,;\x0b\x7f\x80\xff+-05aZ";

/// `input` with one byte replaced, one put in, or one taken out, in every way.
fn mutations(input: &[u8], mut visit: impl FnMut(&[u8])) {
    visit(input);
    for at in 0..input.len() {
        let (before, after) = (&input[..at], &input[at + 1..]);
        visit(&[before, after].concat());
        for byte in BYTES {
            visit(&[before, &[*byte], after].concat());
            visit(&[before, &[*byte], &input[at..]].concat());
        }
        // A line end that is put in, whole or in part, makes two lines of one.
        for end in [&b"\r\n"[..], b"\r\n ", b"\r\n\r\n", b"\n\n", b"\r\r\n"] {
            visit(&[before, end, &input[at..]].concat());
        }
    }
}

/// Bytes that follow in every case: a body, and what looks like the next message.
const BEHIND: &[u8] = b"5\r\nhello\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: b\r\n\r\n";

#[test]
fn changed_requests_have_one_reading() {
    let (mut taken, mut refused) = (0, 0);
    for request in REQUESTS {
        mutations(request.as_bytes(), |head| {
            let input = [head, BEHIND].concat();
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            let ours = our_reading(&[&input], true);
            let shown = || input.escape_ascii().to_string();
            assert_eq!(our_reading(&bytes, true), ours, "{}", shown());
            let Done(ours) = ours else {
                refused += 1;
                return;
            };
            taken += 1;
            let strict = strict_reading(&input, true);
            assert_eq!(strict.as_ref(), Some(&ours), "{}", shown());
            let head = input[..ours.used].trim_ascii_start();
            for bits in 0..16u8 {
                let how = Lenient {
                    cr_ends_lines: bits & 1 != 0,
                    folds: bits & 2 != 0,
                    length_wins: bits & 4 != 0,
                    last_counts: bits & 8 != 0,
                };
                assert_eq!(
                    lenient_framing(head, how),
                    ours.framing,
                    "{how:?} {}",
                    shown()
                );
            }
        });
    }
    assert!(taken > 1_000 && refused > 1_000, "{taken}, {refused}");
}

#[test]
fn changed_responses_have_one_reading() {
    let (mut taken, mut refused) = (0, 0);
    for response in RESPONSES {
        mutations(response.as_bytes(), |head| {
            let input = [head, BEHIND].concat();
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            let ours = our_reading(&[&input], false);
            let shown = || input.escape_ascii().to_string();
            assert_eq!(our_reading(&bytes, false), ours, "{}", shown());
            match ours {
                Done(ours) => {
                    taken += 1;
                    assert_eq!(strict_reading(&input, false), Some(ours), "{}", shown());
                }
                _ => refused += 1,
            }
        });
    }
    assert!(taken > 500 && refused > 500, "{taken}, {refused}");
}

#[test]
fn field_values_are_checked_wherever_the_byte_stands() {
    // Parsers look at 8, 16 or 32 bytes at a time: each has its own way to overlook one.
    for len in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65] {
        for at in 0..len {
            for byte in 0..=255u8 {
                let mut value = vec![b'v'; len];
                value[at] = byte;
                let head = [b"GET / HTTP/1.1\r\nHost: a\r\nX:", &value[..], b"\r\n\r\n"].concat();
                let parsed = parse_request(&head, &HeadLimits::REQUEST);
                let is_value = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
                assert_eq!(parsed.is_ok(), is_value, "{byte:#x} at {at} of {len}");
                if let Ok(head) = parsed {
                    let found = head.request().headers().get_bytes("x");
                    assert_eq!(found, Some(trim(&value)));
                }
            }
        }
    }
}
