//! Small readers of HTTP/1.1, to compare with: of whole inputs, without speed and without limits.
//!
//! ```text
//!   bytes ──► lines by CRLF ──► fields by the first colon ──► framing by two fields ──► body
//! ```
//!
//! They share no code with the crate, and know neither pieces nor states.

use roundtrip::h1::framing::Framing;

/// A field: name and value.
pub type Field = (Vec<u8>, Vec<u8>);

/// What stands in the lines of a head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The start line.
    pub start: Vec<u8>,
    /// The fields, values without the blanks around them.
    pub fields: Vec<Field>,
}

/// Up to the first CRLF, and what follows it; `None` where there is none, or the line holds another
/// control character than a tab.
pub fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = input.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &input[..at];
    let is_clean = line.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f));
    is_clean.then_some((line, &input[at + 2..]))
}

/// Where a head ends: at the first empty line behind another one, or at the first at all with
/// `may_be_empty`. `None` where it does not end, or something stands in it that ends no line.
pub fn head_end(input: &[u8], may_begin_empty: bool, may_be_empty: bool) -> Option<usize> {
    let mut rest = input;
    if may_begin_empty {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    let mut lines = 0;
    loop {
        let at = rest.windows(2).position(|pair| pair == b"\r\n")?;
        if !rest[..at].iter().all(|&b| b == b'\t' || b >= b' ') {
            return None;
        }
        rest = &rest[at + 2..];
        if at == 0 {
            return (lines > 0 || may_be_empty).then_some(input.len() - rest.len());
        }
        lines += 1;
    }
}

/// The lines of a complete head of a request.
pub fn head(input: &[u8]) -> Option<Head> {
    let (start, rest) = line(input)?;
    let fields = fields(rest, false)?;
    let start = start.to_vec();
    Some(Head { start, fields })
}

/// As [`head`], of a response: folded lines are joined.
pub fn response_head(input: &[u8]) -> Option<Head> {
    let (start, rest) = line(input)?;
    let fields = fields(rest, true)?;
    let start = start.to_vec();
    Some(Head { start, fields })
}

/// Fields that nobody joins.
const NEVER_FOLDED: [&str; 5] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "location",
];

/// Fields up to an empty line, which ends the input; lines that begin with a blank continue the one
/// before where `joins`.
pub fn fields(mut rest: &[u8], joins: bool) -> Option<Vec<Field>> {
    let mut fields: Vec<Field> = Vec::new();
    while rest != b"\r\n" {
        let (text, after) = line(rest)?;
        rest = after;
        if joins && matches!(text.first(), Some(b' ' | b'\t')) {
            let (name, value) = fields.last_mut()?;
            let is_own = |own: &&str| own.as_bytes().eq_ignore_ascii_case(name);
            if NEVER_FOLDED.iter().any(is_own) {
                return None;
            }
            let joined = [&value[..], b" ", trim(text)].concat();
            *value = trim(&joined).to_vec();
            continue;
        }
        let colon = text.iter().position(|&b| b == b':')?;
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        if !is_token(name) {
            return None;
        }
        fields.push((name.to_vec(), trim(value).to_vec()));
    }
    Some(fields)
}

/// True for a word of RFC 9110 §5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !bytes.is_empty() && bytes.iter().all(is_token)
}

/// Without spaces and tabs at both ends.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Method, target, and whether the version is 1.0, of a request line.
pub fn request_line(line: &[u8]) -> Option<(&[u8], &[u8], bool)> {
    let words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let is_visible = target.iter().all(|b| b.is_ascii_graphic() && *b != b'#');
    if !is_token(method) || target.is_empty() || !is_visible {
        return None;
    }
    Some((method, target, is_http_10(version)?))
}

/// Status, and whether the version is 1.0, of a status line.
pub fn status_line(line: &[u8]) -> Option<(u16, bool)> {
    let (version, rest) = (line.get(..8)?, line.get(8..)?);
    let rest = rest.strip_prefix(b" ")?;
    let (code, reason) = (rest.get(..3)?, rest.get(3..)?);
    if !(reason.is_empty() || reason.starts_with(b" ")) || !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    (code >= 100).then_some((code, is_http_10(version)?))
}

fn is_http_10(version: &[u8]) -> Option<bool> {
    match version.strip_prefix(b"HTTP/1.")? {
        [minor] if minor.is_ascii_digit() => Some(*minor == b'0'),
        _ => None,
    }
}

/// All values of a field.
pub fn values<'a>(fields: &'a [Field], name: &str) -> Vec<&'a [u8]> {
    let own = fields.iter();
    own.filter(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| &value[..])
        .collect()
}

/// True when a comma-separated list of all fields `name` holds `option`.
pub fn has_option(fields: &[Field], name: &str, option: &str) -> bool {
    let values = values(fields, name);
    let mut elements = values.iter().flat_map(|value| value.split(|&b| b == b','));
    elements.any(|element| trim(element).eq_ignore_ascii_case(option.as_bytes()))
}

