//! What a connection speaks, and what it may ask of its connection.
//!
//! ```text
//!   bytes, end, deadline, readiness ──► Protocol ──► Step
//!                                          │
//!                                          ▼
//!                         Io: output, deadline, receive mode, waker
//! ```

use std::io;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;

use crate::limits::OUTPUT_HIGH_WATER_BYTES;
use crate::limits::OUTPUT_LOW_WATER_BYTES;
use crate::limits::WRITE_TIMEOUT;
use crate::net::output::Output;
use crate::reactor::OwnerId;
use crate::reactor::sys;
use crate::reactor::sys::File;
use crate::runtime::Core;
use crate::runtime::Instant;
use crate::runtime::WakeTarget;

/// The state machine that a connection drives: events come in, output and a [`Step`] go out.
///
/// It does no I/O and reads no clock. It may run user code (a handler), and is therefore never
/// called while a table of the core is borrowed. A panic of the protocol itself is a broken invariant
/// and ends the core: it catches those of the code that it runs for others.
pub trait Protocol {
    /// Bytes arrived. All of them are taken: what cannot be used yet is copied by the protocol.
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step;

    /// Output fell below the low-water mark after [`Io::is_full`] had said stop, or was sent to the
    /// last byte after [`Io::notify_when_all_sent`].
    fn on_sent(&mut self, io: &mut Io) -> Step {
        let _ = io;
        Step::Continue
    }

    /// The peer will send nothing more; it may still read.
    fn on_eof(&mut self, io: &mut Io) -> Step;

    /// The deadline that was set passed; it is cleared before the call.
    fn on_deadline(&mut self, io: &mut Io) -> Step;

    /// The waker of this connection fired: a future or a body made progress, or a shutdown began.
    fn on_ready(&mut self, io: &mut Io) -> Step {
        let _ = io;
        Step::Continue
    }

    /// Connections of one group are ended together ([`Net::abort_group`](crate::net::Net)); 0 for
    /// none.
    fn group(&self) -> usize {
        0
    }

    /// The output up to the mark of [`Io::notify_when_taken`] was taken by our kernel, also while the
    /// connection closes. Only to take note of it: output, receiving and deadline stay as they are.
    fn on_taken(&mut self, io: &mut Io) {
        let _ = io;
    }

    /// The last call: nothing is in flight any more, and `io` says what the connection came to. The
    /// cause is the error that ended it, `None` after an orderly close.
    fn on_closed(&mut self, io: &Io, cause: Option<io::Error>) {
        let _ = (io, cause);
    }
}

/// What the connection does after an event.
pub enum Step {
    /// Go on.
    Continue,
    /// Send what is left, then close: shut down writing, drop what still arrives, within bounds.
    CloseAfterFlush,
    /// Close at once; output that is not sent yet is dropped.
    Abort,
    /// Go on, and end our side: the peer reads the end, and may still send. Only for a protocol that
    /// has [nothing pending](Io::pending_bytes), and will append nothing more.
    EndOutput,
    /// From here on another protocol speaks. Leftover bytes go to its `on_recv`; without any, its
    /// first call is `on_ready`. If the peer has ended its side, `on_eof` follows.
    Become(Box<dyn Protocol>, Bytes),
}

/// Bytes that arrived.
pub enum Received<'a> {
    /// In a buffer shared with the kernel; valid for this call only.
    Borrowed(&'a [u8]),
    /// In a buffer that now belongs to the protocol ([`Io::want_body`]).
    Owned(BytesMut),
}

impl Received<'_> {
    /// The bytes, wherever they are.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Received::Borrowed(bytes) => bytes,
            Received::Owned(bytes) => bytes,
        }
    }

    /// Owned bytes from `start` on: a copy if they are borrowed.
    pub fn into_bytes_from(self, start: usize) -> Bytes {
        match self {
            Received::Borrowed(bytes) => Bytes::copy_from_slice(&bytes[start..]),
            Received::Owned(bytes) => bytes.freeze().slice(start..),
        }
    }
}

/// How a connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Receive {
    /// Into the core's shared buffers, one receive at a time.
    #[default]
    Once,
    /// Into the core's shared buffers, by one standing (multishot) receive.
    Standing,
    /// One receive into an owned buffer of this many bytes, then pause.
    Body(usize),
    /// Nothing is received until the protocol asks again.
    Paused,
}

