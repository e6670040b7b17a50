//! Patterns around and in memory that the kernel had: who writes there later is seen. The tests of
//! dropped futures run here a second time, in memory that is watched.
//!
//! ```text
//!   [ left | lent to the kernel | right ]   patterns beside what is lent
//!            received ▲ spare               a pattern behind what was received
//!   free(memory) ─► pattern ─► looked at    `guarding`: everything that was freed
//! ```
//!
//! The shared receive buffers are watched by the library itself in builds with debug assertions,
//! such as this one.

// To look at memory that the kernel had, and to plant writes into memory that is free.
#![allow(unsafe_code)]

use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::net;
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::fs::read_at;
use roundtrip::net::TcpStream;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::runtime::Runtime;

#[path = "cancellation.rs"]
mod cancellation;
mod guarding;
mod server_support;

use cancellation::alone;
use server_support::Serving;

/// Bytes of each of the three parts of a guarded buffer.
const PART_BYTES: usize = 4_096;
/// What is beside and behind what was received; what the peer sends.
const CANARY: u8 = 0xA5;
const SENT: u8 = 0x5A;

/// A buffer with neighbours in the same allocation, which stays for as long as they do.
struct Guarded {
    left: BytesMut,
    right: BytesMut,
    /// Where the buffer lies.
    middle: *mut u8,
}

impl Guarded {
    /// The buffer has room for [`PART_BYTES`] bytes, the first `kept` of which are in use.
    fn new(kept: usize) -> (Guarded, BytesMut) {
        let mut left = BytesMut::from(&vec![CANARY; 3 * PART_BYTES][..]);
        let mut buffer = left.split_off(PART_BYTES);
        let right = buffer.split_off(PART_BYTES);
        let middle = buffer.as_mut_ptr();
        buffer.truncate(kept);
        assert_eq!(buffer.capacity(), PART_BYTES, "it would be lent more");
        let guarded = Guarded {
            left,
            right,
            middle,
        };
        (guarded, buffer)
    }

    /// The whole buffer, in use or not.
    fn middle(&self) -> &[u8] {
        // SAFETY: all of it was filled when it was made, and `left` keeps the allocation.
        unsafe { std::slice::from_raw_parts(self.middle, PART_BYTES) }
    }

    /// Fills the buffer once nobody has it.
    fn refill(&mut self) {
        // SAFETY: the handle of the buffer is gone, and what it stood for is kept by `left`.
        unsafe { self.middle.write_bytes(CANARY, PART_BYTES) };
    }

    #[track_caller]
    fn assert_neighbours(&self) {
        assert_canary(&self.left);
        assert_canary(&self.right);
    }

    #[track_caller]
    fn assert_all(&self) {
        self.assert_neighbours();
        assert_canary(self.middle());
    }
}

#[track_caller]
fn assert_canary(bytes: &[u8]) {
    let foreign = bytes.iter().position(|byte| *byte != CANARY);
    assert_eq!(foreign, None, "a foreign write at this byte");
}

async fn pair() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ours = TcpStream::connect("127.0.0.1", port).await.unwrap();
    (ours, listener.accept().unwrap().0)
}

/// Time for the kernel to do what it must not do, and turns for the core.
async fn some_turns() {
    for _ in 0..3 {
        runtime::sleep(Duration::from_millis(1)).await;
    }
}

fn run(test: impl Future<Output = ()>) {
    Runtime::small().unwrap().block_on(test).unwrap();
}

#[test]
fn a_receive_writes_as_far_as_it_says() {
    let _alone = alone();
    run(async {
        for (kept, sent) in [
            (0, 1),
            (0, 100),
            (7, 100),
            (4_000, 96),
            (4_000, 200),
            (0, 9_000),
        ] {
            let (ours, mut peer) = pair().await;
            let (guarded, buffer) = Guarded::new(kept);
            peer.write_all(&vec![SENT; sent]).unwrap();
            // All of it is there, so that one receive takes all that fits.
            some_turns().await;
            let (result, buffer) = ours.read(buffer).await;
            let received = result.unwrap();
            assert_eq!(received, sent.min(PART_BYTES - kept));
            guarded.assert_neighbours();
            assert_canary(&buffer[..kept]);
            assert!(buffer[kept..].iter().all(|byte| *byte == SENT));
            assert_canary(&guarded.middle()[kept + received..]);
        }
    });
}

#[test]
fn a_buffer_that_came_back_is_left_alone() {
    let _alone = alone();
    run(async {
        let (ours, mut peer) = pair().await;
        let (mut guarded, buffer) = Guarded::new(0);
        peer.write_all(&[SENT; 10]).unwrap();
        let (result, buffer) = ours.read(buffer).await;
        assert_eq!(result.unwrap(), 10);
        drop(buffer);
        guarded.refill();
        // The next receive has a buffer of its own, and so has what nobody receives.
        let (next, buffer) = Guarded::new(0);
        peer.write_all(&[SENT; PART_BYTES]).unwrap();
        some_turns().await;
        assert_eq!(ours.read(buffer).await.0.unwrap(), PART_BYTES);
        peer.write_all(&[SENT; PART_BYTES]).unwrap();
        some_turns().await;
        next.assert_neighbours();
        guarded.assert_all();
    });
}

