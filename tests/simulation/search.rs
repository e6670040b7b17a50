//! Fresh seeds on all cores, until the time is over.

use std::io::IsTerminal;
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
    let mut progress = Progress::new();
    totals::on_all_cores(
        |number| {
            let seed = first.wrapping_add(number);
            let outcome = run::run(seed, &Overrides::default(), None, Watch::Nothing);
            let mut sums = sums.lock().expect("no panic while it is held");
            sums.0.add(&outcome);
            if let Some(failure) = &outcome.failure {
                sums.1 += 1;
                let line = line_start();
                println!("{line}make simulate SEED={seed}  # {failure}");
            }
            sums.1 < FAILURES_MAX && started.elapsed() < time
        },
        |elapsed| {
            if !progress.is_due(elapsed) {
                return;
            }
            let sums = sums.lock().expect("as above");
            progress.show(&format!(
                "{:.0} of {:.0} s: {} seeds, {} requests ({:.0} per second of a processor), {} \
                 faults, {} failures",
                elapsed.as_secs_f64(),
                time.as_secs_f64(),
                sums.0.seeds,
                sums.0.requests,
                sums.0.rate(),
                sums.0.fired.total(),
                sums.1
            ));
        },
    );
    let (totals, failures) = sums.into_inner().expect("as above");
    println!("{}{totals}\n{failures} failures", line_start());
    failures == 0
}

/// One line that changes, on a terminal; elsewhere a line now and then.
struct Progress {
    is_terminal: bool,
    next: Duration,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            is_terminal: std::io::stdout().is_terminal(),
            next: Duration::ZERO,
        }
    }

    fn is_due(&mut self, elapsed: Duration) -> bool {
        if elapsed < self.next {
            return false;
        }
        let pause = if self.is_terminal { 250 } else { 30_000 };
        self.next = elapsed + Duration::from_millis(pause);
        true
    }

    fn show(&self, text: &str) {
        if self.is_terminal {
            print!("{}{text}", line_start());
            let _ = std::io::stdout().flush();
        } else {
            println!("{text}");
        }
    }
}

/// Takes the place of the line that changes.
fn line_start() -> &'static str {
    match std::io::stdout().is_terminal() {
        true => "\r\x1b[K",
        false => "",
    }
}

/// A number that nobody has searched from.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |now| now.as_nanos() as u64);
    (nanoseconds ^ u64::from(std::process::id()) << 32) % 1_000_000_000_000
}
