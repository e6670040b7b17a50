//! The client's pool: look-up, reuse, expiry.

use std::time::Duration;

use divan::Bencher;

use roundtrip::client::pool::Checkout;
use roundtrip::client::pool::OriginRef;
use roundtrip::client::pool::Pool;
use roundtrip::client::pool::PoolOptions;
use roundtrip::runtime::Instant;

fn main() {
    divan::main();
}

/// A request on a connection that rests, and back: what every reused connection costs.
#[divan::bench(args = [1, 200])]
fn checkout_and_release(bencher: Bencher<'_, '_>, hosts: usize) {
    let names: Vec<String> = (0..hosts)
        .map(|index| format!("host-{index}.test"))
        .collect();
    let now = Instant::from_nanoseconds(1);
    let mut pool = Pool::<usize, usize>::new(PoolOptions::default());
    for (index, name) in names.iter().enumerate() {
        let Checkout::Dial(_, dial) = pool.checkout(origin(name), now, || 0) else {
            panic!("an empty pool asks for a dial");
        };
        let (key, _) = pool.connected(dial, index, now);
        pool.release(key, now);
    }
    let mut index = 0;
    bencher.bench_local(|| {
        index = (index + 1) % names.len();
        let Checkout::Ready(key) = pool.checkout(origin(&names[index]), now, || 0) else {
            panic!("a resting connection is reused");
        };
        pool.release(key, now)
    });
}

/// A dial, its connection, and its end.
#[divan::bench]
fn dial_and_remove(bencher: Bencher<'_, '_>) {
    let now = Instant::from_nanoseconds(1);
    let mut pool = Pool::<usize, usize>::new(PoolOptions::default());
    bencher.bench_local(|| {
        let Checkout::Dial(_, dial) = pool.checkout(origin("host.test"), now, || 0) else {
            panic!("an empty pool asks for a dial");
        };
        let (key, waiter) = pool.connected(dial, 1, now);
        assert!(waiter.is_some());
        pool.remove(key)
    });
}

/// The pool's one timer, when nothing is too old.
#[divan::bench]
fn expire(bencher: Bencher<'_, '_>) {
    let now = Instant::from_nanoseconds(1);
    let mut pool = Pool::<usize, usize>::new(PoolOptions::default());
    let Checkout::Dial(_, dial) = pool.checkout(origin("host.test"), now, || 0) else {
        panic!("an empty pool asks for a dial");
    };
    let (key, _) = pool.connected(dial, 1, now);
    pool.release(key, now);
    bencher.bench_local(|| pool.expire(now + Duration::from_millis(1)));
}

fn origin(host: &str) -> OriginRef<'_> {
    OriginRef {
        secure: false,
        host,
        port: 80,
    }
}
