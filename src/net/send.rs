//! Sending: all output of a turn in one send, at once when few connections are served, by the ring
//! when many are; parts of files as `net::send_file` says.

use std::cell::RefCell;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::limits::FILE_READ_ATTEMPTS_MAX;
use crate::limits::FILE_SENDS_PER_TURN;
use crate::limits::INLINE_SEND_BYTES_MAX;
use crate::limits::SEND_BYTES_MAX;
use crate::limits::SEND_SEGMENTS_MAX;
use crate::limits::SENDS_PER_TURN;
use crate::limits::WHEEL_TICK;
use crate::net::network::Net;
use crate::net::output::Output;
use crate::net::output::Segment;
use crate::net::output::give_buffer;
use crate::net::output::recycle;
use crate::net::protocol::Receive;
use crate::net::send_file::Ahead;
use crate::net::send_file::AtOnce;
use crate::net::send_file::bridge;
use crate::net::send_file::look_ahead;
use crate::net::send_file::read_of_front;
use crate::net::send_file::send_file;
use crate::net::table::Closing;
use crate::net::table::Connection;
use crate::net::table::ConnectionKey;
use crate::net::table::NOT_LOOKED;
use crate::net::table::Receiving;
use crate::net::table::Sending;
use crate::net::table::look_at;
use crate::reactor::Errno;
use crate::reactor::OwnerId;
use crate::reactor::bug;
use crate::reactor::bug::Bug;
use crate::reactor::operation::Completion;
use crate::reactor::operation::Operation;
use crate::reactor::operation::Piece;
use crate::reactor::operation::Pieces;
use crate::reactor::outcome::SendFailure;
use crate::reactor::outcome::send_failure;
use crate::reactor::sys;
use crate::runtime::Core;
use crate::runtime::Instant;

/// What the flush of one connection came to.
enum Flushed {
    /// The kernel took all there is.
    All,
    /// A send or a file read is in flight; its completion goes on.
    InFlight,
    /// There is more that could be sent now: it is the turn of others.
    Yields,
    /// The peer takes nothing more.
    Broken(Errno),
    /// What was announced cannot be sent.
    Failed(Errno),
}

impl Net {
    /// Sends what a connection has, asks its protocol for more when there is room, and closes it
    /// when that was the last.
    pub(super) fn flush_connection(&self, core: &Rc<Core>, key: ConnectionKey) {
        for _ in 0..SENDS_PER_TURN {
            let (flushed, is_taken_due) = {
                let mut table = self.table.borrow_mut();
                let Some(connection) = table.get_mut(key) else {
                    return;
                };
                connection.dirty = false;
                if connection.close == Closing::Waiting {
                    return;
                }
                let flushed = self.send_output(core, key, connection);
                self.settle_deadline(core, connection);
                let endpoint = connection.endpoint.as_ref();
                (flushed, endpoint.is_some_and(|e| e.io.is_taken_due()))
            };
            if is_taken_due {
                self.tell_taken(core, key);
            }
            match flushed {
                Flushed::All | Flushed::InFlight => {}
                Flushed::Yields => self.mark_dirty(key),
                Flushed::Broken(errno) => return self.break_send(core, key, errno),
                Flushed::Failed(errno) => return self.fail(core, key, errno),
            }
            if !self.ask_for_more(core, key) {
                break;
            }
        }
        if let Some(errno) = self.waits_in_vain(key) {
            self.fail(core, key, errno);
            return;
        }
        self.finish_if_flushed(core, key);
    }

    /// Tells the protocol that our kernel took the output that it had marked.
    #[cold]
    fn tell_taken(&self, core: &Rc<Core>, key: ConnectionKey) {
        let is_due = |connection: &mut Connection| {
            let endpoint = connection.endpoint.as_mut();
            endpoint.is_some_and(|endpoint| endpoint.io.take_due_taken())
        };
        self.lend(core, key, is_due, |_, endpoint| {
            endpoint.protocol.on_taken(&mut endpoint.io);
        });
    }

    /// Queues a connection for the next flush.
    fn mark_dirty(&self, key: ConnectionKey) {
        if let Some(connection) = self.table.borrow_mut().get_mut(key) {
            connection.dirty = true;
            self.dirty.borrow_mut().push(key);
        }
    }

