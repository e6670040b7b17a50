//! One client connection: joins the exchanges of `h1::client` to the pool and to the callers.
//!
//! ```text
//!            given a request                response complete
//!   Idle ───────────────────► Active ──────────────────────────► Settling ──► Idle
//!    ▲ rests in the pool        │ │ body dropped   (request still     │ too late
//!    │                          │ └────► Draining   on its way out)   ▼
//!    └──────────────────────────┼──────────┘ ──────────────────────► Closing
//!                               ├─ lost without an answer ─► Failed ─► retry, or the error
//!                               └─ switched ─► Become(Tunnel): the caller has a Duplex
//! ```
//! A connection that fails says so only when it is closed: then no send is in flight any more, and
//! it is known whether the request may be sent again. While it rests, its receive stays armed: a
//! server that closes takes it out of the pool at once.

mod download;
mod timing;
mod upload;

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ::http::StatusCode;
use bytes::Bytes;

use crate::client::connection::download::Download;
use crate::client::connection::timing::WaitsFor;
use crate::client::connection::upload::Upload;
use crate::client::dial::Made;
use crate::client::exchange;
use crate::client::exchange::Exchange;
use crate::client::failure::Failure;
use crate::client::observe;
use crate::client::observe::Observers;
use crate::client::options::RequestOptions;
use crate::client::pool::EntryKey;
use crate::client::transport::Shared;
use crate::error::Phase;
use crate::guard::guarded_drop;
use crate::h1::client::ClientMachine;
use crate::h1::client::Event;
use crate::h1::client::FetchError;
use crate::http::close_reason::CloseReason;
use crate::http::duplex::duplex;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::response::Special;
use crate::http::timings::Timings;
use crate::limits::DRAIN_BYTES_MAX;
use crate::limits::RESPONSE_DRAIN_TIMEOUT;
use crate::net;
use crate::net::ConnectionKey;
use crate::net::Io;
use crate::net::Protocol;
use crate::net::Receive;
use crate::net::Received;
use crate::net::Step;
use crate::runtime::Instant;
use crate::tunnel::Tunnel;
use crate::tunnel::TunnelOwner;

/// What the pool knows of a connection, and how it is given a request.
pub(super) struct Slot {
    /// Its place in the pool, `None` before it has one and after it left.
    entry: Cell<Option<EntryKey>>,
    /// Its place in `net`.
    connection: Cell<Option<ConnectionKey>>,
    /// The request it has to send next.
    next: RefCell<Option<Rc<Exchange>>>,
    /// True exactly when the pool has evicted it.
    is_evicted: Cell<bool>,
}

/// The protocol of a client connection.
pub(super) struct Connection {
    shared: Rc<Shared>,
    slot: Rc<Slot>,
    fetch: ClientMachine,
    state: State,
    made: Made,
    /// Names it for observers.
    number: u64,
    /// Exchanges that were completed on this connection.
    exchanges_count: u64,
    /// True exactly when a byte of the request under way was taken by our kernel; known when the
    /// connection has ended.
    has_sent: bool,
    /// True exactly when it ended since nothing of what waited could be sent for too long.
    is_write_late: bool,
    /// Why it is not used again, where its exchange does not tell.
    close_reason: Option<CloseReason>,
}

enum State {
    /// It rests in the pool, or was just given a request.
    Idle,
    /// It works for a caller.
    Active(Active),
    /// The response is complete, the kernel has not confirmed all of the request yet.
    Settling,
    /// The caller dropped the body; the rest of it is read and dropped.
    Draining {
        left_bytes: usize,
    },
    /// No response came; what follows is decided when nothing is in flight any more.
    Failed(Active, Failure),
    Closing,
}

/// A request under way.
struct Active {
    exchange: Rc<Exchange>,
    /// The head, and the body where it can be sent again.
    request: Request,
    /// True exactly when `request` is all that is needed to send it again.
    is_replayable: bool,
    options: RequestOptions,
    /// Up to the head.
    timings: Timings,
    peer: Option<SocketAddr>,
    /// When the connection was given to it.
    got_at: Instant,
    /// Who hears of it; `None` where nobody does.
    observers: Option<Observers>,
    /// Of the connection.
    number: u64,
    upload: Upload,
    download: Download,
    waits_for: WaitsFor,
    /// Since when, or since the last progress.
    since: Instant,
}

impl Slot {
    pub(super) fn new() -> Slot {
        Slot {
            entry: Cell::new(None),
            connection: Cell::new(None),
            next: RefCell::new(None),
            is_evicted: Cell::new(false),
        }
    }

