//! Which connections there are, which of them are idle, and who waits for one.
//!
//! ```text
//!   checkout ──► Ready ── an idle connection, most recently used first
//!           ├──► Dial ─── none: the caller dials, the request waits in its host's queue
//!           ├──► Wait ─── none, and the host has all the connections it may have
//!           └──► Full ─── none, and too many wait already
//!
//!   connected, release ──► the first waiter of the host
//!                     └──► idle: front of the host's list and of the LRU list
//!                             └─ over a cap for 100 ms: the oldest is evicted
//!
//!            LRU   ──► e7 ◄──► e2 ◄──► e9 ◄──► e4 ──   all idle entries
//!   host a.example ──► e7 ◄───────────► e9             e3 is busy: in no list
//!   host b.example ─────────► e2 ◄───────────► e4
//! ```
//!
//! The pool is pure: it knows no sockets and no clock, and holds any `T`. Every operation is O(1),
//! and none of them allocates once the tables have grown. It never calls back: what is to be closed
//! or dialled is queued, and the owner takes it ([`Pool::next_evicted`], [`Pool::next_dial`]) when
//! the pool is not borrowed any more.
//!
//! Rules (those of net/http's Transport, with the named differences): the most recently used
//! connection serves first; a waiter takes whichever comes first, a connection that is given back
//! or one that was dialled; a connection serves waiters, in their order, before it rests; a host is
//! forgotten with its last connection, dial and waiter. What is over a cap goes oldest first, and
//! not at once (net/http closes the returned one, at once, and so dials without end when more
//! requests run side by side than the cap allows to rest): after [`POOL_OVER_CAP_TIME`].
//! Invariant: a host with waiters has no idle connection.

#[cfg(any(test, feature = "simulation"))]
mod check;
mod list;
mod origin;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use crate::client::pool::list::Link;
use crate::client::pool::list::List;
use crate::client::pool::origin::Named;
use crate::client::pool::origin::OriginKey;
use crate::limits::POOL_IDLE_MAX;
use crate::limits::POOL_IDLE_PER_HOST_MAX;
use crate::limits::POOL_IDLE_TIMEOUT;
use crate::limits::POOL_KEEP_ALIVE_MARGIN;
use crate::limits::POOL_OVER_CAP_TIME;
use crate::limits::POOL_WAITING_MAX;
use crate::runtime::Instant;

pub use crate::client::pool::origin::Origin;
pub use crate::client::pool::origin::OriginRef;

/// Bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// Idle connections per host that rest for longer than a moment; 0 turns reuse off.
    pub idle_per_host_max: usize,
    /// Idle connections over all hosts.
    pub idle_max: usize,
    /// Connections per host: dialling, busy and idle ones; further requests wait in order.
    pub per_host_max: Option<usize>,
    /// Requests that may wait for connections, over all hosts, those that cause dials included.
    pub waiting_max: usize,
    /// How long a connection may rest.
    pub idle_timeout: Duration,
    /// How old a connection may become; each one's own end is up to an eighth earlier, so that
    /// connections made together do not end together. A busy one ends when it is given back.
    pub age_max: Option<Duration>,
}

impl Default for PoolOptions {
    fn default() -> PoolOptions {
        PoolOptions {
            idle_per_host_max: POOL_IDLE_PER_HOST_MAX,
            idle_max: POOL_IDLE_MAX,
            per_host_max: None,
            waiting_max: POOL_WAITING_MAX,
            idle_timeout: POOL_IDLE_TIMEOUT,
            age_max: None,
        }
    }
}

/// Counts of a pool: what is now, and what has happened since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Connections, busy and idle.
    pub connections: usize,
    /// Idle connections.
    pub idle: usize,
    /// Dials under way.
    pub dialing: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Hosts that are known.
    pub hosts: usize,
    /// Connections made.
    pub connected_total: u64,
    /// Requests served by a connection that had served one before.
    pub reused_total: u64,
    /// Idle connections closed by a cap, by time or by age.
    pub evicted_total: u64,
    /// Dials that failed.
    pub dial_failures_total: u64,
}

/// Names a connection; a key whose connection is gone finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryKey {
    index: u32,
    generation: u32,
}

/// Names a request that waits; a key whose request is served or cancelled finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterKey {
    index: u32,
    generation: u32,
}

