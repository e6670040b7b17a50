//! One thread per processor, each with its core.
//!
//! ```text
//!   Starter: Make ─► a ring each ─┬─ all stand ─────────► Start ─► run ─┬─ asked to end ─► joined
//!              ▲                  └─ one lacks memory ─┐                └─ panic, stopped ─► failed
//!              └─ smaller, or a little later ◄─ GiveUp ┘
//! ```

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::guard::caught;
use crate::limits::RING_RETRIES_MAX;
use crate::limits::RING_RETRY_PAUSE;
use crate::limits::WORKERS_MAX;
use crate::ring::diagnosis::SetupError;
use crate::ring::engine::Engine;
use crate::ring::setup::RingOptions;
use crate::ring::sys;
use crate::ring::sys::Event;
use crate::ring::sys::Process;
use crate::runtime::Core;
use crate::runtime::Runtime;
use crate::runtime::current::forked;
use crate::runtime::remote::Remote;
use crate::runtime::scope::ThreadScope;
use crate::runtime::thread::start_thread;

/// What the workers are like.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// How many, 1 to [`WORKERS_MAX`]; `None` for as many as the processors (and the cgroup's quota)
    /// allow.
    pub count: Option<usize>,
    /// The threads are called NAME-0, NAME-1 …
    pub name: String,
    /// Pin each worker to one processor of the inherited mask, when there are as many workers as
    /// processors in it.
    pub pin: bool,
    /// What drives the rings: an engine that the process has decided against is an error.
    pub engine: Engine,
    /// What each worker's thread stands in, from before its core is made until after the last drop.
    pub scope: Option<ThreadScope>,
}

impl Default for WorkerOptions {
    fn default() -> WorkerOptions {
        WorkerOptions {
            count: None,
            name: "roundtrip".to_owned(),
            pin: true,
            engine: Engine::Auto,
            scope: None,
        }
    }
}

impl WorkerOptions {
    /// How many workers that makes here.
    ///
    /// # Errors
    ///
    /// `count` is 0, or more than [`WORKERS_MAX`]: of kind `Invalid`.
    pub fn resolved_count(&self) -> Result<usize, Error> {
        match self.count {
            None => {
                let available = thread::available_parallelism().map_or(1, usize::from);
                Ok(available.min(WORKERS_MAX))
            }
            Some(count) if (1..=WORKERS_MAX).contains(&count) => Ok(count),
            Some(count) => {
                let text =
                    format!("{count} workers are asked for: 1 to {WORKERS_MAX} are possible");
                Err(Error::new(ErrorKind::Invalid, text).in_phase(Phase::Setup))
            }
        }
    }
}

/// What runs first on each worker, with its core and number.
pub type WorkerStart = Arc<dyn Fn(&Rc<Core>, usize) -> Result<(), Error> + Send + Sync>;

/// What [`Workers::post_all`] runs on each worker.
pub type WorkerCall = Arc<dyn Fn(&Rc<Core>) + Send + Sync>;

/// What is called when a worker ends that nobody asked to, on its thread.
pub type WorkerFailed = Arc<dyn Fn() + Send + Sync>;

/// Running workers. Dropped, they are stopped and waited for. In a child of fork(2) there are none.
pub struct Workers {
    process: Process,
    remotes: Vec<Arc<Remote>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What workers share with who started them.
struct Shared {
    running: AtomicUsize,
    /// True exactly when the workers were asked to end.
    is_ending: AtomicBool,
    /// Of the first worker that ended unasked.
    failure: Mutex<Option<Error>>,
    /// Notified when the last worker has ended, and by whoever else wants the waiter's attention.
    event: Arc<Event>,
    failed: WorkerFailed,
}

impl Shared {
    /// A worker ends unasked: whoever watches is told before its core ends, which may take a while.
    fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        drop(failure);
        (self.failed)();
    }
}

impl Workers {
    /// Starts them, and returns when `start` has succeeded on every one.
    ///
    /// # Errors
    ///
    /// The first error of a core or of `start`, or that of [`WorkerOptions::resolved_count`]; no
    /// worker runs then. Where the memory that may be locked does not suffice for the rings of all,
    /// smaller ones are tried, and for a second those again; then the error says how many would have
    /// fitted.
    pub fn start(options: &WorkerOptions, start: WorkerStart) -> Result<Workers, Error> {
        Workers::start_with(options, Arc::new(Event::new()?), Arc::new(|| ()), start)
    }

