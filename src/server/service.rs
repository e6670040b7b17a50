//! The server: what to serve, where, and until when.
//!
//! ```text
//!   Server::new(router) ─ bind ─ knobs ─► run ─► Workers ─► Site per core
//!                │                         ▲
//!                └─► ServerHandle ─────────┘ shutdown; readiness, statistics, addresses
//! ```

mod knobs;

use std::fmt;
use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::task::Poll;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::net;
use crate::net::Address;
use crate::net::ListenSocket;
use crate::runtime;
use crate::runtime::Core;
use crate::runtime::Event;
use crate::runtime::Runtime;
use crate::runtime::Signals;
use crate::runtime::WorkerOptions;
use crate::runtime::Workers;
use crate::server::access_log::AccessLog;
use crate::server::handle::ServerHandle;
use crate::server::handle::State;
use crate::server::options::Options;
use crate::server::router::Router;
use crate::server::site::Remotes;
use crate::server::site::Site;
use crate::server::worker::Worker;

/// An HTTP server: one worker per processor, each with its own ring, connections and handlers'
/// futures.
///
/// ```no_run
/// use roundtrip::Request;
/// use roundtrip::Router;
/// use roundtrip::Server;
///
/// fn main() -> roundtrip::Result<()> {
///     let router = Router::new().get("/", |_: &Request| "Hello, World!");
///     Server::new(router).bind("127.0.0.1:8080")?.run()
/// }
/// ```
pub struct Server {
    router: Source,
    options: Options,
    workers: WorkerOptions,
    sockets: Vec<ListenSocket>,
    access_log: Option<Box<dyn Write + Send>>,
    state: Arc<State>,
}

type MakeRouter = dyn Fn(&Rc<Core>) -> Router + Send + Sync;

/// Where a worker gets its router.
#[derive(Clone)]
enum Source {
    Shared(Arc<Router>),
    PerWorker(Arc<MakeRouter>),
}

impl Source {
    /// The router of a core.
    fn on(&self, core: &Rc<Core>) -> Router {
        match self {
            Source::Shared(router) => router.for_worker(),
            Source::PerWorker(make) => make(core),
        }
    }
}

impl Server {
    /// A server for these routes, shared by all workers.
    pub fn new(router: Router) -> Server {
        Server::with_source(Source::Shared(Arc::new(router)))
    }

    /// A server that makes a router of its own on each worker: for state that workers should not
    /// share.
    pub fn per_worker(make: impl Fn(&Rc<Core>) -> Router + Send + Sync + 'static) -> Server {
        Server::with_source(Source::PerWorker(Arc::new(make)))
    }

    fn with_source(router: Source) -> Server {
        Server {
            router,
            options: Options::default(),
            workers: WorkerOptions::default(),
            sockets: Vec::new(),
            access_log: None,
            state: Arc::default(),
        }
    }

    // ---- where -----------------------------------------------------------------------------

    /// Listens on an address: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or `:8080` for all
    /// interfaces. Port 0 takes a free one, which [`Server::local_addr`] tells. Can be called more
    /// than once.
    ///
    /// # Errors
    ///
    /// Of kind `Bind`, naming the address: in use (by a second instance of the same program too),
    /// no permission, not an address of this machine.
    pub fn bind(self, address: impl fmt::Display) -> Result<Server> {
        self.bind_with(&address.to_string(), ListenSocket::bind)
    }

    /// As [`Server::bind`], beside another process of the same user that listens there already: for
    /// a restart without a gap. The kernel spreads connections over both.
    ///
    /// # Errors
    ///
    /// As for [`Server::bind`], but for an address that is shared.
    pub fn bind_beside(self, address: impl fmt::Display) -> Result<Server> {
        self.bind_with(&address.to_string(), ListenSocket::share)
    }

    fn bind_with(
        mut self,
        address: &str,
        bind: fn(SocketAddr) -> Result<ListenSocket>,
    ) -> Result<Server> {
        let address = parse_address(address)?;
        self.add_socket(bind(address)?);
        Ok(self)
    }