/// What a protocol may do with its connection. A plain value: tests and fuzzers make one.
pub struct Io {
    /// What is to be sent.
    pub output: Output,
    /// Bytes handed to the kernel and not yet confirmed.
    pub(super) in_flight_bytes: u64,
    pub(super) is_write_late: bool,
    pub(super) deadline: Instant,
    pub(super) now: Instant,
    pub(super) wall_seconds: u64,
    /// When output was last taken over by our kernel, of what had to wait.
    pub(super) sent_at: Instant,
    pub(super) write_timeout: Duration,
    /// Bytes per second; zero for none.
    pub(super) write_rate_min: u32,
    pub(super) receive: Receive,
    /// Fewer pending bytes than these call `on_sent`, once; zero when nobody asked for it.
    sent_mark_bytes: u32,
    /// False when everything that the peer sent has been read, so that closing resets nothing.
    pub(super) linger: bool,
    /// True exactly when an end before the last byte of output must not look like an end.
    pub(super) resets: bool,
    /// Bytes of output that our kernel took, in all.
    pub(super) taken_bytes: u64,
    /// How many those were when [`Io::clear_has_sent`] was called.
    cleared_bytes: u64,
    /// So many of them call `on_taken`, once; `u64::MAX` when nobody asked for it.
    taken_mark_bytes: u64,
    /// Bytes of output that were dropped, since nobody takes them any more.
    pub(super) dropped_bytes: u64,
    /// True exactly when the peer takes nothing more.
    pub(super) is_send_broken: bool,
    /// Where wake-ups of this connection go; `None` for a detached one.
    pub(super) origin: Option<Origin>,
    pub(super) waker: Option<Box<ConnectionWaker>>,
    /// Asked of the kernel once.
    addresses: Addresses,
}

/// The peer's address and ours. Nearly all are of IPv4, and need no memory of their own.
enum Addresses {
    Unknown,
    V4(SocketAddrV4, SocketAddrV4),
    Other(Box<(Option<SocketAddr>, Option<SocketAddr>)>),
}

/// The connection that an [`Io`] belongs to.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) owner: OwnerId,
    pub(super) key: u64,
    pub(super) fd: RawFd,
}

/// Made when a protocol first asks for it.
pub(super) struct ConnectionWaker {
    pub(super) target: Option<Arc<WakeTarget>>,
    waker: Waker,
}

impl Io {
    /// A connection that is none: for tests, fuzzers and benchmarks.
    pub fn detached(now: Instant, wall_seconds: u64) -> Io {
        Io::new(None, now, wall_seconds)
    }

    pub(super) fn new(origin: Option<Origin>, now: Instant, wall_seconds: u64) -> Io {
        Io {
            output: Output::new(),
            in_flight_bytes: 0,
            is_write_late: false,
            deadline: Instant::NEVER,
            now,
            wall_seconds,
            sent_at: now,
            write_timeout: WRITE_TIMEOUT,
            write_rate_min: 0,
            receive: Receive::Once,
            sent_mark_bytes: 0,
            linger: true,
            resets: false,
            taken_bytes: 0,
            cleared_bytes: 0,
            taken_mark_bytes: u64::MAX,
            dropped_bytes: 0,
            is_send_broken: false,
            origin,
            waker: None,
            addresses: Addresses::Unknown,
        }
    }

    /// The time of this turn.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Seconds since 1970 at this turn, for `Date`.
    pub fn wall_seconds(&self) -> u64 {
        self.wall_seconds
    }

    /// Moves the clock of a detached connection.
    pub fn set_now(&mut self, now: Instant, wall_seconds: u64) {
        self.now = now;
        self.wall_seconds = wall_seconds;
    }

    /// Appends a copy of `bytes` to the output.
    pub fn append_copy(&mut self, bytes: &[u8]) {
        self.output.append_copy(bytes);
    }

    /// Appends `bytes` to the output without copying them, unless they are few.
    pub fn append_bytes(&mut self, bytes: Bytes) {
        self.output.append_bytes(bytes);
    }

    /// Appends a part of a file to the output.
    pub fn append_file(&mut self, file: Arc<File>, range: Range<u64>) {
        self.output.append_file(file, range);
    }

    /// Bytes appended, and not yet taken over by our kernel.
    pub fn pending_bytes(&self) -> u64 {
        self.output.len() + self.in_flight_bytes
    }

    /// When the last of the output that had to wait for the peer was taken over by our kernel; for
    /// output that went out in the turn in which it was appended, some earlier time.
    pub fn sent_at(&self) -> Instant {
        self.sent_at
    }

    /// Sets when that was, for a detached connection.
    pub fn set_sent_at(&mut self, time: Instant) {
        self.sent_at = time;
    }

