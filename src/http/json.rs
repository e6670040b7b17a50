//! Bodies as JSON (RFC 8259), with the feature `json`.
//!
//! ```text
//!   request.json::<T>().await ──► type ──► length, 2 MiB ──► syntax and shape ──► T
//!                                  └ 415     └ 413              └ 400
//! ```
//!
//! What the error tells the client is the rule and the place, never what stood there; the source of
//! the error, for the log, has it all.

use std::fmt;

use ::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::body;
use crate::http::body::Body;
use crate::http::event_stream::Event;
use crate::http::field::Parameterized;
use crate::http::form::unsupported;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::token;
use crate::limits::BODY_COLLECT_BYTES_MAX;

impl Request {
    /// The JSON in the body, of up to 2 MiB ([`BODY_COLLECT_BYTES_MAX`]). Takes the body.
    ///
    /// ```
    /// use roundtrip::Request;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     item: String,
    ///     count: u32,
    /// }
    ///
    /// async fn order(mut request: Request) -> roundtrip::Result<String> {
    ///     let order: Order = request.json().await?;
    ///     Ok(format!("{} × {}", order.count, order.item))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returned by a handler they are answered: 415 unless the type is `application/json` or one
    /// that ends in `+json` (RFC 6839 §3.1), 413 for a body that is too long, 400 for one that is
    /// not JSON or has another shape than `T`, or did not arrive.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.json_within(BODY_COLLECT_BYTES_MAX).await
    }

    /// As [`Request::json`], of up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Request::json`].
    pub async fn json_within<T: DeserializeOwned>(&mut self, limit_bytes: usize) -> Result<T> {
        if !self.has_json() {
            return Err(unsupported("application/json"));
        }
        let bytes = self.bytes(limit_bytes).await?;
        let parsed = parse(&bytes);
        parsed.map_err(|error| {
            error
                .in_phase(Phase::RequestBody)
                .answered(StatusCode::BAD_REQUEST)
        })
    }

    /// True when the type, which is declared once, is `application/json` or ends in `+json`.
    fn has_json(&self) -> bool {
        let Ok(Some(found)) = Parameterized::of(self.headers(), "content-type") else {
            return false;
        };
        let Some((kind, subtype)) = found.value.split_once('/') else {
            return false;
        };
        let suffix = subtype.as_bytes().last_chunk::<5>();
        let has_suffix = suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"));
        let are_tokens = [kind, subtype].map(|part| token::is_token(part.as_bytes()));
        let is_plain = found.value.eq_ignore_ascii_case("application/json");
        (has_suffix || is_plain) && are_tokens == [true, true]
    }
}

impl Body {
    /// All of the body as JSON, up to 2 MiB ([`BODY_COLLECT_BYTES_MAX`]).
    ///
    /// # Errors
    ///
    /// Those of [`Body::bytes`]; of kind `Protocol` where the bytes are not JSON, or have another
    /// shape than `T`.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        parse(&self.bytes().await?)
    }
}

impl Response {
    /// All of the body as JSON, up to the limit of [`Response::bytes`]; see [`Body::json`]. The
    /// status and the type that the server declares are not looked at.
    ///
    /// # Errors
    ///
    /// As for [`Body::json`]; what is not JSON is told with the status and the declared type, since a
    /// page that says what went wrong is what mostly stands there.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let limit_bytes = self.collect_bytes_max();
        self.json_within(limit_bytes).await
    }

    /// As [`Response::json`], of up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Response::json`].
    pub async fn json_within<T: DeserializeOwned>(mut self, limit_bytes: usize) -> Result<T> {
        let bytes = self.collect(limit_bytes).await?;
        let parsed = parse_answer(&bytes, self.status_code(), self.headers());
        parsed.map_err(|error| self.named(error))
    }
}

impl Event {
    /// What the event says, as JSON in one line.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Event> {
        let text = to_bytes(value)?;
        Ok(self.data(String::from_utf8_lossy(&text)))
    }
}

/// A value as JSON, without blanks.
///
/// # Errors
///
/// The value's own, or a map whose keys are not texts.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    let text = serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::Invalid, "the value cannot be written as JSON").because(error)
    })?;
    Ok(text.into())
}

/// Reads JSON, with a byte order mark or without; the error says the rule and the place, and has what
/// stood there as its source.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(body::without_mark(bytes))
        .map_err(|error| unreadable(error, format_args!("")))
}

/// As [`parse`], of a response; the error says what was answered, too.
pub(crate) fn parse_answer<T: DeserializeOwned>(
    bytes: &[u8],
    status: StatusCode,
    headers: &Headers,
) -> Result<T> {
    serde_json::from_slice(body::without_mark(bytes)).map_err(|error| {
        let found = Parameterized::of(headers, "content-type").ok().flatten();
        // It is repeated in the error.
        let is_type = |name: &str| name.split('/').all(|part| token::is_token(part.as_bytes()));
        let declared = found.filter(|found| is_type(found.value));
        let declared = declared.map_or("no type", |found| found.value);
        unreadable(error, format_args!("; the answer is {status}, {declared}"))
    })
}

