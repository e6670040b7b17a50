//! What the access log, the statistics and the hooks tell of exchanges that end in every way: what
//! happened on the wire, and not what was meant to.

use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use roundtrip::Body;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::error::ErrorKind;
use roundtrip::server::hooks::CloseReason;
use roundtrip::server::hooks::ConnectionState;

use crate::server_support::Log;
use crate::server_support::Peer;
use crate::server_support::Serving;
use crate::server_support::get;
use crate::server_support::request;

/// More than the buffers of both sockets hold.
const BIG_BYTES: usize = 32 << 20;
/// How long a handler computes.
const WORK_TIME: Duration = Duration::from_millis(30);

fn router() -> Router {
    let big = Bytes::from(vec![b'x'; BIG_BYTES]);
    let file = tempfile::tempfile().expect("a file");
    (&file).write_all(&big).expect("room for it");
    let file = Arc::new(file);
    let whole = move |file: &Arc<File>| Body::file(Arc::clone(file), 0..BIG_BYTES as u64);
    let short = Arc::clone(&file);
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/close", |_: &Request| {
            Response::new().header("Connection", "close").body("bye")
        })
        .get("/big", move |_: &Request| big.clone())
        .get("/file", move |_: &Request| {
            Response::new().body(whole(&file))
        })
        .get("/short", move |_: &Request| {
            // The file ends before what is announced.
            let range = BIG_BYTES as u64 - 10..BIG_BYTES as u64 + 10;
            Response::new().body(Body::file(Arc::clone(&short), range))
        })
        .get("/never", async |_: Request| -> &'static str {
            std::future::pending().await
        })
        .post("/read", async |mut request: Request| {
            request.inform(StatusCode::EARLY_HINTS, [("Link", "</a>")])?;
            request.take_body().bytes().await
        })
        .post("/unread", |_: &Request| "unread")
        .get("/works", |_: &Request| {
            std::thread::sleep(WORK_TIME);
            "done"
        })
        .get("/abort", |_: &Request| Response::abort())
        .get("/panic", |_: &Request| -> &'static str {
            std::panic::resume_unwind(Box::new(()))
        })
        .get("/chunks", async |_: Request| {
            Response::new().body(Body::produce(async |producer| {
                producer.send("abc".into()).await?;
                producer.send("de".into()).await
            }))
        })
        .get("/broken", async |_: Request| {
            Response::new().body(Body::produce(async |producer| {
                producer.send("abc".into()).await?;
                Err(Error::new(ErrorKind::Io, "broken"))
            }))
        })
        .get("/lingers", |_: &Request| {
            let body = Body::produce(async |producer| {
                producer.send("abcde".into()).await?;
                std::future::pending().await
            });
            Response::new().body(body.with_length(5))
        })
        .get("/late", async |_: Request| {
            roundtrip::runtime::sleep(Duration::from_secs(5)).await;
            "late"
        })
        .get("/echo", |_: &Request| {
            Response::upgrade("echo", async |mut duplex| {
                while let Ok(Some(bytes)) = duplex.read().await {
                    let _ = duplex.write(bytes).await;
                }
            })
        })
}

struct Told {
    serving: Serving,
    log: Log,
    states: mpsc::Receiver<ConnectionState>,
}

impl Told {
    fn start(settings: impl FnOnce(Server) -> Server) -> Told {
        let log = Log::default();
        let own_log = log.clone();
        let (tell, states) = mpsc::channel();
        let serving = Serving::with(Server::new(router()), |server| {
            settings(server)
                .access_log(own_log)
                .on_connection_state(move |event| tell.send(event.state).unwrap_or_default())
        });
        Told {
            serving,
            log,
            states,
        }
    }

    /// Target, status, bytes and end of each line, at the end of the server.
    fn lines(mut self) -> Vec<(String, u16, u64, String)> {
        self.serving.stop().unwrap();
        self.log.lines()
    }

    /// What the last connection came to.
    fn closed(&self) -> CloseReason {
        loop {
            let state = self.states.recv_timeout(Duration::from_secs(10)).unwrap();
            if let ConnectionState::Closed(reason) = state {
                return reason;
            }
        }
    }
}

impl Log {
    /// Target, status, bytes and end of each line.
    fn lines(&self) -> Vec<(String, u16, u64, String)> {
        let text = self.text();
        let fields = text.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let at = words.iter().position(|word| word.ends_with('"')).unwrap();
            let target = words[at.saturating_sub(1)];
            let (status, bytes) = (words[at + 1].parse(), words[at + 2].parse());
            let seconds: f64 = words[at + 3].parse().unwrap();
            let least = if target == "/works" {
                WORK_TIME
            } else {
                Duration::ZERO
            };
            assert!((least.as_secs_f64()..20.0).contains(&seconds), "{line}");
            let end = words.last().unwrap().to_string();
            (target.to_owned(), status.unwrap(), bytes.unwrap(), end)
        });
        fields.collect()
    }
}

