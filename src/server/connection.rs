//! A connection of the server: joins the HTTP exchange to the router and to its connection.
//!
//! ```text
//!   on_recv ─► Exchange ─► Request ─► Router ─┬─ inline handler ──────────────► Response
//!                 │                           └─ Work::Handler (polled) ──────► Response
//!                 └─ body bytes ─► Sender ─► handler                               │
//!                                                                                  ▼
//!   output ◄── Exchange ◄── head, chunks ◄────────────── Work::Body (polled) ◄── Content
//! ```
//!
//! It has no states of its own beside what runs (`Work`); what a request and its response have
//! come to is the exchange's. Idle, it owns no buffer. Handlers, bodies and their drops are user
//! code: a panic there costs this connection only.

mod guard;
mod input;
#[cfg(test)]
mod tests;
mod timing;

use std::io;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

use ::http::Method;
use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase as ErrorPhase;
use crate::http::body::Body;
use crate::http::body::Content;
use crate::http::disconnect::Disconnect;
use crate::http::framing::CloseReason;
use crate::http::headers::Headers;
use crate::http::incoming::Sender;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::serve::Circumstances;
use crate::http::serve::Event;
use crate::http::serve::Exchange;
use crate::http::serve::Refusal;
use crate::http::serve::Sends;
use crate::limits::BODY_RECV_BYTES;
use crate::limits::DRAIN_BYTES_MAX;
use crate::limits::OWN_BUFFER_BODY_BYTES;
use crate::limits::REQUESTS_PER_TURN;
use crate::net::Io;
use crate::net::Protocol;
use crate::net::Receive;
use crate::net::Received;
use crate::net::Step;
use crate::net::output::give_buffer;
use crate::net::output::take_buffer;
use crate::server::access_log::Line;
use crate::server::connection::guard::guarded;
use crate::server::connection::guard::guarded_drop;
use crate::server::connection::input::Input;
use crate::server::connection::timing::Expired;
use crate::server::connection::timing::Timing;
use crate::server::handler::Endpoint;
use crate::server::handler::ResponseFuture;
use crate::server::router::Routed;
use crate::server::worker::Worker;

/// One connection.
pub struct Connection {
    worker: Rc<Worker>,
    exchange: Exchange,
    work: Work,
    /// Where the request's body goes; `None` when there is none, or nobody reads it.
    sender: Option<Sender>,
    /// Bytes of further requests, behind the one that runs.
    behind: Vec<u8>,
    /// Tells asynchronous handlers that the client is gone; made for the first of them.
    disconnect: Option<Disconnect>,
    log: Option<Box<Entry>>,
    timing: Timing,
    /// Bytes of the request's body so far.
    body_bytes: u64,
    /// Bytes of a body that nobody reads.
    drained_bytes: usize,
    /// True exactly when a head said that the connection is kept.
    is_standing: bool,
    /// True exactly when the last request had a body that is received in large pieces.
    has_large_bodies: bool,
    /// True exactly when the peer will send nothing more.
    is_half_closed: bool,
    /// True exactly when the peer may have sent what was not read: closing at once could then reset
    /// the connection before the peer has read the response.
    has_unread: bool,
    /// True exactly when the response was cut so that only a reset can tell the peer.
    is_cut: bool,
}

/// What runs.
enum Work {
    Nothing,
    /// An asynchronous handler that has not answered.
    Handler(ResponseFuture),
    /// The body of a response.
    Body(Box<Streamed>),
}

/// A body that is sent as it comes.
struct Streamed {
    body: Body,
    trailers: Option<Headers>,
}

/// The line of the access log for the request that runs.
struct Entry {
    line: Line,
    status: StatusCode,
    bytes: u64,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn accept(worker: Rc<Worker>, io: &mut Io) -> Connection {
        let timing = Timing::accepted(&worker.options, io);
        Connection {
            worker,
            exchange: Exchange::new(),
            work: Work::Nothing,
            sender: None,
            behind: Vec::new(),
            disconnect: None,
            log: None,
            timing,
            body_bytes: 0,
            drained_bytes: 0,
            is_standing: false,
            has_large_bodies: false,
            is_half_closed: false,
            has_unread: false,
            is_cut: false,
        }
    }

    /// Received bytes that are kept: a part of a head, and what waits behind a request that runs.
    pub fn held_bytes(&self) -> usize {
        self.exchange.held_bytes() + self.behind.len()
    }

