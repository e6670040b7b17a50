//! Makes a failing seed smaller: fewer clients, requests, peers and faults, while it still fails in
//! the same way.

use roundtrip::simulation::ALL_FAULTS;

use crate::plan::Overrides;
use crate::plan::Plan;
use crate::run;
use crate::run::Watch;

/// Runs that are spent on it.
const RUNS_MAX: usize = 300;

/// Shrinks and prints the smallest that was found.
pub fn shrink(seed: u64, failure: &str) {
    let plan = Plan::new(seed, &Overrides::default());
    let mut search = Search {
        seed,
        kind: kind(failure),
        runs: 0,
    };
    let faults = ALL_FAULTS
        .into_iter()
        .filter(|fault| plan.faults.of(*fault) > 0.0)
        .collect();
    let mut best = Overrides {
        tasks: Some(plan.tasks),
        requests: Some(plan.requests),
        raw: Some(plan.raw),
        hosts: Some(plan.hosts),
        faults: Some(faults),
    };
    loop {
        let before = best.clone();
        search.reduce(&mut best, |overrides| &mut overrides.raw);
        search.reduce(&mut best, |overrides| &mut overrides.tasks);
        search.reduce(&mut best, |overrides| &mut overrides.requests);
        search.drop_faults(&mut best);
        search.reduce(&mut best, |overrides| &mut overrides.hosts);
        if best == before || search.runs >= RUNS_MAX {
            break;
        }
    }
    println!(
        "shrunk in {} runs:\nmake simulate SEED={seed}{best}",
        search.runs
    );
}

struct Search {
    seed: u64,
    kind: String,
    runs: usize,
}

impl Search {
    fn fails(&mut self, overrides: &Overrides) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let outcome = run::run(self.seed, overrides, None, Watch::Nothing);
        outcome
            .failure
            .is_some_and(|failure| kind(&failure) == self.kind)
    }

    /// The smallest number that still fails: nothing, the half, one less.
    fn reduce(
        &mut self,
        best: &mut Overrides,
        field: impl Fn(&mut Overrides) -> &mut Option<usize>,
    ) {
        loop {
            let now = field(best).unwrap_or(0);
            let smaller = [0, now / 4, now / 2, now.saturating_sub(1)];
            let found = smaller
                .into_iter()
                .filter(|count| *count < now)
                .find(|count| {
                    let mut tried = best.clone();
                    *field(&mut tried) = Some(*count);
                    self.fails(&tried)
                });
            match found {
                Some(count) => *field(best) = Some(count),
                None => return,
            }
        }
    }

    fn drop_faults(&mut self, best: &mut Overrides) {
        for fault in ALL_FAULTS {
            let mut tried = best.clone();
            if let Some(faults) = &mut tried.faults
                && faults.contains(&fault)
            {
                faults.retain(|kept| *kept != fault);
                if self.fails(&tried) {
                    *best = tried;
                }
            }
        }
    }
}

/// A failure without its numbers and names, so that the same one is known again.
pub fn kind(failure: &str) -> String {
    let start = failure.split(['{', '(']).next().unwrap_or_default();
    start
        .chars()
        .filter(|letter| !letter.is_ascii_digit())
        .take(60)
        .collect()
}
