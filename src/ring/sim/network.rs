//! Sockets and what connects them: state only. What happens to it stands in `sockets`.
//!
//! ```text
//!   Endpoint ──link──► Endpoint        inbox: [ arrived ........ | under way ........ ]
//!      ▲                                        receives take      events move the mark
//!   descriptor, or peer
//! ```

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;

use crate::ring::clock::Instant;
use crate::ring::sim::peer::PeerId;
use crate::ring::sys::Address;

/// Names a socket or an event counter; stale once it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointId {
    index: u32,
    generation: u32,
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket {}.{}", self.index, self.generation)
    }
}

/// Names an operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OperationRef {
    pub(super) ring: u32,
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Who holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The program under test, by descriptors and operations in flight.
    Program,
    /// A program beyond the network.
    Peer(PeerId),
    /// Nobody yet: it waits to be accepted.
    Queue,
}

/// The other side of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    None,
    To(EndpointId),
    /// It has closed.
    Gone,
}

/// What becomes of an attempt to connect to an address, before anybody is asked who listens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It fails at once: there is no way to that network (ENETUNREACH).
    Unreachable,
    /// It is never answered, and given up by the kernel after 127 s.
    Silent,
    /// It arrives after so long.
    After(Duration),
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Not connected yet.
    Fresh,
    Connecting,
    Stream,
    Listener(VecDeque<EndpointId>),
    /// The counter of an eventfd.
    Counter(u64),
}

/// Where a socket is, and where the other side is. Boxed: most of a million have no reader.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) local: Option<Address>,
    pub(super) remote: Option<Address>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) kind: Kind,
    pub(super) owner: Owner,
    pub(super) is_unix: bool,
    /// Others may listen beside it (SO_REUSEPORT).
    pub(super) shares_address: bool,
    /// Descriptors and operations in flight that hold it.
    pub(super) references: u32,
    /// Operations in flight.
    pub(super) operations: u32,
    pub(super) link: Link,
    pub(super) places: Box<Places>,
    /// What was sent to it and has not been received.
    pub(super) inbox: VecDeque<u8>,
    /// How much of the inbox has arrived.
    pub(super) arrived: usize,
    /// When the last of what is under way arrives.
    pub(super) last_arrival: Instant,
    /// The other side's end has arrived.
    pub(super) has_end: bool,
    /// This side sends nothing more.
    pub(super) is_shut_write: bool,
    /// This side receives nothing more.
    pub(super) is_shut_read: bool,
    /// The connection was reset, or never made.
    pub(super) is_broken: bool,
    /// An error number that the next call gets; 0 for none.
    pub(super) error: i32,
    pub(super) readers: Waiters,
    pub(super) writers: Waiters,
    /// Receives and sends of the program in flight.
    pub(super) receives: u8,
    pub(super) sends: u8,
}

/// Operations that wait for a socket, in order. Mostly one.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    first: Option<OperationRef>,
    more: Vec<OperationRef>,
}

impl Waiters {
    pub(super) fn push(&mut self, operation: OperationRef) {
        if self.is_empty() {
            self.first = Some(operation);
        } else {
            self.more.push(operation);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    pub(super) fn remove(&mut self, operation: OperationRef) {
        if self.first == Some(operation) {
            self.first = None;
        }
        self.more.retain(|other| *other != operation);
    }
}

/// Who is to be told that something happened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Woken {
    Operation(OperationRef),
    Peer(PeerId),
}

struct Place {
    generation: u32,
    endpoint: Option<Endpoint>,
}

/// All sockets of a simulation.
pub(super) struct Network {
    places: Vec<Place>,
    free: Vec<u32>,
    listeners: HashMap<Address, Vec<EndpointId>>,
    /// Filled as things happen; the world passes it on.
    pub(super) woken: Vec<Woken>,
    next_port: u16,
}

impl Network {
    pub(super) fn new() -> Network {
        Network {
            places: Vec::new(),
            free: Vec::new(),
            listeners: HashMap::new(),
            woken: Vec::new(),
            next_port: 0,
        }
    }

