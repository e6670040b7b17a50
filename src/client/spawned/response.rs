//! What a spawned client returns: a head that came whole, and a body that comes as it is read.
//!
//! ```text
//!   client's thread: response ─► Head ──► Response ─┬─ status, fields, URL, times
//!                                chunks ─► Body ────┘   chunk · bytes · text · json · reader
//! ```

use std::fmt;
use std::net::SocketAddr;

use ::http::StatusCode;
use ::http::Version;
use bytes::Bytes;
#[cfg(feature = "json")]
use serde::de::DeserializeOwned;
use url::Url;

use crate::client::spawned::Body;
use crate::error::Error;
use crate::error::Result;
use crate::http::body;
use crate::http::headers::Headers;
#[cfg(feature = "json")]
use crate::http::json;
use crate::http::response;
use crate::http::response::Hop;
use crate::http::response::reading;
use crate::http::timings::Timings;

/// A response of a [spawned client](crate::client::spawned::Client); `Send` and `Sync`.
pub struct Response {
    head: Head,
    body: Body,
}

/// All of a response but its body.
pub(super) struct Head {
    status: StatusCode,
    version: Version,
    headers: Headers,
    url: Option<Url>,
    history: Vec<Hop>,
    peer_addr: Option<SocketAddr>,
    timings: Timings,
    is_decompressed: bool,
    collect_bytes_max: usize,
    /// Bytes that the head announces.
    content_length: Option<u64>,
    /// Bytes of the body, where that is known.
    length: Option<u64>,
}

impl Head {
    /// Takes a response apart.
    pub(super) fn of(mut response: response::Response) -> (Head, body::Body) {
        let body = response.take_body();
        let content_length = response.content_length();
        let head = Head {
            status: response.status_code(),
            version: response.version(),
            headers: std::mem::take(response.headers_mut()),
            url: response.take_url(),
            history: response.take_history(),
            peer_addr: response.peer_addr(),
            timings: response.timings(),
            is_decompressed: response.is_decompressed(),
            collect_bytes_max: response.collect_bytes_max(),
            content_length,
            length: body.length(),
        };
        (head, body)
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// An error of who reads the response.
    fn named(&self, error: Error) -> Error {
        reading::named(error, self.url.as_ref())
    }
}

impl Response {
    pub(super) fn new(head: Head, body: Body) -> Response {
        Response { head, body }
    }

    /// The status.
    pub fn status_code(&self) -> StatusCode {
        self.head.status
    }

    /// HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// The header fields, to be changed.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.head.headers
    }

    /// The URL that answered, after redirects.
    pub fn url(&self) -> Option<&Url> {
        self.head.url.as_ref()
    }

    /// The redirects that were followed on the way here, in order.
    pub fn history(&self) -> &[Hop] {
        &self.head.history
    }

