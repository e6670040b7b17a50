//! Servers written by hand: polite, slow, rude and broken ones, for our client.
//!
//! ```text
//!   accept ─► head ─► body (checked) ─► by its manner: answer, part of one, nonsense, silence
//!     └─ idle: closed after a while
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use roundtrip::runtime::Instant;
use roundtrip::simulation;
use roundtrip::simulation::Peer;
use roundtrip::simulation::PeerIo;
use roundtrip::simulation::PeerReceived;
use roundtrip::simulation::PeerSent;
use roundtrip::simulation::PeerSocket;
use roundtrip::simulation::Random;

use crate::ask;
use crate::ask::Ask;
use crate::content;
use crate::content::Way;
use crate::ledger;
use crate::wire;
use crate::wire::Framing;
use crate::wire::Message;
use crate::wire::Progress;

/// Bytes that a host receives at a time.
const RECEIVE_BYTES: usize = 64 * 1024;

/// How a host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Manner {
    /// With a length.
    Length,
    /// In chunks.
    Chunked,
    /// Up to the end of the connection.
    UntilClose,
    /// Byte by byte.
    Trickle,
    /// After a while.
    Slow,
    /// And closes without having said so.
    CloseAfter,
    /// After two informational responses.
    Informational,
    /// Without a body.
    NoContent,
    /// With a redirect to our server.
    Redirect,
    /// Before the request's body has come.
    Early,
    /// Resets the connection in the middle of the body.
    ResetInBody,
    /// Closes in the middle of the body.
    Short,
    /// Sends more than it said.
    Long,
    /// Sends no HTTP.
    Garbage,
    /// Closes within the head.
    CutHead,
    /// Closes without an answer, the body unread.
    CloseUnread,
    /// Says two things about the length.
    BadFraming,
    /// Does not answer.
    Silent,
    /// Stops in the middle of the body.
    StalledBody,
}

const MANNERS: [Manner; 19] = [
    Manner::Length,
    Manner::Chunked,
    Manner::UntilClose,
    Manner::Trickle,
    Manner::Slow,
    Manner::CloseAfter,
    Manner::Informational,
    Manner::NoContent,
    Manner::Redirect,
    Manner::Early,
    Manner::ResetInBody,
    Manner::Short,
    Manner::Long,
    Manner::Garbage,
    Manner::CutHead,
    Manner::CloseUnread,
    Manner::BadFraming,
    Manner::Silent,
    Manner::StalledBody,
];

impl Manner {
    /// Any.
    pub fn draw(random: &mut Random) -> Manner {
        // The polite ones twice as often.
        let count = if random.chance(0.5) {
            10
        } else {
            MANNERS.len()
        };
        MANNERS[random.index(count)]
    }

    fn from_number(number: u8) -> Manner {
        MANNERS[usize::from(number) % MANNERS.len()]
    }

    /// The status at the end.
    pub fn status(self) -> u16 {
        if self == Manner::NoContent { 204 } else { 200 }
    }

    /// True when rules are broken.
    pub fn is_hostile(self) -> bool {
        self as u8 >= Manner::ResetInBody as u8
    }

    /// True when no whole answer comes.
    pub fn is_cut(self) -> bool {
        matches!(
            self,
            Manner::ResetInBody
                | Manner::Short
                | Manner::Garbage
                | Manner::CutHead
                | Manner::CloseUnread
                | Manner::BadFraming
                | Manner::Silent
                | Manner::StalledBody
        )
    }

    /// True when it depends.
    pub fn may_fail(self) -> bool {
        matches!(self, Manner::Long | Manner::Early)
    }

    /// True when only a time-out ends it.
    pub fn is_stalled(self) -> bool {
        matches!(self, Manner::Silent | Manner::StalledBody)
    }
}

/// A server written by hand.
pub struct Host {
    address: SocketAddr,
    listener: Option<PeerSocket>,
    connections: Vec<Connection>,
    random: Random,
    alarm: Alarm,
}

/// One timer for all connections: a timer for each of their calls would breed.
struct Alarm(Instant);

impl Alarm {
    fn set(&mut self, io: &mut PeerIo<'_>, at: Instant) {
        if self.0 <= io.now() || at < self.0 {
            self.0 = at;
            io.wake_in(at - io.now());
        }
    }
}

struct Connection {
    socket: PeerSocket,
    inbox: Vec<u8>,
    progress: Progress,
    out: Vec<u8>,
    sent: usize,
    /// Nothing is sent before this.
    not_before: Instant,
    /// Byte by byte.
    trickles: bool,
    then: Then,
    /// The request that is being received was answered early.
    is_answered: bool,
}

