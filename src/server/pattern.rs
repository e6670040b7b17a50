//! What a route answers: a method, a host and the shape of a path.
//!
//! ```text
//!   GET example.com/users/{id}/files/{path...}
//!   ─┬─ ─────┬───── ──┬── ─┬── ──┬── ────┬────
//!  method   host   literal wild literal rest
//! ```

#[cfg(test)]
pub(in crate::server) mod exhaustive;
mod relation;

use std::fmt;
use std::ops::Range;

use ::http::Method;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::limits::ROUTE_PARAMS_MAX;

pub use crate::server::pattern::relation::Relation;

/// One segment of a pattern's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text, percent-decoded. Empty only as the last one: a path that ends with `/`.
    Literal(Box<str>),
    /// `{name}`: any one segment that is not empty.
    Wild(Box<str>),
    /// `{name...}`, or a final `/`: everything that is left, which may be nothing. Always last.
    Rest(Option<Box<str>>),
}

/// A parsed pattern: `[METHOD ][HOST]/PATH`.
///
/// The path is made of literal segments, `{name}` (one segment), `{name...}` (all that is left) and
/// `{$}` (nothing is left). A pattern that ends with `/` answers everything beneath it; with `/{$}`
/// it answers only the path itself. These are the rules of Go's `net/http`, with these differences:
/// a host is compared without regard to case; a pattern that could never match (`//`, `.`, `..`, a
/// host with a port) is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    method: Option<Method>,
    host: Option<Box<str>>,
    segments: Vec<Segment>,
    /// Segments that capture something.
    captures: usize,
}

impl Pattern {
    /// Parses a pattern; the error says which rule it breaks, and at which byte.
    pub fn parse(text: &str) -> Result<Pattern> {
        parse(text).map_err(|(offset, rule)| {
            Error::new(
                ErrorKind::Invalid,
                format!("route pattern {text:?}, at byte {offset}: {rule}"),
            )
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The method it is limited to.
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// The host it is limited to, in lower case, without a port.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The segments of its path.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The pattern of a route in a router that is nested at this one, a prefix that ends with `/`.
    pub(in crate::server) fn joined(&self, inner: &Pattern) -> Result<Pattern> {
        let (host, prefix) = split_host(&self.text);
        let (inner_host, path) = split_host(&inner.text);
        let (method, inner_host) = match &inner.method {
            Some(method) => (format!("{method} "), inner.host.as_deref().unwrap_or("")),
            None => (String::new(), inner_host),
        };
        if !host.is_empty() && !inner_host.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "route pattern {:?} has a host, and so has its prefix {:?}",
                    inner.text, self.text
                ),
            ));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        Pattern::parse(&format!("{method}{host}{inner_host}{prefix}{path}"))
    }

    /// True when it answers all that lies beneath its path: `{name...}`, or a final `/`.
    pub fn takes_rest(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest(_)))
    }

    /// How many names it has.
    pub fn captures_count(&self) -> usize {
        self.captures
    }

    /// The names, and what they stand for in a path that it takes: byte ranges, still
    /// percent-encoded. Cheaper than to note it while searching, when most of it is given up.
    pub fn captures<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, Range<usize>)> {
        let mut at = 1;
        self.segments.iter().filter_map(move |segment| {
            let span = segment.span(path, at);
            at = span.end + 1;
            segment.name().map(|name| (name, span))
        })
    }

    /// The names of what it captures, in the order of the path. An anonymous rest (a final `/`)
    /// has the empty name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }
}

impl Segment {
    /// What it stands for in a path that its pattern takes, when it begins at `at`.
    pub(in crate::server) fn span(&self, path: &str, at: usize) -> Range<usize> {
        let left = path.as_bytes().get(at..).unwrap_or_default();
        let slash = match self {
            Segment::Rest(_) => None,
            _ => left.iter().position(|&byte| byte == b'/'),
        };
        at.min(path.len())..slash.map_or(path.len(), |length| at + length)
    }

