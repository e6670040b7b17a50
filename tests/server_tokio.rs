//! Handlers that await what is of tokio: its sockets, timers, tasks and blocking threads.
//!
//! ```text
//!   64 connections ─► workers ─► handlers ─► tokio::{net, time, spawn, task::spawn_blocking}
//!                                   └─ dropped by: a client that leaves · a shutdown
//! ```

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::task::Context;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use roundtrip::Body;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::error::ErrorKind;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

mod server_support;

use server_support::Peer;
use server_support::Serving;
use server_support::get;

/// Nothing here takes as long.
const LONG: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 64;
/// What a handler awaits.
const KINDS: [&str; 5] = ["time", "echo", "spawn", "blocking", "channel"];

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// Sends what it receives back, to each who connects.
async fn echo_peer() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut receive, mut send) = peer.split();
                let _ = tokio::io::copy(&mut receive, &mut send).await;
            });
        }
    });
    address
}

/// Each kind of awaiting, once: what is answered is the number of the request.
async fn awaited(kind: &str, number: usize) -> usize {
    match kind {
        "time" => {
            let pause = Duration::from_millis(number as u64 % 8);
            let slept = tokio::time::timeout(LONG, tokio::time::sleep(pause)).await;
            slept.map(|()| number).unwrap()
        }
        "echo" => {
            let mut stream = TcpStream::connect(echo_peer().await).await.unwrap();
            stream.write_u64(number as u64).await.unwrap();
            stream.read_u64().await.unwrap() as usize
        }
        "spawn" => {
            let task = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                number
            });
            task.await.unwrap()
        }
        "blocking" => spawn_blocking(move || number).await.unwrap(),
        "channel" => {
            let (send, mut receive) = tokio::sync::mpsc::channel(1);
            thread::spawn(move || send.blocking_send(number).unwrap());
            receive.recv().await.unwrap()
        }
        kind => panic!("{kind}"),
    }
}

fn numbers() -> Router {
    Router::new().get("/{kind}/{number}", async |request: Request| {
        let number: usize = request.param("number").parse().unwrap();
        awaited(request.param("kind"), number).await.to_string()
    })
}

#[test]
fn concurrent_handlers_await_tokio() {
    let runtime = multi_thread();
    for own in [None, Some(runtime.handle().clone())] {
        let serving = Serving::with(Server::new(numbers()), |server| match own {
            Some(handle) => server.workers(2).tokio(handle),
            None => server.workers(2),
        });
        let mut peers: Vec<Peer> = (0..CONNECTIONS).map(|_| serving.peer()).collect();
        for kind in KINDS {
            for (number, peer) in peers.iter_mut().enumerate() {
                peer.send(get(&format!("/{kind}/{number}")));
            }
            for (number, peer) in peers.iter_mut().enumerate() {
                let answer = peer.answer();
                assert_eq!(answer.status, 200, "{kind}");
                assert_eq!(answer.text(), number.to_string(), "{kind}");
            }
        }
    }
    // The server did not end what is not its own.
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
}

/// Tells when it is dropped: whether it stands in a runtime, and on which thread.
struct Told(mpsc::Sender<(bool, Option<String>)>);

impl Drop for Told {
    fn drop(&mut self) {
        let name = thread::current().name().map(str::to_owned);
        let _ = self.0.send((Handle::try_current().is_ok(), name));
    }
}

/// Awaits each kind for longer than the test takes.
async fn pending(kind: String, told: Told) {
    let _told = told;
    match kind.as_str() {
        "time" => tokio::time::sleep(LONG).await,
        "echo" => {
            let mut stream = TcpStream::connect(echo_peer().await).await.unwrap();
            let _ = stream.read_u64().await;
        }
        "spawn" => drop(tokio::spawn(tokio::time::sleep(LONG)).await),
        "blocking" => {
            let (_keep, wait) = mpsc::channel::<()>();
            let _ = spawn_blocking(move || wait.recv_timeout(Duration::from_millis(50))).await;
            std::future::pending::<()>().await;
        }
        "channel" => {
            let (_send, mut receive) = tokio::sync::mpsc::channel::<()>(1);
            let _ = receive.recv().await;
        }
        kind => panic!("{kind}"),
    }
    panic!("{kind} ended");
}

