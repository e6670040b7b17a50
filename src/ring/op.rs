//! What can be asked of the kernel, and how that is written into a submission queue entry.

use std::os::fd::RawFd;
use std::ptr;

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::squeue::Flags;
use io_uring::types;

use crate::ring::token::Token;

/// The one buffer group of a ring.
pub const BUFFER_GROUP: u16 = 0;

/// io_uring/net.c: poll before the first attempt (IORING_RECVSEND_POLL_FIRST, since 5.19).
const POLL_FIRST: u16 = 1;
/// io_uring/net.c: go on receiving (IORING_RECV_MULTISHOT, since 6.0).
const MULTISHOT: u16 = 2;

/// One operation: pointers and lengths, no ownership. Who submits it owns the memory until the
/// operation's last completion.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// accept4(2) once.
    Accept {
        /// The listening socket.
        fd: RawFd,
    },
    /// accept4(2) for every connection that comes (since 5.19).
    AcceptMulti {
        /// The listening socket.
        fd: RawFd,
    },
    /// connect(2).
    Connect {
        /// The socket.
        fd: RawFd,
        /// A socket address.
        address: *const libc::sockaddr,
        /// Its size in bytes.
        address_bytes: libc::socklen_t,
    },
    /// recv(2) into a buffer of the ring's group (since 5.19).
    RecvSelect {
        /// The socket.
        fd: RawFd,
        /// Wait for readiness before the first attempt.
        poll_first: bool,
    },
    /// recv(2) into buffers of the ring's group, again and again (since 6.0).
    RecvMulti {
        /// The socket.
        fd: RawFd,
        /// Wait for readiness before the first attempt.
        poll_first: bool,
    },
    /// recv(2) into memory of the submitter.
    Recv {
        /// The socket.
        fd: RawFd,
        /// Where to.
        start: *mut u8,
        /// How many bytes at most.
        bytes: u32,
        /// Wait for readiness before the first attempt.
        poll_first: bool,
    },
    /// send(2) with MSG_NOSIGNAL.
    Send {
        /// The socket.
        fd: RawFd,
        /// Where from.
        start: *const u8,
        /// How many bytes.
        bytes: u32,
    },
    /// sendmsg(2) with MSG_NOSIGNAL.
    SendMsg {
        /// The socket.
        fd: RawFd,
        /// The message and its pieces.
        message: *const libc::msghdr,
    },
    /// pread(2); offset `u64::MAX` reads at the current position (eventfd).
    Read {
        /// The file.
        fd: RawFd,
        /// Where to.
        start: *mut u8,
        /// How many bytes at most.
        bytes: u32,
        /// Where in the file.
        offset: u64,
    },
    /// Cancels one operation by its token; its own completion says nothing.
    Cancel {
        /// The operation.
        token: Token,
    },
    /// Cancels everything that is in flight (since 5.19).
    CancelAll,
}

impl Op {
    /// Writes the submission queue entry.
    pub(super) fn entry(self, token: Token) -> Entry {
        let entry = match self {
            Op::Accept { fd } => {
                opcode::Accept::new(types::Fd(fd), ptr::null_mut(), ptr::null_mut())
                    .flags(libc::SOCK_CLOEXEC)
                    .build()
            }
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
