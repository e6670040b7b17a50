//! One core: everything that belongs to one worker thread, and its loop.

use std::any::Any;
use std::any::TypeId;
use std::cell::Cell;
use std::cell::RefCell;
use std::cell::RefMut;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use crate::guard;
use crate::guard::guarded_drop;
use crate::limits::INLINE_SEND_COMPLETIONS_MAX;
use crate::limits::READY_PER_TURN;
use crate::reactor::Counters;
use crate::reactor::OwnerId;
use crate::reactor::Reactor;
use crate::reactor::operation::Completion;
use crate::reactor::operation::Operation;
use crate::reactor::slots::Routed;
use crate::ring::Instant;
use crate::ring::clock;
use crate::ring::diagnosis::SetupError;
use crate::ring::queue::Cqe;
use crate::ring::setup::RingOptions;
use crate::ring::sys::Process;
use crate::runtime::remote::Message;
use crate::runtime::remote::Remote;

/// Who submits operations and sets timers: tasks, connections, listeners. Registered once per
/// core; its id names it in completions.
///
/// No method is called while a table of the core is borrowed, and none is called from within
/// another of the same owner.
pub trait Owner {
    /// An operation of this owner completed.
    fn completed(&self, core: &Rc<Core>, key: u64, completion: Completion);

    /// A timer of this owner passed.
    fn expired(&self, core: &Rc<Core>, key: u64);

    /// A waker of this owner fired, or something was queued for it.
    fn ready(&self, core: &Rc<Core>, key: u64);

    /// Just before the kernel is entered.
    fn flush(&self, core: &Rc<Core>) {
        let _ = core;
    }

    /// The core ends: drop all that users gave, close all that is open. Operations in flight are
    /// waited for afterwards, and those that are only queued name their descriptors by number:
    /// what has any stays open until [`Owner::drained`].
    fn close(&self, core: &Rc<Core>);

    /// The core has ended, and nothing is in flight any more.
    fn drained(&self, core: &Rc<Core>) {
        let _ = core;
    }
}

/// What belongs to one worker thread. Not `Send`; other threads reach it through its [`Remote`].
pub struct Core {
    process: Process,
    reactor: RefCell<Reactor>,
    owners: RefCell<Vec<Rc<dyn Owner>>>,
    /// What is to be run soon: owner and key.
    ready: RefCell<VecDeque<(OwnerId, u64)>>,
    remote: Arc<Remote>,
    locals: RefCell<Vec<(TypeId, Rc<dyn Any>)>>,
    now: Cell<Instant>,
    wall_seconds: Cell<u64>,
    /// Turns that have begun.
    turn: Cell<u64>,
    /// So few completions came with the last turn that they are answered by send(2) at once.
    sends_at_once: Cell<bool>,
    /// Batches up to this size are answered by send(2) at once.
    send_at_once_max: usize,
    stopping: Cell<bool>,
    /// True exactly when the loop has run, and nobody turns now.
    is_at_rest: Cell<bool>,
    scratch: RefCell<Scratch>,
}

/// How often [`Core::run`] asks whether it is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// Between turns: the kernel is entered before each step, and all else has had its turn.
    Between,
    /// Within turns too: fewer enters, for who does a single thing.
    Within,
}

/// When [`Core::run`] asks whether it is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// A turn is over, or none has begun.
    TurnEnd,
    /// Before the kernel is entered: what is made ready now is seen to in this turn.
    WithinTurn,
}

/// Lists that a turn fills and empties; kept for their memory.
#[derive(Default)]
struct Scratch {
    cqes: Vec<Cqe>,
    expired: Vec<(OwnerId, u64)>,
    messages: Vec<Message>,
    owners: Vec<Rc<dyn Owner>>,
}

/// The key of the mailbox's own operation.
const WAKE: (OwnerId, u64) = (OwnerId(u8::MAX), 0);

