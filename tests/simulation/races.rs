//! The race of keep-alive: the server closes a connection at the moment in which it is used again.
//!
//! ```text
//!   warm ── answer ──► rest ── request ──►┬ closed before it is sent, or while it is under way
//!                                         ├ closed when it arrives, within it, behind it
//!                                         └ FIN · RST · FIN, and the rest is read
//! ```
//! Whatever the moment: a request that may be repeated is answered, one that must not be arrives
//! once. Faults that cost nobody a request happen meanwhile in half of the seeds.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use ::http::Method;
use bytes::Bytes;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::error::ErrorKind;
use roundtrip::net::Net;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::simulation;
use roundtrip::simulation::ALL_FAULTS;
use roundtrip::simulation::Faults;
use roundtrip::simulation::Random;
use roundtrip::simulation::Simulation;

use crate::content;
use crate::content::Way;
use crate::origin::ADDRESS;
use crate::origin::Close;
use crate::origin::Closed;
use crate::origin::Ends;
use crate::origin::How;
use crate::origin::Order;
use crate::origin::Origin;
use crate::origin::Seen;
use crate::pieces::End;
use crate::pieces::Pieces;
use crate::run;
use crate::totals;

/// Seeds of the fixed set.
pub const SEEDS: u64 = 300;
/// Tasks that race side by side, and how often each does.
const TASKS: u64 = 8;
const RACES: u64 = 60;
/// Races that the fixed set has at least, and of them with each of the moments and manners.
const RACES_MIN: u64 = 100_000;
const EACH_MIN: u64 = 3_000;
/// No request takes longer.
const HANG: Duration = Duration::from_secs(300);

/// What came of races.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    /// Requests that had a connection that was about to be closed.
    requests: u64,
    retries: u64,
    /// Requests that must not be repeated, and were lost.
    lost: u64,
    closed: Closed,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.requests += other.requests;
        self.retries += other.retries;
        self.lost += other.lost;
        self.closed.add(&other.closed);
    }

    /// What the races lack.
    fn shortfall(&self) -> Option<String> {
        let Closed {
            resting,
            within,
            unanswered,
            fin,
            reset,
            shut,
            ..
        } = self.closed;
        let least = [
            resting,
            within,
            unanswered,
            fin,
            reset,
            shut,
            self.retries,
            self.lost,
        ];
        let is_enough = self.closed.races() >= RACES_MIN;
        let is_even = least.into_iter().all(|count| count >= EACH_MIN);
        (!is_enough || !is_even).then(|| "too few races, or not of each kind".to_owned())
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Closed {
            resting,
            within,
            unanswered,
            fin,
            reset,
            shut,
            ..
        } = self.closed;
        write!(
            f,
            "{} races: closed at rest or before the request came {resting}, within it {within}, \
             behind it {unanswered}; FIN {fin}, RST {reset}, FIN and open ears {shut}; {} sent \
             again, {} lost that must not be",
            self.closed.races(),
            self.retries,
            self.lost
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
            let (wrong, own) = run_seed(seed);
            let mut sums = sums.lock().expect("no panic while it is held");
            sums.0.add(&own);
            if let Some(wrong) = wrong {
                println!("make simulate RACE={seed}  # {wrong}");
                sums.1 += 1;
            }
            true
        },
        |_| {},
    );
    let (sums, failures) = sums.into_inner().expect("as above");
    println!("{sums} ({:.1} s)", started.elapsed().as_secs_f64());
    let shortfall = sums.shortfall().filter(|_| seeds >= SEEDS);
    if let Some(wrong) = &shortfall {
        println!("{wrong}: {sums:?}");
    }
    failures == 0 && shortfall.is_none()
}

/// One seed, step by step; true when nothing is wrong.
pub fn replay(seed: u64) -> bool {
    let trace = |line: &str| println!("{line}");
    let (wrong, sums) = simulate(machine(seed).trace(trace), seed);
    println!("{sums}");
    if let Some(wrong) = &wrong {
        println!("FAILED: {wrong}");
    }
    wrong.is_none()
}

fn run_seed(seed: u64) -> (Option<String>, Sums) {
    let replay = format!("make simulate RACE={seed}");
    run::on_own_thread(&replay, move || simulate(machine(seed), seed))
}

fn machine(seed: u64) -> Simulation {
    let latency = latency(seed);
    let mut faults = Faults::none();
    if seed % 2 == 1 {
        let harmless = ALL_FAULTS.into_iter().filter(|fault| !fault.is_fatal());
        faults = harmless.fold(faults, |faults, fault| {
            faults.with(fault, fault.usual() / 2.0)
        });
    }
    Simulation::new(seed)
        .latency(latency.0, latency.1)
        .faults(faults)
}

/// How long a segment is under way: nothing, always the same, or not.
fn latency(seed: u64) -> (Duration, Duration) {
    let micros = Duration::from_micros;
    match seed % 3 {
        0 => (Duration::ZERO, Duration::ZERO),
        1 => (micros(50), micros(50)),
        _ => (micros(20), micros(200)),
    }
}

fn simulate(simulation: Simulation, seed: u64) -> (Option<String>, Sums) {
    let report = simulation.run(scenario(seed));
    let wrong = run::failure_of(&report);
    (wrong, report.output().copied().unwrap_or_default())
}