    /// Why nothing will happen on a connection any more: its protocol receives nothing until there
    /// is room for output, and the peer takes none.
    fn waits_in_vain(&self, key: ConnectionKey) -> Option<Errno> {
        let mut table = self.table.borrow_mut();
        let connection = table.get_mut(key)?;
        let Sending::Broken { errno, .. } = connection.send else {
            return None;
        };
        let io = &connection.endpoint.as_ref()?.io;
        let is_deaf = connection.recv == Receiving::Idle && io.receive == Receive::Paused;
        let waits = connection.close == Closing::Open && io.wants_sent();
        (is_deaf && waits).then_some(errno)
    }

    /// Calls `on_sent` if it was asked for and there is room. True if there is more to send. A
    /// connection that cannot send has no room: its protocol would produce for ever.
    fn ask_for_more(&self, core: &Rc<Core>, key: ConnectionKey) -> bool {
        {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return false;
            };
            let Some(endpoint) = &mut connection.endpoint else {
                return false;
            };
            let is_broken = matches!(connection.send, Sending::Broken { .. });
            if is_broken || connection.close != Closing::Open || !endpoint.io.take_due_sent() {
                return false;
            }
        }
        self.call(core, key, |protocol, io| protocol.on_sent(io));
        let mut table = self.table.borrow_mut();
        table
            .get_mut(key)
            .is_some_and(|connection| connection.dirty)
    }

    fn send_output(
        &self,
        core: &Rc<Core>,
        key: ConnectionKey,
        connection: &mut Connection,
    ) -> Flushed {
        let Some(endpoint) = &mut connection.endpoint else {
            return Flushed::InFlight;
        };
        let fd = connection.socket.raw();
        if let Sending::Broken { .. } = connection.send {
            endpoint.io.drop_output(&mut self.spent.borrow_mut());
            return Flushed::All;
        }
        if connection.send == Sending::Idle
            && let Some(buffer) = endpoint.io.output.take_filled()
        {
            let all = buffer.len();
            let (unsent, inline) = send_filled(fd, buffer, core.sends_at_once());
            let unsent_bytes = unsent.as_ref().map_or(0, |piece| piece.rest().len());
            if let Flushed::Broken(_) = inline {
                endpoint.io.dropped_bytes += all as u64;
            } else {
                endpoint.io.taken_bytes += (all - unsent_bytes) as u64;
            }
            if let Some(piece) = unsent {
                endpoint.io.in_flight_bytes = piece.rest().len() as u64;
                connection.lag_ms = 0;
                connection.send = Sending::InFlight(core.now());
                let operation = Operation::Send(piece);
                let owner = (self.id.get(), key.pack());
                core.reactor().submit(fd, None, operation, owner);
            }
            return inline;
        }
        self.send_queue(core, key, connection)
    }

    /// Sends what is queued: pieces in memory and parts of files, in order.
    fn send_queue(
        &self,
        core: &Rc<Core>,
        key: ConnectionKey,
        connection: &mut Connection,
    ) -> Flushed {
        let io = &mut connection.endpoint.as_mut().expect("it was there").io;
        let (output, rate_min) = (&mut io.output, io.write_rate_min);
        let fd = connection.socket.raw();
        let owner = (self.id.get(), key.pack());
        let mut ahead = Ahead::Nothing;
        let mut files_sent = 0;
        loop {
            let is_idle = connection.send == Sending::Idle;
            if is_idle && !connection.reading && ahead != Ahead::Cached {
                ahead = look_ahead(output, &self.looks);
            }
            let before = output.len();
            let at_once = match output.front() {
                None if is_idle => {
                    connection.lag_ms = 0;
                    return Flushed::All;
                }
                Some(Segment::Memory(_)) if is_idle => {
                    // What has a file behind it goes at once, and the file with it.
                    let is_direct = matches!(ahead, Ahead::Cached | Ahead::Copied);
                    let has_more = ahead == Ahead::Cached;
                    match core.sends_at_once() || is_direct {
                        true => send_inline(fd, output, has_more, &mut self.spent.borrow_mut()),
                        false => AtOnce::WouldBlock,
                    }
                }
                Some(Segment::File { .. }) if is_idle && ahead == Ahead::Cached => {
                    if files_sent == FILE_SENDS_PER_TURN {
                        return Flushed::Yields;
                    }
                    files_sent += 1;
                    ahead = Ahead::Nothing;
                    send_file(fd, &mut connection.nonblocking, output, &self.looks)
                }
                Some(Segment::File { is_cold: true, .. }) if !connection.reading => {
                    let operation = read_of_front(output);
                    submit_read(core, operation, owner);
                    connection.reading = true;
                    return Flushed::InFlight;
                }
                None | Some(_) => return Flushed::InFlight,
            };
            let taken = before.saturating_sub(output.len());
            io.taken_bytes += taken;
            if connection.lag_ms > 0 {
                connection.lag_ms = less_lag(connection.lag_ms, taken, rate_min);
            }
            match at_once {
                AtOnce::Sent => continue,
                AtOnce::WouldBlock => {}
                AtOnce::Broken(errno) => return Flushed::Broken(errno),
                AtOnce::Failed(errno) => return Flushed::Failed(errno),
            }
            if !bridge(output, &self.looks) {
                continue;
            }
            let (operation, bytes) = send_of_front(output);
            core.reactor().submit(fd, None, operation, owner);
            io.in_flight_bytes = bytes;
            connection.send = waits_from(core.now(), connection.lag_ms);
        }
    }

    /// A send of the ring completed.
    pub(super) fn sent(&self, core: &Rc<Core>, key: ConnectionKey, completion: Completion) {
        let failure = {
            let mut table = self.table.borrow_mut();
            let connection = table
                .get_mut(key)
                .expect("a connection waits for its operations");
            let endpoint = connection.endpoint.as_mut().expect("no call is under way");
            let waits = std::mem::replace(&mut connection.send, Sending::Idle);
            connection.unacknowledged = NOT_LOOKED;
            endpoint.io.in_flight_bytes = 0;
            endpoint.io.sent_at = core.now();
            let sent = completion.result.unwrap_or(0) as usize;
            endpoint.io.taken_bytes += sent as u64;
            // What came within a tick is no sign of a slow peer, and is what nearly all sends are.
            connection.lag_ms = match waits {
                Sending::InFlight(since) if since + WHEEL_TICK < core.now() => {
                    let waited = core.now().since(since);
                    lag_ms(waited, sent as u64, endpoint.io.write_rate_min)
                }
                _ => 0,
            };
            let operation = completion.operation.expect("a send completes once");
            let spent = &mut self.spent.borrow_mut();
            give_back(&mut endpoint.io.output, operation, sent, spent);
            match completion.result.map_err(send_failure) {
                Ok(_) | Err(SendFailure::Retry | SendFailure::Canceled) => None,
                Err(SendFailure::Broken(errno)) => Some(errno),
            }
        };
        match failure {
            Some(errno) => self.break_send(core, key, errno),
            None => self.flush_now_or_later(core, key),
        }
    }

    /// A part of a file has been read for the output.
    pub(super) fn file_read(&self, core: &Rc<Core>, key: ConnectionKey, completion: Completion) {
        let Some(Operation::Read { buffer, .. }) = completion.operation else {
            panic!("a file read gives its buffer back")
        };
        let failure = {
            let mut table = self.table.borrow_mut();
            let connection = table
                .get_mut(key)
                .expect("a connection waits for its operations");
            connection.reading = false;
            let endpoint = connection.endpoint.as_mut().expect("no call is under way");
            match completion.result {
                // The output it was for has been dropped.
                Ok(_) if connection.close == Closing::Waiting => None,
                Ok(_) if matches!(connection.send, Sending::Broken { .. }) => None,
                // The file is shorter than when its length was announced: the peer must notice.
                Ok(0) => Some(Errno::EIO),
                Ok(_) => {
                    connection.failed_reads = 0;
                    // It goes out in this turn, or by a send that says so itself.
                    endpoint.io.sent_at = core.now();
                    endpoint.io.output.replace_file_part(buffer);
                    None
                }
                Err(Errno::EINTR | Errno::EAGAIN | Errno::ECANCELED)
                    if connection.failed_reads < FILE_READ_ATTEMPTS_MAX =>
                {
                    connection.failed_reads += 1;
                    None
                }
                // Whatever it is, it is the file's, and no end that the peer made.
                Err(_) => Some(Errno::EIO),
            }
        };
        match failure {
            Some(errno) => self.fail(core, key, errno),
            None => self.flush_now_or_later(core, key),
        }
    }

    /// Queues the connection for the flush of this turn; one that is being shut down may be over.
    fn flush_now_or_later(&self, core: &Rc<Core>, key: ConnectionKey) {
        {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return;
            };
            if connection.close != Closing::Waiting {
                if connection.is_at_rest() {
                    connection.lag_ms = 0;
                    return;
                }
                if !connection.dirty {
                    connection.dirty = true;
                    self.dirty.borrow_mut().push(key);
                }
                self.settle_deadline(core, connection);
                return;
            }
        }
        self.finish_if_idle(core, key);
    }

    /// The peer takes nothing more. What it sent before may still be read: the receive decides.
    fn break_send(&self, core: &Rc<Core>, key: ConnectionKey, errno: Errno) {
        let is_over = {
            let mut table = self.table.borrow_mut();
            let Some(connection) = table.get_mut(key) else {
                return;
            };
            let since = core.now();
            connection.send = Sending::Broken { errno, since };
            if let Some(endpoint) = &mut connection.endpoint {
                endpoint.io.is_send_broken = true;
                endpoint.io.drop_output(&mut self.spent.borrow_mut());
            }
            let will_hear = matches!(
                connection.recv,
                Receiving::Once(_)
                    | Receiving::Standing(_)
                    | Receiving::Body(_)
                    | Receiving::Starved
            );
            self.settle_deadline(core, connection);
            connection.close != Closing::Open || !will_hear
        };
        if is_over {
            self.fail(core, key, errno);
        }
    }
}