impl Core {
    /// Sets up a core for the calling thread, which alone may use it.
    ///
    /// # Errors
    ///
    /// No ring can be had; the text holds the remedy.
    pub(super) fn new(options: RingOptions) -> Result<Rc<Core>, SetupError> {
        let now = clock::now();
        let reactor = Reactor::new(options, now)?;
        let send_at_once_max = match reactor.batches_sends() {
            true => INLINE_SEND_COMPLETIONS_MAX,
            false => usize::MAX,
        };
        let core = Rc::new(Core {
            process: Process::here(),
            reactor: RefCell::new(reactor),
            owners: RefCell::new(Vec::new()),
            ready: RefCell::new(VecDeque::new()),
            remote: Arc::new(Remote::new()?),
            locals: RefCell::new(Vec::new()),
            now: Cell::new(now),
            wall_seconds: Cell::new(clock::wall_seconds()),
            turn: Cell::new(1),
            sends_at_once: Cell::new(true),
            send_at_once_max,
            stopping: Cell::new(false),
            is_at_rest: Cell::new(false),
            scratch: RefCell::new(Scratch::default()),
        });
        core.listen_to_remote(Box::new(0));
        Ok(core)
    }

    /// Runs turns until `done` says so or [`Core::stop`] was called. `done` is asked before the first
    /// turn and after each, and with [`Asks::Within`] also within a turn, when `pending` says that it
    /// has work; with work left, the turn does not sleep. What was queued for the kernel when it was
    /// done within a turn is submitted. In a child of fork(2) it ends where it stands.
    pub(super) fn run(
        self: &Rc<Self>,
        mut done: impl FnMut(At) -> bool,
        pending: &Cell<bool>,
        asks: Asks,
    ) {
        let mut owners = mem::take(&mut self.scratch.borrow_mut().owners);
        // Nobody turned since the last call; deadlines made from here on must not begin then.
        self.read_clock();
        if self.is_at_rest.replace(false) {
            // And what came meanwhile came before deadlines that have passed since.
            self.refresh(&mut owners);
            self.enter(true);
            self.dispatch(&owners);
        }
        let mut is_done = done(At::TurnEnd);
        while !is_done && !self.is_over() {
            self.refresh(&mut owners);
            self.take_messages();
            self.run_ready(&owners);
            self.expire(&owners);
            // As often as ready lists are run, so that a future that is always ready does not keep
            // the kernel from being entered.
            for _ in 0..2 {
                if asks == Asks::Between || is_done || !pending.get() || self.is_over() {
                    break;
                }
                is_done = done(At::WithinTurn);
                self.run_ready(&owners);
            }
            if !self.is_here() {
                break;
            }
            owners.iter().for_each(|owner| owner.flush(self));
            // Nobody waits for this turn's completions, but others for what it sends.
            if is_done && !self.reactor.borrow_mut().has_queued() {
                break;
            }
            self.enter(is_done || pending.get());
            self.dispatch(&owners);
            is_done = is_done || self.is_here() && done(At::TurnEnd);
        }
        self.is_at_rest.set(true);
        self.scratch.borrow_mut().owners = owners;
    }

