//! Where a redirect leads (RFC 9110 §15.4), and what goes along.
//!
//! ```text
//!   301, 302        POST becomes GET without body, everything else stays
//!   303             GET and HEAD stay, everything else becomes GET; without body
//!   307, 308        method and body stay
//!   another origin  credentials stay behind, for the rest of the chain; the Referer is shortened
//! ```
//! Methods are those of RFC 9110 and of browsers: net/http makes a GET of every 301 and 302, so that a
//! DELETE that was moved deletes nothing. Else as there, with these differences: what is another host
//! there is another origin here (scheme and port count, sub-domains are not trusted), since
//! credentials belong to an origin; a body that was dropped counts as none for the rest of the chain,
//! where a 307 behind a 303 is returned there if the first body could not be sent twice; a `Referer`
//! has no fragment (RFC 9110 §10.1.3), and another origin is told the origin alone.

use ::http::Method;
use ::http::StatusCode;
use url::Url;

use crate::client::credentials;
use crate::client::options::TotalTime;
use crate::client::policy::RedirectAction;
use crate::client::policy::RedirectAttempt;
use crate::client::policy::RedirectPolicy;
use crate::client::policy::ReferrerPolicy;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::request::Request;
use crate::http::response::Hop;
use crate::http::response::Response;
use crate::http::target::url_text;
use crate::limits::REDIRECT_BODY_BYTES_MAX;
use crate::limits::RESPONSE_DRAIN_TIMEOUT;
use crate::runtime;
use crate::runtime::Instant;

/// Fields that prove who asks; they belong to the origin that the caller chose.
const CREDENTIALS: [&str; 6] = [
    "authorization",
    "cookie",
    "cookie2",
    "proxy-authorization",
    "proxy-authenticate",
    "www-authenticate",
];

/// Fields that describe a body, or ask for leave to send it: dropped with it.
const OF_BODY: [&str; 5] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-location",
    "expect",
];

/// A redirect that can be followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) keeps_body: bool,
    /// True when it leads to another origin, where credentials do not belong.
    pub(super) leaves: bool,
    /// True when it names no host, so that a `Host` of the caller's choice still fits.
    pub(super) is_relative: bool,
}

/// The request that follows from a response, `None` when the response is the answer: no redirect,
/// or none that says where to.
fn decide(method: &Method, url: &Url, response: &Response) -> Result<Option<Redirect>> {
    let keeps_body = match response.status_code().as_u16() {
        301 | 302 => *method != Method::POST,
        303 => false,
        307 | 308 => true,
        _ => return Ok(None),
    };
    let location = response.headers().get_bytes("location");
    let Some(location) = location.filter(|location| !location.is_empty()) else {
        return Ok(None);
    };
    let location = url_text(location);
    let mut target = url.join(&location).map_err(|error| {
        Error::new(
            ErrorKind::Protocol,
            "the Location of the redirect is not a URL",
        )
        .in_phase(Phase::ResponseHead)
        .because(error)
    })?;
    if target.fragment().is_none() {
        target.set_fragment(url.fragment());
    }
    let stays = keeps_body || matches!(*method, Method::GET | Method::HEAD);
    let leaves = url.origin() != target.origin();
    Ok(Some(Redirect {
        leaves,
        is_relative: !leaves && Url::parse(&location).is_err(),
        url: target,
        method: if stays { method.clone() } else { Method::GET },
        keeps_body,
    }))
}

/// What a chain of requests may, and remembers.
#[derive(Debug, Default)]
pub(super) struct Trail<'a> {
    policy: Option<&'a RedirectPolicy>,
    referrer_policy: ReferrerPolicy,
    redirects_max: usize,
    history: Vec<Hop>,
    /// True when the `Referer` is the caller's.
    has_own_referer: bool,
    /// True when `Authorization` was made of the name and the password in a URL.
    is_authorized_by_url: bool,
}

