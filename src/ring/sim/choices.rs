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
    use super::*;

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
}
