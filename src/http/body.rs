//! The body of a message: one concrete type for all that a body can be.
//!
//! ```text
//!             ┌ content    at hand: bytes in memory, and ranges of files, which the connection reads
//!   Body ─────┼ stream     chunks made by the user
//!             ├ incoming   chunks that arrive from a peer, as they are asked for
//!             └ filtered   chunks made from those of another body
//! ```
//!
//! A body belongs to one thread. Dropping a half-read incoming body tells its connection, which
//! drains what is left within bounds, or closes.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::string::FromUtf8Error;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use ::http::StatusCode;
use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use futures_core::Stream;

pub use crate::content::Content;
pub use crate::content::Part;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::headers::Headers;
use crate::http::incoming;
use crate::http::incoming::Receiver;
use crate::http::incoming::Sender;
use crate::http::produced::Produced;
use crate::limits::BODY_COLLECT_BYTES_MAX;

/// A request or response body.
///
/// ```
/// use roundtrip::http::body::Body;
///
/// assert_eq!(Body::from("hello").length(), Some(5));
/// assert!(Body::empty().is_empty());
/// ```
#[derive(Default)]
pub struct Body {
    kind: Kind,
}

enum Kind {
    Content(Content),
    Stream {
        stream: Pin<Box<dyn Chunks>>,
        /// Bytes still to come, where the maker said how many there are; else [`UNKNOWN`].
        left: u64,
        /// True exactly when a shutdown of the server may end it.
        is_endless: bool,
    },
    Incoming(Receiver),
    Filtered(Box<Filtered>),
}

/// No length: as a number, which keeps a body small.
const UNKNOWN: u64 = u64::MAX;

impl Default for Kind {
    #[inline]
    fn default() -> Kind {
        Kind::Content(Content::Empty)
    }
}

/// A body that another is made of.
struct Filtered {
    source: Body,
    filter: Box<dyn Filter>,
}

/// Makes the chunks of one body from those of another.
pub(crate) trait Filter {
    /// The next chunk, `None` at the end; not called behind the end or an error. The source has to
    /// be read to its end, where an error may stand, before this one ends.
    fn poll_chunk(
        &mut self,
        source: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes>>>;
}

/// A stream of anything that turns into bytes, behind one pointer.
pub(crate) trait Chunks {
    /// The next chunk, which may be empty.
    fn poll_next_chunk(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>>;
}

impl<S, B, E> Chunks for S
where
    S: Stream<Item = Result<B, E>>,
    B: Into<Bytes>,
    E: Into<Error>,
{
    fn poll_next_chunk(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.poll_next(cx)
            .map(|item| item.map(|chunk| chunk.map(B::into).map_err(E::into)))
    }
}

impl Body {
    /// No body, or one of length zero.
    pub const fn empty() -> Body {
        Body {
            kind: Kind::Content(Content::Empty),
        }
    }

    /// Puts a body in the place of this one. Most are empty, and those need no call to be dropped.
    #[inline]
    pub(super) fn set(&mut self, body: Body) {
        let replaced = std::mem::replace(self, body);
        if matches!(replaced.kind, Kind::Content(Content::Empty)) {
            std::mem::forget(replaced);
        }
    }

    /// A range of an open file. It is read while it is sent, never held whole; the range must lie
    /// within the file.
    pub fn file(file: Arc<File>, range: Range<u64>) -> Body {
        Content::from(Part::File { file, range }).into()
    }

    /// Pieces of known length, one behind the other: what several ranges of a file are sent as.
    pub fn parts(pieces: impl IntoIterator<Item = Part>) -> Body {
        Content::of(pieces).into()
    }

    /// Chunks made by the user, of unknown length unless it is [said](Body::with_length). Empty
    /// chunks are skipped.
    pub fn stream<S, B, E>(stream: S) -> Body
    where
        S: Stream<Item = Result<B, E>> + 'static,
        B: Into<Bytes>,
        E: Into<Error>,
    {
        Body {
            kind: Kind::Stream {
                stream: Box::pin(stream),
                left: UNKNOWN,
                is_endless: false,
            },
        }
    }

