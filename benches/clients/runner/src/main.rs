//! Measures the clients side by side: our server on CPU 0, one client after the other on CPU 1.
//!
//! ```text
//!   build each, twice ──► count allocations once ──► for each round, for each workload:
//!                                                      shuffled: client on CPU 1, its CPU time
//!                                                    ──► ratios within a round ──► tables
//! ```

mod client;
mod report;
mod run;
mod server;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use client::CLIENTS;
use client::Spec;
use measure::cpus;
use measure::cpus::OTHERS_MAX;
use measure::random::Random;
use report::Results;
use run::Run;
use server::Server;
use workload::WORKLOADS;
use workload::Workload;

const USAGE: &str = "\
clients [OPTIONS]
  --rounds N        rounds of every workload (default 7)
  --seconds N       seconds of one run (default 2)
  --minutes N       no round begins that would end later (default 14, without building)
  --clients A,B     only these (default: all)
  --workloads A,B   only these of reuse1,reuse64,new1,new64,close1,close64 (default: all)
  --retries N       repeat a run while others used the CPUs (default 1)
  --out FILE        where the tables go (default target/clients.md)
";

pub struct Options {
    rounds: usize,
    seconds: f64,
    limit: Duration,
    clients: Vec<String>,
    workloads: Vec<String>,
    retries: usize,
    out: PathBuf,
}

/// One client with one workload.
pub struct Pair {
    pub spec: &'static Spec,
    pub workload: &'static Workload,
    /// What was counted once, in a program that is not timed.
    pub counted: Option<Run>,
    /// One per round, in order.
    pub runs: Vec<Run>,
    /// Why it was given up.
    pub failure: Option<String>,
}

fn main() -> ExitCode {
    let options = options();
    cpus::check();
    let clients = wanted(&options.clients, CLIENTS, |spec| spec.name);
    let workloads = wanted(&options.workloads, WORKLOADS, |workload| workload.name);
    let (ready, skipped) = client::build_all(&clients);
    let mut server = Server::start().unwrap_or_else(|error| fail(&format!("server: {error}")));
    let mut pairs = Vec::new();
    for workload in workloads {
        let able = ready.iter().filter(|spec| spec.takes(workload));
        pairs.extend(able.map(|spec| Pair {
            spec,
            workload,
            counted: None,
            runs: Vec::new(),
            failure: None,
        }));
    }
    let started = Instant::now();
    for pair in &mut pairs {
        match run::count(&mut server, pair) {
            Ok(run) => pair.counted = Some(run),
            Err(error) => pair.give_up("counting", error),
        }
    }
    let rounds = measure(&mut server, &mut pairs, &options, started);
    let results = Results {
        pairs,
        skipped,
        rounds,
    };
    let text = report::markdown(&results, &options);
    println!("{text}");
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder).expect("the folder of --out");
    }
    std::fs::write(&options.out, text).expect("--out is writable");
    // A wrong answer is in the tables, and fails the whole.
    match results.failures().next() {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}

impl Pair {
    fn give_up(&mut self, when: &str, why: String) {
        eprintln!("{} {} {when}: {why}", self.workload.name, self.spec.name);
        self.failure = Some(format!("{when}: {why}"));
    }
}

/// All rounds, as far as time allows; how many there were.
fn measure(server: &mut Server, pairs: &mut [Pair], options: &Options, started: Instant) -> usize {
    let mut random = Random::new();
    // A round without second tries.
    let mut plain = run::estimate(options.seconds) * pairs.len() as u32;
    for round in 0..options.rounds {
        let left = (options.rounds - round) as u32;
        let time = options.limit.saturating_sub(started.elapsed());
        if time < plain {
            return round;
        }
        let spare = time.saturating_sub(plain * left) / left;
        let took = one_round(server, pairs, options, round + 1, spare, &mut random);
        plain = plain.max(took);
    }
    options.rounds
}

/// Every client once per workload, and those that others disturbed again, as far as `spare` allows.
/// The time that it took without these.
fn one_round(
    server: &mut Server,
    pairs: &mut [Pair],
    options: &Options,
    round: usize,
    mut spare: Duration,
    random: &mut Random,
) -> Duration {
    let mut took = Duration::ZERO;
    for workload in WORKLOADS {
        let of_it = pairs.iter_mut();
        let of_it = of_it.filter(|pair| pair.workload.name == workload.name);
        let mut order: Vec<&mut Pair> = of_it.filter(|pair| pair.failure.is_none()).collect();
        random.shuffle(&mut order);
        for pair in order {
            let start = Instant::now();
            let mut best = run::time(server, pair, options.seconds);
            took += start.elapsed();
            for _ in 0..options.retries {
                let start = Instant::now();
                let Ok(run) = &best else { break };
                if run.others <= OTHERS_MAX || spare < run::estimate(options.seconds) {
                    break;
                }
                match run::time(server, pair, options.seconds) {
                    Ok(next) if next.others > run.others => {}
                    next => best = next,
                }
                spare = spare.saturating_sub(start.elapsed());
            }
            match best {
                Ok(run) => {
                    eprintln!("{} round {round} {}: {run}", workload.name, pair.spec.name);
                    pair.runs.push(run);
                }
                Err(error) => pair.give_up(&format!("round {round}"), error),
            }
        }
    }
    took
}

/// Those that are named, or all of them.
fn wanted<T>(names: &[String], all: &'static [T], name: fn(&T) -> &'static str) -> Vec<&'static T> {
    let is_known = |wanted: &&String| all.iter().any(|one| name(one) == **wanted);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let all: Vec<&str> = all.iter().map(name).collect();
        fail(&format!("no `{unknown}`; there are {}", all.join(",")));
    }
    let is_wanted = |one: &&T| names.is_empty() || names.iter().any(|wanted| wanted == name(one));
    all.iter().filter(is_wanted).collect()
}

fn options() -> Options {
    let mut options = Options {
        rounds: 7,
        seconds: 2.0,
        limit: Duration::from_secs(14 * 60),
        clients: Vec::new(),
        workloads: Vec::new(),
        retries: 1,
        out: client::workspace().join("../../target/clients.md"),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| fail(USAGE));
        let list = || value.split(',').map(str::to_owned).collect();
        let number = || match value.parse::<f64>() {
            Ok(number) if (0.0..1e4).contains(&number) => number,
            _ => fail(USAGE),
        };
        match name.as_str() {
            "--rounds" => options.rounds = number() as usize,
            "--seconds" => options.seconds = number(),
            "--minutes" => options.limit = Duration::from_secs_f64(number() * 60.0),
            "--clients" => options.clients = list(),
            "--workloads" => options.workloads = list(),
            "--retries" => options.retries = number() as usize,
            "--out" => options.out = PathBuf::from(&value),
            _ => fail(USAGE),
        }
    }
    options
}

fn fail(text: &str) -> ! {
    eprintln!("{text}");
    std::process::exit(2);
}
