//! Sockets as futures with owned buffers, for users of the runtime: a buffer travels to the kernel
//! and back, and a dropped future leaves it there until the kernel is done.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use bytes::BytesMut;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::limits::ACCEPT_SKIPS_MAX;
use crate::limits::CONNECT_TIMEOUT;
use crate::limits::SEND_BYTES_MAX;
use crate::net::connect::connect;
use crate::net::connect::connect_one;
use crate::net::connect::resolve;
use crate::net::listener::ListenSocket;
use crate::reactor::Errno;
use crate::reactor::operation::Operation;
use crate::reactor::operation::Piece;
use crate::reactor::outcome::AcceptFailure;
use crate::reactor::outcome::RecvFailure;
use crate::reactor::outcome::SendFailure;
use crate::reactor::outcome::accept_failure;
use crate::reactor::outcome::recv_failure;
use crate::reactor::outcome::send_failure;
use crate::reactor::sys;
use crate::reactor::sys::Address;
use crate::reactor::sys::Shutdown;
use crate::reactor::sys::Socket;
use crate::runtime::Core;
use crate::runtime::operations;

/// Both kinds of stream.
#[derive(Clone)]
struct Stream {
    core: Rc<Core>,
    socket: Rc<Socket>,
}

impl Stream {
    async fn read(&self, mut buffer: BytesMut) -> (io::Result<usize>, BytesMut) {
        if let Err(error) = self.core.check_is_here() {
            return (Err(error), buffer);
        }
        loop {
            if buffer.capacity() == buffer.len() {
                return (Err(io::Error::from(io::ErrorKind::InvalidInput)), buffer);
            }
            let operation = Operation::RecvOwned(buffer);
            let fd = self.socket.raw();
            let completion =
                operations::submit(&self.core, fd, Some(Rc::clone(&self.socket)), operation).await;
            let Some(Operation::RecvOwned(returned)) = completion.operation else {
                panic!("a receive gives its buffer back")
            };
            buffer = returned;
            match completion.result {
                Ok(bytes) => return (Ok(bytes as usize), buffer),
                Err(errno) => match recv_failure(errno) {
                    // Who would cancel it is who waits for it.
                    RecvFailure::Retry | RecvFailure::Canceled => {}
                    RecvFailure::Starved | RecvFailure::Broken(_) => {
                        return (Err(errno.into()), buffer);
                    }
                },
            }
        }
    }