    /// The name of what it captures; `None` for a literal.
    pub(in crate::server) fn name(&self) -> Option<&str> {
        match self {
            Segment::Literal(_) => None,
            Segment::Wild(name) => Some(name),
            Segment::Rest(name) => Some(name.as_deref().unwrap_or("")),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where in the text which rule is broken.
type Broken = (usize, &'static str);

fn parse(text: &str) -> Result<Pattern, Broken> {
    if text.is_empty() {
        return Err((0, "it is empty"));
    }
    let (method, rest) = parse_method(text)?;
    let host_at = text.len() - rest.len();
    let slash = rest
        .find('/')
        .ok_or((host_at, "a path begins with '/', also behind a host"))?;
    let (host, path) = rest.split_at(slash);
    check_host(host).map_err(|rule| (host_at, rule))?;
    let path_at = host_at + slash;
    if let Some(at) = path.find(['?', '#']) {
        let rule = "a path has no query and no fragment: write '?' as %3F, '#' as %23";
        return Err((path_at + at, rule));
    }
    let segments = parse_path(path, path_at)?;
    let is_everything = matches!(&segments[..], [Segment::Rest(_)])
        || matches!(&segments[..], [Segment::Literal(text)] if text.is_empty());
    if method == Some(Method::CONNECT) && !is_everything {
        return Err((path_at, "a CONNECT request has a host and no path"));
    }
    Ok(Pattern {
        text: text.to_owned(),
        method,
        host: (!host.is_empty()).then(|| host.to_ascii_lowercase().into()),
        captures: segments.iter().filter_map(Segment::name).count(),
        segments,
    })
}

/// What stands before the first slash, and the path. Methods and hosts have no slash.
fn split_host(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').expect("a pattern has a path"))
}

fn parse_method(text: &str) -> Result<(Option<Method>, &str), Broken> {
    let Some((method, rest)) = text.split_once([' ', '\t']) else {
        return Ok((None, text));
    };
    if method.contains('/') {
        // A blank within the path, which stands for %20.
        return Ok((None, text));
    }
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| (0, "what comes before the space is no method"))?;
    Ok((Some(method), rest.trim_start_matches([' ', '\t'])))
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.contains(['{', '}']) {
        return Err("a host has no wildcards; is the '/' before it missing?");
    }
    let name = match host.strip_prefix('[') {
        Some(address) => address
            .strip_suffix(']')
            .ok_or("a host has no port, and an IPv6 address its brackets")?,
        None if host.contains(':') => {
            return Err("a host has no port: that of a request is not looked at");
        }
        None => host,
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"@?#\\[]".contains(&byte);
    if !name.bytes().all(is_plain) {
        return Err("a host is a plain name in ASCII");
    }
    Ok(())
}

fn parse_path(path: &str, path_at: usize) -> Result<Vec<Segment>, Broken> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut at = path_at + 1;
    let mut pieces = path[1..].split('/').peekable();
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        let segment = parse_segment(piece, is_last).map_err(|rule| (at, rule))?;
        if let Some(name) = segment.name() {
            let mut others = segments.iter().filter_map(Segment::name);
            if others.any(|other| other == name) {
                return Err((at, "two wildcards have the same name"));
            }
        }
        segments.push(segment);
        at += piece.len() + 1;
    }
    if segments.iter().filter_map(Segment::name).count() > ROUTE_PARAMS_MAX {
        return Err((path_at, "too many wildcards"));
    }
    Ok(segments)
}

fn parse_segment(piece: &str, is_last: bool) -> Result<Segment, &'static str> {
    if piece.is_empty() {
        return if is_last {
            Ok(Segment::Rest(None))
        } else {
            Err("a path has no empty segments: those of requests are removed")
        };
    }
    if matches!(piece, "." | "..") {
        return Err("a path has no '.' and no '..': those of requests are removed");
    }
    let Some(inner) = piece.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
        if piece.contains(['{', '}']) {
            return Err("a wildcard fills a whole segment: write '{' as %7B, '}' as %7D");
        }
        let text = percent_encoding::percent_decode_str(piece)
            .decode_utf8()
            .map_err(|_| "a literal segment is UTF-8")?;
        return Ok(Segment::Literal(text.into()));
    };
    if inner == "$" {
        return if is_last {
            Ok(Segment::Literal("".into()))
        } else {
            Err("'{$}' stands at the end only")
        };
    }
    let (name, is_rest) = match inner.strip_suffix("...") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if !is_identifier(name) {
        return Err("the name of a wildcard is made of letters, digits and '_'");
    }
    match (is_rest, is_last) {
        (true, true) => Ok(Segment::Rest(Some(name.into()))),
        (true, false) => Err("'{name...}' stands at the end only"),
        (false, _) => Ok(Segment::Wild(name.into())),
    }
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|first| first == '_' || first.is_alphabetic())
        && characters.all(|other| other == '_' || other.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.into())
    }

    fn wild(name: &str) -> Segment {
        Segment::Wild(name.into())
    }

    #[test]
    fn every_part_is_found() {
        let pattern = Pattern::parse("GET Example.com/users/{id}/{rest...}").unwrap();
        assert_eq!(pattern.method(), Some(&Method::GET));
        assert_eq!(pattern.host(), Some("example.com"));
        assert_eq!(
            pattern.segments(),
            [
                literal("users"),
                wild("id"),
                Segment::Rest(Some("rest".into()))
            ]
        );
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["id", "rest"]);
        assert_eq!(pattern.to_string(), "GET Example.com/users/{id}/{rest...}");
    }

    #[test]
    fn shapes_of_paths() {
        let table: &[(&str, &[Segment])] = &[
            ("/", &[Segment::Rest(None)]),
            ("/{$}", &[literal("")]),
            ("/a", &[literal("a")]),
            ("/a/", &[literal("a"), Segment::Rest(None)]),
            ("/a/{$}", &[literal("a"), literal("")]),
            ("/a%2Fb/c%20d", &[literal("a/b"), literal("c d")]),
            ("/{ä_1}", &[wild("ä_1")]),
            ("POST  /x", &[literal("x")]),
            ("GET\t /x", &[literal("x")]),
            ("CONNECT /", &[Segment::Rest(None)]),
            ("CONNECT example.com/{$}", &[literal("")]),
            ("/a b/c", &[literal("a b"), literal("c")]),
            ("/%61/%7B", &[literal("a"), literal("{")]),
            ("/%2E%2e", &[literal("..")]),
            ("/%zz", &[literal("%zz")]),
            ("[::1]/a", &[literal("a")]),
        ];
        for (text, segments) in table {
            assert_eq!(
                Pattern::parse(text).unwrap().segments(),
                *segments,
                "{text}"
            );
        }
    }

    /// Pattern, byte where it is broken, words of the rule.
    const BROKEN: &[(&str, usize, &str)] = &[
        ("", 0, "empty"),
        ("GET", 0, "begins with '/'"),
        ("GET ", 4, "begins with '/'"),
        ("GET example.com", 4, "begins with '/'"),
        ("example.com", 0, "begins with '/'"),
        ("G(T /", 0, "no method"),
        ("A=B /", 0, "no method"),
        (" /", 0, "no method"),
        ("\t/", 0, "no method"),
        ("{a}/b", 0, "no wildcards"),
        ("GET {host}/a", 4, "no wildcards"),
        ("a{b}c/", 0, "no wildcards"),
        ("example.com:80/", 0, "no port"),
        ("PUT [::1]:80/", 4, "no port"),
        ("[::1/", 0, "brackets"),
        ("user@example.com/", 0, "plain name"),
        ("bücher.example/", 0, "plain name"),
        ("/a//b", 3, "empty segments"),
        ("GET //", 5, "empty segments"),
        ("//", 1, "empty segments"),
        ("/a/./b", 3, "no '.'"),
        ("GET /a/..", 7, "no '.'"),
        ("/{w}x", 1, "whole segment"),
        ("/x{w}", 1, "whole segment"),
        ("/{wx", 1, "whole segment"),
        ("/wx}", 1, "whole segment"),
        ("/{", 1, "whole segment"),
        ("/{a}{b}", 1, "letters"),
        ("/{}", 1, "letters"),
        ("/{...}", 1, "letters"),
        ("/{1a}", 1, "letters"),
        ("/{a-b}", 1, "letters"),
        ("/{a$}", 1, "letters"),
        ("/{a b}", 1, "letters"),
        ("/a/{.x}", 3, "letters"),
        ("/{$}/", 1, "end only"),
        ("/{$}/a", 1, "end only"),
        ("/{a...}/", 1, "end only"),
        ("/{a...}/b", 1, "end only"),
        ("/a/{x}/b/{x...}", 9, "same name"),
        ("/{a}/{a}", 5, "same name"),
        ("/a?b", 2, "no query"),
        ("/a#b", 2, "no query"),
        ("/x/%FF", 3, "UTF-8"),
        ("CONNECT /tunnel", 8, "no path"),
        (
            "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}",
            0,
            "too many",
        ),
    ];

    #[test]
    fn broken_rules_are_named_with_their_place() {
        for (text, offset, rule) in BROKEN {
            let error = Pattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(rule), "{text:?}: {error}");
            let place = format!("{text:?}, at byte {offset}: ");
            assert!(error.contains(&place), "{text:?}: {error}");
        }
    }
}
