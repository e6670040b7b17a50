//! Requests: what a handler gets, and what a client sends.
//!
//! ```text
//!   Request ──► method · target ("/a/b?c=d" → path, query) · version
//!               headers · params (from the router) · extensions
//!               body · peer address · disconnected()
//! ```
//!
//! A request is one pointer wide and owns a copy of its head, so it has no lifetime. All of that
//! memory serves the next request of the thread when it is dropped.

mod parts;
mod trailers;

use std::fmt;
use std::net::SocketAddr;

use ::http::Extensions;
use ::http::Method;
use ::http::StatusCode;
use ::http::Uri;
use ::http::Version;
use url::Url;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::disconnect::Disconnected;
use crate::http::headers::Headers;
use crate::http::headers::InvalidHeader;
use crate::http::link::RequestLink;
use crate::http::params::Params;
use crate::http::recycle::FreeList;
use crate::http::token;
use crate::limits::FREE_REQUESTS_MAX;

pub(crate) use crate::http::request::parts::Parts;

/// A request, received or to be sent.
///
/// ```
/// use roundtrip::http::request::Request;
///
/// let request = Request::for_target("GET", "/users/7?verbose=1")?;
/// assert_eq!(request.path(), "/users/7");
/// assert_eq!(request.query(), Some("verbose=1"));
/// assert_eq!(request.param("id"), "");
/// # Ok::<(), roundtrip::Error>(())
/// ```
pub struct Request {
    /// `None` only while the request is dropped.
    inner: Option<Box<Inner>>,
}

struct Inner {
    method: Method,
    version: Version,
    target: String,
    /// Where the path stands in the target.
    path: (u32, u32),
    headers: Headers,
    /// Of a client's request, to be sent behind the body.
    trailers: Headers,
    body: Body,
    params: Params,
    /// Empty before a route was found.
    pattern: String,
    extensions: Extensions,
    url: Option<Url>,
    addresses: Addresses,
    link: Option<RequestLink>,
    /// True when the connection that it came by is secured.
    is_secured: bool,
}

/// The addresses of the connection that the request came by. Values, so that a request may outlive
/// its connection.
#[derive(Clone, Copy, Default)]
struct Addresses {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
}

thread_local! {
    static FREE: FreeList<Box<Inner>> = const { FreeList::new(FREE_REQUESTS_MAX) };
}

impl Request {
    /// A request of a client. The target is the URL's path and query; the fragment is not sent.
    pub fn new(method: Method, url: Url) -> Request {
        let mut request = Request::blank();
        request.inner_mut().method = method;
        request.set_url(url);
        request
    }

