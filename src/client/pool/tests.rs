//! The pool's rules, one by one, and its invariants after any sequence of operations.

use std::time::Duration;

use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert;
use proptest::prop_assert_eq;
use proptest::prop_oneof;
use proptest::proptest;

use crate::client::pool::Checkout;
use crate::client::pool::Dial;
use crate::client::pool::EntryKey;
use crate::client::pool::OriginRef;
use crate::client::pool::Pool;
use crate::client::pool::PoolOptions;
use crate::client::pool::WaiterKey;
use crate::limits::POOL_OVER_CAP_TIME;
use crate::runtime::Instant;

/// Of the generated sequences: few enough to be reached.
const WAITING_MAX: usize = 6;

const HOSTS: [&str; 3] = ["a.example", "b.example", "c.example"];

fn origin(host: usize) -> OriginRef<'static> {
    OriginRef {
        secure: false,
        host: HOSTS[host],
        port: 80,
        via: None,
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanoseconds(seconds * 1_000_000_000)
}

fn pool(options: PoolOptions) -> Pool<u32, u32> {
    Pool::new(options)
}

/// Checks out for a host without idle connections, and completes the dial.
fn connect(pool: &mut Pool<u32, u32>, host: usize, value: u32, now: Instant) -> EntryKey {
    let Checkout::Dial(_, dial) = pool.checkout(origin(host), now, || value) else {
        panic!("expected a dial");
    };
    let (key, waiter) = pool.connected(dial, value, now);
    assert_eq!(waiter, Some(value));
    key
}

fn evicted(pool: &mut Pool<u32, u32>) -> Vec<u32> {
    std::iter::from_fn(|| pool.next_evicted()).collect()
}

fn check(pool: &mut Pool<u32, u32>) {
    pool.check();
}

#[test]
fn most_recently_used_serves_first() {
    let mut pool = pool(PoolOptions::default());
    let keys: Vec<EntryKey> = (0..3).map(|n| connect(&mut pool, 0, n, at(0))).collect();
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(pool.release(*key, at(n as u64)), None);
    }
    for key in keys.iter().rev() {
        assert_eq!(pool.checkout(origin(0), at(3), || 9), Checkout::Ready(*key));
    }
    assert_eq!(pool.stats().reused_total, 3);
    check(&mut pool);
}

#[test]
fn the_oldest_goes_over_a_cap_after_a_moment() {
    let mut pool = pool(PoolOptions {
        idle_per_host_max: 2,
        idle_max: 3,
        ..PoolOptions::default()
    });
    let keys: Vec<EntryKey> = (0..3).map(|n| connect(&mut pool, 0, n, at(0))).collect();
    let release = |pool: &mut Pool<u32, u32>, keys: &[EntryKey], now: Instant| {
        let ends: Vec<Option<Instant>> = keys
            .iter()
            .map(|key| {
                assert_eq!(pool.release(*key, now), None);
                pool.idle_deadline(*key)
            })
            .collect();
        ends
    };
    let soon = at(1) + POOL_OVER_CAP_TIME;
    let ends = release(&mut pool, &keys, at(1));
    assert_eq!(ends, [Some(at(91)), Some(at(91)), Some(soon)]);
    // Within that moment it serves as any other.
    assert_eq!(pool.expire(keys[2], at(1)), Some(soon));
    assert_eq!(
        pool.checkout(origin(0), at(1), || 9),
        Checkout::Ready(keys[2])
    );
    assert_eq!(pool.release(keys[2], at(1)), None);
    assert_eq!(pool.expire(keys[2], soon), Some(at(91)));
    assert_eq!(evicted(&mut pool), [0]);

    // Over the total it is the oldest of all hosts.
    let others: Vec<EntryKey> = (3..5).map(|n| connect(&mut pool, 1, n, at(2))).collect();
    let soon = at(2) + POOL_OVER_CAP_TIME;
    let ends = release(&mut pool, &others, at(2));
    assert_eq!(ends, [Some(at(92)), Some(soon)]);
    assert_eq!(pool.expire(others[1], soon), Some(at(92)));
    assert_eq!(evicted(&mut pool), [1]);
    check(&mut pool);
}

