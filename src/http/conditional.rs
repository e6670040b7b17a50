//! Conditional requests (RFC 9110 §13): whether the client already has it, or may change it.
//!
//! ```text
//!   If-Match ── no ──► 412          (strong comparison)
//!      │ absent
//!   If-Unmodified-Since ── no ──► 412
//!      │
//!   If-None-Match ── no ──► 304 for GET and HEAD, else 412     (weak comparison)
//!      │ absent
//!   If-Modified-Since ── no ──► 304, GET and HEAD only
//!      ▼
//!   proceed; a Range counts if If-Range agrees
//! ```

use std::fmt;

use ::http::Method;

use crate::http::date;
use crate::http::headers::Headers;

/// What identifies the state of a representation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'a> {
    /// Its entity tag.
    pub etag: Option<EntityTag<'a>>,
    /// When it was changed last, in seconds since 1970.
    pub last_modified: Option<u64>,
}

/// What the preconditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Go on.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client thinks.
    Failed,
}

/// An entity tag (RFC 9110 §8.8.3): `"opaque"`, or `W/"opaque"` when it is weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// True exactly when equal tags do not promise equal bytes.
    pub is_weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// A tag that promises equal bytes. `None` where a byte may not stand in a tag.
    pub fn strong(opaque: &'a str) -> Option<EntityTag<'a>> {
        let opaque = opaque.as_bytes();
        opaque.iter().all(is_tag_byte).then_some(EntityTag {
            is_weak: false,
            opaque,
        })
    }

    /// The tag that `text` spells, with its quotes and nothing else.
    pub fn parse(text: &'a [u8]) -> Option<EntityTag<'a>> {
        match EntityTag::parse_first(text)? {
            (tag, []) => Some(tag),
            _ => None,
        }
    }

    /// The tag with which `text` begins, and the rest.
    fn parse_first(text: &'a [u8]) -> Option<(EntityTag<'a>, &'a [u8])> {
        let (is_weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| !is_tag_byte(byte))?;
        let rest = inner[end..].strip_prefix(b"\"")?;
        let opaque = &inner[..end];
        Some((EntityTag { is_weak, opaque }, rest))
    }

    /// Both are strong and equal (RFC 9110 §8.8.3.2).
    pub fn is_strongly(self, other: EntityTag<'_>) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }

    /// Equal but for weakness (RFC 9110 §8.8.3.2).
    pub fn is_weakly(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// RFC 9110 §8.8.3: visible characters but the quote, and bytes beyond ASCII. Commas may be among
/// them, so a list cannot be split at commas.
fn is_tag_byte(byte: &u8) -> bool {
    *byte == 0x21 || (0x23..=0x7e).contains(byte) || *byte >= 0x80
}

impl fmt::Display for EntityTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weak = if self.is_weak { "W/" } else { "" };
        write!(f, "{weak}\"{}\"", String::from_utf8_lossy(self.opaque))
    }
}

/// Evaluates the preconditions of a request in the order of RFC 9110 §13.2.2, for a representation
/// that exists and has these validators. `now` is the wall clock in seconds since 1970.
pub fn evaluate(
    method: &Method,
    headers: &Headers,
    validators: Validators<'_>,
    now: u64,
) -> Precondition {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    if headers.contains("if-match") {
        if !is_listed(headers, "if-match", validators, |a, b| a.is_strongly(b)) {
            return Precondition::Failed;
        }
    } else if let Some(since) = date_field(headers, "if-unmodified-since", now)
        && validators.last_modified.is_some_and(|last| last > since)
    {
        return Precondition::Failed;
    }
    if headers.contains("if-none-match") {
        if is_listed(headers, "if-none-match", validators, |a, b| a.is_weakly(b)) {
            return match is_read {
                true => Precondition::NotModified,
                false => Precondition::Failed,
            };
        }
    } else if is_read
        && let Some(since) = date_field(headers, "if-modified-since", now)
        && validators.last_modified.is_some_and(|last| last <= since)
    {
        return Precondition::NotModified;
    }
    Precondition::Proceed
}

/// True when a `Range` field counts: there is no `If-Range`, or it names exactly this state by a
/// strong tag or by its date (RFC 9110 §13.1.5).
pub fn range_counts(headers: &Headers, validators: Validators<'_>, now: u64) -> bool {
    let mut values = headers.get_all("if-range");
    let value = match (values.next(), values.next()) {
        (None, _) => return true,
        (Some(value), None) => value,
        (Some(_), Some(_)) => return false,
    };
    if let Some(tag) = EntityTag::parse(value) {
        return validators.etag.is_some_and(|etag| etag.is_strongly(tag));
    }
    let text = std::str::from_utf8(value).ok();
    let since = text.and_then(|text| date::parse(text, now));
    // A date is a strong validator once its second is over (RFC 9110 §8.8.2.2): what changed now
    // may change once more before it is.
    since.is_some_and(|since| since < now) && since == validators.last_modified
}

/// True when the list of tags in the fields `name` holds `*` or the representation's tag. What
/// stands behind a malformed element does not count.
fn is_listed(
    headers: &Headers,
    name: &str,
    validators: Validators<'_>,
    is_same: impl Fn(EntityTag<'_>, EntityTag<'_>) -> bool,
) -> bool {
    headers.get_all(name).any(|value| {
        if value == b"*" {
            return true;
        }
        let mut rest = skip_separators(value);
        while let Some((tag, after)) = EntityTag::parse_first(rest) {
            if validators.etag.is_some_and(|etag| is_same(etag, tag)) {
                return true;
            }
            rest = skip_separators(after);
        }
        false
    })
}

fn skip_separators(text: &[u8]) -> &[u8] {
    let is_separator = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
    let start = text.iter().position(|byte| !is_separator(byte));
    &text[start.unwrap_or(text.len())..]
}

/// The date of a field that stands once and holds one; anything else is ignored, as RFC 9110
/// §13.1.3 says.
fn date_field(headers: &Headers, name: &str, now: u64) -> Option<u64> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    date::parse(std::str::from_utf8(value).ok()?, now)
}

#[cfg(test)]
mod tests {
    use Precondition::Failed;
    use Precondition::NotModified;
    use Precondition::Proceed;

    use super::*;

    const NOW: u64 = 1_790_000_000;
    const CHANGED: u64 = 784_111_777;
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn validators(etag: &str) -> Validators<'_> {
        Validators {
            etag: EntityTag::parse(etag.as_bytes()),
            last_modified: Some(CHANGED),
        }
    }

    #[test]
    fn tags() {
        for (text, tag) in [
            ("\"\"", Some((false, ""))),
            ("\"a,b\"", Some((false, "a,b"))),
            ("W/\"a\"", Some((true, "a"))),
            ("w/\"a\"", None),
            ("\"a", None),
            ("a", None),
            ("\"a b\"", None),
            ("\"a\"x", None),
        ] {
            let found = EntityTag::parse(text.as_bytes());
            let found = found.map(|tag| (tag.is_weak, std::str::from_utf8(tag.opaque).unwrap()));
            assert_eq!(found, tag, "{text}");
        }
        assert_eq!(EntityTag::strong("a-1").unwrap().to_string(), "\"a-1\"");
        assert!(EntityTag::strong("a\"").is_none());
    }

    #[test]
    fn preconditions_in_order() {
        for (method, etag, fields, expected) in [
            ("GET", "\"a\"", &[][..], Proceed),
            // If-Match: strong comparison.
            ("GET", "\"a\"", &[("If-Match", "\"b\", \"a\"")], Proceed),
            ("GET", "\"a\"", &[("If-Match", "*")], Proceed),
            ("GET", "\"a\"", &[("If-Match", "\"b\"")], Failed),
            ("GET", "\"a\"", &[("If-Match", "")], Failed),
            ("PUT", "W/\"A\"", &[("If-Match", "W/\"A\"")], Failed),
            // If-Unmodified-Since, only without If-Match.
            ("PUT", "\"a\"", &[("If-Unmodified-Since", BEFORE)], Failed),
            ("PUT", "\"a\"", &[("If-Unmodified-Since", SAME)], Proceed),
            (
                "PUT",
                "\"a\"",
                &[("If-Unmodified-Since", "yesterday")],
                Proceed,
            ),
            (
                "PUT",
                "\"a\"",
                &[("If-Match", "\"a\""), ("If-Unmodified-Since", BEFORE)],
                Proceed,
            ),
            // If-None-Match: weak comparison.
            (
                "GET",
                "W/\"foo\"",
                &[("If-None-Match", "\"baz\", W/\"foo\"")],
                NotModified,
            ),
            (
                "HEAD",
                "\"foo\"",
                &[("If-None-Match", "W/\"foo\"")],
                NotModified,
            ),
            (
                "GET",
                "\"a,b\"",
                &[("If-None-Match", "\"x\",\"a,b\"")],
                NotModified,
            ),
            ("GET", "\"b\"", &[("If-None-Match", "\"a,b\"")], Proceed),
            ("GET", "\"a\"", &[("If-None-Match", "*")], NotModified),
            ("PUT", "\"a\"", &[("If-None-Match", "*")], Failed),
            ("GET", "\"a\"", &[("If-None-Match", ",")], Proceed),
            ("GET", "\"a\"", &[("If-None-Match", "x, \"a\"")], Proceed),
            // Two fields are one list.
            (
                "GET",
                "\"a\"",
                &[("If-None-Match", "\"b\""), ("if-none-match", "\"a\"")],
                NotModified,
            ),
            // If-Modified-Since, only without If-None-Match, and for reads.
            ("GET", "\"a\"", &[("If-Modified-Since", SAME)], NotModified),
            ("GET", "\"a\"", &[("If-Modified-Since", AFTER)], NotModified),
            ("GET", "\"a\"", &[("If-Modified-Since", BEFORE)], Proceed),
            ("POST", "\"a\"", &[("If-Modified-Since", AFTER)], Proceed),
            ("GET", "\"a\"", &[("If-Modified-Since", "0")], Proceed),
            (
                "GET",
                "\"a\"",
                &[("If-None-Match", "\"b\""), ("If-Modified-Since", AFTER)],
                Proceed,
            ),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let headers = Headers::from_pairs(fields.iter().copied()).unwrap();
            let found = evaluate(&method, &headers, validators(etag), NOW);
            assert_eq!(found, expected, "{method} {etag} {headers:?}");
        }
    }

    #[test]
    fn without_validators_dates_do_not_count() {
        let headers = Headers::from_pairs([("If-Modified-Since", AFTER)]).unwrap();
        let found = evaluate(&Method::GET, &headers, Validators::default(), NOW);
        assert_eq!(found, Proceed);
    }

    #[test]
    fn if_range() {
        for (etag, value, counts) in [
            ("\"a\"", "\"a\"", true),
            ("\"a\"", "\"b\"", false),
            ("W/\"a\"", "W/\"a\"", false),
            ("\"a\"", SAME, true),
            ("\"a\"", BEFORE, false),
            ("\"a\"", AFTER, false),
            ("\"a\"", "x", false),
        ] {
            let headers = Headers::from_pairs([("If-Range", value)]).unwrap();
            let found = range_counts(&headers, validators(etag), NOW);
            assert_eq!(found, counts, "{etag} {value}");
        }
        assert!(range_counts(&Headers::new(), validators("\"a\""), NOW));
        let headers = Headers::from_pairs([("If-Range", SAME)]).unwrap();
        assert!(range_counts(&headers, validators("\"a\""), CHANGED + 1));
        assert!(!range_counts(&headers, validators("\"a\""), CHANGED));
    }
}
