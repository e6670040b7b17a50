//! Operations that are dropped wherever they may be: the same scenes on any kernel.
//!
//! ```text
//!   accept · connect · race · receive · send · large send · open · read · sleep · resolve · fetch · serve
//!      × dropped: before the first poll · after each poll · completed but not taken
//!      × alone · beside another that was there before · beside one that comes after
//!      ⇒ no descriptor, no operation, no touched memory is left; the other one completes
//! ```

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::future::poll_fn;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use roundtrip::Client;
use roundtrip::Request;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::fs::Root;
use roundtrip::fs::read_at;
use roundtrip::net::TcpListener;
use roundtrip::net::TcpStream;
use roundtrip::net::UnixStream;
use roundtrip::net::connect as connect_any;
use roundtrip::net::resolve;
use roundtrip::runtime::Core;
use roundtrip::runtime::JoinHandle;
use roundtrip::runtime::sleep;
use roundtrip::runtime::spawn;
use roundtrip::runtime::yield_now;
use roundtrip::server::ServerHandle;

/// Bytes of one receive, and of the canaries around it.
pub const RECEIVE_BYTES: usize = 4_096;
/// What the peer sends, what canaries hold, what a sent buffer holds, what it holds when dropped.
const RECEIVED: u8 = 0x5A;
const CANARY: u8 = 0xA5;
pub const SENT: u8 = 0x11;
const POISON: u8 = 0xEE;
/// Until then everything that was dropped must be gone.
pub const SETTLED: Duration = Duration::from_secs(5);
/// No operation takes more polls.
pub const POLLS_MAX: usize = 8;

/// What is beyond the code under test: the programs at the other end, and the machine.
#[allow(async_fn_in_trait)] // For tests on one thread.
pub trait Beyond: 'static {
    /// More than a socket takes at once, so that the send waits.
    const LARGE_BYTES: usize;
    type Listener: 'static;
    type Far: Far;

    fn listen(&self) -> (Self::Listener, SocketAddr);
    fn listen_unix(&self, path: &Path) -> Self::Listener;
    /// The connection that has just been made.
    async fn accept(&self, listener: &Self::Listener) -> Self::Far;
    /// Answers the first request of each connection, until the result is dropped.
    fn answer(&self, listener: Self::Listener, response: &'static [u8]) -> Box<dyn Any>;
    /// Tries to connect and sends; the connection is kept for as long as the result.
    fn connect(&self, address: SocketAddr, bytes: &'static [u8]) -> Box<dyn Any>;
    /// A directory with a `file` of two [`RECEIVE_BYTES`].
    fn folder(&self) -> &Path;
    /// How many are open.
    fn descriptors(&self) -> usize;
    /// Everything is prepared: now comes what is looked at.
    fn begin(&self) {}
}

/// The other end of a connection. Dropped, it closes.
pub trait Far: 'static {
    fn send(&self, bytes: &[u8]);
    /// Takes what has arrived: nothing but [`SENT`].
    fn make_room(&self);
    /// Reads to the end: nothing but [`SENT`].
    fn read_to_end(&self);
}

/// An operation that can be dropped, and the other side of it.
pub struct Scene {
    pub operation: Operation,
    /// Makes the operation go on, or lets the kernel try if it was dropped.
    pub act: Rc<dyn Fn()>,
    /// The peer and what else the operation needs.
    pub kept: Box<dyn Any>,
}

pub type Operation = Pin<Box<dyn Future<Output = ()>>>;

