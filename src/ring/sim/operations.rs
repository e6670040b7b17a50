//! What the simulated kernel does with each operation.
//!
//! ```text
//!   submit ─► attempt ─► finish ─► completion
//!               ▲  └─ would block ─► waits for its socket
//!               └────── work ◄────────────┘ woken
//! ```

use std::os::fd::RawFd;
use std::ptr;
use std::slice;
use std::time::Duration;

use nix::sys::socket::SockaddrLike;
use nix::sys::socket::SockaddrStorage;

use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::Wait;
use crate::ring::sim::agenda::Event;
use crate::ring::sim::calls;
use crate::ring::sim::faults::Fault;
use crate::ring::sim::network::EndpointId;
use crate::ring::sim::network::Kind;
use crate::ring::sim::network::OperationRef;
use crate::ring::sim::queue::State;
use crate::ring::sim::world::World;
use crate::ring::sim::world::name_of;
use crate::ring::sys::Address;
use crate::ring::token::Token;

/// A standing receive is put behind other work after so many completions (io_uring/net.c,
/// MULTISHOT_MAX_RETRY).
const MULTISHOT_RETRIES_MAX: usize = 32;

impl World {
    /// The first half of io_uring_enter(2).
    pub(super) fn begin_enter(&mut self, ring: usize, wait: Wait) {
        let queues = self.queues(ring);
        queues.refill();
        let returned = queues.picker.look();
        let is_spinning = queues.is_spinning(wait != Wait::Zero);
        let mut submissions = std::mem::take(&mut queues.submissions);
        if let Err(text) = returned {
            self.violation(text);
        }
        if is_spinning {
            self.violation("thousands of turns in a row did nothing and did not wait");
        }
        for (op, token) in submissions.drain(..) {
            self.submit(ring, op, token);
        }
        self.queues(ring).submissions = submissions;
        if self.has_failed {
            self.cancel_all(ring);
        }
    }

    fn submit(&mut self, ring: usize, op: Op, token: Token) {
        self.note(|| format!("submit {} as {}", describe(op), label(token)));
        match op {
            Op::Cancel { token: target } => return self.cancel(ring, target, token),
            Op::CancelAll => {
                let count = self.cancel_all(ring);
                return self.post(ring, Cqe::new(token, count, false, None), None, true);
            }
            _ => {}
        }
        let fd = descriptor(op);
        let endpoint = self.endpoint_of(fd);
        let index = self.queues(ring).begin(op, token, endpoint);
        if !self.queues(ring).ledger.lend(&op) {
            let what = describe(op);
            self.violation(format!(
                "{what} uses memory that another operation writes to"
            ));
        }
        if calls::is_simulated(fd) && endpoint.is_none() {
            self.see_closed(fd, || describe(op));
            return self.finish(ring, index, -libc::EBADF);
        }
        if let Some(endpoint) = endpoint {
            self.hold_endpoint(endpoint);
            self.count(endpoint, op, 1);
            if polls_first(op) && self.polls(ring, index, endpoint) {
                return;
            }
        }
        if self.chaos.strikes(Fault::Delayed) {
            let delay = self.chaos.delay(1_000..1_000_000);
            let operation = self.queues(ring).reference(ring, index);
            self.agenda.add(self.now() + delay, Event::Work(operation));
        } else {
            self.attempt(ring, index);
        }
    }

    /// Waits for readiness before the first attempt. False when the socket is ready.
    fn polls(&mut self, ring: usize, index: u32, endpoint: EndpointId) -> bool {
        let found = self
            .net
            .get_mut(endpoint)
            .expect("an operation holds its socket");
        let is_over = found.has_end || found.is_broken || found.is_shut_read || found.error != 0;
        match found.kind {
            Kind::Stream | Kind::Connecting => {}
            _ => return false,
        }
        // An end that is there already behind the data makes no second edge (observed on 6.18).
        let has_end = found.has_end || found.is_shut_read;
        let is_silent = found.is_broken || (has_end && found.is_unix);
        let misses_end = is_silent && found.arrived > 0;
        let is_ready = found.arrived > 0 || is_over;
        let queues = self.queues(ring);
        let operation = queues.reference(ring, index);
        if !is_ready {
            self.wait_readable(endpoint, operation);
            return true;
        }
        let found = &mut queues.operations[index as usize];
        found.misses_end = misses_end;
        found.is_claimed = !matches!(found.op, Op::RecvMulti { .. });
        queues.work.push_back(index);
        true
    }

