//! The whole stack on a simulated kernel: your handlers and clients under every fault, from one
//! seed.
//!
//! ```text
//!   seed ─► simulated kernel: network, files, names, clock ─┬─ faults, each with its probability
//!                    ▲                                      └─ peers: programs of the other side
//!                    │ the same calls
//!   your future ─ server, client ─ net ─ reactor ─ ring
//!                    │
//!                    └─ after each turn: is everything as it has to be? ─► Report
//! ```
//!
//! One thread, no waiting: an hour of time-outs takes milliseconds. The same seed and the same
//! program always give the same run, so that what a seed found once is a regression test. Sockets,
//! names, files and time are simulated for this thread while the simulation runs; the code under
//! test is the code that runs elsewhere.
//!
//! ```
//! use roundtrip::Client;
//! use roundtrip::Request;
//! use roundtrip::Router;
//! use roundtrip::Server;
//! use roundtrip::simulation::Faults;
//! use roundtrip::simulation::Simulation;
//!
//! let report = Simulation::new(7).faults(Faults::all()).run(async {
//!     let router = Router::new().get("/{$}", |_: &Request| "Hello, World!");
//!     let server = Server::new(router).bind("127.0.0.1:80")?;
//!     let handle = server.handle();
//!     let serving = roundtrip::runtime::spawn(server.run_here());
//!     let client = Client::new();
//!     for _ in 0..100 {
//!         // Faults include connections that are reset: what must hold is that no answer is wrong.
//!         if let Ok(response) = client.get("http://127.0.0.1/").send().await
//!             && let Ok(text) = response.text().await
//!         {
//!             assert_eq!(text, "Hello, World!");
//!         }
//!     }
//!     handle.shutdown();
//!     serving.await?
//! });
//! println!("{} faults in {:?}", report.fired().total(), report.elapsed());
//! report.unwrap()?;
//! # Ok::<(), roundtrip::Error>(())
//! ```
//!
//! Simulated is what this crate does on this thread. Threads of your own, `Server::run`, which makes
//! some, and `roundtrip::blocking` are not: use `Server::run_here` and `Client`. The access log is
//! written on this thread too, when a line is added.
//!
//! What goes wrong by itself is reported without being asked for: an invariant of the stack that
//! does not hold, a descriptor or an operation that is left at the end, a program that sleeps for
//! ever or that never sleeps.

mod checks;
mod report;
#[cfg(feature = "testing")]
pub(crate) mod session;

use std::cell::Cell;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::guard::panic_text;
use crate::ring::sim;
use crate::ring::sim::Installed;
use crate::runtime;
use crate::runtime::Class;
use crate::runtime::Core;
use crate::runtime::Instant;
use crate::runtime::RingOptions;
use crate::runtime::Runtime;
use crate::simulation::checks::Checks;
use crate::simulation::checks::THOROUGH_EVERY;
use crate::simulation::checks::TURNS_MAX;

pub use crate::ring::bug::Bug;
pub use crate::ring::sim::ALL_FAULTS;
pub use crate::ring::sim::Choices;
pub use crate::ring::sim::Fault;
pub use crate::ring::sim::Faults;
pub use crate::ring::sim::Fired;
pub use crate::ring::sim::Peer;
pub use crate::ring::sim::PeerIo;
pub use crate::ring::sim::PeerReceived;
pub use crate::ring::sim::PeerSent;
pub use crate::ring::sim::PeerSocket;
pub use crate::ring::sim::Random;
pub use crate::ring::sim::Reach;
pub use crate::simulation::report::Report;

type Sink = Box<dyn FnMut(&str)>;

/// A run of a program on a simulated kernel: what the kernel, the network and the machine are like.
pub struct Simulation {
    options: sim::Options,
    ring: RingOptions,
    files: Vec<(PathBuf, Vec<u8>)>,
    hosts: Vec<(String, IpAddr)>,
    trace: Option<Sink>,
    bug: Option<Bug>,
    check_every: u64,
    turns_max: u64,
}

thread_local! {
    /// The simulation that runs on this thread.
    static CURRENT: RefCell<Option<Rc<Running>>> = const { RefCell::new(None) };
}

