//! Every way in which a simulated kernel may choose, one run of the same program after the other.
//!
//! ```text
//!   run 1   0 0 0 0     of each choice the first
//!   run 2   0 0 0 1     the last choice that has another way takes it; what follows is new
//!   run 3   0 0 1 0 0
//!   …                   until no choice has another way
//! ```
//!
//! A choice other than the first is a deviation. Without a bound on those, a run with forty choices
//! had a million million ways; bugs of order show with a few deviations (Musuvathi and Qadeer,
//! "Iterative context bounding", 2007).

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::rc::Rc;

use crate::ring::queue::Cqe;

/// What a kernel chooses in place of drawing it. Clones share it: one goes into the simulation, one
/// stays outside and moves on between the runs.
///
/// Until [`Choices::start`] nothing is chosen and no fault happens. From there on, each fault whose
/// probability is not zero happens or does not at each occasion, in one run or another.
#[derive(Clone)]
pub struct Choices(Rc<RefCell<State>>);

struct State {
    deviations_max: usize,
    /// What is chosen in this run, of how many: first what was decided before it.
    path: Vec<(usize, usize)>,
    position: usize,
    is_started: bool,
    runs: u64,
    path_max: usize,
    /// The completions of this run, in their order and by their turn.
    order: DefaultHasher,
    orders: HashSet<u64>,
}

impl Choices {
    /// All runs with at most so many deviations each.
    pub fn new(deviations_max: usize) -> Choices {
        Choices(Rc::new(RefCell::new(State {
            deviations_max,
            path: Vec::new(),
            position: 0,
            is_started: false,
            runs: 0,
            path_max: 0,
            order: DefaultHasher::new(),
            orders: HashSet::new(),
        })))
    }

    /// From here on the kernel has a choice, in this run.
    pub fn start(&self) {
        self.0.borrow_mut().is_started = true;
    }

    /// The run is over. False when there is no other.
    ///
    /// # Panics
    ///
    /// The run took another course than the one before up to where they part: the program is not
    /// the same, or reads a clock, an address or a draw that is not the kernel's.
    pub fn advance(&self) -> bool {
        self.0.borrow_mut().advance()
    }

    /// The run is over, and comes again.
    pub fn repeat(&self) {
        let mut state = self.0.borrow_mut();
        state.rewind();
    }

    /// Runs that are over.
    pub fn runs(&self) -> u64 {
        self.0.borrow().runs
    }

    /// How many of them differ in their completions: in what came, in which order, in which turn.
    pub fn orders(&self) -> usize {
        self.0.borrow().orders.len()
    }

    /// The most choices that a run had.
    pub fn path_max(&self) -> usize {
        self.0.borrow().path_max
    }

    /// A number below `count`.
    pub(super) fn choose(&self, count: usize) -> usize {
        self.0.borrow_mut().choose(count)
    }

    /// A completion is taken.
    pub(super) fn see(&self, cqe: &Cqe) {
        let mut state = self.0.borrow_mut();
        if state.is_started {
            let seen = (cqe.token.user_data(), cqe.result, cqe.more(), cqe.buffer());
            seen.hash(&mut state.order);
        }
    }

    /// The completions of a turn have been taken.
    pub(super) fn see_turn(&self) {
        let mut state = self.0.borrow_mut();
        if state.is_started {
            u8::MAX.hash(&mut state.order);
        }
    }
}

impl State {
    fn choose(&mut self, count: usize) -> usize {
        assert!(count > 0, "no number is below zero");
        if !self.is_started || count == 1 {
            return 0;
        }
        let Some((chosen, of)) = self.path.get(self.position) else {
            self.path.push((0, count));
            self.position += 1;
            return 0;
        };
        assert_eq!(*of, count, "a run does not begin like the one before");
        self.position += 1;
        *chosen
    }

    fn advance(&mut self) -> bool {
        assert_eq!(
            self.position,
            self.path.len(),
            "a run does not come to where the one before was"
        );
        self.runs += 1;
        self.path_max = self.path_max.max(self.path.len());
        self.orders.insert(self.order.finish());
        self.rewind();
        while let Some((chosen, of)) = self.path.pop() {
            let before = self.path.iter().filter(|(chosen, _)| *chosen > 0).count();
            if chosen + 1 < of && before < self.deviations_max {
                self.path.push((chosen + 1, of));
                return true;
            }
        }
        false
    }

    fn rewind(&mut self) {
        self.position = 0;
        self.is_started = false;
        self.order = DefaultHasher::new();
    }
}