/// What follows when all is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The next request; when the time comes without one, the connection closes.
    Next(Instant),
    Close,
    Reset,
    /// Nothing more happens from this side.
    Stall,
}

impl Host {
    /// At an address.
    pub fn new(address: SocketAddr, random: Random) -> Host {
        Host {
            address,
            listener: None,
            connections: Vec::new(),
            random,
            alarm: Alarm(Instant::default()),
        }
    }
}

impl Peer for Host {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        let listener = match self.listener {
            Some(listener) => listener,
            None => {
                let made = io
                    .listen(self.address)
                    .expect("hosts have addresses of their own");
                *self.listener.insert(made)
            }
        };
        while let Some(socket) = io.accept(listener) {
            ledger::count(|counts| counts.accepted_by_hosts += 1);
            self.connections.push(Connection {
                socket,
                inbox: Vec::new(),
                progress: Progress::default(),
                out: Vec::new(),
                sent: 0,
                not_before: io.now(),
                trickles: false,
                then: Then::Next(Instant::NEVER),
                is_answered: false,
            });
        }
        let random = &mut self.random;
        self.connections
            .retain_mut(|connection| connection.act(io, random));
        let next = self
            .connections
            .iter()
            .filter_map(|connection| connection.wants(io.now()))
            .min();
        if let Some(next) = next {
            self.alarm.set(io, next);
        }
        true
    }
}

impl Connection {
    /// When it has something to do next.
    fn wants(&self, now: Instant) -> Option<Instant> {
        let sends = (self.sent < self.out.len()).then_some(self.not_before);
        let rests = match self.then {
            Then::Next(until) if self.sent == self.out.len() => Some(until),
            _ => None,
        };
        sends
            .or(rests)
            .filter(|at| *at > now && *at != Instant::NEVER)
    }

    /// False when the connection is closed.
    fn act(&mut self, io: &mut PeerIo<'_>, random: &mut Random) -> bool {
        loop {
            let received = io.receive(self.socket, &mut self.inbox, RECEIVE_BYTES);
            match received {
                PeerReceived::Bytes(_) => {}
                PeerReceived::Nothing => break,
                PeerReceived::End | PeerReceived::Reset => {
                    io.close(self.socket);
                    return false;
                }
            }
        }
        loop {
            if !self.send(io) {
                return false;
            }
            let is_sent = self.sent == self.out.len();
            match self.then {
                Then::Next(_) if is_sent => {
                    if !self.next_request(io, random) {
                        return self.rest(io);
                    }
                }
                Then::Close if is_sent => {
                    io.close(self.socket);
                    return false;
                }
                Then::Reset if is_sent => {
                    io.reset(self.socket);
                    return false;
                }
                _ => return true,
            }
        }
    }

    /// Closes when it has rested for long enough.
    fn rest(&mut self, io: &mut PeerIo<'_>) -> bool {
        let Then::Next(until) = self.then else {
            return true;
        };
        if until > io.now() {
            return true;
        }
        io.close(self.socket);
        false
    }

    fn send(&mut self, io: &mut PeerIo<'_>) -> bool {
        while self.sent < self.out.len() {
            if self.not_before > io.now() {
                return true;
            }
            let rest = &self.out[self.sent..];
            let piece = if self.trickles { &rest[..1] } else { rest };
            match io.send(self.socket, piece) {
                PeerSent::Bytes(bytes) => self.sent += bytes,
                PeerSent::Nothing => return true,
                PeerSent::Reset => {
                    io.close(self.socket);
                    return false;
                }
            }
            if self.trickles {
                self.not_before = io.now() + Duration::from_millis(1);
            }
        }
        true
    }

    /// Takes the next request, if all of it is there, and prepares the answer.
    fn next_request(&mut self, io: &mut PeerIo<'_>, random: &mut Random) -> bool {
        let inbox = std::mem::take(&mut self.inbox);
        let (used, goes_on) = self.take_request(&inbox, io, random);
        self.inbox = inbox;
        self.inbox.drain(..used);
        goes_on
    }

