//! Responses that come in a content coding (RFC 9110 §8.4), decoded while they are read.
//!
//! ```text
//!   request ─► ask: Accept-Encoding ─► … ─► response ─► decode: one coding that was asked for?
//!                                                          yes │          no: as it came
//!                                                              ▼
//!        reader ◄── chunks of 32 KiB at most ◄── Decoded ◄── body, chunk by chunk
//! ```
//!
//! It happens for who does not know of it, and for nobody else (net/http's rules): codings are
//! asked for where the request has neither `Accept-Encoding` nor `Range` and is no HEAD, and what
//! comes in one of them is decoded. `Content-Encoding` and `Content-Length`, which no longer say
//! what they mean, are taken out. A body in two codings, or in one that nobody asked for, or an
//! empty one, is returned as it came, with its fields.
//!
//! Nothing is decoded ahead of its reader. What one body holds while it is read: a received chunk,
//! 32 KiB of output, and the window of its coding: 32 KiB (gzip, deflate), 8 MiB (zstd, where a larger one is
//! refused), 16 MiB (br, the format's most; it grows with what came).

#[cfg(feature = "br")]
mod brotli;
mod coding;
mod decoded;
#[cfg(feature = "gzip")]
mod deflate;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(all(test, feature = "br", feature = "gzip", feature = "zstd"))]
mod tests;
#[cfg(feature = "zstd")]
mod zstd;

use ::http::Method;
use ::http::StatusCode;

use crate::client::decompress::coding::ACCEPTED;
use crate::client::decompress::decoded::Decoded;
use crate::http::body::Body;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::limits::DECOMPRESSION_RATIO_MAX;

/// What a client does about codings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decompression {
    pub(super) is_on: bool,
    pub(super) limits: Limits,
}

/// What one body may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Decoded bytes.
    pub(super) bytes_max: Option<u64>,
    /// Decoded bytes per received one, beyond the first `DECOMPRESSED_FREE_BYTES`.
    pub(super) ratio_max: u32,
}

impl Default for Decompression {
    fn default() -> Decompression {
        Decompression {
            is_on: true,
            limits: Limits {
                bytes_max: None,
                ratio_max: DECOMPRESSION_RATIO_MAX,
            },
        }
    }
}

impl Decompression {
    /// Asks for the codings that can be decoded, unless the caller speaks of codings itself or the
    /// answer could not be decoded. True when it did: then, and only then, the answer is decoded.
    pub(super) fn ask(&self, request: &mut Request) -> bool {
        let headers = request.headers();
        let is_asked = self.is_on
            && !ACCEPTED.is_empty()
            && request.method() != Method::HEAD
            && !headers.contains("accept-encoding")
            && !headers.contains("range");
        if is_asked {
            let added = request.headers_mut().append("Accept-Encoding", ACCEPTED);
            assert!(added.is_ok(), "names of codings are a valid value");
        }
        is_asked
    }

    /// Decodes the body of an answer while it is read, where it is in one coding that can be.
    pub(super) fn decode(&self, response: &mut Response) {
        if has_no_body(response) {
            return;
        }
        let mut fields = response.headers().get_all("content-encoding");
        let (Some(name), None) = (fields.next(), fields.next()) else {
            return;
        };
        let Some(decoder) = coding::decoder(name) else {
            return;
        };
        drop(fields);
        let headers = response.headers_mut();
        headers.remove("content-encoding");
        headers.remove("content-length");
        let body = response.take_body();
        let decoded = Decoded::new(decoder, self.limits, response.url().cloned());
        response.set_body(body.filtered(decoded));
        response.set_decompressed();
    }
}

/// True when the head says so: its fields then speak of a body that did not come. One that only turns
/// out to be empty has its end seen by the decoder.
fn has_no_body(response: &Response) -> bool {
    let is_bare = matches!(
        response.status_code(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    is_bare || response.body_ref().is_empty() && response.headers().contains("content-length")
}

/// A body that is decoded while it is read, for fuzzers; `None` for a coding that was not compiled
/// in.
pub fn decoded(coding: &str, body: Body, bytes_max: u64) -> Option<Body> {
    let limits = Limits {
        bytes_max: Some(bytes_max),
        ratio_max: DECOMPRESSION_RATIO_MAX,
    };
    let decoder = coding::decoder(coding.as_bytes())?;
    Some(body.filtered(Decoded::new(decoder, limits, None)))
}
