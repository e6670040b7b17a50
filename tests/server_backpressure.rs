//! Large bodies take no memory: a reader that stops holds its response back, and a handler that does
//! not read holds its upload back.
//!
//! Nothing here looks at the clock: while one side stands still, other requests go through the same
//! worker, which thus has had every chance to run ahead.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;
use roundtrip::Body;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::runtime;

mod holding;
mod server_support;

use server_support::Peer;
use server_support::Serving;
use server_support::get;
use server_support::request;

/// What the kernel's socket buffers of both sides hold at most, and ours: nobody runs ahead further.
const AHEAD_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// What the process may hold beside what it holds at rest, on both sides together.
const HELD_BYTES_MAX: usize = 3 * 1024 * 1024;
const CHUNK_BYTES: usize = 64 * 1024;

static MADE: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
static MAY_READ: AtomicBool = AtomicBool::new(false);

/// The tests count for the whole process: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn router() -> Router {
    Router::new()
        .get("/ping", |_: &Request| "pong")
        .get("/make/{bytes}", async |request: Request| {
            let length: u64 = request.param("bytes").parse().unwrap();
            let body = Body::produce(async move |sender| {
                let mut left = length;
                while left > 0 {
                    // Made anew each time, as somebody would who reads it from somewhere.
                    let len = left.min(CHUNK_BYTES as u64);
                    sender.send(Bytes::from(vec![b'x'; len as usize])).await?;
                    MADE.fetch_add(len, Ordering::SeqCst);
                    left -= len;
                }
                Ok(())
            });
            Response::new().body(body)
        })
        .post("/take", async |request: Request| {
            let mut body = request.into_body();
            let mut taken = 0;
            while let Some(chunk) = body.chunk().await {
                taken += chunk?.len() as u64;
                TAKEN.store(taken, Ordering::SeqCst);
                while !MAY_READ.load(Ordering::SeqCst) {
                    runtime::yield_now().await;
                }
            }
            Ok::<_, roundtrip::Error>(taken.to_string())
        })
}

/// Lets the worker turn.
fn ping(peer: &mut Peer) {
    for _ in 0..100 {
        assert_eq!(peer.send(get("/ping")).answer().text(), "pong");
    }
}

/// Reads a response of so many bytes, and stops on the way. Peak of the memory held.
fn read_slowly(bytes: u64) -> usize {
    let serving = Serving::start(router());
    let (mut other, mut stream) = (serving.peer(), TcpStream::connect(serving.address).unwrap());
    ping(&mut other);
    MADE.store(0, Ordering::SeqCst);
    let base = holding::begin();
    // It would grow to 32 MiB where the kernel's limit is that.
    setsockopt(&stream, sockopt::RcvBuf, &(1 << 20)).unwrap();
    let line = format!("GET /make/{bytes}");
    let asked = request(&line, &["Connection: close"], "");
    stream.write_all(asked.as_bytes()).unwrap();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut read = 0;
    let mut stops = 0;
    // Framing adds a little.
    let mut next_stop = 0;
    loop {
        if read >= next_stop {
            next_stop = read + bytes / 4;
            stops += 1;
            ping(&mut other);
            let ahead = MADE.load(Ordering::SeqCst).saturating_sub(read);
            assert!(ahead <= AHEAD_BYTES_MAX, "{ahead} bytes ahead of who reads");
        }
        let len = stream.read(&mut buffer).unwrap();
        if len == 0 {
            break;
        }
        read += len as u64;
    }
    assert!(read > bytes, "the response ended early");
    assert!(stops >= 4);
    assert_eq!(MADE.load(Ordering::SeqCst), bytes);
    holding::peak() - base
}

/// Sends a body of so many bytes to a handler that does not read at first. Peak of the memory held.
fn take_slowly(bytes: u64) -> usize {
    let serving = Serving::start(router());
    let (mut other, mut peer) = (serving.peer(), serving.peer());
    ping(&mut other);
    MAY_READ.store(false, Ordering::SeqCst);
    TAKEN.store(0, Ordering::SeqCst);
    let base = holding::begin();
    let sent = AtomicU64::new(0);
    let mut stream = peer.stream.try_clone().unwrap();
    stream.set_write_timeout(None).unwrap();
    std::thread::scope(|scope| {
        let sent = &sent;
        scope.spawn(move || {
            let head = format!("POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let chunk = vec![b'x'; CHUNK_BYTES];
            let mut left = bytes;
            while left > 0 {
                let len = left.min(CHUNK_BYTES as u64);
                stream.write_all(&chunk[..len as usize]).unwrap();
                sent.fetch_add(len, Ordering::SeqCst);
                left -= len;
            }
        });
        while TAKEN.load(Ordering::SeqCst) == 0 {
            ping(&mut other);
        }
        // Until the sender gets no further.
        let mut before = u64::MAX;
        while before != sent.load(Ordering::SeqCst) {
            before = sent.load(Ordering::SeqCst);
            ping(&mut other);
        }
        assert!(before <= AHEAD_BYTES_MAX, "{before} bytes sent to nobody");
        MAY_READ.store(true, Ordering::SeqCst);
    });
    assert_eq!(peer.answer().text(), bytes.to_string());
    holding::peak() - base
}

#[test]
fn a_slow_reader_of_a_large_response_takes_no_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let held = read_slowly(256 * 1024 * 1024);
    assert!(held <= HELD_BYTES_MAX, "{held} bytes held");
}

#[test]
fn a_slow_handler_of_a_large_upload_takes_no_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let held = take_slowly(256 * 1024 * 1024);
    assert!(held <= HELD_BYTES_MAX, "{held} bytes held");
}

/// `cargo test --release --test server_backpressure -- --ignored --nocapture`
#[test]
#[ignore = "takes a while, and says how long"]
fn ten_gibibytes_both_ways() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    const BYTES: u64 = 10 * 1024 * 1024 * 1024;
    for (name, run) in [
        ("response", read_slowly as fn(u64) -> usize),
        ("upload", take_slowly),
    ] {
        let started = Instant::now();
        let held = run(BYTES);
        let took = started.elapsed();
        println!("{name}: {BYTES} bytes in {took:?}, {held} bytes held at most");
        assert!(held <= HELD_BYTES_MAX, "{held} bytes held");
    }
}
