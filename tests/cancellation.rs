//! Futures that are dropped wherever they may be, on the real kernel; and wake-ups from many threads.
//!
//! ```text
//!   dropping::SCENES × dropped: at every await point, beside others
//!                             · with the runtime · after the runtime
//!      ⇒ no descriptor, no operation, no touched memory is left
//! ```

use std::any::Any;
use std::fs;
use std::future::poll_fn;
use std::io::Read as _;
use std::io::Write as _;
use std::net;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use roundtrip::net::resolve;
use roundtrip::runtime::Runtime;
use roundtrip::runtime::sleep;
use roundtrip::runtime::spawn;

mod dropping;

use dropping::Beside;
use dropping::Beyond;
use dropping::Drops;
use dropping::Far;
use dropping::LOOKED_UP;
use dropping::POLLS_MAX;
use dropping::RECEIVE_BYTES;
use dropping::SCENES;
use dropping::SENT;
use dropping::SETTLED;
use dropping::Scene;
use dropping::assert_untouched;
use dropping::canaries;
use dropping::drop_one;
use dropping::scene;

/// This machine: its loopback interface and a directory.
struct Machine {
    folder: tempfile::TempDir,
}

enum Listener {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener),
}

/// A connection of either kind: the calls are the same.
struct Connection(net::TcpStream);

/// A thread that answers requests until this is dropped.
struct Answering {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Ends the accept that it waits in.
        let _ = net::TcpStream::connect(self.address);
        let thread = self.thread.take().expect("it is dropped once");
        assert!(thread.join().is_ok(), "the answering thread panicked");
    }
}

impl Machine {
    fn new() -> Rc<Machine> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), [SENT; 2 * RECEIVE_BYTES]).unwrap();
        Rc::new(Machine { folder })
    }
}

impl Beyond for Machine {
    const LARGE_BYTES: usize = 12 << 20;
    type Listener = Listener;
    type Far = Connection;

    fn listen(&self) -> (Listener, SocketAddr) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (Listener::Tcp(listener), address)
    }

    fn listen_unix(&self, path: &Path) -> Listener {
        Listener::Unix(unix::net::UnixListener::bind(path).unwrap())
    }

    async fn accept(&self, listener: &Listener) -> Connection {
        Connection(match listener {
            Listener::Tcp(listener) => listener.accept().unwrap().0,
            Listener::Unix(listener) => OwnedFd::from(listener.accept().unwrap().0).into(),
        })
    }

    fn answer(&self, listener: Listener, response: &'static [u8]) -> Box<dyn Any> {
        let Listener::Tcp(listener) = listener else {
            panic!("requests come over TCP")
        };
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while let (mut connection, _) = listener.accept().unwrap()
                && !over.load(Ordering::SeqCst)
            {
                connection.set_read_timeout(Some(SETTLED)).unwrap();
                if matches!(connection.read(&mut [0; 1_024]), Ok(1..)) {
                    let _ = connection.write_all(response);
                    let _ = connection.read(&mut [0]);
                }
            }
        });
        Box::new(Answering {
            address,
            is_over,
            thread: Some(thread),
        })
    }

    fn connect(&self, address: SocketAddr, bytes: &'static [u8]) -> Box<dyn Any> {
        let connection = net::TcpStream::connect(address);
        Box::new(connection.map(|mut connection| {
            let _ = connection.write_all(bytes);
            connection
        }))
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn descriptors(&self) -> usize {
        descriptors()
    }
}

impl Far for Connection {
    fn send(&self, bytes: &[u8]) {
        // A peer whose reader is gone may see a reset.
        let _ = (&self.0).write_all(bytes);
    }

    fn make_room(&self) {
        self.0.set_nonblocking(true).unwrap();
        let mut room = vec![0; 1 << 20];
        while let Ok(bytes @ 1..) = (&self.0).read(&mut room) {
            assert_sent(&room[..bytes]);
        }
        self.0.set_nonblocking(false).unwrap();
    }

