//! HTTP by hand, for peers: slow, plain, and not the code under test.
//!
//! ```text
//!   bytes ─► start line, fields ─► body by length, in chunks, to the end, or none ─► Message
//! ```

use std::borrow::Cow;

use roundtrip::simulation::Random;

/// What follows a head that says nothing about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing: of a request, and of responses that have no body.
    Nothing,
    /// Everything up to the end of the connection; false while that has not come.
    ToTheEnd(bool),
    /// Nothing, whatever the head says: of a response to HEAD, 1xx, 204 and 304.
    Never,
}

/// One message at the beginning of the bytes.
#[derive(Debug)]
pub struct Message<'a> {
    /// The method of a request, or the version of a response.
    pub method: &'a str,
    /// The status of a response; 0 for a request.
    pub status: u16,
    fields: Vec<(&'a str, &'a str)>,
    /// `None` when it has not come to its end.
    pub body: Option<Cow<'a, [u8]>>,
    /// Bytes of the whole message, when the body is there.
    pub bytes: usize,
}

impl<'a> Message<'a> {
    /// The value of a field; the name in lower case.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        let found = self
            .fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_bytes())
    }
}

/// How far the chunks of a message have been read, between two looks at it.
#[derive(Debug, Default)]
pub struct Progress {
    at: usize,
    body: Vec<u8>,
}

/// Reads one message; `None` when its head is not complete. `progress` is fresh for each message.
///
/// # Errors
///
/// It is none.
pub fn parse<'a>(
    bytes: &'a [u8],
    framing: Framing,
    progress: &mut Progress,
) -> Result<Option<Message<'a>>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head is not text")?;
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let mut words = start.splitn(3, ' ');
    let method = words.next().unwrap_or_default();
    let second = words
        .next()
        .ok_or_else(|| format!("the start line {start:?}"))?;
    let status = match method.starts_with("HTTP/1.") {
        true => second
            .parse()
            .map_err(|_| format!("the status of {start:?}"))?,
        false => 0,
    };
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("the field {line:?}"))?;
        fields.push((name, value.trim_matches([' ', '\t'])));
    }
    let mut message = Message {
        method,
        status,
        fields,
        body: None,
        bytes: 0,
    };
    let rest = &bytes[end + 4..];
    let body = body_of(&message, rest, framing, progress)?;
    if let Some((body, used)) = body {
        message.body = Some(body);
        message.bytes = end + 4 + used;
    }
    Ok(Some(message))
}

type Found<'a> = Option<(Cow<'a, [u8]>, usize)>;

fn body_of<'a>(
    message: &Message<'_>,
    rest: &'a [u8],
    framing: Framing,
    progress: &mut Progress,
) -> Result<Found<'a>, String> {
    if framing == Framing::Never {
        return Ok(Some((Cow::Borrowed(&[]), 0)));
    }
    if message.field("transfer-encoding").is_some() {
        let found = unchunk(rest, progress)?;
        return Ok(found.map(|(body, used)| (Cow::Owned(body), used)));
    }
    if let Some(length) = message.field("content-length") {
        let text = std::str::from_utf8(length).map_err(|_| "a length that is no text")?;
        let length: usize = text.parse().map_err(|_| format!("the length {text:?}"))?;
        let body = rest.get(..length);
        return Ok(body.map(|body| (Cow::Borrowed(body), length)));
    }
    Ok(match framing {
        Framing::ToTheEnd(true) => Some((Cow::Borrowed(rest), rest.len())),
        Framing::ToTheEnd(false) => None,
        Framing::Nothing | Framing::Never => Some((Cow::Borrowed(&[]), 0)),
    })
}

/// The content of chunks, and how many bytes they take; `None` before their end.
fn unchunk(bytes: &[u8], progress: &mut Progress) -> Result<Option<(Vec<u8>, usize)>, String> {
    loop {
        let rest = &bytes[progress.at..];
        let Some(line) = find(rest, b"\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&rest[..line]).map_err(|_| "a chunk's size")?;
        let len = usize::from_str_radix(text, 16).map_err(|_| format!("a chunk of {text:?}"))?;
        if len == 0 {
            let trailers = find(&rest[line..], b"\r\n\r\n");
            return Ok(trailers.map(|trailers| {
                let used = progress.at + line + trailers + 4;
                (std::mem::take(&mut progress.body), used)
            }));
        }
        let Some(piece) = rest.get(line + 2..line + 2 + len + 2) else {
            return Ok(None);
        };
        if !piece.ends_with(b"\r\n") {
            return Err("a chunk without its end".to_owned());
        }
        progress.body.extend_from_slice(&piece[..len]);
        progress.at += line + 2 + len + 2;
    }
}

/// Writes a body in chunks of any size.
pub fn write_chunked(out: &mut Vec<u8>, mut body: &[u8], random: &mut Random) {
    let largest = [3, 100, 5_000, 100_000][random.index(4)];
    while !body.is_empty() {
        // Tiny chunks of a large body would be taken for an attack.
        let least = body.len().div_ceil(200);
        let len = (least + random.index(largest)).min(body.len());
        out.extend_from_slice(format!("{len:x}\r\n").as_bytes());
        out.extend_from_slice(&body[..len]);
        out.extend_from_slice(b"\r\n");
        body = &body[len..];
    }
    out.extend_from_slice(b"0\r\n");
    if random.chance(0.3) {
        out.extend_from_slice(b"x-trailer: yes\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}
