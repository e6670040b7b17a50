//! What a route answers: a method, a host and the shape of a path.
//!
//! ```text
//!   GET example.com/users/{id}/files/{path...}
//!   ─┬─ ─────┬───── ──┬── ─┬── ──┬── ────┬────
//!  method   host   literal wild literal rest
//! ```

use std::fmt;

use ::http::Method;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::limits::ROUTE_PARAMS_MAX;

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
/// it answers only the path itself. These are the rules of Go's `net/http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    method: Option<Method>,
    host: Option<Box<str>>,
    segments: Vec<Segment>,
}

impl Pattern {
    /// Parses a pattern; the error says which rule it breaks.
    pub fn parse(text: &str) -> Result<Pattern> {
        parse(text).map_err(|rule| {
            Error::new(
                ErrorKind::Invalid,
                format!("route pattern {text:?}: {rule}"),
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

    /// The names of what it captures, in the order of the path. An anonymous rest (a final `/`)
    /// has the empty name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }
}

impl Segment {
    fn name(&self) -> Option<&str> {
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

fn parse(text: &str) -> Result<Pattern, &'static str> {
    let (method, rest) = parse_method(text)?;
    let slash = rest.find('/').ok_or("a path begins with '/'")?;
    let (host, path) = rest.split_at(slash);
    if host.contains(['{', '}', ' ', '@', '?', '#']) {
        return Err("a host is a plain name, without wildcards");
    }
    if path.contains(['?', '#']) {
        return Err("a path has no query and no fragment");
    }
    let segments = parse_path(path)?;
    Ok(Pattern {
        text: text.to_owned(),
        method,
        host: (!host.is_empty()).then(|| host.to_ascii_lowercase().into()),
        segments,
    })
}

fn parse_method(text: &str) -> Result<(Option<Method>, &str), &'static str> {
    let Some((method, rest)) = text.split_once([' ', '\t']) else {
        return Ok((None, text));
    };
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| "what comes before the space is no method")?;
    Ok((Some(method), rest.trim_start_matches([' ', '\t'])))
}

fn parse_path(path: &str) -> Result<Vec<Segment>, &'static str> {
    let mut segments = Vec::new();
    let mut pieces = path[1..].split('/').peekable();
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        segments.push(parse_segment(piece, last)?);
    }
    let mut names: Vec<&str> = segments.iter().filter_map(Segment::name).collect();
    if names.len() > ROUTE_PARAMS_MAX {
        return Err("too many wildcards");
    }
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("two wildcards have the same name");
    }
    Ok(segments)
}

fn parse_segment(piece: &str, last: bool) -> Result<Segment, &'static str> {
    if piece.is_empty() {
        return if last {
            Ok(Segment::Rest(None))
        } else {
            Err("a path has no empty segments")
        };
    }
    let Some(inner) = piece.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
        if piece.contains(['{', '}']) {
            return Err("a wildcard fills a whole segment");
        }
        let text = percent_encoding::percent_decode_str(piece)
            .decode_utf8()
            .map_err(|_| "a literal segment is UTF-8")?;
        return Ok(Segment::Literal(text.into()));
    };
    if inner == "$" {
        return if last {
            Ok(Segment::Literal("".into()))
        } else {
            Err("'{$}' stands at the end only")
        };
    }
    let (name, rest) = match inner.strip_suffix("...") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if !is_identifier(name) {
        return Err("the name of a wildcard is made of letters, digits and '_'");
    }
    match (rest, last) {
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
        ];
        for (text, segments) in table {
            assert_eq!(
                Pattern::parse(text).unwrap().segments(),
                *segments,
                "{text}"
            );
        }
    }

    #[test]
    fn broken_rules_are_named() {
        let table = [
            ("", "begins with '/'"),
            ("GET", "begins with '/'"),
            ("GET example.com", "begins with '/'"),
            ("G(T /", "no method"),
            (" /", "no method"),
            ("{host}/a", "plain name"),
            ("/a//b", "empty segments"),
            ("//", "empty segments"),
            ("/a{b}", "whole segment"),
            ("/{b}c", "whole segment"),
            ("/{", "whole segment"),
            ("/{}", "letters"),
            ("/{1a}", "letters"),
            ("/{a-b}", "letters"),
            ("/{...}", "letters"),
            ("/{a}/{a}", "same name"),
            ("/{a}/{a...}", "same name"),
            ("/{$}/a", "end only"),
            ("/{a...}/b", "end only"),
            ("/a?b", "no query"),
            ("/%FF", "UTF-8"),
            (
                "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}",
                "too many",
            ),
        ];
        for (text, rule) in table {
            let error = Pattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(rule), "{text:?}: {error}");
        }
    }
}
