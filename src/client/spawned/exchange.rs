//! One request of a spawned client, on both of its threads.
//!
//! ```text
//!   InFlight: poll ── Job, by mailbox ──► run: Client::execute ─► head ─┐ one delivery, one wake
//!      ▲                                  pump: chunks, end ────────────┤
//!      └───────────── channel ◄────────── up to 256 KiB ahead ◄─────────┘
//! ```
//! Per request there is one allocation that both threads share, one message to the client's thread,
//! and one wake-up for the answer: a small body goes over with its head and its end.

use std::fmt;
use std::future::Future;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use crate::client;
use crate::client::RequestOptions;
use crate::client::RoundTrip;
use crate::client::request::held::Draft as _;
use crate::client::spawned::Body;
use crate::client::spawned::Client;
use crate::client::spawned::Response;
use crate::client::spawned::Shared;
use crate::client::spawned::channel;
use crate::client::spawned::channel::Batch;
use crate::client::spawned::channel::End;
use crate::client::spawned::channel::Lost;
use crate::client::spawned::channel::Receiver;
use crate::client::spawned::channel::Sender;
use crate::client::spawned::request::Draft;
use crate::client::spawned::response::Head;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::guard::caught;
use crate::http::body;
use crate::http::request::Request;
use crate::http::response;
use crate::http::response::reading::named;
use crate::limits::SPAWNED_BODY_BYTES_MAX;
use crate::limits::SPAWNED_REQUESTS_MAX;
use crate::runtime;

/// What those are told who wait for a thread that ended.
pub(super) const LOST: Lost = (
    ErrorKind::Shutdown,
    "the client's thread gave the request up: it panicked there, or the thread has ended",
);

/// A request on its way; resolves with the head of the response. Nothing is sent before it is first
/// polled. Dropping it gives the request up, on the client's thread too.
#[must_use = "a request is sent when it is awaited"]
pub struct InFlight {
    state: State,
}

#[expect(
    clippy::large_enum_variant,
    reason = "it is moved once, and costs no allocation"
)]
enum State {
    Unsent(Result<(Client, Draft, RequestOptions)>),
    Sent(Receiver<Head>, Client),
    Done,
}

impl InFlight {
    pub(super) fn new(unsent: Result<(Client, Draft, RequestOptions)>) -> InFlight {
        InFlight {
            state: State::Unsent(unsent),
        }
    }
}

impl Future for InFlight {
    type Output = Result<Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        if let State::Unsent(_) = self.state {
            let State::Unsent(unsent) = mem::replace(&mut self.state, State::Done) else {
                unreachable!("just seen");
            };
            let (client, draft, options) = unsent?;
            let receiver = send(&client.shared, draft, options, cx)?;
            self.state = State::Sent(receiver, client);
            return Poll::Pending;
        }
        let State::Sent(receiver, _) = &mut self.state else {
            panic!("a request is polled after it gave its response");
        };
        let outcome = ready!(receiver.poll_first(cx));
        let State::Sent(receiver, client) = mem::replace(&mut self.state, State::Done) else {
            unreachable!("just seen");
        };
        Poll::Ready(outcome.map(|head| {
            let body = Body::received(receiver, head.length(), client);
            Response::new(head, body)
        }))
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Unsent(_) => "unsent",
            State::Sent(..) => "sent",
            State::Done => "done",
        };
        f.debug_struct("InFlight").field("state", &state).finish()
    }
}

/// So that cores share one pool where that is wanted, at the price of two hops between threads.
impl RoundTrip for Client {
    fn round_trip(&self, request: Request) -> impl Future<Output = Result<response::Response>> {
        let in_flight = self.send(request);
        async { Ok(response::Response::from(in_flight.await?)) }
    }
}

/// Posts a request to the client's thread; the context is woken when there is an outcome.
fn send(
    shared: &Shared,
    draft: Draft,
    options: RequestOptions,
    cx: &mut Context<'_>,
) -> Result<Receiver<Head>> {
    if !shared.process.is_here() {
        return Err(named(runtime::forked(), draft.url()));
    }
    let permit = Permit::take(&shared.requests).map_err(|error| named(error, draft.url()))?;
    let (sender, mut receiver) = channel::channel(LOST);
    // The waker is in its place before anybody else looks for it.
    let polled = receiver.poll_first(cx);
    assert!(polled.is_pending(), "nobody has the sender yet");
    let job = Job {
        client: shared.client.clone(),
        draft,
        options,
        sender,
        permit,
    };
    // Where the thread has ended the job is dropped, and that is what the waker is woken for.
    shared.thread.remote().post_own(move |_| {
        runtime::spawn(job.run());
    });
    Ok(receiver)
}

