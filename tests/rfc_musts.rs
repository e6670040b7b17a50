//! What RFC 9110 and RFC 9112 say that a server MUST and MUST NOT, as a table: the section, the rule
//! in our own words, what is sent, and what must come of it.
//!
//! ```text
//!   section · rule · bytes ──► the server in memory, whole and cut everywhere ──► bytes
//! ```
//!
//! Left out, since they bind others: clients (RFC 9112 §3.2.1, §3.2.3, §6.3 for responses, §9.3.1,
//! §9.3.2 retries), proxies and gateways (RFC 9110 §7.6.2, §7.6.3, §7.7; RFC 9112 §2.6 and what
//! forwards), caches (RFC 9110 §4.3.3 and what stores), TLS (RFC 9112 §9.7, §9.8), and what is for
//! handlers to decide (RFC 9110 §9.2 safe and idempotent methods, §11.6.1 `WWW-Authenticate` of a 401,
//! §15.5.16). SHOULDs stand here where we follow them. Where a MAY is used to be stricter, the row
//! says so. Smuggling has a file of its own: `tests/smuggling.rs`.

use std::io::Write;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use http::StatusCode;
use roundtrip::Body;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files;
use roundtrip::http::cookie::Cookie;
use roundtrip::server::upgrade::Duplex;
use roundtrip::testing::App;

mod wire;

use wire::Case;
use wire::check_all;
use wire::chunked;
use wire::get;
use wire::post;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/// A rule: its section, the rule, what is sent.
fn row(section: &str, rule: &str, input: impl AsRef<[u8]>) -> Case {
    Case::new(section, rule, input)
}

fn line(text: &str) -> String {
    format!("{text}\r\nHost: a\r\n\r\n")
}

fn check(cases: &[Case]) {
    check_all(wire::router(), cases);
}

// ---- RFC 9112: HTTP/1.1 ------------------------------------------------------------------------

#[test]
#[rustfmt::skip]
fn rfc_9112_2_messages() {
    let foreign = [
        b"GET /x HTTP/1.1\r\nHost: a\r\nA: \xe9\xff\x80\r\n\r\n".as_slice(),
        b"",
    ]
    .concat();
    let cases = [
        row("9112 §2.2", "a message is octets, and need not be Unicode", foreign),
        row("9112 §2.2", "a bare CR makes an element invalid", "GET /x HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n").refused(400),
        row("9112 §2.2", "a bare CR in the request line", "GET /x\r HTTP/1.1\r\nHost: a\r\n\r\n").refused(400),
        row("9112 §2.2", "LF alone may be taken for a line end: it is not", "GET /x HTTP/1.1\nHost: a\n\n").refused(400),
        row("9112 §2.2", "an empty line before the request line is skipped", format!("\r\n{GET}")).answers(&["200 GET /x a"]),
        row("9112 §2.2", "also behind a body that has one too many", post("Content-Length: 3\r\n", "abc\r\n") + GET).answers(&["200 POST /x a [abc]", "200 GET /x a"]),
        row("9112 §2.2", "a blank before the first field is refused", "GET /x HTTP/1.1\r\n A: b\r\nHost: a\r\n\r\n").refused(400),
        row("9112 §2.2", "what is no HTTP gets 400, and the connection closes", "nonsense\r\n\r\n").refused(400),
        row("9112 §2.3", "the name HTTP is written in capitals", line("GET /x http/1.1")).refused(400),
        row("9112 §2.3", "the version is one digit, a dot, one digit", line("GET /x HTTP/1.10")).refused(400),
        row("9110 §2.5", "a higher minor version is read as the highest we know", line("GET /x HTTP/1.2")).answers(&["200 GET /x a"]),
        row("9110 §2.5", "we answer in our version, and not in the client's", line("GET /x HTTP/1.0")).closed().head_has("HTTP/1.1 200 OK"),
        row("9110 §15.6.6", "another major version is 505", line("GET /x HTTP/2.0")).refused(505),
        row("9110 §15.6.6", "a lower major version is 505", line("GET /x HTTP/0.9")).refused(505),
    ];
    check(&cases);
}