    /// Runs the operations that were woken. False when there were none.
    pub(super) fn run_work(&mut self, ring: usize) -> bool {
        let count = self.queues(ring).work.len();
        for _ in 0..count {
            let queues = self.queues(ring);
            let index = queues.work.pop_front().expect("they were counted");
            if queues.operations[index as usize].state == State::Pending {
                self.attempt(ring, index);
            }
        }
        count > 0
    }

    pub(super) fn queue_work(&mut self, operation: OperationRef) {
        if let Some(queues) = &mut self.rings[operation.ring as usize]
            && queues.is_pending(operation)
        {
            queues.work.push_back(operation.index);
        }
    }

    fn attempt(&mut self, ring: usize, index: u32) {
        let operation = &self.queues(ring).operations[index as usize];
        let (op, endpoint) = (operation.op, operation.endpoint);
        // After a violation the memory may be gone: nothing of it is touched any more.
        if operation.is_canceled || !self.violations.is_empty() {
            return self.finish(ring, index, -libc::ECANCELED);
        }
        if !matches!(op, Op::Connect { .. }) {
            if self.chaos.strikes(Fault::Canceled) {
                return self.finish(ring, index, -libc::ECANCELED);
            }
            if self.chaos.strikes(Fault::Interrupted) {
                return self.finish(ring, index, -libc::EINTR);
            }
        }
        let Some(endpoint) = endpoint else {
            return self.read_file(ring, index, op);
        };
        match op {
            Op::Accept { .. } | Op::AcceptMulti { .. } => self.accept(ring, index, op, endpoint),
            Op::Connect { .. } => self.connect(ring, index, op, endpoint),
            Op::RecvSelect { .. } | Op::RecvMulti { .. } | Op::Recv { .. } => {
                self.receive(ring, index, op, endpoint);
            }
            Op::Send { .. } | Op::SendMsg { .. } => self.send(ring, index, op, endpoint),
            Op::Read { .. } => self.read_counter(ring, index, op, endpoint),
            Op::Cancel { .. } | Op::CancelAll => panic!("{op:?} is over when it is submitted"),
        }
    }

    // ---- completions -----------------------------------------------------------------------

    fn finish(&mut self, ring: usize, index: u32, result: i32) {
        self.finish_with(ring, index, result, None);
    }

    fn finish_with(&mut self, ring: usize, index: u32, result: i32, buffer: Option<u16>) {
        let token = self.queues(ring).operations[index as usize].token;
        let cqe = Cqe::new(token, result, false, buffer);
        self.post(ring, cqe, Some(index), true);
    }

    /// Posts a completion of a standing operation. False when it was the last one: no room is
    /// left, or the kernel ends it as it may at any time.
    fn post_more(&mut self, ring: usize, index: u32, result: i32, buffer: Option<u16>) -> bool {
        if self.queues(ring).is_full() || self.chaos.strikes(Fault::MultishotEnded) {
            self.finish_with(ring, index, result, buffer);
            return false;
        }
        let token = self.queues(ring).operations[index as usize].token;
        let cqe = Cqe::new(token, result, true, buffer);
        self.post(ring, cqe, Some(index), false);
        true
    }

    fn post(&mut self, ring: usize, cqe: Cqe, index: Option<u32>, is_last: bool) {
        self.note(|| {
            let more = if cqe.more() { " MORE" } else { "" };
            let buffer = cqe
                .buffer()
                .map_or(String::new(), |id| format!(" buffer {id}"));
            format!(
                "  {} completes: {}{more}{buffer}",
                label(cqe.token),
                outcome(cqe.result)
            )
        });
        self.queues(ring).post(cqe, index, is_last);
        if self.queues(ring).may_overtake() && self.chaos.strikes(Fault::Reordered) {
            let steps_max = self.queues(ring).count_overtakable();
            let steps = 1 + self.chaos.pick(steps_max);
            self.queues(ring).overtake(steps);
        }
    }

    fn wait_readable(&mut self, endpoint: EndpointId, operation: OperationRef) {
        let found = self
            .net
            .get_mut(endpoint)
            .expect("an operation holds its socket");
        found.readers.push(operation);
    }

