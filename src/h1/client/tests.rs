//! Tables of exchanges; each response comes whole, byte by byte, and in two parts at every place.

use ::http::Method;
use url::Url;

use crate::h1::client::ClientMachine;
use crate::h1::client::Event;
use crate::h1::client::FetchError;
use crate::h1::client::SendError;
use crate::http::close_reason::CloseReason;
use crate::http::head::HeadLimits;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::limits::CHUNK_LINE_BYTES_MAX;
use crate::limits::INFORMATIONAL_COUNT_MAX;

fn fetch() -> ClientMachine {
    ClientMachine::new(HeadLimits::RESPONSE)
}

fn request(method: &str) -> Request {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Request::new(method, Url::parse("http://h.example/a?b=c").unwrap())
}

fn started(method: &str) -> ClientMachine {
    let mut fetch = fetch();
    fetch
        .start(&request(method), Some(0), true, &mut Vec::new())
        .unwrap();
    fetch
}

/// What came of a response, as text: `status body [trailers] verdict`.
#[derive(Default)]
struct Outcome {
    status: Option<u16>,
    body: Vec<u8>,
    trailers: Option<Headers>,
    ends: usize,
}

impl Outcome {
    fn feed(&mut self, fetch: &mut ClientMachine, mut input: &[u8]) -> Result<(), FetchError> {
        loop {
            let (used, event) = fetch.receive(input)?;
            input = &input[used..];
            if matches!(event, Event::Partial) {
                assert!(input.is_empty(), "partial, with bytes left");
                return Ok(());
            }
            self.take(event);
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Partial => {}
            Event::Informational(head) => {
                assert!(
                    self.status.is_none(),
                    "an informational head behind the final one"
                );
                assert!(head.status_code().is_informational());
            }
            Event::Head(head, _) => {
                assert!(self.status.is_none(), "a second head");
                self.status = Some(head.status_code().as_u16());
            }
            Event::Data(data) => {
                assert!(!data.is_empty(), "data without bytes");
                self.body.extend_from_slice(data);
            }
            Event::End(trailers) => {
                self.ends += 1;
                self.trailers = trailers;
            }
        }
    }
}

fn run(method: &str, parts: &[&[u8]], eof: bool) -> String {
    let mut fetch = started(method);
    let mut outcome = Outcome::default();
    let mut result = Ok(());
    for part in parts {
        result = result.and_then(|()| outcome.feed(&mut fetch, part));
    }
    if eof {
        result = result.and_then(|()| fetch.receive_end().map(|event| outcome.take(event)));
    }
    let mut text = match outcome.status {
        Some(status) => format!("{status} {}", String::from_utf8_lossy(&outcome.body)),
        None => String::from("-"),
    };
    for (name, value) in outcome.trailers.iter().flat_map(Headers::iter) {
        text += &format!(" [{name}={}]", String::from_utf8_lossy(value));
    }
    match result {
        Err(error) => text + " error: " + &error.to_string(),
        Ok(()) if !fetch.is_received() => {
            assert_eq!(outcome.ends, 0);
            text + " more"
        }
        Ok(()) => {
            assert_eq!(outcome.ends, 1);
            match fetch.settle() {
                Ok(()) => text + " idle",
                Err(reason) => text + &format!(" {reason:?}"),
            }
        }
    }
}

#[track_caller]
fn check(method: &str, input: &str, eof: bool, expected: &str) {
    let bytes = input.as_bytes();
    let matches = |found: String, how: &str| {
        assert!(
            found.starts_with(expected),
            "{how}: {input:?}\n expected {expected:?}\n    found {found:?}"
        );
    };
    matches(run(method, &[bytes], eof), "whole");
    let each: Vec<&[u8]> = bytes.chunks(1).collect();
    matches(run(method, &each, eof), "byte by byte");
    for at in 0..=bytes.len() {
        let (first, second) = bytes.split_at(at);
        matches(
            run(method, &[first, second], eof),
            &format!("split at {at}"),
        );
    }
}

