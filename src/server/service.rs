//! The server: what to serve, where, and until when.
//!
//! ```text
//!   Server::new(router) ─ bind ─ knobs ─► run ─► Workers ─► Site per core
//!                │                         ▲
//!                └─► ServerHandle ─────────┘ shutdown; readiness, statistics, addresses
//! ```

#[cfg(not(feature = "tokio"))]
mod alone;
mod binding;
#[cfg(feature = "tokio")]
mod companion;
mod guarding;
mod knobs;

use std::fmt;
use std::future::poll_fn;
use std::io::Write;
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Poll;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::guard::guarded;
use crate::net::Address;
use crate::net::ListenSocket;
use crate::runtime;
use crate::runtime::Class;
use crate::runtime::Core;
use crate::runtime::Event;
use crate::runtime::RingOptions;
use crate::runtime::Runtime;
use crate::runtime::Signals;
#[cfg(feature = "testing")]
use crate::runtime::ThreadScope;
use crate::runtime::WorkerOptions;
use crate::runtime::Workers;
use crate::server::access_log::AccessLog;
use crate::server::handle::State;
use crate::server::lifecycle::Lifecycle;
use crate::server::options::Options;
use crate::server::router::Router;
#[cfg(not(feature = "tokio"))]
use crate::server::service::alone as companion;
use crate::server::service::companion::Companion;
use crate::server::site::Site;
use crate::server::site::Sites;
use crate::server::worker::Worker;

/// An HTTP server: one worker per processor, each with its own ring, connections and handlers'
/// futures.
///
/// The pattern `/{$}` is the root alone; `/` would answer every path, and nothing would be 404.
///
/// ```no_run
/// use roundtrip::Request;
/// use roundtrip::Router;
/// use roundtrip::Server;
///
/// fn main() -> roundtrip::Result<()> {
///     let router = Router::new().get("/{$}", |_: &Request| "Hello, World!");
///     Server::new(router).bind("127.0.0.1:8080")?.run()
/// }
/// ```
pub struct Server {
    router: Source,
    options: Options,
    workers: WorkerOptions,
    sockets: Vec<ListenSocket>,
    access_log: Option<Box<dyn Write + Send>>,
    on_listening: Option<Box<OnListening>>,
    lifecycle: Lifecycle,
    tokio: companion::Setting,
    state: Arc<State>,
}