    /// Says where the connection stands in the pool and in `net`; a detached one stands in no `net`.
    pub(super) fn set_keys(&self, entry: EntryKey, connection: Option<ConnectionKey>) {
        self.entry.set(Some(entry));
        self.connection.set(connection);
    }

    pub(super) fn entry(&self) -> Option<EntryKey> {
        self.entry.get()
    }

    /// Gives the connection its next request; it has to be woken.
    pub(super) fn give(&self, exchange: Rc<Exchange>) {
        let before = self.next.borrow_mut().replace(exchange);
        assert!(before.is_none(), "a connection is given two requests");
    }

    /// Takes the request back that the connection has not begun.
    pub(super) fn take(&self) -> Option<Rc<Exchange>> {
        self.next.borrow_mut().take()
    }

    /// The pool does not want the connection any more; it has to be woken.
    pub(super) fn evict(&self) {
        self.entry.set(None);
        self.is_evicted.set(true);
    }

    /// Wakes the connection.
    pub(super) fn wake(&self, shared: &Shared) {
        if let Some(connection) = self.connection.get() {
            shared.wake(connection);
        }
    }
}

/// A connection that was handed over is nobody's but for the client, whose core must not end before.
impl TunnelOwner for Rc<Shared> {}

impl Connection {
    pub(super) fn new(shared: Rc<Shared>, slot: Rc<Slot>, made: Made) -> Connection {
        let limits = shared.options().head_limits();
        Connection {
            number: shared.number_connection(),
            shared,
            slot,
            fetch: ClientMachine::new(limits),
            state: State::Idle,
            made,
            exchanges_count: 0,
            has_sent: true,
            is_write_late: false,
            close_reason: None,
        }
    }

    // ---- between exchanges -------------------------------------------------------------------

    /// Sends this request, or the next one that waits if it cannot be sent; rests otherwise.
    fn serve(&mut self, io: &mut Io, exchange: Rc<Exchange>) -> Step {
        // Nothing is unread when it closes; and the connection watches its own sends.
        io.set_linger(false);
        io.set_write_timeout(self.shared.options().write_timeout);
        // The last body may have left it paused, or in large pieces: here comes a head.
        if matches!(io.receive(), Receive::Paused | Receive::Body(_)) {
            io.set_receive(Receive::Standing);
        }
        let mut next = Some(exchange);
        while let Some(exchange) = next {
            if self.start(io, exchange) {
                return self.proceed(io, false);
            }
            next = self.shared.release(&self.slot, io.now());
        }
        self.rest(io)
    }

    /// Waits in the pool.
    fn rest(&mut self, io: &mut Io) -> Step {
        self.state = State::Idle;
        let deadline = self.shared.idle_deadline(&self.slot);
        if self.slot.is_evicted.get() || deadline.is_none() {
            return self.close(CloseReason::Evicted);
        }
        io.set_receive(Receive::Standing);
        io.set_deadline(deadline);
        Step::Continue
    }

    /// The response is complete: the next request, or the end.
    fn finish(&mut self, io: &mut Io) -> Step {
        io.set_resets(false);
        let mut is_cut = false;
        if let State::Active(active) = &mut self.state
            && !self.fetch.is_sent()
        {
            // The caller has its response; with a body that failed only the connection is lost.
            is_cut = active.pump_upload(io, &mut self.fetch).is_err();
        }
        let state = std::mem::replace(&mut self.state, State::Settling);
        if let State::Active(active) = state {
            let connection = self.number;
            let is_sent = io.pending_bytes() == 0 && self.fetch.is_sent();
            active.tell(|| observe::Event::Finished {
                connection,
                is_sent,
            });
            active.discard();
        }
        self.exchanges_count += 1;
        if let Some(reason) = self.reason_to_close(io, is_cut) {
            let is_unsent = io.pending_bytes() > 0 || !self.fetch.is_sent();
            let closed = self.close(reason);
            // Nobody wants the rest of the request, however long it is.
            return if is_unsent { Step::Abort } else { closed };
        }
        if io.pending_bytes() > 0 {
            // The answer may overtake the completion of the last send.
            io.notify_when_all_sent();
            io.set_receive(Receive::Standing);
            io.set_deadline(Some(io.now() + RESPONSE_DRAIN_TIMEOUT));
            return Step::Continue;
        }
        self.reuse(io)
    }

    /// Why the connection is not used again after a complete response.
    fn reason_to_close(&mut self, io: &Io, is_cut: bool) -> Option<CloseReason> {
        if is_cut || !self.fetch.is_sent() {
            // The peer has answered before it had read the request.
            return Some(CloseReason::EarlyResponse);
        }
        if let Err(reason) = self.fetch.settle() {
            return Some(reason);
        }
        if io.is_send_broken() {
            return Some(CloseReason::Failed);
        }
        self.is_worn().then_some(CloseReason::RequestCount)
    }

