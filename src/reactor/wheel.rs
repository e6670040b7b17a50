//! Deadlines of connections: many, coarse, moved far more often than they pass.
//!
//! ```text
//!   tick:   now      +1      +2            +1023
//!         ┌──────┬───────┬───────┬─ ─ ─ ─┬───────┐
//!         │      │ a ⇄ b │       │       │ c     │   a bucket is a list through the nodes
//!         └──────┴───────┴───────┴─ ─ ─ ─┴───────┘
//! ```
//!
//! Lazy: a later deadline is a plain store, and the node moves on only when its old bucket comes
//! up; an earlier one re-links. Nothing fires early; it fires up to one tick late. Finding the
//! next bucket looks at 16 words however many deadlines there are.

use crate::limits::WHEEL_SLOTS;
use crate::limits::WHEEL_TICK;
use crate::reactor::OwnerId;
use crate::ring::Instant;

const TICK_NANOSECONDS: u64 = WHEEL_TICK.as_nanos() as u64;
const WORDS: usize = WHEEL_SLOTS / 64;
const NONE: u32 = u32::MAX;

const _: () = assert!(WHEEL_SLOTS.is_multiple_of(64));

/// One deadline that somebody owns, set or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u32);

#[derive(Debug)]
struct Node {
    /// When to fire; [`Instant::NEVER`] for not at all.
    deadline: Instant,
    /// The tick of the bucket that it is linked in; meaningless while unlinked.
    tick: u64,
    previous: u32,
    next: u32,
    owner: OwnerId,
    /// True exactly when the node is in a bucket.
    linked: bool,
    key: u64,
}

/// A hashed timing wheel with lazy re-arming.
#[derive(Debug)]
pub struct Wheel {
    /// First node of each bucket.
    buckets: Box<[u32; WHEEL_SLOTS]>,
    /// A bit for each bucket that has nodes.
    occupied: [u64; WORDS],
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// All buckets up to this tick are empty or hold nodes of later revolutions.
    tick: u64,
    /// The tick of the first bucket that has nodes; `u64::MAX` without any. Each turn asks for it.
    first: u64,
}

impl Wheel {
    /// An empty wheel that starts now.
    pub fn new(now: Instant) -> Wheel {
        Wheel {
            buckets: Box::new([NONE; WHEEL_SLOTS]),
            occupied: [0; WORDS],
            nodes: Vec::new(),
            free: Vec::new(),
            tick: now.as_nanoseconds() / TICK_NANOSECONDS,
            first: u64::MAX,
        }
    }

