//! Protection against requests that other sites make their visitors' browsers send (cross-site
//! request forgery), by what browsers say themselves: no tokens, no cookies.
//!
//! ```text
//!   GET, HEAD, OPTIONS ──────────────────────────────────────────► allowed (they change nothing)
//!   Sec-Fetch-Site: same-origin, none ───────────────────────────► allowed
//!                   anything else ───────────────────────────────► 403, unless trusted or bypassed
//!   without it:     no Origin: no browser ───────────────────────► allowed
//!                   Origin's host is the request's host ─────────► allowed
//!                   anything else ───────────────────────────────► 403, unless trusted or bypassed
//! ```
//!
//! These are the rules of net/http's `CrossOriginProtection`. What they rest on: GET, HEAD and
//! OPTIONS change nothing. For browsers before 2023, which send no `Sec-Fetch-Site`, the host is
//! compared without the scheme: use `Strict-Transport-Security` beside it.

use std::fmt;
use std::sync::Arc;

use ::http::Method;
use ::http::StatusCode;
use url::Url;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::into_response::IntoResponse;
use crate::server::into_response::error_page;
use crate::server::pattern::Pattern;
use crate::server::routes::Routes;

/// Which requests of other origins are let through.
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::Router;
/// use roundtrip::server::cross_origin::Protection;
///
/// let protection = Protection::new()
///     .trust("https://sso.example.com")
///     .bypass("POST /webhooks/{name}");
/// let guard = protection.clone();
/// let router = Router::new()
///     .post("/transfer", |_: &Request| "done")
///     .before(move |request: &mut Request| guard.check(request));
/// # let _ = router;
/// let forged = Request::for_target("POST", "/transfer")?
///     .with_header("Sec-Fetch-Site", "cross-site")?;
/// assert_eq!(protection.check(&forged).unwrap_err().status_code(), 403);
/// # Ok::<(), roundtrip::Error>(())
/// ```
#[derive(Clone)]
pub struct Protection {
    trusted: Vec<String>,
    bypass: Routes<()>,
    deny: Option<Arc<Deny>>,
}

type Deny = dyn Fn(&Request) -> Response + Send + Sync;

impl Protection {
    /// For this origin alone.
    pub fn new() -> Protection {
        Protection {
            trusted: Vec::new(),
            bypass: Routes::new(),
            deny: None,
        }
    }

    /// Lets an origin through, as browsers write it: `https://sso.example.com`, with a port if it is
    /// not the usual one, and nothing behind it.
    ///
    /// # Panics
    ///
    /// It is no such origin; [`Protection::try_trust`] returns the error.
    #[must_use]
    #[track_caller]
    pub fn trust(self, origin: &str) -> Protection {
        match self.try_trust(origin) {
            Ok(protection) => protection,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`Protection::trust`], for origins that are not part of the program.
    ///
    /// # Errors
    ///
    /// It is not an origin, or not written as browsers do.
    pub fn try_trust(mut self, origin: &str) -> Result<Protection> {
        match written_by_browsers(origin) {
            Some(written) if written == origin => {
                self.trusted.push(written);
                Ok(self)
            }
            Some(written) => Err(Error::new(
                ErrorKind::Invalid,
                format!("a browser writes the origin {origin:?} as {written:?}"),
            )),
            None => Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "{origin:?} is no origin: a scheme, \"://\", a host, and a port if need be"
                ),
            )),
        }
    }

    /// Lets requests through that a route pattern answers, from wherever they come: for what proves
    /// in another way who calls, such as a signature. Only a path that is written without `.`, `..`
    /// and empty segments is answered by one.
    ///
    /// # Panics
    ///
    /// The pattern is bad, or there twice; [`Protection::try_bypass`] returns the error.
    #[must_use]
    #[track_caller]
    pub fn bypass(self, pattern: &str) -> Protection {
        match self.try_bypass(pattern) {
            Ok(protection) => protection,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`Protection::bypass`], for patterns that are not part of the program.
    ///
    /// # Errors
    ///
    /// The pattern is bad, or there twice.
    pub fn try_bypass(mut self, pattern: &str) -> Result<Protection> {
        self.bypass.insert(Pattern::parse(pattern)?, ())?;
        Ok(self)
    }

    /// Answers what is refused, instead of the 403 that says why.
    #[must_use]
    pub fn deny<R: IntoResponse>(
        mut self,
        answer: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Protection {
        self.deny = Some(Arc::new(move |request: &Request| {
            answer(request).into_response()
        }));
        self
    }

    /// Whether a request may pass; the error is what it is answered. Made for
    /// [`Router::before`](crate::server::router::Router::before).
    ///
    /// # Errors
    ///
    /// A browser sends it for a page of another origin.
    pub fn check(&self, request: &Request) -> Result<(), Response> {
        if matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        ) {
            return Ok(());
        }
        let field = |name: &str| {
            let value = request.headers().get_bytes(name);
            value.filter(|value| !value.is_empty())
        };
        let origin = field("Origin");
        let rule = match (field("Sec-Fetch-Site"), origin) {
            (Some(b"same-origin" | b"none"), _) | (None, None) => return Ok(()),
            (Some(_), _) => "a page of another origin made this request (Sec-Fetch-Site)",
            (None, Some(origin)) if is_host(origin, request.host()) => return Ok(()),
            (None, Some(_)) => "the Origin is not this host, and there is no Sec-Fetch-Site",
        };
        if self.trusts(origin) || self.bypasses(request) {
            return Ok(());
        }
        Err(match &self.deny {
            Some(answer) => answer(request),
            None => error_page(StatusCode::FORBIDDEN, rule),
        })
    }

    fn trusts(&self, origin: Option<&[u8]>) -> bool {
        let Some(origin) = origin else {
            return false;
        };
        self.trusted.iter().any(|own| own.as_bytes() == origin)
    }

    fn bypasses(&self, request: &Request) -> bool {
        let path = request.path();
        let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').rev();
        // The last one may be empty: the path of a directory.
        let is_last_plain = segments
            .next()
            .is_none_or(|last| !matches!(last, "." | ".."));
        let is_plain = is_last_plain && !segments.any(|one| matches!(one, "" | "." | ".."));
        let host = request.host().unwrap_or("");
        is_plain
            && self
                .bypass
                .find(request.method(), host, path)
                .found()
                .is_some()
    }
}

