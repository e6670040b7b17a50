//! Tables of patterns and requests, and all requests of a small world.

use ::http::Method;
use proptest::prelude::prop;
use proptest::prelude::prop_assert_eq;
use proptest::prelude::proptest;

use crate::server::pattern::Pattern;
use crate::server::pattern::Relation;
use crate::server::pattern::exhaustive;
use crate::server::routes::Answer;
use crate::server::routes::Routes;
use crate::server::routes::without_port;

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
        Answer::Nothing => {
            let allowed = routes.allowed(host, path);
            let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
            format!("none {}", names.join(","))
        }
        Answer::Slash => "slash".to_owned(),
        Answer::Found(found) => {
            let mut text = found.value.to_string();
            for (name, span) in found.pattern.captures(path) {
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
        &["/a/b", "/a/{x}", "/a/{rest...}", "/{x}", "/{x}/{rest...}"],
        &[
            ("GET /a/b", "/a/b"),
            ("GET /a/c", "/a/{x} x=c"),
            ("GET /a/c/d", "/a/{rest...} rest=c/d"),
            ("GET /a/", "/a/{rest...} rest="),
            ("GET /a", "/{x} x=a"),
            ("GET /z/b", "/{x}/{rest...} x=z rest=b"),
            ("GET /", "none "),
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
        &[
            "/",
            "/{$}",
            "/tree/",
            "/tree/leaf",
            "/exact/{$}",
            "/plain",
            "/both",
            "/both/",
        ],
        &[
            ("GET /", "/{$}"),
            ("GET /x", "/ =x"),
            ("GET /tree/", "/tree/ ="),
            ("GET /tree/a/b", "/tree/ =a/b"),
            ("GET /tree/leaf", "/tree/leaf"),
            ("GET /tree/leaf/", "/tree/ =leaf/"),
            ("GET /exact/", "/exact/{$}"),
            ("GET /exact/more", "/ =exact/more"),
            ("GET /plain", "/plain"),
            ("GET /plain/", "/ =plain/"),
            ("GET /both", "/both"),
            ("GET /both/", "/both/ ="),
        ],
    );
}

/// A path is sent to itself with a slash when a route is at that, and none at it.
#[test]
fn slashes_that_are_missing() {
    check(
        &[
            "/",
            "/tree/",
            "/exact/{$}",
            "/named/{rest...}",
            "GET /get/",
            "/deep/{x}/",
            "/here",
            "/here/",
            "h.com/host/",
        ],
        &[
            ("GET /tree", "slash"),
            ("BREW /tree", "slash"),
            ("GET /exact", "slash"),
            ("GET /named", "slash"),
            ("GET /get", "slash"),
            ("HEAD /get", "slash"),
            ("POST /get", "/ =get"),
            ("GET /deep/a", "slash"),
            ("GET /deep/a/b", "/deep/{x}/ x=a =b"),
            ("GET /deep", "/ =deep"),
            ("GET /here", "/here"),
            ("GET h.com/host", "slash"),
            ("GET h.com:80/tree", "slash"),
            ("GET other/host", "/ =host"),
        ],
    );
    check(
        &["/{x}/", "GET /a/", "h/a"],
        &[
            ("GET /", "none "),
            ("GET /a", "slash"),
            ("GET h/a", "h/a"),
            ("POST /b", "slash"),
            ("GET //", "none "),
        ],
    );
    // The host's own route is more specific, though only the other one has the slash.
    check(
        &["h/", "/a/", "h/b/{$}", "/b"],
        &[
            ("GET h/a", "h/ =a"),
            ("GET /a", "slash"),
            ("GET h/b", "slash"),
            ("GET /b", "/b"),
        ],
    );
    check(
        &["GET /a/", "POST /a"],
        &[("GET /a", "slash"), ("PUT /a", "none GET,HEAD,POST")],
    );
    check(&["/{x}/"], &[("GET /", "none "), ("GET /a", "slash")]);
    check(
        &["GET /{x}/"],
        &[("GET /", "none "), ("POST /a", "none GET,HEAD")],
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
            "PUT /only/",
            "POST h/a",
            "DELETE h/a",
        ],
        &[
            ("GET /a", "GET /a"),
            ("HEAD /a", "GET /a"),
            ("POST /a", "POST /a"),
            ("PUT /a", "none GET,HEAD,POST"),
            ("get /a", "none GET,HEAD,POST"),
            ("PUT h/a", "none DELETE,GET,HEAD,POST"),
            ("BREW /b", "/b"),
            ("GET /c/d", "GET /c/{x} x=d"),
            ("PUT /c/d", "PUT /c/d"),
            ("POST /c/d", "none GET,HEAD,PUT"),
            ("HEAD /h", "HEAD /h"),
            ("GET /only", "none PUT"),
            ("GET /only/x", "none PUT"),
            ("OPTIONS *", "none "),
            ("GET /nowhere", "none "),
        ],
    );
    // The one for all methods takes what the specific one does not.
    check(
        &["GET /x", "/"],
        &[("POST /x", "/ =x"), ("GET /x", "GET /x")],
    );
}

