//! Tells the engines of a thread that a descriptor is about to be closed, leaves the thread, or was
//! shut down.
//!
//! A registration belongs to the open file description and to the number. After close(2) a copy of the
//! description (dup(2), a child) keeps it alive, and the number, used again, would be taken for
//! registered and never heard of.
//!
//! Not inlined: closing and shutting down stand in functions that every request runs through.

use std::cell::Cell;
use std::cell::RefCell;
use std::os::fd::RawFd;
use std::ptr;
use std::rc::Rc;
use std::rc::Weak;

use crate::ring::epoll::engine::EpollEngine;

/// The engine as the queue and this list share it.
pub(super) type SharedEngine = Rc<RefCell<EpollEngine>>;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static ENGINES: RefCell<Vec<Weak<RefCell<EpollEngine>>>> = const { RefCell::new(Vec::new()) };
}

/// Begins to tell an engine of this thread.
pub(super) fn enlist(engine: &SharedEngine) {
    ENGINES.with_borrow_mut(|engines| {
        engines.push(Rc::downgrade(engine));
        COUNT.set(engines.len());
    });
}

/// An engine is about to end.
pub(super) fn delist(engine: &SharedEngine) {
    // A thread that ends may have dropped the list before its last engine.
    let _ = ENGINES.try_with(|engines| {
        let mut engines = engines.borrow_mut();
        engines.retain(|other| !ptr::eq(other.as_ptr(), Rc::as_ptr(engine)));
        COUNT.set(engines.len());
    });
}

/// The descriptor is about to be closed, or to leave this thread.
#[inline(never)]
pub(in crate::ring) fn forget(fd: RawFd) {
    if COUNT.get() > 0 {
        tell(|engine| engine.forget(fd));
    }
}

/// The descriptor was shut down.
#[inline(never)]
pub(in crate::ring) fn notice_shutdown(fd: RawFd) {
    if COUNT.get() > 0 {
        tell(|engine| engine.notice(fd));
    }
}

#[cold]
fn tell(mut news: impl FnMut(&mut EpollEngine)) {
    let _ = ENGINES.try_with(|engines| {
        for engine in engines.borrow().iter().filter_map(Weak::upgrade) {
            news(&mut engine.borrow_mut());
        }
    });
}
