//! From an origin to a connected socket: look up, connect, or go by another way.
//!
//! ```text
//!   Origin ─┬─ straight ─┬─► resolve ─► may we? ─► connect ─┐
//!           │            └─► a connector of the user ───────┤
//!           └─ Via::Unix ────────────► may we? ─► connect ──┴─► Dialed: socket, protocol, address, times
//! ```

mod hooks;
mod knobs;
mod public;

use std::cell::Cell;
use std::future::Future;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::client::dial::hooks::Hooks;
use crate::client::observe::Event;
use crate::client::observe::Observers;
use crate::client::options::TransportOptions;
use crate::client::pool::Origin;
use crate::client::proxy;
use crate::client::resolve::Awaited;
use crate::client::resolve::Found;
use crate::client::resolve::Names;
use crate::client::route::Via;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::net;
use crate::net::Address;
use crate::net::Attempts;
use crate::net::ConnectOptions;
use crate::net::Opening;
use crate::net::Socket;
use crate::runtime;
use crate::runtime::Core;

pub use crate::client::dial::hooks::ConnectTarget;
pub use crate::client::dial::hooks::Connector;
pub use crate::client::dial::hooks::DialTarget;
pub use crate::client::dial::public::public_addresses_only;

/// How a client finds and reaches hosts. Clones share what was looked up.
#[derive(Clone, Debug, Default)]
pub struct DialOptions {
    pub(super) names: Names,
    pub(super) hooks: Hooks,
    /// Where connections come from.
    source: Option<IpAddr>,
    /// The way that all requests take that choose none.
    pub(super) via: Option<Via>,
}

impl DialOptions {
    /// The same settings, with nothing known yet.
    pub(super) fn separate(&mut self) {
        self.names.separate();
    }
}

/// A connection that was made.
pub(super) struct Dialed {
    /// The socket, and what was read of it behind the handshakes.
    pub(super) opening: Opening,
    pub(super) speaks: Speaks,
    pub(super) made: Made,
}

/// What both sides have agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.1, which needs no agreement.
    Http1,
}

impl Dialed {
    /// A connection without agreements, of which nothing was read.
    pub(super) fn plain(socket: Socket, made: Made) -> Dialed {
        Dialed {
            opening: socket.into(),
            speaks: Speaks::Http1,
            made,
        }
    }
}

/// How a connection was made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    /// Who answered; `None` on a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    /// How long the look-up took; zero where there was none.
    pub(super) resolve_time: Duration,
    /// How long connecting took, with all that a way needs.
    pub(super) connect_time: Duration,
}