/// A body that is pending on a timer of tokio after its first chunk.
struct Ticking(
    Option<&'static str>,
    Pin<Box<tokio::time::Sleep>>,
    #[expect(dead_code)] Told,
);

impl futures_core::Stream for Ticking {
    type Item = roundtrip::Result<bytes::Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.take() {
            Some(chunk) => Poll::Ready(Some(Ok(chunk.into()))),
            None => self.1.as_mut().poll(cx).map(|()| None),
        }
    }
}

/// Closes a connection so that its server knows that nobody reads any more.
fn reset(peer: Peer) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    nix::sys::socket::setsockopt(&peer.stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}

/// Routes that never answer, each of whose futures tells of its drop.
fn never(told: &mpsc::Sender<(bool, Option<String>)>) -> Router {
    let (in_handler, in_body, in_task) = (told.clone(), told.clone(), told.clone());
    Router::new()
        .get("/{kind}", async move |request: Request| {
            let told = Told(in_handler.clone());
            pending(request.param("kind").to_owned(), told).await;
        })
        .get("/of/body", move |_: &Request| {
            let sleep = Box::pin(tokio::time::sleep(LONG));
            let ticking = Ticking(Some("tick"), sleep, Told(in_body.clone()));
            Response::new().body(Body::stream(ticking))
        })
        .get("/of/task", async move |_: Request| {
            let told = Told(in_task.clone());
            let task = roundtrip::runtime::spawn(pending("time".to_owned(), told));
            task.await.unwrap();
        })
}

#[test]
fn what_ends_early_is_dropped_within_the_runtime() {
    let paths: Vec<String> = KINDS.iter().map(|kind| format!("/{kind}")).collect();
    let others = ["/of/body".to_owned()];
    for by_client in [true, false] {
        let (told, dropped) = mpsc::channel();
        let mut serving = Serving::start(never(&told));
        let mut peers: Vec<Peer> = Vec::new();
        for path in paths.iter().chain(&others) {
            let mut peer = serving.peer();
            peer.send(get(path));
            peers.push(peer);
        }
        if !by_client {
            // It would outlive its client.
            peers.push(serving.peer());
            peers.last_mut().unwrap().send(get("/of/task"));
        }
        let count = peers.len() as u64;
        serving.wait_until(|statistics| statistics.requests == count);
        let seen = |count: u64| {
            for _ in 0..count {
                let (is_inside, name) = dropped.recv_timeout(LONG).unwrap();
                assert!(is_inside, "dropped outside of the runtime");
                assert_eq!(name.as_deref(), Some("roundtrip-0"), "on its worker");
            }
        };
        if by_client {
            peers.into_iter().for_each(reset);
        } else {
            serving.handle.shutdown();
        }
        seen(count);
        serving.stop().unwrap();
    }
}

/// The last owner of what handlers share goes with the last worker, within the runtime.
#[test]
fn shared_state_is_dropped_within_the_runtime() {
    let (told, dropped) = mpsc::channel();
    let state = Arc::new(Told(told));
    let router = Router::new().get("/{$}", move |_: &Request| {
        let _keeps = &state;
        "hello"
    });
    let mut serving = Serving::with(Server::new(router), |server| server.workers(2));
    assert_eq!(serving.ask(&get("/")).text(), "hello");
    serving.stop().unwrap();
    assert!(dropped.recv_timeout(LONG).unwrap().0);
}

/// The companion ends after the workers, with what still runs on it, and no thread of it is left.
#[test]
fn the_companion_ends_last_and_whole() {
    let (told, dropped) = mpsc::channel();
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let router = Router::new().get("/{$}", async move |_: Request| {
        let (told, begun) = (Told(told.clone()), Arc::clone(&counted));
        tokio::spawn(async move {
            let _told = told;
            begun.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        });
    });
    let mut serving = Serving::start(router);
    assert_eq!(serving.ask(&get("/")).status, 200);
    while begun.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    assert!(dropped.try_recv().is_err());
    serving.stop().unwrap();
    let (_, name) = dropped.try_recv().expect("it ended before the server did");
    assert_ne!(name.as_deref(), Some("roundtrip-0"));
}