#[test]
#[rustfmt::skip]
fn rfc_9112_3_request_lines() {
    let long = "x".repeat(7_900);
    let cases = [
        row("9112 §3", "a request line of 8,000 octets is served", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")).whole_only(),
        row("9112 §3", "a target longer than we parse is 414", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000))).refused(414),
        row("9112 §3", "single spaces part it", line("GET  /x HTTP/1.1")).refused(400),
        row("9112 §3", "an invalid request line is not corrected", line("GET /a b HTTP/1.1")).refused(400),
        row("9112 §3.1", "the method is compared with its case", line("get /x HTTP/1.1")).answers(&["200 get /x a"]),
        row("9112 §3.1", "the method is a token", line("G\u{e9}T /x HTTP/1.1")).refused(400),
        row("9112 §3.2", "no blank stands in a target", line("GET /x\ty HTTP/1.1")).refused(400),
        row("9112 §3.2", "1.1 without Host is 400", "GET /x HTTP/1.1\r\n\r\n").refused(400),
        row("9112 §3.2", "two Host lines are 400", get("Host: a\r\n")).refused(400),
        row("9112 §3.2", "two Host lines are 400 in 1.0 too", "GET /x HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n").refused(400),
        row("9112 §3.2", "a Host that is none is 400", "GET /x HTTP/1.1\r\nHost: a b\r\n\r\n").refused(400),
        row("9112 §3.2", "a Host with user information is 400", "GET /x HTTP/1.1\r\nHost: u@a\r\n\r\n").refused(400),
        row("9112 §3.2", "an empty Host is one", "GET /x HTTP/1.1\r\nHost:\r\n\r\n").answers(&["200 GET /x "]),
        row("9112 §3.2", "1.0 needs no Host", "GET /x HTTP/1.0\r\n\r\n").answers(&["200 GET /x -"]).closed(),
        row("9112 §3.2.1", "origin-form, with its query", line("GET /x?y=/z? HTTP/1.1")).answers(&["200 GET /x?y=/z? a"]),
        row("9112 §3.2.2", "absolute-form is accepted", line("GET http://b/x HTTP/1.1")).answers(&["200 GET http://b/x b"]),
        row("9112 §3.2.2", "its host counts, and Host does not", line("GET HTTP://b:8080/x HTTP/1.1")).answers(&["200 GET HTTP://b:8080/x b:8080"]),
        row("9112 §3.2.2", "Host is still needed", "GET http://b/x HTTP/1.1\r\n\r\n").refused(400),
        row("9112 §3.2.3", "authority-form is for CONNECT", line("GET b:80 HTTP/1.1")).refused(400),
        row("9112 §3.2.4", "asterisk-form is for OPTIONS", line("GET * HTTP/1.1")).refused(400),
        row("9110 §9.3.7", "OPTIONS * is about the server", line("OPTIONS * HTTP/1.1")).reaches(0).head_has("Content-Length: 0"),
        row("9110 §4.2.1", "a URL without a host is refused", line("GET http:///x HTTP/1.1")).refused(400),
        row("9110 §4.2.1", "a URL with a port alone is refused", line("GET http://:80/x HTTP/1.1")).refused(400),
        row("9110 §4.2.4", "user information in a URL is an error", line("GET http://u:p@a/x HTTP/1.1")).refused(400),
        row("9110 §4.2.3", "no path is the path /", line("GET http://b HTTP/1.1")).answers(&["200 GET http://b b"]),
        row("9110 §4.2.3", "also before a query", line("GET http://b?y HTTP/1.1")).answers(&["200 GET http://b?y b"]),
        row("9110 §7.4", "https without TLS is refused", line("GET https://a/x HTTP/1.1")).refused(421),
        row("9110 §9.3.6", "CONNECT with an empty port is refused", line("CONNECT a: HTTP/1.1")).refused(400),
        row("9110 §9.3.6", "CONNECT with a port that is none is refused", line("CONNECT a:http HTTP/1.1")).refused(400),
        row("9110 §9.3.6", "CONNECT without a port is refused", line("CONNECT a HTTP/1.1")).refused(400),
        row("3986 §2.1", "a percent sign in a host has two digits", "GET /x HTTP/1.1\r\nHost: a%4\r\n\r\n").refused(400),
        row("3986 §2.1", "so has one in a path", line("GET /a%4x HTTP/1.1")).refused(400),
        row("3986 §2.1", "a query is for whoever reads it", line("GET /x?y=50% HTTP/1.1")).answers(&["200 GET /x?y=50% a"]),
        row("3986 §3.5", "a fragment is not sent", line("GET /x#y HTTP/1.1")).refused(400),
    ];
    check(&cases);
}

/// Responses of every kind.
fn answers() -> Router {
    Router::new()
        .any("/x", wire::echo)
        .get("/next", wire::ignore)
        .get("/text", |_: &Request| "hello")
        .get("/stream", async |_: Request| {
            Response::new().body(Body::produce(async |sender| {
                sender.send("ab".into()).await?;
                sender.send("cde".into()).await
            }))
        })
        .get("/trailers", async |_: Request| {
            let body = Body::produce(async |sender| sender.send("ab".into()).await);
            let response = Response::new().body(body);
            [
                "Sum",
                "Content-Length",
                "Transfer-Encoding",
                "Host",
                "Authorization",
                "Trailer",
            ]
            .into_iter()
            .fold(response, |response, name| response.trailer(name, "1"))
        })
        .get("/lies", |_: &Request| {
            Response::new()
                .header("Content-Length", "99")
                .header("Transfer-Encoding", "gzip")
                .body("hello")
        })
        .get("/lying-stream", async |_: Request| {
            let body = Body::produce(async |sender| sender.send("hello".into()).await);
            Response::new().header("Content-Length", "99").body(body)
        })
        .get("/200", |_: &Request| "")
        .get("/204", |_: &Request| status(204))
        .get("/205", |_: &Request| status(205))
        .get("/304", |_: &Request| status(304))
        .get("/299", |_: &Request| status(299))
        .get("/404", |_: &Request| status(404))
        .get("/302", |_: &Request| status(302))
        .get("/103", |_: &Request| status(103))
        .get("/cr", |_: &Request| Response::new().header("A", "b\rc"))
        .get("/lf", |_: &Request| Response::new().header("A", "b\nc"))
        .get("/fold", |_: &Request| {
            Response::new().header("A", "b\r\n c")
        })
        .get("/nul", |_: &Request| Response::new().header("A", "b\0c"))
        .get("/name", |_: &Request| Response::new().header("A b", "c"))
        .get("/close", |_: &Request| {
            Response::new().header("Connection", "close")
        })
        .post("/ignore", |_: &Request| "ignored")
        .get("/hints", async |request: Request| {
            let fields = [
                ("Link", "</a>"),
                ("Content-Length", "3"),
                ("Transfer-Encoding", "chunked"),
            ];
            request.inform(StatusCode::EARLY_HINTS, fields)?;
            Ok::<_, roundtrip::Error>("hello")
        })
        .get("/cookie", |_: &Request| {
            Response::new().cookie(Cookie::new("a", "b").path("/").secure())
        })
        .get("/bad-cookie", |_: &Request| {
            Response::new().cookie(Cookie::new("a", "b; Path=/"))
        })
        .get("/cookies", |_: &Request| {
            Response::new()
                .header("Set-Cookie", "a=b")
                .header("Set-Cookie", "c=d")
        })
}

