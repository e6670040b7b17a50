//! Random schedules of reuse, cancellation and close on few connections: each response belongs to
//! its request, to the last byte.
//!
//! ```text
//!   tasks ─► few connections ─► Origin: in pieces, late, chunked, up to the end, closed in between
//!     └─ the future dropped after some polls or some time · the body dropped half read · all read
//! ```
//! Faults of every sort happen meanwhile in some of the seeds: then a request may fail, and a
//! response is still its own or none.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use ::http::Method;
use bytes::Bytes;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Response;
use roundtrip::net::Net;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::simulation;
use roundtrip::simulation::ALL_FAULTS;
use roundtrip::simulation::Faults;
use roundtrip::simulation::Random;
use roundtrip::simulation::Simulation;

use crate::client::leaving;
use crate::content;
use crate::content::Way;
use crate::job::Leave;
use crate::origin::ADDRESS;
use crate::origin::Close;
use crate::origin::Ends;
use crate::origin::How;
use crate::origin::Order;
use crate::origin::Origin;
use crate::pieces;
use crate::pieces::Read;
use crate::run;
use crate::totals;

/// Seeds of the fixed set.
pub const SEEDS: u64 = 200;
/// Tasks of a seed, and requests of each.
const TASKS: u64 = 12;
const REQUESTS: u64 = 60;
/// What the fixed set has of each way to end, at least.
const EACH_MIN: u64 = 1_000;
/// No request takes longer.
const HANG: Duration = Duration::from_secs(300);

/// How requests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    requests: u64,
    answered: u64,
    failed: u64,
    /// Dropped before the head, and with a body that was read in part.
    dropped: u64,
    half_read: u64,
    /// Requests that had a connection of others.
    reused: u64,
}

impl Sums {
    fn each(&mut self) -> [&mut u64; 6] {
        [
            &mut self.requests,
            &mut self.answered,
            &mut self.failed,
            &mut self.dropped,
            &mut self.half_read,
            &mut self.reused,
        ]
    }

    fn add(&mut self, mut other: Sums) {
        for (own, more) in self.each().into_iter().zip(other.each()) {
            *own += *more;
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests in random schedules: {} answered, {} failed, {} dropped before the head, \
             {} half read; {} on a connection of others",
            self.requests, self.answered, self.failed, self.dropped, self.half_read, self.reused
        )
    }
}

/// Runs the seeds; true when nothing is wrong.
pub fn run(seeds: u64) -> bool {
    let started = Instant::now();
    let sums = Mutex::new((Sums::default(), 0));
    totals::on_all_cores(
        |seed| {
            if seed >= seeds {
                return false;
            }
            let replay = format!("make simulate SCHEDULE={seed}");
            let (wrong, own) = run::on_own_thread(&replay, move || simulate(machine(seed), seed));
            let mut sums = sums.lock().expect("no panic while it is held");
            sums.0.add(own);
            if let Some(wrong) = wrong {
                println!("{replay}  # {wrong}");
                sums.1 += 1;
            }
            true
        },
        |_| {},
    );
    let (mut sums, failures) = sums.into_inner().expect("as above");
    println!("{sums} ({:.1} s)", started.elapsed().as_secs_f64());
    let is_poor = seeds >= SEEDS && sums.each().into_iter().any(|count| *count < EACH_MIN);
    if is_poor {
        println!("too few of some kind");
    }
    failures == 0 && !is_poor
}

/// One seed, step by step; true when nothing is wrong.
pub fn replay(seed: u64) -> bool {
    let (wrong, sums) = simulate(machine(seed).trace(|line| println!("{line}")), seed);
    println!("{sums}");
    if let Some(wrong) = &wrong {
        println!("FAILED: {wrong}");
    }
    wrong.is_none()
}

/// A third of the seeds is calm, a third has what costs nobody a request, a third has everything.
fn machine(seed: u64) -> Simulation {
    let may_happen = |fault: simulation::Fault| match seed % 3 {
        0 => false,
        1 => !fault.is_fatal(),
        _ => true,
    };
    let faults = ALL_FAULTS.into_iter().filter(|fault| may_happen(*fault));
    let faults = faults.fold(Faults::none(), |faults, fault| {
        faults.with(fault, fault.usual())
    });
    let micros = [(0, 0), (20, 200), (500, 3_000)][(seed / 3 % 3) as usize];
    let (least, most) = (
        Duration::from_micros(micros.0),
        Duration::from_micros(micros.1),
    );
    Simulation::new(seed).latency(least, most).faults(faults)
}