/// A method, the response, whether the peer closes behind it, what is expected.
type ResponseCase = (&'static str, &'static str, bool, &'static str);

const RESPONSES: &[ResponseCase] = &[
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        false,
        "200 hello idle",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        false,
        "200  idle",
    ),
    (
        "GET",
        "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na",
        false,
        "200 a idle",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        false,
        "200 hel more",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        false,
        "200 hello PeerAsked",
    ),
    // Bodies that end with the connection.
    (
        "GET",
        "HTTP/1.1 200 OK\r\n\r\nhello",
        true,
        "200 hello UntilClose",
    ),
    ("GET", "HTTP/1.1 200 OK\r\n\r\n", true, "200  UntilClose"),
    (
        "GET",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        true,
        "200 hello UntilClose",
    ),
    (
        "GET",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
        false,
        "200 ab Http10",
    ),
    (
        "GET",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nab",
        false,
        "200 ab idle",
    ),
    // No body, whatever the fields say.
    (
        "HEAD",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        false,
        "200  idle",
    ),
    (
        "HEAD",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        false,
        "200  idle",
    ),
    ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", false, "200  idle"),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n", false, "204  idle"),
    (
        "GET",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        false,
        "304  idle",
    ),
    // Chunks and trailers.
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
        false,
        "200 hello idle",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
        false,
        "200 a [X-Sum=1] idle",
    ),
    // Informational ones.
    (
        "GET",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        false,
        "200 a idle",
    ),
    (
        "GET",
        "HTTP/1.1 100 Continue\r\n\r\n",
        true,
        "- error: the connection ended within",
    ),
    (
        "GET",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        false,
        "- error: the server switched protocols (101), which was not asked for",
    ),
    // Bytes behind the response.
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc",
        false,
        "200 a UnexpectedBytes",
    ),
    (
        "HEAD",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        false,
        "200  UnexpectedBytes",
    ),
    (
        "GET",
        "HTTP/1.1 304 Not Modified\r\n\r\nab",
        false,
        "304  UnexpectedBytes",
    ),
    // Cut off.
    (
        "GET",
        "",
        true,
        "- error: the connection ended without a response",
    ),
    (
        "GET",
        "HTTP/1.1 2",
        true,
        "- error: the connection ended within the response head",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        true,
        "200 hel error: the connection ended 2 bytes before",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        true,
        "200 hel error: the connection ended within the response body",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        true,
        "200 a PeerClosed",
    ),
    // Malformed.
    (
        "GET",
        "HTTP/1.1 200 OK\nContent-Length: 1\n\na",
        false,
        "- error: the response head",
    ),
    (
        "GET",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        false,
        "- error: the response head",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        false,
        "- error: the response head",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        false,
        "- error: the response head",
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        false,
        "200  error: the response body",
    ),
];

#[test]
fn responses() {
    for (method, input, eof, expected) in RESPONSES {
        check(method, input, *eof, expected);
    }
}

/// RFC 9112 §5.2: a user agent reads a folded line, with a SP for the fold.
#[test]
fn folded_fields_of_responses() {
    for (fields, expected) in [
        ("X: a\r\n b\r\n", "a b"),
        ("X: a\r\n\tb\r\n", "a b"),
        ("X: a \t\r\n \t  b \t\r\n", "a b"),
        ("X:\r\n b\r\n", "b"),
        ("X: a\r\n \r\n", "a"),
        ("X: a\r\n \r\n\t\r\n b\r\n c\r\n", "a b c"),
        ("X: a\r\n Content-Length: 9\r\n", "a Content-Length: 9"),
        ("A: b\r\nX: a\r\n b\r\nY: c\r\n", "a b"),
        (
            "Set-Cookie: a\r\n =b\r\nX: \u{e4}\r\n \u{f6}\r\n",
            "\u{e4} \u{f6}",
        ),
    ] {
        for version in ["1.1", "1.0", "1.3"] {
            let input = format!("HTTP/{version} 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok");
            for size in 1..=input.len() {
                let mut fetch = started("GET");
                let mut found = None;
                for mut piece in input.as_bytes().chunks(size) {
                    while let (used, event) = fetch.receive(piece).unwrap()
                        && !matches!(event, Event::Partial)
                    {
                        piece = &piece[used..];
                        if let Event::Head(head, _) = event {
                            found = head.headers().get("x").map(str::to_owned);
                        }
                    }
                }
                assert!(fetch.is_received(), "{input:?}");
                assert_eq!(found.as_deref(), Some(expected), "{input:?} by {size}");
            }
        }
    }
    // Trailers are fields, too.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
    for (section, expected) in [
        ("X: a\r\n\tb\r\n\r\n", "200 ok [X=a b] idle"),
        (
            "X: a\r\n b\r\n c\r\nY: d\r\n\r\n",
            "200 ok [X=a b c] [Y=d] idle",
        ),
        (" X: a\r\n\r\n", "200 ok error"),
        ("Content-Length:\r\n 1\r\n\r\n", "200 ok error"),
    ] {
        check("GET", &format!("{chunked}{section}"), false, expected);
    }
}

