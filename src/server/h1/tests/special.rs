//! What few requests need: time-outs of handlers, limits of routes, responses before the response,
//! no response.

use std::cell::RefCell;
use std::time::Duration;

use ::http::StatusCode;

use crate::error::Error;
use crate::http::body::Body;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::h1::tests::Bench;
use crate::server::h1::tests::CountDrop;
use crate::server::h1::tests::DROPPED;
use crate::server::h1::tests::check;
use crate::server::h1::tests::check_routed;
use crate::server::h1::tests::ok;
use crate::server::h1::tests::release;
use crate::server::h1::tests::released;
use crate::server::options::Options;
use crate::server::router::Router;

thread_local! {
    /// A request that outlives its response.
    static KEPT: RefCell<Option<Request>> = const { RefCell::new(None) };
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

const LINK: [(&str, &str); 1] = [("Link", "</style.css>; rel=preload")];

fn answers_early() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/hints", async |r: Request| {
            let fields = [LINK[0], ("Content-Length", "5"), ("Connection", "close")];
            r.inform(StatusCode::PROCESSING, LINK)?;
            r.inform(StatusCode::EARLY_HINTS, fields)?;
            Ok::<_, Error>("hints")
        })
        .get("/wait", async |r: Request| {
            r.inform(StatusCode::EARLY_HINTS, LINK).unwrap();
            KEPT.set(Some(r));
            released().await;
            "waited"
        })
        .get("/keep", async |r: Request| {
            KEPT.set(Some(r));
            "kept"
        })
        .get("/many", async |r: Request| {
            let sent = (0..20).take_while(|_| r.inform(StatusCode::PROCESSING, LINK).is_ok());
            sent.count().to_string()
        })
        .get("/large", async |r: Request| {
            let field = [("X", "y".repeat(20_000))];
            r.inform(StatusCode::PROCESSING, field.clone()).unwrap();
            let error = r.inform(StatusCode::PROCESSING, field.clone()).unwrap_err();
            assert!(error.is_limit());
            "large"
        })
        .get("/wrong", async |r: Request| {
            for status in [100, 101, 200] {
                let status = StatusCode::from_u16(status).unwrap();
                assert!(r.inform(status, LINK).is_err());
            }
            assert!(r.inform(StatusCode::PROCESSING, [("a b", "c")]).is_err());
            "wrong"
        })
        .post("/both", async |r: Request| {
            r.inform(StatusCode::EARLY_HINTS, LINK)?;
            r.into_body().text().await
        })
}

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";

#[test]
fn informational_responses_come_before_the_response() {
    let first = HINT.replace("103 Early Hints", "102 Processing");
    let expected = format!("{first}{HINT}{}{}", ok("hints"), ok("hello"));
    let input = get("/hints") + &get("/");
    check_routed(answers_early, &input, &expected, None);
    let input = "HEAD /hints HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = ok("hints").replace("\r\n\r\nhints", "\r\n\r\n");
    let expected = format!("{first}{HINT}{head}");
    check_routed(answers_early, input, &expected, None);
    // RFC 9110 §15.2: never to HTTP/1.0.
    let input = "GET /hints HTTP/1.0\r\n\r\n";
    let last = ok("hints").replace("Content-Length", "Connection: close\r\nContent-Length");
    check_routed(answers_early, input, &last, Some("close"));
}

#[test]
fn an_informational_response_goes_out_at_once_and_never_late() {
    let mut bench = Bench::routed(answers_early(), Options::default());
    bench.recv(get("/wait").as_bytes());
    assert_eq!(bench.text(), HINT);
    // From outside of the handler, whose connection is woken.
    KEPT.with_borrow(|kept| {
        let kept = kept.as_ref().unwrap();
        kept.inform(StatusCode::PROCESSING, LINK).unwrap();
    });
    bench.ready();
    assert!(bench.text().starts_with("HTTP/1.1 102 Processing\r\nLink:"));
    release();
    bench.ready();
    assert_eq!(bench.text(), ok("waited"));
    // The response has begun, and later the next request has: neither is informed.
    let late = || {
        KEPT.with_borrow(|kept| {
            let kept = kept.as_ref().unwrap();
            kept.inform(StatusCode::EARLY_HINTS, LINK).unwrap();
        });
    };
    late();
    bench.ready();
    assert_eq!(bench.text(), "");
    let kept = KEPT.take();
    bench.recv(get("/wait").as_bytes());
    assert_eq!(
        bench.text(),
        ok("waited").replacen("HTTP", &format!("{HINT}HTTP"), 1)
    );
    KEPT.set(kept);
    late();
    bench.ready();
    assert_eq!(bench.text(), "");
    KEPT.take();
}