fn unreadable(error: serde_json::Error, answer: fmt::Arguments<'_>) -> Error {
    let rule = match error.classify() {
        Category::Eof => "the JSON ends early",
        Category::Data => "the JSON has another shape than is expected",
        Category::Syntax | Category::Io => "the body is not JSON",
    };
    let (line, column) = (error.line(), error.column());
    let text = format!("{rule}: line {line}, column {column}{answer}");
    Error::new(ErrorKind::Protocol, text).because(error)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;

    use serde_json::Value;

    use super::*;

    /// Runs a future that never has to wait.
    fn ready<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("the future waits"),
        }
    }

    fn post(content_type: &str, body: impl Into<Body>) -> Request {
        let request = Request::for_target("POST", "/").unwrap();
        let request = request.with_header("Content-Type", content_type).unwrap();
        request.with_body(body)
    }

    #[test]
    fn types_that_are_json() {
        for (content_type, is_it) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json ;x=1", true),
            ("application/json;x", false),
            ("application/problem+json", true),
            ("application/vnd.api+JSON", true),
            ("text/json", false),
            ("application/json5", false),
            ("application/+jsonx", false),
            ("application/x-www-form-urlencoded", false),
            ("text/plain; a=application/json", false),
            ("text/plain, application/json", false),
            ("json", false),
            ("a b/c+json", false),
            ("", false),
        ] {
            let read = ready(post(content_type, "7").json::<u8>());
            assert_eq!(read.is_ok(), is_it, "{content_type:?}");
            if let Err(error) = read {
                assert_eq!(error.answer(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
            }
        }
        let twice = post("application/json", "7");
        let mut twice = twice.with_header("content-type", "text/plain").unwrap();
        assert!(ready(twice.json::<u8>()).is_err());
        let mut untyped = Request::for_target("POST", "/").unwrap().with_body("7");
        assert!(ready(untyped.json::<u8>()).is_err());
    }

    #[test]
    fn errors_name_the_rule_and_the_place_and_repeat_nothing() {
        for (body, text) in [
            ("", "the JSON ends early: line 1, column 0"),
            ("[1,", "the JSON ends early: line 1, column 3"),
            ("secret", "the body is not JSON: line 1, column 1"),
            ("[1]\nsecret", "the body is not JSON: line 2, column 1"),
            (
                "[\"secret\"]",
                "the JSON has another shape than is expected: line 1, column 9",
            ),
        ] {
            let error = ready(post("application/json", body).json::<Vec<u8>>()).unwrap_err();
            assert_eq!(error.text(), text);
            assert_eq!(error.answer(), Some(StatusCode::BAD_REQUEST));
            assert!(error.source().is_some());
        }
        let deep = "[".repeat(10_000);
        let error = ready(post("application/json", deep).json::<Value>()).unwrap_err();
        assert_eq!(error.answer(), Some(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn length_is_bounded() {
        let mut request = post("application/json", "[1, 2]");
        let error = ready(request.json_within::<Vec<u8>>(5)).unwrap_err();
        assert_eq!(error.answer(), Some(StatusCode::PAYLOAD_TOO_LARGE));
        assert!(error.text().contains("longer than 5 bytes"));
        let mut request = post("application/json", "[1, 2]");
        assert_eq!(ready(request.json_within::<Vec<u8>>(6)).unwrap(), [1, 2]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_it() {
        let marked = "\u{feff}[1]";
        let response = || Response::new().body(marked);
        assert_eq!(ready(response().json::<Vec<u8>>()).unwrap(), [1]);
        assert_eq!(ready(Body::from(marked).json::<Vec<u8>>()).unwrap(), [1]);
        assert_eq!(
            ready(post("application/json", marked).json::<Vec<u8>>()).unwrap(),
            [1]
        );
        assert_eq!(ready(post("text/plain", marked).text()).unwrap(), "[1]");
        assert_eq!(ready(Body::from(marked).text()).unwrap(), "[1]");
        assert!(ready(Body::from("\u{feff}\u{feff}[1]").json::<Vec<u8>>()).is_err());
    }

    #[test]
    fn bodies_and_events() {
        let body = || Body::from("{\"a\": [true]}");
        assert_eq!(ready(body().json::<Value>()).unwrap()["a"][0], true);
        let response = Response::new().body(body());
        assert_eq!(ready(response.json::<Value>()).unwrap()["a"][0], true);
        let within = |limit| ready(Response::new().body(body()).json_within::<Value>(limit));
        assert_eq!(within(13).unwrap()["a"][0], true);
        assert!(within(12).unwrap_err().is_limit());
        let event = Event::new().json(&["a\nb", "ä"]).unwrap();
        assert_eq!(event.into_bytes().unwrap(), "data: [\"a\\nb\",\"ä\"]\n\n");
        let pairs = [((1, 2), 3)]
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>();
        assert_eq!(to_bytes(&pairs).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
