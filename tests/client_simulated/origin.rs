//! A server that follows a script, on the simulated network, and notes all that happens to it.
//!
//! ```text
//!   connection n ─► script(n): Request · Send · Wait · Close … ─► Log: requests, times, ends
//!                      └─ Serve(answer): for each request, the steps that it gets
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use roundtrip::runtime::Instant;
use roundtrip::simulation;
use roundtrip::simulation::Peer;
use roundtrip::simulation::PeerIo;
use roundtrip::simulation::PeerReceived;
use roundtrip::simulation::PeerSent;
use roundtrip::simulation::PeerSocket;

/// Bytes that are received at a time.
const RECEIVE_BYTES: usize = 64 * 1024;

/// A step of a script.
#[derive(Clone)]
pub enum Do {
    /// Waits until so many bytes have come on this connection, of all requests together.
    Bytes(usize),
    /// Waits until so many bytes have come that no step has taken.
    Body(usize),
    /// Takes so many bytes of those away.
    Skip(usize),
    /// Waits until the head of a request is there, and takes it; its body comes with what follows.
    Head,
    /// Waits until all of a request is there, and takes it.
    Request,
    /// Waits for requests, and does for each what this says; then for the next.
    Serve(Answer),
    /// Sends all of this.
    Send(Vec<u8>),
    /// Sends this in pieces of so many bytes, with so much time before each.
    Drip(Vec<u8>, usize, Duration),
    /// Waits.
    Wait(Duration),
    /// Reads nothing from here on: the client's sends fill what lies between.
    Deaf,
    /// Reads again.
    Hear,
    /// Closes in order, unless something is unread.
    Close,
    /// Closes with a reset.
    Reset,
    /// Sends an end, and reads on.
    Shut,
}

/// What each request gets.
type Answer = Rc<dyn Fn(&Asked) -> Vec<Do>>;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// On which connection.
    pub connection: usize,
    /// When all of it was there.
    pub at: Instant,
    /// `GET /path HTTP/1.1`
    pub line: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    /// The path.
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// True when the head has this line, whatever its case.
    pub fn has(&self, field: &str) -> bool {
        let mut lines = self.head.lines();
        lines.any(|line| line.eq_ignore_ascii_case(field))
    }
}

/// What happened to one connection.
#[derive(Clone, Debug)]
pub struct Seen {
    pub opened: Instant,
    pub requests: Vec<Asked>,
    /// Bytes that came, of requests or not.
    pub received: usize,
    /// When the client ended it, and whether with a reset.
    pub ended: Option<(Instant, bool)>,
    /// True when this side has closed.
    pub is_closed: bool,
}

/// What happened to all connections of an origin.
#[derive(Clone, Default)]
pub struct Log(Rc<RefCell<Vec<Seen>>>);