#[test]
fn time_and_age_end_idle_connections() {
    let mut pool = pool(PoolOptions {
        idle_timeout: Duration::from_secs(90),
        age_max: Some(Duration::from_secs(800)),
        ..PoolOptions::default()
    });
    let key = connect(&mut pool, 0, 1, at(0));
    pool.release(key, at(0));
    assert_eq!(pool.expire(key, at(89)), Some(at(90)));
    assert_eq!(pool.checkout(origin(0), at(89), || 0), Checkout::Ready(key));
    pool.release(key, at(100));
    assert!(matches!(
        pool.checkout(origin(0), at(190), || 0),
        Checkout::Dial(..)
    ));
    assert_eq!(evicted(&mut pool), [1]);
    assert_eq!(pool.get(key), None);

    let key = connect(&mut pool, 1, 2, at(1_000));
    assert_eq!(pool.release(key, at(1_800)), None);
    assert_eq!(evicted(&mut pool), [2]);
    let key = connect(&mut pool, 1, 3, at(2_000));
    assert_eq!(pool.release(key, at(2_690)), None);
    assert!(pool.is_idle(key), "seven eighths of the age are safe");
    assert!(pool.idle_deadline(key).is_some_and(|end| end <= at(2_780)));
    check(&mut pool);
}

#[test]
fn a_returned_connection_serves_waiters_in_order() {
    let mut pool = pool(PoolOptions::default());
    let key = connect(&mut pool, 0, 1, at(0));
    let Checkout::Dial(_, first) = pool.checkout(origin(0), at(0), || 100) else {
        panic!("expected a dial");
    };
    let Checkout::Dial(second_waiter, second) = pool.checkout(origin(0), at(0), || 101) else {
        panic!("expected a dial");
    };
    // Whichever comes first: here the connection, for the request that came first.
    assert_eq!(pool.release(key, at(1)), Some(100));
    assert_eq!(pool.cancel(second_waiter), Some(101));
    assert_eq!(pool.cancel(second_waiter), None);
    // The dials that lost go into the pool.
    for (dial, value) in [(first, 2), (second, 3)] {
        let (key, waiter) = pool.connected(dial, value, at(2));
        assert_eq!(waiter, None);
        assert!(pool.is_idle(key));
    }
    check(&mut pool);
}

#[test]
fn a_full_host_makes_requests_wait() {
    let mut pool = pool(PoolOptions {
        per_host_max: Some(1),
        ..PoolOptions::default()
    });
    let key = connect(&mut pool, 0, 1, at(0));
    assert!(matches!(
        pool.checkout(origin(0), at(0), || 7),
        Checkout::Wait(_)
    ));
    assert!(matches!(
        pool.checkout(origin(0), at(0), || 8),
        Checkout::Wait(_)
    ));
    assert_eq!(pool.next_dial(), None);
    // The connection dies instead of coming back: the place is used for a dial.
    assert_eq!(pool.remove(key), Some(1));
    let dial = pool.next_dial().expect("a place became free");
    assert_eq!(pool.next_dial(), None);
    // It fails: the first waiter is told, the second gets a dial of its own.
    assert_eq!(pool.dial_failed(dial), Some(7));
    let dial = pool.next_dial().expect("one request still waits");
    let (_, waiter) = pool.connected(dial, 2, at(1));
    assert_eq!(waiter, Some(8));
    check(&mut pool);
}

#[test]
fn a_failed_dial_tells_nobody_who_has_another() {
    let mut pool = pool(PoolOptions::default());
    let key = connect(&mut pool, 0, 1, at(0));
    let Checkout::Dial(_, first) = pool.checkout(origin(0), at(0), || 7) else {
        panic!("expected a dial");
    };
    let Checkout::Dial(_, second) = pool.checkout(origin(0), at(0), || 8) else {
        panic!("expected a dial");
    };
    assert_eq!(pool.release(key, at(0)), Some(7));
    assert_eq!(pool.dial_failed(first), None);
    assert_eq!(pool.dial_failed(second), Some(8));
    check(&mut pool);
}