    /// A deadline that is not set yet.
    pub fn insert(&mut self, owner: OwnerId, key: u64) -> TimerId {
        let node = Node {
            deadline: Instant::NEVER,
            tick: 0,
            previous: NONE,
            next: NONE,
            owner,
            linked: false,
            key,
        };
        match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                TimerId(index)
            }
            None => {
                self.nodes.push(node);
                TimerId(u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 timers"))
            }
        }
    }

    /// Moves a deadline; [`Instant::NEVER`] unsets it. O(1), and a plain store when it moves later.
    pub fn set(&mut self, id: TimerId, deadline: Instant) {
        let node = &mut self.nodes[id.0 as usize];
        node.deadline = deadline;
        if deadline == Instant::NEVER {
            return;
        }
        if node.linked {
            if tick_after(deadline) >= node.tick {
                return;
            }
            self.unlink(id.0);
        }
        self.link(id.0);
    }

    /// Gives a deadline up.
    pub fn remove(&mut self, id: TimerId) {
        if self.nodes[id.0 as usize].linked {
            self.unlink(id.0);
        }
        self.nodes[id.0 as usize].deadline = Instant::NEVER;
        self.free.push(id.0);
    }

    /// Unsets and reports every deadline that has passed.
    pub fn expire(&mut self, now: Instant, expired: &mut Vec<(OwnerId, u64)>) {
        let now_tick = now.as_nanoseconds() / TICK_NANOSECONDS;
        if now_tick <= self.tick {
            return;
        }
        if now_tick < self.first {
            self.tick = now_tick;
            return;
        }
        // After a long sleep every bucket is due once; nodes tell whether they are.
        let first = (self.tick + 1).max((now_tick + 1).saturating_sub(WHEEL_SLOTS as u64));
        self.tick = now_tick;
        for tick in first..=now_tick {
            let bucket = tick as usize % WHEEL_SLOTS;
            let mut index = std::mem::replace(&mut self.buckets[bucket], NONE);
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            while index != NONE {
                let node = &mut self.nodes[index as usize];
                let next = node.next;
                node.linked = false;
                if node.deadline <= now {
                    node.deadline = Instant::NEVER;
                    expired.push((node.owner, node.key));
                } else if node.deadline != Instant::NEVER {
                    self.link(index);
                }
                index = next;
            }
        }
        self.first = self.find_first();
    }

    /// When to look again: no deadline passes before. May be early, never late.
    pub fn next(&self) -> Option<Instant> {
        match self.first {
            u64::MAX => None,
            tick => Some(Instant::from_nanoseconds(tick * TICK_NANOSECONDS)),
        }
    }

    fn find_first(&self) -> u64 {
        let start = (self.tick as usize + 1) % WHEEL_SLOTS;
        for step in 0..=WORDS {
            let word = (start / 64 + step) % WORDS;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == WORDS {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let bucket = word * 64 + bits.trailing_zeros() as usize;
                let distance = (bucket + WHEEL_SLOTS - start) % WHEEL_SLOTS;
                return self.tick + 1 + distance as u64;
            }
        }
        u64::MAX
    }

    fn link(&mut self, index: u32) {
        let farthest = self.tick + WHEEL_SLOTS as u64;
        let node = &mut self.nodes[index as usize];
        assert!(!node.linked, "a timer is linked twice");
        node.tick = tick_after(node.deadline).clamp(self.tick + 1, farthest);
        let bucket = node.tick as usize % WHEEL_SLOTS;
        let head = self.buckets[bucket];
        node.previous = NONE;
        node.next = head;
        node.linked = true;
        if head != NONE {
            self.nodes[head as usize].previous = index;
        }
        self.buckets[bucket] = index;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        self.first = self.first.min(self.nodes[index as usize].tick);
    }

    fn unlink(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        assert!(node.linked, "a timer that is in no bucket is unlinked");
        node.linked = false;
        let (previous, next, tick) = (node.previous, node.next, node.tick);
        let bucket = node.tick as usize % WHEEL_SLOTS;
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
        } else {
            self.buckets[bucket] = next;
            if next == NONE {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
                if tick == self.first {
                    self.first = self.find_first();
                }
            }
        }
    }
}

