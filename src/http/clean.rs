//! Paths that say in a roundabout way what they mean, and where they are sent.
//!
//! ```text
//!   /foo/../bar//baz?q=1   ──► /bar/baz?q=1          //evil.example/  ──► /evil.example/
//! ```
//!
//! Only what stands there is cleaned: `%2e` and `%2f` are bytes of a name and stay (RFC 3986 §2.2). A
//! place that a request is sent to is a path on the same host, whatever the request said.

use std::borrow::Cow;

use percent_encoding::AsciiSet;
use percent_encoding::CONTROLS;
use percent_encoding::utf8_percent_encode;

/// The path without `.`, `..` and empty segments, or `None` if it has none, or is no path. A slash at
/// its end stays, as Go's `net/http` does it.
pub(crate) fn cleaned(path: &str) -> Option<String> {
    if !may_be_unclean(path.as_bytes()) || !path.starts_with('/') || !is_unclean(path) {
        return None;
    }
    let mut clean = String::with_capacity(path.len());
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => clean.truncate(clean.rfind('/').unwrap_or(0)),
            name => {
                clean.push('/');
                clean.push_str(name);
            }
        }
    }
    if path.ends_with('/') || clean.is_empty() {
        clean.push('/');
    }
    Some(clean)
}

/// True when a slash or a dot stands behind a slash, which is false for nearly all paths: eight bytes at
/// a time, each beside the one behind it.
fn may_be_unclean(path: &[u8]) -> bool {
    let Some(last) = path.len().checked_sub(9) else {
        let mut pairs = path.iter().zip(path.iter().skip(1));
        return pairs.any(|(&byte, &next)| byte == b'/' && matches!(next, b'/' | b'.'));
    };
    let mut at = 0;
    while at < last {
        if has_suspicious_pair(path, at) {
            return true;
        }
        at += 8;
    }
    has_suspicious_pair(path, last)
}

/// The same for the nine bytes at a place.
#[inline]
fn has_suspicious_pair(path: &[u8], at: usize) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    const SLASHES: u64 = u64::from_le_bytes([b'/'; 8]);
    let nine: &[u8; 9] = path[at..].first_chunk().expect("nine bytes");
    let last = nine[8];
    let bytes = u64::from_le_bytes(*nine.first_chunk().expect("eight of nine"));
    let next = bytes >> 8 | u64::from(last) << 56;
    // A slash and a dot differ in the lowest bit alone. Where both bytes are right, there is a zero.
    let wrong = (bytes ^ SLASHES) | ((next | ONES) ^ SLASHES);
    wrong.wrapping_sub(ONES) & !wrong & TOPS != 0
}

fn is_unclean(path: &str) -> bool {
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !is_last) {
            return true;
        }
    }
    false
}

/// The value of `Location` for a clean path, with the query of the request. It begins with one
/// slash and no second one, nor a backslash, which browsers take for one: it cannot name a host.
pub(crate) fn location(path: &str, query: Option<&str>) -> String {
    let mut location = escaped(path).into_owned();
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    assert!(location.starts_with('/'), "a path on this host");
    assert!(!location.starts_with("//"), "no other host");
    location
}

/// A path or a URL of which what may stand nowhere in a URI is percent-encoded.
pub(crate) fn escaped(target: &str) -> Cow<'_, str> {
    utf8_percent_encode(target, NO_URI).into()
}

/// What may stand nowhere in a URI (RFC 3986 §2); `%` may have been put there by whoever wrote it.
/// Bytes that are not ASCII always are encoded.
const NO_URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        let table = [
            ("", None),
            ("*", None),
            ("a//b", None),
            ("/", None),
            ("/a", None),
            ("/a/", None),
            ("/a/b/c", None),
            ("/.well-known/x", None),
            ("/a/..b/.c/d./e../...", None),
            ("/%2e%2e/%2f/a", None),
            ("//", Some("/")),
            ("///", Some("/")),
            ("/.", Some("/")),
            ("/..", Some("/")),
            ("/./", Some("/")),
            ("/../../", Some("/")),
            ("/a//", Some("/a/")),
            ("//a", Some("/a")),
            ("/a//b", Some("/a/b")),
            ("/a/./b", Some("/a/b")),
            ("/a/.", Some("/a")),
            ("/a/b/..", Some("/a")),
            ("/a/b/../", Some("/a/")),
            ("/a/../../b", Some("/b")),
            ("/foo/../bar/./..//baz", Some("/baz")),
            ("//evil.example/..", Some("/")),
            ("//evil.example/%2e%2e", Some("/evil.example/%2e%2e")),
            ("/a/%2e/../b", Some("/a/b")),
        ];
        for (path, expected) in table {
            assert_eq!(cleaned(path).as_deref(), expected, "{path}");
            if let Some(clean) = expected {
                assert_eq!(cleaned(clean), None, "{path}");
            }
        }
    }

    #[test]
    fn suspicious_pairs_are_seen_everywhere() {
        for length in 0..40 {
            let usual: Vec<u8> = b"/a.b".iter().copied().cycle().take(length).collect();
            assert!(!may_be_unclean(&usual), "{length}");
            for at in 1..length {
                for pair in [b"//", b"/."] {
                    let mut path = usual.clone();
                    path[at - 1..=at].copy_from_slice(pair);
                    assert!(may_be_unclean(&path), "{length} {at}");
                }
            }
            assert!(!may_be_unclean(&b"/\xaf\xae0".repeat(length)));
        }
    }

    #[test]
    fn no_path_names_another_host() {
        let table = [
            ("/a/", Some("q=//x"), "/a/?q=//x"),
            ("/a", Some(""), "/a?"),
            ("/\\evil.example/", None, "/%5Cevil.example/"),
            ("/a{b}|\"<>`^", None, "/a%7Bb%7D%7C%22%3C%3E%60%5E"),
            ("/%2F%5c", None, "/%2F%5c"),
            ("/@evil.example:80;a=b&c", None, "/@evil.example:80;a=b&c"),
        ];
        for (path, query, expected) in table {
            assert_eq!(location(path, query), expected);
        }
    }

    #[test]
    fn every_short_path_ends_clean() {
        let mut paths = vec![String::from("/")];
        for _ in 0..7 {
            let longer = paths
                .iter()
                .flat_map(|path| ["/", ".", "a", "\\"].map(|next| format!("{path}{next}")));
            paths.extend(longer.collect::<Vec<_>>());
            paths.sort();
            paths.dedup();
        }
        assert!(paths.len() > 20_000);
        for path in paths {
            let Some(clean) = cleaned(&path) else {
                assert!(!path.starts_with("//"), "{path}");
                continue;
            };
            assert_eq!(cleaned(&clean), None, "{path}");
            let location = location(&clean, None);
            assert!(!location.starts_with("//") && !location.contains('\\'));
        }
    }
}
