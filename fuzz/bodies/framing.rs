//! Where bodies end: the fields of one message, read by everybody who reads them.
//!
//! ```text
//!               ┌─► request_framing  ──┐ the same, but for a message without both fields
//!   fields ─────┼─► response_framing ──┤
//!               ├─► strict reader ─────┤ the same
//!               └─► careless readers ──┘ the same, wherever a request is accepted
//! ```

use http::Method;
use roundtrip::h1::framing::Framing;
use roundtrip::h1::framing::close_reason_of_request;
use roundtrip::h1::framing::close_reason_of_response;
use roundtrip::h1::framing::request_framing;
use roundtrip::h1::framing::response_framing;
use roundtrip::h1::head::parse_request;
use roundtrip::h1::head::parse_response;
use roundtrip::http::head::HeadLimits;

use super::reference;
use super::reference::Carelessness;

const STATUSES: [u16; 7] = [100, 101, 200, 204, 206, 304, 404];
const METHODS: [&str; 3] = ["GET", "HEAD", "CONNECT"];

/// The input is the fields of a head, without the line before and the empty one behind them.
pub fn framing(data: &[u8]) {
    let mut fields = data.to_vec();
    if !fields.is_empty() && !fields.ends_with(b"\r\n") {
        fields.extend_from_slice(b"\r\n");
    }
    for version in ["1.1", "1.0"] {
        let as_request = of_request(&fields, version);
        let as_response = of_response(&fields, version, "GET", 200);
        // A request has one field more.
        if let (Some(as_request), Some(as_response)) = (as_request, as_response) {
            let expected = match as_request {
                Some(Framing::Empty) if as_response == Some(Framing::UntilClose) => {
                    Some(Framing::UntilClose)
                }
                other => other,
            };
            assert_eq!(as_response, expected, "{}", data.escape_ascii());
        }
        for status in STATUSES {
            for method in METHODS {
                let _ = of_response(&fields, version, method, status);
            }
        }
    }
}

/// `None` where the head itself is refused, `Some(None)` where its framing is.
fn of_request(fields: &[u8], version: &str) -> Option<Option<Framing>> {
    let start = format!("POST / HTTP/{version}\r\nHost: a\r\n");
    let head = [start.as_bytes(), fields, b"\r\n"].concat();
    let parsed = parse_request(&head, &HeadLimits::REQUEST).ok()?;
    let read = reference::head(&head).expect("a head that was accepted");
    let framing = request_framing(&parsed);
    let expected = reference::request_framing(&read.fields, version == "1.0");
    let shown = || head.escape_ascii().to_string();
    match framing {
        Ok(framing) => {
            assert_eq!(Some(framing), expected, "{}", shown());
            assert_ne!(framing, Framing::UntilClose);
            assert_ne!(framing, Framing::Length(0));
            for how in Carelessness::all() {
                let found = reference::careless_framing(&head, how);
                assert_eq!(found, framing, "{how:?}: {}", shown());
            }
        }
        Err(error) => {
            assert_eq!(expected, None, "{}: {}", error.rule, shown());
            assert!([400, 501].contains(&error.status.as_u16()), "{error:?}");
        }
    }
    let reason = close_reason_of_request(&parsed);
    assert_eq!(reason.is_none(), parsed.is_keep_alive());
    Some(framing.ok())
}

fn of_response(fields: &[u8], version: &str, method: &str, status: u16) -> Option<Option<Framing>> {
    let start = format!("HTTP/{version} {status} X\r\n");
    let head = [start.as_bytes(), fields, b"\r\n"].concat();
    let parsed = parse_response(&head, &HeadLimits::RESPONSE).ok()?;
    let read = reference::response_head(&head).expect("a head that was accepted");
    let method_name = Method::from_bytes(method.as_bytes()).expect("a method");
    let framing = response_framing(&method_name, &parsed);
    let expected = reference::response_framing(method, status, &read.fields, version == "1.0");
    assert_eq!(framing.ok(), expected, "{method}: {}", head.escape_ascii());
    if let Ok(framing) = framing {
        assert_ne!(framing, Framing::Length(0));
        let reason = close_reason_of_response(&parsed, framing);
        let may_stay = parsed.is_keep_alive() && framing != Framing::UntilClose;
        assert!(may_stay || reason.is_some());
        // A 204 that announces a body may have one, in the eyes of whoever sent it.
        let lengths = reference::values(&read.fields, "content-length");
        let codings = reference::values(&read.fields, "transfer-encoding");
        let is_zero = |value: &&[u8]| value.iter().all(|b| b"0, \t".contains(b));
        let announces = !codings.is_empty() || !lengths.iter().all(is_zero);
        assert!(status != 204 || !announces || reason.is_some());
    }
    Some(framing.ok())
}
