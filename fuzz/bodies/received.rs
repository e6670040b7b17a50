//! What a server sent, read by two readers: the small one, and the client's.
//!
//! ```text
//!   bytes, methods ──► head ──► framing ──► body ──► messages ◄── h1::client
//! ```

use http::Method;
use roundtrip::Request;
use roundtrip::h1::client::ClientMachine;
use roundtrip::h1::client::Event;
use roundtrip::h1::framing::Framing;
use roundtrip::http::head::HeadLimits;

use super::reference;
use super::wire::End;

/// A final response.
#[derive(Debug)]
pub struct Message {
    /// Its status.
    pub status: u16,
    /// `100 Continue` before it.
    pub continues: usize,
    /// True when it says that it is the last.
    pub closes: bool,
    /// True when its body is all there.
    pub is_complete: bool,
    /// What there is of the body.
    pub body: Vec<u8>,
}

/// All responses to requests of these methods. What is not well-formed is a fault of ours; where
/// the connection was aborted, the last may be cut anywhere.
pub fn messages(sent: &[u8], methods: &[&str], end: End) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = sent;
    let mut continues = 0;
    let mut start = rest;
    while !rest.is_empty() {
        let shown = || sent.escape_ascii().to_string();
        let Some(len) = reference::head_end(rest, false, false) else {
            assert_eq!(end, End::Aborted, "a head without end: {}", shown());
            break;
        };
        let head = reference::head(&rest[..len]).unwrap_or_else(|| panic!("{}", shown()));
        assert!(head.start.starts_with(b"HTTP/1.1 "), "{}", shown());
        let (status, _) = reference::status_line(&head.start).expect("a status line of ours");
        rest = &rest[len..];
        if status == 100 {
            assert!(head.fields.is_empty(), "{}", shown());
            continues += 1;
            continue;
        }
        assert!(status >= 200, "{}", shown());
        assert_eq!(reference::values(&head.fields, "date").len(), 1);
        let method = methods.get(messages.len()).copied().unwrap_or("GET");
        let framing = reference::response_framing(method, status, &head.fields, false)
            .unwrap_or_else(|| panic!("nobody knows where it ends: {}", shown()));
        let (body, used, is_complete) = body_of(rest, framing, end);
        assert!(is_complete || used == rest.len(), "{}", shown());
        rest = &rest[used..];
        let message = Message {
            status,
            continues: std::mem::take(&mut continues),
            closes: reference::has_option(&head.fields, "connection", "close"),
            is_complete,
            body,
        };
        let its_bytes = &start[..start.len() - rest.len()];
        check_fetch(its_bytes, method, &message, framing);
        start = rest;
        messages.push(message);
    }
    messages
}

/// What there is of a body, the bytes that it takes, and whether it is all.
fn body_of(rest: &[u8], framing: Framing, end: End) -> (Vec<u8>, usize, bool) {
    match framing {
        Framing::Empty => (Vec::new(), 0, true),
        Framing::UntilClose => (rest.to_vec(), rest.len(), end == End::Closed),
        Framing::Length(length) => {
            let used = usize::try_from(length).map_or(rest.len(), |len| len.min(rest.len()));
            (rest[..used].to_vec(), used, used as u64 == length)
        }
        Framing::Chunked => match reference::chunked(rest) {
            Some(read) => (read.body, read.used, true),
            None => (chunks_of(rest), rest.len(), false),
        },
    }
}

/// The data of a chunked body that is cut.
fn chunks_of(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some((size, after)) = reference::line(rest) {
        let digits = std::str::from_utf8(size).expect("digits of ours");
        let size = usize::from_str_radix(digits, 16).expect("a size of ours");
        let data = &after[..after.len().min(size)];
        body.extend_from_slice(data);
        rest = after[data.len()..].strip_prefix(b"\r\n").unwrap_or(b"");
    }
    body
}

/// A request that a client can send.
pub fn asking(method: Method) -> Request {
    let is_connect = method == Method::CONNECT;
    let url = url::Url::parse("http://a.example/").expect("a URL");
    let mut request = Request::new(method, url);
    if is_connect {
        request.set_target("b.example:80").expect("a target");
    }
    request
}

/// The client reads the same.
fn check_fetch(bytes: &[u8], method: &str, message: &Message, framing: Framing) {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let request = asking(method);
    let mut fetch = ClientMachine::new(HeadLimits::RESPONSE);
    let started = fetch.start(&request, Some(0), true, &mut Vec::new());
    started.expect("a request that can be sent");
    let (mut rest, mut body, mut status) = (bytes, Vec::new(), 0);
    loop {
        let (used, event) = fetch.receive(rest).expect("the client reads what we sent");
        rest = &rest[used..];
        match event {
            Event::Partial => break,
            Event::Informational(_) => {}
            Event::Head(response, found) => {
                status = response.status_code().as_u16();
                assert_eq!(found, framing);
            }
            Event::Data(data) => body.extend_from_slice(data),
            Event::End(_) => {}
        }
    }
    assert!(rest.is_empty());
    assert_eq!((status, &body), (message.status, &message.body));
    let is_complete = match framing {
        Framing::UntilClose => message.is_complete && fetch.receive_end().is_ok(),
        _ => fetch.is_received(),
    };
    assert_eq!(is_complete, message.is_complete);
    if is_complete && fetch.settle().is_ok() {
        assert!(!message.closes, "a client would use it again");
    }
}
