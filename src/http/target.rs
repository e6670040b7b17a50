//! Paths of request targets: percent-decoding, dot segments, what may name a file.
//!
//! ```text
//!   "/a/%62/./x/../c%20d/"  ──► segments, each decoded by itself ──► "a/b/c d", a directory
//! ```
//!
//! Each segment is decoded before dots are looked at and never after it was joined, so that
//! `%2e%2e` is a dot segment and `%2f` can never become a separator.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use percent_encoding::AsciiSet;
use percent_encoding::CONTROLS;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::percent_encode;

use crate::error::Error;
use crate::error::ErrorKind;

/// Decodes `%XX`; everything else stays, `+` too. `None` where a `%` is not followed by two
/// hexadecimal digits (RFC 3986 §2.1).
pub fn percent_decode(text: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = text.as_bytes();
    let Some(first) = memchr::memchr(b'%', bytes) else {
        return Some(Cow::Borrowed(bytes));
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = tail;
            continue;
        }
        let (digits, tail) = tail.split_first_chunk::<2>()?;
        decoded.push(hex_digit(digits[0])? << 4 | hex_digit(digits[1])?);
        rest = tail;
    }
    Some(Cow::Owned(decoded))
}

pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// A path beneath some root, from a request target: decoded, without empty, `.` and `..` segments,
/// without NUL. It never begins with a slash and never leads out of the root by itself; what
/// symbolic links do is up to who opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelativePath {
    bytes: Vec<u8>,
    is_directory: bool,
}

/// Why a path of a target cannot name a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPath {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A `%` is not followed by two hexadecimal digits.
    BadEscape,
    /// A segment holds an encoded `/`, or NUL: no file name has them.
    BadByte,
    /// A segment is `.` or `..` with escapes. Routes, and what guards them, take it for a name: to go
    /// up with it would lead past them.
    CodedDots,
}

impl RelativePath {
    /// From the path of a target, still percent-coded ([`Request::path`]). `..` at the root stays
    /// at the root (RFC 3986 §5.2.4).
    ///
    /// [`Request::path`]: crate::http::request::Request::path
    pub fn of_target(path: &str) -> Result<RelativePath, InvalidPath> {
        let path = path.strip_prefix('/').ok_or(InvalidPath::NotAbsolute)?;
        let mut bytes = Vec::with_capacity(path.len());
        let mut is_directory = true;
        for segment in path.split('/') {
            let name = percent_decode(segment).ok_or(InvalidPath::BadEscape)?;
            if name.iter().any(|&byte| byte == b'/' || byte == 0) {
                return Err(InvalidPath::BadByte);
            }
            is_directory = matches!(&name[..], b"" | b"." | b"..");
            if is_directory && segment.contains('%') {
                return Err(InvalidPath::CodedDots);
            }
            match &name[..] {
                b"" | b"." => {}
                b".." => {
                    let parent = memchr::memrchr(b'/', &bytes);
                    bytes.truncate(parent.unwrap_or(0));
                }
                name => {
                    if !bytes.is_empty() {
                        bytes.push(b'/');
                    }
                    bytes.extend_from_slice(name);
                }
            }
        }
        Ok(RelativePath {
            bytes,
            is_directory,
        })
    }

    /// The path without slashes at its ends; empty for the root itself.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.bytes))
    }

    /// As [`RelativePath::as_path`]; file names are bytes, not text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True when the target ended in a slash or a dot segment: it can only mean a directory.
    pub fn is_directory(&self) -> bool {
        self.is_directory
    }
}

impl From<RelativePath> for OsString {
    fn from(path: RelativePath) -> OsString {
        OsString::from_vec(path.bytes)
    }
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidPath::NotAbsolute => "the path does not begin with a slash",
            InvalidPath::BadEscape => "a percent sign without two hexadecimal digits",
            InvalidPath::BadByte => "an encoded slash or NUL in the path",
            InvalidPath::CodedDots => "a dot segment in percent-coding",
        })
    }
}

impl std::error::Error for InvalidPath {}

impl From<InvalidPath> for Error {
    fn from(invalid: InvalidPath) -> Error {
        Error::new(ErrorKind::Invalid, invalid.to_string())
    }
}

