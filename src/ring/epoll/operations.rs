//! The operations that wait, by the slot that their token names, and lists of them.

use std::sync::Arc;

use crate::ring::epoll::chunks::Chunks;
use crate::ring::epoll::readers::Job;
use crate::ring::op::Op;
use crate::ring::token::Token;

/// In place of an index.
const NONE: u32 = u32::MAX;

/// What an operation waits for.
pub(super) enum Waiting {
    /// For nothing: the slot is free.
    Free,
    /// For its descriptor, in the list of receivers or in that of senders.
    Descriptor { index: u32, side: Side },
    /// For another try: the queue of a Unix listener is full, and nothing tells when it is not.
    Retry,
    /// For a thread that reads.
    Reader(Arc<Job>),
    /// For the end of the submissions: it was cancelled by one of them.
    Canceled,
}

/// A direction of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Receives, accepts, reads of a counter.
    In,
    /// Sends, connects.
    Out,
}

struct Slot {
    op: Op,
    token: Token,
    waiting: Waiting,
    previous: u32,
    next: u32,
}

/// First and last of those that wait for one direction of a descriptor, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: List = List {
        first: NONE,
        last: NONE,
    };

    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }

    pub(super) fn first(self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }
}

/// All operations that were tried and are not over.
#[derive(Default)]
pub(super) struct Operations {
    slots: Chunks<Slot>,
}

impl Operations {
    /// Keeps an operation. Its slot is free: whoever submits uses a slot again after the last
    /// completion alone.
    pub(super) fn begin(&mut self, op: Op, token: Token, waiting: Waiting) -> u32 {
        let index = token.index();
        while self.slots.len() <= index {
            self.slots.push(Slot {
                op: Op::CancelAll,
                token: Token::CANCEL,
                waiting: Waiting::Free,
                previous: NONE,
                next: NONE,
            });
        }
        let slot = &mut self.slots[index];
        assert!(
            matches!(slot.waiting, Waiting::Free),
            "slot {index} has two operations"
        );
        slot.op = op;
        slot.token = token;
        slot.waiting = waiting;
        index
    }

    /// Forgets an operation, which is in no list any more.
    pub(super) fn end(&mut self, index: u32) -> Waiting {
        let slot = &mut self.slots[index];
        std::mem::replace(&mut slot.waiting, Waiting::Free)
    }

    pub(super) fn get(&self, index: u32) -> (Op, Token) {
        let slot = &self.slots[index];
        (slot.op, slot.token)
    }

    pub(super) fn waiting(&self, index: u32) -> &Waiting {
        &self.slots[index].waiting
    }

    /// The operation of a token, unless it is over.
    pub(super) fn find(&self, token: Token) -> Option<u32> {
        let slot = self.slots.get(token.index())?;
        let is_here = !matches!(slot.waiting, Waiting::Free) && slot.token == token;
        is_here.then_some(token.index())
    }

    /// All that wait.
    pub(super) fn all(&self) -> Vec<u32> {
        let waits = |index: &u32| !matches!(self.waiting(*index), Waiting::Free);
        (0..self.slots.len()).filter(waits).collect()
    }

    pub(super) fn append(&mut self, list: &mut List, index: u32) {
        let slot = &mut self.slots[index];
        slot.previous = list.last;
        slot.next = NONE;
        match list.last {
            NONE => list.first = index,
            last => self.slots[last].next = index,
        }
        list.last = index;
    }

    pub(super) fn unlink(&mut self, list: &mut List, index: u32) {
        let Slot { previous, next, .. } = self.slots[index];
        match previous {
            NONE => list.first = next,
            previous => self.slots[previous].next = next,
        }
        match next {
            NONE => list.last = previous,
            next => self.slots[next].previous = previous,
        }
    }
}
