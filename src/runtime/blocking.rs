//! Work that blocks, on threads that all cores share: a pool for each kind of work.
//!
//! ```text
//!   Class ─ LookUp, File, Listing, User ─► queue, with bounds of its own ─► a thread ─► result ─► waker
//!                                   └─ its asker went away: dropped, not run
//! ```
//! What is slow holds up its own kind alone: a name server that does not answer keeps no file from
//! being opened, and a disk that hangs no look-up.

mod queue;

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::guard;
use crate::guard::caught;
use crate::guard::guarded;
use crate::limits::BLOCKING_IDLE_TIMEOUT;
use crate::limits::BLOCKING_QUEUE_MAX;
use crate::limits::BLOCKING_THREADS_MAX;
use crate::limits::FILE_QUEUE_MAX;
use crate::limits::FILE_THREADS_MAX;
use crate::limits::LISTING_QUEUE_MAX;
use crate::limits::LISTING_THREADS_MAX;
use crate::limits::LOOKUP_QUEUE_MAX;
use crate::limits::LOOKUP_THREADS_MAX;
use crate::runtime::PerProcess;
use crate::runtime::Process;
use crate::runtime::current::forked;
#[cfg(feature = "simulation")]
use crate::runtime::deferred;
use crate::runtime::thread::start_thread;

pub(super) use crate::runtime::blocking::queue::Bounds;
pub(super) use crate::runtime::blocking::queue::Job;
pub(super) use crate::runtime::blocking::queue::Queue;

/// A kind of work that blocks. None of them waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Looking names up (getaddrinfo(3)).
    LookUp,
    /// Opening, reading and writing files.
    File,
    /// Listing directories, each of which may be thousands of calls.
    Listing,
    /// What users give to [`blocking`].
    User,
}

/// How many classes there are.
pub(super) const CLASSES: usize = 4;

/// What [`set_blocking_limits`] was told.
static USER_THREADS_MAX: AtomicUsize = AtomicUsize::new(BLOCKING_THREADS_MAX);
static USER_QUEUE_MAX: AtomicUsize = AtomicUsize::new(BLOCKING_QUEUE_MAX);

impl Class {
    pub(super) fn bounds(self) -> Bounds {
        let (threads_max, waiting_max) = match self {
            Class::LookUp => (LOOKUP_THREADS_MAX, LOOKUP_QUEUE_MAX),
            Class::File => (FILE_THREADS_MAX, FILE_QUEUE_MAX),
            Class::Listing => (LISTING_THREADS_MAX, LISTING_QUEUE_MAX),
            Class::User => (
                USER_THREADS_MAX.load(Ordering::Relaxed),
                USER_QUEUE_MAX.load(Ordering::Relaxed),
            ),
        };
        Bounds {
            threads_max,
            waiting_max,
        }
    }

    /// At most fifteen bytes: the kernel cuts the rest.
    fn thread_name(self) -> &'static str {
        match self {
            Class::LookUp => "roundtrip-names",
            Class::File => "roundtrip-files",
            Class::Listing => "roundtrip-lists",
            Class::User => "roundtrip-block",
        }
    }

    fn work(self) -> &'static str {
        match self {
            Class::LookUp => "look-ups of names",
            Class::File => "operations on files",
            Class::Listing => "listings of directories",
            Class::User => "pieces of blocking work",
        }
    }
}

/// How much blocking work of the program may run and wait at a time: see [`set_blocking_limits`].
///
/// ```
/// use roundtrip::runtime;
/// use roundtrip::runtime::BlockingLimits;
///
/// runtime::set_blocking_limits(BlockingLimits {
///     threads: 200,
///     ..BlockingLimits::default()
/// })?;
/// # Ok::<(), roundtrip::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockingLimits {
    /// Threads that run it, 64 by default. They are made when there is work for them, and end after
    /// ten idle seconds. For work that waits (a database) about as many as it takes side by side, for
    /// work that computes about as many as there are processors.
    pub threads: usize,
    /// Jobs that may wait for a thread, 4,096 by default. With zero, what finds no thread free is
    /// refused.
    pub waiting: usize,
}

impl Default for BlockingLimits {
    fn default() -> BlockingLimits {
        BlockingLimits {
            threads: BLOCKING_THREADS_MAX,
            waiting: BLOCKING_QUEUE_MAX,
        }
    }
}

/// Sets how much of what is given to [`blocking`] may run and wait at a time, for the whole process
/// and from now on. What this crate does by itself, looking names up and opening files, has threads
/// of its own and is not affected.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] without a thread: nothing would ever run.
pub fn set_blocking_limits(limits: BlockingLimits) -> Result<(), Error> {
    if limits.threads == 0 {
        return Err(Error::new(
            ErrorKind::Invalid,
            "blocking work needs at least one thread (BlockingLimits::threads)",
        ));
    }
    USER_THREADS_MAX.store(limits.threads, Ordering::Relaxed);
    USER_QUEUE_MAX.store(limits.waiting, Ordering::Relaxed);
    Ok(())
}