impl<'a> Trail<'a> {
    /// A chain that begins.
    pub(super) fn new(
        redirects_max: usize,
        policy: Option<&'a RedirectPolicy>,
        referrer_policy: ReferrerPolicy,
    ) -> Trail<'a> {
        Trail {
            policy,
            referrer_policy,
            redirects_max,
            ..Trail::default()
        }
    }

    /// False when redirects are answers like others.
    pub(super) fn follows(&self) -> bool {
        self.redirects_max > 0
    }

    /// Adds what the URL of the next request proves.
    pub(super) fn authorize(&mut self, request: &mut Request) {
        self.is_authorized_by_url |= credentials::from_url(request);
    }

    /// The redirect that is followed, `None` when the response is the answer: it is no redirect, its
    /// body cannot be sent again, or the user stops here.
    ///
    /// # Errors
    ///
    /// The user refuses it, it leads to where no HTTP is spoken, there were too many.
    pub(super) fn next(
        &self,
        method: &Method,
        from: &Url,
        response: &Response,
        is_replayable: bool,
    ) -> Result<Option<Redirect>> {
        let redirect = decide(method, from, response)?;
        let Some(redirect) = redirect.filter(|to| is_replayable || !to.keeps_body) else {
            return Ok(None);
        };
        if let Some(policy) = self.policy {
            let attempt = RedirectAttempt {
                status: response.status_code(),
                from,
                redirect: &redirect,
                history: &self.history,
            };
            match policy.decide(&attempt) {
                RedirectAction::Follow => {}
                RedirectAction::Stop => return Ok(None),
                RedirectAction::Fail(error) => return Err(error),
            }
        }
        if !matches!(redirect.url.scheme(), "http" | "https") {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the redirect leads to a URL that is neither http nor https",
            )
            .in_phase(Phase::ResponseHead));
        }
        let max = self.redirects_max;
        if self.history.len() >= max {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("more than {max} redirects (redirects_max)"),
            )
            .in_phase(Phase::ResponseHead));
        }
        Ok(Some(redirect))
    }

    /// Makes the next request of the last one, which was answered with this status.
    pub(super) fn follow(&mut self, request: &mut Request, redirect: Redirect, status: StatusCode) {
        let Redirect {
            url,
            method,
            keeps_body,
            leaves,
            is_relative,
        } = redirect;
        let headers = request.headers_mut();
        if self.history.is_empty() {
            self.has_own_referer = headers.contains("referer");
        }
        if !keeps_body {
            for name in OF_BODY {
                headers.remove(name);
            }
        }
        if leaves {
            for name in CREDENTIALS {
                headers.remove(name);
            }
            self.is_authorized_by_url = false;
        } else if self.is_authorized_by_url && credentials::are_in(&url) {
            // The server says who to be now.
            headers.remove("authorization");
        }
        if !is_relative {
            headers.remove("host");
        }
        if let Some(from) = request.url().cloned() {
            self.set_referer(request, &from, &url);
            self.history.push(Hop::new(status, from));
        }
        request.set_method(method);
        request.set_url(url);
        if !keeps_body {
            request.set_body(Body::empty());
            request.remove_trailers();
        }
    }

    /// Says where the request comes from, unless the caller has.
    fn set_referer(&self, request: &mut Request, from: &Url, to: &Url) {
        if self.has_own_referer {
            return;
        }
        let headers = request.headers_mut();
        headers.remove("referer");
        if let Some(referer) = referer(self.referrer_policy, from, to) {
            let added = headers.append("Referer", referer);
            assert!(added.is_ok(), "a URL is a valid value");
        }
    }

    /// The redirects that were followed.
    pub(super) fn into_history(self) -> Vec<Hop> {
        self.history
    }
}

/// The URL we came from, without what is nobody's business; nothing from https to http.
fn referer(policy: ReferrerPolicy, from: &Url, to: &Url) -> Option<String> {
    if from.scheme() == "https" && to.scheme() != "https" {
        return None;
    }
    let stays = from.origin() == to.origin();
    let is_whole = match policy {
        ReferrerPolicy::NoReferrer => return None,
        ReferrerPolicy::SameOrigin if !stays => return None,
        ReferrerPolicy::StrictOriginWhenCrossOrigin => stays,
        ReferrerPolicy::SameOrigin | ReferrerPolicy::NoReferrerWhenDowngrade => true,
    };
    let mut referer = from.clone();
    referer.set_fragment(None);
    if !is_whole {
        referer.set_path("/");
        referer.set_query(None);
    }
    // Both fail only for URLs that cannot have credentials.
    let _ = referer.set_username("");
    let _ = referer.set_password(None);
    Some(referer.into())
}

