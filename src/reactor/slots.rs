//! The table of operations in flight. A slot owns what the kernel may touch until the operation's
//! last completion, whoever has lost interest meanwhile.
//!
//! ```text
//!            submit                       last completion
//!   free ───────────► active ───────────────────────────────► free, generation + 1
//!                       │  orphan (a future was dropped)         ▲
//!                       └───────────► orphaned ──────────────────┘
//! ```
//!
//! Slots live in chunks that never move: the kernel holds addresses into them.

// Here operations meet pointers: the one place above `ring` where that is so.
#![allow(unsafe_code)]

use std::mem;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::limits::SEND_BYTES_MAX;
use crate::limits::SLOTS_PER_CHUNK;
use crate::reactor::OwnerId;
use crate::reactor::operation::Completion;
use crate::reactor::operation::Operation;
use crate::reactor::operation::Pieces;
use crate::ring::Errno;
use crate::ring::bug;
use crate::ring::bug::Bug;
use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::Ring;
use crate::ring::sys::Socket;
use crate::ring::token::GENERATION_MAX;
use crate::ring::token::Kind;
use crate::ring::token::Token;

const NONE: u32 = u32::MAX;

/// Names one operation in flight; stale once its last completion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId(Token);

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
    /// There exactly while the slot is not free.
    operation: Option<Operation>,
    /// Keeps the descriptor open for as long as the kernel uses it.
    socket: Option<Rc<Socket>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free { next: u32 },
    Active { owner: OwnerId, key: u64 },
    Orphaned,
}

/// Where a completion goes.
#[derive(Debug)]
pub enum Routed {
    /// To the owner that submitted the operation.
    Owner(OwnerId, u64, Completion),
    /// To nobody: the operation was orphaned. What it owned is dropped by the caller, once no
    /// table is borrowed.
    Orphan(Completion),
    /// To nobody: the slot has been used again since. Its buffer has been returned.
    Stale,
    /// The end of a cancellation.
    Cancellation,
}

/// All operations in flight of one core.
#[derive(Debug)]
pub struct Slots {
    chunks: Vec<Box<[Slot]>>,
    free: u32,
    in_flight: usize,
}

impl Default for Slots {
    fn default() -> Slots {
        Slots::new()
    }
}

impl Slots {
    /// An empty table.
    pub fn new() -> Slots {
        Slots {
            chunks: Vec::new(),
            free: NONE,
            in_flight: 0,
        }
    }

    /// Operations whose last completion has not come.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Puts an operation into a slot and queues it.
    pub fn submit(
        &mut self,
        ring: &mut Ring,
        fd: RawFd,
        socket: Option<Rc<Socket>>,
        operation: Operation,
        (owner, key): (OwnerId, u64),
    ) -> OperationId {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let slot = self.slot_mut(index);
        let State::Free { next } = slot.state else {
            panic!("slot {index} is used and free")
        };
        assert!(slot.operation.is_none(), "a free slot owns an operation");
        slot.state = State::Active { owner, key };
        slot.socket = socket;
        let token = Token::slot(index, slot.generation);
        let operation = slot.operation.insert(operation);
        let op = describe(operation, fd);
        // SAFETY: all memory that `op` points to is owned by `operation`, on the heap (a buffer,
        // a box, shared bytes). It stays in this slot, untouched, until `complete` sees the last
        // completion of `token`: no other code takes it out, and a table that is dropped earlier
        // leaks its slots.
        unsafe { ring.push(op, token) };
        self.free = next;
        self.in_flight += 1;
        OperationId(token)
    }

    /// Asks the kernel to end an operation. Its last completion still comes, whatever it says.
    /// One that is over already is none.
    pub fn cancel(&mut self, ring: &mut Ring, id: OperationId) {
        if !self.is_current(id.0) {
            return;
        }
        // SAFETY: a cancellation points to no memory.
        unsafe { ring.push(Op::Cancel { token: id.0 }, Token::CANCEL) };
    }

    /// Asks the kernel to end everything.
    pub fn cancel_all(&mut self, ring: &mut Ring) {
        // SAFETY: a cancellation points to no memory.
        unsafe { ring.push(Op::CancelAll, Token::CANCEL) };
    }

    /// Nobody waits for this operation any more. False if it was over already.
    pub fn orphan(&mut self, ring: &mut Ring, id: OperationId) -> bool {
        if !self.is_current(id.0) {
            return false;
        }
        if bug::is_planted(Bug::SlotFreedEarly) {
            drop(self.free(ring, id.0, Err(Errno::ECANCELED)));
            return true;
        }
        self.slot_mut(id.0.index()).state = State::Orphaned;
        true
    }

