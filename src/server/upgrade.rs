//! Connections that go on with something else than HTTP: an upgrade (101), or the tunnel of a
//! CONNECT.
//!
//! ```text
//!   Response::upgrade ─┐                              ┌─► Duplex ─► the closure, polled here
//!   Response::tunnel ──┴─► Connection ─ Become ─► Tunnel
//!                              what was received behind the request goes with it
//! ```
//!
//! The connection stays what it was for everybody else: it is counted, its writes have a time-out,
//! a shutdown tells it ([`Duplex::closing`]) and ends it at its deadline. Nothing else bounds how
//! long it may rest: who speaks the protocol knows, and has [`timeout`](crate::runtime::timeout).

use std::io;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

use ::http::StatusCode;

use crate::error::Error;
use crate::guard::caught;
use crate::guard::guarded_drop;
use crate::http::close_reason::CloseReason;
use crate::http::disconnect::Disconnect;
use crate::http::duplex::Driver;
pub use crate::http::duplex::Duplex;
pub use crate::http::duplex::ReadHalf;
use crate::http::duplex::Takeover;
use crate::http::duplex::TakeoverFuture;
pub use crate::http::duplex::WriteHalf;
use crate::http::duplex::duplex;
use crate::http::response::Response;
use crate::http::response::Special;
use crate::limits::BODY_RECV_BYTES;
use crate::limits::RECV_BUFFER_BYTES;
use crate::net::Io;
use crate::net::Protocol;
use crate::net::Receive;
use crate::net::Received;
use crate::net::Step;
use crate::server::access_log::Ended;
use crate::server::exchange::Handover;
use crate::server::exchange::log_entry::LogEntry;
use crate::server::hooks::HandlerError;
use crate::server::log_lines::LogLines;
use crate::server::log_lines::how_it_ended;
use crate::server::record;
use crate::server::record::ConnectionRecord;
use crate::server::worker::Worker;

impl Response {
    /// Answers a request to change the protocol (RFC 9110 §7.8): 101 with `Upgrade: protocol`, then
    /// `run` has the connection, on the same thread, for as long as it or a half of the duplex
    /// lives. Further fields, such as `Sec-WebSocket-Accept`, are added as usual.
    ///
    /// A client that has not asked for it, with `Connection: upgrade` and this protocol among those
    /// of `Upgrade`, in HTTP/1.1, is answered 426; one that sends a body which the handler has not
    /// read to its end, 400. What `run` returns is dropped: who would like to be told of an error
    /// has to look at it there. If it panics, the connection is reset.
    ///
    /// ```
    /// use roundtrip::Request;
    /// use roundtrip::Response;
    /// use roundtrip::Router;
    ///
    /// let router = Router::new().get("/echo", |_: &Request| {
    ///     Response::upgrade("echo", async |mut duplex| {
    ///         while let Some(bytes) = duplex.read().await? {
    ///             duplex.write(bytes).await?;
    ///         }
    ///         Ok::<_, roundtrip::Error>(())
    ///     })
    /// });
    /// # let _ = router;
    /// ```
    pub fn upgrade<F, R>(protocol: &str, run: F) -> Response
    where
        F: AsyncFnOnce(Duplex) -> R + 'static,
    {
        Response::new()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("Upgrade", protocol)
            .with_special(takeover(Some(protocol), run))
    }

    /// Answers CONNECT with a tunnel (RFC 9110 §9.3.6): 200 without a body, then `run` has the
    /// connection as with [`Response::upgrade`]. In answer to anything else it is a 500.
    pub fn tunnel<F, R>(run: F) -> Response
    where
        F: AsyncFnOnce(Duplex) -> R + 'static,
    {
        Response::new().with_special(takeover(None, run))
    }
}

fn takeover<F, R>(protocol: Option<&str>, run: F) -> Special
where
    F: AsyncFnOnce(Duplex) -> R + 'static,
{
    let run = move |duplex| -> TakeoverFuture {
        Box::pin(async move {
            run(duplex).await;
        })
    };
    Special::Takeover(Takeover {
        protocol: protocol.map(str::to_owned),
        run: Box::new(run),
    })
}

/// A connection that was handed over: drives the closure that has it.
pub(super) struct Tunnel {
    worker: Rc<Worker>,
    /// Of the request that was answered, which somebody may still hold.
    disconnect: Option<Disconnect>,
    driver: Driver,
    /// What is known of the connection where somebody wants it.
    record: Option<Box<ConnectionRecord>>,
    /// Lines of the access log, of requests before.
    lines: LogLines,
    /// The line of the tunnel.
    log: Option<Box<LogEntry>>,
    /// Method and target of the request; empty where no hook wants them.
    label: String,
    /// `None` when it has ended.
    future: Option<TakeoverFuture>,
    /// True exactly when the last piece that arrived filled its buffer.
    is_bulk: bool,
    /// True exactly when the peer was told that nothing more comes.
    has_ended: bool,
    /// What a panic of the closure said.
    panic: Option<String>,
}

