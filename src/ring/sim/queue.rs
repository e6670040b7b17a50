//! The submission and completion queues of a simulated kernel.
//!
//! ```text
//!   try_push ─► submissions ─► enter ─► in flight ─► work ─► completions ─► taken
//!                                          ▲  │ would block      (overflow: held back)
//!                                          └──┘ waits for a socket
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::BuildHasherDefault;
use std::hash::Hasher;
use std::io;
use std::rc::Rc;

use crate::ring::buffers::BufferRing;
use crate::ring::clock::Instant;
use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::RingCounters;
use crate::ring::queue::Wait;
use crate::ring::setup::RingOptions;
use crate::ring::sim;
use crate::ring::sim::faults::Fault;
use crate::ring::sim::ledger::Ledger;
use crate::ring::sim::network::EndpointId;
use crate::ring::sim::network::OperationRef;
use crate::ring::sim::operations::describe;
use crate::ring::sim::pick::BufferPicker;
use crate::ring::sim::world::Step;
use crate::ring::sim::world::World;
use crate::ring::token::Kind;
use crate::ring::token::Token;

/// A turn that does nothing is no error; so many in a row are a loop without an end.
const IDLE_TURNS_MAX: u32 = 10_000;

/// In place of an index: the operation has been pushed, and the ring not entered since.
const NOT_BEGUN: u32 = u32::MAX;

/// The queues of one ring of the simulated kernel.
pub struct SimulatedQueue {
    world: Rc<RefCell<World>>,
    ring: usize,
}

impl SimulatedQueue {
    /// A ring on this thread's simulated kernel; `None` when no simulation runs.
    pub fn new(options: RingOptions, buffers: &Rc<BufferRing>) -> Option<SimulatedQueue> {
        let world = sim::current()?;
        let queues = Queues::new(options, BufferPicker::new(buffers));
        let ring = {
            let mut world = world.borrow_mut();
            world.rings.push(Some(queues));
            world.rings.len() - 1
        };
        Some(SimulatedQueue { world, ring })
    }

    /// Puts an operation into the submission queue; false when that is full.
    pub fn try_push(&mut self, op: Op, token: Token) -> bool {
        let mut world = self.world.borrow_mut();
        let queues = world.queues(self.ring);
        let has_room = queues.submissions.len() < queues.submissions_max;
        if has_room {
            queues.submissions.push((op, token));
            if !matches!(op, Op::Cancel { .. } | Op::CancelAll) {
                queues.by_token.insert(token.user_data(), NOT_BEGUN);
            }
        }
        has_room
    }

    /// io_uring_enter(2): submits all, runs what is due, waits. ETIME when the wait was in vain.
    /// Counts when completions are held back because their queue is full.
    pub fn enter(&mut self, wait: Wait, counters: &mut RingCounters) -> io::Result<()> {
        self.world.borrow_mut().pass_turn();
        // The world did not wait for the program.
        loop {
            let job = self.world.borrow_mut().happen_due();
            let Some(job) = job else { break };
            job();
        }
        let deadline = {
            let mut world = self.world.borrow_mut();
            counters.overflows += u64::from(!world.queues(self.ring).overflow.is_empty());
            world.fail_on_violation();
            world.begin_enter(self.ring, wait);
            match wait {
                Wait::Zero => None,
                _ if world.chaos.strikes(Fault::Interrupted) => None,
                Wait::For(duration) => Some(world.now() + duration),
                Wait::Forever => Some(Instant::NEVER),
            }
        };
        let mut are_asked = false;
        loop {
            let step = self.world.borrow_mut().step(self.ring, deadline, are_asked);
            match step {
                Step::Ready => return self.end_wait(wait),
                Step::Job(job) => job(),
                Step::Others(others) if others() => return self.end_wait(wait),
                Step::Others(_) => are_asked = true,
                Step::TimedOut => {
                    self.world.borrow_mut().fail_on_violation();
                    return Err(io::Error::from_raw_os_error(libc::ETIME));
                }
            }
        }
    }

    /// Operations that the queues know of: submitted or not, until their last completion is taken.
    pub fn known(&self) -> usize {
        let mut world = self.world.borrow_mut();
        let queues = world.queues(self.ring);
        queues.in_flight() + queues.queued()
    }

    /// True when an operation waits to be submitted.
    pub fn has_queued(&self) -> bool {
        let mut world = self.world.borrow_mut();
        world.queues(self.ring).queued() > 0
    }

