//! Connections without sockets: bytes in, bytes out.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use futures_core::Stream;

use std::io;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::http::body::Body;
use crate::http::incoming::Sender;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::limits::BODY_RECV_BYTES;
use crate::limits::REQUESTS_PER_TURN;
use crate::net::Io;
use crate::net::Protocol;
use crate::net::Receive;
use crate::net::Received;
use crate::net::Segment;
use crate::net::Step;
use crate::runtime::Instant;
use crate::server::h1::H1Connection;
use crate::server::options::Options;
use crate::server::router::Router;
use crate::server::worker::Worker;

mod framing;
mod hostile;
mod special;
mod times;
mod upgrades;

const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// A connection and what the network side of it would do.
struct Bench {
    connection: H1Connection,
    io: Io,
    sent: Vec<u8>,
    end: Option<&'static str>,
    /// What took the connection over.
    successor: Option<Box<dyn Protocol>>,
}

thread_local! {
    static STARTED: Cell<usize> = const { Cell::new(0) };
    static RELEASED: Cell<bool> = const { Cell::new(false) };
    static WAITING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    static DROPPED: Cell<usize> = const { Cell::new(0) };
    /// The end of a body that its test never finishes.
    static HELD: Cell<Option<Sender>> = const { Cell::new(None) };
}

struct CountDrop;

impl Drop for CountDrop {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
    }
}

