//! Futures that are dropped wherever they may be, on the real kernel; and wake-ups from many threads.
//!
//! ```text
//!   accept · connect · receive · send · large send · open · read · sleep · resolve
//!      × dropped: before the first poll · after each poll · completed but not taken
//!                 · with the runtime · after the runtime
//!      ⇒ no descriptor, no operation, no touched memory is left
//! ```

use std::any::Any;
use std::cell::RefCell;
use std::fs;
use std::future::Future;
use std::future::poll_fn;
use std::io::Read as _;
use std::io::Write as _;
use std::net;
use std::os::unix;
use std::pin::Pin;
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
use std::task::Wake;
use std::task::Waker;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use bytes::BytesMut;
use roundtrip::fs::Root;
use roundtrip::fs::read_at;
use roundtrip::net::TcpListener;
use roundtrip::net::TcpStream;
use roundtrip::net::UnixStream;
use roundtrip::net::resolve;
use roundtrip::runtime::Core;
use roundtrip::runtime::Runtime;
use roundtrip::runtime::sleep;
use roundtrip::runtime::spawn;

/// Bytes of one receive, and of the canaries around it.
const RECEIVE_BYTES: usize = 4_096;
/// More than any socket takes at once, so that the send waits.
const LARGE_BYTES: usize = 12 << 20;
/// What the peer sends, what canaries hold, what a sent buffer holds, what it holds when dropped.
const RECEIVED: u8 = 0x5A;
const CANARY: u8 = 0xA5;
const SENT: u8 = 0x11;
const POISON: u8 = 0xEE;
/// Until then everything that was dropped must be gone.
const SETTLED: Duration = Duration::from_secs(5);

type Operation = Pin<Box<dyn Future<Output = ()>>>;

/// An operation that can be dropped, and the other side of it.
struct Scene {
    operation: Operation,
    /// Makes the operation complete, or lets the kernel try if it was dropped.
    act: Box<dyn FnOnce()>,
    /// The peer and what else the operation needs.
    kept: Box<dyn Any>,
}

impl Scene {
    fn new(operation: impl Future<Output = ()> + 'static) -> Scene {
        Scene {
            operation: Box::pin(operation),
            act: Box::new(|| {}),
            kept: Box::new(()),
        }
    }
}

/// Bytes that are overwritten when they are freed: whoever reads them later sees it.
struct Poisoned(Vec<u8>);

impl AsRef<[u8]> for Poisoned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Poisoned {
    fn drop(&mut self) {
        self.0.fill(POISON);
        std::hint::black_box(&self.0);
    }
}

const SCENES: &[&str] = &[
    "accept",
    "connect",
    "connect_unix",
    "receive",
    "receive_unix",
    "send",
    "large_send",
    "open",
    "read",
    "sleep",
    "resolve",
    "connect_by_name",
];

async fn scene(name: &str, folder: &std::path::Path) -> Scene {
    match name {
        "accept" => accept(),
        "connect" => connect("127.0.0.1"),
        "connect_by_name" => connect("localhost"),
        "connect_unix" => connect_unix(folder),
        "receive" => receive().await,
        "receive_unix" => receive_unix(folder).await,
        "send" => send(1_000).await,
        "large_send" => send(LARGE_BYTES).await,
        "open" => open(folder),
        "read" => read(folder),
        "sleep" => Scene::new(sleep(Duration::from_millis(3))),
        "resolve" => Scene::new(async {
            resolve("localhost", 80).await.unwrap();
        }),
        other => panic!("no scene {other}"),
    }
}

fn accept() -> Scene {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr();
    let clients = Rc::new(RefCell::new(Vec::new()));
    let theirs = Rc::clone(&clients);
    Scene {
        operation: Box::pin(async move {
            listener.accept().await.unwrap();
        }),
        // When the accept was dropped nobody may listen any more.
        act: Box::new(move || theirs.borrow_mut().extend(net::TcpStream::connect(address))),
        kept: Box::new(clients),
    }
}

fn connect(host: &'static str) -> Scene {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    Scene {
        kept: Box::new(listener),
        ..Scene::new(async move {
            TcpStream::connect(host, port).await.unwrap();
        })
    }
}

fn connect_unix(folder: &std::path::Path) -> Scene {
    let path = folder.join("connect");
    let _ = fs::remove_file(&path);
    let listener = unix::net::UnixListener::bind(&path).unwrap();
    Scene {
        kept: Box::new(listener),
        ..Scene::new(async move {
            UnixStream::connect(&path).await.unwrap();
        })
    }
}

async fn pair() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ours = TcpStream::connect("127.0.0.1", port).await.unwrap();
    (ours, listener.accept().unwrap().0)
}

