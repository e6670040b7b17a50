//! What holds of a pool after any sequence of operations, for tests and simulations.
//!
//! ```text
//!   idle entries = the LRU list = all lists of hosts;  waiters = all queues;  caps;  counts
//! ```

use crate::client::pool::Place;
use crate::client::pool::Pool;
use crate::client::pool::host_link;
use crate::client::pool::lru_link;
use crate::client::pool::waiter_link;
use crate::runtime::Instant;

impl<T, W> Pool<T, W> {
    /// Looks at everything.
    ///
    /// # Panics
    ///
    /// Something is not as it has to be.
    pub fn check(&mut self) {
        let entries = self.entries.iter();
        let idle: Vec<u32> = entries
            .filter(|(_, entry)| matches!(entry.place, Place::Idle { .. }))
            .map(|(index, _)| index as u32)
            .collect();
        let mut lru = self.lru.walk(&mut self.entries, lru_link);
        let stamps: Vec<Instant> = lru
            .iter()
            .map(|index| match self.entries[*index as usize].place {
                Place::Idle { since, .. } => since,
                Place::Busy => panic!("a busy entry in the LRU list"),
            })
            .collect();
        let is_in_order = stamps.is_sorted_by(|newer, older| newer >= older);
        assert!(is_in_order, "the LRU list is out of order");
        let mut of_hosts = self.check_hosts();
        lru.sort_unstable();
        of_hosts.sort_unstable();
        assert_eq!(lru, of_hosts, "the LRU list and the lists of the hosts");
        assert_eq!(lru, idle, "the LRU list and the idle entries");
        assert_eq!(self.stats().idle, idle.len(), "the count of idle entries");
    }

    /// The idle entries of all hosts.
    fn check_hosts(&mut self) -> Vec<u32> {
        let mut of_hosts = Vec::new();
        let (mut waiting, mut dialing) = (0, 0);
        for (index, host) in &self.hosts {
            let list = host.idle.walk(&mut self.entries, host_link);
            for entry in &list {
                let of = self.entries[*entry as usize].host as usize;
                assert_eq!(of, index, "an entry in the list of another host");
            }
            let queue = host.waiting.walk(&mut self.waiters, waiter_link);
            assert!(
                queue.is_empty() || list.is_empty(),
                "waits beside an idle connection"
            );
            of_hosts.extend(list);
            waiting += queue.len();
            dialing += host.dialing;
            let entries = self.entries.iter();
            let connections = entries
                .filter(|(_, entry)| entry.host as usize == index)
                .count();
            assert_eq!(
                host.connections, connections,
                "a host's count of connections"
            );
            let used = host.connections + host.dialing;
            assert!(used + queue.len() > 0, "an unused host stays");
            if let Some(max) = self.options.per_host_max {
                assert!(used <= max, "{used} connections to a host, at most {max}");
            }
        }
        assert_eq!(self.waiters.len(), waiting, "the count of waiters");
        assert_eq!(self.dialing, dialing, "the count of dials");
        assert_eq!(
            self.names.len(),
            self.hosts.len(),
            "the names and the hosts"
        );
        of_hosts
    }
}
