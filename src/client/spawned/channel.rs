//! What two threads share of one request: a value, then bytes, then an end.
//!
//! ```text
//!   producer ─► Sender ─► [ first ] [ chunk chunk … ] [ end ] ─► Receiver ─► consumer
//!                 ▲                                                 │
//!                 └───────── waker: there is room again, or nobody reads
//! ```
//! Bounded by bytes. All that is at hand goes over at once, under one lock, and wakes the other side
//! only where that waits: the consumer where it found nothing, the producer where it found no room.
//! Wakers and values of the user are cloned, called and dropped while nothing is locked.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
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
use crate::limits::SPAWNED_BODY_BYTES_MAX;
use crate::runtime;
use crate::runtime::Process;

/// The producing end. Dropped before it has [ended](Sender::deliver), it fails what the consumer
/// waits for.
pub(super) struct Sender<T> {
    channel: Arc<Channel<T>>,
    /// The error when this is dropped too early.
    lost: Lost,
}

/// What the consumer is told when the producer is dropped before its end.
pub(super) type Lost = (ErrorKind, &'static str);

/// The consuming end.
pub(super) struct Receiver<T> {
    channel: Arc<Channel<T>>,
    /// Chunks that were taken over and not asked for yet.
    taken: Chunks,
    trailers: Option<Headers>,
    has_ended: bool,
}

/// Chunks that go over together.
#[derive(Default)]
pub(super) struct Batch {
    chunks: Chunks,
    bytes: usize,
}

/// A queue of chunks, which takes no memory for one: most bodies are that.
#[derive(Default)]
struct Chunks {
    /// Before all others.
    first: Option<Bytes>,
    others: VecDeque<Bytes>,
}

/// How it ends.
#[derive(Debug)]
pub(super) enum End {
    /// As it should, with the trailers that came behind it.
    Finished(Option<Headers>),
    /// With an error, which the consumer sees behind everything else.
    Failed(Error),
}

struct Channel<T> {
    process: Process,
    state: Mutex<State<T>>,
}

struct State<T> {
    first: Option<T>,
    queue: Chunks,
    queued_bytes: usize,
    /// Taken by the consumer; `has_ended` stays.
    end: Option<End>,
    has_ended: bool,
    /// True exactly when the consumer has gone.
    is_dropped: bool,
    /// True exactly when the producer found no room since the queue was last taken.
    is_stalled: bool,
    consumer: Option<Waker>,
    producer: Option<Waker>,
}

/// A channel.
pub(super) fn channel<T>(lost: Lost) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        process: Process::here(),
        state: Mutex::new(State {
            first: None,
            queue: Chunks::default(),
            queued_bytes: 0,
            end: None,
            has_ended: false,
            is_dropped: false,
            is_stalled: false,
            consumer: None,
            producer: None,
        }),
    });
    let receiver = Receiver {
        channel: Arc::clone(&channel),
        taken: Chunks::default(),
        trailers: None,
        has_ended: false,
    };
    (Sender { channel, lost }, receiver)
}

impl Batch {
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        self.chunks.push(chunk);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands its chunks over; the emptied queue that comes back serves again.
    fn move_into(&mut self, queue: &mut Chunks) -> usize {
        if queue.is_empty() {
            mem::swap(queue, &mut self.chunks);
        } else {
            queue.others.extend(self.chunks.first.take());
            queue.others.append(&mut self.chunks.others);
        }
        mem::take(&mut self.bytes)
    }
}

impl Chunks {
    fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    fn push(&mut self, chunk: Bytes) {
        if self.is_empty() {
            self.first = Some(chunk);
        } else {
            self.others.push_back(chunk);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        self.first.take().or_else(|| self.others.pop_front())
    }
}

impl<T> Sender<T> {
    /// Hands over what there is of all this. Nothing happens when the consumer has gone.
    pub(super) fn deliver(&mut self, first: Option<T>, batch: &mut Batch, end: Option<End>) {
        let Some(mut state) = self.channel.lock() else {
            return;
        };
        if state.is_dropped {
            drop(state);
            *batch = Batch::default();
            return;
        }
        if first.is_some() {
            state.first = first;
        }
        state.queued_bytes += batch.move_into(&mut state.queue);
        if end.is_some() {
            assert!(!state.has_ended, "a channel ends twice");
            state.has_ended = true;
            state.end = end;
        }
        let consumer = state.consumer.take();
        drop(state);
        guard::wake(consumer);
    }

