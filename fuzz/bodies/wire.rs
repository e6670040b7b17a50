//! The network side of one connection, without a kernel: calls a protocol as `net` does, and checks
//! what it may not do.
//!
//! ```text
//!   bytes, end, time ──► Wire ──► Protocol ──► Step ──► Wire ──► what was sent, how it ended
//!                          ▲                     │
//!                          └──── wake-ups, output, receive mode, deadline
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use roundtrip::limits::OUTPUT_HIGH_WATER_BYTES;
use roundtrip::limits::RECV_BUFFER_BYTES;
use roundtrip::net::Io;
use roundtrip::net::Protocol;
use roundtrip::net::Receive;
use roundtrip::net::Received;
use roundtrip::net::Segment;
use roundtrip::net::Step;
use roundtrip::runtime::Instant;

/// Output that may wait: up to the mark, and what was appended last.
const OUTPUT_BYTES_MAX: u64 = 2 * OUTPUT_HIGH_WATER_BYTES as u64;
/// Calls after which a connection that never comes to rest is stuck in a circle.
const CALLS_MAX: usize = 10_000;
/// Seconds since 1970 when a connection begins.
const WALL_SECONDS: u64 = 784_111_777;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After its output.
    Closed,
    /// At once.
    Aborted,
    /// For HTTP alone: something else goes on.
    Switched,
}

/// Notes that it was woken.
#[derive(Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// A waker for it.
    pub fn waker(self: &Arc<Flag>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Whether it was woken since this was asked last.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Flag>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One connection and what would be its socket.
pub struct Wire<P> {
    /// What is driven.
    pub protocol: P,
    /// What it may use.
    pub io: Io,
    /// What was sent.
    pub sent: Vec<u8>,
    /// How it ended, if it has.
    pub end: Option<End>,
    /// True when output stays until it is taken.
    pub keeps_output: bool,
    /// True when the peer has ended its side.
    pub is_half_closed: bool,
    /// The receive in flight.
    armed: Option<Receive>,
    /// True when the receive that was in flight was standing, and has to end: the next one waits.
    is_canceling: bool,
    woken: Arc<Flag>,
}

/// What can be seen of a connection from outside.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    sent_bytes: u64,
    deadline: Option<Instant>,
    receive: Receive,
    end: Option<End>,
}

impl<P: Protocol> Wire<P> {
    /// A connection that was just made.
    pub fn new(start: Instant, make: impl FnOnce(&mut Io) -> P) -> Wire<P> {
        let woken = Arc::new(Flag::default());
        let mut io = Io::detached(start, WALL_SECONDS);
        io.set_waker(woken.waker());
        let protocol = make(&mut io);
        Wire {
            protocol,
            armed: Some(io.receive()),
            is_canceling: false,
            io,
            sent: Vec::new(),
            end: None,
            keeps_output: false,
            is_half_closed: false,
            woken,
        }
    }

    /// True until the connection ends.
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// True while the peer's bytes are received.
    pub fn receives(&self) -> bool {
        self.is_open() && !self.is_half_closed && (self.armed.is_some() || self.is_canceling)
    }

    /// Brings the receive in flight in line with the mode: one is enough, and none is cut short,
    /// but for a standing one.
    fn arm(&mut self) {
        match (self.armed, self.io.receive()) {
            (Some(Receive::Standing), Receive::Paused | Receive::Body(_)) => {
                self.armed = None;
                self.is_canceling = true;
            }
            (None, mode) if mode != Receive::Paused && !self.is_canceling => {
                self.armed = Some(mode);
            }
            _ => {}
        }
    }

    /// The receive that had to end has ended.
    fn end_canceling(&mut self) {
        if std::mem::take(&mut self.is_canceling) {
            self.arm();
        }
    }

    /// One call of the protocol.
    fn call(&mut self, event: impl FnOnce(&mut P, &mut Io) -> Step) {
        assert!(self.is_open(), "nothing is called behind the end");
        let step = event(&mut self.protocol, &mut self.io);
        self.arm();
        let pending = self.io.pending_bytes();
        assert!(pending <= OUTPUT_BYTES_MAX, "{pending} bytes of output");
        match step {
            Step::Continue => {}
            Step::CloseAfterFlush => {
                self.take(usize::MAX);
                self.end = Some(End::Closed);
            }
            Step::Abort => {
                self.io.output.clear(&mut Vec::new());
                self.end = Some(End::Aborted);
            }
            Step::EndOutput => panic!("HTTP ends both sides"),
            Step::Become(..) => self.end = Some(End::Switched),
        }
    }

    /// The next bytes arrive, as the receive in flight takes them, with all that follows. How many.
    pub fn deliver(&mut self, bytes: &[u8]) -> usize {
        self.end_canceling();
        if !self.receives() || bytes.is_empty() {
            return 0;
        }
        let armed = self.armed.expect("a receive is in flight");
        let max = match armed {
            Receive::Body(wanted) => wanted,
            _ => RECV_BUFFER_BYTES as usize,
        };
        assert!(max > 0, "a receive of nothing would be an end");
        if armed != Receive::Standing {
            self.armed = None;
        }
        let bytes = &bytes[..bytes.len().min(max)];
        if matches!(armed, Receive::Body(_)) {
            // A body is asked for piece by piece. What else was asked for meanwhile stays.
            if matches!(self.io.receive(), Receive::Body(_)) {
                self.io.set_receive(Receive::Paused);
            }
            let owned = BytesMut::from(bytes);
            self.call(|protocol, io| protocol.on_recv(io, Received::Owned(owned)));
        } else {
            self.call_borrowed(bytes);
        }
        self.settle();
        bytes.len()
    }