    /// Listens on a Unix socket; a socket file that nobody listens on is replaced. One worker
    /// accepts and hands the connections round.
    ///
    /// # Errors
    ///
    /// Of kind `Bind`, naming the path.
    pub fn bind_unix(mut self, path: impl AsRef<Path>) -> Result<Server> {
        self.add_socket(ListenSocket::bind_unix(path)?);
        Ok(self)
    }

    fn add_socket(&mut self, socket: ListenSocket) {
        self.state.add_address(socket.local_addr().clone());
        self.sockets.push(socket);
    }

    /// The first TCP address that is listened on.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.state.local_addr()
    }

    /// All addresses that are listened on.
    pub fn addresses(&self) -> Vec<Address> {
        self.state.addresses()
    }

    /// A handle to the server, for other threads: shutdown, readiness, statistics.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(Arc::clone(&self.state))
    }

    // ---- running ---------------------------------------------------------------------------

    /// Serves until SIGINT, SIGTERM or [`ServerHandle::shutdown`]: then stops to listen, finishes
    /// the requests that run, and returns. A second signal ends the process at once.
    ///
    /// # Errors
    ///
    /// io_uring cannot be had (the text holds the remedy), no address was bound, or another server
    /// of this process waits for signals already.
    pub fn run(self) -> Result<()> {
        // Before anything is accepted: a crowd that waits already could take the last descriptor.
        let event = Arc::new(Event::new()?);
        let signals = Signals::install(&event).map_err(|error| {
            Error::new(
                ErrorKind::Setup,
                "cannot wait for signals; Server::run_until does without",
            )
            .in_phase(Phase::Setup)
            .because(error)
        })?;
        let running = self.start(event)?;
        let event = Arc::clone(running.workers.event());
        running.state.set_event(Some(event));
        while signals.received().is_none()
            && !running.state.is_shutdown_requested()
            && running.workers.running() > 0
        {
            running.workers.event().wait();
        }
        running.finish();
        drop(signals);
        Ok(())
    }

    /// Serves until the future is done, or [`ServerHandle::shutdown`]. The future runs on a core of
    /// the calling thread; signals are left alone.
    ///
    /// # Errors
    ///
    /// As for [`Server::run`]; this thread already runs a core.
    pub fn run_until(self, until: impl Future<Output = ()>) -> Result<()> {
        let runtime = Runtime::small()?;
        let running = self.start(Arc::new(Event::new()?))?;
        let state = Arc::clone(&running.state);
        let waited = runtime.block_on(async move {
            let mut until = pin!(until);
            poll_fn(|cx| {
                state.set_waker(cx.waker().clone());
                if state.is_shutdown_requested() {
                    return Poll::Ready(());
                }
                until.as_mut().poll(cx)
            })
            .await;
        });
        running.finish();
        waited
    }

    /// Serves on the core of the calling thread, beside whatever else runs there, without other
    /// threads: until [`ServerHandle::shutdown`], then finishes the requests that run, and returns
    /// with the last connection. Signals are left alone; the number of workers does not matter. A
    /// core can serve several servers.
    ///
    /// Dropping the future stops listening and closes the connections at once.
    ///
    /// ```
    /// use roundtrip::Client;
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    ///
    /// let text = roundtrip::block_on(async {
    ///     let router = Router::new().get("/", |_: &Request| "from the same thread");
    ///     let server = Server::new(router).bind("127.0.0.1:0")?;
    ///     let (handle, address) = (server.handle(), server.local_addr().unwrap());
    ///     let serving = roundtrip::runtime::spawn(server.run_here());
    ///     let text = Client::new().get(format!("http://{address}/")).send().await?.text().await?;
    ///     handle.shutdown();
    ///     serving.await??;
    ///     Ok::<_, roundtrip::Error>(text)
    /// })?;
    /// assert_eq!(text, "from the same thread");
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// No address was bound, or this thread runs no core.
    pub async fn run_here(self) -> Result<()> {
        let core = Core::try_current()?;
        self.check_bound()?;
        let access_log = self.access_log.map(AccessLog::start).transpose()?;
        self.state.set_access_log(access_log.clone());
        let router = self.router.on(&core);
        let log = access_log.as_ref().map(AccessLog::for_worker);
        let worker = Worker::new(router, self.options, log);
        self.state.add_counters(Arc::clone(&worker.counters));
        let site = Site::listen(&core, worker, self.sockets, &Remotes::default());
        let here = Here { core, site };
        let state = self.state;
        state.set_ready(true);
        poll_fn(|cx| {
            state.set_waker(cx.waker().clone());
            match state.is_shutdown_requested() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        state.set_ready(false);
        here.site.end(&here.core).await;
        drop(here);
        if let Some(log) = access_log {
            runtime::blocking(move || log.stop()).await?;
        }
        Ok(())
    }

    fn check_bound(&self) -> Result<()> {
        if self.sockets.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the server listens nowhere: call Server::bind first",
            ));
        }
        Ok(())
    }

    /// `event` is notified when the last worker has ended.
    fn start(self, event: Arc<Event>) -> Result<Running> {
        self.check_bound()?;
        let access_log = self.access_log.map(AccessLog::start).transpose()?;
        self.state.set_access_log(access_log.clone());
        let count = self.workers.resolved_count();
        let shares = Mutex::new(share_sockets(self.sockets, count)?);
        let remotes: Remotes = Arc::new(OnceLock::new());
        let (own_remotes, own_log) = (Arc::clone(&remotes), access_log.clone());
        let (state, router, options) = (Arc::clone(&self.state), self.router, self.options);
        let start = move |core: &Rc<Core>, index: usize| {
            let router = router.on(core);
            let sockets = {
                let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut shares[index])
            };
            let log = own_log.as_ref().map(AccessLog::for_worker);
            let worker = Worker::new(router, options, log);
            state.add_counters(Arc::clone(&worker.counters));
            Site::start(core, worker, sockets, &own_remotes);
            Ok(())
        };
        let workers = Workers::start_with(&self.workers, event, Arc::new(start))?;
        let all = workers.remotes().to_vec();
        assert!(remotes.set(all).is_ok(), "the workers start once");
        self.state.set_ready(true);
        Ok(Running {
            workers,
            state: self.state,
            access_log,
        })
    }
}

