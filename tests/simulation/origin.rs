//! A server that each request tells what to do: answer in pieces, wait, and close at a moment.
//!
//! ```text
//!   GET /often/17/300/c/0/0/arrival/0/fin ──► Order ─► answer with the number of the request
//!                                               └────► close: while it rests, with the first byte,
//!                                                      within the request, behind it, in the answer
//! ```
//! It counts what arrived of each request, read or not: what must not be sent twice arrives once.

use std::cell::RefCell;
use std::fmt;
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

use crate::ask;
use crate::content;
use crate::content::Way;
use crate::wire;
use crate::wire::Framing;
use crate::wire::Progress;

/// Where it listens.
pub const ADDRESS: &str = "127.0.2.1:80";
/// Bytes that are received at a time.
const RECEIVE_BYTES: usize = 64 * 1024;

/// When a connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// When the client does.
    Never,
    /// So long after the answer, whatever the client does meanwhile.
    After(Duration),
    /// When the request line is there.
    Arrival,
    /// When so many bytes of the request are there.
    Bytes(usize),
    /// So long after the whole request, without an answer.
    Whole(Duration),
    /// Behind so many bytes of the answer.
    Answer(usize),
}

/// How a connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With an end; what arrives after it is answered with a reset.
    Fin,
    /// With a reset.
    Reset,
    /// With an end; what arrives after it is read, and not answered.
    Shut,
}

/// How an answer says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Length,
    Chunked,
    WithConnection,
    /// There is no body: it is a 204.
    NoContent,
}

/// What a request tells its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: u32,
    /// It must not arrive twice.
    pub is_once: bool,
    /// Bytes of the request's body, and of the answer's.
    pub up: usize,
    pub down: usize,
    pub ends: Ends,
    /// Before the answer.
    pub delay: Duration,
    /// Bytes of the answer that are sent at a time; 0 for all. A millisecond lies between two.
    pub piece: usize,
    /// On a connection that has served before, unless it is within or behind the answer.
    pub close: Close,
    pub how: How,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = if self.is_once { "once" } else { "often" };
        let ends = match self.ends {
            Ends::Length => "length",
            Ends::Chunked => "chunked",
            Ends::WithConnection => "close",
            Ends::NoContent => "none",
        };
        let (close, number) = match self.close {
            Close::Never => ("never", 0),
            Close::After(time) => ("after", time.as_nanos() as usize),
            Close::Arrival => ("arrival", 0),
            Close::Bytes(bytes) => ("bytes", bytes),
            Close::Whole(time) => ("whole", time.as_nanos() as usize),
            Close::Answer(bytes) => ("answer", bytes),
        };
        let how = match self.how {
            How::Fin => "fin",
            How::Reset => "reset",
            How::Shut => "shut",
        };
        write!(
            f,
            "/{rule}/{}/{}/{}/{ends}/{}/{}/{close}/{number}/{how}",
            self.id,
            self.up,
            self.down,
            self.delay.as_nanos(),
            self.piece
        )
    }
}

impl Order {
    /// From the path of a request.
    fn parse(path: &str) -> Option<Order> {
        let parts: Vec<&str> = path.split('/').collect();
        let [
            _,
            rule,
            id,
            up,
            down,
            ends,
            delay,
            piece,
            close,
            number,
            how,
        ] = parts[..]
        else {
            return None;
        };
        let number: usize = number.parse().ok()?;
        let time = Duration::from_nanos(number as u64);
        Some(Order {
            id: id.parse().ok()?,
            is_once: rule == "once",
            up: up.parse().ok()?,
            down: down.parse().ok()?,
            ends: match ends {
                "length" => Ends::Length,
                "chunked" => Ends::Chunked,
                "close" => Ends::WithConnection,
                _ => Ends::NoContent,
            },
            delay: Duration::from_nanos(delay.parse().ok()?),
            piece: piece.parse().ok()?,
            close: match close {
                "never" => Close::Never,
                "after" => Close::After(time),
                "arrival" => Close::Arrival,
                "bytes" => Close::Bytes(number),
                "whole" => Close::Whole(time),
                _ => Close::Answer(number),
            },
            how: match how {
                "fin" => How::Fin,
                "reset" => How::Reset,
                _ => How::Shut,
            },
        })
    }