    fn wait_writable(&mut self, endpoint: EndpointId, operation: OperationRef) {
        let found = self
            .net
            .get_mut(endpoint)
            .expect("an operation holds its socket");
        found.writers.push(operation);
    }

    /// Receives and sends of one socket that are in flight: of each at most one, by our own rule.
    pub(super) fn count(&mut self, endpoint: EndpointId, op: Op, change: i8) {
        let is_strict = self.is_strict;
        let Some(found) = self.net.get_mut(endpoint) else {
            return;
        };
        let counter = match op {
            Op::RecvSelect { .. } | Op::RecvMulti { .. } | Op::Recv { .. } => &mut found.receives,
            Op::Send { .. } | Op::SendMsg { .. } => &mut found.sends,
            _ => return,
        };
        *counter = counter
            .checked_add_signed(change)
            .expect("operations are counted in pairs");
        if is_strict && *counter > 1 {
            self.violation(format!("{} while another is in flight", describe(op)));
        }
    }

    // ---- cancelling ------------------------------------------------------------------------

    /// Its own result comes first; what it ended completes with the next work.
    fn cancel(&mut self, ring: usize, target: Token, own: Token) {
        let result = match self.queues(ring).find(target) {
            Some(index) => self.cancel_pending(ring, index),
            None => -libc::ENOENT,
        };
        self.post(ring, Cqe::new(own, result, false, None), None, true);
    }

    fn cancel_pending(&mut self, ring: usize, index: u32) -> i32 {
        let operation = &self.queues(ring).operations[index as usize];
        if operation.state != State::Pending || operation.is_claimed {
            return -libc::ENOENT;
        }
        if operation.is_canceled {
            return 0;
        }
        let is_file = operation.endpoint.is_none();
        if self.chaos.strikes(Fault::CancelLate) {
            // Another thread has it (io-wq), and completes it when it is done.
            if is_file && self.chaos.pick(2) == 1 {
                self.queues(ring).operations[index as usize].is_claimed = true;
                return -libc::EALREADY;
            }
            self.unhook(ring, index);
            self.attempt(ring, index);
            if self.queues(ring).operations[index as usize].state != State::Pending {
                return -[libc::ENOENT, libc::EALREADY][self.chaos.pick(2)];
            }
        }
        self.unhook(ring, index);
        let queues = self.queues(ring);
        queues.operations[index as usize].is_canceled = true;
        let operation = queues.reference(ring, index);
        // It is over, and says so now or with a later turn.
        self.work_soon(operation);
        0
    }

    /// Ends everything that is in flight on a ring, and counts it.
    fn cancel_all(&mut self, ring: usize) -> i32 {
        let mut count = 0;
        for index in 0..self.queues(ring).operations.len() as u32 {
            if self.queues(ring).operations[index as usize].state == State::Pending {
                count += i32::from(self.cancel_pending(ring, index) == 0);
            }
        }
        count
    }

    /// An operation waits for its socket no longer.
    fn unhook(&mut self, ring: usize, index: u32) {
        let queues = self.queues(ring);
        let operation = queues.reference(ring, index);
        let endpoint = queues.operations[index as usize].endpoint;
        if let Some(endpoint) = endpoint.and_then(|id| self.net.get_mut(id)) {
            endpoint.readers.remove(operation);
            endpoint.writers.remove(operation);
        }
    }

    // ---- accepting and connecting ----------------------------------------------------------

    fn accept(&mut self, ring: usize, index: u32, op: Op, listener: EndpointId) {
        loop {
            // The descriptor is taken first, even when nobody waits to be accepted (io_accept).
            if let Err(errno) = self.check_descriptors() {
                return self.finish(ring, index, -errno);
            }
            let found = self
                .net
                .get(listener)
                .expect("an operation holds its socket");
            let is_shut = found.is_shut_read;
            let is_waited_for = match &found.kind {
                Kind::Listener(queue) => !queue.is_empty(),
                Kind::Counter(_) => return self.finish(ring, index, -libc::ENOTSOCK),
                _ => return self.finish(ring, index, -libc::EINVAL),
            };
            if is_shut {
                return self.finish(ring, index, -libc::EINVAL);
            }
            if !is_waited_for {
                let operation = self.queues(ring).reference(ring, index);
                return self.wait_readable(listener, operation);
            }
            match self.accept_one(listener) {
                Err(errno) => return self.finish(ring, index, -errno),
                Ok(fd) if matches!(op, Op::Accept { .. }) => return self.finish(ring, index, fd),
                Ok(fd) => {
                    if !self.post_more(ring, index, fd, None) {
                        return;
                    }
                }
            }
        }
    }

