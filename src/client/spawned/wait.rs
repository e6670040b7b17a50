//! Waiting on a thread that has no executor: for one future, and for a body as `std::io::Read`.
//!
//! ```text
//!   poll ─► pending ─► park ─► woken ─► poll …          Reader: read ─► wait(chunk) ─► bytes
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::io::BufRead;
use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::thread;
use std::thread::Thread;

use bytes::Buf;
use bytes::Bytes;

use crate::client::spawned::Body;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::runtime;

/// Blocks the calling thread until a future is done: how threads without an executor share one
/// spawned client. Any future will do; its wakers may be called from every thread.
///
/// ```no_run
/// use roundtrip::Client;
/// use roundtrip::client::spawned;
///
/// let client = Client::spawned()?;
/// let text = spawned::wait(async {
///     let response = client.get("http://127.0.0.1:8080/").send().await?;
///     response.error_for_status()?.text().await
/// })?;
/// # Ok::<(), roundtrip::Error>(())
/// ```
///
/// # Errors
///
/// Those of the future; the thread runs a core of this crate, which would stand still: await the
/// future there.
pub fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    if runtime::is_inside() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "this thread runs a core: await the future instead of blocking on it",
        ));
    }
    let parked = Arc::new(Parked {
        thread: thread::current(),
        is_woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&parked));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        // Others may unpark this thread as well.
        while !parked.is_woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

/// A thread that waits. One per wait: a wake-up that is meant for a wait around it must not be
/// taken by the one within.
struct Parked {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

/// A body that is read by a thread which may block; see [`Body::into_reader`].
pub struct Reader {
    body: Body,
    unread: Bytes,
}

impl Reader {
    pub(super) fn new(body: Body) -> Reader {
        Reader {
            body,
            unread: Bytes::new(),
        }
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread.is_empty()
            && let Some(chunk) = wait(async { self.body.chunk().await.transpose() })?
        {
            self.unread = chunk;
        }
        Ok(&self.unread)
    }

    fn consume(&mut self, count: usize) {
        self.unread.advance(count);
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let len = self.fill_buf()?.len().min(buffer.len());
        self.unread.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("body", &self.body)
            .field("unread_bytes", &self.unread.len())
            .finish()
    }
}