    /// Chunks that an asynchronous closure makes, each when it is wanted: `send` waits until the
    /// one before has been taken. What it returns ends the body: an error cuts the message. The
    /// closure runs while the body is polled, and is dropped with it, as when the client goes.
    ///
    /// ```
    /// use roundtrip::Body;
    ///
    /// let body = Body::produce(async |sender| {
    ///     for number in 1..=3 {
    ///         sender.send(format!("{number}\n").into()).await?;
    ///     }
    ///     Ok(())
    /// });
    /// # let text = roundtrip::block_on(body.text())?;
    /// # assert_eq!(text, "1\n2\n3\n");
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    pub fn produce<F>(produce: F) -> Body
    where
        F: AsyncFnOnce(&mut Sender) -> Result<()> + 'static,
    {
        Body::stream(Produced::new(produce))
    }

    /// Says how many bytes a [`Body::stream`] or [`Body::produce`] will make, so that the message
    /// has a `Content-Length`. One that makes more or fewer cuts its message, and the connection is
    /// closed. Other bodies know their length, and keep it.
    #[must_use]
    pub fn with_length(mut self, length: u64) -> Body {
        if let Kind::Stream { left, .. } = &mut self.kind {
            *left = length;
        }
        self
    }

    /// A body and the [`Sender`] that fills it: how a connection hands over what it receives, and
    /// how a task can make a body. `length` is `None` where only the end will tell.
    pub fn incoming(length: Option<u64>) -> (Sender, Body) {
        let (sender, receiver) = incoming::channel(length);
        let kind = Kind::Incoming(receiver);
        (sender, Body { kind })
    }

    /// A body of unknown length that `filter` makes of this one. Trailers are those of this one.
    pub(crate) fn filtered(self, filter: impl Filter + 'static) -> Body {
        let filtered = Filtered {
            source: self,
            filter: Box::new(filter),
        };
        Body {
            kind: Kind::Filtered(Box::new(filtered)),
        }
    }

    /// Says that a [`Body::stream`] or [`Body::produce`] has no end of its own, or need not reach
    /// it: a server that shuts down ends it there, in good order, instead of waiting for it until
    /// the shutdown's time-out, and a time-out of its handler holds until it begins. One whose
    /// [length](Body::with_length) is known is waited for.
    #[must_use]
    pub fn until_shutdown(mut self) -> Body {
        if let Kind::Stream { is_endless, .. } = &mut self.kind {
            *is_endless = true;
        }
        self
    }

    /// True when a shutdown of the server may end the body where it is.
    pub(crate) fn ends_at_shutdown(&self) -> bool {
        matches!(
            self.kind,
            Kind::Stream {
                left: UNKNOWN,
                is_endless: true,
                ..
            }
        )
    }

    /// Bytes still to come, `None` where only the end will tell.
    #[inline]
    pub fn length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Content(content) => Some(content.length()),
            Kind::Stream { left, .. } => (*left != UNKNOWN).then_some(*left),
            Kind::Incoming(receiver) => receiver.remaining_bytes(),
            Kind::Filtered(_) => None,
        }
    }

    /// True when it is known that no byte will come.
    pub fn is_empty(&self) -> bool {
        self.length() == Some(0)
    }

    /// True when the connection reads it from files while it sends.
    pub(crate) fn is_file(&self) -> bool {
        matches!(&self.kind, Kind::Content(content) if content.is_file())
    }

    /// True when the body can be sent again from its start: it is empty, or bytes, or a file.
    pub fn is_replayable(&self) -> bool {
        matches!(self.kind, Kind::Content(_))
    }

    /// A second body with the same content, where that is possible without reading it.
    pub fn try_clone(&self) -> Option<Body> {
        match &self.kind {
            Kind::Content(content) => Some(content.clone().into()),
            _ => None,
        }
    }

