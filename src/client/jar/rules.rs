//! Where cookies may come from and go to (RFC 6265bis §5.1.2 to §5.1.4), without state.
//!
//! ```text
//!   http://www.example.co.uk:8080/a/b?q ──► host www.example.co.uk · path /a/b · not trusted
//!                                             └ site example.co.uk · public suffix co.uk
//! ```

use std::borrow::Cow;
use std::net::IpAddr;

use url::Host;
use url::Url;

/// What a URL means for cookies. The port does not count.
pub(super) struct Place<'a> {
    /// In lower case and ASCII, without a dot at its end; an address without brackets.
    pub(super) host: Cow<'a, str>,
    /// True exactly when the host is an address, which has no domains above it.
    pub(super) is_address: bool,
    /// As it is sent: percent-coded, without the query.
    pub(super) path: &'a str,
    /// True over TLS, and for this very machine (as in net/http, and as browsers do): nobody on the
    /// way can read or set cookies there.
    pub(super) is_trusted: bool,
}

impl<'a> Place<'a> {
    /// `None` for URLs that have no cookies: neither http nor https, or without a host.
    pub(super) fn of(url: &'a Url) -> Option<Place<'a>> {
        let is_secure = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (host, is_address, is_local) = match url.host()? {
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                let is_local = name == "localhost" || name.ends_with(".localhost");
                (Cow::Borrowed(name), false, is_local)
            }
            Host::Ipv4(address) => (address.to_string().into(), true, address.is_loopback()),
            Host::Ipv6(address) => {
                let is_local = address.to_canonical().is_loopback();
                (address.to_string().into(), true, is_local)
            }
        };
        (!host.is_empty()).then_some(Place {
            host,
            is_address,
            path: url.path(),
            is_trusted: is_secure || is_local,
        })
    }

    /// Which cookies are kept, counted and looked for together.
    pub(super) fn site(&self) -> &str {
        site_of(&self.host, self.is_address)
    }

    /// The path of a cookie that has none of its own: the directory of the URL.
    pub(super) fn default_path(&self) -> &'a str {
        default_path(self.path)
    }

    /// The domain of a cookie, and whether it is for this host alone; `None` when the host may not
    /// set it.
    pub(super) fn domain(&self, attribute: Option<&str>) -> Option<(String, bool)> {
        let host_alone = || Some((self.host.clone().into_owned(), true));
        let Some(domain) = attribute else {
            return host_alone();
        };
        if self.is_address {
            // An address is no name: nothing lies below it.
            return (domain == self.host).then(host_alone)?;
        }
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        if domain.is_empty() || domain.starts_with('.') || domain.ends_with('.') {
            return None;
        }
        if is_public_suffix(domain) {
            // It belongs to nobody, but may be a host all the same.
            return (domain == self.host).then(host_alone)?;
        }
        domain_matches(&self.host, domain).then(|| (domain.to_owned(), false))
    }
}

/// The registrable domain of a host: the public suffix and one label more. The host itself where
/// there is none: an address, a public suffix, a single label.
pub(super) fn site_of(host: &str, is_address: bool) -> &str {
    if is_address {
        return host;
    }
    let domain = psl::domain(host.as_bytes());
    let len = domain.map_or(host.len(), |domain| domain.as_bytes().len());
    &host[host.len() - len..]
}

/// True for names under which strangers have theirs: `com`, `co.uk`, `github.io`; also for a single
/// label that nobody knows.
pub(super) fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.as_bytes() == domain.as_bytes())
}