fn simulate(simulation: Simulation, seed: u64) -> (Option<String>, Sums) {
    let report = simulation.run(scenario(seed));
    let wrong = run::failure_of(&report);
    (wrong, report.output().copied().unwrap_or_default())
}

async fn scenario(seed: u64) -> Sums {
    let _seen = Origin::add();
    runtime::sleep(Duration::from_millis(1)).await;
    let client = Client::builder()
        .per_host_max(1 + (seed % 4) as usize)
        .build();
    let sums = Rc::new(Cell::new(Sums::default()));
    let tasks: Vec<_> = (0..TASKS)
        .map(|index| {
            let mut task = Task {
                client: client.clone(),
                random: Random::new(seed << 8 | index),
                has_excuse: seed % 3 == 2,
                sums: Rc::clone(&sums),
            };
            runtime::spawn(async move {
                for number in 0..REQUESTS {
                    task.request((index * REQUESTS + number) as u32).await;
                }
            })
        })
        .collect();
    for task in tasks {
        if let Err(error) = task.await {
            simulation::fail(error.to_string());
        }
    }
    settle(&client).await;
    let mut sums = sums.get();
    sums.reused = client.stats().map_or(0, |stats| stats.pool.reused_total);
    sums
}

/// What was given up leaves nothing: no waiter, no dial, no connection that is nobody's.
async fn settle(client: &Client) {
    let is_settled = || {
        let pool = client.stats().expect("it was used").pool;
        (pool.waiting, pool.dialing, pool.connections) == (0, 0, pool.idle)
    };
    // A dial may take 10 s.
    for _ in 0..200 {
        if is_settled() {
            break;
        }
        runtime::sleep(Duration::from_millis(100)).await;
    }
    if !is_settled() {
        simulation::fail(format!("at the end: {:?}", client.stats()));
    }
    client.close_idle();
    let net = Net::of(&Core::current().expect("a simulation runs a core"));
    for _ in 0..100 {
        if net.connections() == 0 {
            return;
        }
        runtime::sleep(Duration::from_millis(100)).await;
    }
    simulation::fail(format!("{} connections are left", net.connections()));
}

/// One task, which sends requests one after the other.
struct Task {
    client: Client,
    random: Random,
    /// Faults may cost a request.
    has_excuse: bool,
    sums: Rc<Cell<Sums>>,
}

/// How a request ended.
enum Ended {
    Answered,
    Dropped,
    HalfRead,
    Failed(Error),
    Wrong(String),
}

impl Task {
    async fn request(&mut self, id: u32) {
        let order = self.draw(id);
        let leave = self.draw_leave();
        let method = match (order.up, order.is_once) {
            (0, false) => self
                .random
                .choose(&[Method::GET, Method::GET, Method::HEAD]),
            _ => &Method::POST,
        };
        let method = method.clone();
        simulation::note(|| format!("{method} {order}: {leave:?}"));
        let ended = runtime::timeout(HANG, self.perform(&order, &method, leave)).await;
        let ended = ended.unwrap_or(Ended::Wrong("has no end".to_owned()));
        let mut sums = self.sums.get();
        sums.requests += 1;
        match ended {
            Ended::Answered => sums.answered += 1,
            Ended::Dropped => sums.dropped += 1,
            Ended::HalfRead => sums.half_read += 1,
            Ended::Failed(error) => {
                sums.failed += 1;
                if let Some(wrong) = self.judge_error(&order, &method, &error) {
                    simulation::fail(format!("{method} {order}: {wrong}: {error:?}"));
                }
            }
            Ended::Wrong(wrong) => simulation::fail(format!("{method} {order}: {wrong}")),
        }
        self.sums.set(sums);
        if self.random.chance(0.2) {
            let pause = self
                .random
                .duration(Duration::ZERO..Duration::from_millis(5));
            runtime::sleep(pause).await;
        }
    }