async fn scenario(seed: u64) -> Sums {
    let seen = Origin::add();
    runtime::sleep(Duration::from_millis(1)).await;
    let client = Client::new();
    let tasks: Vec<_> = (0..TASKS)
        .map(|index| {
            let racer = Racer {
                client: client.clone(),
                random: Random::new(seed << 8 | index),
                first_id: index * RACES * 2,
                latency: latency(seed).1,
                seen: Rc::clone(&seen),
                sums: Sums::default(),
            };
            runtime::spawn(racer.run())
        })
        .collect();
    let mut sums = Sums::default();
    for task in tasks {
        match task.await {
            Ok(own) => sums.add(&own),
            Err(error) => simulation::fail(error.to_string()),
        }
    }
    let stats = client.stats().expect("it was used");
    if (stats.pool.waiting, stats.pool.dialing) != (0, 0) {
        simulation::fail(format!("at the end: {stats:?}"));
    }
    drop(client);
    let net = Net::of(&Core::current().expect("a simulation runs a core"));
    for _ in 0..100 {
        runtime::sleep(Duration::from_millis(100)).await;
        if net.connections() == 0 {
            break;
        }
    }
    if net.connections() > 0 {
        simulation::fail(format!("{} connections are left", net.connections()));
    }
    sums.retries = stats.retries_total;
    sums.closed = seen.borrow().closed;
    sums
}

/// One task.
struct Racer {
    client: Client,
    random: Random,
    first_id: u64,
    latency: Duration,
    seen: Rc<RefCell<Seen>>,
    sums: Sums,
}

impl Racer {
    async fn run(mut self) -> Sums {
        for index in 0..RACES {
            let id = (self.first_id + index * 2) as u32;
            let (warm, race, pause) = self.draw(id);
            self.send(&warm, Method::GET).await;
            runtime::sleep(pause).await;
            let method = self.method(&race);
            self.send(&race, method).await;
        }
        self.sums
    }

    /// A request that makes a connection rest, one for this connection, and the pause between them.
    fn draw(&mut self, id: u32) -> (Order, Order, Duration) {
        let random = &mut self.random;
        let warm = Order {
            id,
            is_once: false,
            up: 0,
            down: random.index(300),
            ends: *random.choose(&[Ends::Length, Ends::Chunked]),
            delay: Duration::ZERO,
            piece: 0,
            close: Close::Never,
            how: *random.choose(&[How::Fin, How::Reset, How::Shut]),
        };
        let is_once = random.chance(0.4);
        let up = match is_once || random.chance(0.2) {
            true => [0, 10, 3_000, 100_000][random.index(4)],
            false => 0,
        };
        let race = Order {
            id: id + 1,
            is_once,
            up,
            ..warm
        };
        // Around the way there and back, and some turns.
        let around = 3 * self.latency + Duration::from_micros(10);
        let pause = random.duration(Duration::ZERO..Duration::from_micros(300));
        let early = (pause + self.latency).saturating_sub(around);
        let close = match random.index(4) {
            0 => Close::Arrival,
            1 => Close::Bytes(60 + random.index(up + 200)),
            2 => Close::Whole(random.duration(Duration::ZERO..Duration::from_micros(100))),
            _ => {
                let after = random.duration(early..pause + self.latency + around);
                return (
                    Order {
                        close: Close::After(after),
                        ..warm
                    },
                    race,
                    pause,
                );
            }
        };
        (warm, Order { close, ..race }, pause)
    }

    /// One that fits: what may be repeated says so by its method, or by a field.
    fn method(&mut self, race: &Order) -> Method {
        match (race.is_once, race.up) {
            (true, _) => self
                .random
                .choose(&[Method::POST, Method::PUT, Method::PATCH])
                .clone(),
            (false, 0) => self
                .random
                .choose(&[Method::GET, Method::HEAD, Method::OPTIONS])
                .clone(),
            (false, _) => Method::POST,
        }
    }

    async fn send(&mut self, order: &Order, method: Method) {
        self.sums.requests += 1;
        let url = format!("http://{ADDRESS}{order}");
        let mut request = self.client.request(method.clone(), url);
        if order.up > 0 || order.is_once {
            let body = Bytes::from_static(content::of(order.id, Way::Up, order.up));
            request = match order.is_once && order.id.is_multiple_of(4) {
                true => request.body(streamed(order)),
                false => request.body(body),
            };
        }
        if !order.is_once && method == Method::POST {
            request = request.header("Idempotency-Key", order.id.to_string());
        }
        let answer = async {
            let response = request.send().await?;
            let id = response.headers().get("x-id").map(str::to_owned);
            Ok::<_, Error>((id, response.bytes().await?))
        };
        let wrong = match runtime::timeout(HANG, answer).await {
            Err(_) => Some("has no end".to_owned()),
            Ok(Ok((id, body))) => self.judge(order, &method, id.as_deref(), &body),
            Ok(Err(error)) => self.judge_error(order, &error),
        };
        if let Some(wrong) = wrong {
            simulation::fail(format!("{method} {order}: {wrong}"));
        }
    }

    fn judge(
        &self,
        order: &Order,
        method: &Method,
        id: Option<&str>,
        body: &[u8],
    ) -> Option<String> {
        let down = if method == Method::HEAD {
            0
        } else {
            order.down
        };
        let is_own = id == Some(&format!("{:08x}", order.id));
        if !is_own || body != content::of(order.id, Way::Down, down) {
            return Some(format!(
                "the answer is that of {id:?}, with {} bytes",
                body.len()
            ));
        }
        (self.seen.borrow().times(order.id) == 0).then(|| "never arrived".to_owned())
    }

    fn judge_error(&mut self, order: &Order, error: &Error) -> Option<String> {
        if !order.is_once {
            return Some(format!("may be repeated, and failed: {error:?}"));
        }
        self.sums.lost += 1;
        (error.kind() != ErrorKind::Closed).then(|| format!("failed with {error:?}"))
    }
}

fn streamed(order: &Order) -> Body {
    Body::stream(Pieces::new(
        order.id,
        Way::Up,
        order.up,
        Duration::ZERO,
        End::Whole,
    ))
}
