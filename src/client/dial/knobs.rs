//! Settings of a client: how hosts are found and reached.
//!
//! ```text
//!   resolver · resolve_to · dns_cache_age ──► addresses ─┬─► connection
//!   on_connect · local_address ──────────────────────────┤
//!   connector · unix_socket ─────────────────────────────┘
//! ```

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::client::ClientBuilder;
use crate::client::RequestBuilder;
use crate::client::Resolver;
use crate::client::dial::ConnectTarget;
use crate::client::dial::Connector;
use crate::client::request::held::Builds;
use crate::client::route::Via;
use crate::error::Result;

/// How hosts are found and reached.
impl<C> ClientBuilder<C> {
    /// How long the addresses of a name count, from the beginning of their look-up; 30 s by default,
    /// since the system's resolver tells no time to live. 0 looks up for every dial; dials at the
    /// same time share a look-up also then. All cores share what is known, of up to 1,024 names.
    ///
    /// Dials take turns among the addresses that the system's resolver found, within each family. A
    /// dial that failed on all addresses makes the next one look them up again. A connection that is
    /// open is used for as long as it lives, whatever becomes of its name:
    /// [`age_max`](ClientBuilder::age_max) bounds that.
    pub fn dns_cache_age(mut self, age: Duration) -> Self {
        self.config.transport.dial.names.set_fresh_age(age);
        self
    }

    /// For how much longer the last known addresses of a name are used while looking it up fails
    /// (RFC 8767); 0 by default, which uses none.
    pub fn dns_stale_age(mut self, age: Duration) -> Self {
        self.config.transport.dial.names.set_stale_age(age);
        self
    }

    /// What finds the addresses of names, instead of getaddrinfo(3): a [`Resolver`], or a closure
    /// `async |host: &str, port: u16| -> Result<Vec<SocketAddr>>`.
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use roundtrip::Client;
    ///
    /// let client = Client::builder()
    ///     .resolver(async |_host: &str, port: u16| {
    ///         Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    ///     })
    ///     .build();
    /// # drop(client);
    /// ```
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.config.transport.dial.names.set_resolver(resolver);
        self
    }

    /// Sets the addresses of a host by hand, for one port or for all (curl's `--resolve`): its name
    /// is not looked up. An address with port 0 gets that of the URL. They are tried in this order,
    /// the families in turn; a second call for the same host and port replaces the first. The
    /// request names the host of its URL as always.
    ///
    /// ```
    /// use roundtrip::Client;
    ///
    /// let address = "127.0.0.1:8080".parse().unwrap();
    /// let client = Client::builder()
    ///     .resolve_to("www.example.com", None, [address])?
    ///     .build();
    /// # drop(client);
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `host` is none, or there is no address.
    pub fn resolve_to(
        mut self,
        host: &str,
        port: Option<u16>,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self> {
        let addresses = addresses.into_iter().collect();
        let names = &mut self.config.transport.dial.names;
        names.set_addresses(host, port, addresses)?;
        Ok(self)
    }

    /// The address of this machine that connections come from; the kernel's choice by default.
    /// Addresses of the other family are not tried then.
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.config.transport.dial.source = Some(address);
        self
    }

    /// Called with every address just before it is connected to; an error refuses it, as if nobody
    /// had answered there, and is the request's where no address is left. It runs on the core that
    /// dials, for every dial: those of redirects and retries too, but not for requests that use a
    /// connection that is open. Several are asked in turn.
    ///
    /// A guard against URLs that lead into your own network is one line:
    /// `.on_connect(public_addresses_only)`, see
    /// [`public_addresses_only`](crate::client::dial::public_addresses_only).
    ///
    /// ```
    /// use roundtrip::Client;
    /// use roundtrip::Error;
    /// use roundtrip::client::dial::ConnectTarget;
    /// use roundtrip::error::ErrorKind;
    ///
    /// let client = Client::builder()
    ///     .on_connect(|target: &ConnectTarget<'_>| match target.port() {
    ///         80 | 443 => Ok(()),
    ///         port => Err(Error::new(ErrorKind::Invalid, format!("no port {port}, please"))),
    ///     })
    ///     .build();
    /// # drop(client);
    /// ```
    pub fn on_connect(
        mut self,
        guard: impl Fn(&ConnectTarget<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.config.transport.dial.hooks.add_guard(guard);
        self
    }

    /// What makes connections, instead of looking up and connecting: a [`Connector`], or a closure
    /// `async |target: &DialTarget<'_>| -> Result<Socket>`. Neither [`on_connect`] nor
    /// [`local_address`] apply to it.
    ///
    /// [`on_connect`]: ClientBuilder::on_connect
    /// [`local_address`]: ClientBuilder::local_address
    ///
    /// ```
    /// use std::os::fd::OwnedFd;
    ///
    /// use roundtrip::Client;
    /// use roundtrip::client::dial::DialTarget;
    /// use roundtrip::net::Socket;
    ///
    /// let client = Client::builder()
    ///     .connector(async |_target: &DialTarget<'_>| {
    ///         // One end of a pair; somebody answers at the other.
    ///         let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ///         drop(theirs);
    ///         Ok(Socket::from_owned(OwnedFd::from(ours)))
    ///     })
    ///     .build();
    /// # drop(client);
    /// ```
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.config.transport.dial.hooks.set_connector(connector);
        self
    }

    /// Sends every request to the Unix socket at `path` (curl's `--unix-socket`), whatever the host
    /// of its URL: that is what the request names. A request may choose another one
    /// ([`RequestBuilder::unix_socket`](crate::client::RequestBuilder::unix_socket)).
    pub fn unix_socket(mut self, path: impl AsRef<Path>) -> Self {
        self.config.transport.dial.via = Some(Via::Unix(path.as_ref().into()));
        self
    }
}

impl<C: Builds> RequestBuilder<C> {
    /// Sends the request to the Unix socket at `path` (curl's `--unix-socket`), whatever the host of
    /// its URL: that is what the request names. Redirects stay there.
    ///
    /// ```no_run
    /// # use roundtrip::Client;
    /// # roundtrip::block_on(async {
    /// let request = Client::new().get("http://docker/containers/json");
    /// let text = request.unix_socket("/run/docker.sock").send().await?.text().await?;
    /// # Ok::<(), roundtrip::Error>(())
    /// # })?;
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    pub fn unix_socket(self, path: impl AsRef<Path>) -> Self {
        let via = Via::Unix(path.as_ref().into());
        self.with_options(|options| options.via(via))
    }
}