    /// Decodes a completion, and frees the slot with the last one.
    pub fn complete(&mut self, ring: &mut Ring, cqe: &Cqe) -> Routed {
        // First of all: whatever becomes of the completion, its buffer returns.
        let lease = ring.lease(cqe);
        match cqe.token.kind() {
            Some(Kind::Slot) if self.is_current(cqe.token) => {}
            Some(Kind::Cancel) => return Routed::Cancellation,
            _ => return Routed::Stale,
        }
        let slot = self.slot_mut(cqe.token.index());
        let accepts = matches!(
            slot.operation,
            Some(Operation::Accept | Operation::AcceptMulti)
        );
        let result = u32::try_from(cqe.result).map_err(|_| Errno::from_raw(-cqe.result));
        let socket = match result {
            // SAFETY: accept4(2) has just returned this descriptor, to this completion alone.
            Ok(fd) if accepts => Some(unsafe { Socket::from_raw(fd as RawFd) }),
            _ => None,
        };
        let state = slot.state;
        let operation = if cqe.more() {
            None
        } else {
            Some(self.free(ring, cqe.token, result))
        };
        let completion = Completion {
            result,
            more: cqe.more(),
            lease,
            socket,
            operation,
        };
        match state {
            State::Active { owner, key } => Routed::Owner(owner, key, completion),
            State::Orphaned => Routed::Orphan(completion),
            State::Free { .. } => {
                panic!("a completion for a free slot passed the generation check")
            }
        }
    }

    fn free(&mut self, ring: &mut Ring, token: Token, result: Result<u32, Errno>) -> Operation {
        ring.release(token);
        let index = token.index();
        let next = self.free;
        let slot = self.slot_mut(index);
        let mut operation = slot
            .operation
            .take()
            .expect("a used slot owns its operation");
        slot.socket = None;
        slot.state = State::Free { next };
        slot.generation = if slot.generation == GENERATION_MAX {
            0
        } else {
            slot.generation + 1
        };
        self.free = index;
        self.in_flight -= 1;
        if let Ok(bytes) = result {
            // SAFETY: the kernel has just said that it wrote this many bytes.
            unsafe { take_written(&mut operation, bytes as usize) };
        }
        operation
    }

    fn is_current(&self, token: Token) -> bool {
        let index = token.index() as usize;
        let Some(chunk) = self.chunks.get(index / SLOTS_PER_CHUNK) else {
            return false;
        };
        let slot = &chunk[index % SLOTS_PER_CHUNK];
        let is_same =
            slot.generation == token.generation() || bug::is_planted(Bug::GenerationIgnored);
        is_same && !matches!(slot.state, State::Free { .. })
    }

    fn slot_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.chunks[index as usize / SLOTS_PER_CHUNK][index as usize % SLOTS_PER_CHUNK]
    }

    fn grow(&mut self) {
        assert_eq!(self.free, NONE, "the table grows while slots are free");
        let first =
            u32::try_from(self.chunks.len() * SLOTS_PER_CHUNK).expect("fewer than 2^32 slots");
        let end = first + SLOTS_PER_CHUNK as u32;
        let chunk = (first..end)
            .map(|index| Slot {
                generation: 0,
                state: State::Free {
                    next: if index + 1 == end { NONE } else { index + 1 },
                },
                operation: None,
                socket: None,
            })
            .collect();
        self.chunks.push(chunk);
        self.free = first;
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if self.in_flight > 0 {
            // The kernel may still write there.
            mem::forget(mem::take(&mut self.chunks));
        }
    }
}

/// Writes down for the kernel where the operation's memory is.
fn describe(operation: &mut Operation, fd: RawFd) -> Op {
    match operation {
        Operation::Accept => Op::Accept { fd },
        Operation::AcceptMulti => Op::AcceptMulti { fd },
        Operation::Connect(address) => {
            let (address, address_bytes) = (address.as_ptr(), address.len());
            Op::Connect {
                fd,
                address,
                address_bytes,
            }
        }
        Operation::RecvShared { poll_first } => Op::RecvSelect {
            fd,
            poll_first: *poll_first,
        },
        Operation::RecvMulti { poll_first } => Op::RecvMulti {
            fd,
            poll_first: *poll_first,
        },
        Operation::RecvOwned(buffer) => {
            let (start, bytes) = lend(buffer.spare_capacity_mut());
            Op::Recv {
                fd,
                start,
                bytes,
                poll_first: false,
            }
        }
        Operation::Send(piece) => {
            let rest = piece.rest();
            let (start, bytes) = (rest.as_ptr(), clamp(rest.len().min(SEND_BYTES_MAX)));
            Op::Send { fd, start, bytes }
        }
        Operation::SendPieces(pieces) => {
            let Pieces { pieces, list } = &mut **pieces;
            list.clear();
            for piece in pieces {
                assert!(list.push(piece.rest()), "too many pieces for one send");
            }
            let message = list.message();
            Op::SendMsg { fd, message }
        }
        Operation::Read {
            file: _,
            offset,
            buffer,
        } => {
            let offset = *offset;
            let (start, bytes) = lend(buffer.spare_capacity_mut());
            Op::Read {
                fd,
                start,
                bytes,
                offset,
            }
        }
        Operation::Wake(value) => {
            let start = (&raw mut **value).cast();
            let bytes = size_of::<u64>() as u32;
            Op::Read {
                fd,
                start,
                bytes,
                offset: u64::MAX,
            }
        }
    }
}