/// The threads of one class, and what waits for them.
struct Pool {
    class: Class,
    queue: Mutex<Queue>,
    work: Condvar,
}

/// A child of fork(2) has none of the threads, and begins with pools of its own.
static POOLS: PerProcess<[Pool; CLASSES]> =
    PerProcess::new(|| [Class::LookUp, Class::File, Class::Listing, Class::User].map(Pool::new));

fn pool(class: Class) -> &'static Pool {
    let pool = &POOLS.get()[class as usize];
    assert!(
        pool.class == class,
        "the pools stand in the order of the classes"
    );
    pool
}

impl Pool {
    fn new(class: Class) -> Pool {
        Pool {
            class,
            queue: Mutex::new(Queue::new()),
            work: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&'static self, job: Job) -> Result<u64, Error> {
        let bounds = self.class.bounds();
        let mut queue = self.lock();
        let number = match queue.push(job, bounds) {
            Ok(number) => number,
            Err(job) => {
                drop(queue);
                discard(job);
                return Err(too_many(self.class));
            }
        };
        if queue.wants_thread(bounds) {
            match start_thread(self.class.thread_name(), move || self.run()) {
                Ok(_) => queue.add_thread(),
                Err(_) if queue.has_threads() => {}
                Err(error) => {
                    let job = queue.remove(number);
                    drop(queue);
                    job.into_iter().for_each(discard);
                    let text = format!("no thread can be started for {}", self.class.work());
                    return Err(not_begun(text).because(error));
                }
            }
        }
        drop(queue);
        self.work.notify_one();
        Ok(number)
    }

    fn run(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.take() {
                drop(queue);
                run(job);
                queue = self.lock();
                // The limit was lowered. Whoever is idle has been told of what waits.
                if queue.finish(self.class.bounds()) {
                    queue.end_thread();
                    return;
                }
                continue;
            }
            let (next, wait) = self
                .work
                .wait_timeout(queue, BLOCKING_IDLE_TIMEOUT)
                .unwrap_or_else(PoisonError::into_inner);
            queue = next;
            if wait.timed_out() && queue.is_empty() {
                queue.end_thread();
                return;
            }
        }
    }
}

/// Runs a job. What panics there (the drop of a result that nobody waits for) does not end the
/// thread: it would be missed.
pub(super) fn run(job: Job) {
    let _ = guarded(job);
}

/// Drops a job that does not run: what it owns is of users.
pub(super) fn discard(job: Job) {
    run(Box::new(move || drop(job)));
}

/// The error of a queue that is full.
pub(super) fn too_many(class: Class) -> Error {
    not_begun(format!("too many {} wait already", class.work())).because(Full(class))
}

/// Work that did not begin: it may be tried again later, and nothing is known of what it asks for.
fn not_begun(text: String) -> Error {
    Error::new(ErrorKind::Limit, text).answered(StatusCode::SERVICE_UNAVAILABLE)
}

/// What of a class there was when its queue was full: for operators, not for clients.
#[derive(Debug)]
struct Full(Class);

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = self.0.bounds();
        let (waiting, threads) = (bounds.waiting_max, bounds.threads_max);
        write!(f, "{waiting} wait for {threads} threads")?;
        match self.0 {
            Class::User => f.write_str(" (runtime::set_blocking_limits)"),
            Class::LookUp | Class::File | Class::Listing => Ok(()),
        }
    }
}

impl std::error::Error for Full {}

/// A job that was queued, for who may give it up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    class: Class,
    number: u64,
}

impl Ticket {
    /// Nobody wants the job any more: one that has not begun is dropped here instead of being run, and
    /// this is true.
    pub(crate) fn give_up(self) -> bool {
        let job = self.in_queue(|queue| queue.remove(self.number));
        job.map(discard).is_some()
    }

    /// True when the job has not begun.
    pub(crate) fn is_waiting(self) -> bool {
        self.in_queue(|queue| queue.has(self.number))
    }

    fn in_queue<T>(self, call: impl FnOnce(&mut Queue) -> T) -> T {
        #[cfg(feature = "simulation")]
        if deferred::is_wanted() {
            return deferred::with(self.class, call);
        }
        call(&mut pool(self.class).lock())
    }
}

/// Runs a job on a thread of its class. A panic of it is its own.
///
/// # Errors
///
/// It will not run, and is dropped: as for [`blocking`].
pub(crate) fn submit(class: Class, job: impl FnOnce() + Send + 'static) -> Result<Ticket, Error> {
    let job = Box::new(job);
    #[cfg(feature = "simulation")]
    if deferred::is_wanted() {
        let number = deferred::submit(class, job)?;
        return Ok(Ticket { class, number });
    }
    let number = pool(class).submit(job)?;
    Ok(Ticket { class, number })
}

