//! Known bugs, planted one by one: a simulation that finds none of them proves nothing.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use roundtrip::simulation::Bug;

use crate::plan::Overrides;
use crate::run;
use crate::run::Watch;
use crate::totals;

/// Seeds within which each bug is found, with the faults as they always are.
const SEEDS_MAX: u64 = 200;

const BUGS: [(&str, Bug); 5] = [
    ("slot-freed-early", Bug::SlotFreedEarly),
    ("buffer-returned-twice", Bug::BufferReturnedTwice),
    ("generation-ignored", Bug::GenerationIgnored),
    ("send-misattributed", Bug::SendMisattributed),
    ("deadline-lost", Bug::DeadlineLost),
];

/// Looks for one bug or all; true when each is found.
pub fn run(name: Option<&str>) -> bool {
    let mut is_good = true;
    let mut count = 0;
    for (bug_name, bug) in BUGS {
        if name.is_none_or(|name| name == bug_name) {
            count += 1;
            is_good &= find(bug_name, bug);
        }
    }
    if count == 0 {
        let names: Vec<&str> = BUGS.iter().map(|(name, _)| *name).collect();
        println!("the bugs are called {}", names.join(", "));
    }
    is_good && count > 0
}

/// Looks for one bug, from the first seed on.
fn find(name: &str, bug: Bug) -> bool {
    let found = Mutex::new(None::<(u64, String)>);
    let is_found = AtomicBool::new(false);
    totals::on_all_cores(
        |seed| {
            if seed >= SEEDS_MAX || is_found.load(Ordering::Relaxed) {
                return false;
            }
            let outcome = run::run(seed, &Overrides::default(), Some(bug), Watch::Nothing);
            if let Some(failure) = outcome.failure {
                is_found.store(true, Ordering::Relaxed);
                let mut found = found.lock().expect("no panic while it is held");
                // The lowest of those that ran side by side: the same each time.
                if found.as_ref().is_none_or(|(earlier, _)| *earlier > seed) {
                    *found = Some((seed, failure));
                }
            }
            true
        },
        |_| {},
    );
    match found.into_inner().expect("as above") {
        Some((seed, failure)) => {
            println!("canary {name}: found by seed {seed}: {failure}");
            true
        }
        None => {
            println!("canary {name}: NOT FOUND within {SEEDS_MAX} seeds");
            false
        }
    }
}