#[test]
fn informational_responses_are_bounded() {
    let mut bench = Bench::routed(answers_early(), Options::default());
    bench.recv(get("/many").as_bytes());
    let text = bench.text();
    assert_eq!(text.matches("102 Processing").count(), 16);
    assert!(text.ends_with("\r\n\r\n16"), "{text}");
    for path in ["large", "wrong"] {
        bench.recv(get(&format!("/{path}")).as_bytes());
        assert!(bench.text().ends_with(path));
    }
    assert_eq!(bench.statistics().panics, 0);
}

#[test]
fn hints_and_continue_are_two() {
    let head =
        "POST /both HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let mut bench = Bench::routed(answers_early(), Options::default());
    bench.recv(head.as_bytes());
    assert_eq!(bench.text(), format!("{HINT}HTTP/1.1 100 Continue\r\n\r\n"));
    bench.recv(b"abc");
    assert_eq!(bench.text(), ok("abc"));
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn impatient() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/wait", async |_: Request| {
            let _count = CountDrop;
            released().await;
            "waited"
        })
        .post("/read", async |r: Request| {
            let _count = CountDrop;
            r.into_body().text().await
        })
        .get("/stream", async |_: Request| {
            Response::new().body(Body::produce(async |_| std::future::pending().await))
        })
}

fn impatient_options() -> Options {
    Options {
        handler_timeout: Some(seconds(5)),
        body_bytes_per_second_min: 0,
        ..Options::default()
    }
}

#[test]
fn a_handler_that_takes_too_long_is_a_503() {
    let mut bench = Bench::routed(impatient(), impatient_options());
    let dropped = DROPPED.get();
    bench.recv((get("/wait") + &get("/")).as_bytes());
    assert_eq!(bench.text(), "");
    assert_eq!(bench.advance_to_deadline(), seconds(5));
    let text = bench.text();
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(
        text.contains("the handler did not answer within 5s"),
        "{text}"
    );
    assert!(text.contains("Server::handler_timeout"), "{text}");
    // It is gone, and the connection is as good as before.
    assert_eq!(DROPPED.get(), dropped + 1);
    assert!(text.ends_with(&ok("hello")), "{text}");
    assert_eq!(bench.end, None);
    assert_eq!(bench.statistics().handler_timeouts, 1);
    assert_eq!(bench.expire(), seconds(90));
}

