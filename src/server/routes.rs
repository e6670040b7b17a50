//! The table of routes: patterns to values, a tree of path segments per host.
//!
//! ```text
//!   host ──► tree          no host ──► tree        the host's own tree is asked first
//!             │
//!             ├─ "users" ─ {wild} ─ leaf: GET, POST      literal, then wildcard, then rest,
//!             └─ {rest...} leaf: any method              going back when a branch leads nowhere
//! ```
//!
//! Pure: it holds any `T` and knows nothing of handlers or sockets. A look-up allocates nothing and
//! visits each node at most once.

use std::cmp::Ordering;

use ::http::Method;
use percent_encoding::percent_decode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::limits::ROUTE_PARAMS_MAX;
use crate::server::pattern::Pattern;
use crate::server::pattern::Segment;

/// Patterns and what belongs to them.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    entries: Vec<Entry<T>>,
    /// Sorted by host, in lower case.
    hosts: Vec<(Box<str>, Node)>,
    any_host: Node,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    pattern: Pattern,
    value: T,
}

/// A position in the path of a pattern.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Sorted by [`order`].
    literals: Vec<(Box<str>, Node)>,
    wild: Option<Box<Node>>,
    /// Patterns that take all that is left from here.
    rest: Leaf,
    /// Patterns that end here.
    end: Leaf,
}

/// The routes of one path, by method: indexes into the entries.
#[derive(Clone, Debug, Default)]
struct Leaf {
    /// Methods and their entries, in the order of registration.
    methods: Vec<(Method, usize)>,
    any_method: Option<usize>,
}

/// Where in the path of a request the wildcards of a pattern matched.
#[derive(Clone, Copy, Debug)]
pub struct Captures {
    spans: [(u32, u32); ROUTE_PARAMS_MAX],
    count: usize,
}

/// A route that answers a request.
#[derive(Debug)]
pub struct Match<'a, T> {
    /// What was registered.
    pub value: &'a T,
    /// Its pattern; its names belong to the captures, in order.
    pub pattern: &'a Pattern,
    /// Byte ranges of the request's path, still percent-encoded.
    pub captures: Captures,
}

impl<T> Default for Routes<T> {
    fn default() -> Routes<T> {
        Routes::new()
    }
}

impl<T> Routes<T> {
    /// No routes.
    pub const fn new() -> Routes<T> {
        Routes {
            entries: Vec::new(),
            hosts: Vec::new(),
            any_host: Node {
                literals: Vec::new(),
                wild: None,
                rest: Leaf::new(),
                end: Leaf::new(),
            },
        }
    }

