//! What a script acts on: one ring, named sockets, named operations. The same calls whichever
//! kernel is behind them.
//!
//! ```text
//!   script ──► Stage ──► Ring, ring::sys ──► real kernel, or the simulation
//!                │
//!                └──► trace
//! ```

use std::collections::BTreeMap;
use std::io;
use std::io::IoSlice;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::resource::Resource;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;

use crate::ring::buffers::Lease;
use crate::ring::clock;
use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::Ring;
use crate::ring::queue::Wait;
use crate::ring::sim::Installed;
use crate::ring::sim::compare::trace::Completion;
use crate::ring::sim::compare::trace::Line;
use crate::ring::sim::compare::trace::errno_name;
use crate::ring::sys;
use crate::ring::sys::Address;
use crate::ring::sys::Event;
use crate::ring::sys::Links;
use crate::ring::sys::PieceList;
use crate::ring::sys::Shutdown;
use crate::ring::sys::Socket;
use crate::ring::sys::SocketAddress;
use crate::ring::sys::UnixOptions;
use crate::ring::token::Token;

/// Enters of one step; a script that keeps completing is a bug of the script.
const ENTERS_MAX: usize = 10_000;

/// Bytes that no socket holds.
const FILL_BYTES_MAX: usize = 256 << 20;

/// Longer than a delayed acknowledgement of TCP (40 ms).
const ACKNOWLEDGED_AFTER: Duration = Duration::from_millis(60);

/// Steps at the end in which what was cancelled may complete.
const LAST_STEPS_MAX: usize = 100;

/// What an operation is, as far as its completions are read differently.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Accept,
    Receive,
    Send,
    Other,
}

/// One submitted operation and what it points to.
struct Operation {
    name: &'static str,
    kind: Kind,
    /// Its last completion has not come.
    open: bool,
    memory: Vec<u8>,
    /// Bytes of its last completion.
    received: usize,
    _pieces: Option<Box<PieceList>>,
    _address: Option<SocketAddress>,
}

/// A ring with everything that a script has opened.
pub struct Stage {
    // Dropped before the simulated kernel that it may belong to.
    ring: Ring,
    quiet: Duration,
    operations: Vec<Operation>,
    sockets: BTreeMap<String, Socket>,
    events: BTreeMap<&'static str, Event>,
    directory: tempfile::TempDir,
    /// Counts of sends are recorded as "all" or "part".
    round: bool,
    /// Bytes of all sends, of the ring and at once, since `round_counts`.
    sent: usize,
    hold: bool,
    held: Vec<Lease>,
    lines: Vec<Line>,
    /// The simulated kernel, if it is not the real one.
    installed: Option<Rc<Installed>>,
}

impl Stage {
    /// An empty stage. A step ends when nothing has completed for `quiet`.
    pub fn new(ring: Ring, quiet: Duration, installed: Option<Rc<Installed>>) -> Stage {
        Stage {
            ring,
            quiet,
            operations: Vec::new(),
            sockets: BTreeMap::new(),
            events: BTreeMap::new(),
            directory: tempfile::tempdir().expect("a directory"),
            round: false,
            sent: 0,
            hold: false,
            held: Vec::new(),
            lines: Vec::new(),
            installed,
        }
    }

    /// Ends all that is in flight and gives the trace. Every operation must have ended then.
    pub fn finish(mut self) -> Vec<Line> {
        let lines = mem::take(&mut self.lines);
        self.hold = false;
        self.held.clear();
        self.submit("the end", Kind::Other, Op::CancelAll, Vec::new());
        for _ in 0..LAST_STEPS_MAX {
            self.settle();
            if self.open().next().is_none() {
                break;
            }
        }
        let open: Vec<&str> = self.open().collect();
        assert!(open.is_empty(), "in flight after the end: {open:?}");
        lines
    }