    /// The address of the server, or proxy, that answered; `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.head.peer_addr
    }

    /// How long the parts of the exchange took, up to the head, as the client's thread saw it.
    pub fn timings(&self) -> Timings {
        self.head.timings
    }

    /// True when the body came in a content coding that the client asked for on its own, and is
    /// decoded on the client's thread: `Content-Encoding` and `Content-Length` were taken out.
    pub fn is_decompressed(&self) -> bool {
        self.head.is_decompressed
    }

    /// The length that the head announces: for a HEAD, of what a GET would bring. `None` where it
    /// announces none, as of a body in chunks or one that was decoded.
    pub fn content_length(&self) -> Option<u64> {
        self.head.content_length
    }

    /// An error where the status is 4xx or 5xx.
    ///
    /// # Errors
    ///
    /// The status is one; of kind `Status`.
    pub fn error_for_status(self) -> Result<Response> {
        match self.error_for_status_ref() {
            Ok(_) => Ok(self),
            Err(error) => Err(error),
        }
    }

    /// As [`Response::error_for_status`], of a response whose body says more.
    ///
    /// # Errors
    ///
    /// The status is one; of kind `Status`.
    pub fn error_for_status_ref(&self) -> Result<&Response> {
        if self.head.status.is_client_error() || self.head.status.is_server_error() {
            let mut answer = response::Response::new().status(self.head.status);
            answer.set_url(self.head.url.clone());
            answer.error_for_status()?;
        }
        Ok(self)
    }

    /// The body.
    pub fn body_ref(&self) -> &Body {
        &self.body
    }

    /// The body, to be read.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The body; the rest of the response is dropped.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The next piece of the body, never empty; `None` at its end.
    ///
    /// # Errors
    ///
    /// The body cannot be completed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let chunk = self.body.chunk().await.transpose();
        chunk.map_err(|error| self.head.named(error))
    }

    /// All of the body, up to 2 MiB, or what its client is set to
    /// ([`collect_bytes_max`](crate::client::ClientBuilder::collect_bytes_max)).
    ///
    /// # Errors
    ///
    /// It is longer, or cannot be completed.
    pub async fn bytes(self) -> Result<Bytes> {
        let limit_bytes = self.head.collect_bytes_max;
        self.bytes_within(limit_bytes).await
    }

    /// As [`Response::bytes`], up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Response::bytes`].
    pub async fn bytes_within(self, limit_bytes: usize) -> Result<Bytes> {
        let bytes = self.body.collect(limit_bytes).await;
        bytes.map_err(|error| self.head.named(error))
    }

    /// All of the body as UTF-8 text without its byte order mark, up to the limit of
    /// [`Response::bytes`].
    ///
    /// # Errors
    ///
    /// As for [`Response::bytes`]; of kind `Protocol` where the bytes are not UTF-8, naming the
    /// charset that the type declares. `Response::text_with_charset`, with the feature `charset`,
    /// reads those.
    pub async fn text(self) -> Result<String> {
        let limit_bytes = self.head.collect_bytes_max;
        self.text_within(limit_bytes).await
    }

    /// As [`Response::text`], up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Response::text`].
    pub async fn text_within(self, limit_bytes: usize) -> Result<String> {
        let bytes = self.body.collect(limit_bytes).await;
        let text = bytes.and_then(|bytes| reading::utf8(&self.head.headers, bytes));
        text.map_err(|error| self.head.named(error))
    }

    /// All of the body as text, up to the limit of [`Response::bytes`], in the charset that it or its
    /// type declares, or else in `default`; see [`crate::Response::text_with_charset`].
    ///
    /// # Errors
    ///
    /// As for [`Response::bytes`]; the charset is not known, or the bytes are not text in it.
    #[cfg(feature = "charset")]
    pub async fn text_with_charset(self, default: &str) -> Result<String> {
        let bytes = self.body.collect(self.head.collect_bytes_max).await;
        let text = bytes.and_then(|bytes| reading::decoded(&self.head.headers, default, &bytes));
        text.map_err(|error| self.head.named(error))
    }

    /// All of the body as JSON, up to the limit of [`Response::bytes`]; see [`crate::Response::json`].
    ///
    /// # Errors
    ///
    /// As for [`crate::Response::json`].
    #[cfg(feature = "json")]
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let limit_bytes = self.head.collect_bytes_max;
        self.json_within(limit_bytes).await
    }

    /// As [`Response::json`], of up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Response::json`].
    #[cfg(feature = "json")]
    pub async fn json_within<T: DeserializeOwned>(self, limit_bytes: usize) -> Result<T> {
        let (status, headers) = (self.head.status, &self.head.headers);
        let bytes = self.body.collect(limit_bytes).await;
        let parsed = bytes.and_then(|bytes| json::parse_answer(&bytes, status, headers));
        parsed.map_err(|error| self.head.named(error))
    }
}

/// For a handler, or other code of one core.
impl From<Response> for response::Response {
    fn from(response: Response) -> response::Response {
        let Response { head, body } = response;
        let mut own = response::Response::new();
        own.set_head(head.status, head.version);
        *own.headers_mut() = head.headers;
        own.set_url(head.url);
        own.set_history(head.history);
        own.set_exchange(head.peer_addr, head.timings);
        own.set_collect_bytes_max(head.collect_bytes_max);
        if head.is_decompressed {
            own.set_decompressed();
        }
        own.set_body(body);
        own
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.head.status)
            .field("version", &self.head.version)
            .field("headers", &self.head.headers)
            .field("body", &self.body)
            .finish()
    }
}