/// A dial that the pool asked for. It counts against its host's cap until it is given to
/// [`Pool::connected`] or [`Pool::dial_failed`], exactly once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dial must be reported to the pool"]
pub struct Dial {
    host: u32,
}

/// What a request gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Checkout {
    /// An idle connection, now busy with this request.
    Ready(EntryKey),
    /// The request waits, and the caller starts this dial.
    Dial(WaiterKey, Dial),
    /// The request waits for a connection of others.
    Wait(WaiterKey),
    /// As many wait as may.
    Full,
}

/// Connections by host, and requests that wait for one.
///
/// `T` is a connection, `W` what is needed to serve a waiting request.
pub struct Pool<T, W> {
    options: PoolOptions,
    entries: Slab<Entry<T>>,
    hosts: Slab<Host>,
    names: HashMap<OriginKey, u32>,
    waiters: Slab<Waiter<W>>,
    /// All idle entries, most recently used first.
    lru: List,
    evicted: VecDeque<T>,
    dials: VecDeque<Dial>,
    /// Given to the next entry or waiter; wraps after 4 billion, which no key outlives.
    generation: u32,
    dialing: usize,
    stats: PoolStats,
}

struct Entry<T> {
    value: T,
    host: u32,
    generation: u32,
    expires: Instant,
    /// How long it may rest.
    rest_max: Duration,
    place: Place,
}

enum Place {
    Busy,
    Idle {
        since: Instant,
        lru: Link,
        of_host: Link,
    },
}

struct Host {
    origin: Rc<Origin>,
    /// Idle entries of this host, most recently used first.
    idle: List,
    /// Requests in the order in which they came.
    waiting: List,
    /// Entries of this host, busy and idle.
    connections: usize,
    dialing: usize,
}

struct Waiter<W> {
    payload: W,
    host: u32,
    generation: u32,
    link: Link,
}

impl<T, W> Pool<T, W> {
    /// An empty pool.
    pub fn new(options: PoolOptions) -> Pool<T, W> {
        // With 0 no request could ever be sent.
        let per_host_max = options.per_host_max.map(|max| max.max(1));
        Pool {
            options: PoolOptions {
                per_host_max,
                ..options
            },
            entries: Slab::new(),
            hosts: Slab::new(),
            names: HashMap::new(),
            waiters: Slab::new(),
            lru: List::new(),
            evicted: VecDeque::new(),
            dials: VecDeque::new(),
            generation: 0,
            dialing: 0,
            stats: PoolStats::default(),
        }
    }

    /// An idle connection to `origin` that is neither too old nor rested too long, or a place in
    /// the origin's queue for `payload`, which is asked for only then. Connections found too old
    /// are evicted.
    pub fn checkout(
        &mut self,
        origin: OriginRef<'_>,
        now: Instant,
        payload: impl FnOnce() -> W,
    ) -> Checkout {
        while let Some(index) = self.idle_front(origin) {
            if self.may_evict(index, false, now) {
                // The host may vanish with it; the next round asks again.
                self.evict(index);
                continue;
            }
            self.unlink_idle(index);
            self.stats.reused_total += 1;
            return Checkout::Ready(self.entry_key(index));
        }
        if self.waiters.len() >= self.options.waiting_max {
            return Checkout::Full;
        }
        let host = self.host_of(origin);
        let waiter = self.push_waiter(host, payload());
        match self.reserve_dial(host) {
            Some(dial) => Checkout::Dial(waiter, dial),
            None => Checkout::Wait(waiter),
        }
    }

    /// A dial succeeded. The connection belongs to the first waiter, whose payload is returned, or
    /// rests.
    pub fn connected(&mut self, dial: Dial, value: T, now: Instant) -> (EntryKey, Option<W>) {
        let host = self.end_dial(&dial);
        self.stats.connected_total += 1;
        let generation = self.next_generation();
        let index = self.entries.insert(Entry {
            value,
            host,
            generation,
            expires: expiry(self.options.age_max, generation, now),
            rest_max: self.options.idle_timeout,
            place: Place::Busy,
        });
        let key = EntryKey {
            index: slab_index(index),
            generation,
        };
        self.hosts[host as usize].connections += 1;
        (key, self.serve_or_rest(key.index, now))
    }

