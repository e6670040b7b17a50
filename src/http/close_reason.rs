//! Why a connection ends, on either side and whatever it speaks.
//!
//! ```text
//!   message, limits, peer, shutdown ──► CloseReason ──► hooks, observers, logs
//! ```

use std::fmt;

/// Why a connection is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer said `Connection: close`.
    PeerAsked,
    /// We said `Connection: close`: a handler or caller asked for it.
    WeAsked,
    /// The peer speaks HTTP/1.0 and did not say `keep-alive`.
    Http10,
    /// The response ends with the connection.
    UntilClose,
    /// The request was malformed or too large.
    BadMessage,
    /// Too much of a body was left unread to drain it.
    BodyUnread,
    /// The response was complete before the request was.
    EarlyResponse,
    /// The client waits for `100 Continue`, and nobody asked for the body.
    ContinueUnsent,
    /// The handler failed after its response had begun, or panicked.
    HandlerFailed,
    /// The peer closed its side.
    PeerClosed,
    /// A deadline passed.
    Timeout,
    /// Bytes came that belong to no message.
    UnexpectedBytes,
    /// The connection now speaks another protocol.
    Upgraded,
    /// The client asked for a tunnel (CONNECT): what follows is not for us to read as requests.
    Tunnel,
    /// The server is shutting down, or the client was dropped.
    Shutdown,
    /// The connection is as old as it may get.
    Age,
    /// It has served as many requests as it may.
    RequestCount,
    /// The pool has let it go: it rested too long, is too old, or over a cap.
    Evicted,
    /// The request was given up by its own side.
    Canceled,
    /// The connection itself failed: a reset, for one.
    Failed,
}

impl CloseReason {
    /// The reason in a few words, for logs.
    pub fn explain(self) -> &'static str {
        match self {
            CloseReason::PeerAsked => "the peer asked to close",
            CloseReason::WeAsked => "our own message said close",
            CloseReason::Http10 => "HTTP/1.0 without keep-alive",
            CloseReason::UntilClose => "the body ends with the connection",
            CloseReason::BadMessage => "the message was malformed or too large",
            CloseReason::BodyUnread => "too much of the body was left unread",
            CloseReason::EarlyResponse => "the response was complete before the request",
            CloseReason::ContinueUnsent => "the body was neither wanted nor sent",
            CloseReason::HandlerFailed => "the handler failed",
            CloseReason::PeerClosed => "the peer closed its side",
            CloseReason::Timeout => "a deadline passed",
            CloseReason::UnexpectedBytes => "bytes came that belong to no message",
            CloseReason::Upgraded => "another protocol took over",
            CloseReason::Tunnel => "the client asked for a tunnel",
            CloseReason::Shutdown => "this side shuts down",
            CloseReason::Age => "it is as old as it may get",
            CloseReason::RequestCount => "it has served as many requests as it may",
            CloseReason::Evicted => "it rested too long, is too old, or over a cap",
            CloseReason::Canceled => "the request was given up by its own side",
            CloseReason::Failed => "the connection failed",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explain())
    }
}
