//! What a server connection should answer: every request read whole, one after the other.
//!
//! ```text
//!   input ──► head ──► body ──► path ──► Answer      … until one ends the connection
//! ```
//!
//! Heads and bodies are read by the crate's own parsers, which other targets compare with the small
//! readers; what is modelled here is everything behind them.

use http::Method;
use http::Version;
use roundtrip::h1::chunked::Decoded;
use roundtrip::h1::chunked::Decoder;
use roundtrip::h1::framing::Framing;
use roundtrip::h1::framing::close_reason_of_request;
use roundtrip::h1::framing::request_framing;
use roundtrip::h1::head::Expect;
use roundtrip::h1::head::RequestHead;
use roundtrip::h1::head::parse_request;
use roundtrip::http::head::Scan;
use roundtrip::http::head::Scanner;
use roundtrip::limits::BODY_COLLECT_BYTES_MAX;
use roundtrip::limits::DRAIN_BYTES_MAX;
use roundtrip::server::options::Options;

use super::reference;
use super::server_connection::BIG_BYTES;

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This one.
    Only(u16),
    /// One that says that the request is wrong.
    Refusal,
}

/// What one request gets.
#[derive(Debug)]
pub struct Answer {
    /// The method of the request, which says whether a body follows.
    pub method: String,
    /// The status.
    pub status: Expected,
    /// The body, `None` for any.
    pub body: Option<Vec<u8>>,
    /// True when the body breaks off, with a part of it.
    pub is_cut: bool,
    /// True when the connection ends behind it.
    pub must_end: bool,
    /// True when it depends on time whether the connection ends behind it.
    pub may_end: bool,
    /// True when it depends on time whether there is an answer.
    pub may_be_missing: bool,
    /// True when the client waits for `100 Continue`.
    pub expects: bool,
    /// True when the handler panics.
    pub panics: bool,
}

/// All answers of a connection.
pub struct Model {
    /// In order.
    pub answers: Vec<Answer>,
    /// Requests whose head was accepted.
    pub requests: usize,
}

/// What came of a request's body.
#[derive(Debug, PartialEq, Eq)]
enum Arrived {
    Complete,
    Cut,
    Malformed,
    TooLong,
}

impl Model {
    /// Of everything that was received.
    pub fn of(input: &[u8], options: &Options) -> Model {
        let mut model = Model {
            answers: Vec::new(),
            requests: 0,
        };
        let mut rest = input;
        while !rest.is_empty() {
            let limits = &options.head_limits;
            let used = match Scanner::request(*limits).push(rest) {
                Ok(Scan::Complete { used }) => used,
                scanned => {
                    let mut refusal = Answer::refusal(rest);
                    refusal.may_be_missing = scanned.is_ok();
                    model.answers.push(refusal);
                    break;
                }
            };
            let parsed = parse_request(&rest[..used], limits);
            let framed = parsed.and_then(|head| Ok((request_framing(&head)?, head)));
            let Ok((framing, head)) = framed else {
                model.answers.push(Answer::refusal(rest));
                break;
            };
            if head.expect() == Expect::Unknown {
                model.answers.push(Answer::refusal(rest));
                break;
            }
            model.requests += 1;
            rest = &rest[used..];
            let (body, arrived, used) = body_of(rest, framing, options.body_bytes_max);
            rest = &rest[used..];
            let answer = answer(&head, framing, body, &arrived, options);
            let is_last = answer.must_end || arrived != Arrived::Complete;
            model.answers.push(answer);
            if is_last {
                break;
            }
        }
        model
    }
}

fn body_of(input: &[u8], framing: Framing, max: Option<u64>) -> (Vec<u8>, Arrived, usize) {
    let is_long = |bytes: usize| max.is_some_and(|max| bytes as u64 > max);
    match framing {
        Framing::Empty => (Vec::new(), Arrived::Complete, 0),
        Framing::Length(length) => {
            let used = usize::try_from(length).map_or(input.len(), |len| len.min(input.len()));
            let arrived = if used as u64 == length {
                Arrived::Complete
            } else {
                Arrived::Cut
            };
            (input[..used].to_vec(), arrived, used)
        }
        Framing::Chunked => {
            let (mut decoder, mut body, mut rest) = (Decoder::new(), Vec::new(), input);
            loop {
                match decoder.push(rest) {
                    Ok(Decoded::Data { used, data }) => {
                        body.extend_from_slice(data);
                        rest = &rest[used..];
                        if is_long(body.len()) {
                            return (body, Arrived::TooLong, input.len());
                        }
                    }
                    Ok(Decoded::More) => return (body, Arrived::Cut, input.len()),
                    Ok(Decoded::End { used, .. }) => {
                        let used = input.len() - rest.len() + used;
                        return (body, Arrived::Complete, used);
                    }
                    Err(_) => return (body, Arrived::Malformed, input.len()),
                }
            }
        }
        Framing::UntilClose => panic!("a request does not end with its connection"),
    }
}

