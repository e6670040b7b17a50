//! The client's side of HTTP/1.1 exchanges on one connection, without I/O: a request becomes
//! bytes, bytes become a response.
//!
//! ```text
//!  sending     Idle ──start──► Length | Chunked ──finish_body──► Done
//!                 └──start, no body──────────────────────────────┘
//!  receiving   Idle ──start──► Head ──1xx──► Head               (bounded count)
//!                               │ └──final head──► Length | Chunked | UntilClose ──last byte──► Done
//!                               └──101, 2xx to CONNECT, as was asked for ──► another protocol
//!
//!  both Done, nothing speaks against it ──settle──► Idle        (the next request)
//!  else ──settle──► CloseReason
//! ```
//!
//! The two directions are independent: a response may come, and even end, while the body is still
//! sent (then the connection is not kept). A byte behind the response's last one belongs to no
//! request, and closes the connection. After an error nothing but dropping the machine makes
//! sense: the connection has lost its framing.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use ::http::Method;
use ::http::StatusCode;

use crate::h1::chunked::CHUNK_END;
use crate::h1::chunked::ChunkError;
use crate::h1::chunked::Decoded;
use crate::h1::chunked::Decoder;
use crate::h1::chunked::encode_chunk_head;
use crate::h1::chunked::encode_last_chunk;
use crate::h1::encode::Persistence;
use crate::h1::encode::Recipient;
use crate::h1::encode::request_head;
use crate::h1::framing::Framing;
use crate::h1::framing::Outgoing;
use crate::h1::framing::close_reason_of_response;
use crate::h1::framing::response_framing;
use crate::h1::head::ResponseHead;
use crate::h1::head::is_tunnel_target;
use crate::h1::head::parse_response;
use crate::h1::head::parse_whole_response;
use crate::http::close_reason::CloseReason;
use crate::http::head::HeadError;
use crate::http::head::HeadLimits;
use crate::http::head::Scan;
use crate::http::head::Scanner;
use crate::http::headers::Headers;
use crate::http::known::Known;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::limits::INFORMATIONAL_COUNT_MAX;

/// One connection's exchanges, one after the other.
pub struct ClientMachine {
    limits: HeadLimits,
    sending: Sending,
    receiving: Receiving,
    /// The head that came in pieces; empty, and without memory, otherwise.
    partial: Vec<u8>,
    /// True exactly when a byte came since the last `start`.
    is_answered: bool,
    close: Option<CloseReason>,
    switch: Switch,
    /// What the last response with a `Keep-Alive` field said.
    keep_alive_timeout: Option<Duration>,
    /// The last head, sent or received, as it stands on the wire; `None` while nobody looks at it.
    last_head: Option<Vec<u8>>,
}

/// Whether the connection goes on with something else than HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Switch {
    /// The request did not ask for it.
    Unasked,
    /// It did: `Connection: upgrade`, or CONNECT.
    Asked,
    /// The response agrees.
    Agreed,
}

enum Sending {
    /// Nothing is sent, or all of it.
    Done,
    /// Bytes of the body that are still to come.
    Length(u64),
    Chunked,
}

enum Receiving {
    /// No request is under way.
    Idle,
    Head {
        scanner: Scanner,
        method: Method,
        informational_count: usize,
    },
    Length(u64),
    Chunked(Decoder),
    UntilClose,
    /// The response is complete.
    Done,
}

/// What the received bytes mean.
#[derive(Debug)]
pub enum Event<'a> {
    /// All of the input is used; more has to come, or the response is complete.
    Partial,
    /// An informational head (1xx but for 101), without a body; the final one is still to come.
    Informational(Response),
    /// The final head; its framing says what follows.
    Head(Response, Framing),
    /// Bytes of the body, a part of the input.
    Data(&'a [u8]),
    /// The body ended, with its trailers. Comes behind each head, once.
    End(Option<Headers>),
}

