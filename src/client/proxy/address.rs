//! What the URL of a proxy says.
//!
//! ```text
//!   socks5h://user:pass@host:1080 ──► scheme · host · port · credentials
//!                       host:3128 ──► http://host:3128
//! ```
//! A URL of a proxy holds credentials, so no error and no `Debug` repeats it.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Host;
use url::Url;

use crate::client::zone;
use crate::client::zone::Zone;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::authentication::basic;
use crate::limits::SOCKS_FIELD_BYTES_MAX;

/// The URL of a proxy, read and checked. Cheap to clone. Shown without its credentials.
///
/// ```
/// use roundtrip::client::proxy::ProxyUrl;
///
/// let url = ProxyUrl::parse("socks5h://me:secret@Proxy.Example")?;
/// assert_eq!(url.to_string(), "socks5h://proxy.example:1080");
/// assert_eq!(ProxyUrl::parse("10.0.0.1:3128")?.to_string(), "http://10.0.0.1:3128");
/// # Ok::<(), roundtrip::Error>(())
/// ```
#[derive(Clone)]
pub struct ProxyUrl {
    parts: Arc<Parts>,
}

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    scheme: Scheme,
    /// A name in lower case, or an address; IPv6 in brackets.
    host: Box<str>,
    /// On which link an IPv6 address is, where that was given.
    zone: Option<Zone>,
    port: u16,
    credentials: Option<Credentials>,
    /// The value of `Proxy-Authorization`, of an HTTP proxy with credentials.
    authorization: Option<Box<str>>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Scheme {
    Http,
    /// Names are looked up here.
    Socks5,
    /// Names are looked up by the proxy.
    Socks5h,
}

/// A name and a password, decoded.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::client) struct Credentials {
    pub(in crate::client) user: Box<[u8]>,
    pub(in crate::client) password: Box<[u8]>,
}

impl ProxyUrl {
    /// Reads `http://[user:password@]host[:port]`, or the same with `socks5`, where names of
    /// origins are looked up here, or `socks5h`, where the proxy does. Without a scheme it is
    /// `http`; without a port 80, or 1080 for SOCKS. User and password are percent-coded.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] naming what is wrong, without the URL.
    pub fn parse(text: &str) -> Result<ProxyUrl> {
        ProxyUrl::read(text).map_err(invalid)
    }

    /// As [`ProxyUrl::parse`]; the error is the rule that was broken.
    pub(super) fn read(text: &str) -> Result<ProxyUrl, &'static str> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Scheme::of(scheme)?, rest),
            None => (Scheme::Http, text),
        };
        let taken = zone::take(rest)?;
        let (rest, zone) = match taken {
            Some((rest, zone)) => (Cow::Owned(rest), Some(zone)),
            None => (Cow::Borrowed(rest), None),
        };
        // A scheme that the URL standard does not know has no default port: a port that is the
        // default of another scheme stays visible.
        let url = Url::parse(&format!("proxy://{rest}")).map_err(|_| "it is no URL")?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("it has a path, a query or a fragment");
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() {
            return Err("it has no host");
        }
        // For such a scheme the host was not looked at: names in lower case and in ASCII.
        let host = Host::parse(host).map_err(|_| "its host is no name and no address")?;
        let mut parts = Parts {
            scheme,
            host: host.to_string().into(),
            zone,
            port: url.port().unwrap_or(scheme.default_port()),
            credentials: None,
            authorization: None,
        };
        if !url.username().is_empty() || url.password().is_some() {
            let user: Vec<u8> = percent_decode_str(url.username()).collect();
            let password: Vec<u8> = percent_decode_str(url.password().unwrap_or("")).collect();
            parts.set_credentials(&user, &password)?;
        }
        Ok(ProxyUrl {
            parts: Arc::new(parts),
        })
    }

    /// With this name and password instead of those of the URL; not percent-coded.
    ///
    /// # Errors
    ///
    /// For SOCKS: the name is empty, or one of them is longer than 255 bytes (RFC 1929 §2).
    pub fn with_credentials(mut self, user: &str, password: &str) -> Result<ProxyUrl> {
        let parts = Arc::make_mut(&mut self.parts);
        parts
            .set_credentials(user.as_bytes(), password.as_bytes())
            .map_err(invalid)?;
        Ok(self)
    }

    /// The zone of the host, where it is an IPv6 address and one was given.
    pub(in crate::client) fn zone(&self) -> Option<&Zone> {
        self.parts.zone.as_ref()
    }

    /// The host: a name in lower case, or an address, IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.parts.host
    }

    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.parts.port
    }

    /// True when it has a name and a password.
    pub fn has_credentials(&self) -> bool {
        self.parts.credentials.is_some()
    }

    pub(in crate::client) fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    pub(in crate::client) fn credentials(&self) -> Option<&Credentials> {
        self.parts.credentials.as_ref()
    }

    /// The value of `Proxy-Authorization` (RFC 9110 §11.7.2).
    pub(in crate::client) fn authorization(&self) -> Option<&str> {
        self.parts.authorization.as_deref()
    }
}

