//! The ceiling: loops that answer every request with the same 150 bytes and parse nothing.
//!
//! ```text
//!   peer-ceiling LOOP [ADDR]      LOOP: epoll | oneshot | multishot | multishot-send2
//!                                       epoll-close | oneshot-close: close after each answer
//! ```
//! A request ends with an empty line, and that is all they look for. What a server adds to the
//! cheapest of them is its own cost; the rest is the kernel's.

mod epoll;
mod rings;

use std::net::TcpListener;

const HEAD: &str = "HTTP/1.1 200 OK\r\nServer: ceiling\r\nContent-Type: text/plain; \
    charset=utf-8\r\nContent-Length: 13\r\nDate: Sun, 22 Nov 2026 21:00:00 GMT\r\n";
/// Most answers in one send.
const ANSWERS_MAX: usize = 256;

fn main() {
    // Names the crate, so that its allocator is linked.
    let (address, _) = shared::arguments(2);
    let listener = shared::listen(address);
    shared::announce(listener.local_addr().expect("a bound socket"));
    let name = std::env::args().nth(1).unwrap_or_default();
    let (kind, close) = match name.strip_suffix("-close") {
        Some(kind) => (kind, true),
        None => (name.as_str(), false),
    };
    match kind {
        "epoll" => epoll::run(&listener, close),
        "oneshot" => rings::oneshot(&listener, close),
        "multishot" if !close => rings::multishot(&listener, false),
        "multishot-send2" if !close => rings::multishot(&listener, true),
        _ => panic!("no such loop: {name}"),
    }
}

/// Finds the ends of requests, over any split: the last two bytes are kept.
#[derive(Clone, Copy, Default)]
struct Ends([u8; 2]);

impl Ends {
    /// How many requests end in `bytes`.
    fn count(&mut self, bytes: &[u8]) -> usize {
        let kept = self.0;
        let at = |index: isize| match index {
            -2 => kept[0],
            -1 => kept[1],
            index => bytes[index as usize],
        };
        let count = memchr::memchr_iter(b'\n', bytes)
            .filter(|&end| at(end as isize - 1) == b'\r' && at(end as isize - 2) == b'\n')
            .count();
        let end = bytes.len() as isize;
        self.0 = [at(end - 2), at(end - 1)];
        count.min(ANSWERS_MAX)
    }
}

/// State of all connections, by descriptor.
struct Table<T>(Vec<T>);

impl<T: Default> Table<T> {
    fn at(&mut self, fd: i32) -> &mut T {
        let index = usize::try_from(fd).expect("a descriptor");
        if self.0.len() <= index {
            self.0.resize_with(index + 1, T::default);
        }
        &mut self.0[index]
    }
}

/// Many answers in a row, that live as long as the process: the kernel may read them at any time.
#[derive(Clone, Copy)]
struct Answers {
    bytes: &'static [u8],
    one: usize,
}

impl Answers {
    fn new(close: bool) -> Answers {
        let line = if close { "Connection: close\r\n" } else { "" };
        let one = format!("{HEAD}{line}\r\n{}", shared::HELLO);
        Answers {
            bytes: one.repeat(ANSWERS_MAX).leak().as_bytes(),
            one: one.len(),
        }
    }

    fn of(self, count: usize) -> &'static [u8] {
        &self.bytes[..count * self.one]
    }
}

fn set_nodelay(fd: i32) {
    let on: libc::c_int = 1;
    // SAFETY: `on` is a c_int that outlives the call; the kernel checks the descriptor.
    unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of_val(&on) as u32,
        )
    };
}

fn fd_of(listener: &TcpListener) -> i32 {
    use std::os::fd::AsRawFd as _;
    listener.as_raw_fd()
}
