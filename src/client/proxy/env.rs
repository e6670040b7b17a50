//! The proxies of the environment, with net/http's rules.
//!
//! ```text
//!   http URL    HTTP_PROXY, http_proxy    ─┐
//!   https URL   HTTPS_PROXY, https_proxy  ─┼─ none set: ALL_PROXY, all_proxy
//!   neither for this machine itself, nor for what NO_PROXY or no_proxy lists
//! ```
//! Of two names the first that is set and not empty counts. Where `REQUEST_METHOD` is set, this may
//! be a CGI program, and `HTTP_PROXY` the `Proxy` field of somebody's request: it is refused.
//!
//! Unlike net/http, which ignores it, a value that is no proxy fails the requests that would use it:
//! who set it does not want them to go past it.

use std::os::unix::ffi::OsStrExt;

use url::Url;

use crate::client::proxy::Hop;
use crate::client::proxy::address::ProxyUrl;
use crate::client::proxy::no_proxy::NoProxy;
use crate::client::proxy::no_proxy::is_loopback;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::target::url_text;

/// All that is looked at, what counts first before what counts second.
const NAMES: [&str; 9] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "REQUEST_METHOD",
];

/// What the environment says, read once.
#[derive(Debug)]
pub(super) struct Environment {
    http: Option<Variable>,
    https: Option<Variable>,
    all: Option<Variable>,
    no_proxy: NoProxy,
    is_cgi: bool,
}

/// A variable that names a proxy.
#[derive(Debug)]
struct Variable {
    name: &'static str,
    /// The proxy, or what is wrong with it.
    hop: Result<Hop, &'static str>,
}

impl Environment {
    /// Of this process; `None` where it sets no proxy.
    pub(super) fn of_process() -> Option<Environment> {
        let set = NAMES.iter().filter_map(|name| {
            let value = std::env::var_os(name)?;
            Some((*name, url_text(value.as_bytes()).into_owned()))
        });
        Environment::from_vars(set)
    }

