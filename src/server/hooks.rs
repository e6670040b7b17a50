//! Being told about connections, and about what peers and handlers do wrong.
//!
//! ```text
//!   accept ─► New ─► Active ⇄ Idle ─► Closed(why)        Server::on_connection_state
//!                      └─► Upgraded ──┘
//!   rule broken, too slow, over a limit ─► ProtocolError  Server::on_protocol_error
//!   error, panic, too slow, cut response ─► HandlerError  Server::on_handler_error
//! ```
//!
//! Hooks run on the thread of the worker, between two events of the connection: a slow hook is a
//! slow worker. A panic in one is caught and counted as a panic of a handler is; the connection
//! goes on. Without hooks nothing is computed.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use ::http::StatusCode;

use crate::error::Error;
pub use crate::http::close_reason::CloseReason;

/// Something happened to a connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectionEvent {
    /// Names the connection among all of this process.
    pub connection: u64,
    /// The client: as the kernel says, or a PROXY header; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Where the client connected to; `None` on a Unix socket.
    pub local: Option<SocketAddr>,
    /// What the connection is from now on.
    pub state: ConnectionState,
    /// Requests whose responses have begun so far.
    pub requests: u64,
}

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It was accepted, and its PROXY header read where there is one. Always the first.
    New,
    /// A request arrives or is answered.
    Active,
    /// It waits for the next request: our kernel has taken the last response.
    Idle,
    /// It speaks another protocol now.
    Upgraded,
    /// It has ended. Always the last. A connection that broke within a response has failed, whatever
    /// was planned for it.
    Closed(CloseReason),
}

/// A peer broke a rule, was too slow, or one too many.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProtocolError<'a> {
    /// What kind of fault it is.
    pub kind: ProtocolErrorKind,
    /// The client; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Where the client connected to; `None` on a Unix socket.
    pub local: Option<SocketAddr>,
    /// The rule, for people.
    pub rule: &'a str,
    /// What was answered; `None` when the connection was closed, or a response cut, without.
    pub status: Option<StatusCode>,
    /// The bytes among which the fault was found: the last that arrived, as far as they are of this
    /// message or behind it. Empty where nothing arrived. Unlike the answer, this is what the peer
    /// sent: escape it before it goes into a log.
    pub received: &'a [u8],
}

/// Kinds of faults of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolErrorKind {
    /// A request was malformed, too large, or is not supported.
    Request,
    /// A head or a body did not arrive in time, or a response was not read in time.
    Timeout,
    /// The connection was over a limit of connections.
    Limit,
    /// The PROXY header was missing, malformed, or not allowed.
    ProxyHeader,
}

/// A handler, or the body of its response, failed: what the client was told of that is the status.
/// `Display` writes it in one line: `GET /mirror: 502 Bad Gateway: the error with its sources`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HandlerError<'a> {
    /// The client; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Where the client connected to; `None` on a Unix socket.
    pub local: Option<SocketAddr>,
    /// Method and target as the client sent them, a query too: `GET /users?page=2`.
    pub request: &'a str,
    /// What went wrong: the error that the handler returned, or what was seen of it.
    pub error: &'a Error,
    /// What was answered; `None` when the response had begun, and was cut.
    pub status: Option<StatusCode>,
}

impl fmt::Display for HandlerError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.request)?;
        match self.status {
            Some(status) => write!(f, "{status}: ")?,
            None => f.write_str("the response was cut: ")?,
        }
        write!(f, "{:#}", self.error)
    }
}

type OnState = Arc<dyn Fn(&ConnectionEvent) + Send + Sync>;
type OnError = Arc<dyn Fn(&ProtocolError<'_>) + Send + Sync>;
type OnHandlerError = Arc<dyn Fn(&HandlerError<'_>) + Send + Sync>;

/// The hooks of a server; shared by its workers.
#[derive(Clone, Default)]
pub struct Hooks {
    on_state: Option<OnState>,
    on_error: Option<OnError>,
    on_handler_error: Option<OnHandlerError>,
}

impl Hooks {
    /// Sets who is told about connections.
    pub fn set_on_state(&mut self, hook: impl Fn(&ConnectionEvent) + Send + Sync + 'static) {
        self.on_state = Some(Arc::new(hook));
    }

    /// Sets who is told about faults of peers.
    pub fn set_on_error(&mut self, hook: impl Fn(&ProtocolError<'_>) + Send + Sync + 'static) {
        self.on_error = Some(Arc::new(hook));
    }

    /// Sets who is told about handlers that fail.
    pub fn set_on_handler_error(
        &mut self,
        hook: impl Fn(&HandlerError<'_>) + Send + Sync + 'static,
    ) {
        self.on_handler_error = Some(Arc::new(hook));
    }

    /// True when somebody is told about connections.
    pub fn watches_states(&self) -> bool {
        self.on_state.is_some()
    }

    /// True when somebody is told about faults.
    pub fn watches_errors(&self) -> bool {
        self.on_error.is_some()
    }

    /// True when somebody is told about handlers that fail.
    pub fn watches_handlers(&self) -> bool {
        self.on_handler_error.is_some()
    }

    /// Tells of a connection. User code: to be called guarded.
    pub fn tell_state(&self, event: &ConnectionEvent) {
        if let Some(hook) = &self.on_state {
            hook(event);
        }
    }

    /// Tells of a fault. User code: to be called guarded.
    pub fn tell_error(&self, error: &ProtocolError<'_>) {
        if let Some(hook) = &self.on_error {
            hook(error);
        }
    }

    /// Tells of a handler that failed. User code: to be called guarded.
    pub fn tell_handler_error(&self, error: &HandlerError<'_>) {
        if let Some(hook) = &self.on_handler_error {
            hook(error);
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("watches_states", &self.watches_states())
            .field("watches_errors", &self.watches_errors())
            .field("watches_handlers", &self.watches_handlers())
            .finish()
    }
}

/// A number that no other connection of this process has. One atomic per accept, and only where a
/// hook wants it.
pub(super) fn next_connection() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
