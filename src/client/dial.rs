//! From an origin to a connected socket: look up, connect, or go by another way.
//!
//! ```text
//!   Origin ─┬─ straight ──► resolve ─► connect ─┐
//!           ├─ Via::Unix ────────────► connect ─┼─► Dialed: socket, address, times
//!           └─ a proxy ──► straight to that ────┘
//! ```

mod knobs;

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use crate::client::observe::Event;
use crate::client::observe::Observers;
use crate::client::options::TransportOptions;
use crate::client::pool::Origin;
use crate::client::proxy;
use crate::client::resolve::Found;
use crate::client::resolve::Names;
use crate::client::route::Via;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::net;
use crate::net::Attempts;
use crate::net::ConnectOptions;
use crate::net::Socket;
use crate::runtime;
use crate::runtime::Core;

/// How a client finds and reaches hosts. Clones share what was looked up.
#[derive(Clone, Debug, Default)]
pub struct DialOptions {
    pub(super) names: Names,
}

impl DialOptions {
    /// The same settings, with nothing known yet.
    pub(super) fn separate(&mut self) {
        self.names.separate();
    }
}

/// A connection that was made.
pub(super) struct Dialed {
    pub(super) socket: Socket,
    pub(super) made: Made,
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
    match origin.via {
        None => tcp(origin.host, origin.port, options, observers).await,
        Some(Via::Unix(path)) => Err(Error::new(
            ErrorKind::Invalid,
            format!("{} cannot be dialled", path.display()),
        )),
        Some(Via::Forward(hop)) => proxy::dial_proxy(hop, options, observers).await,
        Some(Via::Tunnel(hop)) => proxy::dial_tunnel(hop, origin, options, observers).await,
    }
}

/// Looks the host up and connects, all within the connect time-out.
pub(super) async fn tcp(
    host: &str,
    port: u16,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Dialed> {
    let core = Core::try_current()?;
    let began = core.now();
    let limit = options.connect_timeout;
    let watch = Watch::new(observers);
    let found = look_up(host, port, options, &watch).await?;
    let resolve_time = core.now() - began;
    let connecting = ConnectOptions {
        deadline: began + limit,
        timeout: limit,
        source: None,
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
    Ok(Dialed {
        socket: connected.socket,
        made,
    })
}

/// The addresses of a host, at least one, within the connect time-out.
pub(super) async fn resolve(
    host: &str,
    port: u16,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Vec<SocketAddr>> {
    let found = look_up(host, port, options, &Watch::new(observers)).await?;
    Ok(found.addresses)
}

async fn look_up(
    host: &str,
    port: u16,
    options: &TransportOptions,
    watch: &Watch<'_>,
) -> Result<Found> {
    let core = Core::try_current()?;
    let began = core.now();
    let limit = options.connect_timeout;
    let names = &options.dial.names;
    let found = match names.find(&core, host, port) {
        Some(found) => found,
        None => {
            watch.tell(&Event::Resolving { host });
            let found = runtime::timeout(limit, names.look_up(&core, host, port)).await;
            found.map_err(|_| {
                let text = format!("the name was not found within {limit:?} (connect_timeout)");
                Error::new(ErrorKind::Timeout, text).in_phase(Phase::Resolve)
            })??
        }
    };
    watch.tell(&Event::Resolved {
        host,
        addresses: &found.addresses,
        time: core.now() - began,
    });
    Ok(found)
}

/// Passes attempts on to those who observe.
struct Watch<'a> {
    observers: Option<&'a Observers>,
    /// True exactly when an address was tried and did not answer.
    has_failed: Cell<bool>,
}

impl<'a> Watch<'a> {
    fn new(observers: Option<&'a Observers>) -> Watch<'a> {
        Watch {
            observers,
            has_failed: Cell::new(false),
        }
    }

    fn tell(&self, event: &Event<'_>) {
        if let Some(observers) = self.observers {
            observers.tell(event);
        }
    }
}

impl Attempts for Watch<'_> {
    fn begin(&self, address: SocketAddr) -> Result<()> {
        self.tell(&Event::Connecting { address });
        Ok(())
    }

    fn connected(&self, address: SocketAddr, time: Duration) {
        self.tell(&Event::Connected { address, time });
    }

    fn failed(&self, address: SocketAddr, error: &Error) {
        self.has_failed.set(true);
        self.tell(&Event::ConnectFailed { address, error });
    }
}
