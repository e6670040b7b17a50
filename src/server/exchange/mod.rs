//! One request's life, whatever its connection speaks: what runs for it, where its body goes, how
//! long that may take, and what is said of it.
//!
//! ```text
//!   begin ─► Router ─┬─ inline handler ──────────────► Response ─► respond ─► ResponseSink
//!                    └─ Work::Handler (polled) ──────► Response                    ▲
//!   receive ─► RequestBody ─► handler                     └─ Work::Body (polled) ──┘
//! ```
//!
//! An exchange knows neither its connection nor the version of HTTP: both are behind the
//! [`ResponseSink`]. Handlers, bodies and their drops are code of users: a panic there costs this
//! exchange only.

mod chunk;
mod extras;
pub mod log_entry;
mod request_body;
mod respond;
mod sink;
mod unusual;

use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use ::http::Method;

use crate::error::Error;
use crate::guard::caught;
use crate::guard::guarded_drop;
use crate::http::body::Body;
use crate::http::close_reason::CloseReason;
use crate::http::duplex::Takeover;
use crate::http::headers::Headers;
use crate::http::link::Link;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::Instant;
use crate::server::access_log::Ended;
use crate::server::exchange::extras::RequestExtras;
use crate::server::exchange::extras::body_bytes_max;
use crate::server::exchange::extras::body_timeout;
use crate::server::exchange::log_entry::LogEntry;
use crate::server::exchange::request_body::RequestBody;
use crate::server::exchange::unusual::body_too_long;
use crate::server::handler::Endpoint;
use crate::server::handler::ResponseFuture;
use crate::server::hooks::ProtocolErrorKind;
use crate::server::router::Routed;
use crate::server::worker::Worker;

pub use crate::server::exchange::chunk::Chunk;
pub use crate::server::exchange::chunk::Input;
pub use crate::server::exchange::sink::ResponseSink;

/// One request and its response. An exchange that is over serves the next request.
pub struct Exchange {
    work: Work,
    /// The body of the request, while it arrives.
    body: Option<Box<RequestBody>>,
    /// What asynchronous handlers hear and say beside their response; made for the first of them.
    link: Option<Link>,
    /// What holds for this request and not for most; kept for the next that needs it.
    extras: Option<Box<RequestExtras>>,
    /// The line of the access log, where there is one, until the response is written.
    log: Option<Box<LogEntry>>,
    /// True while the worker counts this request among those in flight.
    is_in_flight: bool,
}

/// What runs.
enum Work {
    Nothing,
    /// An asynchronous handler that has not answered.
    Handler(ResponseFuture),
    /// The body of a response.
    Body(Box<Streamed>),
    /// Nothing more: another protocol takes over when this event is dealt with.
    Takeover(Box<Takeover>),
}

/// A body that is sent as it comes.
struct Streamed {
    body: Body,
    trailers: Option<Headers>,
}

/// An exchange that goes on without HTTP.
pub struct Handover {
    /// What goes on.
    pub takeover: Takeover,
    /// Of the request that was answered, which somebody may still hold.
    pub link: Option<Link>,
    /// The line of the request, which is that of the whole tunnel.
    pub log: Option<Box<LogEntry>>,
    /// Method and target of the request; empty where no hook wants them.
    pub label: String,
}

/// What an exchange waited for, when its deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The handler, or the body that it streams.
    Handler,
    /// The next piece of the request's body.
    Body,
}

impl Exchange {
    /// An exchange without a request.
    pub const fn new() -> Exchange {
        Exchange {
            work: Work::Nothing,
            body: None,
            link: None,
            extras: None,
            log: None,
            is_in_flight: false,
        }
    }

    // ---- the request -----------------------------------------------------------------------

