//! The body of a request on its way to its handler, and how long its next piece may take.
//!
//! ```text
//!   piece ─► take ─┬─ somebody reads ─► Sender ─► handler
//!                  └─ nobody does ────► counted, and dropped
//! ```
//!
//! A body has credit: at first its time-out. Waiting uses it up, bytes give it back at the least
//! rate, never beyond the time-out; at its end the body is late. So no gap is longer than the
//! time-out, and no body is slower than the rate for longer than that.

use std::task::Waker;
use std::time::Duration;

use crate::error::Error;
use crate::error::Phase;
use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::incoming::Sender;
use crate::http::recycle::FreeList;
use crate::limits::FREE_CHANNELS_MAX;
use crate::runtime::Instant;
use crate::server::exchange::chunk::Chunk;

/// The body of the request that runs.
pub struct RequestBody {
    /// Where it goes; `None` when there is none, or nobody reads it.
    sender: Option<Sender>,
    /// Nanoseconds: while the body is waited for, when its credit is used up by the clock; else what
    /// is left of it. So that bytes add to it either way.
    credit: u64,
    /// How many bytes of it have arrived.
    received_bytes: u64,
    /// How many of them nobody read.
    drained_bytes: u32,
    /// True while the peer is waited for.
    is_waited_for: bool,
}

thread_local! {
    static FREE: FreeList<Box<RequestBody>> = const { FreeList::new(FREE_CHANNELS_MAX) };
}

impl RequestBody {
    const NEW: RequestBody = RequestBody {
        sender: None,
        credit: u64::MAX,
        received_bytes: 0,
        drained_bytes: 0,
        is_waited_for: false,
    };

    /// Of a request that begins, in recycled memory: few connections are in a body, and all would
    /// carry it.
    pub fn begin() -> Box<RequestBody> {
        let recycled = FREE.try_with(FreeList::take).ok().flatten();
        recycled.unwrap_or_else(|| Box::new(RequestBody::NEW))
    }

    /// Its memory serves the next body.
    pub fn recycle(mut self: Box<Self>) {
        *self = RequestBody::NEW;
        // At the end of a thread the list may be gone already.
        let _ = FREE.try_with(|free| free.give(self));
    }

    /// Somebody will read it: what they read.
    pub fn open(&mut self, length: Option<u64>) -> Body {
        let (sender, body) = Body::incoming(length);
        self.sender = Some(sender);
        body
    }

    /// Bytes arrived: so many a second give back the time that they took, and without a least rate
    /// each gives back all of it. How many there were so far.
    pub fn receive(&mut self, bytes: usize, bytes_per_second_min: u32) -> u64 {
        let earned = (bytes as u64 * 1_000_000_000).checked_div(u64::from(bytes_per_second_min));
        self.credit = self.credit.saturating_add(earned.unwrap_or(u64::MAX));
        self.received_bytes += bytes as u64;
        self.received_bytes
    }

    /// Hands a piece to whoever reads.
    pub fn push(&mut self, chunk: Chunk<'_>) {
        match &mut self.sender {
            Some(sender) if !sender.is_dropped() => sender.push(chunk.into_bytes()),
            _ => self.drained_bytes = self.drained_bytes.saturating_add(chunk.len() as u32),
        }
    }

    /// All of it has arrived.
    pub fn finish(&mut self, trailers: Option<Headers>) {
        if let Some(sender) = self.sender.take() {
            sender.finish(trailers);
        }
    }

    /// The rest will not arrive: its reader gets the error.
    pub fn fail(&mut self, error: Error) {
        if let Some(sender) = self.sender.take() {
            sender.fail(error.in_phase(Phase::RequestBody));
        }
    }

    /// The rest is not handed over: whoever still holds the body finds it abandoned.
    pub fn abandon(&mut self) {
        self.sender = None;
    }

    /// True while somebody holds the body.
    pub fn is_held(&self) -> bool {
        self.sender.as_ref().is_some_and(|s| !s.is_dropped())
    }

    /// True while somebody waits for the next piece.
    pub fn is_wanted(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::is_wanted)
    }

    /// Bytes that arrived, and were not read.
    pub fn queued_bytes(&self) -> usize {
        self.sender.as_ref().map_or(0, Sender::queued_bytes)
    }

    /// Bytes that arrived, and were dropped since nobody held the body.
    pub fn drained_bytes(&self) -> usize {
        self.drained_bytes as usize
    }

    /// Whoever holds the body may begin to read it outside of our polls: `waker` hears of it.
    pub fn notify(&mut self, waker: Waker) {
        if let Some(sender) = &mut self.sender {
            sender.set_notify(waker);
        }
    }

    /// After each event: until when the next piece is waited for, if it is.
    pub fn wait(&mut self, is_waited_for: bool, now: Instant, timeout: Duration) -> Instant {
        let was_waited_for = std::mem::replace(&mut self.is_waited_for, is_waited_for);
        if is_waited_for {
            let until = match was_waited_for {
                true => Instant::from_nanoseconds(self.credit),
                false => now + Duration::from_nanos(self.credit),
            };
            let until = until.min(now + timeout);
            self.credit = until.as_nanoseconds();
            return until;
        }
        if was_waited_for && self.credit != u64::MAX {
            let until = Instant::from_nanoseconds(self.credit);
            self.credit = until.since(now).as_nanos() as u64;
        }
        Instant::NEVER
    }

    /// True when the next piece is waited for, and its time is over.
    pub fn is_late(&self, now: Instant) -> bool {
        self.is_waited_for && Instant::from_nanoseconds(self.credit) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_uses_credit_up_and_bytes_give_it_back() {
        let second = Duration::from_secs(1);
        let start = Instant::from_nanoseconds(1);
        let timeout = 10 * second;
        let mut body = RequestBody::begin();
        assert_eq!(body.wait(true, start, timeout), start + timeout);
        // Without a byte it stays.
        assert_eq!(body.wait(true, start + second, timeout), start + timeout);
        // 200 bytes at 100 bytes per second, in the third second.
        assert_eq!(body.receive(200, 100), 200);
        let until = start + 12 * second;
        assert_eq!(body.wait(true, start + 3 * second, timeout), until);
        // Its handler takes its time: 9 s are left.
        let never = body.wait(false, start + 3 * second, timeout);
        assert_eq!(never, Instant::NEVER);
        assert!(!body.is_late(start + 3600 * second));
        let later = start + 60 * second;
        assert_eq!(body.wait(true, later, timeout), later + 9 * second);
        assert!(!body.is_late(later + 8 * second) && body.is_late(later + 9 * second));
        // Never more than the time-out; and without a rate one byte gives back all.
        body.receive(1_000_000, 100);
        assert_eq!(body.wait(true, later, timeout), later + timeout);
        body.receive(1, 0);
        let until = later + second + timeout;
        assert_eq!(body.wait(true, later + second, timeout), until);
    }
}
