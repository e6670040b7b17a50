//! What a handler may return.
//!
//! ```text
//!   &'static str, String        200, text/plain
//!   Vec<u8>, Bytes, Body        200, application/octet-stream
//!   StatusCode, ()              a status without body
//!   (StatusCode, T), Option<T>, Result<T, E>, Error, Response
//! ```

use std::error::Error as _;

use ::http::StatusCode;
use bytes::Bytes;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::http::body::Body;
use crate::http::response::Response;

/// Turns what a handler returns into a response.
pub trait IntoResponse {
    /// The response.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

/// 200 with an empty body.
impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::new()
    }
}

/// The status, without a body.
impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        Response::new().status(self)
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        text(self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        text(self)
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        octets(self)
    }
}

impl IntoResponse for Bytes {
    fn into_response(self) -> Response {
        octets(self)
    }
}

impl IntoResponse for Body {
    fn into_response(self) -> Response {
        octets(self)
    }
}

/// The response with another status.
impl<T: IntoResponse> IntoResponse for (StatusCode, T) {
    fn into_response(self) -> Response {
        self.1.into_response().status(self.0)
    }
}

/// `None` is 404.
impl<T: IntoResponse> IntoResponse for Option<T> {
    fn into_response(self) -> Response {
        match self {
            Some(value) => value.into_response(),
            None => status_text(StatusCode::NOT_FOUND),
        }
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

/// The status that fits, with its standard text: what went wrong inside is nobody's business
/// outside. 502 for what another server did, 504 for a time-out, 413 for a body that is too long,
/// 400 and 408 for a request body that did not arrive as it should.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        status_text(status_of(&self))
    }
}

/// A response that consists of a status and its standard text.
pub fn status_text(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or("Error");
    text(reason).status(status)
}

fn text(body: impl Into<Body>) -> Response {
    Response::new()
        .content_type("text/plain; charset=utf-8")
        .body(body)
}

fn octets(body: impl Into<Body>) -> Response {
    Response::new()
        .content_type("application/octet-stream")
        .body(body)
}

fn status_of(error: &Error) -> StatusCode {
    // Errors of the client name their URL. What failed while a body was passed on is the body, if
    // that is the cause, and the other server otherwise.
    let passed_on = error
        .source()
        .and_then(|source| source.downcast_ref::<Error>());
    if let (Some(_), Some(body)) = (error.url(), passed_on) {
        return status_of(body);
    }
    if error.phase() == Some(Phase::RequestBody) && error.url().is_none() {
        return match error.kind() {
            ErrorKind::Timeout => StatusCode::REQUEST_TIMEOUT,
            ErrorKind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
    }
    match error.kind() {
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Resolve
        | ErrorKind::Connect
        | ErrorKind::Closed
        | ErrorKind::Protocol
        | ErrorKind::Status => StatusCode::BAD_GATEWAY,
        // Without a URL it is the request's body that was collected.
        ErrorKind::Limit if error.url().is_some() => StatusCode::BAD_GATEWAY,
        ErrorKind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Canceled | ErrorKind::Shutdown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: impl IntoResponse, status: u16, content_type: Option<&str>, body: &str) {
        let response = value.into_response();
        assert_eq!(response.status_code(), status);
        assert_eq!(response.headers().get("content-type"), content_type);
        assert_eq!(response.body_ref().as_bytes(), Some(body.as_bytes()));
    }

    #[test]
    fn values_of_all_kinds() {
        let plain = Some("text/plain; charset=utf-8");
        let octets = Some("application/octet-stream");
        check("a", 200, plain, "a");
        check(String::from("b"), 200, plain, "b");
        check(b"c".to_vec(), 200, octets, "c");
        check(Bytes::from_static(b"d"), 200, octets, "d");
        check(Body::from("e"), 200, octets, "e");
        check((), 200, None, "");
        check(StatusCode::NO_CONTENT, 204, None, "");
        check((StatusCode::CREATED, "f"), 201, plain, "f");
        check(Some("g"), 200, plain, "g");
        check(None::<&'static str>, 404, plain, "Not Found");
        check(Ok::<_, StatusCode>("h"), 200, plain, "h");
        check(Err::<(), _>(StatusCode::CONFLICT), 409, None, "");
        check(Response::new().body("i"), 200, None, "i");
    }

    #[test]
    fn errors_tell_the_status_and_nothing_else() {
        let table = [
            (ErrorKind::Timeout, None, 504),
            (ErrorKind::Connect, None, 502),
            (ErrorKind::Resolve, Some(Phase::Resolve), 502),
            (ErrorKind::Closed, Some(Phase::ResponseBody), 502),
            (ErrorKind::Protocol, None, 502),
            (ErrorKind::Limit, None, 413),
            (ErrorKind::Limit, Some(Phase::RequestBody), 413),
            (ErrorKind::Timeout, Some(Phase::RequestBody), 408),
            (ErrorKind::Closed, Some(Phase::RequestBody), 400),
            (ErrorKind::Invalid, None, 500),
            (ErrorKind::Io, Some(Phase::File), 500),
            (ErrorKind::Shutdown, None, 503),
        ];
        for (kind, phase, status) in table {
            let mut error = Error::new(kind, "secret");
            if let Some(phase) = phase {
                error = error.in_phase(phase);
            }
            let response = error.into_response();
            assert_eq!(response.status_code(), status, "{kind:?} {phase:?}");
            let body = response.body_ref().as_bytes().unwrap();
            assert!(!body.windows(6).any(|part| part == b"secret"));
        }
        let error = Error::new(ErrorKind::Limit, "").for_url("http://a/");
        assert_eq!(error.into_response().status_code(), 502);
    }

    #[test]
    fn a_body_that_is_passed_on_fails_at_either_end() {
        let passed = |kind| {
            let error = Error::new(kind, "").in_phase(Phase::RequestBody);
            error.for_url("http://a/")
        };
        let status = |error: Error| error.into_response().status_code();
        // The other server went, or was too slow.
        assert_eq!(status(passed(ErrorKind::Closed)), 502);
        assert_eq!(status(passed(ErrorKind::Timeout)), 504);
        let reset = std::io::Error::from_raw_os_error(104);
        assert_eq!(status(passed(ErrorKind::Closed).because(reset)), 502);
        // Our own client went.
        for (kind, expected) in [(ErrorKind::Closed, 400), (ErrorKind::Timeout, 408)] {
            let own = Error::new(kind, "").in_phase(Phase::RequestBody);
            assert_eq!(status(passed(kind).because(own)), expected);
        }
    }
}