/// Waits until the test releases it.
async fn released() {
    poll_fn(|cx| {
        if RELEASED.get() {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| waiting.push(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}

fn release() {
    RELEASED.set(true);
    WAITING.take().into_iter().for_each(Waker::wake);
}

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/big", |_: &Request| vec![b'x'; 100_000])
        .get("/none", |_: &Request| StatusCode::NO_CONTENT)
        .get("/close", |_: &Request| {
            Response::new().header("Connection", "close")
        })
        .get("/bad", |_: &Request| Response::new().header("a b", "c"))
        .get("/early", |_: &Request| StatusCode::EARLY_HINTS)
        .get("/panic", |_: &Request| -> &'static str {
            panic!("a handler that fails")
        })
        .get("/panic-async", async |_: Request| -> &'static str {
            panic!("a handler that fails")
        })
        .any("/ignore", |_: &Request| "ignored")
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
        .post("/length", async |r: Request| {
            let body = r.into_body().bytes().await?;
            Ok::<_, Error>(body.len().to_string())
        })
        .any("/wait", async |_: Request| {
            let _count = CountDrop;
            STARTED.set(STARTED.get() + 1);
            released().await;
            "waited"
        })
        .any("/gone", async |r: Request| {
            r.disconnected().await;
            "gone"
        })
        .get("/stream", async |_: Request| {
            Response::new().body(stream(&["ab", "cde"]))
        })
        .get("/broken", async |_: Request| {
            let (mut sender, body) = Body::incoming(None);
            sender.push(Bytes::from_static(b"ab"));
            sender.fail(Error::new(ErrorKind::Io, "broken"));
            Response::new().body(body)
        })
        .get("/short", async |_: Request| {
            let (mut sender, body) = Body::incoming(Some(5));
            sender.push(Bytes::from_static(b"ab"));
            sender.finish(None);
            Response::new().body(body)
        })
        .get("/long", async |_: Request| {
            let (mut sender, body) = Body::incoming(Some(1));
            sender.push(Bytes::from_static(b"ab"));
            HELD.set(Some(sender));
            Response::new().body(body)
        })
}

/// A stream that has all its chunks at once.
struct Chunks(VecDeque<&'static str>);

impl Stream for Chunks {
    type Item = crate::error::Result<&'static [u8]>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(chunk.as_bytes())))
    }
}

fn stream(chunks: &[&'static str]) -> Body {
    Body::stream(Chunks(chunks.iter().copied().collect()))
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Options::default())
    }

    fn with(options: Options) -> Bench {
        RELEASED.set(false);
        let worker = Rc::new(Worker::new(router(), options, None));
        let mut io = Io::detached(Instant::from_nanoseconds(1), 784_111_777);
        let connection = H1Connection::accept(worker, &mut io);
        Bench {
            connection,
            io,
            sent: Vec::new(),
            end: None,
            successor: None,
        }
    }

    /// With the routes of a test.
    fn routed(router: Router, options: Options) -> Bench {
        let mut bench = Bench::with(options);
        let worker = Rc::new(Worker::new(router, options, None));
        bench.connection = H1Connection::accept(worker, &mut bench.io);
        bench
    }

    fn call(&mut self, event: impl FnOnce(&mut dyn Protocol, &mut Io) -> Step) {
        let step = match &mut self.successor {
            Some(successor) => event(&mut **successor, &mut self.io),
            None => event(&mut self.connection, &mut self.io),
        };
        self.step(step);
        self.flush();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Continue => {}
            Step::CloseAfterFlush => self.end = Some("close"),
            Step::Abort => self.end = Some("abort"),
            Step::EndOutput => self.sent.extend_from_slice(b"<end>"),
            Step::Become(successor, leftover) => {
                self.flush();
                self.successor = Some(successor);
                match leftover.is_empty() {
                    true => self.call(|protocol, io| protocol.on_ready(io)),
                    false => self
                        .call(|protocol, io| protocol.on_recv(io, Received::Borrowed(&leftover))),
                }
            }
        }
    }

    /// The kernel takes all output.
    fn flush(&mut self) {
        while let Some(segment) = self.io.output.pop() {
            match segment {
                Segment::Memory(piece) => {
                    self.io.note_taken(piece.rest().len() as u64);
                    self.sent.extend_from_slice(piece.rest());
                }
                Segment::File { .. } => panic!("no files here"),
            }
        }
    }

    fn recv(&mut self, bytes: &[u8]) -> &mut Bench {
        self.call(|protocol, io| protocol.on_recv(io, Received::Borrowed(bytes)));
        self
    }

    fn recv_owned(&mut self, bytes: &[u8]) -> &mut Bench {
        let owned = Received::Owned(BytesMut::from(bytes));
        self.call(|protocol, io| protocol.on_recv(io, owned));
        self
    }

    fn ready(&mut self) -> &mut Bench {
        self.call(|protocol, io| protocol.on_ready(io));
        self
    }

    fn eof(&mut self) -> &mut Bench {
        self.call(|protocol, io| protocol.on_eof(io));
        self
    }

    fn call_closed(&mut self) {
        let reset = Some(io::Error::from(io::ErrorKind::ConnectionReset));
        match &mut self.successor {
            Some(successor) => successor.on_closed(&self.io, reset),
            None => self.connection.on_closed(&self.io, reset),
        }
    }

    /// Lets time pass until the deadline, once, and the connection send.
    fn advance_to_deadline(&mut self) -> Duration {
        let passed = self.advance_unflushed();
        self.flush();
        passed
    }

    /// Lets time pass until the deadline, once.
    fn advance_unflushed(&mut self) -> Duration {
        let start = self.io.now();
        let deadline = self.io.deadline().expect("something is waited for");
        self.io.set_now(deadline, 784_111_777);
        self.io.set_deadline(None);
        let step = self.connection.on_deadline(&mut self.io);
        self.step(step);
        self.io.now().since(start)
    }

    /// Lets time pass until the deadline, as often as it is set again.
    fn expire(&mut self) -> Duration {
        let start = self.io.now();
        while self.end.is_none()
            && let Some(deadline) = self.io.deadline()
        {
            self.io.set_now(deadline, 784_111_777);
            self.io.set_deadline(None);
            let step = self.connection.on_deadline(&mut self.io);
            self.step(step);
        }
        self.flush();
        self.io.now().since(start)
    }

    /// What was sent, without `Date` lines.
    fn text(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.sent))
            .unwrap()
            .replace(DATE, "")
    }

    fn worker(&self) -> &Worker {
        &self.connection.worker
    }

    fn statistics(&self) -> crate::server::statistics::Statistics {
        let mut sum = Default::default();
        self.worker().counters.add_to(&mut sum);
        sum
    }
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Feeds the input whole, byte by byte, and cut at every place; the answer is always the same.
fn check(input: &str, expected: &str, end: Option<&str>) {
    check_routed(router, input, expected, end);
}

