//! Limits on connections and requests, PROXY headers, hooks; and every time-out, by a clock that
//! is simulated.

#[path = "server_lifecycle/deaths.rs"]
mod deaths;
#[path = "server_lifecycle/engines.rs"]
mod engines;
#[path = "server_lifecycle/failures.rs"]
mod failures;
#[path = "server_support/mod.rs"]
mod server_support;
#[cfg(feature = "simulation")]
#[path = "server_lifecycle/simulated.rs"]
mod simulated;
#[path = "server_lifecycle/told.rs"]
mod told;

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::server::admission::Admission;
use roundtrip::server::hooks::CloseReason;
use roundtrip::server::hooks::ConnectionEvent;
use roundtrip::server::hooks::ConnectionState;
use roundtrip::server::hooks::ProtocolErrorKind;
use server_support::Log;
use server_support::Peer;
use server_support::Serving;
use server_support::get;
use server_support::request;

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/addresses", |r: &Request| {
            format!("{:?} {:?}", r.peer_addr(), r.local_addr())
        })
        .get("/later", async |r: Request| {
            format!("{:?} {:?}", r.peer_addr(), r.local_addr())
        })
        .any("/wait", async |r: Request| {
            r.disconnected().await;
            "gone"
        })
        .get("/upgrade", |r: &Request| {
            let peer = format!("{:?}", r.peer_addr());
            Response::upgrade("echo", async |mut duplex| {
                let _ = duplex.write(peer).await;
                while let Ok(Some(bytes)) = duplex.read().await {
                    let _ = duplex.write(bytes).await;
                }
            })
        })
        .get("/panic", |_: &Request| -> &'static str {
            std::panic::resume_unwind(Box::new(()))
        })
}

fn serving(knobs: impl FnOnce(Server) -> Server) -> Serving {
    Serving::with(Server::new(router()), knobs)
}

// ---- limits on connections -------------------------------------------------------------------

#[test]
fn a_connection_too_many_is_told_so() {
    let serving = serving(|server| server.workers(2).connections_max(4));
    let mut peers: Vec<Peer> = (0..4).map(|_| serving.peer()).collect();
    for peer in &mut peers {
        assert_eq!(peer.send(get("/")).answer().status, 200);
    }
    let mut refused = serving.peer();
    let answer = refused.send(get("/")).answer();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(answer.text().contains("connections"), "{}", answer.text());
    assert!(refused.is_closed());
    let mut head = serving.peer();
    let answer = head.send(request("HEAD /", &[], "")).answer_to_head();
    assert_eq!(answer.status, 503);
    assert!(head.is_closed(), "HEAD has no body");
    // One that leaves makes room, whichever worker it was of.
    drop(peers.pop());
    serving.wait_until(|s| s.connections_open == 3);
    assert_eq!(serving.ask(&get("/")).status, 200);
    let statistics = serving.handle.statistics();
    assert_eq!(statistics.connections_refused, 2);
    for peer in &mut peers {
        assert_eq!(peer.send(get("/")).answer().status, 200);
    }
}

/// Who says nothing is not answered, but holds no place for long either.
#[test]
fn a_silent_connection_too_many_is_closed() {
    let serving = serving(|server| server.connections_max(0));
    let started = Instant::now();
    assert!(serving.peer().is_closed());
    let taken = started.elapsed();
    assert!(taken < Duration::from_secs(5), "{taken:?}");
    serving.wait_until(|s| s.connections_open == 0);
}

#[test]
fn addresses_have_their_share() {
    let knobs = |server: Server| {
        server
            .workers(2)
            .connections_per_address_max(2)
            .proxy_protocol(["127.0.0.1"])
            .unwrap()
    };
    let serving = serving(knobs);
    let from = |address: &str| {
        let mut peer = serving.peer();
        let family = if address.contains(':') {
            "TCP6"
        } else {
            "TCP4"
        };
        peer.send(format!("PROXY {family} {address} {address} 1 2\r\n"));
        peer.send(get("/"));
        let status = peer.answer().status;
        (peer, status)
    };
    for (one, same, other) in [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
    ] {
        let kept = [from(one), from(same), from(other)];
        assert_eq!([200; 3], kept.each_ref().map(|(_, status)| *status));
        assert_eq!(from(one).1, 503);
        drop(kept);
        serving.wait_until(|s| s.connections_open == 0);
        assert_eq!(from(one).1, 200);
        serving.wait_until(|s| s.connections_open == 0);
    }
    // What the proxy asks for itself is nobody's share.
    let own: Vec<Peer> = (0..4)
        .map(|_| {
            let mut peer = serving.peer();
            peer.send("PROXY UNKNOWN\r\n").send(get("/"));
            assert_eq!(peer.answer().status, 200);
            peer
        })
        .collect();
    drop(own);
    assert_eq!(serving.handle.statistics().connections_refused, 2);
}