/// Threads that tokio makes at the call of a pinned worker may run wherever the process may.
#[test]
fn blocking_threads_of_the_companion_are_not_pinned() {
    fn allowed() -> String {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("Cpus_allowed_list"));
        line.unwrap().to_owned()
    }
    let router = Router::new().get("/{$}", async |_: Request| {
        spawn_blocking(allowed).await.unwrap()
    });
    let count = thread::available_parallelism().unwrap().get();
    let serving = Serving::with(Server::new(router), |server| server.workers(count));
    assert_eq!(serving.ask(&get("/")).text(), allowed());
}

fn unstarted() -> Server {
    Server::new(numbers()).bind("127.0.0.1:0").unwrap()
}

fn refused(result: roundtrip::Result<()>, words: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_runtime_that_nobody_turns_is_refused() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let server = unstarted().tokio(runtime.handle().clone());
    refused(server.run(), "current_thread");
    let server = unstarted().tokio(runtime.handle().clone());
    refused(server.run_until(async {}), "current_thread");
    // Nor does its access log go on: its output is closed.
    let (reader, writer) = std::io::pipe().unwrap();
    let server = unstarted().access_log(writer);
    let server = server.tokio(runtime.handle().clone());
    refused(server.run(), "current_thread");
    assert_eq!(std::io::read_to_string(reader).unwrap(), "");
}

#[test]
fn asynchronous_code_of_tokio_is_not_blocked() {
    async fn refuses() {
        let words = "asynchronous code of tokio";
        refused(unstarted().run(), words);
        refused(unstarted().run_until(async {}), words);
        // One that never ran is only dropped.
        drop(unstarted());
        drop(unstarted().tokio(Handle::current()));
    }
    let (multi, single) = (
        multi_thread(),
        Builder::new_current_thread().build().unwrap(),
    );
    for runtime in [&multi, &single] {
        runtime.block_on(refuses());
        runtime.block_on(async { tokio::spawn(refuses()).await.unwrap() });
    }
    // Where blocking is allowed, it serves.
    let serves = || unstarted().run_until(std::future::ready(())).unwrap();
    let made_before = unstarted();
    let serve_it = move || made_before.run_until(std::future::ready(()));
    multi.block_on(async { spawn_blocking(serve_it).await.unwrap().unwrap() });
    multi.block_on(async {
        let task = tokio::spawn(async move { tokio::task::block_in_place(serves) });
        task.await.unwrap();
    });
    let entered = multi.enter();
    serves();
    drop(entered);
}

/// The future that `run_until` waits for may be tokio's too.
#[test]
fn a_server_runs_until_a_timer_of_tokio() {
    let until = async { tokio::time::sleep(Duration::from_millis(5)).await };
    unstarted().run_until(until).unwrap();
}

#[test]
fn on_a_core_of_ones_own_the_caller_enters() {
    let runtime = multi_thread();
    let serve = async || {
        let server = unstarted().tokio(runtime.handle().clone());
        let (handle, address) = (server.handle(), server.local_addr().unwrap());
        let serving = roundtrip::runtime::spawn(server.run_here());
        let fetched = roundtrip::Client::new().get(format!("http://{address}/time/7"));
        let fetched = fetched.timeout(LONG).send().await;
        handle.shutdown();
        serving.await??;
        fetched?.text().await
    };
    refused(
        roundtrip::block_on(serve()).map(drop),
        "cannot enter: hold `let _entered",
    );
    let entered = runtime.enter();
    assert_eq!(roundtrip::block_on(serve()).unwrap(), "7");
    drop(entered);
}

#[test]
fn blocking_work_without_an_end_holds_nobody_up_for_ever() {
    let (end, ended) = mpsc::channel::<()>();
    let ended = std::sync::Mutex::new(Some(ended));
    let router = Router::new().get("/{$}", move |_: &Request| {
        let ended = ended.lock().unwrap().take().unwrap();
        spawn_blocking(move || ended.recv());
        "begun"
    });
    let mut serving = Serving::start(router);
    assert_eq!(serving.ask(&get("/")).text(), "begun");
    serving.stop().unwrap();
    assert!(end.send(()).is_ok(), "it waits still");
}

