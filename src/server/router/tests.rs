//! Requests through routers, as a connection would answer them.

use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

use ::http::StatusCode;

use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::handler::Endpoint;
use crate::server::handler::Handler;
use crate::server::handler::Synchronous;
use crate::server::options::RouteOptions;
use crate::server::router::Routed;
use crate::server::router::Router;

fn named(name: &'static str) -> impl Handler<Synchronous<&'static str>> {
    move |_: &Request| name
}

/// Answers a request as a connection would.
fn respond(router: &Router, request: &mut Request) -> Response {
    let endpoint = match router.find(request) {
        Routed::Refused(response) => return response,
        Routed::Endpoint { endpoint, .. } => endpoint.clone(),
    };
    match endpoint {
        Endpoint::Inline(function) => function(request),
        Endpoint::Deferred(handler) => {
            let request = std::mem::replace(request, Request::for_target("GET", "/").unwrap());
            let mut cx = Context::from_waker(Waker::noop());
            match handler.start(request).as_mut().poll(&mut cx) {
                Poll::Ready(response) => response,
                Poll::Pending => panic!("nothing here waits"),
            }
        }
    }
}

/// `STATUS text`, and what a redirect or a 405 says.
fn ask(router: &Router, method: &str, target: &str) -> String {
    let mut request = Request::for_target(method, target).unwrap();
    let response = respond(&router.for_worker(), &mut request);
    let mut line = response.status_code().as_str().to_owned();
    for name in ["location", "allow"] {
        if let Some(value) = response.headers().get(name) {
            line += &format!(" {value}");
        }
    }
    if matches!(line.len(), 3) || response.status_code() == StatusCode::METHOD_NOT_ALLOWED {
        let body = response.body_ref().as_bytes().unwrap_or_default();
        line += &format!(" {}", str::from_utf8(body).unwrap());
    }
    line
}

fn check(router: &Router, table: &[(&str, &str)]) {
    for (request, expected) in table {
        let (method, target) = request.split_once(' ').unwrap();
        assert_eq!(ask(router, method, target), *expected, "{request}");
    }
}

fn parameters(request: &Request) -> String {
    let pairs: Vec<_> = request.params().map(|(n, v)| format!("{n}={v}")).collect();
    format!("{} {}", request.pattern().unwrap(), pairs.join(" "))
}

#[test]
fn finds_and_fills_in() {
    let router = Router::new()
        .get("/{$}", named("root"))
        .get("/users/{id}", parameters)
        .get("/files/{path...}", parameters)
        .get("/tree/", parameters)
        .post("/files/upload", async |_: Request| "upload")
        .route("PUT example.com/put", named("put"))
        .any("/any/{ä}", parameters);
    check(
        &router,
        &[
            ("GET /", "200 root"),
            ("HEAD /", "200 root"),
            ("GET /users/7?x=1", "200 GET /users/{id} id=7"),
            ("GET /users/a%20b%2Fc", "200 GET /users/{id} id=a b/c"),
            ("GET /users/%FF", "200 GET /users/{id} id=\u{fffd}"),
            ("GET /users/%zz", "200 GET /users/{id} id=%zz"),
            ("GET /us%65rs/7", "200 GET /users/{id} id=7"),
            ("GET /files/a/b", "200 GET /files/{path...} path=a/b"),
            ("GET /files/a%2Fb/c", "200 GET /files/{path...} path=a/b/c"),
            (
                "GET http://other.com/files/?q",
                "200 GET /files/{path...} path=",
            ),
            ("GET /tree/x/y", "200 GET /tree/ =x/y"),
            ("POST /files/upload", "200 upload"),
            ("PUT http://example.com:80/put", "200 put"),
            ("PUT http://other.com/put", "404 Not Found"),
            ("BREW /any/x", "200 /any/{ä} ä=x"),
            ("POST /users/7", "405 GET, HEAD Method Not Allowed"),
            (
                "DELETE /files/upload",
                "405 GET, HEAD, POST Method Not Allowed",
            ),
            ("GET http://example.com/put", "405 PUT Method Not Allowed"),
            ("GET /nowhere", "404 Not Found"),
            ("OPTIONS *", "404 Not Found"),
            ("CONNECT h:443", "405 GET, HEAD Method Not Allowed"),
        ],
    );
}

#[test]
fn what_was_meant_is_where_it_is_sent() {
    let router = Router::new()
        .get("/{$}", named("root"))
        .get("/tree/", named("tree"))
        .get("/plain", named("plain"))
        .get("/both", named("both"))
        .get("/both/", named("beneath"))
        .route("GET h.com/own/", named("own"));
    check(
        &router,
        &[
            ("GET //", "307 /"),
            ("GET /foo/../plain", "307 /plain"),
            ("GET /foo/../bar/./..//baz?q=1&r=//", "307 /baz?q=1&r=//"),
            ("POST /./plain?", "307 /plain?"),
            ("GET /plain", "200 plain"),
            ("GET /plain/", "404 Not Found"),
            ("GET /tree", "307 /tree/"),
            ("GET /tree?q=/x", "307 /tree/?q=/x"),
            ("GET //tree", "307 /tree/"),
            ("GET /x/../tree/.", "307 /tree/"),
            ("HEAD /tree", "307 /tree/"),
            ("POST /tree", "405 GET, HEAD Method Not Allowed"),
            ("GET /both", "200 both"),
            ("GET http://h.com/own", "307 /own/"),
            ("GET http://h.com:80//own", "307 /own/"),
            ("GET http://i.com/own", "404 Not Found"),
            ("CONNECT /a//b", "404 Not Found"),
        ],
    );
}

/// Nothing that a request says leads to another host.
#[test]
fn no_redirect_leaves_the_host() {
    let router = Router::new().get("/{user}/home/{$}", named("home"));
    check(
        &router,
        &[
            ("GET /joe/home", "307 /joe/home/"),
            ("GET //evil.example/home", "307 /evil.example/home/"),
            ("GET ///evil.example/..", "307 /"),
            ("GET /\\evil.example/home", "307 /%5Cevil.example/home/"),
            ("GET /.//\\evil.example/x", "307 /%5Cevil.example/x"),
            ("GET /%2Fevil.example/home", "307 /%2Fevil.example/home/"),
            ("GET http://h.com//evil.example", "307 /evil.example"),
        ],
    );
}

#[test]
fn connect_is_for_those_who_name_it() {
    let router = Router::new()
        .any("/", named("all"))
        .route("CONNECT only.com/", parameters);
    check(
        &router,
        &[
            ("CONNECT only.com:443", "200 CONNECT only.com/ ="),
            ("CONNECT other.com:443", "404 Not Found"),
            ("GET http://only.com/x", "200 all"),
        ],
    );
    let router = router.connect(named("tunnel"));
    assert_eq!(ask(&router, "CONNECT", "other.com:1"), "200 tunnel");
}

#[test]
fn nested_routers_are_what_one_reads() {
    let items = Router::new()
        .get("/{$}", parameters)
        .get("/{item}", parameters)
        .post("/", parameters);
    let users = Router::new()
        .get("/{user}", parameters)
        .nest("/{user}/items/", items);
    let hosted = Router::new()
        .route("GET /own", parameters)
        .any("/", parameters);
    let router = Router::new()
        .get("/users", named("all users"))
        .nest("/users", users)
        .nest("own.com", hosted)
        .nest(
            "/files/at.com",
            Router::new().get("/{path...}", |r: &Request| r.path().to_owned()),
        );
    check(
        &router,
        &[
            ("GET /users", "200 all users"),
            ("GET /users/7", "200 GET /users/{user} user=7"),
            (
                "GET /users/7/items/",
                "200 GET /users/{user}/items/{$} user=7",
            ),
            ("GET /users/7/items", "307 /users/7/items/"),
            (
                "GET /users/7/items/8",
                "200 GET /users/{user}/items/{item} user=7 item=8",
            ),
            (
                "POST /users/7/items/8/9",
                "200 POST /users/{user}/items/ user=7 =8/9",
            ),
            (
                "PUT /users/7/items/8",
                "405 GET, HEAD, POST Method Not Allowed",
            ),
            ("GET http://own.com/own", "200 GET own.com/own "),
            ("GET http://own.com/x", "200 own.com/ =x"),
            ("GET /files/at.com/a/b", "200 /files/at.com/a/b"),
        ],
    );
    let patterns: Vec<&str> = router.patterns().collect();
    assert_eq!(patterns.len(), 8);
    assert!(patterns.contains(&"POST /users/{user}/items/"));
}

#[test]
fn routers_that_do_not_fit() {
    let inner = || Router::new().get("/a/{id}", named("inner"));
    let table: [(Result<Router>, &str); 8] = [
        (Router::new().try_nest("/{id}", inner()), "same name"),
        (Router::new().try_nest("GET /x", inner()), "has a method"),
        (Router::new().try_nest("/x/{$}", inner()), "end only"),
        (Router::new().try_nest("/{x...}", inner()), "end only"),
        (Router::new().try_nest("h.com:80/", inner()), "no port"),
        (
            Router::new().try_nest("h.com", Router::new().nest("i.com/a", inner())),
            "has a host, and so has its prefix",
        ),
        (
            Router::new()
                .get("/x/{y}/7", named("outer"))
                .try_nest("/x", inner()),
            "\"GET /x/a/{id}\"",
        ),
        (
            inner()
                .not_found(named("a"))
                .try_merge(inner().not_found(named("b"))),
            "`not_found`",
        ),
    ];
    for (result, part) in table {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "{error}: {part}");
    }
    let merged = inner().try_merge(inner()).unwrap_err().to_string();
    assert_eq!(merged.matches("tests.rs:").count(), 2, "{merged}");
    let connect = Router::new().connect(named("tunnel"));
    let error = Router::new().try_nest("/x", connect).unwrap_err();
    assert!(error.to_string().contains("no path"), "{error}");
}