#[test]
fn counts_hold_between_threads() {
    let admission = Arc::new(Admission::new(Some(8), Some(4)));
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let admission = &admission;
            scope.spawn(move || {
                for round in 0..2_000u32 {
                    let Ok(mut ticket) = admission.enter() else {
                        continue;
                    };
                    let address = [10, 0, 0, (round as u8 ^ thread) & 1];
                    let _ = ticket.enter_address(Some(SocketAddr::from((address, 1))));
                    assert!(admission.connections() <= 8 + 4);
                }
            });
        }
    });
    assert_eq!(admission.connections(), 0);
    // Nothing of the addresses is left either.
    let mut tickets: Vec<_> = (0..4).map(|_| admission.enter().unwrap()).collect();
    for ticket in &mut tickets {
        let peer = SocketAddr::from(([10, 0, 0, 1], 1));
        ticket.enter_address(Some(peer)).unwrap();
    }
}

// ---- limits on requests ----------------------------------------------------------------------

#[test]
fn requests_beyond_those_in_flight_are_shed() {
    let serving = serving(|server| server.requests_in_flight_max(1));
    let mut busy = serving.peer();
    busy.send(get("/wait"));
    serving.wait_until(|s| s.requests_in_flight == 1);
    let mut peer = serving.peer();
    for _ in 0..2 {
        let answer = peer.send(get("/later")).answer();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.field("retry-after"), Some("1"));
        assert_eq!(answer.field("connection"), None, "it may ask again");
        assert!(answer.text().contains("requests"), "{}", answer.text());
        // A synchronous handler is always served.
        assert_eq!(peer.send(get("/")).answer().status, 200);
    }
    // A body that is not read is dealt with as always.
    let post = request("POST /wait", &["Content-Length: 5"], "12345");
    assert_eq!(peer.send(post).answer().status, 503);
    busy.close_writing();
    assert_eq!(busy.answer().text(), "gone");
    serving.wait_until(|s| s.requests_in_flight == 0);
    assert_eq!(peer.send(get("/later")).answer().status, 200);
    assert_eq!(serving.handle.statistics().requests_shed, 3);
}

/// One after the other is one at a time, pipelined or not.
#[test]
fn a_connection_does_not_shed_its_own() {
    let serving = serving(|server| server.requests_in_flight_max(1));
    let mut peer = serving.peer();
    peer.send(get("/later").repeat(20));
    for _ in 0..20 {
        assert_eq!(peer.answer().status, 200);
    }
    assert_eq!(serving.handle.statistics().requests_shed, 0);
}

#[test]
fn a_connection_has_so_many_requests() {
    let serving = serving(|server| server.requests_per_connection_max(3));
    for pipelined in [false, true] {
        let mut peer = serving.peer();
        if pipelined {
            peer.send(get("/").repeat(5));
        }
        for left in [2, 1, 0] {
            if !pipelined {
                peer.send(get("/"));
            }
            let answer = peer.answer();
            let expected = (left == 0).then_some("close");
            assert_eq!(answer.field("connection"), expected, "{left} left");
        }
        assert!(peer.is_closed());
    }
    assert_eq!(serving.handle.statistics().connections_retired, 2);
}

