//! Runs a handshake over a socket: from a proxy's address to a connection with the origin.
//!
//! ```text
//!   connect to the proxy ──► write, read, … (Connect or Socks) ──► socket: as if of the origin
//!         ▲                          │
//!         └── the next address ◄─────┘  (socks5: a name has several, and one was not reached)
//! ```
//! All handshakes of one dial share one time-out.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::BytesMut;

use crate::client::dial;
use crate::client::dial::DialTarget;
use crate::client::dial::Dialed;
use crate::client::observe::Event;
use crate::client::observe::Observers;
use crate::client::options::TransportOptions;
use crate::client::pool::OriginRef;
use crate::client::proxy::Hop;
use crate::client::proxy::address::Scheme;
use crate::client::proxy::connect::Connect;
use crate::client::proxy::socks::Destination;
use crate::client::proxy::socks::Socks;
use crate::client::proxy::socks::SocksError;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::limits::PROXY_RECV_BYTES;
use crate::limits::SOCKS_ADDRESSES_MAX;
use crate::net;
use crate::net::TcpStream;
use crate::runtime;
use crate::runtime::Core;

/// What is said to a proxy until the tunnel stands, without I/O.
pub(super) trait Handshake {
    /// Why there is no tunnel. Nothing of the proxy's bytes is in its text.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes what arrived, and writes what has to be sent; true when the tunnel stands.
    fn receive(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, Self::Error>;

    /// What it means that the connection ends here.
    fn ended(&self) -> Self::Error;
}

/// Why there is no tunnel by this connection.
struct Failure {
    error: Error,
    /// True when another address of the origin may do better.
    is_of_address: bool,
}

/// Connects to the proxy, which is asked for the origin in every request.
pub(in crate::client) async fn dial_proxy(
    hop: &Hop,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Dialed> {
    let url = hop.url();
    let target = DialTarget {
        scheme: url.scheme().as_str(),
        host: url.host(),
        port: url.port(),
        is_proxy: true,
        zone: url.zone(),
    };
    let dialed = dial::tcp(target, options, observers).await;
    dialed.map_err(|error| {
        Error::new(error.kind(), format!("cannot reach the proxy {hop}"))
            .in_phase(Phase::Proxy)
            .because(error)
    })
}

/// Connects to the origin, through the proxy.
pub(in crate::client) async fn dial_tunnel(
    hop: &Hop,
    origin: OriginRef<'_>,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Dialed> {
    let core = Core::try_current()?;
    let mut destinations = destinations(hop, origin, options, observers).await?;
    let mut left = options.proxy_timeout;
    loop {
        let next = destinations.remove(0);
        let Dialed {
            opening, mut made, ..
        } = dial_proxy(hop, options, observers).await?;
        let began = core.now();
        let tunnel = Tunnel {
            hop,
            origin,
            options,
        };
        let stream = TcpStream::from_socket(Rc::clone(&core), opening.socket);
        let outcome = runtime::timeout(left, tunnel.establish(&stream, next)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(tunnel.late()));
        let took = core.now() - began;
        left = left.saturating_sub(took);
        match outcome {
            Ok(()) => {
                made.connect_time += took;
                if let Some(observers) = observers {
                    observers.tell(&Event::Tunneled {
                        proxy: hop.url(),
                        time: took,
                    });
                }
                let socket = stream.into_socket()?;
                return Ok(Dialed::plain(socket, made));
            }
            Err(failure) if failure.is_of_address && !destinations.is_empty() => {}
            Err(failure) => return Err(failure.error),
        }
    }
}

/// What the proxy is asked for, one after the other; at least one.
async fn destinations(
    hop: &Hop,
    origin: OriginRef<'_>,
    options: &TransportOptions,
    observers: Option<&Observers>,
) -> Result<Vec<Destination>> {
    if hop.url().scheme() != Scheme::Socks5 {
        return Ok(vec![match net::literal(origin.host) {
            Some(ip) => Destination::Address(SocketAddr::new(ip, origin.port)),
            None => Destination::Name(origin.host.into(), origin.port),
        }]);
    }
    let target = DialTarget::of(origin);
    let addresses = dial::resolve(target, options, observers).await?;
    let all = addresses.into_iter().map(Destination::Address);
    Ok(all.take(SOCKS_ADDRESSES_MAX).collect())
}

/// One tunnel to be.
struct Tunnel<'a> {
    hop: &'a Hop,
    origin: OriginRef<'a>,
    options: &'a TransportOptions,
}

impl Tunnel<'_> {
    async fn establish(&self, stream: &TcpStream, to: Destination) -> Result<(), Failure> {
        let url = self.hop.url();
        let mut out = Vec::new();
        match url.scheme() {
            Scheme::Http => {
                let limits = self.options.head_limits();
                let authority = format!("{}:{}", self.origin.host, self.origin.port);
                let authorization = url.authorization();
                let fields = self.hop.connect_fields();
                let machine = Connect::begin(&authority, authorization, fields, limits, &mut out);
                self.talk(stream, machine, out, |_| false).await
            }
            Scheme::Socks5 | Scheme::Socks5h => {
                let begun = Socks::begin(to, url.credentials(), &mut out);
                let machine = begun.map_err(|error| self.failure(error))?;
                self.talk(stream, machine, out, |error: &SocksError| {
                    error.is_of_address()
                })
                .await
            }
        }
    }