#[test]
#[should_panic(expected = "answers the same requests as \"GET /users/{id}\" (src/server/router/")]
fn an_equal_pattern_panics_with_both() {
    let _ = Router::new()
        .get("/users/{id}", |_: &Request| ())
        .get("/users/{name}", |_: &Request| ());
}

#[test]
#[should_panic(expected = "both answer GET /a/b, and neither is more specific")]
fn a_conflict_between_routers_panics() {
    let _ = Router::new()
        .get("/a/{x}", |_: &Request| ())
        .merge(Router::new().get("/{x}/b", |_: &Request| ()));
}

#[test]
fn or_is_an_error() {
    let error = Router::new()
        .try_route("/a//b", |_: &Request| ())
        .unwrap_err();
    assert!(error.to_string().contains("empty segments"), "{error}");
}

#[test]
fn own_answers_for_no_route() {
    let api = Router::new()
        .get("/x", named("x"))
        .get("/tree/", named("tree"))
        .not_found(async |request: Request| format!("no api at {}", request.path()))
        .nest(
            "/v2",
            Router::new()
                .get("/y", named("y"))
                .method_not_allowed(|_: &Request| {
                    (
                        StatusCode::METHOD_NOT_ALLOWED,
                        [("Allow", "see there")],
                        "v2 says no",
                    )
                }),
        );
    let router = Router::new()
        .get("/a", named("a"))
        .nest("/api", api)
        .nest("/plain", Router::new().get("/z", named("z")))
        .not_found(|_: &Request| (StatusCode::GONE, "gone"))
        .method_not_allowed(|request: &Request| format!("not with {}", request.method()));
    check(
        &router,
        &[
            ("GET /a", "200 a"),
            ("GET /b", "410 gone"),
            ("POST /a", "405 GET, HEAD not with POST"),
            ("GET /api/b", "404 no api at /api/b"),
            ("GET /api", "404 no api at /api"),
            ("GET /ap%69/b", "404 no api at /ap%69/b"),
            ("GET /apis", "410 gone"),
            ("POST /api/x", "405 GET, HEAD not with POST"),
            ("GET /api/tree", "307 /api/tree/"),
            ("GET /api/v2/q", "404 no api at /api/v2/q"),
            ("POST /api/v2/y", "405 see there v2 says no"),
            ("GET /plain/q", "410 gone"),
            ("GET //api/q", "307 /api/q"),
        ],
    );
}

