//! Responses that send the client elsewhere (RFC 9110 §15.4).
//!
//! ```text
//!                        method becomes GET    method stays
//!   once                 to (303), found (302)  temporary (307)
//!   from now on          moved (301)            permanent (308)
//! ```
//!
//! The target may be a path, a whole URL, or relative; what may not stand in a URI is
//! percent-encoded, so that no target can begin another header field. A target that a stranger had a
//! hand in, such as `?next=`, goes through [`Redirect::local`].

use ::http::Method;
use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::clean;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::into_response::IntoResponse;

/// A response that sends the client to another place.
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::Router;
/// use roundtrip::server::Redirect;
///
/// let router = Router::new()
///     .get("/old", |_: &Request| Redirect::permanent("/new"))
///     .post("/orders", |_: &Request| Redirect::to("/orders/7")) // fetched with GET
///     .get("/signed-in", |request: &Request| {
///         let next = request.query().and_then(|query| query.strip_prefix("next="));
///         Redirect::to(next.unwrap_or("/")).local() // an error, answered 400, if it leads away
///     });
/// # let _ = router;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    target: String,
    /// True exactly when a short page goes with it.
    has_page: bool,
}

impl Redirect {
    /// 303: the answer to this request is over there, to be fetched with GET. What follows a form.
    pub fn to(target: impl Into<String>) -> Redirect {
        Redirect::with_status(StatusCode::SEE_OTHER, target)
    }

    /// 302: over there for now. Clients make a GET of a POST; [`Redirect::temporary`] keeps it.
    pub fn found(target: impl Into<String>) -> Redirect {
        Redirect::with_status(StatusCode::FOUND, target)
    }

    /// 301: over there from now on, which clients remember. They make a GET of a POST;
    /// [`Redirect::permanent`] keeps it.
    pub fn moved(target: impl Into<String>) -> Redirect {
        Redirect::with_status(StatusCode::MOVED_PERMANENTLY, target)
    }

    /// 307: over there for now, with the same method and body.
    pub fn temporary(target: impl Into<String>) -> Redirect {
        Redirect::with_status(StatusCode::TEMPORARY_REDIRECT, target)
    }

    /// 308: over there from now on, with the same method and body, which clients remember.
    pub fn permanent(target: impl Into<String>) -> Redirect {
        Redirect::with_status(StatusCode::PERMANENT_REDIRECT, target)
    }

    /// With another status, as 300 or 201, whose `Location` is not followed.
    pub fn with_status(status: StatusCode, target: impl Into<String>) -> Redirect {
        Redirect {
            status,
            target: target.into(),
            has_page: true,
        }
    }

    /// Makes a relative target absolute: it is joined to the directory of the request's path, and
    /// `.`, `..` and empty segments go. Targets with a scheme or host stay, as do query and
    /// fragment. The short page for those whose client does not follow goes to GET and HEAD alone.
    /// These are the rules of net/http. Without this the client does the joining (RFC 9110
    /// §10.2.2), by the path that it sees, which a proxy may have changed.
    #[must_use]
    pub fn relative_to(mut self, request: &Request) -> Redirect {
        self.has_page = matches!(*request.method(), Method::GET | Method::HEAD);
        if has_host(&self.target) || scheme(&self.target).is_some() {
            return self;
        }
        let end = self.target.find(['?', '#']).unwrap_or(self.target.len());
        let (path, rest) = self.target.split_at(end);
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            let own = request.path();
            let directory = own.rfind('/').map_or("/", |slash| &own[..=slash]);
            format!("{directory}{path}")
        };
        self.target = clean::cleaned(&path).unwrap_or(path) + rest;
        self
    }

    /// Only if the target is a path on this host, however a browser reads it: for targets that a
    /// stranger had a hand in. A whole URL, `//host`, `/\host` and `javascript:` are not, and
    /// neither is a path relative to the current one.
    ///
    /// # Errors
    ///
    /// It is not; returned by a handler that is answered 400.
    pub fn local(self) -> Result<Redirect> {
        let bytes = self.target.as_bytes();
        let is_path = bytes.first() == Some(&b'/') && !matches!(bytes.get(1), Some(b'/' | b'\\'));
        // Browsers take tabs and ends of lines out wherever they stand, and `\` for `/`.
        let is_plain = !bytes
            .iter()
            .any(|&byte| byte.is_ascii_control() || byte == b'\\');
        if is_path && is_plain {
            return Ok(self);
        }
        let text = "the redirect's target must be a path on this host";
        Err(Error::new(ErrorKind::Invalid, text).answered(StatusCode::BAD_REQUEST))
    }
}

impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        let location = clean::escaped(&self.target);
        let response = Response::new()
            .status(self.status)
            .header("Location", location.as_bytes());
        if !self.has_page {
            return response;
        }
        let page = page(self.status, &location);
        response.content_type("text/html; charset=utf-8").body(page)
    }
}

