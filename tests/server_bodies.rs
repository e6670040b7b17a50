//! Bodies in both directions over real sockets: what is drained, what is refused, what is cut; and
//! what a client sees that goes away, or that is left alone.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roundtrip::Body;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;

mod server_support;

use server_support::Peer;
use server_support::Serving;
use server_support::get;
use server_support::request;

static STARTED: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);
static NOTICED: AtomicBool = AtomicBool::new(false);

struct CountDrop;

impl Drop for CountDrop {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .post("/ignore", |_: &Request| "ignored")
        .post("/collect", async |request: Request| {
            let bytes = request.into_body().collect(2_000_000).await?;
            Ok::<_, Error>(bytes.len().to_string())
        })
        .post("/half", async |request: Request| {
            let mut body = request.into_body();
            let mut read = 0;
            while read < 150_000 {
                read += body.chunk().await.expect("there is more")?.len();
            }
            Ok::<_, Error>("half")
        })
        .get("/wait", async |_: Request| {
            let _count = CountDrop;
            STARTED.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        })
        .get("/gone", async |request: Request| {
            request.disconnected().await;
            NOTICED.store(true, Ordering::SeqCst);
            "gone"
        })
        .get("/abort", |_: &Request| Response::abort())
        .get("/hints", async |request: Request| {
            let link = [("Link", "</style.css>; rel=preload; as=style")];
            request.inform(::http::StatusCode::EARLY_HINTS, link)?;
            Ok::<_, Error>("hinted")
        })
        .get("/stall", async |_: Request| {
            Response::new().body(Body::produce(async |sender| {
                sender.send("begun".into()).await?;
                std::future::pending::<()>().await;
                Ok(())
            }))
        })
}

fn chunked(bytes: usize) -> String {
    let body = "x".repeat(bytes);
    let rest = format!("{bytes:x}\r\n{body}\r\n0\r\n\r\n");
    request("POST /ignore", &["Transfer-Encoding: chunked"], &rest)
}

fn sized(path: &str, bytes: usize, fields: &[&str]) -> String {
    let length = format!("Content-Length: {bytes}");
    let mut all = vec![length.as_str()];
    all.extend(fields);
    request(&format!("POST {path}"), &all, &"x".repeat(bytes))
}

/// A little of an unread body is drained, and the connection goes on; more ends it. Whatever it is,
/// the response arrives.
#[test]
fn unread_bodies_are_drained_within_bounds() {
    let serving = Serving::start(router());
    for text in [
        sized("/ignore", 20_480, &[]),
        chunked(20_480),
        chunked(200_000),
    ] {
        let mut peer = serving.peer();
        let answer = peer.send(&text).answer();
        assert_eq!(
            (answer.text(), answer.field("connection")),
            ("ignored", None)
        );
        assert_eq!(peer.send(get("/")).answer().text(), "hello");
    }
    // Known to be too long: nothing of it is read, and the response says so.
    let mut peer = serving.peer();
    let head = request("POST /ignore", &["Content-Length: 1048576"], "");
    let answer = peer.send(head).answer();
    assert_eq!(answer.text(), "ignored");
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(peer.is_closed());
    // A client that asked to close: the same, however short.
    let mut peer = serving.peer();
    let fields = ["Content-Length: 10", "Connection: close"];
    let answer = peer.send(request("POST /ignore", &fields, "")).answer();
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("ignored", Some("close"))
    );
    assert!(peer.is_closed());
    // Without a length that shows later.
    let mut peer = serving.peer();
    let mut stream = peer.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        // It may be closed before all of it is sent.
        let _ = stream.write_all(chunked(1_048_576).as_bytes());
    });
    assert_eq!(peer.answer().text(), "ignored");
    assert!(peer.is_closed());
    writer.join().unwrap();
}

/// The client reads the response although it has sent, and still sends, what nobody will read.
#[test]
fn a_response_before_the_end_of_its_request_is_read() {
    let serving = Serving::start(router());
    for _ in 0..20 {
        let mut peer = serving.peer();
        let answer = peer.send(sized("/half", 300_000, &[])).answer();
        assert_eq!(answer.text(), "half");
        // What is left of it fits within the bound.
        assert_eq!(answer.field("connection"), None);
        assert_eq!(peer.send(get("/")).answer().text(), "hello");
    }
    // All but the last bytes: it cannot be drained before they come.
    let mut peer = serving.peer();
    let text = sized("/half", 600_000, &[]);
    let answer = peer.send(&text[..text.len() - 1_000]).answer();
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("half", Some("close"))
    );
    assert!(peer.is_closed());
}