#[test]
fn hosts_vanish_with_their_last_reference() {
    let mut pool = pool(PoolOptions::default());
    let key = connect(&mut pool, 0, 1, at(0));
    pool.release(key, at(0));
    assert_eq!(pool.stats().hosts, 1);
    pool.evict_idle();
    assert_eq!(pool.stats().hosts, 0);
    assert_eq!(pool.remove(key), None);
    let Checkout::Dial(waiter, dial) = pool.checkout(origin(0), at(0), || 7) else {
        panic!("expected a dial");
    };
    assert_eq!(pool.cancel(waiter), Some(7));
    assert_eq!(pool.stats().hosts, 1, "the dial still knows it");
    assert_eq!(pool.dial_failed(dial), None);
    assert_eq!(pool.stats().hosts, 0);
    check(&mut pool);
}

#[test]
fn without_idle_places_nothing_rests() {
    let mut pool = pool(PoolOptions {
        idle_per_host_max: 0,
        ..PoolOptions::default()
    });
    let key = connect(&mut pool, 0, 1, at(0));
    assert_eq!(pool.release(key, at(0)), None);
    assert_eq!(evicted(&mut pool), [1]);
    check(&mut pool);
}

#[derive(Clone, Debug)]
enum Action {
    Checkout(usize),
    Connected(usize),
    DialFailed(usize),
    Release(usize),
    Remove(usize),
    Cancel(usize),
    Expire(usize),
    Wait(u64),
    EvictIdle,
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..HOSTS.len()).prop_map(Action::Checkout),
        5 => any::<usize>().prop_map(Action::Connected),
        1 => any::<usize>().prop_map(Action::DialFailed),
        5 => any::<usize>().prop_map(Action::Release),
        2 => any::<usize>().prop_map(Action::Remove),
        1 => any::<usize>().prop_map(Action::Cancel),
        2 => any::<usize>().prop_map(Action::Expire),
        2 => (1..40u64).prop_map(Action::Wait),
        1 => Just(Action::EvictIdle),
    ]
}

/// Takes one of `from` by an arbitrary number.
fn pick<X>(from: &mut Vec<X>, number: usize) -> Option<X> {
    (!from.is_empty()).then(|| from.swap_remove(number % from.len()))
}

#[derive(Default)]
struct Model {
    now: u64,
    dials: Vec<Dial>,
    busy: Vec<EntryKey>,
    known: Vec<EntryKey>,
    waiters: Vec<WaiterKey>,
    asked: u32,
    served: u32,
    canceled: u32,
    failed: u32,
}

impl Model {
    fn apply(&mut self, pool: &mut Pool<u32, u32>, action: &Action) {
        let now = at(self.now);
        match *action {
            Action::Checkout(host) => {
                self.asked += 1;
                match pool.checkout(origin(host), now, || 0) {
                    Checkout::Ready(key) => {
                        self.busy.push(key);
                        self.served += 1;
                    }
                    Checkout::Dial(waiter, dial) => {
                        self.waiters.push(waiter);
                        self.dials.push(dial);
                    }
                    Checkout::Wait(waiter) => self.waiters.push(waiter),
                    Checkout::Full => {
                        assert_eq!(pool.stats().waiting, WAITING_MAX);
                        self.failed += 1;
                    }
                }
            }
            Action::Connected(number) => {
                if let Some(dial) = pick(&mut self.dials, number) {
                    let (key, waiter) = pool.connected(dial, 0, now);
                    self.known.push(key);
                    self.give(key, waiter.is_some());
                }
            }
            Action::DialFailed(number) => {
                if let Some(dial) = pick(&mut self.dials, number) {
                    self.failed += u32::from(pool.dial_failed(dial).is_some());
                }
            }
            Action::Release(number) => {
                if let Some(key) = pick(&mut self.busy, number) {
                    let served = pool.release(key, now).is_some();
                    self.give(key, served);
                }
            }
            Action::Remove(number) => {
                if let Some(key) = pick(&mut self.known, number) {
                    self.busy.retain(|busy| *busy != key);
                    pool.remove(key);
                    assert!(pool.remove(key).is_none());
                }
            }
            Action::Cancel(number) => {
                if let Some(key) = pick(&mut self.waiters, number) {
                    self.canceled += u32::from(pool.cancel(key).is_some());
                }
            }
            Action::Expire(number) => {
                if let Some(key) = self.known.get(number % self.known.len().max(1)) {
                    let end = pool.expire(*key, now);
                    assert_eq!(end, pool.idle_deadline(*key));
                    assert!(end.is_none_or(|end| end > now));
                }
            }
            Action::Wait(seconds) => self.now += seconds,
            Action::EvictIdle => pool.evict_idle(),
        }
        self.dials.extend(std::iter::from_fn(|| pool.next_dial()));
    }

