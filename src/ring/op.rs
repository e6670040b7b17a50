//! What can be asked of an engine.

use std::os::fd::RawFd;

use crate::ring::token::Token;

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
