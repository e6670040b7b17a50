//! One seed, from its plan to what came of it.
//!
//! ```text
//!   Plan ─► fresh thread ─► Simulation ─► server, hosts, raw clients, tasks ─► the end ─► Outcome
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Client;
use roundtrip::Server;
use roundtrip::error::ErrorKind;
use roundtrip::net::Net;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::runtime::JoinHandle;
use roundtrip::server::ServerHandle;
use roundtrip::simulation;
use roundtrip::simulation::Bug;
use roundtrip::simulation::Fired;
use roundtrip::simulation::Report;
use roundtrip::simulation::Simulation;

use crate::client::Clients;
use crate::handlers;
use crate::host::Host;
use crate::ledger;
use crate::ledger::Counts;
use crate::log;
use crate::log::Output;
use crate::panics;
use crate::plan::Overrides;
use crate::plan::Part;
use crate::plan::Plan;
use crate::raw::Raw;
use crate::streams;
use crate::streams::UNIX_PATH;

/// Turns of a seed: a hundred times what the longest one takes.
const TURNS_MAX: u64 = 5_000_000;
/// Real time that a seed takes at most: beyond, it does not even turn.
const TIME_MAX: Duration = Duration::from_secs(300);
/// Stack of a seed's thread.
const STACK_BYTES: usize = 4 * 1024 * 1024;
/// Raw clients have an end before this.
const RAW_TIME_MAX: Duration = Duration::from_secs(700);
/// What is left of connections goes within this: a dial may take 10 s, and goes on when nobody waits
/// for it any more.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(15);
/// Requests that are added at most until a fault has happened, and how many at a time.
const EXTRA_ROUNDS_MAX: usize = 40;
const EXTRA_REQUESTS: usize = 20;
/// The clients hear of an end so much earlier.
const EARLIER: Duration = Duration::from_millis(10);
/// Every seed makes as many connections.
pub const CONNECTIONS_MIN: u64 = 8;
/// What is noted of a run beside its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nothing.
    Nothing,
    /// A digest of every step.
    Digest,
    /// Every step, printed.
    Print,
}

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    pub failure: Option<String>,
    pub fired: Fired,
    pub counts: Counts,
    pub connections: u64,
    /// Virtual time.
    pub elapsed: Duration,
    /// Time of a processor.
    pub took: Duration,
    pub turns: u64,
    /// Depends on everything that happened.
    pub digest: u64,
}

thread_local! {
    static CONNECTIONS: Cell<u64> = const { Cell::new(0) };
    /// What the last panic of this thread said, and where.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From here on panics are noted, and not printed.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        let payload = info.payload();
        let text = match (
            payload.downcast_ref::<&str>(),
            payload.downcast_ref::<String>(),
        ) {
            (Some(text), _) => text,
            (None, Some(text)) => text.as_str(),
            (None, None) => "a panic without a message",
        };
        // The first one is the cause of the others.
        let _ = PANIC.try_with(|last| {
            last.borrow_mut()
                .get_or_insert_with(|| format!("{text}{place}"));
        });
    }));
}

/// Runs a seed on a thread of its own.
pub fn run(seed: u64, overrides: &Overrides, bug: Option<Bug>, watch: Watch) -> Outcome {
    let own = overrides.clone();
    let replay = format!("make simulate SEED={seed}{overrides}");
    on_own_thread(&replay, move || run_here(seed, &own, bug, watch))
}

/// Runs a simulation on a thread of its own: what threads keep for reuse must not come from another
/// seed. One that hangs within a turn ends the program, and says how to see it again.
pub fn on_own_thread<T: Send + 'static>(
    replay: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, outcome) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("seed".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _ = sender.send(work());
        })
        .expect("a thread");
    match outcome.recv_timeout(TIME_MAX) {
        Ok(outcome) => {
            thread.join().expect("panics are caught");
            outcome
        }
        Err(_) => {
            println!("\n{replay}  # hangs within a turn");
            std::process::exit(1);
        }
    }
}

