//! What a child of fork(2) finds of its parent: nothing that works, nothing that it can hurt, and no
//! reason not to begin anew. Without a harness, whose threads would be in the way.
//!
//! ```text
//!   parent: makes things ─ fork ─┬─ child: uses them, drops them, makes its own ─► exit 0, silent
//!                                └─ parent: waits for it; what it made goes on as before
//! ```

// fork(2) is.
#![allow(unsafe_code)]

use std::future::Future;
use std::future::pending;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::blocking;
use roundtrip::client::spawned;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::runtime::Engine;
use roundtrip::runtime::Runtime;
use roundtrip::runtime::WorkerOptions;
use roundtrip::runtime::Workers;
use roundtrip::server::ServerHandle;

/// A child that hangs is killed after so many seconds.
const CHILD_SECONDS: u32 = 20;

const SCENARIOS: &[(&str, fn())] = &[
    ("the blocking client", blocking_client),
    ("a response that is half read", half_a_response),
    ("a client", client),
    ("a spawned client", spawned_client),
    ("a runtime", a_runtime),
    ("sockets", sockets),
    ("within block_on", within_block_on),
    ("blocking work", blocking_work),
    ("workers, mailboxes and wakers", workers),
    ("a handle of a server", server_handle),
    ("a server that does not run yet", server),
    ("within a handler", within_a_handler),
    ("within run_until", within_run_until),
    ("signals", signals),
    ("the file of a Unix socket", socket_file),
    ("the engine", engine),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for (name, scenario) in SCENARIOS {
        if wanted
            .iter()
            .all(|word| word.starts_with('-') || name.contains(word))
        {
            scenario();
            println!("fork: {name} ... ok");
        }
    }
}

// ---- processes -------------------------------------------------------------------------------

/// In the child `None`, in the parent the child.
fn fork() -> Option<Child> {
    // SAFETY: children run code of this test; what other threads of the parent had locked, they leave
    // alone, which is what is tested. (The allocator of the C library sees to its own locks.)
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: a number.
            unsafe { libc::alarm(CHILD_SECONDS) };
            None
        }
        pid => {
            assert!(pid > 0, "no fork");
            Some(Child(pid))
        }
    }
}

struct Child(libc::pid_t);

impl Child {
    /// How it ended: its exit status, or 128 and the signal.
    fn status(self) -> i32 {
        let mut status = 0;
        // SAFETY: one number that outlives the call.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(waited, self.0);
        match libc::WIFSIGNALED(status) {
            true => 128 + libc::WTERMSIG(status),
            false => libc::WEXITSTATUS(status),
        }
    }

    fn assert_passed(self) {
        assert_eq!(self.status(), 0, "the child failed, see above");
    }

    fn kill(&self, signal: libc::c_int) {
        // SAFETY: numbers; the child has not been waited for.
        assert_eq!(unsafe { libc::kill(self.0, signal) }, 0);
    }
}

/// Runs `test` in a child that then exits.
fn in_child(test: impl FnOnce()) {
    in_child_with((), |()| test());
}

/// As `in_child`, with what the test takes for itself; the parent keeps it.
fn in_child_with<T>(value: T, test: impl FnOnce(T)) -> T {
    let Some(child) = fork() else {
        exit_after(|| test(value));
    };
    child.assert_passed();
    value
}

/// Exits, with the destructors of this thread's variables.
fn exit_after(test: impl FnOnce()) -> ! {
    let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
    std::process::exit(i32::from(!passed));
}

// ---- errors, servers and requests ------------------------------------------------------------

fn assert_forked<T>(result: Result<T>) {
    let Err(error) = result else {
        panic!("it worked in the child");
    };
    assert_eq!(error.kind(), ErrorKind::Shutdown, "{error:#}");
    assert!(
        error.text().contains("this process was forked"),
        "{error:#}"
    );
}

