//! A tree of path segments.
//!
//! ```text
//!   node ── literals, sorted ──► node        "users", "repos", "" (the end after a slash)
//!     ├──── wild ──────────────► node        any one segment that is not empty
//!     ├──── rest: leaf                       all that is left from here
//!     └──── end: leaf                        the path ends here
//! ```

use std::cmp::Ordering;

use ::http::Method;
use percent_encoding::percent_decode;

use crate::limits::ROUTE_PARAMS_MAX;
use crate::server::pattern::Pattern;
use crate::server::pattern::Segment;

/// A position in the path of a pattern.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Sorted by [`order`].
    literals: Vec<(Box<str>, Node)>,
    wild: Option<Box<Node>>,
    /// Patterns that take all that is left from here.
    rest: Leaf,
    /// Patterns that end here.
    end: Leaf,
}

/// The routes of one path, by method: indexes into the patterns.
#[derive(Clone, Debug, Default)]
struct Leaf {
    /// Methods and their routes, in the order of registration.
    methods: Vec<(Method, usize)>,
    any_method: Option<usize>,
}

/// Where in the path of a request the wildcards of a pattern matched.
#[derive(Clone, Copy, Debug)]
pub struct Captures {
    spans: [(u32, u32); ROUTE_PARAMS_MAX],
    count: usize,
}

/// A search for the route of one request.
pub(super) struct Walk<'a> {
    method: &'a Method,
    path: &'a [u8],
    /// What the wildcards on the way took.
    pub captures: Captures,
    /// True exactly when the path with a slash behind it would end at a route.
    pub has_slash: bool,
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
        // `Routes::find`).
        self.spans[self.count] = (start as u32, end as u32);
        self.count += 1;
    }
}

impl<'a> Walk<'a> {
    /// A search for a path that begins with a slash.
    pub(super) fn new(method: &'a Method, path: &'a [u8]) -> Walk<'a> {
        Walk {
            method,
            path,
            captures: Captures::none(),
            has_slash: false,
        }
    }

    /// The first route of a tree that takes the request.
    pub(super) fn find(&mut self, root: &Node) -> Option<usize> {
        self.captures.count = 0;
        self.find_from(root, 1)
    }

    /// Looks for what is left of the path, whose next segment begins at `at`; an `at` past the end
    /// means that no segment is left.
    fn find_from(&mut self, node: &Node, at: usize) -> Option<usize> {
        if at > self.path.len() {
            let found = node.end.find(self.method);
            if found.is_none() {
                self.has_slash |= node.ends_with_slash(self.method);
            }
            return found;
        }
        let end = segment_end(self.path, at);
        let segment = &self.path[at..end];
        if let Some(node) = node.literal(segment)
            && let Some(index) = self.find_from(node, end + 1)
        {
            return Some(index);
        }
        if !segment.is_empty()
            && let Some(node) = &node.wild
        {
            let count = self.captures.count;
            self.captures.push(at, end);
            if let Some(index) = self.find_from(node, end + 1) {
                return Some(index);
            }
            self.captures.count = count;
        }
        let index = node.rest.find(self.method)?;
        self.captures.push(at, self.path.len());
        Some(index)
    }
}

impl Leaf {
    /// The method's own route, GET's for HEAD, or the one for any method. A CONNECT, which opens a
    /// tunnel, is answered only by who names it.
    fn find(&self, method: &Method) -> Option<usize> {
        if let Some(index) = self.of(method) {
            return Some(index);
        }
        match *method {
            Method::HEAD => self.of(&Method::GET).or(self.any_method),
            Method::CONNECT => None,
            _ => self.any_method,
        }
    }

    fn of(&self, method: &Method) -> Option<usize> {
        self.methods
            .iter()
            .find(|(own, _)| own == method)
            .map(|&(_, index)| index)
    }

    fn collect_methods(&self, methods: &mut Vec<Method>) {
        methods.extend(self.methods.iter().map(|(method, _)| method.clone()));
    }