impl Scene {
    fn new(operation: impl Future<Output = ()> + 'static) -> Scene {
        Scene {
            operation: Box::pin(operation),
            act: Rc::new(|| {}),
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

/// A name that is looked up, and known without a server of names: getaddrinfo(3) reads numbers of three
/// parts and fewer too.
pub const LOOKED_UP: &str = "127.1";

pub const SCENES: &[&str] = &[
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
    "race",
    "fetch",
    "serve",
];

pub async fn scene<B: Beyond>(name: &str, beyond: &Rc<B>) -> Scene {
    match name {
        "accept" => accept(beyond),
        "connect" => connect(&**beyond, "127.0.0.1"),
        "connect_by_name" => connect(&**beyond, LOOKED_UP),
        "race" => race(&**beyond),
        "connect_unix" => connect_unix(&**beyond),
        "receive" => receive(pair(&**beyond).await),
        "receive_unix" => receive_unix(&**beyond).await,
        "send" => send(pair(&**beyond).await, 1_000),
        "large_send" => send(pair(&**beyond).await, B::LARGE_BYTES),
        "open" => open(&**beyond),
        "read" => read(&**beyond).await,
        "sleep" => Scene::new(sleep(Duration::from_millis(3))),
        "resolve" => Scene::new(async {
            resolve(LOOKED_UP, 80).await.unwrap();
        }),
        "fetch" => fetch(&**beyond),
        "serve" => serve(beyond),
        other => panic!("no scene {other}"),
    }
}

fn accept<B: Beyond>(beyond: &Rc<B>) -> Scene {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr();
    let clients = Rc::new(Cell::new(None));
    let theirs = Rc::clone(&clients);
    let beyond = Rc::clone(beyond);
    Scene {
        operation: Box::pin(async move {
            listener.accept().await.unwrap();
        }),
        // When the accept was dropped nobody may listen any more.
        act: Rc::new(move || theirs.set(Some(beyond.connect(address, b"")))),
        kept: Box::new(clients),
    }
}

fn connect<B: Beyond>(beyond: &B, host: &'static str) -> Scene {
    let (listener, address) = beyond.listen();
    Scene {
        kept: Box::new(listener),
        ..Scene::new(async move {
            TcpStream::connect(host, address.port()).await.unwrap();
        })
    }
}

/// An address where nobody listens, and one where somebody does.
fn race<B: Beyond>(beyond: &B) -> Scene {
    let (listener, address) = beyond.listen();
    let deserted = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port());
    Scene {
        kept: Box::new(listener),
        ..Scene::new(async move {
            connect_any(&[deserted, address], SETTLED).await.unwrap();
        })
    }
}

/// A path for a socket that nobody has used.
fn fresh_path<B: Beyond>(beyond: &B) -> std::path::PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    beyond.folder().join(format!("socket{number}"))
}

fn connect_unix<B: Beyond>(beyond: &B) -> Scene {
    let path = fresh_path(beyond);
    let listener = beyond.listen_unix(&path);
    Scene {
        kept: Box::new(listener),
        ..Scene::new(async move {
            UnixStream::connect(&path).await.unwrap();
        })
    }
}

async fn pair<B: Beyond>(beyond: &B) -> (TcpStream, B::Far) {
    let (listener, address) = beyond.listen();
    let ours = TcpStream::connect("127.0.0.1", address.port())
        .await
        .unwrap();
    (ours, beyond.accept(&listener).await)
}

fn receive((ours, far): (TcpStream, impl Far)) -> Scene {
    let far = Rc::new(far);
    let kept = Rc::clone(&far);
    Scene {
        operation: Box::pin(async move {
            let buffer = BytesMut::with_capacity(RECEIVE_BYTES);
            let (result, buffer) = ours.read(buffer).await;
            assert_received(result.unwrap(), &buffer);
        }),
        act: Rc::new(move || far.send(&[RECEIVED; RECEIVE_BYTES])),
        kept: Box::new(kept),
    }
}

async fn receive_unix<B: Beyond>(beyond: &B) -> Scene {
    let path = fresh_path(beyond);
    let listener = beyond.listen_unix(&path);
    let ours = UnixStream::connect(&path).await.unwrap();
    let far = Rc::new(beyond.accept(&listener).await);
    let kept = Rc::clone(&far);
    Scene {
        operation: Box::pin(async move {
            let buffer = BytesMut::with_capacity(RECEIVE_BYTES);
            let (result, buffer) = ours.read(buffer).await;
            assert_received(result.unwrap(), &buffer);
        }),
        act: Rc::new(move || far.send(&[RECEIVED; RECEIVE_BYTES])),
        kept: Box::new(kept),
    }
}

/// A receive may take less than was sent, but nothing else.
fn assert_received(bytes: usize, buffer: &[u8]) {
    assert!(bytes > 0, "nothing was received");
    assert_eq!(buffer, &[RECEIVED; RECEIVE_BYTES][..bytes]);
}

/// The peer reads to the end when it is dropped.
struct Reader<F: Far>(Rc<F>);

impl<F: Far> Drop for Reader<F> {
    fn drop(&mut self) {
        self.0.read_to_end();
    }
}

fn send((ours, far): (TcpStream, impl Far), bytes: usize) -> Scene {
    let far = Rc::new(far);
    let kept = Reader(Rc::clone(&far));
    Scene {
        operation: Box::pin(async move {
            let bytes = Bytes::from_owner(Poisoned(vec![SENT; bytes]));
            ours.write_all(bytes).await.unwrap();
        }),
        act: Rc::new(move || far.make_room()),
        kept: Box::new(kept),
    }
}

fn open<B: Beyond>(beyond: &B) -> Scene {
    let root = Root::open(beyond.folder()).unwrap();
    Scene::new(async move {
        root.open_beneath("file").await.unwrap();
    })
}

async fn read<B: Beyond>(beyond: &B) -> Scene {
    let root = Root::open(beyond.folder()).unwrap();
    let (file, _) = root.open_beneath("file").await.unwrap();
    Scene::new(async move {
        let bytes = read_at(&file, 0, RECEIVE_BYTES).await.unwrap();
        assert_eq!(bytes[..], [SENT; RECEIVE_BYTES][..bytes.len()]);
        assert!(!bytes.is_empty(), "nothing was read");
    })
}

/// A request on a connection of its own: connect, send, a standing receive.
fn fetch<B: Beyond>(beyond: &B) -> Scene {
    let (listener, address) = beyond.listen();
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nfetched";
    Scene {
        kept: beyond.answer(listener, response),
        ..Scene::new(async move {
            let request = Client::new().get(format!("http://{address}/"));
            let response = request.send().await.unwrap();
            assert_eq!(response.text().await.unwrap(), "fetched");
        })
    }
}

/// A server up to its first request: a standing accept, standing receives, sends.
fn serve<B: Beyond>(beyond: &Rc<B>) -> Scene {
    let handle = Arc::new(OnceLock::<ServerHandle>::new());
    let own_handle = Arc::clone(&handle);
    let router = Router::new().get("/", move |_: &Request| {
        own_handle.get().expect("it was set first").shutdown();
        "served"
    });
    let server = Server::new(router).bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    assert!(handle.set(server.handle()).is_ok(), "it is set once");
    let clients = Rc::new(Cell::new(None));
    let theirs = Rc::clone(&clients);
    let beyond = Rc::clone(beyond);
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    Scene {
        operation: Box::pin(async move { server.run_here().await.unwrap() }),
        act: Rc::new(move || theirs.set(Some(beyond.connect(address, request)))),
        kept: Box::new(clients),
    }
}

// ---- dropping -------------------------------------------------------------------------------

/// Where a future is dropped.
#[derive(Clone, Copy, Debug)]
pub enum Drops {
    /// After so many polls.
    Polled(usize),
    /// After so many polls, and the wake-up for the next.
    Woken(usize),
}

/// What else is under way.
#[derive(Clone, Copy, Debug)]
pub enum Beside {
    Nothing,
    /// The same on a socket of its own, begun a turn before.
    Earlier,
    /// The same, begun when the first is dropped, in the same turn.
    Later,
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
async fn run_and_drop(operation: Operation, act: impl Fn(), drops: Drops) -> bool {
    let (polls_max, wants_wake) = match drops {
        Drops::Polled(polls) => (polls, false),
        Drops::Woken(polls) => (polls, true),
    };
    let mut operation = Some(operation);
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
            act();
            return Poll::Pending;
        }
        operation = None;
        Poll::Ready(false)
    })
    .await
}

