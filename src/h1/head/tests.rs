//! Wire cases: each is fed whole, byte by byte, and in two at every point.

use ::http::Version;
use proptest::prelude::ProptestConfig;
use proptest::prelude::any;
use proptest::prop_assert_eq;
use proptest::proptest;

use crate::h1::framing::Framing;
use crate::h1::framing::request_framing;
use crate::h1::head::Expect;
use crate::h1::head::RequestHead;
use crate::h1::head::parse_request;
use crate::h1::head::parse_response;
use crate::h1::head::parse_whole_request;
use crate::h1::head::parse_whole_response;
use crate::http::head::HeadError;
use crate::http::head::HeadLimits;
use crate::http::head::Scan;
use crate::http::head::Scanner;
use crate::http::head::TOO_MANY_BYTES;
use crate::limits::HEAD_BYTES_SETTABLE_MAX;
use crate::limits::HEADER_COUNT_MAX;
use crate::limits::METHOD_BYTES_MAX;

/// What a connection does with its first bytes: scan, then parse, then frame. `None`: it waits.
fn feed(pieces: &[&[u8]]) -> Result<Option<(RequestHead, Framing)>, HeadError> {
    let mut scanner = Scanner::request(HeadLimits::REQUEST);
    let mut head = Vec::new();
    for piece in pieces {
        match scanner.push(piece)? {
            Scan::Partial => head.extend_from_slice(piece),
            Scan::Complete { used } => {
                head.extend_from_slice(&piece[..used]);
                let head = parse_request(&head, &HeadLimits::REQUEST)?;
                let framing = request_framing(&head)?;
                return Ok(Some((head, framing)));
            }
        }
    }
    Ok(None)
}

/// What parses a whole head at once accepts what scanner and parser do, but what is unusual, and
/// nothing else.
fn check_whole(input: &[u8], limits: &HeadLimits) {
    let scanned = match Scanner::request(*limits).push(input) {
        Ok(Scan::Complete { used }) => parse_request(&input[..used], limits)
            .ok()
            .map(|head| (used, format!("{head:?}"))),
        _ => None,
    };
    match parse_whole_request(input, limits) {
        Some((used, head)) => {
            assert_eq!(scanned, Some((used, format!("{head:?}"))), "{input:?}");
        }
        None => {
            let line = String::from_utf8_lossy(input);
            let line = line.lines().next().unwrap_or_default();
            let method_len = line.find(' ').unwrap_or(0);
            let is_usual = line.ends_with("HTTP/1.1") || line.ends_with("HTTP/1.0");
            assert!(
                scanned.is_none() || !is_usual || method_len >= METHOD_BYTES_MAX,
                "{input:?}"
            );
        }
    }
}

/// As [`check_whole`], for responses.
fn check_whole_response(input: &[u8], limits: &HeadLimits) {
    let scanned = match Scanner::response(*limits).push(input) {
        Ok(Scan::Complete { used }) => parse_response(&input[..used], limits)
            .ok()
            .map(|head| (used, format!("{head:?}"))),
        _ => None,
    };
    match parse_whole_response(input, limits) {
        Some((used, head)) => {
            assert_eq!(scanned, Some((used, format!("{head:?}"))), "{input:?}");
        }
        None => {
            let is_folded = input
                .windows(3)
                .any(|end| matches!(end, b"\r\n " | b"\r\n\t"));
            let is_usual = input.starts_with(b"HTTP/1.1 ") || input.starts_with(b"HTTP/1.0 ");
            let is_usual = is_usual && !is_folded;
            assert!(scanned.is_none() || !is_usual, "{input:?}");
        }
    }
}

/// The answer to `input`: 200 and what was understood, the status of the error, or `None` while
/// the head is not complete. The same for every split.
fn check(input: &[u8]) -> Option<(u16, String)> {
    let answer = |pieces: &[&[u8]]| match feed(pieces) {
        Ok(None) => None,
        Ok(Some((head, framing))) => Some((200, format!("{:?} {framing:?}", head.request()))),
        Err(error) => Some((error.status.as_u16(), error.rule.to_owned())),
    };
    check_whole(input, &HeadLimits::REQUEST);
    let whole = answer(&[input]);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(answer(&bytes), whole, "byte by byte: {input:?}");
    for at in 0..=input.len() {
        let (head, tail) = input.split_at(at);
        assert_eq!(answer(&[head, tail]), whole, "split at {at}: {input:?}");
    }
    whole
}