/// This status, with a body that some of them cannot have.
fn status(code: u16) -> Response {
    let status = StatusCode::from_u16(code).expect("a status");
    Response::new().status(status).body("hello")
}

fn ask(path: &str) -> String {
    line(&format!("GET {path} HTTP/1.1"))
}

fn check_answers(cases: &[Case]) {
    let cases: Vec<Case> = cases.iter().map(|case| case.clone().seen_apart()).collect();
    check_all(answers(), &cases);
}

#[test]
#[rustfmt::skip]
fn rfc_9112_4_and_5_heads() {
    let cases = [
        row("9112 §4", "a status without a phrase keeps its space", ask("/299")).answers(&["299 hello"]).head_has("HTTP/1.1 299 "),
        row("9112 §5.1", "no blank before the colon: 400", get("A : b\r\n")).refused(400),
        row("9112 §5.1", "no tab before the colon: 400", get("A\t: b\r\n")).refused(400),
        row("9112 §5.2", "a folded line is refused", get("A: b\r\n c\r\n")).refused(400),
        row("9112 §5.2", "and none is sent", ask("/fold")).answers(&["500"]),
        row("9110 §5.5", "CR in a value of ours is not sent", ask("/cr")).answers(&["500"]),
        row("9110 §5.5", "LF in a value of ours is not sent", ask("/lf")).answers(&["500"]),
        row("9110 §5.5", "NUL in a value of ours is not sent", ask("/nul")).answers(&["500"]),
        row("9110 §5.1", "a name of ours is a token", ask("/name")).answers(&["500"]),
        row("9110 §5.5", "NUL in a value is refused", get("A: b\0c\r\n")).refused(400),
        row("9110 §5.5", "other control characters are refused", get("A: b\u{1}c\r\n")).refused(400),
        row("9110 §5.5", "blanks around a value do not belong to it", post("Content-Length: \t 3 \t \r\n", "abc")).answers(&["200 POST /x a [abc]"]),
        row("9110 §5.1", "names are compared without case", post("cOnTeNt-lEnGtH: 3\r\n", "abc")).answers(&["200 POST /x a [abc]"]),
        row("9110 §5.1", "fields that we do not know are no error", get("X-Unknown: 1\r\nFoo.Bar: 2\r\n")),
        row("9110 §5.3", "nothing is done before the whole head is there", "GET /x HTTP/1.1\r\nHost: a\r\n").answers(&[]).waits(),
        row("9110 §5.3", "Set-Cookie is not joined", ask("/cookies")).head_has("Set-Cookie: a=b").head_has("Set-Cookie: c=d"),
        row("6265 §4.1.1", "Set-Cookie follows its grammar", ask("/cookie")).head_has("Set-Cookie: a=b; Path=/; Secure"),
        row("6265 §4.1.1", "and what does not is not sent", ask("/bad-cookie")).answers(&["500"]).head_lacks("Set-Cookie"),
        row("9110 §5.2", "lines of one name are one list", get("Connection: x\r\nConnection: close\r\n")).closed(),
        row("9110 §5.4", "more fields than we take are 4xx", get(&"A: b\r\n".repeat(200))).refused(431),
        row("9110 §5.4", "a longer field than we take is 4xx", get(&format!("A: {}\r\n", "b".repeat(70_000)))).refused(431),
        row("9110 §5.6.1", "empty elements of a list are skipped", get("Connection: , ,close,,\r\n")).closed(),
    ];
    check_answers(&cases);
}

/// RFC 9110 §6.6.1: with a clock, all 2xx, 3xx and 4xx have one `Date`, in the form of §5.6.7.
#[test]
fn rfc_9110_6_6_1_dates() {
    let app = App::new(answers());
    for input in [
        ask("/text"),
        ask("/204"),
        ask("/302"),
        ask("/304"),
        ask("/404"),
        ask("/nowhere"),
        ask("/stream"),
        line("PUT /text HTTP/1.1"),
        "bad\r\n\r\n".to_owned(),
        line("OPTIONS * HTTP/1.1"),
    ] {
        let mut wire = app.connect();
        let head = wire.send(&input).receive();
        let dates: Vec<&str> = head
            .lines()
            .filter(|line| line.starts_with("Date: "))
            .collect();
        let [date] = dates[..] else { panic!("{head}") };
        // IMF-fixdate: "Sun, 06 Nov 1994 08:49:37 GMT".
        let is_fixed = date.len() == 35
            && date.starts_with("Date: Sun, 15 Jun 2025 15:06:4")
            && date.ends_with(" GMT");
        assert!(is_fixed, "{date}");
    }
}

