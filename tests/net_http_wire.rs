//! What net/http's server does on the wire, feature by feature: the same here, or different on
//! purpose, which the row says.
//!
//! ```text
//!   feature · rule · bytes ──► the server in memory, whole and cut everywhere ──► bytes
//! ```

use std::cell::Cell;
use std::io::Write;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use http::Method;
use http::StatusCode;
use roundtrip::Body;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files;
use roundtrip::runtime;
use roundtrip::server::cross_origin::Protection;
use roundtrip::testing::App;

mod wire;

use wire::Case;
use wire::check_all;
use wire::chunked;
use wire::get;
use wire::post;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/// A row: what it is called on the page, what it says, what is sent.
fn row(name: &str, what: &str, input: impl AsRef<[u8]>) -> Case {
    Case::new(name, what, input)
}

fn line(text: &str) -> String {
    format!("{text}\r\nHost: a\r\n\r\n")
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

// ---- request parsing and limits ----------------------------------------------------------------

#[test]
#[rustfmt::skip]
fn request_lines_and_hosts() {
    let host = |value: &str| format!("GET /x HTTP/1.1\r\nHost: {value}\r\n\r\n");
    let mut cases = vec![
        row("Status mapping", "HTTP/0.9", line("GET /x HTTP/0.9")).refused(505),
        row("Status mapping", "HTTP/2.0", line("GET /x HTTP/2.0")).refused(505),
        row("Status mapping", "HTTP/3.0", line("GET /x HTTP/3.0")).refused(505),
        row("PRI passthrough", "different: refused", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").refused(505),
        row("Host", "1.0 without", "GET /x HTTP/1.0\r\n\r\n").answers(&["200 GET /x -"]).closed(),
        row("Host", "1.1 without", "GET /x HTTP/1.1\r\n\r\n").refused(400),
        row("Host", "two", get("Host: a\r\n")).refused(400),
        row("Host", "two in 1.0", "GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").refused(400),
        row("Host", "different: CONNECT needs one too", "CONNECT golang.org:443 HTTP/1.1\r\n\r\n").refused(400),
        row("Host", "a byte that is no text", b"GET /x HTTP/1.1\r\nHost: \xff\r\n\r\n").refused(400),
        row("Request line", "two blanks", line("GET  /x HTTP/1.1")).refused(400),
        row("Request line", "no version", line("GET /x")).refused(400),
        row("Request line", "a method that nobody knows", line("FOOBAR /x HTTP/1.1")).answers(&["200 FOOBAR /x a"]),
        row("Request line", "a method that is no token", line("G@T /x HTTP/1.1")).refused(400),
        row("Request line", "a version of two digits", line("GET /x HTTP/1.10")).refused(400),
        row("Target", "absolute-form counts, Host does not", "GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n").answers(&["200 GET http://a/x a"]),
        row("Target", "none", line("GET  HTTP/1.1")).refused(400),
        row("Leading CRLF tolerance", "different: one, before any request", format!("\r\n{GET}")).answers(&["200 GET /x a"]),
        row("Leading CRLF tolerance", "behind a POST", post("Content-Length: 3\r\n", "abc\r\n") + GET).answers(&["200 POST /x a [abc]", "200 GET /x a"]),
        row("Leading CRLF tolerance", "different: not two", post("Content-Length: 3\r\n", "abc\r\n\r\n") + GET).answers(&["200 POST /x a [abc]", "400"]).closed(),
        row("Pipelining", "two in one piece", GET.repeat(2)).answers(&["200 GET /x a", "200 GET /x a"]),
        row("OPTIONS *", "answered by the server", line("OPTIONS * HTTP/1.1")).reaches(0).head_has("Content-Length: 0"),
        row("RequestURI *", "of another method", line("GET * HTTP/1.1")).refused(400),
    ];
    for value in ["", "1.2.3.4", "foo-bar_baz.com", "foo.com:80", "::1", "[::1]:80", "[::1%25en0]:80", "foo.com:"] {
        cases.push(row("Host", value, host(value)).answers(&[&format!("200 GET /x {value}")]));
    }
    for value in ["\u{6}", "{", "}", "a b", "a/b", "a?b", "a@b"] {
        cases.push(row("Host", value, host(value)).refused(400));
    }
    check_all(wire::router(), &cases);
}

#[test]
#[rustfmt::skip]
fn fields() {
    let cases = [
        row("Header names", "a blank in it", get("A space: x\r\n")).refused(400),
        row("Header names", "a byte that is no text", b"GET /x HTTP/1.1\r\nHost: a\r\nfoo\xffbar: x\r\n\r\n").refused(400),
        row("Header names", "NUL", get("foo\0bar: x\r\n")).refused(400),
        row("Header names", "a blank behind it", get("Foo : bar\r\n")).refused(400),
        row("Header names", "a tab behind it", get("Foo\t: bar\r\n")).refused(400),
        row("Header names", "none", get(": v\r\n")).refused(400),
        row("Header names", "a blank before the first", "GET /x HTTP/1.1\r\n Foo: bar\r\nHost: a\r\n\r\n").refused(400),
        row("Header names", "a tab before the first", "GET /x HTTP/1.1\r\n\tFoo: bar\r\nHost: a\r\n\r\n").refused(400),
        row("Header values", "NUL", get("Foo: a\0b\r\n")).refused(400),
        row("Header values", "DEL", get("Foo: a\u{7f}b\r\n")).refused(400),
        row("Header values", "bytes that are no text", b"GET /x HTTP/1.1\r\nHost: a\r\nFoo: \xff\r\n\r\n"),
        row("Header values", "a tab and a blank within", get("Foo: a\tb c\r\n")),
        row("obs-fold", "different: refused", get("Foo: a\r\n b\r\n")).refused(400),
        row("Bare LF", "different: refused behind the request line", "GET /x HTTP/1.1\nHost: a\r\n\r\n").refused(400),
        row("Bare LF", "different: refused behind a field", "GET /x HTTP/1.1\r\nHost: a\n\r\n").refused(400),
        row("Bare LF", "different: refused at the end", "GET /x HTTP/1.1\r\nHost: a\r\n\n").refused(400),
        row("Bare LF", "bare CR never", "GET /x HTTP/1.1\r\nHost: a\rFoo: b\r\n\r\n").refused(400),
    ];
    check_all(wire::router(), &cases);
}

#[test]
#[rustfmt::skip]
fn limits() {
    let items = (0..16).map(|at| at.to_string()).collect::<Vec<_>>().join(", ");
    let server = || Server::new(wire::router()).header_count_max(15);
    let cases = [
        // Host is the 15th.
        row("MaxHeaderValueCount", "as many as are allowed", get(&"A: b\r\n".repeat(14))),
        row("MaxHeaderValueCount", "one more", get(&"A: b\r\n".repeat(15))).refused(431),
        row("MaxHeaderValueCount", "a list is one field", get(&format!("A: {items}\r\n"))),
        row("MaxHeaderValueCount", "different: names in Trailer are not fields", get(&format!("Trailer: {items}\r\n"))),
        row("MaxHeaderBytes", "beyond 64 KiB", get(&format!("A: {}\r\n", "b".repeat(66_000)))).refused(431),
        row("MaxHeaderBytes", "below", get(&format!("A: {}\r\n", "b".repeat(65_000)))).whole_only(),
        row("Status mapping", "different: a long target is 414", line(&format!("GET /{} HTTP/1.1", "x".repeat(17_000)))).refused(414),
    ];
    check_all(server(), &cases);
    // Who is still sending reads the answer: the connection lingers instead of being reset.
    let app = App::new(server());
    let mut wire = app.connect();
    wire.send(get(&"A: b\r\n".repeat(15)) + "behind");
    for _ in 0..3 {
        wire.send([b'x'; 10_000]);
    }
    assert!(wire.receive().starts_with("HTTP/1.1 431 ") && !wire.is_reset());
}

/// Names keep their case, and fields their order, both ways.
#[test]
fn order_and_case() {
    let app = App::new(Router::new().get("/", |request: &Request| {
        let fields = request.headers().iter();
        fields.fold(Response::new(), |response, (name, value)| {
            response.header(name, value)
        })
    }));
    let lines = "Zz: 1\r\nhOsT-iS: 2\r\nAa: 3\r\nZz: 4\r\n";
    let mut wire = app.connect();
    let text = wire
        .send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
        .receive();
    assert!(text.contains(lines), "{text}");
}

/// The one form in which errors are told: plain text, no echo, and the end.
#[test]
fn error_replies() {
    let app = App::new(wire::router());
    for input in [
        "GET /<script> HTTP/9.9\r\n\r\n",
        "<script>\r\n\r\n",
        "GET / HTTP/1.1\r\nA<script>: b\r\n\r\n",
    ] {
        let mut wire = app.connect();
        let text = wire.send(input).receive();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("\r\nContent-Type: text/plain; charset=utf-8"),
            "{text}"
        );
        assert!(head.contains("\r\nConnection: close"), "{text}");
        assert!(!body.is_empty() && !text.contains("script"), "{text}");
        assert!(wire.is_closed() && !wire.is_reset());
    }
}

// ---- body and transfer encoding ----------------------------------------------------------------

#[test]
#[rustfmt::skip]
fn framing() {
    let te = |value: &str| post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n");
    let cl = |value: &str| post(&format!("Content-Length: {value}\r\n"), "abc");
    let cases = [
        row("TE", "different: not chunked at all is 400", te("gzip")).refused(400),
        row("TE", "different: chunked is not last, 400", te("chunked, identity")).refused(400),
        row("TE", "different: two fields are 400", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")).refused(400),
        row("TE", "different: empty is 400", te("")).refused(400),
        row("TE", "different: a control character is 400", te("\u{b}chunked")).refused(400),
        row("TE", "unknown before chunked is 501", te("gzip, chunked")).refused(501),
        row("TE", "without case", te("Chunked")),
        row("TE", "different: in HTTP/1.0 it is 400", "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc").refused(400),
        row("CL", "twice the same", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc")).answers(&["200 POST /x a [abc]"]),
        row("CL", "two that differ", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc")).refused(400),
        row("CL", "two that differ, HEAD", "HEAD /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n").without_body().refused(400),
        row("CL", "a sign", cl("+3")).refused(400),
        row("CL", "a minus", cl("-3")).refused(400),
        row("CL", "empty", cl("")).refused(400),
        row("CL", "a blank", cl(" ")).refused(400),
        row("CL", "no number", cl("notdigits")).refused(400),
        row("CL", "no number, beside chunked", post("Content-Length: x\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")).refused(400),
        row("CL + TE chunked", "different: refused", post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")).refused(400),
        row("Request w/o CL/TE", "has no body", post("", "") + GET).answers(&["200 POST /x a", "200 GET /x a"]),
        row("Truncated body", "of known length", post("Content-Length: 5\r\n", "ab")).finishes().answers(&["400"]).reaches(1).closed(),
        row("Truncated body", "of unknown length", chunked("5\r\nab")).finishes().answers(&["400"]).reaches(1).closed(),
    ];
    check_all(wire::router(), &cases);
}

#[test]
#[rustfmt::skip]
fn chunks() {
    let secret = "GET /secret HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad = |what: &str, body: &str| {
        row("Chunk line", what, chunked(body) + secret).answers(&["400"]).reaches(1).closed()
    };
    let tiny = "1\r\na\r\n".repeat(600) + "0\r\n\r\n";
    let echoed = format!("200 POST /x a [{}]", "a".repeat(600));
    let heavy = format!("1;{}\r\na\r\n", "e".repeat(100)).repeat(300) + "0\r\n\r\n";
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(5_000));
    let digits = |count: usize| format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(count - 1));
    let cases = [
        bad("LF behind the size", "1\na\r\n0\r\n\r\n"),
        bad("CR CR LF", "1\r\r\na\r\n0\r\n\r\n"),
        bad("LF behind the data", "1\r\na\n0\r\n\r\n"),
        bad("LF behind an extension", "1;\na\r\n0\r\n\r\n"),
        bad("LF at the end", "1\r\na\r\n0\r\n\n"),
        bad("17 digits", &digits(17)),
        row("Chunk line", "16 digits", chunked(&digits(16))).answers(&["200 POST /x a [a]"]),
        row("Chunk line", "an extension of the last", chunked("0;ext=val\r\n\r\n")).answers(&["200 POST /x a"]),
        bad("longer than 4 KiB", &long),
        row("Chunk overhead guard", "chunks of one byte are no error", chunked(&tiny)).answers(&[&echoed]),
        row("Chunk overhead guard", "more than 16 KiB of framing in excess", chunked(&heavy)).answers(&["400"]).reaches(1).closed(),
        row("Trailers in", "there behind the last byte", chunked("1\r\na\r\n0\r\nSum: 1\r\n\r\n")).answers(&["200 POST /x a [a] {Sum: 1}"]),
        row("Trailers in", "a bad line ends the connection", chunked("1\r\na\r\n0\r\nbad\r\n") + secret).answers(&["400"]).reaches(1).closed(),
        row("Trailers in", "different: 16 KiB, not 4", chunked(&format!("0\r\nA: {}\r\n\r\n", "b".repeat(17_000)))).answers(&["400"]).reaches(1).closed(),
        row("Trailers in", "as many as fields", chunked(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(200)))).answers(&["400"]).reaches(1).closed(),
    ];
    check_all(wire::router(), &cases);
}

// ---- connections -------------------------------------------------------------------------------

/// Handlers that read nothing, something, or everything.
fn readers() -> Router {
    Router::new()
        .any("/none", |_: &Request| "none")
        .any("/none-async", async |_: Request| "none")
        .post("/half", async |mut r: Request| {
            let mut taken = 0;
            while taken < 150_000 {
                match r.body_mut().chunk().await {
                    Some(chunk) => taken += chunk?.len(),
                    None => break,
                }
            }
            Ok::<_, roundtrip::Error>("half")
        })
        .post("/all", async |r: Request| {
            let body = r.into_body().bytes().await?;
            Ok::<_, roundtrip::Error>(body.len().to_string())
        })
        .get("/204", |_: &Request| StatusCode::NO_CONTENT)
        .get("/304", |_: &Request| StatusCode::NOT_MODIFIED)
        .get("/close", |_: &Request| {
            Response::new().header("Connection", "close").body("bye")
        })
        .get("/stream", async |_: Request| {
            Response::new().body(Body::produce(async |sender| {
                sender.send("abc".into()).await
            }))
        })
        .get("/next", wire::ignore)
}

#[test]
#[rustfmt::skip]
fn unread_bodies() {
    let upload = |path: &str, fields: &str, body: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let length = |bytes: usize| format!("Content-Length: {bytes}\r\n");
    let little = "x".repeat(20 * 1024);
    let chunks = format!("5000\r\n{little}\r\n0\r\n\r\n");
    let te = "Transfer-Encoding: chunked\r\n";
    let mut cases = Vec::new();
    for path in ["/none", "/none-async"] {
        cases.push(row("Unread request body", "20 KiB is drained", upload(path, &length(little.len()), &little)).answers(&["200 none"]));
        cases.push(row("Unread request body", "20 KiB in chunks as well", upload(path, te, &chunks)).answers(&["200 none"]));
        cases.push(row("Unread request body", "1 MiB is not read", upload(path, &length(1 << 20), "abc")).answers(&["200 none"]).closed().head_has("Connection: close"));
        cases.push(row("Keep-alive decision", "behind close nothing is drained", upload(path, &format!("Connection: close\r\n{}", length(5)), "")).answers(&["200 none"]).closed());
    }
    let cases: Vec<Case> = cases.into_iter().map(Case::seen_apart).collect();
    check_all(readers(), &cases);
    // Chunks that do not end: read up to 256 KiB, then the end.
    let app = App::new(readers());
    let mut wire = app.connect();
    wire.send(upload("/none", te, "100000\r\n"));
    assert!(wire.receive().ends_with("none"));
    for _ in 0..16 {
        wire.send(vec![b'x'; 15 * 1024]);
    }
    assert!(!wire.is_closed());
    wire.send(vec![b'x'; 30 * 1024]);
    assert!(wire.is_closed());
    // Half of it is read: the answer arrives, then the end, and no reset.
    let mut wire = app.connect();
    wire.send(upload("/half", &length(300_000), &"x".repeat(160_000)));
    assert!(wire.receive().ends_with("half"));
    assert!(!wire.is_reset());
}

#[test]
#[rustfmt::skip]
fn keep_alive() {
    let old = |path: &str, fields: &str| format!("GET {path} HTTP/1.0\r\n{fields}\r\n");
    let kept = "Connection: keep-alive\r\n";
    let cases = [
        row("Keep-alive decision", "1.1 by default", line("GET /none HTTP/1.1")).answers(&["200 none"]).head_lacks("Connection"),
        row("Keep-alive decision", "the client closes", line("GET /none HTTP/1.1\r\nConnection: close")).answers(&["200 none"]).closed().head_has("Connection: close"),
        row("Keep-alive decision", "the handler closes", line("GET /close HTTP/1.1")).answers(&["200 bye"]).closed().head_has("Connection: close"),
        row("Keep-alive decision", "1.0 does not", old("/none", "")).answers(&["200 none"]).closed(),
        row("Keep-alive decision", "1.0 when it asks", old("/none", kept)).answers(&["200 none"]).head_has("Connection: keep-alive"),
        row("Keep-alive decision", "1.0, asked, no length", old("/stream", kept)).answers(&["200 abc"]).closed().head_has("Connection: close"),
        row("Keep-alive decision", "1.0, asked, 204", old("/204", kept)).answers(&["204"]).head_has("Connection: keep-alive"),
        row("Keep-alive decision", "1.0, asked, 304", old("/304", kept)).answers(&["304"]).head_has("Connection: keep-alive"),
    ];
    let cases: Vec<Case> = cases.into_iter().map(Case::seen_apart).collect();
    check_all(readers(), &cases);
}

#[test]
#[rustfmt::skip]
fn expectations() {
    let ask = |path: &str, value: &str, length: usize| format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\nContent-Length: {length}\r\n\r\n");
    let cases = [
        row("Expect: 100-continue", "the handler reads: 100 first", ask("/all", "100-continue", 1)).answers(&["100"]).waits(),
        row("Expect: 100-continue", "it does not: no 100, and the end", ask("/none", "100-continue", 1)).answers(&["200 none"]).closed().head_has("Connection: close"),
        row("Expect: 100-continue", "another expectation", ask("/all", "a-pony", 1)).refused(417),
        row("Expect: 100-continue", "no body, no 100", ask("/all", "100-continue", 0)).answers(&["200 0"]),
    ];
    let cases: Vec<Case> = cases.into_iter().map(Case::seen_apart).collect();
    check_all(readers(), &cases);
}

/// A server whose every time-out is another.
fn timed() -> Server {
    let router = readers()
        .get("/slow", async |_: Request| {
            runtime::sleep(seconds(100)).await;
            "slow"
        })
        .get("/big", |_: &Request| vec![b'x'; 2_000_000]);
    Server::new(router)
        .header_timeout(seconds(10))
        .idle_timeout(seconds(20))
        .body_timeout(seconds(5))
        .write_timeout(seconds(7))
}

#[test]
fn time_outs() {
    let app = App::new(timed());
    // Nothing was said, nothing is answered.
    let mut silent = app.connect();
    app.advance(seconds(9));
    assert!(!silent.is_closed());
    app.advance(seconds(2));
    assert_eq!((silent.is_closed(), silent.receive().as_str()), (true, ""));
    // Different: who began is told (408).
    let mut slow = app.connect();
    for _ in 0..12 {
        slow.send("G");
        app.advance(seconds(1));
    }
    assert!(slow.receive().starts_with("HTTP/1.1 408 ") && slow.is_closed());
    // Between requests the idle time-out holds, and the header time-out begins with the first byte.
    let mut idle = app.connect();
    idle.send(line("GET /none HTTP/1.1"));
    assert!(idle.receive().ends_with("none"));
    app.advance(seconds(19));
    idle.send("GET /none");
    app.advance(seconds(9));
    idle.send(" HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(idle.receive().ends_with("none"));
    app.advance(seconds(21));
    assert_eq!((idle.is_closed(), idle.receive().as_str()), (true, ""));
    // The body has a time-out without progress, and none as a whole, for who does not trickle.
    let mut upload = app.connect();
    upload.send("POST /all HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n");
    for _ in 0..8 {
        app.advance(seconds(4));
        upload.send([b'x'; 2_000]);
    }
    assert!(!upload.is_closed());
    app.advance(seconds(6));
    assert!(upload.receive().starts_with("HTTP/1.1 408 ") && upload.is_closed());
    let mut trickle = app.connect();
    trickle.send("POST /all HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    for _ in 0..7 {
        app.advance(seconds(1));
        trickle.send("x");
    }
    assert!(trickle.receive().starts_with("HTTP/1.1 408 ") && trickle.is_closed());
    // A handler may take its time, and the next request has a deadline of its own.
    let mut patient = app.connect();
    patient.send(line("GET /slow HTTP/1.1"));
    app.advance(seconds(101));
    assert!(patient.receive().ends_with("slow"));
    assert!(
        patient
            .send(line("GET /none HTTP/1.1"))
            .receive()
            .ends_with("none")
    );
    // Who does not read is cut.
    let mut full = app.connect();
    full.pause(true).send(line("GET /big HTTP/1.1"));
    app.advance(seconds(8));
    full.pause(false);
    assert!(full.is_closed());
}

/// Who goes away is noticed, who goes on is not taken for gone.
#[test]
fn cancellation() {
    thread_local! {
        static GONE: Cell<usize> = const { Cell::new(0) };
        static DROPPED: Cell<usize> = const { Cell::new(0) };
    }
    struct Drops;
    impl Drop for Drops {
        fn drop(&mut self) {
            DROPPED.set(DROPPED.get() + 1);
        }
    }
    let router = Router::new()
        .any("/watch", async |mut r: Request| {
            while let Some(chunk) = r.body_mut().chunk().await {
                chunk?;
            }
            let _drops = Drops;
            let disconnected = r.disconnected();
            let is_gone = runtime::timeout(seconds(50), disconnected).await.is_ok();
            GONE.set(GONE.get() + usize::from(is_gone));
            Ok::<_, roundtrip::Error>(if is_gone { "gone" } else { "here" })
        })
        .get("/next", wire::ignore);
    let app = App::new(router);
    // A pipelined request is no end.
    let mut wire = app.connect();
    wire.send(line("GET /watch HTTP/1.1") + &line("GET /next HTTP/1.1"));
    app.advance(seconds(51));
    let text = wire.receive();
    assert!(
        text.contains("here") && text.ends_with("GET /next a"),
        "{text}"
    );
    assert_eq!((GONE.get(), DROPPED.get()), (0, 1));
    // A half-close is one for the handler; the answer still arrives. Also behind a body.
    for fields in ["", "Content-Length: 3\r\n"] {
        let body = if fields.is_empty() { "" } else { "abc" };
        let mut wire = app.connect();
        wire.send(format!(
            "POST /watch HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"
        ));
        assert_eq!(wire.receive(), "");
        assert!(wire.finish().receive().ends_with("gone"));
    }
    assert_eq!((GONE.get(), DROPPED.get()), (2, 3));
    // A reset drops the handler where it stands.
    let mut wire = app.connect();
    wire.send(line("GET /watch HTTP/1.1"));
    wire.reset();
    assert_eq!(DROPPED.get(), 4);
}

#[test]
fn shutdown() {
    let app = App::new(timed());
    let (mut idle, mut busy, mut fresh) = (app.connect(), app.connect(), app.connect());
    idle.send(line("GET /none HTTP/1.1"));
    busy.send(line("GET /slow HTTP/1.1"));
    assert!(idle.receive().ends_with("none") && !fresh.is_closed());
    app.handle().shutdown();
    app.advance(Duration::from_millis(100));
    assert!(idle.is_closed() && !busy.is_closed() && !fresh.is_closed());
    // What was accepted may be about to speak, for a while.
    app.advance(seconds(2));
    assert!(fresh.is_closed() && !busy.is_closed());
    assert!(app.connect().is_closed(), "nobody listens");
    // The deadline: 30 s.
    app.advance(seconds(30));
    assert!(busy.is_closed());
    assert_eq!(busy.receive(), "");
}

// ---- responses ---------------------------------------------------------------------------------

fn writers() -> Router {
    Router::new()
        .get("/2048", |_: &Request| vec![b'x'; 2_048])
        .get("/2049", |_: &Request| vec![b'x'; 2_049])
        .get("/0", |_: &Request| "")
        .get("/stream", async |_: Request| {
            Response::new().body(Body::produce(async |sender| {
                sender.send("ab".into()).await?;
                sender.send("c".into()).await
            }))
        })
        .get("/long", async |_: Request| {
            let body = Body::produce(async |sender| {
                sender.send("123".into()).await?;
                sender.send("x".into()).await
            });
            Response::new().body(body.with_length(3))
        })
        .get("/short", async |_: Request| {
            Response::new()
                .body(Body::produce(async |sender| sender.send("12".into()).await).with_length(3))
        })
        .get("/204", |_: &Request| {
            Response::new().status(StatusCode::NO_CONTENT).body("x")
        })
        .get("/304", |_: &Request| {
            Response::new().status(StatusCode::NOT_MODIFIED).body("x")
        })
        .get("/html", |_: &Request| {
            Response::new().body("<html>").sniff()
        })
        .get("/binary", |_: &Request| {
            Response::new().body(vec![1, 2, 3]).sniff()
        })
        .get("/coded", |_: &Request| {
            Response::new()
                .header("Content-Encoding", "gzip")
                .body("<html>")
                .sniff()
        })
        .get("/unsaid", |_: &Request| {
            Response::new().body(vec![b'<', b'h', b'1', b'>'])
        })
        .get("/early", async |r: Request| {
            r.inform(StatusCode::EARLY_HINTS, [("Link", "</a.css>; rel=preload")])?;
            r.inform(
                StatusCode::EARLY_HINTS,
                [("Link", "</b.css>; rel=preload"), ("Content-Length", "3")],
            )?;
            Ok::<_, roundtrip::Error>("page")
        })
        .get("/split", |_: &Request| {
            Response::new().header("A", "b\r\nC: d")
        })
        .get("/cookies", |_: &Request| {
            Response::new()
                .header("Set-Cookie", "a=b")
                .header("Set-Cookie", "c=d")
        })
        .get("/trailers", async |_: Request| {
            let body = Body::produce(async |sender| sender.send("ab".into()).await);
            Response::new()
                .body(body)
                .trailer("Foo", "Baz")
                .trailer("Foo", "Baz2")
                .trailer("Bar", "Quux")
                .trailer("Content-Length", "1")
        })
        .get("/panic", |_: &Request| -> &'static str {
            panic!("on purpose")
        })
        .get("/late-panic", async |_: Request| {
            Response::new().body(Body::produce(async |sender| {
                sender.send("ab".into()).await?;
                panic!("on purpose")
            }))
        })
        .get("/abort", |_: &Request| Response::abort())
        .get("/date", |_: &Request| {
            Response::new().header("Date", "mine")
        })
        .get("/next", wire::ignore)
}

#[test]
#[rustfmt::skip]
fn responses() {
    let ask = |path: &str| line(&format!("GET {path} HTTP/1.1"));
    let old = |path: &str| format!("GET {path} HTTP/1.0\r\n\r\n");
    let head = |path: &str| line(&format!("HEAD {path} HTTP/1.1"));
    let cases = [
        row("Auto Content-Length", "2,048 bytes", ask("/2048")).head_has("Content-Length: 2048"),
        row("Auto Content-Length", "different: of any size that is known", ask("/2049")).head_has("Content-Length: 2049").head_lacks("Transfer-Encoding"),
        row("Auto Content-Length", "different: also for 1.0", old("/2049")).closed().head_has("Content-Length: 2049"),
        row("Auto Content-Length", "nothing", ask("/0")).head_has("Content-Length: 0"),
        row("Chunking", "a stream, for 1.1", ask("/stream")).answers(&["200 abc"]).head_has("Transfer-Encoding: chunked").head_lacks("Content-Length"),
        row("Chunking", "a stream, for 1.0", old("/stream")).answers(&["200 abc"]).closed().head_lacks("Transfer-Encoding").head_lacks("Content-Length"),
        row("HEAD", "the fields of GET", head("/2048")).without_body().head_has("Content-Length: 2048"),
        row("HEAD", "no length that is not known", head("/0")).without_body().head_lacks("Content-Length"),
        row("HEAD", "a stream is not begun", head("/stream")).without_body().head_lacks("Content-Length"),
        row("204/1xx/304", "204 has nothing", ask("/204")).answers(&["204"]).head_lacks("Content-Length").head_lacks("Transfer-Encoding"),
        row("204/1xx/304", "304 has nothing", ask("/304")).answers(&["304"]).head_lacks("Content-Length").head_lacks("Content-Type").head_lacks("Transfer-Encoding"),
        row("Content sniffing", "different: when asked", ask("/html")).head_has("Content-Type: text/html; charset=utf-8"),
        row("Content sniffing", "bytes", ask("/binary")).head_has("Content-Type: application/octet-stream"),
        row("Content sniffing", "not what is coded", ask("/coded")).head_lacks("Content-Type"),
        row("Content sniffing", "different: not unless asked", ask("/unsaid")).head_lacks("Content-Type"),
        row("1xx", "as many as are sent", ask("/early")).answers(&["103", "103", "200 page"]).head_lacks("Link"),
        row("Header writing", "different: a line end in a value is 500", ask("/split")).answers(&["500"]).head_lacks("C"),
        row("Header writing", "Set-Cookie is a line each", ask("/cookies")).head_has("Set-Cookie: a=b").head_has("Set-Cookie: c=d"),
        row("Trailers out", "behind a stream", ask("/trailers")).answers(&["200 ab {Foo: Baz\\r\\nFoo: Baz2\\r\\nBar: Quux\\r\\n}"]),
        row("404", "of the server itself", ask("/nowhere")).answers(&["404"]).head_has("Content-Type: text/plain; charset=utf-8").head_has("X-Content-Type-Options: nosniff"),
        row("405", "with what is allowed", line("POST /0 HTTP/1.1")).answers(&["405"]).head_has("Allow: GET, HEAD"),
    ];
    let cases: Vec<Case> = cases.into_iter().map(Case::seen_apart).collect();
    check_all(writers(), &cases);
}

/// Bodies that are not what they said, and handlers that fail: the client can tell.
#[test]
fn broken_responses() {
    let app = App::new(writers()).expect_panics();
    let ask = |path: &str, version: &str| {
        let mut wire = app.connect();
        let text = wire
            .send(format!("GET {path} HTTP/{version}\r\nHost: a\r\n\r\n"))
            .receive();
        (text, wire.is_closed(), wire.is_reset())
    };
    // Declared CL: never more, and fewer is no whole message.
    let (text, is_closed, _) = ask("/long", "1.1");
    assert!(
        text.ends_with("\r\n\r\n123") || text.ends_with("\r\n\r\n"),
        "{text}"
    );
    assert!(is_closed);
    let (text, is_closed, _) = ask("/short", "1.1");
    assert!(text.ends_with("\r\n\r\n12") && is_closed, "{text}");
    // A panic before anything was sent is a 500; behind the head the chunks never end.
    let (text, is_closed, _) = ask("/panic", "1.1");
    assert!(text.starts_with("HTTP/1.1 500 ") && is_closed, "{text}");
    let (text, is_closed, _) = ask("/late-panic", "1.1");
    assert!(
        !text.contains("\r\n0\r\n") && text.starts_with("HTTP/1.1 200 ") && is_closed,
        "{text}"
    );
    // Where the end of the connection would be the end of the body, it is a reset.
    let (_, _, is_reset) = ask("/late-panic", "1.0");
    assert!(is_reset);
    // ErrAbortHandler.
    let (text, is_closed, is_reset) = ask("/abort", "1.1");
    assert_eq!((text.as_str(), is_closed, is_reset), ("", true, true));
    let (text, _, _) = ask("/0", "1.1");
    assert_eq!(text.matches("\r\nDate: ").count(), 1);
    let (text, _, _) = ask("/date", "1.1");
    assert!(
        text.contains("\r\nDate: mine\r\n") && text.matches("\r\nDate: ").count() == 1,
        "{text}"
    );
    assert_eq!(app.handle().statistics().panics, 3);
}

/// Handlers of one connection never run side by side.
#[test]
fn pipelined_requests_wait_for_each_other() {
    thread_local! {
        static RUNNING: Cell<usize> = const { Cell::new(0) };
    }
    let app = App::new(Router::new().get("/", async |_: Request| {
        RUNNING.set(RUNNING.get() + 1);
        runtime::sleep(seconds(1)).await;
        let running = RUNNING.replace(RUNNING.get() - 1);
        running.to_string()
    }));
    let mut wire = app.connect();
    wire.send(line("GET / HTTP/1.1").repeat(3));
    app.advance(seconds(4));
    let text = wire.receive();
    assert_eq!(text.matches("\r\n\r\n1").count(), 3, "{text}");
    let (mut one, mut two) = (app.connect(), app.connect());
    one.send(line("GET / HTTP/1.1"));
    two.send(line("GET / HTTP/1.1"));
    app.advance(seconds(2));
    assert!(one.receive().ends_with('2') && two.receive().ends_with('1'));
}

/// 101 and CONNECT: the connection is handed over with what was behind the request.
#[test]
fn hijack() {
    let router = Router::new()
        .get("/upgrade", |_: &Request| {
            Response::upgrade("echo", async |mut duplex| {
                while let Some(bytes) = duplex.read().await? {
                    duplex.write(bytes).await?;
                }
                Ok::<_, roundtrip::Error>(())
            })
        })
        .get("/next", wire::ignore);
    let app = App::new(router);
    let ask = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut wire = app.connect();
    let text = wire.send(format!("{ask}early")).receive();
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101 ") && rest == "early",
        "{text}"
    );
    assert!(
        !head.contains("Content-Length") && !head.contains("Transfer-Encoding"),
        "{head}"
    );
    // No deadline of requests holds any more.
    app.advance(seconds(1_000));
    assert_eq!(wire.send("late").receive(), "late");
    // A shutdown ends it.
    app.handle().shutdown();
    app.advance(seconds(31));
    assert!(wire.is_closed());
}