    /// A request as a server receives it, without its connection: for tests of handlers. The
    /// target is a path with an optional query, a whole URL, `*`, or an authority (RFC 9112 §3.2).
    pub fn for_target(method: &str, target: &str) -> Result<Request> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Error::new(ErrorKind::Invalid, "the method is not a token"))?;
        let kinds = checked_target(target)?;
        let mut request = Request::blank();
        request.set_head(method, target, kinds, Version::HTTP_11);
        Ok(request)
    }

    /// `GET /` in recycled memory.
    pub(crate) fn blank() -> Request {
        let recycled = FREE.try_with(FreeList::take).ok().flatten();
        let inner = recycled.unwrap_or_else(|| {
            Box::new(Inner {
                method: Method::GET,
                version: Version::HTTP_11,
                target: String::new(),
                path: (0, 0),
                headers: Headers::new(),
                trailers: Headers::new(),
                body: Body::empty(),
                params: Params::default(),
                pattern: String::new(),
                extensions: Extensions::new(),
                url: None,
                addresses: Addresses::default(),
                link: None,
                is_secured: false,
            })
        });
        Request { inner: Some(inner) }
    }

    /// Sets the request line; the target was checked, and holds bytes of these
    /// [kinds](token::target_kinds).
    pub(crate) fn set_head(&mut self, method: Method, target: &str, kinds: u8, version: Version) {
        let inner = self.inner_mut();
        inner.method = method;
        inner.version = version;
        inner.target.clear();
        inner.target.push_str(target);
        inner.path = path_of(target, kinds & token::QUERY != 0);
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.inner().method
    }

    /// Sets the method.
    pub fn set_method(&mut self, method: Method) {
        self.inner_mut().method = method;
    }

    /// The second word of the request line, as received or as it will be sent.
    pub fn target(&self) -> &str {
        &self.inner().target
    }

    /// The scheme in lower case: of the URL, where there is one; else `https` where the connection is
    /// secured, which none is without TLS, and `http` elsewhere.
    pub fn scheme(&self) -> &str {
        let inner = self.inner();
        if let Some(url) = &inner.url {
            return url.scheme();
        }
        let target = inner.target.as_bytes();
        let names = |scheme: &[u8]| {
            let start = target.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        match names(b"https://") || (inner.is_secured && !names(b"http://")) {
            true => "https",
            false => "http",
        }
    }

    /// Says that the connection that the request came by is secured.
    pub(crate) fn set_secured(&mut self) {
        self.inner_mut().is_secured = true;
    }

    /// The path as it came, still percent-coded, without the query; `/` for a whole URL without a
    /// path (RFC 9110 §4.2.3). `*` for `OPTIONS *`, empty for CONNECT with an authority.
    #[inline]
    pub fn path(&self) -> &str {
        let inner = self.inner();
        path_in(&inner.target, inner.path)
    }

    /// Sets the path, percent-coded; host and query stay as they are. For middleware: the route was
    /// found before. An error when it does not begin with `/` or no target could hold it, and for a
    /// target without a path (`*`, an authority).
    pub fn set_path(&mut self, path: &str) -> Result<()> {
        let is_path = |text: &str| text.starts_with('/') && !text.contains('?');
        if !is_path(path) || !token::is_target(path.as_bytes()) || !is_path(self.path()) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a path begins with `/` and is visible ASCII without `?` and `#`",
            ));
        }
        let inner = self.inner_mut();
        let (start, end) = inner.path;
        inner
            .target
            .replace_range(start as usize..end as usize, path);
        inner.path.1 = start + path.len() as u32;
        Ok(())
    }

    /// What follows the first `?`, still percent-coded; `None` without `?`.
    pub fn query(&self) -> Option<&str> {
        let inner = self.inner();
        inner.target[inner.path.1 as usize..].strip_prefix('?')
    }

    /// The host and port for which the request is meant: the target's where it is a whole URL or
    /// an authority (it then overrides the field, RFC 9112 §3.2.2), else the `Host` field.
    pub fn host(&self) -> Option<&str> {
        let inner = self.inner();
        let before_path = &inner.target[..inner.path.0 as usize];
        match before_path.split_once("://") {
            Some((_, authority)) => Some(authority),
            None if !before_path.is_empty() => Some(before_path),
            None => inner.headers.get("host"),
        }
    }

    /// HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        self.inner().version
    }

    /// The URL, of a client's request.
    pub fn url(&self) -> Option<&Url> {
        self.inner().url.as_ref()
    }

    /// The URL, taken out to be changed and set again.
    pub(crate) fn take_url(&mut self) -> Option<Url> {
        self.inner_mut().url.take()
    }

    /// Sets the URL and with it the target, as a redirect does.
    pub fn set_url(&mut self, url: Url) {
        let inner = self.inner_mut();
        inner.target.clear();
        inner.target.push_str(url.path());
        if inner.target.is_empty() {
            inner.target.push('/');
        }
        let path_end = inner.target.len() as u32;
        if let Some(query) = url.query() {
            inner.target.push('?');
            inner.target.push_str(query);
        }
        inner.path = (0, path_end);
        inner.url = Some(url);
    }

    /// Sets the request target, where it is not the URL's path and query: an authority for CONNECT,
    /// `*` for OPTIONS, a whole URL for a proxy (RFC 9112 §3.2). The URL stays.
    ///
    /// # Errors
    ///
    /// Of kind `Invalid` for what is not visible ASCII, or holds a `#`.
    pub fn set_target(&mut self, target: &str) -> Result<()> {
        let kinds = checked_target(target)?;
        let (method, version) = (self.method().clone(), self.version());
        self.set_head(method, target, kinds, version);
        Ok(())
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.inner().headers
    }

    /// The header fields, to be changed.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.inner_mut().headers
    }

    /// The first value of a header field; see [`Headers::get`].
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        self.headers().get(name)
    }

    /// Adds a header field.
    pub fn with_header(
        mut self,
        name: impl AsRef<str>,
        value: impl AsRef<[u8]>,
    ) -> Result<Request, InvalidHeader> {
        self.headers_mut().append(name, value)?;
        Ok(self)
    }

    /// What the router found for `{name}` in the path, percent-decoded; empty when the pattern has
    /// no such name. U+FFFD stands for what is not UTF-8, of which [`Request::param_bytes`] has the
    /// bytes.
    pub fn param(&self, name: &str) -> &str {
        self.inner().params.get(name).unwrap_or("")
    }

    /// As [`Request::param`], as the bytes that were sent; `None` when the pattern has no such name.
    ///
    /// ```
    /// use roundtrip::Request;
    ///
    /// let mut request = Request::for_target("GET", "/%FF")?;
    /// request.push_param_bytes("name", b"\xff");
    /// assert_eq!(request.param("name"), "\u{fffd}");
    /// assert_eq!(request.param_bytes("name"), Some(&b"\xff"[..]));
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    pub fn param_bytes(&self, name: &str) -> Option<&[u8]> {
        self.inner().params.get_bytes(name)
    }

    /// All that the router found in the path: names and values, in order, as [`Request::param`] has
    /// them.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner().params.iter()
    }

    /// As [`Request::params`], with values as the bytes that were sent.
    pub fn params_bytes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.inner().params.iter_bytes()
    }

    /// The pattern of the route that answers, as it was registered, with the prefixes of the routers
    /// that it was nested in: `GET /users/{id}`. What belongs into a label of a metric, where the
    /// path does not. `None` where no route answers.
    pub fn pattern(&self) -> Option<&str> {
        Some(self.inner().pattern.as_str()).filter(|pattern| !pattern.is_empty())
    }

    /// Says which route answers; for routers.
    pub fn set_pattern(&mut self, pattern: &str) {
        let own = &mut self.inner_mut().pattern;
        own.clear();
        own.push_str(pattern);
    }

    /// Adds a path parameter; for routers.
    pub fn push_param(&mut self, name: &str, value: &str) {
        self.inner_mut().params.push(name, value);
    }

    /// Adds a path parameter that may be no UTF-8; for routers.
    pub fn push_param_bytes(&mut self, name: &str, value: &[u8]) {
        self.inner_mut().params.push_bytes(name, value);
    }

    /// Adds a path parameter whose value stands in the [path](Request::path), as it came; for
    /// routers.
    pub fn push_param_span(&mut self, name: &str, span: std::ops::Range<usize>) {
        let inner = self.inner_mut();
        let path = path_in(&inner.target, inner.path);
        inner.params.push(name, &path[span]);
    }

    /// Replaces all path parameters; for routers.
    pub fn set_params<'a>(&mut self, params: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let own = &mut self.inner_mut().params;
        own.clear();
        for (name, value) in params {
            own.push(name, value);
        }
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.inner().body
    }

    /// The body, to be read.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.inner_mut().body
    }

    /// The body; the rest of the request is dropped.
    pub fn into_body(mut self) -> Body {
        self.take_body()
    }

    /// The body, taken out; the request then has none.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(self.body_mut())
    }

    /// Sets the body.
    pub fn set_body(&mut self, body: impl Into<Body>) {
        self.body_mut().set(body.into());
    }

    /// With another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Request {
        self.set_body(body);
        self
    }

    /// The client's address; `None` on a Unix socket and for requests that were not received.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.inner().addresses.peer
    }

    /// Our address, to which the client connected: of several listeners it tells which. `None` on a
    /// Unix socket and for requests that were not received.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner().addresses.local
    }

    /// Sets the client's address.
    pub fn set_peer_addr(&mut self, peer: Option<SocketAddr>) {
        self.inner_mut().addresses.peer = peer;
    }

    /// Sets the client's address and ours.
    pub fn set_addresses(&mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        self.inner_mut().addresses = Addresses { peer, local };
    }

    /// Values that middleware attached: one per type, found by it. They are dropped with the request,
    /// and no other request sees them.
    pub fn extensions(&self) -> &Extensions {
        &self.inner().extensions
    }

    /// Values that middleware attached, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.inner_mut().extensions
    }

    /// Resolves when the client of this request has closed its connection, or its side of it. After
    /// a half-close the client may still wait for the response, which is sent as usual; after a
    /// reset the handler is dropped. Never, for a request that was not received.
    pub fn disconnected(&self) -> Disconnected {
        match &self.inner().link {
            Some(link) => link.disconnected(),
            None => Disconnected::never(),
        }
    }

    /// Sends an informational response before the final one: 103 (Early Hints), 102 (Processing) or
    /// any other 1xx. It goes out at once, also while the handler goes on, which thus is an
    /// asynchronous one. Fields that frame a message or belong to a connection are left out.
    ///
    /// Nothing happens where nobody could receive it: a client of HTTP/1.0, a request whose response
    /// has begun, one of a synchronous handler, or one that was not received. 100 is not sent this
    /// way: it goes out when the body is first read.
    ///
    /// ```
    /// use roundtrip::Request;
    /// async fn page(request: Request) -> roundtrip::Result<&'static str> {
    ///     let style = [("Link", "</style.css>; rel=preload; as=style")];
    ///     request.inform(::http::StatusCode::EARLY_HINTS, style)?;
    ///     Ok("<!doctype html>…")
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Of kind `Invalid` for a status or a field that cannot be sent, of kind `Limit` for more than
    /// 16 of them, or 32 KiB, for one request.
    pub fn inform<N, V>(
        &self,
        status: StatusCode,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<()>
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let is_own = matches!(
            status,
            StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS
        );
        if !status.is_informational() || is_own {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{status} is not sent with Request::inform: 1xx are, but for 100 and 101"),
            ));
        }
        let headers = Headers::from_pairs(headers)?;
        match &self.inner().link {
            Some(link) => link.inform(status, headers),
            None => Ok(()),
        }
    }

    /// Says which exchange the request belongs to; for [`Request::disconnected`] and
    /// [`Request::inform`].
    pub fn set_link(&mut self, link: RequestLink) {
        self.inner_mut().link = Some(link);
    }

    /// A second request with the same head and, where that is possible without reading it, the
    /// same body, and clones of its extensions; `None` where it is not. Parameters are left out.
    pub fn try_clone(&self) -> Option<Request> {
        let inner = self.inner();
        let body = inner.body.try_clone()?;
        let mut clone = Request::blank();
        let kinds = token::target_kinds(inner.target.as_bytes());
        clone.set_head(inner.method.clone(), &inner.target, kinds, inner.version);
        let copy = clone.inner_mut();
        copy.headers = inner.headers.clone();
        copy.trailers = inner.trailers.clone();
        copy.body = body;
        copy.url = inner.url.clone();
        copy.extensions = inner.extensions.clone();
        copy.addresses = inner.addresses;
        copy.link = inner.link.clone();
        copy.is_secured = inner.is_secured;
        Some(clone)
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

/// The [kinds](token::target_kinds) of bytes in a target that can be sent.
fn checked_target(target: &str) -> Result<u8> {
    let kinds = token::target_kinds(target.as_bytes());
    if target.is_empty() || kinds & token::TARGET_INVALID != 0 {
        return Err(Error::new(
            ErrorKind::Invalid,
            "a request target is visible ASCII without `#`",
        ));
    }
    Ok(kinds)
}

/// Where the path of a target stands. Of a whole URL the path may be empty, and stands behind the
/// authority; an authority has none, and stands before it.
fn path_of(target: &str, has_query: bool) -> (u32, u32) {
    let path_end = |start: usize| {
        if !has_query {
            return target.len();
        }
        let query = memchr::memchr(b'?', &target.as_bytes()[start..]);
        query.map_or(target.len(), |at| start + at)
    };
    let start = if target.starts_with('/') || target == "*" {
        0
    } else if let Some(scheme) = target.find("://") {
        let authority = scheme + 3;
        let ends = |byte: u8| byte == b'/' || byte == b'?';
        let rest = &target.as_bytes()[authority..];
        let path = rest.iter().position(|&byte| ends(byte));
        path.map_or(target.len(), |at| authority + at)
    } else {
        target.len()
    };
    (start as u32, path_end(start) as u32)
}

/// The path that stands there, or what its absence means.
#[inline]
fn path_in(target: &str, (start, end): (u32, u32)) -> &str {
    match start {
        // Most targets are a path and nothing else.
        0 if end as usize == target.len() => target,
        0 => &target[..end as usize],
        _ => path_of_url_in(target, (start, end)),
    }
}

fn path_of_url_in(target: &str, (start, end): (u32, u32)) -> &str {
    let path = &target[start as usize..end as usize];
    if path.is_empty() && target[..start as usize].contains("://") {
        return "/";
    }
    path
}

impl Drop for Request {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else {
            return;
        };
        // Values of the user are dropped here, before the free list is touched.
        inner.body.set(Body::empty());
        inner.extensions.clear();
        inner.headers.recycle();
        inner.trailers.recycle();
        inner.params.clear();
        inner.pattern.clear();
        inner.url = None;
        inner.addresses = Addresses::default();
        inner.link = None;
        inner.is_secured = false;
        inner.method = Method::GET;
        inner.version = Version::HTTP_11;
        inner.path = (0, 0);
        inner.target.clear();
        if inner.target.capacity() > RECYCLED_TARGET_BYTES_MAX {
            inner.target = String::new();
        }
        // At the end of a thread the list may be gone already.
        let _ = FREE.try_with(|free| free.give(inner));
    }
}

