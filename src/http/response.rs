//! Responses: what a handler returns, and what a client gets.
//!
//! ```text
//!   Response::new()            200, no fields, no body
//!       .status(…)             builders return the response
//!       .header(name, value)   an invalid field is remembered: the server answers 500 instead
//!       .body(…)               length and coding follow from the body alone
//! ```

pub(crate) mod reading;

use std::fmt;
use std::net::SocketAddr;

use ::http::StatusCode;
use ::http::Version;
use url::Url;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::duplex::Duplex;
use crate::http::duplex::Takeover;
use crate::http::headers::Headers;
use crate::http::headers::InvalidHeader;
use crate::http::known::Known;
use crate::http::recycle::FreeList;
use crate::http::sniff;
use crate::http::timings::Timings;
use crate::limits::BODY_COLLECT_BYTES_MAX;
use crate::limits::FREE_REQUESTS_MAX;

/// A response, to be sent or received.
///
/// ```
/// use roundtrip::http::response::Response;
///
/// let response = Response::new()
///     .status(::http::StatusCode::CREATED)
///     .header("Location", "/users/7")
///     .body("made");
/// assert_eq!(response.status_code(), 201);
/// assert_eq!(response.headers().get("location"), Some("/users/7"));
/// ```
pub struct Response {
    /// `None` only while the response is dropped.
    inner: Option<Box<Inner>>,
}

struct Inner {
    status: StatusCode,
    version: Version,
    headers: Headers,
    body: Body,
    url: Option<Url>,
    exchange: Option<Exchange>,
    /// What is collected of the body at most, where its reader does not say.
    collect_bytes_max: usize,
    rare: Option<Box<Rare>>,
}

/// What a client knows of the exchange that the response ends.
#[derive(Clone, Copy)]
struct Exchange {
    peer: Option<SocketAddr>,
    timings: Timings,
}

/// What few responses have.
#[derive(Default)]
struct Rare {
    trailers: Option<Headers>,
    invalid: Option<InvalidHeader>,
    special: Option<Box<Special>>,
    error: Option<Error>,
    /// True exactly when the body is decoded while it is read.
    is_decompressed: bool,
    history: Vec<Hop>,
}

/// A redirect that was followed on the way to a response: what it answered, and which URL it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    status: StatusCode,
    url: Url,
}

impl Hop {
    /// A redirect with this status from this URL, whose password is left out.
    pub fn new(status: StatusCode, mut url: Url) -> Hop {
        // Fails for URLs that cannot have one, and these have none.
        let _ = url.set_password(None);
        Hop { status, url }
    }

    /// What was answered: 301, 302, 303, 307 or 308.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Which URL answered, without a password.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// What a response does beside being sent, or instead.
pub(crate) enum Special {
    /// The connection is reset.
    Abort,
    /// The connection goes on with something else than HTTP, for the handler.
    Takeover(Takeover),
    /// The connection goes on with something else than HTTP, for the caller of a client.
    Duplex(Duplex),
}

thread_local! {
    static FREE: FreeList<Box<Inner>> = const { FreeList::new(FREE_REQUESTS_MAX) };
}

impl Response {
    /// 200, without fields and body.
    pub fn new() -> Response {
        let recycled = FREE.try_with(FreeList::take).ok().flatten();
        let inner = recycled.unwrap_or_else(|| {
            Box::new(Inner {
                status: StatusCode::OK,
                version: Version::HTTP_11,
                headers: Headers::new(),
                body: Body::empty(),
                url: None,
                exchange: None,
                collect_bytes_max: BODY_COLLECT_BYTES_MAX,
                rare: None,
            })
        });
        Response { inner: Some(inner) }
    }

    /// No response at all: the connection of the request is reset, and what it still had to send is
    /// dropped. For requests that deserve no answer; it is no panic and no error, and the access log
    /// says 444.
    pub fn abort() -> Response {
        Response::new().with_special(Special::Abort)
    }

