//! Responses that never end by themselves: server-sent events (WHATWG HTML §9.2).
//!
//! ```text
//!   stream of events ─┐                       ┌─ text/event-stream, not stored, not buffered
//!                     ├─► EventStream ─► Response
//!   asynchronous ─────┘   │    ▲              └─ each event sent in the turn in which it came
//!   closure: send().await │    │
//!                         silence for 15 s: a comment
//! ```
//!
//! Only one event is in memory: a stream is asked for the next one, and a closure's `send` returns,
//! when the connection has room. When the client goes, or the server shuts down, stream or closure
//! are dropped. A browser that lost its connection comes back, with [`Request::last_event_id`](crate::Request::last_event_id).

use std::fmt;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;

use crate::error::Error;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::event_stream::Event;
use crate::http::event_stream::MEDIA_TYPE;
use crate::http::incoming::Sender;
use crate::http::response::Response;
use crate::limits::EVENT_KEEP_ALIVE_INTERVAL;
use crate::runtime::Core;
use crate::runtime::Instant;
use crate::runtime::Sleep;
use crate::runtime::sleep_until;
use crate::server::into_response::IntoResponse;

/// A response that is a stream of events.
///
/// ```
/// use std::time::Duration;
///
/// use roundtrip::Request;
/// use roundtrip::Router;
/// use roundtrip::runtime;
/// use roundtrip::server::Event;
/// use roundtrip::server::EventStream;
///
/// let router = Router::new().get("/ticks", async |request: Request| {
///     let last = request.last_event_id().and_then(|id| id.parse().ok());
///     EventStream::produce(async move |events| {
///         for number in last.unwrap_or(0) + 1.. {
///             let number: u64 = number;
///             let event = Event::new().id(number.to_string()).data("tick");
///             events.send(event).await?; // waits for a slow client, fails when it is gone
///             runtime::sleep(Duration::from_secs(1)).await;
///         }
///         Ok(())
///     })
/// });
/// # let _ = router;
/// ```
pub struct EventStream {
    events: Body,
    keep_alive: Option<Duration>,
}

/// What an asynchronous closure sends events with.
pub struct EventSender<'a> {
    sender: &'a mut Sender,
}

/// What a stream of events may consist of: events, or results of them. An error cuts the stream,
/// and the client comes back.
pub trait IntoEvent {
    /// The event, if it is one.
    fn into_event(self) -> Result<Event>;
}

impl IntoEvent for Event {
    fn into_event(self) -> Result<Event> {
        Ok(self)
    }
}

impl<E: Into<Error>> IntoEvent for Result<Event, E> {
    fn into_event(self) -> Result<Event> {
        self.map_err(E::into)
    }
}

impl EventStream {
    /// The events of a stream. Its end ends the response; a browser then connects again.
    pub fn new<S>(stream: S) -> EventStream
    where
        S: Stream + 'static,
        S::Item: IntoEvent,
    {
        EventStream::of(Body::stream(Encoded {
            stream: Box::pin(stream),
        }))
    }

    /// The events that an asynchronous closure sends, for as long as it runs. It runs on this
    /// worker, beside the other requests, and is dropped when the client goes.
    pub fn produce<F>(produce: F) -> EventStream
    where
        F: AsyncFnOnce(&mut EventSender<'_>) -> Result<()> + 'static,
    {
        EventStream::of(Body::produce(async move |sender: &mut Sender| {
            produce(&mut EventSender { sender }).await
        }))
    }

    /// After how much silence a comment is sent, so that nothing between us and the client takes
    /// the stream for dead, and a client that went is noticed: 15 s unless set. `None` and zero:
    /// never.
    #[must_use]
    pub fn keep_alive(mut self, interval: Option<Duration>) -> EventStream {
        self.keep_alive = interval.filter(|interval| !interval.is_zero());
        self
    }

    fn of(events: Body) -> EventStream {
        EventStream {
            events,
            keep_alive: Some(EVENT_KEEP_ALIVE_INTERVAL),
        }
    }
}

impl EventSender<'_> {
    /// Sends an event, and waits until the connection has room for the next.
    ///
    /// # Errors
    ///
    /// The event is [invalid](crate::http::event_stream::InvalidEvent); nobody listens any more.
    pub async fn send(&mut self, event: Event) -> Result<()> {
        self.sender.send(event.into_bytes()?).await
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let body = match self.keep_alive {
            None => self.events,
            Some(interval) => Body::stream(KeptAlive {
                events: self.events,
                interval,
                sent: None,
                sleep: None,
            }),
        };
        Response::new()
            .content_type(MEDIA_TYPE)
            .header("Cache-Control", "no-store")
            // nginx and what learned from it would collect events otherwise.
            .header("X-Accel-Buffering", "no")
            // A client comes back, to whoever serves then.
            .body(body.until_shutdown())
    }
}

/// Events as bytes.
struct Encoded<S> {
    stream: Pin<Box<S>>,
}

impl<S> Stream for Encoded<S>
where
    S: Stream,
    S::Item: IntoEvent,
{
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.stream.as_mut().poll_next(cx).map(|item| {
            let event = item?.into_event();
            Some(event.and_then(Event::into_bytes))
        })
    }
}

/// Events, and comments where none came for a while.
struct KeptAlive {
    events: Body,
    interval: Duration,
    /// When something was sent last; `None` before the first poll.
    sent: Option<Instant>,
    /// Set for the time at which the silence would be too long, or before it: an event only notes
    /// when it was sent.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stream for KeptAlive {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let event = self.events.poll_chunk(cx);
        let Some(now) = Core::current().map(|core| core.now()) else {
            // Collected on a thread that has no clock: nothing is kept alive.
            return event;
        };
        if event.is_ready() {
            self.sent = Some(now);
            return event;
        }
        let due = *self.sent.get_or_insert(now) + self.interval;
        if now >= due {
            self.sent = Some(now);
            return Poll::Ready(Some(Ok(Bytes::from_static(b":\n\n"))));
        }
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // It was set before the last event; the next one is not due yet.
            self.sleep = None;
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("events", &self.events)
            .field("keep_alive", &self.keep_alive)
            .finish()
    }
}

impl fmt::Debug for EventSender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventSender").field(&self.sender).finish()
    }
}
