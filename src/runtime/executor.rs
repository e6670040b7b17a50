//! Tasks: futures that this core polls when their waker fires.
//!
//! ```text
//!   spawn ─► slab of tasks ─► ready list ─► poll ─► done: JoinHandle
//!                 ▲                           │
//!                 └──────── pending ◄─────────┘
//! ```

use std::cell::Cell;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use slab::Slab;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::guard;
use crate::guard::catching;
use crate::guard::guarded;
use crate::guard::guarded_drop;
use crate::reactor::OwnerId;
use crate::reactor::operation::Completion;
use crate::runtime::Core;
use crate::runtime::Owner;
use crate::runtime::Process;
use crate::runtime::current;
use crate::runtime::remote::WakeTarget;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The key of the future that `block_on` polls itself.
const MAIN: u64 = u64::MAX;

/// The tasks of one core.
pub(super) struct Executor {
    process: Process,
    tasks: RefCell<Slab<Task>>,
    /// The generation of the next task, so that a late wake-up finds nobody else.
    generation: Cell<u32>,
    /// True exactly when the main future's waker fired since it was last polled.
    main_woken: Rc<Cell<bool>>,
    /// Made once: futures of `block_on` come one after the other, and are woken once too often
    /// rather than never.
    main: OnceCell<(Arc<WakeTarget>, Waker)>,
    id: Cell<OwnerId>,
}

struct Task {
    /// Out of its place while it is polled.
    future: Option<LocalFuture>,
    generation: u32,
    target: Arc<WakeTarget>,
    waker: Waker,
    /// Aborted from within its own poll.
    aborted: bool,
}

impl Executor {
    pub(super) fn of(core: &Rc<Core>) -> Rc<Executor> {
        core.local(|core| {
            let executor = Rc::new(Executor {
                process: Process::here(),
                tasks: RefCell::new(Slab::new()),
                generation: Cell::new(0),
                main_woken: Rc::new(Cell::new(true)),
                main: OnceCell::new(),
                id: Cell::new(OwnerId(0)),
            });
            executor
                .id
                .set(core.register(Rc::clone(&executor) as Rc<dyn Owner>));
            executor
        })
    }

    /// Set whenever the future of `block_on` should be polled.
    pub(super) fn main_woken(&self) -> &Rc<Cell<bool>> {
        &self.main_woken
    }

    /// How the future of `block_on` is woken.
    pub(super) fn main(&self, core: &Core) -> &(Arc<WakeTarget>, Waker) {
        self.main.get_or_init(|| {
            let target = core.remote().waker_target(self.id.get(), MAIN);
            let waker = target.waker();
            (target, waker)
        })
    }

    fn spawn(&self, core: &Core, future: LocalFuture) -> u64 {
        let generation = self.generation.get();
        self.generation.set(generation.wrapping_add(1));
        let mut tasks = self.tasks.borrow_mut();
        let entry = tasks.vacant_entry();
        let index = u32::try_from(entry.key()).expect("fewer than 2^32 tasks");
        let key = task_key(index, generation);
        let target = core.remote().waker_target(self.id.get(), key);
        let waker = target.waker();
        entry.insert(Task {
            future: Some(future),
            generation,
            target,
            waker,
            aborted: false,
        });
        drop(tasks);
        core.schedule(self.id.get(), key);
        key
    }

    fn poll(&self, key: u64) {
        let index = key as u32 as usize;
        let (mut future, waker) = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(index) else {
                return;
            };
            if task.generation != (key >> 32) as u32 {
                return;
            }
            task.target.begin();
            let Some(future) = task.future.take() else {
                return;
            };
            (future, task.waker.clone())
        };
        // What panics here is the drop of a result that nobody waits for.
        let poll = guarded(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks
            .get_mut(index)
            .expect("a task stays in its place while it is polled");
        if poll == Some(Poll::Pending) && !task.aborted {
            task.future = Some(future);
            return;
        }
        let task = tasks.remove(index);
        // User code runs when they are dropped: not while the table is borrowed.
        drop(tasks);
        guarded_drop(future);
        guarded_drop(task);
    }