/// Fresh memory of the size classes that a receive uses, filled with a pattern.
pub fn canaries() -> Vec<Vec<u8>> {
    (0..32).map(|_| vec![CANARY; RECEIVE_BYTES]).collect()
}

pub fn assert_untouched(canaries: &[Vec<u8>], what: &str) {
    let is_intact = |canary: &Vec<u8>| canary[..] == [CANARY; RECEIVE_BYTES];
    assert!(
        canaries.iter().all(is_intact),
        "{what}: memory was touched after the drop"
    );
}

/// Waits until descriptors and operations are back to what they were.
async fn settle<B: Beyond>(beyond: &B, before: (usize, u64), what: &str) {
    let core = Core::current().unwrap();
    let deadline = core.now() + SETTLED;
    loop {
        let now = (beyond.descriptors(), core.counters().in_flight);
        if now.0 <= before.0 && now.1 == before.1 {
            return;
        }
        assert!(
            core.now() < deadline,
            "{what}: (descriptors, operations) are {now:?}, not {before:?}",
        );
        sleep(Duration::from_millis(1)).await;
    }
}

/// The operation beside the one that is dropped.
struct Other {
    waiting: Option<Operation>,
    running: Option<JoinHandle<()>>,
    act: Rc<dyn Fn()>,
    _kept: Box<dyn Any>,
}

