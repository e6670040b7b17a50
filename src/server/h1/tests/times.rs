//! Deadlines, and the end of a server.

use std::time::Duration;

use crate::net::Receive;
use crate::server::h1::tests::Bench;
use crate::server::h1::tests::ok;
use crate::server::h1::tests::post;
use crate::server::h1::tests::release;
use crate::server::options::Options;

#[test]
fn deadlines() {
    let seconds = Duration::from_secs;
    // No byte came: nothing to say.
    let mut bench = Bench::new();
    assert_eq!(bench.expire(), seconds(30));
    assert_eq!((bench.text().as_str(), bench.end), ("", Some("close")));

    // A part of a head came, and a second part does not help.
    let mut bench = Bench::new();
    bench.recv(b"GET / HT");
    let later = bench.io.now() + seconds(20);
    bench.io.set_now(later, 784_111_777);
    bench.recv(b"TP/1.1\r\n");
    assert_eq!(bench.expire(), seconds(10));
    assert!(bench.text().starts_with("HTTP/1.1 408 "));
    assert_eq!(bench.end, Some("close"));

    // Idle.
    let mut bench = Bench::new();
    bench.recv(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(bench.expire(), seconds(90));
    assert_eq!((bench.text(), bench.end), (ok("hello"), Some("close")));

    // A handler may take its time.
    let mut bench = Bench::new();
    bench.recv(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(bench.io.deadline(), None);

    // A body that stops.
    let mut bench = Bench::new();
    bench.recv(
        post("Content-Length: 5", "ab")
            .replace("/echo", "/length")
            .as_bytes(),
    );
    assert_eq!(bench.expire(), seconds(30));
    assert!(bench.text().starts_with("HTTP/1.1 408 "));
    assert_eq!(bench.end, Some("close"));
}

#[test]
fn a_shutdown_lets_requests_finish() {
    let mut idle = Bench::new();
    idle.recv(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.worker().begin_shutdown();
    idle.ready();
    assert_eq!(idle.end, Some("close"));

    // The request of a new connection may be on its way.
    let mut new = Bench::new();
    new.worker().begin_shutdown();
    new.ready();
    assert_eq!(new.end, None);
    new.worker().close_new();
    new.ready();
    assert_eq!(new.end, Some("close"));

    let mut busy = Bench::new();
    busy.recv(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    busy.worker().begin_shutdown();
    busy.ready();
    assert_eq!(busy.end, None);
    release();
    busy.ready();
    let text = busy.text();
    assert!(
        text.ends_with("waited") && text.contains("Connection: close"),
        "{text}"
    );
    assert_eq!(busy.end, Some("close"));
}

/// A client that pipelines as fast as it can is in the middle of a head whenever one looks.
#[test]
fn each_head_has_its_own_time() {
    let seconds = Duration::from_secs;
    let whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (start, rest) = whole.split_at(5);
    let mut bench = Bench::new();
    bench.recv(start.as_bytes());
    for _ in 0..10 {
        let later = bench.io.now() + seconds(20);
        bench.io.set_now(later, 784_111_777);
        bench.recv(format!("{rest}{start}").as_bytes());
        assert_eq!(bench.text(), ok("hello"));
        assert_eq!(bench.io.deadline(), Some(bench.io.now() + seconds(30)));
    }
    // And no more than that.
    let later = bench.io.now() + seconds(20);
    bench.io.set_now(later, 784_111_777);
    bench.recv(b" HT");
    assert_eq!(bench.expire(), seconds(10));
    assert!(bench.text().starts_with("HTTP/1.1 408 "));
}

#[test]
fn nothing_held_is_no_silence() {
    let mut bench = Bench::with(Options {
        pipelined_bytes_max: 0,
        ..Options::default()
    });
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    bench.recv(get("/").as_bytes());
    assert_ne!(bench.io.receive(), Receive::Paused);
    bench.recv((get("/wait") + &get("/")).as_bytes());
    assert_eq!(bench.io.receive(), Receive::Paused);
    release();
    bench.ready();
    assert_eq!(bench.text(), ok("hello") + &ok("waited") + &ok("hello"));
    assert_ne!(bench.io.receive(), Receive::Paused);
}
