//! What a handler may return.
//!
//! ```text
//!   text    &'static str, String, Box<str>, Cow<str>             200, text/plain
//!   bytes   Vec<u8>, Bytes, &'static [u8], [u8; N], Body, …      200, application/octet-stream
//!   Html    a text as text/html           Json    with the feature `json`
//!   StatusCode, ()                        a status without body
//!   Redirect, Problem, EventStream        what their modules say
//!   (status, T), (fields, T), (status, fields, T)                T with these
//!   Option<T>, Result<T, E>, Error, Response, http::Response<B>
//! ```
//!
//! An error type of one's own is returned by handlers, and thus works with `?`, once it says what it
//! looks like from outside:
//!
//! ```
//! use roundtrip::IntoResponse;
//! use roundtrip::Request;
//! use roundtrip::Response;
//! use roundtrip::Router;
//!
//! enum ShopError {
//!     SoldOut,
//!     Database(std::io::Error),
//! }
//!
//! impl From<std::io::Error> for ShopError {
//!     fn from(error: std::io::Error) -> ShopError {
//!         ShopError::Database(error)
//!     }
//! }
//!
//! impl IntoResponse for ShopError {
//!     fn into_response(self) -> Response {
//!         match self {
//!             ShopError::SoldOut => (roundtrip::StatusCode::CONFLICT, "sold out").into_response(),
//!             ShopError::Database(error) => {
//!                 eprintln!("database: {error}"); // for us, not for the client
//!                 roundtrip::StatusCode::SERVICE_UNAVAILABLE.into_response()
//!             }
//!         }
//!     }
//! }
//!
//! fn buy(request: &Request) -> Result<&'static str, ShopError> {
//!     let left: u32 = stock(request.param("item"))?;
//!     if left == 0 {
//!         return Err(ShopError::SoldOut);
//!     }
//!     Ok("yours")
//! }
//! # fn stock(_: &str) -> std::io::Result<u32> { Ok(1) }
//!
//! let router = Router::new().post("/buy/{item}", buy);
//! # let _ = router;
//! ```

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error as StdError;

use ::http::HeaderMap;
use ::http::StatusCode;
use bytes::Bytes;
use bytes::BytesMut;

use crate::error::Chain;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::response::Response;
use crate::limits::RETRY_AFTER_SECONDS;

/// Turns what a handler returns into a response. The [module](self) lists what has it, and shows it
/// for an error type of one's own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no response",
    label = "a handler cannot return this",
    note = "return text, bytes, a `StatusCode`, `Response`, `Html(…)`, `Redirect`, `Json(…)` (feature \
            `json`), a tuple `(status, T)`, `(fields, T)` or `(status, fields, T)`, an `Option` or a \
            `Result` of these; a stream is wrapped: `Body::stream(…)`",
    note = "for a type of your own, write `impl IntoResponse for …`"
)]
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

impl IntoResponse for Infallible {
    fn into_response(self) -> Response {
        match self {}
    }
}

/// The status, without a body.
impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        Response::new().status(self)
    }
}

/// A text that is sent as `text/html; charset=utf-8`. What a stranger wrote must have been escaped
/// before it became part of it.
///
/// ```
/// use roundtrip::IntoResponse;
/// use roundtrip::server::Html;
///
/// let response = Html("<!doctype html><title>hello</title>").into_response();
/// assert_eq!(response.headers().get("content-type"), Some("text/html; charset=utf-8"));
/// ```
#[derive(Clone, Debug)]
pub struct Html<T>(pub T);

impl<T: Into<Body>> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        Response::new()
            .content_type("text/html; charset=utf-8")
            .body(self.0)
    }
}

/// Types that are a body of one media type.
macro_rules! bodies {
    ($make:ident: $($body:ty),* $(,)?) => {$(
        impl IntoResponse for $body {
            fn into_response(self) -> Response {
                $make(self)
            }
        }
    )*};
}

bodies!(text: &'static str, String, Box<str>, Cow<'static, str>);
bodies!(
    octets: Vec<u8>, Bytes, BytesMut, &'static [u8], Box<[u8]>, Cow<'static, [u8]>, Body
);

impl<const N: usize> IntoResponse for &'static [u8; N] {
    fn into_response(self) -> Response {
        octets(self)
    }
}