impl Other {
    fn start(&mut self) {
        self.running = self.waiting.take().map(spawn);
    }

    /// Whatever became of the one that was dropped, this one completes.
    async fn finish(self, what: &str) {
        let running = self.running.expect("it was started");
        let core = Core::current().unwrap();
        let deadline = core.now() + SETTLED;
        while !running.is_finished() {
            assert!(core.now() < deadline, "{what}: the other one hangs");
            sleep(Duration::from_millis(1)).await;
            if !running.is_finished() {
                (self.act)();
            }
        }
        running.await.unwrap();
    }
}

/// One future, dropped in one place. True if it was done before.
pub async fn drop_one<B: Beyond>(beyond: &Rc<B>, name: &str, drops: Drops, beside: Beside) -> bool {
    let what = format!("{name}, {drops:?}, {beside:?}");
    let before = (
        beyond.descriptors(),
        Core::current().unwrap().counters().in_flight,
    );
    let Scene {
        operation,
        act,
        kept,
    } = scene(name, beyond).await;
    let mut other = match beside {
        Beside::Nothing => None,
        _ => {
            let scene = scene(name, beyond).await;
            Some(Other {
                waiting: Some(scene.operation),
                running: None,
                act: scene.act,
                _kept: scene.kept,
            })
        }
    };
    beyond.begin();
    if let (Beside::Earlier, Some(other)) = (beside, &mut other) {
        other.start();
        yield_now().await;
    }
    let has_acted = Cell::new(false);
    let noted_act = || {
        has_acted.set(true);
        act();
    };
    let was_done = run_and_drop(operation, noted_act, drops).await;
    let canaries = canaries();
    if let (Beside::Later, Some(other)) = (beside, &mut other) {
        other.start();
    }
    // The peers go on as if nobody had lost interest.
    if !has_acted.get() {
        act();
    }
    if let Some(other) = &other {
        (other.act)();
    }
    sleep(Duration::from_millis(1)).await;
    assert_untouched(&canaries, &what);
    if let Some(other) = other {
        other.finish(&what).await;
    }
    drop(act);
    drop(kept);
    settle(&**beyond, before, &what).await;
    was_done
}

/// A scene whose future was polled once: it outlives its core.
pub async fn poll_once<B: Beyond>(beyond: &Rc<B>, name: &str) -> Scene {
    let mut scene = scene(name, beyond).await;
    beyond.begin();
    let poll = |context: &mut Context<'_>| Poll::Ready(scene.operation.as_mut().poll(context));
    let _ = poll_fn(poll).await;
    scene
}

/// A scene whose future runs as a task of its own for so many turns: it ends with its core.
pub async fn run_beside<B: Beyond>(
    beyond: &Rc<B>,
    name: &str,
    turns: usize,
) -> (Rc<dyn Fn()>, Box<dyn Any>) {
    let Scene {
        operation,
        act,
        kept,
    } = scene(name, beyond).await;
    beyond.begin();
    spawn(operation);
    for _ in 0..turns {
        yield_now().await;
    }
    (act, kept)
}
