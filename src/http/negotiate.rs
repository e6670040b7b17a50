//! What a client prefers (RFC 9110 §12): codings by `Accept-Encoding`, media types by `Accept`.
//!
//! ```text
//!   "br;q=0.9, gzip, *;q=0"   br → 900, gzip → 1000, zstd → 0, identity → 0
//! ```
//!
//! Weights are thousandths; 0 means "not that". What is malformed in a list is left out.

use crate::http::headers::Headers;
use crate::http::token;

/// The weight of a content coding: 0 to 1,000, or `None` where neither its name nor `*` is listed;
/// then only `identity` may be sent (RFC 9110 §12.5.3). `x-gzip` is another name of `gzip`.
pub fn coding_weight(headers: &Headers, coding: &str) -> Option<u16> {
    let (mut own, mut any) = (None, None);
    for (name, weight) in elements(headers, "accept-encoding") {
        let name = if name.eq_ignore_ascii_case(b"x-gzip") {
            b"gzip"
        } else {
            name
        };
        if name == b"*" {
            any = any.or(Some(weight));
        } else if name.eq_ignore_ascii_case(coding.as_bytes()) {
            own = own.or(Some(weight));
        }
    }
    own.or(any)
}

/// The weight of a media type without parameters: 0 to 1,000, by its most specific range (RFC 9110
/// §12.5.1). Without the field everything is wanted.
pub fn type_weight(headers: &Headers, media_type: &str) -> u16 {
    if !headers.contains("accept") {
        return 1_000;
    }
    let kind = media_type.split('/').next().unwrap_or_default();
    let mut best = (0, 0);
    for (range, weight) in elements(headers, "accept") {
        let group = range.strip_suffix(b"/*");
        let rank = if range.eq_ignore_ascii_case(media_type.as_bytes()) {
            3
        } else if group.is_some_and(|group| group.eq_ignore_ascii_case(kind.as_bytes())) {
            2
        } else if range == b"*/*" {
            1
        } else {
            continue;
        };
        if rank > best.0 {
            best = (rank, weight);
        }
    }
    best.1
}

/// The elements of the lists in the fields `name`: what stands before the parameters, and the
/// weight.
fn elements<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = (&'a [u8], u16)> + 'a {
    headers
        .get_all(name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .filter_map(|element| {
            let mut words = element.split(|&byte| byte == b';').map(token::trim);
            let name = words.next().filter(|name| !name.is_empty())?;
            let mut weight = 1_000;
            for word in words {
                let digits = word.strip_prefix(b"q=").or(word.strip_prefix(b"Q="));
                if let Some(digits) = digits {
                    weight = thousandths(digits)?;
                }
            }
            Some((name, weight))
        })
}

/// `0`, `1`, `0.123`, `1.000` (RFC 9110 §12.4.2).
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut weight = u16::from(*whole - b'0') * 1_000;
    for (digit, place) in fraction.iter().zip([100, 10, 1]) {
        weight += u16::from(*digit - b'0') * place;
    }
    (weight <= 1_000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_codings() {
        for (value, coding, weight) in [
            ("gzip", "gzip", Some(1_000)),
            ("GZIP;Q=0.5", "gzip", Some(500)),
            ("x-gzip", "gzip", Some(1_000)),
            ("gzip", "br", None),
            ("br;q=0.9, gzip , *;q=0.1", "br", Some(900)),
            ("br;q=0.9, gzip , *;q=0.1", "zstd", Some(100)),
            ("br;q=0.9, gzip , *;q=0.1", "identity", Some(100)),
            ("*;q=0", "identity", Some(0)),
            ("*;q=0, identity", "identity", Some(1_000)),
            ("identity;q=0", "identity", Some(0)),
            ("gzip", "identity", None),
            ("", "gzip", None),
            ("gzip;q=0", "gzip", Some(0)),
            ("gzip;q=0.000", "gzip", Some(0)),
            ("gzip;q=0.001", "gzip", Some(1)),
            ("gzip; q=1.000", "gzip", Some(1_000)),
            // Malformed elements are left out.
            ("gzip;q=1.001", "gzip", None),
            ("gzip;q=2", "gzip", None),
            ("gzip;q=", "gzip", None),
            ("gzip;q=0.1234", "gzip", None),
            ("gzip;q=-1, br", "br", Some(1_000)),
            (",,;q=1,br", "br", Some(1_000)),
        ] {
            let headers = Headers::from_pairs([("Accept-Encoding", value)]).unwrap();
            assert_eq!(coding_weight(&headers, coding), weight, "{value} {coding}");
        }
        assert_eq!(coding_weight(&Headers::new(), "gzip"), None);
    }

    #[test]
    fn weights_of_types() {
        for (value, media_type, weight) in [
            ("application/json", "application/json", 1_000),
            ("application/json", "text/html", 0),
            ("text/*;q=0.5, */*;q=0.1", "text/html", 500),
            ("text/*;q=0.5, */*;q=0.1", "application/json", 100),
            ("text/html;level=1;q=0.4", "text/html", 400),
            ("*/*, application/json;q=0", "application/json", 0),
            ("nonsense", "text/html", 0),
        ] {
            let headers = Headers::from_pairs([("Accept", value)]).unwrap();
            assert_eq!(type_weight(&headers, media_type), weight, "{value}");
        }
        assert_eq!(type_weight(&Headers::new(), "text/html"), 1_000);
    }
}
