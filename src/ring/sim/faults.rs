//! What goes wrong, and how often.
//!
//! ```text
//!   Faults::none() · only(fault) · all() · swarm(seed) ──► Chaos: drawn at each occasion, counted
//!                                                             └─ or chosen, every way in turn
//! ```

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::ring::queue::Cqe;
use crate::ring::sim::choices::Choices;
use crate::ring::sim::random::Random;

/// Something that a kernel, a network or a disk does to a program now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A receive takes less than there is.
    ShortReceive,
    /// A send takes less than there is room for.
    ShortSend,
    /// An operation ends with EINTR and has done nothing; so does a wait for completions.
    Interrupted,
    /// A connection is reset by something between its ends.
    Reset,
    /// A send finds its connection gone (EPIPE) before a receive does.
    BrokenPipe,
    /// A receive finds no buffer although there is one.
    NoBuffers,
    /// accept4(2) or socket(2) find no descriptor.
    DescriptorsExhausted,
    /// An operation is cancelled that nobody asked to.
    Canceled,
    /// A standing operation ends after this completion.
    MultishotEnded,
    /// What is ready completes later.
    Delayed,
    /// A completion overtakes those of other sockets.
    Reordered,
    /// What is to be cancelled completes first.
    CancelLate,
    /// A send at once finds no room although there is some, or a read at once nothing in memory.
    WouldBlock,
    /// A connection attempt is refused.
    ConnectRefused,
    /// A connection attempt is never answered.
    ConnectSilent,
    /// A name has no address.
    LookupFailed,
    /// A file cannot be opened or read.
    FileFailed,
    /// Work on another thread takes long.
    SlowJob,
    /// The thread is not run for a while.
    Stall,
    /// A segment arrives late.
    Latency,
    /// What was sent at once arrives in small pieces.
    Split,
}

/// All of them, in the order of [`Faults`].
pub const ALL: [Fault; 21] = [
    Fault::ShortReceive,
    Fault::ShortSend,
    Fault::Interrupted,
    Fault::Reset,
    Fault::BrokenPipe,
    Fault::NoBuffers,
    Fault::DescriptorsExhausted,
    Fault::Canceled,
    Fault::MultishotEnded,
    Fault::Delayed,
    Fault::Reordered,
    Fault::CancelLate,
    Fault::WouldBlock,
    Fault::ConnectRefused,
    Fault::ConnectSilent,
    Fault::LookupFailed,
    Fault::FileFailed,
    Fault::SlowJob,
    Fault::Stall,
    Fault::Latency,
    Fault::Split,
];

impl Fault {
    /// How often it happens at each occasion, unless said otherwise.
    pub fn usual(self) -> f64 {
        match self {
            Fault::ShortReceive | Fault::ShortSend | Fault::Split => 0.05,
            Fault::Delayed | Fault::Reordered | Fault::WouldBlock | Fault::CancelLate => 0.1,
            Fault::SlowJob | Fault::MultishotEnded => 0.05,
            Fault::Interrupted | Fault::NoBuffers | Fault::Latency => 0.02,
            Fault::ConnectRefused | Fault::LookupFailed | Fault::FileFailed => 0.02,
            Fault::DescriptorsExhausted | Fault::ConnectSilent => 0.01,
            Fault::Canceled => 0.005,
            Fault::Reset | Fault::BrokenPipe => 0.002,
            Fault::Stall => 0.001,
        }
    }

    /// True when it can end a request with an error; the others may only slow it down.
    pub fn is_fatal(self) -> bool {
        matches!(
            self,
            Fault::Reset
                | Fault::BrokenPipe
                | Fault::DescriptorsExhausted
                | Fault::ConnectRefused
                | Fault::ConnectSilent
                | Fault::LookupFailed
                | Fault::FileFailed
        )
    }
}

/// A probability for each fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults([f64; ALL.len()]);

impl Faults {
    /// Nothing goes wrong.
    pub const fn none() -> Faults {
        Faults([0.0; ALL.len()])
    }

    /// Everything goes wrong now and then.
    pub fn all() -> Faults {
        Faults(ALL.map(Fault::usual))
    }