/// Why a response cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// The head breaks a rule or a limit.
    Head(HeadError),
    /// The chunked coding of the body breaks a rule or a limit.
    Chunk(ChunkError),
    /// More informational responses than `INFORMATIONAL_COUNT_MAX` before the final one.
    TooManyInformational,
    /// The protocol was switched before all of the request was sent.
    EarlySwitch,
    /// The protocol was switched, and the request had not asked for that.
    UnaskedSwitch,
    /// Bytes came while no request was under way.
    Unsolicited,
    /// The connection ended before a byte of the response.
    NoResponse,
    /// The connection ended within the head.
    HeadCut,
    /// The connection ended within a body that frames itself; of a known length, this many bytes
    /// are missing.
    BodyCut {
        /// Bytes that did not come, where the length was announced.
        missing_bytes: Option<u64>,
    },
}

/// Why a request cannot be sent: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The request target holds a blank, a control character, or nothing at all.
    Target,
    /// The target of a CONNECT is not `host:port` (RFC 9112 §3.2.3).
    TunnelTarget,
    /// The `Host` is empty, stands twice, or holds a blank or control character.
    Host,
    /// CONNECT and TRACE carry no body (RFC 9110 §9.3.6, §9.3.8).
    BodyNotAllowed,
    /// The body has more bytes than it said.
    BodyTooLong,
    /// The body ended before it had all the bytes that it said; so many are missing.
    BodyTooShort {
        /// Bytes that did not come.
        missing_bytes: u64,
    },
}

impl ClientMachine {
    /// A fresh connection.
    pub fn new(limits: HeadLimits) -> ClientMachine {
        ClientMachine {
            limits,
            sending: Sending::Done,
            receiving: Receiving::Idle,
            partial: Vec::new(),
            is_answered: false,
            close: None,
            switch: Switch::Unasked,
            keep_alive_timeout: None,
            last_head: None,
        }
    }

    /// Says whether [`ClientMachine::last_head`] is looked at: it is a copy, and costs one.
    pub fn keep_heads(&mut self, is_kept: bool) {
        if !is_kept {
            self.last_head = None;
        } else if self.last_head.is_none() {
            self.last_head = Some(Vec::new());
        }
    }

    /// The last head that was sent or received, byte by byte, where heads are kept; else empty.
    pub fn last_head(&self) -> &[u8] {
        self.last_head.as_deref().unwrap_or_default()
    }

    fn keep_head(&mut self, head: &[u8]) {
        if let Some(kept) = &mut self.last_head {
            kept.clear();
            kept.extend_from_slice(head);
        }
    }

    // ---- sending -----------------------------------------------------------------------------

    /// Begins an exchange: writes the head of `request` to `out`, whose body will have `length`
    /// bytes (`None`: its end will tell). With trailers it is sent in chunks all the same. Nothing is
    /// written on an error. Without `is_kept` the
    /// peer is told that this is the connection's last request.
    pub fn start(
        &mut self,
        request: &Request,
        length: Option<u64>,
        is_kept: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.start_to(Recipient::Origin, request, length, is_kept, out)
    }

    /// As [`ClientMachine::start`], to a proxy that forwards the request or to its origin.
    pub fn start_to(
        &mut self,
        recipient: Recipient<'_>,
        request: &Request,
        length: Option<u64>,
        is_kept: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        assert!(
            matches!(self.receiving, Receiving::Idle),
            "one exchange at a time"
        );
        assert!(
            self.close.is_none(),
            "a connection that closes takes no request"
        );
        check(request, length)?;
        let persistence = persistence(request, is_kept);
        let outgoing = match request.trailers() {
            Some(_) => Outgoing::Chunked,
            None => Outgoing::of_request(request.method(), length),
        };
        let begin = out.len();
        request_head(out, request, recipient, outgoing, persistence);
        self.keep_head(&out[begin..]);
        self.sending = match outgoing {
            Outgoing::Length(length) if length > 0 => Sending::Length(length),
            Outgoing::Chunked => Sending::Chunked,
            _ => Sending::Done,
        };
        let is_last = !is_kept || persistence == Persistence::Close;
        if is_last || *request.method() == Method::CONNECT {
            self.close = Some(CloseReason::WeAsked);
        }
        let asks = persistence == Persistence::Upgrade || *request.method() == Method::CONNECT;
        self.switch = if asks { Switch::Asked } else { Switch::Unasked };
        self.is_answered = false;
        self.receiving = Receiving::Head {
            scanner: Scanner::response(self.limits),
            method: request.method().clone(),
            informational_count: 0,
        };
        Ok(())
    }

