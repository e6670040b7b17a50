//! One thread per processor, each with its core.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::guard::panic_text;
use crate::limits::WORKERS_MAX;
use crate::ring::setup::RingOptions;
use crate::ring::sys;
use crate::ring::sys::Event;
use crate::runtime::Core;
use crate::runtime::Runtime;
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
    /// What each worker's thread stands in, from before its core is made until after the last drop.
    pub scope: Option<ThreadScope>,
}

impl Default for WorkerOptions {
    fn default() -> WorkerOptions {
        WorkerOptions {
            count: None,
            name: "roundtrip".to_owned(),
            pin: true,
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

/// Running workers. Dropped, they are stopped and waited for.
pub struct Workers {
    remotes: Vec<Arc<Remote>>,
    threads: Vec<JoinHandle<()>>,
    running: Arc<AtomicUsize>,
    /// Notified when the last worker has ended, and by whoever else wants the waiter's attention.
    event: Arc<Event>,
}

impl Workers {
    /// Starts them, and returns when `start` has succeeded on every one.
    ///
    /// # Errors
    ///
    /// The first error of a core or of `start`, or that of [`WorkerOptions::resolved_count`]; no
    /// worker runs then.
    pub fn start(options: &WorkerOptions, start: WorkerStart) -> Result<Workers, Error> {
        Workers::start_with(options, Arc::new(Event::new()?), start)
    }

    /// As [`Workers::start`], with the event that is notified when the last worker has ended.
    ///
    /// # Errors
    ///
    /// Those of [`Workers::start`].
    pub fn start_with(
        options: &WorkerOptions,
        event: Arc<Event>,
        start: WorkerStart,
    ) -> Result<Workers, Error> {
        let count = options.resolved_count()?;
        let processors = sys::affinity();
        let pin = options.pin && processors.len() == count;
        let mut workers = Workers {
            remotes: Vec::new(),
            threads: Vec::new(),
            running: Arc::new(AtomicUsize::new(0)),
            event,
        };
        let (report, reports) = mpsc::channel();
        let mut failure = None;
        for index in 0..count {
            let body = Body {
                index,
                processor: processors.get(index).copied().filter(|_| pin),
                start: Arc::clone(&start),
                report: Cell::new(Some(report.clone())),
                running: Arc::clone(&workers.running),
                event: Arc::clone(&workers.event),
            };
            let name = format!("{}-{index}", options.name);
            let scope = options.scope.clone();
            let spawned = start_thread(name, move || match scope {
                Some(scope) => scope.run(|| body.run()),
                None => body.run(),
            });
            match spawned {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => {
                    let text = "cannot start a worker thread";
                    failure = Some(Error::new(ErrorKind::Setup, text).because(error));
                    break;
                }
            }
        }
        drop(report);
        // Every one reports once. All are heard even if one failed: the others must be stopped.
        for report in reports {
            match report {
                Ok(remote) => workers.remotes.push(remote),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            None => Ok(workers),
            // Dropping `workers` stops those that run.
            Some(error) => Err(error.in_phase(Phase::Setup)),
        }
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
        self.running.load(Ordering::SeqCst)
    }

    /// Notified when the last worker has ended.
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// Asks every worker to end with its current turn.
    pub fn stop(&self) {
        for remote in &self.remotes {
            remote.post(|core| core.stop());
        }
    }

    /// Waits until every worker has ended.
    pub fn join(mut self) {
        self.join_all();
    }

    fn join_all(&mut self) {
        for thread in self.threads.drain(..) {
            // A worker that panicked has printed its message; the others end in order.
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

/// How a worker started: its core's mailbox, or why there is none.
type Report = Result<Arc<Remote>, Error>;

/// What one worker thread is given.
struct Body {
    index: usize,
    processor: Option<usize>,
    start: WorkerStart,
    /// Taken by the one report.
    report: Cell<Option<mpsc::Sender<Report>>>,
    running: Arc<AtomicUsize>,
    event: Arc<Event>,
}

impl Body {
    fn run(self) {
        if let Some(processor) = self.processor {
            sys::pin_to(processor);
        }
        self.running.fetch_add(1, Ordering::SeqCst);
        let ended = Ended {
            running: Arc::clone(&self.running),
            event: Arc::clone(&self.event),
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run_core()));
        let report = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(panic) => {
                let text = format!("a worker panicked: {}", panic_text(&*panic));
                Some(Error::new(ErrorKind::Setup, text))
            }
        };
        if let Some(error) = report {
            self.report(Err(error));
        }
        drop(ended);
    }

    /// Tells the starter how it went; a worker that started has done so already.
    fn report(&self, report: Report) {
        if let Some(sender) = self.report.take() {
            sender.send(report).expect("the starter hears all reports");
        }
    }

    fn run_core(&self) -> Result<(), Error> {
        let runtime = Runtime::with_options(RingOptions::WORKER)?;
        let core = runtime.core();
        runtime.enter(|| {
            (self.start)(core, self.index)?;
            self.report(Ok(Arc::clone(core.remote())));
            runtime.run();
            Ok(())
        })?
    }
}

/// Counts a worker out, however it ended.
struct Ended {
    running: Arc<AtomicUsize>,
    event: Arc<Event>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.event.notify();
        }
    }
}
