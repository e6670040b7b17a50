//! Limits, time-outs, shutdown, addresses: against real sockets.

use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::runtime;

mod server_support;

use server_support::Log;
use server_support::Serving;
use server_support::get;
use server_support::request;

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
        .post("/text", async |r: Request| r.into_body().text().await)
        .get("/slow", async |_: Request| {
            runtime::sleep(Duration::from_millis(200)).await;
            "slow"
        })
        .get("/never", async |_: Request| {
            std::future::pending::<&'static str>().await
        })
        .get("/big", |_: &Request| vec![b'x'; 50_000_000])
}

fn post(fields: &[&str], body: &str) -> String {
    request("POST /echo", fields, body)
}

fn quick(server: Server) -> Server {
    let short = Duration::from_millis(300);
    server
        .header_timeout(short)
        .idle_timeout(short)
        .body_timeout(short)
        .write_timeout(short)
}

/// Runs `check` and says that it took one time-out, within what the timers' ticks allow.
fn takes_one_timeout(check: impl FnOnce()) {
    let started = Instant::now();
    check();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(250), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn time_outs() {
    let serving = Serving::with(Server::new(router()), quick);
    takes_one_timeout(|| assert!(serving.peer().is_closed()));
    takes_one_timeout(|| {
        let mut peer = serving.peer();
        peer.send("GET / HT");
        assert_eq!(peer.answer().status, 408);
        assert!(peer.is_closed());
    });
    takes_one_timeout(|| {
        let mut peer = serving.peer();
        assert_eq!(peer.send(get("/")).answer().text(), "hello");
        assert!(peer.is_closed());
    });
    takes_one_timeout(|| {
        let mut peer = serving.peer();
        peer.send(request("POST /text", &["Content-Length: 5"], "ab"));
        assert_eq!(peer.answer().status, 408);
        assert!(peer.is_closed());
    });
}

#[test]
fn dribbling_a_head_does_not_move_its_deadline() {
    let serving = Serving::with(Server::new(router()), quick);
    let mut peer = serving.peer();
    let started = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaa" {
        if peer.stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        if started.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    let rest = String::from_utf8(peer.rest()).unwrap();
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 408 "),
        "{rest}"
    );
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_peer_that_does_not_read_is_cut_off() {
    let serving = Serving::with(Server::new(router()), quick);
    let mut peer = serving.peer();
    peer.send(get("/big"));
    let started = Instant::now();
    while serving.handle.statistics().connections_open > 0
        || serving.handle.statistics().connections_accepted == 0
    {
        assert!(started.elapsed() < Duration::from_secs(5), "still open");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let serving = Serving::with(Server::new(router()), |s| s.body_bytes_max(4));
    assert_eq!(
        serving.ask(&post(&["Content-Length: 4"], "abcd")).text(),
        "abcd"
    );
    assert_eq!(
        serving.ask(&post(&["Content-Length: 5"], "abcde")).status,
        413
    );
    let chunked = request(
        "POST /text",
        &["Transfer-Encoding: chunked"],
        "5\r\nabcde\r\n0\r\n\r\n",
    );
    assert_eq!(serving.ask(&chunked).status, 413);
}

#[test]
fn a_shutdown_finishes_what_runs() {
    let mut serving = Serving::start(router());
    assert!(wait_for(|| serving.handle.is_ready()));
    let mut idle = serving.peer();
    assert_eq!(idle.send(get("/")).answer().text(), "hello");
    let mut busy = serving.peer();
    busy.send(get("/slow"));
    assert!(wait_for(|| serving.handle.statistics().requests == 2));
    let started = Instant::now();
    serving.handle.shutdown();
    assert!(!serving.handle.is_ready());
    assert!(idle.is_closed());
    let answer = busy.answer();
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("slow", Some("close"))
    );
    serving.stop().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_shutdown_has_a_deadline() {
    let knobs = |s: Server| s.shutdown_timeout(Duration::from_millis(300));
    let mut serving = Serving::with(Server::new(router()), knobs);
    let mut peer = serving.peer();
    peer.send(get("/never"));
    assert!(wait_for(|| serving.handle.statistics().requests == 1));
    takes_one_timeout(|| serving.stop().unwrap());
    assert!(peer.is_closed());
}

fn wait_for(mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > Duration::from_secs(5) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn a_port_in_use_is_one_clear_error() {
    let serving = Serving::start(router());
    let address = serving.address.to_string();
    let error = Server::new(router()).bind(&address).unwrap_err();
    assert_eq!(error.kind(), roundtrip::error::ErrorKind::Bind);
    let line = error.to_string();
    assert!(
        line.contains(&address) && line.contains("listens there"),
        "{line}"
    );
    assert!(!line.contains('\n'), "{line}");
    // The bystander still has all of the port.
    for _ in 0..20 {
        assert_eq!(serving.ask(&get("/")).text(), "hello");
    }
}

#[test]
fn a_server_without_address_says_so() {
    let error = Server::new(router()).run().unwrap_err().to_string();
    assert!(error.contains("bind"), "{error}");
}

#[test]
fn per_worker_routers() {
    let count = Arc::new(Mutex::new(0));
    let own = Arc::clone(&count);
    let server = Server::per_worker(move |_| {
        *own.lock().unwrap() += 1;
        router()
    });
    let serving = Serving::with(server, |s| s.workers(3));
    assert!(wait_for(|| serving.handle.is_ready()));
    assert_eq!(serving.ask(&get("/")).text(), "hello");
    assert_eq!(*count.lock().unwrap(), 3);
}

#[test]
fn unix_sockets_serve_all_workers() {
    use std::io::Read;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let knobs = |s: Server| s.workers(2).bind_unix(&path).unwrap();
    let serving = Serving::with(Server::new(router()), knobs);
    assert!(wait_for(|| serving.handle.is_ready()));
    for _ in 0..4 {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let asked = request("GET /", &["Connection: close"], "");
        stream.write_all(asked.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("hello"), "{text}");
    }
    drop(serving);
    assert!(!path.exists());
}

#[test]
fn the_access_log_has_a_line_per_request() {
    let log = Log::default();
    let writer = log.clone();
    let mut serving = Serving::with(Server::new(router()), |s| s.access_log(writer));
    serving.ask(&get("/"));
    serving.ask(&get("/nowhere?a=\"b"));
    serving.ask(&get("/slow"));
    serving.ask("nonsense\r\n\r\n");
    serving.ask(&post(&["Content-Length: 3"], "abc"));
    serving.stop().unwrap();
    let text = log.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines.iter().all(|line| line.starts_with("127.0.0.1 - - [")),
        "{text}"
    );
    let parts = [
        ("\"GET / HTTP/1.1\" 200 5 ", " \"GET /{$}\" complete"),
        (
            "\"GET /nowhere?a=\\x22b HTTP/1.1\" 404 9 ",
            " \"-\" complete",
        ),
        ("\"GET /slow HTTP/1.1\" 200 4 ", " \"GET /slow\" complete"),
        ("\"-\" 400 ", " \"-\" complete"),
        ("\"POST /echo HTTP/1.1\" 200 3 ", " \"POST /echo\" complete"),
    ];
    for (line, (part, end)) in lines.iter().zip(parts) {
        assert!(line.contains(part), "{line}");
        assert!(line.ends_with(end), "{line}");
    }
    // The seconds that the slow one took.
    let seconds: f64 = lines[2].split(' ').nth_back(3).unwrap().parse().unwrap();
    assert!((0.15..2.0).contains(&seconds), "{seconds}");
}
