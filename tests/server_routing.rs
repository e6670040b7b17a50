//! Routes and middleware of a running server, over the wire.
//!
//! ```text
//!   request line, fields, body ──► router, middleware, handler ──► status, fields, body
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::runtime::sleep;
use roundtrip::server::middleware::Next;
use roundtrip::server::middleware::strip_prefix;

mod server_support;

use server_support::Answer;
use server_support::Serving;
use server_support::get;
use server_support::request;

/// The pattern and what it took.
fn matched(request: &Request) -> String {
    let mut text = request.pattern().unwrap_or("none").to_owned();
    for (name, value) in request.params() {
        text += &format!(" {name}={value}");
    }
    text
}

fn routes(patterns: &[&str]) -> Router {
    patterns.iter().fold(Router::new(), |router, pattern| {
        router.route(pattern, matched)
    })
}

/// What a request line and its fields get: the status, and what tells where and why.
fn outcome(answer: &Answer) -> String {
    let mut text = answer.status.to_string();
    match answer.status {
        200 => text += &format!(" {}", answer.text()),
        307 => text += &format!(" {}", answer.field("location").unwrap()),
        405 => text += &format!(" {}", answer.field("allow").unwrap()),
        _ => {}
    }
    text
}

fn check(router: Router, table: &[(&str, &str)]) {
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    for (line, expected) in table {
        let answer = match line.split_once(" @") {
            Some((line, host)) => {
                let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                serving.peer().send(text).answer()
            }
            // All on one connection: none of these is a reason to end it.
            None => peer.send(request(line, &[], "")).answer(),
        };
        assert_eq!(outcome(&answer), *expected, "{line}");
    }
}

