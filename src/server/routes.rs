//! The table of routes: patterns to values, a tree of path segments per host.
//!
//! ```text
//!   host ──► tree          no host ──► tree        the host's own tree is asked first
//!             │
//!             ├─ "users" ─ {wild} ─ leaf: GET, POST      literal, then wildcard, then rest,
//!             └─ {rest...} leaf: any method              going back when a branch leads nowhere
//! ```
//!
//! Of the patterns that take a request one lies within all others: two that overlap are refused when
//! they are registered. So the first that the tree comes to, literals first, is the most specific one.
//!
//! Pure: it holds any `T` and knows nothing of handlers or sockets. A look-up allocates nothing and
//! visits each node at most once.

mod index;
mod literals;
mod tree;

use std::cmp::Ordering;
use std::panic::Location;
use std::sync::Arc;

use ::http::Method;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::server::pattern::Pattern;
use crate::server::pattern::Relation;
use crate::server::routes::index::Index;
use crate::server::routes::tree::Node;
use crate::server::routes::tree::Walk;

/// Where in a program a route was registered.
pub type Place = &'static Location<'static>;

/// Patterns and what belongs to them.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    /// Shared by the workers, which only read it.
    shape: Arc<Shape>,
    values: Vec<T>,
}

/// The patterns alone.
#[derive(Clone, Debug, Default)]
struct Shape {
    patterns: Vec<(Pattern, Place)>,
    /// Sorted by host, in lower case.
    hosts: Vec<(Box<str>, Tree)>,
    any_host: Tree,
}

/// The patterns of one host.
#[derive(Clone, Debug, Default)]
struct Tree {
    root: Node,
    index: Index,
}

/// What the table knows of a request.
#[derive(Debug)]
pub enum Answer<'a, T> {
    /// A route answers it.
    Found(Match<'a, T>),
    /// Only with a slash behind its path a route answers it: the client meant that.
    Slash,
    /// No route answers it.
    Nothing,
}

/// A route that answers a request.
#[derive(Debug)]
pub struct Match<'a, T> {
    /// What was registered.
    pub value: &'a T,
    /// Its pattern, which knows what its wildcards took ([`Pattern::captures`]).
    pub pattern: &'a Pattern,
}

impl<'a, T> Answer<'a, T> {
    /// The route, if there is one.
    pub fn found(self) -> Option<Match<'a, T>> {
        match self {
            Answer::Found(found) => Some(found),
            Answer::Slash | Answer::Nothing => None,
        }
    }
}

impl<T> Default for Routes<T> {
    fn default() -> Routes<T> {
        Routes::new()
    }
}

impl<T> Routes<T> {
    /// No routes.
    pub fn new() -> Routes<T> {
        Routes {
            shape: Arc::default(),
            values: Vec::new(),
        }
    }

    /// What belongs to the patterns, in the order of registration.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The same patterns with other values.
    pub fn map<U>(&self, value: impl FnMut(&T) -> U) -> Routes<U> {
        Routes {
            shape: Arc::clone(&self.shape),
            values: self.values.iter().map(value).collect(),
        }
    }

    /// The patterns with their places and values, in the order of registration.
    pub fn into_parts(self) -> impl Iterator<Item = (Pattern, Place, T)> {
        let shape = Arc::unwrap_or_clone(self.shape);
        let patterns = shape.patterns.into_iter();
        patterns
            .zip(self.values)
            .map(|((pattern, place), value)| (pattern, place, value))
    }

    /// Adds a route, registered by the caller.
    #[track_caller]
    pub fn insert(&mut self, pattern: Pattern, value: T) -> Result<()> {
        self.insert_at(pattern, value, Location::caller())
    }

    /// Adds a route. A pattern that conflicts with another one is an error, which names both, their
    /// places and a request that both would answer: an equal one, or one of the same host that
    /// answers some of the same requests while each answers some that the other does not.
    pub fn insert_at(&mut self, pattern: Pattern, value: T, place: Place) -> Result<()> {
        let index = self.values.len();
        if let Some(other) = self.shape.conflict(&pattern).0 {
            let other = &self.shape.patterns[other];
            return Err(conflict_error(&pattern, place, other));
        }
        let shape = Arc::make_mut(&mut self.shape);
        shape.tree_mut(pattern.host()).insert(&pattern, index);
        shape.patterns.push((pattern, place));
        self.values.push(value);
        assert_eq!(shape.patterns.len(), self.values.len());
        Ok(())
    }

