//! The tables.

use std::fmt::Write as _;

use measure::cpus::OTHERS_MAX;
use measure::machine;
use measure::table::Spread;
use measure::table::head;
use measure::table::row;
use measure::table::thousands;

use crate::Options;
use crate::Pair;
use crate::client;
use crate::client::BASES;
use crate::client::CLIENTS;
use crate::run::Run;
use crate::workload::WORKLOADS;
use crate::workload::Workload;

pub struct Results {
    pub pairs: Vec<Pair>,
    /// Clients that were not built.
    pub skipped: Vec<(&'static str, String)>,
    /// Rounds that were measured.
    pub rounds: usize,
}

impl Results {
    fn of(&self, workload: &Workload) -> Vec<&Pair> {
        let pairs = self.pairs.iter();
        let pairs = pairs.filter(|pair| pair.workload.name == workload.name);
        pairs.filter(|pair| !pair.runs.is_empty()).collect()
    }

    /// What went wrong in a run.
    pub fn failures(&self) -> impl Iterator<Item = (&Pair, &str)> {
        let pairs = self.pairs.iter();
        pairs.filter_map(|pair| Some((pair, pair.failure.as_deref()?)))
    }
}

pub fn markdown(results: &Results, options: &Options) -> String {
    let mut text = preamble(results, options);
    for base in BASES {
        let _ = write!(
            text,
            "\n## Client CPU per request, as a part of {base}'s\n\n"
        );
        text += &summary(results, base);
    }
    for workload in WORKLOADS {
        let pairs = results.of(workload);
        if !pairs.is_empty() {
            let _ = write!(text, "\n## {}: {}\n\n", workload.name, workload.title);
            text += &workload_table(&pairs);
        }
    }
    if results.failures().next().is_some() {
        text += "\n## Failed\n\n";
        for (pair, why) in results.failures() {
            let _ = writeln!(text, "- {}, {}, {why}", pair.workload.name, pair.spec.name);
        }
    }
    if !results.skipped.is_empty() {
        text += "\n## Skipped\n\n";
        for (name, why) in &results.skipped {
            let _ = writeln!(text, "- {name}: {why}");
        }
    }
    text
}

fn preamble(results: &Results, options: &Options) -> String {
    let rounds = match results.rounds {
        all if all == options.rounds => all.to_string(),
        some => format!("{some} (of {}: time was up)", options.rounds),
    };
    let names = ["hyper-util", "hyper", "reqwest", "ureq", "curl-sys"];
    let more = ["monoio-http-client", "monoio-http", "monoio", "tokio"];
    let names = [&names[..], &more].concat();
    format!(
        "# Clients side by side\n\n\
        {}.\n\
        Our server with one worker on CPU 0, the client on CPU 1, loopback; 13 bytes of body, each\n\
        answer checked. {rounds} rounds of {} s, in each all clients, in another order.\n\
        Rust: opt-level 3, lto fat, codegen-units 1, panic = abort, mimalloc; one thread. Go:\n\
        GOMAXPROCS=1. libcurl: its easy interface for one request, its socket interface over epoll\n\
        for 64.\n\
        {}, {}.\n\n\
        CPU µs: client CPU time (user, system, softirq) per request, from getrusage; the split into\n\
        user and system comes from ticks and is coarse. CPU %: of the time that passed; near 100 with\n\
        one request at a time, it polls. Ratios are of CPU µs within a round: median [min–max].\n\
        Allocations are counted in other programs than are timed (Go's and libcurl's own included).\n\
        `?`: other processes used more than {:.0} % of a CPU in a round (in n).\n",
        machine::describe(),
        options.seconds,
        client::go_version(),
        machine::versions(&client::workspace(), &names),
        OTHERS_MAX * 100.0,
    )
}

/// A row per client, a column per workload.
fn summary(results: &Results, base: &str) -> String {
    let workloads: Vec<_> = WORKLOADS.iter().map(|one| (one, results.of(one))).collect();
    let workloads: Vec<_> = workloads
        .into_iter()
        .filter(|(_, all)| !all.is_empty())
        .collect();
    let names = workloads.iter().map(|(workload, _)| workload.name);
    let mut text = head(&["client"].into_iter().chain(names).collect::<Vec<_>>());
    for spec in CLIENTS {
        let cell = |(_, pairs): &(&Workload, Vec<&Pair>)| {
            let find = |name| pairs.iter().find(|pair| pair.spec.name == name);
            match (find(spec.name), find(base)) {
                (Some(mine), Some(other)) => format!("{:.2}", ratios(mine, other).median),
                _ => "–".to_owned(),
            }
        };
        let cells: Vec<String> = workloads.iter().map(cell).collect();
        if cells.iter().any(|cell| cell != "–") {
            text += &row(&[vec![spec.name.to_owned()], cells].concat());
        }
    }
    text
}

fn workload_table(pairs: &[&Pair]) -> String {
    let mut text = head(&[
        "client",
        "requests/s",
        "CPU µs",
        "user + system",
        "CPU %",
        &format!("÷ {}", BASES[0]),
        &format!("÷ {}", BASES[1]),
        "allocations",
        "bytes",
        "connections",
        "server CPU µs",
    ]);
    for pair in pairs {
        let spread = |value: fn(&Run) -> f64| Spread::of(pair.runs.iter().map(value));
        let median = |value| spread(value).median;
        let disturbed = pair.runs.iter().filter(|run| run.others > OTHERS_MAX);
        let doubt = match disturbed.count() {
            0 => String::new(),
            count => format!(" ?{count}"),
        };
        let against = |base: &str| {
            let other = pairs.iter().find(|pair| pair.spec.name == base);
            other.map_or("–".to_owned(), |other| ratios(pair, other).ratio())
        };
        let counted = |value: fn(&Run) -> Option<f64>| {
            let counted = pair.counted.as_ref();
            counted.and_then(|run| Some(value(run)? / run.requests))
        };
        let (user, system) = (|run: &Run| run.user_seconds, |run: &Run| run.system_seconds);
        let each = |value: fn(&Run) -> f64| {
            let sum = |value: fn(&Run) -> f64| pair.runs.iter().map(value).sum::<f64>();
            sum(value) * 1e6 / sum(|run| run.requests)
        };
        let per_second = spread(Run::per_second);
        let (least, most) = (thousands(per_second.min), thousands(per_second.max));
        text += &row(&[
            format!("{}{doubt}", pair.spec.name),
            format!("{} [{least}–{most}]", thousands(per_second.median)),
            spread(Run::cpu_micros).ratio(),
            format!("{:.2} + {:.2}", each(user), each(system)),
            format!("{:.0}", median(|run| run.load() * 100.0)),
            against(BASES[0]),
            against(BASES[1]),
            counted(|run| run.allocations).map_or("–".to_owned(), |count| format!("{count:.1}")),
            counted(|run| run.allocated_bytes).map_or("–".to_owned(), thousands),
            format!("{:.3}", median(|run| run.connections)),
            format!("{:.2}", median(|run| run.server_micros)),
        ]);
    }
    text
}

/// CPU time against another's in the same round.
fn ratios(mine: &Pair, other: &Pair) -> Spread {
    let pairs = mine.runs.iter().zip(&other.runs);
    Spread::of(pairs.map(|(mine, other)| mine.cpu_micros() / other.cpu_micros()))
}
