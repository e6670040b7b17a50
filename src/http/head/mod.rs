//! Message heads: where they end, and what they say.
//!
//! ```text
//!   bytes in any pieces ──► Scanner ──► complete head ──► parse_request  ──► RequestHead ──► Request
//!                              │                     └──► parse_response ──► ResponseHead ─► Response
//!                              └──► HeadError (status to answer, rule that was broken)
//! ```
//!
//! A head that came in one piece is parsed where it lies; `parse_whole_request` and
//! `parse_whole_response` leave all else to
//! the scanner, which sees each byte once and stops at the first that no head may hold. Parsing runs once,
//! on a complete head, and copies it once, into memory that the message owns. Bare LF, bare CR, blanks
//! before the colon, control characters, a second or bad `Host` are errors, and so is a folded line
//! in a request; in a response it is joined, as a user agent must (RFC 9112 §5.2).

use std::fmt;
use std::time::Duration;

use ::http::Method;
use ::http::StatusCode;
use ::http::Version;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::http::headers::Headers;
use crate::http::known::Known;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::token;
use crate::limits::HEAD_BYTES_SETTABLE_MAX;
use crate::limits::HEADER_COUNT_MAX;
use crate::limits::REQUEST_HEAD_BYTES_MAX;
use crate::limits::RESPONSE_HEAD_BYTES_MAX;
use crate::limits::RESPONSE_HEADER_COUNT_MAX;
use crate::limits::RESPONSE_HEADER_COUNT_SETTABLE_MAX;
use crate::limits::TARGET_BYTES_MAX;
use crate::limits::TRAILER_BYTES_MAX;

mod facts;
mod folds;
mod parse;
mod scanner;
#[cfg(test)]
mod tests;

pub(super) use facts::Coding;
pub use facts::Expect;
pub(super) use facts::Facts;
pub(super) use facts::Length;
pub(super) use parse::is_tunnel_target;
pub(super) use parse::parse_fields;
pub use parse::parse_request;
pub use parse::parse_response;
pub(super) use parse::parse_response_trailers;
pub(super) use parse::parse_trailers;
pub(super) use parse::parse_whole_request;
pub(super) use parse::parse_whole_response;
pub use scanner::Scan;
pub use scanner::Scanner;

/// What a head may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the first of the start line to the empty line; a value above
    /// [`HEAD_BYTES_SETTABLE_MAX`] counts as that.
    pub bytes: usize,
    /// Fields, and each line of a folded one. Of a request and of trailers a value above
    /// [`HEADER_COUNT_MAX`] counts as that; of a response, one above
    /// [`RESPONSE_HEADER_COUNT_SETTABLE_MAX`].
    pub fields: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
}

impl HeadLimits {
    /// What a server accepts: 64 KiB, 128 fields, a target of 16 KiB.
    pub const REQUEST: HeadLimits = HeadLimits {
        bytes: REQUEST_HEAD_BYTES_MAX,
        fields: HEADER_COUNT_MAX,
        target_bytes: TARGET_BYTES_MAX,
    };

    /// What a client accepts: 256 KiB, 1,000 fields.
    pub const RESPONSE: HeadLimits = HeadLimits {
        bytes: RESPONSE_HEAD_BYTES_MAX,
        fields: RESPONSE_HEADER_COUNT_MAX,
        target_bytes: TARGET_BYTES_MAX,
    };

    /// The bytes that hold.
    fn bytes_max(&self) -> usize {
        self.bytes.min(HEAD_BYTES_SETTABLE_MAX)
    }

    /// The fields of a response that hold.
    fn response_fields_max(&self) -> usize {
        self.fields.min(RESPONSE_HEADER_COUNT_SETTABLE_MAX)
    }

    /// What a trailer section may take: 16 KiB, 128 fields.
    pub const TRAILERS: HeadLimits = HeadLimits {
        bytes: TRAILER_BYTES_MAX,
        fields: HEADER_COUNT_MAX,
        target_bytes: TARGET_BYTES_MAX,
    };
}

/// Why a head was refused. Nothing of the peer's bytes is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadError {
    /// What a server answers before it closes: 400, 414, 421, 431, 501 or 505.
    pub status: StatusCode,
    /// The rule or limit that was broken, in a few words.
    pub rule: &'static str,
}

