//! The server's exchange, byte by byte.

use ::http::StatusCode;

use crate::h1::server::Circumstances;
use crate::h1::server::Event;
use crate::h1::server::Sends;
use crate::h1::server::ServerMachine;
use crate::http::close_reason::CloseReason;
use crate::http::date::DateCache;
use crate::http::head::HeadLimits;
use crate::http::response::Response;

/// Takes all of the input and names what happened.
fn feed(exchange: &mut ServerMachine, input: &[u8]) -> Vec<String> {
    let mut events = Vec::new();
    let mut at = 0;
    while exchange.takes_bytes() {
        let (used, event) = exchange.receive(&input[at..], &HeadLimits::REQUEST);
        let start = at;
        at += used;
        events.push(match event {
            Event::NeedMore => break,
            Event::Request(request) => request.path().to_owned(),
            Event::Data(range) => {
                let data = &input[start + range.start..start + range.end];
                String::from_utf8(data.to_vec()).unwrap()
            }
            Event::End(trailers) => format!("end {}", trailers.map_or(0, |t| t.len())),
            Event::Refused(refusal) => refusal.status.as_str().to_owned(),
        });
    }
    events
}

fn respond(exchange: &mut ServerMachine, mut response: Response, is_abandoned: bool) -> Sends {
    let circumstances = Circumstances {
        date: &mut DateCache::new(),
        wall_seconds: 0,
        body_is_abandoned: is_abandoned,
        is_shutting_down: false,
    };
    exchange.respond(&mut response, circumstances, &mut Vec::new())
}

#[test]
fn walks_from_idle_to_idle() {
    let mut exchange = ServerMachine::new();
    assert!(exchange.is_idle() && exchange.has_sent_all());
    assert!(feed(&mut exchange, b"POST /a HTTP/1.1\r\nHost").is_empty());
    assert!(exchange.is_in_head());
    let events = feed(&mut exchange, b": a\r\nContent-Length: 3\r\n\r\nab");
    assert_eq!(events, ["/a", "ab"]);
    assert!(exchange.is_in_body() && exchange.awaits_response());
    assert_eq!(exchange.body_length(), Some(1));
    // The response may be through before the body is.
    assert_eq!(
        respond(&mut exchange, Response::new().body("x"), true),
        Sends::Whole
    );
    assert!(exchange.has_sent_all() && exchange.takes_bytes());
    assert_eq!(feed(&mut exchange, b"c"), ["c", "end 0"]);
    assert!(exchange.is_idle());
    assert_eq!(exchange.close_reason(), None);
}

#[test]
fn a_second_request_waits_for_the_first() {
    let mut exchange = ServerMachine::new();
    let head = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(feed(&mut exchange, head), ["/a"]);
    assert!(!exchange.takes_bytes());
    assert_eq!(
        respond(&mut exchange, Response::new(), true),
        Sends::Nothing
    );
    assert_eq!(feed(&mut exchange, head), ["/a"]);
}

#[test]
fn reasons_to_close_are_data() {
    let table = [
        (
            "Connection: close",
            Response::new(),
            Some(CloseReason::PeerAsked),
        ),
        ("A: b", Response::new(), None),
        (
            "A: b",
            Response::new().header("connection", "x, Close"),
            Some(CloseReason::WeAsked),
        ),
        (
            "Content-Length: 262145",
            Response::new(),
            Some(CloseReason::BodyUnread),
        ),
        ("Content-Length: 262144", Response::new(), None),
        (
            "Content-Length: 1\r\nExpect: 100-continue",
            Response::new(),
            Some(CloseReason::ContinueUnsent),
        ),
    ];
    for (field, response, reason) in table {
        let mut exchange = ServerMachine::new();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        feed(&mut exchange, head.as_bytes());
        respond(&mut exchange, response, true);
        assert_eq!(exchange.close_reason(), reason, "{field}");
    }
    let mut exchange = ServerMachine::new();
    feed(&mut exchange, b"GET / HTTP/1.0\r\n\r\n");
    respond(&mut exchange, Response::new(), true);
    assert_eq!(exchange.close_reason(), Some(CloseReason::Http10));
    assert!(exchange.is_closed());
}

