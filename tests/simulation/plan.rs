//! What one seed does: everything follows from the seed and from what the caller overrides.
//!
//! ```text
//!   seed ─► profile ─► faults ─┐
//!      └──► sizes, clients, requests, raw clients, hosts ─┴─► Plan      SEED=7 REQUESTS=5 …
//! ```

use std::fmt;
use std::time::Duration;

use roundtrip::runtime::RingOptions;
use roundtrip::simulation::ALL_FAULTS;
use roundtrip::simulation::Fault;
use roundtrip::simulation::Faults;
use roundtrip::simulation::Random;

use crate::guards::Guards;

/// Streams of numbers that must not depend on each other: when one part of a scenario is taken
/// away, the others stay as they are.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// The plan itself.
    Plan = 1,
    /// A client task.
    Task,
    /// A raw client.
    Raw,
    /// A host.
    Host,
    /// A client's settings.
    Client,
    /// A task with a socket of its own.
    Stream,
    /// The output of the access log.
    Log,
    /// What panics beside.
    Panics,
    /// When the core dies.
    Death,
}

/// The kind of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Many small requests, a network that only varies: not a single error.
    Calm,
    /// Everything that must not cost a request: not a single error either.
    Harmless,
    /// One fault alone, often.
    Only(Fault),
    /// Every fault, now and then.
    All,
    /// Probabilities drawn themselves.
    Swarm,
}

impl Profile {
    /// Which one a seed has.
    pub fn of(seed: u64) -> Profile {
        match seed % 16 {
            0..=2 => Profile::Calm,
            3 | 4 => Profile::Harmless,
            5..=8 => {
                let index = seed / 16 * 4 + seed % 16 - 5;
                Profile::Only(ALL_FAULTS[(index % ALL_FAULTS.len() as u64) as usize])
            }
            9..=11 => Profile::All,
            _ => Profile::Swarm,
        }
    }

    fn faults(self, random: &mut Random) -> Faults {
        match self {
            Profile::Calm => [
                Fault::Delayed,
                Fault::Reordered,
                Fault::Split,
                Fault::ShortReceive,
            ]
            .into_iter()
            .fold(Faults::none(), |faults, fault| faults.with(fault, 0.01)),
            Profile::Harmless => ALL_FAULTS
                .into_iter()
                .filter(|fault| !fault.is_fatal())
                .fold(Faults::none(), |faults, fault| {
                    faults.with(fault, fault.usual())
                }),
            Profile::Only(fault) => Faults::only(fault),
            Profile::All => Faults::all(),
            Profile::Swarm => Faults::swarm(random),
        }
    }
}

/// What the caller wants otherwise than the seed says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Client tasks.
    pub tasks: Option<usize>,
    /// Requests of each.
    pub requests: Option<usize>,
    /// Raw clients.
    pub raw: Option<usize>,
    /// Hosts.
    pub hosts: Option<usize>,
    /// The faults that may happen; others do not.
    pub faults: Option<Vec<Fault>>,
}

/// What a seed does.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub profile: Profile,
    pub faults: Faults,
    pub ring: RingOptions,
    pub latency: (Duration, Duration),
    pub socket_buffer_bytes: usize,
    /// Tasks that send requests one after the other.
    pub tasks: usize,
    /// Requests of each task.
    pub requests: usize,
    /// Clients with settings of their own, which the tasks share.
    pub clients: usize,
    /// Raw clients of our server.
    pub raw: usize,
    /// Raw servers for our clients.
    pub hosts: usize,
    /// Tasks with sockets of their own.
    pub streams: usize,
    /// Time-outs are short.
    pub is_impatient: bool,
    /// The server's.
    pub times: Times,
    /// Bytes that the server keeps behind a running handler.
    pub pipelined_bytes: usize,
    /// The server is told to end while requests run.
    pub shutdown_after: Option<Duration>,
    /// The server is dropped while requests run.
    pub abandoned_after: Option<Duration>,
    /// How long the server goes on accepting when it is told to end.
    pub drain_delay: Duration,
    /// Only what is quick is asked for.
    pub is_quick: bool,
    /// Limits of the server.
    pub guards: Guards,
}

/// Time-outs of the server.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub header: Duration,
    pub idle: Duration,
    pub body: Duration,
    pub write: Duration,
    pub shutdown: Duration,
}

