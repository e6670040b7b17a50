//! Responses, from the handler to the sink.
//!
//! ```text
//!   respond ─┬─ Whole ─► content
//!            └─ Chunks ─► Work::Body ─ pump ─► end, or cut
//! ```

use std::task::Context;
use std::task::Poll;

use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::guard::caught;
use crate::guard::guarded_drop;
use crate::h1::server::Sends;
use crate::http::close_reason::CloseReason;
use crate::http::response::Response;
use crate::server::access_log::Ended;
use crate::server::exchange::Exchange;
use crate::server::exchange::ResponseSink;
use crate::server::exchange::Streamed;
use crate::server::exchange::Work;
use crate::server::exchange::log_entry::LogEntry;
use crate::server::hooks::HandlerError;
use crate::server::into_response::answer_of;
use crate::server::worker::Worker;

impl Exchange {
    /// Writes a response, or begins to.
    #[inline]
    pub(super) fn respond<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &mut S,
        response: Response,
    ) {
        if let Some(link) = &self.link {
            link.close();
        }
        if response.is_rare() {
            return self.respond_rarely(core, sink, response);
        }
        self.respond_usually(core, sink, response);
    }

    /// Writes a response that is one.
    pub(super) fn respond_usually<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &mut S,
        mut response: Response,
    ) {
        let is_unread = !self.body.as_ref().is_some_and(|body| body.is_held());
        if is_unread {
            self.abandon_body();
        } else {
            // The response is made of the body: it must be asked for now, since a 100 cannot
            // follow the head.
            sink.ask_for_body();
        }
        if let Some(status) = sink.replacement_for(&response) {
            core.counters.count_invalid_response();
            self.tell_unsendable(core, sink, &response, status);
            guarded_drop(response);
            response = Response::new().status(status);
        }
        let sends = sink.head(&mut response, is_unread);
        if let Some(entry) = &mut self.log {
            entry.note_head(response.status_code(), sink.appended_bytes());
        }
        let trailers = response.take_trailers();
        let body = response.into_body();
        match sends {
            Sends::Nothing => guarded_drop(body),
            Sends::Whole => {
                let content = body.into_content();
                sink.content(content.expect("chunks are sent one by one"));
            }
            Sends::Chunks => {
                if body.ends_at_shutdown()
                    && let Some(extras) = &mut self.extras
                {
                    // What has no end of its own cannot reach it in time.
                    extras.lift_handler_limit();
                }
                self.work = Work::Body(Box::new(Streamed { body, trailers }));
                return;
            }
        }
        self.end_log(sink);
    }

    /// Sends chunks while there is room and they come; true when the body goes on later.
    pub(super) fn pump<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &mut S,
        mut streamed: Box<Streamed>,
    ) -> bool {
        if core.is_shutting_down() && streamed.body.ends_at_shutdown() {
            return self.finish(core, sink, streamed);
        }
        while !sink.is_full() {
            let mut cx = Context::from_waker(sink.waker());
            match caught(|| streamed.body.poll_chunk(&mut cx)) {
                Ok(Poll::Pending) => break,
                Ok(Poll::Ready(Some(Ok(chunk)))) => {
                    if !sink.chunk(chunk) {
                        self.tell_failure(core, sink, &wrong_length(), None);
                        return self.cut(sink, streamed);
                    }
                }
                Ok(Poll::Ready(None)) => return self.finish(core, sink, streamed),
                Ok(Poll::Ready(Some(Err(error)))) => {
                    // That the body of the request did not arrive is no fault of the handler.
                    if answer_of(&error).0.is_server_error() {
                        self.tell_failure(core, sink, &error, None);
                    }
                    guarded_drop(error);
                    return self.cut(sink, streamed);
                }
                Err(panic) => {
                    core.counters.count_panic();
                    self.note_ended(Ended::Panicked);
                    let error = Error::panicked("the body of the response", &panic);
                    self.tell_failure(core, sink, &error, None);
                    return self.cut(sink, streamed);
                }
            }
        }
        if let Some(entry) = &mut self.log
            && sink.has_sent_length()
        {
            entry.note_end(sink.appended_bytes());
        }
        self.work = Work::Body(streamed);
        true
    }

    /// Ends the body of the response; false, since nothing of it goes on.
    fn finish<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &mut S,
        mut streamed: Box<Streamed>,
    ) -> bool {
        let own = streamed.trailers.take();
        let trailers = own.or_else(|| streamed.body.take_trailers());
        if !sink.end(trailers.as_ref()) {
            self.tell_failure(core, sink, &wrong_length(), None);
            return self.cut(sink, streamed);
        }
        guarded_drop(streamed);
        self.end_log(sink);
        false
    }

    /// The body of the response failed after its head was written.
    pub(super) fn cut<S: ResponseSink>(&mut self, sink: &mut S, streamed: Box<Streamed>) -> bool {
        self.note_ended(Ended::Cut);
        sink.cut();
        guarded_drop(streamed);
        self.end_log(sink);
        false
    }

    /// The response is written to its end.
    #[inline]
    pub(super) fn end_log<S: ResponseSink>(&mut self, sink: &mut S) {
        if let Some(mut entry) = self.log.take() {
            entry.note_end(sink.appended_bytes());
            sink.log(entry);
        }
    }

    /// What was no request was answered, with so many bytes of body behind the head.
    #[cold]
    pub fn log_refusal<S: ResponseSink>(
        &mut self,
        core: &Worker,
        sink: &mut S,
        status: StatusCode,
        body_bytes: usize,
    ) {
        if core.access_log.is_some() && self.log.is_none() {
            self.log = Some(LogEntry::begin(sink, None));
        }
        if let Some(entry) = &mut self.log {
            entry.note_head(status, sink.appended_bytes() - body_bytes as u64);
        }
        self.end_log(sink);
    }

    #[cold]
    pub(super) fn panicked<S: ResponseSink>(&mut self, core: &Worker, sink: &mut S, panic: &str) {
        core.counters.count_panic();
        self.note_ended(Ended::Panicked);
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let error = Error::panicked("the handler", panic);
        self.tell_failure(core, sink, &error, Some(status));
        sink.stop_receiving(CloseReason::HandlerFailed);
        self.drop_body(None);
        self.respond(core, sink, Response::new().status(status));
    }

    /// Tells why another status is answered than the handler's.
    #[cold]
    fn tell_unsendable<S: ResponseSink>(
        &self,
        core: &Worker,
        sink: &mut S,
        response: &Response,
        status: StatusCode,
    ) {
        let text = match response.invalid_header() {
            Some(invalid) => format!("the response has a field that cannot be sent: {invalid}"),
            None => format!("{} is no answer to this request", response.status_code()),
        };
        let error = Error::new(ErrorKind::Invalid, text);
        self.tell_failure(core, sink, &error, Some(status));
    }

    /// Tells the hook that the handler or its body failed: with this status, or after the head was
    /// sent.
    #[cold]
    pub(super) fn tell_failure<S: ResponseSink>(
        &self,
        core: &Worker,
        sink: &mut S,
        error: &Error,
        status: Option<StatusCode>,
    ) {
        if !core.watches_handlers() {
            return;
        }
        let (peer, local) = sink.addresses();
        core.tell_handler_error(&HandlerError {
            peer,
            local,
            request: self.label(),
            error,
            status,
        });
    }
}

/// The error of a body that is shorter or longer than it said.
fn wrong_length() -> Error {
    let text = "the body of the response is not as long as it said";
    Error::new(ErrorKind::Invalid, text)
}
