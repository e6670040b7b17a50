//! The request's way out: the head, then the body as the caller makes it and the peer takes it.
//!
//! ```text
//!   start ──► head ─┬─► bytes, a file ────────────────────────► Done
//!                   ├─► Chunks: poll, while there is room ──────┘
//!                   └─► Held: Expect ─► Due (100, a final head, or time) ─► as above
//!                              └──────► Withheld (a final head that closes)
//! ```

use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use crate::client::connection::Active;
use crate::client::connection::Connection;
use crate::client::connection::State;
use crate::client::connection::download::Download;
use crate::client::connection::timing::WaitsFor;
use crate::client::dial::Made;
use crate::client::exchange;
use crate::client::exchange::Exchange;
use crate::client::failure::Failure;
use crate::client::observe::Event;
use crate::client::options::RequestOptions;
use crate::client::route::Via;
use crate::error::Error;
use crate::error::Phase;
use crate::guard::caught;
use crate::guard::guarded_drop;
use crate::h1::client::ClientMachine;
use crate::h1::client::SendError;
use crate::h1::encode::Recipient;
use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::http::timings::Timings;
use crate::net::Io;

/// What is still to be produced of the request.
pub(super) enum Upload {
    /// The body waits for `100 Continue`, or for its time.
    Held(Body),
    /// The body may be sent.
    Due(Body),
    /// The rest of the body comes from the caller.
    Chunks(Body),
    /// The body is not sent: the response came first, and the connection ends with it.
    Withheld,
    /// All of it is in the output.
    Done,
}

impl Connection {
    /// Begins an exchange. False when that is not possible: the caller has gone, or has been told
    /// what is wrong; the connection is as it was.
    pub(super) fn start(&mut self, io: &mut Io, exchange: Rc<Exchange>) -> bool {
        let Some((mut request, options)) = exchange.start(&self.slot) else {
            exchange::recycle(exchange);
            return false;
        };
        let body = request.take_body();
        let is_replayable = body.is_replayable();
        if let Some(copy) = body.try_clone() {
            request.set_body(copy);
        }
        if body.length() == Some(0) && request.headers().contains("expect") {
            // There is nothing to wait with (RFC 9110 §10.1.1).
            request.headers_mut().remove("expect");
        }
        // What was sent from here on is of this request.
        io.clear_has_sent();
        let observers = options.observers(&self.shared.options().observer);
        self.fetch.keep_heads(observers.is_some());
        let upload = match self.write(io, &request, recipient(&options), body) {
            Ok(upload) => upload,
            Err(error) => {
                let error = Failure::Request(error).into_error(Phase::Send, request.url());
                exchange.fail(error, observers.as_ref());
                guarded_drop((request, options, observers));
                exchange::recycle(exchange);
                return false;
            }
        };
        let is_reused = self.exchanges_count > 0;
        let made = if is_reused {
            Made::default()
        } else {
            self.made
        };
        let timings = Timings {
            is_reused,
            waited: io.now() - exchange.began(),
            resolve: made.resolve_time,
            connect: made.connect_time,
            head: Duration::ZERO,
        };
        let number = self.number;
        let active = Active {
            observers,
            number,
            timings,
            peer: self.made.peer,
            got_at: io.now(),
            exchange,
            request,
            is_replayable,
            options,
            upload,
            download: Download::Head,
            waits_for: WaitsFor::Head,
            since: io.now(),
        };
        self.state = State::Active(active);
        if let State::Active(active) = &self.state {
            active.tell(|| Event::Got {
                connection: number,
                is_reused,
                waited: timings.waited,
            });
            let bytes = self.fetch.last_head();
            active.tell(|| Event::RequestHead { bytes });
            active.tell_progress();
        }
        true
    }

    /// Writes the head, and the body where it is at hand.
    fn write(
        &mut self,
        io: &mut Io,
        request: &Request,
        recipient: Recipient<'_>,
        body: Body,
    ) -> Result<Upload, SendError> {
        let length = body.length();
        let options = self.shared.options();
        let max = options.requests_per_connection_max;
        let is_last = max.is_some_and(|max| self.exchanges_count + 1 >= max);
        let is_kept = !self.shared.is_last_use() && !is_last;
        let head = io.output.tail();
        let started = self
            .fetch
            .start_to(recipient, request, length, is_kept, head);
        if let Err(error) = started {
            guarded_drop(body);
            return Err(error);
        }
        let waits = options.continue_timeout > Duration::ZERO
            && length != Some(0)
            && request.headers().contains_token("expect", "100-continue");
        if waits {
            return Ok(Upload::Held(body));
        }
        write_body(io, &mut self.fetch, body, request.trailers())
    }
}