    /// The buffer is the kernel's again after the call.
    fn call_borrowed(&mut self, bytes: &[u8]) {
        let shared = bytes.to_vec();
        self.call(|protocol, io| protocol.on_recv(io, Received::Borrowed(&shared)));
    }

    /// Bytes arrive with a standing receive that has to end. How many.
    pub fn deliver_late(&mut self, bytes: &[u8]) -> usize {
        if !self.is_canceling || !self.receives() || bytes.is_empty() {
            return 0;
        }
        let late = &bytes[..bytes.len().min(RECV_BUFFER_BYTES as usize)];
        self.call_borrowed(late);
        self.end_canceling();
        self.settle();
        late.len()
    }

    /// The peer ends its side. Only who receives can see it.
    pub fn end_input(&mut self) {
        self.end_canceling();
        if self.receives() {
            self.is_half_closed = true;
            self.call(|protocol, io| protocol.on_eof(io));
            self.settle();
        }
    }

    /// Lets time pass until the deadline; false when there is none.
    pub fn expire(&mut self) -> bool {
        let Some(deadline) = self.io.deadline().filter(|_| self.is_open()) else {
            return false;
        };
        let later = self.io.now().max(deadline);
        self.set_now(later);
        self.io.set_deadline(None);
        self.call(|protocol, io| protocol.on_deadline(io));
        self.settle();
        true
    }

    /// Lets time pass; the deadline comes first if it lies before.
    pub fn wait(&mut self, time: Duration) {
        let later = self.io.now() + time;
        while self.io.deadline().is_some_and(|deadline| deadline <= later) && self.expire() {}
        self.set_now(later);
    }

    fn set_now(&mut self, now: Instant) {
        let now = now.max(self.io.now());
        let wall = WALL_SECONDS + now.as_nanoseconds() / 1_000_000_000;
        self.io.set_now(now, wall);
    }

    /// Calls the protocol as if it was woken, with all that follows.
    pub fn wake(&mut self) {
        if self.is_open() {
            self.call(|protocol, io| protocol.on_ready(io));
            self.settle();
        }
    }

    /// The kernel takes up to so many bytes of output.
    pub fn take_output(&mut self, bytes: usize) {
        if self.is_open() {
            self.take(bytes);
            self.settle();
        }
    }

    fn take(&mut self, bytes: usize) {
        let mut left = bytes;
        while left > 0
            && let Some(segment) = self.io.output.pop()
        {
            let Segment::Memory(mut piece) = segment else {
                panic!("no files here");
            };
            let now = left.min(piece.rest().len());
            self.sent.extend_from_slice(&piece.rest()[..now]);
            piece.advance(now);
            self.io.note_taken(now as u64);
            left -= now;
            if !piece.rest().is_empty() {
                self.io.output.push_front(Segment::Memory(piece));
            }
        }
    }

    /// What follows a call: wake-ups, output, and `on_sent` where it was asked for.
    pub fn settle(&mut self) {
        let mut calls = 0;
        while self.is_open() {
            if !self.keeps_output {
                self.take(usize::MAX);
            }
            if self.woken.take() {
                self.call(|protocol, io| protocol.on_ready(io));
            } else if self.io.take_due_taken() {
                self.protocol.on_taken(&mut self.io);
            } else if self.io.take_due_sent() {
                self.call(|protocol, io| protocol.on_sent(io));
            } else {
                break;
            }
            calls += 1;
            assert!(calls < CALLS_MAX, "the connection never comes to rest");
        }
    }

    /// Nothing happens for nothing: a protocol at rest that is called does nothing. What it does
    /// was overlooked before, and would have waited for ever.
    pub fn check_rest(&mut self) {
        self.settle();
        let before = self.sight();
        self.wake();
        assert_eq!(self.sight(), before, "a wake-up was lost");
        if self.is_open() && self.io.pending_bytes() == 0 {
            self.call(|protocol, io| protocol.on_sent(io));
            self.settle();
            // Who was not asked may take it for progress.
            let after = Sight {
                deadline: before.deadline,
                ..self.sight()
            };
            assert_eq!(after, before, "a sent output was overlooked");
        }
    }

    fn sight(&self) -> Sight {
        Sight {
            sent_bytes: self.sent.len() as u64 + self.io.pending_bytes(),
            deadline: self.io.deadline(),
            receive: self.io.receive(),
            end: self.end,
        }
    }

    /// The last call: the connection is gone. `is_lost` says that an error ended it.
    pub fn close(&mut self, is_lost: bool) {
        let cause = match (self.end, is_lost) {
            // Whoever took over is told.
            (Some(End::Switched), _) => return,
            (Some(End::Aborted), _) => Some(std::io::ErrorKind::ConnectionAborted),
            (_, true) => Some(std::io::ErrorKind::ConnectionReset),
            (_, false) => None,
        };
        let cause = cause.map(std::io::Error::from);
        self.protocol.on_closed(&self.io, cause);
        self.end.get_or_insert(End::Aborted);
    }
}
