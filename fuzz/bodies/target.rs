//! Request targets: what the router and the file handler make of percent-coded paths.
//!
//! ```text
//!   target ─► Request ─► path ─► RelativePath ◄── small reader: never above the root
//!                          └───► Router ─► parameters ─► file handler ─► the same path, once decoded
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Component;

use roundtrip::Request;
use roundtrip::Router;
use roundtrip::http::target::InvalidPath;
use roundtrip::http::target::RelativePath;
use roundtrip::http::target::percent_decode;
use roundtrip::http::target::percent_encode_segment;
use roundtrip::internals::named_beneath;
use roundtrip::server::router::Routed;

use super::reference;

/// A request target.
pub fn target(data: &[u8]) {
    check_encoding(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    assert_eq!(
        percent_decode(text).map(|found| found.to_vec()),
        reference::decoded(data)
    );
    check_path(text);
    let is_visible = data.iter().all(|b| b.is_ascii_graphic() && *b != b'#');
    let request = Request::for_target("GET", text);
    assert_eq!(request.is_ok(), is_visible && !data.is_empty(), "{text}");
    if let Ok(request) = request {
        check_path(request.path());
        check_files(&request);
        check_routes(request);
    }
}

/// Any name can be written as a segment, and is read again; nobody takes it for anything else.
fn check_encoding(name: &[u8]) {
    let coded = percent_encode_segment(name);
    assert!(coded.bytes().all(|b| b.is_ascii_graphic()));
    assert!(!coded.contains(['/', '?', '#', ':', '"', '<', '>', '\\']));
    let decoded = percent_decode(&coded).expect("what was encoded is decoded");
    assert_eq!(decoded.as_ref(), name);
}

/// What the small reader makes of a path, without dot segments.
fn normalised(path: &str) -> Result<(Vec<Vec<u8>>, bool), InvalidPath> {
    let rest = path.strip_prefix('/').ok_or(InvalidPath::NotAbsolute)?;
    let (mut names, mut is_directory) = (Vec::new(), true);
    for segment in rest.split('/') {
        let name = reference::decoded(segment.as_bytes()).ok_or(InvalidPath::BadEscape)?;
        if name.contains(&b'/') || name.contains(&0) {
            return Err(InvalidPath::BadByte);
        }
        is_directory = [&b""[..], b".", b".."].contains(&&name[..]);
        if is_directory && segment.contains('%') {
            return Err(InvalidPath::CodedDots);
        }
        if name == b".." {
            names.pop();
        } else if !is_directory {
            names.push(name);
        }
    }
    Ok((names, is_directory))
}

fn check_path(path: &str) {
    let found = RelativePath::of_target(path);
    let (relative, names) = match (found, normalised(path)) {
        (Ok(relative), Ok((names, is_directory))) => {
            assert_eq!(relative.is_directory(), is_directory, "{path}");
            (relative, names)
        }
        (found, expected) => {
            assert_eq!(found.err(), expected.err(), "{path}");
            return;
        }
    };
    assert_eq!(relative.as_bytes(), names.join(&b'/'), "{path}");
    for component in relative.as_path().components() {
        assert!(matches!(component, Component::Normal(_)), "{path}");
    }
    assert!(!relative.as_bytes().contains(&0), "{path}");
    // Written again, it means the same, and nothing is left to remove.
    let mut again = String::new();
    for name in &names {
        again.push('/');
        again.push_str(&percent_encode_segment(name));
    }
    if again.is_empty() || relative.is_directory() {
        again.push('/');
    }
    assert_eq!(RelativePath::of_target(&again), Ok(relative), "{path}");
    // How a character is written changes nothing.
    let coded = escaped_everywhere(path);
    assert_eq!(
        RelativePath::of_target(&coded).map(|same| same.as_bytes().to_vec()),
        Ok(names.join(&b'/')),
        "{coded}"
    );
}

/// The path with every byte of every segment escaped that is not part of an escape; dot segments
/// are no names, and stay.
fn escaped_everywhere(path: &str) -> String {
    let decoded = path.split('/').map(|segment| {
        if [".", ".."].contains(&segment) {
            return segment.to_owned();
        }
        let name = reference::decoded(segment.as_bytes()).expect("it was decoded before");
        let coded = name.iter().map(|byte| format!("%{byte:02x}"));
        coded.collect::<String>()
    });
    decoded.collect::<Vec<_>>().join("/")
}

/// The file handler without parameters takes the whole path.
fn check_files(request: &Request) {
    let expected = normalised(request.path()).ok();
    let expected =
        expected.map(|(names, is_directory)| (OsString::from_vec(names.join(&b'/')), is_directory));
    assert_eq!(named_beneath(request), expected, "{}", request.target());
}

/// Patterns of different shapes: each with the number of segments before what it leaves open.
const PATTERNS: [(&str, usize); 8] = [
    ("/{$}", 0),
    ("/users/{id}", 0),
    ("/users/{id}/posts/{post}", 0),
    ("/files/{path...}", 1),
    ("/a%20b/c/{path...}", 2),
    ("/x/{id}/files/{path...}", 3),
    ("/static/", 1),
    ("/%25/{rest...}", 1),
];

fn router() -> Router {
    let routes = PATTERNS.iter().enumerate();
    routes.fold(Router::new(), |router, (at, (pattern, _))| {
        router.get(pattern, move |_: &Request| at.to_string())
    })
}

/// A segment of a pattern, as the small reader sees it.
fn is_match(pattern: &str, segments: &[&str]) -> bool {
    let mut segments = segments.iter();
    for part in pattern[1..].split('/') {
        if part == "{$}" {
            return segments.next() == Some(&"") && segments.next().is_none();
        }
        if part.is_empty() || part.ends_with("...}") {
            return segments.next().is_some();
        }
        let Some(segment) = segments.next() else {
            return false;
        };
        let is_wild = part.starts_with('{');
        let decoded = reference::decoded_leniently(segment.as_bytes());
        let expected = reference::decoded_leniently(part.as_bytes());
        if (is_wild && segment.is_empty()) || (!is_wild && decoded != expected) {
            return false;
        }
    }
    segments.next().is_none()
}

/// True for what the router sends to the path that it means.
fn is_unclean(segments: &[&str]) -> bool {
    let is_dots = |segment: &&str| [".", ".."].contains(segment);
    let (last, others) = segments.split_last().expect("a path has a segment");
    is_dots(last) || others.iter().any(|one| one.is_empty() || is_dots(one))
}

fn check_routes(mut request: Request) {
    thread_local! {
        static ROUTER: Router = router();
    }
    let path = request.path().to_owned();
    let segments: Vec<&str> = path.get(1..).unwrap_or_default().split('/').collect();
    let matching: Vec<usize> = (0..PATTERNS.len())
        .filter(|at| path.starts_with('/') && is_match(PATTERNS[*at].0, &segments))
        .collect();
    let refused = ROUTER.with(|router| match router.find(&mut request) {
        Routed::Endpoint { .. } => None,
        Routed::Refused(response) => Some(response),
    });
    let is_found = refused.is_none();
    if let Some(response) = refused {
        let location = response.headers().get("location").unwrap_or("");
        let is_sent = response.status_code().as_u16() == 307;
        assert!(is_sent || response.status_code().as_u16() == 404, "{path}");
        assert_eq!(is_sent, location.starts_with('/'), "{path}: {location}");
        // Never to another host.
        assert!(!location.starts_with("//"), "{path}: {location}");
        assert!(!location.starts_with("/\\"), "{path}: {location}");
        if is_unclean(&segments) {
            assert!(is_sent, "{path}");
            return;
        }
        assert!(!is_sent || !path.ends_with('/'), "{path}: {location}");
    }
    assert_eq!(is_found, !matching.is_empty(), "{path}: {matching:?}");
    // No two of the patterns match the same path.
    let [at] = matching[..] else {
        assert!(matching.is_empty(), "{path}: {matching:?}");
        return;
    };
    let (pattern, before) = PATTERNS[at];
    check_params(&request, pattern, &segments);
    if before > 0 {
        // What the pattern leaves open is decoded once, and by nobody else.
        let open = format!("/{}", segments[before..].join("/"));
        let expected = Request::for_target("GET", &open).expect("a part of a target");
        assert_eq!(
            named_beneath(&request),
            named_beneath(&expected),
            "{pattern} {path}"
        );
    }
}

fn check_params(request: &Request, pattern: &str, segments: &[&str]) {
    let mut params = request.params_bytes();
    for (at, part) in pattern[1..].split('/').enumerate() {
        let is_rest = part.is_empty() || part.ends_with("...}");
        if !is_rest && !part.starts_with('{') || part == "{$}" {
            continue;
        }
        let raw = if is_rest {
            segments[at..].join("/")
        } else {
            segments[at].to_owned()
        };
        let value = reference::decoded_leniently(raw.as_bytes());
        let (name, found) = params.next().expect("one for each wildcard");
        assert_eq!(name, part.trim_matches(['{', '}', '.']));
        assert_eq!(found, value, "{pattern} {}", request.path());
    }
    assert!(params.next().is_none(), "and no other");
}
