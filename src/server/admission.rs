//! How many connections there may be, at all and of one address.
//!
//! ```text
//!   accept ─► Admission::enter ─┬─ Ticket, which counts until it is dropped ─► Connection
//!                               └─ LimitReached ─► Refused: 503, Retry-After, close
//! ```
//!
//! Both counts are exact over all workers: one atomic and, for addresses, one short lock of one of
//! many shards per accept and per close, and nothing per request. Only addresses with connections
//! are remembered. An IPv6 client is counted by its /64, which is what one customer has.

mod refused;

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::limits::ADDRESS_SHARDS;

pub(super) use crate::server::admission::refused::Refused;

/// Counts connections against their limits.
#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    per_address_max: Option<usize>,
    connections: AtomicUsize,
    addresses: Box<[Shard]>,
}

type Shard = Mutex<HashMap<AddressKey, usize>>;

/// Who counts as one: an IPv4 address, or the first 64 bits of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum AddressKey {
    V4(u32),
    V6(u64),
}

/// A limit that leaves no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// Of all connections.
    Connections,
    /// Of connections from one address.
    PerAddress,
}

impl LimitReached {
    /// The limit, for people.
    pub fn rule(self) -> &'static str {
        match self {
            LimitReached::Connections => {
                "there are as many connections as there may be; Server::connections_max"
            }
            LimitReached::PerAddress => {
                "too many connections from this address; Server::connections_per_address_max"
            }
        }
    }
}

impl Admission {
    /// Without connections. `None` is no limit.
    pub fn new(connections_max: Option<usize>, per_address_max: Option<usize>) -> Admission {
        let shards = if per_address_max.is_some() {
            ADDRESS_SHARDS
        } else {
            0
        };
        Admission {
            connections_max: connections_max.unwrap_or(usize::MAX),
            per_address_max,
            connections: AtomicUsize::new(0),
            addresses: (0..shards).map(|_| Shard::default()).collect(),
        }
    }

    /// Connections that hold a ticket.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts one more connection.
    ///
    /// # Errors
    ///
    /// There are as many as there may be.
    pub fn enter(self: &Arc<Admission>) -> Result<Ticket, LimitReached> {
        let others = self.connections.fetch_add(1, Ordering::Relaxed);
        // From here on the ticket takes it back.
        let ticket = Ticket {
            admission: Arc::clone(self),
            address: None,
        };
        if others >= self.connections_max {
            return Err(LimitReached::Connections);
        }
        Ok(ticket)
    }

    fn shard(&self, key: AddressKey) -> &Shard {
        let number = match key {
            AddressKey::V4(bits) => u64::from(bits),
            AddressKey::V6(bits) => bits,
        };
        // The high bits of the product depend on all bits (Fibonacci hashing).
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.addresses[mixed as usize % self.addresses.len()]
    }
}

/// One connection, counted until this is dropped.
#[derive(Debug)]
pub struct Ticket {
    admission: Arc<Admission>,
    address: Option<AddressKey>,
}

impl Ticket {
    /// True when it matters from where the connection comes.
    pub fn counts_addresses(&self) -> bool {
        self.admission.per_address_max.is_some()
    }

    /// Counts the connection as one of this address too, once it is known; one without address (a
    /// Unix socket) is not counted.
    ///
    /// # Errors
    ///
    /// The address has as many as it may have.
    pub fn enter_address(&mut self, peer: Option<SocketAddr>) -> Result<(), LimitReached> {
        assert!(self.address.is_none(), "a connection has one address");
        let (Some(max), Some(peer)) = (self.admission.per_address_max, peer) else {
            return Ok(());
        };
        let key = AddressKey::of(peer.ip());
        let mut shard = lock(self.admission.shard(key));
        let count = shard.entry(key).or_insert(0);
        if *count >= max {
            if max == 0 {
                shard.remove(&key);
            }
            return Err(LimitReached::PerAddress);
        }
        *count += 1;
        drop(shard);
        self.address = Some(key);
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
        let Some(key) = self.address else {
            return;
        };
        let mut shard = lock(self.admission.shard(key));
        let count = shard.get_mut(&key).expect("a ticket is counted");
        *count -= 1;
        if *count == 0 {
            shard.remove(&key);
        }
    }
}

impl AddressKey {
    fn of(address: IpAddr) -> AddressKey {
        match address.to_canonical() {
            IpAddr::V4(address) => AddressKey::V4(address.to_bits()),
            IpAddr::V6(address) => AddressKey::V6((address.to_bits() >> 64) as u64),
        }
    }
}

fn lock(shard: &Shard) -> std::sync::MutexGuard<'_, HashMap<AddressKey, usize>> {
    // Numbers: no panic leaves them half changed.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(text.parse().unwrap(), 1))
    }

    /// Addresses that are remembered.
    fn remembered(admission: &Admission) -> usize {
        admission.addresses.iter().map(|s| lock(s).len()).sum()
    }

    #[test]
    fn all_are_counted_and_given_back() {
        let admission = Arc::new(Admission::new(Some(2), None));
        let first = admission.enter().unwrap();
        let mut second = admission.enter().unwrap();
        second.enter_address(peer("10.0.0.1")).unwrap();
        assert_eq!(admission.enter().unwrap_err(), LimitReached::Connections);
        assert_eq!(admission.connections(), 2);
        drop(first);
        let third = admission.enter().unwrap();
        assert!(admission.enter().is_err());
        drop((second, third));
        assert_eq!(admission.connections(), 0);
    }

    #[test]
    fn addresses_are_counted_and_forgotten() {
        let admission = Arc::new(Admission::new(None, Some(2)));
        let enter = |text: &str| {
            let mut ticket = admission.enter().unwrap();
            ticket.enter_address(peer(text)).map(|()| ticket)
        };
        let table = [
            ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"),
            ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        ];
        for (one, same, other) in table {
            let first = enter(one).unwrap();
            let second = enter(same).unwrap();
            assert_eq!(enter(one).unwrap_err(), LimitReached::PerAddress, "{one}");
            assert_eq!(enter(same).unwrap_err(), LimitReached::PerAddress);
            let another = enter(other).unwrap();
            assert_eq!(remembered(&admission), 2);
            drop(first);
            let third = enter(same).unwrap();
            drop((second, third, another));
            assert_eq!(remembered(&admission), 0);
        }
        // No address: not counted.
        let mut unix: Vec<Ticket> = (0..5).map(|_| admission.enter().unwrap()).collect();
        unix.iter_mut()
            .for_each(|ticket| ticket.enter_address(None).unwrap());
        drop(unix);
        assert_eq!(admission.connections(), 0);
    }

    #[test]
    fn a_limit_of_nothing_remembers_nobody() {
        let admission = Arc::new(Admission::new(None, Some(0)));
        let mut ticket = admission.enter().unwrap();
        assert!(ticket.enter_address(peer("10.0.0.1")).is_err());
        assert_eq!(remembered(&admission), 0);
    }
}