    /// Writes and reads until the tunnel stands.
    async fn talk<H: Handshake>(
        &self,
        stream: &TcpStream,
        mut machine: H,
        mut out: Vec<u8>,
        is_of_address: impl Fn(&H::Error) -> bool,
    ) -> Result<(), Failure> {
        let mut buffer = BytesMut::with_capacity(PROXY_RECV_BYTES);
        let mut is_done = false;
        while !is_done {
            if !out.is_empty() {
                let sent = stream.write_all(std::mem::take(&mut out)).await;
                sent.map_err(|error| self.failure(error))?;
            }
            buffer.clear();
            let read;
            (read, buffer) = stream.read(buffer).await;
            let outcome = match read {
                Err(error) => return Err(self.failure(error)),
                Ok(0) => Err(machine.ended()),
                Ok(_) => machine.receive(&buffer, &mut out),
            };
            is_done = outcome.map_err(|error| Failure {
                is_of_address: is_of_address(&error),
                ..self.failure(error)
            })?;
        }
        Ok(())
    }

    fn failure(&self, cause: impl std::error::Error + Send + Sync + 'static) -> Failure {
        let error = self.error(ErrorKind::Connect, "").because(cause);
        Failure {
            error,
            is_of_address: false,
        }
    }

    fn late(&self) -> Failure {
        let limit = self.options.proxy_timeout;
        Failure {
            error: self.error(
                ErrorKind::Timeout,
                &format!(" within {limit:?} (proxy_timeout)"),
            ),
            is_of_address: false,
        }
    }

    fn error(&self, kind: ErrorKind, when: &str) -> Error {
        let Tunnel { hop, origin, .. } = self;
        let (host, port) = (origin.host, origin.port);
        let text = format!("the proxy {hop} made no tunnel to {host}:{port}{when}");
        Error::new(kind, text).in_phase(Phase::Proxy)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Feeds `input` in pieces: the last outcome, and all that was said.
    pub(in crate::client::proxy) fn feed<H: Handshake>(
        machine: &mut H,
        input: &[u8],
        size: usize,
    ) -> (Result<bool, H::Error>, Vec<u8>) {
        let mut out = Vec::new();
        let mut is_done = false;
        for piece in input.chunks(size) {
            match machine.receive(piece, &mut out) {
                Ok(done) => is_done = done,
                Err(error) => return (Err(error), out),
            }
        }
        (Ok(is_done), out)
    }
}
