//! The cookies of one chain of requests: those of the caller, and those of the jar.
//!
//! ```text
//!   Cookie of the caller ─┐   (not behind a redirect to another origin, nor once a server set it anew)
//!   jar ◄─ host, path ────┴─► Cookie of each request
//!    └───◄ Set-Cookie of each response, before the next request
//! ```

use url::Url;

use crate::client::jar::Jar;
use crate::http::request::Request;
use crate::http::response::Response;

/// Puts cookies into each request of a chain.
pub(super) struct ChainCookies<'a> {
    jar: &'a Jar,
    /// What the caller has put into the first request: pairs with `; ` in between.
    own: Vec<u8>,
    /// Where the last request went, as cookies see it.
    place: Option<Url>,
}

impl<'a> ChainCookies<'a> {
    /// A chain that begins with this request, of a client with this jar.
    pub(super) fn begin(jar: Option<&'a Jar>, request: &Request) -> Option<ChainCookies<'a>> {
        let jar = jar?;
        let lines: Vec<&[u8]> = request.headers().get_all("cookie").collect();
        Some(ChainCookies {
            jar,
            own: lines.join(&b"; "[..]),
            place: None,
        })
    }

    /// Sets the cookies of the next request. Those of the caller and of the jar are both sent, in one
    /// field (RFC 6265bis §5.8).
    pub(super) fn add(&mut self, request: &mut Request, now: u64) {
        self.place = place_of(request);
        let found = self.place.as_ref().and_then(|url| self.jar.get(url, now));
        let headers = request.headers_mut();
        headers.remove("cookie");
        let mut line = self.own.clone();
        if let Some(found) = found {
            if !line.is_empty() {
                line.extend_from_slice(b"; ");
            }
            line.extend_from_slice(&found);
        }
        if !line.is_empty() {
            let added = headers.append("Cookie", line);
            assert!(added.is_ok(), "a jar holds no control characters");
        }
    }

    /// Takes what a response sets. A cookie of the caller that is set anew is the jar's from here on.
    pub(super) fn take(&mut self, response: &Response, now: u64) {
        let Some(place) = &self.place else {
            return;
        };
        self.jar
            .set(place, response.headers().get_all("set-cookie"), now);
        if self.own.is_empty() {
            return;
        }
        for line in response.headers().get_all("set-cookie") {
            let pair = line.split(|&byte| byte == b';').next().unwrap_or_default();
            let pairs = self.own.split(|&byte| byte == b';');
            let rest: Vec<&[u8]> = pairs
                .map(<[u8]>::trim_ascii)
                .filter(|own| name_of(own) != name_of(pair))
                .collect();
            self.own = rest.join(&b"; "[..]);
        }
    }

    /// The chain leaves the origin that the caller's cookies are for.
    pub(super) fn leave(&mut self) {
        self.own.clear();
    }
}

fn name_of(pair: &[u8]) -> &[u8] {
    let name = pair.split(|&byte| byte == b'=').next();
    name.unwrap_or_default().trim_ascii()
}

/// The URL as cookies see it: with the host that the request names, if it has a `Host` of its own.
fn place_of(request: &Request) -> Option<Url> {
    let url = request.url()?;
    let Some(host) = request.header("host") else {
        return Some(url.clone());
    };
    let named = Url::parse(&format!("{}://{host}", url.scheme())).ok();
    let mut place = named.unwrap_or_else(|| url.clone());
    place.set_path(url.path());
    Some(place)
}

#[cfg(test)]
mod tests {
    use ::http::Method;

    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn request(url: &str, fields: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Method::GET, Url::parse(url).unwrap());
        for (name, value) in fields {
            request.headers_mut().append(name, value).unwrap();
        }
        request
    }

    fn sent(cookies: &mut ChainCookies<'_>, mut request: Request) -> Option<String> {
        cookies.add(&mut request, NOW);
        assert!(request.headers().get_all("cookie").count() <= 1);
        request.header("cookie").map(str::to_owned)
    }

    fn response(lines: &[&str]) -> Response {
        let with = |response: Response, line: &&str| response.header("Set-Cookie", line);
        lines.iter().fold(Response::new(), with)
    }

    #[test]
    fn the_callers_and_the_jars() {
        let jar = Jar::new();
        jar.set(&Url::parse("http://a.test/").unwrap(), ["j=1"], NOW);
        for (own, expected) in [
            (&[][..], "j=1"),
            (&[("Cookie", "c=2")], "c=2; j=1"),
            (
                &[("cookie", "c=2; d=3"), ("COOKIE", "e=4")],
                "c=2; d=3; e=4; j=1",
            ),
            (&[("Cookie", "j=2")], "j=2; j=1"),
        ] {
            let request = request("http://a.test/x", own);
            let mut cookies = ChainCookies::begin(Some(&jar), &request).unwrap();
            assert_eq!(sent(&mut cookies, request).as_deref(), Some(expected));
        }
        let empty = Jar::new();
        let mut cookies =
            ChainCookies::begin(Some(&empty), &request("http://a.test/", &[])).unwrap();
        assert_eq!(sent(&mut cookies, request("http://a.test/", &[])), None);
    }

    #[test]
    fn what_is_set_anew_is_the_jars() {
        let jar = Jar::new();
        let first = request("http://a.test/", &[("Cookie", "c=1;d=2; e=3")]);
        let mut cookies = ChainCookies::begin(Some(&jar), &first).unwrap();
        sent(&mut cookies, first);
        cookies.take(&response(&["d=9; Path=/", " e =8; Max-Age=0", "x"]), NOW);
        let next = request("http://a.test/", &[]);
        assert_eq!(sent(&mut cookies, next).as_deref(), Some("c=1; d=9"));
        cookies.leave();
        let next = request("http://a.test/", &[]);
        assert_eq!(sent(&mut cookies, next).as_deref(), Some("d=9"));
    }

    #[test]
    fn the_host_that_is_named() {
        let jar = Jar::new();
        let host = [("Host", "www.b.test:8080")];
        let first = request("http://127.0.0.1/x/y", &host);
        let mut cookies = ChainCookies::begin(Some(&jar), &first).unwrap();
        assert_eq!(sent(&mut cookies, first), None);
        cookies.take(&response(&["b=1; Domain=b.test"]), NOW);
        assert_eq!(jar.cookies(NOW)[0].domain, "b.test");
        assert_eq!(jar.cookies(NOW)[0].path, "/x");
        let again = sent(&mut cookies, request("http://127.0.0.1/x/z", &host));
        assert_eq!(again.as_deref(), Some("b=1"));
        assert_eq!(
            sent(&mut cookies, request("http://127.0.0.1/x/z", &[])),
            None
        );
        let odd = request("http://127.0.0.1/x/z", &[("Host", "[")]);
        assert_eq!(sent(&mut cookies, odd), None);
    }
}
