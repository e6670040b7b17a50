//! Connections that go on with another protocol, over real sockets and from raw clients: 101, and
//! the tunnel of a CONNECT.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::net::TcpStream;
use roundtrip::runtime;
use roundtrip::server::upgrade::Duplex;

mod server_support;

use server_support::Peer;
use server_support::Serving;
use server_support::get;
use server_support::request;

static DROPPED: AtomicUsize = AtomicUsize::new(0);
static CLOSING: AtomicBool = AtomicBool::new(false);

struct CountDrop;

impl Drop for CountDrop {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

async fn echo(mut duplex: Duplex) -> roundtrip::Result<()> {
    while let Some(bytes) = duplex.read().await? {
        duplex.write(bytes).await?;
    }
    duplex.write("bye").await
}

/// Both directions at once, by tasks of their own.
async fn copy(client: Duplex, server: TcpStream) -> roundtrip::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let to_server = server.clone();
    let up = runtime::spawn(async move {
        while let Some(bytes) = from_client.read().await? {
            to_server.write_all(bytes).await?;
        }
        to_server.shutdown_write();
        Ok::<_, roundtrip::Error>(())
    });
    loop {
        let (read, buffer) = server.read(BytesMut::with_capacity(16 * 1024)).await;
        if read? == 0 {
            break;
        }
        to_client.write(buffer.freeze()).await?;
    }
    to_client.shutdown();
    up.await?
}

async fn connect(request: Request) -> roundtrip::Result<Response> {
    let (host, port) = request
        .host()
        .and_then(|host| host.rsplit_once(':'))
        .unwrap();
    let server = TcpStream::connect(host, port.parse().unwrap()).await?;
    Ok(Response::tunnel(async move |client| {
        copy(client, server).await
    }))
}

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/echo", |_: &Request| Response::upgrade("echo", echo))
        .get("/rest", |_: &Request| {
            Response::upgrade("echo", async |mut duplex: Duplex| {
                let _count = CountDrop;
                duplex.write("unread").await?;
                std::future::pending::<roundtrip::Result<()>>().await
            })
        })
        .get("/pending", |_: &Request| {
            Response::upgrade("echo", async |_duplex: Duplex| {
                std::future::pending::<()>().await;
            })
        })
        .get("/closing", |_: &Request| {
            Response::upgrade("echo", async |mut duplex: Duplex| {
                duplex.closing().await;
                CLOSING.store(true, Ordering::SeqCst);
                duplex.write("going").await
            })
        })
        .get("/first", |_: &Request| {
            Response::upgrade("echo", async |mut duplex: Duplex| {
                duplex.write("first").await?;
                duplex.shutdown();
                let mut all = Vec::new();
                while let Some(bytes) = duplex.read().await? {
                    all.extend_from_slice(&bytes);
                }
                assert_eq!(all, b"second");
                Ok::<_, roundtrip::Error>(())
            })
        })
        .get("/spawned", |_: &Request| {
            Response::upgrade("echo", async |duplex: Duplex| {
                // It goes on when the closure has ended.
                runtime::spawn(echo(duplex));
            })
        })
        .connect(connect)
}

fn upgrade(path: &str) -> String {
    let fields = ["Connection: Upgrade", "Upgrade: echo"];
    request(&format!("GET {path}"), &fields, "")
}

fn read_exact(peer: &mut Peer, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    peer.stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_go_both_ways_from_the_first_behind_the_request() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    // A request before it, and bytes behind it, in one segment.
    peer.send(get("/") + &upgrade("/echo") + "one");
    assert_eq!(peer.answer().text(), "hello");
    let answer = peer.answer();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("upgrade"), Some("echo"));
    assert_eq!(answer.field("connection"), Some("upgrade"));
    assert_eq!(answer.field("content-length"), None);
    peer.send("two").close_writing();
    assert_eq!(peer.rest(), b"onetwobye");
    let statistics = serving.handle.statistics();
    assert_eq!(statistics.connections_upgraded, 1);
    assert_eq!(statistics.requests, 2);
}

