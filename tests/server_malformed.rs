//! Malformed input against real sockets: the right status or the end of the connection, never a
//! panic, never a hang, and nobody else notices.
//!
//! ```text
//!   malformed ─► connection of its own ─► status, Connection: close, end     (10 s at most)
//!   GET /     ─► the bystander's       ─► 200 hello, after each of them
//! ```

use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;

mod server_support;

use server_support::Peer;
use server_support::Serving;
use server_support::get;
use server_support::request;

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .post("/ignore", |_: &Request| "ignored")
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
        .post("/text", async |r: Request| r.into_body().text().await)
}

/// A request line, with a good `Host` behind it.
fn line(text: &str) -> String {
    format!("{text}\r\nHost: a\r\n\r\n")
}

/// A field behind a good `Host`.
fn field(text: &str) -> String {
    request("GET /", &[text], "")
}

/// A field that is the only one.
fn host(text: &str) -> String {
    format!("GET / HTTP/1.1\r\n{text}\r\n\r\n")
}

fn post(fields: &[&str]) -> String {
    request("POST /echo", fields, "")
}

fn start_lines() -> Vec<(String, u16)> {
    let mut cases: Vec<(String, u16)> = Vec::new();
    for text in [
        "\0",
        "\x16\x03\x01\x02\x00\x01\x00\x01",
        "nonsense\r\n\r\n",
        "SSH-2.0-client\r\n\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n\r\n",
        "GET\r\n\r\n",
        "GET \r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\rHost: a\r\r",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        cases.push((text.to_owned(), 400));
    }
    for text in [
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /a b HTTP/1.1",
        "G@T / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GÄT / HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /\x01 HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "POST * HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT * HTTP/1.1",
        "CONNECT a HTTP/1.1",
        "CONNECT a: HTTP/1.1",
        "CONNECT a:70000 HTTP/1.1",
        "CONNECT http://a/ HTTP/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/11.1",
        "GET / http/1.1",
        "GET / HTTPS/1.1",
    ] {
        cases.push((line(text), 400));
    }
    for text in [
        "GET / HTTP/0.9",
        "GET / HTTP/2.0",
        "GET / HTTP/3.0",
        "PRI * HTTP/2.0",
    ] {
        cases.push((line(text), 505));
    }
    cases
}

fn fields() -> Vec<(String, u16)> {
    let mut cases: Vec<(String, u16)> = Vec::new();
    for text in [
        "",
        "A: b",
        "Host: a\r\nHost: a",
        "Host: a\r\nHost: b",
        "Host: a b",
        "Host: a/b",
        "Host: a@b",
        "Host: a:b",
        "Host: a:70000",
        "Host: [::1",
        "Host: [x]",
        "Host : a",
        "Host\t: a",
        " Host: a",
    ] {
        cases.push((host(text), 400));
    }
    for text in [
        "A",
        ": b",
        "A : b",
        "A B: c",
        "A(: b",
        "Ä: b",
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A: b\rc: d",
        "A: b\nc: d",
        "A: \0",
        "A: \x01",
        "A: \x1b",
        "A: \x7f",
    ] {
        cases.push((field(text), 400));
    }
    cases.push((post(&["Expect: tea", "Content-Length: 1"]), 417));
    let expects = ["Expect: 100-continue, tea", "Content-Length: 1"];
    cases.push((post(&expects), 417));
    cases
}

fn framing() -> Vec<(String, u16)> {
    let chunked = "Transfer-Encoding: chunked";
    let mut cases: Vec<(String, u16)> = Vec::new();
    for text in [
        "Content-Length:",
        "Content-Length: x",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 1.0",
        "Content-Length: 0x1",
        "Content-Length: 1 1",
        "Content-Length: 1,2",
        "Content-Length: 1;",
        "Content-Length: 18446744073709551616",
        "Content-Length : 1",
        "Transfer-Encoding:",
        "Transfer-Encoding: ,",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked x",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
    ] {
        cases.push((post(&[text]), 400));
    }
    cases.push((post(&["Content-Length: 1", "Content-Length: 2"]), 400));
    cases.push((post(&["Content-Length: 0", chunked]), 400));
    cases.push((post(&[chunked, "Content-Length: 1"]), 400));
    cases.push((post(&[chunked, chunked]), 400));
    cases.push((post(&[chunked]).replace("HTTP/1.1", "HTTP/1.0"), 400));
    cases.push((post(&["Transfer-Encoding: gzip, chunked"]), 501));
    cases.push((post(&["Transfer-Encoding: gzip", chunked]), 501));
    cases
}

