//! From an origin to a connected socket: look up, connect, or go by another way.
//!
//! ```text
//!   Origin ─┬─ straight ──► resolve ─► connect ─┐
//!           └─ Via::Unix ────────────► connect ─┴─► Dialed: socket, address, times
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use crate::client::observe::Event;
use crate::client::observe::Observers;
use crate::client::options::TransportOptions;
use crate::client::pool::Origin;
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
    }
}

/// Looks the host up and connects, all within the connect time-out.
async fn tcp(
    host: &str,
    port: u16,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Dialed> {
    let core = Core::try_current()?;
    let began = core.now();
    let limit = options.connect_timeout;
    let watch = Watch { observers };
    watch.tell(&Event::Resolving { host });
    let resolved = runtime::timeout(limit, net::resolve(host, port)).await;
    let addresses: Vec<SocketAddr> = resolved.map_err(|_| {
        Error::new(
            ErrorKind::Timeout,
            format!("the name was not found within {limit:?} (connect_timeout)"),
        )
        .in_phase(Phase::Resolve)
    })??;
    let resolve_time = core.now() - began;
    watch.tell(&Event::Resolved {
        host,
        addresses: &addresses,
        time: resolve_time,
    });
    let connecting = ConnectOptions {
        deadline: began + limit,
        timeout: limit,
        source: None,
    };
    let connected = net::race(&addresses, connecting, &watch).await?;
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

/// Passes attempts on to those who observe.
struct Watch<'a> {
    observers: Option<&'a Observers>,
}

impl Watch<'_> {
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
        self.tell(&Event::ConnectFailed { address, error });
    }
}