fn run_here(seed: u64, overrides: &Overrides, bug: Option<Bug>, watch: Watch) -> Outcome {
    let started = Instant::now();
    let plan = Rc::new(Plan::new(seed, overrides));
    if watch == Watch::Print {
        println!("{plan}");
    }
    let digest = Rc::new(RefCell::new(DefaultHasher::new()));
    let mut simulation = machine(&plan);
    if let Some(bug) = bug {
        simulation = simulation.plant(bug);
    }
    if watch != Watch::Nothing {
        let digest = Rc::clone(&digest);
        simulation = simulation.trace(move |line| {
            line.hash(&mut *digest.borrow_mut());
            if watch == Watch::Print {
                println!("{line}");
            }
        });
    }
    panics::begin(&mut plan.stream(Part::Panics, 0));
    let report = simulation.run(scenario(Rc::clone(&plan)));
    let failure = failure_of(&report);
    let counts = ledger::counts();
    let counters = report.counters();
    let mut hasher = digest.borrow().clone();
    (
        counts.digest,
        report.elapsed(),
        counters.enters,
        counters.completions,
    )
        .hash(&mut hasher);
    (report.fired().total(), &failure).hash(&mut hasher);
    Outcome {
        seed,
        failure,
        fired: *report.fired(),
        counts,
        connections: CONNECTIONS.get(),
        elapsed: report.elapsed(),
        took: processor_time().unwrap_or_else(|| started.elapsed()),
        turns: counters.enters,
        digest: hasher.finish(),
    }
}

/// Runs the scenario of a plan with `beside` beside it.
pub fn simulate(
    plan: Plan,
    is_printed: bool,
    beside: impl Future<Output = ()> + 'static,
) -> Report<()> {
    let mut simulation = machine(&plan);
    if is_printed {
        println!("{plan}");
        simulation = simulation.trace(|line| println!("{line}"));
    }
    panics::begin(&mut plan.stream(Part::Panics, 0));
    simulation.run(async {
        drop(runtime::spawn(beside));
        scenario(Rc::new(plan)).await;
    })
}

/// What was wrong, with the place of a panic.
pub fn failure_of<T>(report: &Report<T>) -> Option<String> {
    let panicked = PANIC.take();
    report.failure().map(|failure| match panicked {
        Some(panic) if panic.starts_with(failure) => panic,
        _ => failure.to_owned(),
    })
}

/// What this thread has used of a processor: other programs do not count.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

fn machine(plan: &Plan) -> Simulation {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let mut simulation = Simulation::new(plan.seed)
        .faults(plan.faults)
        .ring(plan.ring)
        .latency(plan.latency.0, plan.latency.1)
        .socket_buffer_bytes(plan.socket_buffer_bytes)
        .turns_max(TURNS_MAX)
        .host("server.test", ip("127.0.0.1"))
        .host("double.test", ip("127.0.0.9"))
        .host("double.test", ip("127.0.0.1"));
    for index in 0..plan.hosts {
        simulation = simulation.host(
            format!("host-{index}.test"),
            ip(&format!("127.0.1.{index}")),
        );
    }
    for index in 0..handlers::FILES.len() {
        let path = format!("{}/f{index}", handlers::DIRECTORY);
        simulation = simulation.file(path, handlers::file_content(index));
    }
    simulation
}

/// What happens in one run.
async fn scenario(plan: Rc<Plan>) {
    let core = Core::current().expect("a simulation runs a core");
    for index in 0..plan.hosts {
        let address = SocketAddr::new([127, 0, 1, index as u8].into(), 80);
        simulation::add_peer(Host::new(address, plan.stream(Part::Host, index)));
    }
    // Hosts listen from the next turn on.
    runtime::sleep(Duration::from_millis(1)).await;
    let (handle, serving) = serve(&plan).await;
    for index in 0..plan.raw {
        simulation::add_peer(Raw::new(&plan, index));
    }
    if let Some(after) = plan.abandoned_after {
        drop(runtime::spawn(async move {
            runtime::sleep(after - EARLIER).await;
            ledger::begin_shutdown();
        }));
    }
    if let Some(after) = plan.shutdown_after {
        let handle = handle.clone();
        drop(runtime::spawn(async move {
            runtime::sleep(after).await;
            ledger::begin_shutdown();
            handle.shutdown();
        }));
    }
    let clients = Clients::new(&plan);
    let echoes = if plan.streams > 0 {
        streams::serve().await
    } else {
        Vec::new()
    };
    let tasks: Vec<_> = (0..plan.tasks)
        .map(|index| runtime::spawn(Rc::clone(&clients).run_task(index, plan.requests)))
        .collect();
    let streams: Vec<_> = (0..plan.streams)
        .map(|index| runtime::spawn(streams::run_task(Rc::clone(&plan), index)))
        .collect();
    for task in tasks.into_iter().chain(streams) {
        if let Err(error) = task.await {
            simulation::fail(error.to_string());
        }
    }
    if let Some(wrong) = clients.check_counts() {
        simulation::fail(wrong);
    }
    drop(clients);
    await_raw().await;
    add_requests(&plan, &handle).await;
    end_server(&plan, &handle, serving).await;
    for echo in echoes {
        echo.abort();
    }
    await_closing(&core).await;
    let stats = handle.statistics();
    CONNECTIONS.set(stats.connections_accepted + ledger::counts().accepted_by_hosts);
    let counts = ledger::counts();
    let wrong = plan.guards.check(&stats);
    if let Some(wrong) = wrong.or_else(|| log::check(&stats)) {
        simulation::fail(wrong);
    }
    if stats.requests != counts.handled + stats.requests_shed || stats.panics != counts.panicked {
        simulation::fail(format!(
            "the server counted {stats:?}, its handlers {counts:?}"
        ));
    }
    if stats.connections_open != 0 || stats.invalid_responses != 0 {
        simulation::fail(format!("at the end the server has counted {stats:?}"));
    }
}

