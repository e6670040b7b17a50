//! Settings of a client: how hosts are found and reached.
//!
//! ```text
//!   resolver · resolve_to · dns_cache_age ──► addresses ──► connection
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use crate::client::ClientBuilder;
use crate::client::Resolver;
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
        self.transport.dial.names.set_fresh_age(age);
        self
    }

    /// For how much longer the last known addresses of a name are used while looking it up fails
    /// (RFC 8767); 0 by default, which uses none.
    pub fn dns_stale_age(mut self, age: Duration) -> Self {
        self.transport.dial.names.set_stale_age(age);
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
        self.transport.dial.names.set_resolver(resolver);
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
        let names = &mut self.transport.dial.names;
        names.set_addresses(host, port, addresses)?;
        Ok(self)
    }
}