fn too_large() -> Vec<(String, u16)> {
    let long = "a".repeat(70_000);
    vec![
        (line(&format!("GET /{} HTTP/1.1", &long[..20_000])), 414),
        (format!("GET /{long}"), 414),
        (field(&format!("A: {long}")), 431),
        (field(&format!("{long}: a")), 431),
        (request("GET /", &["a: b"; 200], ""), 431),
        (request("GET /", &[&long[..5_000]; 20].map(|a| a), ""), 431),
    ]
}

fn malformed() -> Vec<(String, u16)> {
    [start_lines(), fields(), framing(), too_large()].concat()
}

/// The refusal, and nothing behind it.
fn check_refused(peer: &mut Peer, status: u16, shown: &str) {
    let answer = peer.answer();
    assert_eq!(answer.status, status, "{shown}: {}", answer.text());
    assert_eq!(answer.field("connection"), Some("close"), "{shown}");
    assert!(peer.is_closed(), "{shown}");
}

fn shown(input: &str) -> String {
    let kept: String = input.chars().take(60).collect();
    format!("{kept:?}")
}

#[test]
fn malformed_input_is_answered_and_harms_nobody() {
    let serving = Serving::start(router());
    let mut bystander = serving.peer();
    let cases = malformed();
    assert!(cases.len() >= 100, "{}", cases.len());
    for (input, status) in &cases {
        let started = Instant::now();
        let mut peer = serving.peer();
        // The server may close before it has read everything.
        let _ = peer.stream.write_all(input.as_bytes());
        check_refused(&mut peer, *status, &shown(input));
        assert_eq!(bystander.send(get("/")).answer().text(), "hello");
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{}",
            shown(input)
        );
    }
    let statistics = serving.handle.statistics();
    assert_eq!(statistics.requests_refused, cases.len() as u64);
    assert_eq!(statistics.panics, 0);
}

#[test]
fn malformed_input_behind_a_good_request_ends_the_connection_after_its_answer() {
    let serving = Serving::start(router());
    let mut bystander = serving.peer();
    for (input, status) in malformed() {
        let mut peer = serving.peer();
        let _ = peer.stream.write_all((get("/") + &input).as_bytes());
        assert_eq!(peer.answer().text(), "hello", "{}", shown(&input));
        check_refused(&mut peer, status, &shown(&input));
        assert_eq!(bystander.send(get("/")).answer().text(), "hello");
    }
    assert_eq!(serving.handle.statistics().panics, 0);
}

#[test]
fn malformed_input_in_pieces_is_answered_too() {
    let serving = Serving::start(router());
    let mut bystander = serving.peer();
    for (input, status) in malformed() {
        let mut peer = serving.peer();
        let middle = input.len() / 2;
        for piece in [&input.as_bytes()[..middle], &input.as_bytes()[middle..]] {
            let _ = peer.stream.write_all(piece);
            assert_eq!(bystander.send(get("/")).answer().text(), "hello");
        }
        check_refused(&mut peer, status, &shown(&input));
    }
}

/// What is wrong behind a good head, chunked.
const CHUNKS: [&str; 16] = [
    "x",
    "\r\n",
    "-1\r\n",
    "+1\r\na\r\n",
    "0x1\r\na\r\n",
    " 1\r\na\r\n",
    "1 \r\na\r\n",
    "1\na\r\n",
    "1\ra\r\n",
    "1;\x01\r\n",
    "1\r\nab\r\n",
    "5\r\nabcdeX",
    "5\r\nabcde\n",
    "fffffffffffffffff\r\n",
    "0\r\nA b: c\r\n\r\n",
    "0\r\n A: b\r\n\r\n",
];

