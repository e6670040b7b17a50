//! A connection that has become something else than HTTP, as its new owner sees it: bytes both ways.
//!
//! ```text
//!   connection ─ push, end, fail ──► inbound ───► ReadHalf ─┐
//!       ▲                                                   ├─ Duplex ─► handler
//!       └─────── take, set_room ◄── outbound ◄── WriteHalf ─┘
//!   Driver                        one Line                    either half may be elsewhere
//! ```
//!
//! One connection, one reader, one writer, one thread. Both directions are bounded: the connection
//! receives a little ahead of the reader and then stops, and the writer waits while the connection
//! has more to send than its output holds.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use bytes::Bytes;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::guard::caught;
use crate::guard::guarded_drop;
use crate::guard::wake;
use crate::http::disconnect::Disconnect;
use crate::limits::DUPLEX_AHEAD_BYTES_MAX;
use crate::limits::DUPLEX_BEHIND_BYTES_MAX;

/// What runs on a connection that was handed over.
pub(crate) type TakeoverFuture = Pin<Box<dyn Future<Output = ()>>>;

/// How a connection is to be handed over, and to whom.
pub(crate) struct Takeover {
    /// What the client upgrades to; `None` for the tunnel of a CONNECT.
    pub(crate) protocol: Option<String>,
    /// Makes what speaks from here on; nothing of it runs before it is polled.
    pub(crate) run: Box<dyn FnOnce(Duplex) -> TakeoverFuture>,
}

/// A connection without a protocol: what arrives, in the order in which it was sent, beginning with
/// what came behind the request; and what is written.
///
/// It belongs to the thread of its connection. When it, or both of its halves, and the closure that
/// got it are done, what was written is sent and the connection closes.
pub struct Duplex {
    reader: ReadHalf,
    writer: WriteHalf,
}

/// What arrives on a [`Duplex`]. Dropped, what still arrives is dropped too.
pub struct ReadHalf {
    line: Rc<Line>,
}

/// What is written to a [`Duplex`]. Dropped, it ends as with [`WriteHalf::shutdown`].
pub struct WriteHalf {
    line: Rc<Line>,
}

/// The end of a [`Duplex`] that its connection has, or its stream of one, and what runs there.
///
/// Whatever carries the bytes calls, with each event: [`push`](Driver::push), [`end`](Driver::end)
/// or [`fail`](Driver::fail), then [`set_room`](Driver::set_room), [`run`](Driver::run) and
/// [`take`](Driver::take) until nothing is left. It receives while there is
/// [appetite](Driver::has_appetite), ends its side when [all is taken](Driver::has_taken_all), and
/// is over when it is [abandoned](Driver::is_abandoned).
pub struct Driver {
    line: Rc<Line>,
    /// Who has the duplex, where that runs here, and until it has ended.
    future: Option<TakeoverFuture>,
}

impl Takeover {
    /// Gives the duplex to who takes over, which runs with the first [`Driver::run`]; `notify` is
    /// woken when there is something to do for it.
    pub(crate) fn start(self, notify: Waker) -> Driver {
        let (mut driver, duplex) = duplex(notify);
        driver.future = Some((self.run)(duplex));
        driver
    }
}

struct Line {
    state: RefCell<State>,
    /// Fires when the server begins to shut down.
    closing: Disconnect,
    /// The connection.
    notify: Waker,
}

#[derive(Default)]
struct State {
    inbound: VecDeque<Bytes>,
    inbound_bytes: usize,
    inbound_end: End,
    reader: Option<Waker>,
    is_reader_gone: bool,
    outbound: VecDeque<Bytes>,
    outbound_bytes: usize,
    outbound_end: End,
    writer: Option<Waker>,
    /// True while the output of the connection is full.
    is_full: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// In order.
    Ended,
    /// The connection is gone.
    Broken,
}

