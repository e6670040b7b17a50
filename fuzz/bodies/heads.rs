//! Heads: where they end, and what they say.
//!
//! ```text
//!   bytes ──► Scanner in all pieces ──► parse ──► method, target, status, fields ◄── small reader
//! ```

use http::Version;
use roundtrip::h1::head::Expect;
use roundtrip::h1::head::RequestHead;
use roundtrip::h1::head::ResponseHead;
use roundtrip::h1::head::parse_request;
use roundtrip::h1::head::parse_response;
use roundtrip::http::head::HeadError;
use roundtrip::http::head::HeadLimits;
use roundtrip::http::head::Scan;
use roundtrip::http::head::Scanner;
use roundtrip::http::headers::Headers;

use super::reference;
use super::reference::Field;
use super::splits::one_answer_by;

/// Limits that short inputs reach.
const SMALL: HeadLimits = HeadLimits {
    bytes: 200,
    fields: 4,
    target_bytes: 20,
};

/// What a scanner says of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// More has to come.
    More,
    /// The head has so many bytes.
    Done(usize),
    /// It is refused.
    Refused(HeadError),
}

/// Scans pieces one after the other.
pub fn scan(mut scanner: Scanner, pieces: &[&[u8]]) -> Scanned {
    let mut total = 0;
    for piece in pieces {
        match scanner.push(piece) {
            Err(error) => return Scanned::Refused(error),
            Ok(Scan::Partial) => total += piece.len(),
            Ok(Scan::Complete { used }) => {
                assert!(used <= piece.len(), "it takes what is there");
                return Scanned::Done(total + used);
            }
        }
    }
    Scanned::More
}

/// The same, but that an input with two faults may be refused for either: limits are looked at
/// where a piece ends.
pub fn is_same_scan(one: &Scanned, other: &Scanned) -> bool {
    match (one, other) {
        (Scanned::Refused(one), Scanned::Refused(other)) => {
            one == other || one.is_limit() || other.is_limit()
        }
        _ => one == other,
    }
}

