//! One core: the loop, tasks, sleeping, the mailbox, blocking work, workers.
//!
//! ```text
//!            mailbox ─► ready tasks and connections ─► deadlines ─► flush ─► enter ─► dispatch ─┐
//!               ▲                                                                            │
//!               └────────────────────────── one turn ────────────────────────────────────────┘
//! ```
//!
//! Futures are polled on one thread and need not be `Send`. Nothing is shared between cores; they
//! reach each other through [`Remote::post`].
//!
//! ```
//! use std::time::Duration;
//!
//! let sum = roundtrip::runtime::block_on(async {
//!     let task = roundtrip::runtime::spawn(async { 40 });
//!     roundtrip::runtime::sleep(Duration::from_millis(1)).await;
//!     Ok::<_, roundtrip::Error>(task.await? + 2)
//! })?;
//! assert_eq!(sum, 42);
//! # Ok::<(), roundtrip::Error>(())
//! ```
//!
//! A child of fork(2) has none of the threads, and shares descriptors and rings with its parent. What
//! was made before the fork does nothing there: its drop is silent, its use is an error that says so,
//! and where it can give none (handles, wakers, mailboxes) it has no effect. A call that the fork
//! happened in, such as `block_on`, returns that error. What the child makes anew works, on the same
//! thread too. (A bare clone(2) past the C library is not noticed.)

mod blocking;
mod core;
mod current;
#[cfg(feature = "simulation")]
mod deferred;
pub(crate) mod descriptors;
mod executor;
mod gate;
pub(crate) mod operations;
mod remote;
mod scope;
mod thread;
mod time;
mod workers;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::io::Write as _;
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::ring::engine;
use crate::runtime::core::Asks;
use crate::runtime::core::At;
use crate::runtime::executor::Executor;

pub use crate::reactor::Counters;
pub use crate::ring::Instant;
pub(crate) use crate::ring::clock::now as read_clock;
pub use crate::ring::diagnosis::Diagnosis;
pub use crate::ring::diagnosis::EpollFeatures;
pub use crate::ring::diagnosis::SetupError;
pub use crate::ring::diagnosis::Surroundings;
pub use crate::ring::engine::Engine;
pub use crate::ring::engine::EngineChoice;
pub use crate::ring::engine::EngineReason;
pub use crate::ring::setup::Features;
pub use crate::ring::setup::RingOptions;
pub use crate::ring::sys::Event;
pub(crate) use crate::ring::sys::PerProcess;
pub(crate) use crate::ring::sys::Process;
pub use crate::ring::sys::Signals;
#[cfg(feature = "tokio")]
pub(crate) use crate::ring::sys::affinity;
pub(crate) use crate::ring::sys::random_number;
#[cfg(feature = "tokio")]
pub(crate) use crate::ring::sys::run_on;
pub use crate::runtime::blocking::Blocking;
pub use crate::runtime::blocking::BlockingLimits;
pub(crate) use crate::runtime::blocking::Class;
pub(crate) use crate::runtime::blocking::Ticket;
pub use crate::runtime::blocking::blocking;
pub(crate) use crate::runtime::blocking::blocking_in;
pub use crate::runtime::blocking::set_blocking_limits;
pub(crate) use crate::runtime::blocking::submit;
pub use crate::runtime::core::Core;
pub(crate) use crate::runtime::core::Owner;
pub(crate) use crate::runtime::current::forked;
pub use crate::runtime::current::is_inside;
pub use crate::runtime::executor::JoinHandle;
pub use crate::runtime::executor::spawn;
pub use crate::runtime::executor::yield_now;
pub(crate) use crate::runtime::gate::Gate;
pub use crate::runtime::remote::Remote;
pub(crate) use crate::runtime::remote::WakeTarget;
pub use crate::runtime::scope::ThreadScope;
pub use crate::runtime::thread::CoreThread;
pub use crate::runtime::thread::start_thread;
pub use crate::runtime::time::Sleep;
pub use crate::runtime::time::sleep;
pub use crate::runtime::time::sleep_until;
pub use crate::runtime::time::timeout;
pub use crate::runtime::workers::WorkerCall;
pub use crate::runtime::workers::WorkerOptions;
pub use crate::runtime::workers::WorkerStart;
pub use crate::runtime::workers::Workers;

/// True when the system calls of this thread go to the simulated kernel.
pub(crate) fn is_simulated() -> bool {
    #[cfg(feature = "simulation")]
    return deferred::is_wanted();
    #[cfg(not(feature = "simulation"))]
    false
}

/// The engine of this process and why it is that one; `None` before its first ring, and on a simulated
/// kernel.
pub fn engine() -> Option<EngineChoice> {
    match is_simulated() {
        true => None,
        false => engine::engine(),
    }
}

/// Decides on the engine of this process before there is a ring, for programs whose clients make
/// their own: `blocking`, `Client::spawned`, [`block_on`]. With [`Engine::Auto`], and
/// on a simulated kernel, nothing is decided.
///
/// # Errors
///
/// This process has decided on the other one; the text says by whom.
pub fn set_engine(engine: Engine) -> Result<(), Error> {
    match is_simulated() {
        true => Ok(()),
        false => Ok(engine::set_engine(engine)?),
    }
}

