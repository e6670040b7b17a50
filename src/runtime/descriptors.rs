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

use crate::limits::DESCRIPTOR_PAUSE;
use crate::reactor::Errno;
use crate::ring::Instant;
use crate::runtime::Core;
use crate::runtime::Remote;
use crate::runtime::is_simulated;
use crate::runtime::sleep;

/// What a descriptor is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A connection that somebody else began.
    Accept,
    /// A connection of ours, or a file.
    Own,
}

/// Holds descriptors in case they are needed again.
pub trait Holder {
    /// Closes those that nobody uses, if they are worth less than this need; true when one is free
    /// by now.
    fn give_up(&self, need: Need) -> bool;
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
pub fn reclaim(core: &Rc<Core>, need: Need, then: fn(&Rc<Core>)) -> bool {
    if give_up(core, need) {
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
    for other in &others.remotes {
        if !Arc::ptr_eq(other, core.remote()) {
            let asker = Arc::clone(core.remote());
            other.post(move |core| {
                if give_up(core, need) {
                    asker.post(then);
                }
            });
        }
    }
    false
}

/// As [`reclaim`], for who can wait a moment and then try once more.
pub async fn make_room(core: &Rc<Core>) {
    if !reclaim(core, Need::Own, |_| {}) {
        sleep(DESCRIPTOR_PAUSE).await;
    }
}

fn give_up(core: &Rc<Core>, need: Need) -> bool {
    let Some(holders) = core.find_local::<Holders>() else {
        return false;
    };
    // Not borrowed while they drop what users may have given.
    let holders = holders.holders.borrow().clone();
    let mut has_room = false;
    for holder in holders.iter().filter_map(Weak::upgrade) {
        has_room |= holder.give_up(need);
    }
    has_room
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
            others().remotes.push(Arc::clone(&remote));
        }
        Holders {
            holders: RefCell::default(),
            remote,
        }
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        let is_other = |other: &Arc<Remote>| !Arc::ptr_eq(other, &self.remote);
        others().remotes.retain(is_other);
    }
}

/// The cores of this process that hold any.
struct Others {
    remotes: Vec<Arc<Remote>>,
    /// When they were asked last, by whichever core.
    asked: Instant,
}

fn others() -> MutexGuard<'static, Others> {
    static OTHERS: Mutex<Others> = Mutex::new(Others {
        remotes: Vec::new(),
        asked: Instant::from_nanoseconds(0),
    });
    OTHERS.lock().unwrap_or_else(PoisonError::into_inner)
}