impl Default for Protection {
    fn default() -> Protection {
        Protection::new()
    }
}

/// How browsers write an origin (RFC 6454 §6.2): in lower case, without the usual port. `None` for
/// what is no origin.
fn written_by_browsers(origin: &str) -> Option<String> {
    let (_, authority) = origin.split_once("://")?;
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', '\\']) {
        return None;
    }
    let url = Url::parse(origin).ok()?;
    let (scheme, host) = (url.scheme(), url.host_str()?);
    Some(match url.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// True when an origin has this host, and the same port or the usual one.
fn is_host(origin: &[u8], host: Option<&str>) -> bool {
    let Some(host) = host else {
        return false;
    };
    let (authority, usual) = if let Some(authority) = origin.strip_prefix(b"https://") {
        (authority, ":443")
    } else if let Some(authority) = origin.strip_prefix(b"http://") {
        (authority, ":80")
    } else {
        return false;
    };
    let host = host.strip_suffix(usual).unwrap_or(host);
    !authority.is_empty() && authority.eq_ignore_ascii_case(host.as_bytes())
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protection")
            .field("trusted", &self.trusted)
            .field("bypass", &self.bypass)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "https://attacker.example";

    fn request(method: &str, path: &str, site: &str, origin: &str) -> Request {
        let mut request = Request::for_target(method, path).unwrap();
        let headers = request.headers_mut();
        headers.append("Host", "example.com").unwrap();
        for (name, value) in [("Sec-Fetch-Site", site), ("Origin", origin)] {
            if !value.is_empty() {
                headers.append(name, value).unwrap();
            }
        }
        request
    }

    fn passes(protection: &Protection, request: Request) -> bool {
        match protection.check(&request) {
            Ok(()) => true,
            Err(response) => {
                assert_eq!(response.status_code(), 403);
                false
            }
        }
    }

    #[test]
    fn what_browsers_say() {
        for (method, site, origin, is_allowed) in [
            ("POST", "same-origin", "", true),
            ("POST", "none", "", true),
            ("POST", "cross-site", "", false),
            ("POST", "same-site", "", false),
            ("POST", "", "", true),
            ("POST", "", "https://example.com", true),
            ("POST", "", EVIL, false),
            ("POST", "", "null", false),
            ("GET", "cross-site", "", true),
            ("HEAD", "cross-site", "", true),
            ("OPTIONS", "cross-site", "", true),
            ("PUT", "cross-site", "", false),
            // Beyond net/http's table.
            ("DELETE", "cross-site", EVIL, false),
            ("get", "cross-site", "", false),
            ("POST", "Same-Origin", "", false),
            ("POST", "none, cross-site", "", false),
            ("POST", "cross-site", "https://example.com", false),
            ("POST", "same-origin", EVIL, true),
            ("POST", "", "http://EXAMPLE.com", true),
            ("POST", "", "https://example.com:8443", false),
            ("POST", "", "https://example.com.attacker.example", false),
            ("POST", "", "https://attackerexample.com", false),
            ("POST", "", "https://", false),
            ("POST", "", "example.com", false),
            ("POST", "", "ftp://example.com", false),
        ] {
            let asked = request(method, "/", site, origin);
            let passed = passes(&Protection::new(), asked);
            assert_eq!(passed, is_allowed, "{method} {site:?} {origin:?}");
        }
    }

    #[test]
    fn the_host_is_the_one_that_was_asked() {
        let protection = Protection::new();
        let ask = |host: &[u8], origin: &str| {
            let mut asked = Request::for_target("POST", "/").unwrap();
            asked.headers_mut().append("Host", host).unwrap();
            asked.headers_mut().append("Origin", origin).unwrap();
            passes(&protection, asked)
        };
        assert!(ask(b"example.com:8080", "http://example.com:8080"));
        assert!(ask(b"example.com:443", "https://example.com"));
        assert!(!ask(b"example.com:443", "http://example.com"));
        assert!(ask(b"[::1]:80", "http://[::1]"));
        assert!(!ask(b"", "https://"));
        let mut hostless = Request::for_target("POST", "/").unwrap();
        hostless.headers_mut().append("Origin", EVIL).unwrap();
        assert!(!passes(&protection, hostless));
        // What is not text counts, too.
        let mut asked = Request::for_target("POST", "/").unwrap();
        asked
            .headers_mut()
            .append("Sec-Fetch-Site", b"\xff")
            .unwrap();
        assert!(!passes(&protection, asked));
    }

    #[test]
    fn trusted_origins() {
        let protection = Protection::new().trust("https://trusted.example");
        for (origin, site, is_allowed) in [
            ("https://trusted.example", "", true),
            ("https://trusted.example", "cross-site", true),
            (EVIL, "", false),
            (EVIL, "cross-site", false),
            ("http://trusted.example", "cross-site", false),
            ("https://trusted.example:8443", "cross-site", false),
        ] {
            let asked = request("POST", "/", site, origin);
            assert_eq!(passes(&protection, asked), is_allowed, "{origin} {site}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_do() {
        for (origin, is_one) in [
            ("https://example.com", true),
            ("https://example.com:8080", true),
            ("http://example.com", true),
            ("http://[::1]:8080", true),
            ("chrome-extension://abcdefgh", true),
            ("example.com", false),
            ("https://", false),
            ("https://example.com/", false),
            ("https://example.com/path", false),
            ("https://example.com?query=value", false),
            ("https://example.com#fragment", false),
            ("https://user@example.com", false),
            ("https://ex ample.com", false),
            ("", false),
            ("null", false),
            // Never sent by a browser: would never match.
            ("https://example.com:443", false),
            ("https://Example.com", false),
        ] {
            let tried = Protection::new().try_trust(origin);
            assert_eq!(tried.is_ok(), is_one, "{origin}");
        }
        let error = Protection::new().try_trust("https://Example.com:443");
        let text = error.unwrap_err().to_string();
        assert!(text.contains("\"https://example.com\""), "{text}");
    }

    #[test]
    fn patterns_that_are_bypassed() {
        let protection = Protection::new()
            .bypass("/bypass/")
            .bypass("POST /only/{foo}")
            .bypass("hooks.example/{rest...}");
        for (method, path, is_allowed) in [
            ("POST", "/bypass/", true),
            ("POST", "/bypass/a/b", true),
            ("POST", "/api/", false),
            ("POST", "/only/123", true),
            ("PUT", "/only/123", false),
            ("POST", "/only/123/foo", false),
            // What would be redirected is not what is bypassed.
            ("POST", "/bypass", false),
            ("POST", "/foo/../bypass/bar", false),
            ("POST", "/bypass/../api", false),
            ("POST", "/bypass//api", false),
            ("POST", "/bypass/a/..", false),
            ("POST", "http://hooks.example/x", true),
        ] {
            for site in ["", "cross-site"] {
                let asked = request(method, path, site, EVIL);
                assert_eq!(passes(&protection, asked), is_allowed, "{method} {path}");
            }
        }
        assert!(protection.clone().try_bypass("no slash").is_err());
        assert!(protection.try_bypass("/bypass/").is_err());
    }

    #[test]
    fn refused_with_a_reason_or_as_one_likes() {
        let refused = |protection: &Protection| {
            let asked = request("POST", "/", "cross-site", EVIL);
            let response = protection.check(&asked).unwrap_err();
            let body = response.body_ref().as_bytes().unwrap().to_vec();
            let status = response.status_code().as_u16();
            (status, String::from_utf8(body).unwrap())
        };
        let (status, text) = refused(&Protection::new());
        assert_eq!(status, 403);
        assert!(text.contains("Sec-Fetch-Site") && !text.contains("attacker"));
        let own = Protection::new().deny(|request: &Request| {
            let text = format!("not {}", request.path());
            (StatusCode::IM_A_TEAPOT, text)
        });
        assert_eq!(refused(&own), (418, String::from("not /")));
        assert!(passes(&own, request("GET", "/", "cross-site", EVIL)));
    }
}