/// True when what is waited for to be sent has taken too long. Looks what the peer acknowledges of a
/// send that is in flight, and counts that as progress.
pub(super) fn is_late(connection: &mut Connection, now: Instant) -> bool {
    let Some(endpoint) = &connection.endpoint else {
        return false;
    };
    let (timeout, rate_min) = (endpoint.io.write_timeout, endpoint.io.write_rate_min);
    let Sending::InFlight(since) = connection.send else {
        let since = connection.send.waits_since();
        return since.is_some_and(|since| since + timeout <= now);
    };
    if now < look_at(since, timeout) {
        return false;
    }
    let bytes = sys::unacknowledged_bytes(connection.socket.raw()).unwrap_or(0);
    let bytes = u32::try_from(bytes).unwrap_or(NOT_LOOKED - 1);
    let before = std::mem::replace(&mut connection.unacknowledged, bytes.min(NOT_LOOKED - 1));
    if before == NOT_LOOKED {
        return false;
    }
    let lag = lag_ms(
        now.since(since),
        u64::from(before.saturating_sub(bytes)),
        rate_min,
    );
    connection.send = waits_from(now, lag);
    Duration::from_millis(u64::from(lag)) >= timeout
}

/// A send that begins now, of a peer that lags behind already.
fn waits_from(now: Instant, lag_ms: u32) -> Sending {
    Sending::InFlight(match lag_ms {
        0 => now,
        lag => now.before(Duration::from_millis(u64::from(lag))),
    })
}