/// A request under way. Counted, since nothing else bounds what threads can post.
struct Permit {
    count: Arc<AtomicUsize>,
}

impl Permit {
    fn take(count: &Arc<AtomicUsize>) -> Result<Permit> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        // From here on dropping it counts back.
        let permit = Permit {
            count: Arc::clone(count),
        };
        if before < SPAWNED_REQUESTS_MAX {
            return Ok(permit);
        }
        Err(Error::new(
            ErrorKind::Limit,
            format!(
                "{SPAWNED_REQUESTS_MAX} requests of this client are under way already \
                 (SPAWNED_REQUESTS_MAX): wait for some, or spawn a second client"
            ),
        ))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the client's thread is given.
struct Job {
    client: client::Client,
    draft: Draft,
    options: RequestOptions,
    /// Before the sender: who hears that the thread has ended finds its place free.
    permit: Permit,
    sender: Sender<Head>,
}

impl Job {
    /// The request, from beginning to end. Ends early when nobody waits for it any more.
    async fn run(self) {
        let Job {
            client,
            draft,
            options,
            mut sender,
            permit,
        } = self;
        let outcome = {
            let request = draft.into_request();
            let mut execute = pin!(client.execute(request, options));
            poll_fn(|cx| match sender.poll_gone(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => caught(|| execute.as_mut().poll(cx))
                    .unwrap_or_else(|panic| {
                        Poll::Ready(Err(Error::panicked("the middleware", &panic)))
                    })
                    .map(Some),
            })
            .await
        };
        match outcome {
            None => {}
            Some(Err(error)) => sender.fail(error),
            Some(Ok(response)) if response.special().is_some() => {
                sender.fail(response.named(Error::new(
                    ErrorKind::Invalid,
                    "the server switched protocols, and that connection belongs to one thread: \
                     use roundtrip::Client on a core",
                )));
            }
            Some(Ok(response)) => {
                let (head, body) = Head::of(response);
                let mut pump = Pump {
                    sender,
                    body,
                    head: Some(head),
                    batch: Batch::default(),
                };
                poll_fn(|cx| pump.poll(cx)).await;
            }
        }
        drop(permit);
    }
}

/// Hands a response over: its head with all of the body that is there, then the rest as there is
/// room.
struct Pump {
    sender: Sender<Head>,
    body: body::Body,
    head: Option<Head>,
    batch: Batch,
}

impl Pump {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let room = if self.head.is_some() {
                SPAWNED_BODY_BYTES_MAX
            } else {
                match ready!(self.sender.poll_room(cx)) {
                    Some(room) => room,
                    // Dropping the body tells its connection.
                    None => return Poll::Ready(()),
                }
            };
            let filled = self.fill(room, cx);
            let head = self.head.take();
            let (is_waiting, end) = match filled {
                Filled::Full => (false, None),
                Filled::Waiting => (true, None),
                Filled::Ended(end) => (false, Some(end)),
            };
            let has_ended = end.is_some();
            if head.is_some() || self.batch.bytes() > 0 || has_ended {
                self.sender.deliver(head, &mut self.batch, end);
            }
            if has_ended {
                return Poll::Ready(());
            }
            if is_waiting {
                return self.sender.poll_gone(cx);
            }
        }
    }

    /// Collects what there is of the body, up to `room` and one chunk more.
    fn fill(&mut self, room: usize, cx: &mut Context<'_>) -> Filled {
        while self.batch.bytes() < room {
            match self.body.poll_chunk(cx) {
                Poll::Pending => return Filled::Waiting,
                Poll::Ready(Some(Ok(chunk))) => self.batch.push(chunk),
                Poll::Ready(Some(Err(error))) => return Filled::Ended(End::Failed(error)),
                Poll::Ready(None) => {
                    return Filled::Ended(End::Finished(self.body.take_trailers()));
                }
            }
        }
        Filled::Full
    }
}

enum Filled {
    /// There is as much as may go over.
    Full,
    /// More has to come, and wakes us.
    Waiting,
    /// That was all.
    Ended(End),
}
