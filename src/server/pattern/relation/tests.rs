//! Pairs of patterns by hand, and all pairs of a small world against the sets they stand for.

use ::http::Method;

use crate::server::pattern::Pattern;
use crate::server::pattern::Relation;
use crate::server::pattern::exhaustive::patterns;
use crate::server::pattern::exhaustive::requests;
use crate::server::pattern::exhaustive::takes;
use crate::server::pattern::relation::Relation::Disjoint;
use crate::server::pattern::relation::Relation::Equal;
use crate::server::pattern::relation::Relation::Narrower;
use crate::server::pattern::relation::Relation::Overlapping;
use crate::server::pattern::relation::Relation::Wider;

fn relation(own: &str, other: &str) -> Relation {
    let [own, other] = [own, other].map(|text| Pattern::parse(text).unwrap());
    let relation = own.relation(&other);
    assert_eq!(other.relation(&own), relation.reversed(), "{own} {other}");
    let conflicts = own.conflicts_with(&other);
    assert_eq!(other.conflicts_with(&own), conflicts, "{own} {other}");
    relation
}

#[test]
fn relations_of_all_kinds() {
    let table = [
        ("/a", "/a", Equal),
        ("/a", "/%61", Equal),
        ("/{x}", "/{y}", Equal),
        ("/", "/{rest...}", Equal),
        ("/a/", "/a/{rest...}", Equal),
        ("/a/{$}", "/a/{$}", Equal),
        ("GET /a", "GET /a", Equal),
        ("/a", "/b", Disjoint),
        ("/a", "/a/", Disjoint),
        ("/a", "/a/b", Disjoint),
        ("/a", "/a/{$}", Disjoint),
        ("/{x}", "/{$}", Disjoint),
        ("/{x}", "/{x}/{y}", Disjoint),
        ("/a/{x}", "/b/{y}", Disjoint),
        ("/a/b/", "/a/c/", Disjoint),
        ("/{x}/{y}", "/{x}/a/", Disjoint),
        ("/{x}/{y}", "/{x}/a/{$}", Disjoint),
        ("GET /a", "POST /a", Disjoint),
        ("GET /", "POST /a", Disjoint),
        ("CONNECT /", "/", Disjoint),
        ("CONNECT /", "GET /", Disjoint),
        ("/a", "/{x}", Narrower),
        ("/a", "/", Narrower),
        ("/{$}", "/", Narrower),
        ("/a/{$}", "/a/", Narrower),
        ("/a/b", "/a/", Narrower),
        ("/a/b/", "/a/", Narrower),
        ("/a/{x}/c", "/a/", Narrower),
        ("/a/b/c", "/{x}/b/{y}", Narrower),
        ("GET /", "/", Narrower),
        ("HEAD /", "GET /", Narrower),
        ("HEAD /a", "GET /", Narrower),
        ("GET /a", "/{x}", Narrower),
        ("/a/{x}", "/{x}/b", Overlapping),
        ("/a/{x}/c", "/{x}/b/{y}", Overlapping),
        ("/{x}/b/", "/a/{y...}", Overlapping),
        ("/a/", "/{x}/b", Overlapping),
        ("/a/b/{x}", "/{x}/b/c", Overlapping),
        ("/{x}/", "/a/{rest...}", Wider),
        ("GET /", "/foo", Overlapping),
        ("GET /foo", "HEAD /", Overlapping),
        ("GET /{x}", "/a", Overlapping),
        ("HEAD /{x}", "GET /a", Overlapping),
        ("GET /a/{x}", "HEAD /{x}/b", Overlapping),
    ];
    for (own, other, expected) in table {
        assert_eq!(relation(own, other), expected, "{own} {other}");
    }
}

/// Pairs that cannot both be registered: equal, or neither within the other.
#[test]
fn conflicts() {
    let table = [
        ("/a", "/a"),
        ("/{x}", "/{y}"),
        ("/a/{x}", "/{x}/b"),
        ("GET /", "/foo"),
        ("GET /foo", "HEAD /"),
        ("/", "/{x...}"),
        ("/a/{x}/", "/{x}/b/"),
        ("/a/{x}/{y}", "/{x}/b/"),
        ("/{x}/b/{y...}", "/a/"),
        ("/a/{x}/c", "/a/b/{y}"),
        ("POST /{x}", "/a"),
        ("POST /", "/{x}"),
        ("GET h/{x}", "h/a"),
        ("H.com/a", "h.COM/a"),
        ("HEAD /{x}/{y}", "GET /a/{y}"),
        ("GET /a/b/", "/a/b/c"),
        ("/a%2Fb", "/a%2fb"),
        ("/{x}/{$}", "/{y}/{$}"),
        ("/a/{$}", "GET /{x}/{$}"),
        ("CONNECT /", "CONNECT /{x...}"),
        ("CONNECT h/", "CONNECT h/"),
        ("/a/", "/{x}/b/{y}"),
    ];
    for (own, other) in table {
        assert_conflict(own, other, true);
    }
}