async fn receive() -> Scene {
    let (ours, mut peer) = pair().await;
    let writer = peer.try_clone().unwrap();
    Scene {
        operation: Box::pin(async move {
            let buffer = BytesMut::with_capacity(RECEIVE_BYTES);
            let (result, buffer) = ours.read(buffer).await;
            assert_eq!(result.unwrap(), RECEIVE_BYTES);
            assert!(buffer.iter().all(|byte| *byte == RECEIVED));
        }),
        // A peer whose reader is gone may see a reset.
        act: Box::new(move || drop(peer.write_all(&[RECEIVED; RECEIVE_BYTES]))),
        kept: Box::new(writer),
    }
}

async fn receive_unix(folder: &std::path::Path) -> Scene {
    let path = folder.join("receive");
    let _ = fs::remove_file(&path);
    let listener = unix::net::UnixListener::bind(&path).unwrap();
    let ours = UnixStream::connect(&path).await.unwrap();
    let mut peer = listener.accept().unwrap().0;
    let kept = peer.try_clone().unwrap();
    Scene {
        operation: Box::pin(async move {
            let buffer = BytesMut::with_capacity(RECEIVE_BYTES);
            let (result, _) = ours.read(buffer).await;
            assert_eq!(result.unwrap(), RECEIVE_BYTES);
        }),
        act: Box::new(move || drop(peer.write_all(&[RECEIVED; RECEIVE_BYTES]))),
        kept: Box::new(kept),
    }
}

/// The peer reads to the end once asked to, and must see nothing but what was sent.
struct Reader(Option<net::TcpStream>);

impl Drop for Reader {
    fn drop(&mut self) {
        let mut bytes = Vec::new();
        let mut peer = self.0.take().unwrap();
        peer.set_read_timeout(Some(SETTLED)).unwrap();
        // A socket that was closed with a send in flight may end with a reset.
        let _ = peer.read_to_end(&mut bytes);
        let freed = bytes.iter().position(|byte| *byte != SENT);
        assert_eq!(freed, None, "the kernel sent memory that had been freed");
    }
}

async fn send(bytes: usize) -> Scene {
    let (ours, peer) = pair().await;
    let mut reading = peer.try_clone().unwrap();
    Scene {
        operation: Box::pin(async move {
            let bytes = Bytes::from_owner(Poisoned(vec![SENT; bytes]));
            ours.write_all(bytes).await.unwrap();
        }),
        // Makes some room, whatever has arrived.
        act: Box::new(move || {
            reading.set_nonblocking(true).unwrap();
            let mut room = vec![0; 1 << 20];
            while let Ok(bytes @ 1..) = reading.read(&mut room) {
                assert!(room[..bytes].iter().all(|byte| *byte == SENT));
            }
            reading.set_nonblocking(false).unwrap();
        }),
        kept: Box::new(Reader(Some(peer))),
    }
}

fn open(folder: &std::path::Path) -> Scene {
    let root = Root::open(folder).unwrap();
    Scene::new(async move {
        root.open_beneath("file").await.unwrap();
    })
}

fn read(folder: &std::path::Path) -> Scene {
    let file = Arc::new(fs::File::open(folder.join("file")).unwrap());
    Scene::new(async move {
        let bytes = read_at(&file, 0, RECEIVE_BYTES).await.unwrap();
        assert_eq!(bytes.len(), RECEIVE_BYTES);
    })
}

// ---- dropping -------------------------------------------------------------------------------

/// Where a future is dropped.
#[derive(Clone, Copy, Debug)]
enum Drops {
    /// After so many polls.
    Polled(usize),
    /// After so many polls, and the wake-up for the next.
    Woken(usize),
}

/// Notes a wake-up, and passes it on.
struct Flag {
    woken: AtomicBool,
    to: Waker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.to.wake_by_ref();
    }
}

/// Polls `operation` as `drops` says, makes it complete with `act` when it waits, and drops it.
/// True if it was done before.
async fn run_and_drop(operation: Operation, act: impl FnOnce(), drops: Drops) -> bool {
    let (polls_max, wants_wake) = match drops {
        Drops::Polled(polls) => (polls, false),
        Drops::Woken(polls) => (polls, true),
    };
    let mut operation = Some(operation);
    let mut act = Some(act);
    let mut polls = 0;
    let mut flag: Option<Arc<Flag>> = None;
    poll_fn(|context| {
        let was_woken = flag
            .as_ref()
            .is_some_and(|flag| flag.woken.load(Ordering::SeqCst));
        if polls == polls_max && (!wants_wake || was_woken) {
            operation = None;
            return Poll::Ready(false);
        }
        if polls > 0 && !was_woken {
            return Poll::Pending;
        }
        polls += 1;
        let fresh = Arc::new(Flag {
            woken: AtomicBool::new(false),
            to: context.waker().clone(),
        });
        let waker = Waker::from(Arc::clone(&fresh));
        flag = Some(fresh);
        let future = operation.as_mut().expect("it is there until it is dropped");
        if future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            return Poll::Ready(true);
        }
        if polls < polls_max || wants_wake {
            // It shall go on.
            if let Some(act) = act.take() {
                act();
            }
            return Poll::Pending;
        }
        operation = None;
        Poll::Ready(false)
    })
    .await
}

