//! The `Range` field, and the conditions that stand beside it.
//!
//! ```text
//!   value, length ──► select ──► Whole │ Part │ Parts │ Unsatisfiable ◄── small reader
//!   value ──► If-Match, If-None-Match, If-…-Since ──► answers that fit each other
//! ```

use std::ops::Range;

use http::Method;
use roundtrip::http::conditional::EntityTag;
use roundtrip::http::conditional::Precondition;
use roundtrip::http::conditional::Validators;
use roundtrip::http::conditional::evaluate;
use roundtrip::http::conditional::range_counts;
use roundtrip::http::date;
use roundtrip::http::headers::Headers;
use roundtrip::http::range::Selection;
use roundtrip::http::range::content_range;
use roundtrip::http::range::select;
use roundtrip::http::range::select_of;
use roundtrip::http::range::unsatisfied_range;
use roundtrip::limits::RANGES_MAX;

use super::reference::trim;
use super::splits::Random;

/// A value of the field, for representations of several lengths.
pub fn range(data: &[u8]) {
    check_conditions(data);
    let odd = Random::of(data).number();
    for length in [
        0,
        1,
        2,
        11,
        1_000,
        odd % 100,
        odd,
        i64::MAX as u64,
        u64::MAX,
    ] {
        let found = select_of(data, length);
        let shown = || format!("{} of {length}", data.escape_ascii());
        assert_eq!(found, expected(data, length), "{}", shown());
        if let Selection::Part(part) = &found {
            assert!(part.start < part.end && part.end <= length, "{}", shown());
            let text = content_range(part, length);
            let numbers = text.strip_prefix("bytes ").expect("the unit");
            let (first, rest) = numbers.split_once('-').expect("a dash");
            let (last, whole) = rest.split_once('/').expect("a slash");
            assert_eq!(first, part.start.to_string());
            assert_eq!(last, (part.end - 1).to_string());
            assert_eq!(whole, length.to_string());
            // What was sent can be asked for, and is then the same.
            let again = format!("bytes={first}-{last}");
            assert_eq!(select_of(again.as_bytes(), length), found);
        }
        assert_eq!(unsatisfied_range(length), format!("bytes */{length}"));
        let mut headers = Headers::new();
        if headers.append("Range", data).is_ok() {
            assert_eq!(select(&headers, length), select_of(trim(data), length));
            headers.append("range", "bytes=0-0").expect("a field");
            assert_eq!(select(&headers, length), Selection::Whole);
        }
    }
}

/// The same value as a condition of each kind, for a file with this tag and time.
fn check_conditions(data: &[u8]) {
    const CHANGED: u64 = 784_111_777;
    const NOW: u64 = CHANGED + 1_000_000;
    let validators = Validators {
        etag: EntityTag::strong("a"),
        last_modified: Some(CHANGED),
    };
    let ask = |method: Method, name: &str| {
        let mut headers = Headers::new();
        headers.append(name, data).ok()?;
        Some(evaluate(&method, &headers, validators, NOW))
    };
    let Some(by_match) = ask(Method::GET, "If-Match") else {
        return;
    };
    let by_none = ask(Method::GET, "If-None-Match");
    assert_ne!(by_match, Precondition::NotModified);
    assert_ne!(by_none, Some(Precondition::Failed));
    // Who has it by the strong comparison has it by the weak one.
    let is_matched = by_match == Precondition::Proceed;
    assert!(!is_matched || by_none == Some(Precondition::NotModified));
    // A change is refused exactly where a reader would be told that it has it.
    let by_put = ask(Method::PUT, "If-None-Match");
    let is_had = by_none == Some(Precondition::NotModified);
    assert_eq!(by_put == Some(Precondition::Failed), is_had);
    let until = ask(Method::GET, "If-Unmodified-Since");
    let since = ask(Method::GET, "If-Modified-Since");
    assert_ne!(until, Some(Precondition::NotModified));
    assert_ne!(since, Some(Precondition::Failed));
    let is_changed = until == Some(Precondition::Failed);
    assert!(!is_changed || since == Some(Precondition::Proceed));
    let mut headers = Headers::new();
    headers
        .append("If-Range", data)
        .expect("it was a field before");
    let is_tag = EntityTag::parse(trim(data)).is_some();
    let tag = validators.etag.expect("a tag");
    if range_counts(&headers, validators, NOW) && is_tag {
        assert_eq!(EntityTag::parse(trim(data)), Some(tag));
    }
    let text = std::str::from_utf8(data).unwrap_or_default();
    if let Some(seconds) = date::parse(text, NOW) {
        let again = date::format(seconds);
        let again = std::str::from_utf8(&again).expect("ASCII");
        assert_eq!(date::parse(again, NOW), Some(seconds), "{again}");
    }
}

/// What RFC 9110 §14 says, with 128 bits.
fn expected(value: &[u8], length: u64) -> Selection {
    let text: String = value.iter().map(|b| char::from(*b)).collect();
    let Some((unit, list)) = text.split_once('=') else {
        return Selection::Whole;
    };
    if !unit.eq_ignore_ascii_case("bytes") || length == 0 {
        return Selection::Whole;
    }
    let blanks = [' ', '\t'];
    let elements = list.split(',').map(|element| element.trim_matches(blanks));
    let elements: Vec<&str> = elements.filter(|element| !element.is_empty()).collect();
    let mut parts: Vec<Range<u64>> = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        // What stands behind too many is not looked at.
        if index == RANGES_MAX {
            return Selection::Whole;
        }
        match part(element, length) {
            None => return Selection::Unsatisfiable,
            Some(part) => parts.extend(part),
        }
    }
    let meets = |a: &Range<u64>, b: &Range<u64>| a.start.max(b.start) < a.end.min(b.end);
    let is_twice = parts
        .iter()
        .enumerate()
        .any(|(index, part)| parts[..index].iter().any(|other| meets(part, other)));
    match parts.len() {
        0 => Selection::Unsatisfiable,
        1 => Selection::Part(parts.remove(0)),
        _ if is_twice => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

/// `None` where it is malformed, `Some(None)` where it lies outside.
fn part(element: &str, length: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = element.split_once('-')?;
    let number = |text: &str| -> Option<u128> {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // Beyond 38 digits any number is large.
        is_number.then(|| text.parse().unwrap_or(u128::MAX))
    };
    let length = u128::from(length);
    let (start, end) = match (first, last) {
        ("", last) => (length - number(last)?.min(length), length),
        (first, "") => (number(first)?, length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            // Numbers that do not fit into 64 bits are all the same.
            if last.min(u128::from(u64::MAX)) < first.min(u128::from(u64::MAX)) {
                return None;
            }
            (first, last.saturating_add(1).min(length))
        }
    };
    let small = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
    Some((start < length).then(|| small(start)..small(end)))
}