    /// accept4(2) of a listener in whose queue there is somebody.
    pub(super) fn accept_one(&mut self, listener: EndpointId) -> Result<RawFd, i32> {
        if self.chaos.strikes(Fault::DescriptorsExhausted) {
            return Err(libc::EMFILE);
        }
        self.check_descriptors()?;
        let accepted = self.net.take_accepted(listener).ok_or(libc::EAGAIN)?;
        self.open_descriptor(accepted)
    }

    fn connect(&mut self, ring: usize, index: u32, op: Op, endpoint: EndpointId) {
        let has_begun = self.queues(ring).operations[index as usize].has_begun;
        if !has_begun {
            self.queues(ring).operations[index as usize].has_begun = true;
            match self
                .net
                .get(endpoint)
                .expect("an operation holds its socket")
                .kind
            {
                Kind::Fresh => {}
                Kind::Connecting => return self.finish(ring, index, -libc::EALREADY),
                Kind::Stream | Kind::Listener(_) => {
                    return self.finish(ring, index, -libc::EISCONN);
                }
                Kind::Counter(_) => return self.finish(ring, index, -libc::ENOTSOCK),
            }
            match address_of(op) {
                Some(address) => self.begin_connect(endpoint, address),
                None => return self.finish(ring, index, -libc::EAFNOSUPPORT),
            }
        }
        let found = self
            .net
            .get_mut(endpoint)
            .expect("an operation holds its socket");
        match found.kind {
            Kind::Stream | Kind::Fresh if found.error != 0 => {
                let errno = std::mem::take(&mut found.error);
                self.finish(ring, index, -errno);
            }
            Kind::Stream => self.finish(ring, index, 0),
            _ => {
                let operation = self.queues(ring).reference(ring, index);
                self.wait_writable(endpoint, operation);
            }
        }
    }

    // ---- receiving and sending -------------------------------------------------------------