    pub(super) fn add(&mut self, kind: Kind, owner: Owner, is_unix: bool) -> EndpointId {
        let endpoint = Endpoint {
            kind,
            owner,
            is_unix,
            shares_address: false,
            references: 0,
            operations: 0,
            link: Link::None,
            places: Box::default(),
            inbox: VecDeque::new(),
            arrived: 0,
            last_arrival: Instant::default(),
            has_end: false,
            is_shut_write: false,
            is_shut_read: false,
            is_broken: false,
            error: 0,
            readers: Waiters::default(),
            writers: Waiters::default(),
            receives: 0,
            sends: 0,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                endpoint: None,
            });
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 sockets")
        });
        let place = &mut self.places[index as usize];
        place.endpoint = Some(endpoint);
        EndpointId {
            index,
            generation: place.generation,
        }
    }

    pub(super) fn get(&self, id: EndpointId) -> Option<&Endpoint> {
        let place = &self.places[id.index as usize];
        if place.generation == id.generation {
            place.endpoint.as_ref()
        } else {
            None
        }
    }

    pub(super) fn get_mut(&mut self, id: EndpointId) -> Option<&mut Endpoint> {
        let place = &mut self.places[id.index as usize];
        if place.generation == id.generation {
            place.endpoint.as_mut()
        } else {
            None
        }
    }

    /// Takes a socket out; its name is stale from here on.
    pub(super) fn remove(&mut self, id: EndpointId) -> Option<Endpoint> {
        let place = &mut self.places[id.index as usize];
        if place.generation != id.generation {
            return None;
        }
        let endpoint = place.endpoint.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(endpoint)
    }

    pub(super) fn new_stream(&mut self, owner: Owner) -> EndpointId {
        self.add(Kind::Fresh, owner, false)
    }

    /// The other side of a socket, while it is open.
    pub(super) fn linked(&self, id: EndpointId) -> Option<EndpointId> {
        match self.get(id)?.link {
            Link::To(other) => Some(other),
            _ => None,
        }
    }

    pub(super) fn is_connected(&self, id: EndpointId) -> bool {
        self.get(id)
            .is_some_and(|endpoint| matches!(endpoint.kind, Kind::Stream) && !endpoint.is_broken)
    }

    /// Makes a pair of connected sockets.
    pub(super) fn connect(&mut self, a: EndpointId, b: EndpointId) {
        for (id, other) in [(a, b), (b, a)] {
            let endpoint = self.get_mut(id).expect("both sides are open");
            endpoint.kind = Kind::Stream;
            endpoint.link = Link::To(other);
        }
    }

    /// What the table and the sockets hold on the heap, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let sockets = self
            .places
            .iter()
            .filter_map(|place| place.endpoint.as_ref());
        let held = sockets.map(|endpoint| {
            let waiters = endpoint.readers.more.capacity() + endpoint.writers.more.capacity();
            size_of::<Places>() + endpoint.inbox.capacity() + waiters * size_of::<OperationRef>()
        });
        self.places.capacity() * size_of::<Place>()
            + self.free.capacity() * size_of::<u32>()
            + held.sum::<usize>()
    }

    /// The next of the ports that the kernel takes for port 0 and for clients.
    pub(super) fn ephemeral_port(&mut self) -> u16 {
        const FIRST: u16 = 32_768;
        const COUNT: u16 = 28_232;
        self.next_port = (self.next_port + 1) % COUNT;
        FIRST + self.next_port
    }

    // ---- listeners -------------------------------------------------------------------------

    /// Makes a socket listen. EADDRINUSE unless all that listen there share the address.
    pub(super) fn listen(
        &mut self,
        address: &Address,
        share: bool,
        owner: Owner,
    ) -> Result<EndpointId, i32> {
        let mut address = address.clone();
        if matches!(&address, Address::Tcp(address) if address.port() == 0) {
            address = self.with_free_port(&address);
        }
        let mut others = self.listeners.get(&address).into_iter().flatten();
        let may_share = |id: &EndpointId| self.get(*id).is_some_and(|other| other.shares_address);
        if !others.all(|id| share && may_share(id)) {
            return Err(libc::EADDRINUSE);
        }
        let is_unix = matches!(address, Address::Unix(_));
        let id = self.add(Kind::Listener(VecDeque::new()), owner, is_unix);
        let endpoint = self.get_mut(id).expect("it was made just now");
        endpoint.places.local = Some(address.clone());
        endpoint.shares_address = share;
        self.listeners.entry(address).or_default().push(id);
        Ok(id)
    }

    /// An address with a port that nobody listens on.
    fn with_free_port(&mut self, address: &Address) -> Address {
        let mut address = address.clone();
        loop {
            if let Address::Tcp(address) = &mut address {
                address.set_port(self.ephemeral_port());
            }
            if !self.listeners.contains_key(&address) {
                return address;
            }
        }
    }

    /// Everybody who listens on an address; if nobody does, on that of all interfaces. That of
    /// IPv6 is for IPv4 as well (ipv6(7), IPV6_V6ONLY).
    pub(super) fn listeners(&self, address: &Address) -> &[EndpointId] {
        let everywhere = |ip: IpAddr| match address {
            Address::Tcp(address) => {
                let everywhere = SocketAddr::new(ip, address.port());
                self.listeners.get(&Address::Tcp(everywhere))
            }
            Address::Unix(_) => None,
        };
        self.listeners
            .get(address)
            .or_else(|| everywhere(Ipv4Addr::UNSPECIFIED.into()))
            .or_else(|| everywhere(Ipv6Addr::UNSPECIFIED.into()))
            .map_or(&[], Vec::as_slice)
    }

    pub(super) fn remove_listener(&mut self, id: EndpointId, address: &Address) {
        if let Some(listeners) = self.listeners.get_mut(address) {
            listeners.retain(|other| *other != id);
            if listeners.is_empty() {
                self.listeners.remove(address);
            }
        }
    }

    /// The next connection that waits to be accepted, whatever became of it meanwhile.
    pub(super) fn take_accepted(&mut self, listener: EndpointId) -> Option<EndpointId> {
        match &mut self.get_mut(listener)?.kind {
            Kind::Listener(queue) => queue.pop_front(),
            _ => None,
        }
    }

    /// All sockets of one holder. Walks the table: for what ends once.
    pub(super) fn owned_by(&self, owner: Owner) -> Vec<EndpointId> {
        let places = (0u32..).zip(&self.places);
        let owned = places.filter_map(|(index, place)| {
            let endpoint = place.endpoint.as_ref()?;
            let generation = place.generation;
            (endpoint.owner == owner).then_some(EndpointId { index, generation })
        });
        owned.collect()
    }

    pub(super) fn set_owner(&mut self, id: EndpointId, owner: Owner) {
        if let Some(endpoint) = self.get_mut(id) {
            endpoint.owner = owner;
        }
    }

    // ---- who waits -------------------------------------------------------------------------

    /// A socket has become readable, or will never be.
    pub(super) fn wake_readers(&mut self, id: EndpointId) {
        self.wake(id, |endpoint| &mut endpoint.readers);
    }

    /// A socket has become writable, or will never be.
    pub(super) fn wake_writers(&mut self, id: EndpointId) {
        self.wake(id, |endpoint| &mut endpoint.writers);
    }

    fn wake(&mut self, id: EndpointId, list: impl FnOnce(&mut Endpoint) -> &mut Waiters) {
        let Some(endpoint) = self.get_mut(id) else {
            return;
        };
        let owner = endpoint.owner;
        let accepts = matches!(endpoint.kind, Kind::Listener(_));
        let waiters = list(endpoint);
        let first = waiters.first.take();
        let more = mem::take(&mut waiters.more);
        // Who waits for a connection is woken in order; of others the last comes first, as in the
        // kernel's wait queues.
        if accepts {
            self.woken
                .extend(first.into_iter().chain(more).map(Woken::Operation));
        } else {
            self.woken
                .extend(more.into_iter().rev().chain(first).map(Woken::Operation));
        }
        if let Owner::Peer(peer) = owner {
            self.woken.push(Woken::Peer(peer));
        }
    }
}
