//! Everything at once on the real kernel, for a long time: what was used must come back.
//!
//! ```text
//!   a round: tasks with our client ──┐
//!            threads with our        ├──► server, 2 workers ◄── sockets that reset, vanish,
//!            blocking client ────────┘                          trickle, stall, half-close
//!            tasks with our client ─────► a server that does not play fair
//!   and by itself: connections without a request, as fast as they can be made
//!   then all of it ends, and is looked at: descriptors, operations, connections, buffers, memory
//! ```
//!
//! `make soak MINUTES=10` runs the long one, `make test` a short one. `SOAK_SEED` changes the mix.

mod churn;
mod content;
mod figures;
mod heap;
mod hostile;
mod random;
mod requests;
mod server;
mod threads;

use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use nix::fcntl::PosixFadviseAdvice;
use nix::fcntl::posix_fadvise;
use roundtrip::Client;
use roundtrip::runtime;
use roundtrip::runtime::Runtime;

use figures::HEAD;
use figures::Memory;
use figures::Rest;
use figures::Round;
use figures::Tolerance;
use figures::Work;
use figures::closing_table;
use figures::descriptors;
use figures::growth;
use figures::open_files;
use random::Random;
use server::Serving;
use server::held;

/// Who works at the same time.
const TASKS: u64 = 24;
const BLOCKING_THREADS: u64 = 2;
const PEERS: u64 = 6;
/// After a round everything must have come back by then. A connection lingers for a second, a
/// handler that nobody waits for any more may take as long as it takes.
const SETTLED: Duration = Duration::from_secs(15);
/// The size of each file that is served.
const FILE_BYTES: [usize; 4] = [0, 1_000, 100_000, 1_500_000];

/// Whoever counts the descriptors of the process is alone in it.
static ALONE: Mutex<()> = Mutex::new(());

/// A file that is served.
struct File {
    path: PathBuf,
    name: String,
    seed: usize,
    bytes: usize,
}

impl File {
    /// Who reads it next waits for the disk.
    fn evict(&self) {
        let file = std::fs::File::open(&self.path).unwrap();
        posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    }
}

/// Whom the actors talk to, and where they count.
struct Targets {
    address: SocketAddr,
    hostile: SocketAddr,
    files: Vec<File>,
    done: Done,
}

impl Targets {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// What was done so far.
#[derive(Default)]
struct Done {
    requests: AtomicU64,
    canceled: AtomicU64,
    aborted: AtomicU64,
    bytes: AtomicU64,
}

impl Done {
    fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was given up by its client.
    fn count_canceled(&self) {
        self.canceled.fetch_add(1, Ordering::Relaxed);
    }

