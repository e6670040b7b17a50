//! How an operation is written into a submission queue entry.

use std::os::fd::RawFd;
use std::ptr;

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::squeue::Flags;
use io_uring::types;

use crate::ring::op::Op;
use crate::ring::token::Token;

/// The one buffer group of a ring.
pub(super) const BUFFER_GROUP: u16 = 0;

/// io_uring/net.c: poll before the first attempt (IORING_RECVSEND_POLL_FIRST, since 5.19).
const POLL_FIRST: u16 = 1;
/// io_uring/net.c: go on receiving (IORING_RECV_MULTISHOT, since 6.0).
const MULTISHOT: u16 = 2;

/// Writes the submission queue entry.
pub(super) fn entry(op: Op, token: Token) -> Entry {
    let entry = match op {
        Op::Accept { fd } => opcode::Accept::new(types::Fd(fd), ptr::null_mut(), ptr::null_mut())
            .flags(libc::SOCK_CLOEXEC)
            .build(),
        Op::AcceptMulti { fd } => opcode::AcceptMulti::new(types::Fd(fd))
            .flags(libc::SOCK_CLOEXEC)
            .build(),
        Op::Connect {
            fd,
            address,
            address_bytes,
        } => opcode::Connect::new(types::Fd(fd), address, address_bytes).build(),
        Op::RecvSelect { fd, poll_first } => recv_select(fd, flags(poll_first)),
        Op::RecvMulti { fd, poll_first } => recv_select(fd, flags(poll_first) | MULTISHOT),
        Op::Recv {
            fd,
            start,
            bytes,
            poll_first,
        } => opcode::Recv::new(types::Fd(fd), start, bytes)
            .ioprio(flags(poll_first))
            .build(),
        Op::Send { fd, start, bytes } => opcode::Send::new(types::Fd(fd), start, bytes)
            .flags(libc::MSG_NOSIGNAL)
            .build(),
        Op::SendMsg { fd, message } => opcode::SendMsg::new(types::Fd(fd), message)
            .flags(libc::MSG_NOSIGNAL as u32)
            .build(),
        Op::Read {
            fd,
            start,
            bytes,
            offset,
        } => opcode::Read::new(types::Fd(fd), start, bytes)
            .offset(offset)
            .build(),
        Op::Cancel { token } => opcode::AsyncCancel::new(token.user_data()).build(),
        Op::CancelAll => opcode::AsyncCancel2::new(types::CancelBuilder::any()).build(),
    };
    entry.user_data(token.user_data())
}

fn flags(poll_first: bool) -> u16 {
    if poll_first { POLL_FIRST } else { 0 }
}

fn recv_select(fd: RawFd, ioprio: u16) -> Entry {
    opcode::Recv::new(types::Fd(fd), ptr::null_mut(), 0)
        .ioprio(ioprio)
        .buf_group(BUFFER_GROUP)
        .build()
        .flags(Flags::BUFFER_SELECT)
}