    fn reuse(&mut self, io: &mut Io) -> Step {
        if let Some(timeout) = self.fetch.keep_alive_timeout() {
            self.shared.set_peer_timeout(&self.slot, timeout);
        }
        match self.shared.release(&self.slot, io.now()) {
            Some(exchange) => self.serve(io, exchange),
            None => {
                if let Some(observer) = &self.shared.options().observer {
                    let connection = self.number;
                    observer.tell(&observe::Event::Rested { connection });
                }
                self.rest(io)
            }
        }
    }

    /// True when it has served all the requests that it may.
    fn is_worn(&self) -> bool {
        let max = self.shared.options().requests_per_connection_max;
        max.is_some_and(|max| self.exchanges_count >= max)
    }

    /// An orderly end.
    fn close(&mut self, reason: CloseReason) -> Step {
        self.close_reason.get_or_insert(reason);
        self.leave_pool();
        if let State::Active(active) = std::mem::replace(&mut self.state, State::Closing) {
            active.discard();
        }
        Step::CloseAfterFlush
    }

    fn tell_closed(&self) {
        if let Some(observer) = &self.shared.options().observer {
            let reason = self.close_reason.unwrap_or(CloseReason::Failed);
            observer.tell(&observe::Event::Closed {
                connection: self.number,
                reason: reason.explain(),
            });
        }
    }

    fn leave_pool(&mut self) {
        if let Some(entry) = self.slot.entry.take() {
            self.shared.remove(entry);
        }
    }

    // ---- failures ----------------------------------------------------------------------------

    /// The exchange cannot go on, and with it the connection.
    fn fail(&mut self, failure: Failure) -> Step {
        self.close_reason.get_or_insert(failure.close_reason());
        self.leave_pool();
        match std::mem::replace(&mut self.state, State::Closing) {
            State::Active(active) if active.download.is_awaiting_head() => {
                self.state = State::Failed(active, failure);
            }
            State::Active(active) => active.fail_body(failure),
            _ => {}
        }
        Step::Abort
    }

    /// Nothing is in flight any more: the request goes to another connection, or fails.
    fn decide(&mut self, active: Active, failure: Failure) {
        let is_stale =
            self.exchanges_count > 0 && failure.is_lost_connection() && self.fetch.is_unanswered();
        let may_repeat = active.is_replayable && (!self.has_sent || active.means_the_same_twice());
        let is_unexpected = matches!(failure, Failure::Expectation);
        if (is_unexpected || is_stale && may_repeat) && !active.exchange.is_canceled() {
            let Active {
                exchange,
                mut request,
                options,
                upload,
                ..
            } = active;
            match upload {
                // What was expected in vain comes along the second time.
                Upload::Held(body) if is_unexpected => request.set_body(body),
                upload => guarded_drop(upload),
            }
            if is_unexpected {
                // Without it there is no second time.
                request.headers_mut().remove("expect");
            }
            exchange.restart(request, options);
            self.shared.retry(exchange);
            return;
        }
        let phase = active.phase();
        let error = failure.into_error(phase, active.request.url());
        active.exchange.fail(error, active.observers.as_ref());
        active.discard();
    }

    // ---- the exchange ------------------------------------------------------------------------

    /// Feeds what arrived to the exchange. `owner` owns the bytes of `input`, where they need not
    /// be copied.
    fn feed(&mut self, io: &mut Io, mut input: &[u8], owner: Option<&Bytes>) -> Step {
        match self.state {
            State::Active(_) | State::Draining { .. } => {}
            // Bytes that belong to no request.
            State::Idle | State::Settling => return self.close(CloseReason::UnexpectedBytes),
            State::Failed(..) | State::Closing => return Step::Continue,
        }
        let mut has_progress = false;
        loop {
            let (used, event) = match self.fetch.receive(input) {
                Ok(received) => received,
                Err(error) => return self.fail(Failure::Response(error)),
            };
            input = &input[used..];
            if matches!(event, Event::Partial) {
                break;
            }
            has_progress = true;
            if let (Event::Informational(_) | Event::Head(..), State::Active(active)) =
                (&event, &self.state)
            {
                let bytes = self.fetch.last_head();
                active.tell(|| observe::Event::ResponseHead { bytes });
            }
            if self.fetch.has_switched() {
                return self.switch(io, event, input);
            }
            match self.take_event(event, owner, io.now()) {
                Ok(true) => {}
                Ok(false) => {
                    self.close(CloseReason::BodyUnread);
                    return Step::Abort;
                }
                Err(failure) => return self.fail(failure),
            }
        }
        if self.fetch.is_received() {
            return self.finish(io);
        }
        self.proceed(io, has_progress)
    }