/// What makes a whole of many beginnings.
const TAILS: [&[u8]; 5] = [
    b"\n\r\n",
    b"\r\n\r\n",
    b"\r\nHost: a\r\n\r\n",
    b": b\r\n\r\n",
    b" HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// The head of a request.
pub fn request_head(data: &[u8]) {
    check_kind(data, HeadLimits::REQUEST, |data, limits| {
        let scanned = one_answer_by(data, |p| scan(Scanner::request(*limits), p), is_same_scan);
        check_scan(data, scanned, reference::head_end(data, true, false));
        if let Scanned::Refused(error) = scanned {
            check_refusal(error);
        }
        if let Scanned::Done(used) = scanned {
            check_prefixes(&data[..used], |p| scan(Scanner::request(*limits), &[p]));
            check_request(&data[..used], limits);
        }
        scanned
    });
    // A parser that gets what no scanner has seen refuses it or reads it, and never panics.
    let _ = parse_request(data, &HeadLimits::REQUEST);
}

/// The head of a response.
pub fn response_head(data: &[u8]) {
    check_kind(data, HeadLimits::RESPONSE, |data, limits| {
        let scanned = one_answer_by(data, |p| scan(Scanner::response(*limits), p), is_same_scan);
        check_scan(data, scanned, reference::head_end(data, false, false));
        if let Scanned::Done(used) = scanned {
            check_prefixes(&data[..used], |p| scan(Scanner::response(*limits), &[p]));
            check_response(&data[..used], limits);
        }
        scanned
    });
    let _ = parse_response(data, &HeadLimits::RESPONSE);
}

/// With usual and with small limits; and with an end, where there is none: what is malformed never
/// looks like a beginning.
fn check_kind(data: &[u8], usual: HeadLimits, check: impl Fn(&[u8], &HeadLimits) -> Scanned) {
    let scanned = check(data, &usual);
    check(data, &SMALL);
    if scanned == Scanned::More {
        for tail in TAILS {
            check(&[data, tail].concat(), &usual);
        }
    }
}

fn check_scan(data: &[u8], scanned: Scanned, expected: Option<usize>) {
    match scanned {
        Scanned::Done(used) => assert_eq!(Some(used), expected, "{}", data.escape_ascii()),
        Scanned::Refused(error) if error.is_limit() => {}
        _ => assert_eq!(expected, None, "{scanned:?}: {}", data.escape_ascii()),
    }
}

/// No beginning of a complete head is complete, or refused.
fn check_prefixes(head: &[u8], scan: impl Fn(&[u8]) -> Scanned) {
    let step = head.len() / 64 + 1;
    for len in (0..head.len()).step_by(step) {
        assert_eq!(scan(&head[..len]), Scanned::More, "the first {len}");
    }
}

fn check_refusal(error: HeadError) {
    let statuses = [400, 414, 421, 431, 505];
    assert!(statuses.contains(&error.status.as_u16()), "{error:?}");
    assert!(!error.rule.is_empty(), "every refusal has its rule");
}

fn check_request(head: &[u8], limits: &HeadLimits) {
    let shown = || head.escape_ascii().to_string();
    let own = head.strip_prefix(b"\r\n").unwrap_or(head);
    let read = reference::head(own);
    match parse_request(head, limits) {
        Ok(parsed) => {
            let read = read.unwrap_or_else(|| panic!("only ours reads it: {}", shown()));
            check_parsed_request(&parsed, &read, limits);
            let again = parse_request(head, limits).expect("it was read before");
            assert_eq!(format!("{parsed:?}"), format!("{again:?}"));
        }
        Err(error) => {
            check_refusal(error);
            // What a target or a host may look like is not the small reader's business.
            let is_finer = ["target", "Host", "version"]
                .iter()
                .any(|word| error.rule.contains(word));
            let line = read.as_ref().and_then(|read| {
                let (method, target, _) = reference::request_line(&read.start)?;
                Some((method.to_vec(), target.to_vec()))
            });
            assert!(
                error.is_limit() || is_finer || line.is_none(),
                "refused ({}), and nothing is wrong with {}",
                error.rule,
                shown()
            );
        }
    }
}

fn check_parsed_request(parsed: &RequestHead, read: &reference::Head, limits: &HeadLimits) {
    let (method, target, is_10) =
        reference::request_line(&read.start).expect("a request line that was accepted");
    assert_eq!(parsed.method().as_str().as_bytes(), method);
    assert_eq!(parsed.request().target().as_bytes(), target);
    assert_eq!(parsed.version() == Version::HTTP_10, is_10);
    assert!(target.len() <= limits.target_bytes);
    check_fields(parsed.request().headers(), &read.fields, limits);
    let hosts = reference::values(&read.fields, "host");
    assert!(hosts.len() == 1 || (hosts.is_empty() && is_10), "one host");
    for host in hosts {
        assert!(
            !host.iter().any(|b| b" \t/?#@\\<>\"".contains(b)),
            "{host:?}"
        );
    }
    let expects = reference::values(&read.fields, "expect");
    let is_continue = |value: &&[u8]| value.eq_ignore_ascii_case(b"100-continue");
    let expected = if expects.is_empty() || is_10 {
        Expect::Nothing
    } else if expects.iter().all(is_continue) {
        Expect::Continue
    } else {
        Expect::Unknown
    };
    assert_eq!(parsed.expect(), expected);
    check_keep_alive(parsed.is_keep_alive(), &read.fields, is_10);
    let has_upgrade = !reference::values(&read.fields, "upgrade").is_empty();
    let asks = reference::has_option(&read.fields, "connection", "upgrade");
    assert_eq!(parsed.wants_upgrade(), has_upgrade && asks && !is_10);
    check_target(parsed);
}

/// What is made of the target belongs to it.
fn check_target(parsed: &RequestHead) {
    let request = parsed.request();
    let target = request.target();
    let path = request.path();
    match request.query() {
        Some(query) => assert!(target.ends_with(&format!("?{query}")), "{target}"),
        None => assert!(!target.contains('?') || parsed.method() == "CONNECT"),
    }
    assert!(
        target.contains(path) || path == "/",
        "{path} is not of {target}"
    );
    assert!(!path.contains('?'));
    let is_path = path.starts_with('/') || path == "*" || parsed.method() == "CONNECT";
    assert!(is_path, "{path}");
    if let Some(authority) = request.host() {
        assert!(!authority.contains(['/', '?', '@', ' ']), "{authority}");
    }
}

fn check_response(head: &[u8], limits: &HeadLimits) {
    let shown = || head.escape_ascii().to_string();
    let read = reference::response_head(head);
    let line = read
        .as_ref()
        .and_then(|read| reference::status_line(&read.start));
    match parse_response(head, limits) {
        Ok(parsed) => {
            let read = read.unwrap_or_else(|| panic!("only ours reads it: {}", shown()));
            check_parsed_response(&parsed, &read, limits);
        }
        Err(error) => {
            let is_refused = error.is_limit() || error.rule.contains("version") || line.is_none();
            assert!(
                is_refused,
                "refused ({}), and nothing is wrong with {}",
                error.rule,
                shown()
            );
        }
    }
}

fn check_parsed_response(parsed: &ResponseHead, read: &reference::Head, limits: &HeadLimits) {
    let (status, is_10) =
        reference::status_line(&read.start).expect("a status line that was accepted");
    assert_eq!(parsed.status().as_u16(), status);
    assert_eq!(parsed.version() == Version::HTTP_10, is_10);
    assert_eq!(parsed.is_informational(), status < 200);
    check_fields(parsed.headers(), &read.fields, limits);
    check_keep_alive(parsed.is_keep_alive(), &read.fields, is_10);
}

fn check_keep_alive(is_kept: bool, fields: &[Field], is_10: bool) {
    let closes = reference::has_option(fields, "connection", "close");
    let keeps = reference::has_option(fields, "connection", "keep-alive");
    assert_eq!(is_kept, !closes && (!is_10 || keeps));
}

/// Ours are the same fields, however they are asked for.
pub fn check_fields(headers: &Headers, fields: &[Field], limits: &HeadLimits) {
    assert!(headers.len() <= limits.fields);
    let ours: Vec<Field> = headers
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
        .collect();
    assert_eq!(ours, fields);
    for (name, _) in fields {
        let name = std::str::from_utf8(name).expect("a token");
        let expected = reference::values(fields, name);
        assert_eq!(headers.get_bytes(name), expected.first().copied());
        assert!(headers.get_all(&name.to_uppercase()).eq(expected));
    }
}
