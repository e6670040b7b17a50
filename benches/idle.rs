//! What idle connections cost: memory per connection, and the latency of others beside them.
//!
//! ```text
//!   this process ── 9,000 keep-alive connections, one request each ──► the same program, as a server
//!              └─── 1,000 requests on one connection: alone, beside them, alone again
//! ```
//! `cargo bench --bench idle [-- COUNT]`. One worker, in a process of its own, so that its resident
//! memory is the server's alone. What the kernel keeps for a connection is not counted. Both
//! processes run on one processor.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Request;
use roundtrip::Router;
use roundtrip::Server;

const CONNECTIONS: usize = 9_000;
const REQUESTS: usize = 1_000;
const ROUNDS: usize = 3;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let first = arguments.next();
    if first.as_deref() == Some("--serve") {
        return serve().map_err(std::io::Error::from);
    }
    let count = first
        .and_then(|count| count.parse().ok())
        .unwrap_or(CONNECTIONS);
    roundtrip::internals::raise_soft_limits();
    // The server inherits it: waking another processor costs ten times a request, and whether it
    // happens would be the scheduler's mood.
    if let Some(processor) = roundtrip::internals::affinity().first() {
        roundtrip::internals::pin_to(*processor);
    }
    println!(
        "| round | idle | resident before | with them | bytes each | p50 / p99 alone | beside them | alone again |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for round in 1..=ROUNDS {
        measure(round, count)?;
    }
    Ok(())
}

fn serve() -> roundtrip::Result<()> {
    let router = Router::new().get("/", |_: &Request| "Hello, World!");
    let server = Server::new(router).bind("127.0.0.1:0")?.workers(1);
    for address in server.addresses() {
        println!("{address}");
    }
    server.run()
}

/// A server of its own; ended with the value.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start() -> std::io::Result<Served> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut address)?;
        Ok(Served {
            child,
            address: address.trim().to_owned(),
        })
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// Resident bytes of the server (proc(5), VmRSS).
    fn resident_bytes(&self) -> std::io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kibibytes.unwrap_or(0) * 1024)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure(round: usize, count: usize) -> std::io::Result<()> {
    let served = Served::start()?;
    let mut busy = served.connect()?;
    let mut warm: Vec<TcpStream> = (0..20)
        .map(|_| served.connect())
        .collect::<Result<_, _>>()?;
    for stream in &mut warm {
        request(stream)?;
    }
    latencies(&mut busy)?;
    let before = served.resident_bytes()?;
    let alone = latencies(&mut busy)?;
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = served.connect()?;
        request(&mut stream)?;
        idle.push(stream);
    }
    let after = served.resident_bytes()?;
    let beside = latencies(&mut busy)?;
    drop(idle);
    std::thread::sleep(Duration::from_millis(500));
    let again = latencies(&mut busy)?;
    println!(
        "| {round} | {count} | {:.1} MiB | {:.1} MiB | {} | {} | {} | {} |",
        before as f64 / 1048576.0,
        after as f64 / 1048576.0,
        after.saturating_sub(before) / count as u64,
        show(&alone),
        show(&beside),
        show(&again),
    );
    Ok(())
}

fn latencies(stream: &mut TcpStream) -> std::io::Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begin = Instant::now();
        request(stream)?;
        latencies.push(begin.elapsed());
    }
    latencies.sort_unstable();
    Ok(latencies)
}

fn show(latencies: &[Duration]) -> String {
    let at = |percent: usize| latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)];
    format!("{} / {} µs", at(50).as_micros(), at(99).as_micros())
}

/// One request and the whole of its answer, which fits one read or few.
fn request(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(REQUEST)?;
    let mut answer = [0; 512];
    let mut len = 0;
    while !answer[..len].ends_with(b"Hello, World!") {
        let read = stream.read(&mut answer[len..])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        len += read;
    }
    Ok(())
}