/// One line of many values is one field; one field too many is told, to who still sends too.
#[test]
fn fields_are_counted_by_line() {
    let serving = serving(|server| server.header_count_max(15).head_bytes_max(20_000));
    let fields = |count: usize| -> Vec<String> { (1..count).map(|i| format!("X{i}: a")).collect() };
    let ask = |fields: &[String]| {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        serving.ask(&request("GET /", &fields, "")).status
    };
    assert_eq!(ask(&fields(15)), 200);
    assert_eq!(ask(&fields(16)), 431);
    assert_eq!(ask(&[format!("X: {}", "a,".repeat(16))]), 200);
    // Too long: the answer arrives although most of the head was never read.
    let mut peer = serving.peer();
    peer.send(request(
        "GET /",
        &[&format!("X: {}", "a".repeat(100_000))],
        "",
    ));
    let answer = peer.answer();
    assert_eq!(answer.status, 431);
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(peer.is_closed());
}

// ---- PROXY headers ---------------------------------------------------------------------------

const V1: &str = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family, (rest.len() >> 8) as u8, rest.len() as u8]);
    header.extend_from_slice(rest);
    header
}

/// TCP4 as in [`V1`], with a value behind it.
fn v2_tcp4() -> Vec<u8> {
    let rest = [
        192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb, 0x04, 0, 1, 7,
    ];
    v2(0x21, 0x11, &rest)
}

const ANNOUNCED: &str = "Some(192.0.2.1:56324) Some(198.51.100.1:443)";

#[test]
fn announced_addresses_are_the_requests() {
    let log = Log::default();
    let own_log = log.clone();
    let (tell, told) = mpsc::channel();
    let mut serving = serving(move |server| {
        server
            .proxy_protocol(["127.0.0.0/8"])
            .unwrap()
            .access_log(own_log)
            .on_connection_state(move |event| tell.send(event.peer).unwrap_or_default())
    });
    for header in [V1.as_bytes().to_vec(), v2_tcp4()] {
        let message = [&header[..], get("/addresses").as_bytes()].concat();
        // Whole, in two at every place, and byte by byte: the kernel may join what comes apart, so
        // each piece waits a little for the one before to be read.
        let ask = |pieces: &[&[u8]]| {
            let mut peer = serving.peer();
            for piece in pieces {
                peer.send(piece);
            }
            assert_eq!(peer.answer().text(), ANNOUNCED);
            assert_eq!(peer.send(get("/later")).answer().text(), ANNOUNCED);
        };
        ask(&[&message]);
        for at in 1..message.len() {
            let (head, tail) = message.split_at(at);
            ask(&[head, tail]);
        }
        ask(&message.chunks(1).collect::<Vec<_>>());
    }
    let peers: Vec<_> = told.try_iter().collect();
    let expected = Some("192.0.2.1:56324".parse().unwrap());
    assert!(peers.len() > 100 && peers.iter().all(|peer| *peer == expected));
    serving.stop().unwrap();
    let log = log.text();
    assert!(log.lines().count() > 100);
    assert!(
        log.lines().all(|line| line.starts_with("192.0.2.1")),
        "{log}"
    );
}

/// On a socket for both families a client of IPv4 has an IPv4 address, wherever it is shown or counted.
#[test]
fn both_families_are_served() {
    let log = Log::default();
    let writer = log.clone();
    let server = Server::new(router())
        .bind(":0")
        .unwrap()
        .connections_per_address_max(1)
        .access_log(writer);
    let at = server.local_addr().unwrap();
    let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), at.port());
    assert!(at.is_ipv6() && at.ip().is_unspecified(), "{at}");
    let mut serving = Serving::with(server, |server| server);
    for ip in ["127.0.0.1", "::1"] {
        let mut first = Peer::to(address(ip));
        let text = first.send(get("/addresses")).answer().text().to_owned();
        let shown = match ip.contains(':') {
            true => format!("Some([{ip}]:"),
            false => format!("Some({ip}:"),
        };
        assert!(text.starts_with(&shown), "{text}");
        assert!(text.ends_with(&format!("Some({})", address(ip))), "{text}");
        // Each of them has its one place.
        assert_eq!(Peer::to(address(ip)).send(get("/")).answer().status, 503);
    }
    serving.stop().unwrap();
    let log = log.text();
    for ip in ["127.0.0.1 ", "::1 "] {
        assert!(log.lines().any(|line| line.starts_with(ip)), "{log}");
    }
    assert!(!log.contains("ffff"), "{log}");

    // A peer of IPv4 that may announce addresses, and makes one family of two.
    let server = Server::new(router()).bind(":0").unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], server.local_addr().unwrap().port()));
    let _serving = Serving::with(server, |server| {
        server.proxy_protocol(["127.0.0.1"]).unwrap()
    });
    let mut peer = Peer::to(at);
    peer.send("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.8 1 2\r\n");
    let answer = peer.send(get("/addresses")).answer();
    assert_eq!(answer.text(), "Some(192.0.2.7:1) Some(192.0.2.8:2)");
}