/// A server of this process, on threads of its own.
struct Running {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

fn hello() -> Router {
    Router::new()
        .get("/", |_: &Request| "hello")
        .get("/large", |_: &Request| vec![b'x'; 1 << 20])
}

fn serve(router: Router) -> Running {
    let server = Server::new(router).workers(1).bind("127.0.0.1:0").unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    let thread = Some(thread::spawn(|| server.run_until(pending())));
    while !handle.is_ready() {
        thread::yield_now();
    }
    Running {
        address,
        handle,
        thread,
    }
}

impl Running {
    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn end(mut self) {
        assert!(self.handle.is_ready(), "it goes on to serve");
        self.handle.shutdown();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

fn get(url: &str) -> String {
    blocking::get(url).unwrap().text().unwrap()
}

async fn timed<F: Future>(future: F) -> F::Output {
    let timed = runtime::timeout(Duration::from_secs(10), future).await;
    timed.unwrap()
}

// ---- scenarios -------------------------------------------------------------------------------

/// The same thread had a core and a pool before.
fn blocking_client() {
    let server = serve(hello());
    let client = blocking::Client::new();
    assert_eq!(get(&server.url()), "hello");
    client.get(server.url()).send().unwrap();
    in_child(|| {
        assert_forked(client.get(server.url()).send());
        assert!(client.stats().is_none());
        client.close_idle();
        for _ in 0..3 {
            assert_eq!(get(&server.url()), "hello");
        }
        let own = blocking::Client::new();
        own.get(server.url()).send().unwrap().text().unwrap();
        drop(client.clone());
        // And its own children.
        in_child(|| {
            assert_forked(own.get(server.url()).send());
            assert_eq!(get(&server.url()), "hello");
        });
        assert_eq!(get(&server.url()), "hello");
    });
    let before = server.handle.statistics().connections_accepted;
    assert_eq!(get(&server.url()), "hello");
    client.get(server.url()).send().unwrap();
    let after = server.handle.statistics().connections_accepted;
    assert_eq!(before, after, "the parent's connections were left alone");
    server.end();
}

fn half_a_response() {
    let server = serve(hello());
    let mut half = blocking::get(format!("{}large", server.url())).unwrap();
    let mut part = [0; 100];
    half.read_exact(&mut part).unwrap();
    let half = in_child_with(half, |mut response| {
        let rest = std::iter::from_fn(|| response.chunk().transpose()).find(Result::is_err);
        assert_forked(rest.expect("an error"));
        drop(response);
        assert_eq!(get(&server.url()), "hello");
    });
    assert_eq!(half.bytes().unwrap().len(), (1 << 20) - part.len());
    server.end();
}

fn client() {
    let server = serve(hello());
    let (client, url) = (Client::new(), server.url());
    let ask = async |client: &Client| client.get(&url).send().await?.text().await;
    let parents = Runtime::small().unwrap();
    parents.block_on(ask(&client)).unwrap().unwrap();
    in_child(|| {
        assert_forked(runtime::block_on(timed(ask(&client))));
        drop(client.clone());
        assert_eq!(
            runtime::block_on(timed(ask(&Client::new()))).unwrap(),
            "hello"
        );
    });
    assert_eq!(parents.block_on(ask(&client)).unwrap().unwrap(), "hello");
    assert_eq!(server.handle.statistics().connections_accepted, 2);
    server.end();
}

fn spawned_client() {
    let server = serve(hello());
    let client = Client::spawned().unwrap();
    let url = server.url();
    let ask = async |client: &spawned::Client| client.get(&url).send().await?.text().await;
    spawned::wait(ask(&client)).unwrap();
    let large = spawned::wait(client.get(format!("{url}large")).send()).unwrap();
    let mut under_way = client.get(&url).send();
    let context = &mut Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut under_way).poll(context).is_pending());
    let left = in_child_with((large, under_way), |(large, under_way)| {
        assert_forked(spawned::wait(ask(&client)));
        assert_forked(spawned::wait(client.stats()));
        assert_forked(spawned::wait(large.bytes()));
        assert_forked(spawned::wait(under_way));
        drop(client.clone());
        let own = Client::spawned().unwrap();
        assert_eq!(spawned::wait(ask(&own)).unwrap(), "hello");
    });
    let (large, under_way) = left;
    assert_eq!(spawned::wait(large.bytes()).unwrap().len(), 1 << 20);
    spawned::wait(under_way).unwrap();
    assert_eq!(spawned::wait(ask(&client)).unwrap(), "hello");
    server.end();
}

/// With a sleeping task, and a receive in flight.
fn a_runtime() {
    let parents = Runtime::small().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (task, other) = parents
        .block_on(async {
            let stream = roundtrip::net::TcpStream::connect("127.0.0.1", port).await;
            let stream = stream.unwrap();
            let task = runtime::spawn(async move {
                let (read, _) = stream.read(bytes::BytesMut::with_capacity(64)).await;
                read.unwrap()
            });
            let other = runtime::spawn(pending::<()>());
            runtime::yield_now().await;
            (task, other)
        })
        .unwrap();
    let mut accepted = listener.accept().unwrap().0;
    let (parents, _) = in_child_with((parents, other), |(parents, other)| {
        assert!(!runtime::is_inside());
        assert_forked(parents.block_on(async {}));
        let own = Runtime::small().unwrap();
        assert_forked(own.block_on(timed(other)).unwrap());
        assert!(
            !parents
                .core()
                .remote()
                .post(|_| panic!("nobody posts here"))
        );
        drop(parents);
        let task = own.block_on(async { runtime::spawn(async { 7 }).await });
        assert_eq!(task.unwrap().unwrap(), 7);
    });
    accepted.write_all(b"late").unwrap();
    assert_eq!(parents.block_on(timed(task)).unwrap().unwrap(), 4);
    assert_eq!(parents.core().counters().stale, 0);
}

fn engine() {
    let parents = Runtime::small().unwrap();
    let choice = parents.engine();
    let parents = in_child_with(parents, |parents| {
        // Nothing is decided, and what was decided there does not matter.
        assert_eq!(runtime::engine(), None);
        runtime::set_engine(Engine::Epoll).unwrap();
        let own = Runtime::small().unwrap();
        assert_eq!(own.core().counters().engine, "epoll");
        own.block_on(runtime::sleep(Duration::from_millis(1)))
            .unwrap();
        drop(parents);
    });
    assert_eq!(parents.engine(), choice);
    parents.block_on(async {}).unwrap();
}

/// The child keeps a copy of a connection that the parent closes: the number is heard when it is used
/// again. Another one, which the child closes, is still the parent's.
fn sockets() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = async || {
        let stream = roundtrip::net::TcpStream::connect("127.0.0.1", port).await;
        (stream.unwrap(), listener.accept().unwrap().0)
    };
    let passed = Runtime::small().unwrap().block_on(timed(async {
        let (mut stream, mut peer) = connect().await;
        let (others, mut others_peer) = connect().await;
        hears(&stream, &mut peer).await;
        hears(&others, &mut others_peer).await;
        let (mut parent, mut child) = UnixStream::pair().unwrap();
        let Some(forked) = fork() else {
            exit_after(|| {
                drop((parent, others));
                child.write_all(b"closed").unwrap();
                // Until the parent is done.
                child.read_to_end(&mut Vec::new()).unwrap();
            });
        };
        drop(child);
        parent.read_exact(&mut [0; 6]).unwrap();
        let number = format!("{stream:?}");
        drop(stream);
        (stream, peer) = connect().await;
        assert_eq!(format!("{stream:?}"), number);
        hears(&stream, &mut peer).await;
        hears(&others, &mut others_peer).await;
        drop(parent);
        forked
    }));
    passed.unwrap().assert_passed();
}

