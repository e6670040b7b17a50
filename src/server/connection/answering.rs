//! Requests to responses: routes, runs what answers, and writes what it says.
//!
//! ```text
//!   begin ─┬─ inline ───────────────────► respond ─┬─ Whole
//!          └─ Work::Handler ─ advance ──►          └─ Chunks ─► Work::Body ─ pump ─► end, or cut
//! ```

use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

use ::http::Method;
use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::guard::caught;
use crate::guard::guarded_drop;
use crate::http::body::Body;
use crate::http::body::Content;
use crate::http::body::Part;
use crate::http::disconnect::Disconnect;
use crate::http::framing::CloseReason;
use crate::http::incoming::Sender;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::serve::Circumstances;
use crate::http::serve::Sends;
use crate::limits::OWN_BUFFER_BODY_BYTES;
use crate::net::Io;
use crate::server::access_log::Ended;
use crate::server::connection::Connection;
use crate::server::connection::Streamed;
use crate::server::connection::Work;
use crate::server::connection::terms::body_bytes_max;
use crate::server::connection::timing::Credit;
use crate::server::handler::Endpoint;
use crate::server::into_response::answer_of;
use crate::server::router::Routed;

impl Connection {
    /// Routes a request. An inline handler has answered when this returns.
    pub(super) fn begin(&mut self, io: &mut Io, mut request: Request) {
        let worker = Rc::clone(&self.worker);
        let length = self.exchange.body_length();
        self.note_request(io, &request);
        if let Some(terms) = &mut self.terms {
            terms.reset(io);
        }
        if request.method() == Method::OPTIONS && request.path() == "*" {
            // RFC 9110 §9.3.7: the server as a whole is asked, not a route.
            return self.respond(io, Response::new());
        }
        match worker.router.find(&mut request) {
            Routed::Refused(response) => {
                self.respond(io, response);
                drop_request(request);
            }
            Routed::Endpoint { endpoint, options } => {
                self.log_pattern(&request);
                self.set_terms(io, options, &request);
                let max = body_bytes_max(self.terms.as_deref(), &worker.options);
                if let (Some((max, knob)), Some(length)) = (max, length)
                    && length > max
                {
                    return self.refuse_body(io, max, knob);
                }
                self.call(io, endpoint, request);
            }
        }
    }

    /// Calls a handler: an inline one to its end.
    fn call(&mut self, io: &mut Io, endpoint: &Endpoint, mut request: Request) {
        let (peer, local) = io.addresses();
        request.set_addresses(peer, local);
        match endpoint {
            Endpoint::Inline(function) => {
                match caught(|| function(&mut request)) {
                    Ok(response) => self.respond(io, response),
                    Err(panic) => self.panicked(io, &panic),
                }
                drop_request(request);
            }
            Endpoint::Deferred(_) if self.worker.is_loaded(u64::from(self.is_in_flight)) => {
                self.shed(io);
                drop_request(request);
            }
            Endpoint::Deferred(handler) => {
                if self.exchange.is_in_body() {
                    let (sender, body) = Body::incoming(self.exchange.body_length());
                    request.set_body(body);
                    self.sender = Some(sender);
                }
                let disconnect = self.disconnect.get_or_insert_with(|| {
                    let disconnect = Disconnect::new();
                    disconnect.set_notify(io.waker().clone());
                    disconnect
                });
                request.set_disconnect(disconnect.for_request(self.exchange.may_inform()));
                let handler = std::sync::Arc::clone(handler);
                match caught(|| handler.start(request)) {
                    Ok(future) => self.work = Work::Handler(future),
                    Err(panic) => self.panicked(io, &panic),
                }
            }
        }
    }

    fn note_request(&mut self, io: &mut Io, request: &Request) {
        self.worker.counters.count_request();
        self.timing.note_progress();
        self.credit = Credit::FULL;
        self.body_bytes = 0;
        self.drained_bytes = 0;
        self.is_standing |= self.exchange.close_reason().is_none();
        let length = self.exchange.body_length();
        self.has_large_bodies = length.is_none_or(|length| length > OWN_BUFFER_BODY_BYTES);
        self.live_request(request);
        if self.worker.access_log.is_some() {
            self.begin_log(io, Some(request));
        }
    }