/// Tests that count descriptors of the process run one after the other.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), [SENT; 2 * RECEIVE_BYTES]).unwrap();
    folder
}

/// Fresh memory of the size classes that a receive uses, filled with a pattern.
fn canaries() -> Vec<Vec<u8>> {
    (0..64).map(|_| vec![CANARY; RECEIVE_BYTES]).collect()
}

fn assert_untouched(canaries: &[Vec<u8>], what: &str) {
    let is_intact = |canary: &Vec<u8>| canary.iter().all(|byte| *byte == CANARY);
    assert!(
        canaries.iter().all(is_intact),
        "{what}: memory was touched after the drop"
    );
}

/// Waits until descriptors and operations are back to what they were.
async fn settle(descriptors_before: usize, in_flight_before: u64, what: &str) {
    let core = Core::current().unwrap();
    let deadline = Instant::now() + SETTLED;
    loop {
        let now = (descriptors(), core.counters().in_flight);
        if now.0 <= descriptors_before && now.1 == in_flight_before {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: (descriptors, operations) are {now:?}, not {:?}",
            (descriptors_before, in_flight_before)
        );
        sleep(Duration::from_millis(1)).await;
    }
}

/// One future, dropped in one place. True if it was done before.
async fn drop_one(name: &str, folder: &std::path::Path, drops: Drops) -> bool {
    let what = format!("{name}, {drops:?}");
    let core = Core::current().unwrap();
    let before = (descriptors(), core.counters().in_flight);
    let Scene {
        operation,
        act,
        kept,
    } = scene(name, folder).await;
    let act = Rc::new(RefCell::new(Some(act)));
    let acting = Rc::clone(&act);
    let act_once = move || {
        if let Some(act) = acting.borrow_mut().take() {
            act();
        }
    };
    let was_done = run_and_drop(operation, act_once.clone(), drops).await;
    let canaries = canaries();
    // The peer goes on as if nobody had lost interest.
    act_once();
    sleep(Duration::from_millis(1)).await;
    assert_untouched(&canaries, &what);
    drop(act_once);
    drop(act);
    drop(kept);
    settle(before.0, before.1, &what).await;
    was_done
}

#[test]
fn dropped_at_every_await_point() {
    let _alone = alone();
    let folder = folder();
    let runtime = Runtime::new().unwrap();
    let all = async {
        // The blocking pool's threads, and what the C library opens once.
        resolve("localhost", 80).await.unwrap();
        for name in SCENES {
            let mut polls = 0;
            // Twice each: what a drop left behind would be in the way of the next.
            while !(drop_one(name, folder.path(), Drops::Polled(polls)).await
                && drop_one(name, folder.path(), Drops::Polled(polls)).await)
                && polls < 8
            {
                if polls > 0 {
                    drop_one(name, folder.path(), Drops::Woken(polls)).await;
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
    let folder = folder();
    Runtime::new()
        .unwrap()
        .block_on(resolve("localhost", 80))
        .unwrap()
        .unwrap();
    for name in SCENES {
        for turns in 0..3 {
            let before = descriptors();
            let runtime = Runtime::small().unwrap();
            let started = async {
                let Scene {
                    operation,
                    act,
                    kept,
                } = scene(name, folder.path()).await;
                spawn(operation);
                for _ in 0..turns {
                    roundtrip::runtime::yield_now().await;
                }
                (act, kept)
            };
            let (act, kept) = runtime.block_on(started).unwrap();
            drop(runtime);
            let canaries = canaries();
            act();
            thread::sleep(Duration::from_millis(1));
            assert_untouched(&canaries, name);
            drop(kept);
            assert_descriptors(before, name);
        }
    }
}

#[test]
fn dropped_after_the_runtime() {
    let _alone = alone();
    let folder = folder();
    Runtime::new()
        .unwrap()
        .block_on(resolve("localhost", 80))
        .unwrap()
        .unwrap();
    for name in SCENES {
        let before = descriptors();
        let runtime = Runtime::small().unwrap();
        let started = async {
            let mut scene = scene(name, folder.path()).await;
            let poll =
                |context: &mut Context<'_>| Poll::Ready(scene.operation.as_mut().poll(context));
            let _ = poll_fn(poll).await;
            scene
        };
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