/// A connection and who takes it over; `notify` is woken when there is something to do for it.
pub fn duplex(notify: Waker) -> (Driver, Duplex) {
    let line = Rc::new(Line {
        state: RefCell::default(),
        closing: Disconnect::new(),
        notify,
    });
    let driver = Driver {
        line: Rc::clone(&line),
        future: None,
    };
    let reader = ReadHalf {
        line: Rc::clone(&line),
    };
    (
        driver,
        Duplex {
            reader,
            writer: WriteHalf { line },
        },
    )
}

impl Duplex {
    /// The next bytes, at least one; `None` when the peer has ended its side.
    ///
    /// # Errors
    ///
    /// Of kind `Closed` when the connection broke.
    pub async fn read(&mut self) -> Result<Option<Bytes>> {
        self.reader.read().await
    }

    /// Writes all of `bytes`, and waits while the peer reads more slowly than they come. They are
    /// sent soon, without a flush.
    ///
    /// # Errors
    ///
    /// Of kind `Closed` when the connection broke, of kind `Invalid` behind
    /// [`Duplex::shutdown`].
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        self.writer.write(bytes).await
    }

    /// Ends our side: the peer reads the end behind what was written, and may still send.
    pub fn shutdown(&mut self) {
        self.writer.shutdown();
    }

    /// Resolves when the server begins to shut down, which ends the connection at its deadline
    /// (`Server::shutdown_timeout`).
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        self.reader.closing()
    }

    /// Both directions, to be used side by side.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.reader, self.writer)
    }
}

impl ReadHalf {
    /// As [`Duplex::read`].
    pub async fn read(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// As [`Duplex::closing`].
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        self.line.closing.wait()
    }

    /// As [`ReadHalf::read`], for hand-written futures.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        // A waker may run anything: it is cloned before, and dropped after, the state is borrowed.
        let waker = cx.waker().clone();
        let (found, replaced, was_ahead) = {
            let mut state = self.line.state.borrow_mut();
            let was_ahead = state.inbound_bytes >= DUPLEX_AHEAD_BYTES_MAX;
            let found = state.take_inbound();
            match found {
                Poll::Pending => (found, state.reader.replace(waker), false),
                Poll::Ready(_) => {
                    let is_ahead = state.inbound_bytes >= DUPLEX_AHEAD_BYTES_MAX;
                    (found, Some(waker), was_ahead && !is_ahead)
                }
            }
        };
        drop(replaced);
        if was_ahead {
            self.line.notify.wake_by_ref();
        }
        found
    }
}

impl WriteHalf {
    /// As [`Duplex::write`].
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let mut bytes = bytes.into();
        poll_fn(|cx| self.poll_write(cx, &mut bytes)).await
    }

    /// As [`Duplex::shutdown`].
    pub fn shutdown(&mut self) {
        self.end();
    }

    /// As [`WriteHalf::write`], for hand-written futures: takes `bytes` once it is ready.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<()>> {
        let waker = cx.waker().clone();
        let replaced = {
            let mut state = self.line.state.borrow_mut();
            match state.outbound_end {
                End::Open => {}
                End::Ended => {
                    let text = "nothing is written behind Duplex::shutdown";
                    return Poll::Ready(Err(Error::new(ErrorKind::Invalid, text)));
                }
                End::Broken => return Poll::Ready(Err(broken())),
            }
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let waits = state.is_full || state.outbound_bytes >= DUPLEX_BEHIND_BYTES_MAX;
            if waits {
                Some(state.writer.replace(waker))
            } else {
                let bytes = std::mem::take(bytes);
                state.outbound_bytes += bytes.len();
                state.outbound.push_back(bytes);
                None
            }
        };
        match replaced {
            Some(replaced) => {
                drop(replaced);
                Poll::Pending
            }
            None => {
                self.line.notify.wake_by_ref();
                Poll::Ready(Ok(()))
            }
        }
    }

    fn end(&mut self) {
        let is_first = {
            let mut state = self.line.state.borrow_mut();
            let is_open = state.outbound_end == End::Open;
            if is_open {
                state.outbound_end = End::Ended;
            }
            is_open
        };
        if is_first {
            self.line.notify.wake_by_ref();
        }
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        let (queued, waker) = {
            let mut state = self.line.state.borrow_mut();
            state.is_reader_gone = true;
            state.inbound_bytes = 0;
            (std::mem::take(&mut state.inbound), state.reader.take())
        };
        drop(queued);
        drop(waker);
        self.line.notify.wake_by_ref();
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        let waker = self.line.state.borrow_mut().writer.take();
        drop(waker);
        self.end();
    }
}