    /// What belongs to the patterns, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|entry| &mut entry.value)
    }

    /// Adds a route. An equal pattern (same method, same host, same shape of path) is an error that
    /// names both.
    pub fn insert(&mut self, pattern: Pattern, value: T) -> Result<()> {
        let index = self.entries.len();
        let mut node = match pattern.host() {
            None => &mut self.any_host,
            Some(host) => host_node(&mut self.hosts, host),
        };
        let mut takes_rest = false;
        for segment in pattern.segments() {
            match segment {
                Segment::Literal(text) => node = node.literal_mut(text),
                Segment::Wild(_) => node = node.wild.get_or_insert_default(),
                Segment::Rest(_) => takes_rest = true,
            }
        }
        let leaf = if takes_rest {
            &mut node.rest
        } else {
            &mut node.end
        };
        if let Some(other) = leaf.exact(pattern.method()) {
            let other = &self.entries[other].pattern;
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "route pattern {:?} answers the same requests as {:?}",
                    pattern.as_str(),
                    other.as_str()
                ),
            ));
        }
        match pattern.method() {
            Some(method) => leaf.methods.push((method.clone(), index)),
            None => leaf.any_method = Some(index),
        }
        self.entries.push(Entry { pattern, value });
        Ok(())
    }

    /// The route that answers a request. `host` may carry a port; `path` is as on the wire, without
    /// its query. A literal segment beats a wildcard, a wildcard beats a rest; GET answers HEAD too.
    pub fn find(&self, method: &Method, host: &str, path: &str) -> Option<Match<'_, T>> {
        let path = path.as_bytes();
        let mut captures = Captures::none();
        if path.first() != Some(&b'/') || u32::try_from(path.len()).is_err() {
            return None;
        }
        let own = self.tree_of(host);
        let index = own
            .and_then(|tree| tree.find(method, path, 1, &mut captures))
            .or_else(|| self.any_host.find(method, path, 1, &mut captures))?;
        let entry = &self.entries[index];
        assert_eq!(
            captures.count,
            entry.pattern.names().count(),
            "captures belong to the pattern that matched"
        );
        Some(Match {
            value: &entry.value,
            pattern: &entry.pattern,
            captures,
        })
    }

    /// The methods that would find a route for this path, sorted, HEAD wherever GET is. Empty means
    /// that no method would; `None` in the answer of [`Routes::find`] is then a 404, else a 405.
    pub fn allowed(&self, host: &str, path: &str) -> Vec<Method> {
        let mut methods = Vec::new();
        if path.starts_with('/') {
            for tree in self.tree_of(host).into_iter().chain([&self.any_host]) {
                tree.collect_methods(path.as_bytes(), 1, &mut methods);
            }
        }
        if methods.contains(&Method::GET) {
            methods.push(Method::HEAD);
        }
        methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        methods
    }

    /// All patterns, in the order of registration.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.entries.iter().map(|entry| &entry.pattern)
    }

    /// True when some pattern is limited to a host: otherwise look-ups need none.
    pub fn has_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    fn tree_of(&self, host: &str) -> Option<&Node> {
        if self.hosts.is_empty() {
            return None;
        }
        let host = without_port(host);
        let found = self
            .hosts
            .binary_search_by(|(name, _)| compare_lowercase(name, host));
        found.ok().map(|at| &self.hosts[at].1)
    }
}

impl Captures {
    const fn none() -> Captures {
        Captures {
            spans: [(0, 0); ROUTE_PARAMS_MAX],
            count: 0,
        }
    }

    /// Byte ranges of the path, in the order of the pattern's names.
    pub fn iter(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.spans[..self.count]
            .iter()
            .map(|&(start, end)| start as usize..end as usize)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    fn push(&mut self, start: usize, end: usize) {
        // A pattern has at most ROUTE_PARAMS_MAX wildcards, and paths fit into 32 bits (checked by
        // `find`).
        self.spans[self.count] = (start as u32, end as u32);
        self.count += 1;
    }
}

impl Leaf {
    const fn new() -> Leaf {
        Leaf {
            methods: Vec::new(),
            any_method: None,
        }
    }

    fn exact(&self, method: Option<&Method>) -> Option<usize> {
        match method {
            None => self.any_method,
            Some(method) => self.of(method),
        }
    }

    fn of(&self, method: &Method) -> Option<usize> {
        self.methods
            .iter()
            .find(|(own, _)| own == method)
            .map(|&(_, index)| index)
    }

    /// The method's own route, GET's for HEAD, or the one for any method.
    fn find(&self, method: &Method) -> Option<usize> {
        self.of(method)
            .or_else(|| (method == Method::HEAD).then(|| self.of(&Method::GET))?)
            .or(self.any_method)
    }