impl Parts {
    fn set_credentials(&mut self, user: &[u8], password: &[u8]) -> Result<(), &'static str> {
        match self.scheme {
            Scheme::Http => self.authorization = Some(basic(user, password).into()),
            Scheme::Socks5 | Scheme::Socks5h => {
                if user.is_empty() {
                    return Err("a SOCKS proxy with a password needs a name");
                }
                if user.len().max(password.len()) > SOCKS_FIELD_BYTES_MAX {
                    return Err("a name or password for SOCKS is longer than 255 bytes");
                }
            }
        }
        self.credentials = Some(Credentials {
            user: user.into(),
            password: password.into(),
        });
        Ok(())
    }
}

impl Scheme {
    fn of(text: &str) -> Result<Scheme, &'static str> {
        let known = [Scheme::Http, Scheme::Socks5, Scheme::Socks5h];
        let found = known
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()));
        match found {
            Some(scheme) => Ok(scheme),
            None if text.eq_ignore_ascii_case("https") => {
                Err("it is https, and this build has no TLS")
            }
            None => Err("its scheme is none of http, socks5, socks5h"),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Socks5 => "socks5",
            Scheme::Socks5h => "socks5h",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Socks5 | Scheme::Socks5h => 1080,
        }
    }
}

impl PartialEq for ProxyUrl {
    fn eq(&self, other: &ProxyUrl) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts) || self.parts == other.parts
    }
}

impl Eq for ProxyUrl {}

impl Hash for ProxyUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.host().hash(state);
        self.port().hash(state);
    }
}

