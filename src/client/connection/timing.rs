//! Which time runs for a request under way, and what is overdue when it has run out.
//!
//! ```text
//!   Write ─► Continue ─► RequestBody ─► Head ─► Body ◄──► Reader
//!   the connection's own │ continue_timeout     │ response_head_timeout │ body_timeout │ none
//!   beside all of them: the caller's time for everything
//! ```

use std::time::Duration;

use crate::client::connection::Active;
use crate::client::connection::upload::Upload;
use crate::client::failure::Failure;
use crate::client::transport::Shared;
use crate::error::Phase;
use crate::limits::OUTPUT_LOW_WATER_BYTES;
use crate::net::Io;
use crate::net::Receive;

/// Whose turn it is, and thus which time runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The peer has to read what we send; the connection itself watches its time.
    Write,
    /// The peer has to say whether it wants the body.
    Continue,
    /// The caller's request body has to go on.
    RequestBody,
    /// The response head has to come.
    Head,
    /// The response body has to come.
    Body,
    /// The caller has to read the response body.
    Reader,
}

impl Active {
    pub(super) fn phase(&self) -> Phase {
        match self.waits_for {
            WaitsFor::Write => Phase::Send,
            WaitsFor::RequestBody => Phase::RequestBody,
            WaitsFor::Continue | WaitsFor::Head => Phase::ResponseHead,
            WaitsFor::Body | WaitsFor::Reader => Phase::ResponseBody,
        }
    }

    /// How long what is waited for may take; the caller may take all the time of the request.
    fn timeout(&self, shared: &Shared) -> Option<Duration> {
        let defaults = shared.options();
        let own = &self.options;
        match self.waits_for {
            WaitsFor::Continue => Some(defaults.continue_timeout),
            WaitsFor::Head => Some(own.head_timeout_or(defaults.response_head_timeout)),
            WaitsFor::Body => Some(own.body_timeout_or(defaults.body_timeout)),
            WaitsFor::Write | WaitsFor::RequestBody | WaitsFor::Reader => None,
        }
    }

    /// Sets the deadline that belongs to what is waited for.
    pub(super) fn watch(&mut self, io: &mut Io, shared: &Shared, has_progress: bool) {
        let waits_for = if !self.download.is_awaiting_head() {
            match io.receive() {
                Receive::Paused => WaitsFor::Reader,
                _ => WaitsFor::Body,
            }
        } else if io.pending_bytes() >= OUTPUT_LOW_WATER_BYTES as u64 {
            WaitsFor::Write
        } else {
            match self.upload {
                Upload::Held(_) => WaitsFor::Continue,
                Upload::Due(_) | Upload::Chunks(_) => WaitsFor::RequestBody,
                Upload::Withheld | Upload::Done => WaitsFor::Head,
            }
        };
        // A head that trickles in makes no progress: its time runs from the end of the request.
        let has_progress = has_progress && waits_for != WaitsFor::Head;
        if waits_for != self.waits_for || has_progress {
            self.since = io.now();
        }
        if waits_for != self.waits_for {
            self.waits_for = waits_for;
            self.exchange.set_phase(self.phase());
        }
        if waits_for == WaitsFor::Write {
            // Without this the end of the send would not be seen, and the head's time not begin.
            io.notify_when_sent();
        }
        let phase = self.timeout(shared).map(|after| self.since + after);
        let total = self.options.total.map(|total| total.deadline);
        io.set_deadline([phase, total].into_iter().flatten().min());
    }

    /// The deadline passed: what is overdue, `None` when there was progress after all.
    pub(super) fn overdue(&mut self, io: &mut Io, shared: &Shared) -> Option<Failure> {
        let now = io.now();
        let phase = self.phase();
        if let Some(total) = self.options.total
            && total.deadline <= now
        {
            return Some(Failure::Total(total.timeout, phase));
        }
        let timeout = self.timeout(shared)?;
        if self.waits_for == WaitsFor::Head {
            // The time begins when the last byte of the request is sent. Nearly always that was at
            // once, so that it is asked for here alone.
            let sent_at = match io.pending_bytes() {
                0 => io.sent_at(),
                _ => now,
            };
            self.since = self.since.max(sent_at);
        }
        if self.since + timeout > now {
            return None;
        }
        match self.waits_for {
            WaitsFor::Continue => {
                // Whoever does not know the expectation waits for the body.
                self.release_body();
                None
            }
            WaitsFor::Head => Some(Failure::HeadTimeout(timeout)),
            WaitsFor::Body => Some(Failure::BodyTimeout(timeout)),
            WaitsFor::Write | WaitsFor::RequestBody | WaitsFor::Reader => None,
        }
    }
}
