//! Proxies: which one a request goes by, and how.
//!
//! ```text
//!   URL ─► Proxies ─┬─ none ───────────────────────────────► straight to the origin
//!    (the first     ├─ http, for an http URL ──► Forward ──► GET http://host/ to the proxy
//!     that matches) ├─ http, else, or tunnel() ► Tunnel ───► CONNECT host:port, then as to the origin
//!                   └─ socks5, socks5h ────────► Tunnel ───► SOCKS5, then as to the origin
//! ```
//! A client takes the proxies of the environment ([`Proxies::from_environment`]) unless it is given
//! others, or none. Credentials of a proxy are its URL's; they are sent to the proxy alone, and are
//! part of what connections are pooled by.
//!
//! The handshakes (`connect`, `socks`) are machines of bytes; `handshake` runs them over a
//! socket.

mod address;
mod connect;
mod env;
mod handshake;
mod no_proxy;
mod socks;

use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

use url::Url;

use crate::client::proxy::address::Scheme;
use crate::client::proxy::env::Environment;
use crate::client::proxy::no_proxy::NoProxy;
use crate::client::route::Via;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::headers::Headers;

pub use address::IntoProxyUrl;
pub use address::ProxyUrl;
pub(in crate::client) use handshake::dial_proxy;
pub(in crate::client) use handshake::dial_tunnel;

/// A proxy for some requests of a client.
///
/// ```
/// use roundtrip::client::Client;
/// use roundtrip::client::proxy::Proxy;
///
/// let client = Client::builder()
///     .proxy(Proxy::http("http://user:password@proxy.example:3128")?.no_proxy("intern.example"))
///     .proxy(Proxy::all("socks5h://127.0.0.1:9050")?)
///     .build();
/// # Ok::<(), roundtrip::Error>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    serves: Serves,
    choice: Choice,
    manner: Manner,
    except: Option<Arc<NoProxy>>,
}

/// For which URLs a proxy is.
#[derive(Clone, Copy, Debug)]
enum Serves {
    Http,
    Https,
    All,
}

/// Which proxy it is.
#[derive(Clone)]
enum Choice {
    Fixed(ProxyUrl),
    Custom(Arc<Choose>),
}

type Choose = dyn Fn(&Url) -> Option<ProxyUrl> + Send + Sync;

/// How a proxy is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Manner {
    /// True exactly when http URLs go through a tunnel too.
    is_tunnel: bool,
    /// Fields of a CONNECT, as they are sent.
    connect_fields: Option<Arc<str>>,
}

/// One proxy, and how it is used: a part of what connections are pooled by.
#[derive(Clone, PartialEq, Eq)]
pub struct Hop {
    url: ProxyUrl,
    manner: Manner,
}

impl Proxy {
    /// For http URLs.
    ///
    /// # Errors
    ///
    /// Those of [`ProxyUrl::parse`].
    pub fn http(url: impl IntoProxyUrl) -> Result<Proxy> {
        Ok(Proxy::fixed(Serves::Http, url.into_proxy_url()?))
    }

    /// For https URLs.
    ///
    /// # Errors
    ///
    /// Those of [`ProxyUrl::parse`].
    pub fn https(url: impl IntoProxyUrl) -> Result<Proxy> {
        Ok(Proxy::fixed(Serves::Https, url.into_proxy_url()?))
    }

    /// For all URLs.
    ///
    /// # Errors
    ///
    /// Those of [`ProxyUrl::parse`].
    pub fn all(url: impl IntoProxyUrl) -> Result<Proxy> {
        Ok(Proxy::fixed(Serves::All, url.into_proxy_url()?))
    }

    /// The proxy that `choose` returns for the URL of a request; `None` where this is none for it,
    /// and the next proxy of the client is asked. Called once for each request and each redirect.
    pub fn custom(choose: impl Fn(&Url) -> Option<ProxyUrl> + Send + Sync + 'static) -> Proxy {
        Proxy {
            serves: Serves::All,
            choice: Choice::Custom(Arc::new(choose)),
            manner: Manner::default(),
            except: None,
        }
    }

    fn fixed(serves: Serves, url: ProxyUrl) -> Proxy {
        Proxy {
            serves,
            choice: Choice::Fixed(url),
            manner: Manner::default(),
            except: None,
        }
    }

    /// Not for these hosts, in the syntax of `NO_PROXY`: names with all below them, `.name` for
    /// those below alone, addresses, networks as `10.0.0.0/8`, each but networks with a port, or `*`;
    /// separated by commas or blanks. What is none of these matches nothing. A further list replaces
    /// this one.
    #[must_use]
    pub fn no_proxy(mut self, list: &str) -> Proxy {
        self.except = Some(Arc::new(NoProxy::parse(list)));
        self
    }

    /// Through a tunnel (CONNECT) also for http URLs, which an HTTP proxy is else asked to forward.
    #[must_use]
    pub fn tunnel(mut self) -> Proxy {
        self.manner.is_tunnel = true;
        self
    }