type OnListening = dyn FnOnce(&[Address]) + Send;

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
            on_listening: None,
            lifecycle: Lifecycle::default(),
            tokio: companion::Setting::default(),
            state: Arc::default(),
        }
    }

    // ---- running ---------------------------------------------------------------------------

    /// Serves until SIGINT, SIGTERM or [`ServerHandle::shutdown`], which tells what happens then, and
    /// returns at the end of it. A second signal ends the process at once.
    ///
    /// [`ServerHandle::shutdown`]: crate::server::ServerHandle::shutdown
    ///
    /// # Errors
    ///
    /// No ring can be had (the text holds the remedy), this process has decided on another engine than
    /// [`Server::engine`] says, no address was bound, or another server of this process waits for
    /// signals already. This thread already runs a core, as in a handler;
    /// with the feature `tokio`: it runs asynchronous code of tokio. A worker ended unasked: it
    /// panicked outside of the code of users, whose panics are caught, or somebody stopped its core;
    /// the text names it, and what the panic said. The server is not ready from then on, and the other
    /// workers end as for a shutdown before this returns.
    pub fn run(self) -> Result<()> {
        check_blocking("Server::run")?;
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
        while signals.received().is_none() && !running.state.is_shutdown_requested() {
            running.workers.event().wait();
        }
        let ended = running.finish();
        drop(signals);
        ended
    }

    /// Serves until the future is done, or
    /// [`ServerHandle::shutdown`](crate::server::ServerHandle::shutdown). The future runs on a core of
    /// the calling thread; signals are left alone.
    ///
    /// # Errors
    ///
    /// As for [`Server::run`].
    pub fn run_until(self, until: impl Future<Output = ()>) -> Result<()> {
        check_blocking("Server::run_until")?;
        let runtime = Runtime::silent(RingOptions {
            engine: self.workers.engine,
            ..RingOptions::SMALL
        })?;
        let running = self.start(Arc::new(Event::new()?))?;
        let state = Arc::clone(&running.state);
        let waited = running.companion.run(move || {
            runtime.block_on(async move {
                let mut until = pin!(until);
                poll_fn(|cx| {
                    state.set_waker(cx.waker().clone());
                    if state.is_shutdown_requested() {
                        return Poll::Ready(());
                    }
                    until.as_mut().poll(cx)
                })
                .await;
            })
        });
        running.finish().and(waited)
    }

    /// Serves on the core of the calling thread, beside whatever else runs there, without other
    /// threads: until [`ServerHandle::shutdown`](crate::server::ServerHandle::shutdown), then
    /// finishes the requests that run, and returns with the last connection. Signals are left alone;
    /// the number of workers does not matter. A core can serve several servers.
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
    ///     let router = Router::new().get("/{$}", |_: &Request| "from the same thread");
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
    /// No address was bound, this thread runs no core or one on another engine than [`Server::engine`]
    /// says, or it does not stand in the runtime that the server was given for tokio (`Server::tokio`).
    pub async fn run_here(self) -> Result<()> {
        let core = Core::try_current()?;
        self.check_bound()?;
        self.tokio.check_here()?;
        runtime::set_engine(self.workers.engine)?;
        runtime::tell_fallback();
        let access_log = self.access_log.map(AccessLog::start).transpose()?;
        self.state.set_access_log(access_log.clone());
        let router = self.router.on(&core);
        let log = access_log.as_ref().map(AccessLog::for_worker);
        let lifecycle = self.lifecycle.with_limits(&self.options);
        let worker = Worker::new(router, self.options, log).with_lifecycle(lifecycle);
        self.state.add_counters(Arc::clone(&worker.counters));
        let state = self.state;
        let site = Site::listen(&core, worker, self.sockets, &Sites::new(&state));
        let here = Here { core, site };
        state.set_serving(true);
        tell_listening(self.on_listening, &state);
        poll_fn(|cx| {
            state.set_waker(cx.waker().clone());
            match state.is_shutdown_requested() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        here.site.end(&here.core).await;
        drop(here);
        state.set_serving(false);
        if let Some(log) = access_log {
            runtime::blocking_in(Class::File, move || log.stop()).await?;
        }
        Ok(())
    }

    /// The runtime that was given for tokio, for a thread that stands in it; the server has it no more.
    ///
    /// # Errors
    ///
    /// Nobody would turn it.
    #[cfg(feature = "testing")]
    pub(crate) fn take_scope(&mut self) -> Result<Option<ThreadScope>> {
        mem::take(&mut self.tokio).into_scope()
    }

    /// That it can begin: it listens somewhere, and is of this process.
    fn check_bound(&self) -> Result<()> {
        if !self.state.is_here() {
            return Err(runtime::forked());
        }
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
        let count = self.workers.resolved_count()?;
        let access_log = self.access_log.map(AccessLog::start).transpose()?;
        self.state.set_access_log(access_log.clone());
        // The writer ends with the last part of its log: there is one until all workers have theirs, and
        // also where none comes to have one.
        let _kept = access_log.as_ref().map(AccessLog::for_worker);
        let shares = Mutex::new(binding::share_sockets(self.sockets, count)?);
        let sites = Sites::new(&self.state);
        let (own_sites, own_log) = (Arc::clone(&sites), access_log.clone());
        let (state, router) = (Arc::clone(&self.state), self.router);
        let options = self.options.of_one_worker(count);
        let lifecycle = self.lifecycle.with_limits(&options);
        // Before workers are pinned to their processors.
        let companion = self.tokio.begin(count)?;
        let workers = WorkerOptions {
            scope: companion.scope(),
            ..self.workers
        };
        let start = move |core: &Rc<Core>, index: usize| {
            let router = router.on(core);
            let sockets = {
                let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
                mem::take(&mut shares[index])
            };
            let log = own_log.as_ref().map(AccessLog::for_worker);
            let worker = Worker::new(router, options, log).with_lifecycle(lifecycle.clone());
            state.add_counters(Arc::clone(&worker.counters));
            Site::start(core, worker, sockets, &own_sites);
            Ok(())
        };
        let watcher = Arc::clone(&self.state);
        // Not ready any more, and whoever waits in `run` or `run_until` goes on to shut down.
        let failed = move || watcher.request_shutdown();
        let workers = Workers::start_with(&workers, event, Arc::new(failed), Arc::new(start))?;
        runtime::tell_fallback();
        sites.set_remotes(workers.remotes().to_vec());
        self.state.set_serving(true);
        tell_listening(self.on_listening, &self.state);
        Ok(Running {
            workers,
            state: self.state,
            access_log,
            companion,
        })
    }
}

/// Refuses to block a thread that others need: what runs on it would stand still, for ever.
fn check_blocking(call: &str) -> Result<()> {
    if runtime::is_inside() {
        let text = format!(
            "{call} blocks its thread, which runs a core: use Server::run_here in a handler or a task"
        );
        return Err(Error::new(ErrorKind::Invalid, text).in_phase(Phase::Setup));
    }
    companion::check_blocking(call)
}

/// Tells that the server listens. A panic of who is told is no reason not to serve.
fn tell_listening(told: Option<Box<OnListening>>, state: &State) {
    if let Some(told) = told {
        let _ = guarded(|| told(&state.addresses()));
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
    /// What the workers stand in: it ends after them.
    companion: Companion,
}

impl Running {
    /// Shuts down and waits for the end.
    fn finish(self) -> Result<()> {
        if !self.state.is_here() {
            // A child of fork(2) leaves it all to its parent.
            mem::forget(self);
            return Err(runtime::forked());
        }
        self.state.set_event(None);
        self.state.request_shutdown();
        self.workers.end_by(Arc::new(Site::shut_down));
        let ended = self.workers.join();
        self.companion.end();
        self.state.set_serving(false);
        if let Some(log) = self.access_log {
            log.stop();
        }
        ended
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