    fn give(&mut self, key: EntryKey, served: bool) {
        if served {
            self.served += 1;
            self.busy.push(key);
        }
    }
}

#[test]
fn no_more_wait_than_may() {
    let mut pool = pool(PoolOptions {
        per_host_max: Some(0),
        waiting_max: 2,
        ..PoolOptions::default()
    });
    // No connection at all would be none for ever: it is one.
    let Checkout::Dial(first, dial) = pool.checkout(origin(0), at(0), || 1) else {
        panic!("the first dials");
    };
    assert!(matches!(
        pool.checkout(origin(0), at(0), || 2),
        Checkout::Wait(_)
    ));
    assert_eq!(pool.checkout(origin(0), at(0), || 3), Checkout::Full);
    assert_eq!(pool.checkout(origin(1), at(0), || 3), Checkout::Full);
    assert_eq!(pool.stats().hosts, 1, "a refused request leaves nothing");
    assert_eq!(pool.cancel(first), Some(1));
    assert!(matches!(
        pool.checkout(origin(0), at(0), || 3),
        Checkout::Wait(_)
    ));
    assert_eq!(pool.connected(dial, 7, at(0)).1, Some(2));
    pool.check();
}

#[test]
fn an_age_without_end_is_none() {
    for age_max in [Duration::MAX, Duration::from_secs(u64::MAX / 4)] {
        let mut pool = pool(PoolOptions {
            age_max: Some(age_max),
            ..PoolOptions::default()
        });
        for value in 0..300 {
            let Checkout::Dial(_, dial) = pool.checkout(origin(0), at(0), || 1) else {
                panic!("none rests");
            };
            assert_eq!(pool.connected(dial, value, at(0)).1, Some(1));
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_keeps_the_lists_in_step(
        sequence in proptest::collection::vec(actions(), 1..200),
        per_host_max in proptest::option::of(1..4usize),
        idle_per_host_max in 0..4usize,
        aging in any::<bool>(),
    ) {
        let mut pool = pool(PoolOptions {
            idle_per_host_max,
            idle_max: 5,
            per_host_max,
            waiting_max: WAITING_MAX,
            idle_timeout: Duration::from_secs(50),
            age_max: aging.then_some(Duration::from_secs(120)),
        });
        let mut model = Model::default();
        for action in &sequence {
            model.apply(&mut pool, action);
            check(&mut pool);
            let waiting = pool.stats().waiting as u32;
            prop_assert_eq!(model.asked, model.served + model.canceled + model.failed + waiting);
            prop_assert_eq!(pool.stats().dialing, model.dials.len());
            // What is over a cap has an end that is near.
            let over = pool.stats().idle.saturating_sub(5);
            let soon = at(model.now) + POOL_OVER_CAP_TIME;
            let ending = model.known.iter().filter(|key| {
                pool.idle_deadline(**key).is_some_and(|end| end <= soon)
            });
            prop_assert!(over == 0 || ending.count() >= over);
            // Nobody waits without somebody who will come: a dial or a busy connection.
            prop_assert!(waiting == 0 || model.dials.len() + model.busy.len() > 0);
        }
        let later = at(model.now) + POOL_OVER_CAP_TIME;
        for key in &model.known {
            pool.expire(*key, later);
        }
        check(&mut pool);
        prop_assert!(pool.stats().idle <= 5);
        for (_, host) in &pool.hosts {
            prop_assert!(host.idle.len() <= idle_per_host_max);
        }
    }
}
