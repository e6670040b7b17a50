//! Bodies that may go from thread to thread.
//!
//! ```text
//!             ┌ content    bytes, parts of files: sent as they are, and again where that is allowed
//!             ├ stream     polled by the client's thread, when its connection has room
//!   Body ─────┼ channel    filled by a BodySender of any thread, bounded
//!             └ received   filled by the client's thread, bounded: what nobody reads is not received
//! ```

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use bytes::BytesMut;
use futures_core::Stream;
#[cfg(feature = "json")]
use serde::de::DeserializeOwned;

use crate::client::spawned::Client;
use crate::client::spawned::Reader;
use crate::client::spawned::channel;
use crate::client::spawned::channel::Batch;
use crate::client::spawned::channel::End;
use crate::client::spawned::channel::Lost;
use crate::client::spawned::channel::Receiver;
use crate::client::spawned::request::made;
use crate::client::spawned::response::Head;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::body;
use crate::http::body::Chunks;
use crate::http::body::Content;
use crate::http::body::Part;
use crate::http::headers::Headers;
#[cfg(feature = "json")]
use crate::http::json;
use crate::limits::BODY_COLLECT_BYTES_MAX;

/// The body of a request or a response of a [spawned client](crate::client::spawned::Client):
/// `Send`, and a [`Stream`].
///
/// One that was received keeps the client's thread alive. Dropped before its end, it tells its
/// connection, which reads what is left within bounds, or closes.
///
/// ```
/// use roundtrip::client::spawned::Body;
///
/// assert_eq!(Body::from("hello").length(), Some(5));
/// ```
#[derive(Default)]
pub struct Body {
    kind: Kind,
}

enum Kind {
    Content(Content),
    /// Never locked: the lock makes it `Sync`.
    Stream(Mutex<Pin<Box<dyn Chunks + Send>>>, Left),
    Channel(Receiver<()>, Left),
    /// Of a response.
    Received(Received),
}

impl Default for Kind {
    fn default() -> Kind {
        Kind::Content(Content::Empty)
    }
}

struct Received {
    receiver: Receiver<Head>,
    left: Left,
    /// Its thread runs while this is there.
    _client: Client,
}

/// Bytes still to come, where that is known.
type Left = Option<u64>;

/// Fills a [`Body::channel`]. Dropped before [`BodySender::finish`], the body ends with an error,
/// and its message is cut.
pub struct BodySender {
    sender: channel::Sender<()>,
    batch: Batch,
}

const SENDER_LOST: Lost = (
    ErrorKind::Canceled,
    "the sender of the body was dropped before BodySender::finish",
);

impl Body {
    /// No body, or one of length zero.
    pub const fn empty() -> Body {
        Body {
            kind: Kind::Content(Content::Empty),
        }
    }

    /// A range of an open file. It is read while it is sent, never held whole; the range must lie
    /// within the file.
    pub fn file(file: Arc<File>, range: Range<u64>) -> Body {
        Content::from(Part::File { file, range }).into()
    }

    /// Bytes and ranges of files, one behind the other.
    pub fn parts(pieces: impl IntoIterator<Item = Part>) -> Body {
        Content::of(pieces).into()
    }

    /// Chunks made by the user, of unknown length unless it is [said](Body::with_length). Empty
    /// chunks are skipped.
    ///
    /// As the body of a request it is polled by the client's thread, whenever the connection has
    /// room for more: it must not block. One that needs its executor around it, such as a file of
    /// tokio, is sent through a [`Body::channel`] by a task of that executor.
    pub fn stream<S, B, E>(stream: S) -> Body
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Into<Error>,
    {
        Body {
            kind: Kind::Stream(Mutex::new(Box::pin(stream)), None),
        }
    }