/// What may stand as it is in a segment of a path: RFC 3986 §3.3, without the colon, which could
/// make a relative reference look like a URL with a scheme.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// Writes `name` so that it can stand as one segment of a path: for links in listings and
/// redirects.
pub fn percent_encode_segment(name: &[u8]) -> String {
    percent_encode(name, SEGMENT).to_string()
}

/// The text of a URL that came as bytes: as it is, and where it is not UTF-8 with `%XX` for each byte
/// beyond ASCII, so that it names the same.
pub fn url_text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => percent_encode(bytes, CONTROLS).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::ProptestConfig;
    use proptest::proptest;
    use std::path::Component;

    #[test]
    fn decodes_escapes() {
        for (text, decoded) in [
            ("", Some(&b""[..])),
            ("a+b", Some(b"a+b")),
            ("%61%2F%c3%A4", Some(b"a/\xc3\xa4")),
            ("a%00b", Some(b"a\0b")),
            ("%", None),
            ("%4", None),
            ("a%4g", None),
            ("%+4", None),
            ("%%41", None),
        ] {
            assert_eq!(percent_decode(text).as_deref(), decoded, "{text}");
        }
    }

    #[test]
    fn paths_beneath_the_root() {
        for (path, relative, is_directory) in [
            ("/", "", true),
            ("//", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a//b", "a/b", false),
            ("/a/./b", "a/b", false),
            ("/a/../b", "b", false),
            ("/a/..", "", true),
            ("/a/b/..", "a", true),
            ("/..", "", true),
            ("/../../etc/passwd", "etc/passwd", false),
            ("/...", "...", false),
            ("/..a/.b", "..a/.b", false),
            ("/a%20b", "a b", false),
            ("/a\\..\\b", "a\\..\\b", false),
            ("/%5c..%5c", "\\..\\", false),
            ("/%252e%252e/a", "%2e%2e/a", false),
        ] {
            let found = RelativePath::of_target(path).unwrap();
            assert_eq!(found.as_path(), Path::new(relative), "{path}");
            assert_eq!(found.is_directory(), is_directory, "{path}");
        }
        for (path, error) in [
            ("", InvalidPath::NotAbsolute),
            ("*", InvalidPath::NotAbsolute),
            ("a/b", InvalidPath::NotAbsolute),
            ("/a%00", InvalidPath::BadByte),
            ("/..%2f..%2fetc", InvalidPath::BadByte),
            ("/a%2Fb", InvalidPath::BadByte),
            ("/%2e%2e/etc", InvalidPath::CodedDots),
            ("/a/%2E./etc", InvalidPath::CodedDots),
            ("/a/%2e", InvalidPath::CodedDots),
            ("/a%", InvalidPath::BadEscape),
            ("/%zz", InvalidPath::BadEscape),
        ] {
            assert_eq!(RelativePath::of_target(path), Err(error), "{path}");
        }
    }

    #[test]
    fn encodes_names() {
        assert_eq!(
            percent_encode_segment(b"a b?#%\xff/"),
            "a%20b%3F%23%25%FF%2F"
        );
        assert_eq!(percent_encode_segment(b"x-1_~.html"), "x-1_~.html");
        assert_eq!(percent_encode_segment(b"c:d"), "c%3Ad");
    }

    #[test]
    fn texts_of_urls() {
        for (bytes, text) in [
            (&b"/a%"[..], "/a%"),
            ("/ä b".as_bytes(), "/ä b"),
            (b"http://u:\xff@h/%41?\xc3\xa4", "http://u:%FF@h/%41?%C3%A4"),
        ] {
            assert_eq!(url_text(bytes), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// No path leads out of the root, and none is absolute.
        #[test]
        fn never_out_of_the_root(path in "/([a./%]|%2e|%2E|%2f|%5c|\\.\\.|/){0,20}") {
            if let Ok(relative) = RelativePath::of_target(&path) {
                for component in relative.as_path().components() {
                    assert!(matches!(component, Component::Normal(_)), "{path}");
                }
            }
        }

        #[test]
        fn decodes_what_it_encodes(name in proptest::collection::vec(0u8.., 0..20)) {
            let encoded = percent_encode_segment(&name);
            assert_eq!(percent_decode(&encoded).unwrap(), &name[..]);
        }
    }
}
