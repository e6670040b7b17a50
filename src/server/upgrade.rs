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

use ::http::StatusCode;

use crate::error::Error;
use crate::http::close_reason::CloseReason;
pub use crate::http::duplex::Duplex;
pub use crate::http::duplex::ReadHalf;
use crate::http::duplex::Takeover;
use crate::http::duplex::TakeoverFuture;
pub use crate::http::duplex::WriteHalf;
use crate::http::link::Link;
use crate::http::response::Response;
use crate::http::response::Special;
use crate::net::Io;
use crate::server::access_log::Ended;
use crate::server::exchange::Handover;
use crate::server::exchange::log_entry::LogEntry;
use crate::server::hooks::HandlerError;
use crate::server::log_lines::LogLines;
use crate::server::log_lines::how_it_ended;
use crate::server::record;
use crate::server::record::ConnectionRecord;
use crate::server::worker::Worker;
use crate::tunnel::Tunnel;
use crate::tunnel::TunnelOwner;

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

/// What goes on of an HTTP connection that was handed over.
pub(super) struct Upgraded {
    worker: Rc<Worker>,
    /// Of the request that was answered, which somebody may still hold.
    link: Option<Link>,
    /// What is known of the connection where somebody wants it.
    record: Option<Box<ConnectionRecord>>,
    /// Lines of the access log, of requests before.
    lines: LogLines,
    /// The line of the tunnel.
    log: Option<Box<LogEntry>>,
    /// Method and target of the request; empty where no hook wants them.
    label: String,
    has_panicked: bool,
}

/// Starts what takes over. The connection is called next.
pub(super) fn hand_over(
    worker: Rc<Worker>,
    handover: Handover,
    mut record: Option<Box<ConnectionRecord>>,
    lines: LogLines,
    io: &mut Io,
) -> Tunnel<Upgraded> {
    if let Some(record) = &mut record {
        record.upgraded(&worker);
    }
    let driver = handover.takeover.start(io.waker().clone());
    let owner = Upgraded {
        worker,
        link: handover.link,
        record,
        lines,
        log: handover.log,
        label: handover.label,
        has_panicked: false,
    };
    Tunnel::new(owner, driver, io)
}

impl TunnelOwner for Upgraded {
    fn is_closing(&self) -> bool {
        self.worker.is_shutting_down()
    }

    fn group(&self) -> usize {
        self.worker.group()
    }

    fn on_eof(&self) {
        if let Some(link) = &self.link {
            link.fire();
        }
    }

    fn on_panicked(&mut self, io: &mut Io, panic: &str) {
        self.has_panicked = true;
        self.worker.counters.count_panic();
        let (peer, local) = io.addresses();
        self.worker.tell_handler_error(&HandlerError {
            peer,
            local,
            request: &self.label,
            error: &Error::panicked("who has the connection", panic),
            status: None,
        });
    }

    fn on_taken(&mut self, io: &mut Io) {
        self.lines.write_taken(&self.worker, io);
    }

    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        let cause = cause.as_ref();
        let ended = match cause {
            _ if self.has_panicked => Ended::Panicked,
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