    /// Ends with an error.
    pub(super) fn fail(mut self, error: Error) {
        self.deliver(None, &mut Batch::default(), Some(End::Failed(error)));
    }

    /// Bytes that may be delivered now, more than none; `None` when the consumer has gone.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let look = |state: &mut State<T>| {
            if state.is_dropped {
                return Poll::Ready(None);
            }
            let room = SPAWNED_BODY_BYTES_MAX.saturating_sub(state.queued_bytes);
            state.is_stalled = room == 0;
            match room {
                0 => Poll::Pending,
                _ => Poll::Ready(Some(room)),
            }
        };
        let polled = self.channel.poll(cx, |state| &mut state.producer, look);
        polled.unwrap_or(Poll::Ready(None))
    }

    /// Resolves when the consumer has gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let look = |state: &mut State<T>| match state.is_dropped {
            true => Poll::Ready(()),
            false => Poll::Pending,
        };
        let polled = self.channel.poll(cx, |state| &mut state.producer, look);
        polled.unwrap_or(Poll::Ready(()))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let Some(mut state) = self.channel.lock() else {
            return;
        };
        let producer = state.producer.take();
        let is_lost = !state.has_ended && !state.is_dropped;
        let consumer = if is_lost {
            state.has_ended = true;
            let (kind, text) = self.lost;
            state.end = Some(End::Failed(Error::new(kind, text)));
            state.consumer.take()
        } else {
            None
        };
        drop(state);
        guarded_drop(producer);
        guard::wake(consumer);
    }
}

impl<T> Receiver<T> {
    /// The first value, or the error that came in its place.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let look = |state: &mut State<T>| match (state.first.take(), state.has_ended) {
            (Some(first), _) => Poll::Ready(Ok(first)),
            (None, true) => match state.end.take() {
                Some(End::Failed(error)) => Poll::Ready(Err(error)),
                _ => panic!("a channel ended without its first value"),
            },
            (None, false) => Poll::Pending,
        };
        let polled = self.channel.poll(cx, |state| &mut state.consumer, look);
        polled.unwrap_or_else(|| Poll::Ready(Err(runtime::forked())))
    }

    /// The next chunk, the error that ended the bytes, or `None` at their end.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Some(chunk) = self.taken.pop() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        let taken = &mut self.taken;
        let look = |state: &mut State<T>| {
            if !state.queue.is_empty() {
                mem::swap(taken, &mut state.queue);
                state.queued_bytes = 0;
                let is_stalled = mem::take(&mut state.is_stalled);
                let producer = if is_stalled {
                    state.producer.take()
                } else {
                    None
                };
                return Poll::Ready((producer, None));
            }
            match state.end.take() {
                Some(end) => Poll::Ready((None, Some(end))),
                None => Poll::Pending,
            }
        };
        let polled = self.channel.poll(cx, |state| &mut state.consumer, look);
        let Some(polled) = polled else {
            self.has_ended = true;
            return Poll::Ready(Some(Err(runtime::forked())));
        };
        let (producer, end) = std::task::ready!(polled);
        guard::wake(producer);
        self.has_ended = end.is_some();
        Poll::Ready(match end {
            None => self.taken.pop().map(Ok),
            Some(End::Failed(error)) => Some(Err(error)),
            Some(End::Finished(trailers)) => {
                self.trailers = trailers;
                None
            }
        })
    }

    /// The trailers, once the end has been seen.
    pub(super) fn take_trailers(&mut self) -> Option<Headers> {
        self.trailers.take()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let Some(mut state) = self.channel.lock() else {
            return;
        };
        state.is_dropped = true;
        let left = (
            state.first.take(),
            mem::take(&mut state.queue),
            state.end.take(),
            state.consumer.take(),
        );
        let producer = state.producer.take();
        drop(state);
        guarded_drop(left);
        guard::wake(producer);
    }
}

