//! What a request costs from received bytes to bytes to be sent, without a kernel: the connection's
//! protocol, the exchange, the router, the handler, the response.
//!
//! ```text
//!   bytes ──► Connection::on_recv ──► router ──► handler ──► Io::output ──► dropped
//! ```

use std::rc::Rc;

use bytes::Bytes;
use divan::AllocProfiler;
use divan::Bencher;
use divan::black_box;
use divan::counter::ItemsCount;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::net::Io;
use roundtrip::net::Protocol;
use roundtrip::net::Received;
use roundtrip::net::Step;
use roundtrip::runtime::Instant;
use roundtrip::server::access_log::AccessLog;
use roundtrip::server::h1::H1Connection;
use roundtrip::server::options::Options;
use roundtrip::server::worker::Worker;

/// Shows what allocates; in steady state a synchronous handler does not.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// What wrk sends.
const HELLO: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// What a browser sends, about 500 bytes.
const BROWSER: &str = "GET /users/7?tab=posts HTTP/1.1\r\nHost: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\nReferer: http://www.example.com/users\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\nUpgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nPriority: u=0, i\r\n\r\n";

/// Requests in one piece of the pipelined case.
const PIPELINED: usize = 16;

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "Hello, World!")
        .get("/users/{id}", |r: &Request| r.param("id").len().to_string())
        .get("/later", async |_: Request| "Hello, World!")
        .post("/ignore", |_: &Request| "ignored")
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
}

/// A connection whose output is dropped as if it had been sent.
struct Detached {
    connection: H1Connection,
    io: Io,
    /// Shared bytes that were sent.
    spent: Vec<Bytes>,
}

impl Detached {
    fn new(log: Option<&AccessLog>) -> Detached {
        let log = log.map(AccessLog::for_worker);
        let worker = Rc::new(Worker::new(router(), Options::default(), log));
        let mut io = Io::detached(Instant::from_nanoseconds(1), 784_111_777);
        io.set_addresses(Some(([127, 0, 0, 1], 9).into()), None);
        let connection = H1Connection::accept(worker, &mut io);
        Detached {
            connection,
            io,
            spent: Vec::new(),
        }
    }

    /// One receive, and the send behind it: how many bytes were to be sent.
    fn receive(&mut self, bytes: &[u8]) -> u64 {
        let step = self
            .connection
            .on_recv(&mut self.io, Received::Borrowed(bytes));
        assert!(matches!(step, Step::Continue), "the connection is kept");
        let sent = self.io.output.len();
        self.io.output.clear(&mut self.spent);
        self.io.note_taken(sent);
        if self.io.take_due_taken() {
            self.connection.on_taken(&mut self.io);
        }
        self.spent.clear();
        sent
    }
}

/// Measures one receive after another on one connection.
fn measure(bencher: Bencher<'_, '_>, log: Option<&AccessLog>, text: &str, requests: usize) {
    let mut detached = Detached::new(log);
    assert!(detached.receive(text.as_bytes()) > 0, "it is answered");
    bencher
        .counter(ItemsCount::new(requests))
        .bench_local(|| detached.receive(black_box(text.as_bytes())));
}

fn post(path: &str) -> String {
    let body = "x".repeat(1_000);
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{body}")
}

#[divan::bench]
fn hello(bencher: Bencher<'_, '_>) {
    measure(bencher, None, HELLO, 1);
}

#[divan::bench]
fn hello_asynchronous(bencher: Bencher<'_, '_>) {
    let text = HELLO.replace("GET / ", "GET /later ");
    measure(bencher, None, &text, 1);
}

#[divan::bench]
fn browser_to_a_parameter(bencher: Bencher<'_, '_>) {
    measure(bencher, None, BROWSER, 1);
}

#[divan::bench]
fn pipelined_hellos(bencher: Bencher<'_, '_>) {
    measure(bencher, None, &HELLO.repeat(PIPELINED), PIPELINED);
}

#[divan::bench]
fn body_that_is_ignored(bencher: Bencher<'_, '_>) {
    measure(bencher, None, &post("/ignore"), 1);
}

#[divan::bench]
fn body_that_is_echoed(bencher: Bencher<'_, '_>) {
    measure(bencher, None, &post("/echo"), 1);
}

/// The writer of the log runs beside it and takes all lines.
#[divan::bench]
fn hello_with_access_log(bencher: Bencher<'_, '_>) {
    let log = AccessLog::start(std::io::sink()).expect("a thread for the log");
    measure(bencher, Some(&log), HELLO, 1);
    log.stop();
}

/// From accept to the response: what a connection costs that serves one request.
#[divan::bench]
fn connection_with_one_hello(bencher: Bencher<'_, '_>) {
    let worker = Rc::new(Worker::new(router(), Options::default(), None));
    bencher.bench_local(|| {
        let mut io = Io::detached(Instant::from_nanoseconds(1), 784_111_777);
        let connection = H1Connection::accept(Rc::clone(&worker), &mut io);
        Detached {
            connection,
            io,
            spent: Vec::new(),
        }
        .receive(black_box(HELLO.as_bytes()))
    });
}