fn status(input: impl AsRef<[u8]>) -> u16 {
    check(input.as_ref()).map_or(0, |(status, _)| status)
}

fn parsed(input: &str) -> RequestHead {
    assert_eq!(status(input), 200, "{input:?}");
    feed(&[input.as_bytes()]).unwrap().unwrap().0
}

#[test]
fn request_lines() {
    for (line, expected) in [
        ("GET / HTTP/1.1", 200),
        ("get / HTTP/1.1", 200),
        ("FOOBAR / HTTP/1.1", 200),
        ("M!#$%&'*+-.^_`|~ / HTTP/1.1", 200),
        ("GET /a|b{c}\"<>\\^` HTTP/1.1", 200),
        ("GET /%00 HTTP/1.1", 200),
        ("GET /a%4 HTTP/1.1", 400),
        ("GET /%zz HTTP/1.1", 400),
        ("GET /% HTTP/1.1", 400),
        ("GET http://h/%?q HTTP/1.1", 400),
        ("GET /?q=50% HTTP/1.1", 200),
        ("GET http://h/ HTTP/1.1", 200),
        ("GET HTTP://h:1?q HTTP/1.1", 200),
        ("GET HTTPS://h:1?q HTTP/1.1", 421),
        ("OPTIONS * HTTP/1.1", 200),
        ("CONNECT h:443 HTTP/1.1", 200),
        ("CONNECT [::1]:443 HTTP/1.1", 200),
        ("GET / HTTP/1.0", 200),
        ("GET / HTTP/1.2", 200),
        ("GET / HTTP/1.9", 200),
        ("G@T / HTTP/1.1", 400),
        (" / HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        (" GET / HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /", 400),
        ("GET", 400),
        ("GET  HTTP/1.1", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTP/11", 400),
        ("GET / HTTP/a.b", 400),
        ("GET / HTTP /1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /#fragment HTTP/1.1", 400),
        ("GET /\u{e4} HTTP/1.1", 400),
        ("GET /\x7f HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("OPTIONS ** HTTP/1.1", 400),
        ("GET h:443 HTTP/1.1", 400),
        ("GET ftp://h/ HTTP/1.1", 400),
        ("GET http:/h/ HTTP/1.1", 400),
        ("GET http:///a HTTP/1.1", 400),
        ("GET http://u@h/ HTTP/1.1", 400),
        ("CONNECT / HTTP/1.1", 400),
        ("CONNECT * HTTP/1.1", 400),
        ("CONNECT h HTTP/1.1", 400),
        ("CONNECT h: HTTP/1.1", 400),
        ("CONNECT :1 HTTP/1.1", 400),
        ("CONNECT ::1 HTTP/1.1", 400),
        ("CONNECT ::1:443 HTTP/1.1", 400),
        ("GET http://::1/ HTTP/1.1", 400),
        ("GET http://[::1]/ HTTP/1.1", 200),
        ("CONNECT http://h/ HTTP/1.1", 400),
        ("GET / HTTP/0.9", 505),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/3.0", 505),
        ("PRI * HTTP/2.0", 505),
    ] {
        let head = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(status(&head), expected, "{line:?}");
    }
}

#[test]
fn fields() {
    for (fields, expected) in [
        (&b"X: y\r\n"[..], 200),
        (b"X:y\r\n", 200),
        (b"X:\t y \t\r\n", 200),
        (b"X:\r\n", 200),
        (b"X: a\tb c\r\n", 200),
        (b"X: \xff\r\n", 200),
        (b"!#$%&'*+-.^_`|~: y\r\n", 200),
        (b"X : y\r\n", 400),
        (b"X\t: y\r\n", 400),
        (b"A space: y\r\n", 400),
        (b"foo\xffbar: y\r\n", 400),
        (b"foo\0bar: y\r\n", 400),
        (b": y\r\n", 400),
        (b"X\r\n", 400),
        (b"X(y): z\r\n", 400),
        (b" X: y\r\n", 400),
        (b"\tX: y\r\n", 400),
        (b"X: y\r\n z\r\n", 400),
        (b"X: y\r\n\tz: a\r\n", 400),
        (b"X:\r\n y\r\n", 400),
        (b"X: a\0b\r\n", 400),
        (b"X: a\x7fb\r\n", 400),
        (b"X: a\x0bb\r\n", 400),
        (b"X: y\nZ: a\r\n", 400),
        (b"X: y\rZ: a\r\n", 400),
        (b"X: y\r\r\n", 400),
    ] {
        for (before, after) in [("Host: a\r\n", ""), ("", "Host: a\r\n")] {
            let mut head = format!("GET / HTTP/1.1\r\n{before}").into_bytes();
            head.extend_from_slice(fields);
            head.extend_from_slice(after.as_bytes());
            head.extend_from_slice(b"\r\n");
            assert_eq!(status(&head), expected, "{:?}", fields.escape_ascii());
        }
    }
}

#[test]
fn exactly_one_valid_host() {
    for (version, fields, expected) in [
        ("1.1", "Host: a\r\n", 200),
        ("1.1", "Host:\r\n", 200),
        ("1.1", "hOST: [::1%25en0]:80\r\n", 200),
        ("1.1", "", 400),
        ("1.1", "Hosts: a\r\n", 400),
        ("1.1", "Host: a\r\nHost: a\r\n", 400),
        ("1.1", "Host: a\r\nhost: b\r\n", 400),
        ("1.1", "Host: a, b\r\n", 400),
        ("1.1", "Host: {\r\n", 400),
        ("1.1", "Host: a/b\r\n", 400),
        ("1.1", "Host: u@a\r\n", 400),
        ("1.0", "", 200),
        ("1.0", "Host: a\r\n", 200),
        ("1.0", "Host: a\r\nHost: b\r\n", 400),
        ("1.0", "Host: {\r\n", 400),
    ] {
        let head = format!("GET / HTTP/{version}\r\n{fields}\r\n");
        assert_eq!(status(&head), expected, "{version} {fields:?}");
    }
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: \x06\r\n\r\n"), 400);
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"), 400);
}

/// Vectors that made front and back ends disagree on where a request ends.
#[test]
fn smuggling() {
    for (fields, expected) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: +5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 5, 6\r\n", 400),
        ("Content-Length: 5 6\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5_0\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("Content-Length\r\n", 400),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
            400,
        ),
        (
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
            501,
        ),
        ("Transfer-Encoding: x, chunked\r\n", 501),
        ("Transfer-Encoding:\x0bchunked\r\n", 400),
        ("Transfer-Encoding: \0chunked\r\n", 400),
        ("X: y\rTransfer-Encoding: chunked\r\n", 400),
        ("X: y\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding:\r\n chunked\r\n", 400),
        ("Transfer-Encoding: chunked, \r\n", 400),
        ("Transfer-Encoding:\tchunked\r\n", 200),
        ("Transfer-Encoding: chunked\t\r\n", 200),
        ("Content-Length: 005\r\n", 200),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(status(&head), expected, "{fields:?}");
    }
}

#[test]
fn limits_have_their_statuses() {
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 1));
    let whole = |text: &str| match feed(&[text.as_bytes()]) {
        Ok(Some(_)) => 200,
        Ok(None) => 0,
        Err(error) => error.status.as_u16(),
    };
    assert_eq!(whole(&target(HeadLimits::REQUEST.target_bytes)), 200);
    assert_eq!(whole(&target(HeadLimits::REQUEST.target_bytes + 1)), 414);
    assert_eq!(whole(&target(HeadLimits::REQUEST.target_bytes * 2)), 414);
    let fields = |count: usize| {
        let more = "x: y\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n")
    };
    assert_eq!(whole(&fields(HeadLimits::REQUEST.fields)), 200);
    assert_eq!(whole(&fields(HeadLimits::REQUEST.fields + 1)), 431);
    let value = |len: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n",
            "y".repeat(len)
        )
    };
    let options = |fields: usize, count: usize| {
        let field = format!("Connection: {}x\r\n", "x,".repeat(count - 1));
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", field.repeat(fields))
    };
    // Each option may name a field: more than there can be fields cost time for nothing.
    assert_eq!(whole(&options(1, HEADER_COUNT_MAX)), 200);
    assert_eq!(whole(&options(1, HEADER_COUNT_MAX + 1)), 431);
    assert_eq!(whole(&options(2, HEADER_COUNT_MAX / 2 + 1)), 431);
    assert_eq!(whole(&value(60_000)), 200);
    assert_eq!(whole(&value(HeadLimits::REQUEST.bytes)), 431);
    // Too long a head is refused before its end is seen.
    assert_eq!(whole(value(70_000).trim_end()), 431);
}

