//! Where a redirect leads (RFC 9110 §15.4), without I/O.
//!
//! ```text
//!   301, 302, 303   GET and HEAD stay, everything else becomes GET without body
//!   307, 308        method and body stay
//!   another origin  credentials stay behind, for the rest of the chain
//! ```
//! As in net/http, with two differences: what is another host there is another origin here (scheme
//! and port count, sub-domains are not trusted), since credentials belong to an origin; and a 307
//! whose body cannot be sent again is an answer there and here: it is returned as it came.

use ::http::Method;
use ::http::StatusCode;
use url::Url;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::request::Request;

/// Fields that prove who asks; they belong to the origin that the caller chose.
const CREDENTIALS: [&str; 6] = [
    "authorization",
    "cookie",
    "cookie2",
    "proxy-authorization",
    "proxy-authenticate",
    "www-authenticate",
];

/// Fields that describe a body, dropped with it.
const OF_BODY: [&str; 4] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-location",
];

/// A redirect that can be followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) keeps_body: bool,
    /// True when it leads to another origin, where credentials do not belong.
    pub(super) leaves: bool,
}

/// The request that follows from a response, `None` when the response is the answer: no redirect,
/// or none that says where to.
pub(super) fn decide(
    method: &Method,
    url: &Url,
    status: StatusCode,
    location: Option<&[u8]>,
) -> Result<Option<Redirect>> {
    let keeps_body = match status.as_u16() {
        301..=303 => false,
        307 | 308 => true,
        _ => return Ok(None),
    };
    let Some(location) = location else {
        return Ok(None);
    };
    let target = std::str::from_utf8(location)
        .ok()
        .and_then(|text| url.join(text).ok());
    let Some(mut target) = target else {
        return Err(Error::new(
            ErrorKind::Protocol,
            "the Location of the redirect is not a URL",
        )
        .in_phase(Phase::ResponseHead));
    };
    if target.fragment().is_none() {
        target.set_fragment(url.fragment());
    }
    let stays = keeps_body || matches!(*method, Method::GET | Method::HEAD);
    Ok(Some(Redirect {
        leaves: url.origin() != target.origin(),
        url: target,
        method: if stays { method.clone() } else { Method::GET },
        keeps_body,
    }))
}

/// Makes the next request of the last one.
pub(super) fn follow(request: &mut Request, redirect: Redirect) {
    let Redirect {
        url,
        method,
        keeps_body,
        leaves,
    } = redirect;
    let referer = request.url().and_then(|from| referer(from, &url));
    request.set_method(method);
    request.set_url(url);
    if !keeps_body {
        request.set_body(Body::empty());
    }
    let headers = request.headers_mut();
    if !keeps_body {
        for name in OF_BODY {
            headers.remove(name);
        }
    }
    if leaves {
        for name in CREDENTIALS {
            headers.remove(name);
        }
        headers.remove("host");
    }
    headers.remove("referer");
    if let Some(referer) = referer {
        let added = headers.append("Referer", referer);
        assert!(added.is_ok(), "a URL is a valid value");
    }
}