/// The lag after the peer took some bytes at once.
fn less_lag(lag: u32, taken: u64, rate_min: u32) -> u32 {
    lag_ms(Duration::from_millis(u64::from(lag)), taken, rate_min)
}

/// How far a peer lags behind that took so many bytes after such a wait.
fn lag_ms(waited: Duration, sent: u64, rate_min: u32) -> u32 {
    let earned = (sent * 1_000).checked_div(u64::from(rate_min));
    let Some(earned) = earned else {
        // Without a rate, any progress does.
        return if sent > 0 { 0 } else { clamp_ms(waited) };
    };
    clamp_ms(waited.saturating_sub(Duration::from_millis(earned)))
}

fn clamp_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn submit_read(core: &Core, operation: Operation, owner: (OwnerId, u64)) {
    let Operation::Read { file, .. } = &operation else {
        panic!("{operation:?} is no read")
    };
    let file_fd = file.as_raw_fd();
    core.reactor().submit(file_fd, None, operation, owner);
}

/// Sends one buffer of copies, `at_once` if that is better. What is left of it is for
/// the ring.
fn send_filled(fd: i32, buffer: Vec<u8>, at_once: bool) -> (Option<Piece>, Flushed) {
    let mut sent = 0;
    if at_once && buffer.len() <= INLINE_SEND_BYTES_MAX {
        match sys::send_now(fd, &buffer) {
            Ok(bytes) => sent = bytes,
            Err(error) => {
                if let SendFailure::Broken(errno) = send_failure(Errno::from_io(&error)) {
                    give_buffer(buffer);
                    return (None, Flushed::Broken(errno));
                }
            }
        }
        if sent == buffer.len() {
            give_buffer(buffer);
            return (None, Flushed::All);
        }
    }
    (Some(Piece::Owned { buffer, sent }), Flushed::InFlight)
}