    /// True when the protocol should stop producing. `on_sent` is called once there is room.
    pub fn is_full(&mut self) -> bool {
        let full = self.pending_bytes() >= OUTPUT_HIGH_WATER_BYTES as u64;
        if full {
            self.notify_when_sent();
        }
        full
    }

    /// Asks for `on_sent` when the output has drained below the low-water mark.
    pub fn notify_when_sent(&mut self) {
        self.sent_mark_bytes = OUTPUT_LOW_WATER_BYTES as u32;
    }

    /// Asks for `on_sent` when all output has been sent, and not before, unless that was asked for.
    pub fn notify_when_all_sent(&mut self) {
        self.sent_mark_bytes = self.sent_mark_bytes.max(1);
    }

    /// True when everything is handed to the kernel, and its protocol is to be told of nothing.
    pub(super) fn is_at_rest(&self) -> bool {
        self.output.is_empty() && !self.wants_sent() && !self.is_taken_due()
    }

    /// True when somebody asked for `on_sent`, and it has not been called since.
    pub(super) fn wants_sent(&self) -> bool {
        self.sent_mark_bytes > 0
    }

    /// True when `on_sent` has to be called now, as was asked for; the next time it has to be asked
    /// for again. For who drives the connection.
    pub fn take_due_sent(&mut self) -> bool {
        let is_due = self.pending_bytes() < u64::from(self.sent_mark_bytes);
        if is_due {
            self.sent_mark_bytes = 0;
        }
        is_due
    }

    /// The one deadline of this connection; `None` clears it.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline.unwrap_or(Instant::NEVER);
    }

    /// The deadline in force.
    pub fn deadline(&self) -> Option<Instant> {
        (self.deadline != Instant::NEVER).then_some(self.deadline)
    }

    /// How long a send may go without progress before the connection is aborted. The connection
    /// watches this itself; no deadline of the protocol is needed.
    pub fn set_write_timeout(&mut self, timeout: Duration) {
        self.write_timeout = timeout;
    }

    /// Sets at how many bytes per second the peer has to read at least, while it is waited for. The
    /// write time-out is what it may lag behind; zero, the default, lets any progress do.
    pub fn set_write_rate_min(&mut self, bytes: u32) {
        self.write_rate_min = bytes;
    }

    /// Says that everything the peer sent has been read: closing need not wait for the peer.
    pub fn set_linger(&mut self, linger: bool) {
        self.linger = linger;
    }

    /// Says that the end of the connection is the end of what is being sent: one that comes too
    /// early has to be a reset then.
    pub fn set_resets(&mut self, resets: bool) {
        self.resets = resets;
    }

    /// True exactly when the connection ends since the peer took nothing for the write time-out.
    pub fn is_write_late(&self) -> bool {
        self.is_write_late
    }

    /// True exactly when our kernel took a byte of output since [`Io::clear_has_sent`].
    pub fn has_sent(&self) -> bool {
        self.taken_bytes > self.cleared_bytes
    }

    /// True exactly when the peer takes nothing more: what is appended is dropped, and what it sent
    /// before still arrives.
    pub fn is_send_broken(&self) -> bool {
        self.is_send_broken
    }

    /// From here on [`Io::has_sent`] speaks of what is appended next: nothing is pending.
    pub fn clear_has_sent(&mut self) {
        debug_assert!(self.pending_bytes() == 0, "what is pending may be sent yet");
        self.cleared_bytes = self.taken_bytes;
    }

    /// Bytes of output that our kernel took since the connection began.
    pub fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    /// Bytes that were appended since the connection began: the place in its output where the next
    /// byte will be.
    pub fn appended_bytes(&self) -> u64 {
        self.taken_bytes + self.dropped_bytes + self.pending_bytes()
    }

    /// Asks for `on_taken`, once, when our kernel has taken so many bytes since the connection
    /// began. The earliest mark counts.
    pub fn notify_when_taken(&mut self, bytes: u64) {
        self.taken_mark_bytes = self.taken_mark_bytes.min(bytes);
    }

    /// True when `on_taken` has to be called now.
    #[inline]
    pub(super) fn is_taken_due(&self) -> bool {
        self.taken_bytes >= self.taken_mark_bytes
    }

    /// True when `on_taken` has to be called now, as was asked for; the next time it has to be asked
    /// for again. For who drives the connection.
    pub fn take_due_taken(&mut self) -> bool {
        let is_due = self.is_taken_due();
        if is_due {
            self.taken_mark_bytes = u64::MAX;
        }
        is_due
    }

    /// Says that so many bytes were taken, for who drives a detached connection.
    pub fn note_taken(&mut self, bytes: u64) {
        self.taken_bytes += bytes;
    }

    /// True exactly when output was dropped that our kernel had not taken.
    pub fn is_cut(&self) -> bool {
        self.dropped_bytes > 0
    }

    /// Drops all output: nobody takes it any more.
    pub(super) fn drop_output(&mut self, spent: &mut Vec<Bytes>) {
        self.dropped_bytes += self.output.len();
        self.output.clear(spent);
    }

    /// Sets how to receive from here on.
    pub fn set_receive(&mut self, receive: Receive) {
        self.receive = receive;
    }

    /// How this connection receives.
    pub fn receive(&self) -> Receive {
        self.receive
    }

    /// One receive of up to `bytes` into an owned buffer; afterwards receiving is paused until the
    /// protocol asks again.
    pub fn want_body(&mut self, bytes: usize) {
        self.receive = Receive::Body(bytes);
    }

    /// Stops receiving until the protocol asks again. What the kernel has delivered already still
    /// comes through `on_recv`.
    pub fn pause(&mut self) {
        self.receive = Receive::Paused;
    }

    /// Wakes `on_ready` of this connection, from this thread or any other.
    pub fn waker(&mut self) -> &Waker {
        let origin = self.origin;
        let made = self
            .waker
            .get_or_insert_with(|| Box::new(ConnectionWaker::new(origin)));
        &made.waker
    }

    /// The peer's address; `None` on a Unix socket. The kernel is asked once per connection, for
    /// both addresses.
    pub fn peer_addr(&mut self) -> Option<SocketAddr> {
        self.addresses().0
    }

    /// Our address of this connection; `None` on a Unix socket.
    pub fn local_addr(&mut self) -> Option<SocketAddr> {
        self.addresses().1
    }

    /// The peer's address, and ours: what may be kept beyond the connection.
    #[inline]
    pub fn addresses(&mut self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        match &self.addresses {
            Addresses::V4(peer, local) => (Some((*peer).into()), Some((*local).into())),
            Addresses::Other(addresses) => **addresses,
            Addresses::Unknown => self.ask_addresses(),
        }
    }

    #[cold]
    fn ask_addresses(&mut self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let (peer, local) = self.origin.map_or((None, None), |origin| {
            (sys::peer_addr(origin.fd), sys::local_addr(origin.fd))
        });
        self.set_addresses(peer, local);
        (peer, local)
    }

    /// Sets who is woken by the waker of a detached connection.
    pub fn set_waker(&mut self, waker: Waker) {
        let target = None;
        self.waker = Some(Box::new(ConnectionWaker { target, waker }));
    }

    /// Sets the addresses, where something else than the kernel knows them better.
    pub fn set_addresses(&mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        self.addresses = match (peer, local) {
            (Some(SocketAddr::V4(peer)), Some(SocketAddr::V4(local))) => Addresses::V4(peer, local),
            others => Addresses::Other(Box::new(others)),
        };
    }
}

