//! Which patterns a new one could conflict with, without looking at all of them.
//!
//! ```text
//!   position 0: "users" ─► 3, 7     position 1: "new" ─► 7      of each pattern, its segments
//!               wild    ─► 5                    wild  ─► 3
//!                                               rest  ─► 9
//! ```
//!
//! Where the new pattern has a literal, an overlapping one has the same literal, a wildcard, or a
//! rest there or before. The position with the fewest of these is asked.

use std::collections::HashMap;

use crate::server::pattern::Segment;

/// The patterns of one host, by their segments.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    positions: Vec<Position>,
}

/// The patterns that have a segment of each kind at one position.
#[derive(Clone, Debug, Default)]
struct Position {
    literals: HashMap<Box<str>, Vec<usize>>,
    wilds: Vec<usize>,
    rests: Vec<usize>,
}

/// All patterns that a new one can overlap with, and some that it does not.
pub(super) struct Candidates<'a> {
    /// How many there are.
    pub count: usize,
    index: &'a Index,
    at: usize,
    literals: &'a [usize],
}

impl Index {
    /// Adds a pattern.
    pub(super) fn insert(&mut self, segments: &[Segment], index: usize) {
        for (at, segment) in segments.iter().enumerate() {
            if self.positions.len() == at {
                self.positions.push(Position::default());
            }
            let position = &mut self.positions[at];
            match segment {
                Segment::Literal(text) => {
                    position
                        .literals
                        .entry(text.clone())
                        .or_default()
                        .push(index);
                }
                Segment::Wild(_) => position.wilds.push(index),
                Segment::Rest(_) => position.rests.push(index),
            }
        }
    }

    /// The fewest candidates that one position gives; `None` for a pattern without literals.
    pub(super) fn candidates(&self, segments: &[Segment]) -> Option<Candidates<'_>> {
        let mut fewest: Option<Candidates<'_>> = None;
        let mut rests = 0;
        for (at, segment) in segments.iter().enumerate() {
            let position = self.positions.get(at);
            rests += position.map_or(0, |position| position.rests.len());
            let Segment::Literal(text) = segment else {
                continue;
            };
            let literals = position.and_then(|position| position.literals.get(text));
            let literals = literals.map_or(&[][..], Vec::as_slice);
            let wilds = position.map_or(0, |position| position.wilds.len());
            let count = literals.len() + wilds + rests;
            if fewest.as_ref().is_none_or(|fewest| count < fewest.count) {
                fewest = Some(Candidates {
                    count,
                    index: self,
                    at,
                    literals,
                });
            }
        }
        fewest
    }
}

impl Candidates<'_> {
    /// Their indexes.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let positions = &self.index.positions;
        let until = positions.len().min(self.at + 1);
        let wilds = positions.get(self.at).map_or(&[][..], |at| &at.wilds);
        let rests = positions[..until].iter().flat_map(|at| &at.rests);
        self.literals.iter().chain(wilds).chain(rests).copied()
    }
}
