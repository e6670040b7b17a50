//! The `Range` field (RFC 9110 §14): which part of a representation is asked for.
//!
//! ```text
//!   "bytes=0-4"   ──► Part(0..5)      206, Content-Range: bytes 0-4/11
//!   "bytes=-5"    ──► Part(6..11)
//!   "bytes=11-"   ──► Unsatisfiable   416, Content-Range: bytes */11
//!   "lines=1-2"   ──► Whole           200: a unit that we do not know is ignored
//!   "bytes=0-1,4-5" ► Whole           200: one part at a time
//! ```

use std::ops::Range;

use crate::http::headers::Headers;
use crate::http::token;

/// What a `Range` field selects of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: no field, another unit, more than one part, or nothing to take a part of.
    Whole,
    /// One part, not empty, within the representation.
    Part(Range<u64>),
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

/// What one value of the field selects of `length` bytes.
pub fn select_of(value: &[u8], length: u64) -> Selection {
    let Some(equals) = memchr::memchr(b'=', value) else {
        return Selection::Whole;
    };
    let (unit, list) = (&value[..equals], &value[equals + 1..]);
    if !unit.eq_ignore_ascii_case(b"bytes") || length == 0 {
        return Selection::Whole;
    }
    let mut found = None;
    let mut count = 0;
    let elements = list.split(|&byte| byte == b',').map(token::trim);
    for element in elements.filter(|element| !element.is_empty()) {
        count += 1;
        match part(element, length) {
            Ok(Some(range)) if found.is_none() => found = Some(range),
            // A second part: the whole is sent, as the server may choose to.
            Ok(Some(_)) => return Selection::Whole,
            Ok(None) => {}
            Err(Malformed) => return Selection::Unsatisfiable,
        }
    }
    match found {
        Some(range) if count == 1 => Selection::Part(range),
        Some(_) => Selection::Whole,
        None => Selection::Unsatisfiable,
    }
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
            ("bytes=0-1,20-", Whole),
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