    /// Does this beside being sent, or instead.
    pub(crate) fn with_special(mut self, special: Special) -> Response {
        self.inner_mut().rare().special = Some(Box::new(special));
        self
    }

    /// What the response does beside being sent.
    pub(crate) fn special(&self) -> Option<&Special> {
        self.rare()?.special.as_deref()
    }

    /// True where it may have what few responses have: trailers, an error, something special.
    pub(crate) fn is_rare(&self) -> bool {
        self.rare().is_some()
    }

    /// What the response does beside being sent, taken out.
    pub(crate) fn take_special(&mut self) -> Option<Box<Special>> {
        self.inner_mut().rare.as_mut()?.special.take()
    }

    /// With this status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Response {
        self.set_status(status);
        self
    }

    /// With one more header field; a further `Content-Type` or `Date` takes the place of the one
    /// before, since a message has one of each. An invalid field is left out and remembered: a
    /// server answers 500 instead and reports it, see [`Response::invalid_header`].
    ///
    /// What frames the message is not taken from here: the body alone says how long it is.
    /// `Connection: close` closes the connection behind the response.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Response {
        let inner = self.inner_mut();
        let name = name.as_ref();
        let result = match Known::of(name.as_bytes()) {
            Known::ContentType | Known::Date => inner.headers.insert(name, value),
            _ => inner.headers.append(name, value),
        };
        if let Err(invalid) = result {
            inner.rare().invalid = Some(invalid);
        }
        self
    }

    /// Without the `Date` that a server adds: an empty field says so. For what has no clock worth
    /// trusting, since RFC 9110 §6.6.1 asks all others for it.
    #[must_use]
    pub fn without_date(self) -> Response {
        self.header("Date", "")
    }

    /// With these header fields instead of those of the same names.
    #[must_use]
    pub fn with_headers(mut self, headers: &Headers) -> Response {
        let own = self.headers_mut();
        for (name, _) in headers.iter() {
            own.remove(name);
        }
        for (name, value) in headers.iter() {
            self = self.header(name, value);
        }
        self
    }

    /// With this `Content-Type` and no other: `response.content_type("text/html; charset=utf-8")`.
    /// An invalid one is treated as in [`Response::header`].
    #[must_use]
    pub fn content_type(mut self, value: &str) -> Response {
        if !self.headers().is_empty() {
            return self.header("Content-Type", value);
        }
        let inner = self.inner_mut();
        let headers = &mut inner.headers;
        if let Err(invalid) = headers.append_known(Known::ContentType, "Content-Type", value) {
            inner.rare().invalid = Some(invalid);
        }
        self
    }

    /// With the `Content-Type` that the first bytes of the body show, for bodies in memory that have
    /// neither a type nor a coding, and `X-Content-Type-Options: nosniff`, so that this is the only
    /// guess. Never done unless it is asked for: bytes of a stranger may show `text/html`, and a
    /// browser runs them as your page; [`Response::sniff_untrusted`] is for those.
    ///
    /// ```
    /// use roundtrip::Response;
    ///
    /// let response = Response::new().body("<html>hello").sniff();
    /// assert_eq!(response.headers().get("content-type"), Some("text/html; charset=utf-8"));
    /// ```
    #[must_use]
    pub fn sniff(self) -> Response {
        self.sniff_with(sniff::content_type)
    }

    /// As [`Response::sniff`], where a stranger may have made the bytes: what a browser could run
    /// is declared plain text.
    #[must_use]
    pub fn sniff_untrusted(self) -> Response {
        self.sniff_with(sniff::content_type_untrusted)
    }

    fn sniff_with(self, content_type: fn(&[u8]) -> &'static str) -> Response {
        let headers = self.headers();
        let is_described = headers.contains("Content-Type") || headers.contains("Content-Encoding");
        let shown = match self.body_ref().as_bytes() {
            None | Some([]) => return self,
            Some(bytes) => content_type(bytes),
        };
        if is_described {
            return self;
        }
        let has_advice = headers.contains("X-Content-Type-Options");
        let typed = self.content_type(shown);
        if has_advice {
            return typed;
        }
        typed.header("X-Content-Type-Options", "nosniff")
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Response {
        self.set_body(body);
        self
    }

    /// With one more trailer field, sent behind a body of unknown length (RFC 9112 §7.1.2). Fields
    /// that frame, route or authenticate are no trailers; a server leaves them out.
    #[must_use]
    pub fn trailer(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Response {
        let inner = self.inner_mut();
        let rare = inner.rare();
        let trailers = rare.trailers.get_or_insert_default();
        if let Err(invalid) = trailers.append(name, value) {
            rare.invalid = Some(invalid);
        }
        self
    }

    /// The status.
    pub fn status_code(&self) -> StatusCode {
        self.inner().status
    }

    /// Sets the status.
    pub fn set_status(&mut self, status: StatusCode) {
        self.inner_mut().status = status;
    }

    /// HTTP/1.0 or HTTP/1.1, of a received response.
    pub fn version(&self) -> Version {
        self.inner().version
    }

    /// Sets the status line of a received response.
    pub(crate) fn set_head(&mut self, status: StatusCode, version: Version) {
        let inner = self.inner_mut();
        inner.status = status;
        inner.version = version;
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.inner().headers
    }

    /// The header fields, to be changed.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.inner_mut().headers
    }

    /// The trailer fields to be sent. Those of a received response are the body's:
    /// [`Body::take_trailers`].
    pub fn trailers(&self) -> Option<&Headers> {
        self.rare()?.trailers.as_ref()
    }

    /// The trailer fields to be sent, taken out.
    pub fn take_trailers(&mut self) -> Option<Headers> {
        self.inner_mut().rare.as_mut()?.trailers.take()
    }

    /// The last header or trailer field that a builder refused.
    pub fn invalid_header(&self) -> Option<InvalidHeader> {
        self.rare()?.invalid
    }

    /// Says which error the response stands for; nothing of it is sent. An [`Error`] that a handler
    /// returns is kept like this.
    #[must_use]
    pub fn with_error(mut self, error: Error) -> Response {
        self.inner_mut().rare().error = Some(error);
        self
    }

    /// Which error the response stands for: for middleware. Of those that are answered with 5xx a
    /// server tells whoever wants to know
    /// ([`Server::on_handler_error`](crate::Server::on_handler_error)).
    pub fn error(&self) -> Option<&Error> {
        self.rare()?.error.as_ref()
    }

    /// Which error the response stands for, taken out.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.inner_mut().rare.as_mut()?.error.take()
    }

    /// The body.
    pub fn body_ref(&self) -> &Body {
        &self.inner().body
    }

    /// The body, to be read.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.inner_mut().body
    }

    /// Sets the body.
    pub fn set_body(&mut self, body: impl Into<Body>) {
        self.body_mut().set(body.into());
    }

    /// The body, taken out; the response then has none.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(self.body_mut())
    }

    /// The body; the rest of the response is dropped.
    pub fn into_body(mut self) -> Body {
        self.take_body()
    }

    /// The URL that answered, after redirects; of a client's response.
    pub fn url(&self) -> Option<&Url> {
        self.inner().url.as_ref()
    }

    /// The URL that answered, taken out.
    pub(crate) fn take_url(&mut self) -> Option<Url> {
        self.inner_mut().url.take()
    }

    /// Sets the URL that answered.
    pub fn set_url(&mut self, url: Option<Url>) {
        self.inner_mut().url = url;
    }

    /// The redirects that were followed on the way here, in order; of a client's response.
    ///
    /// ```no_run
    /// # async fn example(client: roundtrip::Client) -> roundtrip::Result<()> {
    /// let response = client.get("http://127.0.0.1:8080/old").send().await?;
    /// for hop in response.history() {
    ///     println!("{} {}", hop.status(), hop.url());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn history(&self) -> &[Hop] {
        self.rare().map_or(&[], |rare| &rare.history)
    }

    /// The redirects that were followed, taken out.
    pub(crate) fn take_history(&mut self) -> Vec<Hop> {
        let rare = self.inner_mut().rare.as_mut();
        rare.map_or_else(Vec::new, |rare| std::mem::take(&mut rare.history))
    }

    /// Sets the redirects that were followed; nothing is allocated for none.
    pub fn set_history(&mut self, history: Vec<Hop>) {
        if !history.is_empty() || self.rare().is_some() {
            self.inner_mut().rare().history = history;
        }
    }

    /// The address of the server, or proxy, that answered; of a client's response, `None` on a Unix
    /// socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.inner().exchange?.peer
    }

    /// How long the parts of the exchange took, up to this head; zeros for a response that was not
    /// received. With redirects, those of the last request.
    pub fn timings(&self) -> Timings {
        let exchange = self.inner().exchange;
        exchange.map_or_else(Timings::default, |exchange| exchange.timings)
    }

    /// Sets what a client knows of the exchange.
    pub fn set_exchange(&mut self, peer: Option<SocketAddr>, timings: Timings) {
        self.inner_mut().exchange = Some(Exchange { peer, timings });
    }

    /// True when the body came in a content coding that the client asked for on its own, and is
    /// decoded while it is read: `Content-Encoding` and `Content-Length` were taken out.
    pub fn is_decompressed(&self) -> bool {
        self.rare().is_some_and(|rare| rare.is_decompressed)
    }

    /// What is collected of the body at most, where its reader does not say.
    pub(crate) fn collect_bytes_max(&self) -> usize {
        self.inner().collect_bytes_max
    }

    /// Sets what is collected of the body at most, where its reader does not say.
    pub(crate) fn set_collect_bytes_max(&mut self, bytes: usize) {
        self.inner_mut().collect_bytes_max = bytes;
    }

    /// Says that the body is decoded.
    pub(crate) fn set_decompressed(&mut self) {
        self.inner_mut().rare().is_decompressed = true;
    }

    /// The connection, of a client's response that switched protocols as the request had asked: a
    /// 101 to `Connection: upgrade`, a 2xx to CONNECT (RFC 9110 §7.8, §9.3.6). What came behind the
    /// head is read first.
    ///
    /// ```no_run
    /// # roundtrip::block_on(async {
    /// use roundtrip::Client;
    ///
    /// let request = Client::new().get("http://127.0.0.1:8080/chat");
    /// let request = request.header("Connection", "upgrade").header("Upgrade", "echo");
    /// let mut duplex = request.send().await?.into_duplex()?;
    /// duplex.write("hello").await?;
    /// let answer = duplex.read().await?;
    /// # Ok::<(), roundtrip::Error>(())
    /// # })?;
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Of kind `Protocol` when the peer has not switched.
    pub fn into_duplex(mut self) -> Result<Duplex> {
        match self.take_special().map(|special| *special) {
            Some(Special::Duplex(duplex)) => Ok(duplex),
            _ => {
                let status = self.status_code();
                let text = format!("the server answered {status} and did not switch protocols");
                let error = Error::new(ErrorKind::Protocol, text);
                Err(self.named(error))
            }
        }
    }

    /// The response, or an error of kind `Status` where the status is 4xx or 5xx.
    ///
    /// # Errors
    ///
    /// The status is one.
    pub fn error_for_status(self) -> Result<Response> {
        match self.status_error() {
            None => Ok(self),
            Some(error) => Err(error),
        }
    }

    /// As [`Response::error_for_status`], of a response whose body says more.
    ///
    /// # Errors
    ///
    /// The status is one.
    pub fn error_for_status_ref(&self) -> Result<&Response> {
        match self.status_error() {
            None => Ok(self),
            Some(error) => Err(error),
        }
    }

    fn status_error(&self) -> Option<Error> {
        let status = self.status_code();
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        let error = Error::new(ErrorKind::Status, format!("the server answered {status}"));
        Some(self.named(error))
    }

    #[inline]
    fn rare(&self) -> Option<&Rare> {
        self.inner().rare.as_deref()
    }

    #[inline]
    fn inner(&self) -> &Inner {
        self.inner.as_deref().expect("present until the drop")
    }

    #[inline]
    fn inner_mut(&mut self) -> &mut Inner {
        self.inner.as_deref_mut().expect("present until the drop")
    }
}