    /// A dial failed. Where fewer dials are left than requests wait, the first of them has to be
    /// told: its payload is returned.
    pub fn dial_failed(&mut self, dial: Dial) -> Option<W> {
        let host = self.end_dial(&dial);
        self.stats.dial_failures_total += 1;
        let entry = &self.hosts[host as usize];
        let told = if entry.waiting.len() > entry.dialing {
            self.pop_waiter(host)
        } else {
            None
        };
        self.replace_dial(host);
        self.forget_host_if_unused(host);
        told
    }

    /// A busy connection finished its request and can take another. It serves the first waiter,
    /// whose payload is returned, or rests, or is evicted for its age.
    pub fn release(&mut self, key: EntryKey, now: Instant) -> Option<W> {
        let index = self.find(key).expect("a released connection is known");
        let entry = &self.entries[index as usize];
        assert!(
            matches!(entry.place, Place::Busy),
            "a connection is released twice"
        );
        if entry.expires <= now {
            self.evict(index);
            return None;
        }
        let served = self.serve_or_rest(index, now);
        self.stats.reused_total += u64::from(served.is_some());
        served
    }

    /// The peer of a busy connection says how long it keeps one without a request: from here on this
    /// one rests for a little less ([`POOL_KEEP_ALIVE_MARGIN`]), and never for longer than the options
    /// say.
    pub fn set_peer_timeout(&mut self, key: EntryKey, timeout: Duration) {
        let Some(index) = self.find(key) else {
            return;
        };
        let entry = &mut self.entries[index as usize];
        assert!(
            matches!(entry.place, Place::Busy),
            "the time of a resting connection has begun"
        );
        let margin = POOL_KEEP_ALIVE_MARGIN.min(timeout / 2);
        entry.rest_max = (timeout - margin).min(self.options.idle_timeout);
    }

    /// Takes a connection out, idle or busy, as it is closing. `None` when it is not known any more.
    pub fn remove(&mut self, key: EntryKey) -> Option<T> {
        let index = self.find(key)?;
        Some(self.take_entry(index))
    }

    /// Takes a waiting request out. `None` when it is served already. Its dial goes on: the
    /// connection serves the next one or rests.
    pub fn cancel(&mut self, key: WaiterKey) -> Option<W> {
        let waiter = self.waiters.get(key.index as usize)?;
        if waiter.generation != key.generation {
            return None;
        }
        let host = waiter.host;
        let payload = self.take_waiter(host, key.index);
        self.forget_host_if_unused(host);
        Some(payload)
    }

    /// The time that [`Pool::idle_deadline`] gave for a connection has come: evicts what has rested
    /// too long, is too old, or is over a cap, oldest first. Says how long this one may rest;
    /// `None` when it does not rest any more.
    pub fn expire(&mut self, key: EntryKey, now: Instant) -> Option<Instant> {
        let index = self.find_idle(key)?;
        let host = self.entries[index as usize].host;
        while self.find_idle(key).is_some() {
            let is_over = self.is_host_over(host);
            match self.hosts[host as usize].idle.back() {
                Some(oldest) if self.may_evict(oldest, is_over, now) => self.evict(oldest),
                _ => break,
            }
        }
        while self.lru.len() > self.options.idle_max {
            match self.lru.back() {
                Some(oldest) if self.may_evict(oldest, true, now) => self.evict(oldest),
                _ => break,
            }
        }
        // Its own end may come before that of one that has rested longer: age has jitter, and its
        // server may keep it for less.
        let deadline = self.idle_deadline(key)?;
        if deadline > now {
            return Some(deadline);
        }
        self.evict(index);
        None
    }

    /// Evicts every idle connection.
    pub fn evict_idle(&mut self) {
        while self.evict_oldest() {}
    }

    /// Evicts the idle connection that has rested longest; false when there is none.
    pub fn evict_oldest(&mut self) -> bool {
        let oldest = self.lru.back();
        oldest.map(|index| self.evict(index)).is_some()
    }

    /// A connection that is out of the pool and has to be closed by the caller.
    pub fn next_evicted(&mut self) -> Option<T> {
        self.evicted.pop_front()
    }

    /// A dial that the caller has to start, since a place became free for those who wait.
    pub fn next_dial(&mut self) -> Option<Dial> {
        self.dials.pop_front()
    }

    /// Where a dial goes.
    pub fn dial_origin(&self, dial: &Dial) -> Rc<Origin> {
        self.hosts[dial.host as usize].origin.clone()
    }

