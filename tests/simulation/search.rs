//! Fresh seeds on all cores, until the time is over.

use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::plan::Overrides;
use crate::run;
use crate::run::Watch;
use crate::totals;
use crate::totals::Totals;

/// Failures after which the search ends: more would only repeat them.
const FAILURES_MAX: usize = 20;

/// Searches; true when nothing was found.
pub fn run(minutes: f64, first: Option<u64>) -> bool {
    let first = first.unwrap_or_else(fresh);
    let time = Duration::from_secs_f64(minutes * 60.0);
    println!("seeds from {first} on, for {minutes} minutes");
    let started = Instant::now();
    let sums = Mutex::new((Totals::default(), 0));
    totals::on_all_cores(
        |number| {
            let seed = first.wrapping_add(number);
            let outcome = run::run(seed, &Overrides::default(), None, Watch::Nothing);
            let mut sums = sums.lock().expect("no panic while it is held");
            sums.0.add(&outcome);
            if let Some(failure) = &outcome.failure {
                sums.1 += 1;
                println!("\r\x1b[Kmake simulate SEED={seed}  # {failure}");
            }
            sums.1 < FAILURES_MAX && started.elapsed() < time
        },
        |elapsed| {
            let sums = sums.lock().expect("as above");
            let seconds = elapsed.as_secs_f64();
            print!(
                "\r\x1b[K{:.0} of {:.0} s: {} seeds, {} requests ({:.0} per second and core), {} \
                 faults, {} failures",
                seconds,
                time.as_secs_f64(),
                sums.0.seeds,
                sums.0.requests,
                sums.0.rate(),
                sums.0.fired.total(),
                sums.1
            );
            let _ = std::io::stdout().flush();
        },
    );
    let (totals, failures) = sums.into_inner().expect("as above");
    println!("\r\x1b[K{totals}\n{failures} failures");
    failures == 0
}

/// A number that nobody has searched from.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |now| now.as_nanos() as u64);
    (nanoseconds ^ u64::from(std::process::id()) << 32) % 1_000_000_000_000
}