/// Tells on standard error, once per process, that epoll serves since io_uring is refused.
pub(crate) fn tell_fallback() {
    if let Some(choice) = engine::untold_fallback() {
        // Where it cannot be written nobody can be told.
        let _ = writeln!(
            io::stderr(),
            "roundtrip: running on {choice:#}; or choose epoll by ROUNDTRIP_ENGINE=epoll, and this line goes"
        );
    }
}

/// A core on the calling thread, to block on futures. Dropped, everything on it ends.
///
/// Where io_uring is refused and nobody has chosen an engine, the first one that is made here says so on
/// standard error, in one line.
pub struct Runtime {
    core: Rc<Core>,
}

impl Runtime {
    /// With the ring of a worker.
    ///
    /// # Errors
    ///
    /// No ring can be had; the text holds the remedy.
    pub fn new() -> Result<Runtime, Error> {
        Runtime::with_options(RingOptions::WORKER)
    }

    /// With a small ring, for a thread that makes a request now and then.
    ///
    /// # Errors
    ///
    /// No ring can be had; the text holds the remedy.
    pub fn small() -> Result<Runtime, Error> {
        Runtime::with_options(RingOptions::SMALL)
    }

    /// With a ring of the given sizes and engine.
    ///
    /// # Errors
    ///
    /// No ring can be had, or this process has decided on the other engine; the text holds the remedy.
    /// Of kind `Invalid`: a size is out of its bounds.
    pub fn with_options(options: RingOptions) -> Result<Runtime, Error> {
        let runtime = Runtime::silent(options)?;
        tell_fallback();
        Ok(runtime)
    }

    /// As [`Runtime::with_options`], for clients: it writes nothing.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::with_options`].
    pub(crate) fn silent(options: RingOptions) -> Result<Runtime, Error> {
        if let Some(rule) = options.refused() {
            return Err(Error::new(ErrorKind::Invalid, rule));
        }
        Ok(Runtime {
            core: Core::new(options)?,
        })
    }

    /// The engine of this process and why it is that one; `None` on a simulated kernel.
    pub fn engine(&self) -> Option<EngineChoice> {
        engine()
    }

    /// The core.
    pub fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// Runs the core until `future` is done. Tasks and connections stay where they are
    /// afterwards, and go on with the next call.
    ///
    /// # Errors
    ///
    /// This thread already runs a core; the core was stopped ([`Core::stop`]); the process was forked.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        self.block_on_with(future, |_| ())
    }

    /// As [`Runtime::block_on`], for a future that does one thing: it is polled within turns too,
    /// so that the kernel is entered less often.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::block_on`].
    pub(crate) fn block_on_soon<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        self.drive(future, |_| (), Asks::Within)
    }

    /// As [`Runtime::block_on`]; `after_turn` is called after each turn, when nothing is borrowed.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::block_on`].
    pub(crate) fn block_on_with<F: Future>(
        &self,
        future: F,
        after_turn: impl FnMut(&Rc<Core>),
    ) -> Result<F::Output, Error> {
        self.drive(future, after_turn, Asks::Between)
    }

    fn drive<F: Future>(
        &self,
        future: F,
        mut after_turn: impl FnMut(&Rc<Core>),
        asks: Asks,
    ) -> Result<F::Output, Error> {
        self.enter(|| {
            let executor = Executor::of(&self.core);
            let (target, waker) = executor.main(&self.core);
            let woken = Rc::clone(executor.main_woken());
            woken.set(true);
            let mut future = pin!(future);
            let mut output = None;
            let poll = |at| {
                if at == At::TurnEnd {
                    after_turn(&self.core);
                }
                if woken.take() {
                    target.begin();
                    let context = &mut Context::from_waker(waker);
                    if let Poll::Ready(value) = future.as_mut().poll(context) {
                        output = Some(value);
                        return true;
                    }
                }
                false
            };
            self.core.run(poll, &woken, asks);
            output.ok_or_else(|| match self.core.is_here() {
                true => Error::new(ErrorKind::Shutdown, "the core was stopped"),
                false => forked(),
            })
        })?
    }

    /// Runs the core until it is stopped.
    fn run(&self) {
        self.core.run(|_| false, &Cell::new(false), Asks::Between);
    }

    fn enter<T>(&self, body: impl FnOnce() -> T) -> Result<T, Error> {
        let entered = current::enter(&self.core)?;
        let result = body();
        drop(entered);
        Ok(result)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.core.is_here() {
            // It is the parent's, with all that users gave: none of it is dropped here.
            mem::forget(Rc::clone(&self.core));
            return;
        }
        // Users' destructors may want the core: it is the thread's while they run, unless the
        // thread runs another one.
        let entered = current::enter(&self.core).ok();
        self.core.finish();
        drop(entered);
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Error {
        Error::new(ErrorKind::Setup, error.to_string()).in_phase(Phase::Setup)
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

/// Runs `future` on a fresh core of this thread. Writes nothing where io_uring is refused.
///
/// # Errors
///
/// Those of the future; no ring can be had; this thread already runs a core.
pub fn block_on<T, E: From<Error>>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    if is_inside() {
        return Err(current::nested().into());
    }
    Runtime::silent(RingOptions::WORKER)?.block_on(future)?
}

#[cfg(test)]
mod tests;
