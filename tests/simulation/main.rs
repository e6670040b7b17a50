//! The simulated kernel's scenario: a server, clients and peers of every sort in one process, under
//! every fault, from one seed.
//!
//! ```text
//!   (nothing)       the fixed set of seeds, those that once found something, deaths, races and schedules
//!   --seed N        one seed, with every step
//!   --races N       connections that are closed when they are used again
//!   --schedules N   few connections, and everybody who changes their mind
//!   --deaths N      cores that die at any moment
//!   --minutes M     fresh seeds, until the time is over
//!   --canaries      known bugs, planted: is each found?
//! ```

mod arguments;
mod ask;
mod canaries;
mod client;
mod content;
mod deaths;
mod fixed;
mod guards;
mod handlers;
mod host;
mod job;
mod ledger;
mod log;
mod origin;
mod panics;
mod pieces;
mod plan;
mod races;
mod raw;
mod replay;
mod run;
mod schedules;
mod script;
mod search;
mod shrink;
mod streams;
mod totals;
mod upgrades;
mod wire;

use std::process::ExitCode;

use arguments::Mode;

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}\n{}", arguments::HELP);
            return ExitCode::FAILURE;
        }
    };
    run::silence_panics();
    let is_good = match arguments.mode {
        Mode::Help => {
            println!("{}", arguments::HELP);
            true
        }
        Mode::Everything => {
            let is_good = fixed::run(fixed::SEEDS);
            let is_good = deaths::run(deaths::SEEDS) & is_good;
            races::run(races::SEEDS) & schedules::run(schedules::SEEDS) & is_good
        }
        Mode::Fixed(count) => fixed::run(count),
        Mode::Races(seeds) => races::run(seeds),
        Mode::Race(seed) => races::replay(seed),
        Mode::Schedules(seeds) => schedules::run(seeds),
        Mode::Schedule(seed) => schedules::replay(seed),
        Mode::Deaths(seeds) => deaths::run(seeds),
        Mode::Death(seed) => deaths::replay(seed),
        Mode::Seed(seed) => replay::run(seed, &arguments.overrides, arguments.is_quiet),
        Mode::Minutes(minutes) => search::run(minutes, arguments.first),
        Mode::Canaries(name) => canaries::run(name.as_deref()),
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
