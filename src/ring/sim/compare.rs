//! The same scripts on both engines of the real kernel and on the simulated one.
//!
//! ```text
//!   rows ──► script ──┬─► io_uring ─────────────► trace ─┐
//!                     ├─► epoll ────────────────► trace ─┼──► equal, or the test fails
//!                     └─► simulation, some seeds ► trace ┘
//! ```
//!
//! Where epoll does not do as io_uring does, the row says why, and nothing above may depend on it.
//!
//! What the real kernel leaves open (the order of completions of different sockets, how a stream
//! is cut) is taken out of both traces before; each row says what that is by its [`Form`].

use std::fmt::Write;
use std::panic;
use std::rc::Rc;
use std::time::Duration;

use crate::ring::diagnosis::SetupError;
use crate::ring::engine::Engine;
use crate::ring::epoll;
use crate::ring::queue::Ring;
use crate::ring::setup::RingOptions;
use crate::ring::sim;
use crate::ring::sim::Options;
use crate::ring::sim::compare::stage::Stage;
use crate::ring::sim::compare::trace::Form;
use crate::ring::sim::compare::trace::normal_form;
use crate::ring::sys;
use crate::ring::tests::io_uring;
use crate::ring::uring;

mod accept;
mod cancel;
mod descriptors;
mod other;
mod receive;
mod send;
mod stage;
mod trace;

/// How long nothing may happen on the real kernel before a step ends: loopback is nearly
/// synchronous.
const QUIET: Duration = Duration::from_millis(3);
/// The same when a row differed: on a busy machine even loopback takes its time.
const LONGER_QUIETS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(400)];
/// How long a step of the simulation waits, in its own time.
const SIMULATED_QUIET: Duration = Duration::from_millis(3);
/// Seeds of the simulation for each row.
const SEEDS: u64 = 4;
/// The same for a row of which the simulation draws one of several outcomes.
const VARYING_SEEDS: u64 = 16;

/// Sizes unless a row has its own.
const OPTIONS: RingOptions = RingOptions {
    sq_entries: 32,
    cq_entries: 256,
    buffers: 16,
    buffer_bytes: 16,
    engine: Engine::Auto,
};

/// `(6, 1)` for 6.1.
type Release = (u32, u32);

/// Tried on 6.1.
const LAST_COME_FIRST: &str =
    "what becomes ready within an enter completes last come, first served";
/// Tried on 6.1.
const STARVES_AT_ONCE: &str = "a multishot receive that filled the last buffer ends at once";
/// Tried on 6.1 and 6.12.
const SEES_THE_END: &str = "a multishot receive sees the end behind the data";

/// One script.
#[derive(Clone)]
pub struct Row {
    name: &'static str,
    form: Form,
    script: fn(&mut Stage),
    options: RingOptions,
    /// Why it does not run on the simulation.
    real_only: Option<&'static str>,
    /// Why epoll does otherwise.
    epoll_differs: Option<&'static str>,
    /// The last kernel whose io_uring does otherwise, and why.
    older_differ: Option<(Release, &'static str)>,
    /// Both kernels may do one of several things.
    varies: bool,
}

/// A row with the usual sizes.
const fn row(name: &'static str, form: Form, script: fn(&mut Stage)) -> Row {
    Row {
        name,
        form,
        script,
        options: OPTIONS,
        real_only: None,
        epoll_differs: None,
        older_differ: None,
        varies: false,
    }
}

impl Row {
    /// With so many receive buffers of 16 bytes.
    const fn buffers(mut self, count: u16) -> Row {
        self.options.buffers = count;
        self
    }

    /// Not for the simulation, and why.
    const fn real_only(mut self, why: &'static str) -> Row {
        self.real_only = Some(why);
        self
    }

    /// Epoll does otherwise, and why.
    const fn epoll_differs(mut self, why: &'static str) -> Row {
        self.epoll_differs = Some(why);
        self
    }