#[test]
#[rustfmt::skip]
fn rfc_9112_6_bodies() {
    let huge = "Content-Length: 9223372036854775807\r\n";
    let cases = [
        row("9112 §6", "framing does not depend on the method", "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").answers(&["200 GET /x a [abc]"]),
        row("9112 §6", "not on an unknown method either", "FOO /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").answers(&["200 FOO /x a [abc]"]),
        row("9112 §6.1", "chunked is parsed", chunked("3\r\nabc\r\n0\r\n\r\n")).answers(&["200 POST /x a [abc]"]),
        row("9112 §6.1", "the name of a coding has no case", post("Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n")),
        row("9112 §6.1", "chunked is applied once", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")).refused(400),
        row("9112 §6.1", "a coding that we do not know is 501", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")).refused(501),
        row("9112 §6.1", "both lengths: refused, and the connection closes", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")).refused(400),
        row("9112 §6.1", "Transfer-Encoding in 1.0 is faulty framing", "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").refused(400),
        row("9112 §6.1", "none is sent in a 204", ask("/204")).answers(&["204"]).head_lacks("Transfer-Encoding"),
        row("9112 §6.1", "none is sent to 1.0", "GET /stream HTTP/1.0\r\n\r\n").answers(&["200 abcde"]).closed().head_lacks("Transfer-Encoding").head_has("Connection: close"),
        row("9112 §6.1", "a body of unknown length is chunked for 1.1", ask("/stream")).answers(&["200 abcde"]).head_has("Transfer-Encoding: chunked").head_lacks("Content-Length"),
        row("9112 §6.2", "no Content-Length beside Transfer-Encoding", ask("/lying-stream")).answers(&["200 hello"]).head_has("Transfer-Encoding: chunked").head_lacks("Content-Length"),
        row("9110 §8.6", "Content-Length is the length of what is sent", ask("/lies")).answers(&["200 hello"]).head_has("Content-Length: 5").head_lacks("Transfer-Encoding"),
        row("9110 §8.6", "none in a 204", ask("/204")).answers(&["204"]).head_lacks("Content-Length"),
        row("9110 §8.6", "in a HEAD what a GET would have", line("HEAD /text HTTP/1.1")).without_body().head_has("Content-Length: 5"),
        row("9110 §8.6", "none in a HEAD of a stream", line("HEAD /stream HTTP/1.1")).without_body().head_lacks("Content-Length"),
        row("9110 §8.6", "none in a 304 that would be wrong", ask("/304")).answers(&["304"]).head_lacks("Content-Length"),
        row("9110 §8.6", "large numbers do not overflow", post(huge, "abc")).answers(&[]).reaches(1).waits(),
        row("9110 §8.6", "larger ones are refused", post("Content-Length: 9223372036854775808\r\n", "")).refused(400),
        row("9110 §8.6", "far larger ones too", post(&format!("Content-Length: 1{}\r\n", "0".repeat(40)), "")).refused(400),
        row("9110 §8.6", "a list of equal numbers may be taken for one", post("Content-Length: 3, 3\r\n", "abc")).answers(&["200 POST /x a [abc]"]),
        row("9112 §6.3 (1)", "HEAD, 204 and 304 end with their heads", line("HEAD /text HTTP/1.1")).without_body(),
        row("9112 §6.3 (4)", "chunked must be the last coding", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")).refused(400),
        row("9112 §6.3 (4)", "and there at all", post("Transfer-Encoding: gzip\r\n", "abc")).refused(400),
        row("9112 §6.3 (5)", "an invalid Content-Length is 400", post("Content-Length: x\r\n", "abc")).refused(400),
        row("9112 §6.3 (5)", "two that differ are 400", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd")).refused(400),
        row("9112 §6.3 (6)", "a length is kept to", post("Content-Length: 3\r\n", "abc") + GET).answers(&["200 POST /x a [abc]", "200 GET /x a"]),
        row("9112 §6.3 (7)", "no length is no body", post("", "") + GET).answers(&["200 POST /x a", "200 GET /x a"]),
        row("9112 §6.3, §8", "what ends before its length is incomplete", post("Content-Length: 9\r\n", "abc")).finishes().answers(&["400"]).reaches(1).closed(),
    ];
    check_answers(&cases);
}

#[test]
#[rustfmt::skip]
fn rfc_9112_7_chunks() {
    let both = "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n";
    let broken = |what: &str, body: &str| {
        Case::new("9112 §7.1", what, chunked(body))
            .answers(&["400"])
            .reaches(1)
            .closed()
    };
    let cases = [
        row("9112 §7.1", "sizes are hexadecimal, without case", chunked(both)).answers(&["200 POST /x a [01234567890123456789]"]),
        row("9112 §7.1", "the last chunk is zeros, however many", chunked("000\r\n\r\n")).answers(&["200 POST /x a"]),
        broken("a size that does not fit is an error", "ffffffffffffffff\r\nabc"),
        broken("far larger ones too", "10000000000000000000003\r\nabc"),
        broken("a size is digits", "-3\r\nabc\r\n0\r\n\r\n"),
        broken("CRLF stands behind the data", "3\r\nabcd\r\n0\r\n\r\n"),
        row("9112 §7.1", "what ends before the last chunk is incomplete", chunked("3\r\nabc\r\n")).finishes().answers(&["400"]).reaches(1).closed(),
        row("9112 §7.1", "parameters of chunked are an error", post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n")).refused(400),
        row("9112 §7.1.1", "extensions are ignored", chunked("3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n")).answers(&["200 POST /x a [abc]"]),
        row("9112 §7.1.1", "blanks may stand before them", chunked("3 ; a = b\r\nabc\r\n0\r\n\r\n")).answers(&["200 POST /x a [abc]"]),
        broken("9112 §7.1.1: their length has a bound", &format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(5_000))),
        row("9112 §7.1.2", "trailers are kept apart from the fields", post("Transfer-Encoding: chunked\r\nSum: 0\r\n", "0\r\nSum: 1\r\n\r\n")).answers(&["200 POST /x a {Sum: 1}"]),
        row("9110 §6.5.1", "what frames, routes or authenticates is no trailer", chunked("0\r\nContent-Length: 3\r\nHost: b\r\nAuthorization: c\r\n\r\n")).answers(&["200 POST /x a"]),
        row("9110 §6.5.1", "and we send none of it", ask("/trailers")).answers(&["200 ab {Sum: 1\\r\\n}"]).head_has("Transfer-Encoding: chunked"),
        row("9110 §6.6.2", "they are announced", ask("/trailers")).answers(&["200 ab {Sum: 1\\r\\n}"]).head_has("Trailer: Sum"),
        row("9112 §7.1.2", "1.0 gets none", "GET /trailers HTTP/1.0\r\n\r\n").answers(&["200 ab"]).closed().head_lacks("Trailer"),
        broken("a trailer is a field", "0\r\nnonsense\r\n\r\n"),
    ];
    check_answers(&cases);
}

#[test]
#[rustfmt::skip]
fn rfc_9112_9_connections() {
    let big = "Content-Length: 1000000\r\n";
    let old = |fields: &str| format!("GET /x HTTP/1.0\r\nHost: a\r\n{fields}\r\n");
    let cases = [
        row("9112 §9.3", "1.1 persists", get("")),
        row("9112 §9.3", "close ends it", get("Connection: close\r\n")).closed().head_has("Connection: close"),
        row("9112 §9.3", "close wins over keep-alive", get("Connection: keep-alive, close\r\n")).closed(),
        row("9112 §9.3", "1.0 does not persist", old("")).closed(),
        row("9112 §9.3", "1.0 persists when asked", old("Connection: keep-alive\r\n")).head_has("Connection: keep-alive"),
        row("9112 §9.3", "options have no case", old("Connection: Keep-Alive\r\n")).head_has("Connection: keep-alive"),
        row("9112 §9.3", "an unread body is read before the next request", format!("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{GET}")).answers(&["200 ignored", "200 GET /x a"]),
        row("9112 §9.3", "or the connection is closed", format!("POST /ignore HTTP/1.1\r\nHost: a\r\n{big}\r\nabc")).answers(&["200 ignored"]).closed().head_has("Connection: close"),
        row("9112 §9.3.2", "responses come in the order of requests", ask("/x") + &ask("/stream") + &ask("/text")).answers(&["200 GET /x a", "200 abcde", "200 hello"]),
        row("9112 §9.6", "behind a close of the client nothing is done", get("Connection: close\r\n") + GET).answers(&["200 GET /x a"]).closed(),
        row("9112 §9.6", "behind a close of ours nothing is done", ask("/close") + GET).closed().head_has("Connection: close"),
        row("9112 §9.6", "a half-close is no reason not to answer", get("")).finishes().closed(),
        row("9112 §9.6", "behind an error of the client nothing is done", get("A : b\r\n") + GET).refused(400),
        row("9110 §7.6.1", "options that we do not know are no error", get("Connection: x, y\r\nX: 1\r\n")),
        row("9110 §7.8", "an upgrade that nobody makes is ignored", get("Connection: upgrade\r\nUpgrade: x/1\r\n")).head_lacks("Upgrade"),
        row("9110 §7.8", "in 1.0 it is ignored", old("Connection: upgrade\r\nUpgrade: x/1\r\n")).closed().head_lacks("Upgrade"),
    ];
    check_answers(&cases);
}

/// Echoes all, and says nothing else.
fn switching() -> Router {
    async fn echo(mut duplex: Duplex) -> roundtrip::Result<()> {
        while let Some(bytes) = duplex.read().await? {
            duplex.write(bytes).await?;
        }
        Ok(())
    }
    Router::new()
        .any("/up", |_: &Request| Response::upgrade("echo/2", echo))
        .any("/up-later", async |mut request: Request| {
            while let Some(chunk) = request.body_mut().chunk().await {
                chunk?;
            }
            Ok::<_, roundtrip::Error>(Response::upgrade("echo/2", echo))
        })
        .connect(|_: &Request| Response::tunnel(echo))
        .get("/next", wire::ignore)
}

#[test]
#[rustfmt::skip]
fn rfc_9110_7_8_upgrades() {
    let up = |path: &str, version: &str, fields: &str| format!("GET {path} HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
    let asked = "Connection: upgrade\r\nUpgrade: echo/2\r\n";
    let cases = [
        row("9110 §7.8", "101 names the protocol, and has no length", up("/up", "1.1", asked)).answers(&["101"]).waits()
            .head_has("Upgrade: echo/2").head_has("Connection: upgrade").head_lacks("Content-Length").head_lacks("Transfer-Encoding"),
        row("9110 §7.8", "one of several is taken", up("/up", "1.1", "Connection: a, Upgrade\r\nUpgrade: x/1, echo/2\r\n")).answers(&["101"]).waits(),
        row("9110 §7.8", "none that was not offered", up("/up", "1.1", "Connection: upgrade\r\nUpgrade: x/1\r\n")).answers(&["426"]).head_has("Upgrade: echo/2"),
        row("9110 §7.8", "not without the Connection option", up("/up", "1.1", "Upgrade: echo/2\r\n")).answers(&["426"]),
        row("9110 §7.8", "not in 1.0", up("/up", "1.0", asked)).answers(&["426"]).closed(),
        row("9110 §15.5.22", "426 names what is needed", up("/up", "1.1", "")).answers(&["426"]).head_has("Upgrade: echo/2"),
        row("9110 §7.8", "not before the request is there", up("/up", "1.1", &format!("{asked}Content-Length: 3\r\n")) + "abc").answers(&["400"]),
        row("9110 §7.8", "100 comes before 101", up("/up-later", "1.1", &format!("{asked}Expect: 100-continue\r\nContent-Length: 3\r\n"))).answers(&["100"]).waits(),
        row("9110 §7.8", "and 101 when the content is there", up("/up-later", "1.1", &format!("{asked}Content-Length: 3\r\n")) + "abc").answers(&["101"]).waits(),
        row("9110 §9.3.6", "2xx to CONNECT has no length", line("CONNECT a:80 HTTP/1.1")).answers(&["200"]).without_body().waits()
            .head_lacks("Content-Length").head_lacks("Transfer-Encoding"),
    ];
    let cases: Vec<Case> = cases.into_iter().map(Case::seen_apart).collect();
    check_all(switching(), &cases);
    // What is behind the request belongs to the other protocol.
    for request in [up("/up", "1.1", asked), line("CONNECT a:80 HTTP/1.1")] {
        let app = App::new(switching());
        let mut wire = app.connect();
        let text = wire.send(format!("{request}GET /next HTTP/1.1\r\nHost: a\r\n\r\n")).receive();
        assert!(text.ends_with("\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"), "{text}");
        assert_eq!(app.handle().statistics().requests, 1);
    }
}

/// RFC 9112 §9.5, RFC 9110 §15.5.9: what is too slow is told so, and the connection closes; who said
/// nothing is told nothing.
#[test]
fn rfc_9112_9_5_time_outs() {
    let seconds = Duration::from_secs;
    let app = App::new(answers());
    for (input, answer) in [
        ("", ""),
        ("GET /x HT", "HTTP/1.1 408 "),
        (
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na",
            "HTTP/1.1 408 ",
        ),
    ] {
        let mut wire = app.connect();
        wire.send(input);
        app.advance(seconds(29));
        assert!(!wire.is_closed());
        app.advance(seconds(2));
        let text = wire.receive();
        assert!(
            text.starts_with(answer) && text.is_empty() == answer.is_empty(),
            "{text}"
        );
        assert!(
            answer.is_empty() || text.contains("\r\nConnection: close\r\n"),
            "{text}"
        );
        assert!(wire.is_closed() && !wire.is_reset());
    }
}

// ---- RFC 9110: semantics -----------------------------------------------------------------------

#[test]
#[rustfmt::skip]
fn rfc_9110_9_methods() {
    let cases = [
        row("9110 §9.1", "GET is supported", ask("/text")).answers(&["200 hello"]),
        row("9110 §9.1", "HEAD is supported, where GET is", line("HEAD /text HTTP/1.1")).without_body(),
        row("9110 §9.1", "a method is compared with its case", line("get /text HTTP/1.1")).answers(&["405"]),
        row("9110 §9.1", "a method that a resource does not know is 405", line("PUT /text HTTP/1.1")).answers(&["405"]),
        row("9110 §10.2.1", "a 405 says what is allowed", line("PUT /text HTTP/1.1")).answers(&["405"]).head_has("Allow: GET, HEAD"),
        row("9110 §9.3.2", "HEAD has no content, whatever its length", line("HEAD /text HTTP/1.1") + GET).without_body().answers(&["200", "200 GET /x a"]),
        row("9110 §9.3.7", "OPTIONS * has a length of zero", line("OPTIONS * HTTP/1.1")).head_has("Content-Length: 0"),
        row("9110 §15.2", "1xx is no final answer", ask("/103")).answers(&["500"]),
        row("9110 §15.2", "it comes before one", ask("/hints")).answers(&["103", "200 hello"]).head_lacks("Link"),
        row("9110 §15.2", "1.0 gets none", "GET /hints HTTP/1.0\r\n\r\n").answers(&["200 hello"]).closed(),
        row("9110 §15.3.5", "204 has no content", ask("/204") + GET).answers(&["204", "200 GET /x a"]),
        row("9110 §15.3.6", "205 has no content", ask("/205")).answers(&["205"]).head_has("Content-Length: 0"),
        row("9110 §15.4.5", "304 has no content", ask("/304") + GET).answers(&["304", "200 GET /x a"]),
        row("9110 §15.5.15", "a target that is too long is 414", format!("GET /{}", "x".repeat(20_000))).refused(414),
    ];
    check_answers(&cases);
}

#[test]
#[rustfmt::skip]
fn rfc_9110_10_1_1_expectations() {
    let expect = |version: &str, path: &str, length: usize| {
        format!(
            "POST {path} HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let cases = [
        row("9110 §10.1.1", "100 comes before the content is waited for", expect("1.1", "/x", 3)).answers(&["100"]).reaches(1).waits(),
        row("9110 §10.1.1", "or a final status at once", expect("1.1", "/ignore", 3)).answers(&["200 ignored"]).closed().head_has("Connection: close"),
        row("9110 §10.1.1", "100 may be left out when content is there", expect("1.1", "/x", 3) + "abc").answers(&["200 POST /x a [abc]"]).whole_only(),
        row("9110 §10.1.1", "where no content follows there is no 100", expect("1.1", "/x", 0)),
        row("9110 §10.1.1, §15.2", "1.0 gets no 100", expect("1.0", "/x", 3) + "abc").answers(&["200 POST /x a [abc]"]),
        row("9110 §10.1.1", "the expectation has no case", expect("1.1", "/x", 3).replace("100-c", "100-C")).answers(&["100"]).reaches(1).waits(),
        row("9110 §10.1.1", "another expectation is 417", post("Expect: tea\r\nContent-Length: 3\r\n", "")).refused(417),
    ];
    check_answers(&cases);
    // A 100 is followed by a final status.
    let app = App::new(answers());
    let mut wire = app.connect();
    assert_eq!(
        wire.send(expect("1.1", "/x", 3)).receive(),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    assert!(wire.send("abc").receive().ends_with("POST /x a [abc]"));
}

/// Each request for the file, and the status.
fn check_file(rows: &[(&str, &str, &str, &str)]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = std::fs::File::create(folder.path().join("f")).expect("a file");
    (&file).write_all(b"0123456789A").expect("content");
    // Before the clock of the app.
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        .expect("a date");
    let app = App::new(Server::new(Router::new().any("/", files::serve(folder.path()))).workers(1));
    let first = app.get("/f").send();
    let (tag, modified) = (
        first.header("ETag").expect("a tag"),
        first.header("Last-Modified").expect("a date"),
    );
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(app.elapsed() < day);
    for (row, what, request, expected) in rows {
        let (method, fields) = request.split_once('|').expect("METHOD|fields");
        let fields = fields.replace("{tag}", tag).replace("{modified}", modified);
        let mut wire = app.connect();
        let text = wire
            .send(format!("{method} /f HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
            .receive();
        let expected = expected.replace("{tag}", tag);
        let (status, line) = expected.split_once(' ').unwrap_or((&expected, ""));
        let shown = format!("[{row}] {what}: {fields:?} gave {text}");
        assert!(text[9..].starts_with(status), "{shown}");
        assert!(
            line.is_empty() || text.lines().any(|own| own == line),
            "{shown}"
        );
        assert_eq!(text.matches("\r\nDate: ").count(), 1, "{shown}");
    }
}

#[test]
#[rustfmt::skip]
fn rfc_9110_13_conditions() {
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let with = |name: &str, value: &str| format!("GET|{name}: {value}\r\n");
    check_file(&[
        ("9110 §13.1.1", "If-Match of the tag", "GET|If-Match: {tag}\r\n", "200"),
        ("9110 §13.1.1", "If-Match of any", "GET|If-Match: *\r\n", "200"),
        ("9110 §13.1.1", "If-Match of another: nothing is done", "GET|If-Match: \"x\"\r\n", "412"),
        ("9110 §13.1.1", "it compares strongly", "GET|If-Match: W/{tag}\r\n", "412"),
        ("9110 §13.1.2", "If-None-Match of the tag", "GET|If-None-Match: {tag}\r\n", "304"),
        ("9110 §13.1.2", "it compares weakly", "GET|If-None-Match: W/{tag}\r\n", "304"),
        ("9110 §13.1.2", "in a list, with empty elements", "GET|If-None-Match: , \"x\",, {tag}\r\n", "304"),
        ("9110 §13.1.2", "of another", "GET|If-None-Match: \"x\"\r\n", "200"),
        ("9110 §13.1.2", "of any", "GET|If-None-Match: *\r\n", "304"),
        ("9110 §13.1.2", "HEAD as well", "HEAD|If-None-Match: {tag}\r\n", "304"),
        ("9110 §13.1.3", "If-Modified-Since its own time", "GET|If-Modified-Since: {modified}\r\n", "304"),
        ("9110 §13.1.3", "an old time", &with("If-Modified-Since", old), "200"),
        ("9110 §5.6.7", "in the form of RFC 850", &with("If-Modified-Since", "Friday, 31-Dec-60 23:59:59 GMT"), "304"),
        ("9110 §5.6.7", "a year of two digits that would be far ahead is past", &with("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT"), "200"),
        ("9110 §5.6.7", "in the form of asctime", &with("If-Modified-Since", "Sun Nov  6 08:49:37 1994"), "200"),
        ("9110 §13.1.3", "ignored when it is no date", &with("If-Modified-Since", "yesterday"), "200"),
        ("9110 §13.1.3", "ignored beside If-None-Match", "GET|If-None-Match: \"x\"\r\nIf-Modified-Since: {modified}\r\n", "200"),
        ("9110 §13.1.4", "If-Unmodified-Since an old time", &with("If-Unmodified-Since", old), "412"),
        ("9110 §13.1.4", "its own time", "GET|If-Unmodified-Since: {modified}\r\n", "200"),
        ("9110 §13.1.4", "ignored when it is no date", &with("If-Unmodified-Since", "yesterday"), "200"),
        ("9110 §13.1.4", "ignored beside If-Match", "GET|If-Match: {tag}\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "200"),
        ("9110 §15.4.5", "304 has the tag of a 200", "GET|If-None-Match: {tag}\r\n", "304 ETag: {tag}"),
        ("9110 §13.2.2", "If-Match comes before If-None-Match", "GET|If-Match: \"x\"\r\nIf-None-Match: {tag}\r\n", "412"),
    ]);
}

#[test]
#[rustfmt::skip]
fn rfc_9110_14_ranges() {
    check_file(&[
        ("9110 §14.2", "a range", "GET|Range: bytes=0-4\r\n", "206 Content-Range: bytes 0-4/11"),
        ("9110 §14.1.2", "to the end", "GET|Range: bytes=5-\r\n", "206 Content-Range: bytes 5-10/11"),
        ("9110 §14.1.2", "from the end", "GET|Range: bytes=-5\r\n", "206 Content-Range: bytes 6-10/11"),
        ("9110 §14.1.2", "a longer suffix than there is", "GET|Range: bytes=-50\r\n", "206 Content-Range: bytes 0-10/11"),
        ("9110 §14.1.2", "beyond the end", "GET|Range: bytes=5-50\r\n", "206 Content-Range: bytes 5-10/11"),
        ("9110 §14.1.2", "large numbers do not overflow", "GET|Range: bytes=5-99999999999999999999999\r\n", "206 Content-Range: bytes 5-10/11"),
        ("9110 §14.1.1", "no range of it is there", "GET|Range: bytes=11-\r\n", "416 Content-Range: bytes */11"),
        ("9110 §14.1.2", "no bytes from the end", "GET|Range: bytes=-0\r\n", "416 Content-Range: bytes */11"),
        ("9110 §14.2", "another unit is ignored", "GET|Range: lines=0-4\r\n", "200"),
        ("9110 §14.2", "another method is ignored", "HEAD|Range: bytes=0-4\r\n", "200"),
        ("9110 §13.1.5", "If-Range of the tag", "GET|Range: bytes=0-4\r\nIf-Range: {tag}\r\n", "206"),
        ("9110 §13.1.5", "of another tag: all of it", "GET|Range: bytes=0-4\r\nIf-Range: \"x\"\r\n", "200"),
        ("9110 §13.1.5", "a weak tag: all of it", "GET|Range: bytes=0-4\r\nIf-Range: W/{tag}\r\n", "200"),
        ("9110 §13.1.5", "of another date: all of it", "GET|Range: bytes=0-4\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "200"),
        ("9110 §13.1.5", "ignored without Range", "GET|If-Range: \"x\"\r\n", "200"),
        ("9110 §13.2.2", "conditions come first", "GET|Range: bytes=0-4\r\nIf-None-Match: {tag}\r\n", "304"),
        ("9110 §14.2", "what is no range", "GET|Range: bytes=5-4\r\n", "416 Content-Range: bytes */11"),
        ("9110 §14.2", "blanks within a range", "GET|Range: bytes=1 -2\r\n", "416"),
        ("9110 §14.1.2", "one of them is there", "GET|Range: bytes=20-, 0-4\r\n", "206 Content-Range: bytes 0-4/11"),
        ("9110 §15.3.7.2", "one range is no multipart", "GET|Range: bytes=0-4,\r\n", "206 Content-Range: bytes 0-4/11"),
        ("9110 §15.3.7", "206 has the tag of a 200", "GET|Range: bytes=0-4\r\n", "206 ETag: {tag}"),
    ]);
}

/// Several ranges, what is coded, and what is not there.
#[test]
fn rfc_9110_14_6_parts_and_12_5_codings() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in [
        ("f.txt", "0123456789A"),
        ("f.txt.gz", "packed well"),
        ("f.txt.br", "smaller"),
    ] {
        std::fs::write(folder.path().join(name), content).expect("a file");
    }
    let app = App::new(Router::new().any("/", files::serve(folder.path()).precompressed(true)));
    let get = |path: &str, name: &str, value: &str| app.get(path).header(name, value).send();
    // §14.6, §15.3.7.2: each part says what it is, the head does not.
    let answer = get("/f.txt", "Range", "bytes=0-1,4-5");
    assert_eq!(answer.status(), 206);
    let kind = answer.header("Content-Type").expect("a type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("parts");
    assert_eq!(answer.header("Content-Range"), None);
    assert_eq!(
        answer.text().matches("\r\nContent-Range: bytes ").count(),
        2
    );
    assert!(
        answer
            .text()
            .trim_end()
            .ends_with(&format!("--{boundary}--"))
    );
    // §13.2.1: conditions of what is not there do not count.
    assert_eq!(get("/nowhere", "If-None-Match", "*").status(), 404);
    assert_eq!(get("/nowhere", "Range", "bytes=0-1").status(), 404);
    // §12.5.3: the codings that a client takes, and those that it refuses; §12.5.5: Vary.
    for (accept, coding, body) in [
        ("gzip", Some("gzip"), "packed well"),
        ("br, gzip", Some("br"), "smaller"),
        ("gzip;q=0, br;q=0", None, "0123456789A"),
        ("br;q=0, gzip;q=0.1", Some("gzip"), "packed well"),
        ("identity", None, "0123456789A"),
        ("", None, "0123456789A"),
        ("*", Some("br"), "smaller"),
        ("GZIP", Some("gzip"), "packed well"),
        (", gzip ; q=1.000 ,", Some("gzip"), "packed well"),
    ] {
        let answer = get("/f.txt", "Accept-Encoding", accept);
        assert_eq!(answer.status(), 200, "{accept:?}");
        assert_eq!(answer.header("Content-Encoding"), coding, "{accept:?}");
        assert_eq!(answer.text(), body, "{accept:?}");
        let vary = answer.header("Vary").unwrap_or_default();
        assert!(
            vary.eq_ignore_ascii_case("accept-encoding"),
            "{accept:?}: {vary}"
        );
    }
    // §8.8.3.3: what is coded differently has another tag.
    let tags = ["", "gzip", "br"].map(|accept| {
        let answer = get("/f.txt", "Accept-Encoding", accept);
        answer.header("ETag").map(str::to_owned)
    });
    assert!(
        tags[0] != tags[1] && tags[1] != tags[2] && tags.iter().all(Option::is_some),
        "{tags:?}"
    );
}

/// RFC 9110 §8.6, RFC 9112 §6.1: an informational response has no length.
#[test]
fn rfc_9110_15_2_informational_heads() {
    let app = App::new(answers());
    let text = app.connect().send(ask("/hints")).receive();
    let (first, _) = text.split_once("\r\n\r\n").expect("a head");
    assert_eq!(first, "HTTP/1.1 103 Early Hints\r\nLink: </a>");
}