#[test]
fn what_a_head_says() {
    let head = parsed(
        "\r\nPOST http://h/a?b HTTP/1.1\r\nHost: other\r\nExpect: 100-Continue\r\n\
         Content-Length: 7\r\nX:  padded\t \r\nempty:\r\nConnection: upgrade, x\r\nUpgrade: ws\r\n\r\n",
    );
    assert_eq!(request_framing(&head), Ok(Framing::Length(7)));
    assert_eq!(head.expect(), Expect::Continue);
    assert!(head.wants_upgrade());
    assert!(head.is_keep_alive());
    let request = head.into_request();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.target(), "http://h/a?b");
    assert_eq!((request.path(), request.query()), ("/a", Some("b")));
    assert_eq!(request.host(), Some("h"));
    assert_eq!(request.header("x"), Some("padded"));
    assert_eq!(request.header("EMPTY"), Some(""));
    let names: Vec<&str> = request.headers().iter().map(|(name, _)| name).collect();
    assert_eq!(names[..3], ["Host", "Expect", "Content-Length"]);
    assert_eq!(names.len(), 7);
}

#[test]
fn expectations() {
    let expect = |version: &str, value: &str| {
        let text = format!("GET / {version}\r\nHost: a\r\nExpect: {value}\r\n\r\n");
        parsed(&text).expect()
    };
    assert_eq!(expect("HTTP/1.1", "100-continue"), Expect::Continue);
    assert_eq!(expect("HTTP/1.1", "a-pony"), Expect::Unknown);
    assert_eq!(expect("HTTP/1.0", "a-pony"), Expect::Nothing);
}

