//! Sockets: make, bind, options, names, immediate sends, shutdown.

use std::fmt;
use std::io;
use std::io::IoSlice;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::ToSocketAddrs;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::ptr;

use nix::sys::socket as nix_socket;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::SockaddrLike;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::UnixAddr;
use nix::sys::socket::sockopt;

use crate::limits::LISTEN_BACKLOG;
use crate::limits::SEND_SEGMENTS_MAX;
use crate::limits::TCP_KEEPALIVE_INTERVAL;
use crate::limits::TCP_KEEPALIVE_PROBES;
use crate::limits::TCP_KEEPALIVE_TIME;
use crate::ring::epoll;
#[cfg(feature = "simulation")]
use crate::ring::sim::calls;
use crate::ring::sys::descriptor::Descriptor;

/// A socket, closed when dropped. Nothing may be in flight on it then.
#[derive(Debug)]
pub struct Socket(Descriptor);

impl Socket {
    /// The descriptor, for operations.
    pub fn raw(&self) -> RawFd {
        self.0.raw()
    }

    /// Gives up ownership.
    pub fn into_raw(self) -> RawFd {
        self.0.into_raw()
    }

    /// The socket may go to another thread from here on: what this one's engine knows of it is over.
    pub fn leave_thread(&self) {
        self.0.leave_thread();
    }

    /// Takes ownership of a descriptor that the kernel has just returned, or that came back from
    /// [`Socket::into_raw`].
    ///
    /// # Safety
    ///
    /// Nobody else owns `fd`.
    pub unsafe fn from_raw(fd: RawFd) -> Socket {
        // SAFETY: the caller's promise.
        Socket(unsafe { Descriptor::from_raw(fd) })
    }

    /// The peer's address; `None` for sockets that are not TCP, or not connected any more.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        peer_addr(self.raw())
    }

    /// The same socket by another descriptor (dup(2)).
    pub fn duplicate(&self) -> io::Result<Socket> {
        self.0.duplicate().map(Socket)
    }

    /// From a descriptor that somebody owns: an inherited or duplicated socket.
    pub fn from_owned(fd: OwnedFd) -> Socket {
        Socket(Descriptor::from(fd))
    }

    #[cfg(feature = "simulation")]
    pub(super) fn simulated(fd: RawFd) -> Socket {
        Socket(Descriptor::simulated(fd))
    }
}

/// Where to listen or connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address in the kernel's form, at a place that does not move.
#[derive(Clone)]
pub struct SocketAddress(Box<Storage>);

#[derive(Clone)]
enum Storage {
    Inet(SockaddrStorage),
    Unix(UnixAddr),
}

impl SocketAddress {
    /// From a socket address or a path.
    ///
    /// # Errors
    ///
    /// A path over 107 bytes (unix(7)).
    pub fn new(address: &Address) -> io::Result<SocketAddress> {
        let storage = match address {
            Address::Tcp(address) => Storage::Inet(SockaddrStorage::from(*address)),
            Address::Unix(path) => Storage::Unix(UnixAddr::new(path)?),
        };
        Ok(SocketAddress(Box::new(storage)))
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        match &*self.0 {
            Storage::Inet(address) => address.as_ptr(),
            Storage::Unix(address) => SockaddrLike::as_ptr(address),
        }
    }

    pub(crate) fn len(&self) -> libc::socklen_t {
        match &*self.0 {
            Storage::Inet(address) => address.len(),
            Storage::Unix(address) => address.len(),
        }
    }
}

impl fmt::Debug for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketAddress")
    }
}

/// Which directions shutdown(2) ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// We send nothing more; the peer sees the end.
    Write,
    /// Both: everything in flight on the socket completes.
    Both,
}

/// Pieces of one sendmsg(2), at a place that does not move.
#[derive(Debug)]
pub struct PieceList {
    message: libc::msghdr,
    pieces: [libc::iovec; SEND_SEGMENTS_MAX],
    count: usize,
}

impl Default for PieceList {
    fn default() -> PieceList {
        PieceList::new()
    }
}

impl PieceList {
    /// No pieces.
    pub fn new() -> PieceList {
        let none = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: all-zero is a valid `msghdr`: no name, no control data, no pieces.
        let message = unsafe { std::mem::zeroed() };
        PieceList {
            message,
            pieces: [none; SEND_SEGMENTS_MAX],
            count: 0,
        }
    }

    /// Adds a piece; false when the list is full. The bytes stay where they are until the send
    /// that uses the list is over.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        if self.count == SEND_SEGMENTS_MAX {
            return false;
        }
        self.pieces[self.count] = libc::iovec {
            iov_base: piece.as_ptr().cast_mut().cast(),
            iov_len: piece.len(),
        };
        self.count += 1;
        true
    }

    /// Forgets all pieces.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// The message header; valid while `self` does not move.
    pub(crate) fn message(&mut self) -> *const libc::msghdr {
        self.message.msg_iov = self.pieces.as_mut_ptr();
        self.message.msg_iovlen = self.count as _;
        &raw const self.message
    }
}

