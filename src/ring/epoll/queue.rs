//! One engine in the place of the kernel's queues.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use crate::ring::buffers::BufferRing;
use crate::ring::epoll::closing;
use crate::ring::epoll::closing::SharedEngine;
use crate::ring::epoll::engine::EpollEngine;
use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::RingCounters;
use crate::ring::queue::Wait;
use crate::ring::token::Token;

/// The queues of one ring. Its calls are not inlined: where they stand beside those of io_uring they
/// must not cost these registers and stack.
pub(in crate::ring) struct EpollQueue {
    engine: SharedEngine,
}

impl EpollQueue {
    pub(super) fn new(buffers: &Rc<BufferRing>) -> io::Result<EpollQueue> {
        let engine = Rc::new(RefCell::new(EpollEngine::new(buffers)?));
        closing::enlist(&engine);
        Ok(EpollQueue { engine })
    }

    /// Queues an operation for the next enter. There is always room.
    ///
    /// # Safety
    ///
    /// As for [`Ring::push`](crate::ring::queue::Ring::push).
    #[inline(never)]
    pub(in crate::ring) unsafe fn push(&mut self, op: Op, token: Token) {
        // SAFETY: the caller's promise.
        unsafe { self.engine.borrow_mut().push(op, token) };
    }

    #[inline(never)]
    pub(in crate::ring) fn has_queued(&self) -> bool {
        self.engine.borrow().has_queued()
    }

    #[inline(never)]
    pub(in crate::ring) fn enter(
        &mut self,
        wait: Wait,
        counters: &mut RingCounters,
    ) -> io::Result<()> {
        self.engine.borrow_mut().enter(wait, counters)
    }

    /// Copies up to `max` completions out, in order. Returns how many, and how many are left.
    #[inline(never)]
    pub(in crate::ring) fn completions(
        &mut self,
        into: &mut Vec<Cqe>,
        max: usize,
    ) -> (usize, usize) {
        self.engine.borrow_mut().completions(into, max)
    }
}

impl Drop for EpollQueue {
    fn drop(&mut self) {
        closing::delist(&self.engine);
    }
}
