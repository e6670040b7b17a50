//! Names to addresses, addresses to connections.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::reactor::operation::Operation;
use crate::reactor::sys;
use crate::reactor::sys::Address;
use crate::reactor::sys::Socket;
use crate::reactor::sys::SocketAddress;
use crate::runtime::Core;
use crate::runtime::blocking;
use crate::runtime::operations;
use crate::runtime::timeout;

/// The addresses of a host, in the order that the system prefers (getaddrinfo(3), on the blocking
/// pool). An address as text, with or without brackets, is not looked up.
///
/// # Errors
///
/// [`ErrorKind::Resolve`] naming the host.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(ip) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let failed = |text: String| Error::new(ErrorKind::Resolve, text).in_phase(Phase::Resolve);
    let name = host.to_owned();
    let looked_up = blocking(move || sys::look_up(&name, port)).await?;
    let addresses = looked_up
        .map_err(|error| failed(format!("cannot find an address of {host}")).because(error))?;
    if addresses.is_empty() {
        return Err(failed(format!("{host} has no address")));
    }
    Ok(addresses)
}

/// Connects to the first address that answers, trying all in turn within `connect_timeout`. Each
/// gets an equal share of the time that is left, so that one that is silent does not use it up. Says
/// which one answered.
///
/// # Errors
///
/// [`ErrorKind::Connect`] or [`ErrorKind::Timeout`], of the last address tried.
pub async fn connect(
    addresses: &[SocketAddr],
    connect_timeout: Duration,
) -> Result<(Socket, SocketAddr), Error> {
    let core = Core::try_current()?;
    let deadline = core.now() + connect_timeout;
    let mut last = Error::new(ErrorKind::Connect, "there is no address to connect to");
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline - core.now();
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        match timeout(share, connect_one(&core, &Address::Tcp(*address))).await {
            Ok(Ok(socket)) => {
                return Rc::try_unwrap(socket)
                    .map(|socket| (socket, *address))
                    .map_err(|_| Error::new(ErrorKind::Canceled, "the connection is in use"));
            }
            Ok(Err(error)) => last = error,
            Err(_) => {
                last = Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "{address} did not answer within {share:?} (connect time-out {connect_timeout:?})"
                    ),
                );
            }
        }
    }
    Err(last.in_phase(Phase::Connect))
}

/// One attempt, without a time-out of ours.
pub(super) async fn connect_one(core: &Rc<Core>, address: &Address) -> Result<Rc<Socket>, Error> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Connect, format!("cannot connect to {address}"))
            .in_phase(Phase::Connect)
            .because(error)
    };
    let socket = Rc::new(sys::new_socket(address).map_err(failed)?);
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
