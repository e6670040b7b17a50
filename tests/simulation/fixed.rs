//! The fixed set: the same seeds every time, and those that once found something.

use std::sync::Mutex;
use std::time::Instant;

use crate::plan::Overrides;
use crate::run;
use crate::run::CONNECTIONS_MIN;
use crate::run::Outcome;
use crate::run::Watch;
use crate::totals;
use crate::totals::Totals;

/// Seeds of the fixed set.
pub const SEEDS: u64 = 2_048;
/// Every seed makes as many requests.
const REQUESTS_MIN: u64 = 50;
/// One seed of so many is run twice, step by step: both runs have to be the same.
const TWICE_EVERY: u64 = 32;

/// Seeds that found something, and what: each fails again without its remedy. A scenario that
/// changes makes something else of them; the smallest cases are ordinary tests.
const REGRESSIONS: [(u64, &str); 5] = [
    (
        3,
        "a connection dialled for a client that was gone by then stayed",
    ),
    (
        13,
        "a proxy blamed its client when the other server went in an upload",
    ),
    (20, "a file was not read again after a cancellation"),
    (
        32,
        "a body up to the end of its connection was cut, and looked whole",
    ),
    (
        778,
        "a reset that came with data was not seen before the time-out",
    ),
];

/// Runs the set; true when nothing is wrong.
pub fn run(seeds: u64) -> bool {
    let started = Instant::now();
    let totals = Mutex::new(Totals::default());
    let failures = Mutex::new(Vec::new());
    let known: Vec<_> = REGRESSIONS
        .iter()
        .filter(|(seed, _)| *seed >= seeds)
        .collect();
    totals::on_all_cores(
        |number| {
            let seed = match number.checked_sub(seeds) {
                None => number,
                // Those of the set have been run by then.
                Some(index) => match known.get(index as usize) {
                    Some((seed, _)) => *seed,
                    None => return false,
                },
            };
            let outcome = run::run(seed, &Overrides::default(), None, Watch::Nothing);
            totals
                .lock()
                .expect("no panic while it is held")
                .add(&outcome);
            let wrong = outcome.failure.clone().or_else(|| shortfall(&outcome));
            let wrong = wrong.or_else(|| difference(seed));
            if let Some(wrong) = wrong {
                println!("make simulate SEED={seed}  # {wrong}");
                failures.lock().expect("as above").push(seed);
            }
            true
        },
        |_| {},
    );
    let (totals, failures) = (totals.into_inner(), failures.into_inner());
    let (totals, failures) = (totals.expect("as above"), failures.expect("as above"));
    let took = started.elapsed();
    println!("{totals}");
    let rate = totals.seeds as f64 / took.as_secs_f64();
    println!("{rate:.0} seeds per second on {} cores", totals::cores());
    let verdict = if failures.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; \
         finished in {:.2}s\n",
        totals.seeds - failures.len() as u64,
        failures.len(),
        took.as_secs_f64()
    );
    failures.is_empty()
}

/// What a seed did too little of.
fn shortfall(outcome: &Outcome) -> Option<String> {
    let Outcome {
        connections,
        counts,
        fired,
        ..
    } = outcome;
    if *connections < CONNECTIONS_MIN || counts.requests < REQUESTS_MIN {
        return Some(format!(
            "{connections} connections, {} requests: too few",
            counts.requests
        ));
    }
    (fired.total() == 0).then(|| "no fault has happened".to_owned())
}

/// How two runs of a seed differ.
fn difference(seed: u64) -> Option<String> {
    if !seed.is_multiple_of(TWICE_EVERY) {
        return None;
    }
    let run = || run::run(seed, &Overrides::default(), None, Watch::Digest);
    let (first, second) = (run(), run());
    (first.digest != second.digest).then(|| "two runs of it differ".to_owned())
}