/// What the routes of `server_connection` do, by their names.
fn answer(
    head: &RequestHead,
    framing: Framing,
    body: Vec<u8>,
    arrived: &Arrived,
    options: &Options,
) -> Answer {
    let is_10 = head.version() == Version::HTTP_10;
    let is_head = *head.method() == Method::HEAD;
    let length = match framing {
        Framing::Length(length) => length,
        _ => 0,
    };
    let has_body = framing != Framing::Empty;
    let expects = has_body && head.expect() == Expect::Continue;
    let ends = close_reason_of_request(head).is_some() || *arrived != Arrived::Complete;
    // Nobody reads the body of a request that a plain function answers.
    let is_unread = expects || length > DRAIN_BYTES_MAX as u64;
    let mut answer = Answer {
        method: head.method().as_str().to_owned(),
        status: Expected::Only(200),
        body: None,
        is_cut: false,
        must_end: ends,
        may_end: false,
        may_be_missing: false,
        expects,
        panics: false,
    };
    if options.body_bytes_max.is_some_and(|max| length > max) {
        answer.status = Expected::Only(413);
        answer.must_end = true;
        return answer;
    }
    let name = route(head);
    let is_later = matches!(
        name,
        "drop" | "wait" | "gone" | "stream" | "broken" | "short" | "later-panic"
    );
    let is_reader = matches!(name, "echo" | "length");
    answer.may_end = has_body && is_later;
    answer.must_end |= is_unread && !is_later && !is_reader;
    let (status, text): (u16, &[u8]) = match name {
        "" => (200, b"hello"),
        "big" => (200, &[b'x'; BIG_BYTES]),
        "none" => (204, b""),
        "close" => (200, b""),
        "bad" | "early" | "panic" | "later-panic" => (500, b""),
        "ignore" => (200, b"ignored"),
        "drop" => (200, b"dropped"),
        "wait" => (200, b"waited"),
        "gone" => (200, b"gone"),
        "stream" => (200, b"abcde"),
        "broken" | "short" => (200, b"ab"),
        "echo" => (200, &body),
        "length" => return length_answer(answer, body.len(), length, arrived),
        "*" => (200, b""),
        "//" => (307, b"Temporary Redirect"),
        _ => {
            answer.status = Expected::Refusal;
            return answer;
        }
    };
    answer.panics = name.ends_with("panic");
    answer.is_cut = match name {
        "broken" | "short" => !is_head,
        "echo" => *arrived != Arrived::Complete,
        _ => false,
    };
    answer.must_end |= answer.is_cut || answer.panics || name == "close";
    answer.must_end |= name == "stream" && is_10 && !is_head;
    answer.may_be_missing = name == "broken" && is_10;
    answer.status = Expected::Only(status);
    answer.body = Some(if is_head { Vec::new() } else { text.to_vec() });
    answer
}

/// Of the route that reads the whole body.
fn length_answer(mut answer: Answer, bytes: usize, length: u64, arrived: &Arrived) -> Answer {
    let status = match arrived {
        _ if length > BODY_COLLECT_BYTES_MAX as u64 => 413,
        Arrived::Complete => {
            answer.body = Some(bytes.to_string().into_bytes());
            200
        }
        Arrived::TooLong => 413,
        Arrived::Cut | Arrived::Malformed => 400,
    };
    answer.status = Expected::Only(status);
    answer.must_end |= length > BODY_COLLECT_BYTES_MAX as u64;
    answer
}

/// True for what is sent to the path that it means.
fn is_unclean(path: &str) -> bool {
    let padded = format!("{path}/");
    let has_dots = padded.contains("/./") || padded.contains("/../");
    path.starts_with('/') && (has_dots || path.contains("//"))
}

/// The name of the route; `?` where nobody answers, `//` where the path is another's.
fn route(head: &RequestHead) -> &'static str {
    const GET: [&str; 11] = [
        "",
        "big",
        "none",
        "close",
        "bad",
        "early",
        "panic",
        "later-panic",
        "stream",
        "broken",
        "short",
    ];
    const POST: [&str; 2] = ["echo", "length"];
    const ANY: [&str; 4] = ["ignore", "drop", "wait", "gone"];
    let path = head.request().path();
    if *head.method() == Method::OPTIONS && path == "*" {
        return "*";
    }
    if *head.method() != Method::CONNECT && is_unclean(path) {
        return "//";
    }
    let Some(segment) = path.strip_prefix('/').filter(|rest| !rest.contains('/')) else {
        return "?";
    };
    let decoded = reference::decoded_leniently(segment.as_bytes());
    let is_it = |name: &&&str| name.as_bytes() == decoded;
    let methods: &[&str] = match head.method().as_str() {
        "GET" | "HEAD" => &GET,
        "POST" => &POST,
        _ => &[],
    };
    let mut names = methods.iter().chain(&ANY);
    names.find(is_it).copied().unwrap_or("?")
}

impl Answer {
    /// Of a head that is refused. No more of it may be known than how it starts.
    fn refusal(input: &[u8]) -> Answer {
        let line = input.strip_prefix(b"\r\n").unwrap_or(input);
        let method = if line.starts_with(b"HEAD ") {
            "HEAD"
        } else {
            "GET"
        };
        Answer {
            method: method.to_owned(),
            status: Expected::Refusal,
            body: None,
            is_cut: false,
            must_end: true,
            may_end: false,
            may_be_missing: false,
            expects: false,
            panics: false,
        }
    }
}
