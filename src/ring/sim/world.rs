//! The simulated kernel: what it knows, and how its time passes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::ring::clock::Instant;
use crate::ring::sim::Options;
use crate::ring::sim::Peer;
use crate::ring::sim::WORK_CLASSES;
use crate::ring::sim::agenda::Agenda;
use crate::ring::sim::agenda::Event;
use crate::ring::sim::calls::DESCRIPTOR_BASE;
use crate::ring::sim::calls::Job;
use crate::ring::sim::faults::Chaos;
use crate::ring::sim::faults::Fault;
use crate::ring::sim::files::Files;
use crate::ring::sim::network::EndpointId;
use crate::ring::sim::network::Network;
use crate::ring::sim::network::OperationRef;
use crate::ring::sim::network::Owner;
use crate::ring::sim::network::Reach;
use crate::ring::sim::network::Woken;
use crate::ring::sim::peer::PeerId;
use crate::ring::sim::peer::PeerIo;
use crate::ring::sim::queue::Queues;
use crate::ring::sim::random::Random;
use crate::ring::sys::Address;

/// The virtual time begins here: an uptime of a thousand seconds.
const START: Instant = Instant::from_nanoseconds(1_000_000_000_000);
/// Seconds since 1970 at the beginning.
const WALL_SECONDS: u64 = 1_750_000_000;
/// Tells the numbers that a program asks for from those that its fate is drawn from.
const ENTROPY: u64 = 0x656e_7472_6f70_7921;
/// Violations that are kept; the first tells most.
const VIOLATIONS_MAX: usize = 8;

/// A simulated kernel.
pub(super) struct World {
    pub(super) agenda: Agenda,
    pub(super) chaos: Chaos,
    /// For the program's own use: what it draws changes nothing else.
    pub(super) entropy: Random,
    pub(super) net: Network,
    pub(super) files: Files,
    pub(super) trace: Trace,
    pub(super) violations: Vec<String>,
    pub(super) rings: Vec<Option<Queues>>,
    pub(super) is_strict: bool,
    pub(super) socket_buffer_bytes: usize,
    pub(super) latency_nanoseconds: (u64, u64),
    pub(super) work_nanoseconds: [(u64, u64); WORK_CLASSES],
    pub(super) reaches: HashMap<IpAddr, Reach>,
    pub(super) turn_nanoseconds: (u64, u64),
    /// A violation was reported: what is left only has to end.
    pub(super) has_failed: bool,
    descriptors: Descriptors,
    hosts: HashMap<String, Vec<IpAddr>>,
    /// Files of Unix sockets.
    socket_files: HashSet<PathBuf>,
    jobs: Vec<Option<Job>>,
    peers: Vec<PeerEntry>,
    /// Asked before time passes: true when another thread has something to do for the program.
    pub(super) others: Option<Others>,
}

/// Waits in real time for other threads; true when one of them woke the program.
pub(super) type Others = Rc<dyn Fn() -> bool>;

struct PeerEntry {
    peer: Option<Box<dyn Peer>>,
    /// It is called soon because of its sockets.
    is_woken: bool,
    is_done: bool,
    /// Sockets that it has made and not closed.
    sockets: u32,
}

/// What a step of the world came to.
pub(super) enum Step {
    /// There are completions, or nobody waits for any.
    Ready,
    /// The time is over.
    TimedOut,
    /// To be run while nothing here is borrowed.
    Job(Job),
    /// As `Job`: time passes with the next step, if they did nothing.
    Others(Others),
}