#[test]
fn trailers_come_through_and_errors_close() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut exchange = ServerMachine::new();
    let events = feed(
        &mut exchange,
        format!("{head}1\r\na\r\n0\r\nT: 1\r\n\r\n").as_bytes(),
    );
    assert_eq!(events, ["/", "a", "end 1"]);
    let mut exchange = ServerMachine::new();
    let events = feed(&mut exchange, format!("{head}x").as_bytes());
    assert_eq!(events, ["/", "400"]);
    assert!(exchange.is_closed());
    assert_eq!(exchange.close_reason(), Some(CloseReason::BadMessage));
}

#[test]
fn lengths_are_kept_to() {
    for (pieces, fits) in [(&[2, 3][..], true), (&[2], false), (&[2, 4], false)] {
        let mut exchange = ServerMachine::new();
        feed(&mut exchange, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (sender, body) = crate::http::body::Body::incoming(Some(5));
        let mut out = Vec::new();
        assert_eq!(
            respond(&mut exchange, Response::new().body(body), true),
            Sends::Chunks
        );
        let all = pieces
            .iter()
            .all(|len| exchange.begin_chunk(*len, &mut out))
            && exchange.finish_body(None, &mut out);
        assert_eq!(all, fits, "{pieces:?}");
        assert_eq!(exchange.close_reason().is_none(), fits, "{pieces:?}");
        drop(sender);
    }
}

#[test]
fn a_success_of_connect_is_replaced() {
    let mut exchange = ServerMachine::new();
    feed(&mut exchange, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
    let replacement = |status: u16| {
        let status = StatusCode::from_u16(status).unwrap();
        exchange.replacement_for(&Response::new().status(status))
    };
    assert_eq!(replacement(200), Some(StatusCode::NOT_IMPLEMENTED));
    assert_eq!(replacement(204), Some(StatusCode::NOT_IMPLEMENTED));
    assert_eq!(replacement(103), Some(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(replacement(404), None);
    let refused = Response::new().status(StatusCode::FORBIDDEN).body("no");
    assert_eq!(respond(&mut exchange, refused, true), Sends::Whole);
    assert_eq!(exchange.close_reason(), Some(CloseReason::Tunnel));

    let mut exchange = ServerMachine::new();
    feed(&mut exchange, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(exchange.replacement_for(&Response::new()), None);
}

#[test]
fn fields_of_another_connection_are_dropped() {
    // As a client received it, and a handler passes it on.
    let mut response = Response::new()
        .header("Content-Type", "a/b")
        .header("Connection", "X-Hop, Content-Type")
        .header("Connection", "x-second")
        .header("X-Hop", "1")
        .header("X-Second", "2")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("Transfer-Encoding", "chunked")
        .header("Upgrade", "h2c")
        .header("Trailer", "T")
        .header("X-End", "3");
    let mut exchange = ServerMachine::new();
    feed(&mut exchange, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut date = DateCache::new();
    let circumstances = Circumstances {
        date: &mut date,
        wall_seconds: 784_111_777,
        body_is_abandoned: true,
        is_shutting_down: false,
    };
    let mut out = Vec::new();
    exchange.respond(&mut response, circumstances, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX-End: 3\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn https_is_for_a_connection_that_is_secured() {
    for (is_secured, target, expected) in [
        (false, "/a", "http"),
        (false, "http://h/a", "http"),
        (false, "https://h/a", "421"),
        (true, "/a", "https"),
        (true, "http://h/a", "http"),
        (true, "https://h/a", "https"),
        (true, "HTTPS://h", "https"),
        (true, "https:///a", "400"),
        (true, "ftp://h/a", "400"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        for split in 0..head.len() {
            let mut exchange = ServerMachine::new();
            if is_secured {
                exchange.secure();
            }
            assert!(feed(&mut exchange, &head.as_bytes()[..split]).is_empty());
            let (_, event) = exchange.receive(&head.as_bytes()[split..], &HeadLimits::REQUEST);
            let found = match &event {
                Event::Request(request) => request.scheme(),
                Event::Refused(refusal) => refusal.status.as_str(),
                _ => panic!("{event:?}"),
            };
            assert_eq!(found, expected, "{is_secured} {target} {split}");
        }
    }
}