#[test]
fn expectations() {
    let serving = Serving::start(router());
    let expect = |path: &str, version: &str, value: &str, length: usize| {
        format!(
            "POST {path} HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\
             Expect: {value}\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    // The body is asked for when it is read.
    let mut peer = serving.peer();
    let first = peer
        .send(expect("/collect", "1.1", "100-Continue", 1))
        .answer();
    assert_eq!(
        (first.status, first.head.as_str()),
        (100, "HTTP/1.1 100 Continue\r\n\r\n")
    );
    assert_eq!(peer.send("x").answer().text(), "1");
    assert_eq!(peer.send(get("/")).answer().text(), "hello");
    // Who does not read it does not ask; what would follow is unknown, and so nothing does.
    let mut peer = serving.peer();
    let answer = peer
        .send(expect("/ignore", "1.1", "100-continue", 1))
        .answer();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (200, Some("close"))
    );
    assert!(peer.is_closed());
    // Without a body there is nothing to ask for.
    let mut peer = serving.peer();
    let answer = peer
        .send(expect("/collect", "1.1", "100-continue", 0))
        .answer();
    assert_eq!(
        (answer.status, answer.text(), answer.field("connection")),
        (200, "0", None)
    );
    // In HTTP/1.0 it means nothing, in 1.1 it may mean nothing else.
    let mut peer = serving.peer();
    peer.send(expect("/collect", "1.0", "100-continue", 1) + "x");
    assert_eq!(peer.answer().text(), "1");
    let mut peer = serving.peer();
    let answer = peer.send(expect("/collect", "1.1", "a-pony", 1)).answer();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (417, Some("close"))
    );
    assert!(peer.is_closed());
}

#[test]
fn a_body_that_is_too_long_names_the_limit_and_the_knob() {
    let server = Server::new(router()).body_bytes_max(1_000);
    let serving = Serving::with(server, |server| server);
    let text = "5dc\r\n".to_owned() + &"x".repeat(1_500) + "\r\n0\r\n\r\n";
    for asked in [
        request("POST /collect", &["Content-Length: 1001"], ""),
        request("POST /collect", &["Transfer-Encoding: chunked"], &text),
    ] {
        let mut peer = serving.peer();
        let answer = peer.send(asked).answer();
        assert_eq!(
            (answer.status, answer.field("connection")),
            (413, Some("close"))
        );
        let text = answer.text();
        assert!(
            text.contains("1000 bytes") && text.contains("Server::body_bytes_max"),
            "{text}"
        );
        assert!(peer.is_closed());
    }
    assert_eq!(serving.ask(&sized("/collect", 1_000, &[])).text(), "1000");
}

/// True when the connection was reset, with nothing behind what was read.
fn is_reset(peer: &mut Peer) -> bool {
    let end = peer.stream.read_exact(&mut [0; 1]);
    end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn an_abort_is_a_reset() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    assert_eq!(peer.send(get("/")).answer().text(), "hello");
    assert!(is_reset(peer.send(get("/abort"))));
    let statistics = serving.handle.statistics();
    assert_eq!((statistics.requests_aborted, statistics.panics), (1, 0));
}

#[test]
fn a_handler_that_takes_too_long_is_given_up() {
    let server = Server::new(router()).handler_timeout(Duration::from_millis(150));
    let serving = Serving::with(server, |server| server);
    let mut peer = serving.peer();
    peer.send(get("/gone") + &get("/"));
    let answer = peer.answer();
    assert_eq!((answer.status, answer.field("connection")), (503, None));
    let text = answer.text();
    assert!(
        text.contains("150ms") && text.contains("Server::handler_timeout"),
        "{text}"
    );
    assert_eq!(peer.answer().text(), "hello");
    // A body that was begun never looks whole.
    let mut peer = serving.peer();
    peer.send(get("/stall"));
    let rest = String::from_utf8(peer.rest()).unwrap();
    assert!(rest.ends_with("\r\n\r\n5\r\nbegun\r\n"), "{rest}");
    assert_eq!(serving.handle.statistics().handler_timeouts, 2);
}

#[test]
fn hints_come_first() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    peer.send(get("/hints") + &get("/"));
    let hint = peer.answer();
    assert_eq!(hint.status, 103);
    assert_eq!(
        hint.field("link"),
        Some("</style.css>; rel=preload; as=style")
    );
    assert_eq!(
        (hint.field("date"), hint.field("content-length")),
        (None, None)
    );
    let answer = peer.answer();
    assert_eq!((answer.text(), answer.field("link")), ("hinted", None));
    assert_eq!(peer.answer().text(), "hello");
}

#[test]
fn who_goes_away_takes_its_handler_along() {
    let serving = Serving::with(Server::new(router()), |server| {
        server.shutdown_timeout(Duration::from_millis(200))
    });
    // More requests in line are no sign of going away, and neither is an end of what is sent.
    let mut peer = serving.peer();
    peer.send(get("/wait") + &get("/") + &get("/"));
    while STARTED.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    peer.close_writing();
    assert_eq!(serving.ask(&get("/")).text(), "hello");
    assert_eq!(DROPPED.load(Ordering::SeqCst), 0);
    // An end makes it known to who asks, and a response is still sent.
    let mut second = serving.peer();
    second.send(get("/gone")).close_writing();
    assert_eq!(second.answer().text(), "gone");
    assert!(NOTICED.load(Ordering::SeqCst));
    assert!(second.is_closed());
    // A reset ends it: the response to the first request was never read.
    let mut third = serving.peer();
    third.send(get("/") + &get("/wait"));
    while STARTED.load(Ordering::SeqCst) < 2 {
        std::thread::yield_now();
    }
    assert!(third.stream.peek(&mut [0; 1]).unwrap() > 0);
    drop(third);
    while DROPPED.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
    assert_eq!(serving.handle.statistics().panics, 0);
    drop(serving);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 2);
}