#[test]
fn much_goes_through_with_the_halves_elsewhere() {
    const BYTES: usize = 8 * 1024 * 1024;
    let serving = Serving::start(router());
    for path in ["/echo", "/spawned"] {
        let mut peer = serving.peer();
        assert_eq!(peer.send(upgrade(path)).answer().status, 101);
        let mut stream = peer.stream.try_clone().unwrap();
        let sent: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
        let theirs = sent.clone();
        let writer = std::thread::spawn(move || {
            stream.write_all(&theirs).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut expected = sent;
        expected.extend_from_slice(b"bye");
        assert!(peer.rest() == expected, "{path}");
        writer.join().unwrap();
    }
}

#[test]
fn either_side_may_end_first() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    assert_eq!(peer.send(upgrade("/first")).answer().status, 101);
    assert_eq!(peer.rest(), b"first");
    peer.send("second").close_writing();
    // The server has read it: otherwise its closure would have panicked.
    while serving.handle.statistics().connections_open > 0 {
        std::thread::yield_now();
    }
    assert_eq!(serving.handle.statistics().panics, 0);
}

#[test]
fn who_goes_away_takes_the_protocol_along() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    peer.send(upgrade("/rest"));
    // The answer has arrived, and what is not read of it makes the close a reset.
    read_exact(&mut peer, 20);
    while serving.handle.statistics().connections_upgraded == 0 {
        std::thread::yield_now();
    }
    drop(peer);
    while serving.handle.statistics().connections_open > 0 {
        std::thread::yield_now();
    }
    assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
}

#[test]
fn a_shutdown_tells_them_and_ends_them_at_its_deadline() {
    let server = Server::new(router()).shutdown_timeout(Duration::from_millis(300));
    let mut serving = Serving::with(server, |server| {
        server.shutdown_timeout(Duration::from_millis(300))
    });
    let mut told = serving.peer();
    assert_eq!(told.send(upgrade("/closing")).answer().status, 101);
    let mut deaf = serving.peer();
    assert_eq!(deaf.send(upgrade("/echo")).answer().status, 101);
    serving.stop().unwrap();
    assert!(CLOSING.load(Ordering::SeqCst));
    assert_eq!(told.rest(), b"going");
    // Aborted: it gets no farewell.
    assert_eq!(deaf.rest(), b"");
}

#[test]
fn a_client_that_did_not_ask_is_told_how_and_goes_on() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let answer = peer.send(get("/echo")).answer();
    assert_eq!(answer.status, 426);
    assert_eq!(answer.field("upgrade"), Some("echo"));
    assert_eq!(answer.field("connection"), Some("upgrade"));
    assert!(answer.text().contains("Connection: upgrade"));
    // Whoever ignores the offer answers in HTTP (RFC 9110 §7.8).
    let fields = ["Connection: Upgrade", "Upgrade: h2c"];
    let ignored = peer.send(request("GET /", &fields, "")).answer();
    assert_eq!((ignored.status, ignored.text()), (200, "hello"));
}

#[test]
fn a_tunnel_leads_where_connect_says() {
    let other = Serving::start(Router::new().get("/{$}", |_: &Request| "behind the tunnel"));
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let head = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", other.address);
    // The first request is on its way before the tunnel is there.
    peer.send(head + &get("/"));
    let start = read_until_blank(&mut peer);
    assert!(start.starts_with("HTTP/1.1 200 OK\r\n"), "{start}");
    for field in ["Content-Length", "Transfer-Encoding", "Connection"] {
        assert!(!start.contains(field), "{start}");
    }
    assert_eq!(peer.answer().text(), "behind the tunnel");
    peer.send(request("GET /", &["Connection: close"], ""));
    assert_eq!(peer.answer().text(), "behind the tunnel");
    assert!(peer.is_closed());
}

/// The head of a response to CONNECT, which has no body whatever it says.
fn read_until_blank(peer: &mut Peer) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read_exact(peer, 1));
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_tunnel_is_at_no_path() {
    let serving = Serving::start(router());
    let answer = serving.ask(&get("/none"));
    assert_eq!((answer.status, answer.field("allow")), (404, None));
    let answer = serving.ask(&request("POST /", &[], ""));
    assert_eq!(
        (answer.status, answer.field("allow")),
        (405, Some("GET, HEAD"))
    );
}

#[test]
fn a_tunnel_that_cannot_be_made_is_a_502_and_the_end() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    // Nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    peer.send(format!(
        "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"
    ));
    let answer = peer.answer();
    assert_eq!(answer.status, 502);
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(peer.is_closed());
}

#[test]
fn an_upgraded_connection_that_breaks_is_an_error_of_the_other_side() {
    let serving = Serving::with(Server::new(router()), |server| {
        server.shutdown_timeout(Duration::from_millis(200))
    });
    let mut peer = serving.peer();
    assert_eq!(peer.send(upgrade("/pending")).answer().status, 101);
    drop(serving);
    // The closure has read nothing, and the server is gone.
    let end = peer.stream.read_exact(&mut [0; 1]).unwrap_err().kind();
    let ends = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
    assert!(ends.contains(&end), "{end:?}");
}
