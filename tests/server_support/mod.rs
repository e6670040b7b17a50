//! A server on a free port, and raw conversations with it.
//!
//! ```text
//!   Serving::start(router, knobs) ─ thread: Server::run_until ─► drop: shutdown, join
//!   Peer::to(&serving) ─ write bytes ─► read one response at a time
//! ```
#![allow(dead_code)] // Each test file uses its own part.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Router;
use roundtrip::Server;
use roundtrip::server::ServerHandle;
use roundtrip::server::Statistics;

/// A server that runs until this is dropped.
pub struct Serving {
    pub address: SocketAddr,
    pub handle: ServerHandle,
    thread: Option<JoinHandle<roundtrip::Result<()>>>,
}

impl Serving {
    pub fn start(router: Router) -> Serving {
        Serving::with(Server::new(router), |server| server)
    }

    /// With knobs turned. One worker, unless they say otherwise.
    pub fn with(server: Server, knobs: impl FnOnce(Server) -> Server) -> Serving {
        let server = server
            .bind("127.0.0.1:0")
            .unwrap()
            .workers(1)
            .shutdown_timeout(Duration::from_secs(3));
        let server = knobs(server);
        let handle = server.handle();
        let address = server.local_addr().unwrap();
        let thread = std::thread::spawn(|| server.run_until(std::future::pending()));
        Serving {
            address,
            handle,
            thread: Some(thread),
        }
    }

    /// Ends the server, and hands out how it ended.
    pub fn stop(&mut self) -> roundtrip::Result<()> {
        self.handle.shutdown();
        self.thread.take().map_or(Ok(()), |t| t.join().unwrap())
    }

    pub fn peer(&self) -> Peer {
        Peer::to(self.address)
    }

    /// Waits until what the server counts is so.
    pub fn wait_until(&self, is_so: impl Fn(&Statistics) -> bool) {
        let started = Instant::now();
        while !is_so(&self.handle.statistics()) {
            let statistics = self.handle.statistics();
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{statistics:?}"
            );
            std::thread::yield_now();
        }
    }

    /// Sends a request on a connection of its own.
    pub fn ask(&self, request: &str) -> Answer {
        self.peer().send(request).answer()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let result = self.stop();
        if !std::thread::panicking() {
            result.unwrap();
        }
    }
}

/// A raw connection.
pub struct Peer {
    pub stream: TcpStream,
    /// Received and not read yet.
    buffer: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Peer {
    pub fn to(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Peer {
            stream,
            buffer: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Peer {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    pub fn close_writing(&mut self) -> &mut Peer {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// The next response, to anything but HEAD.
    pub fn answer(&mut self) -> Answer {
        self.answer_to(false)
    }

    /// The next response to HEAD.
    pub fn answer_to_head(&mut self) -> Answer {
        self.answer_to(true)
    }

    fn answer_to(&mut self, is_head: bool) -> Answer {
        let end = self.read_until(b"\r\n\r\n");
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
        };
        if is_head || status < 200 || status == 204 || status == 304 {
            return answer;
        }
        if let Some(length) = answer.field("content-length") {
            let length = length.parse().unwrap();
            while self.buffer.len() < length {
                assert!(self.fill() > 0, "the body ended early");
            }
            answer.body = self.buffer.drain(..length).collect();
        } else if answer.field("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                answer.body.extend(chunk);
            }
        } else {
            answer.body = self.rest();
        }
        answer
    }

    /// The next chunk; `None` for the last.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = self.read_until(b"\r\n");
        let line = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        while self.buffer.len() < length + 2 {
            assert!(self.fill() > 0, "the chunk ended early");
        }
        let mut chunk: Vec<u8> = self.buffer.drain(..length + 2).collect();
        chunk.truncate(length);
        (length > 0).then_some(chunk)
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// What there is, at least one byte.
    pub fn some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            assert!(self.fill() > 0, "the connection ended");
        }
        std::mem::take(&mut self.buffer)
    }

    /// True when the server has closed and sent nothing more. A reset counts as closed.
    pub fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    fn read_until(&mut self, mark: &[u8]) -> usize {
        loop {
            let found = self.buffer.windows(mark.len()).position(|w| w == mark);
            if let Some(at) = found {
                return at + mark.len();
            }
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.fill() > 0, "the connection ended in {text:?}");
        }
    }

    fn fill(&mut self) -> usize {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(len) => {
                self.buffer.extend_from_slice(&piece[..len]);
                len
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Answer {
    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head.lines().skip(1).filter_map(move |line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// `METHOD PATH` with the fields that are given.
pub fn request(line: &str, fields: &[&str], body: &str) -> String {
    let mut text = format!("{line} HTTP/1.1\r\nHost: a\r\n");
    for field in fields {
        text += field;
        text += "\r\n";
    }
    text + "\r\n" + body
}

pub fn get(path: &str) -> String {
    request(&format!("GET {path}"), &[], "")
}

/// Memory that a server writes its access log to and the test reads; clones are the same.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// What was written up to now.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