    /// How many bytes were used, and whether there is something to send.
    fn take_request(
        &mut self,
        inbox: &[u8],
        io: &mut PeerIo<'_>,
        random: &mut Random,
    ) -> (usize, bool) {
        let head = match wire::parse(inbox, Framing::Nothing, &mut self.progress) {
            Ok(Some(message)) => message,
            Ok(None) => return (0, false),
            Err(wrong) => {
                simulation::fail(format!("a request at a host: {wrong}"));
                return (0, false);
            }
        };
        let Some(ask) = head.field(ask::FIELD).and_then(Ask::parse) else {
            simulation::fail("a request at a host has lost its description");
            return (0, false);
        };
        let manner = Manner::from_number(ask.manner);
        if manner == Manner::CloseUnread {
            // What is unread makes it a reset.
            self.then = Then::Close;
            return (0, true);
        }
        let is_whole = head.body.is_some();
        if !self.is_answered && (is_whole || manner == Manner::Early) {
            self.is_answered = true;
            ledger::saw(&ask);
            self.answer(io, random, &ask, manner);
        }
        if let Some(body) = &head.body {
            check_body(&head, body, &ask);
            self.progress = Progress::default();
            self.is_answered = false;
        }
        (head.bytes, is_whole || self.sent < self.out.len())
    }

    fn answer(&mut self, io: &mut PeerIo<'_>, random: &mut Random, ask: &Ask, manner: Manner) {
        self.sent = 0;
        self.trickles = manner == Manner::Trickle;
        self.not_before = io.now();
        if matches!(manner, Manner::Slow | Manner::Trickle) {
            self.not_before = io.now() + Duration::from_millis(u64::from(ask.delay));
        }
        let body = content::of(ask.id, Way::Down, ask.down as usize);
        self.then = then_of(io, random, manner);
        let out = &mut self.out;
        out.clear();
        match manner {
            Manner::Garbage => out.extend_from_slice(garbage(random)),
            Manner::Silent => {}
            Manner::CutHead => out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Le"),
            Manner::NoContent => head(out, "204 No Content", ask, ""),
            Manner::Redirect => {
                head(
                    out,
                    "302 Found",
                    ask,
                    "Location: http://server.test/now\r\nContent-Length: 0\r\n",
                );
            }
            Manner::Chunked => {
                head(out, "200 OK", ask, "Transfer-Encoding: chunked\r\n");
                wire::write_chunked(out, body, random);
            }
            Manner::UntilClose => {
                head(out, "200 OK", ask, "");
                out.extend_from_slice(body);
            }
            Manner::BadFraming => {
                head(
                    out,
                    "200 OK",
                    ask,
                    "Content-Length: 5\r\nContent-Length: 6\r\n",
                );
                out.extend_from_slice(b"hello!");
            }
            _ => {
                if manner == Manner::Informational {
                    out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n");
                    out.extend_from_slice(b"HTTP/1.1 102 Processing\r\n\r\n");
                }
                head(
                    out,
                    "200 OK",
                    ask,
                    &format!("Content-Length: {}\r\n", body.len()),
                );
                out.extend_from_slice(body);
                match manner {
                    Manner::Long => {
                        ledger::say_too_much();
                        out.extend_from_slice(b"and more than was said");
                    }
                    Manner::Short | Manner::ResetInBody | Manner::StalledBody => {
                        let keep = out.len() - 1 - random.index(body.len() - 1);
                        out.truncate(keep);
                    }
                    _ => {}
                }
            }
        }
    }
}

fn then_of(io: &mut PeerIo<'_>, random: &mut Random, manner: Manner) -> Then {
    match manner {
        Manner::UntilClose
        | Manner::CloseAfter
        | Manner::Short
        | Manner::Garbage
        | Manner::CutHead
        | Manner::BadFraming => Then::Close,
        Manner::ResetInBody => Then::Reset,
        Manner::Silent | Manner::StalledBody => Then::Stall,
        _ if random.chance(0.3) => {
            let rest = random.duration(Duration::ZERO..Duration::from_millis(100));
            Then::Next(io.now() + rest)
        }
        _ => Then::Next(Instant::NEVER),
    }
}

fn head(out: &mut Vec<u8>, status: &str, ask: &Ask, fields: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(b"\r\nx-ask: ");
    out.extend_from_slice(&ask.id_value());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(fields.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn garbage(random: &mut Random) -> &'static [u8] {
    let list: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is no HTTP at all, and it is long",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ];
    list[random.index(list.len())]
}

fn check_body(head: &Message<'_>, body: &[u8], ask: &Ask) {
    let expected = content::of(ask.id, Way::Up, ask.up as usize);
    if head.method != "POST" && body.is_empty() {
        return;
    }
    if body != expected {
        let text = format!(
            "the body of request {} at its host: {} bytes instead of {}, or not the same",
            ask.id,
            body.len(),
            expected.len()
        );
        simulation::fail(text);
    }
}