    fn read_to_end(&self) {
        let mut bytes = Vec::new();
        self.0.set_read_timeout(Some(SETTLED)).unwrap();
        // A socket that was closed with a send in flight may end with a reset.
        let _ = (&self.0).read_to_end(&mut bytes);
        assert_sent(&bytes);
    }
}

fn assert_sent(bytes: &[u8]) {
    const BLOCK: [u8; 4_096] = [SENT; 4_096];
    let mut blocks = bytes.chunks(BLOCK.len());
    let is_sent = blocks.all(|block| *block == BLOCK[..block.len()]);
    assert!(is_sent, "the kernel sent memory that had been freed");
}

/// Tests that count descriptors of the process run one after the other.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn dropped_at_every_await_point() {
    let _alone = alone();
    let machine = Machine::new();
    let runtime = Runtime::new().unwrap();
    let all = async {
        // The blocking pool's threads, and what the C library opens once. On tmpfs, which does not say
        // what is in memory, a first read makes what threads tell the epoll engine by.
        resolve(LOOKED_UP, 80).await.unwrap();
        scene("read", &machine).await.operation.await;
        for name in SCENES {
            let mut polls = 0;
            while polls < POLLS_MAX {
                let mut was_done = true;
                // What a drop left behind would be in the way of the next.
                for beside in [Beside::Nothing, Beside::Earlier, Beside::Later] {
                    was_done &= drop_one(&machine, name, Drops::Polled(polls), beside).await;
                }
                if was_done {
                    break;
                }
                if polls > 0 {
                    drop_one(&machine, name, Drops::Woken(polls), Beside::Later).await;
                }
                polls += 1;
            }
            // The blocking pool may be done before the first poll.
            let uses_pool = ["open", "resolve", "connect_by_name"].contains(name);
            assert!(polls > 1 || uses_pool, "{name} never waited");
        }
    };
    runtime.block_on(all).unwrap();
    assert_eq!(runtime.core().counters().stale, 0);
}

#[test]
fn dropped_with_the_runtime() {
    let _alone = alone();
    let machine = Machine::new();
    Runtime::new()
        .unwrap()
        .block_on(resolve(LOOKED_UP, 80))
        .unwrap()
        .unwrap();
    for name in SCENES {
        for turns in 0..3 {
            let before = descriptors();
            let runtime = Runtime::small().unwrap();
            let started = dropping::run_beside(&machine, name, turns);
            let (act, kept) = runtime.block_on(started).unwrap();
            drop(runtime);
            let canaries = canaries();
            act();
            thread::sleep(Duration::from_millis(1));
            assert_untouched(&canaries, name);
            drop(act);
            drop(kept);
            assert_descriptors(before, name);
        }
    }
}

#[test]
fn dropped_after_the_runtime() {
    let _alone = alone();
    let machine = Machine::new();
    Runtime::new()
        .unwrap()
        .block_on(resolve(LOOKED_UP, 80))
        .unwrap()
        .unwrap();
    for name in SCENES {
        let before = descriptors();
        let runtime = Runtime::small().unwrap();
        let started = dropping::poll_once(&machine, name);
        let Scene {
            operation,
            act,
            kept,
        } = runtime.block_on(started).unwrap();
        drop(runtime);
        let canaries = canaries();
        act();
        thread::sleep(Duration::from_millis(1));
        drop(operation);
        assert_untouched(&canaries, name);
        drop(act);
        drop(kept);
        assert_descriptors(before, name);
    }
}

/// Threads of the blocking pool may hold wakers, and with them a core's event, for a moment: now,
/// and when it was counted before.
fn assert_descriptors(before: usize, what: &str) {
    let deadline = Instant::now() + SETTLED;
    while descriptors() > before {
        assert!(
            Instant::now() < deadline,
            "{what}: {} descriptors, {before} before",
            descriptors()
        );
        thread::sleep(Duration::from_millis(1));
    }
}

// ---- waking ---------------------------------------------------------------------------------