// ---- routing -----------------------------------------------------------------------------------

/// Says which route answers, and the wildcards of it.
fn named(request: &Request) -> String {
    // What is beneath `/a/` has no name.
    let named = request.params().filter(|(name, _)| !name.is_empty());
    let params: Vec<String> = named
        .map(|(name, value)| format!(" {name}={value}"))
        .collect();
    request.pattern().unwrap_or("none").to_owned() + &params.concat()
}

fn routes(patterns: &[&str]) -> Router {
    patterns.iter().fold(Router::new(), |router, pattern| {
        router.route(pattern, named)
    })
}

/// The tree that net/http's own tests use.
#[test]
#[rustfmt::skip]
fn routing() {
    let app = App::new(routes(&[
        "/item/", "POST /item/{user}", "GET /item/{user}", "/item/{user}", "/item/{user}/{id}", "/item/{user}/new", "/item/{$}",
        "POST alt.com/item/{user}", "GET /headwins", "HEAD /headwins", "/path/{p...}", "/a/b/{w}", "/%61scii", "/two/{a}/c", "GET /only",
    ]));
    for (method, target, expected) in [
        ("GET", "/item/jba", "GET /item/{user} user=jba"),
        ("POST", "/item/jba", "POST /item/{user} user=jba"),
        ("POST", "http://alt.com/item/jba", "POST alt.com/item/{user} user=jba"),
        ("POST", "http://alt.com:8080/item/jba", "POST alt.com/item/{user} user=jba"),
        ("GET", "http://alt.com/item/jba", "GET /item/{user} user=jba"),
        ("get", "/item/jba", "/item/{user} user=jba"),
        ("GET", "/item/jba/17", "/item/{user}/{id} user=jba id=17"),
        ("GET", "/item/jba/new", "/item/{user}/new user=jba"),
        ("GET", "/item/", "/item/{$}"),
        ("GET", "/item/jba/17/line2", "/item/"),
        ("GET", "/path/to/file", "/path/{p...} p=to/file"),
        ("GET", "/path/", "/path/{p...} p="),
        ("GET", "/ascii", "/%61scii"),
        ("GET", "/%61sci%69", "/%61scii"),
        ("GET", "/two/x%2Fy/c", "/two/{a}/c a=x/y"),
    ] {
        let mut wire = app.connect();
        let text = wire.send(line(&format!("{method} {target} HTTP/1.1"))).receive();
        assert!(text.ends_with(&format!("\r\n\r\n{expected}")), "{method} {target}: {text}");
    }
    for (method, target, status, field) in [
        ("GET", "/a/b/", "404", ""),
        ("PUT", "/item/jba/", "200", ""),
        ("GET", "/item", "307", "Location: /item/"),
        ("GET", "/item?a=b", "307", "Location: /item/?a=b"),
        ("POST", "/only", "405", "Allow: GET, HEAD"),
        ("GET", "//", "307", "Location: /"),
        ("GET", "/x/../item//jba", "307", "Location: /item/jba"),
        ("GET", "/x/./../item/jba?a=/../b", "307", "Location: /item/jba?a=/../b"),
        ("GET", "//evil.example/../item/jba", "307", "Location: /item/jba"),
        ("GET", "/two/%2e%2e/c", "200", ""),
    ] {
        let mut wire = app.connect();
        let text = wire.send(line(&format!("{method} {target} HTTP/1.1"))).receive();
        assert!(text[9..].starts_with(status), "{method} {target}: {text}");
        assert!(field.is_empty() || text.lines().any(|own| own == field), "{method} {target}: {text}");
    }
    // HEAD goes where it is named, else to GET.
    let mut wire = app.connect();
    let text = wire.send(line("HEAD /headwins HTTP/1.1") + &line("HEAD /only HTTP/1.1")).receive();
    assert!(text.contains("Content-Length: 14\r\n") && text.contains("Content-Length: 9\r\n"), "{text}");
}