/// What a simulation and its program share.
struct Running {
    kernel: Installed,
    /// What the program reported as wrong, first of all.
    failure: RefCell<Option<String>>,
    /// A panic has ended the run: what others see of that is no failure of its own.
    has_panicked: Cell<bool>,
}

impl Simulation {
    /// A calm network and a small machine with this seed, from which every draw comes.
    pub fn new(seed: u64) -> Simulation {
        Simulation {
            options: sim::Options {
                strict: true,
                ..sim::Options::new(seed)
            },
            ring: RingOptions::SMALL,
            files: Vec::new(),
            hosts: Vec::new(),
            trace: None,
            bug: None,
            check_every: THOROUGH_EVERY,
            turns_max: TURNS_MAX,
        }
    }

    // ---- knobs -----------------------------------------------------------------------------

    /// What goes wrong, and how often; nothing by default.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Simulation {
        self.options.faults = faults;
        self
    }

    /// Faults and orders are not drawn but chosen: run by run, every way is taken.
    #[must_use]
    pub fn choices(mut self, choices: &Choices) -> Simulation {
        self.options.choices = Some(choices.clone());
        self
    }

    /// The sizes of the core's ring; those of a small core by default. Small ones overflow, which
    /// is allowed and worth to be tried.
    #[must_use]
    pub fn ring(mut self, ring: RingOptions) -> Simulation {
        self.ring = ring;
        self
    }

    /// How long a segment is under way, at least and at most; by default it arrives at once.
    ///
    /// # Panics
    ///
    /// `least` is more than `most`.
    #[must_use]
    pub fn latency(mut self, least: Duration, most: Duration) -> Simulation {
        assert!(least <= most, "{least:?} at least, {most:?} at most");
        self.options.latency_nanoseconds = (nanoseconds(least), nanoseconds(most));
        self
    }

    /// How much time passes with each turn of the core, at least and at most: 1 to 2 µs by default.
    ///
    /// # Panics
    ///
    /// `least` is more than `most`.
    #[must_use]
    pub fn turn(mut self, least: Duration, most: Duration) -> Simulation {
        assert!(least <= most, "{least:?} at least, {most:?} at most");
        self.options.turn_nanoseconds = (nanoseconds(least), nanoseconds(most));
        self
    }

    /// Bytes that a socket holds for its reader before the writer has to wait: 256 KiB by default.
    #[must_use]
    pub fn socket_buffer_bytes(mut self, bytes: usize) -> Simulation {
        self.options.socket_buffer_bytes = bytes;
        self
    }

    /// Descriptors that can be open at a time; no bound by default.
    #[must_use]
    pub fn descriptors_max(mut self, count: usize) -> Simulation {
        self.options.descriptors_max = count;
        self
    }

    /// With a file; its directories come by themselves. Once there are any, no others are seen;
    /// without, those of the machine are.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Simulation {
        self.files.push((path.into(), content.into()));
        self
    }

    /// With a name and its address; several calls with one name give it several.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>, address: IpAddr) -> Simulation {
        self.hosts.push((name.into(), address));
        self
    }

    /// How attempts to connect to an address go: into the void, after a while, not at all. By default
    /// they take as long as any segment.
    #[must_use]
    pub fn reach(mut self, address: IpAddr, reach: Reach) -> Simulation {
        self.options.reaches.push((address, reach));
        self
    }

    /// How long the look-up of a name takes once it has a thread, at least and at most; by default no
    /// longer than the thread takes to begin.
    ///
    /// # Panics
    ///
    /// `least` is more than `most`.
    #[must_use]
    pub fn lookup_time(self, least: Duration, most: Duration) -> Simulation {
        self.work_time(Class::LookUp, least, most)
    }

    /// As [`Simulation::lookup_time`], for opening and writing files, and for each listing of a directory.
    ///
    /// # Panics
    ///
    /// `least` is more than `most`.
    #[must_use]
    pub fn file_time(self, least: Duration, most: Duration) -> Simulation {
        self.work_time(Class::File, least, most)
            .work_time(Class::Listing, least, most)
    }

    fn work_time(mut self, class: Class, least: Duration, most: Duration) -> Simulation {
        assert!(least <= most, "{least:?} at least, {most:?} at most");
        self.options.work_nanoseconds[class as usize] = (nanoseconds(least), nanoseconds(most));
        self
    }

    /// Hands each step of the run to `sink`, one line for a person to read. Slow.
    #[must_use]
    pub fn trace(mut self, sink: impl FnMut(&str) + 'static) -> Simulation {
        self.options.trace = true;
        self.trace = Some(Box::new(sink));
        self
    }

    /// Looks at every connection and every pool once in so many turns: 16 by default. Rarely is for
    /// runs with a million connections.
    #[must_use]
    pub fn check_every(mut self, turns: u64) -> Simulation {
        self.check_every = turns.max(1);
        self
    }

    /// Ends a run that is not done after so many turns as a failure: 50 million by default. A loop
    /// that is busy is found by nothing else.
    #[must_use]
    pub fn turns_max(mut self, turns: u64) -> Simulation {
        self.turns_max = turns;
        self
    }

    /// Plants a bug in the stack, to see that it is found.
    #[must_use]
    pub fn plant(mut self, bug: Bug) -> Simulation {
        self.bug = Some(bug);
        self
    }

    // ---- running ---------------------------------------------------------------------------

    /// Runs `program` on a core of the simulated kernel until it is done, or something is wrong.
    /// A panic of it is a failure of the report. Connections and tasks that it leaves behind end
    /// with it.
    ///
    /// # Panics
    ///
    /// A simulation or a core runs on this thread already.
    pub fn run<F: Future>(self, program: F) -> Report<F::Output> {
        self.run_then(program, |output| output)
    }

    /// As [`Simulation::run`]; `after` is called when the core is gone, and before it is looked for
    /// what was left behind: with what the program returned, to be dropped there.
    ///
    /// # Panics
    ///
    /// As for [`Simulation::run`].
    pub fn run_then<F: Future, T>(
        self,
        program: F,
        after: impl FnOnce(F::Output) -> T,
    ) -> Report<T> {
        let seed = self.options.seed;
        let running = self.install();
        let _planted = Planted::new(self.bug);
        let mut trace = self.trace;
        let mut checks = Checks::new(running.kernel.now(), self.check_every, self.turns_max);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            run_on_core(self.ring, &running, &mut checks, &mut trace, program).map(after)
        }));
        let (output, failure) = match ended {
            Ok(Ok(output)) => (Some(output), None),
            Ok(Err(text)) => (None, Some(text)),
            Err(panic) => (None, Some(panic_text(&*panic))),
        };
        running.kernel.finish_jobs();
        let has_panicked = running.has_panicked.get();
        let failure = match (running.failure.take().or(failure), running.left_over()) {
            // A core that panics ends like any other.
            (Some(panic), Some(left)) if has_panicked => Some(format!("{panic}; and then {left}")),
            (failure, left) => failure.or(left),
        };
        running.flush(&mut trace);
        drop(CURRENT.take());
        Report {
            seed,
            output,
            failure,
            fired: running.kernel.fired(),
            elapsed: running.kernel.now() - checks.started(),
            counters: checks.counters(),
        }
    }

    /// Puts the simulated kernel under this thread.
    fn install(&self) -> Rc<Running> {
        assert!(!runtime::is_inside(), "a core runs on this thread already");
        let kernel = sim::install(self.options.clone());
        for (path, content) in &self.files {
            kernel.add_file(path, content);
        }
        for (name, address) in &self.hosts {
            kernel.add_host(name, *address);
        }
        let running = Rc::new(Running {
            kernel,
            failure: RefCell::new(None),
            has_panicked: Cell::new(false),
        });
        CURRENT.set(Some(Rc::clone(&running)));
        running
    }
}