/// A counter that one task follows and one thread moves.
#[derive(Default)]
struct Relay {
    sent: AtomicU64,
    seen: AtomicU64,
    waker: Mutex<Option<Waker>>,
    is_over: AtomicBool,
}

impl Relay {
    /// The task: notes what it sees, until it is over.
    fn poll(&self, context: &mut Context<'_>) -> Poll<u64> {
        *self.waker.lock().unwrap() = Some(context.waker().clone());
        let sent = self.sent.load(Ordering::SeqCst);
        self.seen.store(sent, Ordering::SeqCst);
        match self.is_over.load(Ordering::SeqCst) {
            true => Poll::Ready(sent),
            false => Poll::Pending,
        }
    }

    /// The thread: one more, and it must be seen.
    fn send(&self, wakes: usize) {
        let sent = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
        for _ in 0..wakes {
            let waker = self.waker.lock().unwrap().clone();
            waker.expect("the task registered first").wake();
        }
        let deadline = Instant::now() + SETTLED;
        while self.seen.load(Ordering::SeqCst) < sent {
            assert!(Instant::now() < deadline, "a wake-up was lost");
            thread::yield_now();
        }
    }
}

#[test]
fn no_wake_up_from_many_threads_is_lost() {
    const THREADS: usize = 4;
    const TASKS_PER_THREAD: usize = 16;
    let _alone = alone();
    let relays: Vec<Arc<Relay>> = (0..THREADS * TASKS_PER_THREAD)
        .map(|_| Arc::default())
        .collect();
    let runtime = Runtime::small().unwrap();
    let run = async {
        let tasks: Vec<_> = relays
            .iter()
            .map(|relay| {
                let relay = Arc::clone(relay);
                spawn(poll_fn(move |context| relay.poll(context)))
            })
            .collect();
        // Every task registers its waker.
        sleep(Duration::from_millis(1)).await;
        let deadline = Instant::now() + Duration::from_secs(2);
        let threads: Vec<_> = relays
            .chunks(TASKS_PER_THREAD)
            .map(|relays| {
                let relays = relays.to_vec();
                thread::spawn(move || {
                    let mut round = 0;
                    while Instant::now() < deadline {
                        relays[round % relays.len()].send(1 + round % 3);
                        round += 1;
                        // Now and then the core has time to fall asleep.
                        if round % 64 == 0 {
                            thread::sleep(Duration::from_micros(200));
                        }
                    }
                    for relay in &relays {
                        relay.is_over.store(true, Ordering::SeqCst);
                        relay.send(1);
                    }
                    round as u64 + relays.len() as u64
                })
            })
            .collect();
        let mut seen = 0;
        for task in tasks {
            seen += task.await.unwrap();
        }
        let sent: u64 = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        assert_eq!(seen, sent);
        assert!(sent > 1_000, "{sent} rounds are no stress");
    };
    runtime.block_on(run).unwrap();
    assert_eq!(runtime.core().counters().stale, 0);
}

#[test]
fn every_posted_call_runs_once() {
    const THREADS: u64 = 4;
    const CALLS: u64 = 5_000;
    let _alone = alone();
    let runtime = Runtime::small().unwrap();
    let ran = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let remote = Arc::clone(runtime.core().remote());
            let ran = Arc::clone(&ran);
            thread::spawn(move || {
                for _ in 0..CALLS {
                    let ran = Arc::clone(&ran);
                    assert!(remote.post(move |_| {
                        ran.fetch_add(1, Ordering::SeqCst);
                    }));
                }
            })
        })
        .collect();
    let all = async {
        let deadline = Instant::now() + SETTLED;
        while ran.load(Ordering::SeqCst) < THREADS * CALLS {
            assert!(
                Instant::now() < deadline,
                "{} calls",
                ran.load(Ordering::SeqCst)
            );
            sleep(Duration::from_micros(100)).await;
        }
    };
    runtime.block_on(all).unwrap();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let remote = Arc::clone(runtime.core().remote());
    drop(runtime);
    assert!(!remote.post(|_| panic!("the core has ended")));
}
