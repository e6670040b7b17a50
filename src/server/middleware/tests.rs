//! Who sees what, in which order, and who answers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use ::http::StatusCode;

use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::handler::Endpoint;
use crate::server::into_response::IntoResponse;
use crate::server::middleware::Next;
use crate::server::middleware::Verdict;
use crate::server::middleware::strip_prefix;
use crate::server::router::Routed;
use crate::server::router::Router;

/// Notes in a header field who saw the request, and in another who saw the response.
fn mark(name: &'static str) -> impl Fn(&mut Request) -> Marker + Send + Sync + 'static {
    move |request| {
        let seen = request.header("seen").unwrap_or("").to_owned();
        let seen = format!("{seen}{name}");
        request.headers_mut().insert("seen", &seen).unwrap();
        Box::new(move |response| append(response, name))
    }
}

type Marker = Box<dyn FnOnce(Response) -> Response>;

fn append(response: Response, name: &str) -> Response {
    let so_far = response.headers().get("left").unwrap_or("").to_owned();
    let mut response = response;
    let all = format!("{so_far}{name}");
    response.headers_mut().insert("left", &all).unwrap();
    response
}

async fn mark_async(mut request: Request, next: Next, name: &'static str) -> Response {
    let marker = mark(name)(&mut request);
    marker(next.run(request).await)
}

fn seen(request: &Request) -> String {
    request.header("seen").unwrap_or("").to_owned()
}

/// `STATUS body left`, and how the endpoint ran.
fn ask(router: &Router, target: &str) -> (String, &'static str) {
    let router = router.for_worker();
    let mut request = Request::for_target("GET", target).unwrap();
    let (response, how) = match router.find(&mut request) {
        Routed::Refused(response) => (response, "refused"),
        Routed::Endpoint { endpoint, .. } => match endpoint.clone() {
            Endpoint::Inline(function) => (function(&mut request), "inline"),
            Endpoint::Deferred(handler) => {
                let mut cx = Context::from_waker(Waker::noop());
                match handler.start(request).as_mut().poll(&mut cx) {
                    Poll::Ready(response) => (response, "deferred"),
                    Poll::Pending => panic!("nothing here waits"),
                }
            }
        },
    };
    let body = response.body_ref().as_bytes().unwrap_or_default();
    let text = format!(
        "{} {} {}",
        response.status_code().as_str(),
        str::from_utf8(body).unwrap(),
        response.headers().get("left").unwrap_or("-")
    );
    (text, how)
}

fn check(router: &Router, table: &[(&str, &str, &str)]) {
    for (target, expected, how) in table {
        let (text, ran) = ask(router, target);
        assert_eq!((text.as_str(), ran), (*expected, *how), "{target}");
    }
}

#[test]
fn what_is_registered_first_is_outermost() {
    let router = Router::new()
        .around(mark("a"))
        .get("/inline", seen)
        .around(mark("b"))
        .get("/deferred", async |request: Request| seen(&request))
        .around(mark("c"));
    check(
        &router,
        &[
            ("/inline", "200 abc cba", "inline"),
            ("/deferred", "200 abc cba", "deferred"),
            ("/none", "404 Not Found cba", "inline"),
        ],
    );
    let router =
        router.wrap(async |request: Request, next: Next| mark_async(request, next, "d").await);
    check(
        &router,
        &[
            ("/inline", "200 abcd dcba", "deferred"),
            ("/deferred", "200 abcd dcba", "deferred"),
            ("/none", "404 Not Found dcba", "deferred"),
        ],
    );
}

#[test]
fn outer_routers_stand_around_inner_ones() {
    let innermost = Router::new().get("/x", seen).around(mark("3"));
    let inner = Router::new()
        .around(mark("2"))
        .nest("/b", innermost)
        .get("/y", seen);
    let group = Router::new().get("/group", seen).around(mark("g"));
    let router = Router::new()
        .nest("/a", inner)
        .merge(group)
        .get("/z", seen)
        .around(mark("1"));
    check(
        &router,
        &[
            ("/a/b/x", "200 123 321", "inline"),
            ("/a/y", "200 12 21", "inline"),
            ("/z", "200 1 1", "inline"),
            ("/group", "200 1g g1", "inline"),
            ("/none", "404 Not Found 1", "inline"),
            ("/a/none", "404 Not Found 21", "inline"),
            ("/a/b/none", "404 Not Found 321", "inline"),
            ("/a//b/x", "307 Temporary Redirect 321", "inline"),
        ],
    );
}

#[test]
fn who_answers_ends_it() {
    let refuse = |request: &mut Request| match request.query() {
        Some("stop") => Some((StatusCode::FORBIDDEN, "stopped")),
        _ => None,
    };
    let router = Router::new()
        .around(mark("a"))
        .before(refuse)
        .around(mark("b"))
        .get("/inline", seen)
        .get("/deferred", async |request: Request| seen(&request));
    check(
        &router,
        &[
            ("/inline", "200 ab ba", "inline"),
            ("/inline?stop", "403 stopped a", "inline"),
            ("/deferred", "200 ab ba", "deferred"),
            ("/deferred?stop", "403 stopped a", "deferred"),
            ("/none?stop", "403 stopped a", "inline"),
        ],
    );
    let router = router.wrap(async |request: Request, next: Next| match request.query() {
        Some("drop") => StatusCode::IM_A_TEAPOT.into_response(),
        _ => next.run(request).await,
    });
    check(
        &router,
        &[
            ("/inline?drop", "418  ba", "deferred"),
            ("/inline?stop", "403 stopped a", "deferred"),
        ],
    );
}

#[test]
fn verdicts_of_all_kinds() {
    fn router<V: Verdict + 'static>(verdict: fn() -> V) -> Router {
        Router::new()
            .get("/", |_: &Request| "on")
            .before(move |_: &mut Request| verdict())
    }
    let table: [(Router, &str); 8] = [
        (router(|| ()), "200 on -"),
        (router(|| None::<Response>), "200 on -"),
        (router(|| Some("answer")), "200 answer -"),
        (router(|| Ok::<(), StatusCode>(())), "200 on -"),
        (router(|| Err::<(), _>(StatusCode::FORBIDDEN)), "403  -"),
        (router(|| ControlFlow::<Response>::Continue(())), "200 on -"),
        (router(|| ControlFlow::Break("broken")), "200 broken -"),
        (
            router(|| Err::<(), _>((StatusCode::CONFLICT, "with text"))),
            "409 with text -",
        ),
    ];
    for (router, expected) in table {
        check(&router, &[("/", expected, "inline")]);
    }
}

