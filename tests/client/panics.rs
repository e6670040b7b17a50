//! Code of users that panics, wherever the client calls, polls, wakes or drops it: at most its own
//! request fails, with an error that says so, and the core goes on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Method;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::blocking;
use roundtrip::client::Next;
use roundtrip::client::dial::ConnectTarget;
use roundtrip::client::dial::DialTarget;
use roundtrip::client::observe::Event;
use roundtrip::client::spawned;
use roundtrip::net::Socket;
use roundtrip::runtime;
use roundtrip::runtime::Core;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::run;

/// Panics when it is dropped, unless something panics already.
#[derive(Clone)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a drop on purpose");
    }
}

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        &[b'x'; 100_000]
    }
}

/// A waker that panics.
struct Bell;

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        panic!("a waker on purpose");
    }
}

/// Informs, and answers.
fn peer() -> Peer {
    Peer::answering(|seen| {
        let mut bytes = b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec();
        bytes.extend_from_slice(&ok(seen.body.len().to_string()));
        bytes
    })
}

type Outcome = Pin<Box<dyn Future<Output = Result<String>>>>;

async fn text(request: roundtrip::client::RequestBuilder) -> Result<String> {
    request.send().await?.text().await
}

/// Polls with a waker that panics when it is woken.
async fn with_bell<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let bell = Waker::from(Arc::new(Bell));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&bell)) {
            return value;
        }
        runtime::sleep(Duration::from_millis(5)).await;
    }
}

/// Gives a request up when it was sent: its connection is the last to know of it.
async fn given_up() -> Result<String> {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let (bomb, is_sent) = (Bomb, Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&is_sent);
    let request = Client::new().get(url).observer(move |event: &Event<'_>| {
        let _owned = &bomb;
        let is_head = matches!(event, Event::RequestHead { .. });
        told.fetch_or(is_head, Ordering::SeqCst);
    });
    let mut sending = Box::pin(text(request));
    std::future::poll_fn(|cx| {
        assert!(sending.as_mut().poll(cx).is_pending(), "nobody answers");
        cx.waker().wake_by_ref();
        match is_sent.load(Ordering::SeqCst) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    Ok(String::new())
}

/// What is done, and the text of the error, if there is to be one.
type Row = (&'static str, fn(String) -> Outcome, Option<&'static str>);

const TABLE: [Row; 13] = [
    (
        "who observes the client",
        |url| {
            let client = Client::builder().observer(|_: &Event<'_>| panic!("on purpose"));
            Box::pin(text(client.build().get(url)))
        },
        None,
    ),
    (
        "who observes the request",
        |url| {
            let request = Client::new().get(url);
            Box::pin(text(request.observer(|_: &Event<'_>| panic!("on purpose"))))
        },
        None,
    ),
    (
        "who observes a request that fails",
        |_| {
            let client = Client::builder().observer(|_: &Event<'_>| panic!("on purpose"));
            Box::pin(text(client.build().get("http://127.0.0.1:1/")))
        },
        Some("connect"),
    ),
    (
        "what an observer of a request that is given up owns",
        |_| Box::pin(given_up()),
        None,
    ),
    (
        "who is informed",
        |url| {
            let request = Client::new().get(url);
            Box::pin(text(request.on_informational(|_, _| panic!("on purpose"))))
        },
        Some("on_informational panicked: on purpose"),
    ),
    (
        "who looks at addresses",
        |url| {
            let client = Client::builder().on_connect(|_: &ConnectTarget<'_>| panic!("on purpose"));
            Box::pin(text(client.build().get(url)))
        },
        Some("on_connect panicked: on purpose"),
    ),
    (
        "who connects",
        |url| {
            let connect = async |_: &DialTarget<'_>| -> Result<Socket> { panic!("on purpose") };
            Box::pin(text(Client::builder().connector(connect).build().get(url)))
        },
        Some("the connector panicked: on purpose"),
    ),
    (
        "who looks up names",
        |_| {
            let resolve = async |_: &str, _: u16| -> Result<Vec<_>> { panic!("on purpose") };
            let client = Client::builder().resolver(resolve).build();
            Box::pin(text(client.get("http://a.example/")))
        },
        Some("panicked: on purpose"),
    ),
    (
        "a body as it is made",
        |url| {
            let body = Body::produce(async |_| panic!("on purpose"));
            Box::pin(text(Client::new().post(url).body(body)))
        },
        Some("the stream of the request body panicked: on purpose"),
    ),
    (
        "a body as it is dropped",
        |url| {
            let bomb = Bomb;
            let body = Body::produce(async move |sender| {
                sender.send(Bytes::from_static(b"x")).await?;
                drop(sender.send(Bytes::from_static(b"x")));
                let _bomb = bomb;
                Ok(())
            });
            Box::pin(text(Client::new().post(url).body(body)))
        },
        Some("a drop on purpose"),
    ),
    (
        "bytes of the user",
        |url| {
            let bytes = Bytes::from_owner(Bomb);
            Box::pin(text(Client::new().post(url).body(bytes)))
        },
        None,
    ),
    (
        "what travels with the request",
        |url| {
            let mut request = Request::new(Method::GET, url.parse().unwrap());
            request.extensions_mut().insert(Bomb);
            Box::pin(async { Client::new().send(request).await?.text().await })
        },
        None,
    ),
    (
        "who waits",
        |url| Box::pin(with_bell(text(Client::new().get(url)))),
        None,
    ),
];

#[test]
fn what_panics_costs_its_request_at_most() {
    let peer = peer();
    for (what, ask, expected) in TABLE {
        run(async {
            let core = Core::try_current()?;
            let before = core.counters().panics;
            match (ask(peer.url("/")).await, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(words)) => {
                    assert!(format!("{error:#}").contains(words), "{what}: {error:#}");
                }
                (outcome, _) => panic!("{what}: {outcome:?}"),
            }
            // What is dropped behind the response may be dropped later.
            crate::peer::until(what, || core.counters().panics > before).await;
            assert_eq!(text(Client::new().get(peer.url("/"))).await?, "0");
            Ok(())
        });
    }
}

#[test]
fn the_threads_of_other_clients_go_on() {
    let peer = peer();
    let client = Client::builder().observer(|_: &Event<'_>| panic!("on purpose"));
    let client = client.spawned().unwrap();
    for _ in 0..2 {
        let sent = async { client.get(peer.url("/")).send().await?.text().await };
        assert_eq!(spawned::wait(sent).unwrap(), "0");
    }
    let client = Client::builder().wrap(async |_: Request, _: Next| panic!("on purpose"));
    let client = client.spawned().unwrap();
    for _ in 0..2 {
        let error = spawned::wait(client.get(peer.url("/")).send()).unwrap_err();
        let text = "the middleware panicked: on purpose";
        assert!(error.to_string().ends_with(text), "{error}");
    }
    let client = blocking::Client::builder()
        .observer(|_: &Event<'_>| panic!("on purpose"))
        .build();
    for _ in 0..2 {
        let response = client.get(peer.url("/")).send().unwrap();
        assert_eq!(response.text().unwrap(), "0");
    }
}