    /// Passes an event on; false when more comes than is drained.
    fn take_event(
        &mut self,
        event: Event<'_>,
        owner: Option<&Bytes>,
        now: Instant,
    ) -> Result<bool, Failure> {
        let closes = self.fetch.close_reason().is_some();
        Ok(match &mut self.state {
            State::Active(active) => {
                match event {
                    Event::Partial => {}
                    Event::Informational(head) => active.take_informational(&head)?,
                    Event::Head(response, _) if active.repeats_unexpected(&response) => {
                        return Err(Failure::Expectation);
                    }
                    Event::Head(response, framing) => {
                        active.take_head(response, framing, now);
                        active.answer_expectation(closes);
                    }
                    Event::Data(data) => active.take_data(&self.shared, data, owner),
                    Event::End(trailers) => active.take_end(trailers),
                }
                true
            }
            State::Draining { left_bytes } => match event {
                Event::Data(data) => match left_bytes.checked_sub(data.len()) {
                    Some(left) => {
                        *left_bytes = left;
                        true
                    }
                    None => false,
                },
                _ => true,
            },
            _ => true,
        })
    }

    /// The peer has agreed to go on with something else than HTTP: the caller gets the connection,
    /// beginning with what came behind the head.
    fn switch(&mut self, io: &mut Io, event: Event<'_>, behind: &[u8]) -> Step {
        let Event::Head(mut response, _) = event else {
            unreachable!("a switch begins with a final head");
        };
        if !self.fetch.is_sent() {
            return self.fail(Failure::Response(FetchError::EarlySwitch));
        }
        self.close_reason = Some(CloseReason::Upgraded);
        self.leave_pool();
        let State::Active(mut active) = std::mem::replace(&mut self.state, State::Closing) else {
            // Nobody waits for it: the body of its request's response was dropped before it came.
            return Step::Abort;
        };
        let (driver, duplex) = duplex(io.waker().clone());
        active.describe(&mut response, io.now());
        active
            .exchange
            .complete(Ok(response.with_special(Special::Duplex(duplex))));
        active.discard();
        self.tell_closed();
        let tunnel = Tunnel::new(Rc::clone(&self.shared), driver, io);
        Step::Become(Box::new(tunnel), Bytes::copy_from_slice(behind))
    }

    /// Does what can be done now: sends, hands over, receives, sets the deadline.
    fn proceed(&mut self, io: &mut Io, has_progress: bool) -> Step {
        let State::Active(active) = &mut self.state else {
            return Step::Continue;
        };
        if active.download.is_awaiting_head() && active.exchange.is_canceled() {
            self.close(CloseReason::Canceled);
            return Step::Abort;
        }
        if let Err(failure) = active.pump_upload(io, &mut self.fetch) {
            return self.fail(failure);
        }
        active.hand_over();
        if active.download.is_unwanted() {
            return self.drain(io);
        }
        active.arm(io, &self.fetch);
        active.watch(io, &self.shared, has_progress);
        Step::Continue
    }

    /// The caller has dropped the body.
    fn drain(&mut self, io: &mut Io) -> Step {
        let missing = self.fetch.missing_bytes();
        let is_long = missing.is_some_and(|missing| missing > DRAIN_BYTES_MAX as u64);
        let state = std::mem::replace(&mut self.state, State::Closing);
        if let State::Active(active) = state {
            active.discard();
        }
        if is_long || !self.fetch.is_sent() || self.fetch.close_reason().is_some() {
            self.close(CloseReason::BodyUnread);
            return Step::Abort;
        }
        self.state = State::Draining {
            left_bytes: DRAIN_BYTES_MAX,
        };
        io.set_receive(Receive::Standing);
        io.set_deadline(Some(io.now() + RESPONSE_DRAIN_TIMEOUT));
        Step::Continue
    }
}

