//! After each event: what the connection does next, how it receives, and until when.
//!
//! ```text
//!   any event ─► settle ─┬─ through ─► close
//!                        └─ goes on ─► 100 Continue, receive mode, deadline
//! ```

use std::rc::Rc;

use bytes::Bytes;

use crate::http::close_reason::CloseReason;
use crate::limits::BODY_RECV_BYTES;
use crate::limits::DRAIN_BYTES_MAX;
use crate::limits::OWN_BUFFER_BODY_BYTES;
use crate::net::Io;
use crate::net::Receive;
use crate::net::Step;
use crate::net::output::give_buffer;
use crate::runtime::Instant;
use crate::server::h1::H1Connection;
use crate::server::h1::timer::WaitsFor;
use crate::server::h1::wire::Ending;
use crate::server::h1::wire::Peer;
use crate::server::upgrade;

impl H1Connection {
    /// After each event: what the connection does next, how it receives, and until when.
    pub(super) fn settle(&mut self, io: &mut Io) -> Step {
        if self.behind.is_empty() && self.behind.capacity() > 0 {
            give_buffer(std::mem::take(&mut self.behind));
        }
        self.exchange.settle(&self.worker);
        if self.wire.ending == Ending::Reset {
            return Step::Abort;
        }
        if self.exchange.is_taken_over() {
            return self.hand_over(io);
        }
        if self.is_through() {
            io.set_linger(self.wire.ending == Ending::Linger);
            return Step::CloseAfterFlush;
        }
        let machine = &mut self.wire.machine;
        if let Some(body) = self.exchange.body()
            && body.is_wanted()
            && machine.awaits_response()
        {
            machine.write_continue(io.output.tail());
        }
        let receive = self.receive_mode(io);
        io.set_receive(receive);
        let (options, machine) = (&self.worker.options, &self.wire.machine);
        self.timer.settle(options, io.now(), machine);
        self.arm(io);
        Step::Continue
    }

    /// Sets the one deadline of the connection to the earliest of all that are waited for.
    #[inline]
    pub(super) fn arm(&mut self, io: &mut Io) {
        let (exchange, core, sink) = self.parts(io);
        let deadline = exchange.deadline(core, &sink).min(self.timer.until());
        let deadline = deadline.min(self.settle_record(io));
        io.set_deadline(Some(deadline));
    }

    /// Tells what the connection has become; until when its age lets it idle, if it does.
    #[inline]
    pub(super) fn settle_record(&mut self, io: &mut Io) -> Instant {
        let Some(record) = &mut self.wire.record else {
            return Instant::NEVER;
        };
        let is_idle = self.wire.machine.is_idle() && !self.exchange.is_running();
        record.settle(&self.worker, io, is_idle)
    }

    /// The head of a request, or the request, did not come in time.
    pub(super) fn on_head_deadline(&mut self, io: &mut Io) -> Step {
        match self.timer.waits_for() {
            WaitsFor::Exchange => {}
            WaitsFor::Head if self.wire.machine.is_in_head() => {
                self.worker.counters.count_header_timeout();
                let refusal = self.wire.machine.time_out_head();
                self.refuse(io, refusal, &[]);
            }
            WaitsFor::Head => {
                self.worker.counters.count_header_timeout();
                self.wire.machine.stop_receiving(CloseReason::Timeout);
                return Step::CloseAfterFlush;
            }
            WaitsFor::Idle => {
                let record = self.wire.record.as_ref();
                let is_old = record.is_some_and(|record| record.is_expired(io.now()));
                let may_rest = self.timer.rest_on(&self.worker.options, io);
                if is_old || !may_rest {
                    let counters = &self.worker.counters;
                    let reason = if is_old {
                        counters.count_retired();
                        CloseReason::Age
                    } else {
                        counters.count_idle_timeout();
                        CloseReason::Timeout
                    };
                    self.wire.machine.stop_receiving(reason);
                    return Step::CloseAfterFlush;
                }
            }
        }
        self.settle(io)
    }

    /// True when nothing will happen on this connection any more.
    fn is_through(&mut self) -> bool {
        let machine = &self.wire.machine;
        if !machine.has_sent_all() || self.exchange.is_running() {
            return false;
        }
        if machine.is_closed() {
            return true;
        }
        if machine.is_in_body() {
            // The response is through, and its request is not. For a shutdown that is no work, unless
            // somebody still reads the body.
            let body = self.exchange.body().expect("it arrives");
            let ends = machine.close_reason().is_some()
                || body.drained_bytes() > DRAIN_BYTES_MAX
                || self.worker.is_shutting_down() && !body.is_held();
            if ends {
                self.wire.ending.linger();
            }
            return ends;
        }
        if !self.behind.is_empty() {
            return false;
        }
        self.wire.peer == Peer::HalfClosed || self.worker.is_shutting_down() && self.rests()
    }

    /// True when a shutdown need not wait: no request is on its way. One that began may be, in
    /// pieces, and so may that of a new connection, for as long as those are waited for.
    fn rests(&self) -> bool {
        let is_expected = self.timer.is_new() || self.wire.machine.is_in_head();
        !is_expected || self.worker.closes_new()
    }

    fn receive_mode(&mut self, io: &mut Io) -> Receive {
        // A standing receive would cut a large body into small pieces, each of them copied.
        let usual = match self.wire.is_standing {
            true => Receive::Standing,
            false => Receive::Once,
        };
        let held_max = self.worker.options.pipelined_bytes_max;
        if !self.wire.machine.is_in_body() {
            // With nothing held one hears, even where nothing may be held: there would be no request.
            let is_held = !self.behind.is_empty() && self.behind.len() >= held_max;
            return if is_held { Receive::Paused } else { usual };
        }
        let left = self.wire.machine.body_length();
        let Some(body) = self.exchange.body().filter(|body| body.is_held()) else {
            return usual;
        };
        let is_wanted = body.is_wanted();
        if !is_wanted {
            // Whoever holds the body may begin to read it outside of our polls: then there is a
            // 100 to be sent, and a time-out to be set.
            body.notify(io.waker().clone());
        }
        let queued = body.queued_bytes() as u64;
        let is_large = left.is_none_or(|left| left > OWN_BUFFER_BODY_BYTES);
        let fits = left.is_some_and(|left| left + queued <= held_max as u64);
        if fits && !(is_large && is_wanted) {
            return usual;
        }
        if is_wanted {
            let wanted = left.map_or(BODY_RECV_BYTES, |left| {
                usize::try_from(left).map_or(BODY_RECV_BYTES, |left| left.min(BODY_RECV_BYTES))
            });
            return Receive::Body(wanted);
        }
        Receive::Paused
    }

    /// The connection goes on without us; what was received behind the request goes with it.
    #[cold]
    fn hand_over(&mut self, io: &mut Io) -> Step {
        let handover = self.exchange.take_over().expect("somebody takes over");
        let leftover = Bytes::copy_from_slice(&self.behind);
        give_buffer(std::mem::take(&mut self.behind));
        let (record, lines) = (
            self.wire.record.take(),
            std::mem::take(&mut self.wire.lines),
        );
        let tunnel = upgrade::hand_over(Rc::clone(&self.worker), handover, record, lines, io);
        Step::Become(Box::new(tunnel), leftover)
    }
}
