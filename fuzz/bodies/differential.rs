//! Readers of ours that must agree, and what we write, which they must read.
//!
//! ```text
//!   bytes ──► Scanner + parser + framing + Decoder ──┐
//!        ├──► serve::ServerMachine, in all pieces ────────┤ the same messages
//!        └──► fetch::ClientMachine, in all pieces ───────────┘
//!   head that was read ──► encoder ──► head that is read ──► the same fields, the framing asked for
//! ```

use http::Method;
use http::Version;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::h1::chunked::Decoded;
use roundtrip::h1::chunked::Decoder;
use roundtrip::h1::client::ClientMachine;
use roundtrip::h1::client::Event as Fetched;
use roundtrip::h1::encode::Persistence;
use roundtrip::h1::encode::Recipient;
use roundtrip::h1::encode::request_head;
use roundtrip::h1::encode::response_head;
use roundtrip::h1::framing::Framing;
use roundtrip::h1::framing::Outgoing;
use roundtrip::h1::framing::request_framing;
use roundtrip::h1::framing::response_framing;
use roundtrip::h1::head::Expect;
use roundtrip::h1::head::parse_request;
use roundtrip::h1::head::parse_response;
use roundtrip::h1::server::Circumstances;
use roundtrip::h1::server::Event as Served;
use roundtrip::h1::server::ServerMachine;
use roundtrip::http::date::DateCache;
use roundtrip::http::head::HeadLimits;
use roundtrip::http::head::Scan;
use roundtrip::http::head::Scanner;
use roundtrip::http::headers::Headers;

use super::received::asking;
use super::reference::Field;
use super::splits::one_answer;

/// A message with its body, as anybody reads it.
#[derive(Debug, Default, PartialEq)]
struct Read {
    /// The start line, in words.
    start: Vec<String>,
    fields: Vec<Field>,
    body: Vec<u8>,
    trailers: Option<Headers>,
    /// True when it is complete, false when more has to come.
    is_complete: bool,
    /// True when a rule was broken; what was read before still counts.
    is_refused: bool,
    /// Bytes of the input that belong to it, where it is complete.
    used: usize,
}

/// Messages of both kinds, and what is written of them.
pub fn differential(data: &[u8]) {
    let by_parts = request_by_parts(data);
    let by_exchange = one_answer(data, request_by_exchange);
    assert_eq!(by_exchange, by_parts, "{}", data.escape_ascii());
    rewrite_request(data);
    for method in [Method::GET, Method::HEAD, Method::CONNECT] {
        let by_parts = response_by_parts(data, &method);
        let by_fetch = one_answer(data, |pieces| response_by_fetch(pieces, &method));
        assert_eq!(by_fetch, by_parts, "{method} {}", data.escape_ascii());
    }
    rewrite_response(data);
}

fn fields_of(headers: &Headers) -> Vec<Field> {
    let fields = headers.iter();
    fields
        .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
        .collect()
}

impl Read {
    fn refused() -> Read {
        Read {
            is_refused: true,
            ..Read::default()
        }
    }

    fn start_request(&mut self, request: &Request) {
        let (method, target) = (request.method().as_str(), request.target());
        let version = format!("{:?}", request.version());
        self.start = vec![method.to_owned(), target.to_owned(), version];
        self.fields = fields_of(request.headers());
    }

    fn start_response(&mut self, response: &Response) {
        let status = response.status_code().as_str().to_owned();
        self.start = vec![status, format!("{:?}", response.version())];
        self.fields = fields_of(response.headers());
    }

    /// Reads a body behind `used` bytes of the input.
    fn read_body(&mut self, input: &[u8], framing: Framing, decoder: Decoder) {
        let rest = &input[self.used..];
        match framing {
            Framing::Empty => self.is_complete = true,
            Framing::UntilClose => self.body = rest.to_vec(),
            Framing::Length(length) => {
                let len = usize::try_from(length).map_or(rest.len(), |len| len.min(rest.len()));
                self.body = rest[..len].to_vec();
                self.is_complete = len as u64 == length;
                self.used += len;
            }
            Framing::Chunked => self.read_chunks(rest, decoder),
        }
        if !self.is_complete {
            self.used = 0;
        }
    }

    fn read_chunks(&mut self, mut rest: &[u8], mut decoder: Decoder) {
        loop {
            match decoder.push(rest) {
                Ok(Decoded::More) => return,
                Ok(Decoded::Data { used, data }) => {
                    self.body.extend_from_slice(data);
                    self.used += used;
                    rest = &rest[used..];
                }
                Ok(Decoded::End { used, trailers }) => {
                    self.trailers = trailers;
                    self.is_complete = true;
                    self.used += used;
                    return;
                }
                Err(_) => {
                    self.is_refused = true;
                    return;
                }
            }
        }
    }
}

// ---- reading ---------------------------------------------------------------------------------

