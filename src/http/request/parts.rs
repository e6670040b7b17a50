//! A client's request without its body: what may change threads.
//!
//! ```text
//!   Request ── take ──► Parts (Send) ── with a body of the other thread ──► Request
//! ```
//! What a request has memory for, its thread keeps for the next one, and the other thread has some
//! of its own. Fields go over with their memory, since that of a response's fields comes back.

use std::fmt;
use std::mem;

use ::http::Extensions;
use ::http::Method;
use ::http::Version;
use url::Url;

use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::request::Request;

/// Method, URL, target, fields and extensions of a request. What only a received one has is left out.
#[derive(Default)]
pub(crate) struct Parts {
    method: Method,
    version: Version,
    /// The target and where its path stands, where it is not that of the URL.
    target: Option<(String, (u32, u32))>,
    headers: Headers,
    trailers: Headers,
    extensions: Extensions,
    url: Option<Url>,
}

impl fmt::Debug for Parts {
    /// As a request shows itself: without its URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Parts {
    /// The URL, if the request has one.
    pub(crate) fn url(&self) -> Option<&Url> {
        self.url.as_ref()
    }

    /// Takes a request apart.
    pub(crate) fn take(mut request: Request) -> (Parts, Body) {
        let inner = request.inner_mut();
        let is_other = |url: &Url| !is_target_of(url, &inner.target);
        let target = match inner.url.as_ref().is_none_or(is_other) {
            true => Some((mem::take(&mut inner.target), inner.path)),
            false => None,
        };
        let mut headers = mem::take(&mut inner.headers);
        headers.take_memory_along();
        let parts = Parts {
            method: mem::take(&mut inner.method),
            version: inner.version,
            target,
            headers,
            trailers: mem::take(&mut inner.trailers),
            extensions: mem::take(&mut inner.extensions),
            url: inner.url.take(),
        };
        (parts, request.take_body())
    }

    /// Puts it together again.
    pub(crate) fn into_request(self, body: Body) -> Request {
        let mut request = Request::blank();
        if let Some(url) = self.url {
            request.set_url(url);
        }
        let inner = request.inner_mut();
        inner.method = self.method;
        inner.version = self.version;
        if let Some((target, path)) = self.target {
            inner.target = target;
            inner.path = path;
        }
        inner.headers = self.headers;
        inner.trailers = self.trailers;
        inner.extensions = self.extensions;
        inner.body.set(body);
        request
    }

    pub(crate) fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

/// True when it is the target that follows from the URL.
fn is_target_of(url: &Url, target: &str) -> bool {
    let path = if url.path().is_empty() {
        "/"
    } else {
        url.path()
    };
    match (target.strip_prefix(path), url.query()) {
        (Some(rest), Some(query)) => rest.strip_prefix('?') == Some(query),
        (Some(rest), None) => rest.is_empty(),
        (None, _) => false,
    }
}

/// Extensions are left out.
impl Clone for Parts {
    fn clone(&self) -> Parts {
        Parts {
            method: self.method.clone(),
            version: self.version,
            target: self.target.clone(),
            headers: self.headers.clone(),
            trailers: self.trailers.clone(),
            extensions: Extensions::new(),
            url: self.url.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_urls_and_others() {
        for (url, target, is_of_url) in [
            ("http://a/", "/", true),
            ("http://a/b?c", "/b?c", true),
            ("http://a/b?", "/b?", true),
            ("http://a/b?", "/b", false),
            ("http://a/b", "/b?", false),
            ("http://a/b", "/bc", false),
            ("http://a/b?c", "/b?d", false),
            ("http://a/b?c", "/x?c", false),
            ("http://a/", "a:80", false),
            ("http://a/", "*", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(is_target_of(&url, target), is_of_url, "{url} {target}");
            let mut request = Request::new(Method::OPTIONS, url);
            if !is_of_url {
                request.set_target(target).unwrap();
            }
            let again = Parts::take(request).0.into_request(Body::empty());
            assert_eq!(again.target(), target);
        }
    }

    #[test]
    fn nothing_is_lost() {
        fn is_sent<T: Send + Sync>(value: T) -> T {
            value
        }
        let url = Url::parse("http://u:p@a.example/x y?z#f").unwrap();
        let mut request = Request::new(Method::PUT, url.clone());
        request.set_path("/other%2f").unwrap();
        request.headers_mut().append("A", "b").unwrap();
        request.add_trailer("T", "1").unwrap();
        request.extensions_mut().insert(7_u8);
        request.set_body("text");
        let (parts, body) = Parts::take(request);
        let clone = parts.clone();
        let request = is_sent(parts).into_request(body);
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.url(), Some(&url));
        assert_eq!(request.target(), "/other%2f?z");
        assert_eq!((request.path(), request.query()), ("/other%2f", Some("z")));
        assert_eq!(request.header("a"), Some("b"));
        assert_eq!(request.trailers().unwrap().get("t"), Some("1"));
        assert_eq!(request.extensions().get::<u8>(), Some(&7));
        assert_eq!(request.body().as_bytes(), Some(&b"text"[..]));
        let clone = clone.into_request(Body::empty());
        assert_eq!(clone.target(), request.target());
        assert_eq!(clone.trailers(), request.trailers());
        assert!(clone.extensions().is_empty());
        // The memory that was left behind is blank.
        let blank = Request::blank();
        assert_eq!((blank.target(), blank.method()), ("", &Method::GET));
        assert!(blank.headers().is_empty());
    }
}