    fn draw(&mut self, id: u32) -> Order {
        let random = &mut self.random;
        let is_once = random.chance(0.2);
        let long = Duration::from_millis(3);
        let close = match random.index(20) {
            0 => Close::Arrival,
            1 => Close::Bytes(60 + random.index(200)),
            2 => Close::Whole(random.duration(Duration::ZERO..long)),
            3 | 4 => Close::After(random.duration(Duration::ZERO..long)),
            5 => Close::Answer(random.index(200)),
            _ => Close::Never,
        };
        let down = [0, 10, 3_000, 30_000, 200_000][random.index(5)];
        Order {
            id,
            is_once,
            up: if is_once {
                [0, 100, 50_000][random.index(3)]
            } else {
                0
            },
            down,
            ends: *random.choose(&[
                Ends::Length,
                Ends::Length,
                Ends::Chunked,
                Ends::Chunked,
                Ends::WithConnection,
                Ends::NoContent,
            ]),
            delay: match random.index(3) {
                0 => random.duration(Duration::ZERO..Duration::from_millis(20)),
                _ => Duration::ZERO,
            },
            piece: match random.index(3) {
                0 => 1 + down / 5,
                1 if down < 50 => 7,
                _ => 0,
            },
            close,
            how: *random.choose(&[How::Fin, How::Reset, How::Shut]),
        }
    }

    fn draw_leave(&mut self) -> Leave {
        let random = &mut self.random;
        match random.index(6) {
            0 => Leave::Polls(random.below(8) as u32),
            1 => Leave::Time(random.duration(Duration::ZERO..Duration::from_millis(8))),
            2 => Leave::Chunks(random.index(3)),
            _ => Leave::Never,
        }
    }

    async fn perform(&self, order: &Order, method: &Method, leave: Leave) -> Ended {
        let url = format!("http://{ADDRESS}{order}");
        let mut request = self.client.request(method.clone(), url);
        if order.up > 0 {
            let body = content::of(order.id, Way::Up, order.up);
            request = request.body(Bytes::from_static(body));
        }
        match leaving(request.send(), leave).await {
            None => Ended::Dropped,
            Some(Err(error)) => Ended::Failed(error),
            Some(Ok(response)) => self.read(order, method, response, leave).await,
        }
    }

    async fn read(
        &self,
        order: &Order,
        method: &Method,
        response: Response,
        leave: Leave,
    ) -> Ended {
        let id = format!("{:08x}", order.id);
        if response.headers().get("x-id") != Some(&id) {
            let other = response.headers().get("x-id");
            return Ended::Wrong(format!("the answer of {other:?}"));
        }
        let is_bare = *method == Method::HEAD || order.ends == Ends::NoContent;
        let down = if is_bare { 0 } else { order.down };
        let expected = content::of(order.id, Way::Down, down);
        let chunks_max = match leave {
            Leave::Chunks(count) => count,
            _ => usize::MAX,
        };
        let mut body = response.into_body();
        match pieces::read(&mut body, expected, Duration::ZERO, chunks_max).await {
            Read::Whole => Ended::Answered,
            // Nothing tells such an end from one that was meant.
            Read::Wrong(_) if order.ends == Ends::WithConnection && self.may_be_cut(order) => {
                Ended::HalfRead
            }
            Read::Wrong(wrong) => Ended::Wrong(format!("its body: {wrong}")),
            Read::Failed(error) => Ended::Failed(error),
            Read::Left => Ended::HalfRead,
        }
    }

    /// True when the body may end before its end.
    fn may_be_cut(&self, order: &Order) -> bool {
        matches!(order.close, Close::Answer(_)) && order.how != How::Reset
    }

    /// What is wrong with an error.
    fn judge_error(&self, order: &Order, method: &Method, error: &Error) -> Option<&'static str> {
        if self.has_excuse {
            return None;
        }
        if !error.is_closed() {
            return Some("failed in a way that nothing explains");
        }
        let is_cut = matches!(order.close, Close::Answer(_));
        // A connection that others made rest may be closed under a request that is not repeated.
        let may_fail = is_cut || *method == Method::POST;
        (!may_fail).then_some("may be repeated, and failed")
    }
}
