//! Connections: receive, send, close, deadline. Knows no HTTP.
//!
//! ```text
//!   Listener ─ accept ─► Connection { receive, send, close, deadline, Endpoint }
//!   connect ── open ───►                                                 │
//!                                 events ─► Protocol ─► Step             │
//!                                               └──► Io: output ◄────────┘
//!                                                         │ end of the turn
//!                                                         ▼
//!                                                      one send
//! ```
//!
//! [`TcpStream`] and its kin are the other way to use a socket: futures with owned buffers, for
//! users of the runtime.

#[cfg(feature = "simulation")]
mod check;
mod close;
mod connect;
mod listener;
mod network;
mod opening;
pub mod output;
pub mod protocol;
mod race;
mod receive;
mod returning;
mod send;
mod send_file;
mod stream;
mod table;

pub use crate::net::close::is_file_fault;
pub use crate::net::close::is_own_end;
pub use crate::net::connect::Attempts;
pub use crate::net::connect::ConnectOptions;
pub use crate::net::connect::Connected;
pub use crate::net::connect::connect;
pub use crate::net::connect::connect_unix;
pub(crate) use crate::net::connect::known;
pub(crate) use crate::net::connect::literal;
pub(crate) use crate::net::connect::look_up;
pub use crate::net::connect::race;
pub use crate::net::connect::resolve;
pub(crate) use crate::net::connect::resolve_now;
pub(crate) use crate::net::connect::set_tcp_options;
pub use crate::net::listener::Accept;
pub use crate::net::listener::ListenSocket;
pub use crate::net::listener::ListenerKey;
pub use crate::net::network::Net;
pub use crate::net::opening::Opening;
pub use crate::net::output::Output;
pub use crate::net::output::Segment;
pub use crate::net::protocol::Io;
pub use crate::net::protocol::Protocol;
pub use crate::net::protocol::Receive;
pub use crate::net::protocol::Received;
pub use crate::net::protocol::Step;
pub(crate) use crate::net::race::interleave;
pub use crate::net::stream::TcpListener;
pub use crate::net::stream::TcpStream;
pub use crate::net::stream::UnixListener;
pub use crate::net::stream::UnixStream;
pub use crate::net::table::ConnectionKey;
pub use crate::reactor::operation::Piece;
pub use crate::reactor::sys::Address;
pub use crate::reactor::sys::Socket;
pub use crate::reactor::sys::UnixOptions;
pub(crate) use crate::reactor::sys::has_ipv6;
pub(crate) use crate::reactor::sys::interface_index;

#[cfg(test)]
mod tests;
