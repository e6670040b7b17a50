//! A tree of path segments.
//!
//! ```text
//!   node ── literals ──► node        "users", "repos"
//!     ├──── wild ──────► node        any one segment that is not empty
//!     ├──── rest: leaf               all that is left from here
//!     ├──── slash: leaf              a slash, and the path ends
//!     └──── end: leaf                the path ends here
//! ```

use ::http::Method;
use percent_encoding::percent_decode;

use crate::server::pattern::Pattern;
use crate::server::pattern::Segment;
use crate::server::routes::literals::Literals;

/// A position in the path of a pattern.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    literals: Literals<Node>,
    wild: Option<Box<Node>>,
    /// Patterns that take all that is left from here.
    rest: Leaf,
    /// Patterns that end here with a slash: `{$}`.
    slash: Leaf,
    /// Patterns that end here.
    end: Leaf,
}

/// The routes of one path, by method: indexes into the patterns.
#[derive(Clone, Debug, Default)]
struct Leaf {
    get: Option<Index>,
    any_method: Option<Index>,
    /// In the order of registration; most have none.
    others: Box<[(Method, Index)]>,
}

/// Small, so that a node is.
type Index = u32;

/// A search for the route of one request.
pub(super) struct Walk<'a> {
    method: &'a Method,
    kind: Kind,
    path: &'a [u8],
    /// True exactly when the path with a slash behind it would end at a route.
    pub has_slash: bool,
}

/// What is asked of each leaf, decided once.
#[derive(Clone, Copy)]
enum Kind {
    Get,
    Head,
    Connect,
    Other,
}

impl<'a> Walk<'a> {
    /// A search for a path that begins with a slash.
    pub(super) fn new(method: &'a Method, path: &'a [u8]) -> Walk<'a> {
        let kind = match *method {
            Method::GET => Kind::Get,
            Method::HEAD => Kind::Head,
            Method::CONNECT => Kind::Connect,
            _ => Kind::Other,
        };
        Walk {
            method,
            kind,
            path,
            has_slash: false,
        }
    }

    /// The first route of a tree that takes the request.
    pub(super) fn find(&mut self, root: &Node) -> Option<usize> {
        self.find_from(root, 1).map(|index| index as usize)
    }

    /// Looks for what is left of the path, whose next segment begins at `at`; an `at` past the end
    /// means that no segment is left.
    fn find_from(&mut self, node: &Node, at: usize) -> Option<Index> {
        let Some(left) = self.path.get(at..) else {
            let found = self.of(&node.end);
            if found.is_none() {
                self.has_slash |= self
                    .of(&node.rest)
                    .or_else(|| self.of(&node.slash))
                    .is_some();
            }
            return found;
        };
        if left.is_empty() {
            return self.of(&node.slash).or_else(|| self.of(&node.rest));
        }
        let length = segment_length(left);
        let next = at + length + 1;
        if length > 0 {
            if let Some(child) = node.literal(&left[..length])
                && let Some(index) = self.find_from(child, next)
            {
                return Some(index);
            }
            if let Some(child) = &node.wild
                && let Some(index) = self.find_from(child, next)
            {
                return Some(index);
            }
        }
        self.of(&node.rest)
    }

    /// The method's own route, GET's for HEAD, or the one for any method. A CONNECT, which opens a
    /// tunnel, is answered only by who names it.
    #[inline]
    fn of(&self, leaf: &Leaf) -> Option<Index> {
        match self.kind {
            Kind::Get => leaf.get.or(leaf.any_method),
            _ => self.of_other(leaf),
        }
    }

    fn of_other(&self, leaf: &Leaf) -> Option<Index> {
        match self.kind {
            Kind::Get => unreachable!("the caller has looked"),
            Kind::Head => leaf.other(self.method).or(leaf.get).or(leaf.any_method),
            Kind::Connect => leaf.other(self.method),
            Kind::Other => leaf.other(self.method).or(leaf.any_method),
        }
    }
}

impl Leaf {
    fn other(&self, method: &Method) -> Option<Index> {
        self.others
            .iter()
            .find(|(own, _)| own == method)
            .map(|&(_, index)| index)
    }

