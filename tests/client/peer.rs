//! Scripted peers, and how tests wait.

use std::collections::HashMap;
use std::future::Future;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roundtrip::Error;
use roundtrip::Result;
use roundtrip::runtime;

/// No test takes as long as this.
pub const LONG: Duration = Duration::from_secs(20);

/// Runs a test's future on a core of its own, no longer than [`LONG`].
#[track_caller]
pub fn run<T>(future: impl Future<Output = Result<T>>) -> T {
    let bounded = async { runtime::timeout(LONG, future).await? };
    runtime::block_on::<T, Error>(bounded).unwrap()
}

/// Waits until `check` is true, in turns of the core.
pub async fn until(what: &str, check: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if check() {
            return;
        }
        runtime::sleep(Duration::from_millis(5)).await;
    }
    panic!("not seen in time: {what}");
}

/// A server on a port of its own; each connection is served by a thread.
pub struct Peer {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

/// A request as a peer reads it.
pub struct Seen {
    pub line: String,
    pub fields: HashMap<String, String>,
    pub body: Vec<u8>,
    /// What stands behind a body in chunks.
    pub trailers: String,
    /// Which connection it came on, and which request of it.
    pub connection: usize,
    pub index: usize,
}

impl Peer {
    /// Serves connection after connection with `serve(number of the connection, socket)`.
    pub fn start(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Peer {
        Peer::start_on("127.0.0.1:0", serve)
    }

    /// As [`Peer::start`], on another address than that of this machine alone.
    pub fn start_on(
        address: &str,
        serve: impl Fn(usize, TcpStream) + Send + Sync + 'static,
    ) -> Peer {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let peer = Peer {
            address,
            accepted: Arc::clone(&accepted),
            ended: Arc::clone(&ended),
        };
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(socket) = socket else { return };
                socket.set_read_timeout(Some(LONG)).unwrap();
                socket.set_write_timeout(Some(LONG)).unwrap();
                socket.set_nodelay(true).unwrap();
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                let (serve, ended) = (Arc::clone(&serve), Arc::clone(&ended));
                std::thread::spawn(move || {
                    serve(number, socket);
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        peer
    }

    /// Answers each request with the bytes that `answer` returns, until the client closes or an
    /// answer is empty.
    pub fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Peer {
        Peer::start(move |connection, mut socket| {
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let mut index = 0;
            while let Some(seen) = read_request(&mut reader, connection, index) {
                let bytes = answer(&seen);
                if bytes.is_empty() || socket.write_all(&bytes).is_err() {
                    return;
                }
                index += 1;
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of this peer.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Connections that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Connections that the peer is done with.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

/// A response with a length.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads one request with its body; `None` when the client has closed.
pub fn read_request(reader: &mut impl BufRead, connection: usize, index: usize) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let fields: HashMap<String, String> = lines[1..]
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        })
        .collect();
    let mut trailers = String::new();
    let body = if let Some(length) = fields.get("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
        body
    } else if fields.contains_key("transfer-encoding") {
        read_chunks(reader, &mut trailers)?
    } else {
        Vec::new()
    };
    Some(Seen {
        line: lines[0].clone(),
        fields,
        body,
        trailers,
        connection,
        index,
    })
}

fn read_chunks(reader: &mut impl BufRead, trailers: &mut String) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        if length == 0 {
            while !matches!(reader.read_line(trailers), Ok(2) | Err(_)) {}
            trailers.truncate(trailers.trim_end().len());
            return Some(body);
        }
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..length]);
    }
}

/// Closes with a reset instead of an end.
pub fn reset(socket: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}

/// Bytes that differ at every place.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}
