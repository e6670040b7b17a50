//! Blocking work of a simulation: no threads, but queues as the pool has them, and the delays of the
//! simulated kernel.
//!
//! ```text
//!   submit ─► queue of the class ─► a simulated thread ─ a while ─► takes the oldest job ─► runs it
//!                                         ▲                           as long as its class takes │
//!                                         └────────────── more waits ───────────────────────────┘
//! ```

use std::cell::RefCell;

use crate::error::Error;
use crate::ring::sim::WORK_CLASSES;
use crate::ring::sim::calls;
use crate::runtime::blocking::CLASSES;
use crate::runtime::blocking::Class;
use crate::runtime::blocking::Job;
use crate::runtime::blocking::Queue;
use crate::runtime::blocking::discard;
use crate::runtime::blocking::run;
use crate::runtime::blocking::too_many;
use crate::runtime::current;

const _: () = assert!(CLASSES == WORK_CLASSES);

thread_local! {
    /// The jobs of this thread's simulation, which has no other thread.
    static QUEUES: [RefCell<Queue>; CLASSES] =
        const { [const { RefCell::new(Queue::new()) }; CLASSES] };
}

/// Calls for the queue of a class.
pub(super) fn with<T>(class: Class, call: impl FnOnce(&mut Queue) -> T) -> T {
    QUEUES.with(|queues| call(&mut queues[class as usize].borrow_mut()))
}

/// True when a simulation runs on this thread.
pub(super) fn is_wanted() -> bool {
    calls::is_installed()
}

/// Runs `job` later, from within the simulated kernel, as on a thread without a core.
///
/// # Errors
///
/// As for the pool: too many wait already.
pub(super) fn submit(class: Class, job: Job) -> Result<u64, Error> {
    let bounds = class.bounds();
    let (pushed, wants_thread) = with(class, |queue| {
        let pushed = queue.push(job, bounds);
        (pushed, queue.wants_thread(bounds))
    });
    let number = pushed.map_err(|job| {
        discard(job);
        too_many(class)
    })?;
    if wants_thread {
        Thread::begin(class).go_on();
    }
    Ok(number)
}

/// A thread of the simulated pool, which lives in what the simulated kernel is to do.
struct Thread {
    class: Class,
    has_job: bool,
}

impl Thread {
    fn begin(class: Class) -> Thread {
        with(class, Queue::add_thread);
        Thread {
            class,
            has_job: false,
        }
    }

    /// Takes the job that waits longest, a while from now. Until then it can be given up.
    fn go_on(mut self) {
        defer(None, move || {
            let class = self.class;
            let Some(job) = with(class, Queue::take) else {
                return;
            };
            self.has_job = true;
            let work = move || {
                current::hidden(|| run(job));
                if !self.finish() {
                    self.go_on();
                }
            };
            match calls::takes_time(class as usize) {
                true => defer(Some(class), work),
                false => work(),
            }
        });
    }

    /// The job is done. True when this thread has no more to do.
    fn finish(&mut self) -> bool {
        self.has_job = false;
        let bounds = self.class.bounds();
        with(self.class, |queue| queue.finish(bounds) || queue.is_empty())
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if self.has_job {
            self.finish();
        }
        // Where jobs are left, the simulation ended before its work did.
        let left = with(self.class, |queue| {
            queue.end_thread().then(|| queue.take_all())
        });
        left.into_iter().flatten().for_each(discard);
    }
}

fn defer(class: Option<Class>, job: impl FnOnce() + Send + 'static) {
    let deferred = calls::defer(class.map(|class| class as usize), Box::new(job));
    assert!(deferred.is_ok(), "the simulation ended during a call");
}