/// Runs `work`, which may block, on another thread, and gives its result. What the program gives
/// here has threads of its own, 64 at most; further work waits for one in order
/// ([`set_blocking_limits`]).
///
/// Work begins without being awaited. When the future is dropped, work that has not begun is dropped
/// with it; what has begun goes on, and its result is dropped. Work that is to be done whatever
/// becomes of who asked for it belongs to a task: `spawn(blocking(…))`.
///
/// # Errors
///
/// [`ErrorKind::Limit`] when too much waits already, or no thread can be started: `work` was not run
/// then, and a server answers 503. [`ErrorKind::Canceled`] when `work` panicked.
/// [`ErrorKind::Shutdown`] in a child of fork(2), of work that was given before.
pub fn blocking<T, W>(work: W) -> Blocking<T>
where
    W: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    blocking_in(Class::User, work)
}

/// As [`blocking`], among other work of this class.
pub(crate) fn blocking_in<T, W>(class: Class, work: W) -> Blocking<T>
where
    W: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let shared = Arc::new(Mutex::new(Shared {
        result: None,
        waker: None,
    }));
    let theirs = Arc::clone(&shared);
    let submitted = submit(class, move || {
        let result = caught(work).map_err(|panic| Error::panicked("the blocking work", &panic));
        let waker = {
            let mut shared = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            shared.result = Some(result);
            shared.waker.take()
        };
        guard::wake(waker);
    });
    let ticket = submitted.map_err(|error| {
        shared.lock().unwrap_or_else(PoisonError::into_inner).result = Some(Err(error));
    });
    Blocking {
        process: Process::here(),
        shared,
        ticket: ticket.ok(),
    }
}

/// The future of [`blocking`].
#[must_use = "dropped, work that has not begun is not done"]
pub struct Blocking<T> {
    process: Process,
    shared: Arc<Mutex<Shared<T>>>,
    /// `None` once the result was taken.
    ticket: Option<Ticket>,
}

struct Shared<T> {
    result: Option<Result<T, Error>>,
    waker: Option<Waker>,
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.process.is_here() {
            return Poll::Ready(Err(forked()));
        }
        // Wakers may be of users: they are cloned and dropped while nothing is locked.
        let mut waker = Some(context.waker().clone());
        let result = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            let result = shared.result.take();
            if result.is_none() {
                mem::swap(&mut shared.waker, &mut waker);
            }
            result
        };
        drop(waker);
        let Some(result) = result else {
            return Poll::Pending;
        };
        self.ticket = None;
        Poll::Ready(result)
    }
}

impl<T> Drop for Blocking<T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::runtime::Runtime;

    const SOON: Duration = Duration::from_secs(20);

    struct PanicsInDrop;

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }

    #[test]
    fn results_that_panic_in_their_drop_cost_no_thread() {
        for _ in 0..=FILE_THREADS_MAX {
            let (begins, begun) = mpsc::channel();
            let (dropped, is_dropped) = mpsc::channel::<()>();
            let work = blocking_in(Class::File, move || {
                begins.send(()).unwrap();
                let _ = is_dropped.recv();
                PanicsInDrop
            });
            begun.recv_timeout(SOON).unwrap();
            drop(work);
            drop(dropped);
        }
        let runtime = Runtime::small().unwrap();
        let work = blocking_in(Class::File, || 7);
        assert_eq!(runtime.block_on(work).unwrap().unwrap(), 7);
    }

    /// Of work that takes all threads of its class, and of what waits behind it.
    #[test]
    fn a_class_holds_up_none_of_the_others_and_skips_what_nobody_wants() {
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let hung: Vec<_> = (0..LOOKUP_THREADS_MAX)
            .map(|_| {
                let released = Arc::clone(&released);
                let hang = move || released.lock().unwrap().recv();
                blocking_in(Class::LookUp, hang)
            })
            .collect();
        let (sender, receiver) = mpsc::channel();
        let (unwanted, wanted) = (sender.clone(), sender.clone());
        let held = PanicsInDrop;
        let unwanted = blocking_in(Class::LookUp, move || {
            let _ = (&held, unwanted.send("unwanted"));
        });
        let wanted = blocking_in(Class::LookUp, move || wanted.send("wanted"));
        let runtime = Runtime::small().unwrap();
        for class in [Class::File, Class::Listing, Class::User] {
            let work = blocking_in(class, move || class);
            assert_eq!(runtime.block_on(work).unwrap().unwrap(), class);
        }
        // What it owns panics in its drop: here, where it is caught.
        drop(unwanted);
        drop(release);
        runtime.block_on(wanted).unwrap().unwrap().unwrap();
        drop((sender, hung));
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["wanted"]);
    }

    #[test]
    fn without_a_thread_nothing_would_run() {
        let none = BlockingLimits {
            threads: 0,
            ..BlockingLimits::default()
        };
        let error = set_blocking_limits(none).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