/// Longer targets are given back to the allocator.
const RECYCLED_TARGET_BYTES_MAX: usize = 1_024;

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", self.method())
            .field("target", &self.target())
            .field("version", &self.version())
            .field("headers", self.headers())
            .field("body", self.body())
            .finish()
    }
}

/// What a request of a server knows beside what `::http::Request` has a place for: an extension of
/// requests that were converted to that type, and read again on the way back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The client's address.
    pub peer_addr: Option<SocketAddr>,
    /// Our address.
    pub local_addr: Option<SocketAddr>,
    /// What the router found in the path: names and values, in order.
    pub params: Vec<(String, Vec<u8>)>,
}

impl TryFrom<Request> for ::http::Request<Body> {
    type Error = Error;

    /// Method, URI, version, fields, extensions and body; what only a server's request has goes
    /// into the extension [`Received`]. `disconnected` is left out: it belongs to one thread.
    ///
    /// Fails where the target is no `Uri` as the `http` crate reads it, or where there are more
    /// fields than the map holds.
    fn try_from(mut request: Request) -> Result<::http::Request<Body>> {
        let uri = match request.url() {
            Some(url) => url.as_str(),
            None => request.target(),
        };
        let uri = Uri::try_from(uri).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the target is not a URI").because(error)
        })?;
        let mut converted = ::http::Request::new(request.take_body());
        *converted.uri_mut() = uri;
        *converted.method_mut() = request.method().clone();
        *converted.version_mut() = request.version();
        *converted.headers_mut() = request.headers().try_into()?;
        *converted.extensions_mut() = std::mem::take(request.extensions_mut());
        let received = Received {
            peer_addr: request.peer_addr(),
            local_addr: request.local_addr(),
            params: request
                .params_bytes()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        if request.url().is_none() {
            converted.extensions_mut().insert(received);
        }
        Ok(converted)
    }
}

