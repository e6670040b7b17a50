//! The server's side of a connection, as a machine without I/O: bytes come in, requests and pieces
//! of their bodies go out; responses come in, bytes go out.
//!
//! ```text
//!   receiving   Idle ─bytes─► Head ─complete─► Body ─last byte─► Complete ─response sent─► Idle
//!                 │             │                │                  ▲              └─► Closed
//!                 │             └──── no body ───┼──────────────────┘
//!                 └─ rule broken: Refused ───────┴─► Closed
//!
//!   sending     Idle ─request─► Awaited ─respond()─► Body ─finish_body()─► Done ─► Idle
//!                                  └──────── whole body at once ────────────┘
//! ```
//!
//! Both halves run side by side: a response may begin, and end, before the body of its request has
//! arrived. The next request begins when both are through. Why a connection cannot be kept is data
//! ([`CloseReason`]).

use std::ops::Range;

use ::http::Method;
use ::http::StatusCode;
use ::http::Version;

use crate::h1::chunked;
use crate::h1::chunked::ChunkError;
use crate::h1::chunked::Decoded;
use crate::h1::encode;
use crate::h1::encode::Persistence;
use crate::h1::framing::Framing;
use crate::h1::framing::Outgoing;
use crate::h1::framing::close_reason_of_request;
use crate::h1::framing::request_framing;
use crate::h1::head::Expect;
use crate::h1::head::RequestHead;
use crate::h1::head::parse_request_over;
use crate::h1::head::parse_whole_request;
use crate::http::close_reason::CloseReason;
use crate::http::date::DateCache;
use crate::http::head::HeadError;
use crate::http::head::HeadLimits;
use crate::http::head::Scan;
use crate::http::head::Scanner;
use crate::http::headers::Headers;
use crate::http::known::Known;
use crate::http::recycle::FreeList;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::token;
use crate::limits::DRAIN_BYTES_MAX;
use crate::limits::FREE_CHANNELS_MAX;

/// One HTTP/1 connection of a server.
#[derive(Debug)]
pub struct ServerMachine {
    receiving: Receiving,
    sending: Sending,
    /// Why the connection ends with the exchange that runs; `None` while it may go on.
    close: Option<CloseReason>,
    /// True when what is received came over a connection that is secured.
    is_secured: bool,
}

/// What [`ServerMachine::receive`] found.
#[derive(Debug)]
pub enum Event {
    /// All bytes are used, and more are needed.
    NeedMore,
    /// A head is complete. Its body, if [`ServerMachine::body_length`] tells of one, follows.
    Request(Request),
    /// A piece of the body: where it stands in the bytes that were passed.
    Data(Range<usize>),
    /// The body is complete, with its trailers.
    End(Option<Headers>),
    /// The peer broke a rule. Nothing more is read.
    Refused(Refusal),
}

/// The rule a peer broke, and the status that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to answer, if no response has begun.
    pub status: StatusCode,
    /// The rule, for people.
    pub rule: &'static str,
}

/// What a response depends on beside itself and its request.
#[derive(Debug)]
pub struct Circumstances<'a> {
    /// The `Date` of this core.
    pub date: &'a mut DateCache,
    /// The wall clock, seconds since 1970.
    pub wall_seconds: u64,
    /// True when nobody reads what is left of the request's body.
    pub body_is_abandoned: bool,
    /// True when the server wants the connection to end.
    pub is_shutting_down: bool,
}

/// What follows the head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// Nothing: the body, if there is one, is not for this request or status.
    Nothing,
    /// The whole body, from memory or a file; the response is through with it.
    Whole,
    /// Chunks, each framed by [`ServerMachine::begin_chunk`].
    Chunks,
}

#[derive(Debug)]
enum Receiving {
    /// Nothing of the next request arrived.
    Idle,
    /// A part of its head arrived.
    Head(Box<PartialHead>),
    /// Its body arrives.
    Body(Incoming),
    /// All of it arrived; its response is not through.
    Complete,
    /// Nothing more is read.
    Closed,
}

