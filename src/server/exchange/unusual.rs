//! What few requests need: extras, a handler that takes too long, responses before the response, no
//! response at all, another protocol.
//!
//! ```text
//!   begin ─► set_extras             deadline ─► time_out ─► 503, or cut
//!   poll ──► send_informational     respond ──► respond_rarely ─┬─ an error: the hook is told
//!                                                               ├─ abort: reset
//!                                                               └─ Work::Takeover
//! ```

use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::guard::guarded_drop;
use crate::http::close_reason::CloseReason;
use crate::http::duplex::Takeover;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::response::Special;
use crate::server::access_log::Ended;
use crate::server::exchange::Exchange;
use crate::server::exchange::ResponseSink;
use crate::server::exchange::Work;
use crate::server::hooks::ProtocolErrorKind;
use crate::server::into_response::error_page;
use crate::server::options::RouteOptions;
use crate::server::worker::Worker;

impl Exchange {
    /// Extras of a request that begins: none of those before, and a name for hooks.
    #[cold]
    pub(super) fn renew_extras(&mut self, core: &Worker, request: &Request) {
        let extras = self.extras.get_or_insert_default();
        **extras = Default::default();
        if core.watches_handlers() {
            extras.label = format!("{} {}", request.method(), request.target());
        }
    }

    /// Notes what holds for this request and not for most.
    #[cold]
    pub(super) fn set_extras<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &S,
        route: &RouteOptions,
        request: &Request,
    ) {
        let extras = self.extras.get_or_insert_default();
        extras.route = *route;
        extras.limit_handler(sink.now(), &core.options);
        if sink.wants_upgrade() {
            let offers: Vec<&[u8]> = request.headers().get_all("upgrade").collect();
            extras.offered = offers.join(&b',');
        }
    }

    /// Method and target of the request; empty where no hook wants them.
    pub(super) fn label(&self) -> &str {
        let extras = self.extras.as_deref();
        extras.map_or("", |extras| extras.label.as_str())
    }

    /// The body of the request is known to be longer than it may be.
    #[cold]
    pub(super) fn refuse_body<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &mut S,
        max: u64,
        setting: &str,
    ) {
        core.counters.count_refused();
        sink.stop_receiving(CloseReason::BadMessage);
        self.drop_body(None);
        let text = body_too_long(max, setting).to_string();
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let kind = ProtocolErrorKind::Request;
        core.tell_error(|| sink.addresses(), kind, &text, Some(status), &[]);
        self.respond(core, sink, error_page(status, &text));
    }

    /// As many requests run as may run. The connection is kept: to come again is cheaper on it.
    #[cold]
    pub(super) fn shed<S: ResponseSink>(&mut self, core: &Worker, sink: &mut S) {
        core.counters.count_shed();
        let text = "as many requests run as may run; Server::requests_in_flight_max";
        let response = error_page(StatusCode::SERVICE_UNAVAILABLE, text);
        self.respond(core, sink, response.header("Retry-After", "1"));
    }

    /// A handler, or the body that it streams, has taken longer than it may.
    #[cold]
    pub fn time_out_handler<S: ResponseSink>(&mut self, core: &Worker, sink: &mut S) {
        let Some(extras) = &mut self.extras else {
            return;
        };
        let Some(time) = extras.expired(sink.now()) else {
            return;
        };
        extras.lift_handler_limit();
        let (timeout, setting) = (time.timeout, time.setting);
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Handler(future) => {
                core.counters.count_handler_timeout();
                guarded_drop(future);
                let text = format!("the handler did not answer within {timeout:?}; {setting}");
                let error = || Error::new(ErrorKind::Timeout, text.clone());
                if let Some(body) = &mut self.body {
                    body.fail(error());
                }
                let response = error_page(StatusCode::SERVICE_UNAVAILABLE, &text);
                self.respond(core, sink, response.with_error(error()));
            }
            Work::Body(streamed) => {
                core.counters.count_handler_timeout();
                let text = format!("the response did not end within {timeout:?}; {setting}");
                let error = Error::new(ErrorKind::Timeout, text);
                self.tell_failure(core, sink, &error, None);
                self.cut(sink, streamed);
            }
            other => self.work = other,
        }
    }

    /// The next piece of the request's body came too late.
    #[cold]
    pub fn time_out_body<S: ResponseSink>(&mut self, core: &Worker, sink: &mut S) {
        core.counters.count_body_timeout();
        let kind = ProtocolErrorKind::Timeout;
        let rule = "the request's body came too slowly";
        core.tell_error(|| sink.addresses(), kind, rule, None, &[]);
        let text = "the request's body made no progress in time; Server::body_timeout";
        let error = Error::new(ErrorKind::Timeout, text);
        self.fail_body(sink, error, CloseReason::Timeout);
    }

    /// Sends what the handler says before its response.
    pub(super) fn send_informational<S: ResponseSink>(&mut self, sink: &mut S) {
        let Some(link) = &self.link else {
            return;
        };
        while let Some((status, headers)) = link.informational() {
            if sink.may_inform() {
                sink.inform(status, &headers);
            }
        }
    }

    /// A response that stands for an error, or does something else than be sent.
    #[cold]
    pub(super) fn respond_rarely<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &mut S,
        mut response: Response,
    ) {
        if let Some(error) = response.take_error() {
            let status = response.status_code();
            if status.is_server_error() {
                self.tell_failure(core, sink, &error, Some(status));
            }
            guarded_drop(error);
        }
        let Some(special) = response.take_special() else {
            return self.respond_usually(core, sink, response);
        };
        match *special {
            Special::Abort => {
                guarded_drop(response);
                core.counters.count_aborted();
                self.drop_body(None);
                sink.reset();
                self.note_ended(Ended::Aborted);
            }
            Special::Takeover(takeover) => self.begin_takeover(core, sink, response, takeover),
            // Of a client's response that was returned as it came; here nobody speaks for it.
            Special::Duplex(duplex) => {
                guarded_drop(duplex);
                self.respond_usually(core, sink, response);
            }
        }
    }

    /// Answers with another protocol, if the client has asked for it.
    fn begin_takeover<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &mut S,
        mut response: Response,
        takeover: Takeover,
    ) {
        let status = response.status_code();
        let is_as_made = match takeover.protocol {
            Some(_) => status == StatusCode::SWITCHING_PROTOCOLS,
            None => status.is_success(),
        };
        if !is_as_made || response.invalid_header().is_some() {
            // Who changed the status has decided otherwise.
            guarded_drop(takeover);
            return self.respond_usually(core, sink, response);
        }
        let extras = self.extras.as_deref();
        let offered = extras.map_or(&[][..], |extras| &extras.offered);
        let protocol = takeover.protocol.as_deref();
        if let Some((status, rule)) = sink.refuses_takeover(protocol, offered) {
            let mut refusal = error_page(status, rule);
            if status == StatusCode::UPGRADE_REQUIRED {
                refusal = refusal.header("Upgrade", protocol.unwrap_or_default());
            } else if status.is_server_error() {
                core.counters.count_invalid_response();
            } else {
                core.counters.count_refused();
                let kind = ProtocolErrorKind::Request;
                core.tell_error(|| sink.addresses(), kind, rule, Some(status), &[]);
            }
            guarded_drop(takeover);
            guarded_drop(response);
            return self.respond_usually(core, sink, refusal);
        }
        sink.hand_over(&mut response);
        core.counters.count_upgraded();
        // The line is that of the whole tunnel.
        if let Some(entry) = &mut self.log {
            entry.note_head(status, sink.appended_bytes());
        }
        guarded_drop(response);
        self.drop_body(None);
        self.work = Work::Takeover(Box::new(takeover));
    }
}

/// The error of a body that is longer than it may be.
pub(super) fn body_too_long(max: u64, setting: &str) -> Error {
    let text = format!("the request's body is longer than {max} bytes; {setting}");
    Error::new(ErrorKind::Limit, text).answered(StatusCode::PAYLOAD_TOO_LARGE)
}