#[test]
fn who_announces_nothing_has_its_own_address() {
    let serving = serving(|server| server.proxy_protocol(["127.0.0.1"]).unwrap());
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ::1 ::1 1 2\r\n".to_vec(),
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &[9; 50]),
        v2(0x21, 0x00, &[1, 2, 3]),
    ] {
        // Values behind an unknown family are checked: these three bytes are none.
        let is_cut = header.ends_with(&[1, 2, 3]);
        let mut peer = serving.peer();
        let own = peer.stream.local_addr().unwrap();
        peer.send(&header).send(get("/addresses"));
        if is_cut {
            assert!(peer.is_closed());
            continue;
        }
        let expected = format!("Some({own}) Some({})", serving.address);
        assert_eq!(peer.answer().text(), expected);
    }
    let mut peer = serving.peer();
    peer.send(v2(0x21, 0x31, &[0; 216])).send(get("/addresses"));
    assert_eq!(peer.answer().text(), "None None", "a Unix socket");
}

#[test]
fn malformed_headers_close_without_an_answer() {
    let (tell, told) = mpsc::channel();
    let serving = serving(move |server| {
        server
            .header_timeout(Duration::from_millis(200))
            .proxy_protocol(["127.0.0.1"])
            .unwrap()
            .on_protocol_error(move |error| {
                let fact = (error.kind, error.rule.to_owned(), error.status);
                let bytes = error.received.to_vec();
                tell.send((fact, bytes)).unwrap();
            })
    });
    let bad_family = v2(0x21, 0x12, &[0; 12]);
    let cases: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "required"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 x\r\n", "65535"),
        (&bad_family, "datagrams"),
        // Too slow, and cut.
        (b"PROXY TCP4 1.2", "in time"),
        (b"", "in time"),
    ];
    for (bytes, word) in cases {
        let mut peer = serving.peer();
        peer.send(bytes);
        assert!(peer.is_closed());
        let ((kind, rule, status), received) = told.recv().unwrap();
        assert_eq!(kind, ProtocolErrorKind::ProxyHeader);
        assert_eq!(status, None);
        assert!(rule.contains(word), "{rule}");
        assert_eq!(received, bytes);
    }
    let mut peer = serving.peer();
    peer.send("PROXY ").close_writing();
    assert!(peer.is_closed());
    assert!(told.recv().unwrap().0.1.contains("cut"));
    // A probe that connects and goes breaks no rule.
    serving.peer().close_writing();
    serving.wait_until(|s| s.connections_accepted == 7 && s.connections_open == 0);
    assert!(told.try_recv().is_err());
    let statistics = serving.handle.statistics();
    assert_eq!(statistics.connections_refused, 6);
    assert_eq!(statistics.header_timeouts, 2);
    assert_eq!(statistics.requests, 0);
}

/// A bad request behind a good header is answered as ever, and its connection ends as ever.
#[test]
fn what_follows_a_header_is_http() {
    let serving = serving(|server| server.proxy_protocol(["127.0.0.1"]).unwrap());
    let mut peer = serving.peer();
    peer.send(format!("{V1}GET / HTTP/1.1\r\n\r\n"));
    assert_eq!(peer.answer().status, 400);
    assert!(peer.is_closed());
    // A second header is no request.
    let mut peer = serving.peer();
    peer.send(format!("{V1}{V1}{}", get("/")));
    assert_eq!(peer.answer().status, 400);
    // Two requests in the piece of the header.
    let mut peer = serving.peer();
    peer.send(format!("{V1}{}{}", get("/"), get("/addresses")));
    assert_eq!(peer.answer().text(), "hello");
    assert_eq!(peer.answer().text(), ANNOUNCED);
    drop(peer);
    serving.wait_until(|s| s.connections_open == 0);
    assert_eq!(serving.handle.statistics().connections_accepted, 3);
}

