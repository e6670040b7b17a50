//! How a server ends: what is served until when, on a virtual clock; and that nothing is lost on the
//! way from one worker to another.
//!
//! ```text
//!   shutdown ─┬─ 503 for health checks, `Connection: close` ── drain delay ─┐
//!             └─ accepted and answered as before ───────────────────────────┤
//!      stops listening, closes what is idle ◄───────────────────────────────┘
//!      requests that run: finished ── shutdown time-out ──► aborted
//! ```
#![cfg(feature = "simulation")]

use std::future::pending;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::net::Address;
use roundtrip::net::TcpStream;
use roundtrip::runtime;
use roundtrip::runtime::JoinHandle;
use roundtrip::server::ServerHandle;
use roundtrip::server::readiness;
use roundtrip::simulation;
use roundtrip::simulation::Simulation;

const DELAY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Ticks of the timers, and the time that anything takes.
const SLACK: Duration = Duration::from_millis(200);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/ready", readiness)
        .post("/unread", |_: &Request| "answered")
        .get("/long", async |_: Request| {
            runtime::sleep(seconds(8)).await;
            "long"
        })
        .get("/never", async |_: Request| pending::<Response>().await)
}

type Serving = JoinHandle<roundtrip::Result<()>>;

fn serve(knobs: impl FnOnce(Server) -> Server) -> (ServerHandle, Serving) {
    let server = Server::new(router()).bind("127.0.0.1:80").unwrap();
    let server = knobs(server.shutdown_timeout(TIMEOUT));
    (server.handle(), runtime::spawn(server.run_here()))
}

/// A connection, byte by byte.
struct Wire(TcpStream);

impl Wire {
    async fn open() -> Result<Wire, String> {
        let stream = TcpStream::connect("127.0.0.1", 80).await;
        stream.map(Wire).map_err(|error| error.to_string())
    }

    async fn send(&self, path: &str) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.0.write_all(head).await.unwrap();
    }

    /// What comes next; empty at the end or after a reset.
    async fn read(&self) -> String {
        let (read, buffer) = self.0.read(BytesMut::with_capacity(4096)).await;
        let length = read.unwrap_or(0);
        // Names of fields in one form.
        String::from_utf8(buffer[..length].to_ascii_lowercase()).unwrap()
    }

    async fn ask(&self, path: &str) -> String {
        self.send(path).await;
        self.read().await
    }
}

/// Waits until so long after `start`.
async fn at(start: runtime::Instant, after: Duration) {
    runtime::sleep(after.saturating_sub(simulation::now().since(start))).await;
}

#[track_caller]
fn assert_about(got: Duration, expected: Duration) {
    let is_so = got + SLACK >= expected && got <= expected + SLACK;
    assert!(is_so, "{got:?} instead of {expected:?}");
}

#[test]
fn a_drain_has_an_order() {
    let report = Simulation::new(1).run(async {
        let (handle, serving) = serve(|server| server.drain_delay(DELAY));
        let (kept, idle) = (Wire::open().await?, Wire::open().await?);
        for wire in [&kept, &idle] {
            let answer = wire.ask("/").await;
            assert!(!answer.contains("connection: close"), "{answer}");
        }
        assert!(kept.ask("/ready").await.starts_with("http/1.1 200"));
        let (long, never) = (Wire::open().await?, Wire::open().await?);
        long.send("/long").await;
        never.send("/never").await;
        runtime::sleep(Duration::from_millis(100)).await;

        let start = simulation::now();
        handle.shutdown();
        assert!(!handle.is_ready());
        at(start, seconds(1)).await;
        let ready = Wire::open().await?.ask("/ready").await;
        assert!(ready.starts_with("http/1.1 503"), "{ready}");
        assert!(ready.ends_with("draining"), "{ready}");
        let answer = kept.ask("/").await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(kept.read().await, "");
        at(start, seconds(4)).await;
        assert!(Wire::open().await?.ask("/").await.ends_with("hello"));
        // Nothing was asked there, and nothing is closed before its time.
        assert_eq!(idle.read().await, "");
        assert_about(simulation::now().since(start), DELAY);
        runtime::sleep(SLACK).await;
        assert!(Wire::open().await.is_err(), "it still listens");
        // It began before the shutdown: eight seconds in all.
        assert!(long.read().await.ends_with("long"));
        assert_about(simulation::now().since(start), seconds(8));
        assert_eq!(never.read().await, "");
        assert_about(simulation::now().since(start), DELAY + TIMEOUT);
        serving.await.unwrap().unwrap();
        assert_about(simulation::now().since(start), DELAY + TIMEOUT);
        assert_eq!(handle.statistics().connections_open, 0);
        Ok::<_, String>(())
    });
    report.unwrap().unwrap();
}

