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

mod answering;
mod input;
pub(super) mod life;
pub(super) mod logging;
mod receiving;
mod settling;
mod special;
mod terms;
#[cfg(test)]
mod tests;
mod timing;

use std::io;
use std::rc::Rc;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::guard::guarded_drop;
use crate::http::body::Body;
use crate::http::disconnect::Disconnect;
use crate::http::duplex::Takeover;
use crate::http::framing::CloseReason;
use crate::http::headers::Headers;
use crate::http::incoming::Sender;
use crate::http::serve::Exchange;
use crate::net::Io;
use crate::net::Protocol;
use crate::net::Received;
use crate::net::Step;
use crate::server::connection::input::Input;
use crate::server::connection::life::Life;
use crate::server::connection::logging::Log;
use crate::server::connection::terms::Terms;
use crate::server::connection::timing::Credit;
use crate::server::connection::timing::Expired;
use crate::server::connection::timing::Timing;
use crate::server::handler::ResponseFuture;
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
    /// What holds for this request and not for most; kept for the next that needs it.
    terms: Option<Box<Terms>>,
    /// Of the access log, while lines of it are to be written.
    log: Option<Box<Log>>,
    /// What is known of the connection where somebody wants it.
    life: Option<Box<Life>>,
    timing: Timing,
    credit: Credit,
    /// Bytes of the request's body so far.
    body_bytes: u64,
    /// Bytes of a body that nobody reads.
    drained_bytes: u32,
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
    /// True exactly when the worker counts this connection among those with a request in flight.
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

impl Connection {
    /// A connection that was just accepted.
    pub fn accept(worker: Rc<Worker>, io: &mut Io) -> Connection {
        let timing = Timing::accepted(&worker.options, io);
        let life = Life::begin(&worker, io);
        Connection {
            worker,
            exchange: Exchange::new(),
            work: Work::Nothing,
            sender: None,
            behind: Vec::new(),
            disconnect: None,
            terms: None,
            log: None,
            life,
            timing,
            credit: Credit::FULL,
            body_bytes: 0,
            drained_bytes: 0,
            is_standing: false,
            has_large_bodies: false,
            is_half_closed: false,
            has_unread: false,
            is_cut: false,
            is_in_flight: false,
        }
    }

    /// Received bytes that are kept: a part of a head, and what waits behind a request that runs.
    pub fn held_bytes(&self) -> usize {
        self.exchange.held_bytes() + self.behind.len()
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
        let expired = self.terms.as_ref().and_then(|terms| terms.expired(io));
        if let Some((timeout, knob)) = expired {
            self.time_out_handler(io, timeout, knob);
            self.proceed(io);
            return self.settle(io);
        }
        match self.timing.expired(&self.exchange) {
            Expired::Not => Step::Continue,
            Expired::Silently => {
                self.note_idle_over(io);
                Step::CloseAfterFlush
            }
            Expired::Idle => match self.may_idle_until(io) {
                Some(deadline) => {
                    io.set_deadline(Some(deadline));
                    Step::Continue
                }
                None => {
                    self.note_idle_over(io);
                    Step::CloseAfterFlush
                }
            },
            Expired::Head => {
                self.worker.counters.count_header_timeout();
                let refusal = self.exchange.time_out_head();
                self.refuse(io, refusal, &[]);
                self.settle(io)
            }
            Expired::Body => {
                self.note_late_body(io);
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

    fn on_taken(&mut self, io: &mut Io) {
        self.log_taken(io);
        // One that waits for its next request is idle from now on.
        self.live_on(io);
    }

    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        if let Some(disconnect) = &self.disconnect {
            disconnect.fire();
        }
        guarded_drop(std::mem::replace(&mut self.work, Work::Nothing));
        self.sender = None;
        self.settle_flight();
        self.log_closed(io, cause.as_ref());
        self.live_closed(io, cause.as_ref());
        // The last: who sees that a connection is gone sees all that is counted of it.
        self.worker.counters.count_closed(io.is_cut());
    }
}