/// The first tick at which `deadline` has passed.
fn tick_after(deadline: Instant) -> u64 {
    deadline.as_nanoseconds().div_ceil(TICK_NANOSECONDS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;

    const OWNER: OwnerId = OwnerId(0);

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanoseconds(milliseconds * 1_000_000)
    }

    fn expire(wheel: &mut Wheel, now: Instant) -> Vec<u64> {
        let mut expired = Vec::new();
        wheel.expire(now, &mut expired);
        expired.into_iter().map(|(_, key)| key).collect()
    }

    #[test]
    fn never_early_and_at_most_a_tick_late() {
        let mut wheel = Wheel::new(at(0));
        let id = wheel.insert(OWNER, 7);
        wheel.set(id, at(1_000));
        assert!(wheel.next().unwrap() >= at(1_000));
        assert!(wheel.next().unwrap() <= at(1_000) + WHEEL_TICK);
        assert_eq!(expire(&mut wheel, at(999)), [0; 0]);
        assert_eq!(expire(&mut wheel, at(1_000) + WHEEL_TICK), [7]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_later_deadline_is_lazy_and_an_earlier_one_is_not() {
        let mut wheel = Wheel::new(at(0));
        let id = wheel.insert(OWNER, 1);
        wheel.set(id, at(1_000));
        let bucket = wheel.next();
        wheel.set(id, at(5_000));
        assert_eq!(wheel.next(), bucket);
        assert_eq!(expire(&mut wheel, at(2_000)), [0; 0]);
        assert!(wheel.next().unwrap() >= at(5_000));
        wheel.set(id, at(3_000));
        assert_eq!(expire(&mut wheel, at(3_100)), [1]);
    }

    #[test]
    fn the_first_goes_and_the_next_is_first() {
        let mut wheel = Wheel::new(at(0));
        let ids: Vec<TimerId> = (0..3).map(|key| wheel.insert(OWNER, key)).collect();
        for (id, milliseconds) in ids.iter().zip([1_000, 30_000, 30_000]) {
            wheel.set(*id, at(milliseconds));
        }
        wheel.remove(ids[0]);
        let next = wheel.next().unwrap();
        assert!(next >= at(30_000) && next <= at(30_000) + WHEEL_TICK);
        wheel.remove(ids[1]);
        assert_eq!(wheel.next(), Some(next));
        wheel.remove(ids[2]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn beyond_one_revolution_it_goes_round() {
        let mut wheel = Wheel::new(at(0));
        let id = wheel.insert(OWNER, 1);
        wheel.set(id, at(200_000));
        let mut now = at(0);
        let mut rounds = 0;
        while now < at(200_000) {
            assert_eq!(expire(&mut wheel, now), [0; 0]);
            now = wheel.next().unwrap();
            rounds += 1;
        }
        assert_eq!(expire(&mut wheel, now), [1]);
        assert!(rounds < 6, "{rounds} wake-ups for one deadline");
    }

    #[test]
    fn unset_and_removed_ones_do_not_fire() {
        let mut wheel = Wheel::new(at(0));
        let unset = wheel.insert(OWNER, 1);
        let removed = wheel.insert(OWNER, 2);
        wheel.set(unset, at(100));
        wheel.set(removed, at(100));
        wheel.set(unset, Instant::NEVER);
        wheel.remove(removed);
        assert_eq!(expire(&mut wheel, at(100_000)), [0; 0]);
        assert_eq!(wheel.next(), None);
        wheel.set(unset, at(100_200));
        assert_eq!(expire(&mut wheel, at(101_000)), [1]);
    }

    proptest! {
        /// Against a sorted map: fires exactly what is due, within a tick.
        #[test]
        fn agrees_with_a_sorted_map(
            steps in proptest::collection::vec((0u8..4, 0usize..8, 0u64..150_000), 1..200)
        ) {
            let mut now = at(0);
            let mut wheel = Wheel::new(now);
            let ids: Vec<TimerId> = (0..8).map(|key| wheel.insert(OWNER, key)).collect();
            let mut model: BTreeMap<u64, Instant> = BTreeMap::new();
            for (what, which, amount) in steps {
                let key = which as u64;
                match what {
                    0 | 1 => {
                        let deadline = now + Duration::from_millis(amount);
                        wheel.set(ids[which], deadline);
                        model.insert(key, deadline);
                    }
                    2 => {
                        wheel.set(ids[which], Instant::NEVER);
                        model.remove(&key);
                    }
                    _ => {
                        now = now + Duration::from_millis(amount);
                        for key in expire(&mut wheel, now) {
                            let deadline = model.remove(&key);
                            prop_assert!(deadline.is_some_and(|deadline| deadline <= now));
                        }
                        for deadline in model.values() {
                            prop_assert!(*deadline + WHEEL_TICK > now);
                        }
                    }
                }
                prop_assert_eq!(wheel.first, wheel.find_first());
                if let Some(earliest) = model.values().min() {
                    prop_assert!(wheel.next().is_some_and(|next| next <= *earliest + WHEEL_TICK));
                }
            }
        }
    }
}