#[test]
fn an_abort_waits_for_nothing() {
    // At once, in the delay, and while requests run.
    for after in [None, Some(seconds(1)), Some(seconds(6))] {
        let report = Simulation::new(2).run(async move {
            let (handle, serving) = serve(|server| server.drain_delay(DELAY));
            let never = Wire::open().await?;
            never.send("/never").await;
            runtime::sleep(Duration::from_millis(100)).await;
            let start = simulation::now();
            if let Some(after) = after {
                handle.shutdown();
                at(start, after).await;
            }
            handle.abort();
            serving.await.unwrap().unwrap();
            let took = simulation::now().since(start);
            assert_about(took, after.unwrap_or(Duration::ZERO));
            assert_eq!(never.read().await, "");
            Ok::<_, String>(())
        });
        report.unwrap().unwrap();
    }
}

/// A whole second is what a connection has for the rest of a head, and to read its last response.
#[test]
fn what_is_answered_or_not_asked_yet_is_not_waited_for() {
    const UNREAD: &str = "POST /unread HTTP/1.1\r\nHost: a\r\n";
    let cases = [
        ("half a head", "", "GET / HTTP/1.1\r\nHost:".to_owned()),
        ("half a second head", "/", "GET / HT".to_owned()),
        (
            "an unread body",
            "",
            format!("{UNREAD}Content-Length: 90000\r\n\r\nabc"),
        ),
        (
            "an unread chunked body",
            "/",
            format!("{UNREAD}Transfer-Encoding: chunked\r\n\r\nff\r\nabc"),
        ),
        (
            "a body beyond what is drained",
            "",
            format!("{UNREAD}Content-Length: 9000000\r\n\r\nabc"),
        ),
    ];
    for (name, first, bytes) in cases {
        let report = Simulation::new(1).run(async move {
            let (handle, serving) = serve(|server| server);
            let wire = Wire::open().await?;
            if !first.is_empty() {
                assert!(wire.ask(first).await.ends_with("hello"));
            }
            wire.0.write_all(bytes.clone()).await.unwrap();
            if bytes.starts_with(UNREAD) {
                assert!(wire.read().await.ends_with("answered"), "{name}");
            }
            runtime::sleep(Duration::from_millis(100)).await;
            let start = simulation::now();
            handle.shutdown();
            serving.await.unwrap().map_err(|error| error.to_string())?;
            let took = simulation::now().since(start);
            assert!(took <= seconds(1) + SLACK, "{name}: {took:?}");
            assert_eq!(wire.read().await, "", "{name}");
            Ok::<_, String>(())
        });
        report.unwrap().unwrap();
    }
}

#[test]
fn a_head_that_comes_during_a_shutdown_is_answered() {
    let report = Simulation::new(1).run(async {
        let (handle, serving) = serve(|server| server);
        let wire = Wire::open().await?;
        assert!(wire.ask("/").await.ends_with("hello"));
        wire.0.write_all("GET / HTTP/1.1\r\n").await.unwrap();
        runtime::sleep(Duration::from_millis(100)).await;
        handle.shutdown();
        runtime::sleep(Duration::from_millis(500)).await;
        wire.0.write_all("Host: a\r\n\r\n").await.unwrap();
        let answer = wire.read().await;
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.ends_with("hello"), "{answer}");
        serving.await.unwrap().map_err(|error| error.to_string())
    });
    report.unwrap().unwrap();
}

