//! Heads of messages: what they say.
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

use std::time::Duration;

use ::http::Method;
use ::http::StatusCode;
use ::http::Version;

use crate::http::headers::Headers;
use crate::http::known::Known;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::token;

mod facts;
mod folds;
mod parse;
#[cfg(test)]
mod tests;

pub(super) use facts::Coding;
pub use facts::Expect;
pub(super) use facts::Facts;
pub(super) use facts::Length;
pub(super) use parse::is_tunnel_target;
pub use parse::parse_request;
pub use parse::parse_request_over;
pub use parse::parse_response;
pub(super) use parse::parse_response_trailers;
pub(super) use parse::parse_trailers;
pub(super) use parse::parse_whole_request;
pub(super) use parse::parse_whole_response;

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