    fn collect_methods(&self, methods: &mut Vec<Method>) {
        methods.extend(self.methods.iter().map(|(method, _)| method.clone()));
    }
}

/// Up to so many are compared one by one, which their lengths decide mostly.
const FEW_LITERALS: usize = 8;

/// The order of literal segments: by length, which most differ in, then by their bytes. Nothing is
/// compared with nothing: an empty string may point to no memory, and reading zero bytes there takes
/// a hundred nanoseconds with the masked loads of AVX-512.
fn order(own: &[u8], other: &[u8]) -> Ordering {
    own.len().cmp(&other.len()).then_with(|| match own {
        [] => Ordering::Equal,
        own => own.cmp(other),
    })
}

impl Node {
    fn literal_mut(&mut self, text: &str) -> &mut Node {
        let order = |(own, _): &(Box<str>, Node)| order(own.as_bytes(), text.as_bytes());
        let at = match self.literals.binary_search_by(order) {
            Ok(at) => at,
            Err(at) => {
                self.literals.insert(at, (text.into(), Node::default()));
                at
            }
        };
        &mut self.literals[at].1
    }

    /// The child for a segment as it stands in the path.
    fn literal(&self, segment: &[u8]) -> Option<&Node> {
        if self.literals.is_empty() {
            return None;
        }
        if segment.is_empty() {
            // The end of the path: sorted, it stands first.
            return self
                .literals
                .first()
                .filter(|(own, _)| own.is_empty())
                .map(|(_, node)| node);
        }
        let at = if segment.contains(&b'%') {
            self.literals
                .iter()
                .position(|(own, _)| percent_decode(segment).eq(own.bytes()))?
        } else if self.literals.len() <= FEW_LITERALS {
            let is_same = |own: &str| own.len() == segment.len() && own.as_bytes() == segment;
            self.literals.iter().position(|(own, _)| is_same(own))?
        } else {
            self.literals
                .binary_search_by(|(own, _)| order(own.as_bytes(), segment))
                .ok()?
        };
        Some(&self.literals[at].1)
    }

    /// Looks for the rest of `path`, whose next segment begins at `at`; an `at` past the end means
    /// that no segment is left.
    fn find(
        &self,
        method: &Method,
        path: &[u8],
        at: usize,
        captures: &mut Captures,
    ) -> Option<usize> {
        if at > path.len() {
            return self.end.find(method);
        }
        let end = segment_end(path, at);
        let segment = &path[at..end];
        if let Some(node) = self.literal(segment)
            && let Some(index) = node.find(method, path, end + 1, captures)
        {
            return Some(index);
        }
        let count = captures.count;
        if !segment.is_empty()
            && let Some(node) = &self.wild
        {
            captures.push(at, end);
            if let Some(index) = node.find(method, path, end + 1, captures) {
                return Some(index);
            }
            captures.count = count;
        }
        let index = self.rest.find(method)?;
        captures.push(at, path.len());
        Some(index)
    }

    fn collect_methods(&self, path: &[u8], at: usize, methods: &mut Vec<Method>) {
        if at > path.len() {
            return self.end.collect_methods(methods);
        }
        let end = segment_end(path, at);
        if let Some(node) = self.literal(&path[at..end]) {
            node.collect_methods(path, end + 1, methods);
        }
        if end > at
            && let Some(node) = &self.wild
        {
            node.collect_methods(path, end + 1, methods);
        }
        self.rest.collect_methods(methods);
    }
}

fn host_node<'a>(hosts: &'a mut Vec<(Box<str>, Node)>, host: &str) -> &'a mut Node {
    let at = match hosts.binary_search_by(|(name, _)| (**name).cmp(host)) {
        Ok(at) => at,
        Err(at) => {
            hosts.insert(at, (host.into(), Node::default()));
            at
        }
    };
    &mut hosts[at].1
}

fn segment_end(path: &[u8], at: usize) -> usize {
    memchr::memchr(b'/', &path[at..]).map_or(path.len(), |length| at + length)
}

/// The host of an authority: `example.com:80` → `example.com`, `[::1]:80` → `[::1]`.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