/// Connects to `origin`, all within the connect time-out.
pub(super) async fn dial(
    origin: &Origin,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Dialed> {
    let origin = origin.borrowed();
    let target = DialTarget::of(origin);
    // The future of each connection has room for the largest branch: the rare ones stand beside it.
    match origin.via {
        None | Some(Via::Link(_)) => tcp(target, options, observers).await,
        Some(Via::Unix(path)) => Box::pin(unix(path, target, options)).await,
        Some(Via::Forward(hop)) => Box::pin(proxy::dial_proxy(hop, options, observers)).await,
        Some(Via::Tunnel(hop)) => {
            Box::pin(proxy::dial_tunnel(hop, origin, options, observers)).await
        }
    }
}

/// Looks the host up and connects, all within the connect time-out.
pub(super) async fn tcp(
    target: DialTarget<'_>,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Dialed> {
    let core = Core::try_current()?;
    let began = core.now();
    let dial = &options.dial;
    if let Some(connecting) = dial.hooks.connect(&target) {
        let socket = within(options, Phase::Connect, connecting, || {
            let DialTarget { host, port, .. } = target;
            format!("the connector did not connect to {host}:{port}")
        });
        let socket = Box::pin(socket).await?;
        net::set_tcp_options(&socket);
        let made = Made {
            peer: socket.peer_addr(),
            resolve_time: Duration::ZERO,
            connect_time: core.now() - began,
        };
        return Ok(Dialed::plain(socket, made));
    }
    let found = look_up(target, options, observers).await?;
    let resolve_time = core.now() - began;
    let connecting = ConnectOptions {
        deadline: began + options.connect_timeout,
        timeout: options.connect_timeout,
        source: dial.source,
    };
    let watch = Watch {
        target,
        hooks: &dial.hooks,
        observers,
        has_failed: Cell::new(false),
    };
    let connected = net::race(&found.addresses, connecting, &watch).await;
    if connected.is_err() && watch.has_failed.get() {
        found.doubt();
    }
    let connected = connected?;
    let made = Made {
        peer: Some(connected.address),
        resolve_time,
        connect_time: core.now() - began - resolve_time,
    };
    Ok(Dialed::plain(connected.socket, made))
}

/// The addresses of a host that somebody else connects to, at least one, within the connect time-out.
/// Those that may not be connected to are left out.
pub(super) async fn resolve(
    target: DialTarget<'_>,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Vec<SocketAddr>> {
    let mut addresses = look_up(target, options, observers).await?.addresses;
    let mut refusal = None;
    addresses.retain(|address| {
        let address = &Address::Tcp(*address);
        let checked = options.dial.hooks.check(&ConnectTarget { target, address });
        checked
            .map_err(|error| refusal.get_or_insert(error))
            .is_ok()
    });
    match refusal {
        Some(refusal) if addresses.is_empty() => Err(refusal),
        _ => Ok(addresses),
    }
}

/// The addresses of a host, at least one, within the connect time-out.
async fn look_up(
    target: DialTarget<'_>,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Found> {
    let core = Core::try_current()?;
    let began = core.now();
    let DialTarget { host, port, .. } = target;
    let names = &options.dial.names;
    let mut found = match names.find(&core, host, port) {
        Some(found) => found,
        None => {
            tell(observers, &Event::Resolving { host });
            let awaited = Awaited::default();
            let looking = names.look_up(&core, host, port, &awaited);
            let text = || awaited.missed().to_owned();
            Box::pin(within(options, Phase::Resolve, looking, text)).await?
        }
    };
    if let Some(zone) = target.zone {
        let index = zone.index()?;
        for address in &mut found.addresses {
            if let SocketAddr::V6(address) = address {
                address.set_scope_id(index);
            }
        }
    }
    let resolved = Event::Resolved {
        host,
        addresses: &found.addresses,
        time: core.now() - began,
    };
    tell(observers, &resolved);
    Ok(found)
}

/// Connects to a Unix socket, within the connect time-out.
async fn unix(path: &Path, target: DialTarget<'_>, options: &TransportOptions) -> Result<Dialed> {
    let core = Core::try_current()?;
    let began = core.now();
    options.dial.hooks.check(&ConnectTarget {
        target,
        address: &Address::Unix(path.into()),
    })?;
    let connecting = net::connect_unix(path);
    let socket = within(options, Phase::Connect, connecting, || {
        format!("unix:{} did not answer", path.display())
    });
    let socket = socket.await?;
    let made = Made {
        connect_time: core.now() - began,
        ..Made::default()
    };
    Ok(Dialed::plain(socket, made))
}

/// Gives something the connect time-out; `what` did not happen otherwise.
async fn within<T>(
    options: &TransportOptions,
    phase: Phase,
    future: impl Future<Output = Result<T>>,
    what: impl FnOnce() -> String,
) -> Result<T> {
    let limit = options.connect_timeout;
    let ended = runtime::timeout(limit, future).await;
    ended.unwrap_or_else(|_| {
        let text = format!("{} within {limit:?} (connect_timeout)", what());
        Err(Error::new(ErrorKind::Timeout, text).in_phase(phase))
    })
}

fn tell(observers: Option<&Observers>, event: &Event<'_>) {
    if let Some(observers) = observers {
        observers.tell(event);
    }
}

/// Asks those who guard, and passes attempts on to those who observe.
struct Watch<'a> {
    target: DialTarget<'a>,
    hooks: &'a Hooks,
    observers: Option<&'a Observers>,
    /// True exactly when an address was tried and did not answer.
    has_failed: Cell<bool>,
}

impl Attempts for Watch<'_> {
    fn begin(&self, address: SocketAddr) -> Result<()> {
        self.hooks.check(&ConnectTarget {
            target: self.target,
            address: &Address::Tcp(address),
        })?;
        tell(self.observers, &Event::Connecting { address });
        Ok(())
    }

    fn connected(&self, address: SocketAddr, time: Duration) {
        tell(self.observers, &Event::Connected { address, time });
    }

    fn failed(&self, address: SocketAddr, error: &Error) {
        self.has_failed.set(true);
        tell(self.observers, &Event::ConnectFailed { address, error });
    }
}
