//! Deadlines that must be precise: `sleep`, time-outs, races. Few, so a heap serves.
//!
//! A 4-ary heap whose entries know their place, so that one can be taken out of the middle.

use crate::reactor::OwnerId;
use crate::ring::Instant;
use crate::ring::bug;
use crate::ring::bug::Bug;

const ARITY: usize = 4;

/// One entry; valid until it fires or is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    owner: OwnerId,
    key: u64,
    place: u32,
}

#[derive(Debug)]
struct Place {
    /// Where the entry is in the heap; `None` while the place is free.
    position: Option<u32>,
    generation: u32,
}

/// A heap of deadlines, earliest first.
#[derive(Debug, Default)]
pub struct TimerHeap {
    entries: Vec<Entry>,
    places: Vec<Place>,
    free: Vec<u32>,
}

impl TimerHeap {
    /// An empty heap.
    pub fn new() -> TimerHeap {
        TimerHeap::default()
    }

    /// Adds a deadline. O(log n).
    pub fn insert(&mut self, at: Instant, owner: OwnerId, key: u64) -> HeapId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                position: None,
                generation: 0,
            });
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 timers")
        });
        self.entries.push(Entry {
            at,
            owner,
            key,
            place,
        });
        let last = self.entries.len() - 1;
        self.places[place as usize].position = Some(last as u32);
        self.rise(last);
        HeapId {
            index: place,
            generation: self.places[place as usize].generation,
        }
    }

    /// Takes a deadline out; one that has fired already is none. O(log n).
    pub fn remove(&mut self, id: HeapId) {
        let place = &self.places[id.index as usize];
        let is_same = place.generation == id.generation || bug::is_planted(Bug::GenerationIgnored);
        if !is_same {
            return;
        }
        if let Some(position) = place.position {
            self.take(position as usize);
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.entries.first().map(|entry| entry.at)
    }

    /// Takes out the earliest deadline if it has passed.
    pub fn pop(&mut self, now: Instant) -> Option<(OwnerId, u64)> {
        if self.entries.first()?.at > now {
            return None;
        }
        let entry = self.take(0);
        Some((entry.owner, entry.key))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn take(&mut self, position: usize) -> Entry {
        let entry = self.entries.swap_remove(position);
        let place = &mut self.places[entry.place as usize];
        place.position = None;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(entry.place);
        if position < self.entries.len() {
            self.note(position);
            self.rise(position);
            self.sink(position);
        }
        entry
    }

    fn rise(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if self.entries[parent].at <= self.entries[position].at {
                break;
            }
            self.swap(parent, position);
            position = parent;
        }
    }

    fn sink(&mut self, mut position: usize) {
        loop {
            let children =
                position * ARITY + 1..(position * ARITY + 1 + ARITY).min(self.entries.len());
            let Some(least) = children.min_by_key(|child| self.entries[*child].at) else {
                break;
            };
            if self.entries[position].at <= self.entries[least].at {
                break;
            }
            self.swap(position, least);
            position = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.entries.swap(a, b);
        self.note(a);
        self.note(b);
    }

    fn note(&mut self, position: usize) {
        let place = self.entries[position].place;
        self.places[place as usize].position = Some(position as u32);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;

    const OWNER: OwnerId = OwnerId(0);

    fn at(nanoseconds: u64) -> Instant {
        Instant::from_nanoseconds(nanoseconds)
    }

    #[test]
    fn a_fired_id_removes_nobody() {
        let mut heap = TimerHeap::new();
        let first = heap.insert(at(1), OWNER, 1);
        assert_eq!(heap.pop(at(0)), None);
        assert_eq!(heap.pop(at(1)), Some((OWNER, 1)));
        let _second = heap.insert(at(2), OWNER, 2);
        heap.remove(first);
        assert_eq!(heap.len(), 1);
    }

    proptest! {
        #[test]
        fn pops_in_order_after_any_removals(
            times in proptest::collection::vec(0u64..100, 1..100),
            removals in proptest::collection::vec(0usize..100, 0..50),
        ) {
            let mut heap = TimerHeap::new();
            let ids: Vec<HeapId> =
                times.iter().enumerate().map(|(key, time)| heap.insert(at(*time), OWNER, key as u64)).collect();
            let mut kept: Vec<bool> = vec![true; times.len()];
            for removal in removals {
                let index = removal % ids.len();
                heap.remove(ids[index]);
                kept[index] = false;
            }
            let mut expected: Vec<u64> =
                times.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(time, _)| *time).collect();
            expected.sort_unstable();
            let mut popped = Vec::new();
            while let Some((_, key)) = heap.pop(at(1_000)) {
                popped.push(times[key as usize]);
            }
            prop_assert_eq!(popped, expected);
            prop_assert!(heap.is_empty());
        }
    }
}