fn request_by_parts(input: &[u8]) -> Read {
    let limits = HeadLimits::REQUEST;
    let used = match Scanner::request(limits).push(input) {
        Ok(Scan::Partial) => return Read::default(),
        Ok(Scan::Complete { used }) => used,
        Err(_) => return Read::refused(),
    };
    let parsed = parse_request(&input[..used], &limits);
    let framed = parsed.and_then(|head| Ok((request_framing(&head)?, head)));
    let Ok((framing, head)) = framed else {
        return Read::refused();
    };
    if head.expect() == Expect::Unknown {
        return Read::refused();
    }
    let mut read = Read {
        used,
        ..Read::default()
    };
    read.start_request(head.request());
    read.read_body(input, framing, Decoder::new());
    read
}

fn request_by_exchange(pieces: &[&[u8]]) -> Read {
    let mut exchange = ServerMachine::new();
    let mut read = Read::default();
    let mut total = 0;
    for piece in pieces {
        let mut rest = *piece;
        while exchange.takes_bytes() {
            let (used, event) = exchange.receive(rest, &HeadLimits::REQUEST);
            let before = rest;
            rest = &rest[used..];
            total += used;
            match event {
                Served::NeedMore => {
                    assert!(rest.is_empty(), "it needs more, and has left some");
                    break;
                }
                Served::Request(request) => {
                    read.start_request(&request);
                    if !exchange.is_in_body() {
                        read.is_complete = true;
                    }
                }
                Served::Data(range) => read.body.extend_from_slice(&before[range]),
                Served::End(trailers) => {
                    read.trailers = trailers;
                    read.is_complete = true;
                }
                Served::Refused(_) => {
                    assert!(exchange.is_closed(), "a refusal is the last word");
                    read.is_refused = true;
                }
            }
        }
        if !exchange.takes_bytes() {
            break;
        }
    }
    read.used = if read.is_complete { total } else { 0 };
    read
}

fn response_by_parts(input: &[u8], method: &Method) -> Read {
    let limits = HeadLimits::RESPONSE;
    let mut start = 0;
    // More than so many informational heads are refused.
    for _ in 0..=roundtrip::limits::INFORMATIONAL_COUNT_MAX {
        let used = match Scanner::response(limits).push(&input[start..]) {
            Ok(Scan::Partial) => return Read::default(),
            Ok(Scan::Complete { used }) => used,
            Err(_) => return Read::refused(),
        };
        let Ok(head) = parse_response(&input[start..start + used], &limits) else {
            return Read::refused();
        };
        start += used;
        match head.status().as_u16() {
            // Nobody has asked for another protocol.
            101 => return Read::refused(),
            100..=199 => continue,
            _ => {}
        }
        let Ok(framing) = response_framing(method, &head) else {
            return Read::refused();
        };
        let mut read = Read {
            used: start,
            ..Read::default()
        };
        read.start_response(&head.into_response());
        read.read_body(input, framing, Decoder::of_response());
        return read;
    }
    Read::refused()
}

fn response_by_fetch(pieces: &[&[u8]], method: &Method) -> Read {
    let request = asking(method.clone());
    let mut fetch = ClientMachine::new(HeadLimits::RESPONSE);
    let started = fetch.start(&request, Some(0), true, &mut Vec::new());
    started.expect("a request that can be sent");
    let mut read = Read::default();
    let mut total = 0;
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let Ok((used, event)) = fetch.receive(rest) else {
                read.is_refused = true;
                return read;
            };
            rest = &rest[used..];
            total += used;
            match event {
                Fetched::Partial => {
                    assert!(rest.is_empty(), "it needs more, and has left some");
                    break;
                }
                Fetched::Informational(_) => {}
                Fetched::Head(response, _) => read.start_response(&response),
                Fetched::Data(data) => read.body.extend_from_slice(data),
                Fetched::End(trailers) => {
                    read.trailers = trailers;
                    read.is_complete = true;
                    read.used = total;
                    return read;
                }
            }
        }
    }
    read
}

// ---- writing ---------------------------------------------------------------------------------

/// Fields that a message loses, or gets, when it is passed on.
fn is_passed_on(name: &[u8], fields: &[Field]) -> bool {
    const OWN: [&str; 10] = [
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
    ];
    let name = std::str::from_utf8(name).expect("a token");
    let is_own = OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
    !is_own && !super::reference::has_option(fields, "connection", name)
}

fn passed_on(fields: &[Field]) -> Vec<Field> {
    let kept = fields.iter();
    kept.filter(|(name, _)| is_passed_on(name, fields))
        .cloned()
        .collect()
}