/// No redirect of ours leads to another host.
#[test]
fn redirects_stay() {
    let app = App::new(routes(&["/", "/tree/", "/{host}/{rest...}"]));
    for target in [
        "//evil.example",
        "//evil.example/",
        "//evil.example/..",
        "///evil.example/%2e%2e",
        "/.//evil.example",
        "/..//evil.example",
        "/a/..//evil.example",
        "/\\\\evil.example/..",
        "//tree",
        "/tree//..//evil.example",
    ] {
        let mut wire = app.connect();
        let text = wire.send(line(&format!("GET {target} HTTP/1.1"))).receive();
        let locations: Vec<&str> = text
            .lines()
            .filter_map(|own| own.strip_prefix("Location: "))
            .collect();
        for location in locations {
            let is_own = location.starts_with('/')
                && !location.starts_with("//")
                && !location.starts_with("/\\");
            assert!(is_own, "{target}: {text}");
        }
    }
}

// ---- files -------------------------------------------------------------------------------------

/// A folder with a file of eleven bytes, older than the clock of any app.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("public");
    std::fs::create_dir_all(inside.join("sub")).expect("folders");
    for (path, content) in [
        ("public/f", "0123456789A"),
        ("public/empty", ""),
        ("public/sub/index.html", "<p>"),
        ("secret", "secret"),
    ] {
        let mut file = std::fs::File::create(folder.path().join(path)).expect("a file");
        file.write_all(content.as_bytes()).expect("content");
        file.set_modified(UNIX_EPOCH + seconds(1_700_000_000))
            .expect("a date");
    }
    folder
}