#[derive(Debug)]
struct PartialHead {
    scanner: Scanner,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Incoming {
    decoder: Decoder,
    /// True exactly when the client waits for `100 Continue`, which was not sent.
    awaits_continue: bool,
}

#[derive(Debug)]
enum Decoder {
    Length(u64),
    Chunked(Chunked),
}

/// A decoder in recycled memory: few connections are in a chunked body, and all would carry it.
#[derive(Debug)]
struct Chunked {
    /// `None` only while it is dropped.
    decoder: Option<Box<chunked::Decoder>>,
}

thread_local! {
    static FREE_DECODERS: FreeList<Box<chunked::Decoder>> =
        const { FreeList::new(FREE_CHANNELS_MAX) };
}

impl Chunked {
    fn new() -> Chunked {
        let recycled = FREE_DECODERS.try_with(FreeList::take).ok().flatten();
        Chunked {
            decoder: Some(recycled.unwrap_or_default()),
        }
    }

    fn push<'a>(&mut self, input: &'a [u8]) -> Result<Decoded<'a>, ChunkError> {
        let decoder = self.decoder.as_mut().expect("present until the drop");
        decoder.push(input)
    }
}

impl Drop for Chunked {
    fn drop(&mut self) {
        if let Some(mut decoder) = self.decoder.take() {
            *decoder = chunked::Decoder::new();
            // At the end of a thread the list may be gone already.
            let _ = FREE_DECODERS.try_with(|free| free.give(decoder));
        }
    }
}

#[derive(Debug)]
enum Sending {
    /// No request.
    Idle,
    /// A request that is not answered.
    Awaited(Asked),
    /// The head is written, the body is not.
    Body(Outgoing),
    /// The response is written; its request is not complete.
    Done,
}

/// What the response depends on, of its request.
#[derive(Clone, Copy, Debug)]
struct Asked {
    is_head: bool,
    is_connect: bool,
    is_http_10: bool,
    /// It may be answered 101: HTTP/1.1, `Connection: upgrade` and an `Upgrade` field.
    wants_upgrade: bool,
}

impl Asked {
    /// Of a request that was refused: no more of it may be known than how it starts.
    fn by_start(head: &[u8]) -> Asked {
        let line = head.strip_prefix(b"\r\n").unwrap_or(head);
        Asked {
            is_head: line.starts_with(b"HEAD "),
            is_connect: line.starts_with(b"CONNECT "),
            is_http_10: false,
            wants_upgrade: false,
        }
    }

    /// For framing, all methods but HEAD are the same: a 2xx to CONNECT is not sent.
    fn method(self) -> Method {
        if self.is_head {
            Method::HEAD
        } else {
            Method::GET
        }
    }

    fn version(self) -> Version {
        if self.is_http_10 {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        }
    }
}

impl Default for ServerMachine {
    fn default() -> ServerMachine {
        ServerMachine::new()
    }
}

impl ServerMachine {
    /// A new connection.
    pub const fn new() -> ServerMachine {
        ServerMachine {
            receiving: Receiving::Idle,
            sending: Sending::Idle,
            close: None,
            is_secured: false,
        }
    }

    /// Says that the connection is secured: `https` targets are its own from here on.
    pub fn secure(&mut self) {
        self.is_secured = true;
    }

    // ---- receiving -------------------------------------------------------------------------

    /// Takes bytes until something happens: how many it took, and what happened. To be called
    /// while [`ServerMachine::takes_bytes`], until it says [`Event::NeedMore`].
    pub fn receive(&mut self, input: &[u8], limits: &HeadLimits) -> (usize, Event) {
        match &mut self.receiving {
            Receiving::Idle => {
                if input.is_empty() {
                    return (0, Event::NeedMore);
                }
                // The common case: all of the head in one piece, parsed where it lies.
                match parse_whole_request(input, limits) {
                    Some((used, head)) => (used, self.enter(&input[..used], head)),
                    None => self.receive_first_piece(input, limits),
                }
            }
            Receiving::Head(_) => self.receive_partial_head(input, limits),
            Receiving::Body(_) => self.receive_body(input),
            Receiving::Complete | Receiving::Closed => {
                panic!("bytes are held back until the exchange takes them")
            }
        }
    }

    /// True while bytes belong to the request that arrives, or to the next one.
    pub fn takes_bytes(&self) -> bool {
        !matches!(self.receiving, Receiving::Complete | Receiving::Closed)
    }

    /// True between two requests, when nothing of the next one arrived.
    pub fn is_idle(&self) -> bool {
        matches!(self.receiving, Receiving::Idle)
    }

    /// True when a part of a head arrived.
    pub fn is_in_head(&self) -> bool {
        matches!(self.receiving, Receiving::Head(_))
    }

    /// Bytes of the part of a head that are kept until the rest of it arrives.
    pub fn held_bytes(&self) -> usize {
        match &self.receiving {
            Receiving::Head(partial) => partial.bytes.len(),
            _ => 0,
        }
    }