pub(super) fn borrow(fd: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: callers pass descriptors of connections and listeners that they own for longer than
    // the call; the borrow does not outlive it.
    unsafe { BorrowedFd::borrow_raw(*fd) }
}

/// A stream socket of the address's family, close-on-exec.
pub fn new_socket(address: &Address) -> io::Result<Socket> {
    simulated!(calls::new_socket(address).map(|made| made.map(Socket::simulated)));
    let family = match address {
        Address::Tcp(SocketAddr::V4(_)) => AddressFamily::Inet,
        Address::Tcp(SocketAddr::V6(_)) => AddressFamily::Inet6,
        Address::Unix(_) => AddressFamily::Unix,
    };
    let fd = nix_socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    Ok(Socket::from_owned(fd))
}

/// A connected pair of Unix sockets.
pub fn socket_pair() -> io::Result<(Socket, Socket)> {
    simulated!(
        calls::socket_pair()
            .map(|made| made.map(|(a, b)| (Socket::simulated(a), Socket::simulated(b))))
    );
    let (a, b) = nix_socket::socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    Ok((Socket::from_owned(a), Socket::from_owned(b)))
}

/// False where the kernel has no IPv6 at all: it was built or started without.
pub fn has_ipv6() -> bool {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    match new_socket(&Address::Tcp(any)) {
        Ok(_) => true,
        Err(error) => error.raw_os_error() != Some(libc::EAFNOSUPPORT),
    }
}

/// A listening TCP socket. With `share_port`, others with the same option may listen beside it
/// (SO_REUSEPORT), and the kernel spreads connections over all of them. One for all addresses of IPv6
/// is for those of IPv4 as well, whatever the system's default is (net.ipv6.bindv6only).
pub fn bind_tcp(address: SocketAddr, share_port: bool) -> io::Result<Socket> {
    simulated!(calls::bind_tcp(address, share_port).map(|made| made.map(Socket::simulated)));
    let socket = new_socket(&Address::Tcp(address))?;
    let fd = socket.raw();
    nix_socket::setsockopt(&borrow(&fd), sockopt::ReuseAddr, &true)?;
    if share_port {
        nix_socket::setsockopt(&borrow(&fd), sockopt::ReusePort, &true)?;
    }
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        nix_socket::setsockopt(&borrow(&fd), sockopt::Ipv6V6Only, &false)?;
    }
    nix_socket::bind(fd, &SockaddrStorage::from(address))?;
    listen(&socket)?;
    Ok(socket)
}

/// Binds a socket that will connect to the address it comes from. The port is chosen with the
/// connection (IP_BIND_ADDRESS_NO_PORT), so that each destination has all of them.
pub fn bind_source(fd: RawFd, ip: IpAddr) -> io::Result<()> {
    simulated!(for fd => calls::bind_source(fd, ip));
    let yes: libc::c_int = 1;
    // SAFETY: the value is one int, alive for the call. A kernel that refuses chooses the port now.
    let _ = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const yes).cast(),
            size_of_val(&yes) as libc::socklen_t,
        )
    };
    let address = SocketAddr::new(ip, 0);
    Ok(nix_socket::bind(fd, &SockaddrStorage::from(address))?)
}

/// The addresses of a name (getaddrinfo(3)). Blocks.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    simulated!(calls::look_up(host, port));
    Ok((host, port).to_socket_addrs()?.collect())
}

/// The number of a network interface (if_nametoindex(3)). Asks the kernel, and does not wait.
pub fn interface_index(name: &str) -> io::Result<u32> {
    simulated!(calls::interface_index(name));
    Ok(nix::net::if_::if_nametoindex(name)?)
}