/// Names and values are bytes on the wire, and no two of them look the same.
#[test]
fn parameters_are_bytes() {
    let shown = |request: &Request| {
        let name = request.param("name");
        let mut text = format!("{name:?}");
        for (name, value) in request.params_bytes() {
            text += &format!(" {name}={}", value.escape_ascii());
        }
        if let Some(value) = request.query_value_bytes("q")? {
            text += &format!(" q={}", value.escape_ascii());
        }
        Ok::<_, roundtrip::Error>(text)
    };
    let router = Router::new().get("/{name}/{rest...}", shown);
    let router = router.nest("/below/{outer}", Router::new().get("/{name}", shown));
    check(
        router,
        &[
            ("GET /%FF/", r#"200 "�" name=\xff rest="#),
            ("GET /%25FF/", r#"200 "%FF" name=%FF rest="#),
            ("GET /%FE/a/%ff%2f", r#"200 "�" name=\xfe rest=a/\xff/"#),
            (
                "GET /%C3%A4/%e4?q=%E4",
                r#"200 "ä" name=\xc3\xa4 rest=\xe4 q=\xe4"#,
            ),
            ("GET /a/b?p=1&q=%25E4", r#"200 "a" name=a rest=b q=%E4"#),
            ("GET /a/b?q=%", "400"),
            ("GET /below/%FD/%FF", r#"200 "�" outer=\xfd name=\xff"#),
        ],
    );
}

#[test]
fn the_most_specific_route_answers() {
    let router = routes(&[
        "/item/",
        "POST /item/{user}",
        "GET /item/{user}",
        "/item/{user}",
        "/item/{user}/{id}",
        "/item/{user}/new",
        "/item/{$}",
        "POST alt.com/item/{user}",
        "GET /x",
        "/path/{p...}",
        "/a/b/{w}",
        "/c/{w...}",
        "/%7B/%7D",
    ]);
    check(
        router,
        &[
            ("GET /item/jba", "200 GET /item/{user} user=jba"),
            ("POST /item/jba", "200 POST /item/{user} user=jba"),
            ("get /item/jba", "200 /item/{user} user=jba"),
            (
                "POST /item/jba @alt.com",
                "200 POST alt.com/item/{user} user=jba",
            ),
            (
                "POST /item/jba @ALT.com:81",
                "200 POST alt.com/item/{user} user=jba",
            ),
            (
                "POST http://alt.com/item/j @other.com",
                "200 POST alt.com/item/{user} user=j",
            ),
            ("GET /item/jba @alt.com", "200 GET /item/{user} user=jba"),
            ("GET /item/jba/new", "200 /item/{user}/new user=jba"),
            ("GET /item/jba/17", "200 /item/{user}/{id} user=jba id=17"),
            ("GET /item/", "200 /item/{$}"),
            ("GET /item/jba/17/line2", "200 /item/ =jba/17/line2"),
            ("GET /item", "307 /item/"),
            ("GET /item?a=/b//c", "307 /item/?a=/b//c"),
            ("GET /path/to/file", "200 /path/{p...} p=to/file"),
            ("GET /path/to%2Ffile/%41", "200 /path/{p...} p=to/file/A"),
            ("GET /a/b/", "404"),
            ("GET /c/", "200 /c/{w...} w="),
            ("GET /%7b/%7d", "200 /%7B/%7D"),
            ("GET /%61/b/%20", "200 /a/b/{w} w= "),
            ("GET /a%2Fb/c", "404"),
            ("POST /x", "405 GET, HEAD"),
            ("OPTIONS /x", "405 GET, HEAD"),
            ("OPTIONS *", "200 "),
            ("GET * @a", "400"),
            ("CONNECT a:1 @a:1", "404"),
        ],
    );
}

#[test]
fn conflicts_are_refused_with_both_places() {
    let router = || Router::new().get("/a/{x}", matched);
    let table: &[(&str, &[&str])] = &[
        ("GET /a/{y}", &["answers the same requests as", "GET /a/y"]),
        (
            "/{x}/b",
            &[
                "both answer GET /a/b",
                "GET /a/x",
                "neither is more specific",
            ],
        ),
        (
            "/a/{x}/{$}/c",
            &["at byte 7", "'{$}' stands at the end only"],
        ),
    ];
    for (pattern, parts) in table {
        let line = line!() + 1;
        let result = router().try_route(pattern, matched);
        let error = result.unwrap_err().to_string();
        for part in *parts {
            assert!(error.contains(part), "{error}: {part}");
        }
        if error.contains("(tests/server_routing.rs:") {
            assert_eq!(
                error.matches("(tests/server_routing.rs:").count(),
                2,
                "{error}"
            );
            assert!(
                error.contains(&format!("(tests/server_routing.rs:{line}:")),
                "{error}"
            );
        }
    }
    assert!(router().try_route("GET /a/b", matched).is_ok());
    assert!(router().try_route("example.com/{x}/b", matched).is_ok());
}

#[test]
fn paths_that_are_meant_otherwise() {
    let router = routes(&["/{$}", "/baz", "GET /tree/", "/u/{user}/home/{$}"]);
    check(
        router,
        &[
            ("GET //", "307 /"),
            ("GET /foo/../bar/./..//baz?q=1", "307 /baz?q=1"),
            ("POST /./baz", "307 /baz"),
            ("GET //tree/x/../..//tree", "307 /tree/"),
            ("POST /tree", "405 GET, HEAD"),
            ("GET //evil.example", "307 /evil.example"),
            ("GET //u/evil.example/home", "307 /u/evil.example/home/"),
            ("GET //\\evil.example/u", "307 /%5Cevil.example/u"),
            ("GET http://a//evil.example @a", "307 /evil.example"),
            ("GET /nothing//here", "307 /nothing/here"),
        ],
    );
}

#[test]
fn a_head_is_a_get_without_a_body() {
    let serving = Serving::start(routes(&["GET /a", "/tree/"]));
    let mut peer = serving.peer();
    for (path, status, length) in [("/a", 200, "6"), ("/tree", 307, "18"), ("/none", 404, "9")] {
        let text = request(&format!("HEAD {path}"), &[], "");
        let answer = peer.send(text).answer_to_head();
        assert_eq!(
            (answer.status, answer.field("content-length")),
            (status, Some(length))
        );
    }
    assert_eq!(peer.send(get("/a")).answer().text(), "GET /a");
}

/// The body of a request that goes elsewhere is read and dropped.
#[test]
fn a_redirected_body_costs_no_connection() {
    let serving = Serving::start(routes(&["/tree/"]));
    let mut peer = serving.peer();
    for path in ["/tree", "//tree/", "/none"] {
        let text = request(&format!("POST {path}"), &["Content-Length: 5"], "abcde");
        assert_ne!(peer.send(text).answer().status, 200, "{path}");
    }
    assert_eq!(peer.send(get("/tree/")).answer().status, 200);
}

#[test]
fn routers_in_routers() {
    let authorized = |request: &mut Request| match request.bearer_token() {
        Some("secret") => Ok(()),
        _ => Err(StatusCode::UNAUTHORIZED),
    };
    let admin = Router::new()
        .before(authorized)
        .get("/{$}", matched)
        .post("/users/{id}", async |request: Request| matched(&request))
        .not_found(|_: &Request| "nothing to administer");
    let router = Router::new()
        .get("/", matched)
        .nest("/admin", admin)
        .nest(
            "/old",
            Router::new()
                .before(strip_prefix("/old"))
                .get("/", |r: &Request| {
                    format!("{} {}", r.path(), r.query().unwrap_or(""))
                }),
        )
        .after(|response: Response| response.header("X-Server", "us"))
        .not_found(|_: &Request| "nothing at all");
    let serving = Serving::start(router);
    let token = "Authorization: Bearer secret";
    let table: &[(&str, &[&str], &str)] = &[
        ("GET /x", &[], "200 GET / =x"),
        ("GET /admin/", &[], "401"),
        ("GET /admin/", &[token], "200 GET /admin/{$}"),
        ("POST /admin/users/7", &[], "401"),
        (
            "POST /admin/users/7",
            &[token],
            "200 POST /admin/users/{id} id=7",
        ),
        ("PUT /admin/none", &[], "401"),
        ("PUT /admin/none", &[token], "405 GET, HEAD"),
        ("GET /old/a/b?c", &[], "200 /a/b c"),
        ("POST /none", &[], "405 GET, HEAD"),
    ];
    for (line, fields, expected) in table {
        let answer = serving.ask(&request(line, fields, ""));
        assert_eq!(outcome(&answer), *expected, "{line}");
        assert_eq!(answer.field("x-server"), Some("us"), "{line}");
    }
}

#[test]
fn middleware_that_waits() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let router = Router::new()
        .get("/inline", matched)
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
        .get("/slow", async |_: Request| {
            sleep(Duration::from_secs(60)).await;
        })
        .wrap(async move |request: Request, next: Next| {
            count.fetch_add(1, Ordering::Relaxed);
            let late = sleep(Duration::from_millis(20));
            let response = next.run(request);
            let mut response = std::pin::pin!(response);
            let mut late = std::pin::pin!(late);
            std::future::poll_fn(|cx| {
                if let std::task::Poll::Ready(response) = response.as_mut().poll(cx) {
                    return std::task::Poll::Ready(Ok(response));
                }
                let late = late.as_mut().poll(cx);
                late.map(|()| Err(StatusCode::GATEWAY_TIMEOUT))
            })
            .await
        })
        .wrap(async |mut request: Request, next: Next| {
            let body = request.take_body().text().await?;
            let response = next.run(request.with_body(body.to_uppercase())).await;
            Ok::<_, roundtrip::Error>(response.header("X-Inner", "yes"))
        });
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let answer = peer.send(get("/inline")).answer();
    assert_eq!(
        (answer.text(), answer.field("x-inner")),
        ("GET /inline", Some("yes"))
    );
    let text = request("POST /echo", &["Content-Length: 5"], "abcde");
    assert_eq!(peer.send(text).answer().text(), "ABCDE");
    let answer = peer.send(get("/none")).answer();
    assert_eq!((answer.status, answer.field("x-inner")), (404, Some("yes")));
    assert_eq!(peer.send(get("/slow")).answer().status, 504);
    assert_eq!(seen.load(Ordering::Relaxed), 4);
}

#[test]
fn who_answers_first_asks_for_no_body() {
    let router = Router::new()
        .post("/upload", async |r: Request| r.into_body().text().await)
        .before(|_: &mut Request| Err::<(), _>(StatusCode::FORBIDDEN));
    let serving = Serving::start(router);
    let fields = ["Content-Length: 5", "Expect: 100-continue"];
    let mut peer = serving.peer();
    let answer = peer.send(request("POST /upload", &fields, "")).answer();
    assert_eq!(answer.status, 403);
}

/// A panic costs its connection, wherever in the middleware it is.
#[test]
fn a_panic_costs_one_connection() {
    fn fail() -> bool {
        panic!("on purpose")
    }
    let all = Router::new()
        .get("/inline", matched)
        .get("/deferred", async |_: Request| "late");
    let before = Router::new().merge(all).before(|_: &mut Request| {
        fail();
    });
    let all = Router::new()
        .get("/inline", matched)
        .get("/deferred", async |_: Request| "late");
    let after = Router::new()
        .merge(all)
        .after(|response: Response| match fail() {
            true => response,
            false => Response::new(),
        });
    let wrap = Router::new()
        .get("/inline", matched)
        .wrap(async |request: Request, next: Next| {
            let response = next.run(request).await;
            sleep(Duration::from_millis(1)).await;
            fail();
            response
        });
    let router = Router::new()
        .nest("/before", before)
        .nest("/after", after)
        .nest("/wrap", wrap)
        .nest(
            "/around",
            Router::new()
                .get("/inline", matched)
                .around(|_: &mut Request| {
                    |response: Response| match fail() {
                        true => response,
                        false => Response::new(),
                    }
                }),
        )
        .get("/fine", |_: &Request| "fine")
        .method_not_allowed(|_: &Request| {
            fail();
        });
    let serving = Serving::start(router);
    let mut other = serving.peer();
    let lines = [
        "GET /before/inline",
        "GET /before/deferred",
        "GET /before/none",
        "GET /after/inline",
        "GET /after/deferred",
        "GET /after/none",
        "GET /wrap/inline",
        "GET /around/inline",
        "POST /fine",
    ];
    for line in lines {
        assert_eq!(other.send(get("/fine")).answer().text(), "fine");
        let mut peer = serving.peer();
        let answer = peer.send(request(line, &[], "")).answer();
        assert_eq!(answer.status, 500, "{line}");
        assert!(peer.is_closed(), "{line}");
    }
    assert_eq!(other.send(get("/fine")).answer().text(), "fine");
    let panics = serving.handle.statistics().panics;
    assert_eq!(panics, lines.len() as u64);
}

#[test]
fn all_workers_have_all_of_it() {
    let router = Router::new()
        .get("/inline", matched)
        .get("/deferred", async |request: Request| matched(&request))
        .wrap(async |request: Request, next: Next| next.run(request).await)
        .around(|_: &mut Request| |response: Response| response.header("X-Around", "yes"));
    let serving = Serving::with(Server::new(router), |server| server.workers(2));
    for round in 0..40 {
        for path in ["/inline", "/deferred", "/none"] {
            let answer = serving.ask(&get(path));
            let status = if path == "/none" { 404 } else { 200 };
            assert_eq!(answer.status, status, "{path} {round}");
            assert_eq!(answer.field("x-around"), Some("yes"), "{path} {round}");
        }
    }
}

#[test]
fn limits_of_the_router_hold() {
    let small = Router::new()
        .body_bytes_max(4)
        .post("/x", async |r: Request| r.into_body().text().await);
    let router = Router::new()
        .nest("/small", small)
        .post("/x", async |r: Request| r.into_body().text().await);
    let serving = Serving::start(router);
    let ask = |path: &str| {
        let text = request(&format!("POST {path}"), &["Content-Length: 5"], "abcde");
        serving.ask(&text).status
    };
    assert_eq!((ask("/x"), ask("/small/x")), (200, 413));
}