impl ConnectionWaker {
    fn new(origin: Option<Origin>) -> ConnectionWaker {
        let target = origin.and_then(|origin| {
            let core = Core::current()?;
            Some(core.remote().waker_target(origin.owner, origin.key))
        });
        let waker = target
            .as_ref()
            .map_or_else(|| Waker::noop().clone(), |target| target.waker());
        ConnectionWaker { target, waker }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_connection_counts_and_says_stop() {
        let mut io = Io::detached(Instant::from_nanoseconds(5), 7);
        assert!(!io.is_full());
        io.append_bytes(Bytes::from(vec![0; OUTPUT_HIGH_WATER_BYTES]));
        assert!(io.is_full());
        assert!(io.wants_sent());
        assert!(!io.take_due_sent());
        assert_eq!(io.peer_addr(), None);
        io.waker().wake_by_ref();
        assert_eq!(io.deadline(), None);
    }

    #[test]
    fn on_sent_is_due_at_its_mark() {
        let mut io = Io::detached(Instant::from_nanoseconds(5), 7);
        assert!(!io.take_due_sent(), "nobody asked");
        io.append_copy(b"x");
        io.notify_when_sent();
        assert!(io.take_due_sent());
        assert!(!io.take_due_sent(), "once");
        // A byte that is still to be sent is not all.
        io.notify_when_all_sent();
        assert!(!io.take_due_sent());
        io.notify_when_sent();
        io.notify_when_all_sent();
        assert!(io.take_due_sent(), "the earlier mark counts");
        io.notify_when_all_sent();
        io.output.take_memory();
        assert!(io.take_due_sent());
        assert!(!io.wants_sent());
    }
}
