//! What few requests need: terms of their own, a handler that takes too long, responses before the
//! response, no response at all, another protocol.
//!
//! ```text
//!   begin ─► set_terms              deadline ─► time_out_handler ─► 503, or cut
//!   poll ──► send_informational     respond ──► respond_rarely ─┬─ an error: somebody is told
//!                                                               ├─ abort: reset
//!                                                               └─ Work::Takeover ─► hand_over
//! ```

use std::rc::Rc;
use std::time::Duration;

use ::http::StatusCode;
use bytes::Bytes;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase as ErrorPhase;
use crate::guard::guarded_drop;
use crate::http::duplex::Takeover;
use crate::http::framing::CloseReason;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::response::Special;
use crate::net::Io;
use crate::net::Step;
use crate::net::output::give_buffer;
use crate::server::access_log::Ended;
use crate::server::connection::Connection;
use crate::server::connection::Work;
use crate::server::connection::terms::Terms;
use crate::server::hooks::ProtocolErrorKind;
use crate::server::into_response::error_page;
use crate::server::options::RouteOptions;
use crate::server::upgrade::Tunnel;

impl Connection {
    /// Notes what holds for this request and not for most.
    #[inline]
    pub(super) fn set_terms(&mut self, io: &mut Io, route: &RouteOptions, request: &Request) {
        let wants_upgrade = self.exchange.wants_upgrade();
        let has_limit = self.worker.options.handler_timeout.is_some();
        if has_limit || wants_upgrade || !route.is_empty() {
            self.make_terms(io, route, request);
        }
    }

    #[cold]
    fn make_terms(&mut self, io: &mut Io, route: &RouteOptions, request: &Request) {
        let terms = self.terms.get_or_insert_with(|| Box::new(Terms::new(io)));
        terms.set_route(route);
        terms.limit_handler(io, &self.worker.options);
        if self.exchange.wants_upgrade() {
            let offers: Vec<&[u8]> = request.headers().get_all("upgrade").collect();
            terms.set_offered(offers.join(&b','));
        }
    }

    /// The body of a request is known to be longer than it may be.
    #[cold]
    pub(super) fn refuse_body(&mut self, io: &mut Io, max: u64, knob: &str) {
        self.worker.counters.count_refused();
        self.has_unread = true;
        self.exchange.stop_receiving(CloseReason::BadMessage);
        let text = body_too_long(max, knob).to_string();
        let status = Some(StatusCode::PAYLOAD_TOO_LARGE);
        self.worker
            .tell_error(io, ProtocolErrorKind::Request, &text, status, &[]);
        self.respond(io, error_page(StatusCode::PAYLOAD_TOO_LARGE, &text));
    }