    /// Names of the operations in flight.
    pub fn open(&self) -> impl Iterator<Item = &'static str> {
        self.operations
            .iter()
            .filter(|operation| operation.open)
            .map(|operation| operation.name)
    }

    /// True on the simulated kernel.
    pub fn is_simulated(&self) -> bool {
        self.installed.is_some()
    }

    // ---- sockets -----------------------------------------------------------------------------

    /// The descriptor of a socket or event.
    pub fn raw(&self, name: &str) -> i32 {
        match self.sockets.get(name) {
            Some(socket) => socket.raw(),
            None => self.events[name].raw(),
        }
    }

    /// A connected pair of Unix sockets.
    pub fn pair(&mut self, ours: &str, theirs: &str) {
        let (a, b) = sys::socket_pair().expect("a pair");
        self.sockets.insert(ours.to_owned(), a);
        self.sockets.insert(theirs.to_owned(), b);
    }

    /// A listening TCP socket on a port of the kernel's choice.
    pub fn listener(&mut self, name: &str) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = sys::bind_tcp(any, false).expect("a listener");
        self.sockets.insert(name.to_owned(), socket);
    }

    /// bind_tcp, recorded.
    pub fn bind(&mut self, name: &str, address: SocketAddr, share_port: bool) {
        let result = sys::bind_tcp(address, share_port);
        let text = self.keep(name, result);
        self.call(&format!("bind {name}"), &text);
    }

    /// A listening Unix socket, recorded.
    pub fn bind_unix(&mut self, name: &str, file: &str) {
        let result = sys::bind_unix(&self.directory.path().join(file), UnixOptions::default());
        let text = self.keep(name, result);
        self.call(&format!("bind_unix {name}"), &text);
    }

    /// Where Unix sockets of this stage live.
    pub fn unix_address(&self, file: &str) -> Address {
        Address::Unix(self.directory.path().join(file))
    }

    /// Where a listener listens.
    pub fn address(&self, name: &str) -> SocketAddr {
        sys::local_addr(self.raw(name)).expect("a listener has an address")
    }

    /// A socket for `address`, not connected.
    pub fn socket(&mut self, name: &str, address: &Address) {
        let socket = sys::new_socket(address).expect("a socket");
        self.sockets.insert(name.to_owned(), socket);
    }

    /// A connected pair of TCP sockets; nothing of it is recorded.
    pub fn tcp(&mut self, client: &str, server: &str) {
        self.quietly(|stage| {
            stage.listener("the listener");
            stage.dial("dial", client, "the listener");
            stage.settle();
            let socket = sys::accept_now(stage.raw("the listener")).expect("a connection");
            stage.sockets.insert(server.to_owned(), socket);
            stage.sockets.remove("the listener");
        });
    }

    /// A client of `listener`; its connect is recorded unless quietly.
    pub fn dial(&mut self, name: &'static str, client: &str, listener: &str) {
        let address = Address::Tcp(self.address(listener));
        self.socket(client, &address);
        self.connect(name, client, &address);
    }

    /// Ends all that is in flight, and closes all sockets; nothing of it is recorded.
    pub fn clear(&mut self) {
        self.quietly(|stage| {
            stage.cancel_all("clear");
            stage.settle();
            stage.sockets.clear();
            stage.events.clear();
            stage.settle();
        });
    }

    /// Does something without recording it.
    pub fn quietly(&mut self, action: impl FnOnce(&mut Stage)) {
        let lines = mem::take(&mut self.lines);
        action(self);
        self.lines = lines;
    }

    /// Closes a socket or an event, whatever is in flight on it.
    pub fn close(&mut self, name: &str) {
        let socket = self.sockets.remove(name);
        let event = self.events.remove(name);
        assert!(socket.is_some() || event.is_some(), "no socket {name}");
        self.call("close", name);
    }

    /// True when there is a socket of that name.
    pub fn has(&self, name: &str) -> bool {
        self.sockets.contains_key(name)
    }

    /// Closes a TCP socket so that its peer is reset, whatever was read (SO_LINGER of 0 seconds).
    /// The real kernel only.
    pub fn reset(&mut self, name: &str) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: the descriptor is open for the call.
        let fd = unsafe { BorrowedFd::borrow_raw(self.raw(name)) };
        setsockopt(&fd, sockopt::Linger, &linger).expect("SO_LINGER");
        self.close(name);
    }

    /// socket(2), recorded.
    pub fn try_socket(&mut self, name: &str, address: &Address) {
        let text = self.keep(name, sys::new_socket(address));
        self.call("socket", &text);
    }

    /// From here on this process, which is the real kernel's alone, may open no descriptor. The
    /// simulation has got its limit at its start.
    pub fn no_more_descriptors(&self) {
        if self.installed.is_some() {
            return;
        }
        let free = std::fs::File::open("/dev/null").expect("a descriptor");
        let limit = free.as_raw_fd() as u64;
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).expect("a lower limit");
    }

    /// A further descriptor of the same socket.
    pub fn duplicate(&mut self, name: &str, copy: &str) {
        let socket = self.sockets[name].duplicate().expect("a copy");
        self.sockets.insert(copy.to_owned(), socket);
    }

    fn keep(&mut self, name: &str, result: io::Result<Socket>) -> String {
        match result {
            Ok(socket) => {
                self.sockets.insert(name.to_owned(), socket);
                "socket".to_owned()
            }
            Err(error) => io_error(&error),
        }
    }

    // ---- direct calls ------------------------------------------------------------------------

    /// Records the result of a call.
    pub fn call(&mut self, what: &str, result: &str) {
        self.lines.push(Line::Call(format!("{what} = {result}")));
    }

    /// send(2) at once.
    pub fn send_now(&mut self, socket: &str, bytes: &[u8]) {
        let result = sys::send_now(self.raw(socket), bytes);
        let result = self.sent_now(bytes.len(), result);
        self.call(&format!("send_now {socket}"), &result);
    }

    /// sendmsg(2) at once.
    pub fn send_pieces_now(&mut self, socket: &str, pieces: &[&[u8]]) {
        let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let result = sys::send_pieces_now(self.raw(socket), &slices, false);
        let wanted = pieces.iter().map(|piece| piece.len()).sum();
        let result = self.sent_now(wanted, result);
        self.call(&format!("send_pieces_now {socket}"), &result);
    }

    fn sent_now(&mut self, wanted: usize, result: io::Result<usize>) -> String {
        match result {
            Ok(count) if self.round => {
                self.sent += count;
                if count == wanted { "all" } else { "part" }.to_owned()
            }
            Ok(count) => count.to_string(),
            Err(error) => io_error(&error),
        }
    }

    /// From here on sends are recorded as "all" or "part": how much a socket takes may vary.
    pub fn round_counts(&mut self) {
        self.round = true;
        self.sent = 0;
    }

    /// Receives until nothing comes for a step, and records whether everything that was sent since
    /// `round_counts` came, and nothing else.
    pub fn drain(&mut self, socket: &str) {
        let mut total = 0;
        self.quietly(|stage| {
            loop {
                let index = stage.operations.len();
                stage.recv("drain", socket, 256 * 1024, true);
                stage.settle();
                let operation = &stage.operations[index];
                if operation.open {
                    stage.cancel("stop", "drain");
                    stage.settle();
                    return;
                }
                let count = operation.received;
                if count == 0 {
                    return;
                }
                total += count;
            }
        });
        let text = if total == self.sent {
            "all"
        } else {
            "NOT what was sent"
        };
        self.call(&format!("drain {socket}"), text);
    }

    /// Like `drain`, with the completions of other operations recorded as one step.
    pub fn drain_recorded(&mut self, socket: &str) {
        let before = mem::take(&mut self.lines);
        self.lines = Vec::new();
        let mut total = 0;
        loop {
            let index = self.operations.len();
            self.recv("drain", socket, 256 * 1024, true);
            self.settle();
            let operation = &self.operations[index];
            let count = operation.received;
            if operation.open || count == 0 {
                break;
            }
            total += count;
        }
        if self.operations.last().is_some_and(|last| last.open) {
            self.cancel("drain", "drain");
            self.settle();
        }
        let during = mem::replace(&mut self.lines, before);
        let step = during
            .into_iter()
            .flat_map(|line| match line {
                Line::Step(step) => step,
                Line::Call(_) => Vec::new(),
            })
            .filter(|completion| completion.operation != "drain")
            .collect();
        self.lines.push(Line::Step(step));
        let text = if total == self.sent {
            "all"
        } else {
            "NOT what was sent"
        };
        self.call(&format!("drain {socket}"), text);
    }

    /// Sends until the socket takes no more. How much that is may vary and is not recorded.
    pub fn fill(&mut self, socket: &str) {
        let piece = vec![b'.'; 16 * 1024];
        let before = self.sent;
        let quiet = self.quiet;
        let is_tcp = sys::local_addr(self.raw(socket)).is_some();
        loop {
            let round = self.sent;
            let error = loop {
                match sys::send_now(self.raw(socket), &piece) {
                    Ok(count) => self.sent += count,
                    Err(error) => break error,
                }
                assert!(
                    self.sent - before < FILL_BYTES_MAX,
                    "a socket without bound"
                );
            };
            if self.sent == round || !is_tcp {
                self.quiet = quiet;
                self.call(&format!("fill {socket}"), &io_error(&error));
                return;
            }
            // What the other side acknowledges a little later makes room again.
            self.quiet = quiet.max(ACKNOWLEDGED_AFTER);
            self.quietly(Stage::settle);
        }
    }

    /// accept(2) at once.
    pub fn accept_now(&mut self, listener: &str, name: &str) {
        let result = sys::accept_now(self.raw(listener));
        let text = self.keep(name, result);
        self.call(&format!("accept_now {listener}"), &text);
    }

    /// shutdown(2).
    pub fn shutdown(&mut self, socket: &str, how: Shutdown) {
        sys::shutdown(self.raw(socket), how);
        self.call(&format!("shutdown {socket}"), &format!("{how:?}"));
    }

    /// A fresh event.
    pub fn event(&mut self, name: &'static str) {
        self.events.insert(name, Event::new().expect("an event"));
    }

    /// Notifies an event.
    pub fn notify(&mut self, name: &str) {
        self.events[name].notify();
        self.call("notify", name);
    }

    /// Records whether the peer's address is known.
    pub fn peer_addr(&mut self, socket: &str) {
        let known = sys::peer_addr(self.raw(socket)).is_some();
        self.call(&format!("peer_addr {socket}"), &format!("known {known}"));
    }

    /// TCP_NODELAY and the rest.
    pub fn set_options(&mut self, socket: &str) {
        sys::set_tcp_options(self.raw(socket));
    }

    /// A file with these bytes, and its descriptor.
    pub fn file(&mut self, bytes: &[u8]) -> (sys::File, i32) {
        let path = self.directory.path().join("file");
        match &self.installed {
            Some(installed) => installed.add_file(&path, bytes),
            None => std::fs::write(&path, bytes).expect("a file"),
        }
        let directory = sys::Directory::open(self.directory.path()).expect("a directory");
        let (file, _) = directory
            .open_beneath(Path::new("file"), Links::Inside)
            .expect("the file");
        let fd = file.as_raw_fd();
        (file, fd)
    }

    /// preadv2(2) at once.
    pub fn read_now(&mut self, file: &sys::File, offset: u64, bytes_max: usize) {
        let mut buffer = Vec::with_capacity(64);
        let mut read = |may_wait| sys::read_now(file, offset, &mut buffer, bytes_max, may_wait);
        // The real file may be on a file system that does not say.
        let read = read(false).or_else(|error| match error.kind() {
            io::ErrorKind::Unsupported => read(true),
            _ => Err(error),
        });
        let result = match read {
            Ok(count) => format!("{count} {:?}", buffer.escape_ascii().to_string()),
            Err(error) => io_error(&error),
        };
        self.call(&format!("read_now at {offset}"), &result);
    }

    /// sendfile(2) at once.
    pub fn send_file_now(&mut self, socket: &str, file: &sys::File, offset: u64, bytes: usize) {
        let result = sys::send_file_now(self.raw(socket), file, offset, bytes);
        let result = self.sent_now(bytes, result);
        self.call(&format!("send_file_now {socket}"), &result);
    }

    /// O_NONBLOCK.
    pub fn set_nonblocking(&mut self, socket: &str) {
        let result = sys::set_nonblocking(self.raw(socket));
        let result = format!("{:?}", result.is_ok());
        self.call(&format!("set_nonblocking {socket}"), &result);
    }

    // ---- operations --------------------------------------------------------------------------

    fn submit(&mut self, name: &'static str, kind: Kind, op: Op, memory: Vec<u8>) {
        let token = Token::slot(self.operations.len() as u32, 0);
        self.operations.push(Operation {
            name,
            kind,
            open: true,
            memory,
            received: 0,
            _pieces: None,
            _address: None,
        });
        // SAFETY: what `op` points to lies on the heap and is kept in `operations`, untouched,
        // until the end of the stage, which comes after the last completion (`finish`), or is
        // leaked (`drop`).
        unsafe { self.ring.push(op, token) };
    }

    /// Accepts one connection, which gets the operation's name and a number.
    pub fn accept(&mut self, name: &'static str, listener: &str) {
        let fd = self.raw(listener);
        self.submit(name, Kind::Accept, Op::Accept { fd }, Vec::new());
    }

    /// Accepts all connections.
    pub fn accept_multi(&mut self, name: &'static str, listener: &str) {
        let fd = self.raw(listener);
        self.submit(name, Kind::Accept, Op::AcceptMulti { fd }, Vec::new());
    }

    /// Connects a socket.
    pub fn connect(&mut self, name: &'static str, socket: &str, to: &Address) {
        let fd = self.raw(socket);
        let address = SocketAddress::new(to).expect("an address");
        let op = Op::Connect {
            fd,
            address: address.as_ptr(),
            address_bytes: address.len(),
        };
        self.submit(name, Kind::Other, op, Vec::new());
        let operation = self.operations.last_mut().expect("just submitted");
        operation._address = Some(address);
    }

    /// Receives once into a buffer of the ring.
    pub fn recv_select(&mut self, name: &'static str, socket: &str, poll_first: bool) {
        let fd = self.raw(socket);
        let op = Op::RecvSelect { fd, poll_first };
        self.submit(name, Kind::Receive, op, Vec::new());
    }

    /// Receives again and again into buffers of the ring.
    pub fn recv_multi(&mut self, name: &'static str, socket: &str, poll_first: bool) {
        let fd = self.raw(socket);
        let op = Op::RecvMulti { fd, poll_first };
        self.submit(name, Kind::Receive, op, Vec::new());
    }

    /// Receives at most `bytes` into memory of the stage.
    pub fn recv(&mut self, name: &'static str, socket: &str, bytes: usize, poll_first: bool) {
        let fd = self.raw(socket);
        let mut memory = vec![0; bytes];
        let op = Op::Recv {
            fd,
            start: memory.as_mut_ptr(),
            bytes: bytes as u32,
            poll_first,
        };
        self.submit(name, Kind::Receive, op, memory);
    }

    /// Sends bytes.
    pub fn send(&mut self, name: &'static str, socket: &str, bytes: &[u8]) {
        let fd = self.raw(socket);
        let memory = bytes.to_vec();
        let op = Op::Send {
            fd,
            start: memory.as_ptr(),
            bytes: bytes.len() as u32,
        };
        self.submit(name, Kind::Send, op, memory);
    }

    /// Sends pieces as one message.
    pub fn send_pieces(&mut self, name: &'static str, socket: &str, pieces: &[&[u8]]) {
        let fd = self.raw(socket);
        let memory = pieces.concat();
        let mut list = Box::new(PieceList::new());
        let mut rest = &memory[..];
        for piece in pieces {
            let (start, end) = rest.split_at(piece.len());
            assert!(list.push(start), "too many pieces");
            rest = end;
        }
        let op = Op::SendMsg {
            fd,
            message: list.message(),
        };
        self.submit(name, Kind::Send, op, memory);
        self.operations.last_mut().expect("just submitted")._pieces = Some(list);
    }

    /// Reads a file or an event; the bytes are recorded.
    pub fn read(&mut self, name: &'static str, fd: i32, bytes: usize, offset: u64) {
        let mut memory = vec![0; bytes];
        let op = Op::Read {
            fd,
            start: memory.as_mut_ptr(),
            bytes: bytes as u32,
            offset,
        };
        self.submit(name, Kind::Receive, op, memory);
    }

    /// Reads an event.
    pub fn read_event(&mut self, name: &'static str, event: &str) {
        self.read(name, self.raw(event), 8, u64::MAX);
    }

    /// Cancels the latest operation called `target`.
    pub fn cancel(&mut self, name: &'static str, target: &str) {
        let index = self
            .operations
            .iter()
            .rposition(|operation| operation.name == target)
            .expect("the target was submitted");
        self.cancel_token(name, Token::slot(index as u32, 0));
    }

    /// Cancels by token.
    pub fn cancel_token(&mut self, name: &'static str, token: Token) {
        self.submit(name, Kind::Other, Op::Cancel { token }, Vec::new());
    }

    /// The slot of the operation submitted last.
    pub fn last_index(&self) -> u32 {
        self.operations.len() as u32 - 1
    }

    /// Cancels all.
    pub fn cancel_all(&mut self, name: &'static str) {
        self.submit(name, Kind::Other, Op::CancelAll, Vec::new());
    }

    // ---- completions -------------------------------------------------------------------------

    /// Keeps received buffers instead of giving them back at once.
    pub fn hold_buffers(&mut self) {
        self.hold = true;
    }

    /// Gives held buffers back, oldest first, at most `count`.
    pub fn give_back(&mut self, count: usize) {
        let count = count.min(self.held.len());
        self.held.drain(..count);
        self.call("give back", &count.to_string());
    }

    /// Submits, and takes completions until nothing comes for a while. One step of the trace.
    pub fn settle(&mut self) {
        let mut step = Vec::new();
        for _ in 0..ENTERS_MAX {
            let before = step.len();
            self.turn(Wait::For(self.quiet), &mut step);
            if step.len() == before {
                self.lines.push(Line::Step(step));
                return;
            }
        }
        panic!("it never gets quiet");
    }

    /// One enter that does not wait, and what it brought.
    pub fn turn_once(&mut self) {
        let mut step = Vec::new();
        self.turn(Wait::Zero, &mut step);
        self.lines.push(Line::Step(step));
    }

    /// One enter that waits, and whether it took at least, and not much more than, that long.
    pub fn wait(&mut self, wait: Duration) {
        let before = clock::now();
        let mut step = Vec::new();
        self.turn(Wait::For(wait), &mut step);
        let waited = clock::now() - before;
        let text = if waited < wait { "less" } else { "all of it" };
        self.call(&format!("waited {wait:?}"), text);
        self.lines.push(Line::Step(step));
    }

    /// What the ring counted.
    pub fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    fn turn(&mut self, wait: Wait, step: &mut Vec<Completion>) {
        self.ring.enter(wait).expect("enter");
        let mut cqes = Vec::new();
        self.ring.completions(&mut cqes, usize::MAX);
        for cqe in &cqes {
            let completion = self.completed(cqe);
            step.push(completion);
        }
    }

    fn completed(&mut self, cqe: &Cqe) -> Completion {
        let index = cqe.token.index() as usize;
        let operation = &mut self.operations[index];
        assert!(operation.open, "{}: after its last", operation.name);
        operation.open = cqe.more();
        operation.received = usize::try_from(cqe.result).unwrap_or(0);
        let lease = self.ring.lease(cqe);
        let mut completion = Completion {
            operation: operation.name,
            index,
            result: cqe.result.to_string(),
            more: cqe.more(),
            buffer: lease.is_some(),
            bytes: None,
        };
        if cqe.result < 0 {
            completion.result = errno_name(-cqe.result);
        } else if operation.kind == Kind::Receive {
            let bytes = match &lease {
                Some(lease) => lease.to_vec(),
                None => operation.memory[..cqe.result as usize].to_vec(),
            };
            completion.bytes = Some(bytes);
        } else if operation.kind == Kind::Send && self.round {
            let all = cqe.result as usize == operation.memory.len();
            completion.result = if all { "all" } else { "part" }.to_owned();
            self.sent += cqe.result as usize;
        } else if operation.kind == Kind::Accept {
            let name = operation.name;
            completion.result = "socket".to_owned();
            // SAFETY: the kernel has just returned this descriptor to us alone.
            let socket = unsafe { Socket::from_raw(cqe.result) };
            let number = (1..)
                .find(|number| !self.sockets.contains_key(&format!("{name}{number}")))
                .expect("a free number");
            self.sockets.insert(format!("{name}{number}"), socket);
        }
        if self.hold {
            self.held.extend(lease);
        }
        completion
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.open().next().is_some() {
            // A failed script: the kernel may still write there.
            mem::forget(mem::take(&mut self.operations));
        }
    }
}

/// An error's name.
pub fn io_error(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => errno_name(number),
        None => format!("{:?}", error.kind()),
    }
}
