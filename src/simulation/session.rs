//! A simulation that is run step by step, from outside: for tests that are no futures.
//!
//! ```text
//!   begin ─► run(future) ─► settle ─► run(future) ─► … ─► end: was anything left behind?
//!                 the simulated kernel stands still in between
//! ```

use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::runtime::Instant;
use crate::runtime::Remote;
use crate::runtime::Runtime;
use crate::runtime::sleep;
use crate::simulation::CURRENT;
use crate::simulation::Peer;
use crate::simulation::Running;
use crate::simulation::Simulation;
use crate::simulation::checks::Checks;

pub(crate) use crate::ring::sim::others::wait_until;

/// How long [`Session::settle`] sleeps at a time. Work on other threads takes less to begin.
const NAP: Duration = Duration::from_millis(1);
/// A turn that took longer has slept: nothing was to be done.
const ASLEEP: Duration = Duration::from_micros(500);

/// A core on a simulated kernel, between two steps.
pub(crate) struct Session {
    running: Rc<Running>,
    /// `None` only while it ends.
    runtime: Option<Runtime>,
    checks: Checks,
    last: Instant,
    has_slept: bool,
    /// What other threads may wake, if they are waited for.
    remote: Option<Arc<Remote>>,
}

impl Session {
    /// Puts the simulated kernel under this thread, with a core on it.
    ///
    /// # Errors
    ///
    /// The core cannot be made.
    ///
    /// # Panics
    ///
    /// A simulation or a core runs on this thread already.
    pub(crate) fn begin(simulation: Simulation) -> Result<Session, Error> {
        let running = simulation.install();
        let started = running.kernel.now();
        let checks = Checks::new(started, simulation.check_every, simulation.turns_max);
        let mut session = Session {
            running,
            runtime: None,
            checks,
            last: started,
            has_slept: false,
            remote: None,
        };
        session.runtime = Some(Runtime::with_options(simulation.ring)?);
        Ok(session)
    }

    /// Runs the core until `program` is done. Time passes as far as it has to.
    ///
    /// # Errors
    ///
    /// What is wrong with the stack, in words; nothing runs any more then.
    pub(crate) fn run<F: Future>(&mut self, program: F) -> Result<F::Output, String> {
        let runtime = self.runtime.as_ref().expect("it has not ended");
        let (running, checks) = (&self.running, &mut self.checks);
        let (last, has_slept) = (&mut self.last, &mut self.has_slept);
        let ended = runtime.block_on_with(program, |core| {
            let now = running.kernel.now();
            *has_slept |= now - *last > ASLEEP;
            *last = now;
            running.check_turn(checks, core);
        });
        ended.map_err(|error| {
            let failure = self.running.failure.borrow().clone();
            failure.unwrap_or_else(|| format!("{error:#}"))
        })
    }

    /// Runs the core until there is nothing to do before time passes.
    ///
    /// # Errors
    ///
    /// As for [`Session::run`].
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        loop {
            self.last = self.running.kernel.now();
            self.has_slept = false;
            self.run(sleep(NAP))?;
            if self.has_slept {
                return Ok(());
            }
        }
    }

    /// The virtual time.
    pub(crate) fn now(&self) -> Instant {
        self.running.kernel.now()
    }

    /// Before time passes, `wait` is called, to wait in real time until another thread wakes the core:
    /// true when one did.
    pub(crate) fn set_others(&mut self, wait: impl Fn(&Remote) -> bool + 'static) {
        let runtime = self.runtime.as_ref().expect("it has not ended");
        let remote = runtime.core().remote();
        self.remote = Some(Arc::clone(remote));
        let remote = Arc::downgrade(remote);
        let wait = move || remote.upgrade().is_some_and(|remote| wait(&remote));
        self.running.kernel.set_others(Rc::new(wait));
    }

    /// Adds a program beyond the network.
    pub(crate) fn add_peer(&self, peer: impl Peer + 'static) {
        self.running.kernel.add_peer(Box::new(peer));
    }

    /// Calls every peer with the next turn.
    pub(crate) fn wake_peers(&self) {
        self.running.kernel.wake_peers();
    }

    /// Gives a name an address.
    pub(crate) fn add_host(&self, name: &str, address: IpAddr) {
        self.running.kernel.add_host(name, address);
    }

    /// Ends the core; what was left behind, in words.
    pub(crate) fn end(mut self) -> Option<String> {
        drop(self.runtime.take());
        if let Some(remote) = self.remote.take() {
            // A thread that woke the core just now may hold the waker still.
            wait_until(|| Arc::strong_count(&remote) == 1);
        }
        self.running.kernel.finish_jobs();
        self.running.left_over()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.runtime.take());
        self.running.kernel.finish_jobs();
        drop(CURRENT.take());
    }
}