#[test]
fn other_peers_are_closed_or_plain() {
    let strict = serving(|server| server.proxy_protocol(["192.0.2.0/24"]).unwrap());
    let mut peer = strict.peer();
    // Whatever it sends, it is closed; a send may fail by then.
    let _ = peer.stream.write_all(V1.as_bytes());
    assert!(peer.is_closed());
    strict.wait_until(|s| s.connections_open == 0 && s.connections_accepted == 1);
    assert_eq!(strict.handle.statistics().connections_refused, 1);
    let plain = serving(|server| {
        let server = server.plain_from_other_peers();
        server.proxy_protocol(["192.0.2.0/24"]).unwrap()
    });
    assert_eq!(plain.ask(&get("/")).text(), "hello");
    let mut peer = plain.peer();
    peer.send(V1).send(get("/"));
    assert_eq!(peer.answer().status, 400, "no guessing");
    assert!(
        Server::new(router())
            .proxy_protocol(["10.0.0.1/8"])
            .is_err()
    );
}

#[test]
fn unix_peers_may_announce_too() {
    let path = std::env::temp_dir().join(format!("roundtrip-proxy-{}", std::process::id()));
    let _serving = serving(|server| {
        let server = server.bind_unix(&path).unwrap();
        server.proxy_protocol(["unix"]).unwrap()
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    let close = request("GET /addresses", &["Connection: close"], "");
    stream.write_all(format!("{V1}{close}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with(ANNOUNCED), "{text}");
}

// ---- hooks -----------------------------------------------------------------------------------

fn states(knobs: impl FnOnce(Server) -> Server) -> (Serving, mpsc::Receiver<ConnectionEvent>) {
    let (tell, told) = mpsc::channel();
    let serving = serving(move |server| {
        let server = server.on_connection_state(move |event| tell.send(*event).unwrap_or_default());
        knobs(server)
    });
    (serving, told)
}

/// The events of one connection, up to its end.
fn life_of(told: &mpsc::Receiver<ConnectionEvent>) -> (Vec<ConnectionState>, ConnectionEvent) {
    let mut life = Vec::new();
    loop {
        let event = told.recv_timeout(Duration::from_secs(10)).unwrap();
        life.push(event.state);
        if let ConnectionState::Closed(_) = event.state {
            return (life, event);
        }
    }
}

#[test]
fn the_life_of_connections_is_told() {
    use ConnectionState::Active;
    use ConnectionState::Closed;
    use ConnectionState::Idle;
    use ConnectionState::New;
    let (serving, told) = states(|server| server);
    let get = get("/");
    let mut numbers = Vec::new();
    let mut check = |expected: &[ConnectionState], requests: u64| {
        let (life, last) = life_of(&told);
        assert_eq!(life, expected);
        assert_eq!(last.requests, requests);
        assert!(last.peer.is_some() && last.local == Some(serving.address));
        numbers.push(last.connection);
    };
    drop(serving.peer());
    check(&[New, Closed(CloseReason::PeerClosed)], 0);
    let mut peer = serving.peer();
    for _ in 0..2 {
        peer.send(&get).answer();
    }
    drop(peer);
    let closed = Closed(CloseReason::PeerClosed);
    check(&[New, Active, Idle, Active, Idle, closed], 2);
    let mut peer = serving.peer();
    peer.send(&get[..10]);
    peer.send(&get[10..]).answer();
    peer.send(request("GET /", &["Connection: close"], ""));
    peer.answer();
    assert!(peer.is_closed());
    let closed = Closed(CloseReason::PeerAsked);
    check(&[New, Active, Idle, Active, closed], 2);
    serving.peer().send("nonsense\r\n\r\n").answer();
    check(&[New, Active, Closed(CloseReason::BadMessage)], 0);
    serving.peer().send(server_support::get("/panic")).answer();
    check(&[New, Active, Closed(CloseReason::HandlerFailed)], 1);
    // Pipelined: one spell of activity.
    let mut peer = serving.peer();
    peer.send(get.repeat(3));
    (0..3).for_each(|_| drop(peer.answer()));
    drop(peer);
    check(&[New, Active, Idle, Closed(CloseReason::PeerClosed)], 3);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 6, "each has its own number");
}

#[test]
fn ends_have_their_reasons() {
    let short = Duration::from_millis(200);
    let (serving, told) = states(|server| server.idle_timeout(short).header_timeout(short));
    let mut peer = serving.peer();
    peer.send(get("/")).answer();
    assert_eq!(
        life_of(&told).1.state,
        ConnectionState::Closed(CloseReason::Timeout)
    );
    assert_eq!(serving.handle.statistics().idle_timeouts, 1);
    let _silent = serving.peer();
    assert_eq!(
        life_of(&told).1.state,
        ConnectionState::Closed(CloseReason::Timeout)
    );
    assert_eq!(serving.handle.statistics().header_timeouts, 1);
    let (mut serving, told) = states(|server| server.requests_per_connection_max(1));
    serving.peer().send(get("/")).answer();
    let reason = CloseReason::RequestCount;
    assert_eq!(life_of(&told).1.state, ConnectionState::Closed(reason));
    let mut peer = serving.peer();
    peer.send(get("/wait"));
    serving.wait_until(|s| s.requests_in_flight == 1);
    let old = told.try_iter().count();
    assert_eq!(old, 2);
    drop(peer);
    assert_eq!(life_of(&told).1.requests, 1);
    let _new = serving.peer();
    serving.wait_until(|s| s.connections_open == 1);
    serving.stop().unwrap();
    assert_eq!(
        life_of(&told).1.state,
        ConnectionState::Closed(CloseReason::Shutdown)
    );
}

#[test]
fn faults_of_peers_are_told() {
    let (tell, told) = mpsc::channel();
    let serving = serving(move |server| {
        server
            .header_timeout(Duration::from_millis(200))
            .body_timeout(Duration::from_millis(200))
            .write_timeout(Duration::from_millis(200))
            .body_bytes_max(10)
            .connections_max(1)
            .on_protocol_error(move |error| {
                assert!(error.peer.is_some() && error.local.is_some());
                let status = error.status.map(|status| status.as_u16());
                let fact = (error.kind, status, error.rule.to_owned());
                tell.send((fact, error.received.to_vec())).unwrap();
            })
    });
    let check = |bytes: &str, kind, status: Option<u16>, received: &str| {
        serving.wait_until(|s| s.connections_open == 0);
        let mut peer = serving.peer();
        peer.send(bytes);
        assert_eq!(Some(peer.answer().status), status);
        let ((told_kind, told_status, rule), bytes) = told.recv().unwrap();
        assert_eq!((told_kind, told_status), (kind, status), "{rule}");
        assert_eq!(String::from_utf8_lossy(&bytes), received);
        assert!(!rule.is_empty());
    };
    let bad = "GET / HTTP/1.1\r\nHost : a\r\n\r\n";
    check(bad, ProtocolErrorKind::Request, Some(400), bad);
    let version = "GET / HTTP/3.0\r\n\r\n";
    check(version, ProtocolErrorKind::Request, Some(505), version);
    let large = request("POST /wait", &["Content-Length: 11"], "");
    check(&large, ProtocolErrorKind::Request, Some(413), "");
    check("GET / HT", ProtocolErrorKind::Timeout, Some(408), "");
    let fields = ["Connection: upgrade", "Upgrade: echo", "Content-Length: 5"];
    let upgrade = request("GET /upgrade", &fields, "");
    check(&upgrade, ProtocolErrorKind::Request, Some(400), "");
    // One connection too many.
    serving.wait_until(|s| s.connections_open == 0);
    let mut first = serving.peer();
    first.send(get("/")).answer();
    assert_eq!(serving.ask(&get("/")).status, 503);
    let ((kind, status, rule), _) = told.recv().unwrap();
    assert_eq!(
        (kind, status),
        (ProtocolErrorKind::Limit, Some(503)),
        "{rule}"
    );
}

/// A connection that changes its protocol is the same one: in its place, its address, its end.
#[test]
fn an_upgraded_connection_is_still_told_and_counted() {
    let (serving, told) = states(|server| {
        let server = server.proxy_protocol(["127.0.0.1"]).unwrap();
        server.connections_max(1).requests_in_flight_max(1)
    });
    let mut peer = serving.peer();
    let fields = ["Connection: upgrade", "Upgrade: echo"];
    let upgrade = request("GET /upgrade", &fields, "and more");
    peer.send(format!("{V1}{upgrade}"));
    assert_eq!(peer.answer().status, 101);
    serving.wait_until(|s| s.requests_in_flight == 0);
    assert_eq!(serving.ask(&get("/")).status, 503, "it has its place");
    peer.close_writing();
    let rest = String::from_utf8(peer.rest()).unwrap();
    assert_eq!(rest, "Some(192.0.2.1:56324)and more");
    let (life, last) = life_of(&told);
    let closed = ConnectionState::Closed(CloseReason::Upgraded);
    let (new, active) = (ConnectionState::New, ConnectionState::Active);
    assert_eq!(life, [new, active, ConnectionState::Upgraded, closed]);
    assert_eq!(last.peer, Some("192.0.2.1:56324".parse().unwrap()));
    let mut next = serving.peer();
    next.send(format!("{V1}{}", get("/")));
    assert_eq!(next.answer().status, 200, "its place is free");
}

/// Its address is not known any more, as that of a client on a Unix socket never is, and what it
/// sent is there to be read.
#[test]
fn who_reset_its_connection_is_no_unix_socket() {
    static SERVED: AtomicUsize = AtomicUsize::new(0);
    let router = Router::new().get("/", |_: &Request| {
        SERVED.fetch_add(1, Ordering::SeqCst);
        "served"
    });
    let serving = Serving::with(Server::new(router), |server| {
        let server = server.proxy_protocol(["unix"]).unwrap();
        let mut stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        write!(stream, "{V1}{}", get("/")).unwrap();
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
        server
    });
    serving.wait_until(|s| s.connections_accepted == 1 && s.connections_open == 0);
    assert_eq!(SERVED.load(Ordering::SeqCst), 0);
}

#[test]
fn a_hook_that_panics_harms_nobody() {
    let serving = serving(|server| {
        server
            .on_connection_state(|_| std::panic::resume_unwind(Box::new(())))
            .on_protocol_error(|_| std::panic::resume_unwind(Box::new(())))
    });
    let mut peer = serving.peer();
    for _ in 0..3 {
        assert_eq!(peer.send(get("/")).answer().status, 200);
    }
    assert_eq!(peer.send("nonsense\r\n\r\n").answer().status, 400);
    assert!(peer.is_closed());
    serving.wait_until(|s| s.connections_open == 0);
    // New, three times Active and Idle, Active, the fault, Closed.
    assert_eq!(serving.handle.statistics().panics, 10);
    assert_eq!(serving.ask(&get("/")).status, 200);
}

// ---- slow readers ----------------------------------------------------------------------------

/// The kernel tells of room for more only when a third of its send buffer is free, which takes a
/// reader of a stream of sound minutes. What it has acknowledged is progress all the same.
#[test]
fn a_reader_that_is_slow_and_steady_is_not_cut() {
    let router = Router::new().get("/big", |_: &Request| vec![b'x'; 32 << 20]);
    let serving = Serving::with(Server::new(router), |server| {
        server.write_timeout(Duration::from_secs(1))
    });
    let mut peer = serving.peer();
    // A reader acknowledges when half of its buffer is free: each piece or two, in time to be seen.
    nix::sys::socket::setsockopt(&peer.stream, nix::sys::socket::sockopt::RcvBuf, &16_384).unwrap();
    peer.send(get("/big"));
    let mut piece = vec![0; 16 * 1024];
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(50));
        peer.stream.read_exact(&mut piece).unwrap();
        assert_eq!(serving.handle.statistics().connections_open, 1);
    }
    // One that does not read at all is.
    serving.wait_until(|s| s.connections_open == 0);
    assert_eq!(serving.handle.statistics().write_timeouts, 1);
}
