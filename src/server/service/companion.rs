//! tokio beside the workers: what database crates and others of its ecosystem need in a handler.
//!
//! ```text
//!   worker ── enters the runtime's context, for its life ──► tokio::spawn, net, time … in handlers
//!      ▲                                                                │
//!      └── mailbox ◄── our waker ◄── reactor and timers on threads of ◄─┘
//!                                    the user's runtime, or of a companion that is made here
//! ```
//!
//! At the end: exchanges, tasks and bodies are dropped on their workers, which leave the context
//! and are joined; then the companion ends. The user's runtime is the user's to end.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::mpsc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use ::tokio::runtime::Builder;
use ::tokio::runtime::Handle;
use ::tokio::runtime::Runtime;
use ::tokio::runtime::RuntimeFlavor;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::limits::TOKIO_SHUTDOWN_TIMEOUT;
use crate::limits::WORKERS_PER_TOKIO_THREAD;
use crate::runtime;
use crate::runtime::Process;
use crate::runtime::ThreadScope;
use crate::server::service::Server;

const THREAD_NAME: &str = "roundtrip-tokio";

impl Server {
    /// The tokio runtime of handlers, in place of a companion that the server makes: needs the
    /// feature `tokio`.
    ///
    /// With that feature, handlers, middleware, bodies and their drops run within the context of a
    /// multi-threaded tokio runtime: `tokio::spawn`, `spawn_blocking`, `tokio::time`, `tokio::net`
    /// and what is built on them (database crates, `reqwest`, `tonic`) work there. The futures stay
    /// on their worker; tokio's threads wait for its sockets and timers and wake it. Without this
    /// setting, [`Server::run`] and [`Server::run_until`] make a companion of a quarter as many
    /// threads as workers, at least one, which ends with the server: what still runs on it is given
    /// [`limits::TOKIO_SHUTDOWN_TIMEOUT`](crate::limits::TOKIO_SHUTDOWN_TIMEOUT). The runtime of this
    /// setting is never ended by the server, and has to outlive it.
    ///
    /// An awaited event of a tokio socket or timer costs a few µs of CPU and a switch of threads more
    /// than one of this crate: nothing beside a query of a database, much beside a small GET. For
    /// HTTP from within handlers, [`Client`](crate::Client) has no such cost. Waiting belongs into an
    /// `.await` or into `spawn_blocking`: `block_in_place` and `Handle::block_on` stop the worker and
    /// all its connections. `spawn_local` panics; [`runtime::spawn`](crate::runtime::spawn) is the
    /// one for futures that are not `Send`. Who waits for `tokio::signal` uses [`Server::run_until`],
    /// which leaves signals alone.
    ///
    /// ```no_run
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    /// use roundtrip::Server;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    ///     let router = Router::new().get("/{$}", async |_: Request| {
    ///         tokio::spawn(async { "from a task of tokio" }).await.unwrap()
    ///     });
    ///     let server = Server::new(router).bind("127.0.0.1:8080")?;
    ///     Ok(server.tokio(runtime.handle().clone()).run()?)
    /// }
    /// ```
    ///
    /// Within `#[tokio::main]`, `spawn_blocking(move || server.run())` serves; a runtime of the flavour
    /// `current_thread` is refused by [`Server::run`], since nobody would turn it. Threads that tokio
    /// makes at the call of a pinned worker are pinned too: the companion undoes that, a builder of
    /// one's own may with `on_thread_start`. Of what is in memory, `testing::App` takes this setting,
    /// and waits for the runtime; a simulation refuses it.
    #[must_use]
    pub fn tokio(mut self, runtime: Handle) -> Server {
        self.tokio = Setting(Some(runtime));
        self
    }
}

/// The runtime that [`Server::tokio`] was given.
#[derive(Default)]
pub(in crate::server) struct Setting(Option<Handle>);

impl Setting {
    /// What workers stand in, for as long as this lives.
    ///
    /// # Errors
    ///
    /// The runtime that was given is of one thread; a companion has no threads, or no descriptors.
    pub(super) fn begin(self, workers_count: usize) -> Result<Companion> {
        match self.0 {
            Some(handle) if handle.runtime_flavor() == RuntimeFlavor::CurrentThread => {
                Err(Error::new(
                    ErrorKind::Invalid,
                    "the runtime of Server::tokio has the flavour current_thread, which only turns \
                     within its own block_on: give it a multi_thread one, or none",
                )
                .in_phase(Phase::Setup))
            }
            Some(handle) => Ok(Companion { handle, own: None }),
            None => Companion::start(workers_count),
        }
    }

    /// What was given, if anything was.
    ///
    /// # Errors
    ///
    /// Those of [`Setting::begin`] with a runtime that was given.
    #[cfg(feature = "testing")]
    pub(super) fn into_scope(self) -> Result<Option<ThreadScope>> {
        match self.0 {
            None => Ok(None),
            given => Ok(Setting(given).begin(1)?.scope()),
        }
    }