    fn indexes(&self) -> impl Iterator<Item = usize> {
        let methods = self.methods.iter().map(|&(_, index)| index);
        methods.chain(self.any_method)
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
    /// Adds a pattern; it conflicts with none that is there.
    pub(super) fn insert(&mut self, pattern: &Pattern, index: usize) {
        let mut node = self;
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
        match pattern.method() {
            Some(method) => leaf.methods.push((method.clone(), index)),
            None => {
                let replaced = leaf.any_method.replace(index);
                assert_eq!(replaced, None, "equal patterns conflict");
            }
        }
    }

    /// Looks for a pattern that conflicts, among those whose paths have one in common with these
    /// segments. `None` when that takes more than `budget` steps.
    pub(super) fn overlapping(
        &self,
        segments: &[Segment],
        budget: usize,
        steps: &mut usize,
        conflicts: &impl Fn(usize) -> bool,
    ) -> Option<Option<usize>> {
        *steps += 1;
        if *steps > budget {
            return None;
        }
        let of = |leaf: &Leaf| leaf.indexes().find(|&index| conflicts(index));
        let Some((first, rest)) = segments.split_first() else {
            return Some(of(&self.end));
        };
        // The end of a path lies beneath nothing, and what lies beneath something is not its end.
        let takes_all = matches!(first, Segment::Rest(_));
        let below = if takes_all { segments } else { rest };
        let is_taken = |text: &str| match first {
            Segment::Literal(own) => **own == *text,
            Segment::Wild(_) => !text.is_empty(),
            Segment::Rest(_) => true,
        };
        let wild_is_taken = !matches!(first, Segment::Literal(text) if text.is_empty());
        let literals: &[(Box<str>, Node)] = match first {
            Segment::Literal(text) => match self.position(text.as_bytes()) {
                Some(at) => &self.literals[at..=at],
                None => &[],
            },
            _ => &self.literals,
        };
        let literals = literals.iter().filter(|(text, _)| is_taken(text));
        let wild = self.wild.as_deref().filter(|_| wild_is_taken);
        for node in literals.map(|(_, node)| node).chain(wild) {
            if takes_all && let Some(index) = of(&node.end) {
                return Some(Some(index));
            }
            let found = node.overlapping(below, budget, steps, conflicts)?;
            if found.is_some() {
                return Some(found);
            }
        }
        Some(of(&self.rest))
    }

    /// Adds the methods of all routes for a path, and for it with a slash behind.
    pub(super) fn collect_methods(&self, path: &[u8], at: usize, methods: &mut Vec<Method>) {
        if at > path.len() {
            self.end.collect_methods(methods);
            self.rest.collect_methods(methods);
            if let Some(node) = self.literal(b"") {
                node.end.collect_methods(methods);
            }
            return;
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

    /// True when a slash behind the path that ends here would lead to a route.
    fn ends_with_slash(&self, method: &Method) -> bool {
        self.rest.find(method).is_some()
            || self
                .literal(b"")
                .is_some_and(|node| node.end.find(method).is_some())
    }

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
            self.position_decoded(segment)?
        } else {
            self.position(segment)?
        };
        Some(&self.literals[at].1)
    }

    /// Where the literal of these bytes stands.
    fn position(&self, text: &[u8]) -> Option<usize> {
        if self.literals.len() <= FEW_LITERALS {
            let is_same =
                |own: &str| own.len() == text.len() && order(own.as_bytes(), text).is_eq();
            return self.literals.iter().position(|(own, _)| is_same(own));
        }
        self.literals
            .binary_search_by(|(own, _)| order(own.as_bytes(), text))
            .ok()
    }

    /// Where the literal of a segment with escapes stands.
    fn position_decoded(&self, segment: &[u8]) -> Option<usize> {
        let mut decoded = [0; DECODED_BYTES_MAX];
        let mut len = 0;
        for byte in percent_decode(segment) {
            match decoded.get_mut(len) {
                Some(place) => *place = byte,
                None => {
                    let same = |own: &str| percent_decode(segment).eq(own.bytes());
                    return self.literals.iter().position(|(own, _)| same(own));
                }
            }
            len += 1;
        }
        self.position(&decoded[..len])
    }
}

/// Segments with escapes are decoded on the stack up to this length, and searched for one by one
/// beyond it.
const DECODED_BYTES_MAX: usize = 256;

fn segment_end(path: &[u8], at: usize) -> usize {
    memchr::memchr(b'/', &path[at..]).map_or(path.len(), |length| at + length)
}