impl Times {
    fn draw(is_impatient: bool, random: &mut Random) -> Times {
        let mut draw = |usual: u64| match is_impatient {
            true => random.duration(Duration::from_millis(100)..Duration::from_secs(2)),
            false => Duration::from_secs(usual),
        };
        Times {
            header: draw(30),
            idle: draw(90),
            body: draw(30),
            write: draw(30),
            shutdown: draw(30),
        }
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64, overrides: &Overrides) -> Plan {
        let random = &mut stream(seed, Part::Plan, 0);
        let profile = Profile::of(seed);
        let mut faults = profile.faults(random);
        if let Some(kept) = &overrides.faults {
            let gone = ALL_FAULTS.into_iter().filter(|fault| !kept.contains(fault));
            faults = gone.fold(faults, |faults, fault| faults.with(fault, 0.0));
        }
        let is_calm = profile == Profile::Calm;
        // Only what is asked for can fail.
        let needs_all = matches!(
            profile,
            Profile::Only(Fault::FileFailed | Fault::LookupFailed | Fault::SlowJob)
        );
        let is_quick = is_calm || (random.chance(0.3) && !needs_all);
        let latency = match random.index(3) {
            0 => (Duration::ZERO, Duration::ZERO),
            1 => (Duration::from_micros(20), Duration::from_micros(200)),
            _ => (Duration::from_millis(1), Duration::from_millis(40)),
        };
        let tasks = 2 + random.index(14);
        let requests = match (is_calm, is_quick) {
            (true, _) => 40 + random.index(400),
            (false, true) => 20 + random.index(100),
            (false, false) => 8 + random.index(32),
        };
        let is_impatient = !faults.is_harmless() && random.chance(0.3);
        let is_harmless = faults.is_harmless();
        Plan {
            seed,
            profile,
            faults,
            ring: ring(random),
            latency,
            socket_buffer_bytes: *random.choose(&[2_000, 16_384, 65_536, 262_144]),
            tasks: overrides.tasks.unwrap_or(tasks),
            requests: overrides
                .requests
                .unwrap_or(requests.max(50usize.div_ceil(tasks))),
            clients: 1 + random.index(3),
            raw: overrides.raw.unwrap_or(8 + random.index(10)),
            hosts: overrides.hosts.unwrap_or(1 + random.index(3)),
            streams: if is_quick { 0 } else { random.index(5) },
            is_impatient,
            times: Times::draw(is_impatient, random),
            pipelined_bytes: *random.choose(&[1, 1_000, 65_536]),
            shutdown_after: random.chance(0.1).then(|| early_end(random)),
            abandoned_after: random.chance(0.05).then(|| early_end(random)),
            drain_delay: match random.chance(0.3) {
                true => early_end(random),
                false => Duration::ZERO,
            },
            is_quick,
            guards: Guards::draw(random, is_harmless && !is_impatient),
        }
    }

    /// True when nothing that happens may cost a request.
    pub fn is_harmless(&self) -> bool {
        self.faults.is_harmless() && !self.is_impatient
    }

    /// Numbers for one part of the scenario.
    pub fn stream(&self, part: Part, index: usize) -> Random {
        stream(self.seed, part, index)
    }

    /// How much later than its deadline something may end: a tick of the wheel, and the pauses
    /// that the machine makes.
    pub fn slack(&self) -> Duration {
        let stalls = self.faults.of(Fault::Stall) > 0.0;
        let delays = self.latency.1 + Duration::from_millis(500);
        if stalls {
            delays + Duration::from_secs(3)
        } else {
            delays
        }
    }
}

fn early_end(random: &mut Random) -> Duration {
    random.duration(Duration::from_millis(20)..Duration::from_secs(2))
}

fn stream(seed: u64, part: Part, index: usize) -> Random {
    let place = (part as u64) << 56 | (index as u64) << 32;
    Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ place)
}

/// Rings small enough that queues overflow and buffers run out, and the usual ones.
fn ring(random: &mut Random) -> RingOptions {
    match random.index(4) {
        0 => RingOptions {
            sq_entries: 4,
            cq_entries: 8,
            buffers: 2,
            buffer_bytes: 512,
            ..RingOptions::SMALL
        },
        1 => RingOptions {
            sq_entries: 8,
            cq_entries: 64,
            buffers: 4,
            buffer_bytes: 4_096,
            ..RingOptions::SMALL
        },
        2 => RingOptions::SMALL,
        _ => RingOptions::WORKER,
    }
}

impl fmt::Display for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("CLIENTS", self.tasks),
            ("REQUESTS", self.requests),
            ("PEERS", self.raw),
            ("HOSTS", self.hosts),
        ];
        for (name, count) in counts {
            if let Some(count) = count {
                write!(f, " {name}={count}")?;
            }
        }
        if let Some(faults) = &self.faults {
            let names: Vec<String> = faults.iter().map(|fault| format!("{fault:?}")).collect();
            write!(
                f,
                " FAULTS={}",
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(",")
                }
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            tasks,
            requests,
            clients,
            raw,
            hosts,
            ..
        } = self;
        writeln!(
            f,
            "seed {}, {:?}; faults: {}",
            self.seed, self.profile, self.faults
        )?;
        writeln!(
            f,
            "{tasks} tasks on {clients} clients with {requests} requests each, {raw} raw clients, \
             {hosts} hosts"
        )?;
        write!(
            f,
            "{:?}, latency {:?}, sockets of {} bytes, impatient {}, shutdown after {:?}, dropped \
             after {:?}, drain delay {:?}",
            self.ring,
            self.latency,
            self.socket_buffer_bytes,
            self.is_impatient,
            self.shutdown_after,
            self.abandoned_after,
            self.drain_delay
        )
    }
}