    /// The bytes, when all of them are in memory.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Content(Content::Empty) => Some(&[]),
            Kind::Content(Content::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// What the body is made of, where that is at hand; else the body, whose chunks have to be asked
    /// for one by one.
    #[inline]
    pub fn into_content(self) -> Result<Content, Body> {
        match self.kind {
            Kind::Content(content) => Ok(content),
            _ => Err(self),
        }
    }

    /// The next chunk, never empty; `None` at the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// As [`Body::chunk`], for hand-written futures. After `None` or an error there is nothing
    /// more. A file is read by the connection that sends it: here it is an error.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        match &mut self.kind {
            Kind::Content(content) => Poll::Ready(next_bytes(content).transpose()),
            Kind::Incoming(receiver) => receiver.poll_chunk(cx),
            Kind::Filtered(filtered) => {
                let polled = filtered.filter.poll_chunk(&mut filtered.source, cx);
                match &polled {
                    Poll::Ready(Some(Err(_))) => self.kind = Kind::default(),
                    // The source has the trailers.
                    Poll::Ready(None) => {
                        let source = std::mem::take(&mut filtered.source);
                        self.kind = source.kind;
                    }
                    _ => {}
                }
                polled
            }
            Kind::Stream { stream, left, .. } => loop {
                match stream.as_mut().poll_next_chunk(cx) {
                    Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
                    Poll::Ready(Some(Ok(chunk))) => {
                        if *left != UNKNOWN {
                            // More than was said is found by whoever writes it.
                            *left = left.saturating_sub(chunk.len() as u64);
                        }
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                    Poll::Pending => return Poll::Pending,
                    // A stream must not be polled behind its end.
                    Poll::Ready(end) => {
                        self.kind = Kind::default();
                        return Poll::Ready(end);
                    }
                }
            },
        }
    }

    /// The trailers of an incoming body, once its end has been seen (RFC 9110 §6.5).
    pub fn take_trailers(&mut self) -> Option<Headers> {
        match &mut self.kind {
            Kind::Incoming(receiver) => receiver.take_trailers(),
            _ => None,
        }
    }

    /// All of the body, if it is not longer than `limit_bytes`; a longer one is a `Limit` error,
    /// found before anything is read where the length is known.
    pub async fn collect(mut self, limit_bytes: usize) -> Result<Bytes> {
        collect(self.length(), limit_bytes, |cx| self.poll_chunk(cx)).await
    }

    /// All of the body, up to 2 MiB ([`BODY_COLLECT_BYTES_MAX`]).
    pub async fn bytes(self) -> Result<Bytes> {
        self.collect(BODY_COLLECT_BYTES_MAX).await
    }

    /// All of the body as UTF-8 text, up to 2 MiB ([`BODY_COLLECT_BYTES_MAX`]), without a byte order
    /// mark.
    pub async fn text(self) -> Result<String> {
        text_of(self.bytes().await?)
    }
}

/// All chunks as one, as [`Body::collect`] does it: of every kind of body.
pub(crate) async fn collect(
    length: Option<u64>,
    limit_bytes: usize,
    mut poll_chunk: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes>>>,
) -> Result<Bytes> {
    if length.is_some_and(|length| length > limit_bytes as u64) {
        return Err(over_limit(limit_bytes));
    }
    let Some(first) = poll_fn(&mut poll_chunk).await else {
        return Ok(Bytes::new());
    };
    let first = first?;
    if length == Some(first.len() as u64) && first.len() <= limit_bytes {
        // The end must be seen, since an error may stand there.
        return match poll_fn(&mut poll_chunk).await {
            None => Ok(first),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) => Err(over_limit(limit_bytes)),
        };
    }
    let mut all = BytesMut::with_capacity(length.map_or(0, |length| length as usize));
    let mut chunk = first;
    loop {
        if chunk.len() > limit_bytes - all.len() {
            return Err(over_limit(limit_bytes));
        }
        all.extend_from_slice(&chunk);
        chunk = match poll_fn(&mut poll_chunk).await {
            None => return Ok(all.freeze()),
            Some(next) => next?,
        };
    }
}

