//! The tables.

use measure::cpus::OTHERS_MAX;
use measure::machine;
use measure::table::Spread;
use measure::table::head;
use measure::table::row;
use measure::table::thousands;

use crate::Options;
use crate::idle::Idle;
use crate::load::Run;
use crate::load::Workload;
use crate::server;
use crate::server::Spec;
use crate::slow;
use crate::slow::Slow;
use crate::slow::Times;

type Runs = Vec<(&'static Spec, Vec<Run>)>;

#[derive(Default)]
pub struct Results {
    pub workloads: Vec<(&'static Workload, Runs)>,
    pub idle: Vec<(&'static str, Idle)>,
    pub slow: Vec<(&'static str, Slow)>,
    pub skipped: Vec<(&'static str, String)>,
}

/// What `roundtrip` is to reach: workload, against whom, part of the CPU time, at most.
const TARGETS: &[(&str, &str, &str, f64)] = &[
    ("c1", "hyper", "all", 1.0),
    ("c64", "hyper", "all", 0.9),
    ("c512", "hyper", "all", 0.75),
    ("pipe16", "hyper", "all", 0.7),
    ("close", "hyper", "all", 1.0),
    ("c64", "ceiling", "all", 1.15),
    ("c512", "ceiling", "all", 1.15),
    ("c64", "hyper", "user", 0.5),
    ("file4k", "nginx", "all", 1.0),
    ("file64k", "nginx", "all", 1.0),
    ("file1m", "nginx", "all", 1.0),
    ("overlay64k", "nginx", "all", 1.0),
    ("overlay1m", "nginx", "all", 1.0),
    ("file100m", "nginx", "all", 1.0),
];

pub fn markdown(results: &Results, options: &Options) -> String {
    let mut text = preamble(options);
    for (workload, runs) in &results.workloads {
        text += &format!("\n## {}: {}\n\n", workload.name, workload.title);
        let base = if workload.file.is_some() {
            "nginx"
        } else {
            "hyper"
        };
        text += &workload_table(runs, base);
    }
    if !results.idle.is_empty() {
        text += "\n## idle: 9,000 idle keep-alive connections\n\n";
        text += &idle_table(&results.idle);
    }
    if !results.slow.is_empty() {
        text += &format!(
            "\n## slow: a normal client beside {} slow ones\n\n",
            slow::CONNECTIONS
        );
        text += &slow_table(&results.slow);
    }
    text += &targets(results);
    if !results.skipped.is_empty() {
        text += "\n## Skipped\n\n";
        for (name, why) in &results.skipped {
            text += &format!("- {name}: {why}\n");
        }
    }
    text
}

fn preamble(options: &Options) -> String {
    format!(
        "# Servers side by side\n\n\
        {}.\n\
        One worker on CPU 1, wrk on CPU 0, loopback. {} rounds of {} s, order shuffled in each.\n\
        All: opt-level 3, lto fat, codegen-units 1, panic = abort, mimalloc.\n\
        {}.\n\n\
        CPU µs: server CPU time (user, system, softirq) per request, from schedstat; the split into\n\
        user and system comes from ticks and is coarse. Ratios are of CPU µs within a round: median\n\
        [min–max]. The ceiling is the loop with the least median CPU µs of this run (marked *).\n\
        wrk fills its own CPU before a fast server does: requests/s do not tell servers apart, CPU\n\
        per request does. `?`: other processes used more than {:.0} % of a CPU in a round (in n).\n",
        machine::describe(),
        options.rounds,
        options.seconds,
        versions(),
        OTHERS_MAX * 100.0,
    )
}

/// The versions that the lock file fixes.
fn versions() -> String {
    let names = [
        "hyper",
        "axum",
        "actix-web",
        "ntex",
        "monoio",
        "monoio-http",
        "tokio",
    ];
    machine::versions(&server::workspace(), &names)
}

fn workload_table(runs: &Runs, base: &str) -> String {
    let beside = runs.iter().find(|(spec, _)| spec.name == base);
    let ceiling = ceiling(runs);
    let mut text = head(&[
        "server",
        "requests/s",
        "CPU µs",
        "user + system",
        "p50 µs",
        "p99 µs",
        &format!("÷ {base}"),
        "÷ ceiling",
        "errors",
    ]);
    for (spec, all) in runs {
        let spread = |value: fn(&Run) -> f64| Spread::of(all.iter().map(value));
        let disturbed = all.iter().filter(|run| run.others > OTHERS_MAX).count();
        let is_ceiling = ceiling.is_some_and(|(other, _)| other.name == spec.name);
        let mark = if is_ceiling { " *" } else { "" };
        let doubt = match disturbed {
            0 => String::new(),
            count => format!(" ?{count}"),
        };
        let against = |other: Option<&(&'static Spec, Vec<Run>)>| {
            other.map_or("–".to_owned(), |(_, other)| ratios(all, other).ratio())
        };
        let (user, system) = split(all);
        text += &row(&[
            format!("{}{mark}{doubt}", spec.name),
            thousands(spread(Run::per_second).median),
            format!("{:.2}", spread(Run::cpu_micros).median),
            format!("{user:.2} + {system:.2}"),
            thousands(spread(|run| run.p50_micros).median),
            thousands(spread(|run| run.p99_micros).median),
            against(beside),
            against(ceiling),
            all.iter().map(|run| run.errors).sum::<u64>().to_string(),
        ]);
    }
    text
}

/// The loop with the least median CPU time.
fn ceiling(runs: &Runs) -> Option<&(&'static Spec, Vec<Run>)> {
    let median = |runs: &Vec<Run>| Spread::of(runs.iter().map(Run::cpu_micros)).median;
    let loops = runs.iter().filter(|(spec, _)| spec.is_ceiling);
    loops.min_by(|a, b| median(&a.1).total_cmp(&median(&b.1)))
}

/// CPU time against another's in the same round.
fn ratios(mine: &[Run], other: &[Run]) -> Spread {
    let pairs = mine.iter().zip(other);
    Spread::of(pairs.map(|(mine, other)| mine.cpu_micros() / other.cpu_micros()))
}

/// User and system CPU µs per request over all rounds together: ticks are coarse. They are scaled
/// so that their sum is the exact one.
fn split(runs: &[Run]) -> (f64, f64) {
    let sum = |value: fn(&Run) -> u64| runs.iter().map(value).sum::<u64>() as f64;
    let user = sum(|run| run.user_ticks);
    let ticks = (user + sum(|run| run.system_ticks)).max(1.0);
    let all = sum(|run| run.cpu_nanos) / 1e3 / sum(|run| run.requests).max(1.0);
    (all * user / ticks, all * (1.0 - user / ticks))
}

fn idle_table(all: &[(&'static str, Idle)]) -> String {
    let mut text = head(&[
        "server",
        "bytes per connection",
        "RSS before, MiB",
        "p99 µs alone",
        "p99 µs beside them",
        "alive of 100",
    ]);
    for (name, idle) in all {
        text += &row(&[
            (*name).to_owned(),
            thousands(idle.bytes_per_connection),
            format!("{:.1}", idle.before_bytes as f64 / 1024.0 / 1024.0),
            thousands(idle.p99_alone_micros),
            thousands(idle.p99_beside_micros),
            idle.alive.to_string(),
        ]);
    }
    text
}

fn slow_table(all: &[(&'static str, Slow)]) -> String {
    let mut text = head(&[
        "server",
        "p50 µs alone",
        "p50 µs beside them",
        "p99 µs alone",
        "p99 µs beside them",
        "p99 beside ÷ alone",
        "slow ones alive",
    ]);
    for (name, slow) in all {
        let median = |value: fn(&(Times, Times)) -> f64| {
            thousands(Spread::of(slow.pairs.iter().map(value)).median)
        };
        let ratio = slow
            .pairs
            .iter()
            .map(|(alone, beside)| beside.p99_micros / alone.p99_micros);
        text += &row(&[
            (*name).to_owned(),
            median(|(alone, _)| alone.p50_micros),
            median(|(_, beside)| beside.p50_micros),
            median(|(alone, _)| alone.p99_micros),
            median(|(_, beside)| beside.p99_micros),
            Spread::of(ratio).ratio(),
            slow.alive.to_string(),
        ]);
    }
    text
}

fn targets(results: &Results) -> String {
    let mut rows = String::new();
    for (name, against, part, most) in TARGETS {
        let workload = results
            .workloads
            .iter()
            .find(|(workload, _)| workload.name == *name);
        let Some((_, runs)) = workload else { continue };
        let find = |name: &str| runs.iter().find(|(spec, _)| spec.name == name);
        let other = match *against {
            "ceiling" => ceiling(runs),
            name => find(name),
        };
        let (Some((_, mine)), Some((_, other))) = (find("roundtrip"), other) else {
            continue;
        };
        let (got, said) = match *part {
            "user" => {
                let got = split(mine).0 / split(other).0;
                (got, format!("{got:.2}"))
            }
            _ => {
                let spread = ratios(mine, other);
                (spread.median, spread.ratio())
            }
        };
        rows += &row(&[
            format!("{name}, {part} ÷ {against}'s"),
            format!("≤ {most}"),
            said,
            if got <= *most { "met" } else { "missed" }.to_owned(),
        ]);
    }
    match rows.is_empty() {
        true => rows,
        false => format!(
            "\n## roundtrip against its targets\n\n{}{rows}",
            head(&["CPU per request", "target", "measured", ""])
        ),
    }
}
