//! The client for other executors and for many threads: one reactor thread, one pool.
//!
//! ```text
//!   thread, any executor ──► Client ─┐                       ┌─► pool ─► connections
//!   thread, any executor ──► Client ─┼─ mailbox ─► one core ─┤
//!   thread without one ─► wait(…) ───┘   ▲ bounded channels  └─► responses, bodies
//!            Response, Body: Send ◄──────┘
//! ```
//!
//! Its futures, responses and bodies are `Send` and `Sync` and need no runtime around them: nothing
//! but the waker of who polls them. What a request costs more than with
//! [`client::Client`], which stays on its core, is two hops between threads:
//! one message there, one wake-up back.
//!
//! ```no_run
//! use roundtrip::Client;
//! use roundtrip::client::spawned;
//!
//! let client = Client::spawned()?;
//! let threads: Vec<_> = (0..4)
//!     .map(|number| {
//!         let client = client.clone();
//!         std::thread::spawn(move || {
//!             // With an executor: `client.get(…).send().await`, as in `tokio::spawn`.
//!             spawned::wait(async {
//!                 let url = format!("http://127.0.0.1:8080/{number}");
//!                 client.get(url).send().await?.error_for_status()?.text().await
//!             })
//!         })
//!     })
//!     .collect();
//! for thread in threads {
//!     println!("{}", thread.join().expect("no panic")?);
//! }
//! # Ok::<(), roundtrip::Error>(())
//! ```
//!
//! - All bounds of the client hold once: there is one core, and one pool.
//! - The thread ends in order with the last clone, request, response and received body; nobody waits
//!   for it, and a process that exits does not either. A child of fork(2) has no such thread: all is
//!   an error there, and the child makes a client of its own.
//! - What the user gives runs on that thread, for everybody's requests: streams of request bodies,
//!   observers. It must not block. A panic in it ends its request; should the thread itself panic,
//!   those who wait get an error of kind `Shutdown`, and so does every later request.
//! - Up to 32,768 requests may be under way ([`SPAWNED_REQUESTS_MAX`]); one more is an error of kind
//!   `Limit`. Nobody has as many sockets for one server; requests wait for connections in the pool,
//!   if at all (`ClientBuilder::per_host_max`).
//!
//! [`SPAWNED_REQUESTS_MAX`]: crate::limits::SPAWNED_REQUESTS_MAX

mod body;
mod channel;
mod exchange;
mod request;
mod response;
mod wait;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ::http::Method;

use crate::client;
use crate::client::IntoUrl;
use crate::client::TransportStats;
use crate::client::spawned::channel::Batch;
use crate::client::spawned::channel::End;
use crate::client::spawned::request::Draft;
use crate::error::Error;
use crate::error::Result;
use crate::http::request::Request;
use crate::runtime;
use crate::runtime::CoreThread;
use crate::runtime::Process;
use crate::runtime::RingOptions;

pub use crate::client::spawned::body::Body;
pub use crate::client::spawned::body::BodySender;
pub use crate::client::spawned::exchange::InFlight;
pub use crate::client::spawned::request::RequestBuilder;
pub use crate::client::spawned::response::Response;
pub use crate::client::spawned::wait::Reader;
pub use crate::client::spawned::wait::wait;

/// The name of the thread: as much as the kernel shows.
const THREAD_NAME: &str = "roundtrip-spawn";

/// Sends requests from every thread and executor, by a thread of its own. Cheap to clone; clones
/// share that thread and its pool.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// What clones, requests and received bodies share. With the last of them the thread ends.
struct Shared {
    process: Process,
    client: client::Client,
    thread: CoreThread,
    /// Requests whose exchange has not ended.
    requests: Arc<AtomicUsize>,
}

impl Client {
    /// Starts the thread of a client with these settings.
    ///
    /// # Errors
    ///
    /// There is no thread to be had, or no ring; the text holds the remedy.
    pub fn start(client: client::Client) -> Result<Client> {
        Ok(Client {
            shared: Arc::new(Shared {
                process: Process::here(),
                client,
                thread: CoreThread::start(THREAD_NAME, RingOptions::WORKER)?,
                requests: Arc::new(AtomicUsize::new(0)),
            }),
        })
    }

    /// With the defaults of [`client::Client`].
    ///
    /// # Errors
    ///
    /// As for [`Client::start`].
    pub fn new() -> Result<Client> {
        Client::start(client::Client::new())
    }

