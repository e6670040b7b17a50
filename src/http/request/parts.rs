//! A client's request without its body: what may change threads.
//!
//! ```text
//!   Request ── take ──► Parts (Send) ── with a body of the other thread ──► Request
//! ```
//! Nothing is copied: the memory that the request keeps is used again by the next one of its thread.

use std::mem;

use ::http::Extensions;
use ::http::Method;
use ::http::Version;
use url::Url;

use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::request::Request;

/// Method, URL, target, fields and extensions of a request. What only a received one has is left out.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    method: Method,
    version: Version,
    target: String,
    path: (u32, u32),
    headers: Headers,
    trailers: Headers,
    extensions: Extensions,
    url: Option<Url>,
}

impl Parts {
    /// Takes a request apart.
    pub(crate) fn take(mut request: Request) -> (Parts, Body) {
        let inner = request.inner_mut();
        let parts = Parts {
            method: mem::take(&mut inner.method),
            version: inner.version,
            target: mem::take(&mut inner.target),
            path: inner.path,
            headers: mem::take(&mut inner.headers),
            trailers: mem::take(&mut inner.trailers),
            extensions: mem::take(&mut inner.extensions),
            url: inner.url.take(),
        };
        (parts, request.take_body())
    }

    /// Puts it together again.
    pub(crate) fn into_request(self, body: Body) -> Request {
        let mut request = Request::blank();
        let inner = request.inner_mut();
        inner.method = self.method;
        inner.version = self.version;
        inner.target = self.target;
        inner.path = self.path;
        inner.headers = self.headers;
        inner.trailers = self.trailers;
        inner.extensions = self.extensions;
        inner.url = self.url;
        inner.body.set(body);
        request
    }

    pub(crate) fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

/// Extensions are left out.
impl Clone for Parts {
    fn clone(&self) -> Parts {
        Parts {
            method: self.method.clone(),
            version: self.version,
            target: self.target.clone(),
            path: self.path,
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
