//! The response's way in: the head to the caller, the body through a channel with back-pressure.
//!
//! ```text
//!   Head ──► Held ──► all of it in one piece: a body of bytes, without a channel
//!              └────► Body ──► end, error, or dropped by the caller
//! ```

use bytes::Bytes;

use crate::client::connection::Active;
use crate::client::failure::Failure;
use crate::client::observe::Event;
use crate::client::transport::Shared;
use crate::error::Phase;
use crate::guard::guarded;
use crate::h1::client::ClientMachine;
use crate::h1::framing::Framing;
use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::incoming::Sender;
use crate::http::response::Response;
use crate::limits::BODY_RECV_BYTES;
use crate::limits::LARGE_BODY_BYTES;
use crate::limits::RESPONSE_AHEAD_BYTES_MAX;
use crate::net::Io;
use crate::net::Receive;
use crate::runtime::Instant;

/// How far the response has come.
pub(super) enum Download {
    /// The head has to come.
    Head,
    /// The head came; whether more follows with it is not known yet. Lasts within one event.
    Held {
        response: Response,
        length: Option<u64>,
        first: Bytes,
    },
    /// The caller has the head, and the other end of this channel.
    Body { sender: Sender, received_bytes: u64 },
    /// The caller has everything.
    Done,
}

impl Download {
    pub(super) fn is_awaiting_head(&self) -> bool {
        matches!(self, Download::Head)
    }

    /// True when the caller has dropped the body.
    pub(super) fn is_unwanted(&self) -> bool {
        matches!(self, Download::Body { sender, .. } if sender.is_dropped())
    }
}

impl Active {
    pub(super) fn take_head(&mut self, mut response: Response, framing: Framing, now: Instant) {
        assert!(self.download.is_awaiting_head(), "a response has two heads");
        self.describe(&mut response, now);
        let length = match framing {
            Framing::Empty => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        self.download = Download::Held {
            response,
            length,
            first: Bytes::new(),
        };
    }

    /// Says what is known of the exchange, now that its head came.
    pub(super) fn describe(&mut self, response: &mut Response, now: Instant) {
        self.timings.head = now - self.got_at;
        response.set_exchange(self.peer, self.timings);
        let status = response.status_code();
        let time = self.timings.waited + self.timings.head;
        self.tell(|| Event::Head { status, time });
    }

    pub(super) fn take_data(&mut self, shared: &Shared, data: &[u8], owner: Option<&Bytes>) {
        let chunk = match owner {
            // A few bytes would keep a large buffer alive.
            Some(owner) if data.len() >= owner.len() / 4 => owner.slice_ref(data),
            _ => shared.copy(data),
        };
        if let Download::Held { first, .. } = &mut self.download
            && first.is_empty()
        {
            *first = chunk;
            return;
        }
        self.hand_over();
        if let Download::Body {
            sender,
            received_bytes,
        } = &mut self.download
        {
            *received_bytes += chunk.len() as u64;
            sender.push(chunk);
        }
    }

    pub(super) fn take_end(&mut self, trailers: Option<Headers>) {
        if trailers.is_some() {
            // Only a channel carries them.
            self.hand_over();
        }
        match std::mem::replace(&mut self.download, Download::Done) {
            Download::Held {
                mut response,
                first,
                ..
            } => {
                response.set_body(first);
                self.complete(response);
            }
            Download::Body { sender, .. } => sender.finish(trailers),
            Download::Head | Download::Done => unreachable!("an end comes once, behind a head"),
        }
    }

    /// Gives the caller a head whose body is not complete yet.
    pub(super) fn hand_over(&mut self) {
        if !matches!(self.download, Download::Held { .. }) {
            return;
        }
        let Download::Held {
            mut response,
            length,
            first,
        } = std::mem::replace(&mut self.download, Download::Done)
        else {
            unreachable!("just seen");
        };
        let (mut sender, body) = Body::incoming(length);
        let received_bytes = first.len() as u64;
        sender.push(first);
        response.set_body(body);
        self.download = Download::Body {
            sender,
            received_bytes,
        };
        self.complete(response);
    }

    fn complete(&mut self, response: Response) {
        if response.status_code().is_redirection() && self.exchange.keeps_request() {
            // A body that cannot be sent again is gone from it; the caller knows.
            // Values of users are cloned.
            let copy = guarded(|| self.request.try_clone());
            self.exchange.give_back(copy.flatten());
        }
        self.exchange.complete(Ok(response));
    }

    /// The head was handed over, and the body cannot be completed.
    pub(super) fn fail_body(mut self, failure: Failure) {
        self.hand_over();
        let failed = std::mem::replace(&mut self.download, Download::Done);
        if let Download::Body { sender, .. } = failed {
            let error = failure.into_error(Phase::ResponseBody, self.request.url());
            self.tell(|| Event::Failed { error: &error });
            sender.fail(error);
        }
        self.discard();
    }

    /// Says how to receive what is still to come.
    pub(super) fn arm(&mut self, io: &mut Io, fetch: &ClientMachine) {
        let Download::Body {
            sender,
            received_bytes,
        } = &mut self.download
        else {
            return;
        };
        sender.set_notify(io.waker().clone());
        // The peer may wait for room that we do not make any more: to its probes an end is answered
        // like a reader that is slow, for a minute. Only a reset says that nobody reads.
        io.set_resets(true);
        if sender.queued_bytes() >= RESPONSE_AHEAD_BYTES_MAX {
            io.pause();
            return;
        }
        let is_large = match fetch.missing_bytes() {
            Some(missing) => missing > LARGE_BODY_BYTES,
            None => *received_bytes > LARGE_BODY_BYTES,
        };
        match io.receive() {
            Receive::Body(_) => {}
            _ if is_large => io.want_body(BODY_RECV_BYTES),
            Receive::Paused => io.set_receive(Receive::Standing),
            Receive::Once | Receive::Standing => {}
        }
    }
}