/// Goes on until a fault has happened and there were connections enough.
async fn add_requests(plan: &Rc<Plan>, handle: &ServerHandle) {
    let plan = Rc::new(Plan {
        is_quick: false,
        ..Plan::clone(plan)
    });
    for round in 0..EXTRA_ROUNDS_MAX {
        let accepted = handle.statistics().connections_accepted;
        let connections = accepted + ledger::counts().accepted_by_hosts;
        let is_enough = simulation::fired().total() > 0 && connections >= CONNECTIONS_MIN;
        if is_enough || plan.tasks == 0 {
            return;
        }
        // Clients of their own make connections of their own.
        Clients::new(&plan)
            .run_task(1_000 + round, EXTRA_REQUESTS)
            .await;
    }
}

/// The server, as soon as it gets a socket.
async fn serve(plan: &Plan) -> (ServerHandle, JoinHandle<roundtrip::Result<()>>) {
    loop {
        let times = &plan.times;
        let server = Server::new(handlers::router(Client::new()))
            .header_timeout(times.header)
            .idle_timeout(times.idle)
            .body_timeout(times.body)
            .write_timeout(times.write)
            .shutdown_timeout(times.shutdown)
            .drain_delay(plan.drain_delay)
            .pipelined_bytes_max(plan.pipelined_bytes)
            .access_log(Output::new(plan.stream(Part::Log, 0)));
        let bound = plan
            .guards
            .set(server)
            .bind("127.0.0.1:80")
            .and_then(|server| server.bind_unix(UNIX_PATH));
        match bound {
            Ok(server) => {
                let handle = server.handle();
                return (
                    handle,
                    runtime::spawn(run_server(server, plan.abandoned_after)),
                );
            }
            Err(error) if plan.is_harmless() || error.kind() != ErrorKind::Bind => {
                simulation::fail(format!("the server does not start: {error}"));
            }
            Err(_) => {}
        }
        runtime::sleep(Duration::from_millis(1)).await;
    }
}

/// Serves; after the given time the server is dropped where it stands.
async fn run_server(server: Server, abandoned_after: Option<Duration>) -> roundtrip::Result<()> {
    let Some(after) = abandoned_after else {
        return server.run_here().await;
    };
    match runtime::timeout(after, server.run_here()).await {
        Ok(ended) => ended,
        Err(_) => Ok(()),
    }
}

async fn await_raw() {
    let core = Core::current().expect("as above");
    let began = core.now();
    while ledger::raw_left() > 0 {
        if core.now() - began > RAW_TIME_MAX {
            let left = ledger::raw_left();
            simulation::fail(format!("{left} raw clients have no end"));
            return;
        }
        runtime::sleep(Duration::from_millis(100)).await;
    }
}

async fn end_server(
    plan: &Plan,
    handle: &ServerHandle,
    serving: JoinHandle<roundtrip::Result<()>>,
) {
    let core = Core::current().expect("as above");
    let began = core.now();
    handle.shutdown();
    match serving.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) | Err(error) => simulation::fail(format!("the server ended: {error}")),
    }
    let took = core.now() - began;
    if took > plan.drain_delay + plan.times.shutdown + plan.slack() {
        simulation::fail(format!("the shutdown took {took:?}"));
    }
}

/// Nothing is left of connections and operations but the core's own mailbox.
async fn await_closing(core: &Rc<Core>) {
    let net = Net::of(core);
    let began = core.now();
    loop {
        let (connections, in_flight) = (net.connections(), core.counters().in_flight);
        if connections == 0 && in_flight <= 1 {
            return;
        }
        if core.now() - began > CLOSING_TIME_MAX {
            let text = format!("{connections} connections and {in_flight} operations are left");
            simulation::fail(text);
            return;
        }
        runtime::sleep(Duration::from_millis(10)).await;
    }
}