    /// The connection of a key.
    pub fn get(&self, key: EntryKey) -> Option<&T> {
        self.find(key)
            .map(|index| &self.entries[index as usize].value)
    }

    /// True exactly when the connection is known and rests.
    pub fn is_idle(&self, key: EntryKey) -> bool {
        self.find_idle(key).is_some()
    }

    /// When the resting connection of a key has to go; `None` when it does not rest.
    pub fn idle_deadline(&self, key: EntryKey) -> Option<Instant> {
        let index = self.find_idle(key)?;
        let (since, end) = self.rest_of(index);
        let is_over = self.is_host_over(self.entries[index as usize].host);
        if is_over || self.lru.len() > self.options.idle_max {
            return Some(end.min(since + POOL_OVER_CAP_TIME));
        }
        Some(end)
    }

    /// The bounds of this pool.
    pub fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Counts, now.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            connections: self.entries.len(),
            idle: self.lru.len(),
            dialing: self.dialing,
            waiting: self.waiters.len(),
            hosts: self.hosts.len(),
            ..self.stats
        }
    }

    // ---- entries -----------------------------------------------------------------------------

    fn find(&self, key: EntryKey) -> Option<u32> {
        self.entries
            .get(key.index as usize)
            .filter(|entry| entry.generation == key.generation)
            .map(|_| key.index)
    }

    fn entry_key(&self, index: u32) -> EntryKey {
        EntryKey {
            index,
            generation: self.entries[index as usize].generation,
        }
    }

    fn find_idle(&self, key: EntryKey) -> Option<u32> {
        self.find(key)
            .filter(|index| matches!(self.entries[*index as usize].place, Place::Idle { .. }))
    }

    /// Since when a resting connection rests, and until when it may, the caps apart.
    fn rest_of(&self, index: u32) -> (Instant, Instant) {
        let entry = &self.entries[index as usize];
        match entry.place {
            Place::Idle { since, .. } => (since, entry.expires.min(since + entry.rest_max)),
            Place::Busy => unreachable!("a busy connection does not rest"),
        }
    }

    fn may_evict(&self, index: u32, is_over_cap: bool, now: Instant) -> bool {
        let (since, end) = self.rest_of(index);
        end <= now || (is_over_cap && since + POOL_OVER_CAP_TIME <= now)
    }

    fn is_host_over(&self, host: u32) -> bool {
        self.hosts[host as usize].idle.len() > self.options.idle_per_host_max
    }

    fn serve_or_rest(&mut self, index: u32, now: Instant) -> Option<W> {
        let host = self.entries[index as usize].host;
        if let Some(payload) = self.pop_waiter(host) {
            return Some(payload);
        }
        if self.options.idle_per_host_max == 0 || self.options.idle_max == 0 {
            self.evict(index);
            return None;
        }
        self.link_idle(index, now);
        None
    }

    fn link_idle(&mut self, index: u32, now: Instant) {
        let entry = &mut self.entries[index as usize];
        let host = entry.host;
        assert!(
            matches!(entry.place, Place::Busy),
            "a connection rests twice"
        );
        entry.place = Place::Idle {
            since: now,
            lru: Link::UNLINKED,
            of_host: Link::UNLINKED,
        };
        self.lru.push_front(&mut self.entries, index, lru_link);
        self.hosts[host as usize]
            .idle
            .push_front(&mut self.entries, index, host_link);
    }

    fn unlink_idle(&mut self, index: u32) {
        let host = self.entries[index as usize].host;
        self.lru.unlink(&mut self.entries, index, lru_link);
        self.hosts[host as usize]
            .idle
            .unlink(&mut self.entries, index, host_link);
        self.entries[index as usize].place = Place::Busy;
    }

    fn evict(&mut self, index: u32) {
        self.stats.evicted_total += 1;
        let value = self.take_entry(index);
        self.evicted.push_back(value);
    }

    fn take_entry(&mut self, index: u32) -> T {
        if matches!(self.entries[index as usize].place, Place::Idle { .. }) {
            self.unlink_idle(index);
        }
        let entry = self.entries.remove(index as usize);
        let host = &mut self.hosts[entry.host as usize];
        assert!(host.connections > 0, "a host loses more than it has");
        host.connections -= 1;
        self.replace_dial(entry.host);
        self.forget_host_if_unused(entry.host);
        entry.value
    }

    // ---- hosts and dials ---------------------------------------------------------------------

    fn idle_front(&self, origin: OriginRef<'_>) -> Option<u32> {
        let host = self.names.get(&origin as &dyn Named)?;
        self.hosts[*host as usize].idle.front()
    }

    fn host_of(&mut self, origin: OriginRef<'_>) -> u32 {
        if let Some(host) = self.names.get(&origin as &dyn Named) {
            return *host;
        }
        let origin = Rc::new(origin.to_origin());
        let host = slab_index(self.hosts.insert(Host {
            origin: origin.clone(),
            idle: List::new(),
            waiting: List::new(),
            connections: 0,
            dialing: 0,
        }));
        self.names.insert(OriginKey(origin), host);
        host
    }

    fn forget_host_if_unused(&mut self, host: u32) {
        let entry = &self.hosts[host as usize];
        if entry.connections == 0 && entry.dialing == 0 && entry.waiting.is_empty() {
            assert!(entry.idle.is_empty(), "an idle connection is not counted");
            let entry = self.hosts.remove(host as usize);
            self.names.remove(&OriginKey(entry.origin));
        }
    }

    /// A dial for a waiter that just came, unless the host has all that it may have.
    fn reserve_dial(&mut self, host: u32) -> Option<Dial> {
        let entry = &mut self.hosts[host as usize];
        let used = entry.connections + entry.dialing;
        if self.options.per_host_max.is_some_and(|max| used >= max) {
            return None;
        }
        entry.dialing += 1;
        self.dialing += 1;
        Some(Dial { host })
    }

    /// A place became free: those who wait without a dial of their own get one.
    fn replace_dial(&mut self, host: u32) {
        let entry = &self.hosts[host as usize];
        if entry.waiting.len() > entry.dialing
            && let Some(dial) = self.reserve_dial(host)
        {
            self.dials.push_back(dial);
        }
    }

    fn end_dial(&mut self, dial: &Dial) -> u32 {
        let entry = &mut self.hosts[dial.host as usize];
        assert!(entry.dialing > 0, "a dial is reported twice");
        entry.dialing -= 1;
        self.dialing -= 1;
        dial.host
    }

    // ---- waiters -----------------------------------------------------------------------------

    fn push_waiter(&mut self, host: u32, payload: W) -> WaiterKey {
        let generation = self.next_generation();
        let index = slab_index(self.waiters.insert(Waiter {
            payload,
            host,
            generation,
            link: Link::UNLINKED,
        }));
        let queue = &mut self.hosts[host as usize].waiting;
        queue.push_back(&mut self.waiters, index, waiter_link);
        WaiterKey { index, generation }
    }

    fn pop_waiter(&mut self, host: u32) -> Option<W> {
        let index = self.hosts[host as usize].waiting.front()?;
        Some(self.take_waiter(host, index))
    }

    fn take_waiter(&mut self, host: u32, index: u32) -> W {
        let queue = &mut self.hosts[host as usize].waiting;
        queue.unlink(&mut self.waiters, index, waiter_link);
        self.waiters.remove(index as usize).payload
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }
}

/// When a connection made at `now` is too old: `age_max`, less a part that differs per connection.
fn expiry(age_max: Option<Duration>, generation: u32, now: Instant) -> Instant {
    let Some(age_max) = age_max else {
        return Instant::NEVER;
    };
    // Fibonacci hashing: consecutive generations are spread over the eighth.
    let spread = generation.wrapping_mul(0x9E37_79B9) >> 24;
    now + (age_max - age_max / 2048 * spread)
}

fn slab_index(index: usize) -> u32 {
    let index = u32::try_from(index).expect("fewer than 4 billion connections");
    assert!(index != u32::MAX, "the last index means none");
    index
}

fn lru_link<T>(entry: &mut Entry<T>) -> &mut Link {
    match &mut entry.place {
        Place::Idle { lru, .. } => lru,
        Place::Busy => unreachable!("a busy connection is in no list"),
    }
}

fn host_link<T>(entry: &mut Entry<T>) -> &mut Link {
    match &mut entry.place {
        Place::Idle { of_host, .. } => of_host,
        Place::Busy => unreachable!("a busy connection is in no list"),
    }
}

fn waiter_link<W>(waiter: &mut Waiter<W>) -> &mut Link {
    &mut waiter.link
}