#[test]
fn merged_routers_lend_their_handlers() {
    let group = Router::new()
        .get("/in", named("in"))
        .not_found(named("lent"))
        .after(|response: Response| response.header("Location", "inside"));
    let router = Router::new().get("/out", named("out")).merge(group);
    check(
        &router,
        &[
            ("GET /in", "200 inside"),
            ("GET /out", "200 out"),
            ("GET /none", "404 lent"),
            ("POST /in", "405 GET, HEAD Method Not Allowed"),
        ],
    );
}

#[test]
fn limits_of_inner_routers_win() {
    let seconds = Duration::from_secs;
    let inner = Router::new()
        .get("/in", named("in"))
        .body_bytes_max(10)
        .handler_timeout(seconds(1));
    let router = Router::new()
        .get("/out", named("out"))
        .nest("/nested", inner)
        .body_bytes_max(20)
        .body_timeout(seconds(2))
        .merge(
            Router::new()
                .get("/merged", named("m"))
                .body_timeout(seconds(3)),
        )
        .not_found(named("nothing"));
    let options = |target: &str| {
        let mut request = Request::for_target("GET", target).unwrap();
        match router.find(&mut request) {
            Routed::Endpoint { options, .. } => *options,
            Routed::Refused(_) => panic!("{target} has a route"),
        }
    };
    let table = [
        ("/out", Some(20), None, Some(seconds(2))),
        ("/nested/in", Some(10), Some(seconds(1)), Some(seconds(2))),
        (
            "/nested/nothing",
            Some(10),
            Some(seconds(1)),
            Some(seconds(2)),
        ),
        ("/merged", Some(20), None, Some(seconds(3))),
        ("/nothing", Some(20), None, Some(seconds(2))),
    ];
    for (target, body_bytes_max, handler_timeout, body_timeout) in table {
        let expected = RouteOptions {
            body_bytes_max,
            handler_timeout,
            body_timeout,
        };
        assert_eq!(options(target), expected, "{target}");
    }
}

#[test]
fn thousands_of_small_routers_are_joined_in_time() {
    let mut router = Router::new();
    for index in 0..1_000 {
        let small = Router::new()
            .get("/{id}", named("small"))
            .before(|_: &mut Request| ());
        router = router.nest(&format!("/part{index}"), small);
    }
    assert_eq!(ask(&router, "GET", "/part999/7"), "200 small");
    assert_eq!(ask(&router, "GET", "/part999/7/8"), "404 Not Found");
}