impl Protocol for Connection {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        match data {
            Received::Borrowed(bytes) => self.feed(io, bytes, None),
            Received::Owned(bytes) => {
                let bytes = bytes.freeze();
                self.feed(io, &bytes, Some(&bytes))
            }
        }
    }

    fn on_sent(&mut self, io: &mut Io) -> Step {
        match self.state {
            State::Active(_) => self.proceed(io, true),
            State::Settling if io.pending_bytes() == 0 => self.reuse(io),
            State::Settling => {
                io.notify_when_all_sent();
                Step::Continue
            }
            _ => Step::Continue,
        }
    }

    fn on_eof(&mut self, io: &mut Io) -> Step {
        match self.state {
            State::Active(_) => {}
            State::Failed(..) => return Step::Continue,
            _ => return self.close(CloseReason::PeerClosed),
        }
        match self.fetch.receive_end() {
            Ok(event) => match self.take_event(event, None, io.now()) {
                Ok(_) => self.finish(io),
                Err(failure) => self.fail(failure),
            },
            Err(error) => self.fail(Failure::Response(error)),
        }
    }

    fn on_deadline(&mut self, io: &mut Io) -> Step {
        let now = io.now();
        match &mut self.state {
            State::Idle => match self.slot.take() {
                Some(exchange) => self.serve(io, exchange),
                None => match self.shared.expire(&self.slot, now) {
                    Some(_) => self.rest(io),
                    None => self.close(CloseReason::Evicted),
                },
            },
            State::Active(active) => match active.overdue(io, &self.shared) {
                Some(failure) => self.fail(failure),
                None => self.proceed(io, false),
            },
            State::Settling | State::Draining { .. } => {
                self.close(CloseReason::Timeout);
                Step::Abort
            }
            State::Failed(..) | State::Closing => Step::Continue,
        }
    }

    fn on_ready(&mut self, io: &mut Io) -> Step {
        match self.state {
            State::Idle => match self.slot.take() {
                Some(exchange) => self.serve(io, exchange),
                None => self.rest(io),
            },
            State::Active(_) => self.proceed(io, false),
            _ => Step::Continue,
        }
    }

    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        self.has_sent = io.has_sent();
        self.is_write_late = io.is_write_late();
        self.close_reason.get_or_insert(CloseReason::Failed);
        self.leave_pool();
        self.tell_closed();
        let is_ours = cause.as_ref().is_some_and(net::is_own_end);
        match std::mem::replace(&mut self.state, State::Closing) {
            State::Failed(active, failure) => self.decide(active, failure),
            State::Active(active) => {
                let failure = match cause {
                    Some(_) if self.is_write_late => {
                        Failure::WriteTimeout(self.shared.options().write_timeout)
                    }
                    // The core ends, and takes its connections with it.
                    Some(_) if is_ours => Failure::Connection(None),
                    cause => Failure::Connection(cause),
                };
                if active.download.is_awaiting_head() {
                    self.decide(active, failure);
                } else {
                    active.fail_body(failure);
                }
            }
            _ => {}
        }
        // Given, but not begun: nothing of it was sent.
        if let Some(exchange) = self.slot.take() {
            if is_ours {
                let url = exchange.with_request(|request, _| request.url().cloned());
                let error = Failure::Connection(None);
                let error = error.into_error(Phase::Connect, url.flatten().as_ref());
                exchange.complete(Err(error));
            } else {
                self.shared.retry(exchange);
            }
        }
    }
}

impl Active {
    /// True when the request means the same, sent once and twice (net/http's `shouldRetryRequest`).
    fn means_the_same_twice(&self) -> bool {
        let headers = self.request.headers();
        self.request.method().is_safe()
            || headers.contains("idempotency-key")
            || headers.contains("x-idempotency-key")
    }

    /// True when the server knows no `Expect: 100-continue`, and the request can go out again without
    /// it (RFC 9110 §10.1.1): its body was not touched, or can be made again.
    fn repeats_unexpected(&self, response: &Response) -> bool {
        if response.status_code() != StatusCode::EXPECTATION_FAILED {
            return false;
        }
        let expects = self.request.headers().get("expect");
        expects.is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
            && (self.is_replayable || matches!(self.upload, Upload::Held(_)))
    }

    /// Tells whoever observes; the event is made only for somebody.
    fn tell<'a>(&self, event: impl FnOnce() -> observe::Event<'a>) {
        if let Some(observers) = &self.observers {
            observers.tell(&event());
        }
    }

    /// An informational head: an answer to the expectation, and something to tell.
    fn take_informational(&mut self, head: &Response) -> Result<(), Failure> {
        let (status, headers) = (head.status_code(), head.headers());
        self.tell(|| observe::Event::Informational { status, headers });
        if let Some(hook) = self.options.informational_hook() {
            hook.call(status, headers).map_err(Failure::Refused)?;
        }
        if status == StatusCode::CONTINUE {
            self.release_body();
        }
        Ok(())
    }

    /// Drops what belongs to the caller, and gives the rest back for the next request.
    fn discard(self) {
        let Active {
            exchange,
            request,
            options,
            observers,
            upload,
            download,
            ..
        } = self;
        guarded_drop((request, upload, download, options, observers));
        exchange::recycle(exchange);
    }
}
