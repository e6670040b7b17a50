//! Work that blocks, on a bounded pool of threads that all cores share.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::limits::BLOCKING_IDLE_TIMEOUT;
use crate::limits::BLOCKING_QUEUE_MAX;
use crate::limits::BLOCKING_THREADS_MAX;
#[cfg(feature = "simulation")]
use crate::runtime::deferred;
use crate::runtime::executor::panic_text;
use crate::runtime::thread::start_thread;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(Pool::default)
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&'static self, job: Job) -> Result<(), Error> {
        let mut state = self.lock();
        if state.jobs.len() >= BLOCKING_QUEUE_MAX {
            return Err(too_many());
        }
        state.jobs.push_back(job);
        if state.jobs.len() > state.idle && state.threads < BLOCKING_THREADS_MAX {
            match start_thread("roundtrip-blocking", move || self.run()) {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    let job = state.jobs.pop_back();
                    drop(state);
                    drop(job);
                    return Err(Error::new(ErrorKind::Io, "cannot start a thread").because(error));
                }
            }
        }
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                run(job);
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let (next, wait) = self
                .work
                .wait_timeout(state, BLOCKING_IDLE_TIMEOUT)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            state.idle -= 1;
            if wait.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

/// Runs a job. What panics there (a waker, the drop of a result that nobody waits for) does not
/// end the thread: it would be missed.
pub(super) fn run(job: Job) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
        // A payload may panic in its drop as well.
        mem::forget(catch_unwind(AssertUnwindSafe(|| drop(payload))));
    }
}

/// The error of a queue that is full.
pub(super) fn too_many() -> Error {
    Error::new(
        ErrorKind::Limit,
        format!("{BLOCKING_QUEUE_MAX} blocking jobs wait already: block less, or elsewhere"),
    )
}

fn submit(job: Job) -> Result<(), Error> {
    #[cfg(feature = "simulation")]
    if deferred::is_wanted() {
        return deferred::submit(job);
    }
    pool().submit(job)
}

/// Runs `work`, which may block, on a thread of the pool, and gives its result.
///
/// Dropping the future does not stop work that has begun; its result is dropped.
///
/// # Errors
///
/// [`ErrorKind::Limit`] when too much waits already; [`ErrorKind::Canceled`] when `work` panicked.
pub fn blocking<T, W>(work: W) -> Blocking<T>
where
    W: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let shared = Arc::new(Mutex::new(Shared {
        result: None,
        waker: None,
    }));
    let theirs = Arc::clone(&shared);
    let job = Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
            let text = format!("the blocking work panicked: {}", panic_text(&*panic));
            Error::new(ErrorKind::Canceled, text)
        });
        let waker = {
            let mut shared = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            shared.result = Some(result);
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    });
    if let Err(error) = submit(job) {
        shared.lock().unwrap_or_else(PoisonError::into_inner).result = Some(Err(error));
    }
    Blocking { shared }
}

/// The future of [`blocking`].
pub struct Blocking<T> {
    shared: Arc<Mutex<Shared<T>>>,
}

struct Shared<T> {
    result: Option<Result<T, Error>>,
    waker: Option<Waker>,
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
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
        result.map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;

    struct PanicsInDrop;

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }

    #[test]
    fn results_that_panic_in_their_drop_cost_no_thread() {
        for _ in 0..=BLOCKING_THREADS_MAX {
            let work = || {
                std::thread::sleep(std::time::Duration::from_millis(1));
                PanicsInDrop
            };
            drop(blocking(work));
        }
        let runtime = Runtime::small().unwrap();
        assert_eq!(runtime.block_on(blocking(|| 7)).unwrap().unwrap(), 7);
    }
}
