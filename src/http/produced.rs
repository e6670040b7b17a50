//! Bodies that a future makes, one chunk at a time.
//!
//! ```text
//!   poll the body ─► chunk in the channel? ── yes ─► chunk
//!        ▲                  no │
//!        │                     ▼
//!        └── pending ◄── poll the future ─► Sender::send ─► channel
//! ```
//!
//! The future runs only while its body is polled, and goes when the body goes: there is no task.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use futures_core::Stream;

use crate::error::Result;
use crate::http::incoming;
use crate::http::incoming::Receiver;
use crate::http::incoming::Sender;

/// A future that fills a channel, and the end where the chunks come out.
pub(super) struct Produced {
    receiver: Receiver,
    /// `None` once it is done.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Produced {
    pub(super) fn new<F>(produce: F) -> Produced
    where
        F: AsyncFnOnce(&mut Sender) -> Result<()> + 'static,
    {
        let (mut sender, receiver) = incoming::channel(None);
        let future = Box::pin(async move {
            match produce(&mut sender).await {
                Ok(()) => sender.finish(None),
                Err(error) => sender.fail(error),
            }
        });
        Produced {
            receiver,
            future: Some(future),
        }
    }
}

impl Stream for Produced {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Poll::Ready(chunk) = self.receiver.poll_chunk(cx) {
            return Poll::Ready(chunk);
        }
        // Done, it has ended the channel.
        if let Some(future) = &mut self.future
            && future.as_mut().poll(cx).is_ready()
        {
            self.future = None;
        }
        self.receiver.poll_chunk(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;
    use crate::error::Error;
    use crate::error::ErrorKind;
    use crate::http::body::Body;

    fn poll(body: &mut Body) -> Poll<Option<Result<Bytes>>> {
        body.poll_chunk(&mut Context::from_waker(Waker::noop()))
    }

    fn chunk(body: &mut Body) -> Option<Result<Bytes>> {
        match poll(body) {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => panic!("the body waits"),
        }
    }

    #[test]
    fn makes_a_chunk_when_one_is_wanted() {
        let made = Rc::new(Cell::new(0));
        let counter = Rc::clone(&made);
        let mut body = Body::produce(async move |sender| {
            for word in ["one", "two", "three"] {
                counter.set(counter.get() + 1);
                sender.send(word.into()).await?;
            }
            Ok(())
        });
        assert_eq!((made.get(), body.length()), (0, None));
        for (index, word) in ["one", "two", "three"].into_iter().enumerate() {
            assert_eq!(chunk(&mut body).unwrap().unwrap(), word);
            // The next one is not made before it is asked for, but for the one that waits.
            assert!(made.get() <= index + 2);
        }
        assert!(chunk(&mut body).is_none());
        assert!(chunk(&mut body).is_none());
    }

    #[test]
    fn fails_as_its_future_does() {
        let mut body = Body::produce(async |sender| {
            sender.send("a".into()).await?;
            Err(Error::new(ErrorKind::Protocol, "broken"))
        });
        assert_eq!(chunk(&mut body).unwrap().unwrap(), "a");
        assert_eq!(chunk(&mut body).unwrap().unwrap_err().text(), "broken");
        assert!(chunk(&mut body).is_none());
    }

    #[test]
    fn waits_as_its_future_does_and_takes_it_along() {
        struct Gone(Rc<Cell<bool>>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let gone = Rc::new(Cell::new(false));
        let guard = Gone(Rc::clone(&gone));
        let open = Rc::new(Cell::new(false));
        let gate = Rc::clone(&open);
        let mut body = Body::produce(async move |sender| {
            let _guard = guard;
            let is_open = |_: &mut Context<'_>| match gate.get() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
            poll_fn(is_open).await;
            sender.send("late".into()).await?;
            std::future::pending().await
        });
        assert!(poll(&mut body).is_pending());
        open.set(true);
        assert_eq!(chunk(&mut body).unwrap().unwrap(), "late");
        assert!(poll(&mut body).is_pending());
        assert!(!gone.get());
        drop(body);
        assert!(gone.get());
    }
}
