//! Workers that end although nobody asked them to, and when a server says that it listens.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use roundtrip::Request;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::error::ErrorKind;
use roundtrip::internals;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::server::ServerHandle;

use crate::server_support::Peer;
use crate::server_support::get;

/// A request that runs while another worker dies.
#[derive(Default)]
struct Slow {
    handle: Mutex<Option<ServerHandle>>,
    has_begun: AtomicBool,
}

fn router(slow: &Arc<Slow>) -> Router {
    let slow = Arc::clone(slow);
    Router::new()
        .get("/name", |_: &Request| {
            std::thread::current().name().unwrap().to_owned()
        })
        .get("/die/{how}", |request: &Request| {
            let core = Core::current().unwrap();
            match request.param("how") {
                "invariant" => internals::break_core(core.remote(), "an invariant"),
                _ => core.stop(),
            }
            "dying"
        })
        .get("/slow", async move |_: Request| {
            let handle = slow.handle.lock().unwrap().clone().unwrap();
            slow.has_begun.store(true, Ordering::SeqCst);
            while handle.is_ready() {
                runtime::sleep(Duration::from_millis(1)).await;
            }
            "finished"
        })
}

/// A connection to the worker of this name.
fn peer_of(address: std::net::SocketAddr, name: &str) -> Peer {
    for _ in 0..1_000 {
        let mut peer = Peer::to(address);
        if peer.send(get("/name")).answer().body == name.as_bytes() {
            return peer;
        }
    }
    panic!("no connection came to {name}");
}

#[test]
fn a_worker_that_dies_is_an_error_and_the_others_drain() {
    type Run = fn(Server) -> Result<()>;
    let table: [(Run, &str, &str); 3] = [
        (Server::run, "invariant", "panicked: an invariant"),
        (
            |server| server.run_until(std::future::pending()),
            "invariant",
            "panicked: an invariant",
        ),
        (
            |server| server.run_until(std::future::pending()),
            "stop",
            "ended unasked: its core was stopped",
        ),
    ];
    for (run, how, text) in table {
        let slow = Arc::new(Slow::default());
        let server = Server::new(router(&slow))
            .bind("127.0.0.1:0")
            .unwrap()
            .workers(2)
            // Nothing below waits for it.
            .shutdown_timeout(Duration::from_secs(600));
        let (handle, address) = (server.handle(), server.local_addr().unwrap());
        *slow.handle.lock().unwrap() = Some(handle.clone());
        let (sender, shutdowns) = mpsc::channel();
        handle.on_shutdown(move || sender.send(()).unwrap());
        let (listens, listening) = mpsc::channel();
        let server = server.on_listening(move |_| listens.send(()).unwrap());
        let running = std::thread::spawn(move || run(server));
        listening.recv().unwrap();
        let mut other = peer_of(address, "roundtrip-0");
        other.send(get("/slow"));
        while !slow.has_begun.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        assert!(handle.is_ready());
        peer_of(address, "roundtrip-1").send(get(&format!("/die/{how}")));
        let answer = other.answer();
        assert_eq!((answer.status, &*answer.body), (200, &b"finished"[..]));
        let error = running.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shutdown);
        assert_eq!(error.text(), format!("worker roundtrip-1 {text}"));
        assert_eq!(shutdowns.iter().count(), 1);
        assert!(!handle.is_ready());
    }
}

#[test]
fn the_others_do_not_wait_for_a_listener_that_died() {
    let path = format!("/tmp/roundtrip-deaths-{}.sock", std::process::id());
    let server = Server::new(router(&Arc::default()))
        .bind_unix(&path)
        .unwrap()
        .workers(2)
        .shutdown_timeout(Duration::from_secs(600));
    let running = std::thread::spawn(move || server.run_until(std::future::pending()));
    // Connections are handed round: one of two comes to the worker that listens.
    let mut sockets = Vec::new();
    for _ in 0..2 {
        use std::io::Write as _;
        let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let _ = socket.write_all(get("/die/invariant").as_bytes());
        sockets.push(socket);
    }
    let error = running.join().unwrap().unwrap_err();
    assert!(error.text().ends_with("panicked: an invariant"), "{error}");
}

#[test]
fn listening_is_said_when_it_is_true() {
    let told = Arc::new(AtomicUsize::new(0));
    let server = |addresses: usize| {
        let mut server = Server::new(router(&Arc::default())).workers(2);
        for _ in 0..addresses {
            server = server.bind("127.0.0.1:0").unwrap();
        }
        let (expected, told) = (server.addresses(), Arc::clone(&told));
        let handle = server.handle();
        server.on_listening(move |addresses| {
            told.fetch_add(1, Ordering::SeqCst);
            assert_eq!(addresses, expected);
            assert!(handle.is_ready());
            handle.shutdown();
            panic!("on purpose");
        })
    };
    server(1).run_until(std::future::pending()).unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 1);
    runtime::block_on(server(2).run_here()).unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 2);
    // One that cannot start does not say so.
    assert!(server(0).run_until(std::future::pending()).is_err());
    let failing = Server::per_worker(|_| panic!("on purpose"));
    let told_of = Arc::clone(&told);
    let failing = failing.bind("127.0.0.1:0").unwrap().workers(2);
    let failing = failing.on_listening(move |_| panic!("told {told_of:?}"));
    let error = failing.run_until(std::future::pending()).unwrap_err();
    assert!(error.text().ends_with("panicked: on purpose"), "{error}");
    assert_eq!(told.load(Ordering::SeqCst), 2);
}