/// The URL we came from, without what is nobody's business; nothing from https to http.
fn referer(from: &Url, to: &Url) -> Option<String> {
    if from.scheme() == "https" && to.scheme() != "https" {
        return None;
    }
    let mut referer = from.clone();
    referer.set_fragment(None);
    // Both fail only for URLs that cannot have credentials.
    let _ = referer.set_username("");
    let _ = referer.set_password(None);
    Some(referer.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn methods_and_bodies() {
        let cases = [
            ("GET", 301, Some(("GET", false))),
            ("HEAD", 302, Some(("HEAD", false))),
            ("POST", 301, Some(("GET", false))),
            ("POST", 302, Some(("GET", false))),
            ("PUT", 303, Some(("GET", false))),
            ("DELETE", 302, Some(("GET", false))),
            ("POST", 307, Some(("POST", true))),
            ("PATCH", 308, Some(("PATCH", true))),
            ("GET", 308, Some(("GET", true))),
            ("GET", 200, None),
            ("GET", 300, None),
            ("GET", 304, None),
            ("GET", 305, None),
            ("GET", 404, None),
        ];
        for (method, status, expected) in cases {
            let found = decide(
                &Method::from_bytes(method.as_bytes()).unwrap(),
                &url("http://a.example/x"),
                StatusCode::from_u16(status).unwrap(),
                Some(b"/y"),
            );
            let found = found.unwrap();
            let found = found.as_ref().map(|to| (to.method.as_str(), to.keeps_body));
            assert_eq!(found, expected, "{method} {status}");
        }
    }

    #[test]
    fn locations() {
        let cases = [
            (
                "http://a.example/x/y?q#f",
                "z",
                Some("http://a.example/x/z#f"),
            ),
            ("http://a.example/x", "/z#g", Some("http://a.example/z#g")),
            (
                "http://a.example/x",
                "//b.example/",
                Some("http://b.example/"),
            ),
            ("http://a.example/x", "?k=v", Some("http://a.example/x?k=v")),
            (
                "http://a.example/x",
                "https://b.example",
                Some("https://b.example/"),
            ),
            ("http://a.example/x", "http://[broken", None),
            ("http://a.example/x", "http://a.example:99999/", None),
        ];
        for (from, location, expected) in cases {
            let found = decide(
                &Method::GET,
                &url(from),
                StatusCode::FOUND,
                Some(location.as_bytes()),
            );
            let found = found.ok().flatten().map(|to| to.url);
            assert_eq!(found, expected.map(url), "{location}");
        }
        let none = decide(&Method::GET, &url("http://a/"), StatusCode::FOUND, None);
        assert!(none.unwrap().is_none());
        let binary = decide(
            &Method::GET,
            &url("http://a/"),
            StatusCode::FOUND,
            Some(b"\xff\xfe"),
        );
        assert_eq!(binary.unwrap_err().kind(), ErrorKind::Protocol);
    }

    fn followed(from: &str, to: &str, keeps_body: bool) -> Request {
        let mut request = Request::new(Method::POST, url(from)).with_body("abc");
        for name in ["Authorization", "Cookie", "Content-Type", "Host", "X-Mine"] {
            request.headers_mut().append(name, "v").unwrap();
        }
        let redirect = Redirect {
            leaves: url(from).origin() != url(to).origin(),
            url: url(to),
            method: Method::POST,
            keeps_body,
        };
        follow(&mut request, redirect);
        request
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let cases = [
            ("http://a.example/", true),
            ("http://a.example:80/other", true),
            ("http://a.example:8080/", false),
            ("https://a.example/", false),
            ("http://sub.a.example/", false),
            ("http://b.example/", false),
        ];
        for (to, stays) in cases {
            let request = followed("http://a.example/", to, true);
            assert_eq!(request.headers().contains("authorization"), stays, "{to}");
            assert_eq!(request.headers().contains("cookie"), stays, "{to}");
            assert_eq!(request.headers().contains("host"), stays, "{to}");
            assert!(request.headers().contains("x-mine"));
            assert!(request.headers().contains("content-type"));
            assert_eq!(request.body().length(), Some(3));
        }
    }

    #[test]
    fn what_describes_a_body_goes_with_it() {
        let request = followed("http://a.example/", "http://a.example/b", false);
        assert!(request.body().is_empty());
        assert!(!request.headers().contains("content-type"));
        assert_eq!(request.target(), "/b");
    }

    #[test]
    fn the_referer_holds_no_secrets() {
        let request = followed("http://u:p@a.example/x#f", "http://a.example/b", false);
        assert_eq!(request.header("referer"), Some("http://a.example/x"));
        let request = followed("https://a.example/x", "http://a.example/b", false);
        assert_eq!(request.header("referer"), None);
    }
}
