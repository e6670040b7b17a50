//! A whole response.
//!
//! ```text
//!   Response (head, and a body that arrives) ── collected ──► Answer (plain values)
//! ```

use bytes::Bytes;

use ::http::StatusCode;

use crate::http::headers::Headers;

/// A response with all of its body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    pub(super) trailers: Option<Headers>,
}

impl Answer {
    /// The status; it can be compared with a number.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The first value of a field, whatever the case of its name; `None` when there is none, or
    /// when it is not visible ASCII.
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        self.headers.get(name)
    }

    /// All fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The fields behind the body, if there were any.
    pub fn trailers(&self) -> Option<&Headers> {
        self.trailers.as_ref()
    }

    /// The body.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// It is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => panic!("the body is not text: {error}"),
        }
    }
}