impl World {
    pub(super) fn new(options: Options) -> World {
        World {
            agenda: Agenda::new(START),
            chaos: Chaos::new(options.seed, options.faults, options.choices),
            entropy: Random::new(options.seed ^ ENTROPY),
            net: Network::new(),
            files: Files::default(),
            trace: Trace::new(options.trace),
            violations: Vec::new(),
            rings: Vec::new(),
            is_strict: options.strict,
            socket_buffer_bytes: options.socket_buffer_bytes,
            latency_nanoseconds: options.latency_nanoseconds,
            work_nanoseconds: options.work_nanoseconds,
            reaches: options.reaches.into_iter().collect(),
            turn_nanoseconds: options.turn_nanoseconds,
            has_failed: false,
            descriptors: Descriptors::new(options.descriptors_max),
            hosts: HashMap::new(),
            socket_files: HashSet::new(),
            jobs: Vec::new(),
            peers: Vec::new(),
            others: None,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.agenda.now()
    }

    pub(super) fn wall_seconds(&self) -> u64 {
        WALL_SECONDS + (self.now() - START).as_secs()
    }

    /// Notes a step, for a person to read.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.trace.steps {
            let microseconds = (self.agenda.now() - START).as_nanos() as f64 / 1e3;
            steps.push(format!("{microseconds:14.3} µs  {}", text()));
        }
    }

    /// Something was done that must never be done.
    pub(super) fn violation(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.note(|| format!("VIOLATION {text}"));
        if self.violations.len() < VIOLATIONS_MAX && !self.has_failed {
            self.violations.push(text);
        }
    }

    /// Ends the run when something was done that must never be done: here, where no handler's
    /// panic is caught.
    pub(super) fn fail_on_violation(&mut self) {
        if self.has_failed || self.violations.is_empty() || thread::panicking() {
            return;
        }
        self.has_failed = true;
        panic!("{}", self.violations.join("; "));
    }

    // ---- time ------------------------------------------------------------------------------

    /// Time passes while the program computes; now and then, much of it.
    pub(super) fn pass_turn(&mut self) {
        let (least, most) = self.turn_nanoseconds;
        let mut turn = self.chaos.random.within(least..most + 1);
        if self.chaos.strikes(Fault::Stall) {
            turn += self.chaos.random.within(10_000_000..300_000_000);
        }
        let now = self.now() + Duration::from_nanos(turn);
        self.agenda.advance(now);
    }

    /// Lets everything happen that is due, and time pass until there is a completion for `ring`. The
    /// others are asked first, unless they have been.
    pub(super) fn step(&mut self, ring: usize, deadline: Option<Instant>, are_asked: bool) -> Step {
        loop {
            if let Some(job) = self.happen_due() {
                return Step::Job(job);
            }
            if self.run_work(ring) {
                continue;
            }
            let Some(deadline) = deadline else {
                return Step::Ready;
            };
            if self.queues(ring).has_completions() {
                return Step::Ready;
            }
            if let (false, Some(others)) = (are_asked, &self.others) {
                return Step::Others(Rc::clone(others));
            }
            match self.agenda.next() {
                Some(next) if next <= deadline => self.agenda.advance(next),
                _ if deadline == Instant::NEVER => {
                    self.violation("asleep for ever: nothing is due, and no time-out was given");
                    return Step::TimedOut;
                }
                _ => {
                    // A job that ran a core of its own may have taken longer.
                    self.agenda.advance(deadline.max(self.now()));
                    return Step::TimedOut;
                }
            }
        }
    }

    /// Lets everything happen that is due, up to a job: that is to be run while nothing here is
    /// borrowed.
    pub(super) fn happen_due(&mut self) -> Option<Job> {
        while let Some(event) = self.agenda.pop_due() {
            if let Some(job) = self.happen(event) {
                return Some(job);
            }
        }
        None
    }

    fn happen(&mut self, event: Event) -> Option<Job> {
        match event {
            Event::Arrive { endpoint, bytes } => self.arrive(endpoint, bytes as usize),
            Event::End { endpoint } => self.end(endpoint),
            Event::Reset { endpoint } => self.break_here(endpoint),
            Event::Dial { endpoint, attempt } => self.dial(endpoint, attempt),
            Event::DialFailed { endpoint, errno } => self.fail_dial(endpoint, errno),
            Event::Work(operation) => self.queue_work(operation),
            Event::Peer(peer) => self.act(peer),
            Event::Job(index) => {
                self.note(|| format!("job {index} runs"));
                return self.jobs.get_mut(index as usize)?.take();
            }
        }
        None
    }

    /// Passes on who was woken: operations run with the next enter, peers soon.
    pub(super) fn pass_on(&mut self) {
        let mut list = std::mem::take(&mut self.net.woken);
        for woken in list.drain(..) {
            match woken {
                Woken::Operation(operation) => self.work_soon(operation),
                Woken::Peer(peer) => {
                    let entry = &mut self.peers[peer.0 as usize];
                    if !entry.is_woken && !entry.is_done {
                        entry.is_woken = true;
                        self.agenda.add(self.agenda.now(), Event::Peer(peer));
                    }
                }
            }
        }
        self.net.woken = list;
    }

    /// An operation goes on with the next work, or with a later one.
    pub(super) fn work_soon(&mut self, operation: OperationRef) {
        if self.chaos.strikes(Fault::Delayed) {
            let at = self.now() + self.chaos.delay(1_000..2_000_000);
            self.agenda.add(at, Event::Work(operation));
        } else {
            self.queue_work(operation);
        }
    }

    // ---- peers -----------------------------------------------------------------------------

    pub(super) fn add_peer(&mut self, peer: Box<dyn Peer>) {
        let id = PeerId(u32::try_from(self.peers.len()).expect("fewer than 2^32 peers"));
        self.peers.push(PeerEntry {
            peer: Some(peer),
            is_woken: true,
            is_done: false,
            sockets: 0,
        });
        self.agenda.add(self.now(), Event::Peer(id));
    }

    /// Calls every peer once more: its program has said something.
    pub(super) fn wake_peers(&mut self) {
        for (id, entry) in (0u32..).zip(&mut self.peers) {
            if !entry.is_woken && !entry.is_done {
                entry.is_woken = true;
                self.agenda.add(self.agenda.now(), Event::Peer(PeerId(id)));
            }
        }
    }

    pub(super) fn peer_count(&self) -> usize {
        self.peers.iter().filter(|entry| !entry.is_done).count()
    }

    fn act(&mut self, id: PeerId) {
        let entry = &mut self.peers[id.0 as usize];
        entry.is_woken = false;
        let Some(mut peer) = entry.peer.take() else {
            return;
        };
        let goes_on = peer.act(&mut PeerIo {
            world: self,
            peer: id,
        });
        let entry = &mut self.peers[id.0 as usize];
        if goes_on {
            entry.peer = Some(peer);
        } else {
            entry.is_done = true;
            self.close_all_of(id);
        }
    }

    fn close_all_of(&mut self, id: PeerId) {
        if self.peers[id.0 as usize].sockets == 0 {
            return;
        }
        for endpoint in self.net.owned_by(Owner::Peer(id)) {
            self.close_endpoint(endpoint, false);
        }
    }

    /// A peer has one more socket, or one less.
    pub(super) fn count_sockets(&mut self, id: PeerId, change: i32) {
        let sockets = &mut self.peers[id.0 as usize].sockets;
        *sockets = sockets
            .checked_add_signed(change)
            .expect("sockets are counted in pairs");
    }

    // ---- jobs, names, files ----------------------------------------------------------------

    /// Work on another thread: a while later, or when work of this class has taken its time.
    pub(super) fn defer(&mut self, class: Option<usize>, job: Job) {
        let (least, most) = class.map_or((5_000, 99_999), |class| self.work_nanoseconds[class]);
        let mut delay = self.chaos.delay(least..most + 1);
        if self.chaos.strikes(Fault::SlowJob) {
            delay += self.chaos.delay(1_000_000..100_000_000);
        }
        let free = self.jobs.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.jobs.push(None);
            self.jobs.len() - 1
        });
        self.jobs[index] = Some(job);
        let at = self.now() + delay;
        self.agenda.add(at, Event::Job(index as u32));
    }

    /// Some work that is not done.
    pub(super) fn take_job(&mut self) -> Option<Job> {
        let job = self.jobs.iter_mut().find_map(Option::take)?;
        self.note(|| "a job runs after the end".to_owned());
        Some(job)
    }

    pub(super) fn add_host(&mut self, name: &str, address: IpAddr) {
        self.hosts.entry(name.to_owned()).or_default().push(address);
    }

    pub(super) fn look_up(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = self.hosts.get(host).cloned().unwrap_or_default();
        if found.is_empty() || self.chaos.strikes(Fault::LookupFailed) {
            return Err(io::Error::other("Name or service not known"));
        }
        Ok(found
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect())
    }

    pub(super) fn has_socket_file(&self, address: &Address) -> bool {
        matches!(address, Address::Unix(path) if self.socket_files.contains(path))
    }

    pub(super) fn add_socket_file(&mut self, path: PathBuf) {
        self.socket_files.insert(path);
    }

    pub(super) fn remove_socket_file(&mut self, path: &std::path::Path) {
        self.socket_files.remove(path);
    }

    // ---- descriptors -----------------------------------------------------------------------

    pub(super) fn descriptor_count(&self) -> usize {
        self.descriptors.open
    }

    /// The lowest free descriptor for a socket; EMFILE when there is none.
    pub(super) fn open_descriptor(&mut self, endpoint: EndpointId) -> Result<RawFd, i32> {
        let fd = self.descriptors.open(endpoint)?;
        let endpoint = self
            .net
            .get_mut(endpoint)
            .expect("it was made or accepted just now");
        endpoint.owner = Owner::Program;
        endpoint.references += 1;
        Ok(fd)
    }

    /// EMFILE when no descriptor is left.
    pub(super) fn check_descriptors(&self) -> Result<(), i32> {
        let is_left = self.descriptors.open < self.descriptors.open_max;
        if is_left { Ok(()) } else { Err(libc::EMFILE) }
    }

    pub(super) fn endpoint_of(&self, fd: RawFd) -> Option<EndpointId> {
        self.descriptors.get(fd)
    }

    /// Something is asked of a descriptor that is not open. On a busy machine its number would be
    /// that of another socket.
    pub(super) fn see_closed(&mut self, fd: RawFd, what: impl FnOnce() -> String) {
        if self.is_strict {
            self.violation(format!("{}: {} is not open", what(), name_of(fd)));
        }
    }

    pub(super) fn close_descriptor(&mut self, fd: RawFd) {
        let Some(endpoint) = self.descriptors.close(fd) else {
            if !self.has_failed {
                self.violation(format!("{} was closed and is not open", name_of(fd)));
            }
            return;
        };
        self.note(|| format!("close {}", name_of(fd)));
        if self.is_strict
            && let Some(found) = self.net.get(endpoint)
            && found.operations > 0
            && found.references == found.operations + 1
        {
            let count = found.operations;
            self.violation(format!(
                "{} was closed under {count} operations",
                name_of(fd)
            ));
        }
        self.release_endpoint(endpoint);
    }

    /// An operation begins to use a socket.
    pub(super) fn hold_endpoint(&mut self, endpoint: EndpointId) {
        if let Some(endpoint) = self.net.get_mut(endpoint) {
            endpoint.references += 1;
            endpoint.operations += 1;
        }
    }

    /// An operation uses its socket no longer.
    pub(super) fn let_go(&mut self, endpoint: EndpointId) {
        if let Some(found) = self.net.get_mut(endpoint) {
            found.operations -= 1;
        }
        self.release_endpoint(endpoint);
    }

    /// A descriptor or an operation lets go; the last one closes.
    pub(super) fn release_endpoint(&mut self, id: EndpointId) {
        let Some(endpoint) = self.net.get_mut(id) else {
            return;
        };
        endpoint.references -= 1;
        if endpoint.references == 0 {
            self.close_endpoint(id, false);
        }
    }

    pub(super) fn operations_in_flight(&self) -> usize {
        self.rings.iter().flatten().map(Queues::in_flight).sum()
    }

    /// Receive buffers of all rings that the program has.
    pub(super) fn buffers_out(&self) -> usize {
        self.rings.iter().flatten().map(Queues::buffers_out).sum()
    }

    /// What this kernel holds on the heap, in bytes: not the program's.
    pub(super) fn memory_bytes(&self) -> usize {
        let rings = self.rings.iter().flatten().map(Queues::memory_bytes);
        let descriptors = &self.descriptors;
        let peers = self.peers.iter().filter_map(|entry| entry.peer.as_deref());
        self.net.memory_bytes()
            + self.peers.capacity() * size_of::<PeerEntry>()
            + peers.map(size_of_val).sum::<usize>()
            + self.agenda.memory_bytes()
            + descriptors.table.capacity() * size_of::<Option<EndpointId>>()
            + descriptors.free.capacity() * size_of::<u32>()
            + rings.sum::<usize>()
    }

    pub(super) fn queues(&mut self, ring: usize) -> &mut Queues {
        self.rings[ring]
            .as_mut()
            .expect("a ring is used while it is there")
    }
}

