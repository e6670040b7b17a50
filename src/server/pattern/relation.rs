//! How the requests that two patterns answer lie to each other.
//!
//! ```text
//!    narrower        overlapping        disjoint
//!   ┌────────┐      ┌─────┬──┬─────┐   ┌───┐ ┌───┐
//!   │ b ┌──┐ │      │  a  │  │  b  │   │ a │ │ b │
//!   │   │a │ │      └─────┴──┴─────┘   └───┘ └───┘
//!   └───┴──┴─┘      neither can win
//! ```
//!
//! A pattern answers a product: methods × paths. It is within another exactly when both of its sides
//! are. Hosts are not looked at: two different hosts have no request in common, and a pattern with a
//! host is asked before all without.

use ::http::Method;
use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;

use crate::server::pattern::Pattern;
use crate::server::pattern::Segment;

/// What one set of requests is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same set.
    Equal,
    /// The first lies within the second, which has more: the first is more specific.
    Narrower,
    /// The second lies within the first.
    Wider,
    /// They have requests in common, and each has some that the other has not.
    Overlapping,
    /// They have nothing in common.
    Disjoint,
}

impl Relation {
    /// The relation of two products, from those of their sides.
    fn and(self, other: Relation) -> Relation {
        match (self, other) {
            (Relation::Disjoint, _) | (_, Relation::Disjoint) => Relation::Disjoint,
            (Relation::Equal, other) => other,
            (own, Relation::Equal) => own,
            (own, other) if own == other => own,
            _ => Relation::Overlapping,
        }
    }

    /// The same, seen from the other side.
    pub fn reversed(self) -> Relation {
        match self {
            Relation::Narrower => Relation::Wider,
            Relation::Wider => Relation::Narrower,
            same => same,
        }
    }
}

impl Pattern {
    /// What the requests of this pattern are to those of another of the same host.
    pub fn relation(&self, other: &Pattern) -> Relation {
        match relation_of_methods(self.method(), other.method()) {
            Relation::Disjoint => Relation::Disjoint,
            methods => methods.and(relation_of_paths(self.segments(), other.segments())),
        }
    }

    /// True when some requests would have two answers, with nothing to choose between them.
    pub fn conflicts_with(&self, other: &Pattern) -> bool {
        self.host() == other.host()
            && matches!(
                self.relation(other),
                Relation::Equal | Relation::Overlapping
            )
    }

    /// A request that both patterns answer. They must not be disjoint.
    pub(in crate::server) fn example_of_both(&self, other: &Pattern) -> String {
        let method = common_method(self.method(), other.method());
        let path = common_path(self.segments(), other.segments());
        self.example(method, &path)
    }

    /// A request that this pattern answers and the other does not. This one must be wider than the
    /// other or overlap with it.
    pub(in crate::server) fn example_of_own(&self, other: &Pattern) -> String {
        let relation = relation_of_methods(self.method(), other.method());
        if matches!(relation, Relation::Wider | Relation::Overlapping) {
            let method = method_beside(self.method(), other.method());
            return self.example(method, &common_path(self.segments(), other.segments()));
        }
        let method = common_method(self.method(), other.method());
        self.example(method, &path_beside(self.segments(), other.segments()))
    }

    fn example(&self, method: &str, path: &str) -> String {
        format!("{method} {}{path}", self.host().unwrap_or(""))
    }
}

/// GET answers HEAD too. No method is any but CONNECT, which opens a tunnel: who has not asked for
/// tunnels must not answer it.
fn relation_of_methods(own: Option<&Method>, other: Option<&Method>) -> Relation {
    if own == other {
        return Relation::Equal;
    }
    match (own, other) {
        (Some(&Method::CONNECT), _) | (_, Some(&Method::CONNECT)) => Relation::Disjoint,
        (None, _) => Relation::Wider,
        (_, None) => Relation::Narrower,
        (Some(&Method::GET), Some(&Method::HEAD)) => Relation::Wider,
        (Some(&Method::HEAD), Some(&Method::GET)) => Relation::Narrower,
        (Some(_), Some(_)) => Relation::Disjoint,
    }
}