#[test]
fn ranges() {
    let folder = folder();
    let app = App::new(Router::new().get("/", files::serve(folder.path().join("public"))));
    let all: Vec<String> = (0..201)
        .map(|at| format!("{}-{}", at % 11, at % 11))
        .collect();
    for (range, status, content_range) in [
        ("bytes=0-4", 206, "bytes 0-4/11"),
        ("bytes=2-", 206, "bytes 2-10/11"),
        ("bytes=-5", 206, "bytes 6-10/11"),
        ("bytes=5-1000", 206, "bytes 5-10/11"),
        ("bytes=11-", 416, "bytes */11"),
        ("bytes=12-", 416, "bytes */11"),
        ("bytes=0-,1-,2-,3-,4-", 200, ""),
        ("bytes=5-4", 416, "bytes */11"),
        // Different: blanks belong around ranges, and not into them.
        ("bytes=   1 -2   ,  4- 5, 7 - 8 , ,,", 416, "bytes */11"),
        // Different: no byte is sent twice.
        ("bytes=0-4,3-6", 200, ""),
        ("items=0-4", 200, ""),
        (&format!("bytes={}", all.join(",")), 200, ""),
    ] {
        let answer = app.get("/f").header("Range", range).send();
        let shown = range.chars().take(40).collect::<String>();
        assert_eq!(answer.status(), status, "{shown}");
        let found = answer.header("Content-Range").unwrap_or_default();
        assert_eq!(found, content_range, "{shown}");
        let length = answer.header("Content-Length").unwrap_or("?");
        assert_eq!(length, answer.bytes().len().to_string(), "{shown}");
        assert!(status == 416 || answer.header("Accept-Ranges") == Some("bytes"));
    }
    let many = app.get("/f").header("Range", "bytes=1-2,4-5").send();
    let kind = many.header("Content-Type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    assert_eq!(many.status(), 206);
    assert_eq!(many.text().matches(boundary).count(), 3);
    assert!(
        many.text().contains("Content-Range: bytes 1-2/11\r\n")
            && many.text().contains("\r\n\r\n45\r\n")
    );
    assert_eq!(many.header("Content-Range"), None);
    let empty = app.get("/empty").header("Range", "bytes=0-").send();
    assert!(empty.status() == 200 || empty.status() == 416);
}

#[test]
fn conditions() {
    let folder = folder();
    let app = App::new(Router::new().get("/", files::serve(folder.path().join("public"))));
    let first = app.get("/f").send();
    let tag = first.header("ETag").expect("a tag").to_owned();
    let date = first.header("Last-Modified").expect("a date").to_owned();
    assert_eq!(date, "Tue, 14 Nov 2023 22:13:20 GMT");
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let ask = |fields: &[(&str, &str)]| {
        let ask = fields
            .iter()
            .fold(app.get("/f"), |ask, (name, value)| ask.header(name, value));
        let answer = ask.send();
        assert!(answer.status() != 304 || answer.header("Content-Type").is_none());
        answer.status().as_u16()
    };
    assert_eq!(ask(&[("If-None-Match", &format!("\"baz\", W/{tag}"))]), 304);
    assert_eq!(ask(&[("If-None-Match", ",")]), 200);
    assert_eq!(ask(&[("If-None-Match", "*")]), 304);
    assert_eq!(ask(&[("If-Match", &format!("W/{tag}"))]), 412);
    assert_eq!(ask(&[("If-Match", &tag)]), 200);
    assert_eq!(ask(&[("If-Modified-Since", &date)]), 304);
    assert_eq!(ask(&[("If-Modified-Since", old)]), 200);
    assert_eq!(ask(&[("If-Unmodified-Since", old)]), 412);
    assert_eq!(ask(&[("Range", "bytes=0-4"), ("If-Range", &tag)]), 206);
    assert_eq!(
        ask(&[("Range", "bytes=0-4"), ("If-Range", &format!("W/{tag}"))]),
        200
    );
    assert_eq!(ask(&[("Range", "bytes=0-4"), ("If-Range", &date)]), 206);
    assert_eq!(ask(&[("Range", "bytes=0-4"), ("If-Range", old)]), 200);
}

#[test]
#[rustfmt::skip]
fn no_way_out() {
    let folder = folder();
    std::os::unix::fs::symlink("../secret", folder.path().join("public/link")).expect("a link");
    let app = App::new(Router::new().get("/", files::serve(folder.path().join("public"))));
    for target in [
        "/../secret", "/..%2fsecret", "/%2e%2e/secret", "/%2e%2e%2fsecret", "/..%5csecret", "/..\\secret", "/sub/../../secret",
        "/f%00", "/secret%00.txt", "/./../secret", "//secret", "/%2f%2fetc/passwd", "//etc/passwd", "/link", "/%252e%252e/secret",
        "/sub/..%2f..%2fsecret", "/....//secret", "/f/../../secret", "/..;/secret",
    ] {
        let mut wire = app.connect();
        let text = wire.send(line(&format!("GET {target} HTTP/1.1"))).receive();
        assert!(!text.contains("secret\r\n\r\n") && !text.ends_with("secret") && !text.contains("root:"), "{target}: {text}");
        let is_safe = ["HTTP/1.1 3", "HTTP/1.1 4"].iter().any(|start| text.starts_with(start));
        assert!(is_safe, "{target}: {text}");
        // No redirect leads to another host.
        assert!(!text.contains("Location: //"), "{target}: {text}");
    }
    assert_eq!(app.get("/sub").send().status().as_u16() / 100, 3);
    assert_eq!(app.get("/sub/").send().text(), "<p>");
    assert_eq!(app.get("/f").send().text(), "0123456789A");
}

// ---- cross-origin requests ---------------------------------------------------------------------

#[test]
#[rustfmt::skip]
fn cross_origin_protection() {
    let protection = Protection::new();
    let router = Router::new().any("/", move |r: &Request| match protection.check(r) {
        Ok(()) => Response::new().body("ok"),
        Err(response) => response,
    });
    let app = App::new(router);
    for (method, fields, status) in [
        ("POST", &[("Sec-Fetch-Site", "same-origin")][..], 200),
        ("POST", &[("Sec-Fetch-Site", "none")], 200),
        ("POST", &[("Sec-Fetch-Site", "cross-site")], 403),
        ("POST", &[("Sec-Fetch-Site", "same-site")], 403),
        ("POST", &[], 200),
        ("POST", &[("Origin", "http://localhost")], 200),
        ("POST", &[("Origin", "http://evil.example")], 403),
        ("POST", &[("Origin", "null")], 403),
        ("PUT", &[("Sec-Fetch-Site", "cross-site")], 403),
        ("GET", &[("Sec-Fetch-Site", "cross-site")], 200),
        ("HEAD", &[("Sec-Fetch-Site", "cross-site")], 200),
        ("OPTIONS", &[("Sec-Fetch-Site", "cross-site")], 200),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let ask = fields.iter().fold(app.request(method, "/"), |ask, (name, value)| ask.header(name, value));
        assert_eq!(ask.send().status(), status, "{fields:?}");
    }
}

/// Whoever reads a body: the client is told to send it, and has its time-out.
#[test]
fn a_body_that_another_task_reads() {
    let app = App::new(Router::new().post("/", async |r: Request| {
        let reading = runtime::spawn(async move { r.into_body().text().await });
        reading.await.expect("it is not cancelled")
    }));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n";
    let mut wire = app.connect();
    let text = wire
        .send(format!("{head}Expect: 100-continue\r\n\r\n"))
        .receive();
    assert_eq!(text, "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(wire.send("abcde").receive().ends_with("\r\n\r\nabcde"));
    let mut wire = app.connect();
    wire.send(format!("{head}\r\nab"));
    app.advance(seconds(35));
    assert!(wire.receive().starts_with("HTTP/1.1 408 "));
    assert!(wire.is_closed());
}

// ---- the pages ---------------------------------------------------------------------------------

/// Each file that the pages name exists.
#[test]
fn the_pages_name_what_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["src/server/net_http.md", "src/client/net_http.md"] {
        let text = std::fs::read_to_string(root.join(page)).expect("the page");
        let names = text.split('`').filter(|word| {
            let is_path = word.contains('/') && !word.contains(' ') && word.ends_with(".rs");
            is_path
                && (word.starts_with("tests/")
                    || word.starts_with("src/")
                    || word.starts_with("benches/"))
        });
        let names: std::collections::BTreeSet<&str> = names.collect();
        assert!(names.len() > 10, "{page}: {names:?}");
        for name in names {
            assert!(root.join(name).is_file(), "{page}: {name}");
        }
    }
}
