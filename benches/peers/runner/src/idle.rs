//! Memory of idle connections, and what they cost the others.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use crate::load::WORKLOADS;
use crate::server::Server;
use crate::server::Spec;

/// Idle keep-alive connections; descriptor limits allow about that.
const CONNECTIONS: usize = 9_000;
/// Open before memory is read the first time, so that start-up costs do not count.
const FIRST: usize = 20;
/// Requests timed with and without the idle ones.
const TIMED: usize = 1_000;

pub struct Idle {
    pub bytes_per_connection: f64,
    pub before_bytes: u64,
    pub p99_alone_micros: f64,
    pub p99_beside_micros: f64,
    pub alive: usize,
}

pub fn measure(spec: &'static Spec) -> io::Result<Idle> {
    let server = Server::start(spec, &WORKLOADS[0])?;
    let p99_alone_micros = p99(&server)?;
    let mut open = Vec::with_capacity(CONNECTIONS);
    connect(&server, FIRST, &mut open)?;
    let before_bytes = server.resident_bytes();
    connect(&server, CONNECTIONS - FIRST, &mut open)?;
    std::thread::sleep(Duration::from_millis(500));
    let after_bytes = server.resident_bytes();
    let p99_beside_micros = p99(&server)?;
    let sample = open.iter_mut().step_by(90);
    let alive = sample.filter_map(|stream| request(stream).ok()).count();
    let grown = after_bytes.saturating_sub(before_bytes) as f64;
    Ok(Idle {
        bytes_per_connection: grown / (CONNECTIONS - FIRST) as f64,
        before_bytes,
        p99_alone_micros,
        p99_beside_micros,
        alive,
    })
}

/// Opens connections, each with one request answered.
fn connect(server: &Server, count: usize, open: &mut Vec<TcpStream>) -> io::Result<()> {
    for _ in 0..count {
        let mut stream = TcpStream::connect(&server.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        request(&mut stream)?;
        open.push(stream);
    }
    Ok(())
}

fn p99(server: &Server) -> io::Result<f64> {
    let mut one = Vec::new();
    connect(server, 1, &mut one)?;
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let start = Instant::now();
        request(&mut one[0])?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[TIMED * 99 / 100].as_secs_f64() * 1e6)
}

/// One request; the answer ends with the known body.
fn request(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = [0; 1024];
    let mut length = 0;
    while !answer[..length].ends_with(b"Hello, World!") {
        let got = stream.read(&mut answer[length..])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += got;
    }
    Ok(())
}