/// Writes the body where it is at hand.
fn write_body(
    io: &mut Io,
    fetch: &mut ClientMachine,
    body: Body,
    trailers: Option<&Headers>,
) -> Result<Upload, SendError> {
    if fetch.is_sent() {
        guarded_drop(body);
        return Ok(Upload::Done);
    }
    let content = match body.into_content() {
        Ok(content) => content,
        Err(body) => return Ok(Upload::Chunks(body)),
    };
    let length = content.length();
    if length > 0 {
        fetch.begin_chunk(length, io.output.tail())?;
        io.output.append_content(content);
        fetch.end_chunk(io.output.tail());
    }
    fetch.finish_body(trailers, io.output.tail())?;
    Ok(Upload::Done)
}

/// Whom the request is sent to: its connection was chosen for the same way.
fn recipient(options: &RequestOptions) -> Recipient<'_> {
    match options.via_override() {
        Some(Via::Forward(hop)) => Recipient::Proxy {
            authorization: hop.url().authorization(),
        },
        Some(Via::Tunnel(_) | Via::Unix(_) | Via::Link(_)) | None => Recipient::Origin,
    }
}

impl Active {
    /// Produces more of the body, as long as there is room for it and the caller has some.
    pub(super) fn pump_upload(
        &mut self,
        io: &mut Io,
        fetch: &mut ClientMachine,
    ) -> Result<(), Failure> {
        if matches!(self.upload, Upload::Due(_)) {
            let Upload::Due(body) = std::mem::replace(&mut self.upload, Upload::Done) else {
                unreachable!("just seen");
            };
            self.upload =
                write_body(io, fetch, body, self.request.trailers()).map_err(Failure::Request)?;
            self.tell_progress();
        }
        while let Upload::Chunks(body) = &mut self.upload {
            if io.is_full() {
                return Ok(());
            }
            let polled = caught(|| body.poll_chunk(&mut Context::from_waker(io.waker())));
            let polled = polled.unwrap_or_else(|panic| {
                Poll::Ready(Some(Err(Error::panicked(
                    "the stream of the request body",
                    &panic,
                ))))
            });
            match polled {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(chunk))) => {
                    fetch
                        .begin_chunk(chunk.len() as u64, io.output.tail())
                        .map_err(Failure::Request)?;
                    io.append_bytes(chunk);
                    fetch.end_chunk(io.output.tail());
                }
                Poll::Ready(Some(Err(error))) => return Err(Failure::RequestBody(error)),
                Poll::Ready(None) => {
                    let made = body.take_trailers();
                    let trailers = self.request.trailers().or(made.as_ref());
                    fetch
                        .finish_body(trailers, io.output.tail())
                        .map_err(Failure::Request)?;
                    guarded_drop(std::mem::replace(&mut self.upload, Upload::Done));
                    self.tell_progress();
                }
            }
        }
        Ok(())
    }

    /// The body has waited long enough, or is wanted.
    pub(super) fn release_body(&mut self) {
        self.upload = match std::mem::replace(&mut self.upload, Upload::Done) {
            Upload::Held(body) => Upload::Due(body),
            other => other,
        };
    }

    /// The final head came while the body waits: it is sent all the same, as the peer counts on it,
    /// unless the connection ends with the response (RFC 9110 §10.1.1).
    pub(super) fn answer_expectation(&mut self, closes: bool) {
        if closes && matches!(self.upload, Upload::Held(_)) {
            guarded_drop(std::mem::replace(&mut self.upload, Upload::Withheld));
        }
        self.release_body();
    }

    /// Tells how far the request has come.
    pub(super) fn tell_progress(&self) {
        let connection = self.number;
        match self.upload {
            Upload::Held(_) => self.tell(|| Event::ContinueAwaited { connection }),
            Upload::Done => self.tell(|| Event::Sent { connection }),
            Upload::Due(_) | Upload::Chunks(_) | Upload::Withheld => {}
        }
    }
}
