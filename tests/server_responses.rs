//! What handlers return, as it goes over the wire.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

use futures_core::Stream;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Router;
use roundtrip::server::Event;
use roundtrip::server::EventStream;

mod server_support;

use server_support::Serving;
use server_support::get;
use server_support::request;

/// A stream of what is there already.
struct Ready<T>(RefCell<VecDeque<T>>);

impl<T> Ready<T> {
    fn new(items: impl IntoIterator<Item = T>) -> Ready<T> {
        Ready(RefCell::new(items.into_iter().collect()))
    }
}

impl<T> Stream for Ready<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        Poll::Ready(self.0.borrow_mut().pop_front())
    }
}

// ---- events --------------------------------------------------------------------------------

/// Says when it is dropped.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn event_router(gone: Arc<AtomicBool>) -> Router {
    Router::new()
        .get("/stream", |_: &Request| {
            let events = ["one", "two"].map(|word| Event::new().data(word));
            EventStream::new(Ready::new(events))
        })
        .get("/failing", |_: &Request| {
            let failed = Error::new(roundtrip::error::ErrorKind::Protocol, "broken");
            EventStream::new(Ready::new([Ok(Event::new().data("one")), Err(failed)]))
        })
        .get("/forged", |_: &Request| {
            EventStream::produce(async |events| {
                let forged = Event::new().id("7\ndata: forged").data("one");
                let error = events.send(forged).await.unwrap_err();
                events.send(Event::new().data(error.to_string())).await
            })
        })
        .get("/endless", async move |request: Request| {
            let gone = Gone(Arc::clone(&gone));
            let last = request.last_event_id().unwrap_or("none").to_owned();
            EventStream::produce(async move |events| {
                let _gone = gone;
                events.send(Event::new().data(last)).await?;
                std::future::pending().await
            })
            .keep_alive(Some(Duration::from_millis(5)))
        })
}

#[test]
fn events_are_chunks_and_are_not_kept() {
    let serving = Serving::start(event_router(Arc::default()));
    let mut peer = serving.peer();
    let answer = peer.send(get("/stream")).answer();
    assert_eq!(answer.text(), "data: one\n\ndata: two\n\n");
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.field("x-accel-buffering"), Some("no"));
    // The connection goes on.
    let head = peer.send(request("HEAD /stream", &[], "")).answer_to_head();
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    let answer = peer.send(get("/forged")).answer();
    assert!(answer.text().contains("CR, LF or NUL"), "{}", answer.text());
    assert!(!answer.text().contains("forged"));

    let old = serving.ask("GET /stream HTTP/1.0\r\n\r\n");
    assert_eq!(old.field("transfer-encoding"), None);
    assert_eq!(old.text(), "data: one\n\ndata: two\n\n");
}

#[test]
fn a_stream_that_fails_is_cut() {
    let serving = Serving::start(event_router(Arc::default()));
    let mut peer = serving.peer();
    peer.send(get("/failing"));
    let received = String::from_utf8(peer.rest()).unwrap();
    assert!(received.contains("data: one\n\n"), "{received}");
    assert!(!received.ends_with("0\r\n\r\n"), "{received}");
}

#[test]
fn an_event_leaves_at_once_and_a_client_that_goes_takes_its_producer_along() {
    let gone = Arc::new(AtomicBool::new(false));
    let serving = Serving::start(event_router(Arc::clone(&gone)));
    let mut peer = serving.peer();
    let asked = request("GET /endless", &["Last-Event-ID: 41"], "");
    peer.send(asked);
    // The head and the first event are here, though the response has no end.
    let head_end = b"\r\n\r\n";
    let mut received = Vec::new();
    let event = b"data: 41\n\n\r\n";
    while !received.windows(event.len()).any(|window| window == event) {
        received.extend(peer.some());
    }
    assert!(received.windows(4).any(|window| window == head_end));
    assert!(!gone.load(Ordering::SeqCst));
    drop(peer);
    // A comment into the void is answered by a reset.
    let begin = Instant::now();
    while !gone.load(Ordering::SeqCst) {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}

#[cfg(feature = "simulation")]
mod simulated {
    use std::cell::Cell;

    use roundtrip::Client;
    use roundtrip::Server;
    use roundtrip::runtime;
    use roundtrip::simulation::Simulation;

    use super::*;

    const URL: &str = "http://127.0.0.1/";

    /// Runs a server with these routes and what a client does with it.
    fn simulate(
        router: impl FnOnce() -> Router,
        client: impl AsyncFnOnce(Client) -> Result<(), Error>,
    ) {
        let report = Simulation::new(1).run(async {
            let server = Server::new(router()).bind("127.0.0.1:80")?;
            let handle = server.handle();
            let serving =
                runtime::spawn(server.shutdown_timeout(Duration::from_secs(1)).run_here());
            client(Client::new()).await?;
            handle.shutdown();
            // A stream without an end is cut by the deadline.
            let _ = serving.await?;
            Ok::<_, Error>(())
        });
        report.unwrap().unwrap();
    }

    #[test]
    fn silence_is_commented() {
        let router = || {
            Router::new().get("/", |_: &Request| {
                EventStream::produce(async |events| {
                    for seconds in [10, 10, 40] {
                        events.send(Event::new().data("event")).await?;
                        runtime::sleep(Duration::from_secs(seconds)).await;
                    }
                    Ok(())
                })
            })
        };
        simulate(router, async |client| {
            let mut body = client.get(URL).send().await?.into_body();
            let begin = runtime::Core::try_current()?.now();
            let mut seen = Vec::new();
            while let Some(chunk) = body.chunk().await {
                let now = runtime::Core::try_current()?.now();
                let after = (now - begin).as_secs();
                seen.push((after, String::from_utf8(chunk?.to_vec()).unwrap()));
            }
            let seen: Vec<_> = seen.iter().map(|(at, text)| (*at, text.as_str())).collect();
            let event = "data: event\n\n";
            assert_eq!(
                seen,
                [
                    (0, event),
                    (10, event),
                    (20, event),
                    (35, ":\n\n"),
                    (50, ":\n\n")
                ]
            );
            Ok(())
        });
    }

    #[test]
    fn a_client_that_does_not_read_stops_the_producer() {
        // What is simulated stays on one thread; handlers could be elsewhere.
        thread_local! {
            static SENT: Cell<usize> = const { Cell::new(0) };
        }
        let router = || {
            Router::new().get("/", |_: &Request| {
                EventStream::produce(async |events| {
                    let kilobyte = "x".repeat(1_000);
                    loop {
                        events.send(Event::new().data(&kilobyte)).await?;
                        SENT.set(SENT.get() + 1);
                    }
                })
            })
        };
        simulate(router, async |client| {
            let mut body = client.get(URL).send().await?.into_body();
            runtime::sleep(Duration::from_secs(5)).await;
            let sent = SENT.get();
            runtime::sleep(Duration::from_secs(5)).await;
            // What fits into both sides' buffers, and no event more.
            assert_eq!(SENT.get(), sent);
            assert!((1..4_000).contains(&sent), "{sent}");
            body.chunk().await.unwrap()?;
            Ok(())
        });
    }
}