#[test]
fn fields_of_a_parsed_request_can_be_changed() {
    let head = parsed("GET / HTTP/1.1\r\nHost: a\r\nX:   y\r\nx: z\r\n\r\n");
    let mut request = head.into_request();
    request.headers_mut().insert("X", "new").unwrap();
    request.headers_mut().append("last", "1").unwrap();
    let fields: Vec<_> = request.headers().iter().collect();
    let expected = [("Host", &b"a"[..]), ("X", b"new"), ("last", b"1")];
    assert_eq!(fields, expected);
}

#[test]
fn responses() {
    let parse = |text: &str| parse_response(text.as_bytes(), &HeadLimits::RESPONSE);
    for (line, expected) in [
        ("HTTP/1.1 200 OK", Some(200)),
        ("HTTP/1.1 200 ", Some(200)),
        ("HTTP/1.1 200", Some(200)),
        ("HTTP/1.0 404 Not Found", Some(404)),
        ("HTTP/1.3 999 Odd", Some(999)),
        ("HTTP/1.1 200 caf\u{e9}", Some(200)),
        ("HTTP/2.0 200 OK", None),
        ("HTTP/1.1 99 OK", None),
        ("HTTP/1.1 099 OK", None),
        ("HTTP/1.1 2000 OK", None),
        ("HTTP/1.1 +20 OK", None),
        ("HTTP/1.1  200 OK", None),
        ("HTTP/1.1200 OK", None),
        ("HTTP/1.1 200 a\0b", None),
        ("ICY 200 OK", None),
        ("\r\nHTTP/1.1 200 OK", None),
    ] {
        let text = format!("{line}\r\nA: b\r\n\r\n");
        check_whole_response(text.as_bytes(), &HeadLimits::RESPONSE);
        let head = parse(&text);
        let status = head.as_ref().ok().map(|head| head.status().as_u16());
        assert_eq!(status, expected, "{line:?}");
        if let Ok(head) = head {
            assert_eq!(head.headers().get("a"), Some("b"));
        }
    }
    for fields in ["A: b\n", "A : b\r\n", " A: b\r\n", "A\r\n", "A: \0\r\n"] {
        assert!(
            parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).is_err(),
            "{fields:?}"
        );
        assert!(
            parse(&format!("HTTP/1.1 200 OK\n{fields}\r\n")).is_err(),
            "{fields:?}"
        );
    }
    assert_eq!(
        parse("HTTP/1.0 200 OK\r\n\r\n").unwrap().version(),
        Version::HTTP_10
    );
}