/// What was read as a request is sent by a client, and read by a server.
fn rewrite_request(data: &[u8]) {
    let limits = HeadLimits::REQUEST;
    let Ok(Scan::Complete { used }) = Scanner::request(limits).push(data) else {
        return;
    };
    let Ok(head) = parse_request(&data[..used], &limits) else {
        return;
    };
    let request = head.into_request();
    let came = fields_of(request.headers());
    for length in [Some(0), Some(5), None] {
        let outgoing = Outgoing::of_request(request.method(), length);
        let mut written = Vec::new();
        let (origin, usual) = (Recipient::Origin, Persistence::Default);
        request_head(&mut written, &request, origin, outgoing, usual);
        let shown = || written.escape_ascii().to_string();
        // What is added may be more than what a server takes.
        let again = match parse_request(&written, &limits) {
            Err(error) if error.is_limit() => continue,
            again => again.unwrap_or_else(|error| panic!("{error}: {}", shown())),
        };
        let scanned = Scanner::request(limits).push(&written);
        let used = written.len();
        assert!(
            matches!(scanned, Ok(Scan::Complete { used: found }) if found == used)
                || scanned.is_err_and(|error| error.is_limit())
        );
        assert_eq!(again.method(), request.method());
        assert_eq!(again.request().target(), request.target());
        assert_eq!(again.version(), Version::HTTP_11);
        let fields = fields_of(again.request().headers());
        assert_eq!(passed_on(&fields), passed_on(&came), "{}", shown());
        let hosts = again.request().headers().get_all("host").count();
        assert_eq!(hosts, 1, "{}", shown());
        let expected = match length {
            Some(0) => Framing::Empty,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        assert_eq!(request_framing(&again), Ok(expected), "{}", shown());
        assert!(again.is_keep_alive(), "{}", shown());
    }
    respond(data, &request);
}

/// What answers a request is read by the client as it was meant.
fn respond(data: &[u8], request: &Request) {
    for body in ["", "hello"] {
        let mut exchange = ServerMachine::new();
        let (_, event) = exchange.receive(data, &HeadLimits::REQUEST);
        let Served::Request(_) = event else {
            return;
        };
        let mut response = Response::new().body(body);
        if exchange.replacement_for(&response).is_some() {
            response.set_status(http::StatusCode::NOT_FOUND);
        }
        let circumstances = Circumstances {
            date: &mut DateCache::new(),
            wall_seconds: 0,
            body_is_abandoned: true,
            is_shutting_down: false,
        };
        let mut written = Vec::new();
        exchange.respond(&mut response, circumstances, &mut written);
        let limits = HeadLimits::RESPONSE;
        let head = parse_response(&written, &limits)
            .unwrap_or_else(|error| panic!("{error}: {}", written.escape_ascii()));
        let is_head = *request.method() == Method::HEAD;
        let expected = match body {
            _ if is_head => Framing::Empty,
            "" => Framing::Empty,
            body => Framing::Length(body.len() as u64),
        };
        assert_eq!(response_framing(request.method(), &head), Ok(expected));
        let is_kept = exchange.close_reason().is_none();
        let says_keep = head.headers().contains_token("connection", "keep-alive");
        let says_close = head.headers().contains_token("connection", "close");
        assert_eq!(says_close, !is_kept);
        assert_eq!(says_keep, is_kept && request.version() == Version::HTTP_10);
    }
}

/// What was read as a response is sent by a server, and read by a client.
fn rewrite_response(data: &[u8]) {
    let limits = HeadLimits::RESPONSE;
    let Ok(Scan::Complete { used }) = Scanner::response(limits).push(data) else {
        return;
    };
    let Ok(head) = parse_response(&data[..used], &limits) else {
        return;
    };
    let response = head.into_response();
    let came = fields_of(response.headers());
    let status = response.status_code();
    for method in [Method::GET, Method::HEAD] {
        for length in [Some(0), Some(5), None] {
            for (version, persistence) in [
                (Version::HTTP_11, Persistence::Default),
                (Version::HTTP_10, Persistence::Close),
            ] {
                let outgoing = Outgoing::of_response(&method, version, status, length);
                let mut written = Vec::new();
                let date = (&mut DateCache::new(), 0);
                response_head(&mut written, &response, outgoing, persistence, date);
                let shown = || written.escape_ascii().to_string();
                let again = match parse_response(&written, &limits) {
                    Err(error) if error.is_limit() => continue,
                    again => again.unwrap_or_else(|error| panic!("{error}: {}", shown())),
                };
                assert_eq!(again.status(), status);
                let fields = fields_of(again.headers());
                assert_eq!(passed_on(&fields), passed_on(&came), "{}", shown());
                let framing = response_framing(&method, &again);
                let expected = match outgoing {
                    _ if method == Method::HEAD => Framing::Empty,
                    Outgoing::Nothing | Outgoing::Length(0) => Framing::Empty,
                    Outgoing::Length(length) => Framing::Length(length),
                    Outgoing::Chunked => Framing::Chunked,
                    Outgoing::UntilClose => Framing::UntilClose,
                };
                assert_eq!(framing, Ok(expected), "{method} {}", shown());
                assert_eq!(outgoing.has_body(&method), expected != Framing::Empty);
            }
        }
    }
}