    fn abort(&self, key: u64) {
        let index = key as u32 as usize;
        let mut tasks = self.tasks.borrow_mut();
        let Some(task) = tasks.get_mut(index) else {
            return;
        };
        if task.generation != (key >> 32) as u32 {
            return;
        }
        if task.future.is_none() {
            task.aborted = true;
            return;
        }
        let task = tasks.remove(index);
        drop(tasks);
        guarded_drop(task);
    }
}

impl Owner for Executor {
    fn completed(&self, _core: &Rc<Core>, key: u64, _completion: Completion) {
        panic!("the executor submits no operations, but {key} completed");
    }

    fn expired(&self, _core: &Rc<Core>, key: u64) {
        panic!("the executor sets no timers, but {key} passed");
    }

    fn ready(&self, _core: &Rc<Core>, key: u64) {
        if key == MAIN {
            self.main_woken.set(true);
        } else {
            self.poll(key);
        }
    }

    fn close(&self, _core: &Rc<Core>) {
        // Dropping a task may spawn another: again until there are none.
        loop {
            let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            if tasks.is_empty() {
                return;
            }
            tasks.into_iter().for_each(guarded_drop);
        }
    }
}

fn task_key(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

/// Runs a future on this core beside the caller. It need not be `Send`.
///
/// Dropping the handle lets the task run on. The task is dropped when the core ends.
///
/// # Panics
///
/// No core runs on this thread.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let core = Core::current().expect("spawn needs a core on this thread: use it within block_on");
    let state = Rc::new(JoinState {
        outcome: RefCell::new(Outcome::Running(None)),
    });
    let guard = TaskGuard {
        state: Rc::clone(&state),
    };
    let task = async move {
        let result = catching(future).await;
        guard.state.finish(match result {
            Ok(value) => Outcome::Done(value),
            Err(panic) => Outcome::Panicked(panic),
        });
    };
    let executor = Executor::of(&core);
    let key = executor.spawn(&core, Box::pin(task));
    JoinHandle {
        state,
        executor,
        key,
    }
}

/// A task's result, to be awaited: an error if the task was aborted or panicked.
pub struct JoinHandle<T> {
    state: Rc<JoinState<T>>,
    executor: Rc<Executor>,
    key: u64,
}

impl<T> JoinHandle<T> {
    /// Drops the task where it stands. Awaiting the handle then gives an error, unless the task
    /// had finished.
    pub fn abort(&self) {
        self.executor.abort(self.key);
    }

    /// True when the task has finished, was aborted, or panicked.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.state.outcome.borrow(), Outcome::Running(_))
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Wakers may be of users: they are cloned and dropped while nothing is borrowed.
        match self.state.outcome.replace(Outcome::Taken) {
            Outcome::Running(_) if !self.executor.process.is_here() => {
                Poll::Ready(Err(current::forked()))
            }
            Outcome::Running(_) => {
                let running = Outcome::Running(Some(context.waker().clone()));
                self.state.outcome.replace(running);
                Poll::Pending
            }
            Outcome::Done(value) => Poll::Ready(Ok(value)),
            Outcome::Aborted => {
                Poll::Ready(Err(Error::new(ErrorKind::Canceled, "the task was aborted")))
            }
            Outcome::Panicked(text) => Poll::Ready(Err(Error::panicked("the task", &text))),
            Outcome::Taken => panic!("a JoinHandle is polled after it gave its result"),
        }
    }
}

struct JoinState<T> {
    outcome: RefCell<Outcome<T>>,
}

enum Outcome<T> {
    Running(Option<Waker>),
    Done(T),
    Panicked(String),
    Aborted,
    Taken,
}

impl<T> JoinState<T> {
    fn finish(&self, outcome: Outcome<T>) {
        let before = self.outcome.replace(outcome);
        if let Outcome::Running(waker) = before {
            guard::wake(waker);
        }
    }
}

/// Tells the handle when the task is dropped before its end.
struct TaskGuard<T> {
    state: Rc<JoinState<T>>,
}

impl<T> Drop for TaskGuard<T> {
    fn drop(&mut self) {
        if matches!(*self.state.outcome.borrow(), Outcome::Running(_)) {
            self.state.finish(Outcome::Aborted);
        }
    }
}

/// Lets everything else that is ready run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