    /// The answer, whole.
    fn answer(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let id = ask::hex(self.id);
        let id = std::str::from_utf8(&id).expect("digits");
        let body = content::of(self.id, Way::Down, self.down);
        let (status, length) = match self.ends {
            Ends::NoContent => ("204 No Content", String::new()),
            Ends::Length => ("200 OK", format!("Content-Length: {}\r\n", self.down)),
            Ends::Chunked => ("200 OK", "Transfer-Encoding: chunked\r\n".to_owned()),
            Ends::WithConnection => ("200 OK", String::new()),
        };
        out.extend_from_slice(
            format!("HTTP/1.1 {status}\r\nx-id: {id}\r\n{length}\r\n").as_bytes(),
        );
        match self.ends {
            Ends::NoContent => {}
            Ends::Length | Ends::WithConnection => out.extend_from_slice(body),
            Ends::Chunked => {
                for chunk in body.chunks(1 + self.down / 3) {
                    out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        out
    }
}

/// At which moments connections were closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// With nothing of a further request there.
    pub resting: u64,
    /// With a part of a request there, or with its first bytes.
    pub within: u64,
    /// With the whole request there, which was not answered.
    pub unanswered: u64,
    /// Within the answer.
    pub answering: u64,
    /// With an end, with a reset, with an end and open ears.
    pub fin: u64,
    pub reset: u64,
    pub shut: u64,
}

impl Closed {
    /// Before an answer.
    pub fn races(&self) -> u64 {
        self.resting + self.within + self.unanswered
    }

    pub fn add(&mut self, other: &Closed) {
        for (own, more) in [
            (&mut self.resting, other.resting),
            (&mut self.within, other.within),
            (&mut self.unanswered, other.unanswered),
            (&mut self.answering, other.answering),
            (&mut self.fin, other.fin),
            (&mut self.reset, other.reset),
            (&mut self.shut, other.shut),
        ] {
            *own += more;
        }
    }
}

/// What the server has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// How often each request has begun to arrive.
    times: Vec<u8>,
    pub closed: Closed,
    pub accepted: u64,
}

impl Seen {
    /// How often a request has begun to arrive.
    pub fn times(&self, id: u32) -> u8 {
        self.times.get(id as usize).copied().unwrap_or(0)
    }

    fn note(&mut self, order: &Order) {
        let index = order.id as usize;
        if self.times.len() <= index {
            self.times.resize(index + 1, 0);
        }
        self.times[index] = self.times[index].saturating_add(1);
        if order.is_once && self.times[index] > 1 {
            simulation::fail(format!("{order} must not arrive twice, and did"));
        }
    }
}

/// The server.
pub struct Origin {
    listener: Option<PeerSocket>,
    connections: Vec<Connection>,
    seen: Rc<RefCell<Seen>>,
    alarm: Instant,
}

struct Connection {
    socket: PeerSocket,
    inbox: Vec<u8>,
    progress: Progress,
    /// Requests that were answered.
    answered: u64,
    /// The request that arrives, or is answered; counted already.
    order: Option<Order>,
    /// All of it is there.
    is_whole: bool,
    out: Vec<u8>,
    sent: usize,
    send_at: Instant,
    /// Closes at this time.
    close_at: Option<(Instant, How)>,
    /// It was shut: nothing more is said, and what arrives is counted.
    is_shut: bool,
}

impl Origin {
    /// Adds it to the simulation; what it will have seen.
    pub fn add() -> Rc<RefCell<Seen>> {
        let seen = Rc::default();
        simulation::add_peer(Origin {
            listener: None,
            connections: Vec::new(),
            seen: Rc::clone(&seen),
            alarm: Instant::NEVER,
        });
        seen
    }
}

impl Peer for Origin {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        let address: SocketAddr = ADDRESS.parse().expect("an address");
        let listener = *self
            .listener
            .get_or_insert_with(|| io.listen(address).expect("nobody else is there"));
        let mut seen = self.seen.borrow_mut();
        while let Some(socket) = io.accept(listener) {
            seen.accepted += 1;
            self.connections.push(Connection::new(socket));
        }
        self.connections
            .retain_mut(|connection| connection.act(io, &mut seen));
        let wanted = self.connections.iter().flat_map(Connection::wants);
        if let Some(next) = wanted.filter(|at| *at > io.now()).min()
            && (next < self.alarm || self.alarm <= io.now())
        {
            self.alarm = next;
            io.wake_in(next - io.now());
        }
        true
    }
}