    /// A peer broke a connection off.
    fn count_aborted(&self) {
        self.aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// A body was received whole.
    fn count_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Everything that lives longer than a round.
struct World {
    seed: u64,
    serving: Serving,
    targets: Arc<Targets>,
    hostile: TcpListener,
    runtime: Runtime,
    client: Client,
    /// What there was before the first round.
    rest: Rest,
    rounds: Vec<Round>,
}

impl World {
    fn start(folder: &Path, seed: u64) -> World {
        let files: Vec<File> = FILE_BYTES
            .iter()
            .enumerate()
            .map(|(seed, bytes)| {
                let name = format!("{seed}.bin");
                let (path, bytes) = (folder.join(&name), *bytes);
                std::fs::write(&path, content::body(seed, bytes)).unwrap();
                // What has not been written to the disk stays in memory.
                std::fs::File::open(&path)
                    .and_then(|file| file.sync_all())
                    .unwrap();
                File {
                    path,
                    name,
                    seed,
                    bytes,
                }
            })
            .collect();
        let serving = Serving::start(folder);
        let hostile = TcpListener::bind("127.0.0.1:0").unwrap();
        let targets = Targets {
            address: serving.address,
            hostile: hostile.local_addr().unwrap(),
            files,
            done: Done::default(),
        };
        let mut world = World {
            seed,
            serving,
            targets: Arc::new(targets),
            hostile,
            runtime: Runtime::new().unwrap(),
            client: Client::new(),
            rest: Rest::default(),
            rounds: Vec::new(),
        };
        world.read_cold_files();
        world.rest = world.rest_now();
        world
    }

    /// From each worker, as good as certainly: on epoll its first keeps a descriptor for the others.
    fn read_cold_files(&self) {
        let file = self.targets.files.last().unwrap();
        for _ in 0..64 {
            file.evict();
            self.turn(async {
                let url = self.targets.url(&format!("/files/{}", file.name));
                let read = self.client.get(url).send().await.unwrap().bytes().await;
                assert_eq!(read.unwrap().len(), file.bytes);
                self.client.close_idle();
            });
        }
        while self
            .rest_now()
            .cores
            .iter()
            .any(|held| held.connections > 0)
        {
            self.turn(runtime::sleep(Duration::from_millis(5)));
        }
    }

    fn random(&self, actor: u64) -> Random {
        Random::new(self.seed, self.rounds.len() as u64, actor)
    }

    /// Load for so long, then the end of all of it.
    fn round(&mut self, length: Duration) {
        let before = self.work();
        self.load(Instant::now() + length);
        let settled_milliseconds = self.settle().as_millis();
        let after = self.work();
        self.rounds.push(Round {
            work: Work {
                requests: after.requests - before.requests,
                connections: after.connections - before.connections,
                canceled: after.canceled - before.canceled,
                aborted: after.aborted - before.aborted,
                megabytes: after.megabytes - before.megabytes,
            },
            memory: Memory::now(),
            settled_milliseconds,
        });
    }

    fn load(&self, end: Instant) {
        let is_over = &AtomicBool::new(false);
        let (targets, hostile) = (&*self.targets, &self.hostile);
        std::thread::scope(|scope| {
            for actor in 0..BLOCKING_THREADS {
                let random = self.random(1_000 + actor);
                scope.spawn(move || threads::blocking(targets, random, end));
            }
            for actor in 0..PEERS {
                let random = self.random(2_000 + actor);
                scope.spawn(move || threads::peer(targets, random, end));
            }
            let random = self.random(3_000);
            scope.spawn(move || threads::stalled(targets, random, end));
            let random = self.random(4_000);
            scope.spawn(move || hostile::serve(hostile, random, is_over));
            let tasks = async {
                let run = |actor| {
                    let targets = Arc::clone(&self.targets);
                    let run = requests::run(self.client.clone(), targets, self.random(actor), end);
                    runtime::spawn(run)
                };
                let tasks: Vec<_> = (0..TASKS).map(run).collect();
                let mut result = Ok(());
                for task in tasks {
                    result = result.and(task.await);
                }
                result
            };
            let result = self.runtime.block_on(tasks).unwrap();
            is_over.store(true, Ordering::Relaxed);
            result.unwrap();
        });
    }

    /// Waits until everything is back, and says how long it took.
    fn settle(&self) -> Duration {
        let begin = Instant::now();
        loop {
            // Again and again: a dial that nobody waits for any more leaves its connection behind.
            self.turn(async { self.client.close_idle() });
            self.turn(runtime::sleep(Duration::from_millis(5)));
            let now = self.rest_now();
            // Each worker may keep each of them, and the folder.
            assert!(open_files() <= (FILE_BYTES.len() + 1) * server::WORKERS);
            if now == self.rest {
                return begin.elapsed();
            }
            assert!(
                begin.elapsed() < SETTLED,
                "not back after {SETTLED:?}: {now:#?}\nwas {:#?}\n{}",
                self.rest,
                self.table()
            );
        }
    }

    fn turn(&self, future: impl Future<Output = ()>) {
        self.runtime.block_on(future).unwrap();
    }

    fn rest_now(&self) -> Rest {
        let mut cores = vec![held(self.runtime.core())];
        cores.extend(self.serving.held());
        Rest {
            descriptors: descriptors(),
            cores,
        }
    }

    /// What was done since the start.
    fn work(&self) -> Work {
        let done = &self.targets.done;
        Work {
            requests: done.requests.load(Ordering::Relaxed),
            connections: self.serving.handle.statistics().connections_accepted,
            canceled: done.canceled.load(Ordering::Relaxed),
            aborted: done.aborted.load(Ordering::Relaxed),
            megabytes: done.bytes.load(Ordering::Relaxed) >> 20,
        }
    }

    fn table(&self) -> String {
        let mut text = HEAD.to_owned();
        for (number, round) in self.rounds.iter().enumerate() {
            text += "\n";
            text += &round.line(&number.to_string());
        }
        text
    }

    /// Ends everything else too, and compares with what there was before the start.
    fn stop(self, descriptors_before: usize) {
        self.serving.stop();
        drop(self.runtime);
        drop(self.client);
        drop(self.hostile);
        let begin = Instant::now();
        // Threads of the blocking pool may hold wakers for a moment.
        while descriptors() + open_files() > descriptors_before {
            let left = descriptors() + open_files();
            assert!(
                begin.elapsed() < SETTLED,
                "{left} descriptors at the end, {descriptors_before} at the beginning"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Panics of handlers that were planned are no news.
fn hide_planned_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref() != Some(&server::PLANNED) {
            usual(panic);
        }
    }));
}

/// Rounds of `length` until `end`, at least `rounds_min`; the first `warm` fill caches and lists.
fn soak(length: Duration, end: Instant, warm: usize, rounds_min: usize, tolerance: Tolerance) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = std::env::var("SOAK_SEED").map_or(1, |seed| seed.parse().unwrap());
    hide_planned_panics();
    let descriptors_before = descriptors();
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start(folder.path(), seed);
    let begin = Instant::now();
    println!(
        "seed {seed}; before the first round: {:?}\n{HEAD}",
        world.rest
    );
    while world.rounds.len() < warm + rounds_min || Instant::now() < end {
        world.round(length);
        let round = world.rounds.last().unwrap();
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        let number = (world.rounds.len() - 1).to_string();
        println!("{}  {left} s left", round.line(&number));
    }
    let work = world.work();
    let measured = &world.rounds[warm..];
    let verdict = growth(measured, tolerance);
    println!(
        "{}: {} rounds, {:.0} s: {} requests, {} connections, {} given up, {} broken off, {} MiB",
        world.runtime.core().counters().engine,
        world.rounds.len(),
        begin.elapsed().as_secs_f64(),
        work.requests,
        work.connections,
        work.canceled,
        work.aborted,
        work.megabytes
    );
    println!("{}", closing_table(measured, tolerance));
    println!("the rest is as before the first round: {:?}", world.rest);
    if let Some(grown) = verdict {
        panic!("{grown}{}", world.table());
    }
    world.stop(descriptors_before);
}

/// Seconds, in `make test`: too short for slow leaks, long enough to keep the long one in order.
#[test]
fn a_short_soak() {
    // What is resident says nothing so soon, and under a sanitizer, nothing at all.
    let tolerance = Tolerance {
        resident: i64::MAX,
        allocated: 6 << 20,
        allocations: 2_000,
    };
    soak(Duration::from_millis(600), Instant::now(), 1, 3, tolerance);
}

/// As long as SOAK_MINUTES says.
#[test]
#[ignore = "takes minutes: make soak"]
fn a_long_soak() {
    let minutes: f64 = std::env::var("SOAK_MINUTES").map_or(10.0, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    // What rounds differ by: lists of free memory are bounded, and not always equally full. There
    // are some hundred thousand connections a minute, so that one allocation which stays of every
    // thousand connections is seen within minutes.
    let tolerance = Tolerance {
        resident: 8 << 20,
        allocated: 3 << 20,
        allocations: 500,
    };
    soak(Duration::from_secs(10), end, 3, 6, tolerance);
}

/// Seconds, in `make test`.
#[test]
fn a_short_churn() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let tolerance = Tolerance {
        resident: i64::MAX,
        allocated: 1 << 20,
        allocations: 500,
    };
    churn::churn(Duration::from_millis(200), 1, 4, tolerance);
}

/// A minute.
#[test]
#[ignore = "takes a minute: make soak"]
fn a_long_churn() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let tolerance = Tolerance {
        resident: 2 << 20,
        allocated: 64 << 10,
        allocations: 100,
    };
    churn::churn(Duration::from_secs(5), 2, 12, tolerance);
}