    /// True while a body arrives.
    pub fn is_in_body(&self) -> bool {
        matches!(self.receiving, Receiving::Body(_))
    }

    /// True when nothing more is read.
    pub fn is_closed(&self) -> bool {
        matches!(self.receiving, Receiving::Closed)
    }

    /// Bytes of the body that are still to arrive: none, a number, or (`None`) unknown.
    pub fn body_length(&self) -> Option<u64> {
        match &self.receiving {
            Receiving::Body(Incoming { decoder, .. }) => match decoder {
                Decoder::Length(length) => Some(*length),
                Decoder::Chunked(_) => None,
            },
            _ => Some(0),
        }
    }

    /// True when the client waits for `100 Continue` before it sends the body.
    pub fn awaits_continue(&self) -> bool {
        matches!(&self.receiving, Receiving::Body(incoming) if incoming.awaits_continue)
    }

    /// Tells the client to send the body, if it waits for that (RFC 9110 §10.1.1).
    pub fn write_continue(&mut self, out: &mut Vec<u8>) {
        if let Receiving::Body(incoming) = &mut self.receiving
            && std::mem::take(&mut incoming.awaits_continue)
        {
            assert!(
                matches!(self.sending, Sending::Awaited(_)),
                "100 comes before the response"
            );
            out.extend_from_slice(encode::CONTINUE);
        }
    }

    /// The first piece of a head that goes on, or is none.
    #[inline(never)]
    fn receive_first_piece(&mut self, input: &[u8], limits: &HeadLimits) -> (usize, Event) {
        let mut scanner = Scanner::request(*limits);
        match scanner.push(input) {
            Ok(Scan::Complete { used }) => (used, self.begin(&input[..used], limits)),
            Ok(Scan::Partial) => {
                let bytes = input.to_vec();
                self.receiving = Receiving::Head(Box::new(PartialHead { scanner, bytes }));
                (input.len(), Event::NeedMore)
            }
            Err(error) => (input.len(), self.refuse_head(input, error)),
        }
    }

    fn receive_partial_head(&mut self, input: &[u8], limits: &HeadLimits) -> (usize, Event) {
        let Receiving::Head(partial) = &mut self.receiving else {
            panic!("called with a part of a head");
        };
        match partial.scanner.push(input) {
            Ok(Scan::Complete { used }) => {
                let mut head = std::mem::take(&mut partial.bytes);
                head.extend_from_slice(&input[..used]);
                (used, self.begin(&head, limits))
            }
            Ok(Scan::Partial) => {
                partial.bytes.extend_from_slice(input);
                (input.len(), Event::NeedMore)
            }
            Err(error) => {
                let mut head = std::mem::take(&mut partial.bytes);
                head.extend_from_slice(input);
                (input.len(), self.refuse_head(&head, error))
            }
        }
    }

    fn begin(&mut self, head: &[u8], limits: &HeadLimits) -> Event {
        match parse_request_over(self.is_secured, head, limits) {
            Ok(parsed) => self.enter(head, parsed),
            Err(error) => self.refuse_head(head, error),
        }
    }

    #[inline]
    fn enter(&mut self, head: &[u8], parsed: RequestHead) -> Event {
        match self.accept(parsed) {
            Ok(request) => Event::Request(request),
            Err(error) => self.refuse_head(head, error),
        }
    }

    /// Enters the states that a request asks for.
    fn accept(&mut self, head: RequestHead) -> Result<Request, HeadError> {
        let framing = request_framing(&head)?;
        if head.expect() == Expect::Unknown {
            return Err(HeadError {
                status: StatusCode::EXPECTATION_FAILED,
                rule: "the only expectation is 100-continue (RFC 9110 §10.1.1)",
            });
        }
        self.close = close_reason_of_request(&head);
        self.sending = Sending::Awaited(Asked {
            is_head: *head.method() == Method::HEAD,
            is_connect: *head.method() == Method::CONNECT,
            is_http_10: head.version() == Version::HTTP_10,
            wants_upgrade: head.wants_upgrade(),
        });
        let decoder = match framing {
            Framing::Empty => None,
            Framing::Length(length) => Some(Decoder::Length(length)),
            Framing::Chunked => Some(Decoder::Chunked(Chunked::new())),
            Framing::UntilClose => panic!("a request does not end with its connection"),
        };
        self.receiving = match decoder {
            None => Receiving::Complete,
            Some(decoder) => Receiving::Body(Incoming {
                decoder,
                awaits_continue: head.expect() == Expect::Continue,
            }),
        };
        let mut request = head.into_request();
        if self.is_secured {
            request.set_secured();
        }
        Ok(request)
    }