/// As `check`, with other routes.
fn check_routed(routes: fn() -> Router, input: &str, expected: &str, end: Option<&str>) {
    let bytes = input.as_bytes();
    let mut ways: Vec<Vec<&[u8]>> = vec![vec![bytes], bytes.chunks(1).collect()];
    for at in 1..bytes.len() {
        ways.push(vec![&bytes[..at], &bytes[at..]]);
    }
    for way in ways {
        let mut bench = Bench::routed(routes(), Options::default());
        for piece in &way {
            if bench.end.is_none() {
                bench.recv(piece);
                // Whatever our own wakers would have caused.
                bench.ready();
            }
        }
        assert_eq!(bench.text(), expected, "{input:?} in {} pieces", way.len());
        assert_eq!(bench.end, end, "{input:?} in {} pieces", way.len());
    }
}

fn check_status(input: &str, status: u16) {
    let mut bench = Bench::new();
    bench.recv(input.as_bytes());
    let text = bench.text();
    assert!(
        text.starts_with(&format!("HTTP/1.1 {status} ")),
        "{input:?}: {text}"
    );
    assert!(text.contains("Connection: close\r\n"), "{input:?}: {text}");
    assert_eq!(bench.end, Some("close"), "{input:?}");
    assert_eq!(text.matches("HTTP/1.1").count(), 1, "{input:?}: {text}");
}

#[test]
fn is_small() {
    let bytes = size_of::<H1Connection>();
    assert!(bytes <= 184, "{bytes}");
}

#[test]
fn answers_and_stays() {
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &ok("hello"), None);
    check(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &ok("hello").repeat(2),
        None,
    );
    check(
        "\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        None,
    );
    check(
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        None,
    );
    check(
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &format!("{}{}", &ok("hello")[..ok("hello").len() - 5], ok("hello")),
        None,
    );
}

#[test]
fn closes_when_it_should() {
    let closed = ok("hello").replace("Content-Length", "Connection: close\r\nContent-Length");
    check("GET / HTTP/1.0\r\n\r\n", &closed, Some("close"));
    check(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n",
        &closed,
        Some("close"),
    );
    let kept = closed.replace("close", "keep-alive");
    check(
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        &kept,
        None,
    );
    check(
        "GET /close HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        Some("close"),
    );
}

#[test]
fn refuses_by_status() {
    let many = "a: b\r\n".repeat(200);
    let table = [
        ("nonsense\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\nHost: a\n\n".into(), 400),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        (
            post("Content-Length: 1\r\nTransfer-Encoding: chunked", ""),
            400,
        ),
        (post("Content-Length: +1", ""), 400),
        (post("Transfer-Encoding: gzip", ""), 400),
        (post("Transfer-Encoding: gzip, chunked", ""), 501),
        (post("Expect: tea", ""), 417),
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(20_000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\na: {}", "b".repeat(70_000)),
            431,
        ),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(), 505),
    ];
    for (input, status) in table {
        check_status(&input, status);
    }
}