    // ---- receiving -------------------------------------------------------------------------

    /// Takes bytes as far as the exchange does, and keeps the rest.
    fn consume(&mut self, io: &mut Io, mut input: Input<'_>) {
        let mut requests = 0;
        loop {
            if !self.exchange.takes_bytes() {
                // The next request waits for the one that runs, which may be through at once.
                self.advance(io);
                if !self.exchange.takes_bytes() {
                    break;
                }
            }
            if !self.exchange.is_in_body() && !input.is_empty() {
                if requests == REQUESTS_PER_TURN {
                    io.waker().wake_by_ref();
                    break;
                }
                if io.is_full() {
                    break;
                }
            }
            let limits = &self.worker.options.head_limits;
            let (used, event) = self.exchange.receive(input.rest(), limits);
            match event {
                Event::NeedMore => {
                    input.skip(used);
                    break;
                }
                Event::Request(request) => {
                    input.skip(used);
                    requests += 1;
                    self.begin(io, request);
                }
                Event::Data(range) => self.take_body(input.take(used, range)),
                Event::End(trailers) => {
                    input.skip(used);
                    self.end_body(trailers);
                }
                Event::Refused(refusal) => self.refuse(io, refusal),
            }
        }
        if self.exchange.is_closed() {
            self.has_unread |= !input.is_empty();
        } else {
            self.hold(input.rest());
        }
        self.advance(io);
    }

    /// Keeps bytes until the exchange takes them.
    fn hold(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.behind.capacity() == 0 {
            self.behind = take_buffer();
        }
        self.behind.extend_from_slice(bytes);
    }

    /// Goes on: what runs first, then the bytes that waited behind it.
    fn proceed(&mut self, io: &mut Io) {
        self.advance(io);
        if self.exchange.takes_bytes() && !self.behind.is_empty() {
            let held = std::mem::take(&mut self.behind);
            self.consume(io, Input::Borrowed(&held));
            give_buffer(held);
        }
    }

    fn take_body(&mut self, chunk: input::Chunk<'_>) {
        let len = chunk.len();
        self.timing.note_progress();
        self.body_bytes += len as u64;
        if let Some(max) = self.worker.options.body_bytes_max
            && self.body_bytes > max
        {
            let error = Error::new(
                ErrorKind::Limit,
                format!("the request's body is longer than {max} bytes; Server::body_bytes_max"),
            );
            self.fail_body(error, CloseReason::BadMessage);
            return;
        }
        match &mut self.sender {
            Some(sender) if !sender.is_dropped() => sender.push(chunk.into_bytes()),
            _ => self.drained_bytes += len,
        }
    }

    fn end_body(&mut self, trailers: Option<Headers>) {
        self.timing.note_progress();
        if let Some(sender) = self.sender.take() {
            sender.finish(trailers);
        }
    }

    /// The body will not arrive: its reader gets the error, and nothing more is read.
    fn fail_body(&mut self, error: Error, reason: CloseReason) {
        self.has_unread = true;
        self.exchange.stop_receiving(reason);
        if let Some(sender) = self.sender.take() {
            sender.fail(error.in_phase(ErrorPhase::RequestBody));
        }
    }

    fn refuse(&mut self, io: &mut Io, refusal: Refusal) {
        self.worker.counters.count_refused();
        let error = Error::new(ErrorKind::Protocol, refusal.rule);
        self.fail_body(error, CloseReason::BadMessage);
        if !matches!(self.work, Work::Nothing) {
            // The handler answers for the body that it reads.
            return;
        }
        let worker = Rc::clone(&self.worker);
        let date = (&mut *worker.date(), io.wall_seconds());
        let written = self
            .exchange
            .respond_to_refusal(refusal, date, io.output.tail());
        if written && self.worker.access_log.is_some() {
            if self.log.is_none() {
                self.begin_log(io, None);
            }
            self.end_log(io, Some(refusal.status));
        }
    }

    // ---- answering -------------------------------------------------------------------------

