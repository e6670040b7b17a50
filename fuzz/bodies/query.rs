//! Queries and forms: names and values, beside the reader of the crate `url`, which is never strict.
//!
//! ```text
//!   text ─► Pairs ─┬─ names, values ◄── form_urlencoded, where nothing is wrong
//!                  └─ error         ◄── a semicolon, a bad escape, no UTF-8
//! ```

use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use roundtrip::Request;
use roundtrip::http::query::InvalidPairs;
use roundtrip::http::query::Pairs;
use roundtrip::http::query::decode;
use url::form_urlencoded;

use super::reference;

/// A query without its question mark, or a form.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(form(data).is_none());
        return;
    };
    let found = Pairs::parse(text);
    match (&found, decode(text)) {
        (Ok(pairs), Ok(bytes)) => {
            let bytes = bytes.iter().map(|(name, value)| (&name[..], &value[..]));
            let pairs = pairs.iter();
            assert!(bytes.eq(pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()))));
        }
        // What is wrong first is another thing where UTF-8 does not count.
        (Err(InvalidPairs::NotUtf8), Ok(_) | Err(InvalidPairs::BadEscape)) => {}
        (found, bytes) => assert_eq!(found.as_ref().err(), bytes.as_ref().err(), "{text}"),
    }
    if let Err(error) = found {
        assert_eq!(Some(error), expected_error(text), "{text}");
        assert!(form(data).is_none());
    }
    let Ok(pairs) = found else {
        return;
    };
    assert_eq!(expected_error(text), None, "{text}");
    let found: Vec<_> = pairs.iter().collect();
    let expected: Vec<_> = form_urlencoded::parse(data).collect();
    let expected: Vec<_> = expected.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    assert_eq!(found, expected, "{text}");
    assert_eq!(pairs.len(), expected.len());
    assert_eq!(pairs.is_empty(), expected.is_empty());
    for (name, _) in &expected {
        let mut own = expected.iter().filter(|(other, _)| other == name);
        let all: Vec<_> = pairs.get_all(name).collect();
        assert!(own.clone().map(|(_, value)| value).eq(&all));
        assert_eq!(pairs.get(name), own.next().map(|(_, value)| *value));
    }
    // What was read can be written, and is read again.
    let again = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&expected)
        .finish();
    let again = Pairs::parse(again).expect("what a writer writes");
    assert!(again.iter().eq(expected.iter().cloned()), "{text}");
    let whole = form(data).expect("the same text");
    assert!(whole.iter().eq(expected.iter().cloned()));
    if let Ok(request) = Request::for_target("GET", &format!("/?{text}")) {
        let pairs = request.query_pairs().expect("the same text");
        assert!(pairs.iter().eq(expected.iter().cloned()));
        for (name, _) in &expected {
            assert_eq!(
                request.query_value(name).expect("the same").as_deref(),
                pairs.get(name)
            );
        }
    }
}

/// What is wrong first, in the order in which it is looked for; inputs are too short for too many.
fn expected_error(text: &str) -> Option<InvalidPairs> {
    if text.contains(';') {
        return Some(InvalidPairs::Semicolon);
    }
    let pairs = text.split('&');
    let pieces = pairs.flat_map(|pair| pair.splitn(2, '='));
    for piece in pieces {
        let Some(decoded) = reference::decoded(piece.as_bytes()) else {
            return Some(InvalidPairs::BadEscape);
        };
        if String::from_utf8(decoded).is_err() {
            return Some(InvalidPairs::NotUtf8);
        }
    }
    None
}

/// The same bytes as the body of a form.
fn form(data: &[u8]) -> Option<Pairs<'static>> {
    let request = Request::for_target("POST", "/").expect("a target");
    let mut request = request
        .with_header("Content-Type", "application/x-www-form-urlencoded")
        .expect("a field")
        .with_body(data.to_vec());
    let mut future = std::pin::pin!(request.form());
    let mut cx = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut cx) {
        Poll::Ready(pairs) => pairs.ok(),
        Poll::Pending => panic!("bytes in memory are there"),
    }
}