#[test]
fn readiness_has_reasons() {
    let answers = Simulation::new(3).run(async {
        let mut answers = Vec::new();
        let (handle, serving) = serve(|server| server.drain_delay(DELAY));
        let other = Server::new(Router::new().get("/other", handle.readiness()));
        let other = other.bind("127.0.0.1:81").unwrap();
        let other_handle = other.handle();
        let other_serving = runtime::spawn(other.run_here());
        let ask = async |port: u16, path: &str| {
            let stream = TcpStream::connect("127.0.0.1", port).await;
            let answer = Wire(stream.map_err(|error| error.to_string())?)
                .ask(path)
                .await;
            let status = answer[9..12].to_owned();
            let text = answer.rsplit("\r\n").next().unwrap_or_default();
            assert!(answer.contains("cache-control: no-store"), "{answer}");
            Ok::<_, String>(format!("{status} {text}"))
        };
        answers.push(ask(80, "/ready").await?);
        handle.set_ready(false);
        assert!(!handle.is_ready());
        answers.push(ask(80, "/ready").await?);
        answers.push(ask(81, "/other").await?);
        handle.set_ready(true);
        assert!(handle.is_ready());
        // One that drains speaks for its core.
        other_handle.set_ready(false);
        answers.push(ask(80, "/ready").await?);
        answers.push(ask(81, "/other").await?);
        other_handle.shutdown();
        other_serving.await.unwrap().unwrap();
        answers.push(ask(80, "/ready").await?);
        handle.shutdown();
        answers.push(ask(80, "/ready").await?);
        serving.await.unwrap().unwrap();
        Ok::<_, String>(answers)
    });
    let expected = [
        "200 ready",
        "503 not ready",
        "503 not ready",
        "503 not ready",
        "200 ready",
        "200 ready",
        "503 draining",
    ];
    assert_eq!(answers.unwrap().unwrap(), expected);
}

#[test]
fn a_shutdown_tells_its_guests_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let call = |calls: &Arc<AtomicUsize>| {
        let calls = Arc::clone(calls);
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
        }
    };
    let server = Server::new(router())
        .bind("127.0.0.1:0")
        .unwrap()
        .workers(1);
    let handle = server.handle();
    handle.on_shutdown(call(&calls));
    handle.on_shutdown(|| panic!("a guest that does not behave"));
    handle.on_shutdown(call(&calls));
    // The future is what ends it.
    server.run_until(async {}).unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    handle.shutdown();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    handle.on_shutdown(call(&calls));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[test]
fn several_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let server = Server::new(router())
        .bind("127.0.0.1:0")
        .unwrap()
        .bind("127.0.0.1:0")
        .unwrap()
        .bind_unix(&path)
        .unwrap()
        .workers(2);
    let handle = server.handle();
    let thread = std::thread::spawn(|| server.run_until(pending()));
    let addresses = handle.addresses();
    assert_eq!(addresses.len(), 3);
    let ask = |mut stream: Box<dyn ReadWrite>| {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(head).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("hello"), "{answer:?}");
    };
    for _ in 0..3 {
        for address in &addresses {
            ask(match address {
                Address::Tcp(address) => Box::new(std::net::TcpStream::connect(address).unwrap()),
                Address::Unix(path) => Box::new(UnixStream::connect(path).unwrap()),
            });
        }
    }
    handle.shutdown();
    thread.join().unwrap().unwrap();
    for address in addresses {
        match address {
            Address::Tcp(address) => assert!(std::net::TcpStream::connect(address).is_err()),
            Address::Unix(path) => assert!(!path.exists()),
        }
    }
}

trait ReadWrite: std::io::Read + std::io::Write {}

impl<T: std::io::Read + std::io::Write> ReadWrite for T {}

/// One worker accepts for three. Those without anything to do must not end before what it accepted
/// has come to them.
#[test]
fn what_is_handed_round_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let [answered, refused, lost] = [(); 3].map(|()| AtomicU64::new(0));
    for round in 0..20 {
        let path = folder.path().join(round.to_string());
        let server = Server::new(router()).bind_unix(&path).unwrap().workers(3);
        let handle = server.handle();
        let thread = std::thread::spawn(|| server.run_until(pending()));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    // Until the socket is gone, everybody who gets in is answered.
                    while let Ok(mut stream) = UnixStream::connect(&path) {
                        let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                        let mut answer = String::new();
                        let asked = stream.write_all(head);
                        let read = asked.and_then(|()| stream.read_to_string(&mut answer));
                        let is_lost = read.is_err() || !answer.ends_with("hello");
                        lost.fetch_add(u64::from(is_lost), Ordering::SeqCst);
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    refused.fetch_add(1, Ordering::SeqCst);
                });
            }
            while answered.load(Ordering::SeqCst) < 200 * (round + 1) {
                std::thread::yield_now();
            }
            handle.shutdown();
        });
        thread.join().unwrap().unwrap();
        assert!(!path.exists());
    }
    assert_eq!(refused.into_inner(), 60);
    // A client that found the file just before it went, and slept until the socket was closed.
    let n = lost.into_inner();
    assert!(n <= 1, "{n} lost");
}
