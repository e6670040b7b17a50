//! What an exchange writes its response to, and what it may ask of the connection below.

use std::net::SocketAddr;
use std::task::Waker;

use ::http::StatusCode;
use bytes::Bytes;

use crate::h1::server::Sends;
use crate::http::body::Content;
use crate::http::close_reason::CloseReason;
use crate::http::headers::Headers;
use crate::http::response::Response;
use crate::runtime::Instant;
use crate::server::exchange::log_entry::LogEntry;

/// One request's place on its connection, whatever the connection speaks.
///
/// Implementations are called from one place each, and compiled into it: there is no table of
/// functions on the path of a request. Over HTTP/1 the place is the connection, over a protocol
/// with streams it is one of them.
pub trait ResponseSink {
    // ---- facts ----

    /// The time of this turn.
    fn now(&self) -> Instant;
    /// Seconds since 1970, at this turn.
    fn wall_seconds(&self) -> u64;
    /// The client's address and ours; `None` on a Unix socket.
    fn addresses(&mut self) -> (Option<SocketAddr>, Option<SocketAddr>);
    /// Wakes this exchange.
    fn waker(&mut self) -> &Waker;
    /// Bytes appended to the output so far: the place where the next byte of the response goes.
    fn appended_bytes(&self) -> u64;

    // ---- the request's body ----

    /// True while the body arrives.
    fn is_receiving(&self) -> bool;
    /// Bytes of the body that are still to arrive, `None` where only its end will tell.
    fn body_left(&self) -> Option<u64>;
    /// Tells the client to send the body, if it waits for that (RFC 9110 §10.1.1).
    fn ask_for_body(&mut self);
    /// Nothing more of the body is taken; `reason` is why.
    fn stop_receiving(&mut self, reason: CloseReason);

    // ---- the response ----

    /// True while informational responses may be sent (RFC 9110 §15.2).
    fn may_inform(&self) -> bool;
    /// Sends an informational response.
    fn inform(&mut self, status: StatusCode, headers: &Headers);
    /// The status to answer instead, where this response cannot answer this request.
    fn replacement_for(&self, response: &Response) -> Option<StatusCode>;
    /// Writes the head of the response, and says what has to follow. `is_unread` says that nobody
    /// reads what is left of the request's body.
    fn head(&mut self, response: &mut Response, is_unread: bool) -> Sends;
    /// Writes the whole body, from memory or files. The response ends with it.
    fn content(&mut self, content: Content);
    /// True when no chunk should be written now; when there is room again the exchange goes on.
    fn is_full(&mut self) -> bool;
    /// Writes a piece of the body. False, and nothing of it, if the body is longer than it said.
    fn chunk(&mut self, chunk: Bytes) -> bool;
    /// True when the client has as many bytes of the body as were announced.
    fn has_sent_length(&self) -> bool;
    /// Ends the body. False if it is shorter than it said.
    fn end(&mut self, trailers: Option<&Headers>) -> bool;
    /// Gives up a body that has begun, so that the client cannot take it for a whole one.
    fn cut(&mut self);
    /// Gives no response: the client sees a reset.
    fn reset(&mut self);
    /// The exchange has ended, as far as it is ours: its line is written when our kernel has taken
    /// the response.
    fn log(&mut self, entry: Box<LogEntry>);

    // ---- another protocol in place of the response (RFC 9110 §7.8, §9.3.6) ----

    /// True when the request asks for another protocol.
    fn wants_upgrade(&self) -> bool;
    /// Why another protocol cannot answer this request, which offers `offered`: the status that says
    /// so, and the rule. `protocol` is `None` for the tunnel of a CONNECT.
    fn refuses_takeover(
        &self,
        protocol: Option<&str>,
        offered: &[u8],
    ) -> Option<(StatusCode, &'static str)>;
    /// Writes the head behind which another protocol speaks.
    fn hand_over(&mut self, response: &mut Response);
}