impl Log {
    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.0.borrow().len()
    }

    /// Connections that neither side has ended.
    pub fn open(&self) -> usize {
        let seen = self.0.borrow();
        let open = seen
            .iter()
            .filter(|one| one.ended.is_none() && !one.is_closed);
        open.count()
    }

    /// One of them.
    pub fn seen(&self, connection: usize) -> Seen {
        self.0.borrow()[connection].clone()
    }

    /// The lines of all requests in the order in which they came, with the connection of each.
    pub fn lines(&self) -> Vec<(usize, String)> {
        let seen = self.0.borrow();
        let mut requests: Vec<&Asked> = seen.iter().flat_map(|one| &one.requests).collect();
        requests.sort_by_key(|asked| asked.at);
        let lines = requests.into_iter();
        lines
            .map(|asked| (asked.connection, asked.line.clone()))
            .collect()
    }

    /// When the client ended a connection; it has to have done so.
    pub fn ended(&self, connection: usize) -> Instant {
        let ended = self.seen(connection).ended;
        ended
            .unwrap_or_else(|| panic!("connection {connection} has no end"))
            .0
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

/// Serves with what `answer` returns.
pub fn serve(answer: impl Fn(&Asked) -> Vec<Do> + 'static) -> Do {
    Do::Serve(Rc::new(answer))
}

/// Serves each request with its own line.
pub fn echo() -> Do {
    serve(|asked| vec![Do::Send(ok(&asked.line))])
}

type Script = Box<dyn Fn(usize) -> Vec<Do>>;

/// The server.
struct Origin {
    address: SocketAddr,
    script: Script,
    listener: Option<PeerSocket>,
    connections: Vec<Connection>,
    log: Log,
}

struct Connection {
    number: usize,
    socket: PeerSocket,
    steps: VecDeque<Do>,
    /// When the step that waits is over.
    until: Option<Instant>,
    sent: usize,
    inbox: Vec<u8>,
    is_deaf: bool,
}

/// Adds an origin, which listens from the next turn on: `script` says what each connection gets.
pub async fn listen(address: &str, script: impl Fn(usize) -> Vec<Do> + 'static) -> Log {
    let log = Log::default();
    simulation::add_peer(Origin {
        address: address.parse().expect("an address"),
        script: Box::new(script),
        listener: None,
        connections: Vec::new(),
        log: log.clone(),
    });
    roundtrip::runtime::sleep(Duration::from_millis(1)).await;
    log
}

impl Peer for Origin {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        let address = self.address;
        let listener = *self
            .listener
            .get_or_insert_with(|| io.listen(address).expect("each has its address"));
        while let Some(socket) = io.accept(listener) {
            let mut log = self.log.0.borrow_mut();
            let number = log.len();
            log.push(Seen {
                opened: io.now(),
                requests: Vec::new(),
                received: 0,
                ended: None,
                is_closed: false,
            });
            self.connections.push(Connection {
                number,
                socket,
                steps: (self.script)(number).into(),
                until: None,
                sent: 0,
                inbox: Vec::new(),
                is_deaf: false,
            });
        }
        let log = &self.log;
        self.connections.retain_mut(|connection| {
            let mut seen = log.0.borrow_mut();
            connection.act(io, &mut seen[connection.number])
        });
        true
    }
}

impl Connection {
    /// False when the connection is over.
    fn act(&mut self, io: &mut PeerIo<'_>, seen: &mut Seen) -> bool {
        loop {
            if !self.receive(io, seen) {
                return false;
            }
            let Some(step) = self.steps.pop_front() else {
                return true;
            };
            match self.perform(io, seen, step) {
                Performed::Done => {}
                Performed::Waits(step) => {
                    self.steps.push_front(step);
                    return true;
                }
                Performed::Closed => {
                    seen.is_closed = true;
                    return false;
                }
            }
        }
    }

    fn receive(&mut self, io: &mut PeerIo<'_>, seen: &mut Seen) -> bool {
        while !self.is_deaf {
            match io.receive(self.socket, &mut self.inbox, RECEIVE_BYTES) {
                PeerReceived::Bytes(bytes) => seen.received += bytes,
                PeerReceived::Nothing => return true,
                end @ (PeerReceived::End | PeerReceived::Reset) => {
                    seen.ended = Some((io.now(), end == PeerReceived::Reset));
                    io.close(self.socket);
                    return false;
                }
            }
        }
        true
    }

    fn perform(&mut self, io: &mut PeerIo<'_>, seen: &mut Seen, step: Do) -> Performed {
        match step {
            Do::Bytes(bytes) if seen.received < bytes => return Performed::Waits(step),
            Do::Bytes(_) => {}
            Do::Body(bytes) | Do::Skip(bytes) if self.inbox.len() < bytes => {
                return Performed::Waits(step);
            }
            Do::Body(_) => {}
            Do::Skip(bytes) => drop(self.inbox.drain(..bytes)),
            Do::Head | Do::Request => {
                let taken = self.take_request(seen, io.now(), matches!(step, Do::Request));
                if taken.is_none() {
                    return Performed::Waits(step);
                }
            }
            Do::Serve(answer) => match self.take_request(seen, io.now(), true) {
                None => return Performed::Waits(Do::Serve(answer)),
                Some(asked) => {
                    let steps = answer(&asked);
                    self.steps.push_front(Do::Serve(answer));
                    for step in steps.into_iter().rev() {
                        self.steps.push_front(step);
                    }
                }
            },
            Do::Send(bytes) => return self.send(io, seen, bytes),
            Do::Drip(bytes, piece, pause) => return self.drip(io, bytes, piece, pause),
            Do::Wait(time) => {
                if !self.is_due(io, time) {
                    return Performed::Waits(Do::Wait(time));
                }
            }
            Do::Deaf => self.is_deaf = true,
            Do::Hear => {
                self.is_deaf = false;
                if !self.receive(io, seen) {
                    return Performed::Closed;
                }
            }
            Do::Close => {
                io.close(self.socket);
                return Performed::Closed;
            }
            Do::Reset => {
                io.reset(self.socket);
                return Performed::Closed;
            }
            Do::Shut => io.shut_write(self.socket),
        }
        Performed::Done
    }