    /// As [`Workers::start`], with the event that is notified when the last worker has ended, and
    /// what is called when one ends unasked. No worker begins before the rings of all stand.
    ///
    /// # Errors
    ///
    /// Those of [`Workers::start`].
    pub fn start_with(
        options: &WorkerOptions,
        event: Arc<Event>,
        failed: WorkerFailed,
        start: WorkerStart,
    ) -> Result<Workers, Error> {
        let count = options.resolved_count()?;
        let processors = sys::affinity();
        let pin = options.pin && processors.len() == count;
        let mut workers = Workers {
            process: Process::here(),
            remotes: Vec::new(),
            threads: Vec::new(),
            shared: Arc::new(Shared {
                running: AtomicUsize::new(0),
                is_ending: AtomicBool::new(false),
                failure: Mutex::new(None),
                event,
                failed,
            }),
        };
        let (report, reports) = mpsc::channel();
        let mut starter = Starter {
            commands: Vec::new(),
            reports,
        };
        for index in 0..count {
            let (command, commands) = mpsc::channel();
            let body = Body {
                index,
                name: format!("{}-{index}", options.name),
                processor: processors.get(index).copied().filter(|_| pin),
                scope: options.scope.clone(),
                start: Cell::new(Some(Arc::clone(&start))),
                commands,
                report: report.clone(),
                has_started: Cell::new(false),
                shared: Arc::clone(&workers.shared),
            };
            let name = body.name.clone();
            let thread = start_thread(name, move || body.run())
                .map_err(|error| setup("cannot start a worker thread").because(error))?;
            workers.threads.push(thread);
            starter.commands.push(command);
        }
        drop(report);
        // Those that run when one fails are stopped by the drop of `workers`.
        starter.make_rings(options.engine)?;
        let mut failure = None;
        for report in starter.tell_all(Command::Start) {
            match report {
                Ok(remote) => workers.remotes.extend(remote),
                Err(failed) => failure = failure.or(Some(failed.into_error())),
            }
        }
        failure.map_or(Ok(workers), Err)
    }

    /// Runs `call` on every worker, soon.
    pub fn post_all(&self, call: WorkerCall) {
        for remote in &self.remotes {
            let call = Arc::clone(&call);
            remote.post(move |core| call(core));
        }
    }

    /// The mailboxes of the workers that run, in no order.
    pub fn remotes(&self) -> &[Arc<Remote>] {
        &self.remotes
    }

    /// How many workers have not ended.
    pub fn running(&self) -> usize {
        match self.process.is_here() {
            true => self.shared.running.load(Ordering::SeqCst),
            false => 0,
        }
    }

    /// Notified when the last worker has ended.
    pub fn event(&self) -> &Arc<Event> {
        &self.shared.event
    }

    /// Asks every worker to end with its current turn.
    pub fn stop(&self) {
        self.end_by(Arc::new(|core| core.stop()));
    }

    /// Asks every worker to end by `call`, which stops its core, soon or later.
    pub(crate) fn end_by(&self, call: WorkerCall) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        for remote in &self.remotes {
            let call = Arc::clone(&call);
            remote.post_own(move |core| call(core));
        }
    }

    /// Waits until every worker has ended.
    ///
    /// # Errors
    ///
    /// A worker ended that nobody had asked to: it panicked, or somebody stopped its core. The text
    /// names the first one, and what the panic said. This is a child of the process that started them.
    pub fn join(mut self) -> Result<(), Error> {
        self.join_all();
        if !self.process.is_here() {
            return Err(forked());
        }
        let mut failure = self
            .shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }

    fn join_all(&mut self) {
        if !self.process.is_here() {
            // A handle may name a thread that the child has made since.
            mem::forget(mem::take(&mut self.threads));
        }
        for thread in self.threads.drain(..) {
            // A panic was caught there, and is told by `join`.
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
        self.join_all();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("running", &self.running())
            .finish()
    }
}

/// What a worker is told until it has started.
#[derive(Clone, Copy)]
enum Command {
    /// Make a ring.
    Make(RingOptions),
    /// Give it up again.
    GiveUp,
    /// The rings of all stand.
    Start,
}

/// What a worker answers to a command: once it has started, with its core's mailbox.
type Report = Result<Option<Arc<Remote>>, Failed>;

/// Why a worker has not started.
enum Failed {
    Ring(SetupError),
    Start(Error),
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Failed::Ring(error) => error.into(),
            Failed::Start(error) => error.in_phase(Phase::Setup),
        }
    }
}

fn setup(text: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Setup, text).in_phase(Phase::Setup)
}

/// Leads the workers to their start.
struct Starter {
    commands: Vec<mpsc::Sender<Command>>,
    reports: mpsc::Receiver<Report>,
}

impl Starter {
    /// What all workers answer. All are heard even if one fails: the others must be stopped.
    fn tell_all(&self, command: Command) -> Vec<Report> {
        self.tell(&self.commands, command)
    }

    /// As [`Starter::tell_all`], one worker after the other.
    fn tell_each(&self, command: Command) -> Vec<Report> {
        let each = self.commands.chunks(1);
        each.flat_map(|one| self.tell(one, command)).collect()
    }