    /// EINTR for who has waited and finds nothing.
    fn end_wait(&self, wait: Wait) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        if wait == Wait::Zero || world.queues(self.ring).has_completions() {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(libc::EINTR))
    }

    /// Copies up to `max` completions out; returns how many are left.
    pub fn completions(&mut self, into: &mut Vec<Cqe>, max: usize) -> usize {
        let mut world = self.world.borrow_mut();
        let count = world.queues(self.ring).completions.len().min(max);
        let before = into.len();
        for _ in 0..count {
            let queues = world.queues(self.ring);
            let done = queues.completions.pop_front().expect("they were counted");
            queues.buffers_posted -= usize::from(done.cqe.buffer().is_some());
            into.push(done.cqe);
            if let Some(last) = done.last {
                let (op, endpoint) = queues.end(last);
                if let Some(endpoint) = endpoint {
                    world.count(endpoint, op, -1);
                    world.let_go(endpoint);
                }
            }
        }
        world.chaos.see(into[before..].iter());
        world.queues(self.ring).completions.len()
    }

    /// The owner of a token's memory takes it back: an error of ours while the operation is in
    /// flight.
    pub fn release(&mut self, token: Token) {
        let mut world = self.world.borrow_mut();
        let queues = world.queues(self.ring);
        let what = match queues.by_token.get(&token.user_data()) {
            None => return,
            Some(&NOT_BEGUN) => "an operation that is still to be submitted".to_owned(),
            Some(&index) => describe(queues.operations[index as usize].op),
        };
        world.violation(format!(
            "memory of {what} was released while it is in flight"
        ));
    }
}

impl Drop for SimulatedQueue {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        let queues = world.rings[self.ring].take().expect("a ring ends once");
        let in_flight = queues.in_flight();
        if world.is_strict && in_flight > 0 {
            world.violation(format!("a ring ended under {in_flight} operations"));
        }
        for endpoint in queues.held() {
            world.let_go(endpoint);
        }
    }
}

/// One operation in flight.
pub(super) struct InFlight {
    pub(super) token: Token,
    pub(super) op: Op,
    /// The socket that it holds.
    pub(super) endpoint: Option<EndpointId>,
    pub(super) state: State,
    generation: u32,
    /// connect(2) is under way.
    pub(super) has_begun: bool,
    /// It was asked to end, and does so with the next work.
    pub(super) is_canceled: bool,
    /// It completes with the next work, whoever asks it to end.
    pub(super) is_claimed: bool,
    /// A standing receive that does not see the end behind the data that it found.
    pub(super) misses_end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    /// Submitted, waiting for its socket or held back.
    Pending,
    /// Its last completion is in the queue.
    Done,
}

/// A completion that has not been taken.
pub(super) struct Done {
    pub(super) cqe: Cqe,
    endpoint: Option<EndpointId>,
    /// The operation that it ends.
    last: Option<u32>,
}

/// The kernel's half of one ring.
pub(super) struct Queues {
    pub(super) submissions: Vec<(Op, Token)>,
    submissions_max: usize,
    pub(super) completions: VecDeque<Done>,
    completions_max: usize,
    pub(super) overflow: VecDeque<Done>,
    /// Completions before this one were there when the ring was entered.
    fresh_from: usize,
    pub(super) operations: Vec<InFlight>,
    free: Vec<u32>,
    by_token: HashMap<u64, u32, BuildHasherDefault<TokenHasher>>,
    pub(super) work: VecDeque<u32>,
    pub(super) picker: BufferPicker,
    pub(super) ledger: Ledger,
    in_flight: usize,
    /// Completions with a buffer that have not been taken.
    buffers_posted: usize,
    idle_turns: u32,
}

impl Queues {
    fn new(options: RingOptions, picker: BufferPicker) -> Queues {
        Queues {
            submissions: Vec::new(),
            submissions_max: options.sq_entries as usize,
            completions: VecDeque::new(),
            completions_max: options.cq_entries as usize,
            overflow: VecDeque::new(),
            fresh_from: 0,
            operations: Vec::new(),
            free: Vec::new(),
            by_token: HashMap::default(),
            work: VecDeque::new(),
            picker,
            ledger: Ledger::default(),
            in_flight: 0,
            buffers_posted: 0,
            idle_turns: 0,
        }
    }

    /// Operations whose last completion has not been taken.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Operations that wait to be submitted.
    pub(super) fn queued(&self) -> usize {
        count_operations(&self.submissions)
    }

    /// Buffers whose completion has been taken, and that have not been returned.
    pub(super) fn buffers_out(&self) -> usize {
        self.picker.out().saturating_sub(self.buffers_posted)
    }