    fn receive(&mut self, ring: usize, index: u32, op: Op, endpoint: EndpointId) {
        if self.net.is_connected(endpoint) && self.chaos.strikes(Fault::Reset) {
            self.break_between(endpoint);
        }
        for _ in 0..MULTISHOT_RETRIES_MAX {
            let (start, room, buffer) = match op {
                Op::Recv { start, bytes, .. } => (start, bytes as usize, None),
                _ => match self.pick(ring) {
                    None => return self.finish(ring, index, -libc::ENOBUFS),
                    Some(picked) => (picked.start, picked.bytes, Some(picked.id)),
                },
            };
            let arrived = self.net.get(endpoint).map_or(0, |found| found.arrived);
            if arrived == 0 && self.skips_end(ring, index) {
                let operation = self.queues(ring).reference(ring, index);
                return self.wait_readable(endpoint, operation);
            }
            let room = self
                .chaos
                .shorten(Fault::ShortReceive, room.min(arrived))
                .min(room);
            let mut offset = 0;
            let taken = self.take_received(endpoint, room, |piece| {
                // SAFETY: the submitter lends `room` bytes at `start` until the operation's last
                // completion, which has not been posted (`Ring::push`); buffers of the ring are
                // the kernel's, that is ours, until they are picked.
                unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), start.add(offset), piece.len()) };
                offset += piece.len();
            });
            match taken {
                Err(libc::EAGAIN) => {
                    let queues = self.queues(ring);
                    queues.operations[index as usize].is_claimed = false;
                    let operation = queues.reference(ring, index);
                    return self.wait_readable(endpoint, operation);
                }
                Err(errno) => return self.finish(ring, index, -errno),
                Ok(0) => return self.finish(ring, index, 0),
                Ok(bytes) => {
                    if buffer.is_some() {
                        self.queues(ring).picker.take(bytes);
                    }
                    if !matches!(op, Op::RecvMulti { .. }) {
                        return self.finish_with(ring, index, bytes as i32, buffer);
                    }
                    if !self.post_more(ring, index, bytes as i32, buffer) {
                        return;
                    }
                    if !self.has_news(endpoint) {
                        let operation = self.queues(ring).reference(ring, index);
                        return self.wait_readable(endpoint, operation);
                    }
                }
            }
        }
        // Others first; this one goes on with the next enter.
        let operation = self.queues(ring).reference(ring, index);
        self.agenda
            .add(self.now() + Duration::from_nanos(1), Event::Work(operation));
    }

    /// True when a standing receive has a reason to look again.
    fn has_news(&self, endpoint: EndpointId) -> bool {
        let found = self
            .net
            .get(endpoint)
            .expect("an operation holds its socket");
        let is_over = found.has_end || found.is_broken || found.is_shut_read || found.error != 0;
        found.arrived > 0 || is_over
    }

    /// True once for an operation that does not see the end behind the data.
    fn skips_end(&mut self, ring: usize, index: u32) -> bool {
        let operation = &mut self.queues(ring).operations[index as usize];
        matches!(operation.op, Op::RecvMulti { .. }) && std::mem::take(&mut operation.misses_end)
    }

    fn pick(&mut self, ring: usize) -> Option<crate::ring::sim::pick::Picked> {
        if self.chaos.strikes(Fault::NoBuffers) {
            return None;
        }
        self.queues(ring).picker.peek()
    }

    fn send(&mut self, ring: usize, index: u32, op: Op, endpoint: EndpointId) {
        self.break_before_send(endpoint);
        let pieces = match op {
            Op::Send { start, bytes, .. } => {
                // SAFETY: the submitter lends these bytes until the operation's last completion,
                // which has not been posted (`Ring::push`).
                vec![unsafe { slice::from_raw_parts(start, bytes as usize) }]
            }
            // SAFETY: as above, for the header, its list and every piece.
            Op::SendMsg { message, .. } => unsafe {
                slice::from_raw_parts((*message).msg_iov, (*message).msg_iovlen)
                    .iter()
                    .map(|piece| slice::from_raw_parts(piece.iov_base.cast(), piece.iov_len))
                    .collect()
            },
            _ => panic!("{op:?} is no send"),
        };
        let total = pieces.iter().map(|piece| piece.len()).sum();
        let bytes_max = self.chaos.shorten(Fault::ShortSend, total);
        match self.transmit(endpoint, &pieces, bytes_max) {
            Ok(bytes) => self.finish(ring, index, bytes as i32),
            Err(libc::EAGAIN) => {
                let operation = self.queues(ring).reference(ring, index);
                self.wait_writable(endpoint, operation);
            }
            Err(errno) => self.finish(ring, index, -errno),
        }
    }

    /// Now and then a send is the first to find that the connection is gone.
    pub(super) fn break_before_send(&mut self, endpoint: EndpointId) {
        if !self.net.is_connected(endpoint) {
            return;
        }
        if self.chaos.strikes(Fault::Reset) {
            self.break_between(endpoint);
        } else if self.chaos.strikes(Fault::BrokenPipe) {
            self.break_between(endpoint);
            if let Some(found) = self.net.get_mut(endpoint) {
                found.is_shut_write = true;
            }
        }
    }

    // ---- reading ---------------------------------------------------------------------------

    /// read(2) of an eventfd.
    fn read_counter(&mut self, ring: usize, index: u32, op: Op, endpoint: EndpointId) {
        let Op::Read { start, bytes, .. } = op else {
            panic!("{op:?} is no read")
        };
        let found = self
            .net
            .get_mut(endpoint)
            .expect("an operation holds its socket");
        let Kind::Counter(counter) = &mut found.kind else {
            return self.finish(ring, index, -libc::EINVAL);
        };
        if bytes < 8 {
            return self.finish(ring, index, -libc::EINVAL);
        }
        if *counter == 0 {
            let operation = self.queues(ring).reference(ring, index);
            return self.wait_readable(endpoint, operation);
        }
        let value = std::mem::take(counter).to_ne_bytes();
        // SAFETY: the submitter lends `bytes` bytes at `start` until the operation's last
        // completion, which has not been posted (`Ring::push`).
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), start, value.len()) };
        self.finish(ring, index, value.len() as i32);
    }

    /// pread(2): files of a simulation are real memory files.
    fn read_file(&mut self, ring: usize, index: u32, op: Op) {
        let Op::Read {
            fd,
            start,
            bytes,
            offset,
        } = op
        else {
            return self.finish(ring, index, -libc::ENOTSOCK);
        };
        if self.chaos.strikes(Fault::FileFailed) {
            return self.finish(ring, index, -libc::EIO);
        }
        let bytes = self.chaos.shorten(Fault::ShortReceive, bytes as usize);
        // SAFETY: the submitter lends `bytes` bytes at `start` until the operation's last
        // completion, which has not been posted (`Ring::push`).
        let read = unsafe { libc::pread(fd, start.cast(), bytes, offset as libc::off_t) };
        let result = if read < 0 {
            -nix::errno::Errno::last_raw()
        } else {
            read as i32
        };
        self.finish(ring, index, result);
    }
}

