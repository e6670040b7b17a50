//! The arguments, by hand: there are few.

use roundtrip::simulation::ALL_FAULTS;
use roundtrip::simulation::Fault;

use crate::plan::Overrides;

pub const HELP: &str = "\
make simulate [SEED=N [CLIENTS=N] [REQUESTS=N] [PEERS=N] [HOSTS=N] [FAULTS=A,B]] [MINUTES=N]
  (nothing)          the fixed set of seeds, of deaths, races and schedules
  --seeds N          so many seeds of the fixed set
  --seed N           one seed, with every step; shrunk if it fails
  --quiet            without the steps, and not shrunk
  --clients N        with so many tasks of clients
  --requests N       with so many requests of each
  --peers N          with so many raw clients
  --hosts N          with so many raw servers
  --faults A,B       with these faults alone; none for none
  --minutes N        fresh seeds for so long
  --first N          the first of them
  --races N          so many seeds of races with a server that closes
  --race N           one of them, with every step
  --schedules N      so many seeds of random schedules
  --schedule N       one of them, with every step
  --deaths N         so many seeds of cores that die
  --death N          one of them, with every step
  --canary NAME      one known bug
  --canaries         all of them";

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    Help,
    /// Each fixed set.
    Everything,
    Fixed(u64),
    Races(u64),
    Race(u64),
    Schedules(u64),
    Schedule(u64),
    Deaths(u64),
    Death(u64),
    Seed(u64),
    Minutes(f64),
    Canaries(Option<String>),
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub mode: Mode,
    pub overrides: Overrides,
    pub first: Option<u64>,
    pub is_quiet: bool,
}

/// Reads them.
///
/// # Errors
///
/// What cannot be read.
pub fn parse(mut list: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        mode: Mode::Everything,
        overrides: Overrides::default(),
        first: None,
        is_quiet: false,
    };
    while let Some(name) = list.next() {
        match name.as_str() {
            "--help" | "-h" => arguments.mode = Mode::Help,
            "--quiet" => arguments.is_quiet = true,
            "--canaries" => arguments.mode = Mode::Canaries(None),
            _ => {
                let value = list.next().ok_or_else(|| format!("{name} needs a value"))?;
                with_value(&mut arguments, &name, &value)?;
            }
        }
    }
    Ok(arguments)
}

fn with_value(arguments: &mut Arguments, name: &str, value: &str) -> Result<(), String> {
    let number = || {
        value
            .parse::<u64>()
            .map_err(|_| format!("{name} {value} is no number"))
    };
    let count = || number().map(|number| Some(number as usize));
    let overrides = &mut arguments.overrides;
    match name {
        "--seeds" => arguments.mode = Mode::Fixed(number()?),
        "--races" => arguments.mode = Mode::Races(number()?),
        "--race" => arguments.mode = Mode::Race(number()?),
        "--schedules" => arguments.mode = Mode::Schedules(number()?),
        "--schedule" => arguments.mode = Mode::Schedule(number()?),
        "--deaths" => arguments.mode = Mode::Deaths(number()?),
        "--death" => arguments.mode = Mode::Death(number()?),
        "--seed" => arguments.mode = Mode::Seed(number()?),
        "--first" => arguments.first = Some(number()?),
        "--clients" => overrides.tasks = count()?,
        "--requests" => overrides.requests = count()?,
        "--peers" => overrides.raw = count()?,
        "--hosts" => overrides.hosts = count()?,
        "--faults" => overrides.faults = Some(faults(value)?),
        "--canary" => arguments.mode = Mode::Canaries(Some(value.to_owned())),
        "--minutes" => {
            let minutes = value
                .parse()
                .map_err(|_| format!("{name} {value} is no number"))?;
            arguments.mode = Mode::Minutes(minutes);
        }
        _ => return Err(format!("{name} is not known")),
    }
    Ok(())
}

fn faults(list: &str) -> Result<Vec<Fault>, String> {
    let named = |name: &str| {
        let found = ALL_FAULTS
            .into_iter()
            .find(|fault| format!("{fault:?}") == name);
        found.ok_or_else(|| format!("no fault is called {name}"))
    };
    match list {
        "none" | "" => Ok(Vec::new()),
        _ => list.split(',').map(named).collect(),
    }
}
