//! Informational responses (1xx) of one request, on their way from its handler to what sends them.

use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::headers::Headers;
use crate::limits::INFORMATIONAL_BYTES_MAX;
use crate::limits::INFORMATIONAL_COUNT_MAX;

/// The responses that wait, and how many there were.
#[derive(Default)]
pub(super) struct Informational {
    /// False before a request, behind the head of its response, and for clients of HTTP/1.0, which
    /// do not know them.
    pub(super) is_open: bool,
    /// Handed over, and not taken to be sent.
    heads: Vec<(StatusCode, Headers)>,
    /// Of all of them, sent or not.
    count: usize,
    /// Bytes of their fields.
    bytes: usize,
}

impl Informational {
    /// For a request that begins. What was left of the one before is dropped.
    #[inline]
    pub(super) fn begin(&mut self, is_open: bool) {
        self.is_open = is_open;
        if self.count > 0 {
            (self.count, self.bytes) = (0, 0);
            self.heads.clear();
        }
    }

    /// The response that is to be sent next.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(StatusCode, Headers)> {
        // They are few.
        (!self.heads.is_empty()).then(|| self.heads.remove(0))
    }

    /// Adds a response, within the bounds of one request.
    pub(super) fn push(&mut self, status: StatusCode, headers: Headers) -> Result<()> {
        let bytes = headers.iter().map(|(name, value)| name.len() + value.len());
        let bytes = self.bytes + bytes.sum::<usize>();
        if self.count == INFORMATIONAL_COUNT_MAX || bytes > INFORMATIONAL_BYTES_MAX {
            let text = format!(
                "more than {INFORMATIONAL_COUNT_MAX} informational responses to one request, or \
                 fields of more than {INFORMATIONAL_BYTES_MAX} bytes in them"
            );
            return Err(Error::new(ErrorKind::Limit, text));
        }
        self.count += 1;
        self.bytes = bytes;
        self.heads.push((status, headers));
        Ok(())
    }
}