    fn tell(&self, workers: &[mpsc::Sender<Command>], command: Command) -> Vec<Report> {
        for worker in workers {
            // One that hears nothing has failed, and its report says so.
            let _ = worker.send(command);
        }
        self.reports.iter().take(workers.len()).collect()
    }

    /// Has every worker make a ring: where the memory that may be locked does not suffice for all,
    /// a smaller one, and that again for a while, since a ring is charged still when it was given
    /// up just now.
    fn make_rings(&self, engine: Engine) -> Result<(), Error> {
        let mut options = RingOptions {
            engine,
            ..RingOptions::WORKER
        };
        let mut retries = 0;
        loop {
            let make = Command::Make(options);
            let reports = match options.halved() {
                Some(_) => self.tell_all(make),
                // What one charges while it fails would take the room of another that fits.
                None => self.tell_each(make),
            };
            let count = reports.len();
            let mut fitting = 0;
            let mut lacking = None;
            let mut descriptors = None;
            for report in reports {
                match report {
                    Ok(_) => fitting += 1,
                    Err(Failed::Ring(error)) if error.is_memory() => lacking = Some(error),
                    Err(Failed::Ring(error)) if error.is_descriptors() => descriptors = Some(error),
                    Err(failed) => return Err(failed.into_error()),
                }
            }
            if let Some(error) = descriptors {
                let text = format!("{error}; of {count} workers {fitting} fit, and no connection");
                return Err(setup(text));
            }
            let Some(lacking) = lacking else {
                return Ok(());
            };
            match options.halved() {
                Some(smaller) => options = smaller,
                None if retries < RING_RETRIES_MAX => retries += 1,
                None if fitting == 0 => return Err(lacking.into()),
                None => {
                    return Err(setup(format!(
                        "{lacking}; of {count} workers {fitting} fit: ask for so many"
                    )));
                }
            }
            self.tell_all(Command::GiveUp);
            thread::sleep(RING_RETRY_PAUSE);
        }
    }
}

/// What one worker thread is given.
struct Body {
    index: usize,
    /// Of the thread.
    name: String,
    processor: Option<usize>,
    scope: Option<ThreadScope>,
    /// Taken by the core, and dropped with it: within the scope, where panics are told.
    start: Cell<Option<WorkerStart>>,
    commands: mpsc::Receiver<Command>,
    report: mpsc::Sender<Report>,
    has_started: Cell<bool>,
    shared: Arc<Shared>,
}

impl Body {
    fn run(self) {
        if let Some(processor) = self.processor {
            sys::pin_to(processor);
        }
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        let ended = Ended(Arc::clone(&self.shared));
        let outcome = caught(|| match &self.scope {
            Some(scope) => scope.run(|| self.run_core()),
            None => self.run_core(),
        })
        .unwrap_or_else(|panic| Err(self.panicked(&panic)));
        match outcome {
            Ok(()) => {}
            Err(error) if self.has_started.get() => self.shared.fail(error),
            Err(error) => self.report(Err(Failed::Start(error))),
        }
        drop(ended);
    }

    fn panicked(&self, text: &str) -> Error {
        let text = format!("worker {} panicked: {text}", self.name);
        match self.has_started.get() {
            true => Error::new(ErrorKind::Shutdown, text),
            false => setup(text),
        }
    }

    /// Tells the starter, who has gone when another worker failed.
    fn report(&self, report: Report) {
        let _ = self.report.send(report);
    }

    fn run_core(&self) -> Result<(), Error> {
        let start = self.start.take().expect("a worker runs once");
        let Some(runtime) = self.make_ring() else {
            return Ok(());
        };
        let core = runtime.core();
        runtime.enter(|| {
            start(core, self.index)?;
            self.has_started.set(true);
            self.report(Ok(Some(Arc::clone(core.remote()))));
            match caught(|| runtime.run()) {
                Ok(()) if self.shared.is_ending.load(Ordering::SeqCst) => {}
                Ok(()) => {
                    let text = format!("worker {} ended unasked: its core was stopped", self.name);
                    self.shared.fail(Error::new(ErrorKind::Shutdown, text));
                }
                Err(panic) => self.shared.fail(self.panicked(&panic)),
            }
            Ok(())
        })?
    }

    /// Makes rings as the starter says, until it says that the last one is to be used; `None` when
    /// the starter has given up.
    fn make_ring(&self) -> Option<Runtime> {
        let mut runtime = None;
        loop {
            match self.commands.recv().ok()? {
                Command::Start => return runtime,
                Command::GiveUp => runtime = None,
                Command::Make(options) => match Core::new(options) {
                    Ok(core) => runtime = Some(Runtime { core }),
                    Err(error) => {
                        self.report(Err(Failed::Ring(error)));
                        continue;
                    }
                },
            }
            self.report(Ok(None));
        }
    }
}

/// Counts a worker out, however it ended.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.event.notify();
        }
    }
}