    /// Polls what runs, as far as it gets.
    #[inline]
    pub(super) fn advance(&mut self, io: &mut Io) {
        if !matches!(self.work, Work::Nothing) {
            self.work(io);
        }
    }

    fn work(&mut self, io: &mut Io) {
        loop {
            match std::mem::replace(&mut self.work, Work::Nothing) {
                Work::Nothing => return,
                Work::Handler(mut future) => {
                    let waker = io.waker().clone();
                    let mut cx = Context::from_waker(&waker);
                    let polled = caught(|| future.as_mut().poll(&mut cx));
                    self.send_informational(io);
                    match polled {
                        Ok(Poll::Pending) => {
                            self.work = Work::Handler(future);
                            return;
                        }
                        Ok(Poll::Ready(response)) => {
                            guarded_drop(future);
                            self.respond(io, response);
                        }
                        Err(panic) => {
                            guarded_drop(future);
                            self.panicked(io, &panic);
                        }
                    }
                }
                Work::Body(streamed) => {
                    if self.pump(io, streamed) {
                        return;
                    }
                }
                takeover @ Work::Takeover(_) => {
                    self.work = takeover;
                    return;
                }
            }
        }
    }

    /// Writes a response, or begins to.
    #[inline]
    pub(super) fn respond(&mut self, io: &mut Io, response: Response) {
        if let Some(disconnect) = &self.disconnect {
            disconnect.answered();
        }
        if response.is_rare() {
            return self.respond_rarely(io, response);
        }
        self.respond_usually(io, response);
    }