    /// One thing goes wrong, ten times as often as usual but at most every other time.
    pub fn only(fault: Fault) -> Faults {
        Faults::none().with(fault, (fault.usual() * 10.0).min(0.5))
    }

    /// Draws the probabilities themselves: some faults never, some rarely, some very often. Finds
    /// what even probabilities do not: a fault in the absence of the others.
    pub fn swarm(random: &mut Random) -> Faults {
        const TIMES: [f64; 6] = [0.0, 0.0, 0.3, 1.0, 3.0, 8.0];
        Faults(ALL.map(|fault| (fault.usual() * random.choose(&TIMES)).min(0.6)))
    }

    /// With another probability for one fault, from 0 to 1.
    #[must_use]
    pub fn with(mut self, fault: Fault, probability: f64) -> Faults {
        self.0[fault as usize] = probability;
        self
    }

    /// The probability of one.
    pub fn of(&self, fault: Fault) -> f64 {
        self.0[fault as usize]
    }

    /// True when nothing that is on can end a request with an error.
    pub fn is_harmless(&self) -> bool {
        ALL.iter()
            .all(|fault| !fault.is_fatal() || self.of(*fault) == 0.0)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut any = false;
        for fault in ALL {
            if self.of(fault) > 0.0 {
                let separator = if any { ", " } else { "" };
                write!(f, "{separator}{fault:?} {:.4}", self.of(fault))?;
                any = true;
            }
        }
        if any { Ok(()) } else { f.write_str("none") }
    }
}

/// How often each fault happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired([u64; ALL.len()]);

impl Fired {
    /// How often one happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// How often any happened.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Fired) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }
}

/// Draws faults and counts them, or chooses.
pub(super) struct Chaos {
    pub(super) random: Random,
    choices: Option<Choices>,
    pub(super) faults: Faults,
    pub(super) fired: Fired,
}

impl Chaos {
    pub(super) fn new(seed: u64, faults: Faults, choices: Option<Choices>) -> Chaos {
        Chaos {
            random: Random::new(seed),
            choices,
            faults,
            fired: Fired::default(),
        }
    }

    /// True when a fault happens now.
    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        let probability = self.faults.of(fault);
        let strikes = match &self.choices {
            Some(choices) => probability > 0.0 && choices.choose(2) == 1,
            None => self.random.chance(probability),
        };
        self.fired.0[fault as usize] += u64::from(strikes);
        strikes
    }

    /// How much of `bytes` a short operation takes: all, or less but not nothing.
    pub(super) fn shorten(&mut self, fault: Fault, bytes: usize) -> usize {
        if bytes <= 1 || !self.strikes(fault) {
            return bytes;
        }
        match &self.choices {
            // The least, the most: what lies between is no other order.
            Some(choices) if bytes > 2 => [1, bytes - 1][choices.choose(2)],
            Some(_) => 1,
            None => 1 + self.random.index(bytes - 1),
        }
    }

    /// One of so many ways, not zero.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        match &self.choices {
            Some(choices) => choices.choose(count),
            None => self.random.index(count),
        }
    }

    /// How long something is held back, in nanoseconds of a range that is not empty.
    pub(super) fn delay(&mut self, nanoseconds: Range<u64>) -> Duration {
        Duration::from_nanos(match &self.choices {
            // Soon after, or after all else.
            Some(choices) => [nanoseconds.start, nanoseconds.end - 1][choices.choose(2)],
            None => self.random.within(nanoseconds),
        })
    }

    /// The program takes the completions of a turn.
    pub(super) fn see<'a>(&self, taken: impl Iterator<Item = &'a Cqe>) {
        if let Some(choices) = &self.choices {
            taken.for_each(|cqe| choices.see(cqe));
            choices.see_turn();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        for (index, fault) in ALL.iter().enumerate() {
            assert_eq!(*fault as usize, index);
            assert_eq!(Faults::none().with(*fault, 0.25).of(*fault), 0.25);
        }
        assert!(Faults::none().is_harmless() && !Faults::all().is_harmless());
    }
}