impl fmt::Display for ProxyUrl {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = (self.scheme().as_str(), self.host(), self.port());
        match (self.zone(), host.strip_suffix(']')) {
            (Some(zone), Some(address)) => write!(f, "{scheme}://{address}%25{zone}]:{port}"),
            _ => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

/// What can be the URL of a proxy: text, a [`Url`], or one that was read.
pub trait IntoProxyUrl: sealed::Sealed {
    /// The URL.
    ///
    /// # Errors
    ///
    /// Those of [`ProxyUrl::parse`].
    fn into_proxy_url(self) -> Result<ProxyUrl>;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::ProxyUrl {}
    impl Sealed for url::Url {}
    impl Sealed for &url::Url {}
    impl Sealed for &str {}
    impl Sealed for String {}
    impl Sealed for &String {}
}

impl IntoProxyUrl for ProxyUrl {
    fn into_proxy_url(self) -> Result<ProxyUrl> {
        Ok(self)
    }
}

impl IntoProxyUrl for Url {
    fn into_proxy_url(self) -> Result<ProxyUrl> {
        ProxyUrl::parse(self.as_str())
    }
}

impl IntoProxyUrl for &Url {
    fn into_proxy_url(self) -> Result<ProxyUrl> {
        ProxyUrl::parse(self.as_str())
    }
}

impl IntoProxyUrl for &str {
    fn into_proxy_url(self) -> Result<ProxyUrl> {
        ProxyUrl::parse(self)
    }
}

impl IntoProxyUrl for String {
    fn into_proxy_url(self) -> Result<ProxyUrl> {
        ProxyUrl::parse(&self)
    }
}

impl IntoProxyUrl for &String {
    fn into_proxy_url(self) -> Result<ProxyUrl> {
        ProxyUrl::parse(self)
    }
}

fn invalid(rule: &'static str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "the URL of the proxy cannot be used: {rule}; expected is \
             http://[user:password@]host:port, socks5:// or socks5h://"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_proxy() {
        let cases = [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            (
                "cache.corp.example.com:1234",
                "http://cache.corp.example.com:1234",
            ),
            ("cache.corp.example.com", "http://cache.corp.example.com:80"),
            ("localhost", "http://localhost:80"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("HTTP://Proxy.Example:80", "http://proxy.example:80"),
            ("  http://proxy:3128\n", "http://proxy:3128"),
            ("socks5://127.0.0.1", "socks5://127.0.0.1:1080"),
            ("socks5://proxy:80", "socks5://proxy:80"),
            ("Socks5H://u:p@proxy", "socks5h://proxy:1080"),
            ("http://[::1]:3128", "http://[::1]:3128"),
            ("[2001:DB8::1]", "http://[2001:db8::1]:80"),
            ("user:pass@proxy:3128", "http://proxy:3128"),
            ("http://\u{793a}\u{4f8b}.com", "http://xn--fsq092h.com:80"),
        ];
        for (text, shown) in cases {
            let url = ProxyUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_none_and_why() {
        let cases = [
            ("", "no host"),
            ("http://", "no host"),
            ("http://:3128", "no URL"),
            ("http://proxy:99999", "no URL"),
            ("proxy:http", "no URL"),
            ("http://pro xy:1", "no URL"),
            ("http://[::1%25a b]:1", "a network interface"),
            ("http://pro\u{fffd}xy:1", "no name"),
            ("http://1.2.3.4.5:1", "no name"),
            ("http://proxy:3128/proxy.pac", "a path"),
            ("http://proxy:3128?x", "a path"),
            ("http://proxy:3128#x", "a path"),
            ("https://proxy", "no TLS"),
            ("socks4://proxy", "none of http, socks5, socks5h"),
            ("foo://proxy", "none of http, socks5, socks5h"),
            ("socks5://:secret@proxy", "needs a name"),
        ];
        for (text, rule) in cases {
            let error = ProxyUrl::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(rule), "{text}: {error}");
        }
        let long = format!("socks5://{}:b@proxy", "a".repeat(256));
        assert!(ProxyUrl::parse(&long).is_err());
        let just = format!("socks5://{}:{}@proxy", "a".repeat(255), "b".repeat(255));
        assert!(ProxyUrl::parse(&just).is_ok());
    }

    #[test]
    fn an_address_may_have_a_zone() {
        for text in [
            "socks5://a@[FE80::1%25eth0]:81",
            "socks5://a@[fe80::1%eth0]:81",
        ] {
            let url = ProxyUrl::parse(text).unwrap();
            assert_eq!(url.host(), "[fe80::1]");
            assert_eq!(url.to_string(), "socks5://[fe80::1%25eth0]:81");
            assert!(url != ProxyUrl::parse("socks5://a@[fe80::1]:81").unwrap());
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let url = ProxyUrl::parse("http://m%65:s%3Aecret@proxy:1").unwrap();
        let credentials = url.credentials().unwrap();
        assert_eq!(&*credentials.user, b"me");
        assert_eq!(&*credentials.password, b"s:ecret");
        assert_eq!(url.authorization(), Some("Basic bWU6czplY3JldA=="));
        for shown in [format!("{url}"), format!("{url:?}")] {
            assert!(!shown.contains("me") && !shown.contains("ecret"), "{shown}");
        }
        for text in ["foo://me:hush@proxy", "http://me:hush@pro xy", "me:hush@"] {
            let error = ProxyUrl::parse(text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hush"), "{shown}");
        }
        let other = url.clone().with_credentials("me", "s:ecret").unwrap();
        assert_eq!(other, url);
        let other = other.with_credentials("me", "other").unwrap();
        assert_ne!(other, url);
        let socks = ProxyUrl::parse("socks5://proxy").unwrap();
        assert!(socks.with_credentials("", "x").is_err());
    }

    #[test]
    fn all_that_tells_proxies_apart_counts() {
        let all = [
            "http://a:1",
            "http://b:1",
            "http://a:2",
            "socks5://a:1",
            "socks5h://a:1",
            "http://u@a:1",
            "http://u:p@a:1",
            "http://v@a:1",
        ];
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                let (one, other) = (ProxyUrl::parse(one), ProxyUrl::parse(other));
                assert_eq!(one.unwrap() == other.unwrap(), at == other_at);
            }
        }
    }
}