impl Tunnel {
    /// Starts what takes over. The connection is called next.
    pub(super) fn start(
        worker: Rc<Worker>,
        handover: Handover,
        mut record: Option<Box<ConnectionRecord>>,
        lines: LogLines,
        io: &mut Io,
    ) -> Tunnel {
        let (driver, duplex) = duplex(io.waker().clone());
        let started = caught(|| (handover.takeover.run)(duplex));
        io.set_deadline(None);
        io.set_linger(true);
        if worker.is_shutting_down() {
            driver.fire_closing();
        }
        if let Some(record) = &mut record {
            record.upgraded(&worker);
        }
        Tunnel {
            worker,
            disconnect: handover.disconnect,
            driver,
            record,
            lines,
            log: handover.log,
            label: handover.label,
            panic: started.as_ref().err().cloned(),
            future: started.ok(),
            is_bulk: false,
            has_ended: false,
        }
    }

    /// Lets the closure go on, and takes what it writes.
    fn proceed(&mut self, io: &mut Io) -> Step {
        self.driver.set_room(!io.is_full());
        if let Some(future) = &mut self.future {
            let waker = io.waker().clone();
            let mut cx = Context::from_waker(&waker);
            let polled = caught(|| future.as_mut().poll(&mut cx));
            if polled != Ok(Poll::Pending) {
                self.panic = polled.err();
                guarded_drop(self.future.take());
            }
        }
        if let Some(panic) = &self.panic {
            self.worker.counters.count_panic();
            let (peer, local) = io.addresses();
            self.worker.tell_handler_error(&HandlerError {
                peer,
                local,
                request: &self.label,
                error: &Error::panicked("who has the connection", panic),
                status: None,
            });
            io.set_resets(true);
            return Step::Abort;
        }
        while let Some(bytes) = self.driver.take() {
            io.append_bytes(bytes);
        }
        self.driver.set_room(!io.is_full());
        self.settle(io)
    }

    fn settle(&mut self, io: &mut Io) -> Step {
        if self.future.is_none() && self.driver.is_abandoned() {
            return Step::CloseAfterFlush;
        }
        io.set_receive(self.receive_mode());
        if self.driver.has_taken_all() && !self.has_ended {
            if io.pending_bytes() == 0 {
                self.has_ended = true;
                return Step::EndOutput;
            }
            io.notify_when_all_sent();
        }
        Step::Continue
    }

    fn receive_mode(&self) -> Receive {
        if !self.driver.has_appetite() {
            return Receive::Paused;
        }
        // One that rests owns no buffer.
        if self.is_bulk && self.driver.is_wanted() {
            Receive::Body(BODY_RECV_BYTES)
        } else {
            Receive::Once
        }
    }
}

impl Protocol for Tunnel {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        self.is_bulk = data.as_slice().len() >= RECV_BUFFER_BYTES as usize;
        self.driver.push(data.into_bytes_from(0));
        self.proceed(io)
    }

    fn on_sent(&mut self, io: &mut Io) -> Step {
        self.proceed(io)
    }

    fn on_eof(&mut self, io: &mut Io) -> Step {
        self.driver.end();
        if let Some(disconnect) = &self.disconnect {
            disconnect.fire();
        }
        self.proceed(io)
    }

    fn on_deadline(&mut self, io: &mut Io) -> Step {
        self.proceed(io)
    }

    fn on_ready(&mut self, io: &mut Io) -> Step {
        if self.worker.is_shutting_down() {
            self.driver.fire_closing();
        }
        self.proceed(io)
    }

    fn group(&self) -> usize {
        self.worker.group()
    }

    fn on_taken(&mut self, io: &mut Io) {
        self.lines.write_taken(&self.worker, io);
    }

    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        if let Some(disconnect) = &self.disconnect {
            disconnect.fire();
        }
        self.driver.fail();
        guarded_drop(self.future.take());
        let cause = cause.as_ref();
        let ended = match cause {
            _ if self.panic.is_some() => Ended::Panicked,
            None => Ended::Complete,
            Some(_) => how_it_ended(io, cause, false),
        };
        let running = self.log.take();
        self.lines.write_all(&self.worker, io, running, ended);
        let record = self.record.take();
        record::end(record, &self.worker, CloseReason::Upgraded, io, cause);
        self.worker.counters.count_closed(io.is_cut());
    }
}
