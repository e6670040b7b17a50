//! Cores that die: an invariant breaks at any moment, with everything in flight that the scenario
//! has. What is checked is that such a core ends like any other: nothing is left to the kernel, no
//! memory is given up that it may write to.
//!
//! ```text
//!   Plan ─► the scenario ─ at some moment ─► a broken invariant ─► the core ends ─► what is left?
//! ```

use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use roundtrip::internals;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::simulation::Random;

use crate::plan::Overrides;
use crate::plan::Part;
use crate::plan::Plan;
use crate::run;
use crate::totals;

/// Seeds of the fixed set.
pub const SEEDS: u64 = 512;
/// The last moment of a death.
const LATEST: Duration = Duration::from_millis(200);
/// What dies says so.
const LAST_WORDS: &str = "an invariant breaks on purpose";

/// How a seed ended.
enum Ended {
    Dead,
    /// It was done before.
    Alive,
    Wrong(String),
}

/// Runs the set; true when nothing is wrong.
pub fn run(seeds: u64) -> bool {
    let started = Instant::now();
    let sums = Mutex::new((0, 0));
    totals::on_all_cores(
        |seed| {
            if seed >= seeds {
                return false;
            }
            let ended = of(seed, false);
            let mut sums = sums.lock().expect("no panic while it is held");
            match ended {
                Ended::Dead => sums.0 += 1,
                Ended::Alive => {}
                Ended::Wrong(text) => {
                    sums.1 += 1;
                    println!("make simulate DEATH={seed}  # {text}");
                }
            }
            true
        },
        |_| {},
    );
    let (dead, wrong) = sums.into_inner().expect("as above");
    let took = started.elapsed();
    println!("{dead} of {seeds} cores died, {wrong} of them not as they should, in {took:.1?}");
    // Few scenarios are over so early.
    wrong == 0 && dead >= seeds / 2
}

/// One of them, with every step.
pub fn replay(seed: u64) -> bool {
    match of(seed, true) {
        Ended::Dead => println!("it died as it should"),
        Ended::Alive => println!("it was done before"),
        Ended::Wrong(text) => {
            println!("{text}");
            return false;
        }
    }
    true
}

fn of(seed: u64, is_printed: bool) -> Ended {
    let replay = format!("make simulate DEATH={seed}");
    run::on_own_thread(&replay, move || {
        let plan = Plan::new(seed, &Overrides::default());
        let moment = moment(&mut plan.stream(Part::Death, 0));
        let report = run::simulate(plan, is_printed, async move {
            let core = Core::current().expect("a simulation runs a core");
            runtime::sleep(moment).await;
            internals::break_core(core.remote(), LAST_WORDS);
        });
        match run::failure_of(&report) {
            None => Ended::Alive,
            Some(text) if text.starts_with(LAST_WORDS) && report.failure() == Some(LAST_WORDS) => {
                Ended::Dead
            }
            Some(text) => Ended::Wrong(text),
        }
    })
}

/// As often within the first turns as much later.
fn moment(random: &mut Random) -> Duration {
    let latest = LATEST / 10_u32.pow(random.index(4) as u32);
    random.duration(Duration::ZERO..latest)
}