impl Driver {
    /// Lets go on what runs here.
    ///
    /// # Errors
    ///
    /// It panicked, and what the panic said: the connection has to break.
    pub fn run(&mut self, waker: &Waker) -> std::result::Result<(), String> {
        let Some(future) = &mut self.future else {
            return Ok(());
        };
        let polled = caught(|| future.as_mut().poll(&mut Context::from_waker(waker)));
        if polled != Ok(Poll::Pending) {
            guarded_drop(self.future.take());
        }
        polled.map(|_| ())
    }

    /// Bytes arrived.
    pub fn push(&self, bytes: Bytes) {
        let waker = {
            let mut state = self.line.state.borrow_mut();
            if bytes.is_empty() || state.is_reader_gone {
                return;
            }
            state.inbound_bytes += bytes.len();
            state.inbound.push_back(bytes);
            state.reader.take()
        };
        wake(waker);
    }

    /// The peer has ended its side.
    pub fn end(&self) {
        let waker = {
            let mut state = self.line.state.borrow_mut();
            state.inbound_end = End::Ended;
            state.reader.take()
        };
        wake(waker);
    }

    /// The connection is gone. What runs here is dropped.
    pub fn fail(&mut self) {
        let (reader, writer, unsent) = {
            let mut state = self.line.state.borrow_mut();
            if state.inbound_end == End::Open {
                state.inbound_end = End::Broken;
            }
            state.outbound_end = End::Broken;
            state.outbound_bytes = 0;
            let unsent = std::mem::take(&mut state.outbound);
            (state.reader.take(), state.writer.take(), unsent)
        };
        guarded_drop(unsent);
        wake(reader);
        wake(writer);
        guarded_drop(self.future.take());
    }

    /// The next bytes to be sent.
    pub fn take(&self) -> Option<Bytes> {
        let mut state = self.line.state.borrow_mut();
        let bytes = state.outbound.pop_front()?;
        state.outbound_bytes -= bytes.len();
        Some(bytes)
    }

    /// Says whether there is room for more to be sent.
    pub fn set_room(&self, has_room: bool) {
        let waker = {
            let mut state = self.line.state.borrow_mut();
            state.is_full = !has_room;
            let may_write = has_room && state.outbound_bytes < DUPLEX_BEHIND_BYTES_MAX;
            if may_write { state.writer.take() } else { None }
        };
        wake(waker);
    }

    /// True while more may be received: who reads is not far behind, or gone.
    pub fn has_appetite(&self) -> bool {
        let state = self.line.state.borrow();
        state.inbound_bytes < DUPLEX_AHEAD_BYTES_MAX
    }

    /// True when who reads waits for more.
    pub fn is_wanted(&self) -> bool {
        self.line.state.borrow().reader.is_some()
    }

    /// True when all was taken that will ever be written.
    pub fn has_taken_all(&self) -> bool {
        let state = self.line.state.borrow();
        state.outbound_end != End::Open && state.outbound.is_empty()
    }

    /// True when nothing runs here any more, and both halves are dropped or will not be used.
    pub fn is_abandoned(&self) -> bool {
        let is_over = self.future.is_none() && self.line.state.borrow().is_reader_gone;
        is_over && self.has_taken_all()
    }

    /// Says that the server shuts down.
    pub fn fire_closing(&self) {
        self.line.closing.fire();
    }
}

