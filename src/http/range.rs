//! The `Range` field (RFC 9110 §14): which part of a representation is asked for, and how several
//! parts are sent.
//!
//! ```text
//!   "bytes=0-4"   ──► Part(0..5)      206, Content-Range: bytes 0-4/11
//!   "bytes=-5"    ──► Part(6..11)
//!   "bytes=0-1,4-5" ► Parts           206, multipart/byteranges
//!   "bytes=11-"   ──► Unsatisfiable   416, Content-Range: bytes */11
//!   "lines=1-2"   ──► Whole           200: a unit that we do not know is ignored
//!   "bytes=0-,1-" ──► Whole           200: no part twice
//! ```

use std::ops::Range;

use crate::http::headers::Headers;
use crate::http::token;
use crate::limits::RANGES_MAX;

/// What a `Range` field selects of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: no field, another unit, nothing to take a part of, parts that overlap or are more
    /// than [`RANGES_MAX`].
    Whole,
    /// One part, not empty, within the representation.
    Part(Range<u64>),
    /// Two parts or more, in the order of the field, none of them empty; no byte is in two of them.
    Parts(Vec<Range<u64>>),
    /// No byte of it, or the field is malformed: 416.
    Unsatisfiable,
}

/// What the `Range` field of a GET selects of `length` bytes. Preconditions and `If-Range` are
/// looked at before ([`conditional`](crate::http::conditional)).
pub fn select(headers: &Headers, length: u64) -> Selection {
    let mut values = headers.get_all("range");
    match (values.next(), values.next()) {
        (Some(value), None) => select_of(value, length),
        // Several fields are no list here: the field is a singleton, so it is ignored.
        _ => Selection::Whole,
    }
}

/// What one value of the field selects of `length` bytes. Parts that lie outside are left out, if
/// another lies within (RFC 9110 §14.1.2).
pub fn select_of(value: &[u8], length: u64) -> Selection {
    let Some(equals) = memchr::memchr(b'=', value) else {
        return Selection::Whole;
    };
    let (unit, list) = (&value[..equals], &value[equals + 1..]);
    if !unit.eq_ignore_ascii_case(b"bytes") || length == 0 {
        return Selection::Whole;
    }
    let mut first = None;
    let mut others: Vec<Range<u64>> = Vec::new();
    let elements = list.split(|&byte| byte == b',').map(token::trim);
    for (index, element) in elements.filter(|element| !element.is_empty()).enumerate() {
        if index == RANGES_MAX {
            return Selection::Whole;
        }
        match part(element, length) {
            Ok(Some(range)) if first.is_none() => first = Some(range),
            Ok(Some(range)) => others.push(range),
            Ok(None) => {}
            Err(Malformed) => return Selection::Unsatisfiable,
        }
    }
    let Some(first) = first else {
        return Selection::Unsatisfiable;
    };
    if others.is_empty() {
        return Selection::Part(first);
    }
    others.insert(0, first);
    match is_disjoint(&others) {
        true => Selection::Parts(others),
        // Whoever asks for bytes twice has no use for them, or wants us to send much for little.
        false => Selection::Whole,
    }
}

/// True when no byte is in two of the parts.
fn is_disjoint(parts: &[Range<u64>]) -> bool {
    let mut sorted: Vec<&Range<u64>> = parts.iter().collect();
    sorted.sort_by_key(|part| part.start);
    sorted.windows(2).all(|pair| pair[0].end <= pair[1].start)
}

struct Malformed;

/// `first-last`, `first-` or `-suffix`; `None` where no byte of the representation is meant.
fn part(element: &[u8], length: u64) -> Result<Option<Range<u64>>, Malformed> {
    let dash = memchr::memchr(b'-', element).ok_or(Malformed)?;
    let (first, last) = (&element[..dash], &element[dash + 1..]);
    if first.is_empty() {
        let suffix = number(last)?;
        let start = length - suffix.min(length);
        return Ok((start < length).then_some(start..length));
    }
    let first = number(first)?;
    let end = match last {
        [] => length,
        last => {
            let last = number(last)?;
            if last < first {
                return Err(Malformed);
            }
            last.saturating_add(1).min(length)
        }
    };
    Ok((first < length).then_some(first..end))
}

/// Digits. A number that does not fit lies behind every end, which is all that matters here.
fn number(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    Ok(token::decimal(digits).unwrap_or(u64::MAX))
}

/// The value of `Content-Range` for a 206 (RFC 9110 §14.4).
pub fn content_range(part: &Range<u64>, length: u64) -> String {
    assert!(part.start < part.end, "a part has bytes");
    assert!(part.end <= length, "a part lies within its whole");
    format!("bytes {}-{}/{length}", part.start, part.end - 1)
}

/// The value of `Content-Type` for several parts (RFC 9110 §14.6).
pub fn multipart_type(boundary: &str) -> String {
    format!("multipart/byteranges; boundary={boundary}")
}