impl Connection {
    fn new(socket: PeerSocket) -> Connection {
        Connection {
            socket,
            inbox: Vec::new(),
            progress: Progress::default(),
            answered: 0,
            order: None,
            is_whole: false,
            out: Vec::new(),
            sent: 0,
            send_at: Instant::default(),
            close_at: None,
            is_shut: false,
        }
    }

    /// When it has something to do.
    fn wants(&self) -> impl Iterator<Item = Instant> {
        let sends = (self.sent < self.out.len()).then_some(self.send_at);
        let closes = self.close_at.map(|(at, _)| at);
        sends.into_iter().chain(closes)
    }

    /// False when the connection is closed.
    fn act(&mut self, io: &mut PeerIo<'_>, seen: &mut Seen) -> bool {
        let before = self.inbox.len();
        loop {
            match io.receive(self.socket, &mut self.inbox, RECEIVE_BYTES) {
                PeerReceived::Bytes(_) => {}
                PeerReceived::Nothing => break,
                PeerReceived::End | PeerReceived::Reset => {
                    io.close(self.socket);
                    return false;
                }
            }
        }
        loop {
            if self.order.is_none() {
                self.find_order(seen);
            }
            if self.is_shut {
                return true;
            }
            if let Some((at, how)) = self.close_at
                && at <= io.now()
                && self.sent == 0
            {
                let has_more = before < self.inbox.len() || self.order.is_some();
                return self.close(io, seen, how, has_more);
            }
            if let Some(how) = self.closes_within() {
                return self.close(io, seen, how, true);
            }
            if !self.send(io, seen) {
                return false;
            }
            let is_new = self.out.is_empty() && self.order.is_some() && !self.is_whole;
            if !is_new || !self.take_request(io) {
                return true;
            }
        }
    }

    /// A request begins to arrive: it is counted from its first line on.
    fn find_order(&mut self, seen: &mut Seen) {
        let Some(end) = memchr::memmem::find(&self.inbox, b" HTTP/1.1\r\n") else {
            return;
        };
        let line = std::str::from_utf8(&self.inbox[..end]).unwrap_or_default();
        let path = line.split_once(' ').map_or("", |(_, path)| path);
        match Order::parse(path) {
            Some(order) => {
                seen.note(&order);
                self.order = Some(order);
                self.is_whole = false;
            }
            None => simulation::fail(format!("a request without an order: {line}")),
        }
    }

    /// How the connection closes now, since so much of the request is there.
    fn closes_within(&self) -> Option<How> {
        let order = self.order.filter(|_| self.answered > 0 && !self.is_whole)?;
        let closes = match order.close {
            Close::Arrival => true,
            Close::Bytes(bytes) => self.inbox.len() >= bytes,
            _ => false,
        };
        (closes && self.out.is_empty()).then_some(order.how)
    }

