//! The system calls of this engine. None of them waits, but for epoll_wait(2).

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes or a descriptor, or an error number.
pub(super) type Answer = Result<u32, i32>;

fn answer(result: isize) -> Answer {
    u32::try_from(result).map_err(|_| errno())
}

fn errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// epoll_create1(2).
pub(super) fn new_set() -> io::Result<OwnedFd> {
    // SAFETY: a call with a number.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was returned to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// EPOLL_CTL_ADD.
pub(super) fn add(set: &OwnedFd, fd: RawFd, events: u32, data: u64) -> Result<(), i32> {
    control(set, libc::EPOLL_CTL_ADD, fd, events, data)
}

/// EPOLL_CTL_MOD: what is ready is told anew.
pub(super) fn modify(set: &OwnedFd, fd: RawFd, events: u32, data: u64) -> Result<(), i32> {
    control(set, libc::EPOLL_CTL_MOD, fd, events, data)
}

fn control(set: &OwnedFd, how: libc::c_int, fd: RawFd, events: u32, data: u64) -> Result<(), i32> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: one event, alive for the call.
    match unsafe { libc::epoll_ctl(set.as_raw_fd(), how, fd, &raw mut event) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// EPOLL_CTL_DEL. What is not registered is an error that says nothing.
pub(super) fn delete(set: &OwnedFd, fd: RawFd) {
    // SAFETY: a call with numbers; the event is ignored (since 2.6.9).
    unsafe { libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) };
}

/// Tries whether another descriptor can be watched: ENOSPC is told here, and not of a core's first
/// operations, without which it cannot work.
pub(super) fn try_watch(set: &OwnedFd) -> io::Result<()> {
    let other = new_set()?;
    let added = add(set, other.as_raw_fd(), libc::EPOLLIN as u32, 0);
    added.map_err(io::Error::from_raw_os_error)
}

/// epoll_pwait2(2) is there (since 5.11) and not refused, as far as has been seen.
static HAS_PWAIT2: AtomicBool = AtomicBool::new(true);

/// True when waits are precise.
pub(super) fn has_pwait2(set: &OwnedFd) -> io::Result<bool> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }];
    wait(set, &mut events, Some(Duration::from_nanos(1)))?;
    Ok(HAS_PWAIT2.load(Ordering::Relaxed))
}

/// Waits for events, `None` for ever. Returns how many there are; an interruption is none.
pub(super) fn wait(
    set: &OwnedFd,
    events: &mut [libc::epoll_event],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let count = events.len() as libc::c_int;
    let precise = timeout.filter(|timeout| !timeout.is_zero());
    if let Some(timeout) = precise
        && HAS_PWAIT2.load(Ordering::Relaxed)
    {
        // Two 64-bit fields on every architecture (struct __kernel_timespec).
        let timespec = [timeout.as_secs(), u64::from(timeout.subsec_nanos())];
        // SAFETY: the events and the time live for the call; no signal mask.
        let result = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                set.as_raw_fd(),
                events.as_mut_ptr(),
                count,
                timespec.as_ptr(),
                ptr::null::<libc::sigset_t>(),
                0,
            )
        };
        match answer(result as isize) {
            Err(libc::ENOSYS | libc::EPERM) => HAS_PWAIT2.store(false, Ordering::Relaxed),
            other => return counted(other),
        }
    }
    let milliseconds = timeout.map_or(-1, round_up);
    // SAFETY: the events live for the call.
    let result =
        unsafe { libc::epoll_wait(set.as_raw_fd(), events.as_mut_ptr(), count, milliseconds) };
    counted(answer(result as isize))
}

/// Whole milliseconds: who waits less than it wants would turn again and again.
fn round_up(timeout: Duration) -> libc::c_int {
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX)
}