    /// A body, and the sender that fills it from any thread.
    ///
    /// ```
    /// use roundtrip::client::spawned;
    /// use roundtrip::client::spawned::Body;
    ///
    /// let (mut sender, body) = Body::channel();
    /// std::thread::spawn(move || {
    ///     spawned::wait(async {
    ///         for number in 1..=3 {
    ///             sender.send(format!("{number}\n")).await?;
    ///         }
    ///         sender.finish();
    ///         Ok(())
    ///     })
    /// });
    /// assert_eq!(spawned::wait(body.text())?, "1\n2\n3\n");
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    pub fn channel() -> (BodySender, Body) {
        let (sender, receiver) = channel::channel(SENDER_LOST);
        let batch = Batch::default();
        let kind = Kind::Channel(receiver, None);
        (BodySender { sender, batch }, Body { kind })
    }

    pub(super) fn received(receiver: Receiver<Head>, length: Option<u64>, client: Client) -> Body {
        Body {
            kind: Kind::Received(Received {
                receiver,
                left: length,
                _client: client,
            }),
        }
    }

    /// Says how many bytes a [`Body::stream`] or [`Body::channel`] will make, so that the request
    /// has a `Content-Length`. One that makes more or fewer cuts its request. Other bodies know
    /// their length, and keep it.
    #[must_use]
    pub fn with_length(mut self, length: u64) -> Body {
        if let Kind::Stream(_, left) | Kind::Channel(_, left) = &mut self.kind {
            *left = Some(length);
        }
        self
    }

    /// Bytes still to come, `None` where only the end will tell.
    pub fn length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Content(content) => Some(content.length()),
            Kind::Stream(_, left) | Kind::Channel(_, left) => *left,
            Kind::Received(received) => received.left,
        }
    }

    /// True when it is known that no byte will come.
    pub fn is_empty(&self) -> bool {
        self.length() == Some(0)
    }

    /// A second body with the same content, where that is possible without reading it.
    pub fn try_clone(&self) -> Option<Body> {
        match &self.kind {
            Kind::Content(content) => Some(content.clone().into()),
            _ => None,
        }
    }

    /// The next chunk, never empty; `None` at the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// As [`Body::chunk`], for hand-written futures. After `None` or an error there is nothing
    /// more. A file is read by the connection that sends it: here it is an error.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let (polled, left) = match &mut self.kind {
            Kind::Content(content) => {
                return Poll::Ready(body::next_bytes(content).transpose());
            }
            Kind::Stream(stream, left) => {
                let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
                (poll_stream(stream.as_mut(), cx), left)
            }
            Kind::Channel(receiver, left) => (receiver.poll_chunk(cx), left),
            Kind::Received(received) => (received.receiver.poll_chunk(cx), &mut received.left),
        };
        if let Poll::Ready(ready) = &polled {
            // More than was said is found by whoever writes it.
            let taken = ready.as_ref().and_then(|chunk| chunk.as_ref().ok());
            *left = match taken {
                Some(chunk) => left.map(|left| left.saturating_sub(chunk.len() as u64)),
                None => Some(0),
            };
            if taken.is_none() && matches!(self.kind, Kind::Stream(..)) {
                // A stream must not be polled behind its end.
                self.kind = Kind::default();
            }
        }
        polled
    }

    /// The trailers of a received body, once its end has been seen (RFC 9110 §6.5).
    pub fn take_trailers(&mut self) -> Option<Headers> {
        match &mut self.kind {
            Kind::Received(received) => received.receiver.take_trailers(),
            _ => None,
        }
    }

    /// All of the body, if it is not longer than `limit_bytes`.
    ///
    /// # Errors
    ///
    /// Of kind `Limit` where it is longer, found before anything is read where the length is known;
    /// the body cannot be completed.
    pub async fn collect(mut self, limit_bytes: usize) -> Result<Bytes> {
        body::collect(self.length(), limit_bytes, |cx| self.poll_chunk(cx)).await
    }

    /// All of the body, up to 2 MiB ([`BODY_COLLECT_BYTES_MAX`]).
    ///
    /// # Errors
    ///
    /// As for [`Body::collect`].
    pub async fn bytes(self) -> Result<Bytes> {
        self.collect(BODY_COLLECT_BYTES_MAX).await
    }

    /// All of the body as UTF-8 text, up to 2 MiB ([`BODY_COLLECT_BYTES_MAX`]).
    ///
    /// # Errors
    ///
    /// As for [`Body::collect`]; it is not UTF-8.
    pub async fn text(self) -> Result<String> {
        body::text_of(self.bytes().await?)
    }

    /// All of the body as JSON, up to 2 MiB ([`BODY_COLLECT_BYTES_MAX`]).
    ///
    /// # Errors
    ///
    /// As for [`Body::collect`]; of kind `Protocol` where the bytes are not JSON, or have another
    /// shape than `T`.
    #[cfg(feature = "json")]
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        json::parse(&self.bytes().await?)
    }

    /// The body for code that blocks, as [`std::io::Read`].
    pub fn into_reader(self) -> Reader {
        Reader::new(self)
    }

    /// The same body of the calling thread, where it can be sent as it is; back where it is made
    /// while it is sent.
    pub(super) fn into_whole(self) -> Result<body::Body, Body> {
        match self.kind {
            Kind::Content(content) => Ok(content.into()),
            _ => Err(self),
        }
    }
}

