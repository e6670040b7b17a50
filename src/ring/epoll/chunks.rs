//! A table that grows without moving what it holds: a million entries that are copied at once would
//! stop a core for as long as that takes, and leave their old place behind.

use std::ops::Index;
use std::ops::IndexMut;

use crate::limits::SLOTS_PER_CHUNK;

/// Entries by number, in pieces of [`SLOTS_PER_CHUNK`].
pub(super) struct Chunks<T>(Vec<Vec<T>>);

impl<T> Default for Chunks<T> {
    fn default() -> Chunks<T> {
        Chunks(Vec::new())
    }
}

impl<T> Chunks<T> {
    pub(super) fn len(&self) -> u32 {
        let last = self.0.last().map_or(SLOTS_PER_CHUNK, Vec::len);
        (self.0.len() * SLOTS_PER_CHUNK + last - SLOTS_PER_CHUNK) as u32
    }

    pub(super) fn push(&mut self, entry: T) {
        if self.len() as usize == self.0.len() * SLOTS_PER_CHUNK {
            self.0.push(Vec::with_capacity(SLOTS_PER_CHUNK));
        }
        self.0.last_mut().expect("it has room").push(entry);
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, place) = split(index);
        self.0.get(chunk)?.get(place)
    }
}

fn split(index: u32) -> (usize, usize) {
    let index = index as usize;
    (index / SLOTS_PER_CHUNK, index % SLOTS_PER_CHUNK)
}

impl<T> Index<u32> for Chunks<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        let (chunk, place) = split(index);
        &self.0[chunk][place]
    }
}

impl<T> IndexMut<u32> for Chunks<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        let (chunk, place) = split(index);
        &mut self.0[chunk][place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_numbers() {
        let mut table = Chunks::default();
        let count = 2 * SLOTS_PER_CHUNK as u32 + 1;
        for number in 0..count {
            assert_eq!((table.len(), table.get(number)), (number, None));
            table.push(number);
        }
        table[7] = 0;
        assert_eq!(
            (table[7], table[count - 1], table.len()),
            (0, count - 1, count)
        );
    }
}