impl Inner {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

impl Default for Response {
    fn default() -> Response {
        Response::new()
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else {
            return;
        };
        // The body may be the user's: it is dropped before the free list is touched.
        inner.body.set(Body::empty());
        inner.rare = None;
        inner.url = None;
        inner.exchange = None;
        inner.collect_bytes_max = BODY_COLLECT_BYTES_MAX;
        inner.status = StatusCode::OK;
        inner.version = Version::HTTP_11;
        inner.headers.recycle();
        // At the end of a thread the list may be gone already.
        let _ = FREE.try_with(|free| free.give(inner));
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status_code())
            .field("version", &self.version())
            .field("headers", self.headers())
            .field("body", self.body_ref())
            .finish()
    }
}

impl TryFrom<Response> for ::http::Response<Body> {
    type Error = Error;

    /// Fails when a builder refused a field, there are more fields than the map holds, or the
    /// response is an upgrade, a tunnel or no response at all. Trailers are left out.
    fn try_from(mut response: Response) -> Result<::http::Response<Body>> {
        if response.special().is_some() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "an upgrade, a tunnel or an abort has no form in the `http` crate",
            ));
        }
        if let Some(invalid) = response.invalid_header() {
            return Err(invalid.into());
        }
        let mut converted = ::http::Response::new(response.take_body());
        *converted.status_mut() = response.status_code();
        *converted.version_mut() = response.version();
        *converted.headers_mut() = response.headers().try_into()?;
        Ok(converted)
    }
}