/// What the peer sends to one who waits arrives.
async fn hears(stream: &roundtrip::net::TcpStream, peer: &mut TcpStream) {
    let reading = {
        let stream = stream.clone();
        runtime::spawn(async move { stream.read(bytes::BytesMut::with_capacity(8)).await.0 })
    };
    runtime::sleep(Duration::from_millis(1)).await;
    peer.write_all(b"hello").unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), 5);
}

fn within_block_on() {
    let server = serve(hello());
    let client = Client::new();
    let outcome = runtime::block_on(async {
        client.get(server.url()).send().await?.text().await?;
        let Some(child) = fork() else {
            let test = || {
                assert!(!runtime::is_inside() && Core::current().is_none());
                assert_forked(Core::try_current());
                let own = runtime::block_on(timed(async {
                    Client::new().get(server.url()).send().await?.text().await
                }));
                assert_eq!(own.unwrap(), "hello");
                assert!(!runtime::is_inside());
                let sent = pin!(client.get(server.url()).send());
                match sent.poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(sent) => assert_forked(sent),
                    Poll::Pending => panic!("it is sent in the child"),
                }
            };
            if catch_unwind(AssertUnwindSafe(test)).is_err() {
                std::process::exit(1);
            }
            // The call ends with an error, whatever its future waits for.
            return pending::<Result<Option<Child>>>().await;
        };
        // Its connection is as it was.
        client.get(server.url()).send().await?.text().await?;
        Ok::<_, Error>(Some(child))
    });
    match outcome {
        Ok(Some(child)) => child.assert_passed(),
        other => exit_after(|| assert_forked(other)),
    }
    assert_eq!(server.handle.statistics().connections_accepted, 2);
    server.end();
}

/// All threads of the pool are busy, or idle, and none of them is in the child.
fn blocking_work() {
    let parents = Runtime::small().unwrap();
    assert_eq!(
        parents.block_on(runtime::blocking(|| 1)).unwrap().unwrap(),
        1
    );
    let (release, released) = mpsc::channel::<()>();
    let hung = runtime::blocking(move || released.recv().is_err());
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(runtime::blocking(thread::yield_now));
    }
    let (hung, _) = in_child_with((hung, waiting), |(hung, waiting)| {
        let own = Runtime::small().unwrap();
        assert_forked(own.block_on(timed(hung)).unwrap());
        drop(waiting);
        let work = own.block_on(timed(runtime::blocking(|| 2)));
        assert_eq!(work.unwrap().unwrap(), 2);
    });
    drop(release);
    assert!(parents.block_on(timed(hung)).unwrap().unwrap());
}

