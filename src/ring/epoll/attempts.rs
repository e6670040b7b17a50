//! What each operation does at once, and when it has to wait. The semantics are io_uring's.

use std::os::fd::RawFd;

use crate::limits::ACCEPTS_PER_TURN;
use crate::limits::RECEIVES_PER_TURN;
use crate::ring::epoll::calls;
use crate::ring::epoll::calls::Answer;
use crate::ring::epoll::descriptors::Kind;
use crate::ring::epoll::engine::EpollEngine;
use crate::ring::epoll::operations::Side;
use crate::ring::op::Op;
use crate::ring::token::Token;

/// How far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// The last completion was posted. With `is_empty` nothing is left to be received.
    Over { is_empty: bool },
    /// It waits for its descriptor.
    WouldBlock,
    /// There is more, and this turn has had enough of it.
    Left,
}

const OVER: Tried = Tried::Over { is_empty: false };

impl EpollEngine {
    /// The first try of an operation, in its place among the others.
    pub(super) fn begin(&mut self, op: Op, token: Token) {
        match op {
            Op::Cancel { token: target } => self.cancel(target, token),
            Op::CancelAll => self.cancel_all(token),
            Op::Accept { fd } | Op::AcceptMulti { fd } => {
                if let Err(errno) = self.find_listener(fd) {
                    return self.post(token, -errno, false, None);
                }
                self.try_first(fd, Side::In, op, token);
            }
            Op::RecvSelect { fd, poll_first }
            | Op::RecvMulti { fd, poll_first }
            | Op::Recv { fd, poll_first, .. } => {
                if self.must_wait(fd, poll_first) {
                    return self.wait_for(fd, Side::In, op, token);
                }
                if self.must_queue() {
                    return self.go_on(fd, op, token);
                }
                self.try_first(fd, Side::In, op, token);
            }
            Op::Send { fd, .. } | Op::SendMsg { fd, .. } => {
                if self.has_senders(fd) {
                    return self.wait_for(fd, Side::Out, op, token);
                }
                self.try_first(fd, Side::Out, op, token);
            }
            Op::Connect { fd, .. } => self.connect(fd, op, token),
            Op::Read {
                fd,
                offset: u64::MAX,
                ..
            } => {
                if self.descriptors.find(fd).is_none() {
                    self.descriptors.insert(fd, Kind::Counter);
                }
                // A read of a counter that was not notified would block.
                if self.must_wait(fd, true) {
                    return self.wait_for(fd, Side::In, op, token);
                }
                self.try_first(fd, Side::In, op, token);
            }
            Op::Read { .. } => self.read_file(op, token),
        }
    }

    fn try_first(&mut self, fd: RawFd, side: Side, op: Op, token: Token) {
        let known = self.descriptors.find(fd);
        // Where nothing is registered yet, registering looks at the descriptor anew.
        let registered = known.filter(|index| self.descriptors.get(*index).is_registered);
        let short_is_all = registered.is_none_or(|index| self.short_is_all(index, op));
        match self.attempt(op, token, short_is_all) {
            Tried::Over { is_empty } => {
                if let Some(index) = known.filter(|_| is_empty) {
                    self.descriptors.get(index).is_readable = false;
                }
            }
            Tried::WouldBlock => {
                if let Some(index) = known.filter(|_| side == Side::In) {
                    self.descriptors.get(index).is_readable = false;
                }
                self.wait_for(fd, side, op, token);
            }
            Tried::Left => self.go_on(fd, op, token),
        }
    }

    /// True when an attempt to receive would be in vain, as far as is known, or out of order.
    fn must_wait(&mut self, fd: RawFd, poll_first: bool) -> bool {
        match self.descriptors.find(fd) {
            Some(index) => {
                let found = self.descriptors.get(index);
                found.is_registered && !found.is_readable
                    || !found.is_registered && poll_first
                    || !found.receivers.is_empty()
            }
            None => poll_first,
        }
    }

    fn has_senders(&mut self, fd: RawFd) -> bool {
        let known = self.descriptors.find(fd);
        known.is_some_and(|index| !self.descriptors.get(index).senders.is_empty())
    }

    /// Tries an operation; with `short_is_all` a receive that does not fill its memory is the last.
    pub(super) fn attempt(&mut self, op: Op, token: Token, short_is_all: bool) -> Tried {
        match op {
            Op::Accept { fd } | Op::AcceptMulti { fd } => self.accept(fd, op, token),
            Op::RecvSelect { fd, .. } => self.receive(fd, 1, token, short_is_all),
            Op::RecvMulti { fd, .. } => self.receive(fd, RECEIVES_PER_TURN, token, short_is_all),
            Op::Recv {
                fd, start, bytes, ..
            } => {
                // SAFETY: the submitter lends the memory until the last completion (`push`).
                let answer = unsafe { calls::receive(fd, start, bytes) };
                let is_empty = short_is_all && answer.is_ok_and(|got| got > 0 && got < bytes);
                self.finish(token, answer, is_empty)
            }
            Op::Send { fd, start, bytes } => {
                // SAFETY: the submitter lends the bytes until the last completion (`push`).
                let answer = unsafe { calls::send(fd, start, bytes) };
                self.finish(token, answer, false)
            }
            Op::SendMsg { fd, message } => {
                // SAFETY: the submitter lends message and pieces until the last completion (`push`).
                let answer = unsafe { calls::send_message(fd, message) };
                self.finish(token, answer, false)
            }
            Op::Connect { .. } => match self.try_connect(op, token) {
                Ok(()) => OVER,
                Err(_) => Tried::WouldBlock,
            },
            Op::Read {
                fd, start, bytes, ..
            } => {
                // SAFETY: the submitter lends the memory until the last completion (`push`).
                let answer = unsafe { calls::read(fd, start, bytes) };
                self.finish(token, answer, true)
            }
            Op::Cancel { .. } | Op::CancelAll => panic!("{op:?} never waits"),
        }
    }