fn run_on_core<F: Future>(
    ring: RingOptions,
    running: &Running,
    checks: &mut Checks,
    trace: &mut Option<Sink>,
    program: F,
) -> Result<F::Output, String> {
    let runtime = Runtime::with_options(ring).map_err(|error| format!("{error:#}"))?;
    let panics = Panics(running);
    let ended = runtime.block_on_with(program, |core| {
        running.flush(trace);
        running.check_turn(checks, core);
    });
    mem::forget(panics);
    drop(runtime);
    ended.map_err(|error| format!("{error:#}"))
}

impl Running {
    /// Within the call of a peer nothing of the kernel may be asked.
    fn fail(&self, text: String) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_none() && !self.has_panicked.get() {
            *failure = Some(text);
        }
    }

    /// After each turn: what is wrong stops the core.
    fn check_turn(&self, checks: &mut Checks, core: &Rc<Core>) {
        let found = self.failure.borrow().clone();
        let wrong = match found {
            Some(failure) => Err(failure),
            None => checks.after_turn(core, &self.kernel),
        };
        if let Err(text) = wrong {
            self.fail(text);
            core.stop();
        }
    }

    fn flush(&self, trace: &mut Option<Sink>) {
        if let Some(sink) = trace {
            for line in self.kernel.take_trace() {
                sink(&line);
            }
        }
    }

    /// What should be gone when the core is.
    fn left_over(&self) -> Option<String> {
        if let Some(violation) = self.kernel.violations().first() {
            return Some(violation.clone());
        }
        let (operations, descriptors) = (self.kernel.in_flight(), self.kernel.descriptors());
        if operations > 0 {
            return Some(format!(
                "{operations} operations are in flight after the end"
            ));
        }
        if descriptors > 0 {
            return Some(format!("{descriptors} descriptors are open after the end"));
        }
        let files = self.kernel.files_open();
        (files > 0).then(|| format!("{files} files are open after the end"))
    }
}