    /// Routes a request. An inline handler has answered when this returns.
    pub fn begin<S: ResponseSink>(&mut self, core: &Worker, sink: &mut S, mut request: Request) {
        core.counters.count_request();
        if sink.is_receiving() {
            self.body = Some(RequestBody::begin());
        }
        if self.extras.is_some() || core.keeps_lives() {
            self.renew_extras(core, &request);
        }
        if core.access_log.is_some() {
            self.log = Some(LogEntry::begin(sink, Some(&request)));
        }
        if request.method() == Method::OPTIONS && request.path() == "*" {
            // RFC 9110 §9.3.7: the server as a whole is asked, not a route.
            return self.respond(core, sink, Response::new());
        }
        match core.router.find(&mut request) {
            Routed::Refused(response) => {
                self.respond(core, sink, response);
                drop_request(request);
            }
            Routed::Endpoint { endpoint, options } => {
                if let (Some(entry), Some(pattern)) = (&mut self.log, request.pattern()) {
                    entry.set_pattern(pattern);
                }
                let wants_upgrade = sink.wants_upgrade();
                let has_limit = core.options.handler_timeout.is_some();
                if has_limit || wants_upgrade || !options.is_empty() {
                    self.set_extras(core, sink, options, &request);
                }
                let max = body_bytes_max(self.extras.as_deref(), &core.options);
                if let (Some((max, setting)), Some(length)) = (max, sink.body_left())
                    && length > max
                {
                    return self.refuse_body(core, sink, max, setting);
                }
                self.call(core, sink, endpoint, request);
            }
        }
    }

