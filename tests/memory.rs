//! Memory that was held returns to the system, with its own allocator: a process of its own, since
//! what is looked at is its resident memory.
//!
//! ```text
//!   uploads ─► held by a handler ─► dropped ─► resident memory as before, while connections rest
//! ```

use std::fs;
use std::future::pending;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;

const UPLOADS: usize = 256;
const UPLOAD_BYTES: usize = 512 * 1024;
/// What may stay: caches of the allocator, of us, and of the threads.
const LEFT_BYTES: usize = 16 << 20;
/// How long the memory may take to return; it is looked at until then.
const RETURN_TIMEOUT: Duration = Duration::from_secs(60);

/// Resident bytes of this process (proc_pid_statm(5)).
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

type Held = Arc<Mutex<Vec<Bytes>>>;

fn router(held: &Held) -> Router {
    let (collects, streams, frees) = (held.clone(), held.clone(), held.clone());
    Router::new()
        .post("/collected", async move |request: Request| {
            let bytes = request.into_body().collect(UPLOAD_BYTES).await?;
            collects.lock().unwrap().push(bytes);
            Ok::<_, roundtrip::Error>("held")
        })
        .post("/chunks", async move |request: Request| {
            let mut body = request.into_body();
            while let Some(chunk) = body.chunk().await {
                streams.lock().unwrap().push(chunk?);
            }
            Ok::<_, roundtrip::Error>("held")
        })
        .get("/free", move |_: &Request| {
            frees.lock().unwrap().clear();
            "free"
        })
}

fn exchange(stream: &mut TcpStream, head: &str, body: &[u8]) {
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    reader.read_exact(&mut [0; 4]).unwrap();
}

fn upload(address: SocketAddr, path: &str) -> Vec<TcpStream> {
    let body = vec![b'x'; UPLOAD_BYTES];
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {UPLOAD_BYTES}\r\n\r\n");
    (0..UPLOADS)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            exchange(&mut stream, &head, &body);
            stream
        })
        .collect()
}

#[test]
fn what_uploads_took_returns() {
    let held = Held::default();
    let server = Server::new(router(&held))
        .workers(2)
        .bind("127.0.0.1:0")
        .unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    let serving = thread::spawn(|| -> Result<()> { server.run_until(pending()) });
    let mut free = TcpStream::connect(address).unwrap();
    exchange(&mut free, "GET /free HTTP/1.1\r\nHost: a\r\n\r\n", b"");
    for path in ["/collected", "/chunks", "/chunks"] {
        let before = resident();
        // The connections rest: what they hold lies between what the uploads took.
        let streams = upload(address, path);
        let with = resident();
        assert!(with > before + UPLOADS * UPLOAD_BYTES / 2, "{path}: held");
        exchange(&mut free, "GET /free HTTP/1.1\r\nHost: a\r\n\r\n", b"");
        let began = Instant::now();
        while resident() > before + LEFT_BYTES {
            let (kib, now) = (before / 1024, resident() / 1024);
            let waits = began.elapsed() < RETURN_TIMEOUT;
            assert!(waits, "{path}: {kib} KiB before, {now} KiB are kept");
            thread::sleep(Duration::from_millis(10));
        }
        drop(streams);
    }
    handle.shutdown();
    serving.join().unwrap().unwrap();
}