/// Dropped by a panic alone, before the core ends.
struct Panics<'running>(&'running Running);

impl Drop for Panics<'_> {
    fn drop(&mut self) {
        self.0.has_panicked.set(true);
    }
}

/// A bug, until the run is over.
struct Planted(());

impl Planted {
    fn new(bug: Option<Bug>) -> Planted {
        crate::ring::bug::plant(bug);
        Planted(())
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        crate::ring::bug::plant(None);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn current() -> Rc<Running> {
    let found = CURRENT.with_borrow(Clone::clone);
    found.expect("this is called by the program of a simulation")
}

/// True while a simulation runs on this thread.
pub fn is_running() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Adds a program beyond the network of the simulation that runs.
///
/// # Panics
///
/// None runs on this thread.
pub fn add_peer(peer: impl Peer + 'static) {
    current().kernel.add_peer(Box::new(peer));
}

/// Peers that are not done.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn peers() -> usize {
    current().kernel.peers()
}

/// Calls every peer that is not done, when the ring is next entered: for programs that tell their
/// peers what to do.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn wake_peers() {
    current().kernel.wake_peers();
}

/// Simulated descriptors that are open.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn descriptors() -> usize {
    current().kernel.descriptors()
}

/// Writes a file, in the place of one that is there: who has that open keeps it.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn write_file(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    current().kernel.add_file(path.as_ref(), content.as_ref());
}

/// Removes a file: who has it open keeps it.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn remove_file(path: impl AsRef<Path>) {
    current().kernel.remove_file(path.as_ref());
}

/// Files that are open.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn files_open() -> usize {
    current().kernel.files_open()
}

/// How often each fault has happened.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn fired() -> Fired {
    current().kernel.fired()
}

/// The virtual time, now. Within a turn it can be later than the time of the turn.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn now() -> Instant {
    current().kernel.now()
}

/// Notes a step of the program among those of the kernel, if anybody reads them.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn note(text: impl FnOnce() -> String) {
    current().kernel.note(text);
}

/// What the simulated kernel itself holds on the heap, in bytes: the rest is the program's.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn kernel_bytes() -> usize {
    current().kernel.memory_bytes()
}

/// Says that something is wrong. The run ends with this turn: for places where a panic is caught,
/// such as handlers.
///
/// # Panics
///
/// No simulation runs on this thread.
pub fn fail(text: impl Into<String>) {
    current().fail(text.into());
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("options", &self.options)
            .field("ring", &self.ring)
            .field("bug", &self.bug)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