    /// What the queues hold on the heap, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let done = self.completions.capacity() + self.overflow.capacity();
        // A bucket of the map holds key, value and one byte of control.
        let bucket = size_of::<(u64, u32)>() + 1;
        done * size_of::<Done>()
            + self.submissions.capacity() * size_of::<(Op, Token)>()
            + self.operations.capacity() * size_of::<InFlight>()
            + (self.free.capacity() + self.work.capacity()) * size_of::<u32>()
            + self.by_token.capacity() * 8 / 7 * bucket
    }

    pub(super) fn has_completions(&self) -> bool {
        !self.completions.is_empty()
    }

    /// True when the next completion would have to be held back.
    pub(super) fn is_full(&self) -> bool {
        self.completions.len() >= self.completions_max
    }

    /// The operation of a token, until its last completion has been taken.
    pub(super) fn find(&self, token: Token) -> Option<u32> {
        let found = self.by_token.get(&token.user_data()).copied();
        found.filter(|index| *index != NOT_BEGUN)
    }

    pub(super) fn is_pending(&self, operation: OperationRef) -> bool {
        let found = &self.operations[operation.index as usize];
        found.generation == operation.generation && found.state == State::Pending
    }

    pub(super) fn reference(&self, ring: usize, index: u32) -> OperationRef {
        OperationRef {
            ring: ring as u32,
            index,
            generation: self.operations[index as usize].generation,
        }
    }

    pub(super) fn begin(&mut self, op: Op, token: Token, endpoint: Option<EndpointId>) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.operations.push(InFlight {
                token,
                op,
                endpoint: None,
                state: State::Free,
                generation: 0,
                has_begun: false,
                is_canceled: false,
                is_claimed: false,
                misses_end: false,
            });
            self.operations.len() as u32 - 1
        });
        let operation = &mut self.operations[index as usize];
        operation.token = token;
        operation.op = op;
        operation.endpoint = endpoint;
        operation.state = State::Pending;
        operation.has_begun = false;
        operation.is_canceled = false;
        operation.is_claimed = false;
        operation.misses_end = false;
        self.by_token.insert(token.user_data(), index);
        self.in_flight += 1;
        index
    }

    /// The last completion has been taken; gives the socket that was held.
    fn end(&mut self, index: u32) -> (Op, Option<EndpointId>) {
        let operation = &mut self.operations[index as usize];
        assert_eq!(operation.state, State::Done, "an operation ends once");
        operation.state = State::Free;
        operation.generation = operation.generation.wrapping_add(1);
        // Another operation may have the same token: that of the set-up, for one.
        let token = operation.token.user_data();
        let (op, endpoint) = (operation.op, operation.endpoint.take());
        self.ledger.give_back(&op);
        if self.by_token.get(&token) == Some(&index) {
            self.by_token.remove(&token);
        }
        self.free.push(index);
        self.in_flight -= 1;
        (op, endpoint)
    }

    fn held(&self) -> Vec<EndpointId> {
        self.operations
            .iter()
            .filter_map(|operation| operation.endpoint)
            .collect()
    }

    /// Posts a completion.
    pub(super) fn post(&mut self, cqe: Cqe, index: Option<u32>, is_last: bool) {
        let endpoint = index.and_then(|index| self.operations[index as usize].endpoint);
        self.buffers_posted += usize::from(cqe.buffer().is_some());
        let done = Done {
            cqe,
            endpoint,
            last: index.filter(|_| is_last),
        };
        if let Some(index) = done.last {
            self.operations[index as usize].state = State::Done;
        }
        if self.is_full() || !self.overflow.is_empty() {
            self.overflow.push_back(done);
        } else {
            self.completions.push_back(done);
        }
    }

    /// Those that the completion that was posted last may overtake: the others of this enter, but
    /// none of its own socket. Without a socket it keeps its place among its like.
    fn overtakable(&self) -> impl Iterator<Item = &Done> {
        let mut latest_first = self.completions.range(self.fresh_from..).rev();
        let mine = latest_first.next().filter(|_| self.overflow.is_empty());
        latest_first
            .take_while(move |other| mine.is_some_and(|mine| mine.endpoint != other.endpoint))
    }

    /// True when the completion that was posted last may overtake another.
    pub(super) fn may_overtake(&self) -> bool {
        self.overtakable().next().is_some()
    }

    /// How many others it may overtake. Walks them.
    pub(super) fn count_overtakable(&self) -> usize {
        self.overtakable().count()
    }

    /// Lets the completion that was posted last overtake `steps` others.
    pub(super) fn overtake(&mut self, steps: usize) {
        let last = self.completions.len() - 1;
        for place in (last - steps..last).rev() {
            self.completions.swap(place, place + 1);
        }
    }

    /// What was held back moves up where there is room.
    pub(super) fn refill(&mut self) {
        while !self.is_full() {
            let Some(done) = self.overflow.pop_front() else {
                break;
            };
            self.completions.push_back(done);
        }
        self.fresh_from = self.completions.len();
    }

    /// Counts turns that neither submit nor wait nor find anything. True when they are too many.
    pub(super) fn is_spinning(&mut self, waits: bool) -> bool {
        if waits || !self.submissions.is_empty() || !self.completions.is_empty() {
            self.idle_turns = 0;
        } else {
            self.idle_turns += 1;
        }
        self.idle_turns == IDLE_TURNS_MAX
    }
}

/// Tokens are distinct numbers already: one multiplication spreads them.
#[derive(Default)]
pub(super) struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// How many of them are operations with memory, and no cancellations.
pub fn count_operations<'a>(list: impl IntoIterator<Item = &'a (Op, Token)>) -> usize {
    let list = list.into_iter();
    list.filter(|(_, token)| token.kind() == Some(Kind::Slot))
        .count()
}
