//! A simulated kernel: sockets, files, wake-ups, buffer rings and a clock in memory, all from one
//! seed. What stands above `ring` cannot tell it from the real one.
//!
//! ```text
//!   Ring ── Op, Token ──► queue ─┐                       ┌─ agenda   what happens when
//!   sys  ───────────────► calls ─┼─► World ── network ───┤
//!   Peer ── PeerIo ──────────────┘     │                 └─ chaos    faults, drawn from the seed
//!                                      └─ ledger: memory lent to operations in flight
//! ```
//!
//! One simulated kernel belongs to one thread, between [`install`] and the drop of [`Installed`].
//! Sockets, rings and the clock that this thread makes meanwhile are its own; real descriptors
//! stay real.

mod agenda;
pub mod calls;
mod choices;
#[cfg(test)]
mod compare;
mod faults;
mod files;
mod ledger;
mod network;
mod operations;
#[cfg(feature = "testing")]
pub mod others;
mod peer;
mod pick;
pub mod queue;
mod random;
mod sockets;
#[cfg(test)]
mod tests;
mod world;

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use crate::ring::clock::Instant;

pub use choices::Choices;
pub use faults::ALL as ALL_FAULTS;
pub use faults::Fault;
pub use faults::Faults;
pub use faults::Fired;
pub use network::Reach;
pub use peer::Peer;
pub use peer::PeerIo;
pub use peer::PeerReceived;
pub use peer::PeerSent;
pub use peer::PeerSocket;
pub use random::Random;

use world::World;

thread_local! {
    /// The simulated kernel of this thread.
    static WORLD: RefCell<Option<Rc<RefCell<World>>>> = const { RefCell::new(None) };
}

/// Kinds of blocking work, each with threads of its own.
pub const WORK_CLASSES: usize = 4;

/// What a simulated kernel is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where every draw comes from.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// Chooses what is drawn from the seed otherwise.
    pub choices: Option<Choices>,
    /// Descriptors that can be open at a time.
    pub descriptors_max: usize,
    /// Bytes that a socket holds for its reader before the writer must wait.
    pub socket_buffer_bytes: usize,
    /// Nanoseconds that a segment is under way, at least and at most. Zero arrives at once.
    pub latency_nanoseconds: (u64, u64),
    /// Nanoseconds that blocking work takes once it has a thread, by its class, at least and at most.
    pub work_nanoseconds: [(u64, u64); WORK_CLASSES],
    /// How attempts to connect to some addresses go.
    pub reaches: Vec<(IpAddr, Reach)>,
    /// Nanoseconds that pass between two enters, at least and at most.
    pub turn_nanoseconds: (u64, u64),
    /// True to report what the reactor must never do although a kernel allows it: closing a
    /// descriptor under an operation, two receives or two sends on one socket.
    pub strict: bool,
    /// True to note every step, for a person to read.
    pub trace: bool,
}

impl Options {
    /// A calm network with the given seed.
    pub fn new(seed: u64) -> Options {
        Options {
            seed,
            faults: Faults::none(),
            choices: None,
            descriptors_max: usize::MAX,
            socket_buffer_bytes: 256 * 1024,
            latency_nanoseconds: (0, 0),
            work_nanoseconds: [(0, 0); WORK_CLASSES],
            reaches: Vec::new(),
            turn_nanoseconds: (1_000, 2_000),
            strict: false,
            trace: false,
        }
    }
}

/// A simulated kernel of this thread; dropped, the thread has the real one again.
pub struct Installed {
    world: Rc<RefCell<World>>,
}

/// Puts a simulated kernel under this thread.
///
/// # Panics
///
/// There is one already.
pub fn install(options: Options) -> Installed {
    assert!(
        current().is_none(),
        "this thread has a simulated kernel already"
    );
    let world = Rc::new(RefCell::new(World::new(options)));
    WORLD.set(Some(Rc::clone(&world)));
    Installed { world }
}

impl Installed {
    /// Adds a program beyond the network; it acts first when the ring is next entered.
    pub fn add_peer(&self, peer: Box<dyn Peer>) {
        self.world.borrow_mut().add_peer(peer);
    }

    /// Calls every peer that is not done, when the ring is next entered.
    pub fn wake_peers(&self) {
        self.world.borrow_mut().wake_peers();
    }

    /// Work on other threads that is not done is done now: it outlives whoever asked for it.
    pub fn finish_jobs(&self) {
        loop {
            let job = self.world.borrow_mut().take_job();
            let Some(job) = job else { return };
            job();
        }
    }

    /// Adds a file; its directories come by themselves.
    pub fn add_file(&self, path: impl AsRef<Path>, content: &[u8]) {
        self.world.borrow_mut().files.add(path.as_ref(), content);
    }

    /// Removes a file.
    pub fn remove_file(&self, path: impl AsRef<Path>) {
        self.world.borrow_mut().files.remove(path.as_ref());
    }

    /// Gives a name an address.
    pub fn add_host(&self, name: &str, address: IpAddr) {
        self.world.borrow_mut().add_host(name, address);
    }

    /// Asks before time passes: true when another thread has something to do for the program.
    #[cfg(feature = "testing")]
    pub fn set_others(&self, others: Rc<dyn Fn() -> bool>) {
        self.world.borrow_mut().others = Some(others);
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.world.borrow().now()
    }

    /// How often each fault happened.
    pub fn fired(&self) -> Fired {
        self.world.borrow().chaos.fired
    }

    /// Peers that are not done.
    pub fn peers(&self) -> usize {
        self.world.borrow().peer_count()
    }

    /// Simulated descriptors that are open.
    pub fn descriptors(&self) -> usize {
        self.world.borrow().descriptor_count()
    }

    /// Simulated files that are open.
    pub fn files_open(&self) -> usize {
        self.world.borrow().files.open_count()
    }

    /// What was done that must never be done, in words.
    pub fn violations(&self) -> Vec<String> {
        self.world.borrow().violations.clone()
    }

    /// The steps so far, if they are noted.
    pub fn take_trace(&self) -> Vec<String> {
        self.world.borrow_mut().trace.take()
    }

    /// Notes a step of the caller's own among the others.
    pub fn note(&self, text: impl FnOnce() -> String) {
        self.world.borrow_mut().note(text);
    }

    /// What the simulated kernel holds on the heap, in bytes: not the program's.
    pub fn memory_bytes(&self) -> usize {
        self.world.borrow().memory_bytes()
    }

    /// Receive buffers of all rings that the program has taken and not returned.
    pub fn buffers_out(&self) -> usize {
        self.world.borrow().buffers_out()
    }

    /// Operations in flight on all rings, for the end of a run.
    pub fn in_flight(&self) -> usize {
        self.world.borrow().operations_in_flight()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let world = WORLD.with_borrow_mut(Option::take);
        drop(world);
    }
}

/// The simulated kernel of this thread, if it has one.
fn current() -> Option<Rc<RefCell<World>>> {
    WORLD.with_borrow(Clone::clone)
}

/// Calls into the simulated kernel of this thread, if it has one.
fn with<T>(call: impl FnOnce(&mut World) -> T) -> Option<T> {
    // While the thread ends there is none any more.
    WORLD
        .try_with(|world| {
            world
                .borrow()
                .as_ref()
                .map(|world| call(&mut world.borrow_mut()))
        })
        .ok()
        .flatten()
}
