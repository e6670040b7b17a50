//! What is known of names, and look-ups under way that others join. Shared by the cores of a client.
//!
//! ```text
//!   ask ─┬─ known, and young enough ──────────────► Answer
//!        ├─ being looked up ──► wait ─┐
//!        └─ unknown ──► look up ──────┴─ finish ──► Answer for all of them, kept for a while
//! ```

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use crate::error::Error;
use crate::error::Result;
use crate::guard;
use crate::limits::DNS_ADDRESSES_MAX;
use crate::limits::DNS_CACHE_ENTRIES_MAX;
use crate::limits::LOOKUP_PATIENCE;
use crate::limits::SYSTEM_LOOKUP_PATIENCE;
use crate::runtime::Instant;
use crate::runtime::Ticket;

/// What is looked up: a custom resolver may have other addresses for another port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

/// How long answers count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    /// From the beginning of the look-up; zero keeps nothing.
    pub(super) fresh: Duration,
    /// So much longer, while further look-ups fail.
    pub(super) stale: Duration,
}

/// The addresses of a name, as they were found.
#[derive(Debug)]
pub(super) struct Answer {
    /// Not empty.
    pub(super) addresses: Box<[SocketAddr]>,
    /// When the look-up began.
    began: Instant,
    /// How many have asked.
    turns: AtomicUsize,
    /// True exactly when a dial to all of the addresses failed.
    is_doubted: AtomicBool,
}

impl Answer {
    fn new(mut addresses: Vec<SocketAddr>, began: Instant) -> Arc<Answer> {
        addresses.truncate(DNS_ADDRESSES_MAX);
        Arc::new(Answer {
            addresses: addresses.into(),
            began,
            turns: AtomicUsize::new(0),
            is_doubted: AtomicBool::new(false),
        })
    }

    /// The number of this dial among those with this answer.
    pub(super) fn next_turn(&self) -> usize {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    /// None of the addresses could be connected to: the next dial looks the name up again.
    pub(super) fn doubt(&self) {
        self.is_doubted.store(true, Ordering::Relaxed);
    }

    fn is_fresh(&self, now: Instant, age: Duration) -> bool {
        now < self.began + age && !self.is_doubted.load(Ordering::Relaxed)
    }
}

/// How a look-up ended for one who waited.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    Found(Arc<Answer>),
    Failed(Arc<Error>),
    /// Its core ended, or gave it up: who has time begins another.
    Abandoned,
}

/// A look-up under way.
#[derive(Debug)]
pub(super) struct Lookup {
    /// When it was asked for.
    asked: Instant,
    state: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Its place in the queue of the pool, where that looks the name up.
    ticket: Option<Ticket>,
    /// True exactly when it was given up before it had a thread.
    is_skipped: bool,
    ended: Option<Ended>,
    wakers: Slab<Option<Waker>>,
}

impl Lookup {
    fn new(asked: Instant) -> Arc<Lookup> {
        Arc::new(Lookup {
            asked,
            state: Mutex::default(),
        })
    }

    /// The pool looks it up, when it has a thread.
    pub(super) fn queue(&self, ticket: Ticket) {
        lock(&self.state).ticket = Some(ticket);
    }

    /// False while it waits for a thread, and when it was given up before it had one.
    pub(super) fn has_begun(&self) -> bool {
        let state = lock(&self.state);
        !state.is_skipped && !state.ticket.is_some_and(Ticket::is_waiting)
    }

    /// Until when others wait for it, instead of beginning another. The core that runs a resolver may
    /// be one that nobody turns; the pool has no thread for another one sooner than for this one.
    pub(super) fn patience_ends(&self, now: Instant) -> Instant {
        match lock(&self.state).ticket {
            None => self.asked + LOOKUP_PATIENCE,
            Some(ticket) if ticket.is_waiting() => now + SYSTEM_LOOKUP_PATIENCE,
            Some(_) => self.asked + SYSTEM_LOOKUP_PATIENCE,
        }
    }

    /// Waits for its end.
    pub(super) fn wait(self: &Arc<Self>) -> Wait {
        Wait {
            lookup: Arc::clone(self),
            key: None,
        }
    }