    fn receive_body(&mut self, input: &[u8]) -> (usize, Event) {
        let Receiving::Body(incoming) = &mut self.receiving else {
            panic!("called with a body");
        };
        if !input.is_empty() {
            // Who sends the body without waiting needs no sign (RFC 9110 §10.1.1).
            incoming.awaits_continue = false;
        }
        match &mut incoming.decoder {
            Decoder::Length(0) => {
                self.end_body();
                (0, Event::End(None))
            }
            Decoder::Length(_) if input.is_empty() => (0, Event::NeedMore),
            Decoder::Length(left) => {
                let taken =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= taken as u64;
                (taken, Event::Data(0..taken))
            }
            Decoder::Chunked(decoder) => match decoder.push(input) {
                Ok(Decoded::More) => (input.len(), Event::NeedMore),
                Ok(Decoded::Data { used, data }) => (used, Event::Data(used - data.len()..used)),
                Ok(Decoded::End { used, trailers }) => {
                    self.end_body();
                    (used, Event::End(trailers))
                }
                Err(error) => {
                    let status = StatusCode::BAD_REQUEST;
                    (input.len(), self.refuse(status, error.rule))
                }
            },
        }
    }

    fn end_body(&mut self) {
        self.receiving = Receiving::Complete;
        self.turn_over();
    }

    fn refuse(&mut self, status: StatusCode, rule: &'static str) -> Event {
        self.stop_receiving(CloseReason::BadMessage);
        Event::Refused(Refusal { status, rule })
    }

    fn refuse_head(&mut self, head: &[u8], error: HeadError) -> Event {
        self.sending = Sending::Awaited(Asked::by_start(head));
        self.refuse(error.status, error.rule)
    }

    /// Gives up a head that [arrives too slowly](ServerMachine::is_in_head): what to answer.
    pub fn time_out_head(&mut self) -> Refusal {
        let Receiving::Head(partial) = &self.receiving else {
            panic!("a part of a head arrived");
        };
        self.sending = Sending::Awaited(Asked::by_start(&partial.bytes));
        self.stop_receiving(CloseReason::Timeout);
        Refusal {
            status: StatusCode::REQUEST_TIMEOUT,
            rule: "the head did not arrive in time",
        }
    }

    /// Nothing more is read: the connection ends with the response that runs, or that tells why.
    pub fn stop_receiving(&mut self, reason: CloseReason) {
        self.receiving = Receiving::Closed;
        self.close.get_or_insert(reason);
    }

    /// The connection ends with the response that comes next, which says so. False when it ends
    /// with it anyway.
    pub fn close_after_response(&mut self, reason: CloseReason) -> bool {
        let is_new = self.close.is_none();
        self.close.get_or_insert(reason);
        is_new
    }

    // ---- sending ---------------------------------------------------------------------------

    /// True while a request waits for its response to begin.
    pub fn awaits_response(&self) -> bool {
        matches!(self.sending, Sending::Awaited(_))
    }

    /// True while a response has begun and is not through.
    pub fn is_sending_body(&self) -> bool {
        matches!(self.sending, Sending::Body(_))
    }