    /// Writes what stands before `len` bytes of the body; they follow, and then
    /// [`ClientMachine::end_chunk`].
    pub fn begin_chunk(&mut self, len: u64, out: &mut Vec<u8>) -> Result<(), SendError> {
        match &mut self.sending {
            Sending::Done => Err(SendError::BodyTooLong),
            Sending::Length(left) => {
                *left = left.checked_sub(len).ok_or(SendError::BodyTooLong)?;
                Ok(())
            }
            Sending::Chunked => {
                let len = usize::try_from(len).expect("a chunk lies in memory");
                encode_chunk_head(out, len);
                Ok(())
            }
        }
    }

    /// Writes what stands behind the bytes announced with [`ClientMachine::begin_chunk`].
    pub fn end_chunk(&mut self, out: &mut Vec<u8>) {
        if matches!(self.sending, Sending::Chunked) {
            out.extend_from_slice(CHUNK_END);
        }
    }

    /// Ends the body, with trailers where it is sent in chunks.
    pub fn finish_body(
        &mut self,
        trailers: Option<&Headers>,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        match self.sending {
            Sending::Done | Sending::Length(0) => {}
            // It stays unsent: the connection has lost its framing.
            Sending::Length(missing_bytes) => {
                return Err(SendError::BodyTooShort { missing_bytes });
            }
            Sending::Chunked => encode_last_chunk(out, trailers),
        }
        self.sending = Sending::Done;
        Ok(())
    }

    /// True when all of the request was written.
    pub fn is_sent(&self) -> bool {
        matches!(self.sending, Sending::Done | Sending::Length(0))
    }

    // ---- receiving ---------------------------------------------------------------------------