    /// With one more header field in each CONNECT. A `Proxy-Authorization` replaces the credentials
    /// of the URL there.
    ///
    /// # Errors
    ///
    /// Name or value are invalid, or the field is one that this side writes itself.
    pub fn connect_header(mut self, name: &str, value: &str) -> Result<Proxy> {
        Headers::new().append(name, value)?;
        let is_ours = connect::OWN_FIELDS
            .iter()
            .any(|own| own.eq_ignore_ascii_case(name));
        if is_ours {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a CONNECT has its own Host and no body: their fields cannot be set",
            ));
        }
        let before = self.manner.connect_fields.as_deref().unwrap_or_default();
        let fields = format!("{before}{name}: {value}\r\n");
        self.manner.connect_fields = Some(fields.into());
        Ok(self)
    }

    /// The proxy for this URL.
    fn choose(&self, url: &Url) -> Option<Hop> {
        let serves = match self.serves {
            Serves::Http => url.scheme() == "http",
            Serves::Https => url.scheme() == "https",
            Serves::All => true,
        };
        let is_excepted = || {
            let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
                return false;
            };
            self.except
                .as_ref()
                .is_some_and(|list| list.covers(&host, port))
        };
        if !serves || is_excepted() {
            return None;
        }
        let proxy = match &self.choice {
            Choice::Fixed(url) => url.clone(),
            Choice::Custom(choose) => choose(url)?,
        };
        Some(Hop {
            url: proxy,
            manner: self.manner.clone(),
        })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Proxy");
        shown.field("serves", &self.serves);
        match &self.choice {
            Choice::Fixed(url) => shown.field("url", url),
            Choice::Custom(_) => shown.field("url", &"custom"),
        };
        shown.finish_non_exhaustive()
    }
}

/// The proxies of a client or of a request: the first that matches a URL serves it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    source: Option<Source>,
}

#[derive(Clone, Debug)]
enum Source {
    List(Arc<Vec<Proxy>>),
    Environment(Arc<Environment>),
}

impl Proxies {
    /// No proxy.
    pub const fn none() -> Proxies {
        Proxies { source: None }
    }

    /// Those of the environment of this process, as it is now: `HTTP_PROXY` for http URLs,
    /// `HTTPS_PROXY` for https URLs, `ALL_PROXY` where that of the URL is not set, each but for the
    /// hosts of `NO_PROXY` and for this machine itself. Names in lower case count where those in
    /// upper case are not set. Requests on a simulated kernel have none of them.
    ///
    /// Nothing fails here: a value that is no proxy fails the requests that would go by it.
    pub fn from_environment() -> Proxies {
        Proxies::of(Environment::of_process())
    }

    /// As [`Proxies::from_environment`], of these variables, others among them.
    ///
    /// ```
    /// use roundtrip::client::Client;
    /// use roundtrip::client::proxy::Proxies;
    ///
    /// let proxies = Proxies::from_vars([("http_proxy", "proxy:3128"), ("no_proxy", ".intern")]);
    /// let client = Client::builder().proxies(proxies).build();
    /// ```
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Proxies
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        Proxies::of(Environment::from_vars(vars))
    }

    fn of(environment: Option<Environment>) -> Proxies {
        Proxies {
            source: environment.map(|read| Source::Environment(Arc::new(read))),
        }
    }

    /// With one more, behind those that are there. Those of the environment are not: proxies that
    /// are set replace them.
    #[must_use]
    pub fn with(self, proxy: Proxy) -> Proxies {
        let mut list = match self.source {
            Some(Source::List(list)) => list,
            Some(Source::Environment(_)) | None => Arc::default(),
        };
        Arc::make_mut(&mut list).push(proxy);
        Proxies {
            source: Some(Source::List(list)),
        }
    }

    /// True when no request goes by a proxy.
    pub fn is_none(&self) -> bool {
        self.source.is_none()
    }

    /// The way to this URL, where it is not the straight one. On a simulated kernel there is no
    /// environment.
    pub(in crate::client) fn choose(&self, url: &Url, is_simulated: bool) -> Result<Option<Via>> {
        let hop = match &self.source {
            None => None,
            Some(Source::List(list)) => list.iter().find_map(|proxy| proxy.choose(url)),
            Some(Source::Environment(_)) if is_simulated => None,
            Some(Source::Environment(environment)) => environment.choose(url)?.cloned(),
        };
        Ok(hop.map(|hop| hop.way_to(url)))
    }
}

impl From<Proxy> for Proxies {
    fn from(proxy: Proxy) -> Proxies {
        Proxies::none().with(proxy)
    }
}

impl Hop {
    /// Used as its scheme says.
    fn usual(url: ProxyUrl) -> Hop {
        Hop {
            url,
            manner: Manner::default(),
        }
    }

    /// The proxy.
    pub fn url(&self) -> &ProxyUrl {
        &self.url
    }

    /// Further fields of a CONNECT, as they are sent.
    fn connect_fields(&self) -> &str {
        self.manner.connect_fields.as_deref().unwrap_or_default()
    }

    /// Through it, or by it.
    fn way_to(self, url: &Url) -> Via {
        let forwards = self.url.scheme() == Scheme::Http && !self.manner.is_tunnel;
        if forwards && url.scheme() == "http" {
            Via::Forward(self)
        } else {
            Via::Tunnel(self)
        }
    }
}

impl Hash for Hop {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.url.hash(state);
    }
}

impl fmt::Display for Hop {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for Hop {
    /// Without credentials, and without fields that may hold some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hop({})", self.url)
    }
}