/// Bytes without the byte order mark of UTF-8 in front of them, which is no part of the text (WHATWG
/// Encoding §6, `UTF-8 decode`) and which JSON may be read without (RFC 8259 §8.1).
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Bytes as text, where they are UTF-8.
pub(crate) fn utf8_text(mut bytes: Bytes) -> std::result::Result<String, FromUtf8Error> {
    let mark_bytes = bytes.len() - without_mark(&bytes).len();
    bytes.advance(mark_bytes);
    String::from_utf8(bytes.into())
}

/// Bytes as text.
pub(crate) fn text_of(bytes: Bytes) -> Result<String> {
    utf8_text(bytes).map_err(|error| {
        Error::new(ErrorKind::Protocol, "the body is not UTF-8 text").because(error)
    })
}

/// The next piece, where it is in memory. A file is an error, and ends the content.
pub(crate) fn next_bytes(content: &mut Content) -> Result<Option<Bytes>> {
    match content.pop() {
        None => Ok(None),
        Some(Part::Bytes(bytes)) => Ok(Some(bytes)),
        Some(Part::File { .. }) => {
            *content = Content::Empty;
            Err(Error::new(
                ErrorKind::Invalid,
                "a file body is read by the connection that sends it; \
                 take it with Body::into_content and read the file",
            ))
        }
    }
}

fn over_limit(limit_bytes: usize) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!(
            "the body is longer than {limit_bytes} bytes; Body::collect, bytes_within, text_within \
             and json_within take another limit, as does ClientBuilder::collect_bytes_max for all \
             responses, chunk needs none"
        ),
    )
    .answered(StatusCode::PAYLOAD_TOO_LARGE)
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
            Kind::Stream { .. } => "stream",
            Kind::Incoming(_) => "incoming",
            Kind::Filtered(_) => "filtered",
        };
        f.debug_struct("Body")
            .field("kind", &kind)
            .field("length", &self.length())
            .finish()
    }
}

impl From<Content> for Body {
    #[inline]
    fn from(content: Content) -> Body {
        Body {
            kind: Kind::Content(content),
        }
    }
}

