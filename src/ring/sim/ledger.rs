//! The memory that operations in flight may write to: nobody else's may overlap it.

use std::collections::BTreeMap;

use crate::ring::op::Op;

/// Regions by their start.
#[derive(Default)]
pub(super) struct Ledger {
    lent: BTreeMap<usize, usize>,
}

/// Memory from its first byte to behind its last.
type Region = (usize, usize);

impl Ledger {
    /// An operation begins. False when its memory overlaps what another one writes to.
    pub(super) fn lend(&mut self, op: &Op) -> bool {
        if let Some((start, end)) = written(op) {
            let is_free = self.is_free((start, end));
            self.lent.insert(start, end);
            return is_free;
        }
        match op {
            Op::Send { start, bytes, .. } => self.is_free(region(*start, *bytes as usize)),
            _ => true,
        }
    }

    /// An operation is over.
    pub(super) fn give_back(&mut self, op: &Op) {
        if let Some((start, _)) = written(op) {
            self.lent.remove(&start);
        }
    }

    fn is_free(&self, (start, end): Region) -> bool {
        let before = self.lent.range(..end).next_back();
        before.is_none_or(|(_, other_end)| *other_end <= start)
    }
}

/// What an operation writes to, but for the ring's own buffers.
fn written(op: &Op) -> Option<Region> {
    match op {
        Op::Recv { start, bytes, .. } | Op::Read { start, bytes, .. } => {
            Some(region(*start, *bytes as usize))
        }
        _ => None,
    }
}

fn region(start: *const u8, bytes: usize) -> Region {
    (start.addr(), start.addr() + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_seen_until_the_memory_is_back() {
        let mut memory = [0u8; 64];
        let start = memory.as_mut_ptr();
        let receive = |offset: usize, bytes| Op::Recv {
            fd: 0,
            start: start.wrapping_add(offset),
            bytes,
            poll_first: false,
        };
        let send = |offset: usize, bytes| Op::Send {
            fd: 0,
            start: start.wrapping_add(offset),
            bytes,
        };
        let mut ledger = Ledger::default();
        assert!(ledger.lend(&receive(16, 16)));
        assert!(ledger.lend(&receive(32, 16)) && ledger.lend(&receive(0, 16)));
        assert!(!ledger.lend(&send(20, 1)) && !ledger.lend(&send(0, 64)));
        assert!(ledger.lend(&send(48, 16)));
        assert!(!ledger.lend(&receive(24, 4)));
        ledger.give_back(&receive(24, 4));
        ledger.give_back(&receive(16, 16));
        assert!(ledger.lend(&receive(16, 16)));
    }
}