fn assert_lines(found: &[(String, u16, u64, String)], expected: &[(&str, u16, u64, &str)]) {
    let found: Vec<_> = found
        .iter()
        .map(|(target, status, bytes, end)| (&target[..], *status, *bytes, &end[..]))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn what_arrives_is_complete() {
    let told = Told::start(|server| server);
    let mut peer = told.serving.peer();
    peer.send(get("/").repeat(3));
    (0..3).for_each(|_| assert_eq!(peer.answer().text(), "hello"));
    assert_eq!(peer.send(get("/file")).answer().body.len(), BIG_BYTES);
    assert_eq!(peer.send(get("/chunks")).answer().text(), "abcde");
    peer.send(request("HEAD /", &[], "")).answer_to_head();
    assert_eq!(peer.send(get("/works")).answer().text(), "done");
    let read = ["Content-Length: 4", "Expect: 100-continue"];
    peer.send(request("POST /read", &read, ""));
    assert_eq!((peer.answer().status, peer.answer().status), (103, 100));
    assert_eq!(peer.send("abcd").answer().text(), "abcd");
    assert_eq!(peer.send(get("/panic")).answer().status, 500);
    told.serving.peer().send(get("/close")).answer();
    told.serving.peer().send("nonsense\r\n\r\n").answer();
    let unread = request("POST /unread", &["Content-Length: 9000000"], "x");
    told.serving.peer().send(unread).answer();
    told.serving.wait_until(|s| s.connections_open == 0);
    assert_eq!(told.serving.handle.statistics().connections_cut, 0);
    let lines = told.lines();
    let refused = lines.iter().find(|line| line.1 == 400).unwrap().clone();
    assert!(refused.2 > 10 && refused.3 == "complete", "{refused:?}");
    let others: Vec<_> = lines.into_iter().filter(|line| line.1 != 400).collect();
    assert_lines(
        &others,
        &[
            ("/", 200, 5, "complete"),
            ("/", 200, 5, "complete"),
            ("/", 200, 5, "complete"),
            ("/file", 200, BIG_BYTES as u64, "complete"),
            // Chunk heads count: what went over the wire behind the head.
            ("/chunks", 200, 20, "complete"),
            ("/", 200, 0, "complete"),
            ("/works", 200, 4, "complete"),
            // What came before its head does not.
            ("/read", 200, 4, "complete"),
            ("/panic", 500, 0, "panicked"),
            ("/close", 200, 3, "complete"),
            ("/unread", 200, 6, "complete"),
        ],
    );
}

#[test]
fn a_line_comes_when_the_last_byte_has_gone() {
    for target in ["/big", "/file"] {
        let told = Told::start(|server| server);
        let mut peer = told.serving.peer();
        // Both are answered; the second waits behind the first.
        peer.send(get(target) + &get("/"));
        told.serving.wait_until(|s| s.requests >= 1);
        // A worker's lines are in order: what has one by then would be before this.
        told.serving.peer().send(get("/close")).answer();
        while told.log.text().is_empty() {
            std::thread::yield_now();
        }
        let close = ("/close", 200, 3, "complete");
        assert_lines(&told.log.lines(), &[close]);
        told.serving.wait_until(|s| s.connections_open == 1);
        let states: Vec<_> = told.states.try_iter().collect();
        assert!(!states.contains(&ConnectionState::Idle), "{states:?}");
        assert_eq!(peer.answer().body.len(), BIG_BYTES);
        assert_eq!(peer.answer().text(), "hello");
        let idle = told.states.recv_timeout(Duration::from_secs(10));
        assert_eq!(idle, Ok(ConnectionState::Idle));
        let whole = (target, 200, BIG_BYTES as u64, "complete");
        assert_lines(&told.lines(), &[close, whole, ("/", 200, 5, "complete")]);
    }
}

/// Reads a little, so that the response has begun to arrive, and returns the connection.
fn begun(told: &Told, target: &str) -> Peer {
    let mut peer = told.serving.peer();
    peer.send(get(target));
    peer.stream.read_exact(&mut [0; 1_000]).unwrap();
    peer
}

#[test]
fn what_is_cut_on_the_wire_says_by_whom() {
    type Settings = fn(Server) -> Server;
    type Act = fn(&Told, Peer) -> Option<Peer>;
    let quick: Settings = |server| server.write_timeout(Duration::from_millis(300));
    let slow: Settings = |server| server;
    let hasty: Settings = |server| server.shutdown_timeout(Duration::from_millis(100));
    let leaves: Act = |_, peer| {
        reset(peer);
        None
    };
    let waits: Act = |_, peer| Some(peer);
    let shuts_down: Act = |told, peer| {
        told.serving.handle.shutdown();
        Some(peer)
    };
    let cases = [
        ("peer-gone", slow, leaves, CloseReason::Failed),
        ("timed-out", quick, waits, CloseReason::Timeout),
        ("shut-down", hasty, shuts_down, CloseReason::Shutdown),
    ];
    for target in ["/big", "/file"] {
        for (end, settings, act, reason) in cases {
            let told = Told::start(settings);
            let mut peer = begun(&told, target);
            // Behind it, in the output too: nothing of it goes out.
            peer.send(get("/"));
            let _kept = act(&told, peer);
            assert_eq!(told.closed(), reason, "{target} {end}");
            told.serving.wait_until(|s| s.connections_open == 0);
            let statistics = told.serving.handle.statistics();
            assert_eq!(statistics.connections_cut, 1, "{target} {end}");
            let late = u64::from(end == "timed-out");
            assert_eq!(statistics.write_timeouts, late, "{target} {end}");
            let lines = told.lines();
            let (name, status, bytes, said) = &lines[0];
            assert_eq!((&name[..], *status, &said[..]), (target, 200, end));
            assert!((900..BIG_BYTES as u64).contains(bytes), "{bytes}");
            for (_, _, bytes, said) in &lines[1..] {
                assert_eq!((*bytes, &said[..]), (0, end));
            }
        }
    }
}

#[test]
fn what_our_side_ends_says_how() {
    let late = |server: Server| server.handler_timeout(Duration::from_millis(100));
    let cases = [
        ("/abort", 444, 0, "aborted"),
        ("/broken", 200, 8, "cut"),
        ("/short", 200, 10, "cut"),
        ("/late", 503, u64::MAX, "complete"),
    ];
    for (target, status, bytes, end) in cases {
        let told = Told::start(late);
        let mut peer = told.serving.peer();
        peer.send(get(target));
        let _ = peer.stream.shutdown(Shutdown::Write);
        let _ = peer.stream.read_to_end(&mut Vec::new());
        told.serving.wait_until(|s| s.connections_open == 0);
        let lines = told.lines();
        let found = (&lines[0].0[..], lines[0].1, &lines[0].3[..]);
        assert_eq!(found, (target, status, end));
        assert!(bytes == u64::MAX || lines[0].2 == bytes, "{lines:?}");
    }
}

#[test]
fn who_is_not_answered_has_a_line() {
    for (end, status) in [("peer-gone", 499), ("shut-down", 444)] {
        let told = Told::start(|server| server.shutdown_timeout(Duration::from_millis(100)));
        let mut peer = told.serving.peer();
        peer.send(get("/never"));
        told.serving.wait_until(|s| s.requests_in_flight == 1);
        match status {
            499 => reset(peer),
            _ => told.serving.handle.shutdown(),
        }
        told.serving.wait_until(|s| s.connections_open == 0);
        assert_lines(&told.lines(), &[("/never", status, 0, end)]);
    }
}

#[test]
fn who_has_all_that_was_announced_may_go() {
    let told = Told::start(|server| server);
    let mut peer = told.serving.peer();
    // The stream of its body goes on; of its length nothing is left.
    assert_eq!(peer.send(get("/lingers")).answer().text(), "abcde");
    reset(peer);
    told.serving.wait_until(|s| s.connections_open == 0);
    assert_lines(&told.lines(), &[("/lingers", 200, 5, "complete")]);
}

/// Closes with a reset instead of an end.
fn reset(peer: Peer) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    nix::sys::socket::setsockopt(&peer.stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}

#[test]
fn a_tunnel_has_its_line_at_its_end() {
    let told = Told::start(|server| server);
    let mut peer = told.serving.peer();
    let fields = ["Connection: upgrade", "Upgrade: echo"];
    peer.send(get("/") + &request("GET /echo", &fields, ""));
    assert_eq!(peer.answer().text(), "hello");
    assert_eq!(peer.answer().status, 101);
    peer.send("twelve bytes");
    let mut echo = [0; 12];
    peer.stream.read_exact(&mut echo).unwrap();
    let first = told.log.lines();
    assert!(first.iter().all(|line| line.0 == "/"), "{first:?}");
    peer.close_writing();
    assert!(peer.is_closed());
    let expected = [("/", 200, 5, "complete"), ("/echo", 101, 12, "complete")];
    assert_lines(&told.lines(), &expected);
}