pub(super) fn listen(socket: &Socket) -> io::Result<()> {
    // SAFETY: listen(2) takes numbers only; the kernel cuts the backlog to somaxconn.
    let result = unsafe { libc::listen(socket.raw(), LISTEN_BACKLOG) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// TCP_NODELAY and TCP keep-alive; no error on sockets that are not TCP.
pub fn set_tcp_options(fd: RawFd) {
    simulated!(for fd);
    let fd = &borrow(&fd);
    if nix_socket::setsockopt(fd, sockopt::TcpNoDelay, &true).is_err() {
        return;
    }
    // A socket whose peer is gone already refuses options; its first receive says so too.
    let _ = nix_socket::setsockopt(fd, sockopt::KeepAlive, &true);
    let _ = nix_socket::setsockopt(
        fd,
        sockopt::TcpKeepIdle,
        &(TCP_KEEPALIVE_TIME.as_secs() as u32),
    );
    let _ = nix_socket::setsockopt(
        fd,
        sockopt::TcpKeepInterval,
        &(TCP_KEEPALIVE_INTERVAL.as_secs() as u32),
    );
    let _ = nix_socket::setsockopt(fd, sockopt::TcpKeepCount, &TCP_KEEPALIVE_PROBES);
}

/// The next connection of the accept queue, without waiting.
pub fn accept_now(listener: RawFd) -> io::Result<Socket> {
    simulated!(for listener => calls::accept_now(listener).map(Socket::simulated));
    // Our own listeners are blocking, and nobody else accepts from them: what is ready stays so.
    // Inherited ones do not block (see `inherited`).
    let mut poll = libc::pollfd {
        fd: listener,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, alive for the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    if ready <= 0 || poll.revents & libc::POLLIN == 0 {
        return Err(io::Error::from_raw_os_error(libc::EAGAIN));
    }
    let fd = nix_socket::accept4(listener, SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: accept4(2) has just returned this descriptor to us alone.
    Ok(unsafe { Socket::from_raw(fd) })
}

/// Drops every SYN that comes to a TCP listener from now on (SO_ATTACH_FILTER): who sends it hears
/// nothing and repeats it. Handshakes that have begun go on. A kernel that refuses leaves it as it is.
pub fn drop_handshakes(listener: RawFd) {
    simulated!(for listener);
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // A filter of a TCP socket sees the segment from its header on.
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, FLAGS_AT),
        step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, SYN | ACK),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, SYN),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the program and its steps are alive for the call, which copies them.
    let _ = unsafe {
        libc::setsockopt(
            listener,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
}

/// send(2) as far as it goes at once (MSG_DONTWAIT | MSG_NOSIGNAL).
pub fn send_now(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    simulated!(for fd => calls::send_now(fd, bytes));
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(nix_socket::send(fd, bytes, flags)?)
}

/// sendmsg(2) of several pieces as far as it goes at once. With `has_more`, more follows at once, and
/// belongs into the same segment (MSG_MORE).
pub fn send_pieces_now(fd: RawFd, pieces: &[IoSlice<'_>], has_more: bool) -> io::Result<usize> {
    simulated!(for fd => calls::send_pieces_now(fd, pieces));
    let mut flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    if has_more {
        flags |= MsgFlags::from_bits_retain(libc::MSG_MORE);
    }
    Ok(nix_socket::sendmsg::<SockaddrStorage>(
        fd,
        pieces,
        &[],
        flags,
        None,
    )?)
}

/// shutdown(2). On a socket that is closed by its peer already there is nothing left to do, so
/// that error is none.
pub fn shutdown(fd: RawFd, how: Shutdown) {
    simulated!(for fd => calls::shutdown(fd, how));
    let how = match how {
        Shutdown::Write => nix_socket::Shutdown::Write,
        Shutdown::Both => nix_socket::Shutdown::Both,
    };
    let _ = nix_socket::shutdown(fd, how);
    epoll::notice_shutdown(fd);
}

/// Resets a TCP connection at once: what is on its way is lost, everything in flight completes, and
/// the other side gets an error instead of an end. connect(2) to no address is how: closing with
/// SO_LINGER would have to wait for what is in flight.
pub fn reset(fd: RawFd) {
    simulated!(for fd => calls::reset(fd));
    let nowhere = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    let bytes = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address is initialised, as long as is said, and only read during the call.
    // Sockets that are not TCP, or not connected any more, refuse: nothing is left to do then.
    let _ = unsafe { libc::connect(fd, &raw const nowhere, bytes) };
    epoll::notice_shutdown(fd);
}

/// Our address; `None` for sockets that are not TCP.
pub fn local_addr(fd: RawFd) -> Option<SocketAddr> {
    simulated!(for fd => calls::local_addr(fd));
    to_address(&nix_socket::getsockname(fd).ok()?)
}

/// The peer's address; `None` for sockets that are not TCP, or not connected any more.
pub fn peer_addr(fd: RawFd) -> Option<SocketAddr> {
    simulated!(for fd => calls::peer_addr(fd));
    to_address(&nix_socket::getpeername(fd).ok()?)
}

/// Bytes that were sent and that the other side has not acknowledged, or on a Unix socket not read
/// (SIOCOUTQ, tcp(7)); `None` where the kernel does not tell.
pub fn unacknowledged_bytes(fd: RawFd) -> Option<u64> {
    simulated!(for fd => calls::unacknowledged_bytes(fd));
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request, TIOCOUTQ by another name, writes one int, which lives until it returns.
    let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) };
    let is_told = result == 0;
    is_told.then(|| u64::try_from(bytes).unwrap_or(0))
}

fn to_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
    }
    let v6 = storage.as_sockaddr_in6()?;
    let ip: Ipv6Addr = v6.ip();
    // A dual-stack listener shows IPv4 peers as ::ffff:a.b.c.d; people expect a.b.c.d.
    Some(match ip.to_ipv4_mapped() {
        Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
        None => SocketAddr::V6((*v6).into()),
    })
}