    /// Takes bytes: says how many of them were used, and what they mean. To be called until it
    /// says [`Event::Partial`], also with an empty rest: the end of a body needs no byte.
    pub fn receive<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), FetchError> {
        self.is_answered |= !input.is_empty();
        match &mut self.receiving {
            Receiving::Idle if input.is_empty() => Ok((0, Event::Partial)),
            Receiving::Idle => Err(FetchError::Unsolicited),
            Receiving::Head { .. } => self.receive_head(input),
            Receiving::Length(0) => Ok((0, self.end_body(None))),
            Receiving::Length(left) => {
                // A slice's length fits into u64, and the lesser of both into usize.
                let len = (*left).min(input.len() as u64) as usize;
                *left -= len as u64;
                Ok((len, data_or_partial(&input[..len])))
            }
            Receiving::UntilClose => Ok((input.len(), data_or_partial(input))),
            Receiving::Chunked(_) => self.receive_chunked(input),
            Receiving::Done => {
                if !input.is_empty() {
                    self.close.get_or_insert(CloseReason::UnexpectedBytes);
                }
                Ok((input.len(), Event::Partial))
            }
        }
    }

    /// The peer has closed its side: the end of a body that only this can end, an error within
    /// anything else.
    pub fn receive_end(&mut self) -> Result<Event<'static>, FetchError> {
        self.close.get_or_insert(CloseReason::PeerClosed);
        match &self.receiving {
            Receiving::Idle | Receiving::Done => Ok(Event::Partial),
            Receiving::Head { .. } if !self.is_answered => Err(FetchError::NoResponse),
            Receiving::Head { .. } => Err(FetchError::HeadCut),
            Receiving::Length(0) | Receiving::UntilClose => Ok(self.end_body(None)),
            Receiving::Length(left) => Err(FetchError::BodyCut {
                missing_bytes: Some(*left),
            }),
            Receiving::Chunked(_) => Err(FetchError::BodyCut {
                missing_bytes: None,
            }),
        }
    }

    /// True when no byte came since the request was started.
    pub fn is_unanswered(&self) -> bool {
        !self.is_answered
    }

    /// True when the response is complete.
    pub fn is_received(&self) -> bool {
        matches!(self.receiving, Receiving::Done)
    }

    /// True when the head that came last ends HTTP on this connection, as was asked for: what follows
    /// is the other protocol's (RFC 9110 §7.8, §9.3.6).
    pub fn has_switched(&self) -> bool {
        self.switch == Switch::Agreed
    }

    /// Bytes of the response's body that are still to come, where that is known.
    pub fn missing_bytes(&self) -> Option<u64> {
        match self.receiving {
            Receiving::Length(left) => Some(left),
            Receiving::Done => Some(0),
            _ => None,
        }
    }

    /// Why the connection will not be kept, as far as is known.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.close
    }

    /// How long the peer keeps the connection without a request, where a response on it said so.
    pub fn keep_alive_timeout(&self) -> Option<Duration> {
        self.keep_alive_timeout
    }

    /// After a complete response: ready for the next request, or why the connection has to close.
    pub fn settle(&mut self) -> Result<(), CloseReason> {
        assert!(self.is_received(), "the exchange is still under way");
        if !self.is_sent() {
            self.close.get_or_insert(CloseReason::EarlyResponse);
        }
        match self.close {
            Some(reason) => Err(reason),
            None => {
                self.receiving = Receiving::Idle;
                Ok(())
            }
        }
    }

    fn receive_head<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), FetchError> {
        let Receiving::Head { scanner, .. } = &mut self.receiving else {
            unreachable!("only called while a head is awaited");
        };
        // The common case: all of the head in one piece, parsed where it lies.
        if scanner.is_fresh()
            && let Some((used, head)) = parse_whole_response(input, &self.limits)
        {
            self.keep_head(&input[..used]);
            return Ok((used, self.enter(head)?));
        }
        let used = match scanner.push(input).map_err(FetchError::Head)? {
            Scan::Partial => {
                self.partial.extend_from_slice(input);
                return Ok((input.len(), Event::Partial));
            }
            Scan::Complete { used } => used,
        };
        let pieces;
        let head = if self.partial.is_empty() {
            &input[..used]
        } else {
            self.partial.extend_from_slice(&input[..used]);
            pieces = std::mem::take(&mut self.partial);
            &pieces
        };
        self.keep_head(head);
        let head = parse_response(head, &self.limits).map_err(FetchError::Head)?;
        Ok((used, self.enter(head)?))
    }

    /// A head is complete.
    fn enter(&mut self, head: ResponseHead) -> Result<Event<'static>, FetchError> {
        if is_informational(head.status()) {
            self.count_informational()?;
            return Ok(Event::Informational(head.into_response()));
        }
        let Receiving::Head { method, .. } = &self.receiving else {
            unreachable!("only called while a head is awaited");
        };
        let framing = response_framing(method, &head).map_err(FetchError::Head)?;
        let agrees = match *method == Method::CONNECT {
            true => head.status().is_success(),
            false => head.status() == StatusCode::SWITCHING_PROTOCOLS,
        };
        if agrees && self.switch == Switch::Asked {
            self.switch = Switch::Agreed;
        } else if head.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(FetchError::UnaskedSwitch);
        }
        Ok(self.begin_body(head, framing))
    }

    fn count_informational(&mut self) -> Result<(), FetchError> {
        if let Receiving::Head {
            scanner,
            informational_count,
            ..
        } = &mut self.receiving
        {
            *scanner = Scanner::response(self.limits);
            *informational_count += 1;
            if *informational_count > INFORMATIONAL_COUNT_MAX {
                return Err(FetchError::TooManyInformational);
            }
        }
        Ok(())
    }

    fn begin_body(&mut self, head: ResponseHead, framing: Framing) -> Event<'static> {
        self.receiving = match framing {
            Framing::Empty => Receiving::Length(0),
            Framing::Length(length) => Receiving::Length(length),
            Framing::Chunked => Receiving::Chunked(Decoder::of_response()),
            Framing::UntilClose => Receiving::UntilClose,
        };
        let reason = if head.status() == StatusCode::SWITCHING_PROTOCOLS {
            Some(CloseReason::Upgraded)
        } else {
            close_reason_of_response(&head, framing)
        };
        if let Some(reason) = reason {
            self.close.get_or_insert(reason);
        }
        if let Some(timeout) = head.keep_alive_timeout() {
            self.keep_alive_timeout = Some(timeout);
        }
        Event::Head(head.into_response(), framing)
    }

    fn receive_chunked<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), FetchError> {
        let Receiving::Chunked(decoder) = &mut self.receiving else {
            unreachable!("only called within a chunked body");
        };
        Ok(match decoder.push(input).map_err(FetchError::Chunk)? {
            Decoded::More => (input.len(), Event::Partial),
            Decoded::Data { used, data } => (used, Event::Data(data)),
            Decoded::End { used, trailers } => (used, self.end_body(trailers)),
        })
    }

    fn end_body(&mut self, trailers: Option<Headers>) -> Event<'static> {
        self.receiving = Receiving::Done;
        Event::End(trailers)
    }
}

