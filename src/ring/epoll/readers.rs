//! Threads of the process that read files where a disk may have to be waited for.
//!
//! ```text
//!   Job::start ─► queue ─► thread: pread(2) ─► Mailbox of the engine ─► its eventfd ─► enter
//!                   └─ Job::take_back: as long as no thread has it
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;
use std::thread;

use crate::limits::BLOCKING_IDLE_TIMEOUT;
use crate::limits::READER_THREADS_MAX;
use crate::ring::epoll::calls;
use crate::ring::sys::Event;
use crate::ring::sys::PerProcess;
use crate::ring::token::Token;

/// Of a job that no thread has.
const QUEUED: u8 = 0;
/// Of a job that a thread has, or had.
const BEGUN: u8 = 1;
/// Of a job that was taken back.
const TAKEN_BACK: u8 = 2;

/// One read.
pub(super) struct Job {
    token: Token,
    fd: RawFd,
    start: *mut u8,
    bytes: u32,
    offset: u64,
    state: AtomicU8,
    mailbox: Arc<Mailbox>,
}

// SAFETY: the memory behind `start` is nobody's but the thread's that made the job `BEGUN`
// (`Job::new`); all else is shared as it is.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

impl Job {
    /// A read of `bytes` bytes at `offset`.
    ///
    /// # Safety
    ///
    /// The memory may be written, by any thread, and `fd` stays open, until the job's result was taken
    /// from the mailbox or [`Job::take_back`] was true.
    pub(super) unsafe fn new(
        token: Token,
        fd: RawFd,
        start: *mut u8,
        bytes: u32,
        offset: u64,
        mailbox: Arc<Mailbox>,
    ) -> Arc<Job> {
        Arc::new(Job {
            token,
            fd,
            start,
            bytes,
            offset,
            state: AtomicU8::new(QUEUED),
            mailbox,
        })
    }

    /// Gives the job to a thread.
    pub(super) fn start(self: Arc<Self>) {
        Readers::get().take(self);
    }

    /// Takes the job back: true when no thread has begun it, and none will.
    pub(super) fn take_back(&self) -> bool {
        self.become_state(TAKEN_BACK)
    }

    fn become_state(&self, state: u8) -> bool {
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let changed = self.state.compare_exchange(QUEUED, state, order.0, order.1);
        changed.is_ok()
    }

    fn run(&self) {
        if !self.become_state(BEGUN) {
            return;
        }
        let answer = loop {
            // SAFETY: `new` was promised this until the result is taken.
            match unsafe { calls::read_at(self.fd, self.start, self.bytes, self.offset) } {
                Err(libc::EINTR) => {}
                answer => break answer,
            }
        };
        let result = answer.map_or_else(|errno| -errno, |bytes| bytes as i32);
        self.mailbox.put(self.token, result);
    }
}

/// Where threads leave results for one engine.
pub(super) struct Mailbox {
    results: Mutex<Vec<(Token, i32)>>,
    event: Event,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Mailbox> {
        Ok(Mailbox {
            results: Mutex::new(Vec::new()),
            event: Event::new()?,
        })
    }

    /// The eventfd(2) that is notified.
    pub(super) fn fd(&self) -> RawFd {
        self.event.raw()
    }

    fn put(&self, token: Token, result: i32) {
        let was_empty = {
            let mut results = lock(&self.results);
            results.push((token, result));
            results.len() == 1
        };
        if was_empty {
            self.event.notify();
        }
    }

    /// The results so far. Edge-triggered, the event need not be read: each notification is a new one.
    pub(super) fn take(&self) -> Vec<(Token, i32)> {
        std::mem::take(&mut lock(&self.results))
    }
}

/// The threads of this process, made when they are needed.
struct Readers {
    queue: Mutex<Queue>,
    is_filled: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Arc<Job>>,
    threads: usize,
    idle: usize,
}

impl Readers {
    fn get() -> &'static Readers {
        static READERS: PerProcess<Readers> = PerProcess::new(|| Readers {
            queue: Mutex::new(Queue::default()),
            is_filled: Condvar::new(),
        });
        READERS.get()
    }

    fn take(&'static self, job: Arc<Job>) {
        let mut queue = lock(&self.queue);
        queue.jobs.push_back(job);
        if queue.idle >= queue.jobs.len() || queue.threads == READER_THREADS_MAX {
            drop(queue);
            self.is_filled.notify_one();
            return;
        }
        queue.threads += 1;
        let is_only = queue.threads == 1;
        drop(queue);
        let thread = thread::Builder::new().name("roundtrip-read".to_owned());
        if thread.spawn(|| self.work()).is_err() {
            lock(&self.queue).threads -= 1;
            if is_only {
                // Slow is better than never.
                self.run_queued();
            }
        }
    }

    fn run_queued(&self) {
        loop {
            let job = lock(&self.queue).jobs.pop_front();
            let Some(job) = job else { return };
            job.run();
        }
    }

    fn work(&self) {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job.run();
                queue = lock(&self.queue);
                continue;
            }
            queue.idle += 1;
            let waited = self.is_filled.wait_timeout(queue, BLOCKING_IDLE_TIMEOUT);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = again;
            queue.idle -= 1;
            if timeout.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