/// What two readers would read differently stays an error, folded or not.
#[test]
fn folds_that_are_not_read() {
    for fields in [
        " X: a\r\n",
        "\tX: a\r\n",
        " \r\nX: a\r\n",
        "Content-Length: 1\r\n 0\r\n",
        "Content-Length:\r\n 1\r\n",
        "content-length: 1\r\n \r\n",
        "Transfer-Encoding:\r\n\tchunked\r\n",
        "Transfer-Encoding: gzip,\r\n chunked\r\n",
        "Connection: keep-alive,\r\n close\r\n",
        "Upgrade: a\r\n b\r\n",
        "LOCATION: /a\r\n b\r\n",
        "Location:\r\n /a\r\n",
        "X\r\n : a\r\n",
        "X :\r\n a\r\n",
        "X: a\r\n b\0\r\n",
        "X: a\r\n b\rc\r\n",
        "X: a\n b\r\n",
        "X: a\r\n\x0bb\r\n",
    ] {
        let input = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        check("GET", &input, false, "- error: the response head");
    }
    // Each line counts, and each byte.
    let limits = HeadLimits {
        bytes: 100,
        fields: 4,
        ..HeadLimits::RESPONSE
    };
    for (fields, is_read) in [
        ("X: a\r\n b\r\n c\r\n d\r\n".to_owned(), true),
        ("X: a\r\n b\r\n c\r\n d\r\n e\r\n".to_owned(), false),
        (format!("X: a\r\n {}\r\n", "b".repeat(60)), true),
        (format!("X: a\r\n {}\r\n", " ".repeat(90)), false),
    ] {
        let input = format!("HTTP/1.1 204 No\r\n{fields}\r\n");
        for size in [1, 7, input.len()] {
            let mut fetch = ClientMachine::new(limits);
            let request = request("GET");
            let started = fetch.start(&request, Some(0), true, &mut Vec::new());
            started.unwrap();
            let mut pieces = input.as_bytes().chunks(size);
            let read = pieces.try_for_each(|piece| fetch.receive(piece).map(drop));
            assert_eq!(read.is_ok(), is_read, "{input:?}");
        }
    }
}

#[test]
fn blanks_behind_a_chunk_size() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, expected) in [
        ("5  \r\nhello\r\n0 \t \r\n\r\n", "200 hello idle"),
        ("5 \t;a=b \r\nhello\r\n0\r\n\r\n", "200 hello idle"),
        ("5 x\r\nhello\r\n0\r\n\r\n", "200  error: the response body"),
        ("5 5\r\nhello\r\n0\r\n\r\n", "200  error: the response body"),
        (" 5\r\nhello\r\n0\r\n\r\n", "200  error: the response body"),
        ("5 \nhello\r\n0\r\n\r\n", "200  error: the response body"),
        (
            "5 \r\r\nhello\r\n0\r\n\r\n",
            "200  error: the response body",
        ),
    ] {
        check("GET", &format!("{head}{body}"), false, expected);
    }
    let long = format!("{head}5{}\r\n", " ".repeat(CHUNK_LINE_BYTES_MAX + 1));
    assert!(run("GET", &[long.as_bytes()], false).contains("longer than the limit"));
}