    /// Calls a handler: an inline one to its end.
    fn call<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &mut S,
        endpoint: &Endpoint,
        mut request: Request,
    ) {
        let (peer, local) = sink.addresses();
        request.set_addresses(peer, local);
        match endpoint {
            Endpoint::Inline(function) => {
                match caught(|| function(&mut request)) {
                    Ok(response) => self.respond(core, sink, response),
                    Err(panic) => self.panicked(core, sink, &panic),
                }
                drop_request(request);
            }
            Endpoint::Deferred(_) if core.is_loaded(u64::from(self.is_in_flight)) => {
                self.shed(core, sink);
                drop_request(request);
            }
            Endpoint::Deferred(handler) => {
                if let Some(body) = &mut self.body {
                    request.set_body(body.open(sink.body_left()));
                }
                self.link(sink, &mut request);
                let handler = Arc::clone(handler);
                match caught(|| handler.start(request)) {
                    Ok(future) => self.work = Work::Handler(future),
                    Err(panic) => self.panicked(core, sink, &panic),
                }
            }
        }
    }

    /// Gives an asynchronous handler what it hears and says beside its response.
    fn link<S: ResponseSink>(&mut self, sink: &mut S, request: &mut Request) {
        let may_inform = sink.may_inform();
        let link = self
            .link
            .get_or_insert_with(|| Link::new(sink.waker().clone()));
        request.set_link(link.begin(may_inform));
    }

    // ---- its body --------------------------------------------------------------------------

    /// A piece of the body arrived.
    pub fn receive<S: ResponseSink>(&mut self, core: &Worker, sink: &mut S, chunk: Chunk<'_>) {
        let body = self.body.as_mut().expect("a body that has begun");
        let rate = core.options.body_bytes_per_second_min;
        let received_bytes = body.receive(chunk.len(), rate);
        let max = body_bytes_max(self.extras.as_deref(), &core.options);
        if let Some((max, setting)) = max
            && received_bytes > max
        {
            let error = body_too_long(max, setting);
            let (kind, text) = (ProtocolErrorKind::Request, error.to_string());
            core.tell_error(|| sink.addresses(), kind, &text, None, &[]);
            self.fail_body(sink, error, CloseReason::BadMessage);
            return;
        }
        body.push(chunk);
    }

    /// All of the body arrived.
    pub fn end_body(&mut self, trailers: Option<Headers>) {
        if let Some(mut body) = self.body.take() {
            body.finish(trailers);
            body.recycle();
        }
    }

    /// The rest of the body will not arrive: its reader gets the error, and nothing more is taken.
    pub fn fail_body<S: ResponseSink>(&mut self, sink: &mut S, error: Error, reason: CloseReason) {
        sink.stop_receiving(reason);
        self.drop_body(Some(error));
    }

    /// Nothing more of the body arrives: its reader gets the error, or finds it abandoned.
    pub fn drop_body(&mut self, error: Option<Error>) {
        if let Some(mut body) = self.body.take() {
            if let Some(error) = error {
                body.fail(error);
            }
            body.recycle();
        }
    }

    /// The body of the request, while it arrives.
    pub fn body(&mut self) -> Option<&mut RequestBody> {
        self.body.as_deref_mut()
    }

    /// Nobody reads what is left of the body.
    fn abandon_body(&mut self) {
        if let Some(body) = &mut self.body {
            body.abandon();
        }
    }

    // ---- what runs -------------------------------------------------------------------------

    /// True while a handler, or the body of its response, is not through.
    pub fn is_running(&self) -> bool {
        !matches!(self.work, Work::Nothing)
    }

    /// Polls what runs, as far as it gets.
    pub fn advance<S: ResponseSink>(&mut self, core: &Worker, sink: &mut S) {
        loop {
            match std::mem::replace(&mut self.work, Work::Nothing) {
                Work::Nothing => return,
                Work::Handler(mut future) => {
                    let mut cx = Context::from_waker(sink.waker());
                    let polled = caught(|| future.as_mut().poll(&mut cx));
                    self.send_informational(sink);
                    match polled {
                        Ok(Poll::Pending) => {
                            self.work = Work::Handler(future);
                            return;
                        }
                        Ok(Poll::Ready(response)) => {
                            guarded_drop(future);
                            self.respond(core, sink, response);
                        }
                        Err(panic) => {
                            guarded_drop(future);
                            self.panicked(core, sink, &panic);
                        }
                    }
                }
                Work::Body(streamed) => {
                    if self.pump(core, sink, streamed) {
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

    /// What takes over, with what goes on of the exchange.
    pub fn take_over(&mut self) -> Option<Handover> {
        let work = std::mem::replace(&mut self.work, Work::Nothing);
        let Work::Takeover(takeover) = work else {
            self.work = work;
            return None;
        };
        Some(Handover {
            takeover: *takeover,
            link: self.link.take(),
            log: self.log.take(),
            label: self.label().to_owned(),
        })
    }

    /// True when another protocol takes over.
    pub fn is_taken_over(&self) -> bool {
        matches!(self.work, Work::Takeover(_))
    }

    /// The client is gone, or has closed its side.
    pub fn disconnect(&self) {
        if let Some(link) = &self.link {
            link.fire();
        }
    }

    // ---- after each event ------------------------------------------------------------------

    /// After each event: what runs longer than one is counted as in flight.
    #[inline]
    pub fn settle(&mut self, core: &Worker) {
        let runs = matches!(self.work, Work::Handler(_) | Work::Body(_));
        if runs != self.is_in_flight {
            self.is_in_flight = runs;
            if runs {
                core.counters.flight_began();
            } else {
                core.counters.flight_ended();
            }
        }
        if let Some(extras) = &mut self.extras
            && !runs
        {
            extras.lift_handler_limit();
        }
    }

    /// After each event: when the exchange has waited long enough.
    #[inline]
    pub fn deadline<S: ResponseSink>(&mut self, core: &Worker, sink: &S) -> Instant {
        let extras = self.extras.as_deref();
        let mut deadline = extras.map_or(Instant::NEVER, RequestExtras::handler_deadline);
        if let Some(body) = &mut self.body {
            // Else the next sign of progress is due from the handler.
            let waits = !body.is_held() || body.is_wanted();
            let timeout = body_timeout(extras, &core.options);
            deadline = deadline.min(body.wait(waits, sink.now(), timeout));
        }
        deadline
    }

    /// What has taken too long, if something has.
    pub fn late(&self, now: Instant) -> Option<Late> {
        let extras = self.extras.as_deref();
        if extras.is_some_and(|extras| extras.expired(now).is_some()) {
            return Some(Late::Handler);
        }
        let body = self.body.as_ref()?;
        body.is_late(now).then_some(Late::Body)
    }

    /// The connection has ended: nothing runs any more. The line that is left.
    pub fn close(&mut self, core: &Worker) -> Option<Box<LogEntry>> {
        self.disconnect();
        guarded_drop(std::mem::replace(&mut self.work, Work::Nothing));
        self.drop_body(None);
        self.settle(core);
        self.log.take()
    }

    /// Our side ends the exchange in this way.
    fn note_ended(&mut self, ended: Ended) {
        if let Some(entry) = &mut self.log {
            entry.note_ended(ended);
        }
    }
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