/// True when the host is the domain, or lies below it. Both are names.
pub(super) fn domain_matches(host: &str, domain: &str) -> bool {
    let before = host.strip_suffix(domain);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// True when the path of a request is that of a cookie, or lies below it.
pub(super) fn path_matches(path: &str, of_cookie: &str) -> bool {
    let behind = path.strip_prefix(of_cookie);
    behind.is_some_and(|behind| {
        behind.is_empty() || of_cookie.ends_with('/') || behind.starts_with('/')
    })
}

/// True for the text of an address, without brackets.
pub(super) fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) if path.starts_with('/') => &path[..at],
        Some(_) => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_means() {
        for (url, host, is_address, is_trusted) in [
            ("http://www.example.com/", "www.example.com", false, false),
            (
                "http://WWW.EXAMPLE.COM:8080",
                "www.example.com",
                false,
                false,
            ),
            ("https://www.example.com./", "www.example.com", false, true),
            (
                "http://www.b\u{fc}cher.de/",
                "www.xn--bcher-kva.de",
                false,
                false,
            ),
            ("http://192.168.0.5:8080/", "192.168.0.5", true, false),
            ("http://127.8.0.1/", "127.8.0.1", true, true),
            (
                "http://[2001:4860:0:2001::68]:80/",
                "2001:4860:0:2001::68",
                true,
                false,
            ),
            ("http://[::1]/", "::1", true, true),
            ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1", true, true),
            ("http://localhost:9000/", "localhost", false, true),
            ("http://a.b.localhost./", "a.b.localhost", false, true),
            ("http://notlocalhost/", "notlocalhost", false, false),
            (
                "http://localhost.example/",
                "localhost.example",
                false,
                false,
            ),
        ] {
            let url = Url::parse(url).unwrap();
            let place = Place::of(&url).unwrap();
            let found = (&place.host[..], place.is_address, place.is_trusted);
            assert_eq!(found, (host, is_address, is_trusted), "{url}");
        }
        for url in ["ftp://www.example.com/", "file:///a", "data:a", "ws://a/"] {
            assert!(Place::of(&Url::parse(url).unwrap()).is_none(), "{url}");
        }
    }

    #[test]
    fn sites() {
        for (host, site) in [
            ("foo.www.example.com", "example.com"),
            ("www.example.com", "example.com"),
            ("example.com", "example.com"),
            ("com", "com"),
            ("foo.www.bbc.co.uk", "bbc.co.uk"),
            ("bbc.co.uk", "bbc.co.uk"),
            ("co.uk", "co.uk"),
            ("uk", "uk"),
            // A wildcard of the list, and its exception.
            ("a.b.ck", "a.b.ck"),
            ("x.a.b.ck", "a.b.ck"),
            ("a.www.ck", "www.ck"),
            // A private suffix.
            ("me.github.io", "me.github.io"),
            ("github.io", "github.io"),
            // Names that the list does not know.
            ("localhost", "localhost"),
            ("db.internal", "db.internal"),
            ("a.db.internal", "db.internal"),
            // A suffix that is no ASCII.
            ("a.www.xn--55qx5d.cn", "www.xn--55qx5d.cn"),
            // What is no name.
            (".net", ".net"),
            (".", "."),
            ("..", ".."),
            ("a..", "a.."),
        ] {
            assert_eq!(site_of(host, false), site);
        }
        assert_eq!(site_of("192.168.0.5", true), "192.168.0.5");
    }

    #[test]
    fn default_paths() {
        for (path, expected) in [
            ("/", "/"),
            ("/abc", "/"),
            ("/abc/", "/abc"),
            ("/abc/xyz", "/abc"),
            ("/abc/xyz/", "/abc/xyz"),
            ("/a/b/c.html", "/a/b"),
            ("", "/"),
            ("strange", "/"),
            ("strange/b", "/"),
            ("//", "/"),
            ("/a//b", "/a/"),
        ] {
            assert_eq!(default_path(path), expected, "{path}");
        }
    }

    #[test]
    fn paths() {
        for (path, of_cookie, expected) in [
            ("/", "/", true),
            ("/a", "/", true),
            ("/some/path", "/some/path", true),
            ("/some/path/foo", "/some/path", true),
            ("/some/path/foo", "/some/path/", true),
            ("/some/paths", "/some/path", false),
            ("/some/path", "/some/path/", false),
            ("/some", "/some/path", false),
            ("/Some/path", "/some", false),
        ] {
            assert_eq!(
                path_matches(path, of_cookie),
                expected,
                "{path} {of_cookie}"
            );
        }
    }

    #[test]
    fn domains() {
        const BY_ITSELF: bool = true;
        const AND_BELOW: bool = false;
        for (host, attribute, expected) in [
            (
                "www.example.com",
                None,
                Some(("www.example.com", BY_ITSELF)),
            ),
            ("127.0.0.1", None, Some(("127.0.0.1", BY_ITSELF))),
            ("[2001:db8::68]", None, Some(("2001:db8::68", BY_ITSELF))),
            (
                "www.example.com",
                Some("example.com"),
                Some(("example.com", AND_BELOW)),
            ),
            (
                "www.example.com",
                Some(".example.com"),
                Some(("example.com", AND_BELOW)),
            ),
            (
                "www.example.com",
                Some("www.example.com"),
                Some(("www.example.com", AND_BELOW)),
            ),
            (
                "www.example.com",
                Some(".www.example.com"),
                Some(("www.example.com", AND_BELOW)),
            ),
            (
                "foo.sso.example.com",
                Some("sso.example.com"),
                Some(("sso.example.com", AND_BELOW)),
            ),
            (
                "bar.co.uk",
                Some("bar.co.uk"),
                Some(("bar.co.uk", AND_BELOW)),
            ),
            (
                "foo.bar.co.uk",
                Some(".bar.co.uk"),
                Some(("bar.co.uk", AND_BELOW)),
            ),
            (
                "db.internal",
                Some("db.internal"),
                Some(("db.internal", AND_BELOW)),
            ),
            (
                "127.0.0.1",
                Some("127.0.0.1"),
                Some(("127.0.0.1", BY_ITSELF)),
            ),
            (
                "[2001:db8::68]",
                Some("2001:db8::68"),
                Some(("2001:db8::68", BY_ITSELF)),
            ),
            ("127.0.0.1", Some(".127.0.0.1"), None),
            ("127.0.0.1", Some("0.0.1"), None),
            ("127.0.0.1", Some("1"), None),
            ("www.example.com", Some("."), None),
            ("www.example.com", Some(".."), None),
            ("www.example.com", Some("..example.com"), None),
            ("www.example.com", Some("example.com."), None),
            ("www.example.com", Some("other.com"), None),
            ("www.example.com", Some("ample.com"), None),
            ("www.example.com", Some("a.www.example.com"), None),
            ("www.example.com", Some("com"), None),
            ("www.example.com", Some(".com"), None),
            ("foo.bar.co.uk", Some(".co.uk"), None),
            ("me.github.io", Some("github.io"), None),
            ("db.internal", Some("internal"), None),
            ("127.www.0.0.x", Some("127.0.0.1"), None),
            ("www.xn--bcher-kva.test", Some("b\u{fc}cher.test"), None),
            ("com", None, Some(("com", BY_ITSELF))),
            ("com", Some("com"), Some(("com", BY_ITSELF))),
            ("com", Some(".com"), Some(("com", BY_ITSELF))),
            ("co.uk", Some(".co.uk"), Some(("co.uk", BY_ITSELF))),
            (
                "localhost",
                Some("localhost"),
                Some(("localhost", BY_ITSELF)),
            ),
            ("a.localhost", Some("localhost"), None),
        ] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            let found = Place::of(&url).unwrap().domain(attribute);
            let found = found.as_ref().map(|(name, alone)| (&name[..], *alone));
            assert_eq!(found, expected, "{host} {attribute:?}");
        }
    }
}