    /// Posts the answer of an operation that has one completion; EAGAIN is none.
    fn finish(&mut self, token: Token, answer: Answer, is_empty: bool) -> Tried {
        self.system_calls += 1;
        match answer {
            Err(libc::EAGAIN) => return Tried::WouldBlock,
            Err(errno) => self.post(token, -errno, false, None),
            Ok(value) => self.post(token, value as i32, false, None),
        }
        Tried::Over { is_empty }
    }

    /// Receives into shared buffers: once, or as a standing receive up to `count` times.
    fn receive(&mut self, fd: RawFd, count: usize, token: Token, short_is_all: bool) -> Tried {
        for _ in 0..count {
            let Some(buffer) = self.buffers.peek() else {
                if self.had_buffers {
                    return Tried::Left;
                }
                self.post(token, -libc::ENOBUFS, false, None);
                return OVER;
            };
            // SAFETY: the buffer is free, that is ours, and has so many bytes.
            let answer = unsafe { calls::receive(fd, buffer.start, buffer.bytes) };
            let is_standing = count > 1;
            match answer {
                Ok(bytes) if bytes > 0 => {
                    self.system_calls += 1;
                    self.buffers.take();
                    self.post(token, bytes as i32, is_standing, Some(buffer.id));
                    let is_empty = short_is_all && bytes < buffer.bytes;
                    match (is_standing, is_empty) {
                        (false, _) => return Tried::Over { is_empty },
                        (true, true) => return Tried::WouldBlock,
                        (true, false) => {}
                    }
                }
                other => return self.finish(token, other, false),
            }
        }
        Tried::Left
    }

    fn accept(&mut self, fd: RawFd, op: Op, token: Token) -> Tried {
        for _ in 0..ACCEPTS_PER_TURN {
            let answer = calls::accept(fd);
            match answer {
                Ok(socket) if matches!(op, Op::AcceptMulti { .. }) => {
                    self.system_calls += 1;
                    self.post(token, socket as i32, true, None);
                }
                answer => return self.finish(token, answer, false),
            }
        }
        Tried::Left
    }

    /// Makes a listener known, and sees to it that accept4(2) does not block.
    fn find_listener(&mut self, fd: RawFd) -> Result<(), i32> {
        if self.descriptors.find(fd).is_none() {
            let kind = match calls::set_nonblocking(fd)? {
                true => Kind::SharedListener,
                false => Kind::Listener,
            };
            self.descriptors.insert(fd, kind);
        }
        Ok(())
    }

    fn connect(&mut self, fd: RawFd, op: Op, token: Token) {
        if let Err(errno) = calls::set_nonblocking(fd) {
            return self.post(token, -errno, false, None);
        }
        // Asked a second time at once: over loopback the connection is there by then.
        let tried = match self.try_connect(op, token) {
            Err(libc::EINPROGRESS) => self.try_connect(op, token),
            tried => tried,
        };
        match tried {
            Ok(()) => {}
            // The queue of a Unix listener is full.
            Err(libc::EAGAIN) => self.wait_for_retry(op, token),
            // Registered only now: a socket that is not connecting is reported as hung up.
            Err(_) => self.wait_for(fd, Side::Out, op, token),
        }
    }

    /// connect(2), which tells of the one that is under way as well. An error is one that says to wait.
    fn try_connect(&mut self, op: Op, token: Token) -> Result<(), i32> {
        let Op::Connect {
            fd,
            address,
            address_bytes,
        } = op
        else {
            panic!("{op:?} is no connect");
        };
        // SAFETY: the submitter lends the address until the last completion (`push`).
        let answer = unsafe { calls::connect(fd, address, address_bytes) };
        if let Err(errno @ (libc::EINPROGRESS | libc::EALREADY | libc::EINTR | libc::EAGAIN)) =
            answer
        {
            self.system_calls += 1;
            return Err(errno);
        }
        self.finish(token, answer, false);
        Ok(())
    }

    fn read_file(&mut self, op: Op, token: Token) {
        let Op::Read {
            fd,
            start,
            bytes,
            offset,
        } = op
        else {
            panic!("{op:?} is no read");
        };
        // SAFETY: the submitter lends the memory until the last completion (`push`).
        let answer = unsafe { calls::read_cached(fd, start, bytes, offset) };
        match answer {
            // Less than was asked for: the end, or the rest is not in memory. Linux 5.9 and 5.10 say 0 for
            // what is not (readv(2), "Bugs").
            Ok(read) if read < bytes => self.wait_for_reader(op, token),
            Err(libc::EAGAIN | libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM | libc::EINTR) => {
                self.wait_for_reader(op, token);
            }
            answer => {
                self.finish(token, answer, false);
            }
        }
    }
}
