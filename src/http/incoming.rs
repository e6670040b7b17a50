//! The channel through which a received body reaches who reads it.
//!
//! ```text
//!   connection ─► Sender ─► queue of chunks ─► Receiver (inside Body) ─► handler or caller
//!                   ▲                               │
//!                   └──── notify: wanted, dropped ──┘
//! ```
//!
//! One producer, one consumer, one thread. The queue has no bound of its own: the producer looks at
//! [`Sender::is_wanted`] and [`Sender::queued_bytes`] before it receives more, and is woken when
//! the consumer starts to wait or goes away. The first poll of the body thus is also the sign to
//! send `100 Continue`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use bytes::Bytes;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::guard;
use crate::guard::guarded_drop;
use crate::http::headers::Headers;
use crate::http::recycle::FreeList;
use crate::limits::FREE_CHANNELS_MAX;

/// The producing end: the connection that receives a body, or a task that makes one.
/// Dropped before [`Sender::finish`], the body ends with an error.
pub struct Sender {
    channel: Rc<Channel>,
}

/// The consuming end, held by a body.
pub(super) struct Receiver {
    channel: Rc<Channel>,
}

struct Channel {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    /// Bytes that are still to be taken by the consumer, where the length is known.
    remaining_bytes: Option<u64>,
    end: End,
    /// True exactly when the consumer found the queue empty and nothing was pushed since.
    wanted: bool,
    /// True exactly when the body was dropped.
    dropped: bool,
    consumer: Option<Waker>,
    producer: Option<Waker>,
}

#[derive(Default)]
enum End {
    #[default]
    Open,
    Finished(Option<Headers>),
    Failed(Error),
    /// The sender was dropped.
    Abandoned,
    /// The consumer has seen the end or the error.
    Delivered(Option<Headers>),
}

thread_local! {
    static FREE: FreeList<Rc<Channel>> = const { FreeList::new(FREE_CHANNELS_MAX) };
}

/// A channel for a body of `length` bytes, `None` where only its end will tell.
pub(super) fn channel(length: Option<u64>) -> (Sender, Receiver) {
    let recycled = FREE.try_with(FreeList::take).ok().flatten();
    let channel = recycled.unwrap_or_else(|| {
        Rc::new(Channel {
            state: RefCell::default(),
        })
    });
    assert!(
        Rc::strong_count(&channel) == 1,
        "a channel in use was recycled"
    );
    channel.state.borrow_mut().remaining_bytes = length;
    let receiver = Receiver {
        channel: Rc::clone(&channel),
    };
    (Sender { channel }, receiver)
}

impl Sender {
    /// Hands over a chunk. Nothing happens when it is empty or the body was dropped.
    pub fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let mut state = self.channel.state.borrow_mut();
        if state.dropped {
            return;
        }
        state.queued_bytes += chunk.len();
        state.queue.push_back(chunk);
        state.wanted = false;
        wake(state.consumer.take(), state);
    }

    /// Ends the body as it should end, with the trailers that came behind it.
    pub fn finish(self, trailers: Option<Headers>) {
        self.end(End::Finished(trailers));
    }

    /// Ends the body with an error, which the consumer sees behind the chunks pushed so far.
    pub fn fail(self, error: Error) {
        self.end(End::Failed(error));
    }

    /// True when the consumer waits and the queue is empty.
    pub fn is_wanted(&self) -> bool {
        self.channel.state.borrow().wanted
    }

    /// True when the body was dropped: nobody will read what comes.
    pub fn is_dropped(&self) -> bool {
        self.channel.state.borrow().dropped
    }

    /// Bytes pushed and not taken yet.
    pub fn queued_bytes(&self) -> usize {
        self.channel.state.borrow().queued_bytes
    }

    /// Sets who is woken, once, when the consumer starts to want data or drops the body.
    pub fn set_notify(&mut self, waker: Waker) {
        let replaced = self.channel.state.borrow_mut().producer.replace(waker);
        drop(replaced);
    }

    /// For producers that are tasks: waits until the consumer wants data, then hands the chunk
    /// over. An error says that the body was dropped.
    pub async fn send(&mut self, chunk: Bytes) -> Result<()> {
        poll_fn(|cx| self.poll_wanted(cx)).await?;
        self.push(chunk);
        Ok(())
    }

    fn poll_wanted(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.is_dropped() {
            return Poll::Ready(Err(Error::new(
                ErrorKind::Canceled,
                "the body was dropped by its reader",
            )));
        }
        if self.is_wanted() {
            return Poll::Ready(Ok(()));
        }
        self.set_notify(cx.waker().clone());
        Poll::Pending
    }

    fn end(&self, end: End) {
        let mut state = self.channel.state.borrow_mut();
        if state.dropped {
            // What nobody will read is dropped at once, and outside the borrow.
            drop(state);
            guarded_drop(end);
            return;
        }
        state.end = end;
        state.wanted = false;
        wake(state.consumer.take(), state);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if matches!(self.channel.state.borrow().end, End::Open) {
            self.end(End::Abandoned);
        }
        let producer = self.channel.state.borrow_mut().producer.take();
        guarded_drop(producer);
        self.channel.recycle();
    }
}