    /// Of these variables, others than ours among them; `None` where they set no proxy.
    pub(super) fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Option<Environment>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut values: [Option<V>; NAMES.len()] = [const { None }; NAMES.len()];
        for (name, value) in vars {
            let known = NAMES.iter().position(|known| *known == name.as_ref());
            if let Some(at) = known.filter(|_| !value.as_ref().trim().is_empty()) {
                values[at] = Some(value);
            }
        }
        let first_of = |at: usize| {
            let set = (at..at + 2).find(|at| values[*at].is_some())?;
            Some((NAMES[set], values[set].as_ref()?.as_ref()))
        };
        let variable = |at: usize| {
            first_of(at).map(|(name, value)| Variable {
                name,
                hop: ProxyUrl::read(value).map(Hop::usual),
            })
        };
        let (http, https, all) = (variable(0), variable(2), variable(4));
        if http.is_none() && https.is_none() && all.is_none() {
            return None;
        }
        let list = first_of(6).map_or("", |(_, list)| list);
        Some(Environment {
            http,
            https,
            all,
            no_proxy: NoProxy::parse(list),
            is_cgi: values[8].is_some(),
        })
    }

    /// The proxy for this URL, if it goes by one.
    ///
    /// # Errors
    ///
    /// The variable that decides holds no proxy, or may come from a stranger.
    pub(super) fn choose(&self, url: &Url) -> Result<Option<&Hop>> {
        let own = match url.scheme() {
            "http" => &self.http,
            "https" => &self.https,
            _ => return Ok(None),
        };
        let Some(variable) = own.as_ref().or(self.all.as_ref()) else {
            return Ok(None);
        };
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Ok(None);
        };
        if is_loopback(&host) || self.no_proxy.covers(&host, port) {
            return Ok(None);
        }
        let refused = |text: String| Error::new(ErrorKind::Invalid, text).in_phase(Phase::Proxy);
        if self.is_cgi && variable.name.eq_ignore_ascii_case("HTTP_PROXY") {
            return Err(refused(format!(
                "{} is not used where REQUEST_METHOD is set: in a CGI program it may come from the \
                 client; set ALL_PROXY, or the proxy of the client (ClientBuilder::proxy)",
                variable.name
            )));
        }
        match &variable.hop {
            Ok(hop) => Ok(Some(hop)),
            Err(rule) => Err(refused(format!(
                "the environment variable {} is no proxy: {rule}; expected is \
                 http://[user:password@]host:port, socks5:// or socks5h://",
                variable.name
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Vars<'a> = &'a [(&'a str, &'a str)];

    fn chosen(vars: Vars<'_>, url: &str) -> Result<Option<String>> {
        let Some(environment) = Environment::from_vars(vars.iter().copied()) else {
            return Ok(None);
        };
        let url = Url::parse(url).unwrap();
        let hop = environment.choose(&url)?;
        Ok(hop.map(|hop| hop.url().to_string()))
    }

    /// net/http's own table (`httpproxy`, `proxyForURLTests`), but for `https://` proxies.
    #[test]
    fn as_in_net_http() {
        let usual = "http://example.com";
        let secure = "https://secure.tld/";
        let (both, http) = (
            ("HTTP_PROXY", "http.proxy.tld"),
            ("HTTPS_PROXY", "secure.proxy.tld"),
        );
        let no = |list| [("HTTP_PROXY", "proxy"), ("NO_PROXY", list)];
        let cases: [(Vars<'_>, &str, Option<&str>); 18] = [
            (
                &[("HTTP_PROXY", "127.0.0.1:8080")],
                usual,
                Some("http://127.0.0.1:8080"),
            ),
            (
                &[("HTTP_PROXY", "cache.corp.example.com:1234")],
                usual,
                Some("http://cache.corp.example.com:1234"),
            ),
            (
                &[("HTTP_PROXY", "cache.corp.example.com")],
                usual,
                Some("http://cache.corp.example.com:80"),
            ),
            (
                &[("HTTP_PROXY", "localhost")],
                usual,
                Some("http://localhost:80"),
            ),
            (
                &[("HTTP_PROXY", "socks5://127.0.0.1")],
                usual,
                Some("socks5://127.0.0.1:1080"),
            ),
            (
                &[both, http],
                "http://insecure.tld/",
                Some("http://http.proxy.tld:80"),
            ),
            (&[both, http], secure, Some("http://secure.proxy.tld:80")),
            (&[both], secure, None),
            (&[http], "http://insecure.tld/", None),
            (&[both], "ftp://insecure.tld/", None),
            (&[], usual, None),
            (&no("example.com"), usual, None),
            (&no(".example.com"), usual, Some("http://proxy:80")),
            (&no("ample.com"), usual, Some("http://proxy:80")),
            (&no("example.com"), "http://foo.example.com/", None),
            (&no(".foo.com"), usual, Some("http://proxy:80")),
            (&no("*"), usual, None),
            (&no(":1"), usual, Some("http://proxy:80")),
        ];
        for (vars, url, expected) in cases {
            let found = chosen(vars, url).unwrap();
            assert_eq!(found.as_deref(), expected, "{vars:?} {url}");
        }
    }

    #[test]
    fn names_and_their_order() {
        let all = [
            ("all_proxy", "f"),
            ("ALL_PROXY", "e"),
            ("http_proxy", "b"),
            ("HTTP_PROXY", "a"),
            ("https_proxy", "d"),
            ("HTTPS_PROXY", "c"),
            ("HTTP_proxy", "none"),
            ("PATH", "none"),
        ];
        let found = |vars: Vars<'_>, url: &str| chosen(vars, url).unwrap();
        let (http, https) = ("http://x.example/", "https://x.example/");
        assert_eq!(found(&all, http).unwrap(), "http://a:80");
        assert_eq!(found(&all, https).unwrap(), "http://c:80");
        assert_eq!(found(&all[..3], http).unwrap(), "http://b:80");
        assert_eq!(found(&all[..3], https).unwrap(), "http://e:80");
        assert_eq!(found(&all[..1], http).unwrap(), "http://f:80");
        assert_eq!(found(&all[..1], "ftp://x.example/"), None);
        // What is empty is not set.
        let empty = [("HTTP_PROXY", " "), ("http_proxy", "b"), ("NO_PROXY", "")];
        assert_eq!(found(&empty, http).unwrap(), "http://b:80");
        let lists = [("ALL_PROXY", "a"), ("no_proxy", "x.example")];
        assert_eq!(found(&lists, http), None);
        assert_eq!(found(&[("NO_PROXY", "*")], http), None);
    }

    #[test]
    fn this_machine_is_never_proxied() {
        let vars = [("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")];
        for host in ["localhost:8080", "127.0.0.1", "127.9.9.9:81", "[::1]:8080"] {
            let found = chosen(&vars, &format!("http://{host}/"));
            assert_eq!(found.unwrap(), None, "{host}");
        }
    }

    #[test]
    fn a_stranger_cannot_choose_the_proxy_of_a_cgi_program() {
        let url = "http://x.example/";
        for name in ["HTTP_PROXY", "http_proxy"] {
            let vars = [(name, "http://me:hush@a"), ("REQUEST_METHOD", "POST")];
            let error = chosen(&vars, url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(text.contains(name) && text.contains("REQUEST_METHOD"));
            assert!(!text.contains("hush"));
        }
        let fine = [
            ("HTTPS_PROXY", "a"),
            ("ALL_PROXY", "b"),
            ("REQUEST_METHOD", "GET"),
        ];
        assert_eq!(chosen(&fine, url).unwrap().unwrap(), "http://b:80");
        let https = chosen(&fine, "https://x.example/").unwrap();
        assert_eq!(https.unwrap(), "http://a:80");
    }

    #[test]
    fn a_bad_value_fails_what_would_use_it_and_is_not_shown() {
        let vars = [
            ("http_proxy", "gopher://me:hush@proxy"),
            ("HTTPS_PROXY", "https://proxy"),
            ("NO_PROXY", "b.example"),
        ];
        let error = chosen(&vars, "http://a.example/").unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("http_proxy is no proxy"), "{shown}");
        assert!(!shown.contains("hush"));
        assert!(chosen(&vars, "https://a.example/").is_err());
        assert_eq!(chosen(&vars, "http://b.example/").unwrap(), None);
        assert_eq!(chosen(&vars, "http://127.0.0.1/").unwrap(), None);
        assert!(chosen(&[("HTTP_PROXY", "h:\u{fffd}")], "http://a.example/").is_err());
    }
}