    /// Routes a request. An inline handler has answered when this returns.
    fn begin(&mut self, io: &mut Io, mut request: Request) {
        let worker = Rc::clone(&self.worker);
        worker.counters.count_request();
        self.timing.note_progress();
        self.body_bytes = 0;
        self.drained_bytes = 0;
        self.is_standing |= self.exchange.close_reason().is_none();
        let length = self.exchange.body_length();
        self.has_large_bodies = length.is_none_or(|length| length > OWN_BUFFER_BODY_BYTES);
        if worker.access_log.is_some() {
            self.begin_log(io, Some(&request));
        }
        if let (Some(max), Some(length)) =
            (worker.options.body_bytes_max, self.exchange.body_length())
            && length > max
        {
            return self.refuse(
                io,
                Refusal {
                    status: StatusCode::PAYLOAD_TOO_LARGE,
                    rule: "the request's body is longer than the server takes",
                },
            );
        }
        if request.method() == Method::OPTIONS && request.path() == "*" {
            // RFC 9110 §9.3.7: the server as a whole is asked, not a route.
            return self.respond(io, Response::new());
        }
        match worker.router.find(&mut request) {
            Routed::Refused(response) => self.respond(io, response),
            Routed::Endpoint(Endpoint::Inline(function)) => {
                match io.peer_lookup() {
                    Some((lookup, descriptor)) => request.set_peer_lookup(lookup, descriptor),
                    None => request.set_peer_addr(io.peer_addr()),
                }
                match guarded(|| function(&request)) {
                    Some(response) => self.respond(io, response),
                    None => self.panicked(io),
                }
            }
            Routed::Endpoint(Endpoint::Deferred(handler)) => {
                request.set_peer_addr(io.peer_addr());
                if self.exchange.is_in_body() {
                    let (sender, body) = Body::incoming(self.exchange.body_length());
                    request.set_body(body);
                    self.sender = Some(sender);
                }
                let disconnect = self.disconnect.get_or_insert_with(Disconnect::new);
                request.set_disconnect(disconnect.clone());
                let handler = std::sync::Arc::clone(handler);
                match guarded(|| handler.start(request)) {
                    Some(future) => self.work = Work::Handler(future),
                    None => self.panicked(io),
                }
            }
        }
    }

    /// Polls what runs, as far as it gets.
    fn advance(&mut self, io: &mut Io) {
        loop {
            match std::mem::replace(&mut self.work, Work::Nothing) {
                Work::Nothing => return,
                Work::Handler(mut future) => {
                    let waker = io.waker().clone();
                    let mut cx = Context::from_waker(&waker);
                    match guarded(|| future.as_mut().poll(&mut cx)) {
                        Some(Poll::Pending) => {
                            self.work = Work::Handler(future);
                            return;
                        }
                        Some(Poll::Ready(response)) => {
                            guarded_drop(future);
                            self.respond(io, response);
                        }
                        None => {
                            guarded_drop(future);
                            self.panicked(io);
                        }
                    }
                }
                Work::Body(streamed) => {
                    if self.pump(io, streamed) {
                        return;
                    }
                }
            }
        }
    }

    /// Writes a response, or begins to.
    fn respond(&mut self, io: &mut Io, mut response: Response) {
        let is_dropped = self.sender.as_ref().is_none_or(Sender::is_dropped);
        if is_dropped {
            self.sender = None;
        } else if self.exchange.awaits_continue() {
            // The response is made of the body: it must be asked for now, since a 100 cannot
            // follow the head.
            self.exchange.write_continue(io.output.tail());
        }
        if let Some(status) = self.exchange.replacement_for(&response) {
            self.worker.counters.count_invalid_response();
            guarded_drop(response);
            response = Response::new().status(status);
        }
        if let Some(entry) = &mut self.log {
            entry.status = response.status_code();
        }
        let worker = Rc::clone(&self.worker);
        let circumstances = Circumstances {
            date: &mut worker.date(),
            wall_seconds: io.wall_seconds(),
            body_is_abandoned: is_dropped,
            is_shutting_down: worker.is_shutting_down(),
        };
        let sends = self
            .exchange
            .respond(&mut response, circumstances, io.output.tail());
        let trailers = response.take_trailers();
        let body = response.into_body();
        match sends {
            Sends::Nothing => guarded_drop(body),
            Sends::Whole => self.send_whole(io, body),
            Sends::Chunks => {
                io.set_resets(self.exchange.ends_with_connection());
                self.work = Work::Body(Box::new(Streamed { body, trailers }));
                return;
            }
        }
        self.end_log(io, None);
    }

    fn send_whole(&mut self, io: &mut Io, body: Body) {
        match body.into_content() {
            Content::Empty => {}
            Content::Bytes(bytes) => {
                self.count_bytes(bytes.len() as u64);
                io.append_bytes(bytes);
            }
            Content::File { file, range } => {
                self.count_bytes(range.end - range.start);
                io.append_file(file, range);
            }
            Content::Chunks(_) => panic!("chunks are sent one by one"),
        }
    }

