//! Measures the peers side by side: one worker on CPU 1, the load (wrk) on CPU 0.
//!
//! ```text
//!   build each ──► start each on CPU 1 ──► for each workload, for each round:
//!                                            shuffled: load on CPU 0, CPU time before and after
//!                                          ──► ratios within a round ──► tables
//! ```

mod idle;
mod load;
mod nginx;
mod report;
mod server;
mod slow;

use std::path::PathBuf;

use load::Run;
use load::WORKLOADS;
use measure::cpus;
use measure::cpus::OTHERS_MAX;
use measure::random::Random;
use server::SERVERS;
use server::Server;

const USAGE: &str = "\
peers [OPTIONS]
  --rounds N        rounds of every workload (default 7)
  --seconds N       seconds of one run (default 2)
  --servers A,B     only these (default: all)
  --workloads A,B   only these of c1,c64,c512,pipe16,close,echo64k,file4k,file64k,file1m,
                    overlay64k,overlay1m,file100m,idle,slow (default: all)
  --retries N       repeat a run while others used the CPUs (default 2)
  --out FILE        where the tables go (default target/peers.md)
";

pub struct Options {
    rounds: usize,
    seconds: u32,
    servers: Vec<String>,
    workloads: Vec<String>,
    retries: usize,
    out: PathBuf,
}

fn main() {
    let options = options();
    cpus::check();
    let (ready, skipped) = server::build_all(&wanted(&options.servers));
    let mut results = report::Results {
        skipped,
        ..Default::default()
    };
    let idle = selected(&options.workloads, "idle");
    for workload in WORKLOADS {
        if selected(&options.workloads, workload.name) {
            measure(workload, &ready, &options, &mut results);
        }
    }
    for spec in ready
        .iter()
        .filter(|spec| idle && !spec.is_ceiling && !spec.is_installed())
    {
        eprintln!("idle {}", spec.name);
        match idle::measure(spec) {
            Ok(found) => results.idle.push((spec.name, found)),
            Err(error) => results.skipped.push((spec.name, format!("idle: {error}"))),
        }
    }
    if selected(&options.workloads, "slow") {
        measure_slow(&ready, &options, &mut results);
    }
    let text = report::markdown(&results, &options);
    println!("{text}");
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder).expect("the folder of --out");
    }
    std::fs::write(&options.out, text).expect("--out is writable");
}

/// All rounds of one workload: every server runs all the while, one at a time is loaded.
fn measure(
    workload: &'static load::Workload,
    specs: &[&'static server::Spec],
    options: &Options,
    results: &mut report::Results,
) {
    // Unmounted when the servers have ended: what is declared first is dropped last.
    let overlay = workload.is_overlaid.then(nginx::Overlay::mount);
    if let Some(Err(error)) = &overlay {
        let why = format!("overlayfs is not mounted: {error}");
        return results.skipped.push((workload.name, why));
    }
    let mut servers = Vec::new();
    for spec in specs.iter().filter(|spec| spec.takes(workload)) {
        match Server::start(spec, workload) {
            Ok(server) => servers.push(server),
            Err(error) => results
                .skipped
                .push((spec.name, format!("{}: {error}", workload.name))),
        }
    }
    for server in &servers {
        load::run(server, workload, 1);
    }
    let mut random = Random::new();
    let mut runs: Vec<(&'static server::Spec, Vec<Run>)> = servers
        .iter()
        .map(|server| (server.spec, Vec::new()))
        .collect();
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            let run = quietest(&servers[index], workload, options);
            eprintln!(
                "{} round {} {}: {:.0}/s, {:.2} us, others {:.0} %",
                workload.name,
                round + 1,
                servers[index].spec.name,
                run.per_second(),
                run.cpu_micros(),
                run.others * 100.0
            );
            runs[index].1.push(run);
        }
    }
    results.workloads.push((workload, runs));
}

/// All rounds of the normal client beside slow ones: in each, every server once with them and once
/// without.
fn measure_slow(specs: &[&'static server::Spec], options: &Options, results: &mut report::Results) {
    let mut servers = Vec::new();
    for spec in specs.iter().filter(|spec| spec.takes_bodies()) {
        match slow::start(spec) {
            Ok(server) => servers.push((server, slow::Slow::default())),
            Err(error) => results.skipped.push((spec.name, format!("slow: {error}"))),
        }
    }
    let mut random = Random::new();
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            let (server, found) = &mut servers[index];
            eprintln!("slow round {} {}", round + 1, server.spec.name);
            if let Err(error) = slow::measure(server, round % 2 == 1, found) {
                let why = format!("slow, round {}: {error}", round + 1);
                results.skipped.push((server.spec.name, why));
            }
        }
    }
    for (server, found) in servers {
        if !found.pairs.is_empty() {
            results.slow.push((server.spec.name, found));
        }
    }
}

/// Repeats a run that other processes disturbed; the quietest counts.
fn quietest(server: &Server, workload: &load::Workload, options: &Options) -> Run {
    let mut best = load::run(server, workload, options.seconds);
    for _ in 0..options.retries {
        if best.others <= OTHERS_MAX {
            break;
        }
        let next = load::run(server, workload, options.seconds);
        if next.others < best.others {
            best = next;
        }
    }
    best
}

fn wanted(names: &[String]) -> Vec<&'static server::Spec> {
    let is_known = |name: &String| SERVERS.iter().any(|spec| spec.name == name);
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        let all: Vec<&str> = SERVERS.iter().map(|spec| spec.name).collect();
        fail(&format!("no server `{name}`; there are {}", all.join(",")));
    }
    SERVERS
        .iter()
        .filter(|spec| selected(names, spec.name))
        .collect()
}

fn selected(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|wanted| wanted == name)
}

fn options() -> Options {
    let mut options = Options {
        rounds: 7,
        seconds: 2,
        servers: Vec::new(),
        workloads: Vec::new(),
        retries: 2,
        out: server::workspace().join("../../target/peers.md"),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| fail(USAGE));
        let list = || value.split(',').map(str::to_owned).collect();
        let number = || value.parse().unwrap_or_else(|_| fail(USAGE));
        match name.as_str() {
            "--rounds" => options.rounds = number(),
            "--seconds" => options.seconds = number() as u32,
            "--servers" => options.servers = list(),
            "--workloads" => options.workloads = list(),
            "--retries" => options.retries = number(),
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