    /// io_uring does otherwise on kernels up to `last`, and why. Nothing above depends on it.
    const fn older_differ(mut self, last: Release, why: &'static str) -> Row {
        self.older_differ = Some((last, why));
        self
    }

    /// Why this kernel does otherwise.
    fn may_differ(&self, engine: Engine) -> Option<&'static str> {
        match (engine, self.older_differ) {
            (Engine::Epoll, _) => self.epoll_differs,
            (_, Some((last, why))) => (release() <= last).then_some(why),
            _ => None,
        }
    }

    /// The simulation draws one of several outcomes, and the real one is among them.
    const fn varies(mut self) -> Row {
        self.varies = true;
        self
    }

    /// With so many entries in the queues.
    const fn queues(mut self, sq_entries: u32, cq_entries: u32) -> Row {
        self.options.sq_entries = sq_entries;
        self.options.cq_entries = cq_entries;
        self
    }

    /// What the script sees on an engine of the real kernel.
    fn run_real(&self, engine: Engine, quiet: Duration) -> Vec<String> {
        let ring = new_ring(engine, self.options).expect("a ring");
        let mut stage = Stage::new(ring, quiet, None);
        (self.script)(&mut stage);
        normal_form(&stage.finish(), self.form)
    }

    /// What it sees on the simulated kernel, which must be left empty.
    fn run_simulated(&self, options: Options) -> Vec<String> {
        let installed = Rc::new(sim::install(options));
        let ring = Ring::new(self.options).expect("a ring");
        let mut stage = Stage::new(ring, SIMULATED_QUIET, Some(Rc::clone(&installed)));
        (self.script)(&mut stage);
        let trace = normal_form(&stage.finish(), self.form);
        assert_eq!(installed.in_flight(), 0, "{}: in flight", self.name);
        assert_eq!(installed.descriptors(), 0, "{}: descriptors", self.name);
        assert!(installed.violations().is_empty(), "{}", self.name);
        trace
    }

    /// What it sees on the simulated kernel, from some seeds.
    fn simulated(&self) -> Vec<Vec<String>> {
        let seeds = if self.varies { VARYING_SEEDS } else { SEEDS };
        (0..seeds)
            .map(|seed| self.run_simulated(Options::new(seed)))
            .collect()
    }

    /// The seed that a trace of the real kernel differs from, if it is not as it may be.
    fn wrong_seed(&self, real: &Vec<String>, simulated: &[Vec<String>]) -> Option<usize> {
        let first = simulated.iter().position(|trace| trace != real)?;
        (!self.varies || !simulated.contains(real)).then_some(first)
    }

    /// How an engine and the simulation differ, if they do.
    fn difference(&self, engine: Engine) -> Option<String> {
        let simulated = self.simulated();
        // What comes too late may also leave the script without a socket that it counts on.
        let hasty = panic::catch_unwind(|| self.run_real(engine, QUIET));
        if let Ok(real) = hasty {
            self.wrong_seed(&real, &simulated)?;
        }
        let mut last = None;
        for quiet in LONGER_QUIETS {
            let real = self.run_real(engine, quiet);
            let seed = self.wrong_seed(&real, &simulated)?;
            let title = format!("{} on {engine:?} (seed {seed})", self.name);
            last = Some(side_by_side(&title, &real, &simulated[seed]));
        }
        last
    }

    /// True when an engine does otherwise, as its row says.
    fn differs(&self, engine: Engine) -> bool {
        let real = self.run_real(engine, LONGER_QUIETS[0]);
        self.wrong_seed(&real, &self.simulated()).is_some()
    }
}

/// The engines that this kernel gives us.
fn engines() -> Vec<Engine> {
    let mut engines = vec![Engine::Epoll];
    engines.extend(io_uring(OPTIONS).map(|_| Engine::IoUring));
    engines
}

/// Of the kernel that this runs on.
fn release() -> Release {
    let text = sys::kernel_release();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().unwrap().unwrap();
    (next(), next())
}

