//! How other threads reach a core: a mailbox, a wake-up, and wakers.
//!
//! ```text
//!   any thread: post ─► mailbox ─► (core asleep?) ─► eventfd ─► a completion of the ring
//!   same thread: wake ─► the core's ready list
//! ```

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::task::Waker;

use crate::guard::guarded;
use crate::reactor::OwnerId;
use crate::ring::sys::Event;
use crate::ring::sys::Process;
use crate::runtime::Core;
use crate::runtime::current;

type Call = Box<dyn FnOnce(&Rc<Core>) + Send>;

/// A message from another thread.
pub(super) enum Message {
    /// A waker fired.
    Ready(OwnerId, u64),
    /// Run this on the core.
    Call(Call),
}

/// The half of a core that other threads may hold.
pub struct Remote {
    /// In a child of it the mailbox may be locked for ever, and nobody reads it.
    process: Process,
    mailbox: Mutex<Mailbox>,
    /// True exactly when the mailbox is not empty.
    pending: AtomicBool,
    /// True while the core may be asleep in the kernel: a message must be followed by a wake-up.
    sleeping: AtomicBool,
    event: Event,
}

#[derive(Default)]
struct Mailbox {
    messages: Vec<Message>,
    closed: bool,
}

impl Remote {
    pub(super) fn new() -> io::Result<Remote> {
        Ok(Remote {
            process: Process::here(),
            mailbox: Mutex::default(),
            pending: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            event: Event::new()?,
        })
    }

    /// Runs `call` on the core's thread, soon. False if the core has ended, or is that of a parent of
    /// this process: then `call` is dropped. A panic in it is caught and counted ([`Core::counters`]),
    /// and the core goes on.
    pub fn post(&self, call: impl FnOnce(&Rc<Core>) + Send + 'static) -> bool {
        self.post_own(|core| {
            let _ = guarded(|| call(core));
        })
    }

    /// As [`Remote::post`], for calls of ours: a panic in one is a broken invariant, and ends the
    /// core.
    pub(crate) fn post_own(&self, call: impl FnOnce(&Rc<Core>) + Send + 'static) -> bool {
        self.send(Message::Call(Box::new(call)))
    }

    /// True when the core has ended, and nothing that is posted is run.
    pub(crate) fn has_ended(&self) -> bool {
        self.mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed
    }

    /// A waker that leads to `ready` of an owner.
    pub fn waker_target(self: &Arc<Self>, owner: OwnerId, key: u64) -> Arc<WakeTarget> {
        Arc::new(WakeTarget {
            remote: Arc::clone(self),
            owner,
            key,
            queued: AtomicBool::new(false),
        })
    }

    pub(super) fn event_fd(&self) -> RawFd {
        self.event.raw()
    }

    /// True when another thread has sent what the core has not seen.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst)
    }

    pub(super) fn set_sleeping(&self, sleeping: bool) {
        self.sleeping.store(sleeping, Ordering::SeqCst);
    }

    pub(super) fn take(&self, into: &mut Vec<Message>) {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        self.pending.store(false, Ordering::SeqCst);
        into.append(&mut mailbox.messages);
    }

    pub(super) fn close(&self, into: &mut Vec<Message>) {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        mailbox.closed = true;
        into.append(&mut mailbox.messages);
    }

    fn send(&self, message: Message) -> bool {
        if !self.process.is_here() {
            return false;
        }
        {
            let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
            if mailbox.closed {
                return false;
            }
            mailbox.messages.push(message);
            self.pending.store(true, Ordering::SeqCst);
        }
        // Sequentially consistent with `set_sleeping` followed by `is_pending` on the core: either
        // it sees the message before it sleeps, or we see that it sleeps.
        if self.sleeping.swap(false, Ordering::SeqCst) {
            self.event.notify();
        }
        true
    }
}

/// What a [`Waker`] of this runtime points to. Waking it twice queues it once.
pub struct WakeTarget {
    remote: Arc<Remote>,
    owner: OwnerId,
    key: u64,
    /// True from the wake-up until the owner begins to act on it.
    queued: AtomicBool,
}

impl WakeTarget {
    /// The owner acts now: from here on a wake-up counts again.
    pub fn begin(&self) {
        self.queued.store(false, Ordering::SeqCst);
    }

    /// As the standard library's waker.
    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for WakeTarget {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let is_here = current::with(|core| {
            let here = Arc::ptr_eq(core.remote(), &self.remote);
            if here {
                core.schedule(self.owner, self.key);
            }
            here
        });
        if is_here != Some(true) {
            self.remote.send(Message::Ready(self.owner, self.key));
        }
    }
}