#[test]
fn informational_responses_are_bounded() {
    let one = "HTTP/1.1 102 Processing\r\n\r\n";
    let last = "HTTP/1.1 204 No Content\r\n\r\n";
    let most = one.repeat(INFORMATIONAL_COUNT_MAX) + last;
    assert_eq!(run("GET", &[most.as_bytes()], false), "204  idle");
    let more = one.repeat(INFORMATIONAL_COUNT_MAX + 1) + last;
    assert!(run("GET", &[more.as_bytes()], false).contains("informational"));
}

#[test]
fn a_head_without_end_meets_the_limit() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(400 * 1024));
    assert!(run("GET", &[endless.as_bytes()], false).contains("error"));
    let parts: Vec<&[u8]> = endless.as_bytes().chunks(4096).collect();
    assert!(run("GET", &parts, false).contains("error"));
}

#[test]
fn a_connection_serves_again() {
    let mut fetch = fetch();
    for _ in 0..3 {
        fetch
            .start(&request("GET"), Some(0), true, &mut Vec::new())
            .unwrap();
        assert!(fetch.is_unanswered());
        let mut outcome = Outcome::default();
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        outcome.feed(&mut fetch, input).unwrap();
        assert!(!fetch.is_unanswered());
        assert_eq!(outcome.body, b"ab");
        assert!(fetch.settle().is_ok());
    }
    assert!(matches!(fetch.receive(b"x"), Err(FetchError::Unsolicited)));
}

#[test]
fn a_response_may_come_early() {
    let mut fetch = fetch();
    let mut out = Vec::new();
    fetch
        .start(&request("POST"), Some(10), true, &mut out)
        .unwrap();
    fetch.begin_chunk(4, &mut out).unwrap();
    assert!(!fetch.is_sent());
    let mut outcome = Outcome::default();
    let input = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
    outcome.feed(&mut fetch, input).unwrap();
    assert_eq!(outcome.status, Some(413));
    assert_eq!(fetch.settle(), Err(CloseReason::EarlyResponse));
}

/// A method, fields, the body's length, what is expected of the head.
type HeadCase<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<u64>, &'a str);

#[test]
fn request_heads() {
    let ours = [
        ("Content-Length", "7"),
        ("Transfer-Encoding", "x"),
        ("X", "y"),
    ];
    let hosted = [("x", "y"), ("host", "other:8")];
    let close = [("Connection", "close")];
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "x")];
    let cases: [HeadCase; 11] = [
        ("GET", &[], Some(0), "Host: h.example\r\n"),
        (
            "POST",
            &[],
            Some(0),
            "Host: h.example\r\nContent-Length: 0\r\n",
        ),
        (
            "PUT",
            &[],
            Some(0),
            "Host: h.example\r\nContent-Length: 0\r\n",
        ),
        ("DELETE", &[], Some(0), "Host: h.example\r\n"),
        (
            "GET",
            &[],
            Some(3),
            "Host: h.example\r\nContent-Length: 3\r\n",
        ),
        (
            "PUT",
            &[],
            None,
            "Host: h.example\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "POST",
            &ours,
            Some(9),
            "Host: h.example\r\nX: y\r\nContent-Length: 9\r\n",
        ),
        ("GET", &hosted, Some(0), "Host: other:8\r\nx: y\r\n"),
        ("BREW", &[], Some(0), "Host: h.example\r\n"),
        (
            "GET",
            &close,
            Some(0),
            "Host: h.example\r\nConnection: close\r\n",
        ),
        (
            "GET",
            &upgrade,
            Some(0),
            "Host: h.example\r\nUpgrade: x\r\nConnection: upgrade\r\n",
        ),
    ];
    for (method, fields, length, expected) in cases {
        let mut request = request(method);
        for (name, value) in fields {
            request.headers_mut().append(name, value).unwrap();
        }
        let mut out = Vec::new();
        fetch().start(&request, length, true, &mut out).unwrap();
        let expected = format!("{method} /a?b=c HTTP/1.1\r\n{expected}\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn the_last_request_says_so() {
    let mut fetch = fetch();
    let mut out = Vec::new();
    fetch
        .start(&request("GET"), Some(0), false, &mut out)
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("Connection: close\r\n\r\n"), "{text}");
    let mut outcome = Outcome::default();
    outcome
        .feed(&mut fetch, b"HTTP/1.1 204 No Content\r\n\r\n")
        .unwrap();
    assert_eq!(fetch.settle(), Err(CloseReason::WeAsked));
}