impl fmt::Debug for Choices {
    /// The deviations of this run: which choice, and what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.borrow();
        let deviations = state.path.iter().enumerate();
        f.debug_map()
            .entries(
                deviations
                    .filter(|(_, (chosen, _))| *chosen > 0)
                    .map(|(index, (chosen, _))| (index, chosen)),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ring::op::Op;
    use crate::ring::queue::Ring;
    use crate::ring::queue::Wait;
    use crate::ring::setup::RingOptions;
    use crate::ring::sim;
    use crate::ring::sim::Fault;
    use crate::ring::sim::Faults;
    use crate::ring::sim::Options;
    use crate::ring::sys;
    use crate::ring::sys::Socket;
    use crate::ring::token::Token;

    /// Chooses of two, and of three if that was the second, and of two.
    fn run(choices: &Choices) -> Vec<usize> {
        assert_eq!(choices.choose(9), 0, "before the start nothing is chosen");
        choices.start();
        let mut chosen = vec![choices.choose(2)];
        if chosen[0] == 1 {
            chosen.push(choices.choose(3));
        }
        chosen.push(choices.choose(2));
        chosen
    }

    fn all(deviations_max: usize) -> Vec<Vec<usize>> {
        let choices = Choices::new(deviations_max);
        let mut found = Vec::new();
        loop {
            found.push(run(&choices));
            if !choices.advance() {
                assert_eq!(choices.runs(), found.len() as u64);
                return found;
            }
        }
    }

    #[test]
    fn every_way_is_taken_once() {
        let ways: [&[usize]; 8] = [
            &[0, 0],
            &[0, 1],
            &[1, 0, 0],
            &[1, 0, 1],
            &[1, 1, 0],
            &[1, 1, 1],
            &[1, 2, 0],
            &[1, 2, 1],
        ];
        assert_eq!(all(3), ways);
        let with_one: Vec<&[usize]> = ways
            .into_iter()
            .filter(|way| way.iter().filter(|chosen| **chosen > 0).count() <= 1)
            .collect();
        assert_eq!(all(1), with_one);
        assert_eq!(all(0), [[0, 0]]);
    }

    #[test]
    #[should_panic(expected = "does not begin like the one before")]
    fn a_program_that_differs_is_noticed() {
        let choices = Choices::new(1);
        run(&choices);
        choices.advance();
        choices.start();
        choices.choose(2);
        choices.choose(5);
    }

    /// Everything that `script` comes to when `faults` may happen.
    fn outcomes<T: Ord>(faults: &[Fault], script: impl Fn(&mut Ring) -> T) -> BTreeSet<T> {
        let choices = Choices::new(usize::MAX);
        let faults = faults.iter();
        let mut options = Options::new(0);
        options.faults = faults.fold(Faults::none(), |faults, fault| faults.with(*fault, 0.5));
        options.choices = Some(choices.clone());
        let mut outcomes = BTreeSet::new();
        loop {
            let installed = sim::install(options.clone());
            let mut ring = Ring::new(RingOptions::SMALL).unwrap();
            choices.start();
            outcomes.insert(script(&mut ring));
            drop((ring, installed));
            if !choices.advance() {
                return outcomes;
            }
        }
    }

    /// A receive into a byte that stays until the ring has been entered for the last time.
    fn receive(ring: &mut Ring, socket: &Socket, byte: &mut u8, token: Token) {
        let op = Op::Recv {
            fd: socket.raw(),
            start: byte,
            bytes: 1,
            poll_first: false,
        };
        // SAFETY: the caller keeps the byte, and nobody looks at it.
        unsafe { ring.push(op, token) };
    }

    /// Slot and result of what completes in so many turns; a cancellation's slot is 99.
    fn completed(ring: &mut Ring, turns: usize) -> Vec<(u32, i32)> {
        let mut cqes = Vec::new();
        for _ in 0..turns {
            ring.enter(Wait::For(std::time::Duration::from_millis(10)))
                .unwrap();
            ring.completions(&mut cqes, usize::MAX);
        }
        let slot = |token: Token| match token {
            Token::CANCEL => 99,
            other => other.index(),
        };
        let seen = cqes.iter().map(|cqe| (slot(cqe.token), cqe.result));
        seen.collect()
    }

    #[test]
    fn completions_come_in_each_of_their_orders() {
        for faults in [&[Fault::Reordered][..], &[Fault::Delayed]] {
            let orders = outcomes(faults, |ring| {
                let pairs = [(); 3].map(|()| sys::socket_pair().unwrap());
                let mut bytes = [0; 3];
                for ((index, (ours, theirs)), byte) in (0..).zip(&pairs).zip(&mut bytes) {
                    sys::send_now(theirs.raw(), b"x").unwrap();
                    receive(ring, ours, byte, Token::slot(index, 0));
                }
                let order = completed(ring, 3).into_iter().map(|(slot, _)| slot);
                order.collect::<Vec<_>>()
            });
            let all = [
                [0, 1, 2],
                [0, 2, 1],
                [1, 0, 2],
                [1, 2, 0],
                [2, 0, 1],
                [2, 1, 0],
            ];
            let found: Vec<&[u32]> = orders.iter().map(Vec::as_slice).collect();
            assert_eq!(found, all, "{faults:?}");
        }
    }

    #[test]
    fn a_cancellation_wins_or_is_late() {
        let found = outcomes(&[Fault::CancelLate, Fault::Reordered], |ring| {
            let (ours, theirs) = sys::socket_pair().unwrap();
            let mut byte = 0;
            receive(ring, &ours, &mut byte, Token::slot(0, 0));
            ring.enter(Wait::Zero).unwrap();
            // It is ready when it is to be cancelled.
            sys::send_now(theirs.raw(), b"x").unwrap();
            let target = Token::slot(0, 0);
            // SAFETY: a cancellation points to no memory.
            unsafe { ring.push(Op::Cancel { token: target }, Token::CANCEL) };
            completed(ring, 2)
        });
        let both_ways = |cancel: i32, receive: i32| {
            [
                vec![(0, receive), (99, cancel)],
                vec![(99, cancel), (0, receive)],
            ]
        };
        let all = [
            both_ways(0, -libc::ECANCELED),
            both_ways(-libc::ENOENT, 1),
            both_ways(-libc::EALREADY, 1),
        ];
        assert_eq!(found, all.concat().into_iter().collect());
    }
}