/// What stands before each of several parts. The first has no line end before it.
pub fn part_head(
    boundary: &str,
    content_type: &str,
    part: &Range<u64>,
    length: u64,
    is_first: bool,
) -> String {
    let line = if is_first { "" } else { "\r\n" };
    let content_range = content_range(part, length);
    format!(
        "{line}--{boundary}\r\nContent-Type: {content_type}\r\n\
         Content-Range: {content_range}\r\n\r\n"
    )
}

/// What stands behind the last of several parts.
pub fn parts_end(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}

/// The value of `Content-Range` for a 416 (RFC 9110 §15.5.17).
pub fn unsatisfied_range(length: u64) -> String {
    format!("bytes */{length}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_eleven_bytes() {
        use Selection::Part;
        use Selection::Parts;
        use Selection::Unsatisfiable;
        use Selection::Whole;
        for (value, selection) in [
            ("bytes=0-4", Part(0..5)),
            ("Bytes=0-4", Part(0..5)),
            ("bytes=2-", Part(2..11)),
            ("bytes=-5", Part(6..11)),
            ("bytes=-500", Part(0..11)),
            ("bytes=5-1000", Part(5..11)),
            ("bytes=5-99999999999999999999", Part(5..11)),
            ("bytes=0-0", Part(0..1)),
            ("bytes=10-10", Part(10..11)),
            ("bytes=0-10", Part(0..11)),
            ("bytes= 0-4 ,", Part(0..5)),
            ("bytes=0-,1-,2-,3-,4-", Whole),
            ("bytes=0-1,20-", Part(0..2)),
            ("bytes=20-,0-1", Part(0..2)),
            ("bytes=1-2 , 4-5\t,,7-8 ,", Parts(vec![1..3, 4..6, 7..9])),
            ("bytes=-1,0-0", Parts(vec![10..11, 0..1])),
            ("bytes=0-4,5-10", Parts(vec![0..5, 5..11])),
            ("bytes=0-4,20-,5-9", Parts(vec![0..5, 5..10])),
            ("bytes=0-4,4-5", Whole),
            ("bytes=4-5,0-4", Whole),
            ("bytes=0-0,0-0", Whole),
            ("bytes=0-1,-11", Whole),
            ("bytes=0-1,x", Unsatisfiable),
            ("bytes=0-1,5-4", Unsatisfiable),
            // RFC 9110 §14.1.1 has no blank within a range.
            ("bytes=   1 -2   ,  4- 5, 7 - 8 , ,,", Unsatisfiable),
            ("bytes=11-", Unsatisfiable),
            ("bytes=99999999999999999999-", Unsatisfiable),
            ("bytes=11-,12-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=5-4", Unsatisfiable),
            ("bytes=", Unsatisfiable),
            ("bytes=-", Unsatisfiable),
            ("bytes=a-b", Unsatisfiable),
            ("bytes=+1-2", Unsatisfiable),
            ("bytes=1--2", Unsatisfiable),
            ("bytes=--2", Unsatisfiable),
            ("bytes=1 -2", Unsatisfiable),
            ("bytes=0-4;5", Unsatisfiable),
            ("bytes 0-4", Whole),
            ("lines=0-4", Whole),
            ("", Whole),
        ] {
            assert_eq!(select_of(value.as_bytes(), 11), selection, "{value}");
        }
        assert_eq!(select_of(b"bytes=0-4", 0), Whole);
    }

    #[test]
    fn parts_are_counted() {
        for (count, is_taken) in [(RANGES_MAX, true), (RANGES_MAX + 1, false)] {
            let parts = (0..count).map(|index| format!("{}-{}", 2 * index, 2 * index));
            let value = format!("bytes={}", parts.collect::<Vec<_>>().join(","));
            let found = select_of(value.as_bytes(), 1_000);
            assert_eq!(matches!(found, Selection::Parts(_)), is_taken, "{count}");
            assert_eq!(found == Selection::Whole, !is_taken, "{count}");
        }
    }

    #[test]
    fn several_parts_are_framed() {
        let mut text = part_head("b", "text/plain", &(0..2), 11, true) + "ab";
        text += &part_head("b", "text/plain", &(4..5), 11, false);
        text += "e";
        text += &parts_end("b");
        assert_eq!(
            text,
            "--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/11\r\n\r\nab\
             \r\n--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 4-4/11\r\n\r\ne\
             \r\n--b--\r\n"
        );
        assert_eq!(multipart_type("b"), "multipart/byteranges; boundary=b");
    }

    #[test]
    fn two_fields_are_ignored() {
        let mut headers = Headers::new();
        assert_eq!(select(&headers, 11), Selection::Whole);
        headers.append("Range", "bytes=0-4").unwrap();
        assert_eq!(select(&headers, 11), Selection::Part(0..5));
        headers.append("Range", "bytes=0-4").unwrap();
        assert_eq!(select(&headers, 11), Selection::Whole);
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range(&(0..5), 11), "bytes 0-4/11");
        assert_eq!(unsatisfied_range(11), "bytes */11");
    }
}