#[test]
fn malformed_bodies_reach_the_handler_or_end_the_connection() {
    let serving = Serving::start(router());
    let mut bystander = serving.peer();
    let chunked = ["Transfer-Encoding: chunked"];
    for body in CHUNKS {
        let mut peer = serving.peer();
        peer.send(request("POST /text", &chunked, body));
        check_refused(&mut peer, 400, &shown(body));
        // A handler that does not look at it has answered already, and the connection ends.
        let mut peer = serving.peer();
        peer.send(request("POST /ignore", &chunked, body));
        assert_eq!(peer.answer().text(), "ignored", "{body:?}");
        assert!(peer.is_closed(), "{body:?}");
        assert_eq!(bystander.send(get("/")).answer().text(), "hello");
    }
    // Framing that outweighs the data is an attack.
    let extension = format!("1;{}\r\n", "a".repeat(5_000));
    let tiny = format!("1;{}\r\na\r\n", "a".repeat(1_000)).repeat(100);
    let trailers = format!("0\r\n{}", "a: b\r\n".repeat(200));
    for body in [extension, tiny, trailers] {
        let mut peer = serving.peer();
        let _ = peer
            .stream
            .write_all(request("POST /text", &chunked, &body).as_bytes());
        check_refused(&mut peer, 400, &shown(&body));
    }
    // `text` takes up to 2 MiB.
    let mut peer = serving.peer();
    peer.send(request("POST /text", &["Content-Length: 3000000"], ""));
    assert_eq!(peer.answer().status, 413);
    assert_eq!(serving.handle.statistics().panics, 0);
}

#[test]
fn input_that_ends_early_ends_the_connection() {
    let serving = Serving::start(router());
    let mut bystander = serving.peer();
    for input in [
        "",
        "\r\n",
        "G",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r\nHost: a\r\n",
    ] {
        let mut peer = serving.peer();
        peer.send(input).close_writing();
        assert!(peer.is_closed(), "{input:?}");
        assert_eq!(bystander.send(get("/")).answer().text(), "hello");
    }
    for (head, body) in [
        ("Content-Length: 5", "ab"),
        ("Transfer-Encoding: chunked", ""),
        ("Transfer-Encoding: chunked", "5\r\nab"),
        ("Transfer-Encoding: chunked", "2\r\nab\r\n0\r\n"),
    ] {
        let mut peer = serving.peer();
        peer.send(request("POST /text", &[head], body))
            .close_writing();
        check_refused(&mut peer, 400, body);
        assert_eq!(bystander.send(get("/")).answer().text(), "hello");
    }
}

#[test]
fn peers_that_vanish_harm_nobody() {
    let serving = Serving::start(router());
    let mut bystander = serving.peer();
    for (input, _) in malformed() {
        // Dropped without reading: what was sent meets a closed socket.
        let _ = serving.peer().stream.write_all(input.as_bytes());
        assert_eq!(bystander.send(get("/")).answer().text(), "hello");
    }
    let started = Instant::now();
    while serving.handle.statistics().connections_open > 1 {
        assert!(started.elapsed() < Duration::from_secs(5), "still open");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(serving.handle.statistics().panics, 0);
}

#[test]
fn random_bytes_never_hang() {
    let serving = Serving::start(router());
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..200 {
        let mut bytes = get("/").repeat(2).into_bytes();
        for _ in 0..1 + round % 5 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = seed as usize % bytes.len();
            bytes[at] = (seed >> 32) as u8;
        }
        let mut peer = serving.peer();
        let _ = peer.stream.write_all(&bytes);
        let _ = peer.stream.shutdown(std::net::Shutdown::Write);
        peer.rest();
    }
    assert_eq!(serving.handle.statistics().panics, 0);
    assert_eq!(serving.ask(&get("/")).text(), "hello");
}