fn relation_of_paths(mut own: &[Segment], mut other: &[Segment]) -> Relation {
    let mut relation = Relation::Equal;
    loop {
        let step = match (own, other) {
            ([], []) => return relation,
            // A rest takes whatever is left, but something must be: at least the slash before it.
            ([Segment::Rest(_)], [Segment::Rest(_)]) => return relation,
            ([Segment::Rest(_)], [_, ..]) => return relation.and(Relation::Wider),
            ([_, ..], [Segment::Rest(_)]) => return relation.and(Relation::Narrower),
            ([], _) | (_, []) => return Relation::Disjoint,
            ([own, ..], [other, ..]) => relation_of_segments(own, other),
        };
        relation = relation.and(step);
        if relation == Relation::Disjoint {
            return relation;
        }
        (own, other) = (&own[1..], &other[1..]);
    }
}

/// Of segments that take exactly one segment. `{$}` is the empty literal, which no wildcard takes.
fn relation_of_segments(own: &Segment, other: &Segment) -> Relation {
    match (own, other) {
        (Segment::Literal(own), Segment::Literal(other)) if own == other => Relation::Equal,
        (Segment::Literal(_), Segment::Literal(_)) => Relation::Disjoint,
        (Segment::Literal(text), _) | (_, Segment::Literal(text)) if text.is_empty() => {
            Relation::Disjoint
        }
        (Segment::Literal(_), _) => Relation::Narrower,
        (_, Segment::Literal(_)) => Relation::Wider,
        _ => Relation::Equal,
    }
}

fn common_method<'a>(own: Option<&'a Method>, other: Option<&'a Method>) -> &'a str {
    match (own, other) {
        (Some(own), Some(other)) if *own == Method::GET => other.as_str(),
        (Some(method), _) | (None, Some(method)) => method.as_str(),
        (None, None) => "GET",
    }
}

fn method_beside<'a>(own: Option<&'a Method>, other: Option<&Method>) -> &'a str {
    match own {
        Some(own) => own.as_str(),
        None if other == Some(&Method::POST) => "GET",
        None => "POST",
    }
}

/// A path that both take.
fn common_path(own: &[Segment], other: &[Segment]) -> String {
    let mut path = String::new();
    let count = own.len().max(other.len());
    for at in 0..count {
        path.push('/');
        path += &match (own.get(at), other.get(at)) {
            (Some(literal @ Segment::Literal(_)), _) | (_, Some(literal @ Segment::Literal(_))) => {
                sample(literal)
            }
            (Some(wild @ Segment::Wild(_)), _) | (_, Some(wild @ Segment::Wild(_))) => sample(wild),
            // The longer one ends here; nothing is a rest too.
            _ => String::new(),
        };
    }
    path
}

/// A path that only the first takes.
fn path_beside(own: &[Segment], other: &[Segment]) -> String {
    let is_wider = |at: &usize| match (&own[*at], other.get(*at)) {
        (Segment::Rest(_), Some(Segment::Rest(_)) | None) => false,
        (Segment::Rest(_), Some(_)) => true,
        (Segment::Wild(_), Some(Segment::Literal(_))) => true,
        _ => false,
    };
    let at = (0..own.len())
        .find(is_wider)
        .expect("one that is not within the other is wider somewhere");
    let mut pieces: Vec<String> = common_path(own, other)
        .split('/')
        .skip(1)
        .map(str::to_owned)
        .collect();
    match (&own[at], &other[at]) {
        // Nothing is no segment of a literal or a wildcard, and something no end.
        (Segment::Rest(_), Segment::Literal(text)) if text.is_empty() => {
            pieces.truncate(at);
            pieces.push("x".to_owned());
        }
        (Segment::Rest(_), _) => {
            pieces.truncate(at);
            pieces.push(String::new());
        }
        (wild, taken) => {
            pieces[at] = sample(wild);
            if pieces[at] == sample(taken) {
                pieces[at].push('x');
            }
        }
    }
    format!("/{}", pieces.join("/"))
}

/// A text for one segment, as it stands in a path.
fn sample(segment: &Segment) -> String {
    let text = match segment {
        Segment::Literal(text) => text,
        Segment::Wild(name) => name,
        Segment::Rest(_) => "",
    };
    match text {
        // As they stand they would be cleaned away.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        text => utf8_percent_encode(text, ESCAPED).to_string(),
    }
}

/// What a segment of a path is not written with: all but unreserved characters (RFC 3986 §2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests;