impl From<Bytes> for Body {
    #[inline]
    fn from(bytes: Bytes) -> Body {
        Content::from(bytes).into()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Body {
        Body::empty()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Body {
        Bytes::from_static(bytes).into()
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Body {
        Bytes::from_static(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Bytes::from(bytes).into()
    }
}

impl From<Box<str>> for Body {
    fn from(text: Box<str>) -> Body {
        String::from(text).into()
    }
}

impl From<Box<[u8]>> for Body {
    fn from(bytes: Box<[u8]>) -> Body {
        Bytes::from(bytes).into()
    }
}

impl<const N: usize> From<[u8; N]> for Body {
    fn from(bytes: [u8; N]) -> Body {
        Vec::from(bytes).into()
    }
}

impl From<BytesMut> for Body {
    fn from(bytes: BytesMut) -> Body {
        bytes.freeze().into()
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

impl From<Cow<'static, [u8]>> for Body {
    fn from(bytes: Cow<'static, [u8]>) -> Body {
        match bytes {
            Cow::Borrowed(bytes) => bytes.into(),
            Cow::Owned(bytes) => bytes.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    /// Runs a future that never has to wait.
    fn ready<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("the future waits"),
        }
    }

    struct Scripted(VecDeque<Result<&'static str>>);

    impl Stream for Scripted {
        type Item = Result<&'static str>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    fn scripted(chunks: &[&'static str]) -> Body {
        Body::stream(Scripted(chunks.iter().map(|chunk| Ok(*chunk)).collect()))
    }

    #[test]
    fn lengths() {
        assert_eq!(Body::from("").length(), Some(0));
        assert_eq!(Body::from(String::from("abc")).length(), Some(3));
        assert_eq!(Body::from(vec![1, 2]).length(), Some(2));
        assert_eq!(scripted(&["a"]).length(), None);
        assert_eq!(Body::incoming(Some(7)).1.length(), Some(7));
        assert_eq!(Body::incoming(None).1.length(), None);
    }

    #[test]
    fn parts_are_one_body() {
        let piece = |text: &'static str| Part::Bytes(Bytes::from_static(text.as_bytes()));
        let body = Body::parts([piece("a"), piece(""), piece("bc")]);
        assert_eq!(body.length(), Some(3));
        let again = body.try_clone().unwrap();
        assert_eq!(ready(body.text()).unwrap(), "abc");
        let Ok(Content::Parts(pieces)) = again.into_content() else {
            panic!("it was made of parts")
        };
        assert_eq!(pieces.len(), 2);
        assert!(Body::parts([piece("")]).is_empty());
    }

    #[test]
    fn collects_chunks_and_skips_empty_ones() {
        assert_eq!(ready(scripted(&["a", "", "bc"]).text()).unwrap(), "abc");
        assert_eq!(ready(Body::from("abc").bytes()).unwrap(), "abc");
        assert_eq!(ready(Body::empty().bytes()).unwrap(), "");
        let mut body = scripted(&["", "a"]);
        assert_eq!(ready(body.chunk()).unwrap().unwrap(), "a");
        assert!(ready(body.chunk()).is_none());
        assert!(ready(body.chunk()).is_none());
    }

    #[test]
    fn collect_names_its_limit() {
        for body in [
            Body::from("abc"),
            scripted(&["a", "bc"]),
            scripted(&["abc"]),
        ] {
            let error = ready(body.collect(2)).unwrap_err();
            assert!(error.is_limit());
            assert!(error.to_string().contains("longer than 2 bytes"));
        }
        assert_eq!(ready(scripted(&["a", "bc"]).collect(3)).unwrap(), "abc");
    }

    #[test]
    fn an_error_ends_a_stream() {
        let failed = Error::new(ErrorKind::Protocol, "broken");
        let mut body = Body::stream(Scripted([Ok("a"), Err(failed), Ok("b")].into()));
        assert!(ready(body.chunk()).unwrap().is_ok());
        assert!(ready(body.chunk()).unwrap().is_err());
        assert!(ready(body.chunk()).is_none());
    }

    #[test]
    fn a_stream_may_say_its_length() {
        let mut body = scripted(&["a", "bc"]).with_length(3);
        assert_eq!(body.length(), Some(3));
        assert!(!body.is_replayable());
        assert!(ready(body.chunk()).unwrap().is_ok());
        assert_eq!(body.length(), Some(2));
        assert_eq!(ready(body.text()).unwrap(), "bc");
        assert_eq!(Body::from("abc").with_length(7).length(), Some(3));
        let error = ready(scripted(&["abc"]).with_length(9).collect(8)).unwrap_err();
        assert!(error.is_limit());
    }

    #[test]
    fn incoming_reaches_the_reader() {
        let (mut sender, body) = Body::incoming(Some(5));
        sender.push(Bytes::from_static(b"hel"));
        sender.push(Bytes::from_static(b"lo"));
        sender.finish(None);
        assert_eq!(ready(body.text()).unwrap(), "hello");
    }

    #[test]
    fn a_failure_behind_the_last_byte_is_not_lost() {
        let (mut sender, body) = Body::incoming(Some(1));
        sender.push(Bytes::from_static(b"h"));
        drop(sender);
        assert!(ready(body.bytes()).unwrap_err().is_closed());
    }

    #[test]
    fn text_must_be_utf8() {
        let error = ready(Body::from(vec![0xff]).text()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
    }

    #[test]
    fn replays_what_is_in_memory() {
        assert!(Body::from("a").try_clone().is_some());
        assert!(scripted(&["a"]).try_clone().is_none());
        assert!(!Body::incoming(None).1.is_replayable());
    }
}
