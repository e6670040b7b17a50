//! Heads and other sections of fields: what they may take, where they end, and what is in them.
//!
//! ```text
//!   bytes in any pieces ──► Scanner ──► complete section ──► parse_fields ──► Headers
//!                              └──► HeadError (status to answer, rule that was broken)
//! ```
//!
//! The start lines of HTTP/1 messages, and what their fields mean for the connection, are `h1::head`'s.

use std::fmt;

use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::limits::HEAD_BYTES_SETTABLE_MAX;
use crate::limits::HEADER_COUNT_MAX;
use crate::limits::REQUEST_HEAD_BYTES_MAX;
use crate::limits::RESPONSE_HEAD_BYTES_MAX;
use crate::limits::RESPONSE_HEADER_COUNT_MAX;
use crate::limits::RESPONSE_HEADER_COUNT_SETTABLE_MAX;
use crate::limits::TARGET_BYTES_MAX;
use crate::limits::TRAILER_BYTES_MAX;

mod fields;
mod scanner;

pub(crate) use fields::INCOMPLETE;
pub use fields::parse_fields;
pub use fields::parse_section;
pub(crate) use fields::rule_of;
pub use scanner::Scan;
pub use scanner::Scanner;
pub(crate) use scanner::TARGET_TOO_LONG;
pub(crate) use scanner::TOO_MANY_BYTES;
pub(crate) use scanner::TOO_MANY_FIELDS;

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
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes.min(HEAD_BYTES_SETTABLE_MAX)
    }

    /// The fields of a response that hold.
    pub(crate) fn response_fields_max(&self) -> usize {
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
    pub(crate) const fn bad(rule: &'static str) -> HeadError {
        let status = StatusCode::BAD_REQUEST;
        HeadError { status, rule }
    }

    /// Too large: 431.
    pub(crate) const fn too_large(rule: &'static str) -> HeadError {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        HeadError { status, rule }
    }

    /// True when the head had more fields than [`HeadLimits::fields`].
    pub(crate) fn is_of_fields(&self) -> bool {
        *self == TOO_MANY_FIELDS
    }

    /// True when the head had more bytes than [`HeadLimits::bytes`].
    pub(crate) fn is_of_bytes(&self) -> bool {
        *self == TOO_MANY_BYTES
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