#[test]
fn after_sees_all_answers() {
    let router = Router::new()
        .after(|response: Response| append(response, "x"))
        .after(|response: Response| match response.status_code() {
            StatusCode::NOT_FOUND => "instead".into_response(),
            _ => response,
        })
        .get("/inline", |_: &Request| "i")
        .get("/deferred", async |_: Request| "d");
    check(
        &router,
        &[
            ("/inline", "200 i x", "inline"),
            ("/deferred", "200 d x", "deferred"),
            ("/none", "200 instead x", "inline"),
        ],
    );
}

#[test]
fn the_route_is_known() {
    let router = Router::new()
        .nest("/users", Router::new().get("/{id}", |_: &Request| "user"))
        .around(|request: &mut Request| {
            let route = format!("{:?} {:?}", request.pattern(), request.param("id"));
            move |_: Response| route
        });
    check(
        &router,
        &[
            (
                "/users/7",
                "200 Some(\"GET /users/{id}\") \"7\" -",
                "inline",
            ),
            ("/none", "200 None \"\" -", "inline"),
        ],
    );
}

#[test]
fn a_prefix_is_taken_away() {
    fn target(request: &Request) -> String {
        format!("{} {}", request.target(), request.host().unwrap_or("-"))
    }
    let router = Router::new().get("/", target).before(strip_prefix("/old/"));
    check(
        &router,
        &[
            ("/old/a/b?q=/old", "200 /a/b?q=/old - -", "inline"),
            ("/old", "200 / - -", "inline"),
            ("/old/", "200 / - -", "inline"),
            ("/older", "404 Not Found -", "inline"),
            ("/", "404 Not Found -", "inline"),
            ("http://h.com/old/x", "200 http://h.com/x h.com -", "inline"),
        ],
    );
}

/// Each worker counts references of its own.
#[test]
fn workers_share_no_count() {
    let shared = Router::new()
        .get("/inline", |_: &Request| "i")
        .get("/deferred", async |_: Request| "d")
        .around(mark("a"))
        .wrap(async |request: Request, next: Next| next.run(request).await)
        .before(|_: &mut Request| ());
    let [one, other] = [shared.for_worker(), shared.for_worker()];
    for target in ["/inline", "/deferred", "/none"] {
        let count = |router: &Router| {
            let mut request = Request::for_target("GET", target).unwrap();
            match router.find(&mut request) {
                Routed::Endpoint {
                    endpoint: Endpoint::Deferred(handler),
                    ..
                } => {
                    let handler = Arc::clone(handler);
                    (
                        Arc::as_ptr(&handler).cast::<()>(),
                        Arc::strong_count(&handler),
                    )
                }
                _ => panic!("{target} is deferred"),
            }
        };
        assert_ne!(count(&one).0, count(&other).0, "{target}");
        assert_ne!(count(&one).0, count(&shared).0, "{target}");
        assert_eq!(count(&one).1, 2, "{target}");
    }
}