    /// A GET.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A PATCH.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A DELETE.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Any method. An error in the URL shows when the request is sent.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, self.shared.client.resolve(url))
    }

    /// Sends a request that was built, a [`Request`] or one of the `http` crate. Its body is bytes or
    /// a file: another one belongs to one thread, and is sent with [`RequestBuilder::body`].
    ///
    /// # Errors
    ///
    /// See [`RequestBuilder::send`].
    #[doc(alias = "execute")]
    pub fn send(&self, request: impl TryInto<Request, Error: Into<Error>>) -> InFlight {
        let draft = request
            .try_into()
            .map_err(Into::into)
            .and_then(Draft::try_of);
        InFlight::new(draft.map(|mut draft| {
            let options = draft.take_options();
            (self.clone(), draft, options)
        }))
    }

    /// Counts of this client's connections.
    ///
    /// # Errors
    ///
    /// Of kind `Shutdown`, when the client's thread has ended by a panic.
    pub async fn stats(&self) -> Result<TransportStats> {
        if !self.shared.process.is_here() {
            return Err(runtime::forked());
        }
        let (mut sender, mut receiver) = channel::channel(exchange::LOST);
        let client = self.shared.client.clone();
        self.shared.thread.remote().post(move |_| {
            let stats = client.stats().unwrap_or_default();
            let end = End::Finished(None);
            sender.deliver(Some(stats), &mut Batch::default(), Some(end));
        });
        poll_fn(|cx| receiver.poll_first(cx)).await
    }

    /// Closes this client's connections that rest, soon.
    pub fn close_idle(&self) {
        let client = self.shared.client.clone();
        // False where the thread has ended, and its connections with it.
        self.shared
            .thread
            .remote()
            .post(move |_| client.close_idle());
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("client", &self.shared.client)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::net::TcpListener;
    use std::pin::Pin;
    use std::sync::atomic::Ordering;
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;

    use super::*;
    use crate::error::Error;
    use crate::error::ErrorKind;
    use crate::limits::SPAWNED_REQUESTS_MAX;

    /// Accepts connections (its backlog does), and never answers.
    fn silent() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        (listener, url)
    }

    fn poll(in_flight: &mut InFlight) -> Poll<Result<Response>> {
        Pin::new(in_flight).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn error_of(polled: Poll<Result<Response>>) -> Error {
        match polled {
            Poll::Ready(Err(error)) => error,
            other => panic!("expected an error, got {other:?}"),
        }
    }

    #[test]
    fn requests_are_counted_up_to_their_limit() {
        let (_listener, url) = silent();
        let client = client::Client::spawned().unwrap();
        let requests = &client.shared.requests;
        let mut first = client.get(&url).send();
        assert_eq!(requests.load(Ordering::SeqCst), 0);
        assert!(poll(&mut first).is_pending());
        assert_eq!(
            requests.fetch_add(SPAWNED_REQUESTS_MAX - 2, Ordering::SeqCst),
            1
        );
        let mut second = client.get(&url).send();
        assert!(poll(&mut second).is_pending());
        let mut third = client.get(&url).send();
        let error = error_of(poll(&mut third));
        assert!(error.is_limit());
        assert!(error.text().contains("SPAWNED_REQUESTS_MAX"), "{error}");
        requests.fetch_sub(SPAWNED_REQUESTS_MAX - 2, Ordering::SeqCst);
        drop((first, second, third));
        while requests.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_panics_is_an_error_for_all_who_wait() {
        let (listener, url) = silent();
        let client = client::Client::spawned().unwrap();
        let mut waiting = client.get(&url).send();
        assert!(poll(&mut waiting).is_pending());
        // It is on its way.
        let _socket = listener.accept().unwrap();
        client
            .shared
            .thread
            .remote()
            .post_own(|_| panic!("on purpose"));
        let error = wait(waiting).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shutdown, "{error}");
        let later = wait(client.get(&url).send()).unwrap_err();
        assert_eq!(later.kind(), ErrorKind::Shutdown, "{later}");
        assert!(wait(client.stats()).is_err());
        while client.shared.requests.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        client.close_idle();
    }

    #[test]
    fn the_thread_ends_with_the_last_request() {
        let (_listener, url) = silent();
        let client = client::Client::spawned().unwrap();
        let remote = Arc::clone(client.shared.thread.remote());
        let mut in_flight = client.get(&url).send();
        assert!(poll(&mut in_flight).is_pending());
        drop(client);
        for _ in 0..100 {
            assert!(remote.post(|_| ()), "it has ended too early");
            std::thread::yield_now();
        }
        drop(in_flight);
        while remote.post(|_| ()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_panic_within_a_request_is_its_own_end() {
        let (_listener, url) = silent();
        let client = client::Client::spawned().unwrap();
        let (sender, mut receiver) = channel::channel::<()>(exchange::LOST);
        client.shared.thread.remote().post(move |_| {
            runtime::spawn(async move {
                let _sender = sender;
                panic!("on purpose");
            });
        });
        let lost = wait(poll_fn(|cx| receiver.poll_first(cx))).unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Shutdown);
        let mut next = client.get(&url).send();
        assert!(poll(&mut next).is_pending());
        while wait(client.stats()).unwrap().requests_total != 1 {
            std::thread::yield_now();
        }
    }
}
