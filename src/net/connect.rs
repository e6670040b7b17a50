//! Names to addresses, addresses to connections.
//!
//! ```text
//!   resolve ─► addresses ─► race ─► attempt 1 ────────────────────────────✗ cancelled, closed
//!                                   │ 250 ms, or failed before
//!                                   └► attempt 2 (other family) ──► connected: the first wins
//! ```

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::net::race::Race;
use crate::net::race::run_alone;
use crate::reactor::Errno;
use crate::reactor::operation::Operation;
use crate::reactor::sys;
use crate::reactor::sys::Address;
use crate::reactor::sys::Socket;
use crate::reactor::sys::SocketAddress;
use crate::runtime::Class;
use crate::runtime::Core;
use crate::runtime::Instant;
use crate::runtime::Ticket;
use crate::runtime::blocking_in;
use crate::runtime::descriptors;
use crate::runtime::operations;
use crate::runtime::submit;

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions {
    /// Until when, over all addresses.
    pub deadline: Instant,
    /// How long that is, for the text of an error.
    pub timeout: Duration,
    /// The address that connections come from; those of the other family are left out then.
    pub source: Option<IpAddr>,
}

impl ConnectOptions {
    /// True where the address is of the family that connections come from.
    pub(super) fn reaches(&self, address: &SocketAddr) -> bool {
        let is_same = |source: IpAddr| source.is_ipv4() == address.is_ipv4();
        self.source.is_none_or(is_same)
    }
}

/// A connection that was made.
#[derive(Debug)]
pub struct Connected {
    /// The socket.
    pub socket: Socket,
    /// The address that answered.
    pub address: SocketAddr,
}

/// Hears of attempts to connect, and may refuse them; `()` does neither. Of those that were begun
/// when another one won, no more is heard.
pub trait Attempts {
    /// An attempt is about to begin.
    ///
    /// # Errors
    ///
    /// The address is not to be tried.
    fn begin(&self, _address: SocketAddr) -> Result<(), Error> {
        Ok(())
    }

    /// The address answered first, after so long.
    fn connected(&self, _address: SocketAddr, _time: Duration) {}

    /// It did not answer.
    fn failed(&self, _address: SocketAddr, _error: &Error) {}
}

impl Attempts for () {}

/// The addresses of a host, in the order that the system prefers (getaddrinfo(3), on the blocking
/// pool). An address as text, with or without brackets, is not looked up, nor is `localhost` or a name
/// below it.
///
/// # Errors
///
/// [`ErrorKind::Resolve`] naming the host; [`ErrorKind::Limit`] when it was not looked up, since too
/// many look-ups wait.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    if let Some(addresses) = known(host, port) {
        return Ok(addresses);
    }
    let name = host.to_owned();
    let looking = blocking_in(Class::LookUp, move || look_up_now(&name, port));
    looking
        .await
        .map_err(|error| error.in_phase(Phase::Resolve))?
}

/// As [`resolve`], on the calling thread, which waits.
///
/// # Errors
///
/// [`ErrorKind::Resolve`] naming the host.
pub(crate) fn resolve_now(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    known(host, port).map_or_else(|| look_up_now(host, port), Ok)
}

/// Looks a name up as [`resolve`] does. `done` is called on the thread that does, whatever becomes of
/// this core meanwhile; it is dropped instead when the look-up is given up by its ticket before it has
/// a thread.
///
/// # Errors
///
/// It does not begin: too many wait, or no thread can be had. `done` was dropped.
pub(crate) fn look_up(
    host: &str,
    port: u16,
    done: impl FnOnce(Result<Vec<SocketAddr>, Error>) + Send + 'static,
) -> Result<Ticket, Error> {
    let name = host.to_owned();
    let submitted = submit(Class::LookUp, move || done(look_up_now(&name, port)));
    submitted.map_err(|error| error.in_phase(Phase::Resolve))
}