    /// Takes the request, if all of it is there.
    fn take_request(&mut self, io: &mut PeerIo<'_>) -> bool {
        let order = self.order.expect("the caller has seen it");
        let message = match wire::parse(&self.inbox, Framing::Nothing, &mut self.progress) {
            Ok(Some(message)) => message,
            Ok(None) => return false,
            Err(wrong) => {
                simulation::fail(format!("{order}: {wrong}"));
                return false;
            }
        };
        let Some(body) = &message.body else {
            return false;
        };
        if **body != *content::of(order.id, Way::Up, order.up) {
            simulation::fail(format!("{order}: its body has {} wrong bytes", body.len()));
        }
        let is_head = message.method == "HEAD";
        let used = message.bytes;
        self.inbox.drain(..used);
        self.progress = Progress::default();
        self.is_whole = true;
        if let (Close::Whole(time), 1..) = (order.close, self.answered) {
            self.close_at = Some((io.now() + time, order.how));
            return true;
        }
        self.out = order.answer();
        if is_head {
            let end = memchr::memmem::find(&self.out, b"\r\n\r\n").expect("a head");
            self.out.truncate(end + 4);
        }
        if let Close::Answer(bytes) = order.close {
            self.out.truncate(bytes);
        }
        self.sent = 0;
        self.send_at = io.now() + order.delay;
        true
    }

    /// Sends what is due; false when the connection is closed.
    fn send(&mut self, io: &mut PeerIo<'_>, seen: &mut Seen) -> bool {
        let Some(order) = self.order.filter(|_| self.is_whole) else {
            return true;
        };
        if matches!(order.close, Close::Whole(_)) && self.close_at.is_some() {
            return true;
        }
        while self.sent < self.out.len() {
            if self.send_at > io.now() {
                return true;
            }
            let rest = &self.out[self.sent..];
            let piece = match order.piece {
                0 => rest,
                bytes => &rest[..rest.len().min(bytes)],
            };
            match io.send(self.socket, piece) {
                PeerSent::Bytes(bytes) => self.sent += bytes,
                PeerSent::Nothing => return true,
                PeerSent::Reset => {
                    io.close(self.socket);
                    return false;
                }
            }
            if order.piece > 0 {
                self.send_at = io.now() + Duration::from_millis(1);
            }
        }
        self.finish(io, seen, &order)
    }

    /// The answer was sent.
    fn finish(&mut self, io: &mut PeerIo<'_>, seen: &mut Seen, order: &Order) -> bool {
        if matches!(order.close, Close::Answer(_)) {
            seen.closed.answering += 1;
            return self.end(io, seen, order.how);
        }
        if order.ends == Ends::WithConnection {
            io.close(self.socket);
            return false;
        }
        self.close_at = match order.close {
            Close::After(time) => Some((io.now() + time, order.how)),
            _ => None,
        };
        self.answered += 1;
        self.order = None;
        self.is_whole = false;
        self.out.clear();
        self.sent = 0;
        true
    }

    /// Closes before an answer.
    fn close(&mut self, io: &mut PeerIo<'_>, seen: &mut Seen, how: How, has_more: bool) -> bool {
        match (self.is_whole, has_more || !self.inbox.is_empty()) {
            (true, _) => seen.closed.unanswered += 1,
            (false, true) => seen.closed.within += 1,
            (false, false) => seen.closed.resting += 1,
        }
        self.end(io, seen, how)
    }

    fn end(&mut self, io: &mut PeerIo<'_>, seen: &mut Seen, how: How) -> bool {
        match how {
            How::Fin => {
                seen.closed.fin += 1;
                io.close(self.socket);
                false
            }
            How::Reset => {
                seen.closed.reset += 1;
                io.reset(self.socket);
                false
            }
            How::Shut => {
                seen.closed.shut += 1;
                io.shut_write(self.socket);
                self.is_shut = true;
                self.close_at = None;
                self.out.clear();
                self.sent = 0;
                true
            }
        }
    }
}
