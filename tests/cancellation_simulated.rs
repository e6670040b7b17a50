//! Futures that are dropped wherever they may be, on the simulated kernel: there every order of
//! what the kernel may do is tried, not one that happens to come.
//!
//! ```text
//!   dropping::SCENES × where it is dropped × what is beside it
//!      × completes now, with the next turn, late · before or after others of its turn
//!      × cancelled, too late (ENOENT, EALREADY) · in full, in part · the peer acts now or later
//! ```
#![cfg(feature = "simulation")]

use std::any::Any;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use roundtrip::runtime::Instant;
use roundtrip::runtime::sleep;
use roundtrip::simulation;
use roundtrip::simulation::Bug;
use roundtrip::simulation::Choices;
use roundtrip::simulation::Fault;
use roundtrip::simulation::Faults;
use roundtrip::simulation::Fired;
use roundtrip::simulation::Peer;
use roundtrip::simulation::PeerIo;
use roundtrip::simulation::PeerReceived;
use roundtrip::simulation::PeerSocket;
use roundtrip::simulation::Report;
use roundtrip::simulation::Simulation;

mod dropping;

use dropping::Beside;
use dropping::Beyond;
use dropping::Drops;
use dropping::Far;
use dropping::LOOKED_UP;
use dropping::POLLS_MAX;
use dropping::RECEIVE_BYTES;
use dropping::SCENES;
use dropping::SENT;
use dropping::assert_untouched;
use dropping::canaries;
use dropping::drop_one;

/// Bytes that a socket holds.
const SOCKET_BYTES: usize = 16 * 1024;
/// What the kernel may do, or not, at each occasion.
const MAYBE: [Fault; 8] = [
    Fault::Delayed,
    Fault::Reordered,
    Fault::CancelLate,
    Fault::ShortReceive,
    Fault::ShortSend,
    Fault::MultishotEnded,
    Fault::NoBuffers,
    Fault::SlowJob,
];
/// A peer that does not act at once acts after this: some turns.
const LATER: Duration = Duration::from_micros(5);

// ---- the other side -------------------------------------------------------------------------

/// The simulated network; all programs on it are one peer that does as it is told.
struct Network {
    orders: Rc<RefCell<Orders>>,
    choices: Choices,
    next: Cell<u16>,
}

/// What the peer is told, and what it says.
#[derive(Default)]
struct Orders {
    told: VecDeque<(u16, Order)>,
    connected: Vec<u16>,
    has_read_freed_memory: bool,
}

#[derive(Debug)]
enum Order {
    Listen(SocketAddr),
    ListenUnix(PathBuf),
    /// Takes the next connection of a listener.
    Accept(u16),
    /// Connects and sends.
    Connect(SocketAddr, Vec<u8>),
    /// Answers the first request of each connection of a listener.
    Answer(&'static [u8]),
    Send(Vec<u8>),
    MakeRoom,
    ReadToEnd,
    Close,
}

impl Network {
    fn new(choices: &Choices) -> Rc<Network> {
        let orders = Rc::default();
        simulation::add_peer(Hand {
            orders: Rc::clone(&orders),
            sockets: Vec::new(),
            late: VecDeque::new(),
            reading: Vec::new(),
            answering: Vec::new(),
            asked: Vec::new(),
        });
        Rc::new(Network {
            orders,
            choices: choices.clone(),
            next: Cell::new(0),
        })
    }

    /// Tells the peer to do something with a new socket.
    fn tell_new(&self, order: Order) -> Socket {
        let socket = Socket {
            number: self.next.get(),
            orders: Rc::clone(&self.orders),
        };
        self.next.set(socket.number + 1);
        socket.tell(order);
        socket
    }
}

impl Beyond for Network {
    const LARGE_BYTES: usize = 2 * SOCKET_BYTES;
    type Listener = Socket;
    type Far = Socket;

    fn listen(&self) -> (Socket, SocketAddr) {
        let address = SocketAddr::from(([127, 0, 0, 1], 1_000 + self.next.get()));
        (self.tell_new(Order::Listen(address)), address)
    }