#[test]
fn what_cannot_be_sent_writes_nothing() {
    let no_host = Request::for_target("GET", "/").unwrap();
    let blank_host = request("GET").with_header("Host", "a b").unwrap();
    let connect = |target: &str| {
        let mut request = request("CONNECT");
        request.set_target(target).unwrap();
        request
    };
    let mut two_hosts = request("GET").with_header("Host", "a").unwrap();
    two_hosts.headers_mut().append("host", "b").unwrap();
    let cases = [
        (no_host, Some(0), SendError::Host),
        (blank_host, Some(0), SendError::Host),
        (two_hosts, Some(0), SendError::Host),
        (request("TRACE"), None, SendError::BodyNotAllowed),
        (connect("a:1"), Some(1), SendError::BodyNotAllowed),
        (request("CONNECT"), Some(0), SendError::TunnelTarget),
        (connect("/a"), Some(0), SendError::TunnelTarget),
        (connect("a:1/"), Some(0), SendError::TunnelTarget),
        (connect("a:1/b"), Some(0), SendError::TunnelTarget),
        (connect("a:1?b"), Some(0), SendError::TunnelTarget),
        (connect("http://a:1/"), Some(0), SendError::TunnelTarget),
        (connect("a"), Some(0), SendError::TunnelTarget),
        (connect("a:"), Some(0), SendError::TunnelTarget),
        (connect("a:65536"), Some(0), SendError::TunnelTarget),
        (connect("u@a:1"), Some(0), SendError::TunnelTarget),
    ];
    for (request, length, expected) in cases {
        let mut out = Vec::new();
        assert_eq!(
            fetch().start(&request, length, true, &mut out),
            Err(expected)
        );
        assert!(out.is_empty());
    }
}

#[test]
fn bodies_have_the_length_that_they_said() {
    let mut out = Vec::new();
    let mut fetch = fetch();
    fetch
        .start(&request("PUT"), Some(4), true, &mut out)
        .unwrap();
    out.clear();
    fetch.begin_chunk(3, &mut out).unwrap();
    fetch.end_chunk(&mut out);
    assert!(out.is_empty(), "a body of known length is not coded");
    assert_eq!(fetch.begin_chunk(2, &mut out), Err(SendError::BodyTooLong));
    let short = fetch.finish_body(None, &mut out);
    assert_eq!(short, Err(SendError::BodyTooShort { missing_bytes: 1 }));
}

#[test]
fn chunks_are_coded() {
    let mut out = Vec::new();
    let mut fetch = fetch();
    fetch.start(&request("PUT"), None, true, &mut out).unwrap();
    out.clear();
    fetch.begin_chunk(17, &mut out).unwrap();
    out.extend_from_slice(&[b'x'; 17]);
    fetch.end_chunk(&mut out);
    assert!(!fetch.is_sent());
    fetch.finish_body(None, &mut out).unwrap();
    assert!(fetch.is_sent());
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, "11\r\nxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
}

#[test]
fn trailers_come_behind_chunks() {
    let mut out = Vec::new();
    let mut fetch = fetch();
    let mut request = request("GET");
    request.add_trailer("X-Sum", "7").unwrap();
    fetch.start(&request, Some(0), true, &mut out).unwrap();
    assert!(!fetch.is_sent());
    fetch.finish_body(request.trailers(), &mut out).unwrap();
    assert!(fetch.is_sent());
    let text = String::from_utf8(out).unwrap();
    let end = "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 7\r\n\r\n";
    assert!(text.ends_with(end), "{text}");
    request.set_method(Method::TRACE);
    let mut other = ClientMachine::new(HeadLimits::RESPONSE);
    let error = other.start(&request, Some(0), true, &mut Vec::new());
    assert_eq!(error, Err(SendError::BodyNotAllowed));
}
