//! Bounded free lists: what was allocated once serves again.
//!
//! ```text
//!   take() ◄── free list of this thread ◄── give(value)     (full: the value is dropped)
//! ```

use std::cell::RefCell;

/// A bounded stack of unused values, one per thread and type.
pub(crate) struct FreeList<T> {
    items: RefCell<Vec<T>>,
    count_max: usize,
}

impl<T> FreeList<T> {
    /// An empty list that keeps up to `count_max` values.
    pub(crate) const fn new(count_max: usize) -> FreeList<T> {
        FreeList {
            items: RefCell::new(Vec::new()),
            count_max,
        }
    }

    /// The value that was given last.
    pub(crate) fn take(&self) -> Option<T> {
        self.items.borrow_mut().pop()
    }

    /// Keeps a value, or drops it when the list is full.
    pub(crate) fn give(&self, value: T) {
        let mut items = self.items.borrow_mut();
        if items.len() < self.count_max {
            items.push(value);
        } else {
            // The drop of a value may run code of the user; the list must be free by then.
            drop(items);
            drop(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_up_to_its_bound() {
        let list = FreeList::new(2);
        for value in [1, 2, 3] {
            list.give(value);
        }
        assert_eq!(list.take(), Some(2));
        assert_eq!(list.take(), Some(1));
        assert_eq!(list.take(), None);
    }
}