    fn listen_unix(&self, path: &Path) -> Socket {
        self.tell_new(Order::ListenUnix(path.to_owned()))
    }

    async fn accept(&self, listener: &Socket) -> Socket {
        let socket = self.tell_new(Order::Accept(listener.number));
        while !self.orders.borrow().connected.contains(&socket.number) {
            sleep(Duration::from_micros(1)).await;
        }
        socket
    }

    fn answer(&self, listener: Socket, response: &'static [u8]) -> Box<dyn Any> {
        listener.tell(Order::Answer(response));
        Box::new(listener)
    }

    fn connect(&self, address: SocketAddr, bytes: &'static [u8]) -> Box<dyn Any> {
        Box::new(self.tell_new(Order::Connect(address, bytes.to_vec())))
    }

    fn folder(&self) -> &Path {
        Path::new("/simulated")
    }

    fn descriptors(&self) -> usize {
        simulation::descriptors()
    }

    fn begin(&self) {
        self.choices.start();
    }
}

/// A socket of the peer.
struct Socket {
    number: u16,
    orders: Rc<RefCell<Orders>>,
}

impl Socket {
    fn tell(&self, order: Order) {
        // What is kept of a scene may outlive the simulation.
        if simulation::is_running() {
            self.orders
                .borrow_mut()
                .told
                .push_back((self.number, order));
            simulation::wake_peers();
        }
    }
}

impl Far for Socket {
    fn send(&self, bytes: &[u8]) {
        self.tell(Order::Send(bytes.to_vec()));
    }

    fn make_room(&self) {
        self.tell(Order::MakeRoom);
    }

    fn read_to_end(&self) {
        self.tell(Order::ReadToEnd);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.tell(Order::Close);
    }
}

/// The peer that does as it is told: at once, or later, as the kernel chooses.
struct Hand {
    orders: Rc<RefCell<Orders>>,
    sockets: Vec<(u16, PeerSocket)>,
    late: VecDeque<(Instant, u16, Order)>,
    /// Sockets that read to the end, and then close.
    reading: Vec<u16>,
    /// Listeners, and what each connection of theirs gets.
    answering: Vec<(PeerSocket, &'static [u8])>,
    /// Connections of those, and what is still to be sent.
    asked: Vec<(PeerSocket, Option<&'static [u8]>)>,
}

impl Peer for Hand {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        while let Some((at, _, _)) = self.late.front()
            && *at <= io.now()
        {
            let (_, number, order) = self.late.pop_front().expect("it was seen");
            self.follow(io, number, order);
        }
        let told = std::mem::take(&mut self.orders.borrow_mut().told);
        for (number, order) in told {
            let is_act = matches!(order, Order::Connect(..) | Order::Send(_) | Order::MakeRoom);
            let waits = self.late.iter().any(|(_, other, _)| *other == number);
            if waits || (is_act && io.pick(2) == 1) {
                io.wake_in(LATER);
                self.late.push_back((io.now() + LATER, number, order));
            } else {
                self.follow(io, number, order);
            }
        }
        for number in std::mem::take(&mut self.reading) {
            self.read_to_end(io, number);
        }
        self.answer(io);
        true
    }
}

impl Hand {
    fn socket(&self, number: u16) -> Option<PeerSocket> {
        let found = self.sockets.iter().find(|(other, _)| *other == number);
        found.map(|(_, socket)| *socket)
    }

    fn follow(&mut self, io: &mut PeerIo<'_>, number: u16, order: Order) {
        let Some(socket) = self.socket(number) else {
            return self.open(io, number, order);
        };
        match order {
            Order::Send(bytes) => drop(io.send(socket, &bytes)),
            Order::MakeRoom => drop(self.receive(io, socket)),
            Order::ReadToEnd => self.reading.push(number),
            Order::Answer(response) => self.answering.push((socket, response)),
            Order::Close if !self.reading.contains(&number) => self.close(io, number),
            Order::Close => {}
            other => panic!("{other:?} of a socket that is there"),
        }
    }

