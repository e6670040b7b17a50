//! The connection pool: cost per operation, which must not grow with the number of idle
//! connections.

use divan::Bencher;
use divan::black_box;
use roundtrip::client::pool::Checkout;
use roundtrip::client::pool::OriginRef;
use roundtrip::client::pool::Pool;
use roundtrip::client::pool::PoolOptions;
use roundtrip::runtime::Instant;

const IDLE: [usize; 4] = [10, 1_000, 10_000, 100_000];

fn main() {
    divan::main();
}

fn origin(host: &str) -> OriginRef<'_> {
    OriginRef {
        secure: false,
        host,
        port: 80,
        via: None,
    }
}

/// A pool with `idle` connections, spread over as many hosts or all of one.
fn filled(idle: usize, one_host: bool) -> Pool<u64, u64> {
    let mut pool = Pool::new(PoolOptions {
        idle_per_host_max: usize::MAX,
        idle_max: usize::MAX,
        ..PoolOptions::default()
    });
    let mut keys = Vec::new();
    for index in 0..idle {
        let host = host_name(if one_host { 0 } else { index });
        let Checkout::Dial(_, dial) = pool.checkout(origin(&host), Instant::default(), || 0) else {
            unreachable!("nothing rests yet");
        };
        keys.push(pool.connected(dial, 0, Instant::default()).0);
    }
    for key in keys {
        assert!(pool.release(key, Instant::default()).is_none());
    }
    pool
}

fn host_name(index: usize) -> String {
    format!("host-{index}.example")
}

fn checkout_and_release(bencher: Bencher<'_, '_>, idle: usize, one_host: bool) {
    let mut pool = filled(idle, one_host);
    let host = host_name(if one_host { 0 } else { idle / 2 });
    bencher.bench_local(|| {
        match pool.checkout(origin(black_box(&host)), Instant::default(), || 0) {
            Checkout::Ready(key) => assert!(pool.release(key, Instant::default()).is_none()),
            other => panic!("expected an idle connection, got {other:?}"),
        }
    });
}

/// One request on a reused connection, all idle connections to one host.
#[divan::bench(args = IDLE)]
fn reuse_one_host(bencher: Bencher<'_, '_>, idle: usize) {
    checkout_and_release(bencher, idle, true);
}

/// One request on a reused connection, as many hosts as idle connections.
#[divan::bench(args = IDLE)]
fn reuse_many_hosts(bencher: Bencher<'_, '_>, idle: usize) {
    checkout_and_release(bencher, idle, false);
}

/// A request that dials, and whose connection dies afterwards: the host comes and goes.
#[divan::bench(args = IDLE)]
fn dial_and_remove(bencher: Bencher<'_, '_>, idle: usize) {
    let mut pool = filled(idle, false);
    bencher.bench_local(|| {
        let Checkout::Dial(_, dial) =
            pool.checkout(origin(black_box("new.example")), Instant::default(), || 0)
        else {
            panic!("expected a dial");
        };
        let (key, waiter) = pool.connected(dial, 0, Instant::default());
        assert!(waiter.is_some());
        pool.remove(key)
    });
}

/// The time of a connection at rest has come, and it may rest on.
#[divan::bench]
fn expire(bencher: Bencher<'_, '_>) {
    let mut pool = Pool::<u64, u64>::new(PoolOptions::default());
    let now = Instant::default();
    let Checkout::Dial(_, dial) = pool.checkout(origin("host.example"), now, || 0) else {
        panic!("expected a dial");
    };
    let (key, _) = pool.connected(dial, 1, now);
    assert!(pool.release(key, now).is_none());
    bencher.bench_local(|| pool.expire(black_box(key), now));
}
