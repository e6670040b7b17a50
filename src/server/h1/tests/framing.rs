//! How messages end, in both directions, and when their connections do.

use std::cell::RefCell;

use ::http::StatusCode;

use crate::error::Error;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::h1::tests::check_routed;
use crate::server::h1::tests::ok;
use crate::server::h1::tests::stream;
use crate::server::router::Router;

thread_local! {
    static TRAILERS: RefCell<Option<Headers>> = const { RefCell::new(None) };
}

fn framed() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/ten", |_: &Request| Response::new().body("0123456789"))
        .get("/nothing", |_: &Request| Response::new())
        .get("/204", |_: &Request| (StatusCode::NO_CONTENT, "body"))
        .get("/205", |_: &Request| (StatusCode::RESET_CONTENT, "body"))
        .get("/304", |_: &Request| (StatusCode::NOT_MODIFIED, "body"))
        .get("/stream", async |_: Request| {
            Response::new().body(stream(&["ab", "cde"]))
        })
        .get("/sized", async |_: Request| {
            Response::new().body(stream(&["ab", "cde"]).with_length(5))
        })
        .get("/short", async |_: Request| {
            Response::new().body(stream(&["ab", "cde"]).with_length(6))
        })
        .get("/long", async |_: Request| {
            Response::new().body(stream(&["ab", "cde"]).with_length(4))
        })
        .get("/trailers", |_: &Request| {
            Response::new()
                .body("abc")
                .trailer("X-Sum", "6")
                .trailer("Content-Length", "9")
                .trailer("Y", "z")
        })
        .get("/announced", async |_: Request| {
            Response::new()
                .header("Trailer", "X-Sum")
                .body(stream(&["abc"]))
                .trailer("X-Sum", "6")
        })
        .post("/trailers", async |r: Request| {
            let mut body = r.into_body();
            let before = body.take_trailers().is_none();
            while let Some(chunk) = body.chunk().await {
                drop(chunk?);
            }
            TRAILERS.set(body.take_trailers());
            Ok::<_, Error>(before.to_string())
        })
}

/// Request, response, and whether the connection ends.
type Row = (&'static str, String, Option<&'static str>);

fn message(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}\r\n{body}")
}

fn sized(fields: &str, body: &str) -> String {
    let length = body.len();
    message(
        "200 OK",
        &format!("{fields}Content-Length: {length}\r\n"),
        body,
    )
}

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
const CLOSE: &str = "Connection: close\r\n";
const KEEP: &str = "Connection: keep-alive\r\n";
const END: Option<&str> = Some("close");
const TEN: &str = "0123456789";

/// Asks, and another request behind it, which is answered exactly when the connection goes on. Whole,
/// byte by byte, and in two pieces at every split.
fn check_rows(rows: impl IntoIterator<Item = Row>) {
    for (line, expected, end) in rows {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().unwrap_or("");
        let (method, path, version, connection) = (next(), next(), next(), next());
        let field = match connection {
            "" => String::new(),
            value => format!("Connection: {value}\r\n"),
        };
        let request = format!("{method} {path} HTTP/{version}\r\nHost: a\r\n{field}\r\n");
        let input = request + "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let expected = match end {
            None => expected + &ok("hello"),
            Some(_) => expected,
        };
        check_routed(framed, &input, &expected, end);
    }
}

/// HEAD has the fields and no body (RFC 9110 §9.3.2).
#[test]
fn heads_alone() {
    let length = |length: &str| message("200 OK", &format!("Content-Length: {length}\r\n"), "");
    check_rows([
        ("HEAD /ten 1.1", length("10"), None),
        ("HEAD /nothing 1.1", message("200 OK", "", ""), None),
        ("HEAD /stream 1.1", message("200 OK", "", ""), None),
        ("HEAD /sized 1.1", length("5"), None),
        ("HEAD /304 1.1", message("304 Not Modified", "", ""), None),
    ]);
}

/// No content, whatever the handler said (RFC 9110 §6.4.1, §15.3.6).
#[test]
fn statuses_without_content() {
    let none = |fields: &str| message("204 No Content", fields, "");
    let reset = message(
        "205 Reset Content",
        &format!("{TEXT}Content-Length: 0\r\n"),
        "",
    );
    check_rows([
        ("GET /nothing 1.1", sized("", ""), None),
        ("GET /204 1.1", none(TEXT), None),
        (
            "GET /204 1.0 keep-alive",
            none(&format!("{TEXT}{KEEP}")),
            None,
        ),
        ("GET /205 1.1", reset, None),
        ("GET /304 1.1", message("304 Not Modified", "", ""), None),
        (
            "GET /304 1.0 keep-alive",
            message("304 Not Modified", KEEP, ""),
            None,
        ),
    ]);
}

/// Chunks, or a length, or the end of the connection (RFC 9112 §6.3), and when that comes (§9.3).
#[test]
fn bodies_and_connections() {
    let chunks = "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";
    let chunked = message("200 OK", "Transfer-Encoding: chunked\r\n", chunks);
    let until_close = || message("200 OK", CLOSE, "abcde");
    check_rows([
        ("GET /stream 1.1", chunked, None),
        ("GET /stream 1.0", until_close(), END),
        ("GET /stream 1.0 keep-alive", until_close(), END),
        ("GET /sized 1.1", sized("", "abcde"), None),
        ("GET /sized 1.0 keep-alive", sized(KEEP, "abcde"), None),
        ("GET /ten 1.0", sized(CLOSE, TEN), END),
        ("GET /ten 1.0 keep-alive", sized(KEEP, TEN), None),
        ("GET /ten 1.0 keep-alive, close", sized(CLOSE, TEN), END),
        ("GET /ten 1.1 close", sized(CLOSE, TEN), END),
        ("GET /ten 1.1 x, CLOSE ,y", sized(CLOSE, TEN), END),
        ("GET /ten 1.1 closed", sized("", TEN), None),
    ]);
}

/// A length that was not kept: such a connection is never used again, and its body never looks whole.
#[test]
fn lengths_that_are_not_kept() {
    let announced =
        |length: u32, body: &str| message("200 OK", &format!("Content-Length: {length}\r\n"), body);
    check_rows([
        ("GET /short 1.1", announced(6, "abcde"), END),
        ("GET /long 1.1", announced(4, "ab"), END),
    ]);
}

/// Trailers need chunks (RFC 9110 §6.5), and are announced.
#[test]
fn trailers_that_are_sent() {
    let with = |names: &str, trailers: &str| {
        let fields = format!("Trailer: {names}\r\nTransfer-Encoding: chunked\r\n");
        message(
            "200 OK",
            &fields,
            &format!("3\r\nabc\r\n0\r\n{trailers}\r\n"),
        )
    };
    let both = with("X-Sum, Y", "X-Sum: 6\r\nY: z\r\n");
    check_rows([
        ("GET /trailers 1.1", both, None),
        ("GET /trailers 1.0", sized(CLOSE, "abc"), END),
        ("GET /announced 1.1", with("X-Sum", "X-Sum: 6\r\n"), None),
    ]);
}

#[test]
fn trailers_that_arrive_are_seen_behind_the_end() {
    let input = "POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n0\r\nX-Sum: 6\r\nY: z\r\n\r\n";
    check_routed(framed, input, &ok("true"), None);
    let trailers = TRAILERS.take().unwrap();
    assert_eq!(
        (trailers.get("x-sum"), trailers.get("y")),
        (Some("6"), Some("z"))
    );
}