fn new_ring(engine: Engine, options: RingOptions) -> Result<Ring, SetupError> {
    match engine {
        Engine::Epoll => epoll::new_ring(options),
        _ => uring::new_ring(options),
    }
}

fn side_by_side(title: &str, real: &[String], simulated: &[String]) -> String {
    let mut text = format!("### {title}\n  real{:52}| simulated\n", "");
    let empty = String::new();
    for at in 0..real.len().max(simulated.len()) {
        let left = real.get(at).unwrap_or(&empty);
        let right = simulated.get(at).unwrap_or(&empty);
        let mark = if left == right { ' ' } else { '!' };
        let _ = writeln!(text, "{mark} {left:56}| {right}");
    }
    text
}

/// Compares all rows, and fails with everything that differs. So many rows are skipped on the
/// simulation, and so many differ on epoll.
fn compare(area: &str, rows: &[&[Row]], skipped: usize, differing: usize) {
    let rows = rows.concat();
    let engines = engines();
    let mut differences = Vec::new();
    for engine in engines {
        for row in &rows {
            if let Some(why) = row.real_only {
                let real = row.run_real(engine, LONGER_QUIETS[0]);
                assert!(!real.is_empty(), "{}: no trace", row.name);
                println!("{area}: skipped on the simulation: {}: {why}", row.name);
            } else if let Some(why) = row.may_differ(engine) {
                println!("{area}: other on {engine:?}: {}: {why}", row.name);
                if !row.differs(engine) {
                    differences.push(format!("### {}: no other on {engine:?}", row.name));
                }
            } else {
                differences.extend(row.difference(engine));
            }
        }
    }
    let count = |holds: fn(&Row) -> bool| rows.iter().filter(|row| holds(row)).count();
    println!("{area}: {} rows", rows.len());
    assert_eq!(
        count(|row| row.real_only.is_some()),
        skipped,
        "{area}: skipped"
    );
    assert_eq!(
        count(|row| row.epoll_differs.is_some()),
        differing,
        "{area}: differ on epoll"
    );
    assert!(
        differences.is_empty(),
        "{area}: {} of {} rows differ\n{}",
        differences.len(),
        rows.len(),
        differences.join("\n")
    );
}

/// What is compared nowhere, and why.
const LEFT_OUT: [(&str, &str); 5] = [
    (
        "connect to a listener whose queue is full",
        "the queue holds thousands, and TCP tries again after seconds",
    ),
    (
        "connect that is never answered",
        "the real kernel gives up after two minutes, and loopback always answers",
    ),
    (
        "keep-alive of a dead connection",
        "takes minutes, and loopback has no dead connections",
    ),
    (
        "a cancel that comes too late (EALREADY)",
        "only work on threads of the kernel; a race that no script can win for sure",
    ),
    (
        "an event notified by another thread",
        "a simulation is one thread; the reactor's own tests do it on the real kernel",
    ),
];

#[test]
fn what_is_left_out_has_a_reason() {
    for (what, why) in LEFT_OUT {
        println!("left out on both: {what}: {why}");
        assert!(!what.is_empty() && !why.is_empty());
    }
}

#[test]
fn receives() {
    compare("receive", &receive::ROWS, 2, 6);
}

#[test]
fn accepts_and_connects() {
    compare("accept", &accept::ROWS, 2, 3);
}

#[test]
fn sends_and_closes() {
    compare("send", &send::ROWS, 0, 3);
}

#[test]
fn cancellations() {
    compare("cancel", &cancel::ROWS, 0, 1);
}

#[test]
fn events_files_waits_and_queues() {
    compare("other", &other::ROWS, 0, 5);
}

#[test]
fn a_difference_is_found() {
    let row = row("kernel", Form::Exact, |stage| {
        let simulated = stage.is_simulated().to_string();
        stage.call("simulated", &simulated);
    });
    let found = row.difference(Engine::Epoll).expect("they differ");
    assert!(found.contains("! simulated = false"), "{found}");
    assert!(row.varies().difference(Engine::Epoll).is_some());
}