fn compare_lowercase(lower: &str, other: &str) -> Ordering {
    lower
        .bytes()
        .cmp(other.bytes().map(|byte| byte.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::prop;
    use proptest::prelude::prop_assert_eq;
    use proptest::prelude::proptest;

    use super::*;

    fn routes(patterns: &[&'static str]) -> Routes<&'static str> {
        let mut routes = Routes::new();
        for &pattern in patterns {
            routes
                .insert(Pattern::parse(pattern).unwrap(), pattern)
                .unwrap();
        }
        routes
    }

    /// Finds `METHOD [host]path` and renders the pattern with what it captured.
    fn answer(routes: &Routes<&'static str>, request: &str) -> String {
        let (method, target) = request.split_once(' ').unwrap();
        let slash = target.find('/').unwrap_or(0);
        let (host, path) = target.split_at(slash);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        match routes.find(&method, host, path) {
            None => {
                let allowed = routes.allowed(host, path);
                let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
                format!("none {}", names.join(","))
            }
            Some(found) => {
                let mut text = found.value.to_string();
                for (name, span) in found.pattern.names().zip(found.captures.iter()) {
                    text += &format!(" {name}={}", &path[span]);
                }
                text
            }
        }
    }

    fn check(patterns: &[&'static str], table: &[(&str, &str)]) {
        let mut reversed = patterns.to_vec();
        reversed.reverse();
        for patterns in [patterns, &reversed] {
            let routes = routes(patterns);
            for (request, expected) in table {
                assert_eq!(answer(&routes, request), *expected, "{request}");
            }
        }
    }

    #[test]
    fn literal_beats_wild_beats_rest() {
        check(
            &["/a/b", "/a/{x}", "/a/{rest...}", "/{x}/b"],
            &[
                ("GET /a/b", "/a/b"),
                ("GET /a/c", "/a/{x} x=c"),
                ("GET /a/c/d", "/a/{rest...} rest=c/d"),
                ("GET /a/", "/a/{rest...} rest="),
                ("GET /a", "none "),
                ("GET /z/b", "/{x}/b x=z"),
                ("GET /z/c", "none "),
            ],
        );
    }

    #[test]
    fn goes_back_when_a_branch_leads_nowhere() {
        check(
            &["/a/b/c", "/a/{x}/d", "/{x}/b/{y}/e", "/{rest...}"],
            &[
                ("GET /a/b/c", "/a/b/c"),
                ("GET /a/b/d", "/a/{x}/d x=b"),
                ("GET /a/b/c/e", "/{x}/b/{y}/e x=a y=c"),
                ("GET /a/b/c/f", "/{rest...} rest=a/b/c/f"),
                ("GET /", "/{rest...} rest="),
            ],
        );
    }

    #[test]
    fn a_final_slash_is_everything_beneath() {
        check(
            &["/", "/{$}", "/tree/", "/exact/{$}", "/plain"],
            &[
                ("GET /", "/{$}"),
                ("GET /x", "/ =x"),
                ("GET /tree/", "/tree/ ="),
                ("GET /tree/a/b", "/tree/ =a/b"),
                ("GET /tree", "/ =tree"),
                ("GET /exact/", "/exact/{$}"),
                ("GET /exact/more", "/ =exact/more"),
                ("GET /plain", "/plain"),
                ("GET /plain/", "/ =plain/"),
            ],
        );
    }

    #[test]
    fn methods_and_what_they_allow() {
        check(
            &[
                "GET /a",
                "POST /a",
                "/b",
                "GET /c/{x}",
                "PUT /c/d",
                "HEAD /h",
                "GET /h",
            ],
            &[
                ("GET /a", "GET /a"),
                ("HEAD /a", "GET /a"),
                ("POST /a", "POST /a"),
                ("PUT /a", "none GET,HEAD,POST"),
                ("get /a", "none GET,HEAD,POST"),
                ("BREW /b", "/b"),
                ("GET /c/d", "GET /c/{x} x=d"),
                ("PUT /c/d", "PUT /c/d"),
                ("POST /c/d", "none GET,HEAD,PUT"),
                ("HEAD /h", "HEAD /h"),
                ("OPTIONS *", "none "),
                ("GET /nowhere", "none "),
            ],
        );
    }

    #[test]
    fn a_host_is_asked_first() {
        check(
            &[
                "/a",
                "example.com/a",
                "GET example.com/b",
                "/{x}",
                "[::1]/a",
            ],
            &[
                ("GET example.com/a", "example.com/a"),
                ("GET EXAMPLE.com:8080/a", "example.com/a"),
                ("GET other.com/a", "/a"),
                ("GET [::1]:80/a", "[::1]/a"),
                ("GET [::1]/a", "[::1]/a"),
                ("POST example.com/b", "/{x} x=b"),
                ("GET example.com/c", "/{x} x=c"),
                ("GET example.com.evil/b", "/{x} x=b"),
            ],
        );
    }

    #[test]
    fn escapes_are_read_per_segment() {
        check(
            &["/a%20b/c", "/a%2Fb", "/{x}/y"],
            &[
                ("GET /a%20b/c", "/a%20b/c"),
                ("GET /%61%20b/%63", "/a%20b/c"),
                ("GET /a%2fb", "/a%2Fb"),
                ("GET /a/b", "none "),
                ("GET /%2F/y", "/{x}/y x=%2F"),
                ("GET /%zz/y", "/{x}/y x=%zz"),
                ("GET //y", "none "),
            ],
        );
    }

    #[test]
    fn equal_patterns_name_each_other() {
        for (first, second) in [
            ("/a/{x}", "/a/{y}"),
            ("GET /", "GET /{rest...}"),
            ("GET a.com/x", "GET A.com/x"),
            ("/", "/"),
        ] {
            let mut routes = routes(&[first]);
            let error = routes
                .insert(Pattern::parse(second).unwrap(), second)
                .unwrap_err()
                .to_string();
            assert!(error.contains(&format!("{first:?}")), "{error}");
            assert!(error.contains(&format!("{second:?}")), "{error}");
        }
        routes(&[
            "GET /a", "POST /a", "/a", "a.com/a", "/{a}", "/a/", "/a/{$}",
        ]);
    }

    proptest! {
        /// The tree finds what trying every pattern finds: a match exactly when one pattern matches.
        #[test]
        fn agrees_with_trying_all(
            shapes in prop::collection::btree_set(
                prop::collection::vec(prop::sample::select(vec!["a", "b", "{}", "..."]), 1..4), 1..8),
            path in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 1..5),
        ) {
            let mut all = Vec::new();
            let mut routes = Routes::new();
            for shape in &shapes {
                let text = pattern_text(shape);
                let pattern = Pattern::parse(&text).unwrap();
                if routes.insert(pattern.clone(), text).is_ok() {
                    all.push(pattern);
                }
            }
            let path = format!("/{}", path.join("/"));
            let expected = all.iter().any(|pattern| matches(pattern, &path));
            let found = routes.find(&Method::GET, "", &path);
            prop_assert_eq!(found.is_some(), expected, "{} in {:?}", path, shapes);
            if let Some(found) = found {
                prop_assert_eq!(matches(found.pattern, &path), true);
            }
        }
    }

    fn pattern_text(shape: &[&str]) -> String {
        let mut text = String::new();
        for (at, piece) in shape.iter().enumerate() {
            match *piece {
                "{}" => text += &format!("/{{p{at}}}"),
                "..." if at + 1 == shape.len() => text += "/{rest...}",
                "..." => text += "/c",
                literal => text += &format!("/{literal}"),
            }
        }
        text
    }

    fn matches(pattern: &Pattern, path: &str) -> bool {
        let mut pieces = path[1..].split('/');
        for segment in pattern.segments() {
            match (segment, pieces.next()) {
                (Segment::Literal(text), Some(piece)) if **text == *piece => {}
                (Segment::Wild(_), Some(piece)) if !piece.is_empty() => {}
                (Segment::Rest(_), Some(_)) => return true,
                _ => return false,
            }
        }
        pieces.next().is_none()
    }
}