impl HeadError {
    /// Malformed: 400.
    pub(super) const fn bad(rule: &'static str) -> HeadError {
        let status = StatusCode::BAD_REQUEST;
        HeadError { status, rule }
    }

    /// Too large: 431.
    pub(super) const fn too_large(rule: &'static str) -> HeadError {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        HeadError { status, rule }
    }

    /// True when the head had more fields than [`HeadLimits::fields`].
    pub(crate) fn is_of_fields(&self) -> bool {
        *self == scanner::TOO_MANY_FIELDS
    }

    /// True when the head had more bytes than [`HeadLimits::bytes`].
    pub(crate) fn is_of_bytes(&self) -> bool {
        *self == scanner::TOO_MANY_BYTES
    }

    /// True when a limit of ours was reached; the peer broke a rule otherwise.
    pub fn is_limit(&self) -> bool {
        self.status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            || self.status == StatusCode::URI_TOO_LONG
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)
    }
}

impl std::error::Error for HeadError {}

impl From<HeadError> for Error {
    fn from(error: HeadError) -> Error {
        let kind = if error.is_limit() {
            ErrorKind::Limit
        } else {
            ErrorKind::Protocol
        };
        Error::new(kind, error.rule)
    }
}

/// The head of a request, parsed and checked. It owns the [`Request`] that it becomes.
#[derive(Debug)]
pub struct RequestHead {
    pub(super) request: Request,
    pub(super) facts: Facts,
}

impl RequestHead {
    /// The request, which has no body yet.
    pub fn into_request(self) -> Request {
        self.request
    }

    /// The request, which has no body yet.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The method.
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// HTTP/1.0 or HTTP/1.1; a higher minor version counts as 1.1 (RFC 9110 §2.5).
    pub fn version(&self) -> Version {
        self.request.version()
    }

    /// What the client expects before it sends the body (RFC 9110 §10.1.1). HTTP/1.0 has no such
    /// thing: there it is [`Expect::Nothing`].
    pub fn expect(&self) -> Expect {
        if self.version() == Version::HTTP_10 {
            return Expect::Nothing;
        }
        self.facts.expect
    }

    /// True when the client is willing to use the connection again (RFC 9112 §9.3).
    pub fn is_keep_alive(&self) -> bool {
        self.facts.is_keep_alive(self.version())
    }

    /// True when the client asks for another protocol: `Connection: upgrade` and an `Upgrade`
    /// field, in HTTP/1.1 (RFC 9110 §7.8).
    pub fn wants_upgrade(&self) -> bool {
        self.version() == Version::HTTP_11 && self.facts.upgrade_token && self.facts.upgrade_field
    }
}

/// The head of a response, parsed and checked. It owns the [`Response`] that it becomes.
#[derive(Debug)]
pub struct ResponseHead {
    pub(super) response: Response,
    pub(super) facts: Facts,
}

impl ResponseHead {
    /// The response, which has no body yet.
    pub fn into_response(self) -> Response {
        self.response
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status_code()
    }

    /// HTTP/1.0 or HTTP/1.1; a higher minor version counts as 1.1 (RFC 9110 §2.5).
    pub fn version(&self) -> Version {
        self.response.version()
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        self.response.headers()
    }

    /// True for 1xx: another head follows.
    pub fn is_informational(&self) -> bool {
        self.status().is_informational()
    }

    /// True when the server is willing to use the connection again (RFC 9112 §9.3).
    pub fn is_keep_alive(&self) -> bool {
        self.facts.is_keep_alive(self.version())
    }

    /// How long the server keeps the connection without a request, where it says so: the parameter
    /// `timeout` of `Keep-Alive` (RFC 2068 §19.7.1.1), in seconds. Its `max` is not read: the server
    /// says `Connection: close` with the last response.
    pub fn keep_alive_timeout(&self) -> Option<Duration> {
        if !self.facts.keep_alive_field {
            return None;
        }
        let value = self.headers().get_known(Known::KeepAlive)?;
        let mut parameters = value.split(|&byte| byte == b',');
        let seconds = parameters.find_map(|parameter| {
            let at = memchr::memchr(b'=', parameter)?;
            let (name, value) = (&parameter[..at], &parameter[at + 1..]);
            let is_it = token::trim(name).eq_ignore_ascii_case(b"timeout");
            is_it.then(|| token::decimal(token::trim(value)))
        });
        seconds.flatten().map(Duration::from_secs)
    }
}