    /// Sends chunks while there is room and they come; true when the body goes on later.
    fn pump(&mut self, io: &mut Io, mut streamed: Box<Streamed>) -> bool {
        let waker = io.waker().clone();
        let mut cx = Context::from_waker(&waker);
        while !io.is_full() {
            match guarded(|| streamed.body.poll_chunk(&mut cx)) {
                Some(Poll::Pending) => {
                    self.work = Work::Body(streamed);
                    return true;
                }
                Some(Poll::Ready(Some(Ok(chunk)))) => {
                    if !self.exchange.begin_chunk(chunk.len(), io.output.tail()) {
                        return self.cut(io, streamed);
                    }
                    self.count_bytes(chunk.len() as u64);
                    io.append_bytes(chunk);
                    self.exchange.end_chunk(io.output.tail());
                }
                Some(Poll::Ready(None)) => {
                    let own = streamed.trailers.take();
                    let trailers = own.or_else(|| streamed.body.take_trailers());
                    if !self
                        .exchange
                        .finish_body(trailers.as_ref(), io.output.tail())
                    {
                        return self.cut(io, streamed);
                    }
                    guarded_drop(streamed);
                    self.end_log(io, None);
                    return false;
                }
                Some(Poll::Ready(Some(Err(_)))) => return self.cut(io, streamed),
                None => {
                    self.worker.counters.count_panic();
                    return self.cut(io, streamed);
                }
            }
        }
        self.work = Work::Body(streamed);
        true
    }

    /// The body of the response failed after its head was written.
    fn cut(&mut self, io: &mut Io, streamed: Box<Streamed>) -> bool {
        // Where the end of the connection is the end of the body, an orderly one would lie.
        self.is_cut |= self.exchange.ends_with_connection();
        self.exchange.fail_body();
        guarded_drop(streamed);
        self.end_log(io, None);
        false
    }

    fn panicked(&mut self, io: &mut Io) {
        self.worker.counters.count_panic();
        self.has_unread |= self.exchange.is_in_body();
        self.exchange.stop_receiving(CloseReason::HandlerFailed);
        self.sender = None;
        self.respond(
            io,
            Response::new().status(StatusCode::INTERNAL_SERVER_ERROR),
        );
    }

    // ---- settling --------------------------------------------------------------------------

    /// After each event: what the connection does next, how it receives, and until when.
    fn settle(&mut self, io: &mut Io) -> Step {
        if self.behind.is_empty() && self.behind.capacity() > 0 {
            give_buffer(std::mem::take(&mut self.behind));
        }
        if self.is_cut {
            return Step::Abort;
        }
        if self.is_through() {
            io.set_linger(self.has_unread);
            return Step::CloseAfterFlush;
        }
        if let Some(sender) = &mut self.sender
            && sender.is_wanted()
            && self.exchange.awaits_response()
        {
            self.exchange.write_continue(io.output.tail());
        }
        let receive = self.receive_mode(io);
        io.set_receive(receive);
        self.timing.settle(
            &self.worker.options,
            io,
            &self.exchange,
            self.waits_for_body(),
        );
        Step::Continue
    }

    /// True when nothing will happen on this connection any more.
    fn is_through(&mut self) -> bool {
        if !self.exchange.has_sent_all() || !matches!(self.work, Work::Nothing) {
            return false;
        }
        if self.exchange.is_closed() {
            return true;
        }
        if self.exchange.is_in_body() {
            // The response is through, and its request is not.
            let ends =
                self.exchange.close_reason().is_some() || self.drained_bytes > DRAIN_BYTES_MAX;
            self.has_unread |= ends;
            return ends;
        }
        let has_more = !self.behind.is_empty();
        if has_more {
            return false;
        }
        // A request of a connection that is new may be on its way still.
        let is_new = self.timing.is_new() && !self.worker.closes_new();
        let shuts_down = self.worker.is_shutting_down() && self.exchange.is_idle() && !is_new;
        self.is_half_closed || shuts_down
    }

    /// True when the next sign of progress is a piece of the request's body from the peer.
    fn waits_for_body(&self) -> bool {
        let is_read = |sender: &Sender| !sender.is_dropped() && !sender.is_wanted();
        self.exchange.is_in_body() && !self.sender.as_ref().is_some_and(is_read)
    }

