//! Operations in slots, and timers.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;

use roundtrip::internals::Operation;
use roundtrip::internals::OwnerId;
use roundtrip::internals::Reactor;
use roundtrip::internals::RingOptions;
use roundtrip::internals::Routed;
use roundtrip::internals::TimerHeap;
use roundtrip::internals::Wheel;
use roundtrip::runtime::Instant;

fn main() {
    divan::main();
}

const OWNER: OwnerId = OwnerId(0);

/// One turn: so many empty reads of /dev/null through slots, submitted by one enter.
#[divan::bench(args = [1, 16, 256])]
fn turn(bencher: Bencher<'_, '_>, operations: usize) {
    let now = Instant::from_nanoseconds(0);
    let mut reactor = Reactor::new(RingOptions::WORKER, now).expect("io_uring");
    let file = Arc::new(File::open("/dev/null").expect("/dev/null"));
    let mut buffers: Vec<Vec<u8>> = (0..operations).map(|_| Vec::with_capacity(16)).collect();
    let mut cqes = Vec::new();
    bencher
        .counter(ItemsCount::new(operations))
        .bench_local(|| {
            for buffer in buffers.drain(..) {
                let read = Operation::Read {
                    file: Arc::clone(&file),
                    offset: 0,
                    buffer,
                };
                reactor.submit(-1, None, read, (OWNER, 7));
            }
            while reactor.in_flight() > 0 {
                cqes.clear();
                reactor.turn(now, false, &mut cqes).expect("enter");
                for cqe in &cqes {
                    let Routed::Owner(_, _, completion) = reactor.complete(cqe) else {
                        panic!("not ours");
                    };
                    if let Some(Operation::Read { buffer, .. }) = completion.operation {
                        buffers.push(buffer);
                    }
                }
            }
        });
}

/// A connection made progress: its deadline moves out.
#[divan::bench(args = [1_000, 100_000])]
fn wheel_later(bencher: Bencher<'_, '_>, timers: u64) {
    let (mut wheel, ids) = full_wheel(timers);
    let mut at = 90_000;
    let mut index = 0;
    bencher.bench_local(|| {
        at += 1;
        index = (index + 7919) % ids.len();
        wheel.set(ids[index], milliseconds(at));
    });
}

/// A connection goes from idle to busy: its deadline comes nearer.
#[divan::bench(args = [1_000, 100_000])]
fn wheel_earlier_and_back(bencher: Bencher<'_, '_>, timers: u64) {
    let (mut wheel, ids) = full_wheel(timers);
    let mut index = 0;
    bencher.bench_local(|| {
        index = (index + 7919) % ids.len();
        wheel.set(ids[index], milliseconds(30_000));
        wheel.set(ids[index], milliseconds(90_000));
    });
}

/// Connections come and go.
#[divan::bench(args = [1_000, 100_000])]
fn wheel_insert_and_remove(bencher: Bencher<'_, '_>, timers: u64) {
    let (mut wheel, _) = full_wheel(timers);
    bencher.bench_local(|| {
        let id = wheel.insert(OWNER, 1);
        wheel.set(id, milliseconds(30_000));
        wheel.remove(id);
    });
}

/// A turn in which no deadline passes.
#[divan::bench(args = [1_000, 100_000])]
fn wheel_tick(bencher: Bencher<'_, '_>, timers: u64) {
    let (mut wheel, _) = full_wheel(timers);
    let mut expired = Vec::new();
    let mut now = 0;
    bencher.bench_local(|| {
        // Slowly, so that the timers are not reached.
        now += 1;
        wheel.expire(Instant::from_nanoseconds(now), &mut expired);
        assert!(expired.is_empty());
    });
}

/// A time-out that does not come to pass.
#[divan::bench(args = [16, 10_000])]
fn heap_insert_and_remove(bencher: Bencher<'_, '_>, timers: u64) {
    let mut heap = TimerHeap::new();
    for index in 0..timers {
        heap.insert(milliseconds(1_000 + index), OWNER, index);
    }
    bencher.bench_local(|| {
        let id = heap.insert(milliseconds(5_000), OWNER, 1);
        heap.remove(id);
    });
}

fn full_wheel(timers: u64) -> (Wheel, Vec<roundtrip::internals::TimerId>) {
    let mut wheel = Wheel::new(milliseconds(0));
    let ids: Vec<_> = (0..timers)
        .map(|key| {
            let id = wheel.insert(OWNER, key);
            wheel.set(id, milliseconds(90_000));
            id
        })
        .collect();
    (wheel, ids)
}

fn milliseconds(count: u64) -> Instant {
    Instant::from_nanoseconds(0) + Duration::from_millis(count)
}
