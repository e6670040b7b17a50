//! Descriptors that are held only in case they are needed again, and who needs one now.
//!
//! ```text
//!   EMFILE, ENFILE ─► holders of this core give up what nobody uses ─┬─► some came free: go on
//!   (accept, connect, open)                                          └─► ask the other cores, go on when
//!                                                                        one of them had any, or later
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::rc::Weak;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::limits::DESCRIPTOR_PAUSE;
use crate::reactor::Errno;
use crate::ring::Instant;
use crate::runtime::Core;
use crate::runtime::PerProcess;
use crate::runtime::Remote;
use crate::runtime::is_simulated;
use crate::runtime::sleep;

/// Holds descriptors in case they are needed again.
pub trait Holder {
    /// Closes what nobody uses, or one of it where each is worth much; true when one is free by now, false
    /// when none is, or one will be in a moment.
    fn give_up(&self) -> bool;
}

/// True for the errors of a process, and of a system, that has no descriptor left.
pub fn are_short(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE)
}

/// Asks `holder` from now on, while it lives, whenever descriptors are short.
pub fn register(core: &Rc<Core>, holder: Weak<dyn Holder>) {
    let holders = core.local(|core| Rc::new(Holders::new(core)));
    let mut holders = holders.holders.borrow_mut();
    holders.retain(|holder| holder.strong_count() > 0);
    holders.push(holder);
}

/// Descriptors are short: holders give up what they can. True when one is free by now; else the other
/// cores are asked, and `then` is called on this one when one of them had any.
pub fn reclaim(core: &Rc<Core>, then: fn(&Rc<Core>)) -> bool {
    if give_up(core) {
        return true;
    }
    if is_simulated() {
        return false;
    }
    let mut others = others();
    if core.now() < others.asked + DESCRIPTOR_PAUSE {
        return false;
    }
    others.asked = core.now();
    for other in &others.cores {
        let is_this = Arc::ptr_eq(&other.remote, core.remote());
        // One that a blocking client turns may not hear for long.
        if is_this || other.is_asked.swap(true, Ordering::Relaxed) {
            continue;
        }
        let asker = Arc::clone(core.remote());
        let is_asked = Arc::clone(&other.is_asked);
        other.remote.post(move |core| {
            is_asked.store(false, Ordering::Relaxed);
            if give_up(core) {
                asker.post(then);
            }
        });
    }
    false
}

/// As [`reclaim`], for who can wait a moment and then try once more.
pub async fn make_room(core: &Rc<Core>) {
    if !reclaim(core, |_| {}) {
        sleep(DESCRIPTOR_PAUSE).await;
    }
}

fn give_up(core: &Rc<Core>) -> bool {
    let Some(holders) = core.find_local::<Holders>() else {
        return false;
    };
    // Not borrowed while they drop what users may have given.
    let holders = holders.holders.borrow().clone();
    let mut holders = holders.iter().filter_map(Weak::upgrade);
    holders.any(|holder| holder.give_up())
}

/// Those of one core.
struct Holders {
    holders: RefCell<Vec<Weak<dyn Holder>>>,
    remote: Arc<Remote>,
}

impl Holders {
    fn new(core: &Rc<Core>) -> Holders {
        let remote = Arc::clone(core.remote());
        if !is_simulated() {
            others().cores.push(Other {
                remote: Arc::clone(&remote),
                is_asked: Arc::default(),
            });
        }
        Holders {
            holders: RefCell::default(),
            remote,
        }
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        let is_other = |other: &Other| !Arc::ptr_eq(&other.remote, &self.remote);
        others().cores.retain(is_other);
    }
}

/// The cores of this process that hold any.
struct Others {
    cores: Vec<Other>,
    /// When they were asked last, by whichever core.
    asked: Instant,
}

struct Other {
    remote: Arc<Remote>,
    /// True while it has not heard that it was asked.
    is_asked: Arc<AtomicBool>,
}

fn others() -> MutexGuard<'static, Others> {
    static OTHERS: PerProcess<Mutex<Others>> = PerProcess::new(|| {
        Mutex::new(Others {
            cores: Vec::new(),
            asked: Instant::from_nanoseconds(0),
        })
    });
    let others = OTHERS.get().lock();
    others.unwrap_or_else(PoisonError::into_inner)
}