    fn receive_mode(&mut self, io: &mut Io) -> Receive {
        // A standing receive would cut a large body into small pieces, each of them copied.
        let usual = if self.is_standing && !self.has_large_bodies {
            Receive::Standing
        } else {
            Receive::Once
        };
        let held_max = self.worker.options.pipelined_bytes_max;
        if !self.exchange.is_in_body() {
            let is_held = self.behind.len() >= held_max;
            return if is_held { Receive::Paused } else { usual };
        }
        let left = self.exchange.body_length();
        let Some(sender) = &mut self.sender else {
            return usual;
        };
        if sender.is_dropped() {
            return usual;
        }
        let queued = sender.queued_bytes() as u64;
        let is_large = left.is_none_or(|left| left > OWN_BUFFER_BODY_BYTES);
        let fits = left.is_some_and(|left| left + queued <= held_max as u64);
        if fits && !(is_large && sender.is_wanted()) {
            return usual;
        }
        if sender.is_wanted() {
            let wanted = left.map_or(BODY_RECV_BYTES, |left| {
                usize::try_from(left).map_or(BODY_RECV_BYTES, |left| left.min(BODY_RECV_BYTES))
            });
            return Receive::Body(wanted);
        }
        // Whoever holds the body may read it outside of our polls.
        sender.set_notify(io.waker().clone());
        Receive::Paused
    }

    // ---- access log ------------------------------------------------------------------------

    fn begin_log(&mut self, io: &mut Io, request: Option<&Request>) {
        let parts = request.map(|r| (r.method(), r.target(), r.version()));
        let line = Line::begin(io.peer_addr(), parts, io.now(), io.wall_seconds());
        self.log = Some(Box::new(Entry {
            line,
            status: StatusCode::OK,
            bytes: 0,
        }));
    }

    fn count_bytes(&mut self, bytes: u64) {
        if let Some(entry) = &mut self.log {
            entry.bytes += bytes;
        }
    }

    fn end_log(&mut self, io: &mut Io, status: Option<StatusCode>) {
        if let Some(entry) = self.log.take()
            && let Some(log) = &self.worker.access_log
        {
            let status = status.unwrap_or(entry.status);
            log.write(entry.line, status, entry.bytes, io.now());
        }
    }
}

impl Protocol for Connection {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        if self.exchange.is_closed() {
            // What comes behind a message that ends the connection belongs to nobody.
            self.has_unread = true;
            return self.settle(io);
        }
        if self.behind.is_empty() {
            self.consume(io, Input::from(data));
        } else {
            self.hold(data.as_slice());
            self.proceed(io);
        }
        self.settle(io)
    }

    fn on_sent(&mut self, io: &mut Io) -> Step {
        self.proceed(io);
        self.settle(io)
    }

    fn on_ready(&mut self, io: &mut Io) -> Step {
        self.proceed(io);
        self.settle(io)
    }

    fn on_eof(&mut self, io: &mut Io) -> Step {
        self.is_half_closed = true;
        if let Some(disconnect) = &self.disconnect {
            disconnect.fire();
        }
        if self.exchange.is_in_body() {
            let error = Error::new(ErrorKind::Closed, "the client closed before the body ended");
            self.fail_body(error, CloseReason::PeerClosed);
        }
        self.proceed(io);
        self.settle(io)
    }

    fn on_deadline(&mut self, io: &mut Io) -> Step {
        match self.timing.expired(&self.exchange) {
            Expired::Not => Step::Continue,
            Expired::Silently => Step::CloseAfterFlush,
            Expired::Head => {
                let refusal = self.exchange.time_out_head();
                self.refuse(io, refusal);
                self.settle(io)
            }
            Expired::Body => {
                let error = Error::new(
                    ErrorKind::Timeout,
                    "the request's body made no progress in time; Server::body_timeout",
                );
                self.fail_body(error, CloseReason::Timeout);
                self.proceed(io);
                self.settle(io)
            }
        }
    }

    fn group(&self) -> usize {
        self.worker.group()
    }

    fn on_closed(&mut self, cause: Option<io::Error>) {
        drop(cause);
        self.worker.counters.count_closed();
        if let Some(disconnect) = &self.disconnect {
            disconnect.fire();
        }
        guarded_drop(std::mem::replace(&mut self.work, Work::Nothing));
        self.sender = None;
    }
}
