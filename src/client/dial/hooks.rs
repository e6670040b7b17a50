//! What a program may hang into dialling: a look at every address, or the whole of it.
//!
//! ```text
//!   DialTarget: scheme, host, port ─┬─► Connector ─────────────────────────► Socket
//!                                   └─► addresses ─► on_connect(ConnectTarget) ─► connect(2)
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::client::pool::OriginRef;
use crate::client::route::Via;
use crate::client::zone::Zone;
use crate::error::Error;
use crate::error::Result;
use crate::guard::catching;
use crate::guard::caught;
use crate::net::Address;
use crate::net::Socket;

/// Where a connection is to lead: what stands in the URL, or a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialTarget<'a> {
    pub(in crate::client) scheme: &'a str,
    pub(in crate::client) host: &'a str,
    pub(in crate::client) port: u16,
    pub(in crate::client) is_proxy: bool,
    pub(in crate::client) zone: Option<&'a Zone>,
}

impl<'a> DialTarget<'a> {
    /// What a URL names.
    pub(in crate::client) fn of(origin: OriginRef<'a>) -> DialTarget<'a> {
        DialTarget {
            scheme: if origin.secure { "https" } else { "http" },
            host: origin.host,
            port: origin.port,
            is_proxy: false,
            zone: match origin.via {
                Some(Via::Link(zone)) => Some(zone),
                _ => None,
            },
        }
    }

    /// `http` or `https`; of a proxy also `socks5` or `socks5h`.
    pub fn scheme(&self) -> &'a str {
        self.scheme
    }

    /// A name in lower case, or an address; IPv6 in brackets.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// True when this is a proxy, and not what the URL names.
    pub fn is_proxy(&self) -> bool {
        self.is_proxy
    }

    /// The zone of the address, where one was given: the name of an interface or its number.
    pub fn zone(&self) -> Option<&'a str> {
        self.zone.map(Zone::as_str)
    }
}

/// An address that is about to be connected to, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct ConnectTarget<'a> {
    pub(in crate::client) target: DialTarget<'a>,
    pub(in crate::client) address: &'a Address,
}

impl<'a> ConnectTarget<'a> {
    /// As for [`DialTarget::scheme`].
    pub fn scheme(&self) -> &'a str {
        self.target.scheme
    }

    /// As for [`DialTarget::host`].
    pub fn host(&self) -> &'a str {
        self.target.host
    }

    /// As for [`DialTarget::port`]; the address may have another.
    pub fn port(&self) -> u16 {
        self.target.port
    }

    /// As for [`DialTarget::is_proxy`].
    pub fn is_proxy(&self) -> bool {
        self.target.is_proxy
    }

    /// What the next connect(2) gets, or a SOCKS5 proxy where names are looked up here.
    pub fn address(&self) -> &'a Address {
        self.address
    }
}

/// Makes connections for a client, instead of looking up and connecting: over other networks, for
/// tests. A closure `async |target: &DialTarget<'_>| -> Result<Socket>` is one.
///
/// It is called on the core that dials, and has the connect time-out. The socket is a connected
/// stream socket, of any kind, on which nothing is in flight: [`Socket::from_owned`] takes one of
/// the standard library, [`TcpStream::into_socket`](crate::net::TcpStream::into_socket) one of this
/// crate. TCP_NODELAY and keep-alive are set as for every other.
pub trait Connector: Send + Sync + 'static {
    /// A connection that leads to `target`.
    fn connect(&self, target: &DialTarget<'_>) -> impl Future<Output = Result<Socket>>;
}

impl<F> Connector for F
where
    F: AsyncFn(&DialTarget<'_>) -> Result<Socket> + Send + Sync + 'static,
{
    async fn connect(&self, target: &DialTarget<'_>) -> Result<Socket> {
        self(target).await
    }
}

type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Socket>> + 'a>>;

trait ErasedConnector: Send + Sync {
    fn connect<'a>(&'a self, target: &'a DialTarget<'a>) -> Connecting<'a>;
}

impl<C: Connector> ErasedConnector for C {
    fn connect<'a>(&'a self, target: &'a DialTarget<'a>) -> Connecting<'a> {
        Box::pin(Connector::connect(self, target))
    }
}

type Guard = Arc<dyn Fn(&ConnectTarget<'_>) -> Result<()> + Send + Sync>;

/// What a client was given.
#[derive(Clone, Default)]
pub(in crate::client) struct Hooks {
    guards: Vec<Guard>,
    connector: Option<Arc<dyn ErasedConnector>>,
}

impl Hooks {
    pub(super) fn add_guard(
        &mut self,
        guard: impl Fn(&ConnectTarget<'_>) -> Result<()> + Send + Sync + 'static,
    ) {
        self.guards.push(Arc::new(guard));
    }

    pub(super) fn set_connector(&mut self, connector: impl Connector) {
        self.connector = Some(Arc::new(connector));
    }

    /// Asks whether an address may be connected to.
    ///
    /// # Errors
    ///
    /// That of the first who refuses.
    pub(in crate::client) fn check(&self, target: &ConnectTarget<'_>) -> Result<()> {
        let check = |guard: &Guard| {
            caught(|| guard(target))
                .unwrap_or_else(|panic| Err(Error::panicked("on_connect", &panic)))
        };
        self.guards.iter().try_for_each(check)
    }

    /// The connection that a connector makes; `None` without one.
    pub(super) fn connect<'a>(&'a self, target: &'a DialTarget<'a>) -> Option<Connecting<'a>> {
        let connector = self.connector.as_ref()?;
        Some(Box::pin(async move {
            let connecting = catching(async { connector.connect(target).await });
            let connected = connecting.await;
            connected.unwrap_or_else(|panic| Err(Error::panicked("the connector", &panic)))
        }))
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("guards", &self.guards.len())
            .field("has_connector", &self.connector.is_some())
            .finish()
    }
}