fn data_or_partial(data: &[u8]) -> Event<'_> {
    if data.is_empty() {
        Event::Partial
    } else {
        Event::Data(data)
    }
}

/// What can be wrong with a request before it is sent. Fields were checked when they were added.
fn check(request: &Request, length: Option<u64>) -> Result<(), SendError> {
    if !is_visible(request.target().as_bytes()) {
        return Err(SendError::Target);
    }
    let is_connect = *request.method() == Method::CONNECT;
    if is_connect && !is_tunnel_target(request.target().as_bytes()) {
        return Err(SendError::TunnelTarget);
    }
    let host = match request.headers().get_known(Known::Host) {
        Some(host) => Some(host),
        None => {
            let host = request.url().and_then(|url| url.host_str());
            host.map(str::as_bytes)
        }
    };
    if !is_visible(host.unwrap_or_default()) || request.headers().get_all("host").count() > 1 {
        return Err(SendError::Host);
    }
    let has_body = length != Some(0) || request.trailers().is_some();
    if has_body && (is_connect || *request.method() == Method::TRACE) {
        return Err(SendError::BodyNotAllowed);
    }
    Ok(())
}

/// True for one or more bytes of visible ASCII: what may stand between two blanks of a line.
fn is_visible(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic)
}

/// What the head says of the connection: the caller's own words are `close` and `upgrade`. One that
/// is not kept may still be upgraded, and says nothing else then, as in net/http.
fn persistence(request: &Request, is_kept: bool) -> Persistence {
    let headers = request.headers();
    // Nearly all requests say nothing themselves.
    if headers.get_known(Known::Connection).is_none() {
        return match is_kept {
            true => Persistence::Default,
            false => Persistence::Close,
        };
    }
    if headers.contains_token("connection", "close") {
        Persistence::Close
    } else if headers.contains_token("connection", "upgrade") {
        Persistence::Upgrade
    } else if !is_kept {
        Persistence::Close
    } else {
        Persistence::Default
    }
}

/// True for responses that announce another one; 101 is final (RFC 9110 §15.2.2).
fn is_informational(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Head(error) => write!(f, "the response head is malformed: {error}"),
            FetchError::Chunk(error) => write!(f, "the response body is malformed: {}", error.rule),
            FetchError::TooManyInformational => write!(
                f,
                "more than {INFORMATIONAL_COUNT_MAX} informational responses before the final one"
            ),
            FetchError::EarlySwitch => {
                f.write_str("the protocol was switched before the request was complete")
            }
            FetchError::UnaskedSwitch => {
                f.write_str("the server switched protocols (101), which was not asked for")
            }
            FetchError::Unsolicited => f.write_str("bytes came that belong to no request"),
            FetchError::NoResponse => f.write_str("the connection ended without a response"),
            FetchError::HeadCut => f.write_str("the connection ended within the response head"),
            FetchError::BodyCut {
                missing_bytes: Some(missing),
            } => write!(
                f,
                "the connection ended {missing} bytes before the end of the response body"
            ),
            FetchError::BodyCut {
                missing_bytes: None,
            } => f.write_str("the connection ended within the response body"),
        }
    }
}

impl std::error::Error for FetchError {}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Target => f.write_str("the request target is empty or not visible ASCII"),
            SendError::TunnelTarget => f.write_str(
                "the target of a CONNECT is host:port, without a path (RequestBuilder::target)",
            ),
            SendError::Host => {
                f.write_str("the Host is empty, not visible ASCII, or there are two")
            }
            SendError::BodyNotAllowed => f.write_str("CONNECT and TRACE carry no body"),
            SendError::BodyTooLong => f.write_str("the request body is longer than it said"),
            SendError::BodyTooShort { missing_bytes } => write!(
                f,
                "the request body ended {missing_bytes} bytes before the length that it said"
            ),
        }
    }
}

impl std::error::Error for SendError {}