    /// True while a response is sent whose body ends with the connection.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.sending, Sending::Body(Outgoing::UntilClose))
    }

    /// True when nothing is to be sent, now or later.
    pub fn has_sent_all(&self) -> bool {
        matches!(self.sending, Sending::Idle | Sending::Done)
    }

    /// Why the connection ends with this exchange.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.close
    }

    /// True when the request that runs may be answered by another protocol (RFC 9110 §7.8).
    pub fn wants_upgrade(&self) -> bool {
        matches!(&self.sending, Sending::Awaited(asked) if asked.wants_upgrade)
    }

    /// True when the client knows informational responses (RFC 9110 §15.2).
    pub fn may_inform(&self) -> bool {
        matches!(&self.sending, Sending::Awaited(asked) if !asked.is_http_10)
    }

    /// Why the connection cannot be handed over in answer to the request that runs, which offers
    /// protocols in its `Upgrade` fields: the status that says so, and the rule.
    pub fn refuses_takeover(
        &self,
        protocol: Option<&str>,
        offered: &[u8],
    ) -> Option<(StatusCode, &'static str)> {
        let Sending::Awaited(asked) = self.sending else {
            panic!("a response answers a request");
        };
        let is_offered = |protocol: &str| {
            let mut offers = offered.split(|&byte| byte == b',').map(token::trim);
            asked.wants_upgrade
                && offers.any(|offer| offer.eq_ignore_ascii_case(protocol.as_bytes()))
        };
        match protocol {
            Some(protocol) if !is_offered(protocol) => Some((
                StatusCode::UPGRADE_REQUIRED,
                "ask for this with Connection: upgrade and the Upgrade field of this response, \
                 in HTTP/1.1",
            )),
            None if !asked.is_connect => Some((
                StatusCode::INTERNAL_SERVER_ERROR,
                "a tunnel answers CONNECT alone",
            )),
            _ if !matches!(self.receiving, Receiving::Complete) => Some((
                StatusCode::BAD_REQUEST,
                "the request has a body, which nobody reads, before its protocol changes",
            )),
            _ => None,
        }
    }

    /// Writes the head with which the connection is handed over: 101, or a 2xx to CONNECT. Nothing
    /// of HTTP follows, in either direction.
    #[cold]
    pub fn hand_over(
        &mut self,
        response: &mut Response,
        date: (&mut DateCache, u64),
        out: &mut Vec<u8>,
    ) {
        assert!(
            self.awaits_response(),
            "a connection is handed over in answer"
        );
        // RFC 9110 §9.3.6: a tunnel has no length.
        response.headers_mut().remove("content-length");
        let persistence = if response.status_code() == StatusCode::SWITCHING_PROTOCOLS {
            Persistence::Upgrade
        } else {
            Persistence::Default
        };
        encode::response_head(out, response, Outgoing::Nothing, persistence, date);
        self.give_up(CloseReason::Upgraded);
    }

    /// Nothing more is read or sent as HTTP.
    pub fn give_up(&mut self, reason: CloseReason) {
        self.sending = Sending::Done;
        self.stop_receiving(reason);
    }

    /// Writes an informational response, before the response to the request that runs.
    pub fn write_informational(&self, status: StatusCode, headers: &Headers, out: &mut Vec<u8>) {
        assert!(self.may_inform(), "1xx come before the response");
        encode::informational_head(out, status, headers);
    }

    /// The status to answer instead, when a response cannot answer the request that runs. 500 for
    /// 1xx, which are no answers, and when one of its fields was refused. 501 for a 2xx to CONNECT:
    /// it would promise a tunnel, and have neither length nor body (RFC 9110 §9.3.6), which
    /// `Response::tunnel` gives it.
    pub fn replacement_for(&self, response: &Response) -> Option<StatusCode> {
        let status = response.status_code();
        if status.is_informational() || response.invalid_header().is_some() {
            return Some(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let is_connect = matches!(&self.sending, Sending::Awaited(asked) if asked.is_connect);
        (is_connect && status.is_success()).then_some(StatusCode::NOT_IMPLEMENTED)
    }

    /// Writes the head of a response that needs no [replacement](ServerMachine::replacement_for), and
    /// says what follows it. All framing follows from the body alone.
    pub fn respond(
        &mut self,
        response: &mut Response,
        circumstances: Circumstances<'_>,
        out: &mut Vec<u8>,
    ) -> Sends {
        let Sending::Awaited(asked) = self.sending else {
            panic!("a response answers a request");
        };
        assert!(
            self.replacement_for(response).is_none(),
            "the caller has looked"
        );
        let (method, version) = (asked.method(), asked.version());
        let (status, body) = (response.status_code(), response.body_ref());
        let mut outgoing = Outgoing::of_response(&method, version, status, body.length());
        if response.trailers().is_some() {
            outgoing = outgoing.with_trailers(version, body);
        }
        let sends = if !outgoing.has_body(&method) {
            Sends::Nothing
        } else if body.is_replayable() && outgoing != Outgoing::Chunked {
            Sends::Whole
        } else {
            Sends::Chunks
        };
        self.note_close_reasons(response, outgoing, &circumstances);
        let mut persistence = Persistence::of_response(version, self.close.is_none());
        if status == StatusCode::UPGRADE_REQUIRED {
            persistence = persistence.with_upgrade();
        }
        let date = (circumstances.date, circumstances.wall_seconds);
        encode::response_head(out, response, outgoing, persistence, date);
        if sends == Sends::Chunks {
            self.sending = Sending::Body(outgoing);
        } else {
            self.sending = Sending::Done;
            self.turn_over();
        }
        sends
    }

    /// Writes a response to a peer that broke a rule, without a body for HEAD: how many bytes of body
    /// there are. `None`, and nothing, when another response has begun.
    pub fn respond_to_refusal(
        &mut self,
        refusal: Refusal,
        date: (&mut DateCache, u64),
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        assert!(self.close.is_some(), "a refusal ends the connection");
        let Sending::Awaited(asked) = self.sending else {
            return None;
        };
        self.sending = Sending::Done;
        let (status, rule) = (refusal.status, refusal.rule);
        Some(encode::error_response(
            out,
            status,
            rule,
            !asked.is_head,
            date,
        ))
    }

    /// Frames a chunk of `len` bytes, which is to be sent right behind what this writes, and
    /// [`ServerMachine::end_chunk`] behind that. False when the body is longer than it said: then
    /// nothing is to be sent but the end of the connection.
    pub fn begin_chunk(&mut self, len: usize, out: &mut Vec<u8>) -> bool {
        match &mut self.sending {
            Sending::Body(Outgoing::Length(left)) => match left.checked_sub(len as u64) {
                Some(rest) => {
                    *left = rest;
                    true
                }
                None => self.fail_body(),
            },
            Sending::Body(Outgoing::Chunked) => {
                chunked::encode_chunk_head(out, len);
                true
            }
            Sending::Body(Outgoing::UntilClose) => true,
            _ => panic!("chunks belong to a response that has begun"),
        }
    }

    /// Writes what follows a chunk.
    pub fn end_chunk(&mut self, out: &mut Vec<u8>) {
        if let Sending::Body(Outgoing::Chunked) = self.sending {
            out.extend_from_slice(chunked::CHUNK_END);
        }
    }

    /// True when a body that runs has sent all that it announced: the peer has the whole response,
    /// whatever the stream still does.
    pub fn has_sent_length(&self) -> bool {
        matches!(self.sending, Sending::Body(Outgoing::Length(0)))
    }

    /// Ends the body of the response, with trailers where it is chunked. False when it is shorter
    /// than it said.
    pub fn finish_body(&mut self, trailers: Option<&Headers>, out: &mut Vec<u8>) -> bool {
        match self.sending {
            Sending::Body(Outgoing::Length(0) | Outgoing::UntilClose) => {}
            Sending::Body(Outgoing::Length(_)) => return self.fail_body(),
            Sending::Body(Outgoing::Chunked) => chunked::encode_last_chunk(out, trailers),
            _ => panic!("only a body that has begun can end"),
        }
        self.sending = Sending::Done;
        self.turn_over();
        true
    }

    /// Gives up a body that has begun: the peer can only learn it from the end of the connection.
    /// Always false, for the callers that report it.
    pub fn fail_body(&mut self) -> bool {
        self.give_up(CloseReason::HandlerFailed);
        false
    }

    fn note_close_reasons(
        &mut self,
        response: &Response,
        outgoing: Outgoing,
        circumstances: &Circumstances<'_>,
    ) {
        if self.close.is_some() {
            return;
        }
        let headers = response.headers();
        if headers.get_known(Known::Connection).is_some()
            && headers.contains_token("connection", "close")
        {
            self.close = Some(CloseReason::WeAsked);
        } else if outgoing == Outgoing::UntilClose {
            self.close = Some(CloseReason::UntilClose);
        } else if circumstances.is_shutting_down {
            self.close = Some(CloseReason::Shutdown);
        } else if circumstances.body_is_abandoned
            && let Receiving::Body(incoming) = &self.receiving
        {
            if incoming.awaits_continue {
                self.close = Some(CloseReason::ContinueUnsent);
            } else if incoming.decoder.is_beyond(DRAIN_BYTES_MAX as u64) {
                self.close = Some(CloseReason::BodyUnread);
            }
        }
    }

    /// Both halves are through: on to the next request, or the end.
    fn turn_over(&mut self) {
        if let (Receiving::Complete, Sending::Done) = (&self.receiving, &self.sending) {
            self.sending = Sending::Idle;
            self.receiving = match self.close {
                None => Receiving::Idle,
                Some(_) => Receiving::Closed,
            };
        }
    }
}

impl Decoder {
    /// True when it is known that more than `bytes` are still to come.
    fn is_beyond(&self, bytes: u64) -> bool {
        matches!(self, Decoder::Length(left) if *left > bytes)
    }
}

#[cfg(test)]
mod tests;
