//! From a request to a path beneath the root.
//!
//! ```text
//!   /static/a%20b/../c  ── route /static/{path...} ──► "/a%20b/../c" ──► "c"
//! ```

use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::http::request::Request;
use crate::http::target::RelativePath;
use crate::http::target::percent_decode;

/// What a request names beneath the root.
pub(super) struct Target {
    /// Without slashes at its ends; empty for the root itself.
    pub(super) path: OsString,
    /// True exactly when the request can only mean a directory.
    pub(super) is_directory: bool,
}

impl Target {
    pub(super) fn of_request(request: &Request) -> Option<Target> {
        open_path(request).and_then(Target::of)
    }

    /// `None` for what no file can be called.
    pub(super) fn of(path: &str) -> Option<Target> {
        let relative = RelativePath::of_target(path).ok()?;
        Some(Target {
            is_directory: relative.is_directory(),
            path: relative.into(),
        })
    }

    /// For openat2(2).
    pub(super) fn relative(&self) -> &OsStr {
        if self.path.is_empty() {
            OsStr::new(".")
        } else {
            &self.path
        }
    }

    /// True when a segment begins with a dot. `.well-known` at the root does not count: what is
    /// there is meant to be found (RFC 8615).
    pub(super) fn is_hidden(&self) -> bool {
        let path = self.path.as_bytes();
        let path = match path.strip_prefix(b".well-known") {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
            _ => path,
        };
        let mut segments = path.split(|&byte| byte == b'/');
        segments.any(|segment| segment.starts_with(b"."))
    }
}

/// What a request names beneath the root of its route: the path without slashes at its ends, and
/// whether it can only be a directory. For tests of the whole way from a target to a file.
#[doc(hidden)]
pub fn named_beneath(request: &Request) -> Option<(OsString, bool)> {
    let target = Target::of_request(request)?;
    Some((target.path, target.is_directory))
}

/// The part of the path that the route leaves open, as it came, with a slash before it. `None` when
/// it does not begin behind a slash.
fn open_path(request: &Request) -> Option<&str> {
    let path = request.path();
    let Some((_, rest)) = request.params_bytes().last() else {
        return path.starts_with('/').then_some(path);
    };
    let start = path.len().saturating_sub(rest.len());
    if path.as_bytes().ends_with(rest) && path.as_bytes()[..start].ends_with(b"/") {
        return Some(&path[start - 1..]);
    }
    // The parameter is decoded, which must not happen twice. It ends the path, so that it is the
    // one suffix that decodes to it. Lengths tell which: to decode each would be quadratic.
    let (mut end, mut escapes) = (path.len(), 0);
    for (at, _) in path.rmatch_indices('/') {
        escapes += path[at..end].matches('%').count();
        end = at;
        let coded = &path[at + 1..];
        if coded.len() == rest.len() + 2 * escapes
            && percent_decode(coded).is_some_and(|decoded| *decoded == *rest)
        {
            return Some(&path[at..]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_path_of(target: &str, params: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::for_target("GET", target).unwrap();
        for (name, value) in params {
            request.push_param_bytes(name, &percent_decode(value).unwrap());
        }
        open_path(&request).map(str::to_owned)
    }

    #[test]
    fn the_open_part_of_a_long_path_is_found_at_once() {
        let open = format!("{}{}", "/".repeat(8_000), "%41".repeat(2_700));
        let decoded = format!("{}{}", "/".repeat(8_000), "A".repeat(2_700));
        let target = format!("/files/{open}");
        let found = open_path_of(&target, &[("path", &decoded)]);
        assert_eq!(found, Some(format!("/{open}")));
    }

    #[test]
    fn the_open_part_of_the_path() {
        type Params = &'static [(&'static str, &'static str)];
        let table: &[(&str, Params, Option<&str>)] = &[
            ("/a/b", &[], Some("/a/b")),
            ("/a/b?c", &[("path", "a/b")], Some("/a/b")),
            ("/files/a/b", &[("path", "a/b")], Some("/a/b")),
            ("/files/", &[("path", "")], Some("/")),
            (
                "/x/b/a%2Fb",
                &[("id", "x"), ("", "b/a/b")],
                Some("/b/a%2Fb"),
            ),
            ("/f/%25.txt", &[("path", "%25.txt")], Some("/%25.txt")),
            ("/f/%FF", &[("path", "%FF")], Some("/%FF")),
            ("/f/%25FF", &[("path", "%25FF")], Some("/%25FF")),
            (
                "/%25FF/%FF",
                &[("", "%25FF"), ("path", "%FF")],
                Some("/%FF"),
            ),
            ("*", &[], None),
        ];
        for (target, params, expected) in table {
            assert_eq!(
                open_path_of(target, params).as_deref(),
                *expected,
                "{target}"
            );
        }
    }

    #[test]
    fn targets_stay_inside() {
        let path = |text: &str| Target::of(text).map(|target| target.path);
        let some = |name: &[u8]| Some(OsStr::from_bytes(name).to_owned());
        assert_eq!(path("/a/../../../b"), some(b"b"));
        assert_eq!(path("/a/../b%20"), some(b"b "));
        assert_eq!(path("/a/%FF"), some(b"a/\xff"));
        for coded in ["/%2e%2e/b", "/a/%2E./b", "/a/.%2e", "/a/%2e", "/%2e/b"] {
            assert_eq!(path(coded), None, "{coded}");
        }
        assert_eq!(path("/..%2fb"), None);
        assert_eq!(path("/a%00"), None);
    }

    #[test]
    fn dots_hide() {
        for (path, is_hidden) in [
            ("", false),
            ("a/b.c", false),
            (".git/config", true),
            ("a/.env", true),
            (".well-known/acme-challenge/x", false),
            (".well-known", false),
            (".well-known-not", true),
            (".well-known/.x", true),
            ("a/.well-known/x", true),
        ] {
            let target = Target {
                path: path.into(),
                is_directory: false,
            };
            assert_eq!(target.is_hidden(), is_hidden, "{path}");
        }
    }
}
