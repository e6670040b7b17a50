//! Files into memory and into sockets, as far as it goes without waiting.
//!
//! ```text
//!   page cache ── preadv2(RWF_NOWAIT) ─► memory           EAGAIN: it is not in memory
//!       └─────── sendfile(2) ─────────► socket, no copy   EAGAIN: the socket's buffer is full
//! ```
//!
//! overlayfs, tmpfs, and what stands for files elsewhere than on a disk, do not say what is in memory
//! (EOPNOTSUPP): who reads from those waits for what has to be fetched.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::sync::OnceLock;

use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::fcntl::fcntl;

#[cfg(feature = "simulation")]
use crate::ring::sim::calls;
use crate::ring::sys::File;
use crate::ring::sys::socket::borrow;

/// Appends to `buffer` what the page cache has of a file at `offset`, up to `bytes_max`, within the
/// buffer's capacity (preadv2(2) with RWF_NOWAIT, since 4.14); where this `may_wait`, whatever the file
/// has. No byte is the end of the file.
///
/// # Errors
///
/// `WouldBlock` where a disk would have to be waited for, `Unsupported` where the file system does
/// not say.
pub fn read_now(
    file: &File,
    offset: u64,
    buffer: &mut Vec<u8>,
    bytes_max: usize,
    may_wait: bool,
) -> io::Result<usize> {
    simulated!(calls::read_now(file, offset, buffer, bytes_max, may_wait));
    let spare = buffer.spare_capacity_mut();
    let piece = libc::iovec {
        iov_base: spare.as_mut_ptr().cast(),
        iov_len: spare.len().min(bytes_max),
    };
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let fd = file.as_raw_fd();
    // SAFETY: one piece, which lies in the spare capacity of a buffer that is borrowed for the call.
    let read = unsafe {
        match may_wait {
            true => libc::preadv(fd, &raw const piece, 1, offset),
            false => libc::preadv2(fd, &raw const piece, 1, offset, libc::RWF_NOWAIT),
        }
    };
    let Ok(read) = usize::try_from(read) else {
        let error = io::Error::last_os_error();
        return Err(if is_unsaid(&error) {
            io::ErrorKind::Unsupported.into()
        } else {
            error
        });
    };
    // SAFETY: the kernel has written so many bytes behind the length.
    unsafe { buffer.set_len(buffer.len() + read) };
    Ok(read)
}

/// Whether the first and the last byte of a part of a file are in memory. What is between them is
/// so as a rule: it is read ahead in order and given up in order. `None` where the file system does not
/// say.
pub fn is_cached(file: &File, offset: u64, bytes: u64) -> Option<bool> {
    simulated!(calls::is_cached());
    let has = |at: u64| {
        let mut byte = 0u8;
        let piece = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        let Ok(at) = libc::off_t::try_from(at) else {
            return Some(false);
        };
        // SAFETY: one piece of one byte, which lives for the call.
        let read =
            unsafe { libc::preadv2(file.as_raw_fd(), &raw const piece, 1, at, libc::RWF_NOWAIT) };
        match read < 0 && is_unsaid(&io::Error::last_os_error()) {
            true => None,
            false => Some(read == 1),
        }
    };
    match has(offset) {
        Some(true) if bytes > 1 => has(offset + bytes - 1),
        first => first,
    }
}

/// True where the file system does not know RWF_NOWAIT, the kernel is older than the call, or a filter of
/// system calls refuses it.
fn is_unsaid(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(errno, Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM))
}

/// sendfile(2) from the page cache into a socket that [`set_nonblocking`] was called for, as far as
/// it goes at once. No byte is the end of the file.
///
/// # Errors
///
/// Those of send(2). It blocks where the file is not in memory: see [`is_cached`].
pub fn send_file_now(socket: RawFd, file: &File, offset: u64, bytes: usize) -> io::Result<usize> {
    simulated!(for socket => calls::send_file_now(socket, file, offset, bytes));
    let mut offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: numbers, and an offset that lives for the call.
    let sent = unsafe { libc::sendfile(socket, file.as_raw_fd(), &raw mut offset, bytes) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// O_NONBLOCK. Operations of the ring on sockets do not care for it: they wait all the same, but for
/// accept and connect (io_uring/net.c).
pub fn set_nonblocking(socket: RawFd) -> io::Result<()> {
    simulated!(for socket => Ok(()));
    let socket = &borrow(&socket);
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// True when sendfile(2) may be called: it takes no MSG_NOSIGNAL, so that a peer that went would end
/// a process that has not turned SIGPIPE off. Rust's programs have.
pub fn may_send_files() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        // SAFETY: a zeroed action is valid, and only written to.
        let action = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action);
            action
        };
        action.sa_sigaction != libc::SIG_DFL
    })
}