    fn insert(&mut self, method: Option<&Method>, index: Index) {
        let replaced = match method {
            None => self.any_method.replace(index),
            Some(&Method::GET) => self.get.replace(index),
            Some(method) => {
                let mut others = std::mem::take(&mut self.others).into_vec();
                others.push((method.clone(), index));
                self.others = others.into();
                None
            }
        };
        assert_eq!(replaced, None, "equal patterns conflict");
    }

    fn collect_methods(&self, methods: &mut Vec<Method>) {
        methods.extend(self.get.map(|_| Method::GET));
        methods.extend(self.others.iter().map(|(method, _)| method.clone()));
    }

    fn indexes(&self) -> impl Iterator<Item = usize> {
        let others = self.others.iter().map(|&(_, index)| index);
        let all = self.get.into_iter().chain(self.any_method).chain(others);
        all.map(|index| index as usize)
    }
}

impl Node {
    /// Adds a pattern; it conflicts with none that is there.
    pub(super) fn insert(&mut self, pattern: &Pattern, index: usize) {
        let index = Index::try_from(index).expect("fewer than four billion routes");
        let mut node = self;
        for segment in pattern.segments() {
            match segment {
                Segment::Rest(_) => return node.rest.insert(pattern.method(), index),
                Segment::Literal(text) if text.is_empty() => {
                    return node.slash.insert(pattern.method(), index);
                }
                Segment::Literal(text) => node = node.literals.get_or_insert(text),
                Segment::Wild(_) => node = node.wild.get_or_insert_default(),
            }
        }
        node.end.insert(pattern.method(), index);
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
        let Some((first, below)) = segments.split_first() else {
            return Some(of(&self.end));
        };
        let takes_all = matches!(first, Segment::Rest(_));
        let mut children: Vec<&Node> = Vec::new();
        match first {
            Segment::Literal(text) if text.is_empty() => {
                return Some(of(&self.slash).or_else(|| of(&self.rest)));
            }
            Segment::Literal(text) => children.extend(self.literals.get(text.as_bytes())),
            Segment::Wild(_) | Segment::Rest(_) => children.extend(self.literals.all()),
        }
        children.extend(self.wild.as_deref());
        for node in children {
            // What lies beneath something may end there, too.
            let (below, found) = match takes_all {
                true => (segments, of(&node.end)),
                false => (below, None),
            };
            let found = match found {
                None => node.overlapping(below, budget, steps, conflicts)?,
                found => found,
            };
            if found.is_some() {
                return Some(found);
            }
        }
        let slash = takes_all.then(|| of(&self.slash)).flatten();
        Some(slash.or_else(|| of(&self.rest)))
    }

    /// Adds the methods of all routes for a path, and for it with a slash behind.
    pub(super) fn collect_methods(&self, path: &[u8], at: usize, methods: &mut Vec<Method>) {
        let left = path.get(at..).unwrap_or_default();
        if at > path.len() {
            self.end.collect_methods(methods);
        }
        if left.is_empty() {
            self.slash.collect_methods(methods);
        } else {
            let length = segment_length(left);
            let next = at + length + 1;
            if let Some(node) = self.literal(&left[..length]) {
                node.collect_methods(path, next, methods);
            }
            if length > 0
                && let Some(node) = &self.wild
            {
                node.collect_methods(path, next, methods);
            }
        }
        self.rest.collect_methods(methods);
    }

    /// The child for a segment that may be written with escapes.
    fn literal(&self, segment: &[u8]) -> Option<&Node> {
        if self.literals.is_empty() {
            return None;
        }
        if !segment.contains(&b'%') {
            return self.literals.get(segment);
        }
        let mut decoded = [0; DECODED_BYTES_MAX];
        let mut length = 0;
        for byte in percent_decode(segment) {
            let Some(place) = decoded.get_mut(length) else {
                return self
                    .literals
                    .get_by(|own| percent_decode(segment).eq(own.bytes()));
            };
            *place = byte;
            length += 1;
        }
        self.literals.get(&decoded[..length])
    }
}

/// Segments with escapes are decoded on the stack up to this length, and searched for one by one
/// beyond it.
const DECODED_BYTES_MAX: usize = 256;

/// Segments are short: a search for the slash in wide steps would take longer to begin.
fn segment_length(left: &[u8]) -> usize {
    let slash = left.iter().position(|&byte| byte == b'/');
    slash.unwrap_or(left.len())
}