/// Reads what is left of a redirect to the same origin, so that its connection serves the next
/// request: a small body, and not for long, within the caller's time. What is left then is drained as
/// ever.
pub(super) async fn finish(response: Response, now: Instant, total: Option<TotalTime>) {
    let mut body = response.into_body();
    let is_small = |length: u64| length <= REDIRECT_BODY_BYTES_MAX;
    if body.is_empty() || !body.length().is_none_or(is_small) {
        return;
    }
    let read = async {
        let mut received_bytes = 0;
        while let Some(Ok(chunk)) = body.chunk().await {
            received_bytes += chunk.len() as u64;
            if !is_small(received_bytes) {
                return;
            }
        }
    };
    let left = total.map_or(RESPONSE_DRAIN_TIMEOUT, |total| total.deadline - now);
    // Late or not: the next request takes this connection or another.
    let _: Result<()> = runtime::timeout(left.min(RESPONSE_DRAIN_TIMEOUT), read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn redirect_to(location: impl AsRef<[u8]>, status: u16) -> Response {
        let status = StatusCode::from_u16(status).unwrap();
        let response = Response::new().status(status);
        response.header("Location", location)
    }

    fn decided(from: &str, location: impl AsRef<[u8]>) -> Result<Option<Redirect>> {
        decide(&Method::GET, &url(from), &redirect_to(location, 302))
    }

    /// RFC 9110 §15.4, and Fetch's step on methods.
    #[test]
    fn methods_and_bodies() {
        for method in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "QUERY", "MADEUP", "post",
        ] {
            let moved = match method {
                "POST" => ("GET", false),
                other => (other, true),
            };
            let seen = match method {
                "HEAD" => "HEAD",
                _ => "GET",
            };
            for (status, expected) in [
                (301, Some(moved)),
                (302, Some(moved)),
                (303, Some((seen, false))),
                (307, Some((method, true))),
                (308, Some((method, true))),
                (200, None),
                (201, None),
                (300, None),
                (304, None),
                (305, None),
                (306, None),
                (309, None),
                (404, None),
            ] {
                let found = decide(
                    &Method::from_bytes(method.as_bytes()).unwrap(),
                    &url("http://a.example/x"),
                    &redirect_to("/y", status),
                );
                let found = found.unwrap();
                let found = found.as_ref().map(|to| (to.method.as_str(), to.keeps_body));
                assert_eq!(found, expected, "{method} {status}");
            }
        }
    }

    #[test]
    fn locations() {
        for (from, location, expected) in [
            ("http://a.example/x/y?q#f", "z", "http://a.example/x/z#f"),
            ("http://a.example/x/y?q#f", "z#g", "http://a.example/x/z#g"),
            ("http://a.example/x#f", "/z#", "http://a.example/z#"),
            (
                "http://a.example/x#f",
                "http://b.example/",
                "http://b.example/#f",
            ),
            ("http://a.example/x", "//b.example/", "http://b.example/"),
            ("http://a.example/x", "?k=v", "http://a.example/x?k=v"),
            ("http://a.example/x/", "../y", "http://a.example/y"),
            (
                "http://a.example/x",
                "https://b.example",
                "https://b.example/",
            ),
            ("http://a.example/x", "/b c", "http://a.example/b%20c"),
            ("http://a.example/x", "/\u{e4}", "http://a.example/%C3%A4"),
            ("http://u:p@a.example/x", "/y", "http://u:p@a.example/y"),
            (
                "http://u:p@a.example/x",
                "http://a.example/y",
                "http://a.example/y",
            ),
            (
                "http://a.example/x",
                "http://u:p@b.example/",
                "http://u:p@b.example/",
            ),
        ] {
            let found = decided(from, location).unwrap().unwrap();
            assert_eq!(found.url.as_str(), expected, "{from} {location}");
        }
        // Bytes that are no UTF-8 stay the bytes that they are.
        let found = decided("http://a.example/x", b"/\xe4/\xff")
            .unwrap()
            .unwrap();
        assert_eq!(found.url.as_str(), "http://a.example/%E4/%FF");
        // Nowhere: the response is the answer.
        assert_eq!(decided("http://a.example/x", "").unwrap(), None);
        let bare = Response::new().status(StatusCode::FOUND);
        let from = url("http://a.example/");
        assert_eq!(decide(&Method::GET, &from, &bare).unwrap(), None);
        for broken in ["http://[broken", "http://a.example:99999/", "http://"] {
            let error = decided("http://a.example/x", broken).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains("Location"), "{error}");
        }
    }

    #[test]
    fn what_names_no_host() {
        for (location, is_relative, leaves) in [
            ("/y", true, false),
            ("y", true, false),
            ("?q", true, false),
            ("//a.example/y", true, false),
            ("http://a.example/y", false, false),
            ("HTTP://A.EXAMPLE:80/y", false, false),
            ("//b.example/y", false, true),
            ("//a.example:81/y", false, true),
            ("https:y", false, true),
        ] {
            let found = decided("http://a.example/x", location).unwrap().unwrap();
            assert_eq!(
                (found.is_relative, found.leaves),
                (is_relative, leaves),
                "{location}"
            );
        }
    }

    /// Follows redirects with these statuses to these places.
    fn followed(mut request: Request, hops: &[(u16, &str)]) -> (Request, Trail<'static>) {
        let mut trail = Trail::default();
        trail.authorize(&mut request);
        for (status, location) in hops {
            let response = redirect_to(location, *status);
            let from = request.url().unwrap().clone();
            let redirect = decide(request.method(), &from, &response).unwrap().unwrap();
            trail.follow(&mut request, redirect, response.status_code());
            trail.authorize(&mut request);
        }
        (request, trail)
    }

    fn post(from: &str) -> Request {
        let mut request = Request::new(Method::POST, url(from)).with_body("abc");
        for name in CREDENTIALS {
            request.headers_mut().append(name, "v").unwrap();
        }
        for name in ["Content-Type", "Content-Language", "Host", "X-Mine"] {
            request.headers_mut().append(name, "v").unwrap();
        }
        request
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        for (to, stays) in [
            ("http://a.example/", true),
            ("http://a.example:80/other", true),
            ("http://A.Example/", true),
            ("/here", true),
            ("http://a.example:8080/", false),
            ("https://a.example/", false),
            ("http://sub.a.example/", false),
            ("http://nota.example/", false),
            ("http://example/", false),
            ("http://b.example/", false),
            ("http://[::1]/", false),
            ("http://\u{ff41}.example/", true),
            ("http://a.example./", false),
        ] {
            let (request, _) = followed(post("http://a.example/"), &[(307, to)]);
            for name in CREDENTIALS {
                assert_eq!(request.headers().contains(name), stays, "{to} {name}");
            }
            assert!(request.headers().contains("x-mine"));
            assert!(request.headers().contains("content-type"));
            assert_eq!(request.body().length(), Some(3));
        }
    }

    #[test]
    fn what_stayed_behind_does_not_come_back() {
        let hops = [
            (307, "http://b.example/"),
            (307, "/x"),
            (307, "http://a.example/"),
        ];
        let (request, _) = followed(post("http://a.example/"), &hops);
        for name in CREDENTIALS {
            assert!(!request.headers().contains(name), "{name}");
        }
        assert!(request.headers().contains("x-mine"));
        // Nor do those of the first URL.
        let first = Request::new(Method::GET, url("http://u:p@a.example/"));
        let (request, _) = followed(first, &hops);
        assert_eq!(request.header("authorization"), None);
    }

    #[test]
    fn credentials_of_urls() {
        const FIRST: Option<&str> = Some("Basic dTpw");
        const OTHER: Option<&str> = Some("Basic dzpx");
        let from = || Request::new(Method::GET, url("http://u:p@a.example/"));
        for (to, expected) in [
            ("/y", FIRST),
            ("http://a.example/y", FIRST),
            ("http://w:q@a.example/y", OTHER),
            ("http://b.example/", None),
            ("http://w:q@b.example/", OTHER),
        ] {
            let (request, _) = followed(from(), &[(302, to)]);
            assert_eq!(request.header("authorization"), expected, "{to}");
            assert!(request.headers().get_all("authorization").count() <= 1);
        }
        let own = from().with_header("Authorization", "Bearer t").unwrap();
        let (request, _) = followed(own, &[(302, "http://w:q@a.example/y")]);
        assert_eq!(request.header("authorization"), Some("Bearer t"));
    }

    #[test]
    fn a_host_of_the_callers_choice() {
        for (hops, stays) in [
            (&[(302, "/y")][..], true),
            (&[(302, "y"), (307, "?q")], true),
            (&[(302, "http://a.example/y")], false),
            (&[(302, "http://b.example/y")], false),
            (&[(302, "http://a.example/y"), (302, "/z")], false),
        ] {
            let (request, _) = followed(post("http://a.example/"), hops);
            assert_eq!(request.headers().contains("host"), stays, "{hops:?}");
        }
    }

    #[test]
    fn what_describes_a_body_goes_with_it() {
        for status in [301, 302, 303] {
            let mut request = post("http://a.example/");
            request
                .headers_mut()
                .append("Expect", "100-continue")
                .unwrap();
            let (request, _) = followed(request, &[(status, "/b")]);
            assert!(request.body().is_empty());
            for name in OF_BODY {
                assert!(!request.headers().contains(name), "{name}");
            }
            assert_eq!((request.method(), request.target()), (&Method::GET, "/b"));
        }
        let (request, _) = followed(post("http://a.example/"), &[(308, "/b")]);
        assert!(request.headers().contains("content-language"));
        // net/http's row: POST 307 303 308 302 is POST, POST, GET, GET, GET.
        let hops = [(307, "/1"), (303, "/2"), (308, "/3"), (302, "/4")];
        for (count, method, length) in [(1, "POST", 3), (2, "GET", 0), (3, "GET", 0), (4, "GET", 0)]
        {
            let (request, _) = followed(post("http://a.example/"), &hops[..count]);
            assert_eq!(request.method().as_str(), method);
            assert_eq!(request.body().length(), Some(length));
        }
    }

    #[test]
    fn referers() {
        for (from, to, expected) in [
            ("http://a.example/x?q", "/y", Some("http://a.example/x?q")),
            ("http://u:p@a.example/x#f", "/y", Some("http://a.example/x")),
            (
                "http://a.example/x",
                "https://b.example/",
                Some("http://a.example/"),
            ),
            (
                "https://u:p@a.example:81/x?q#f",
                "https://b.example/",
                Some("https://a.example:81/"),
            ),
            (
                "http://a.example/x",
                "http://a.example:81/",
                Some("http://a.example/"),
            ),
            ("https://u@a.example/x", "http://a.example/", None),
        ] {
            let (request, _) = followed(Request::new(Method::GET, url(from)), &[(302, to)]);
            assert_eq!(request.header("referer"), expected, "{from} {to}");
        }
        for (policy, here, there) in [
            (ReferrerPolicy::NoReferrer, None, None),
            (
                ReferrerPolicy::SameOrigin,
                Some("https://a.example/x?q"),
                None,
            ),
            (
                ReferrerPolicy::StrictOriginWhenCrossOrigin,
                Some("https://a.example/x?q"),
                Some("https://a.example/"),
            ),
            (
                ReferrerPolicy::NoReferrerWhenDowngrade,
                Some("https://a.example/x?q"),
                Some("https://a.example/x?q"),
            ),
        ] {
            let from = url("https://u:p@a.example/x?q#f");
            let told = |to| referer(policy, &from, &url(to));
            assert_eq!(told("https://a.example/y").as_deref(), here, "{policy:?}");
            assert_eq!(told("https://b.example/").as_deref(), there, "{policy:?}");
            assert_eq!(told("http://a.example/"), None, "{policy:?}");
        }
        let first = || Request::new(Method::GET, url("http://a.example/1"));
        let (request, _) = followed(first(), &[(302, "/2"), (302, "/3")]);
        assert_eq!(request.header("referer"), Some("http://a.example/2"));
        assert_eq!(request.headers().get_all("referer").count(), 1);
        let own = first()
            .with_header("Referer", "http://mine.example/")
            .unwrap();
        let hops = [
            (302, "/2"),
            (302, "https://b.example/"),
            (302, "http://c.example/"),
        ];
        let (request, _) = followed(own, &hops);
        assert_eq!(request.header("referer"), Some("http://mine.example/"));
    }

    #[test]
    fn the_history_is_that_of_the_chain() {
        let hops = [(301, "/2"), (307, "http://w:q@b.example/")];
        let first = Request::new(Method::GET, url("http://u:p@a.example/1"));
        let (_, trail) = followed(first, &hops);
        let history = trail.into_history();
        let shown: Vec<_> = history
            .iter()
            .map(|hop| (hop.status().as_u16(), hop.url().as_str()))
            .collect();
        assert_eq!(
            shown,
            [(301, "http://u@a.example/1"), (307, "http://u@a.example/2")]
        );
    }

    #[test]
    fn the_user_is_asked_first() {
        let from = url("http://u:secret@a.example/x");
        let ask = |to: &str, max: usize, decide: fn(&RedirectAttempt<'_>) -> RedirectAction| {
            let policy = RedirectPolicy::new(decide);
            let trail = Trail::new(max, Some(&policy), ReferrerPolicy::default());
            let next = trail.next(&Method::GET, &from, &redirect_to(to, 302), true);
            next.map(|redirect| redirect.is_some())
        };
        let follow: fn(&RedirectAttempt<'_>) -> RedirectAction = |attempt| {
            assert_eq!(attempt.status(), StatusCode::FOUND);
            assert_eq!(attempt.from().as_str(), "http://u:secret@a.example/x");
            assert_eq!(attempt.method(), Method::GET);
            assert!(attempt.keeps_body());
            assert_eq!((attempt.count(), attempt.history()), (0, &[][..]));
            assert_eq!(attempt.leaves_origin(), attempt.to().path() == "/b");
            assert!(!format!("{attempt:?}").contains("secret"));
            RedirectAction::Follow
        };
        assert!(ask("/y", 1, follow).unwrap());
        assert!(ask("http://b.example/b", 1, follow).unwrap());
        let error = ask("/y", 0, follow).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        let error = ask("ftp://a.example/", 1, |_| RedirectAction::Follow).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        // What is stopped needs no limit, and may lead anywhere.
        assert!(!ask("/y", 0, |_| RedirectAction::Stop).unwrap());
        assert!(!ask("mailto:a@b.example", 0, |_| RedirectAction::Stop).unwrap());
        let refuse = |_: &RedirectAttempt<'_>| {
            RedirectAction::Fail(Error::new(ErrorKind::Invalid, "not there"))
        };
        assert_eq!(ask("/y", 0, refuse).unwrap_err().text(), "not there");
    }

    #[test]
    fn a_body_that_cannot_be_sent_again_ends_the_chain() {
        let from = url("http://a.example/x");
        let trail = |max| Trail::new(max, None, ReferrerPolicy::default());
        assert!(trail(1).follows() && !trail(0).follows());
        for (method, status, is_replayable, follows) in [
            (Method::POST, 303, false, true),
            (Method::POST, 301, false, true),
            (Method::POST, 307, false, false),
            (Method::POST, 308, false, false),
            (Method::POST, 307, true, true),
            (Method::POST, 200, true, false),
            (Method::PUT, 302, false, false),
            (Method::PUT, 302, true, true),
            (Method::PUT, 303, false, true),
        ] {
            let response = redirect_to("/y", status);
            let next = trail(1).next(&method, &from, &response, is_replayable);
            assert_eq!(next.unwrap().is_some(), follows, "{method} {status}");
        }
    }
}
