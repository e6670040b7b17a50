//! A doubly linked list through the entries of a slab.
//!
//! ```text
//!   front ──► entry ◄──► entry ◄──► entry ◄── back
//! ```
//! The list owns nothing: each entry carries its own [`Link`], so that an entry can stand in two
//! lists and leave both in O(1) without a search and without memory.

use slab::Slab;

/// No entry.
const NONE: u32 = u32::MAX;

/// The place of one entry in one list.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    previous: u32,
    next: u32,
}

impl Link {
    /// A link that stands in no list.
    pub const UNLINKED: Link = Link {
        previous: NONE,
        next: NONE,
    };
}

/// Both ends of a list, and its length.
#[derive(Clone, Copy, Debug)]
pub struct List {
    front: u32,
    back: u32,
    len: u32,
}

impl List {
    /// An empty list.
    pub const fn new() -> List {
        List {
            front: NONE,
            back: NONE,
            len: 0,
        }
    }

    /// Entries in the list.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True when no entry is in the list.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry at the front.
    pub fn front(&self) -> Option<u32> {
        (self.front != NONE).then_some(self.front)
    }

    /// The entry at the back.
    pub fn back(&self) -> Option<u32> {
        (self.back != NONE).then_some(self.back)
    }

    /// Links `index` in at the front.
    pub fn push_front<S>(
        &mut self,
        slab: &mut Slab<S>,
        index: u32,
        link: impl Fn(&mut S) -> &mut Link,
    ) {
        *link(&mut slab[index as usize]) = Link {
            previous: NONE,
            next: self.front,
        };
        match self.front {
            NONE => self.back = index,
            front => link(&mut slab[front as usize]).previous = index,
        }
        self.front = index;
        self.len += 1;
    }

    /// Links `index` in at the back.
    pub fn push_back<S>(
        &mut self,
        slab: &mut Slab<S>,
        index: u32,
        link: impl Fn(&mut S) -> &mut Link,
    ) {
        *link(&mut slab[index as usize]) = Link {
            previous: self.back,
            next: NONE,
        };
        match self.back {
            NONE => self.front = index,
            back => link(&mut slab[back as usize]).next = index,
        }
        self.back = index;
        self.len += 1;
    }

    /// Takes `index` out; it must stand in this list.
    pub fn unlink<S>(
        &mut self,
        slab: &mut Slab<S>,
        index: u32,
        link: impl Fn(&mut S) -> &mut Link,
    ) {
        assert!(self.len > 0, "an entry leaves an empty list");
        let place = std::mem::replace(link(&mut slab[index as usize]), Link::UNLINKED);
        match place.previous {
            NONE => {
                assert!(self.front == index, "an entry leaves a list it is not in");
                self.front = place.next;
            }
            previous => link(&mut slab[previous as usize]).next = place.next,
        }
        match place.next {
            NONE => {
                assert!(self.back == index, "an entry leaves a list it is not in");
                self.back = place.previous;
            }
            next => link(&mut slab[next as usize]).previous = place.previous,
        }
        self.len -= 1;
    }

    /// The indices from front to back, for checks.
    ///
    /// # Panics
    ///
    /// The links do not fit together.
    #[cfg(any(test, feature = "simulation"))]
    pub fn walk<S>(&self, slab: &mut Slab<S>, link: impl Fn(&mut S) -> &mut Link) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = self.front;
        let mut previous = NONE;
        while at != NONE {
            let place = *link(&mut slab[at as usize]);
            assert_eq!(place.previous, previous, "a link back is wrong");
            found.push(at);
            previous = at;
            at = place.next;
        }
        assert_eq!(self.back, previous, "the list ends elsewhere");
        assert_eq!(self.len(), found.len(), "the list has another length");
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_leave_from_everywhere() {
        let mut slab = Slab::new();
        let mut list = List::new();
        let indices: Vec<u32> = (0..4)
            .map(|_| u32::try_from(slab.insert(Link::UNLINKED)).unwrap())
            .collect();
        list.push_front(&mut slab, indices[1], |link| link);
        list.push_front(&mut slab, indices[0], |link| link);
        list.push_back(&mut slab, indices[2], |link| link);
        list.push_back(&mut slab, indices[3], |link| link);
        assert_eq!(list.walk(&mut slab, |link| link), indices);
        list.unlink(&mut slab, indices[1], |link| link);
        assert_eq!(
            list.walk(&mut slab, |link| link),
            [indices[0], indices[2], indices[3]]
        );
        list.unlink(&mut slab, indices[0], |link| link);
        list.unlink(&mut slab, indices[3], |link| link);
        assert_eq!(list.front(), Some(indices[2]));
        assert_eq!(list.back(), Some(indices[2]));
        list.unlink(&mut slab, indices[2], |link| link);
        assert!(list.is_empty());
        assert_eq!(list.front(), None);
    }
}
