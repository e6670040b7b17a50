//! Connections that go on with another protocol.

use std::cell::Cell;

use ::http::StatusCode;

use crate::error::Error;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::net::Receive;
use crate::server::h1::tests::Bench;
use crate::server::h1::tests::CountDrop;
use crate::server::h1::tests::DROPPED;
use crate::server::h1::tests::check_routed;
use crate::server::h1::tests::ok;
use crate::server::h1::tests::release;
use crate::server::h1::tests::released;
use crate::server::options::Options;
use crate::server::router::Router;
use crate::server::upgrade::Duplex;

thread_local! {
    static CLOSING: Cell<bool> = const { Cell::new(false) };
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn upgrading() -> Router {
    let echo = async |mut duplex: Duplex| {
        while let Some(bytes) = duplex.read().await? {
            duplex.write(bytes.to_ascii_uppercase()).await?;
        }
        duplex.write("bye").await
    };
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .any("/echo", move |_: &Request| Response::upgrade("echo", echo))
        .any("/read", async move |r: Request| {
            r.into_body().text().await?;
            Ok::<_, Error>(Response::upgrade("echo", echo).header("X-Key", "k"))
        })
        .get("/tunnel", move |_: &Request| Response::tunnel(echo))
        .get("/forbidden", move |_: &Request| {
            Response::upgrade("echo", echo).status(StatusCode::FORBIDDEN)
        })
        .get("/panic", |_: &Request| {
            Response::upgrade("echo", async |_: Duplex| panic!("a protocol that fails"))
        })
        .get("/closing", |_: &Request| {
            Response::upgrade("echo", async |duplex: Duplex| {
                duplex.closing().await;
                CLOSING.set(true);
            })
        })
        .get("/rest", |_: &Request| {
            Response::upgrade("echo", async |_duplex: Duplex| {
                let _count = CountDrop;
                released().await;
            })
        })
        .get("/half", |_: &Request| {
            Response::upgrade("echo", async |mut duplex: Duplex| {
                duplex.write("first").await?;
                duplex.shutdown();
                duplex.read().await?;
                released().await;
                Ok::<_, Error>(())
            })
        })
}

fn asking(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: other/2, ECHO\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";

#[test]
fn an_upgrade_has_the_connection_and_what_came_behind() {
    let input = asking("GET", "/echo", UPGRADE) + "abc\r\n\r\nGET / HTTP/1.1\r\n";
    let expected = format!("{SWITCHING}ABC\r\n\r\nGET / HTTP/1.1\r\n");
    check_routed(upgrading, &input, &expected, None);
    // Behind another request, and behind a body that was read.
    let body = asking("POST", "/read", &format!("{UPGRADE}Content-Length: 3\r\n")) + "abcdef";
    let switching = SWITCHING.replace("Connection", "X-Key: k\r\nConnection");
    let expected = format!("{}{switching}DEF", ok("hello"));
    check_routed(upgrading, &(get("/") + &body), &expected, None);

    let mut bench = Bench::routed(upgrading(), Options::default());
    bench.recv(asking("GET", "/echo", UPGRADE).as_bytes());
    assert_eq!(bench.text(), SWITCHING);
    assert_eq!(bench.io.deadline(), None);
    bench.recv(b"x").eof();
    assert_eq!((bench.text().as_str(), bench.end), ("Xbye", Some("close")));
    assert_eq!(bench.statistics().connections_upgraded, 1);
}

#[test]
fn who_has_not_asked_for_it_is_told_how() {
    for fields in [
        "",
        "Upgrade: echo\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: other\r\n",
    ] {
        let mut bench = Bench::routed(upgrading(), Options::default());
        bench.recv((asking("GET", "/echo", fields) + &get("/")).as_bytes());
        let text = bench.text();
        assert!(
            text.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
            "{text}"
        );
        assert!(text.contains("\r\nUpgrade: echo\r\n"), "{text}");
        assert!(text.contains("\r\nConnection: upgrade\r\n"), "{text}");
        assert!(text.ends_with(&ok("hello")), "{text}");
    }
    // RFC 9110 §7.8: in HTTP/1.0 it means nothing.
    let mut bench = Bench::routed(upgrading(), Options::default());
    bench.recv(format!("GET /echo HTTP/1.0\r\n{UPGRADE}\r\n").as_bytes());
    let text = bench.text();
    assert!(text.starts_with("HTTP/1.1 426 "), "{text}");
    assert_eq!(bench.statistics().connections_upgraded, 0);
}

#[test]
fn a_body_before_an_upgrade_has_to_be_read() {
    let fields = format!("{UPGRADE}Content-Length: 3\r\n");
    for body in ["", "ab", "abc"] {
        let mut bench = Bench::routed(upgrading(), Options::default());
        bench.recv((asking("POST", "/echo", &fields) + body).as_bytes());
        let text = bench.text();
        assert!(text.starts_with("HTTP/1.1 400 "), "{body:?}: {text}");
        bench.recv(&b"abc"[body.len()..]).recv(get("/").as_bytes());
        assert_eq!(bench.text(), ok("hello"), "{body:?}");
    }
}

#[test]
fn other_answers_stay_what_they_are() {
    let mut bench = Bench::routed(upgrading(), Options::default());
    bench.recv(asking("GET", "/tunnel", UPGRADE).as_bytes());
    assert!(bench.text().starts_with("HTTP/1.1 500 "));
    assert_eq!(bench.statistics().invalid_responses, 1);
    bench.recv(asking("GET", "/forbidden", UPGRADE).as_bytes());
    let text = bench.text();
    assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{text}");
    assert!(!text.contains("pgrade"), "{text}");
    bench.recv(asking("GET", "/", UPGRADE).as_bytes());
    assert_eq!(bench.text(), ok("hello"));
}

#[test]
fn a_shutdown_tells_upgraded_connections() {
    let mut bench = Bench::routed(upgrading(), Options::default());
    bench.recv(asking("GET", "/closing", UPGRADE).as_bytes());
    bench.ready();
    assert!(!CLOSING.get());
    bench.worker().begin_shutdown();
    bench.ready();
    assert!(CLOSING.get());
    assert_eq!(bench.end, Some("close"));
}

#[test]
fn an_upgraded_connection_ends_both_its_sides() {
    let mut bench = Bench::routed(upgrading(), Options::default());
    bench.recv(asking("GET", "/half", UPGRADE).as_bytes());
    assert_eq!(bench.text(), format!("{SWITCHING}first"));
    bench.ready();
    assert_eq!(bench.text(), "<end>");
    bench.recv(b"x");
    assert_eq!((bench.text().as_str(), bench.end), ("", None));
    release();
    bench.ready();
    assert_eq!(bench.end, Some("close"));
}

#[test]
fn an_upgraded_connection_stops_receiving_for_a_slow_reader() {
    let mut bench = Bench::routed(upgrading(), Options::default());
    bench.recv(asking("GET", "/rest", UPGRADE).as_bytes());
    let mut taken = 0;
    while bench.io.receive() != Receive::Paused {
        bench.recv(&[b'x'; 4_096]);
        taken += 4_096;
    }
    assert_eq!(taken, 64 * 1024);
    let dropped = DROPPED.get();
    bench.call_closed();
    assert_eq!(DROPPED.get(), dropped + 1);
    assert_eq!(bench.statistics().panics, 0);
}

#[test]
fn a_panic_of_a_protocol_costs_its_connection() {
    let mut bench = Bench::routed(upgrading(), Options::default());
    bench.recv(asking("GET", "/panic", UPGRADE).as_bytes());
    assert_eq!(bench.end, Some("abort"));
    assert_eq!(bench.statistics().panics, 1);
}
