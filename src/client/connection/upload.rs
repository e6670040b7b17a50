//! The request's way out: the head, then the body as the caller makes it and the peer takes it.
//!
//! ```text
//!   start ──► head ──► bytes, a file ────────────────────────► Done
//!                 └──► Chunks: poll, while there is room ──────┘
//! ```

use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use crate::client::connection::Active;
use crate::client::connection::Connection;
use crate::client::connection::State;
use crate::client::connection::WaitsFor;
use crate::client::connection::download::Download;
use crate::client::dial::Made;
use crate::client::exchange;
use crate::client::exchange::Exchange;
use crate::client::failure::Failure;
use crate::error::Phase;
use crate::http::body::Body;
use crate::http::body::Content;
use crate::http::body::Part;
use crate::http::fetch::Fetch;
use crate::http::fetch::SendError;
use crate::http::request::Request;
use crate::http::timings::Timings;
use crate::net::Io;

/// What is still to be produced of the request.
pub(super) enum Upload {
    /// The rest of the body comes from the caller.
    Chunks(Body),
    /// All of it is in the output.
    Done,
}

impl Upload {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Upload::Done)
    }
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
        let upload = match self.write(io, &request, body) {
            Ok(upload) => upload,
            Err(error) => {
                let error = Failure::Request(error).into_error(Phase::Send, request.url());
                exchange.complete(Err(error));
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
        self.state = State::Active(Active {
            timings,
            peer: self.made.peer,
            got_at: io.now(),
            exchange,
            request,
            is_replayable,
            options,
            upload,
            download: Download::Head,
            waits_for: WaitsFor::Write,
            since: io.now(),
        });
        true
    }

    /// Writes the head, and the body where it is at hand.
    fn write(&mut self, io: &mut Io, request: &Request, body: Body) -> Result<Upload, SendError> {
        let length = body.length();
        let is_kept = !self.shared.is_last_use();
        self.fetch
            .start(request, length, is_kept, io.output.tail())?;
        if length == Some(0) {
            return Ok(Upload::Done);
        }
        match body.into_content() {
            Content::Empty => {}
            Content::Bytes(bytes) => {
                self.fetch
                    .begin_chunk(bytes.len() as u64, io.output.tail())?;
                io.append_bytes(bytes);
            }
            Content::File { file, range } => {
                self.fetch
                    .begin_chunk(range.end - range.start, io.output.tail())?;
                io.append_file(file, range);
            }
            Content::Parts(pieces) => {
                let length = pieces.iter().map(Part::length).sum();
                self.fetch.begin_chunk(length, io.output.tail())?;
                for piece in pieces {
                    match piece {
                        Part::Bytes(bytes) => io.append_bytes(bytes),
                        Part::File { file, range } => io.append_file(file, range),
                    }
                }
            }
            Content::Chunks(body) => return Ok(Upload::Chunks(body)),
        }
        self.fetch.finish_body(io.output.tail())?;
        Ok(Upload::Done)
    }
}

impl Active {
    /// Produces more of the body, as long as there is room for it and the caller has some.
    pub(super) fn pump_upload(&mut self, io: &mut Io, fetch: &mut Fetch) -> Result<(), Failure> {
        while let Upload::Chunks(body) = &mut self.upload {
            if io.is_full() {
                return Ok(());
            }
            let polled = body.poll_chunk(&mut Context::from_waker(io.waker()));
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
                    fetch
                        .finish_body(io.output.tail())
                        .map_err(Failure::Request)?;
                    self.upload = Upload::Done;
                }
            }
        }
        Ok(())
    }
}