#[test]
fn an_orphaned_receive_writes_nowhere_else() {
    let _alone = alone();
    run(async {
        let core = Core::current().unwrap();
        for sends_first in [false, true] {
            let (ours, mut peer) = pair().await;
            let before = core.counters().in_flight;
            let (mut guarded, buffer) = Guarded::new(0);
            let mut read = Box::pin(ours.read(buffer));
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(read.as_mut().poll(context).is_ready())
            });
            assert!(!polled.await);
            if sends_first {
                // It may complete before the cancellation reaches it.
                peer.write_all(&[SENT; PART_BYTES]).unwrap();
            } else {
                some_turns().await;
            }
            drop(read);
            while core.counters().in_flight > before {
                some_turns().await;
                guarded.assert_neighbours();
            }
            // The last completion has come: from here on the memory is ours.
            guarded.refill();
            drop(peer.write_all(&[SENT; 2 * PART_BYTES]));
            some_turns().await;
            guarded.assert_all();
        }
    });
}

#[test]
fn a_receive_ends_with_its_runtime() {
    let _alone = alone();
    let runtime = Runtime::small().unwrap();
    let (mut guarded, buffer) = Guarded::new(0);
    let mut peer = runtime
        .block_on(async {
            let (ours, peer) = pair().await;
            runtime::spawn(async move { ours.read(buffer).await });
            some_turns().await;
            peer
        })
        .unwrap();
    drop(runtime);
    guarded.refill();
    // Nobody has the socket any more.
    drop(peer.write_all(&[SENT; PART_BYTES]));
    std::thread::sleep(Duration::from_millis(3));
    guarded.assert_all();
}

#[test]
fn a_read_of_a_file_that_nobody_waits_for() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), vec![SENT; 1 << 20]).unwrap();
    let file = Arc::new(fs::File::open(folder.path().join("file")).unwrap());
    run(async {
        let core = Core::current().unwrap();
        let before = core.counters().in_flight;
        for bytes in [1, 4_096, 1 << 20] {
            let mut read = Box::pin(read_at(&file, 0, bytes));
            let poll = std::future::poll_fn(|context| {
                std::task::Poll::Ready(read.as_mut().poll(context).is_ready())
            });
            assert!(!poll.await);
            drop(read);
            while core.counters().in_flight > before {
                some_turns().await;
            }
            guarding::check();
        }
    });
}

/// Bodies both ways through a server and a client, some of them dropped half-way.
#[test]
fn what_an_exchange_freed_is_left_alone() {
    const BODY_BYTES: usize = 600_000;
    let _alone = alone();
    let echo = async |request: Request| Response::new().body(request.into_body());
    let serving = Serving::start(Router::new().post("/echo", echo));
    let url = format!("http://{}/echo", serving.address);
    run(async {
        let client = Client::new();
        for round in 0..40_usize {
            let body = vec![round as u8; BODY_BYTES];
            let exchange = async {
                let mut response = client
                    .post(&url)
                    .body(Body::from(body))
                    .send()
                    .await
                    .unwrap();
                let mut received = 0;
                while let Some(chunk) = response.body_mut().chunk().await {
                    let chunk = chunk.unwrap();
                    assert!(chunk.iter().all(|byte| *byte == round as u8));
                    received += chunk.len();
                }
                assert_eq!(received, BODY_BYTES);
            };
            match round % 4 {
                0 => exchange.await,
                // Somewhere in between, or not at all.
                part => {
                    drop(runtime::timeout(Duration::from_micros(part as u64 * 400), exchange).await)
                }
            }
            guarding::check();
        }
    });
    drop(serving);
    guarding::check();
}

// ---- the watch sees what it is for ----------------------------------------------------------

/// Names the bug that the process shall have.
const PLANTED: &str = "PLANTED";

const BUGS: &[(&str, fn())] = &[
    ("in freed memory of 128 bytes", || {
        kernel_writes(drop, 0);
    }),
    ("behind an allocation of 128 bytes", || {
        kernel_writes(drop_later, 128);
    }),
    ("before an allocation of 128 bytes", || {
        kernel_writes(drop_later, -1);
    }),
];

fn drop_later(memory: Vec<u8>) {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(memory);
    });
}

/// The kernel writes one byte, `offset` bytes from the start of memory that `give` gets before.
fn kernel_writes(give: impl FnOnce(Vec<u8>), offset: isize) {
    let zeros = fs::File::open("/dev/zero").unwrap();
    let mut memory = black_box(vec![1_u8; 128]);
    let address = memory.as_mut_ptr().wrapping_offset(offset);
    give(memory);
    // SAFETY: none: that is the bug. The allocator keeps what was freed, and more than was asked
    // for, so that nobody else is hurt. Not by read(3), which a sanitizer would see.
    let bytes = unsafe { libc::syscall(libc::SYS_read, zeros.as_raw_fd(), address, 1) };
    assert_eq!(bytes, 1);
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn planted_writes_are_reported() {
    let _alone = alone();
    if let Ok(name) = std::env::var(PLANTED) {
        let (_, bug) = BUGS.iter().find(|(text, _)| *text == name).unwrap();
        bug();
        return;
    }
    for (text, _) in BUGS {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "planted_writes_are_reported"])
            .env(PLANTED, text)
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text} passed unseen");
        assert!(report.contains(text), "expected {text}, got {report}");
    }
}