#[cfg(feature = "simulation")]
#[test]
fn a_simulation_has_no_tokio() {
    use roundtrip::simulation::Simulation;

    let runtime = multi_thread();
    let handle = runtime.handle().clone();
    let report = Simulation::new(1).run(async {
        let server = Server::new(numbers()).bind("127.0.0.1:80").unwrap();
        server.tokio(handle).run_here().await
    });
    refused(report.unwrap(), "a simulation has no tokio");
}

#[cfg(feature = "testing")]
mod in_memory {
    use roundtrip::testing::App;

    use super::*;

    fn app(runtime: &Runtime, router: Router) -> App {
        App::new(Server::new(router).tokio(runtime.handle().clone()))
    }

    /// Real time passes while tokio works, and none for the app.
    #[test]
    fn handlers_await_tokio() {
        let runtime = multi_thread();
        let app = app(&runtime, numbers());
        for kind in KINDS {
            let answers = app.run(async {
                let asked = (0..CONNECTIONS).map(|number| {
                    let url = app.url(format!("/{kind}/{number}"));
                    roundtrip::runtime::spawn(app.client().get(url).send())
                });
                let mut answers = Vec::new();
                for response in asked.collect::<Vec<_>>() {
                    answers.push(response.await??.text().await?);
                }
                Ok::<_, roundtrip::Error>(answers)
            });
            let numbers: Vec<String> = (0..CONNECTIONS).map(|number| number.to_string()).collect();
            assert_eq!(answers.unwrap(), numbers, "{kind}");
        }
        assert!(app.elapsed() < Duration::from_secs(1));
        assert_eq!(app.get("/time/7").timeout(LONG).send().text(), "7");
    }

    /// A wire is looked at when tokio has nothing more to say; bodies and drops are inside too.
    #[test]
    fn bodies_and_drops_are_within_the_runtime() {
        let runtime = multi_thread();
        let (told, dropped) = mpsc::channel();
        let router = Router::new().get("/{$}", move |_: &Request| {
            let sleep = Box::pin(tokio::time::sleep(Duration::from_millis(20)));
            Response::new().body(Body::stream(Ticking(
                Some("tick"),
                sleep,
                Told(told.clone()),
            )))
        });
        let app = app(&runtime, router);
        let mut wire = app.connect();
        wire.send(get("/"));
        assert!(wire.receive().ends_with("4\r\ntick\r\n0\r\n\r\n"));
        assert!(dropped.try_recv().unwrap().0);
    }

    /// What wakes a handler very often is no loop.
    #[test]
    fn every_wake_up_counts_as_work() {
        const MESSAGES: u64 = 5_000;
        let runtime = multi_thread();
        let router = Router::new().get("/{$}", async |_: Request| {
            let (send, mut receive) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                for number in 1..=MESSAGES {
                    send.send(number).await.unwrap();
                }
            });
            let mut last = 0;
            while let Some(number) = receive.recv().await {
                last = number;
            }
            last.to_string()
        });
        let app = app(&runtime, router);
        assert_eq!(app.get("/").send().text(), MESSAGES.to_string());
    }

    /// Nobody wakes it: the time of the app goes on after a while, up to a time-out.
    #[test]
    fn what_never_comes_is_named() {
        let runtime = multi_thread();
        let router = Router::new().get("/never/{id}", async |_: Request| {
            std::future::pending::<()>().await;
        });
        let app = app(&runtime, router);
        let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            app.get("/never/7").send();
        }));
        let said = *sent.unwrap_err().downcast::<String>().unwrap();
        assert!(said.starts_with("GET /never/7: "), "{said}");
    }

    #[test]
    #[should_panic(expected = "current_thread")]
    fn a_runtime_that_nobody_turns_is_refused() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let _ = app(&runtime, numbers());
    }
}
