//! The server under load, with a view into its cores.

use std::collections::VecDeque;
use std::future::pending;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::task::Context;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use roundtrip::Body;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files;
use roundtrip::internals::leased;
use roundtrip::net::Net;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::runtime::Remote;
use roundtrip::server::ServerHandle;

use crate::content;
use crate::figures::Held;

pub const WORKERS: usize = 2;
/// How long a peer may make the server wait. Far more than a busy machine makes a client wait.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long `/slow` takes.
pub const SLOW: Duration = Duration::from_millis(300);
/// Bytes of one chunk that `/stream` sends, at most.
const CHUNK_BYTES: usize = 20_000;
/// What handlers panic with.
pub const PLANNED: &str = "a handler that fails as planned";

/// A running server.
pub struct Serving {
    pub handle: ServerHandle,
    pub address: std::net::SocketAddr,
    cores: Arc<Mutex<Vec<Arc<Remote>>>>,
    thread: JoinHandle<roundtrip::Result<()>>,
}

impl Serving {
    /// Serves `folder` below `/files/`, and the rest.
    pub fn start(folder: &Path) -> Serving {
        let cores: Arc<Mutex<Vec<Arc<Remote>>>> = Arc::default();
        let theirs = Arc::clone(&cores);
        let folder = folder.to_owned();
        let make = move |core: &Rc<Core>| {
            theirs.lock().unwrap().push(Arc::clone(core.remote()));
            router(&folder)
        };
        let server = Server::per_worker(make)
            .bind("127.0.0.1:0")
            .unwrap()
            .workers(WORKERS)
            .header_timeout(PATIENCE)
            .body_timeout(PATIENCE)
            .write_timeout(PATIENCE)
            .shutdown_timeout(PATIENCE);
        let (handle, address) = (server.handle(), server.local_addr().unwrap());
        let thread = std::thread::spawn(|| server.run_until(pending()));
        while !handle.is_ready() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Serving {
            handle,
            address,
            cores,
            thread,
        }
    }

    /// What each worker holds now.
    pub fn held(&self) -> Vec<Held> {
        let cores = self.cores.lock().unwrap();
        let ask = |remote: &Arc<Remote>| {
            let (sender, receiver) = mpsc::channel();
            assert!(remote.post(move |core| sender.send(held(core)).unwrap()));
            receiver.recv_timeout(Duration::from_secs(10)).unwrap()
        };
        cores.iter().map(ask).collect()
    }

    pub fn stop(self) {
        self.handle.shutdown();
        self.thread.join().unwrap().unwrap();
    }
}

/// What a core holds, asked on its thread.
pub fn held(core: &Rc<Core>) -> Held {
    let counters = core.counters();
    Held {
        in_flight: counters.in_flight,
        connections: Net::of(core).connections(),
        leased: leased(core),
        stale: counters.stale,
    }
}

fn router(folder: &Path) -> Router {
    Router::new()
        .get("/sync", |_: &Request| "hello")
        .get("/async", async |_: Request| {
            runtime::sleep(Duration::from_micros(200)).await;
            "waited"
        })
        .get("/slow", async |_: Request| {
            runtime::sleep(SLOW).await;
            "slow"
        })
        .get("/stream/{seed}/{bytes}", async |request: Request| {
            let number = |name: &str| request.param(name).parse().unwrap();
            Response::new().body(stream(number("seed"), number("bytes")))
        })
        .get("/bytes/{seed}/{bytes}", |request: &Request| {
            let number = |name: &str| request.param(name).parse().unwrap();
            Response::new().body(content::body(number("seed"), number("bytes")))
        })
        .post("/echo", async |request: Request| {
            Response::new().body(request.into_body())
        })
        .post("/length", async |request: Request| {
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(chunk) = body.chunk().await {
                length += chunk?.len();
            }
            Ok::<_, Error>(length.to_string())
        })
        .post("/ignore", |_: &Request| "ignored")
        .any("/gone", async |request: Request| {
            request.disconnected().await;
            "gone"
        })
        .get("/panic", |_: &Request| -> &'static str {
            std::panic::panic_any(PLANNED)
        })
        .get("/panic-async", async |_: Request| -> &'static str {
            runtime::yield_now().await;
            std::panic::panic_any(PLANNED)
        })
        .get("/files/{path...}", files::serve(folder))
}

/// A body in chunks of unlike sizes.
pub fn stream(seed: usize, bytes: usize) -> Body {
    let mut chunks = VecDeque::new();
    let mut from = 0;
    while from < bytes {
        let to = bytes.min(from + 1 + (seed + from) % CHUNK_BYTES);
        chunks.push_back(content::part(seed, from, to));
        from = to;
    }
    Body::stream(Chunks(chunks))
}

struct Chunks(VecDeque<Bytes>);

impl Stream for Chunks {
    type Item = roundtrip::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