fn counted(answer: Answer) -> io::Result<usize> {
    match answer {
        Ok(count) => Ok(count as usize),
        Err(libc::EINTR) => Ok(0),
        Err(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// accept4(2) of a listener that does not block.
pub(super) fn accept(listener: RawFd) -> Answer {
    // SAFETY: a call with numbers: no address is asked for.
    let result = unsafe {
        libc::accept4(
            listener,
            ptr::null_mut(),
            ptr::null_mut(),
            libc::SOCK_CLOEXEC,
        )
    };
    answer(result as isize)
}

/// connect(2).
///
/// # Safety
///
/// `address` has `bytes` bytes.
pub(super) unsafe fn connect(
    fd: RawFd,
    address: *const libc::sockaddr,
    bytes: libc::socklen_t,
) -> Answer {
    // SAFETY: the caller's promise; the address is only read during the call.
    let result = unsafe { libc::connect(fd, address, bytes) };
    answer(result as isize)
}

/// recv(2) with MSG_DONTWAIT.
///
/// # Safety
///
/// `bytes` bytes at `start` may be written.
pub(super) unsafe fn receive(fd: RawFd, start: *mut u8, bytes: u32) -> Answer {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::recv(fd, start.cast(), bytes as usize, libc::MSG_DONTWAIT) };
    answer(result)
}

/// send(2) with MSG_DONTWAIT.
///
/// # Safety
///
/// `bytes` bytes at `start` may be read.
pub(super) unsafe fn send(fd: RawFd, start: *const u8, bytes: u32) -> Answer {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the caller's promise.
    answer(unsafe { libc::send(fd, start.cast(), bytes as usize, flags) })
}

/// sendmsg(2) with MSG_DONTWAIT.
///
/// # Safety
///
/// The message and all its pieces may be read.
pub(super) unsafe fn send_message(fd: RawFd, message: *const libc::msghdr) -> Answer {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the caller's promise.
    answer(unsafe { libc::sendmsg(fd, message, flags) })
}

/// read(2), of an eventfd that has been notified.
///
/// # Safety
///
/// `bytes` bytes at `start` may be written.
pub(super) unsafe fn read(fd: RawFd, start: *mut u8, bytes: u32) -> Answer {
    // SAFETY: the caller's promise.
    answer(unsafe { libc::read(fd, start.cast(), bytes as usize) })
}

/// pread(2). Waits for a disk.
///
/// # Safety
///
/// `bytes` bytes at `start` may be written.
pub(super) unsafe fn read_at(fd: RawFd, start: *mut u8, bytes: u32, offset: u64) -> Answer {
    let offset = libc::off_t::try_from(offset).map_err(|_| libc::EINVAL)?;
    // SAFETY: the caller's promise.
    answer(unsafe { libc::pread(fd, start.cast(), bytes as usize, offset) })
}

/// preadv2(2) with RWF_NOWAIT (since 4.14): what the page cache has.
///
/// # Safety
///
/// `bytes` bytes at `start` may be written.
pub(super) unsafe fn read_cached(fd: RawFd, start: *mut u8, bytes: u32, offset: u64) -> Answer {
    let offset = libc::off_t::try_from(offset).map_err(|_| libc::EINVAL)?;
    let piece = libc::iovec {
        iov_base: start.cast(),
        iov_len: bytes as usize,
    };
    // SAFETY: the caller's promise, for the one piece.
    answer(unsafe { libc::preadv2(fd, &raw const piece, 1, offset, libc::RWF_NOWAIT) })
}

/// True when O_NONBLOCK was set before.
pub(super) fn set_nonblocking(fd: RawFd) -> Result<bool, i32> {
    // SAFETY: calls with numbers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return Err(errno());
    }
    if flags & libc::O_NONBLOCK != 0 {
        return Ok(true);
    }
    // SAFETY: a call with numbers.
    match unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } {
        0 => Ok(false),
        _ => Err(errno()),
    }
}

/// True when it is a TCP socket (SO_PROTOCOL).
pub(super) fn is_tcp(fd: RawFd) -> bool {
    let mut protocol: libc::c_int = 0;
    let mut bytes = size_of_val(&protocol) as libc::socklen_t;
    // SAFETY: one int and its size, alive for the call.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PROTOCOL,
            (&raw mut protocol).cast(),
            &raw mut bytes,
        )
    };
    result == 0 && protocol == libc::IPPROTO_TCP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up() {
        for (timeout, expected) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(1), 1),
            (Duration::from_micros(1_001), 2),
            (Duration::from_secs(86_400 * 365), libc::c_int::MAX),
        ] {
            assert_eq!(round_up(timeout), expected, "{timeout:?}");
        }
    }
}
