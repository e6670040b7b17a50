//! After each event: what the connection does next, how it receives, and until when.
//!
//! ```text
//!   any event ─► settle ─┬─ through ─► close
//!                        └─ goes on ─► 100 Continue, receive mode, deadline
//! ```

use crate::http::incoming::Sender;
use crate::limits::BODY_RECV_BYTES;
use crate::limits::DRAIN_BYTES_MAX;
use crate::limits::OWN_BUFFER_BODY_BYTES;
use crate::net::Io;
use crate::net::Receive;
use crate::net::Step;
use crate::net::output::give_buffer;
use crate::server::connection::Connection;
use crate::server::connection::Work;
use crate::server::connection::terms::body_timeout;

impl Connection {
    /// After each event: what the connection does next, how it receives, and until when.
    pub(super) fn settle(&mut self, io: &mut Io) -> Step {
        if self.behind.is_empty() && self.behind.capacity() > 0 {
            give_buffer(std::mem::take(&mut self.behind));
        }
        self.settle_flight();
        if self.is_cut {
            return Step::Abort;
        }
        if let Work::Takeover(_) = self.work {
            return self.hand_over(io);
        }
        if self.is_through() {
            io.set_linger(self.has_unread);
            return Step::CloseAfterFlush;
        }
        if let Some(sender) = &mut self.sender
            && sender.is_wanted()
            && self.exchange.awaits_response()
        {
            self.exchange.write_continue(io.output.tail());
        }
        let receive = self.receive_mode(io);
        io.set_receive(receive);
        let waits_for_body = self
            .waits_for_body()
            .then(|| body_timeout(self.terms.as_deref(), &self.worker.options));
        let options = &self.worker.options;
        let was_set = self.timing.settle(
            options,
            io,
            &self.exchange,
            waits_for_body,
            &mut self.credit,
        );
        if let Some(terms) = &mut self.terms {
            let is_running = !matches!(self.work, Work::Nothing);
            terms.settle(io, was_set, is_running);
        }
        self.live_on(io);
        Step::Continue
    }

    /// True when nothing will happen on this connection any more.
    pub(super) fn is_through(&mut self) -> bool {
        if !self.exchange.has_sent_all() || !matches!(self.work, Work::Nothing) {
            return false;
        }
        if self.exchange.is_closed() {
            return true;
        }
        if self.exchange.is_in_body() {
            // The response is through, and its request is not. For a shutdown that is no work, unless
            // somebody still reads the body.
            let is_read = self.sender.as_ref().is_some_and(|s| !s.is_dropped());
            let ends = self.exchange.close_reason().is_some()
                || self.drained_bytes as usize > DRAIN_BYTES_MAX
                || self.worker.is_shutting_down() && !is_read;
            self.has_unread |= ends;
            return ends;
        }
        let has_more = !self.behind.is_empty();
        if has_more {
            return false;
        }
        self.is_half_closed || self.worker.is_shutting_down() && self.rests()
    }

    /// True when a shutdown need not wait: no request is on its way. One that began may be, in
    /// pieces, and so may that of a new connection, for as long as those are waited for.
    fn rests(&self) -> bool {
        let is_expected = self.timing.is_new() || self.exchange.is_in_head();
        !is_expected || self.worker.closes_new()
    }

    /// True when the next sign of progress is a piece of the request's body from the peer.
    pub(super) fn waits_for_body(&self) -> bool {
        let is_read = |sender: &Sender| !sender.is_dropped() && !sender.is_wanted();
        self.exchange.is_in_body() && !self.sender.as_ref().is_some_and(is_read)
    }

    pub(super) fn receive_mode(&mut self, io: &mut Io) -> Receive {
        // A standing receive would cut a large body into small pieces, each of them copied.
        let usual = if self.is_standing && !self.has_large_bodies {
            Receive::Standing
        } else {
            Receive::Once
        };
        let held_max = self.worker.options.pipelined_bytes_max;
        if !self.exchange.is_in_body() {
            // With nothing held one hears, even where nothing may be held: there would be no request.
            let is_held = !self.behind.is_empty() && self.behind.len() >= held_max;
            return if is_held { Receive::Paused } else { usual };
        }
        let left = self.exchange.body_length();
        let Some(sender) = &mut self.sender else {
            return usual;
        };
        if sender.is_dropped() {
            return usual;
        }
        if !sender.is_wanted() {
            // Whoever holds the body may begin to read it outside of our polls: then there is a
            // 100 to be sent, and a time-out to be set.
            sender.set_notify(io.waker().clone());
        }
        let queued = sender.queued_bytes() as u64;
        let is_large = left.is_none_or(|left| left > OWN_BUFFER_BODY_BYTES);
        let fits = left.is_some_and(|left| left + queued <= held_max as u64);
        if fits && !(is_large && sender.is_wanted()) {
            return usual;
        }
        if sender.is_wanted() {
            let wanted = left.map_or(BODY_RECV_BYTES, |left| {
                usize::try_from(left).map_or(BODY_RECV_BYTES, |left| left.min(BODY_RECV_BYTES))
            });
            return Receive::Body(wanted);
        }
        Receive::Paused
    }
}