    fn open(&mut self, io: &mut PeerIo<'_>, number: u16, order: Order) {
        let socket = match order {
            Order::Listen(address) => io.listen(address),
            Order::ListenUnix(path) => io.listen_unix(path),
            Order::Connect(address, bytes) => {
                let socket = io.connect(address);
                // Without latency the connection is there, or refused.
                let _ = io.send(socket, &bytes);
                Some(socket)
            }
            Order::Accept(listener) => {
                let listener = self.socket(listener).expect("a listener was made before");
                io.accept(listener)
            }
            // The connection was never made, or is closed.
            _ => return,
        };
        self.sockets.push((number, socket.expect("it can be had")));
        self.orders.borrow_mut().connected.push(number);
    }

    fn close(&mut self, io: &mut PeerIo<'_>, number: u16) {
        if let Some(socket) = self.socket(number) {
            io.close(socket);
            self.sockets.retain(|(other, _)| *other != number);
        }
    }

    fn receive(&mut self, io: &mut PeerIo<'_>, socket: PeerSocket) -> PeerReceived {
        let mut bytes = Vec::new();
        loop {
            let received = io.receive(socket, &mut bytes, SOCKET_BYTES);
            if !matches!(received, PeerReceived::Bytes(_)) {
                let mut blocks = bytes.chunks(SOCKET_BYTES);
                let is_freed = blocks.any(|block| *block != [SENT; SOCKET_BYTES][..block.len()]);
                self.orders.borrow_mut().has_read_freed_memory |= is_freed;
                return received;
            }
        }
    }

    /// Each connection is answered with what its request came with.
    fn answer(&mut self, io: &mut PeerIo<'_>) {
        for (listener, response) in &self.answering {
            while let Some(connection) = io.accept(*listener) {
                self.asked.push((connection, Some(*response)));
            }
        }
        self.asked.retain_mut(|(connection, response)| {
            let received = io.receive(*connection, &mut Vec::new(), SOCKET_BYTES);
            match received {
                PeerReceived::Bytes(_) => {
                    if let Some(response) = response.take() {
                        io.send(*connection, response);
                    }
                }
                PeerReceived::Nothing => {}
                PeerReceived::End | PeerReceived::Reset => io.close(*connection),
            }
            matches!(received, PeerReceived::Bytes(_) | PeerReceived::Nothing)
        });
    }