#[test]
fn parsing_alone_is_as_strict_as_scanning() {
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nX:\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nX",
        "",
        "\r\n",
    ] {
        let parsed = parse_request(text.as_bytes(), &HeadLimits::REQUEST);
        assert!(parsed.is_err(), "{text:?}");
    }
    // What looks folded, and is none.
    for text in [
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n c\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n c",
        "HTTP/1.1 200 OK\r\nA: b\r\n \nC: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n \rc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\nX",
        "\r\n HTTP/1.1 200 OK\r\n\r\n",
        "\r\n \r\n",
    ] {
        let parsed = parse_response(text.as_bytes(), &HeadLimits::RESPONSE);
        assert!(parsed.is_err(), "{text:?}");
    }
}

/// More fields than have a place on the stack.
#[test]
fn responses_may_have_many_fields() {
    let head = |count: usize| {
        let fields: String = (0..count).map(|at| format!("A{at}: {at}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
    };
    for limit in [0, 1, 127, 128, 129, 1_000] {
        let limits = HeadLimits {
            fields: limit,
            ..HeadLimits::RESPONSE
        };
        for count in [0, 1, 2, 127, 128, 129, 130, 999, 1_000, 1_001] {
            let head = head(count);
            check_whole_response(head.as_bytes(), &limits);
            let scanned = Scanner::response(limits).push(head.as_bytes());
            let parsed = parse_response(head.as_bytes(), &limits);
            assert_eq!(scanned.is_ok(), count <= limit, "{count} of {limit}");
            assert_eq!(parsed.is_ok(), count <= limit, "{count} of {limit}");
            if let Some(last) = count.checked_sub(1).filter(|_| count <= limit) {
                let parsed = parsed.unwrap();
                let value = parsed.headers().get(format!("a{last}"));
                assert_eq!(value, Some(last.to_string().as_str()));
            } else if count > limit {
                assert!(parsed.unwrap_err().is_limit());
            }
        }
    }
    // A request has its own bound, whatever is set.
    let limits = HeadLimits {
        fields: 1_000,
        ..HeadLimits::REQUEST
    };
    let many = head(HEADER_COUNT_MAX).replace("HTTP/1.1 200 OK", "GET / HTTP/1.1\r\nHost: a");
    assert!(
        parse_request(many.as_bytes(), &limits)
            .unwrap_err()
            .is_limit()
    );
    assert!(Scanner::request(limits).push(many.as_bytes()).is_err());
}

const USUAL: &[u8] =
    b"GET /a?b HTTP/1.1\r\nHost: a:80\r\nX: \t y \r\nContent-Length: 3\r\n\r\nabcGET /";

const USUAL_RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: x\r\nX: \t y \r\nContent-Length: 3\r\n\r\nabcHTTP/";

/// One byte of the input replaced, removed, put in; two of those that end lines and names.
fn check_changed(usual: &[u8], check: impl Fn(&[u8])) {
    check(usual);
    for at in 0..usual.len() {
        check(&usual[..at]);
        check(&[&usual[..at], &usual[at + 1..]].concat());
        for byte in 0..=255 {
            let mut changed = usual.to_vec();
            changed[at] = byte;
            check(&changed);
            check(&[&usual[..at], &[byte], &usual[at..]].concat());
        }
        for first in *b"\r\n\t :a\0" {
            for second in *b"\r\n\t :a\0" {
                check(&[&usual[..at], &[first, second], &usual[at..]].concat());
                let end = (at + 2).min(usual.len());
                check(&[&usual[..at], &[first, second], &usual[end..]].concat());
            }
        }
    }
}

#[test]
fn a_whole_head_is_what_the_scanner_finds() {
    assert!(parse_whole_request(USUAL, &HeadLimits::REQUEST).is_some());
    check_changed(USUAL, |input| check_whole(input, &HeadLimits::REQUEST));
    assert!(parse_whole_response(USUAL_RESPONSE, &HeadLimits::RESPONSE).is_some());
    check_changed(USUAL_RESPONSE, |input| {
        check_whole_response(input, &HeadLimits::RESPONSE);
    });
}

#[test]
fn a_whole_response_head_keeps_within_the_limits() {
    for bytes in 0..=USUAL_RESPONSE.len() {
        for fields in 0..5 {
            let limits = HeadLimits {
                bytes,
                fields,
                ..HeadLimits::RESPONSE
            };
            check_whole_response(USUAL_RESPONSE, &limits);
        }
    }
}

#[test]
fn a_whole_head_keeps_within_the_limits() {
    for bytes in 0..=USUAL.len() {
        for fields in 0..5 {
            for target_bytes in 0..6 {
                let limits = HeadLimits {
                    bytes,
                    fields,
                    target_bytes,
                };
                check_whole(USUAL, &limits);
            }
        }
    }
    for method_len in METHOD_BYTES_MAX - 1..METHOD_BYTES_MAX + 20 {
        for target_len in 1..20 {
            let limits = HeadLimits {
                target_bytes: 16,
                ..HeadLimits::REQUEST
            };
            let (method, target) = ("M".repeat(method_len), "/".repeat(target_len));
            let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            check_whole(head.as_bytes(), &limits);
        }
    }
}

/// Pieces from which inputs are made that come close to a head.
const PIECES: [&[u8]; 24] = [
    b"GET / HTTP/1.1",
    b"POST /a?b HTTP/1.0",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"Host: a",
    b"Host: b",
    b"X: y",
    b"Content-Length: 5",
    b"Content-Length: 6",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Expect: 100-continue",
    b"Connection: close",
    b"GET",
    b"HTTP/2.0",
    b"\xff",
    b"x",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However an input is split, the answer is the same; and nothing panics.
    #[test]
    fn any_split_gives_the_same_answer(
        picks in proptest::collection::vec(0..PIECES.len(), 0..24),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let input: Vec<u8> = picks.iter().flat_map(|&pick| PIECES[pick]).copied().collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&input[start..cut]);
            start = cut;
        }
        pieces.push(&input[start..]);
        let show = |answer: Result<Option<(RequestHead, Framing)>, HeadError>| format!("{answer:?}");
        prop_assert_eq!(show(feed(&pieces)), show(feed(&[&input])));
        check_whole(&input, &HeadLimits::REQUEST);
        let response = [b"HTTP/1.1 200 OK", &input[..]].concat();
        check_whole_response(&response, &HeadLimits::RESPONSE);
    }

    /// Bytes of any kind do not panic.
    #[test]
    fn any_bytes_are_answered(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = feed(&[&input]);
        let _ = parse_request(&input, &HeadLimits::REQUEST);
        check_whole(&input, &HeadLimits::REQUEST);
        let _ = parse_response(&input, &HeadLimits::RESPONSE);
        check_whole_response(&input, &HeadLimits::RESPONSE);
    }
}

#[test]
fn no_limit_is_beyond_what_positions_can_tell() {
    let limits = HeadLimits {
        bytes: usize::MAX,
        ..HeadLimits::REQUEST
    };
    let mut scanner = Scanner::request(limits);
    scanner.push(b"GET / HTTP/1.1\r\nA: ").unwrap();
    let piece = vec![b'b'; 1024 * 1024];
    let pieces = HEAD_BYTES_SETTABLE_MAX / piece.len();
    for _ in 1..pieces {
        assert_eq!(scanner.push(&piece), Ok(Scan::Partial));
    }
    assert_eq!(scanner.push(&piece), Err(TOO_MANY_BYTES));

    let head = [
        b"GET / HTTP/1.1\r\nHost: a\r\nA: ",
        &*piece.repeat(pieces),
        b"\r\n\r\n",
    ]
    .concat();
    let error = parse_request(&head, &limits).unwrap_err();
    assert_eq!(error, TOO_MANY_BYTES);
}