impl<B: Into<Body>> TryFrom<::http::Response<B>> for Response {
    type Error = Error;

    /// Extensions are left out.
    fn try_from(response: ::http::Response<B>) -> Result<Response> {
        let (parts, body) = response.into_parts();
        let mut converted = Response::new().status(parts.status).body(body);
        *converted.headers_mut() = Headers::try_from(&parts.headers)?;
        converted.inner_mut().version = parts.version;
        Ok(converted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_and_remembers_what_is_invalid() {
        let response = Response::new()
            .status(StatusCode::NOT_FOUND)
            .header("A", "1")
            .header("B", "x\r\nSet-Cookie: y")
            .body("gone");
        assert_eq!(response.status_code(), 404);
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.invalid_header(), Some(InvalidHeader::Value));
        assert_eq!(response.body_ref().as_bytes(), Some(&b"gone"[..]));
    }

    #[test]
    fn a_message_has_one_type_and_one_date() {
        let response = Response::new()
            .content_type("a/b")
            .header("Set-Cookie", "a=1")
            .header("Date", "yesterday")
            .content_type("c/d")
            .header("content-type", "e/f")
            .header("Set-Cookie", "b=2")
            .header("date", "today");
        let count = |name: &str| response.headers().get_all(name).count();
        let counts = [count("content-type"), count("date"), count("set-cookie")];
        assert_eq!(counts, [1, 1, 2]);
        assert_eq!(response.headers().get("content-type"), Some("e/f"));
        assert_eq!(response.headers().get("date"), Some("today"));
        let bad = Response::new().content_type("a/b").content_type("\n");
        assert_eq!(bad.invalid_header(), Some(InvalidHeader::Value));
    }

    #[test]
    fn a_recycled_response_is_blank() {
        let response = Response::new()
            .status(StatusCode::IM_A_TEAPOT)
            .header("a", "b")
            .header("", "")
            .trailer("t", "1")
            .with_error(Error::new(ErrorKind::Invalid, "x"))
            .body("x");
        assert!(response.error().is_some());
        drop(response);
        let response = Response::new();
        assert_eq!(response.status_code(), 200);
        assert!(response.headers().is_empty());
        assert!(response.trailers().is_none());
        assert!(response.invalid_header().is_none());
        assert!(response.error().is_none());
        assert!(response.body_ref().is_empty());
    }

    #[test]
    fn error_for_status_hides_the_password() {
        let mut response = Response::new().status(StatusCode::BAD_GATEWAY);
        response.set_url(Some(Url::parse("http://user:secret@h/").unwrap()));
        let error = response.error_for_status().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Status);
        let line = error.to_string();
        assert!(
            line.contains("502") && line.contains("user:***@h"),
            "{line}"
        );
        assert!(!line.contains("secret"));
        let response = Response::new().status(StatusCode::NOT_FOUND).body("why");
        assert!(response.error_for_status_ref().is_err());
        assert_eq!(response.body_ref().length(), Some(3));
        assert!(Response::new().error_for_status_ref().is_ok());
        assert!(Response::new().error_for_status().is_ok());
    }