fn workers() {
    let options = WorkerOptions {
        count: Some(2),
        ..WorkerOptions::default()
    };
    let workers = Workers::start(&options, Arc::new(|_, _| Ok(()))).unwrap();
    let (sender, receiver) = mpsc::channel();
    assert!(workers.remotes()[0].post(move |_| {
        runtime::spawn(std::future::poll_fn(move |context| {
            sender.send(context.waker().clone()).unwrap();
            Poll::<()>::Pending
        }));
    }));
    let waker = receiver.recv().unwrap();
    let workers = in_child_with(workers, |workers| {
        waker.wake_by_ref();
        assert!(!workers.remotes()[0].post(|_| ()));
        workers.post_all(Arc::new(|_| panic!("nobody runs this")));
        assert_eq!(workers.running(), 0);
        workers.stop();
        let own = Workers::start(&options, Arc::new(|_, _| Ok(()))).unwrap();
        assert_forked(workers.join());
        assert_eq!(own.running(), 2);
        drop(own);
    });
    waker.wake();
    receiver.recv().unwrap();
    assert_eq!(workers.running(), 2);
    drop(workers);
}

fn server_handle() {
    let server = serve(hello());
    get(&server.url());
    let handle = &server.handle;
    in_child(|| {
        assert!(!handle.is_ready());
        assert_eq!(handle.statistics().requests, 0);
        assert!(handle.addresses().is_empty() && handle.local_addr().is_none());
        handle.on_shutdown(|| panic!("nobody shuts down"));
        handle.set_ready(false);
        handle.shutdown();
        handle.abort();
        let own = serve(hello());
        assert_eq!(get(&own.url()), "hello");
        assert_eq!(get(&server.url()), "hello");
        own.end();
    });
    assert_eq!(get(&server.url()), "hello");
    server.end();
}

fn server() {
    let bind = || Server::new(hello()).bind("127.0.0.1:0").unwrap();
    let [one, two, three] = [bind(), bind(), bind()];
    in_child_with([one, two, three], |[one, two, three]| {
        assert_forked(one.run());
        assert_forked(two.run_until(async {}));
        assert_forked(runtime::block_on(three.run_here()));
        bind().run_until(async {}).unwrap();
    });
}

/// The child that returns from the handler answers nobody, and ends.
fn within_a_handler() {
    let (sender, receiver) = mpsc::channel();
    let router = hello().get("/fork", move |_: &Request| match fork() {
        Some(child) => {
            sender.send(child).unwrap();
            "from the parent"
        }
        None => "from the child",
    });
    let server = serve(router);
    let mut stream = TcpStream::connect(server.address).unwrap();
    let request = b"GET /fork HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    assert_eq!(receiver.recv().unwrap().status(), 0);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nfrom the parent"), "{answer}");
    assert_eq!(get(&server.url()), "hello");
    server.end();
}

fn within_run_until() {
    let server = Server::new(hello()).workers(2).bind("127.0.0.1:0").unwrap();
    let mut child = None;
    let served = server.run_until(async {
        child = fork();
        if child.is_none() {
            pending::<()>().await;
        }
    });
    let Some(child) = child else {
        exit_after(|| assert_forked(served));
    };
    served.unwrap();
    child.assert_passed();
}

/// SIGTERM ends a child, and not its parent's server; that of the child waits for its own.
fn signals() {
    let server = Server::new(hello()).bind("127.0.0.1:0").unwrap();
    let handle = server.handle();
    let thread = thread::spawn(|| server.run());
    while !handle.is_ready() {
        thread::yield_now();
    }
    let Some(child) = fork() else {
        loop {
            thread::park();
        }
    };
    child.kill(libc::SIGTERM);
    assert_eq!(child.status(), 128 + libc::SIGTERM);
    let (mut told, mut tells) = UnixStream::pair().unwrap();
    let Some(child) = fork() else {
        exit_after(|| {
            let server = Server::new(hello()).bind("127.0.0.1:0").unwrap();
            let handle = server.handle();
            thread::spawn(move || {
                while !handle.is_ready() {
                    thread::yield_now();
                }
                tells.write_all(b"!").unwrap();
            });
            server.run().unwrap();
        });
    };
    told.read_exact(&mut [0]).unwrap();
    child.kill(libc::SIGTERM);
    assert_eq!(child.status(), 0);
    assert!(handle.is_ready());
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

fn socket_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Server::new(hello()).bind_unix(&path).unwrap();
    let server = in_child_with(server, drop);
    assert!(path.exists());
    drop(server);
    assert!(!path.exists());
}