    fn end(&self, ended: Ended) {
        let wakers = {
            let mut state = lock(&self.state);
            state.ended.get_or_insert(ended);
            std::mem::take(&mut state.wakers)
        };
        // Nothing is locked.
        wakers.into_iter().for_each(|(_, waker)| guard::wake(waker));
    }
}

/// The future of [`Lookup::wait`]. Dropped, the look-up goes on for the others; without others it is
/// not begun.
pub(super) struct Wait {
    lookup: Arc<Lookup>,
    key: Option<usize>,
}

impl Future for Wait {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        let waker = Some(context.waker().clone());
        let (poll, key, replaced) = {
            let mut state = lock(&self.lookup.state);
            match (state.ended.clone(), self.key) {
                (Some(ended), key) => (Poll::Ready(ended), key, waker),
                (None, Some(key)) => {
                    let before = std::mem::replace(&mut state.wakers[key], waker);
                    (Poll::Pending, Some(key), before)
                }
                (None, None) => (Poll::Pending, Some(state.wakers.insert(waker)), None),
            }
        };
        drop(replaced);
        self.key = key;
        poll
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        // Gone with all others when the look-up has ended.
        let (waker, unwanted) = {
            let mut state = lock(&self.lookup.state);
            let waker = state.wakers.try_remove(key);
            let is_last = state.ended.is_none() && state.wakers.is_empty();
            (waker, state.ticket.filter(|_| is_last))
        };
        drop(waker);
        if unwanted.is_some_and(Ticket::give_up) {
            lock(&self.lookup.state).is_skipped = true;
        }
    }
}

/// What is known, and what is looked up. The lock is held for a look into a table, and once in a
/// while for a walk over it: never while anything is waited for.
#[derive(Debug, Default)]
pub(super) struct Cache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Name, Known>,
    pending: HashMap<Name, Arc<Lookup>>,
    /// Counts uses, so that the name that was not used for longest can be found.
    uses: u64,
}

#[derive(Debug)]
struct Known {
    answer: Arc<Answer>,
    used: u64,
}

/// What asking came to.
pub(super) enum Asked {
    Known(Arc<Answer>),
    /// Somebody looks it up.
    Pending(Arc<Lookup>),
    /// Nobody did: who asked has to begin this one.
    Begun(Arc<Lookup>),
}

impl Cache {
    /// The answer, if it is there and fresh.
    pub(super) fn find(&self, name: &Name, now: Instant, age: Duration) -> Option<Arc<Answer>> {
        lock(&self.state).find(name, now, age)
    }

    /// The answer, or the look-up that will have it.
    pub(super) fn ask(&self, name: &Name, now: Instant, age: Duration) -> Asked {
        let mut state = lock(&self.state);
        if let Some(answer) = state.find(name, now, age) {
            return Asked::Known(answer);
        }
        match state.pending.get(name) {
            Some(pending) if now < pending.patience_ends(now) => {
                Asked::Pending(Arc::clone(pending))
            }
            _ => {
                let lookup = Lookup::new(now);
                state.pending.insert(name.clone(), Arc::clone(&lookup));
                Asked::Begun(lookup)
            }
        }
    }

    /// Ends a look-up: what was found is kept, and told to all who wait. Once it has ended, nothing.
    pub(super) fn finish(
        &self,
        name: &Name,
        lookup: &Arc<Lookup>,
        result: Result<Vec<SocketAddr>>,
        ages: Ages,
    ) {
        let mut later = None;
        let ended = {
            let mut state = lock(&self.state);
            let found = match result {
                Ok(addresses) => Ok(Answer::new(addresses, lookup.asked)),
                Err(error) => state.find_stale(name, lookup.asked, ages).ok_or(error),
            };
            let is_last = state
                .pending
                .get(name)
                .is_some_and(|last| Arc::ptr_eq(last, lookup));
            // Those who lost patience with this one wait for a later one, and need not.
            if is_last || found.is_ok() {
                later = state.pending.remove(name).filter(|_| !is_last);
            }
            match found {
                Ok(answer) => {
                    state.keep(name, &answer, ages);
                    Ended::Found(answer)
                }
                Err(error) => Ended::Failed(Arc::new(error)),
            }
        };
        if let Some(later) = later {
            later.end(ended.clone());
        }
        lookup.end(ended);
    }