    /// True when so much time has passed since this was first asked.
    fn is_due(&mut self, io: &mut PeerIo<'_>, time: Duration) -> bool {
        let now = io.now();
        match self.until {
            Some(until) if until > now => false,
            Some(_) => {
                self.until = None;
                true
            }
            None if time.is_zero() => true,
            None => {
                self.until = Some(now + time);
                io.wake_in(time);
                false
            }
        }
    }

    fn send(&mut self, io: &mut PeerIo<'_>, seen: &mut Seen, bytes: Vec<u8>) -> Performed {
        while self.sent < bytes.len() {
            match io.send(self.socket, &bytes[self.sent..]) {
                PeerSent::Bytes(sent) => self.sent += sent,
                PeerSent::Nothing => return Performed::Waits(Do::Send(bytes)),
                PeerSent::Reset => {
                    seen.ended.get_or_insert((io.now(), true));
                    return Performed::Closed;
                }
            }
        }
        self.sent = 0;
        Performed::Done
    }

    fn drip(
        &mut self,
        io: &mut PeerIo<'_>,
        mut bytes: Vec<u8>,
        piece: usize,
        pause: Duration,
    ) -> Performed {
        while !bytes.is_empty() {
            if !self.is_due(io, pause) {
                return Performed::Waits(Do::Drip(bytes, piece, pause));
            }
            let len = piece.min(bytes.len());
            match io.send(self.socket, &bytes[..len]) {
                PeerSent::Bytes(sent) => drop(bytes.drain(..sent)),
                PeerSent::Nothing => return Performed::Waits(Do::Drip(bytes, piece, pause)),
                PeerSent::Reset => return Performed::Closed,
            }
        }
        Performed::Done
    }

    /// Takes the next request out of what came, whole or its head.
    fn take_request(&mut self, seen: &mut Seen, now: Instant, is_whole: bool) -> Option<Asked> {
        let text = String::from_utf8_lossy(&self.inbox).into_owned();
        let end = memchr::memmem::find(&self.inbox, b"\r\n\r\n")? + 4;
        let head = text.get(..end)?.to_owned();
        let lower = head.to_ascii_lowercase();
        let mut asked = Asked {
            connection: self.number,
            at: now,
            line: head.lines().next().unwrap_or_default().to_owned(),
            head,
            body: Vec::new(),
        };
        let mut used = end;
        if is_whole && lower.contains("\r\ntransfer-encoding: chunked\r\n") {
            used += unchunk(&self.inbox[end..], &mut asked.body)?;
        } else if let Some(at) = lower.find("\r\ncontent-length: ").filter(|_| is_whole) {
            let digits = lower[at + 18..].lines().next().unwrap_or_default();
            let length: usize = digits.parse().expect("a length");
            asked.body = self.inbox.get(end..end + length)?.to_vec();
            used += length;
        }
        self.inbox.drain(..used);
        seen.requests.push(asked.clone());
        Some(asked)
    }
}

enum Performed {
    Done,
    /// The step goes on later.
    Waits(Do),
    Closed,
}

/// Appends the content of chunks; how many bytes they take, `None` before their end.
fn unchunk(mut bytes: &[u8], body: &mut Vec<u8>) -> Option<usize> {
    let before = bytes.len();
    body.clear();
    loop {
        let line = memchr::memmem::find(bytes, b"\r\n")?;
        let digits = std::str::from_utf8(&bytes[..line]).expect("text");
        let len = usize::from_str_radix(digits, 16).expect("a chunk's size");
        let chunk = bytes.get(line + 2..line + 2 + len + 2)?;
        body.extend_from_slice(&chunk[..len]);
        bytes = &bytes[line + 2 + len + 2..];
        if len == 0 {
            return Some(before - bytes.len());
        }
    }
}