/// One line for who does not follow. A link leads to pages alone: not to scripts.
fn page(status: StatusCode, location: &str) -> String {
    let reason = status.canonical_reason().unwrap_or("Redirect");
    let is_page = scheme(location).is_none_or(|scheme| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    if !is_page {
        return format!("{reason}.\n");
    }
    // Of what ends an attribute only these are left in a URI.
    let escaped = location.replace('&', "&amp;").replace('\'', "&#39;");
    format!("<a href=\"{escaped}\">{reason}</a>.\n")
}

/// What stands before the first `:`, if that is a scheme (RFC 3986 §3.1).
fn scheme(target: &str) -> Option<&str> {
    let (scheme, _) = target.split_once(':')?;
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let begins = scheme.bytes().next()?.is_ascii_alphabetic();
    (begins && scheme.bytes().all(is_inner)).then_some(scheme)
}

/// True for `//host`, and not for more slashes, which are a path with empty segments.
fn has_host(target: &str) -> bool {
    let host = target.strip_prefix("//");
    host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;

    fn location(redirect: Redirect) -> String {
        let response = redirect.into_response();
        assert_eq!(response.invalid_header(), None);
        response.headers().get("location").unwrap().to_owned()
    }

    fn body(redirect: Redirect) -> String {
        let response = redirect.into_response();
        let bytes = response.body_ref().as_bytes().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn request(method: &str, target: &str) -> Request {
        Request::for_target(method, target).unwrap()
    }

    #[test]
    fn relative_targets() {
        for (target, expected) in [
            ("http://foobar.com/baz", "http://foobar.com/baz"),
            ("https://foobar.com/../baz", "https://foobar.com/../baz"),
            ("test://foobar.com/baz", "test://foobar.com/baz"),
            ("//foobar.com/baz", "//foobar.com/baz"),
            ("/foobar.com/baz", "/foobar.com/baz"),
            ("foobar.com/baz", "/qux/foobar.com/baz"),
            ("../quux/foobar.com/baz", "/quux/foobar.com/baz"),
            ("../../../etc", "/etc"),
            ("///foobar.com/baz", "/foobar.com/baz"),
            ("//", "/"),
            ("/a/./b//c/../", "/a/b/"),
            ("/a/..", "/"),
            (".", "/qux"),
            ("./", "/qux/"),
            ("", "/qux/"),
            ("?a=../b", "/qux/?a=../b"),
            ("x#../y", "/qux/x#../y"),
            ("/foo?next=http://bar.com/", "/foo?next=http://bar.com/"),
            (
                "http://localhost:8080/_ah/login?continue=http://localhost:8080/",
                "http://localhost:8080/_ah/login?continue=http://localhost:8080/",
            ),
            ("/фу", "/%D1%84%D1%83"),
            ("http://foo.com/фу", "http://foo.com/%D1%84%D1%83"),
            ("/a%2F..%2Fb", "/a%2F..%2Fb"),
            ("1:x", "/qux/1:x"),
        ] {
            let redirect = Redirect::to(target).relative_to(&request("GET", "/qux/?q=/a/b"));
            assert_eq!(location(redirect), expected, "{target}");
        }
        let deep = Redirect::to("x").relative_to(&request("GET", "http://h/a/b/c"));
        assert_eq!(location(deep), "/a/b/x");
        let nowhere = Redirect::to("x").relative_to(&request("CONNECT", "h:443"));
        assert_eq!(location(nowhere), "/x");
        // Without the request the client joins.
        assert_eq!(location(Redirect::to("../x")), "../x");
    }

    #[test]
    fn statuses() {
        for (redirect, status) in [
            (Redirect::to("/"), 303),
            (Redirect::found("/"), 302),
            (Redirect::moved("/"), 301),
            (Redirect::temporary("/"), 307),
            (Redirect::permanent("/"), 308),
            (Redirect::with_status(StatusCode::CREATED, "/"), 201),
        ] {
            assert_eq!(redirect.into_response().status_code(), status);
        }
    }

    #[test]
    fn a_page_for_who_does_not_follow() {
        let link = "<a href=\"/a?b&amp;c=&#39;%3Cd%3E%22\">See Other</a>.\n";
        assert_eq!(body(Redirect::to("/a?b&c='<d>\"")), link);
        let for_method = |method| Redirect::found("/a").relative_to(&request(method, "/"));
        let page = "<a href=\"/a\">Found</a>.\n";
        assert_eq!(body(for_method("GET")), page);
        assert_eq!(body(for_method("HEAD")), page);
        assert_eq!(body(for_method("POST")), "");
        let response = for_method("POST").into_response();
        assert_eq!(response.headers().get("content-type"), None);
        assert_eq!(body(Redirect::to("javascript:alert(1)")), "See Other.\n");
        assert_eq!(body(Redirect::to("JAVASCRIPT:x")), "See Other.\n");
        assert!(body(Redirect::to("HTTPS://a/")).starts_with("<a href"));
    }

    #[test]
    fn targets_of_strangers() {
        for target in ["/", "/a", "/a?next=//b", "/a//b", "/.//b", "/ä b", "/a:b"] {
            assert!(Redirect::to(target).local().is_ok(), "{target}");
        }
        for target in [
            "",
            "a",
            "?a",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/a\n",
            "/a\\b",
            "\t//evil.example",
            " //evil.example",
            "http://evil.example/",
            "https:evil.example",
            "javascript:alert(1)",
        ] {
            let error = Redirect::to(target).local().unwrap_err();
            assert_eq!(error.answer(), Some(StatusCode::BAD_REQUEST), "{target}");
        }
    }

    proptest! {
        #[test]
        fn no_target_begins_another_field(target in "(\\PC|[\r\n\t\0\\\\]){0,24}") {
            let sent = location(Redirect::to(target.as_str()));
            prop_assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()));
        }

        #[test]
        fn what_is_local_stays_on_the_host(target in "[/\\\\a.:@\t ?#]{0,8}") {
            let base = url::Url::parse("http://here.example/dir/page").unwrap();
            if let Ok(redirect) = Redirect::to(target.as_str()).local() {
                let sent = location(redirect.clone());
                let joined = base.join(&sent).unwrap();
                prop_assert_eq!(joined.host_str(), base.host_str());
                let own = request("GET", "//x/../y");
                let joined = base.join(&location(redirect.relative_to(&own))).unwrap();
                prop_assert_eq!(joined.host_str(), base.host_str());
            }
        }
    }
}