    /// Writes a response that is one.
    pub(super) fn respond_usually(&mut self, io: &mut Io, mut response: Response) {
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
            self.tell_unsendable(&response, status);
            guarded_drop(response);
            response = Response::new().status(status);
        }
        self.live_answer(io);
        let worker = Rc::clone(&self.worker);
        let circumstances = Circumstances {
            date: &mut worker.date(),
            wall_seconds: io.wall_seconds(),
            body_is_abandoned: is_dropped,
            is_shutting_down: worker.is_draining(),
        };
        let sends = self
            .exchange
            .respond(&mut response, circumstances, io.output.tail());
        self.log_head(io, response.status_code(), 0);
        let trailers = response.take_trailers();
        let body = response.into_body();
        match sends {
            Sends::Nothing => guarded_drop(body),
            Sends::Whole => self.send_whole(io, body),
            Sends::Chunks => {
                io.set_resets(self.exchange.ends_with_connection());
                if body.ends_at_shutdown()
                    && let Some(terms) = &mut self.terms
                {
                    // What has no end of its own cannot reach it in time.
                    terms.lift(io);
                }
                self.work = Work::Body(Box::new(Streamed { body, trailers }));
                return;
            }
        }
        self.end_log(io);
    }

    pub(super) fn send_whole(&mut self, io: &mut Io, body: Body) {
        match body.into_content() {
            Content::Empty => {}
            Content::Bytes(bytes) => {
                io.append_bytes(bytes);
            }
            Content::File { file, range } => {
                self.wait_for_players(io);
                io.append_file(file, range);
            }
            Content::Parts(pieces) => {
                self.wait_for_players(io);
                for piece in pieces {
                    match piece {
                        Part::Bytes(bytes) => io.append_bytes(bytes),
                        Part::File { file, range } => io.append_file(file, range),
                    }
                }
            }
            Content::Chunks(_) => panic!("chunks are sent one by one"),
        }
    }

    /// A part of a file is about to be sent.
    fn wait_for_players(&self, io: &mut Io) {
        io.set_write_timeout(self.worker.options.file_write_timeout);
    }

    /// Sends chunks while there is room and they come; true when the body goes on later.
    pub(super) fn pump(&mut self, io: &mut Io, mut streamed: Box<Streamed>) -> bool {
        if self.worker.is_shutting_down() && streamed.body.ends_at_shutdown() {
            return self.finish(io, streamed);
        }
        let waker = io.waker().clone();
        let mut cx = Context::from_waker(&waker);
        while !io.is_full() {
            match caught(|| streamed.body.poll_chunk(&mut cx)) {
                Ok(Poll::Pending) => break,
                Ok(Poll::Ready(Some(Ok(chunk)))) => {
                    if !self.exchange.begin_chunk(chunk.len(), io.output.tail()) {
                        guarded_drop(chunk);
                        self.tell_failure(&wrong_length(), None);
                        return self.cut(io, streamed);
                    }
                    io.append_bytes(chunk);
                    self.exchange.end_chunk(io.output.tail());
                }
                Ok(Poll::Ready(None)) => return self.finish(io, streamed),
                Ok(Poll::Ready(Some(Err(error)))) => {
                    // That the body of the request did not arrive is no fault of the handler.
                    if answer_of(&error).0.is_server_error() {
                        self.tell_failure(&error, None);
                    }
                    guarded_drop(error);
                    return self.cut(io, streamed);
                }
                Err(panic) => {
                    self.worker.counters.count_panic();
                    self.log_ended(Ended::Panicked);
                    self.tell_failure(&Error::panicked("the body of the response", &panic), None);
                    return self.cut(io, streamed);
                }
            }
        }
        if self.exchange.has_sent_length() {
            self.log_length(io);
        }
        self.work = Work::Body(streamed);
        true
    }

    /// Ends the body of the response; false, since nothing of it goes on.
    fn finish(&mut self, io: &mut Io, mut streamed: Box<Streamed>) -> bool {
        let own = streamed.trailers.take();
        let trailers = own.or_else(|| streamed.body.take_trailers());
        let out = io.output.tail();
        if !self.exchange.finish_body(trailers.as_ref(), out) {
            self.tell_failure(&wrong_length(), None);
            return self.cut(io, streamed);
        }
        guarded_drop(streamed);
        self.end_log(io);
        false
    }

    /// The body of the response failed after its head was written.
    pub(super) fn cut(&mut self, io: &mut Io, streamed: Box<Streamed>) -> bool {
        self.log_ended(Ended::Cut);
        // Where the end of the connection is the end of the body, an orderly one would lie.
        self.is_cut |= self.exchange.ends_with_connection();
        self.exchange.fail_body();
        guarded_drop(streamed);
        self.end_log(io);
        false
    }

    #[cold]
    fn panicked(&mut self, io: &mut Io, panic: &str) {
        self.worker.counters.count_panic();
        self.log_ended(Ended::Panicked);
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        self.tell_failure(&Error::panicked("the handler", panic), Some(status));
        self.has_unread |= self.exchange.is_in_body();
        self.exchange.stop_receiving(CloseReason::HandlerFailed);
        self.sender = None;
        self.respond(io, Response::new().status(status));
    }

    /// Tells why another status is answered than the handler's.
    #[cold]
    fn tell_unsendable(&self, response: &Response, status: StatusCode) {
        let text = match response.invalid_header() {
            Some(invalid) => format!("the response has a field that cannot be sent: {invalid}"),
            None => format!("{} is no answer to this request", response.status_code()),
        };
        self.tell_failure(&Error::new(ErrorKind::Invalid, text), Some(status));
    }
}

/// The error of a body that is shorter or longer than it said.
fn wrong_length() -> Error {
    let text = "the body of the response is not as long as it said";
    Error::new(ErrorKind::Invalid, text)
}

/// Drops a request, which may carry values of the user.
#[inline]
fn drop_request(request: Request) {
    if !request.extensions().is_empty() {
        drop_guarded(request);
    }
}

#[cold]
fn drop_guarded(request: Request) {
    guarded_drop(request);
}