impl<T> Channel<T> {
    /// `None` in a child of fork(2), which has no other side: it may be locked there for ever.
    fn lock(&self) -> Option<MutexGuard<'_, State<T>>> {
        let lock = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.process.is_here().then(lock)
    }

    /// Looks, and where there is nothing leaves the waker in its `place`. `None` as for `lock`.
    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        place: fn(&mut State<T>) -> &mut Option<Waker>,
        mut look: impl FnMut(&mut State<T>) -> Poll<R>,
    ) -> Option<Poll<R>> {
        let mut state = self.lock()?;
        let looked = look(&mut state);
        let is_known = |waker: &Waker| waker.will_wake(cx.waker());
        if looked.is_ready() || place(&mut state).as_ref().is_some_and(is_known) {
            return Some(looked);
        }
        // A waker may run anything when it is cloned or dropped, and the other side may have been
        // here in between.
        drop(state);
        let waker = cx.waker().clone();
        state = self.lock()?;
        let looked = look(&mut state);
        if looked.is_ready() {
            drop(state);
            return Some(looked);
        }
        let replaced = place(&mut state).replace(waker);
        drop(state);
        drop(replaced);
        Some(looked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Count>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// One side: its waker, and how often that was called.
    struct Side {
        count: Arc<Count>,
        waker: Waker,
    }

    impl Side {
        fn new() -> Side {
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            Side { count, waker }
        }

        fn woken(&self) -> usize {
            self.count.0.load(Ordering::SeqCst)
        }

        fn next<T>(&self, receiver: &mut Receiver<T>) -> Poll<Option<Result<Bytes>>> {
            receiver.poll_chunk(&mut Context::from_waker(&self.waker))
        }

        fn first<T>(&self, receiver: &mut Receiver<T>) -> Poll<Result<T>> {
            receiver.poll_first(&mut Context::from_waker(&self.waker))
        }

        fn room<T>(&self, sender: &mut Sender<T>) -> Poll<Option<usize>> {
            sender.poll_room(&mut Context::from_waker(&self.waker))
        }
    }

    const LOST: Lost = (ErrorKind::Shutdown, "lost");

    fn batch(chunks: &[usize]) -> Batch {
        let mut batch = Batch::default();
        for len in chunks {
            batch.push(vec![7; *len].into());
        }
        batch
    }

    fn len(polled: Poll<Option<Result<Bytes>>>) -> usize {
        match polled {
            Poll::Ready(Some(Ok(chunk))) => chunk.len(),
            other => panic!("expected a chunk, got {other:?}"),
        }
    }

    #[test]
    fn all_of_a_small_answer_wakes_once() {
        let (caller, core) = (Side::new(), Side::new());
        let (mut sender, mut receiver) = channel::<u8>(LOST);
        assert!(caller.first(&mut receiver).is_pending());
        assert_eq!(
            core.room(&mut sender),
            Poll::Ready(Some(SPAWNED_BODY_BYTES_MAX))
        );
        let trailers = Headers::from_pairs([("t", "1")]).unwrap();
        let end = End::Finished(Some(trailers));
        sender.deliver(Some(1), &mut batch(&[3, 4]), Some(end));
        drop(sender);
        assert_eq!(caller.woken(), 1);
        assert!(matches!(caller.first(&mut receiver), Poll::Ready(Ok(1))));
        assert_eq!(len(caller.next(&mut receiver)), 3);
        assert!(receiver.take_trailers().is_none());
        assert_eq!(len(caller.next(&mut receiver)), 4);
        for _ in 0..2 {
            assert!(matches!(caller.next(&mut receiver), Poll::Ready(None)));
        }
        assert_eq!(receiver.take_trailers().unwrap().get("t"), Some("1"));
        drop(receiver);
        assert_eq!((caller.woken(), core.woken()), (1, 0));
    }

    #[test]
    fn who_found_no_room_is_woken_when_there_is_some() {
        let (caller, core) = (Side::new(), Side::new());
        let (mut sender, mut receiver) = channel::<()>(LOST);
        sender.deliver(None, &mut batch(&[SPAWNED_BODY_BYTES_MAX - 1]), None);
        assert_eq!(core.room(&mut sender), Poll::Ready(Some(1)));
        sender.deliver(None, &mut batch(&[9]), None);
        assert!(core.room(&mut sender).is_pending());
        assert!(core.room(&mut sender).is_pending());
        assert_eq!(len(caller.next(&mut receiver)), SPAWNED_BODY_BYTES_MAX - 1);
        assert_eq!(core.woken(), 1);
        assert_eq!(
            core.room(&mut sender),
            Poll::Ready(Some(SPAWNED_BODY_BYTES_MAX))
        );
        assert_eq!(len(caller.next(&mut receiver)), 9);
        assert!(caller.next(&mut receiver).is_pending());
        sender.deliver(None, &mut batch(&[1]), None);
        assert_eq!(caller.woken(), 1);
        assert_eq!(len(caller.next(&mut receiver)), 1);
        // It had room all the time: nobody wakes it.
        assert_eq!(core.woken(), 1);
    }

    #[test]
    fn a_consumer_that_goes_wakes_the_producer_and_takes_nothing_more() {
        let core = Side::new();
        let (mut sender, receiver) = channel::<()>(LOST);
        assert!(
            sender
                .poll_gone(&mut Context::from_waker(&core.waker))
                .is_pending()
        );
        drop(receiver);
        assert_eq!(core.woken(), 1);
        assert!(
            sender
                .poll_gone(&mut Context::from_waker(&core.waker))
                .is_ready()
        );
        assert_eq!(core.room(&mut sender), Poll::Ready(None));
        let mut left = batch(&[1]);
        sender.deliver(Some(()), &mut left, None);
        assert_eq!(left.bytes(), 0);
        assert_eq!(Arc::strong_count(&sender.channel), 1);
        drop(sender);
        assert_eq!(core.woken(), 1);
    }

    #[test]
    fn a_producer_that_goes_is_an_error_behind_what_came() {
        let caller = Side::new();
        let (sender, mut receiver) = channel::<()>(LOST);
        assert!(caller.first(&mut receiver).is_pending());
        drop(sender);
        assert_eq!(caller.woken(), 1);
        let Poll::Ready(Err(error)) = caller.first(&mut receiver) else {
            panic!("it was lost");
        };
        assert_eq!((error.kind(), error.text()), LOST);

        let (mut sender, mut receiver) = channel::<()>(LOST);
        sender.deliver(Some(()), &mut batch(&[2]), None);
        drop(sender);
        assert!(matches!(caller.first(&mut receiver), Poll::Ready(Ok(()))));
        assert_eq!(len(caller.next(&mut receiver)), 2);
        assert!(matches!(
            caller.next(&mut receiver),
            Poll::Ready(Some(Err(_)))
        ));
        assert!(matches!(caller.next(&mut receiver), Poll::Ready(None)));
    }

    #[test]
    fn threads_lose_nothing_and_nobody_sleeps_too_long() {
        const CHUNKS: usize = 2_000;
        let (mut sender, mut receiver) = channel::<()>(LOST);
        let producer = std::thread::spawn(move || {
            for number in 0..CHUNKS {
                // Together far more than the bound, so that both sides wait.
                let len = 1 + number * 7_919 % 70_000;
                let room = std::future::poll_fn(|cx| sender.poll_room(cx));
                let room = crate::client::spawned::wait(async { Ok(room.await) });
                assert!(room.unwrap().is_some());
                sender.deliver(None, &mut batch(&[len]), None);
            }
            sender.deliver(None, &mut batch(&[]), Some(End::Finished(None)));
        });
        let mut number = 0;
        loop {
            let next = std::future::poll_fn(|cx| receiver.poll_chunk(cx));
            let next = crate::client::spawned::wait(async { next.await.transpose() });
            let Some(chunk) = next.unwrap() else { break };
            assert_eq!(chunk.len(), 1 + number * 7_919 % 70_000);
            number += 1;
        }
        assert_eq!(number, CHUNKS);
        producer.join().unwrap();
    }
}