    async fn write_all(&self, bytes: Bytes) -> io::Result<()> {
        self.core.check_is_here()?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = rest.slice(..rest.len().min(SEND_BYTES_MAX));
            let operation = Operation::Send(Piece::Shared(piece));
            let fd = self.socket.raw();
            let completion =
                operations::submit(&self.core, fd, Some(Rc::clone(&self.socket)), operation).await;
            match completion
                .result
                .map_err(|errno| (errno, send_failure(errno)))
            {
                Ok(sent) => drop(rest.split_to(sent as usize)),
                Err((_, SendFailure::Retry | SendFailure::Canceled)) => {}
                Err((errno, SendFailure::Broken(_))) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

macro_rules! stream {
    ($name:ident, $what:literal) => {
        #[doc = concat!("A connected ", $what, " socket of this core.")]
        ///
        /// Reads and writes may be under way at the same time, one of each. A dropped future
        /// cancels its operation; bytes that had arrived for it are lost. The socket is closed
        /// when the last of it is dropped and nothing is in flight.
        #[derive(Clone)]
        pub struct $name(Stream);

        impl $name {
            /// Receives behind what is in `buffer`, at most into its free capacity. 0 bytes are
            /// the end.
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a buffer without free capacity; those of recv(2).
            pub async fn read(&self, buffer: BytesMut) -> (io::Result<usize>, BytesMut) {
                self.0.read(buffer).await
            }

            /// Sends all of `bytes`.
            ///
            /// # Errors
            ///
            /// Those of send(2); how much was sent before is not known then.
            pub async fn write_all(&self, bytes: impl Into<Bytes>) -> io::Result<()> {
                self.0.write_all(bytes.into()).await
            }

            /// The socket itself, for another owner: a connection of
            /// [`Net`](crate::net::Net), or of a client.
            ///
            /// # Errors
            ///
            /// A clone of the stream is alive, or an operation of it is in flight.
            pub fn into_socket(self) -> Result<Socket, Error> {
                let socket = Rc::try_unwrap(self.0.socket).map_err(|_| {
                    Error::new(
                        ErrorKind::Canceled,
                        "the socket is still read or written by another future",
                    )
                })?;
                socket.leave_thread();
                Ok(socket)
            }

            /// Ends our side: the peer reads the end after what was sent.
            pub fn shutdown_write(&self) {
                if self.0.core.is_here() {
                    sys::shutdown(self.0.socket.raw(), Shutdown::Write);
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name))
                    .field(&self.0.socket.raw())
                    .finish()
            }
        }
    };
}

stream!(TcpStream, "TCP");
stream!(UnixStream, "Unix");

impl TcpStream {
    /// Connects to `host:port`, within the default connect time-out over all of its addresses.
    ///
    /// # Errors
    ///
    /// The name has no address, none answered, or no core runs on this thread.
    pub async fn connect(host: &str, port: u16) -> Result<TcpStream, Error> {
        let core = Core::try_current()?;
        let addresses = resolve(host, port).await?;
        let connected = connect(&addresses, CONNECT_TIMEOUT).await?;
        Ok(TcpStream(Stream {
            core,
            socket: Rc::new(connected.socket),
        }))
    }

    /// A socket that was connected on this core.
    pub(crate) fn from_socket(core: Rc<Core>, socket: Socket) -> TcpStream {
        TcpStream(Stream {
            core,
            socket: Rc::new(socket),
        })
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        sys::peer_addr(self.0.socket.raw())
    }

    /// Our address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        sys::local_addr(self.0.socket.raw())
    }
}

impl UnixStream {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or no core runs on this thread.
    pub async fn connect(path: impl AsRef<Path>) -> Result<UnixStream, Error> {
        let core = Core::try_current()?;
        let address = Address::Unix(PathBuf::from(path.as_ref()));
        let socket = connect_one(&core, &address, None).await?;
        Ok(UnixStream(Stream { core, socket }))
    }
}

/// What both kinds of listener share.
struct Listening {
    core: Rc<Core>,
    socket: Rc<Socket>,
    address: Address,
    /// Removes a Unix socket's file when the listener goes.
    _bound: ListenSocket,
}

impl Listening {
    fn new(bound: ListenSocket) -> Result<Listening, Error> {
        let core = Core::try_current()?;
        let socket = bound.duplicate_descriptor().map_err(Error::from)?;
        let address = bound.local_addr().clone();
        Ok(Listening {
            core,
            socket: Rc::new(socket),
            address,
            _bound: bound,
        })
    }

    async fn accept(&self) -> io::Result<Stream> {
        self.core.check_is_here()?;
        let mut skipped = 0;
        loop {
            let fd = self.socket.raw();
            let submitted = operations::submit(
                &self.core,
                fd,
                Some(Rc::clone(&self.socket)),
                Operation::Accept,
            );
            let completion = submitted.await;
            if let Some(socket) = completion.socket {
                return Ok(self.stream(socket));
            }
            match completion.result {
                Err(errno) => match accept_failure(errno) {
                    AcceptFailure::Skip if skipped < ACCEPT_SKIPS_MAX => skipped += 1,
                    AcceptFailure::Canceled => {}
                    AcceptFailure::Skip | AcceptFailure::Exhausted | AcceptFailure::Fatal(_) => {
                        return Err(errno.into());
                    }
                },
                Ok(_) => return Err(Errno::EIO.into()),
            }
        }
    }

    fn stream(&self, socket: Socket) -> Stream {
        Stream {
            core: Rc::clone(&self.core),
            socket: Rc::new(socket),
        }
    }
}

/// A listening TCP socket of this core.
pub struct TcpListener(Listening);

impl TcpListener {
    /// Listens; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The address cannot be bound (the text says what to change), or no core runs on this thread.
    pub fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
        Listening::new(ListenSocket::bind(address)?).map(TcpListener)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        match &self.0.address {
            Address::Tcp(address) => *address,
            Address::Unix(_) => unreachable!("a TCP listener has a TCP address"),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// Descriptors or memory are used up (try again later), or the listener is unusable.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        self.0.accept().await.map(TcpStream)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener").field(&self.0.address).finish()
    }
}

/// A listening Unix socket of this core. Its file is removed when it is dropped.
pub struct UnixListener(Listening);

impl UnixListener {
    /// Listens at `path`.
    ///
    /// # Errors
    ///
    /// The path cannot be bound (the text says what to change), or no core runs on this thread.
    pub fn bind(path: impl AsRef<Path>) -> Result<UnixListener, Error> {
        Listening::new(ListenSocket::bind_unix(path)?).map(UnixListener)
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// Descriptors or memory are used up (try again later), or the listener is unusable.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.0.accept().await.map(UnixStream)
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixListener")
            .field(&self.0.address)
            .finish()
    }
}