    /// The route that answers a request. `host` may carry a port; `path` is as on the wire, without
    /// its query.
    pub fn find(&self, method: &Method, host: &str, path: &str) -> Answer<'_, T> {
        let path = path.as_bytes();
        if path.first() != Some(&b'/') {
            return Answer::Nothing;
        }
        let mut walk = Walk::new(method, path);
        let own = self.shape.tree_of(host);
        let found = own
            .and_then(|tree| walk.find(&tree.root))
            .or_else(|| walk.find(&self.shape.any_host.root));
        let Some(index) = found else {
            return match walk.has_slash {
                true => Answer::Slash,
                false => Answer::Nothing,
            };
        };
        let pattern = &self.shape.patterns[index].0;
        if walk.has_slash && pattern.takes_rest() {
            // What lies beneath something else; the same path with a slash has a route of its own.
            return Answer::Slash;
        }
        Answer::Found(Match {
            value: &self.values[index],
            pattern,
        })
    }

    /// The methods that would find a route for this path, or for it with a slash behind, sorted;
    /// HEAD wherever GET is. When no route answers a request, empty means 404, else 405.
    pub fn allowed(&self, host: &str, path: &str) -> Vec<Method> {
        let mut methods = Vec::new();
        if path.starts_with('/') {
            let shape = &self.shape;
            for tree in shape.tree_of(host).into_iter().chain([&shape.any_host]) {
                tree.root.collect_methods(path.as_bytes(), 1, &mut methods);
            }
        }
        if methods.contains(&Method::GET) {
            methods.push(Method::HEAD);
        }
        // A tunnel leads to a host: nothing at a path allows it.
        methods.retain(|method| *method != Method::CONNECT);
        methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        methods
    }

    /// All patterns, in the order of registration.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.shape.patterns.iter().map(|(pattern, _)| pattern)
    }

    /// True when some pattern is limited to a host: otherwise look-ups need none.
    pub fn has_hosts(&self) -> bool {
        !self.shape.hosts.is_empty()
    }
}

impl Shape {
    fn tree_of(&self, host: &str) -> Option<&Tree> {
        if self.hosts.is_empty() {
            return None;
        }
        let host = without_port(host);
        let found = self
            .hosts
            .binary_search_by(|(name, _)| compare_lowercase(name, host));
        found.ok().map(|at| &self.hosts[at].1)
    }

    fn tree_mut(&mut self, host: Option<&str>) -> &mut Tree {
        let Some(host) = host else {
            return &mut self.any_host;
        };
        let at = match self.hosts.binary_search_by(|(name, _)| (**name).cmp(host)) {
            Ok(at) => at,
            Err(at) => {
                self.hosts.insert(at, (host.into(), Tree::default()));
                at
            }
        };
        &mut self.hosts[at].1
    }

    /// A pattern that conflicts with a new one, and how many steps it took to know: the tree is
    /// walked, and where its branches are too many, the index asked.
    fn conflict(&self, pattern: &Pattern) -> (Option<usize>, usize) {
        let tree = match pattern.host() {
            None => &self.any_host,
            Some(host) => match self.tree_of(host) {
                Some(tree) => tree,
                None => return (None, 0),
            },
        };
        let conflicts = |other: usize| self.patterns[other].0.conflicts_with(pattern);
        let candidates = tree.index.candidates(pattern.segments());
        let budget = candidates.as_ref().map_or(usize::MAX, |some| some.count);
        let mut steps = 0;
        if let Some(answer) =
            tree.root
                .overlapping(pattern.segments(), budget, &mut steps, &conflicts)
        {
            return (answer, steps);
        }
        let candidates = candidates.expect("without candidates the walk has no bound");
        let found = candidates.iter().find(|&other| conflicts(other));
        (found, steps + budget)
    }
}

impl Tree {
    fn insert(&mut self, pattern: &Pattern, index: usize) {
        self.root.insert(pattern, index);
        self.index.insert(pattern.segments(), index);
    }
}

fn conflict_error(own: &Pattern, place: Place, (other, other_place): &(Pattern, Place)) -> Error {
    let both = own.example_of_both(other);
    let text = match own.relation(other) {
        Relation::Equal => format!(
            "route pattern {:?} ({place}) answers the same requests as {:?} ({other_place}), such as {both}",
            own.as_str(),
            other.as_str()
        ),
        _ => format!(
            "route pattern {:?} ({place}) conflicts with {:?} ({other_place}): both answer {both}, and neither \
             is more specific; only the first answers {}, only the second {}",
            own.as_str(),
            other.as_str(),
            own.example_of_own(other),
            other.example_of_own(own)
        ),
    };
    Error::new(ErrorKind::Invalid, text)
}

/// The host of an authority: `example.com:80` → `example.com`, `[::1]:80` → `[::1]`.
pub(super) fn without_port(host: &str) -> &str {
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
mod tests;