    #[test]
    fn the_history_hides_passwords() {
        let mut response = Response::new();
        response.set_history(Vec::new());
        assert!(response.history().is_empty() && response.rare().is_none());
        let url = Url::parse("http://me:secret@h/a").unwrap();
        response.set_history(vec![Hop::new(StatusCode::FOUND, url)]);
        let [hop] = response.history() else {
            panic!("one redirect");
        };
        assert_eq!(
            (hop.status(), hop.url().as_str()),
            (StatusCode::FOUND, "http://me@h/a")
        );
        assert_eq!(response.take_history().len(), 1);
        assert!(response.history().is_empty());
    }

    #[test]
    fn converts_both_ways() {
        let response = Response::new().header("a", "b").body("text");
        let theirs = ::http::Response::<Body>::try_from(response).unwrap();
        assert_eq!(theirs.headers()["a"], "b");
        let ours = Response::try_from(theirs.map(|_| "other")).unwrap();
        assert_eq!(ours.headers().get("A"), Some("b"));
        assert_eq!(ours.body_ref().as_bytes(), Some(&b"other"[..]));
    }

    #[test]
    fn sniffs_when_asked_and_nothing_is_known() {
        let types = |response: Response| {
            let advice = response.headers().get_all("x-content-type-options").count();
            let values = response.headers().get_all("content-type");
            let values: Vec<_> = values.map(String::from_utf8_lossy).collect();
            (values.join("|"), advice)
        };
        let page = || Response::new().body("<html>");
        let html = String::from("text/html; charset=utf-8");
        let text = String::from("text/plain; charset=utf-8");
        assert_eq!(types(page()), (String::new(), 0));
        assert_eq!(types(page().sniff()), (html.clone(), 1));
        assert_eq!(types(page().sniff_untrusted()), (text, 1));
        assert_eq!(types(page().sniff().sniff_untrusted()), (html.clone(), 1));
        let advised = page().header("X-Content-Type-Options", "nosniff");
        assert_eq!(types(advised.sniff()), (html, 1));
        let coded = page().header("content-encoding", "gzip").sniff();
        assert_eq!(types(coded), (String::new(), 0));
        let typed = page().content_type("a/b").sniff();
        assert_eq!(types(typed), (String::from("a/b"), 0));
        assert_eq!(types(Response::new().sniff()), (String::new(), 0));
        let streamed = Response::new().body(Body::incoming(None).1).sniff();
        assert_eq!(types(streamed), (String::new(), 0));
    }

    #[test]
    fn is_one_pointer() {
        assert_eq!(size_of::<Response>(), size_of::<usize>());
    }
}