impl State {
    fn take_inbound(&mut self) -> Poll<Result<Option<Bytes>>> {
        if let Some(bytes) = self.inbound.pop_front() {
            self.inbound_bytes -= bytes.len();
            return Poll::Ready(Ok(Some(bytes)));
        }
        match self.inbound_end {
            End::Open => Poll::Pending,
            End::Ended => Poll::Ready(Ok(None)),
            End::Broken => Poll::Ready(Err(broken())),
        }
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Closed, "the upgraded connection broke")
}

impl fmt::Debug for Duplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Duplex")
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadHalf")
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteHalf")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(&mut Context::from_waker(Waker::noop()))
    }

    fn read(reader: &mut ReadHalf) -> Option<Option<Bytes>> {
        match poll(|cx| reader.poll_read(cx)) {
            Poll::Ready(found) => Some(found.unwrap()),
            Poll::Pending => None,
        }
    }

    fn write(writer: &mut WriteHalf, len: usize) -> bool {
        let mut bytes = Bytes::from(vec![0; len]);
        poll(|cx| writer.poll_write(cx, &mut bytes)).is_ready()
    }

    #[test]
    fn what_arrives_is_read_in_order_to_its_end() {
        let (driver, duplex) = duplex(Waker::noop().clone());
        let (mut reader, _writer) = duplex.split();
        assert_eq!(read(&mut reader), None);
        assert!(driver.is_wanted());
        driver.push(Bytes::from_static(b"a"));
        driver.push(Bytes::from_static(b"b"));
        driver.end();
        assert_eq!(read(&mut reader).unwrap().unwrap(), "a");
        assert_eq!(read(&mut reader).unwrap().unwrap(), "b");
        assert_eq!(read(&mut reader).unwrap(), None);
        assert_eq!(read(&mut reader).unwrap(), None);
    }

    #[test]
    fn neither_side_runs_ahead() {
        let (driver, duplex) = duplex(Waker::noop().clone());
        let (mut reader, mut writer) = duplex.split();
        driver.push(Bytes::from(vec![0; DUPLEX_AHEAD_BYTES_MAX]));
        assert!(!driver.has_appetite());
        assert!(read(&mut reader).is_some());
        assert!(driver.has_appetite());
        assert!(write(&mut writer, DUPLEX_BEHIND_BYTES_MAX));
        assert!(!write(&mut writer, 1));
        assert_eq!(driver.take().unwrap().len(), DUPLEX_BEHIND_BYTES_MAX);
        assert!(write(&mut writer, 1));
        driver.set_room(false);
        assert!(!write(&mut writer, 1));
        driver.set_room(true);
        assert!(write(&mut writer, 1));
    }

    #[test]
    fn it_is_over_when_both_halves_are() {
        let (driver, duplex) = duplex(Waker::noop().clone());
        let (reader, mut writer) = duplex.split();
        assert!(write(&mut writer, 1));
        writer.shutdown();
        assert!(!driver.has_taken_all());
        assert!(driver.take().is_some());
        assert!(driver.has_taken_all() && !driver.is_abandoned());
        let mut bytes = Bytes::from_static(b"x");
        let late = poll(|cx| writer.poll_write(cx, &mut bytes));
        assert!(matches!(late, Poll::Ready(Err(error)) if error.kind() == ErrorKind::Invalid));
        drop(reader);
        assert!(driver.is_abandoned());
        // Nobody reads it.
        driver.push(bytes);
        assert!(driver.has_appetite());
    }

    #[test]
    fn a_broken_connection_is_an_error_on_both_sides() {
        let (mut driver, duplex) = duplex(Waker::noop().clone());
        let (mut reader, mut writer) = duplex.split();
        driver.push(Bytes::from_static(b"a"));
        driver.fail();
        assert!(read(&mut reader).unwrap().is_some());
        let read = poll(|cx| reader.poll_read(cx));
        assert!(matches!(read, Poll::Ready(Err(error)) if error.is_closed()));
        let mut bytes = Bytes::from_static(b"x");
        let written = poll(|cx| writer.poll_write(cx, &mut bytes));
        assert!(matches!(written, Poll::Ready(Err(error)) if error.is_closed()));
    }
}
