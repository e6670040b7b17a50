//! Where a server listens.
//!
//! ```text
//!   bind, bind_beside     TCP: one socket per worker, SO_REUSEPORT
//!   bind_unix, inherit    one socket, whose connections are handed round
//! ```

use std::fmt;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::net;
use crate::net::Address;
use crate::net::ListenSocket;
use crate::net::UnixOptions;
use crate::server::handle::ServerHandle;
use crate::server::service::Server;

impl Server {
    /// Listens on an address: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` (127.0.0.1),
    /// `:8080` for all interfaces by IPv4 and IPv6, or by IPv4 alone where the system has no IPv6,
    /// `0.0.0.0:8080` for all by IPv4. Who comes by IPv4 has an IPv4 address in any case. Port 0 takes a
    /// free port, which [`Server::local_addr`] tells. Can be called more than once.
    ///
    /// # Errors
    ///
    /// Of kind `Bind`, naming the address: in use (by a second instance of the same program too),
    /// no permission, not an address of this machine.
    pub fn bind(self, address: impl fmt::Display) -> Result<Server> {
        self.bind_with(&address.to_string(), ListenSocket::bind)
    }

    /// As [`Server::bind`], beside another process of the same user that listens there already: for
    /// a restart in place. The kernel spreads connections over both (SO_REUSEPORT); once this one is
    /// ready, the other is asked to end, and takes what waits in its own queue before it closes.
    ///
    /// What can be lost is a connection whose handshake is under way at the moment when the other
    /// socket closes: its client gets a reset. One that begins in that moment is repeated by its
    /// client's kernel a second later, and comes to this process. Of 300 restarts over loopback, with
    /// six clients that opened 9,000 connections a second, 2 lost one, and 24 connections took that
    /// second; over a network more are lost, as handshakes take longer. With the sysctl
    /// `net.ipv4.tcp_migrate_req=1` (Linux 5.14) the kernel hands handshakes over to this process,
    /// and none was lost. A socket that outlives the process loses none either: see
    /// [`Server::inherit`].
    ///
    /// # Errors
    ///
    /// As for [`Server::bind`], but for an address that is shared.
    pub fn bind_beside(self, address: impl fmt::Display) -> Result<Server> {
        self.bind_with(&address.to_string(), ListenSocket::share)
    }

    fn bind_with(
        mut self,
        address: &str,
        bind: fn(SocketAddr) -> Result<ListenSocket>,
    ) -> Result<Server> {
        let address = parse_address(address)?;
        self.add_socket(bind(address)?);
        Ok(self)
    }

    /// Listens on a Unix socket; a socket file that nobody listens on is replaced. One worker
    /// accepts and hands the connections round. Everybody can connect whom the umask, and the
    /// directory, let write there; see [`Server::bind_unix_with`].
    ///
    /// # Errors
    ///
    /// Of kind `Bind`, naming the path.
    pub fn bind_unix(self, path: impl AsRef<Path>) -> Result<Server> {
        self.bind_unix_with(path, UnixOptions::default())
    }

    /// As [`Server::bind_unix`], with the permissions of the socket's file, or in the place of a
    /// process that listens there still.
    ///
    /// ```no_run
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    /// use roundtrip::net::UnixOptions;
    ///
    /// // For the proxy's group alone, and for a restart without a gap.
    /// let options = UnixOptions { mode: Some(0o660), replace: true };
    /// Server::new(Router::new()).bind_unix_with("/run/app/http.sock", options)?.run()?;
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Of kind `Bind`, naming the path.
    pub fn bind_unix_with(
        mut self,
        path: impl AsRef<Path>,
        options: UnixOptions,
    ) -> Result<Server> {
        self.add_socket(ListenSocket::bind_unix_with(path, options)?);
        Ok(self)
    }

    /// Listens on the sockets that the supervisor passed: socket activation, as systemd, `s6` and
    /// others do it (`LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` of sd_listen_fds(3)). They
    /// stay open when this process ends, so that connections wait in their queue for the next one:
    /// a restart refuses nobody.
    ///
    /// Where nothing was passed nothing is listened on, and that is no error:
    ///
    /// ```no_run
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    ///
    /// let mut server = Server::new(Router::new()).inherit()?;
    /// if server.addresses().is_empty() {
    ///     server = server.bind("127.0.0.1:8080")?;
    /// }
    /// server.run()?;
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// Each socket is taken once in the life of the process. One worker accepts from it and hands
    /// the connections round.
    ///
    /// # Errors
    ///
    /// Of kind `Bind`: the environment contradicts itself, or what was passed is no listening
    /// stream socket.
    pub fn inherit(self) -> Result<Server> {
        self.inherit_from(None)
    }

    /// As [`Server::inherit`], but only the sockets of this name (`FileDescriptorName=`, which by
    /// default is the name of the socket unit): for programs with several servers.
    ///
    /// # Errors
    ///
    /// As for [`Server::inherit`].
    pub fn inherit_named(self, name: &str) -> Result<Server> {
        self.inherit_from(Some(name))
    }

    fn inherit_from(mut self, name: Option<&str>) -> Result<Server> {
        for socket in ListenSocket::inherited(name)? {
            self.add_socket(socket);
        }
        Ok(self)
    }

    fn add_socket(&mut self, socket: ListenSocket) {
        self.state.add_address(socket.local_addr().clone());
        self.sockets.push(socket);
    }

    /// The first TCP address that is listened on.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.state.local_addr()
    }

    /// All addresses that are listened on.
    pub fn addresses(&self) -> Vec<Address> {
        self.state.addresses()
    }

    /// A handle to the server, for other threads: shutdown, readiness, statistics.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(Arc::clone(&self.state))
    }
}

/// The sockets of each worker: of TCP, one each on the same port; one that cannot be shared is the
/// first worker's.
pub(super) fn share_sockets(
    sockets: Vec<ListenSocket>,
    count: usize,
) -> Result<Vec<Vec<ListenSocket>>> {
    let mut shares: Vec<Vec<ListenSocket>> = (0..count).map(|_| Vec::new()).collect();
    for socket in sockets {
        for share in &mut shares[1..] {
            share.extend(socket.duplicate()?);
        }
        shares[0].push(socket);
    }
    Ok(shares)
}

fn parse_address(text: &str) -> Result<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bad = |why: &'static str| {
        let text = format!("{text:?} is no address to listen on: {why}");
        Error::new(ErrorKind::Bind, text).in_phase(Phase::Bind)
    };
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| bad("write HOST:PORT"))?;
    let port: u16 = port
        .parse()
        .map_err(|_| bad("the port is a number up to 65535"))?;
    match host {
        "" | "*" => Ok(match net::has_ipv6() {
            true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        }),
        "localhost" => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
        _ => {
            let found = net::resolve_now(host, port);
            let found = found.map_err(|error| bad("the host has no address").because(error))?;
            let first = found.into_iter().next();
            first.ok_or_else(|| bad("the host has no address"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        let table = [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:0", "[::1]:0"),
            (":8080", "[::]:8080"),
            ("*:8080", "[::]:8080"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("localhost:1", "127.0.0.1:1"),
        ];
        for (text, expected) in table {
            assert_eq!(parse_address(text).unwrap().to_string(), expected);
        }
        for (text, why) in [
            ("8080", "HOST:PORT"),
            ("a:b", "number"),
            ("a:99999", "number"),
        ] {
            let error = parse_address(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Bind);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
