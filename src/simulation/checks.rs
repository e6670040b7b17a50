//! What has to hold after each turn of a core.
//!
//! ```text
//!   turn ─► buffers back · slots = operations · nothing stale · no spinning ─► every so often:
//!           each connection · each pool
//! ```

use std::rc::Rc;

use crate::client;
use crate::net::Net;
use crate::ring::sim::Installed;
use crate::runtime::Core;
use crate::runtime::Counters;
use crate::runtime::Instant;

/// Turns between two looks at every connection and pool.
pub(super) const THOROUGH_EVERY: u64 = 16;
/// Turns in a row that neither sleep nor bring a completion or another thread's wake-up. Work that is
/// handed on from task to task may take some; work that never ends is a loop.
const IDLE_TURNS_MAX: u32 = 2_000;
/// Turns of one run, unless said otherwise. Whoever is always busy and never done is in a loop as
/// well.
pub(super) const TURNS_MAX: u64 = 50_000_000;
/// A turn that takes longer than this has slept.
const AWAKE_NANOSECONDS: u64 = 100_000;

/// What is known of the turns before.
pub(super) struct Checks {
    started: Instant,
    last: Instant,
    counters: Counters,
    turns: u64,
    thorough_every: u64,
    turns_max: u64,
    idle_turns: u32,
}

impl Checks {
    pub(super) fn new(now: Instant, thorough_every: u64, turns_max: u64) -> Checks {
        Checks {
            started: now,
            last: now,
            counters: Counters::default(),
            turns: 0,
            thorough_every,
            turns_max,
            idle_turns: 0,
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// Looks at the core, when nothing of it is borrowed.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub(super) fn after_turn(&mut self, core: &Rc<Core>, kernel: &Installed) -> Result<(), String> {
        let counters = core.counters();
        let now = kernel.now();
        self.check_operations(core, kernel, &counters)?;
        let has_slept = (now - self.last).as_nanos() > u128::from(AWAKE_NANOSECONDS);
        let is_woken = core.remote().is_pending();
        if has_slept || is_woken || counters.completions > self.counters.completions {
            self.idle_turns = 0;
        } else {
            self.idle_turns += 1;
        }
        if self.idle_turns > IDLE_TURNS_MAX {
            return Err(format!(
                "{IDLE_TURNS_MAX} turns in a row that do nothing: a loop"
            ));
        }
        self.last = now;
        self.counters = counters;
        self.turns += 1;
        if self.turns > self.turns_max {
            return Err(format!("{} turns, and it is not done", self.turns_max));
        }
        if self.turns.is_multiple_of(self.thorough_every) {
            check_thoroughly(core)?;
        }
        Ok(())
    }

    fn check_operations(
        &self,
        core: &Rc<Core>,
        kernel: &Installed,
        counters: &Counters,
    ) -> Result<(), String> {
        let leased = core.reactor().leased();
        if leased > 0 {
            return Err(format!(
                "{leased} receive buffers are not back after the turn"
            ));
        }
        // A buffer that nobody leased when its completion came is out as well, and for ever.
        let lost = kernel.buffers_out();
        if lost > 0 {
            return Err(format!("{lost} receive buffers are lost"));
        }
        if counters.stale > self.counters.stale {
            return Err("a completion came for a slot that was used again".to_owned());
        }
        let (slots, operations) = (counters.in_flight, core.reactor().known() as u64);
        if slots != operations {
            return Err(format!(
                "{slots} slots in use for {operations} operations that the kernel knows of"
            ));
        }
        Ok(())
    }
}

fn check_thoroughly(core: &Rc<Core>) -> Result<(), String> {
    if let Some(net) = core.find_local::<Net>() {
        net.check(core.now())?;
    }
    client::check(core);
    Ok(())
}