#[test]
fn a_refused_head_request_gets_no_body() {
    let long = "b".repeat(70_000);
    let table = [
        ("HEAD / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("\r\nHEAD / HTTP/1.1\r\nHost: a\r\nb\n".to_owned(), 400),
        (head_request("Content-Length: x"), 400),
        (head_request("Transfer-Encoding: gzip, chunked"), 501),
        (head_request("Content-Length: 9"), 413),
        (head_request("Expect: tea"), 417),
        (head_request(&format!("a: {long}")), 431),
    ];
    for (input, status) in table {
        for chunk in [usize::MAX, 7] {
            let mut bench = Bench::with(Options {
                body_bytes_max: Some(8),
                ..Options::default()
            });
            for piece in input.as_bytes().chunks(chunk) {
                if bench.end.is_none() {
                    bench.recv(piece);
                }
            }
            check_refused_head(&mut bench, status);
        }
    }
    let mut bench = Bench::new();
    bench.recv(b"HEAD / HT");
    bench.expire();
    check_refused_head(&mut bench, 408);
}

fn head_request(field: &str) -> String {
    format!("HEAD /ignore HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")
}

fn check_refused_head(bench: &mut Bench, status: u16) {
    let text = bench.text();
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    assert!(text.contains("\r\nContent-Length: "), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "{status}: {text}");
    assert_eq!(bench.end, Some("close"));
}

fn post(fields: &str, body: &str) -> String {
    let fields = if fields.is_empty() {
        String::new()
    } else {
        format!("{fields}\r\n")
    };
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

#[test]
fn echoes_bodies() {
    check(
        &post("Content-Length: 5", "abcde"),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        None,
    );
    check(
        &post("", ""),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        None,
    );
    let two = format!(
        "{}GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        post("Content-Length: 5", "abcde").replace("/echo", "/length")
    );
    check(&two, &format!("{}{}", ok("5"), ok("hello")), None);
    let chunked = post("Transfer-Encoding: chunked", "5\r\nabcde\r\n0\r\n\r\n");
    let expected = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    let (first, second) = chunked.split_at(chunked.len() - 5);
    let mut bench = Bench::new();
    bench.recv(first.as_bytes()).ready();
    bench.recv_owned(second.as_bytes()).ready();
    assert_eq!(bench.text(), expected);
    // All of it at once: its length is known when the head is written.
    let known = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde";
    let mut bench = Bench::new();
    bench.recv_owned(chunked.as_bytes()).ready();
    assert_eq!(bench.text(), known);
    check(&chunked.replace("/echo", "/length"), &ok("5"), None);
}

#[test]
fn a_body_that_nobody_reads_is_drained() {
    let head = "POST /ignore HTTP/1.1\r\nHost: a\r\n";
    let next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let input = format!("{head}Content-Length: 5\r\n\r\nabcde{next}");
    check(&input, &format!("{}{}", ok("ignored"), ok("hello")), None);

    let mut bench = Bench::new();
    bench.recv(format!("{head}Content-Length: 300000\r\n\r\nabc").as_bytes());
    assert!(bench.text().contains("Connection: close"));
    assert_eq!(bench.end, Some("close"));

    let mut bench = Bench::new();
    bench.recv(format!("{head}Transfer-Encoding: chunked\r\n\r\nfffff\r\n").as_bytes());
    assert_eq!(bench.text(), ok("ignored"));
    for _ in 0..65 {
        assert_eq!(bench.end, None);
        bench.recv(&[b'x'; 4_000]);
    }
    bench.recv(&[b'x'; 4_000]);
    assert_eq!(bench.end, Some("close"));
}

#[test]
fn continue_comes_when_the_body_is_wanted() {
    let mut bench = Bench::new();
    let fields = "Content-Length: 3\r\nExpect: 100-continue";
    bench.recv(post(fields, "").replace("/echo", "/length").as_bytes());
    assert_eq!(bench.text(), "HTTP/1.1 100 Continue\r\n\r\n");
    bench.recv(b"abc");
    assert_eq!(bench.text(), ok("3"));

    // A response made of the body asks for it before its head.
    let mut bench = Bench::new();
    bench.recv(post(fields, "").as_bytes());
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(bench.text(), format!("HTTP/1.1 100 Continue\r\n\r\n{head}"));
    bench.recv(b"abc");
    assert_eq!(bench.text(), "abc");
    assert_eq!(bench.end, None);

    // Who does not read the body does not ask for it.
    let mut bench = Bench::new();
    bench.recv(post(fields, "").replace("/echo", "/ignore").as_bytes());
    let text = bench.text();
    assert!(
        text.starts_with("HTTP/1.1 200") && text.contains("Connection: close"),
        "{text}"
    );
    assert_eq!(bench.end, Some("close"));

    // Who sends the body at once needs no sign.
    let input = post(fields, "abc").replace("/echo", "/length");
    let mut bench = Bench::new();
    bench.recv(input.as_bytes());
    assert_eq!(bench.text(), ok("3"));
}

#[test]
fn bytes_behind_a_handler_wait() {
    let mut bench = Bench::new();
    bench.recv(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGE");
    assert_eq!(bench.text(), "");
    assert_eq!(bench.io.receive(), Receive::Standing);
    bench.recv(&[b'x'; 70_000]);
    assert_eq!(bench.io.receive(), Receive::Paused);
    release();
    bench.ready();
    assert_eq!(bench.text().matches("HTTP/1.1 200 OK").count(), 2);
    assert_eq!(bench.end, Some("close"));
}

#[test]
fn a_turn_has_a_budget() {
    let mut bench = Bench::new();
    bench.recv("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100).as_bytes());
    assert_eq!(bench.text().matches("hello").count(), REQUESTS_PER_TURN);
    bench.ready();
    assert_eq!(
        bench.text().matches("hello").count(),
        100 - REQUESTS_PER_TURN
    );
    assert_eq!(bench.connection.behind.capacity(), 0);
}

#[test]
fn full_output_holds_back_requests() {
    let mut bench = Bench::new();
    let requests = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10);
    let step = bench
        .connection
        .on_recv(&mut bench.io, Received::Borrowed(requests.as_bytes()));
    bench.step(step);
    assert!(bench.io.is_full());
    assert!(bench.io.pending_bytes() < 400_000);
    for _ in 0..4 {
        bench.flush();
        let step = bench.connection.on_sent(&mut bench.io);
        bench.step(step);
    }
    bench.flush();
    assert_eq!(bench.text().matches("HTTP/1.1 200 OK").count(), 10);
}

#[test]
fn a_large_body_is_received_as_it_is_read() {
    let mut bench = Bench::new();
    bench.recv(post("Content-Length: 1000000", "").as_bytes());
    bench.ready();
    assert_eq!(bench.io.receive(), Receive::Body(BODY_RECV_BYTES));
    // The peer does not read: what comes fills the output, then nothing more is wanted.
    let mut taken = 0;
    while let Receive::Body(bytes) = bench.io.receive() {
        let piece = Received::Owned(BytesMut::from(
            &vec![b'x'; bytes.min(1_000_000 - taken)][..],
        ));
        taken += piece.as_slice().len();
        let step = bench.connection.on_recv(&mut bench.io, piece);
        bench.step(step);
    }
    assert!(taken < 500_000, "{taken}");
    assert_eq!(bench.io.receive(), Receive::Paused);
    while taken < 1_000_000 {
        bench.flush();
        let step = bench.connection.on_sent(&mut bench.io);
        bench.step(step);
        let piece = vec![b'x'; BODY_RECV_BYTES.min(1_000_000 - taken)];
        taken += piece.len();
        bench.recv_owned(&piece).ready();
    }
    let text = bench.text();
    assert!(text.ends_with("xxx"));
    assert_eq!(text.matches('x').count(), 1_000_000);
    assert_eq!(bench.io.receive(), Receive::Once);
}

#[test]
fn streams_are_chunked_or_end_with_the_connection() {
    check(
        "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
        None,
    );
    check(
        "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde",
        Some("close"),
    );
}

#[test]
fn a_broken_response_body_ends_the_connection() {
    let get = |path: &str, version: &str| {
        let mut bench = Bench::new();
        bench.recv(format!("GET /{path} HTTP/{version}\r\nHost: a\r\n\r\n").as_bytes());
        (bench.text(), bench.end)
    };
    let (text, end) = get("broken", "1.1");
    assert!(text.ends_with("\r\n\r\n2\r\nab\r\n"), "{text}");
    assert_eq!(end, Some("close"));
    assert_eq!(get("broken", "1.0").1, Some("abort"));
    assert!(get("short", "1.1").0.ends_with("\r\n\r\nab"));
    assert!(get("long", "1.1").0.ends_with("\r\n\r\n"));
    assert_eq!(get("long", "1.1").1, Some("close"));
}

#[test]
fn what_cannot_be_sent_is_a_500() {
    for path in ["/bad", "/early"] {
        let mut bench = Bench::new();
        bench.recv(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert!(bench.text().starts_with("HTTP/1.1 500 "));
        assert_eq!(bench.statistics().invalid_responses, 1);
        assert_eq!(bench.end, None);
    }
}

#[test]
fn a_panic_costs_the_connection() {
    for path in ["/panic", "/panic-async"] {
        let mut bench = Bench::new();
        bench.recv(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let text = bench.text();
        assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
        assert!(text.contains("Connection: close"), "{text}");
        assert_eq!(bench.end, Some("close"));
        assert_eq!(bench.statistics().panics, 1);
    }
}

#[test]
fn a_half_close_is_legal() {
    let mut bench = Bench::new();
    bench.recv(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n").eof();
    assert_eq!(bench.text(), ok("gone"));
    assert_eq!(bench.end, Some("close"));

    let mut bench = Bench::new();
    bench.recv(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").eof();
    assert_eq!((bench.text().as_str(), bench.end), ("", None));
    release();
    bench.ready();
    assert_eq!(bench.text(), ok("waited"));
    assert_eq!(bench.end, Some("close"));

    for input in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut bench = Bench::new();
        bench.recv(input.as_bytes()).eof();
        assert_eq!(bench.end, Some("close"), "{input:?}");
    }

    let mut bench = Bench::new();
    let input = post("Content-Length: 5", "ab").replace("/echo", "/length");
    bench.recv(input.as_bytes()).eof();
    let text = bench.text();
    assert!(
        text.starts_with("HTTP/1.1 400 ") && text.contains("Connection: close"),
        "{text}"
    );
    assert_eq!(bench.end, Some("close"));
}

#[test]
fn a_reset_drops_the_handler() {
    let mut bench = Bench::new();
    bench.recv(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    let before = DROPPED.get();
    bench.call_closed();
    assert_eq!(DROPPED.get(), before + 1);
    assert_eq!(bench.statistics().connections_open, 0);
}

#[test]
fn a_bad_chunk_reaches_the_handler() {
    let input = post("Transfer-Encoding: chunked", "5\r\nabcdeX").replace("/echo", "/length");
    check_status(&input, 400);
    let input = post("Transfer-Encoding: chunked", "zz").replace("/echo", "/length");
    check_status(&input, 400);
}

#[test]
fn a_body_beyond_the_limit_is_413() {
    let options = Options {
        body_bytes_max: Some(4),
        ..Options::default()
    };
    for (fields, body) in [
        ("Content-Length: 5", ""),
        ("Transfer-Encoding: chunked", "5\r\nabcde\r\n0\r\n\r\n"),
    ] {
        let mut bench = Bench::with(options);
        bench.recv(post(fields, body).replace("/echo", "/length").as_bytes());
        let text = bench.text();
        assert!(text.starts_with("HTTP/1.1 413 "), "{fields}: {text}");
        assert_eq!(bench.end, Some("close"), "{fields}");
    }
    let mut bench = Bench::with(options);
    bench.recv(post("Content-Length: 4", "abcd").as_bytes());
    assert!(bench.text().starts_with("HTTP/1.1 200 "));
}
