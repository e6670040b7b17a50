//! Jobs of one class that wait, and what is known of the threads that run them. Knows no threads:
//! the pool has some, the simulated kernel none.
//!
//! ```text
//!   push ─► waiting ─┬─ take ───► runs
//!                    └─ remove ─► nobody wants it any more: dropped where it was given up
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Work that may block.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The number of the next job, over all queues: a number that is looked for in the wrong queue, or
/// after a fork, is nobody else's there.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// How much of one class may run, and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) threads_max: usize,
    pub(crate) waiting_max: usize,
}

/// The jobs of one class.
pub(crate) struct Queue {
    /// In order of their numbers, which is that of their coming.
    jobs: BTreeMap<u64, Job>,
    threads: usize,
    /// Those of `threads` that run no job: they wait, or are about to look for one.
    idle: usize,
}

impl Queue {
    pub(crate) const fn new() -> Queue {
        Queue {
            jobs: BTreeMap::new(),
            threads: 0,
            idle: 0,
        }
    }

    /// Queues a job, and says by which number it can be removed.
    ///
    /// # Errors
    ///
    /// Gives the job back when too many wait. Those for which there is a thread, or may be one at
    /// once, do not count.
    pub(crate) fn push(&mut self, job: Job, bounds: Bounds) -> Result<u64, Job> {
        let free = self.idle + bounds.threads_max.saturating_sub(self.threads);
        if self.jobs.len() >= bounds.waiting_max.saturating_add(free) {
            return Err(job);
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let before = self.jobs.insert(number, job);
        assert!(before.is_none(), "the number of a job is used twice");
        Ok(number)
    }

    /// True when one more thread would have something to do, and may be made.
    pub(crate) fn wants_thread(&self, bounds: Bounds) -> bool {
        self.jobs.len() > self.idle && self.threads < bounds.threads_max
    }

    /// A thread was made, and will look for a job.
    pub(crate) fn add_thread(&mut self) {
        self.threads += 1;
        self.idle += 1;
    }

    /// A thread ends that ran no job. True when it was the last.
    pub(crate) fn end_thread(&mut self) -> bool {
        assert!(self.idle > 0, "a thread ends that was not idle");
        self.idle -= 1;
        self.threads -= 1;
        self.threads == 0
    }

    /// A thread takes the job that waits longest.
    pub(crate) fn take(&mut self) -> Option<Job> {
        let (_, job) = self.jobs.pop_first()?;
        assert!(self.idle > 0, "a job is taken by nobody");
        self.idle -= 1;
        Some(job)
    }

    /// A thread has done its job. True when it is one too many.
    pub(crate) fn finish(&mut self, bounds: Bounds) -> bool {
        assert!(self.idle < self.threads, "a job was done by nobody");
        self.idle += 1;
        self.threads > bounds.threads_max
    }

    /// All jobs that wait, when there is nobody to run them.
    #[cfg(feature = "simulation")]
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Job> + use<> {
        assert!(self.threads == 0, "threads will take them");
        std::mem::take(&mut self.jobs).into_values()
    }

    /// A job that has not begun.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Job> {
        self.jobs.remove(&number)
    }

    /// True when this job waits.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.jobs.contains_key(&number)
    }

    pub(crate) fn has_threads(&self) -> bool {
        self.threads > 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        threads_max: 2,
        waiting_max: 1,
    };

    #[test]
    fn those_with_a_thread_do_not_count_as_waiting() {
        let mut queue = Queue::new();
        let push = |queue: &mut Queue| queue.push(Box::new(|| ()), BOUNDS).is_ok();
        for _ in 0..BOUNDS.threads_max {
            assert!(push(&mut queue) && queue.wants_thread(BOUNDS));
            queue.add_thread();
        }
        assert!(push(&mut queue), "one may wait");
        assert!(
            !push(&mut queue),
            "two threads have a job each, and one waits"
        );
        assert!(!queue.wants_thread(BOUNDS));
        assert!(queue.take().is_some());
        assert!(
            !push(&mut queue),
            "it does not wait any more, but another one gets that thread"
        );
        assert!(!queue.finish(BOUNDS));
        assert!(push(&mut queue));
        // One thread is enough from now on.
        assert!(queue.take().is_some());
        assert!(queue.finish(Bounds {
            threads_max: 1,
            ..BOUNDS
        }));
        assert!(!queue.end_thread());
        assert!(!queue.wants_thread(BOUNDS) || queue.jobs.len() > 1);
    }

    #[test]
    fn what_is_removed_is_not_taken() {
        let mut queue = Queue::new();
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut push = |name: &'static str| {
            let sender = sender.clone();
            let job = Box::new(move || sender.send(name).unwrap());
            let pushed = queue.push(job, BOUNDS);
            if queue.wants_thread(BOUNDS) {
                queue.add_thread();
            }
            pushed.unwrap_or_else(|_| panic!("there is room"))
        };
        let numbers = ["a", "b", "c"].map(&mut push);
        assert!(queue.remove(numbers[1]).is_some());
        assert!(queue.remove(numbers[1]).is_none());
        while let Some(job) = queue.take() {
            job();
            queue.finish(BOUNDS);
        }
        assert!(queue.is_empty() && !queue.end_thread() && queue.end_thread());
        drop(sender);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["a", "c"]);
    }
}