/// The next chunk that is not empty.
fn poll_stream(
    mut stream: Pin<&mut (dyn Chunks + Send)>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes>>> {
    loop {
        match stream.as_mut().poll_next_chunk(cx) {
            Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
            polled => return polled,
        }
    }
}

impl BodySender {
    /// Hands over a chunk, when there is room for it: of what waits for its reader there are 256
    /// KiB ([`SPAWNED_BODY_BYTES_MAX`]), and one chunk more. An empty one is skipped.
    ///
    /// [`SPAWNED_BODY_BYTES_MAX`]: crate::limits::SPAWNED_BODY_BYTES_MAX
    ///
    /// # Errors
    ///
    /// The body was dropped, as it is when its request ends.
    pub async fn send(&mut self, chunk: impl Into<Bytes>) -> Result<()> {
        let chunk = chunk.into();
        let room = poll_fn(|cx| self.sender.poll_room(cx)).await;
        if room.is_none() {
            return Err(Error::new(
                ErrorKind::Canceled,
                "the body was dropped by its reader",
            ));
        }
        if !chunk.is_empty() {
            self.batch.push(chunk);
            self.sender.deliver(None, &mut self.batch, None);
        }
        Ok(())
    }

    /// Ends the body as it should end.
    pub fn finish(mut self) {
        let end = End::Finished(None);
        self.sender.deliver(None, &mut self.batch, Some(end));
    }

    /// Ends the body with an error, which cuts the message.
    pub fn fail(self, error: Error) {
        self.sender.fail(error);
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodySender")
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.poll_chunk(cx)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Content(content) => content.name(),
            Kind::Stream(..) => "stream",
            Kind::Channel(..) => "channel",
            Kind::Received(..) => "received",
        };
        f.debug_struct("Body")
            .field("kind", &kind)
            .field("length", &self.length())
            .finish()
    }
}

/// What is made while it is sent becomes a stream; its trailers are left out.
impl From<Body> for body::Body {
    fn from(body: Body) -> body::Body {
        body.into_whole()
            .unwrap_or_else(|body| made(body.length(), body))
    }
}

impl TryFrom<body::Body> for Body {
    type Error = Error;

    /// Fails for a stream or a received body: those belong to one thread.
    fn try_from(body: body::Body) -> Result<Body> {
        let content = body.into_content().map_err(|_| {
            Error::new(
                ErrorKind::Invalid,
                "a body that is made while it is sent belongs to one thread: use \
                 spawned::Body::stream or spawned::Body::channel",
            )
        })?;
        Ok(content.into())
    }
}

impl From<Content> for Body {
    fn from(content: Content) -> Body {
        Body {
            kind: Kind::Content(content),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Content::from(bytes).into()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Body {
        Body::empty()
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Body {
        Bytes::from_static(bytes).into()
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Body {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

/// What `Bytes` takes without a copy.
macro_rules! from_memory {
    ($($memory:ty),*) => {$(
        impl From<$memory> for Body {
            fn from(memory: $memory) -> Body {
                Bytes::from(memory).into()
            }
        }
    )*};
}

from_memory!(
    &'static str,
    &'static [u8],
    String,
    Vec<u8>,
    Box<[u8]>,
    BytesMut
);