    /// A look-up ends without a result.
    pub(super) fn abandon(&self, name: &Name, lookup: &Arc<Lookup>) {
        let mut state = lock(&self.state);
        let pending = state.pending.get(name);
        if pending.is_some_and(|last| Arc::ptr_eq(last, lookup)) {
            state.pending.remove(name);
        }
        drop(state);
        lookup.end(Ended::Abandoned);
    }

    /// Names that are known, and those that are looked up.
    #[cfg(test)]
    fn counts(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.known.len(), state.pending.len())
    }
}

impl State {
    fn find(&mut self, name: &Name, now: Instant, age: Duration) -> Option<Arc<Answer>> {
        let known = self.known.get_mut(name)?;
        if !known.answer.is_fresh(now, age) {
            return None;
        }
        self.uses += 1;
        known.used = self.uses;
        Some(Arc::clone(&known.answer))
    }

    /// The last answer, when looking up again has failed.
    fn find_stale(&self, name: &Name, now: Instant, ages: Ages) -> Option<Arc<Answer>> {
        if ages.stale.is_zero() {
            return None;
        }
        let answer = &self.known.get(name)?.answer;
        (now < answer.began + ages.fresh + ages.stale).then(|| Arc::clone(answer))
    }

    fn keep(&mut self, name: &Name, answer: &Arc<Answer>, ages: Ages) {
        if ages.fresh.is_zero() {
            return;
        }
        if self.known.len() >= DNS_CACHE_ENTRIES_MAX && !self.known.contains_key(name) {
            // A walk over the table costs less than the look-up that led here.
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.known.remove(&name);
            }
        }
        self.uses += 1;
        let known = Known {
            answer: Arc::clone(answer),
            used: self.uses,
        };
        self.known.insert(name.clone(), known);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing of others runs while it is held, so nothing is half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const AGES: Ages = Ages {
        fresh: Duration::from_secs(30),
        stale: Duration::ZERO,
    };