    /// Ends the loop after this turn.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// False in a child of fork(2): the core is its parent's.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.process.is_here()
    }

    fn is_over(&self) -> bool {
        self.stopping.get() || !self.is_here()
    }

    /// The time of this turn, read once, right after the kernel was entered.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Seconds since 1970 at this turn.
    pub fn wall_seconds(&self) -> u64 {
        self.wall_seconds.get()
    }

    /// The number of this turn, never zero. What completed by then is what is dispatched in it: whatever
    /// a request of this turn asks for was asked before the turn began.
    pub fn turn(&self) -> u64 {
        self.turn.get()
    }

    /// True when output had better leave by send(2) at once: so few completions came with the last turn
    /// that an enter has little to share, or the engine shares nothing.
    pub fn sends_at_once(&self) -> bool {
        self.sends_at_once.get()
    }

    /// What this core counted.
    pub fn counters(&self) -> Counters {
        Counters {
            panics: guard::count(),
            ..self.reactor.borrow().counters()
        }
    }

    /// How other threads reach this core.
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Operations and timers. Borrowed for a call or two, never across a call to an owner.
    pub(crate) fn reactor(&self) -> RefMut<'_, Reactor> {
        self.reactor.borrow_mut()
    }

    /// Queues `ready` of an owner for this turn or the next.
    pub(crate) fn schedule(&self, owner: OwnerId, key: u64) {
        self.ready.borrow_mut().push_back((owner, key));
    }

    /// Registers an owner for the life of the core.
    pub(crate) fn register(&self, owner: Rc<dyn Owner>) -> OwnerId {
        let mut owners = self.owners.borrow_mut();
        let id = u8::try_from(owners.len()).expect("a handful of owners per core");
        assert!(id < WAKE.0.0, "too many owners");
        owners.push(owner);
        OwnerId(id)
    }

    /// The core's one value of a type, made on first use: how a layer keeps its per-core state.
    pub fn local<T: 'static>(self: &Rc<Self>, make: impl FnOnce(&Rc<Core>) -> Rc<T>) -> Rc<T> {
        if let Some(found) = self.find_local::<T>() {
            return found;
        }
        let made = make(self);
        self.locals
            .borrow_mut()
            .push((TypeId::of::<T>(), Rc::clone(&made) as Rc<dyn Any>));
        made
    }

    /// The core's value of a type, if it has been made.
    pub fn find_local<T: 'static>(&self) -> Option<Rc<T>> {
        let locals = self.locals.borrow();
        let (_, found) = locals.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        Rc::clone(found).downcast().ok()
    }

    fn refresh(&self, owners: &mut Vec<Rc<dyn Owner>>) {
        let registered = self.owners.borrow();
        if registered.len() != owners.len() {
            owners.clone_from(&registered);
        }
    }

    fn take_messages(self: &Rc<Self>) {
        if !self.remote.is_pending() {
            return;
        }
        let mut messages = mem::take(&mut self.scratch.borrow_mut().messages);
        self.remote.take(&mut messages);
        for message in messages.drain(..).take_while(|_| self.is_here()) {
            match message {
                Message::Ready(owner, key) => self.schedule(owner, key),
                Message::Call(call) => call(self),
            }
        }
        self.scratch.borrow_mut().messages = messages;
    }

    fn run_ready(self: &Rc<Self>, owners: &[Rc<dyn Owner>]) {
        // Twice: a task that hands work to a connection sees it sent in this very turn. What
        // becomes ready after that, or is over budget, waits for the next.
        let mut budget = READY_PER_TURN;
        for _ in 0..2 {
            let count = self.ready.borrow().len().min(budget);
            budget -= count;
            for _ in 0..count {
                let next = self
                    .ready
                    .borrow_mut()
                    .pop_front()
                    .filter(|_| self.is_here());
                let Some((owner, key)) = next else {
                    return;
                };
                self.owner(owners, owner).ready(self, key);
            }
        }
    }

    fn expire(self: &Rc<Self>, owners: &[Rc<dyn Owner>]) {
        let mut expired = mem::take(&mut self.scratch.borrow_mut().expired);
        self.reactor
            .borrow_mut()
            .expire(self.now.get(), &mut expired);
        for (owner, key) in expired.drain(..).take_while(|_| self.is_here()) {
            self.owner(owners, owner).expired(self, key);
        }
        self.scratch.borrow_mut().expired = expired;
    }

    fn enter(&self, pending: bool) {
        if !self.is_here() {
            return;
        }
        let mut scratch = self.scratch.borrow_mut();
        // From here on other threads must wake us; a message that came before is seen by the check.
        self.remote.set_sleeping(true);
        let ready = pending
            || self.stopping.get()
            || self.remote.is_pending()
            || !scratch.cqes.is_empty()
            || !self.ready.borrow().is_empty();
        let result = self
            .reactor
            .borrow_mut()
            .turn(self.now.get(), ready, &mut scratch.cqes);
        self.remote.set_sleeping(false);
        self.read_clock();
        self.turn.set(self.turn.get() + 1);
        let sends_at_once = scratch.cqes.len() <= self.send_at_once_max;
        self.sends_at_once.set(sends_at_once);
        // The ring is ours and set up; there is no state of the world in which entering it fails.
        result.expect("io_uring_enter(2) on our own ring");
    }

    fn read_clock(&self) {
        self.now.set(clock::now());
        self.wall_seconds.set(clock::wall_seconds());
    }

    fn dispatch(self: &Rc<Self>, owners: &[Rc<dyn Owner>]) {
        let cqes = mem::take(&mut self.scratch.borrow_mut().cqes);
        let mut batch = Batch {
            core: self,
            cqes,
            taken: 0,
        };
        while let Some(cqe) = batch.next() {
            let routed = self.reactor.borrow_mut().complete(&cqe);
            match routed {
                Routed::Owner(WAKE_OWNER, _, completion) => self.heard_remote(completion),
                Routed::Owner(owner, key, completion) => {
                    self.owner(owners, owner).completed(self, key, completion);
                }
                // Dropped here, where nothing is borrowed: what it owned may run user code.
                Routed::Orphan(completion) => guarded_drop(completion),
                Routed::Stale | Routed::Cancellation => {}
            }
        }
    }

    /// Owners that were registered during this very turn are not in the turn's list yet.
    fn owner(&self, owners: &[Rc<dyn Owner>], id: OwnerId) -> Rc<dyn Owner> {
        match owners.get(usize::from(id.0)) {
            Some(owner) => Rc::clone(owner),
            None => Rc::clone(&self.owners.borrow()[usize::from(id.0)]),
        }
    }

    fn listen_to_remote(&self, counter: Box<u64>) {
        let fd = self.remote.event_fd();
        self.reactor
            .borrow_mut()
            .submit(fd, None, Operation::Wake(counter), WAKE);
    }

    /// Reads again; the messages themselves are taken at the beginning of the next turn.
    fn heard_remote(&self, completion: Completion) {
        if let Some(Operation::Wake(counter)) = completion.operation
            && !self.stopping.get()
        {
            self.listen_to_remote(counter);
        }
    }

    /// Ends the core: users' values are dropped, everything open is closed, and what is in flight
    /// is waited for.
    pub(super) fn finish(self: &Rc<Self>) {
        self.stopping.set(true);
        let owners = self.owners.borrow().clone();
        for owner in &owners {
            owner.close(self);
        }
        // Taken out before they are dropped: destructors of users may want the core.
        self.locals.take().into_iter().for_each(guarded_drop);
        let mut messages = Vec::new();
        self.remote.close(&mut messages);
        messages.into_iter().for_each(guarded_drop);
        self.ready.borrow_mut().clear();
        let mut ended = Vec::new();
        // A panic may have left some of the last turn.
        let cqes = mem::take(&mut self.scratch.borrow_mut().cqes);
        for cqe in &cqes {
            ended.push(self.reactor.borrow_mut().complete(cqe));
        }
        if self.reactor.borrow_mut().drain(&mut ended) {
            for owner in &owners {
                owner.drained(self);
            }
        } else {
            // The kernel may still write into memory of the reactor: it stays for ever.
            mem::forget(Rc::clone(self));
        }
        ended.into_iter().for_each(guarded_drop);
        drop(owners);
        drop(mem::take(&mut self.scratch.borrow_mut().owners));
        drop(self.owners.take());
    }
}

const WAKE_OWNER: OwnerId = WAKE.0;

/// The completions of a turn, taken one by one. What a panic leaves is kept: their operations
/// would be waited for in vain otherwise.
struct Batch<'core> {
    core: &'core Core,
    cqes: Vec<Cqe>,
    taken: usize,
}

impl Batch<'_> {
    fn next(&mut self) -> Option<Cqe> {
        if !self.core.is_here() {
            return None;
        }
        let cqe = self.cqes.get(self.taken).copied();
        self.taken += usize::from(cqe.is_some());
        cqe
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.taken == self.cqes.len() {
            self.cqes.clear();
        } else {
            self.cqes.drain(..self.taken);
        }
        self.core.scratch.borrow_mut().cqes = mem::take(&mut self.cqes);
    }
}