/// The addresses of a host of which nobody has to be asked: one that is an address, and `localhost`
/// with all names below it, which are this machine whatever a server of names would say (RFC 6761 §6.3).
pub(crate) fn known(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if let Some(ip) = literal(host) {
        return Some(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
    let is_local = last.eq_ignore_ascii_case("localhost");
    is_local.then(|| {
        let ips: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        ips.map(|ip| SocketAddr::new(ip, port)).into()
    })
}

/// The address that a host of a URL is, if it is one.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inside.unwrap_or(host).parse().ok()
}

fn look_up_now(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let failed = |text: String| Error::new(ErrorKind::Resolve, text).in_phase(Phase::Resolve);
    let addresses = sys::look_up(host, port)
        .map_err(|error| failed(format!("cannot find an address of {host}")).because(error))?;
    if addresses.is_empty() {
        return Err(failed(format!("{host} has no address")));
    }
    Ok(addresses)
}

/// Connects to the address that answers first, within `connect_timeout`. See [`race`].
///
/// # Errors
///
/// As for [`race`].
pub async fn connect(
    addresses: &[SocketAddr],
    connect_timeout: Duration,
) -> Result<Connected, Error> {
    let options = ConnectOptions {
        deadline: Core::try_current()?.now() + connect_timeout,
        timeout: connect_timeout,
        source: None,
    };
    race(addresses, options, &()).await
}

/// Connects to the address that answers first: "Happy Eyeballs" (RFC 8305). The families take
/// turns, beginning with that of the first address. Each attempt has a head start of 250 ms before
/// the next address is tried beside it, unless it fails before; at most 16 addresses are tried.
/// Attempts that come too late are cancelled, and their sockets closed.
///
/// # Errors
///
/// [`ErrorKind::Connect`] when all have failed, [`ErrorKind::Timeout`] at the deadline; the text
/// names how many were tried, the first, and the last. When `attempts` refused all, its first error.
pub async fn race(
    addresses: &[SocketAddr],
    options: ConnectOptions,
    attempts: &impl Attempts,
) -> Result<Connected, Error> {
    let core = Core::try_current()?;
    if let [address] = addresses
        && options.reaches(address)
    {
        return run_alone(&core, *address, options, attempts).await;
    }
    Box::pin(Race::new(&core, addresses, options, attempts)).await
}

/// Connects to a Unix socket.
///
/// # Errors
///
/// [`ErrorKind::Connect`] naming the path.
pub async fn connect_unix(path: &Path) -> Result<Socket, Error> {
    let core = Core::try_current()?;
    let socket = connect_one(&core, &Address::Unix(path.into()), None).await?;
    owned(socket)
}

/// One attempt, without a time-out of ours.
pub(super) async fn connect_one(
    core: &Rc<Core>,
    address: &Address,
    source: Option<IpAddr>,
) -> Result<Rc<Socket>, Error> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Connect, format!("cannot connect to {address}"))
            .in_phase(Phase::Connect)
            .because(error)
    };
    let socket = match sys::new_socket(address) {
        Err(error) if descriptors::are_short(Errno::from_io(&error)) => {
            Box::pin(descriptors::make_room(core)).await;
            sys::new_socket(address)
        }
        other => other,
    };
    let socket = Rc::new(socket.map_err(failed)?);
    if let Some(source) = source {
        sys::bind_source(socket.raw(), source).map_err(|error| {
            let text = format!("cannot connect to {address} from {source} (local_address)");
            Error::new(ErrorKind::Connect, text)
                .in_phase(Phase::Connect)
                .because(error)
        })?;
    }
    let kernel_address = SocketAddress::new(address).map_err(failed)?;
    let operation = Operation::Connect(kernel_address);
    let completion =
        operations::submit(core, socket.raw(), Some(Rc::clone(&socket)), operation).await;
    match completion.result {
        Ok(_) => {
            sys::set_tcp_options(socket.raw());
            Ok(socket)
        }
        Err(errno) => Err(failed(errno.into())),
    }
}

/// Sets what every connection has.
pub(crate) fn set_tcp_options(socket: &Socket) {
    sys::set_tcp_options(socket.raw());
}

/// A socket on which nothing is in flight any more.
pub(super) fn owned(socket: Rc<Socket>) -> Result<Socket, Error> {
    Rc::try_unwrap(socket).map_err(|_| Error::new(ErrorKind::Canceled, "the connection is in use"))
}
