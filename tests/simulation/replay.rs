//! One seed, step by step.

use crate::plan::Overrides;
use crate::run;
use crate::run::Watch;
use crate::shrink;

/// Runs it; true when nothing is wrong.
pub fn run(seed: u64, overrides: &Overrides, is_quiet: bool) -> bool {
    let watch = if is_quiet {
        Watch::Nothing
    } else {
        Watch::Print
    };
    let outcome = run::run(seed, overrides, None, watch);
    println!(
        "seed {seed}: {} requests on {} connections in {} turns and {:?}, {} faults: {:?}",
        outcome.counts.requests,
        outcome.connections,
        outcome.turns,
        outcome.elapsed,
        outcome.fired.total(),
        outcome.counts
    );
    let again = run::run(seed, overrides, None, Watch::Nothing);
    if again.failure != outcome.failure || again.elapsed != outcome.elapsed {
        println!(
            "a second run differs: {:?}, {:?}",
            again.elapsed, again.failure
        );
        return false;
    }
    let Some(failure) = outcome.failure else {
        return true;
    };
    println!("FAILED: {failure}");
    if *overrides == Overrides::default() && !is_quiet {
        shrink::shrink(seed, &failure);
    }
    false
}