#[test]
fn a_body_counts_for_its_handler_too() {
    // A piece of the body comes every four seconds.
    let mut bench = Bench::routed(impatient(), impatient_options());
    bench.recv(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na");
    let later = bench.io.now() + seconds(4);
    bench.io.set_now(later, 784_111_777);
    bench.recv(b"b");
    assert_eq!(bench.advance_to_deadline(), seconds(1));
    assert!(bench.text().starts_with("HTTP/1.1 503 "));
    // What is left of it is drained, within its own time-out.
    assert_eq!(
        (bench.end, bench.io.deadline()),
        (None, Some(later + seconds(30)))
    );
    bench.recv(b"cde").recv(get("/").as_bytes());
    assert_eq!(bench.text(), ok("hello"));

    // The body's own time-out comes first.
    let options = Options {
        body_timeout: seconds(2),
        ..impatient_options()
    };
    let mut bench = Bench::routed(impatient(), options);
    bench.recv(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na");
    assert_eq!(bench.advance_to_deadline(), seconds(2));
    assert!(bench.text().starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_body_that_was_not_asked_for_in_time_ends_the_connection() {
    let router = Router::new().post("/wait", async |_: Request| released().await);
    let mut bench = Bench::routed(router, impatient_options());
    let fields = "Content-Length: 3\r\nExpect: 100-continue\r\n";
    bench.recv(format!("POST /wait HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
    bench.advance_to_deadline();
    let text = bench.text();
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.contains("Connection: close\r\n"), "{text}");
    assert_eq!(bench.end, Some("close"));
}

#[test]
fn a_body_that_takes_too_long_is_cut() {
    let mut bench = Bench::routed(impatient(), impatient_options());
    bench.recv(get("/stream").as_bytes());
    assert!(bench.text().ends_with("Transfer-Encoding: chunked\r\n\r\n"));
    assert_eq!(bench.advance_to_deadline(), seconds(5));
    assert_eq!((bench.text().as_str(), bench.end), ("", Some("close")));
    // Where the end is the end of the body, it has to look broken.
    let mut bench = Bench::routed(impatient(), impatient_options());
    bench.recv(b"GET /stream HTTP/1.0\r\n\r\n");
    bench.advance_to_deadline();
    assert_eq!(bench.end, Some("abort"));
}

#[test]
fn a_route_has_its_own_time() {
    let router = || {
        Router::new()
            .get("/wait", async |_: Request| {
                released().await;
                "waited"
            })
            .handler_timeout(seconds(60))
    };
    let mut bench = Bench::routed(router(), impatient_options());
    bench.recv(get("/wait").as_bytes());
    assert_eq!(bench.advance_to_deadline(), seconds(60));
    assert!(bench.text().starts_with("HTTP/1.1 503 "));

    let mut bench = Bench::routed(router().handler_timeout(Duration::MAX), impatient_options());
    bench.recv(get("/wait").as_bytes());
    assert_eq!(bench.io.deadline(), None);
    release();
    assert_eq!(bench.ready().text(), ok("waited"));
}

fn limited() -> Router {
    Router::new()
        .any("/ignore", |_: &Request| "ignored")
        .post("/read", async |r: Request| r.into_body().text().await)
        .post("/swallow", async |r: Request| {
            let read = r.into_body().text().await;
            read.unwrap_or_else(|_| "swallowed".to_owned())
        })
        .body_bytes_max(4)
        .body_timeout(seconds(3))
}

#[test]
fn a_body_beyond_the_limit_of_its_route_is_a_413_that_says_so() {
    let length = "Content-Length: 5\r\n\r\n";
    let chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let head = |path: &str| format!("POST /{path} HTTP/1.1\r\nHost: a\r\n");
    for (path, rest) in [("ignore", length), ("read", length), ("read", chunks)] {
        let mut bench = Bench::routed(limited(), Options::default());
        bench.recv((head(path) + rest).as_bytes());
        let text = bench.text();
        assert!(text.starts_with("HTTP/1.1 413 "), "{path} {rest}: {text}");
        assert!(
            text.contains("longer than 4 bytes"),
            "{path} {rest}: {text}"
        );
        assert!(
            text.contains("Router::body_bytes_max"),
            "{path} {rest}: {text}"
        );
        assert!(
            text.contains("Connection: close\r\n"),
            "{path} {rest}: {text}"
        );
        assert_eq!(bench.end, Some("close"), "{path} {rest}");
    }
    let mut bench = Bench::routed(limited(), Options::default());
    bench.recv((head("swallow") + chunks).as_bytes());
    let text = bench.text();
    assert!(text.ends_with("swallowed") && text.contains("Connection: close"));
    assert_eq!(bench.end, Some("close"));
    // What fits is as always, and the next request has the same limit.
    let fits = head("read") + "Content-Length: 4\r\n\r\nabcd";
    let twice = fits.clone() + &fits;
    check_routed(limited, &twice, &ok("abcd").repeat(2), None);
}

#[test]
fn a_route_has_its_own_time_for_bodies() {
    let mut bench = Bench::routed(limited(), Options::default());
    bench.recv(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\na");
    assert_eq!(bench.advance_to_deadline(), seconds(3));
    let text = bench.text();
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
}

#[test]
fn an_abort_is_a_reset_and_nothing_else() {
    let router = || {
        Router::new()
            .get("/now", |_: &Request| Response::abort())
            .any("/later", async |_: Request| {
                released().await;
                Response::abort()
            })
    };
    let mut bench = Bench::routed(router(), Options::default());
    bench.recv((get("/now") + &get("/now")).as_bytes());
    assert_eq!((bench.text().as_str(), bench.end), ("", Some("abort")));
    assert_eq!(bench.statistics().requests, 1);
    let mut bench = Bench::routed(router(), Options::default());
    bench.recv(b"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(bench.end, None);
    release();
    bench.ready();
    assert_eq!((bench.text().as_str(), bench.end), ("", Some("abort")));
    let statistics = bench.statistics();
    assert_eq!((statistics.panics, statistics.requests_aborted), (0, 1));
}

#[test]
fn a_slow_download_is_not_idle() {
    let mut bench = Bench::new();
    let start = bench.io.now();
    bench.recv(get("/big").as_bytes());
    // It took 80 s until the kernel had taken all of it.
    bench.io.set_sent_at(start + seconds(80));
    assert_eq!(bench.expire(), seconds(170));
    assert_eq!(bench.end, Some("close"));
    // After as long, it has not.
    let mut bench = Bench::new();
    bench.recv(get("/{$}").as_bytes());
    bench.io.append_copy(b"unsent");
    assert_eq!(bench.advance_unflushed(), seconds(90));
    assert_eq!(bench.end, None);
    assert_eq!(bench.advance_unflushed(), seconds(90));
    bench.flush();
    bench.io.set_sent_at(bench.io.now());
    assert_eq!(bench.expire(), seconds(90));
    assert_eq!(bench.end, Some("close"));
}

#[test]
fn the_usual_table_holds_with_terms() {
    // `check` has no terms; the same answers come where a connection has needed some before.
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &ok("hello"), None);
    let router = || limited().get("/{$}", |_: &Request| "hello");
    let post = "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    let input = post.to_owned() + &get("/");
    check_routed(router, &input, &(ok("ab") + &ok("hello")), None);
}