/// A 2xx to CONNECT opens a tunnel: only who names it answers.
#[test]
fn connect_is_named() {
    check(
        &["CONNECT proxy.com/", "/", "h.com/", "CONNECT h.com/{$}"],
        &[
            ("CONNECT proxy.com:443/", "CONNECT proxy.com/ ="),
            ("CONNECT h.com:443/", "CONNECT h.com/{$}"),
            ("CONNECT other.com:443/", "none "),
            ("GET proxy.com/", "/ ="),
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
fn hosts_with_and_without_port() {
    let table = [
        ("h", "h"),
        ("h:", "h"),
        ("h:80", "h"),
        ("[::1]", "[::1]"),
        ("[::1]:80", "[::1]"),
        ("", ""),
        (":80", ""),
    ];
    for (authority, host) in table {
        assert_eq!(without_port(authority), host, "{authority}");
    }
}

#[test]
fn escapes_are_read_per_segment() {
    check(
        &["/a%20b/c", "/a%2Fb", "/{x}/y", "/%7B/%7D", "/%61/b/{x}"],
        &[
            ("GET /a%20b/c", "/a%20b/c"),
            ("GET /%61%20b/%63", "/a%20b/c"),
            ("GET /a%2fb", "/a%2Fb"),
            ("GET /a/b", "none "),
            ("GET /%2F/y", "/{x}/y x=%2F"),
            ("GET /%zz/y", "/{x}/y x=%zz"),
            ("GET /{/}", "/%7B/%7D"),
            ("GET /%7b/%7D", "/%7B/%7D"),
            ("GET /a/b/c%2Fd", "/%61/b/{x} x=c%2Fd"),
            ("GET //y", "none "),
        ],
    );
}

#[test]
fn long_and_many_literals_with_escapes() {
    let mut routes = Routes::new();
    let long = "x".repeat(1_000);
    let mut texts: Vec<String> = (0..50).map(|index| format!("/item{index}")).collect();
    texts.push(format!("/{long}"));
    for text in &texts {
        let pattern = Pattern::parse(text).unwrap();
        routes.insert(pattern, text.clone()).unwrap();
    }
    for text in &texts {
        for path in [
            text.clone(),
            format!("/%{:02X}{}", text.as_bytes()[1], &text[2..]),
        ] {
            let found = routes.find(&Method::GET, "", &path).found().unwrap();
            assert_eq!(found.value, text);
        }
    }
    let longer = format!("/%78{long}");
    assert!(routes.find(&Method::GET, "", &longer).found().is_none());
}

#[test]
fn a_tree_with_everything() {
    check(
        &[
            "/item/",
            "POST /item/{user}",
            "GET /item/{user}",
            "/item/{user}",
            "/item/{user}/{id}",
            "/item/{user}/new",
            "/item/{$}",
            "POST alt.com/item/{user}",
            "GET /headwins",
            "HEAD /headwins",
            "/path/{p...}",
            "/a/b/{w}",
            "/c/{w...}",
        ],
        &[
            ("GET /item/jba", "GET /item/{user} user=jba"),
            ("HEAD /item/jba", "GET /item/{user} user=jba"),
            ("POST /item/jba", "POST /item/{user} user=jba"),
            ("get /item/jba", "/item/{user} user=jba"),
            ("PUT /item/jba", "/item/{user} user=jba"),
            ("POST alt.com/item/jba", "POST alt.com/item/{user} user=jba"),
            ("GET alt.com/item/jba", "GET /item/{user} user=jba"),
            ("GET /item/jba/new", "/item/{user}/new user=jba"),
            ("GET /item/jba/17", "/item/{user}/{id} user=jba id=17"),
            ("GET /item/", "/item/{$}"),
            ("GET /item/jba/17/line2", "/item/ =jba/17/line2"),
            ("HEAD /headwins", "HEAD /headwins"),
            ("GET /headwins", "GET /headwins"),
            ("GET /path/to/file", "/path/{p...} p=to/file"),
            ("GET /item", "slash"),
            ("GET /a/b/", "none "),
            ("GET /a/b/x", "/a/b/{w} w=x"),
            ("GET /c/", "/c/{w...} w="),
        ],
    );
}

#[test]
fn conflicts_name_patterns_places_and_examples() {
    let table: &[(&str, &str, &[&str])] = &[
        ("/a/{x}", "/a/{y}", &["same requests", "GET /a/y"]),
        ("GET /", "GET /{rest...}", &["same requests", "GET /"]),
        (
            "GET a.com/x",
            "GET A.com/x",
            &["same requests", "GET a.com/x"],
        ),
        ("/", "/", &["same requests"]),
        (
            "/{x}/b",
            "/a/{x}",
            &[
                "both answer GET /a/b,",
                "only the first answers GET /a/x,",
                "only the second GET /x/b",
            ],
        ),
        (
            "GET /",
            "/foo",
            &[
                "both answer GET /foo,",
                "only the first answers POST /foo,",
                "only the second GET /",
            ],
        ),
    ];
    for (first, second, parts) in table {
        let mut routes = routes(&[first]);
        let line = line!() + 1;
        let inserted = routes.insert(Pattern::parse(second).unwrap(), second);
        let error = inserted.unwrap_err().to_string();
        let here = format!("{second:?} ({}:{line}:", file!());
        for part in [&here, &format!("{first:?} ({}:", file!())] {
            assert!(error.contains(part), "{error}: {part}");
        }
        for part in *parts {
            assert!(error.contains(part), "{error}: {part}");
        }
        assert_eq!(routes.values(), [*first]);
    }
    routes(&[
        "GET /a", "POST /a", "/a", "a.com/a", "/{a}", "/a/", "/a/{$}",
    ]);
}

/// The families that a table with one list per segment, or a tree alone, would be slow with.
#[test]
fn registering_many_is_near_linear() {
    const COUNT: usize = 3_000;
    let families: &[&[&str]] = &[
        &["/api/v1/resource#/{id}", "GET /api/v2/{tenant}/item#"],
        &["/{tenant}/page#", "/site#/other"],
        &["/{tenant}/{user}/tool#", "/site#/{user}/other"],
        &["/tree#/", "/tree#/leaf", "GET /tree#/{name}/x"],
        &["GET /same/{a}/{b}/x#/{c}", "POST /same/{a}/{b}/y#/"],
        &["h#.com/", "h#.com/a/{x}", "/x#"],
    ];
    for family in families {
        let mut routes = Routes::new();
        let mut steps = 0;
        for index in 0..COUNT {
            for text in *family {
                let pattern = Pattern::parse(&text.replace('#', &index.to_string())).unwrap();
                steps += routes.shape.conflict(&pattern).1;
                routes.insert(pattern, ()).unwrap();
            }
        }
        let count = COUNT * family.len();
        assert!(steps < 20 * count, "{family:?}: {steps} steps for {count}");
    }
}

proptest! {
    /// Of any patterns, those are refused that conflict with one before them; and each request is
    /// answered by the most specific of the patterns that take it.
    #[test]
    fn the_most_specific_wins(
        chosen in prop::collection::vec(proptest::prelude::any::<prop::sample::Index>(), 1..14),
        hosts in prop::collection::vec(0..3usize, 14),
    ) {
        let world = exhaustive::patterns();
        let mut routes = Routes::new();
        let mut all: Vec<Pattern> = Vec::new();
        for (at, host) in chosen.iter().zip(&hosts) {
            let pattern = with_host(&world[at.index(world.len())], ["", "a.com", "b.com"][*host]);
            let conflicts = all.iter().any(|other| other.conflicts_with(&pattern));
            let inserted = routes.insert(pattern.clone(), pattern.clone());
            prop_assert_eq!(inserted.is_err(), conflicts, "{} in {:?}", pattern, all);
            if inserted.is_ok() {
                all.push(pattern);
            }
        }
        for (method, path) in exhaustive::requests() {
            for host in ["a.com", "c.com"] {
                let expected = most_specific(&all, &method, host, &path);
                let answer = routes.find(&method, host, &path);
                match expected {
                    Expected::Slash => prop_assert_eq!(matches!(answer, Answer::Slash), true, "{} {}", path, host),
                    Expected::Pattern(expected) => {
                        let found = answer.found().map(|found| found.value);
                        prop_assert_eq!(found, expected, "{} {}{}", method, host, path);
                    }
                }
            }
        }
    }
}

enum Expected<'a> {
    Slash,
    Pattern(Option<&'a Pattern>),
}

/// By comparing all with all.
fn most_specific<'a>(all: &'a [Pattern], method: &Method, host: &str, path: &str) -> Expected<'a> {
    let best = |path: &str| {
        let of = |host: Option<&str>| {
            let taking: Vec<&Pattern> = all
                .iter()
                .filter(|pattern| pattern.host() == host)
                .filter(|pattern| exhaustive::takes(pattern, method, path))
                .collect();
            let is_within_all = |own: &&&Pattern| {
                let mut others = taking.iter().filter(|other| *other != *own);
                others.all(|other| own.relation(other) == Relation::Narrower)
            };
            let best: Vec<&&Pattern> = taking.iter().filter(is_within_all).collect();
            assert_eq!(
                best.len(),
                taking.len().min(1),
                "one lies within all others"
            );
            best.first().map(|best| **best)
        };
        of(Some(host)).or_else(|| of(None))
    };
    let found = best(path);
    // Exact: it would not take a path with one segment more.
    let is_exact = |pattern: &Pattern, path: &str| {
        !pattern.takes_rest() || pattern.segments().len() == path.matches('/').count()
    };
    let is_found = found.is_some_and(|pattern| !pattern.takes_rest());
    if !is_found && !path.ends_with('/') {
        let longer = format!("{path}/");
        if best(&longer).is_some_and(|pattern| is_exact(pattern, &longer)) {
            return Expected::Slash;
        }
    }
    Expected::Pattern(found)
}

fn with_host(pattern: &Pattern, host: &str) -> Pattern {
    let text = match pattern.as_str().split_once(' ') {
        Some((method, path)) => format!("{method} {host}{path}"),
        None => format!("{host}{pattern}"),
    };
    Pattern::parse(&text).unwrap()
}
