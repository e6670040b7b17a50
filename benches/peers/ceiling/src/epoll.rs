//! epoll, level-triggered: wait, receive, send.

use std::net::TcpListener;

use crate::Answers;
use crate::Ends;
use crate::Table;

const EVENTS: usize = 512;
const BUFFER_BYTES: usize = 16 * 1024;

pub fn run(listener: &TcpListener, close: bool) {
    let accepting = crate::fd_of(listener);
    // SAFETY: no memory is passed.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    assert!(epoll >= 0, "epoll_create1");
    add(epoll, accepting);
    let mut ends = Table::<Ends>(Vec::new());
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let answers = Answers::new(close);
    loop {
        // SAFETY: `events` holds EVENTS entries.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, -1) };
        for event in &events[..ready.max(0) as usize] {
            let fd = event.u64 as i32;
            if fd == accepting {
                accept_all(epoll, accepting, &mut ends);
                continue;
            }
            // SAFETY: the kernel writes at most BUFFER_BYTES into `buffer`.
            let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), BUFFER_BYTES, 0) };
            if got <= 0 {
                if got == 0 || errno() != libc::EAGAIN {
                    // SAFETY: ours, and not used afterwards.
                    unsafe { libc::close(fd) };
                }
                continue;
            }
            let count = ends.at(fd).count(&buffer[..got as usize]);
            if count > 0 {
                let bytes = answers.of(count);
                // SAFETY: `bytes` is readable.
                unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
                if close {
                    // SAFETY: ours, and not used afterwards.
                    unsafe { libc::close(fd) };
                }
            }
        }
    }
}

fn accept_all(epoll: i32, accepting: i32, ends: &mut Table<Ends>) {
    loop {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let null = std::ptr::null_mut();
        // SAFETY: no address is asked for.
        let fd = unsafe { libc::accept4(accepting, null, std::ptr::null_mut(), flags) };
        if fd < 0 {
            return;
        }
        crate::set_nodelay(fd);
        *ends.at(fd) = Ends::default();
        add(epoll, fd);
    }
}

fn add(epoll: i32, fd: i32) {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: fd as u64,
    };
    // SAFETY: `event` is read during the call only.
    let done = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    assert_eq!(done, 0, "epoll_ctl");
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