impl Receiver {
    /// The next chunk, the error that ended the body, or `None` at its end.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let mut state = self.channel.state.borrow_mut();
        if let Some(chunk) = state.queue.pop_front() {
            state.queued_bytes -= chunk.len();
            if let Some(remaining) = &mut state.remaining_bytes {
                *remaining = remaining.saturating_sub(chunk.len() as u64);
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        match std::mem::take(&mut state.end) {
            End::Open => {}
            End::Finished(trailers) | End::Delivered(trailers) => {
                state.end = End::Delivered(trailers);
                return Poll::Ready(None);
            }
            End::Failed(error) => {
                state.end = End::Delivered(None);
                return Poll::Ready(Some(Err(error)));
            }
            End::Abandoned => {
                state.end = End::Delivered(None);
                return Poll::Ready(Some(Err(Error::new(
                    ErrorKind::Closed,
                    "the connection ended before the body did",
                ))));
            }
        }
        let is_same = |waker: &Waker| waker.will_wake(cx.waker());
        let replaced = if state.consumer.as_ref().is_some_and(is_same) {
            None
        } else {
            // A waker may run anything, when it is cloned too.
            drop(state);
            let waker = cx.waker().clone();
            state = self.channel.state.borrow_mut();
            state.consumer.replace(waker)
        };
        let producer = if state.wanted {
            None
        } else {
            state.wanted = true;
            state.producer.take()
        };
        wake(producer, state);
        drop(replaced);
        Poll::Pending
    }

    /// Bytes still to come, where the length is known.
    pub(super) fn remaining_bytes(&self) -> Option<u64> {
        let state = self.channel.state.borrow();
        match state.end {
            End::Finished(_) | End::Delivered(_) => Some(state.queued_bytes as u64),
            _ => state.remaining_bytes,
        }
    }

    /// The trailers, once the end has been seen.
    pub(super) fn take_trailers(&mut self) -> Option<Headers> {
        match &mut self.channel.state.borrow_mut().end {
            End::Delivered(trailers) => trailers.take(),
            _ => None,
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.channel.state.borrow_mut();
        state.dropped = true;
        state.wanted = false;
        state.queued_bytes = 0;
        let mut queue = std::mem::take(&mut state.queue);
        let consumer = state.consumer.take();
        wake(state.producer.take(), state);
        guarded_drop(consumer);
        queue.clear();
        // The emptied queue goes back, so that a recycled channel keeps its memory.
        self.channel.state.borrow_mut().queue = queue;
        self.channel.recycle();
    }
}

impl Channel {
    /// Gives the channel to the free list when the end that is being dropped is the last one.
    fn recycle(self: &Rc<Channel>) {
        if Rc::strong_count(self) != 1 {
            return;
        }
        let mut state = self.state.take();
        if state.queue.capacity() <= RECYCLED_QUEUE_MAX {
            let queue = std::mem::take(&mut state.queue);
            self.state.borrow_mut().queue = queue;
        }
        guarded_drop(state);
        let _ = FREE.try_with(|free| free.give(Rc::clone(self)));
    }
}

/// Longer queues are given back to the allocator.
const RECYCLED_QUEUE_MAX: usize = 64;

/// Wakes with the state free again, since a waker may run anything.
fn wake(waker: Option<Waker>, state: std::cell::RefMut<'_, State>) {
    drop(state);
    guard::wake(waker);
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("queued_bytes", &self.queued_bytes())
            .field("is_wanted", &self.is_wanted())
            .field("is_dropped", &self.is_dropped())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Count>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn seen(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn poll(receiver: &mut Receiver, count: &Arc<Count>) -> Poll<Option<Result<Bytes>>> {
        let waker = Waker::from(Arc::clone(count));
        receiver.poll_chunk(&mut Context::from_waker(&waker))
    }

    fn chunk(poll: Poll<Option<Result<Bytes>>>) -> Bytes {
        match poll {
            Poll::Ready(Some(Ok(chunk))) => chunk,
            other => panic!("expected a chunk, got {other:?}"),
        }
    }

    #[test]
    fn first_poll_of_an_empty_queue_notifies_once() {
        let (consumer, producer) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (mut sender, mut receiver) = channel(None);
        sender.set_notify(Waker::from(Arc::clone(&producer)));
        assert!(!sender.is_wanted());
        assert!(poll(&mut receiver, &consumer).is_pending());
        assert!(sender.is_wanted());
        assert_eq!(producer.seen(), 1);
        assert!(poll(&mut receiver, &consumer).is_pending());
        assert_eq!(producer.seen(), 1);

        sender.push(Bytes::from_static(b"ab"));
        assert!(!sender.is_wanted());
        assert_eq!(consumer.seen(), 1);
        assert_eq!(sender.queued_bytes(), 2);
        assert_eq!(chunk(poll(&mut receiver, &consumer)), "ab");
        assert_eq!(sender.queued_bytes(), 0);
    }

    #[test]
    fn end_comes_behind_the_chunks_with_trailers() {
        let consumer = Arc::new(Count::default());
        let (mut sender, mut receiver) = channel(Some(3));
        sender.push(Bytes::from_static(b"abc"));
        assert_eq!(receiver.remaining_bytes(), Some(3));
        sender.finish(Some(Headers::from_pairs([("t", "1")]).unwrap()));
        assert!(receiver.take_trailers().is_none());
        assert_eq!(chunk(poll(&mut receiver, &consumer)), "abc");
        assert_eq!(receiver.remaining_bytes(), Some(0));
        for _ in 0..2 {
            assert!(matches!(poll(&mut receiver, &consumer), Poll::Ready(None)));
        }
        assert_eq!(receiver.take_trailers().unwrap().get("t"), Some("1"));
    }

    #[test]
    fn a_dropped_sender_is_an_error_once() {
        let consumer = Arc::new(Count::default());
        let (mut sender, mut receiver) = channel(None);
        assert!(poll(&mut receiver, &consumer).is_pending());
        sender.push(Bytes::from_static(b"a"));
        drop(sender);
        assert_eq!(chunk(poll(&mut receiver, &consumer)), "a");
        let Poll::Ready(Some(Err(error))) = poll(&mut receiver, &consumer) else {
            panic!("expected an error");
        };
        assert!(error.is_closed());
        assert!(matches!(poll(&mut receiver, &consumer), Poll::Ready(None)));
    }

    #[test]
    fn a_dropped_body_notifies_and_takes_nothing_more() {
        let producer = Arc::new(Count::default());
        let (mut sender, receiver) = channel(None);
        sender.set_notify(Waker::from(Arc::clone(&producer)));
        drop(receiver);
        assert_eq!(producer.seen(), 1);
        assert!(sender.is_dropped());
        sender.push(Bytes::from_static(b"a"));
        assert_eq!(sender.queued_bytes(), 0);
        sender.finish(None);
    }

    #[test]
    fn a_channel_serves_again_and_comes_back_clean() {
        let (mut sender, receiver) = channel(Some(9));
        let address = Rc::as_ptr(&sender.channel);
        sender.push(Bytes::from_static(b"a"));
        drop(receiver);
        drop(sender);
        let (sender, receiver) = channel(None);
        assert_eq!(Rc::as_ptr(&sender.channel), address);
        assert!(!sender.is_dropped());
        assert_eq!(sender.queued_bytes(), 0);
        assert_eq!(receiver.remaining_bytes(), None);
    }
}