/// Pairs that stand beside each other.
#[test]
fn no_conflicts() {
    let table = [
        ("/{x}", "/a"),
        ("/", "GET /"),
        ("/{x}/{y}", "/{x}/a/"),
        ("/{x}/{y}", "/{x}/a/{$}"),
        ("/{x}/{y}", "/{x}/a"),
        ("h/a", "/a"),
        ("h/{x}", "/a"),
        ("a.com/", "b.com/"),
        ("GET a.com/", "/foo"),
        ("/a", "/a/"),
        ("/{$}", "/{x}"),
        ("GET /a", "POST /{x}"),
        ("GET /a", "HEAD /a"),
        ("CONNECT /", "/"),
        ("CONNECT h/", "CONNECT /"),
        ("/a/b/", "/a/b/{x}/"),
    ];
    for (own, other) in table {
        assert_conflict(own, other, false);
    }
}

fn assert_conflict(own: &str, other: &str, expected: bool) {
    let [own, other] = [own, other].map(|text| Pattern::parse(text).unwrap());
    assert_eq!(own.conflicts_with(&other), expected, "{own} {other}");
    assert_eq!(other.conflicts_with(&own), expected, "{other} {own}");
}

/// Each relation is what the sets of requests say, over all pairs of a small world; and the examples
/// are what they are said to be.
#[test]
fn relations_are_those_of_sets() {
    let requests = requests();
    let sets: Vec<(Pattern, Vec<u64>)> = patterns()
        .into_iter()
        .map(|pattern| {
            let mut set = vec![0u64; requests.len().div_ceil(64)];
            for (at, (method, path)) in requests.iter().enumerate() {
                if takes(&pattern, method, path) {
                    set[at / 64] |= 1 << (at % 64);
                }
            }
            (pattern, set)
        })
        .collect();
    assert!(sets.len() > 200, "the world is not empty");
    for (own, own_set) in &sets {
        for (other, other_set) in &sets {
            let has = |word: fn(u64, u64) -> u64| {
                let mut words = own_set.iter().zip(other_set);
                words.any(|(&own, &other)| word(own, other) != 0)
            };
            let common = has(|own, other| own & other);
            let expected = match (has(|a, b| a & !b), has(|a, b| b & !a)) {
                _ if !common => Disjoint,
                (false, false) => Equal,
                (false, true) => Narrower,
                (true, false) => Wider,
                (true, true) => Overlapping,
            };
            assert_eq!(own.relation(other), expected, "{own} {other}");
            if expected == Overlapping {
                assert_examples(own, other);
            }
        }
    }
}

fn assert_examples(own: &Pattern, other: &Pattern) {
    let both = own.example_of_both(other);
    assert!(is_taken(own, &both), "{own} {other}: {both}");
    assert!(is_taken(other, &both), "{own} {other}: {both}");
    let beside = own.example_of_own(other);
    assert!(is_taken(own, &beside), "{own} {other}: {beside}");
    assert!(!is_taken(other, &beside), "{own} {other}: {beside}");
}

fn is_taken(pattern: &Pattern, request: &str) -> bool {
    let (method, path) = request.split_once(' ').unwrap();
    takes(
        pattern,
        &Method::from_bytes(method.as_bytes()).unwrap(),
        path,
    )
}

#[test]
fn examples_read_well() {
    let table = [
        ("/a/{x}", "/{x}/b", "GET /a/b", "GET /a/x", "GET /x/b"),
        ("GET h/", "h/a%2Fb", "GET h/a%2Fb", "GET h/", "POST h/a%2Fb"),
        ("GET /foo", "HEAD /", "HEAD /foo", "GET /foo", "HEAD /"),
        ("/{a}/b", "/a/{b}", "GET /a/b", "GET /ax/b", "GET /a/bx"),
        (
            "/a/{ü}/%2E",
            "/{x}/b/{y}",
            "GET /a/b/%2E",
            "GET /a/%C3%BC/%2E",
            "GET /x/b/%2E",
        ),
    ];
    for (own, other, both, first, second) in table {
        let [own, other] = [own, other].map(|text| Pattern::parse(text).unwrap());
        assert_eq!(own.example_of_both(&other), both);
        assert_eq!(own.example_of_own(&other), first);
        assert_eq!(other.example_of_own(&own), second);
    }
}
