//! Idle connections by the million: what one costs in memory, what a turn costs beside them, and
//! what a deadline costs that passes. On the simulated kernel: no machine at hand has the sockets.
//!
//! ```text
//!   one server, one core ◄── 1,000 … 1,000,000 keep-alive connections, one request each, then idle
//!                        ◄── one busy connection
//!                        ◄── the clock: all deadlines pass
//! ```
//! `cargo bench --bench idle_simulated --features simulation [-- COUNT …]`. Times are real ones of
//! this machine and hold the simulated kernel's own work; memory is the server's alone.

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Request;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::runtime::Core;
use roundtrip::runtime::RingOptions;
use roundtrip::runtime::sleep;
use roundtrip::runtime::spawn;
use roundtrip::simulation;
use roundtrip::simulation::Peer;
use roundtrip::simulation::PeerIo;
use roundtrip::simulation::PeerReceived;
use roundtrip::simulation::PeerSocket;
use roundtrip::simulation::Simulation;

const COUNTS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Requests of the busy connection, per round.
const REQUESTS: usize = 20_000;
const ROUNDS: usize = 5;
/// One more connection is opened each so often.
const OPEN_EVERY: Duration = Duration::from_micros(4);
const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ANSWER: &[u8] = b"Hello, World!";
const ADDRESS: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
    80,
);

/// Counts the bytes that are held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let arguments: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let counts = if arguments.is_empty() {
        COUNTS.to_vec()
    } else {
        arguments
    };
    println!(
        "| idle connections | bytes each | ns per turn, busy connection beside them: median [min–max] | ns per request | turns in a minute of idling | ns per expired deadline, close included |"
    );
    println!("|---:|---:|---:|---:|---:|---:|");
    for count in counts {
        measure(count);
    }
}

fn measure(count: usize) {
    // Everything of one run is on a thread of its own: nothing is left for the next.
    let run = std::thread::spawn(move || {
        let report = Simulation::new(count as u64)
            .ring(RingOptions::WORKER)
            .check_every(u64::MAX)
            .run(hold(count));
        report.unwrap().expect("the server serves");
    });
    run.join().expect("the run ends in order");
}

async fn hold(count: usize) -> roundtrip::Result<()> {
    let router = Router::new().get("/", |_: &Request| "Hello, World!");
    let server = Server::new(router)
        .bind(ADDRESS)?
        .idle_timeout(IDLE_TIMEOUT);
    let handle = server.handle();
    let serving = spawn(server.run_here());
    let core = Core::try_current()?;
    answer_busy(1_000).await;
    let before = HELD.load(Ordering::Relaxed) - simulation::kernel_bytes();
    let answered = Rc::new(Cell::new(0));
    for index in 0..count {
        simulation::add_peer(Idler {
            delay: OPEN_EVERY * index as u32,
            socket: None,
            answered: Rc::clone(&answered),
            is_answered: false,
        });
    }
    while answered.get() < count {
        sleep(Duration::from_millis(50)).await;
    }
    let held = HELD.load(Ordering::Relaxed) - simulation::kernel_bytes() - before;
    let (mut turns, mut requests) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (enters, begin) = (core.counters().enters, Instant::now());
        answer_busy(REQUESTS).await;
        let elapsed = begin.elapsed().as_nanos() as u64;
        turns.push(elapsed / (core.counters().enters - enters));
        requests.push(elapsed / REQUESTS as u64);
    }
    turns.sort_unstable();
    requests.sort_unstable();
    let enters = core.counters().enters;
    sleep(Duration::from_secs(60)).await;
    let idle_turns = core.counters().enters - enters;
    let begin = Instant::now();
    // All deadlines pass, and a little more.
    sleep(IDLE_TIMEOUT + Duration::from_secs(10)).await;
    assert_eq!(simulation::peers(), 0, "every idle connection was closed");
    let expiry = begin.elapsed().as_nanos() as u64;
    println!(
        "| {count} | {} | {} [{}–{}] | {} | {idle_turns} | {} |",
        held / count,
        turns[ROUNDS / 2],
        turns[0],
        turns[ROUNDS - 1],
        requests[ROUNDS / 2],
        expiry / count as u64,
    );
    handle.shutdown();
    serving.await?
}

/// Lets one connection make requests one after the other.
async fn answer_busy(requests: usize) {
    let left = Rc::new(Cell::new(requests));
    simulation::add_peer(Busy {
        socket: None,
        left: Rc::clone(&left),
    });
    while left.get() > 0 {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Makes one request and keeps the connection until the server ends it.
struct Idler {
    delay: Duration,
    socket: Option<PeerSocket>,
    answered: Rc<Cell<usize>>,
    is_answered: bool,
}

impl Peer for Idler {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        let Some(socket) = self.socket else {
            if self.delay.is_zero() {
                let socket = io.connect(ADDRESS);
                self.socket = Some(socket);
                io.send(socket, REQUEST);
            } else {
                io.wake_in(std::mem::take(&mut self.delay));
            }
            return true;
        };
        match take_answer(io, socket) {
            PeerReceived::Nothing => true,
            PeerReceived::Bytes(_) => {
                assert!(!self.is_answered, "one answer to one request");
                self.is_answered = true;
                self.answered.set(self.answered.get() + 1);
                true
            }
            PeerReceived::End | PeerReceived::Reset => {
                io.close(socket);
                false
            }
        }
    }
}

/// Makes requests one after the other.
struct Busy {
    socket: Option<PeerSocket>,
    left: Rc<Cell<usize>>,
}

impl Peer for Busy {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        let Some(socket) = self.socket else {
            let socket = io.connect(ADDRESS);
            self.socket = Some(socket);
            io.send(socket, REQUEST);
            return true;
        };
        if matches!(take_answer(io, socket), PeerReceived::Bytes(_)) {
            self.left.set(self.left.get() - 1);
            if self.left.get() == 0 {
                io.close(socket);
                return false;
            }
            io.send(socket, REQUEST);
        }
        true
    }
}

/// What is there; bytes are the whole of an answer, since nothing cuts it here.
fn take_answer(io: &mut PeerIo<'_>, socket: PeerSocket) -> PeerReceived {
    let mut answer = Vec::new();
    let received = io.receive(socket, &mut answer, 1_024);
    if matches!(received, PeerReceived::Bytes(_)) {
        assert!(answer.ends_with(ANSWER), "an answer is whole and right");
    }
    received
}