impl<B: Into<Body>> TryFrom<::http::Request<B>> for Request {
    type Error = Error;

    /// A URI with scheme and host becomes the URL, unless there is the extension [`Received`];
    /// another one is the target as it stands.
    fn try_from(request: ::http::Request<B>) -> Result<Request> {
        let (mut parts, body) = request.into_parts();
        let received = parts.extensions.remove::<Received>();
        let mut converted = if received.is_none() && parts.uri.scheme().is_some() {
            let url = Url::parse(&parts.uri.to_string())
                .map_err(|error| Error::new(ErrorKind::Invalid, "bad URL").because(error))?;
            Request::new(parts.method, url)
        } else {
            Request::for_target(parts.method.as_str(), &parts.uri.to_string())?
        };
        let inner = converted.inner_mut();
        inner.version = parts.version;
        inner.headers = Headers::try_from(&parts.headers)?;
        inner.extensions = parts.extensions;
        inner.body = body.into();
        if let Some(received) = received {
            converted.set_addresses(received.peer_addr, received.local_addr);
            for (name, value) in &received.params {
                converted.push_param_bytes(name, value);
            }
        }
        Ok(converted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_every_form_of_target() {
        for (target, path, query, host) in [
            ("/", "/", None, None),
            ("/a/b?c=d?e", "/a/b", Some("c=d?e"), None),
            ("/a?", "/a", Some(""), None),
            ("/http://x/", "/http://x/", None, None),
            ("*", "*", None, None),
            ("http://h:80/a?b", "/a", Some("b"), Some("h:80")),
            ("http://h", "/", None, Some("h")),
            ("http://h?q", "/", Some("q"), Some("h")),
            ("http://h/?q", "/", Some("q"), Some("h")),
            ("example.com:443", "", None, Some("example.com:443")),
        ] {
            let request = Request::for_target("GET", target).unwrap();
            assert_eq!(request.path(), path, "{target}");
            assert_eq!(request.query(), query, "{target}");
            assert_eq!(request.host(), host, "{target}");
        }
    }

    #[test]
    fn the_scheme_is_that_of_the_url_or_the_connection() {
        for (target, plain, secured) in [
            ("/", "http", "https"),
            ("*", "http", "https"),
            ("h:443", "http", "https"),
            ("http://h/", "http", "http"),
            ("HTTPS://h", "https", "https"),
        ] {
            let mut request = Request::for_target("GET", target).unwrap();
            assert_eq!(request.scheme(), plain, "{target}");
            request.set_secured();
            assert_eq!(request.scheme(), secured, "{target}");
            assert_eq!(request.try_clone().unwrap().scheme(), secured, "{target}");
        }
        assert_eq!(Request::for_target("GET", "/").unwrap().scheme(), "http");
        let url = Url::parse("https://h/").unwrap();
        assert_eq!(Request::new(Method::GET, url).scheme(), "https");
    }

    #[test]
    fn host_field_counts_without_an_authority() {
        let request = Request::for_target("GET", "/").unwrap();
        let request = request.with_header("Host", "field").unwrap();
        assert_eq!(request.host(), Some("field"));
        let request = Request::for_target("GET", "http://target/").unwrap();
        let request = request.with_header("Host", "field").unwrap();
        assert_eq!(request.host(), Some("target"));
    }

    #[test]
    fn target_of_a_url() {
        let url = Url::parse("http://u:p@h:81/a b?c d#frag").unwrap();
        let mut request = Request::new(Method::GET, url);
        assert_eq!(request.target(), "/a%20b?c%20d");
        assert_eq!(request.path(), "/a%20b");
        request.set_url(Url::parse("http://h").unwrap());
        assert_eq!(request.target(), "/");
    }

    #[test]
    fn refuses_what_would_split_a_request_line() {
        assert!(Request::for_target("GE T", "/").is_err());
        assert!(Request::for_target("GET", "/ HTTP/1.1\r\n").is_err());
        assert!(Request::for_target("GET", "").is_err());
    }

    #[test]
    fn a_recycled_request_is_blank() {
        let mut request = Request::for_target("POST", "/a").unwrap().with_body("x");
        request.headers_mut().append("a", "b").unwrap();
        request.push_param("id", "7");
        request.extensions_mut().insert(5u8);
        assert_eq!(request.param("id"), "7");
        drop(request);
        let request = Request::for_target("GET", "/b").unwrap();
        assert!(request.headers().is_empty());
        assert!(request.body().is_empty());
        assert!(request.extensions().is_empty());
        assert_eq!(request.param("id"), "");
        assert_eq!(request.params().count(), 0);
        drop(request);
        let mut request = Request::for_target("GET", "/c").unwrap();
        request.set_head(Method::GET, "/c", 0, Version::HTTP_10);
        drop(request);
        let request = Request::new(Method::GET, Url::parse("http://h").unwrap());
        assert_eq!(request.version(), Version::HTTP_11);
        drop(request);
        assert_eq!(Request::blank().target(), "");
    }

    #[test]
    fn a_span_of_an_implied_path_is_a_parameter() {
        let mut request = Request::for_target("GET", "http://h").unwrap();
        request.push_param_span("rest", 1..1);
        request.push_param_span("all", 0..1);
        assert_eq!((request.param("rest"), request.param("all")), ("", "/"));
    }

    #[test]
    fn drops_user_values_without_a_borrow() {
        // The drop of an extension makes and drops a request: the free list must be free.
        #[derive(Clone)]
        struct Reentrant;
        impl Drop for Reentrant {
            fn drop(&mut self) {
                drop(Request::for_target("GET", "/").unwrap());
            }
        }
        let mut request = Request::for_target("GET", "/").unwrap();
        request.extensions_mut().insert(Reentrant);
        drop(request);
    }

    #[test]
    fn converts_both_ways() {
        let request = Request::for_target("PUT", "/a?b").unwrap();
        let request = request.with_header("Host", "h").unwrap().with_body("text");
        let theirs = ::http::Request::<Body>::try_from(request).unwrap();
        assert_eq!(theirs.uri().path(), "/a");
        assert_eq!(theirs.body().length(), Some(4));
        let ours = Request::try_from(theirs).unwrap();
        assert_eq!(ours.target(), "/a?b");
        assert_eq!(ours.header("host"), Some("h"));

        let theirs = ::http::Request::get("http://h/x")
            .body(Body::empty())
            .unwrap();
        let ours = Request::try_from(theirs).unwrap();
        assert_eq!(ours.url().unwrap().as_str(), "http://h/x");
        assert_eq!(ours.target(), "/x");
    }

    #[test]
    fn nothing_of_a_received_request_is_lost() {
        let (peer, local) = ("1.2.3.4:5".parse().ok(), "[::1]:80".parse().ok());
        for target in ["/a/7?b=%20", "http://h:80/a", "*", "h:443"] {
            let method = if target.contains("443") {
                "CONNECT"
            } else {
                "OPTIONS"
            };
            let request = Request::for_target(method, target).unwrap();
            let mut request = request.with_header("A", "1").unwrap().with_body("x");
            request.headers_mut().append("a", "2").unwrap();
            request.set_addresses(peer, local);
            request.push_param("id", "7");
            request.extensions_mut().insert(5u8);
            let theirs = ::http::Request::<Body>::try_from(request).unwrap();
            let received = theirs.extensions().get::<Received>().unwrap();
            assert_eq!(received.peer_addr, peer);
            let ours = Request::try_from(theirs).unwrap();
            assert_eq!((ours.method().as_str(), ours.target()), (method, target));
            assert!(ours.headers().get_all("a").eq([b"1", b"2"]));
            assert_eq!((ours.peer_addr(), ours.local_addr()), (peer, local));
            assert_eq!(ours.param("id"), "7");
            assert_eq!(ours.extensions().get::<u8>(), Some(&5));
            assert_eq!(ours.extensions().len(), 1);
            assert_eq!(ours.body().as_bytes(), Some(&b"x"[..]));
        }
    }

    #[test]
    fn addresses_are_values() {
        let known = |last: u8| Some(SocketAddr::from(([10, 0, 0, last], 80)));
        let mut request = Request::for_target("GET", "/").unwrap();
        request.set_addresses(known(1), known(2));
        let clone = request.try_clone().unwrap();
        request.set_peer_addr(known(3));
        assert_eq!(
            (request.peer_addr(), request.local_addr()),
            (known(3), known(2))
        );
        assert_eq!(
            (clone.peer_addr(), clone.local_addr()),
            (known(1), known(2))
        );
        drop((request, clone));
        let request = Request::for_target("GET", "/").unwrap();
        assert_eq!((request.peer_addr(), request.local_addr()), (None, None));
    }

    #[test]
    fn is_one_pointer() {
        assert_eq!(size_of::<Request>(), size_of::<usize>());
    }
}