/// send(2) of what is in memory at the front. `has_more` says that a file follows at once.
fn send_inline(fd: i32, output: &mut Output, has_more: bool, spent: &mut Vec<Bytes>) -> AtOnce {
    let mut total = 0;
    let result = {
        let mut slices = [IoSlice::new(&[]); SEND_SEGMENTS_MAX];
        let mut count = 0;
        for piece in output.front_pieces().take(SEND_SEGMENTS_MAX) {
            slices[count] = IoSlice::new(piece.rest());
            total += piece.rest().len();
            count += 1;
        }
        if total > INLINE_SEND_BYTES_MAX {
            return AtOnce::WouldBlock;
        }
        match count {
            1 if !has_more => sys::send_now(fd, &slices[0]),
            _ => sys::send_pieces_now(fd, &slices[..count], has_more),
        }
    };
    let sent = match result {
        Ok(sent) => sent,
        Err(error) => match send_failure(Errno::from_io(&error)) {
            SendFailure::Retry | SendFailure::Canceled => return AtOnce::WouldBlock,
            SendFailure::Broken(errno) => return AtOnce::Broken(errno),
        },
    };
    output.advance(sent, spent);
    if sent == total {
        AtOnce::Sent
    } else {
        AtOnce::WouldBlock
    }
}

thread_local! {
    /// One list of pieces that nobody uses; larger sends are rare enough for one.
    static FREE_PIECES: RefCell<Option<Box<Pieces>>> = const { RefCell::new(None) };
}

/// Takes what is in memory at the front into one send of the ring, and says how many bytes.
fn send_of_front(output: &mut Output) -> (Operation, u64) {
    let Some(Segment::Memory(first)) = output.pop() else {
        panic!("nothing to send")
    };
    let mut bytes = first.rest().len();
    let has_more = output.front_pieces().next().is_some();
    if !has_more || bytes >= SEND_BYTES_MAX {
        return (Operation::Send(first), bytes as u64);
    }
    let mut pieces = FREE_PIECES
        .with_borrow_mut(Option::take)
        .unwrap_or_default();
    pieces.pieces.push(first);
    while pieces.pieces.len() < SEND_SEGMENTS_MAX {
        let Some(next) = output.front_pieces().next().map(|piece| piece.rest().len()) else {
            break;
        };
        if bytes + next > SEND_BYTES_MAX {
            break;
        }
        let Some(Segment::Memory(piece)) = output.pop() else {
            panic!("the piece was there")
        };
        pieces.pieces.push(piece);
        bytes += next;
    }
    (Operation::SendPieces(pieces), bytes as u64)
}

/// Puts back what the send did not take.
fn give_back(output: &mut Output, operation: Operation, sent: usize, spent: &mut Vec<Bytes>) {
    match operation {
        Operation::Send(mut piece) => {
            piece.advance(sent);
            if piece.rest().is_empty() {
                recycle(piece, spent);
            } else if bug::is_planted(Bug::SendMisattributed) {
                output.push_back(Segment::Memory(piece));
            } else {
                output.push_front(Segment::Memory(piece));
            }
        }
        Operation::SendPieces(mut list) => {
            // The last first, so that the first ends up in front.
            let lengths: usize = list.pieces.iter().map(|piece| piece.rest().len()).sum();
            let mut unsent = lengths - sent;
            while let Some(mut piece) = list.pieces.pop() {
                let keep = unsent.min(piece.rest().len());
                unsent -= keep;
                if keep == 0 {
                    recycle(piece, spent);
                } else {
                    piece.advance(piece.rest().len() - keep);
                    output.push_front(Segment::Memory(piece));
                }
            }
            FREE_PIECES.with_borrow_mut(|free| *free = Some(list));
        }
        other => panic!("{other:?} is no send"),
    }
}