    /// Whether the core of the calling thread can serve.
    ///
    /// # Errors
    ///
    /// A runtime was given, and the thread does not stand in one, or is simulated.
    pub(super) fn check_here(&self) -> Result<()> {
        let refused = match &self.0 {
            None => return Ok(()),
            Some(_) if runtime::is_simulated() => {
                "a simulation has no tokio, whose threads and clock would be real: leave \
                 Server::tokio out"
            }
            Some(_) if Handle::try_current().is_err() => {
                "Server::run_here serves on a core of yours, which Server::tokio cannot enter: hold \
                 `let _entered = handle.enter();` around the block_on of that core"
            }
            Some(_) => return Ok(()),
        };
        Err(Error::new(ErrorKind::Invalid, refused).in_phase(Phase::Setup))
    }
}

/// Refuses to block a thread that polls futures of tokio: they would all stand still.
///
/// # Errors
///
/// This thread is within an asynchronous task of tokio, or its `block_on`.
pub(super) fn check_blocking(call: &str) -> Result<()> {
    if !is_within_task() {
        return Ok(());
    }
    let text = format!(
        "{call} blocks its thread, which runs asynchronous code of tokio (#[tokio::main]?): call it \
         from a plain fn main, or within tokio::task::spawn_blocking"
    );
    Err(Error::new(ErrorKind::Invalid, text).in_phase(Phase::Setup))
}

/// True where tokio polls a future. Only there does it keep count of how often a task goes on without
/// a pause, and lets `consume_budget` wait when that is too often; under a mere `Handle::enter`, in
/// `spawn_blocking` and in `block_in_place` it does not, and blocking is allowed.
fn is_within_task() -> bool {
    // Its counter is one byte.
    (0..=u8::MAX).any(|_| {
        let once = pin!(::tokio::task::consume_budget());
        once.poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending
    })
}

/// The runtime that workers stand in. Dropped, it ends if it was made here.
pub(super) struct Companion {
    handle: Handle,
    own: Option<Own>,
}

/// A runtime with a thread of its own, since one that runs asynchronous code must not end it.
struct Own {
    /// A child of it has no such thread.
    process: Process,
    /// Dropped to end it.
    end: mpsc::Sender<()>,
    /// Hears of nothing but its end.
    ended: mpsc::Receiver<()>,
}

impl Companion {
    fn start(workers_count: usize) -> Result<Companion> {
        let failed = |error| {
            Error::new(ErrorKind::Setup, "cannot start tokio beside the workers")
                .in_phase(Phase::Setup)
                .because(error)
        };
        let threads_count = (workers_count / WORKERS_PER_TOKIO_THREAD).max(1);
        let (end, wanted) = mpsc::channel::<()>();
        let (ends, ended) = mpsc::channel::<()>();
        let (report, made) = mpsc::sync_channel(1);
        runtime::start_thread(THREAD_NAME, move || {
            let _ends = ends;
            match make(threads_count) {
                Err(error) => drop(report.send(Err(error))),
                Ok(runtime) => {
                    let _ = report.send(Ok(runtime.handle().clone()));
                    // Until nobody needs it: nothing is ever sent.
                    let _ = wanted.recv();
                    runtime.shutdown_timeout(TOKIO_SHUTDOWN_TIMEOUT);
                }
            }
        })
        .map_err(failed)?;
        // tokio panics where a thread of its own cannot be started.
        let unmade = |_| Err(io::Error::other("its threads cannot be started"));
        let handle = made.recv().unwrap_or_else(unmade).map_err(failed)?;
        let process = Process::here();
        let own = Some(Own {
            process,
            end,
            ended,
        });
        Ok(Companion { handle, own })
    }

    /// The workers have left it.
    pub(super) fn end(self) {
        drop(self);
    }

    /// Calls `body` on this thread, within what the workers stand in.
    pub(super) fn run<T>(&self, body: impl FnOnce() -> T) -> T {
        let _entered = self.handle.enter();
        body()
    }

    /// What each worker enters.
    pub(super) fn scope(&self) -> Option<ThreadScope> {
        let handle = self.handle.clone();
        Some(ThreadScope::new(move |body| {
            let _entered = handle.enter();
            body();
        }))
    }
}

/// Its threads, also those that it makes later at the call of a pinned worker, run wherever the calling
/// thread may.
fn make(threads_count: usize) -> io::Result<Runtime> {
    let processors = runtime::affinity();
    Builder::new_multi_thread()
        .worker_threads(threads_count)
        .thread_name(THREAD_NAME)
        .on_thread_start(move || runtime::run_on(&processors))
        .enable_all()
        .build()
}

impl Drop for Companion {
    fn drop(&mut self) {
        if let Some(own) = self.own.take()
            && own.process.is_here()
        {
            drop(own.end);
            let _ = own.ended.recv();
        }
    }
}

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion")
            .field("is_own", &self.own.is_some())
            .finish()
    }
}