    fn name(host: &str) -> Name {
        Name {
            host: host.into(),
            port: 80,
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanoseconds(seconds * 1_000_000_000)
    }

    fn begin(cache: &Cache, host: &str, now: Instant) -> Arc<Lookup> {
        match cache.ask(&name(host), now, AGES.fresh) {
            Asked::Begun(lookup) => lookup,
            _ => panic!("{host} is known, or looked up"),
        }
    }

    fn answer(last: u8) -> Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(([192, 0, 2, last], 80))])
    }

    fn failure() -> Result<Vec<SocketAddr>> {
        Err(Error::new(ErrorKind::Resolve, "no"))
    }

    fn polled(wait: &mut Wait) -> Option<Ended> {
        match Pin::new(wait).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_known_counts_for_a_while() {
        let cache = Cache::default();
        let lookup = begin(&cache, "a", at(10));
        assert!(matches!(
            cache.ask(&name("a"), at(11), AGES.fresh),
            Asked::Pending(_)
        ));
        cache.finish(&name("a"), &lookup, answer(1), AGES);
        assert_eq!(cache.counts(), (1, 0));
        // The age counts from the beginning of the look-up.
        let found = cache.find(&name("a"), at(39), AGES.fresh).unwrap();
        assert!(cache.find(&name("a"), at(40), AGES.fresh).is_none());
        assert!(cache.find(&name("b"), at(39), AGES.fresh).is_none());
        found.doubt();
        assert!(cache.find(&name("a"), at(39), AGES.fresh).is_none());
    }

    #[test]
    fn without_an_age_nothing_is_kept() {
        let cache = Cache::default();
        let none = Ages {
            fresh: Duration::ZERO,
            ..AGES
        };
        let lookup = begin(&cache, "a", at(1));
        let mut wait = lookup.wait();
        assert!(polled(&mut wait).is_none());
        cache.finish(&name("a"), &lookup, answer(1), none);
        assert!(matches!(polled(&mut wait), Some(Ended::Found(_))));
        assert_eq!(cache.counts(), (0, 0));
    }

    #[test]
    fn failures_are_told_to_all_and_not_kept() {
        let cache = Cache::default();
        let lookup = begin(&cache, "a", at(1));
        let mut waits = [lookup.wait(), lookup.wait()];
        waits
            .iter_mut()
            .for_each(|wait| assert!(polled(wait).is_none()));
        cache.finish(&name("a"), &lookup, failure(), AGES);
        for wait in &mut waits {
            assert!(matches!(polled(wait), Some(Ended::Failed(_))));
        }
        assert_eq!(cache.counts(), (0, 0));
    }

    #[test]
    fn a_stale_answer_is_better_than_none_where_that_is_wanted() {
        let ages = Ages {
            stale: Duration::from_secs(600),
            ..AGES
        };
        let cache = Cache::default();
        let lookup = begin(&cache, "a", at(0));
        cache.finish(&name("a"), &lookup, answer(1), ages);
        for (now, is_served) in [(100, true), (629, true), (630, false)] {
            let lookup = begin(&cache, "a", at(now));
            let mut wait = lookup.wait();
            cache.finish(&name("a"), &lookup, failure(), ages);
            let ended = polled(&mut wait).unwrap();
            assert_eq!(matches!(ended, Ended::Found(_)), is_served, "{now}");
        }
    }

    #[test]
    fn the_name_not_used_for_longest_makes_room() {
        let cache = Cache::default();
        for index in 0..DNS_CACHE_ENTRIES_MAX + 10 {
            let host = format!("host{index}");
            let lookup = begin(&cache, &host, at(1));
            cache.finish(&name(&host), &lookup, answer(1), AGES);
            assert!(cache.find(&name("host0"), at(1), AGES.fresh).is_some());
        }
        assert_eq!(cache.counts(), (DNS_CACHE_ENTRIES_MAX, 0));
        for index in 1..=10 {
            let gone = name(&format!("host{index}"));
            assert!(cache.find(&gone, at(1), AGES.fresh).is_none());
        }
        assert!(cache.find(&name("host11"), at(1), AGES.fresh).is_some());
    }

    #[test]
    fn who_loses_patience_begins_another_and_takes_whichever_comes_first() {
        let cache = Cache::default();
        let first = begin(&cache, "a", at(0));
        let late = at(0) + LOOKUP_PATIENCE;
        let second = begin(&cache, "a", late);
        let (mut before, mut after) = (first.wait(), second.wait());
        assert!(polled(&mut before).is_none() && polled(&mut after).is_none());
        // A failure of the old one says nothing of the new one.
        cache.finish(&name("a"), &first, failure(), AGES);
        assert!(matches!(polled(&mut before), Some(Ended::Failed(_))));
        assert!(polled(&mut after).is_none());
        let third = begin(&cache, "a", late + LOOKUP_PATIENCE);
        let mut last = third.wait();
        cache.finish(&name("a"), &second, answer(7), AGES);
        for wait in [&mut after, &mut last] {
            assert!(matches!(polled(wait), Some(Ended::Found(_))));
        }
        cache.abandon(&name("a"), &third);
        assert_eq!(cache.counts(), (1, 0));
    }

    #[test]
    fn an_abandoned_one_is_begun_again() {
        let cache = Cache::default();
        let lookup = begin(&cache, "a", at(0));
        let mut wait = lookup.wait();
        cache.abandon(&name("a"), &lookup);
        assert!(matches!(polled(&mut wait), Some(Ended::Abandoned)));
        begin(&cache, "a", at(0));
    }

    #[test]
    fn who_stops_waiting_leaves_no_waker() {
        let cache = Cache::default();
        let lookup = begin(&cache, "a", at(0));
        let mut waits: Vec<Wait> = (0..3).map(|_| lookup.wait()).collect();
        waits
            .iter_mut()
            .for_each(|wait| assert!(polled(wait).is_none()));
        drop(waits.remove(1));
        assert_eq!(lock(&lookup.state).wakers.len(), 2);
        cache.finish(&name("a"), &lookup, answer(1), AGES);
        drop(waits);
        assert_eq!(lock(&lookup.state).wakers.len(), 0);
    }

    #[test]
    fn answers_are_bounded() {
        let many = (0..2 * DNS_ADDRESSES_MAX).map(|_| SocketAddr::from(([192, 0, 2, 1], 80)));
        let answer = Answer::new(many.collect(), at(0));
        assert_eq!(answer.addresses.len(), DNS_ADDRESSES_MAX);
    }
}