/// A server on the calling thread's core.
struct Here {
    core: Rc<Core>,
    site: Site,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.site.abandon(&self.core);
    }
}

/// A server whose workers run.
struct Running {
    workers: Workers,
    state: Arc<State>,
    access_log: Option<AccessLog>,
}

impl Running {
    /// Shuts down and waits for the end.
    fn finish(self) {
        self.state.set_ready(false);
        self.state.set_event(None);
        self.workers.post_all(Arc::new(Site::shut_down));
        self.workers.join();
        if let Some(log) = self.access_log {
            log.stop();
        }
    }
}

/// The sockets of each worker: of TCP, one each on the same port; a Unix socket is the first
/// worker's.
fn share_sockets(sockets: Vec<ListenSocket>, count: usize) -> Result<Vec<Vec<ListenSocket>>> {
    let mut shares: Vec<Vec<ListenSocket>> = (0..count).map(|_| Vec::new()).collect();
    for socket in sockets {
        for share in &mut shares[1..] {
            share.extend(socket.duplicate()?);
        }
        shares[0].push(socket);
    }
    Ok(shares)
}

fn parse_address(text: &str) -> Result<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bad = |why: &'static str| {
        let text = format!("{text:?} is no address to listen on: {why}");
        Error::new(ErrorKind::Bind, text).in_phase(Phase::Bind)
    };
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| bad("write HOST:PORT"))?;
    let port: u16 = port
        .parse()
        .map_err(|_| bad("the port is a number up to 65535"))?;
    match host {
        "" | "*" => Ok(SocketAddr::from(([0, 0, 0, 0], port))),
        "localhost" => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
        _ => {
            let found = Runtime::small()?.block_on(net::resolve(host, port))?;
            let found = found.map_err(|error| bad("the host has no address").because(error))?;
            let first = found.into_iter().next();
            first.ok_or_else(|| bad("the host has no address"))
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        let table = [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:0", "[::1]:0"),
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "0.0.0.0:8080"),
            ("localhost:1", "127.0.0.1:1"),
        ];
        for (text, expected) in table {
            assert_eq!(parse_address(text).unwrap().to_string(), expected);
        }
        for (text, why) in [
            ("8080", "HOST:PORT"),
            ("a:b", "number"),
            ("a:99999", "number"),
        ] {
            let error = parse_address(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Bind);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