    fn read_to_end(&mut self, io: &mut PeerIo<'_>, number: u16) {
        let Some(socket) = self.socket(number) else {
            return;
        };
        match self.receive(io, socket) {
            PeerReceived::End | PeerReceived::Reset => self.close(io, number),
            _ => self.reading.push(number),
        }
    }
}

// ---- every order ----------------------------------------------------------------------------

/// How far the orders of a scene are tried: with how many deviations, and how many different
/// orders there must be at least.
#[derive(Clone, Copy)]
struct Bounds {
    deviations_max: usize,
    orders_min: usize,
}

/// Every order there is.
const ALL: usize = usize::MAX;

/// Of a scene alone, and beside another.
struct Row(&'static str, Bounds, Bounds);

const fn up_to(deviations_max: usize, orders_min: usize) -> Bounds {
    Bounds {
        deviations_max,
        orders_min,
    }
}

/// A send that is short again and again has no end of orders, and a server has many.
const BOUNDS: [Row; SCENES.len()] = [
    Row("accept", up_to(ALL, 14), up_to(4, 50)),
    Row("connect", up_to(ALL, 14), up_to(ALL, 55)),
    Row("connect_unix", up_to(ALL, 14), up_to(4, 40)),
    Row("receive", up_to(ALL, 30), up_to(4, 170)),
    Row("receive_unix", up_to(ALL, 30), up_to(3, 90)),
    Row("send", up_to(4, 120), up_to(3, 250)),
    Row("large_send", up_to(3, 150), up_to(2, 200)),
    Row("open", up_to(ALL, 12), up_to(3, 40)),
    Row("read", up_to(ALL, 30), up_to(ALL, 240)),
    Row("sleep", up_to(ALL, 6), up_to(3, 6)),
    Row("resolve", up_to(ALL, 12), up_to(3, 40)),
    Row("connect_by_name", up_to(4, 20), up_to(2, 40)),
    Row("race", up_to(3, 30), up_to(2, 60)),
    Row("fetch", up_to(3, 200), up_to(2, 200)),
    Row("serve", up_to(2, 300), up_to(1, 80)),
];
/// The end of a core has few turns.
const WITH_RUNTIME: Bounds = up_to(3, 8);
const AFTER_RUNTIME: Bounds = up_to(3, 4);

fn bounds(name: &str, beside: Beside) -> Bounds {
    let mut rows = BOUNDS.into_iter();
    let row = rows.find(|Row(other, ..)| *other == name);
    let Row(_, alone, others) = row.expect("each scene has its bounds");
    match beside {
        Beside::Nothing => alone,
        Beside::Earlier | Beside::Later => others,
    }
}

/// What was tried.
#[derive(Clone, Copy, Default)]
struct Tried {
    runs: u64,
    orders: usize,
    choices_max: usize,
    fired: Fired,
}

impl Tried {
    /// All that `choices` has been through.
    fn count(&mut self, choices: &Choices) {
        self.runs += choices.runs();
        self.orders += choices.orders();
        self.choices_max = self.choices_max.max(choices.path_max());
    }

    /// A scene is done. Too few orders would mean that the kernel was not asked.
    fn add(&mut self, name: &str, scene: Tried, bounds: Bounds) {
        println!("{name}: {scene}");
        assert!(scene.orders >= bounds.orders_min, "{name}: {scene}");
        self.runs += scene.runs;
        self.orders += scene.orders;
        self.choices_max = self.choices_max.max(scene.choices_max);
        self.fired.add(&scene.fired);
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} orders in {} runs of up to {} choices, {} faults",
            self.orders,
            self.runs,
            self.choices_max,
            self.fired.total()
        )
    }
}

fn simulate(choices: &Choices) -> Simulation {
    let faults = MAYBE
        .into_iter()
        .fold(Faults::none(), |faults, fault| faults.with(fault, 0.5));
    Simulation::new(0)
        .faults(faults)
        .choices(choices)
        .socket_buffer_bytes(SOCKET_BYTES)
        .host(LOOKED_UP, [127, 0, 0, 1].into())
        .file("/simulated/file", [SENT; 2 * RECEIVE_BYTES])
}

/// Runs a scene in every order with so many deviations. True if `run` always gave true; an error
/// is what was wrong first.
fn in_every_order(
    deviations_max: usize,
    tried: &mut Tried,
    run: impl Fn(Simulation, &Choices) -> Report<bool>,
) -> Result<bool, String> {
    let choices = Choices::new(deviations_max);
    let mut is_always = true;
    loop {
        let report = run(simulate(&choices), &choices);
        if let Some(failure) = report.failure() {
            let failure = format!("with choices {choices:?}: {failure}");
            choices.repeat();
            let traced = simulate(&choices).trace(|step| println!("{step}"));
            drop(run(traced, &choices));
            return Err(failure);
        }
        tried.fired.add(report.fired());
        is_always &= report.unwrap();
        if !choices.advance() {
            tried.count(&choices);
            return Ok(is_always);
        }
    }
}

/// A scene, dropped in every place.
fn at_every_await_point(
    name: &str,
    beside: Beside,
    deviations_max: usize,
    bug: Option<Bug>,
) -> Result<Tried, String> {
    let mut tried = Tried::default();
    let mut in_orders = |drops| {
        let found = in_every_order(deviations_max, &mut tried, |simulation, choices| {
            let simulation = match bug {
                Some(bug) => simulation.plant(bug),
                None => simulation,
            };
            simulation.run(async {
                let network = Network::new(choices);
                let was_done = drop_one(&network, name, drops, beside).await;
                let has_read_freed_memory = network.orders.borrow().has_read_freed_memory;
                assert!(!has_read_freed_memory, "freed memory was sent");
                was_done
            })
        });
        found.map_err(|failure| format!("{name}, {drops:?}, {beside:?}, {failure}"))
    };
    for polls in 0..POLLS_MAX {
        if in_orders(Drops::Polled(polls))? {
            break;
        }
        if polls > 0 {
            in_orders(Drops::Woken(polls))?;
        }
    }
    Ok(tried)
}

fn all_scenes(beside: Beside) {
    let mut all = Tried::default();
    for name in SCENES {
        let bounds = bounds(name, beside);
        let tried = at_every_await_point(name, beside, bounds.deviations_max, None);
        all.add(
            name,
            tried.unwrap_or_else(|failure| panic!("{failure}")),
            bounds,
        );
    }
    println!("dropped beside {beside:?}: {all}");
    for fault in MAYBE {
        assert!(all.fired.of(fault) > 0, "{fault:?} never happened");
    }
}

#[test]
fn dropped_at_every_await_point() {
    all_scenes(Beside::Nothing);
}

#[test]
fn dropped_beside_an_earlier_one() {
    all_scenes(Beside::Earlier);
}

#[test]
fn dropped_beside_a_later_one() {
    all_scenes(Beside::Later);
}

#[test]
fn dropped_with_the_runtime() {
    let mut all = Tried::default();
    for name in SCENES {
        let mut tried = Tried::default();
        for (turns, acts_first) in (0..3).flat_map(|turns| [(turns, false), (turns, true)]) {
            let bounds = WITH_RUNTIME;
            let found = in_every_order(bounds.deviations_max, &mut tried, |simulation, choices| {
                let program = async {
                    let network = Network::new(choices);
                    let (act, kept) = dropping::run_beside(&network, name, turns).await;
                    if acts_first {
                        act();
                    }
                    (act, kept)
                };
                simulation.run_then(program, |(act, kept)| {
                    let canaries = canaries();
                    drop(act);
                    drop(kept);
                    assert_untouched(&canaries, name);
                    true
                })
            });
            if let Err(failure) = found {
                panic!("{name}, {turns} turns, acts first: {acts_first}, {failure}");
            }
        }
        all.add(name, tried, WITH_RUNTIME);
    }
    println!("dropped with the runtime: {all}");
}

#[test]
fn dropped_after_the_runtime() {
    let mut all = Tried::default();
    for name in SCENES {
        let mut tried = Tried::default();
        for acts_first in [false, true] {
            let bounds = AFTER_RUNTIME;
            let found = in_every_order(bounds.deviations_max, &mut tried, |simulation, choices| {
                let program = async {
                    let network = Network::new(choices);
                    let scene = dropping::poll_once(&network, name).await;
                    if acts_first {
                        (scene.act)();
                    }
                    scene
                };
                simulation.run_then(program, |scene| {
                    let canaries = canaries();
                    drop(scene.operation);
                    drop((scene.act, scene.kept));
                    assert_untouched(&canaries, name);
                    true
                })
            });
            if let Err(failure) = found {
                panic!("{name}, acts first: {acts_first}, {failure}");
            }
        }
        all.add(name, tried, AFTER_RUNTIME);
    }
    println!("dropped after the runtime: {all}");
}

/// Finds a planted bug in a scene, or not.
fn find(bug: Bug, name: &str) -> Option<String> {
    at_every_await_point(name, Beside::Later, 1, Some(bug)).err()
}

#[test]
fn a_planted_bug_is_found() {
    let with_memory = [
        "connect",
        "receive",
        "receive_unix",
        "send",
        "large_send",
        "read",
    ];
    for name in with_memory {
        let found = find(Bug::SlotFreedEarly, name).expect("memory was freed early");
        assert!(found.contains("released while it is in flight"), "{found}");
    }
    let found = find(Bug::BufferReturnedTwice, "fetch").expect("a buffer was returned twice");
    assert!(found.contains("was returned twice"), "{found}");
}