impl<const N: usize> IntoResponse for [u8; N] {
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

/// Header fields as part of a tuple: they take the place of the response's own of the same names.
/// Two of one name among them stay two.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no set of header fields",
    label = "neither an array of pairs, `Headers`, nor `HeaderMap`",
    note = "write `[(\"ETag\", \"\\\"7\\\"\"), …]`, or values computed: `[(\"ETag\", etag)]`"
)]
pub trait IntoHeaders {
    /// The response with these fields; one that is no header field is remembered by it.
    fn put_into(self, response: Response) -> Response;
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const COUNT: usize> IntoHeaders for [(N, V); COUNT] {
    fn put_into(self, mut response: Response) -> Response {
        for (name, _) in &self {
            response.headers_mut().remove(name);
        }
        for (name, value) in self {
            response = response.header(name, value);
        }
        response
    }
}

impl IntoHeaders for Headers {
    fn put_into(self, response: Response) -> Response {
        response.with_headers(&self)
    }
}

impl IntoHeaders for HeaderMap {
    fn put_into(self, mut response: Response) -> Response {
        for name in self.keys() {
            response.headers_mut().remove(name);
        }
        for (name, value) in &self {
            response = response.header(name, value);
        }
        response
    }
}

/// The response with these header fields.
impl<H: IntoHeaders, T: IntoResponse> IntoResponse for (H, T) {
    fn into_response(self) -> Response {
        self.0.put_into(self.1.into_response())
    }
}

/// The response with another status and these header fields.
impl<H: IntoHeaders, T: IntoResponse> IntoResponse for (StatusCode, H, T) {
    fn into_response(self) -> Response {
        self.1.put_into(self.2.into_response().status(self.0))
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

/// The version is left out, as are extensions; more fields than can be held are 500.
impl<B: Into<Body>> IntoResponse for ::http::Response<B> {
    fn into_response(self) -> Response {
        Response::try_from(self).into_response()
    }
}

/// The status that fits, with its standard text: what went wrong inside is nobody's business
/// outside. 502 for what another server did, 504 for a time-out, 413 for a body that is too long,
/// 400 and 408 for a request body that did not arrive as it should. An error that says how it is
/// [answered](Error::answered) has that status, and its own text. The response keeps the error:
/// [`Response::error`].
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let response = match answer_of(&self) {
            (status, Some(text)) => error_page(status, text),
            (status, None) => status_text(status),
        };
        told_when_to_retry(response).with_error(self)
    }
}

/// The response to an error of ours: where it is that too much is going on, a moment later things are
/// different.
pub(super) fn told_when_to_retry(response: Response) -> Response {
    match response.status_code() {
        StatusCode::SERVICE_UNAVAILABLE => {
            response.header("Retry-After", RETRY_AFTER_SECONDS.to_string())
        }
        _ => response,
    }
}

/// How an error is answered: the status, and what of it may be told.
pub(super) fn answer_of(error: &Error) -> (StatusCode, Option<&str>) {
    match error.answer() {
        // An error of the client that names its URL is between us and another server.
        Some(status) if error.url().is_none() => (status, Some(error.text())),
        _ => (status_of(error), None),
    }
}

/// 500 with the standard text, or what an [`Error`] in it says; so `?` takes every error.
impl IntoResponse for Box<dyn StdError> {
    fn into_response(self) -> Response {
        match self.downcast::<Error>() {
            Ok(error) => error.into_response(),
            // An `Error` cannot hold what is not `Send`: the causes become text.
            Err(error) => {
                Error::new(ErrorKind::Handler, Chain(&*error).to_string()).into_response()
            }
        }
    }
}

/// 500 with the standard text, or what an [`Error`] in it says; so `?` takes every error.
impl IntoResponse for Box<dyn StdError + Send + Sync> {
    fn into_response(self) -> Response {
        let error: Box<dyn StdError> = self;
        error.into_response()
    }
}

/// A response that consists of a status and its standard text, which no browser takes for anything
/// else.
pub fn status_text(status: StatusCode) -> Response {
    plain(reason(status)).status(status)
}

/// A page that says what went wrong: the status and one line of plain text, which no browser takes
/// for anything else (`X-Content-Type-Options: nosniff`). The text repeats nothing of the request.
pub fn error_page(status: StatusCode, text: &str) -> Response {
    plain(format!("{}: {text}\n", reason(status))).status(status)
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

fn plain(body: impl Into<Body>) -> Response {
    text(body).header("X-Content-Type-Options", "nosniff")
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
        // Nobody was asked yet: too much of our own is going on.
        ErrorKind::Limit if error.phase() == Some(Phase::Resolve) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
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
        check(Box::<str>::from("j"), 200, plain, "j");
        check(Cow::Borrowed("k"), 200, plain, "k");
        check(Cow::<'static, str>::Owned("l".into()), 200, plain, "l");
        check(BytesMut::from(&b"m"[..]), 200, octets, "m");
        check(b"n", 200, octets, "n");
        check(&b"o"[..], 200, octets, "o");
        check([b'p', b'q'], 200, octets, "pq");
        check(Box::<[u8]>::from(*b"r"), 200, octets, "r");
        check(Cow::Borrowed(&b"s"[..]), 200, octets, "s");
        check(Html("t"), 200, Some("text/html; charset=utf-8"), "t");
        check(Ok::<_, Infallible>("u"), 200, plain, "u");
        check(::http::Response::new("v"), 200, None, "v");
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
    fn tuples_with_fields() {
        let vary = |response: &Response| response.headers().get_all("vary").count();
        let twice = [("Vary", "a"), ("vary", "b")];
        let response = (twice, "text").into_response();
        assert_eq!((response.status_code().as_u16(), vary(&response)), (200, 2));
        let response = (StatusCode::CREATED, twice, "text").into_response();
        assert_eq!((response.status_code().as_u16(), vary(&response)), (201, 2));
        let headers = Headers::from_pairs(twice).unwrap();
        assert_eq!(vary(&(headers.clone(), "text").into_response()), 2);
        let map = HeaderMap::try_from(&headers).unwrap();
        assert_eq!(vary(&(map.clone(), "text").into_response()), 2);
        assert_eq!(vary(&(StatusCode::OK, map, ()).into_response()), 2);

        // They take the place of what the inner response says.
        let own = ([("Content-Type", String::from("a/b"))], "text").into_response();
        let types: Vec<_> = own.headers().get_all("content-type").collect();
        assert_eq!(types, [b"a/b"]);
        let own = (headers, own.header("Vary", "c")).into_response();
        assert_eq!(vary(&own), 2);

        let split = ([("A", "x\r\nSet-Cookie: y")], "text").into_response();
        assert!(split.invalid_header().is_some());
    }

    #[test]
    fn pages_that_we_make_are_never_sniffed() {
        let response = error_page(StatusCode::BAD_REQUEST, "a rule");
        assert_eq!(
            response.headers().get("x-content-type-options"),
            Some("nosniff")
        );
        let body = response.body_ref().as_bytes().unwrap();
        assert_eq!(body, b"Bad Request: a rule\n");
        let response = status_text(StatusCode::from_u16(599).unwrap());
        assert_eq!(
            response.headers().get("x-content-type-options"),
            Some("nosniff")
        );
        assert_eq!(response.body_ref().as_bytes(), Some(&b"Error"[..]));
    }

    #[test]
    fn an_error_may_say_how_it_is_answered() {
        let answer = |error: Error| {
            let response = error.into_response();
            let body = response.body_ref().as_bytes().unwrap().to_vec();
            (
                response.status_code().as_u16(),
                String::from_utf8(body).unwrap(),
            )
        };
        let teapot = || Error::new(ErrorKind::Invalid, "short").answered(StatusCode::IM_A_TEAPOT);
        let told = (418, String::from("I'm a teapot: short\n"));
        assert_eq!(answer(teapot()), told);
        let secret = std::io::Error::other("secret");
        assert_eq!(answer(teapot().because(secret)), told);
        // What another server did wrong is not the client's fault.
        let status = (500, String::from("Internal Server Error"));
        assert_eq!(answer(teapot().for_url("http://a/")), status);

        let boxed: Box<dyn StdError + Send + Sync> = teapot().into();
        assert_eq!(boxed.into_response().status_code(), 418);
        assert!(teapot().into_response().error().is_some());

        let boxed: Box<dyn StdError> = std::io::Error::from(teapot().because("secret")).into();
        let kept = boxed.into_response();
        let kept = kept.error().unwrap();
        assert_eq!(
            (kept.kind(), kept.text()),
            (ErrorKind::Handler, "short: secret")
        );
        let boxed: Box<dyn StdError> = "secret".into();
        check(
            boxed,
            500,
            Some("text/plain; charset=utf-8"),
            "Internal Server Error",
        );
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