/// Where the body of a request ends (RFC 9112 §6.3); `None` for what must not be read.
pub fn request_framing(fields: &[Field], is_10: bool) -> Option<Framing> {
    Some(announced(fields, is_10)?.unwrap_or(Framing::Empty))
}

/// Where the body of a response ends; `None` for what must not be read.
pub fn response_framing(
    method: &str,
    status: u16,
    fields: &[Field],
    is_10: bool,
) -> Option<Framing> {
    if method == "HEAD" || (100..200).contains(&status) || status == 204 || status == 304 {
        length(fields)?;
        return Some(Framing::Empty);
    }
    if method == "CONNECT" && (200..300).contains(&status) {
        return Some(Framing::UntilClose);
    }
    Some(announced(fields, is_10)?.unwrap_or(Framing::UntilClose))
}

/// What two fields say: nothing, or where the body ends.
fn announced(fields: &[Field], is_10: bool) -> Option<Option<Framing>> {
    let length = length(fields)?;
    let codings = values(fields, "transfer-encoding");
    match (&codings[..], length) {
        ([], None) => Some(None),
        ([], Some(0)) => Some(Some(Framing::Empty)),
        ([], Some(length)) => Some(Some(Framing::Length(length))),
        ([one], None) if one.eq_ignore_ascii_case(b"chunked") && !is_10 => {
            Some(Some(Framing::Chunked))
        }
        _ => None,
    }
}

/// No number, one number, or the same several times; `None` for all else.
fn length(fields: &[Field]) -> Option<Option<u64>> {
    let mut found = None;
    for value in values(fields, "content-length") {
        for element in value.split(|&b| b == b',') {
            let element = trim(element);
            if element.is_empty() || !element.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let number: i64 = std::str::from_utf8(element).ok()?.parse().ok()?;
            if found.is_some_and(|other| other != number as u64) {
                return None;
            }
            found = Some(number as u64);
        }
    }
    Some(found)
}

/// A chunked body that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunked {
    /// The data.
    pub body: Vec<u8>,
    /// Bytes of the input that belong to it.
    pub used: usize,
    /// All trailer fields, also those that are not allowed there.
    pub trailers: Vec<Field>,
}

/// Reads a complete chunked body of a request; `None` for what is incomplete or malformed.
pub fn chunked(input: &[u8]) -> Option<Chunked> {
    chunked_of(input, false)
}

/// As [`chunked`], of a response: blanks may stand behind a size, and trailers be folded.
pub fn chunked_response(input: &[u8]) -> Option<Chunked> {
    chunked_of(input, true)
}

fn chunked_of(input: &[u8], is_response: bool) -> Option<Chunked> {
    let mut rest = input;
    let mut body = Vec::new();
    loop {
        let (size, after) = line(rest)?;
        let text = std::str::from_utf8(size.split(|&b| b == b';').next()?).ok()?;
        let digits = if is_response || size.contains(&b';') {
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
            let end = head_end(after, false, true)?;
            return Some(Chunked {
                body,
                used: input.len() - after.len() + end,
                trailers: fields(&after[..end], is_response)?,
            });
        }
        body.extend_from_slice(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// `%XX` decoded; `None` where a `%` is followed by something else.
pub fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let [high, low, tail @ ..] = rest else {
                return None;
            };
            let digits = [*high, *low];
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            let digits = std::str::from_utf8(&digits).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail;
        } else {
            out.push(*first);
        }
    }
    Some(out)
}

/// `%XX` decoded, and every other `%` kept.
pub fn decoded_leniently(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match decoded(&rest[..rest.len().min(3)]) {
            Some(found) if *first == b'%' => {
                out.extend_from_slice(&found);
                rest = &rest[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// How careless a reader is that is not ours.
#[derive(Clone, Copy, Debug)]
pub struct Carelessness {
    /// A CR alone ends a line, too.
    pub cr_ends_lines: bool,
    /// Lines that begin with a blank continue the one before.
    pub folds: bool,
    /// `Content-Length` wins over `Transfer-Encoding`.
    pub length_wins: bool,
    /// Of several `Content-Length` the last counts.
    pub last_counts: bool,
}

impl Carelessness {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Carelessness> {
        (0..16u8).map(|bits| Carelessness {
            cr_ends_lines: bits & 1 != 0,
            folds: bits & 2 != 0,
            length_wins: bits & 4 != 0,
            last_counts: bits & 8 != 0,
        })
    }
}

/// Reads whatever it can: where the body of a request ends, as somebody else might see it.
pub fn careless_framing(head: &[u8], how: Carelessness) -> Framing {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let is_end = |b: &u8| *b == b'\n' || (how.cr_ends_lines && *b == b'\r');
    for line in head.split(is_end) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match lines.last_mut() {
            Some(last) if how.folds && matches!(line.first(), Some(b' ' | b'\t')) => {
                last.extend_from_slice(line);
            }
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
            length = Some(digits.fold(0u64, |n, b| {
                n.wrapping_mul(10).wrapping_add(u64::from(b - b'0'))
            }));
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