    /// A handler, or the body that it streams, takes longer than it may.
    #[cold]
    pub(super) fn time_out_handler(&mut self, io: &mut Io, timeout: Duration, knob: &str) {
        if let Some(terms) = &mut self.terms {
            terms.lift(io);
        }
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Handler(future) => {
                self.worker.counters.count_handler_timeout();
                guarded_drop(future);
                let text = format!("the handler did not answer within {timeout:?}; {knob}");
                let error = || Error::new(ErrorKind::Timeout, text.clone());
                if let Some(sender) = self.sender.take() {
                    sender.fail(error().in_phase(ErrorPhase::RequestBody));
                }
                let response = error_page(StatusCode::SERVICE_UNAVAILABLE, &text);
                self.respond(io, response.with_error(error()));
            }
            Work::Body(streamed) => {
                self.worker.counters.count_handler_timeout();
                let text = format!("the response did not end within {timeout:?}; {knob}");
                self.tell_failure(&Error::new(ErrorKind::Timeout, text), None);
                self.cut(io, streamed);
            }
            other => self.work = other,
        }
    }

    /// Sends what the handler says before its response.
    pub(super) fn send_informational(&mut self, io: &mut Io) {
        let Some(disconnect) = &self.disconnect else {
            return;
        };
        let heads = disconnect.take_informational();
        if !heads.is_empty() && self.exchange.may_inform() {
            self.exchange.write_informational(&heads, io.output.tail());
        }
    }

    /// A response that stands for an error, or does something else than be sent.
    #[cold]
    pub(super) fn respond_rarely(&mut self, io: &mut Io, mut response: Response) {
        if let Some(error) = response.take_error() {
            let status = response.status_code();
            if status.is_server_error() {
                self.tell_failure(&error, Some(status));
            }
            guarded_drop(error);
        }
        let Some(special) = response.take_special() else {
            return self.respond_usually(io, response);
        };
        match *special {
            Special::Abort => {
                guarded_drop(response);
                self.abort(io);
            }
            Special::Takeover(takeover) => self.begin_takeover(io, response, takeover),
            // Of a client's response that was returned as it came; here nobody speaks for it.
            Special::Duplex(duplex) => {
                guarded_drop(duplex);
                self.respond_usually(io, response);
            }
        }
    }

    /// No response: the connection is reset.
    fn abort(&mut self, io: &mut Io) {
        self.worker.counters.count_aborted();
        self.is_cut = true;
        io.set_resets(true);
        self.sender = None;
        self.exchange.give_up(CloseReason::WeAsked);
        self.log_ended(Ended::Aborted);
    }

    /// Answers with another protocol, if the client has asked for it.
    fn begin_takeover(&mut self, io: &mut Io, mut response: Response, takeover: Takeover) {
        let status = response.status_code();
        let is_as_made = match takeover.protocol {
            Some(_) => status == StatusCode::SWITCHING_PROTOCOLS,
            None => status.is_success(),
        };
        if !is_as_made || response.invalid_header().is_some() {
            // Who changed the status has decided otherwise.
            guarded_drop(takeover);
            return self.respond_usually(io, response);
        }
        let offered = self.terms.as_ref().map_or(&[][..], |terms| terms.offered());
        let protocol = takeover.protocol.as_deref();
        if let Some((status, rule)) = self.exchange.refuses_takeover(protocol, offered) {
            let mut refusal = error_page(status, rule);
            if status == StatusCode::UPGRADE_REQUIRED {
                refusal = refusal.header("Upgrade", protocol.unwrap_or_default());
            } else if status.is_server_error() {
                self.worker.counters.count_invalid_response();
            } else {
                self.worker.counters.count_refused();
                let kind = ProtocolErrorKind::Request;
                self.worker.tell_error(io, kind, rule, Some(status), &[]);
            }
            guarded_drop(takeover);
            guarded_drop(response);
            return self.respond_usually(io, refusal);
        }
        let worker = Rc::clone(&self.worker);
        let date = (&mut *worker.date(), io.wall_seconds());
        self.exchange
            .hand_over(&mut response, date, io.output.tail());
        worker.counters.count_upgraded();
        // The line is that of the whole tunnel.
        self.log_head(io, status, 0);
        guarded_drop(response);
        self.sender = None;
        self.work = Work::Takeover(Box::new(takeover));
    }

    /// The connection goes on without us; what was received behind the request goes with it.
    #[cold]
    pub(super) fn hand_over(&mut self, io: &mut Io) -> Step {
        let Work::Takeover(takeover) = std::mem::replace(&mut self.work, Work::Nothing) else {
            panic!("somebody takes over");
        };
        let leftover = Bytes::copy_from_slice(&self.behind);
        give_buffer(std::mem::take(&mut self.behind));
        let worker = Rc::clone(&self.worker);
        let mut tunnel = Tunnel::start(worker, self.disconnect.take(), *takeover, io);
        tunnel.hold_life(self.life.take());
        tunnel.hold_log(self.log.take());
        Step::Become(Box::new(tunnel), leftover)
    }
}

/// The error of a body that is longer than it may be.
pub(super) fn body_too_long(max: u64, knob: &str) -> Error {
    let text = format!("the request's body is longer than {max} bytes; {knob}");
    Error::new(ErrorKind::Limit, text).answered(StatusCode::PAYLOAD_TOO_LARGE)
}