fn polls_first(op: Op) -> bool {
    matches!(
        op,
        Op::RecvSelect {
            poll_first: true,
            ..
        } | Op::RecvMulti {
            poll_first: true,
            ..
        } | Op::Recv {
            poll_first: true,
            ..
        }
    )
}

fn descriptor(op: Op) -> RawFd {
    match op {
        Op::Accept { fd }
        | Op::AcceptMulti { fd }
        | Op::Connect { fd, .. }
        | Op::RecvSelect { fd, .. }
        | Op::RecvMulti { fd, .. }
        | Op::Recv { fd, .. }
        | Op::Send { fd, .. }
        | Op::SendMsg { fd, .. }
        | Op::Read { fd, .. } => fd,
        Op::Cancel { .. } | Op::CancelAll => panic!("{op:?} names no descriptor"),
    }
}

fn address_of(op: Op) -> Option<Address> {
    let Op::Connect {
        address,
        address_bytes,
        ..
    } = op
    else {
        panic!("{op:?} does not connect")
    };
    // SAFETY: the submitter lends `address_bytes` bytes of a socket address until the operation's
    // last completion, which has not been posted (`Ring::push`).
    let storage = unsafe { SockaddrStorage::from_raw(address, Some(address_bytes)) }?;
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(Address::Tcp((*v4).into()));
    }
    if let Some(v6) = storage.as_sockaddr_in6() {
        return Some(Address::Tcp((*v6).into()));
    }
    let path = storage.as_unix_addr()?.path()?;
    Some(Address::Unix(path.to_owned()))
}

fn label(token: Token) -> String {
    match token.kind() {
        Some(crate::ring::token::Kind::Slot) => {
            format!("#{}.{}", token.index(), token.generation())
        }
        other => format!("{other:?}"),
    }
}

fn outcome(result: i32) -> String {
    if result < 0 {
        format!("{:?}", nix::errno::Errno::from_raw(-result))
    } else {
        result.to_string()
    }
}

/// An operation as a trace shows it: without addresses of memory, which differ between runs.
pub(super) fn describe(op: Op) -> String {
    let first = |poll_first| if poll_first { ", poll first" } else { "" };
    match op {
        Op::Accept { fd } => format!("accept on {}", name_of(fd)),
        Op::AcceptMulti { fd } => format!("standing accept on {}", name_of(fd)),
        Op::Connect { fd, .. } => format!("connect {}", name_of(fd)),
        Op::RecvSelect { fd, poll_first } => {
            format!("receive on {}{}", name_of(fd), first(poll_first))
        }
        Op::RecvMulti { fd, poll_first } => {
            format!("standing receive on {}{}", name_of(fd), first(poll_first))
        }
        Op::Recv {
            fd,
            bytes,
            poll_first,
            ..
        } => {
            format!(
                "receive up to {bytes} on {}{}",
                name_of(fd),
                first(poll_first)
            )
        }
        Op::Send { fd, bytes, .. } => format!("send {bytes} on {}", name_of(fd)),
        Op::SendMsg { fd, .. } => format!("send pieces on {}", name_of(fd)),
        Op::Read {
            fd, bytes, offset, ..
        } if offset != u64::MAX => {
            format!(
                "read {bytes} at {offset} of {}",
                if calls::is_simulated(fd) {
                    name_of(fd)
                } else {
                    "a file".to_owned()
                }
            )
        }
        Op::Read { fd, .. } => format!("read counter {}", name_of(fd)),
        Op::Cancel { token } => format!("cancel {}", label(token)),
        Op::CancelAll => "cancel all".to_owned(),
    }
}