/// A descriptor as a trace names it.
pub(super) fn name_of(fd: RawFd) -> String {
    if fd >= DESCRIPTOR_BASE {
        format!("fd {}", fd - DESCRIPTOR_BASE)
    } else {
        format!("file {fd}")
    }
}

/// Numbers of what is open: the lowest free one first, as on Linux.
struct Descriptors {
    table: Vec<Option<EndpointId>>,
    free: BinaryHeap<Reverse<u32>>,
    open: usize,
    open_max: usize,
}

impl Descriptors {
    fn new(open_max: usize) -> Descriptors {
        Descriptors {
            table: Vec::new(),
            free: BinaryHeap::new(),
            open: 0,
            open_max,
        }
    }

    fn open(&mut self, endpoint: EndpointId) -> Result<RawFd, i32> {
        if self.open >= self.open_max {
            return Err(libc::EMFILE);
        }
        self.open += 1;
        let index = match self.free.pop() {
            Some(Reverse(index)) => index,
            None => {
                self.table.push(None);
                u32::try_from(self.table.len() - 1).expect("fewer than 2^32 descriptors")
            }
        };
        self.table[index as usize] = Some(endpoint);
        Ok(DESCRIPTOR_BASE + index as RawFd)
    }

    fn get(&self, fd: RawFd) -> Option<EndpointId> {
        let index = usize::try_from(fd.checked_sub(DESCRIPTOR_BASE)?).ok()?;
        self.table.get(index).copied().flatten()
    }

    fn close(&mut self, fd: RawFd) -> Option<EndpointId> {
        let index = (fd - DESCRIPTOR_BASE) as u32;
        let endpoint = self.table.get_mut(index as usize)?.take()?;
        self.free.push(Reverse(index));
        self.open -= 1;
        Some(endpoint)
    }
}

/// The steps of a run, one line each.
pub(super) struct Trace {
    steps: Option<Vec<String>>,
}

impl Trace {
    fn new(is_on: bool) -> Trace {
        Trace {
            steps: is_on.then(Vec::new),
        }
    }

    pub(super) fn take(&mut self) -> Vec<String> {
        self.steps.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