fn lend(spare: &mut [MaybeUninit<u8>]) -> (*mut u8, u32) {
    (spare.as_mut_ptr().cast(), clamp(spare.len()))
}

fn clamp(bytes: usize) -> u32 {
    assert!(bytes > 0, "an operation without a byte of room");
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Counts what the kernel wrote as initialised.
///
/// # Safety
///
/// The kernel has written `bytes` bytes to where `describe` pointed it.
unsafe fn take_written(operation: &mut Operation, bytes: usize) {
    match operation {
        Operation::RecvOwned(buffer) => {
            assert!(
                bytes <= buffer.capacity() - buffer.len(),
                "more received than there is room"
            );
            // SAFETY: the spare capacity was lent, and `bytes` of it are written.
            unsafe { buffer.set_len(buffer.len() + bytes) };
        }
        Operation::Read { buffer, .. } => {
            assert!(
                bytes <= buffer.capacity() - buffer.len(),
                "more read than there is room"
            );
            // SAFETY: the spare capacity was lent, and `bytes` of it are written.
            unsafe { buffer.set_len(buffer.len() + bytes) };
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::queue::Wait;
    use crate::ring::setup::RingOptions;
    use crate::ring::sys;

    const OWNER: (OwnerId, u64) = (OwnerId(0), 42);

    fn turn(ring: &mut Ring, slots: &mut Slots) -> Vec<Routed> {
        ring.enter(Wait::For(std::time::Duration::from_millis(100)))
            .unwrap();
        let mut cqes = Vec::new();
        ring.completions(&mut cqes, usize::MAX);
        cqes.iter().map(|cqe| slots.complete(ring, cqe)).collect()
    }

    #[test]
    fn an_orphan_keeps_its_buffer_until_the_end() {
        let mut ring = Ring::new(RingOptions::SMALL).unwrap();
        let mut slots = Slots::new();
        let (ours, theirs) = sys::socket_pair().unwrap();
        let operation = Operation::RecvOwned(bytes::BytesMut::with_capacity(64));
        let id = slots.submit(&mut ring, ours.raw(), None, operation, OWNER);
        assert!(turn(&mut ring, &mut slots).is_empty());
        assert!(slots.orphan(&mut ring, id));
        assert_eq!(slots.in_flight(), 1);
        sys::send_now(theirs.raw(), b"late").unwrap();
        let routed = turn(&mut ring, &mut slots);
        let [Routed::Orphan(completion)] = &routed[..] else {
            panic!("{routed:?}")
        };
        assert_eq!(completion.result, Ok(4));
        assert_eq!(slots.in_flight(), 0);
        assert!(!slots.orphan(&mut ring, id), "the id is stale now");
    }

    #[test]
    fn the_kernel_writes_behind_what_is_there() {
        let mut ring = Ring::new(RingOptions::SMALL).unwrap();
        let mut slots = Slots::new();
        let (ours, theirs) = sys::socket_pair().unwrap();
        sys::send_now(theirs.raw(), b"world").unwrap();
        let mut buffer = bytes::BytesMut::with_capacity(64);
        buffer.extend_from_slice(b"hello ");
        slots.submit(
            &mut ring,
            ours.raw(),
            None,
            Operation::RecvOwned(buffer),
            OWNER,
        );
        let routed = turn(&mut ring, &mut slots);
        let [Routed::Owner(_, 42, completion)] = &routed[..] else {
            panic!("{routed:?}")
        };
        assert!(
            matches!(&completion.operation, Some(Operation::RecvOwned(b)) if b == "hello world")
        );
    }

    #[test]
    fn cancelling_twice_or_late_is_harmless() {
        let mut ring = Ring::new(RingOptions::SMALL).unwrap();
        let mut slots = Slots::new();
        let (ours, _theirs) = sys::socket_pair().unwrap();
        let operation = Operation::RecvMulti { poll_first: true };
        let id = slots.submit(&mut ring, ours.raw(), None, operation, OWNER);
        slots.cancel(&mut ring, id);
        slots.cancel(&mut ring, id);
        let mut canceled = 0;
        while slots.in_flight() > 0 {
            for routed in turn(&mut ring, &mut slots) {
                match routed {
                    Routed::Owner(_, _, completion) => {
                        assert_eq!(completion.result, Err(Errno::ECANCELED));
                        canceled += 1;
                    }
                    Routed::Cancellation => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        slots.cancel(&mut ring, id);
        assert_eq!(canceled, 1);
    }

    #[test]
    fn slots_are_used_again_under_a_new_name() {
        let mut ring = Ring::new(RingOptions::SMALL).unwrap();
        let mut slots = Slots::new();
        let event = sys::Event::new().unwrap();
        let mut last = None;
        for _ in 0..100 {
            event.notify();
            let operation = Operation::Wake(Box::new(0));
            let id = slots.submit(&mut ring, event.raw(), None, operation, OWNER);
            assert_ne!(last, Some(id));
            last = Some(id);
            assert!(matches!(
                &turn(&mut ring, &mut slots)[..],
                [Routed::Owner(..)]
            ));
        }
        assert_eq!(slots.chunks.len(), 1);
    }
}
