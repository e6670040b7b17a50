//! The connection pool: cost per operation, which must not grow with the number of idle
//! connections; and what it is for: requests over loopback sockets with connections that are
//! reused, that the client does not keep, and that the server closes.
//!
//! ```text
//!   this thread: in_flight tasks ──► Client ──► pool ──► sockets ──► Server, on its thread
//! ```

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::thread;

use divan::Bencher;
use divan::black_box;
use divan::counter::ItemsCount;
use roundtrip::Client;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::client::pool::Checkout;
use roundtrip::client::pool::OriginRef;
use roundtrip::client::pool::Pool;
use roundtrip::client::pool::PoolOptions;
use roundtrip::runtime;
use roundtrip::runtime::Instant;
use roundtrip::runtime::Runtime;
use url::Url;

const IDLE: [usize; 4] = [10, 1_000, 10_000, 100_000];

/// Requests at the same time.
const IN_FLIGHT: [usize; 2] = [1, 64];
/// Requests of one task in one iteration: tasks need not wait for each other after each.
const TURNS: usize = 16;
/// The answer to all of them.
const HELLO: &str = "Hello, World!";

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

/// A server with one worker, for as long as this process runs.
fn server() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let router = Router::new()
            .get("/", |_: &Request| HELLO)
            .get("/close", |_: &Request| {
                Response::new().header("Connection", "close").body(HELLO)
            });
        let server = Server::new(router).workers(1).bind("127.0.0.1:0");
        let server = server.expect("a free port");
        let address = server.handle().local_addr().expect("it is bound");
        thread::spawn(move || server.run().expect("it serves"));
        address
    })
}

async fn get(client: Client, url: Url) -> Result<()> {
    for _ in 0..TURNS {
        let response = client.get(&url).send().await?;
        assert_eq!(response.status_code(), 200);
        assert_eq!(response.bytes().await?, HELLO);
    }
    Ok(())
}

/// Requests in so many tasks side by side, on one core that goes on between the iterations.
fn requests(bencher: Bencher<'_, '_>, client: Client, path: &str, in_flight: usize) {
    let url = Url::parse(&format!("http://{}{path}", server())).expect("a URL");
    let runtime = Runtime::new().expect("io_uring");
    let iteration = || {
        let all = runtime.block_on(async {
            let start = |_| runtime::spawn(get(client.clone(), url.clone()));
            let tasks: Vec<_> = (0..in_flight).map(start).collect();
            for task in tasks {
                task.await??;
            }
            Ok::<(), roundtrip::Error>(())
        });
        all.expect("the core runs").expect("each is answered");
    };
    iteration();
    bencher
        .counter(ItemsCount::new(in_flight * TURNS))
        .bench_local(iteration);
}

fn pooled(in_flight: usize) -> Client {
    Client::builder().idle_per_host_max(in_flight).build()
}

/// Connections serve request after request.
#[divan::bench(args = IN_FLIGHT)]
fn request_reused(bencher: Bencher<'_, '_>, in_flight: usize) {
    requests(bencher, pooled(in_flight), "/", in_flight);
}

/// The client keeps no connection, and says so. As few as there are port numbers for: each is taken
/// for a minute.
#[divan::bench(args = IN_FLIGHT, sample_count = 20, sample_size = 1)]
fn request_not_kept(bencher: Bencher<'_, '_>, in_flight: usize) {
    let client = Client::builder().keep_alive(false).build();
    requests(bencher, client, "/", in_flight);
}

/// The server answers `Connection: close`. As few as above.
#[divan::bench(args = IN_FLIGHT, sample_count = 20, sample_size = 1)]
fn request_closed_by_server(bencher: Bencher<'_, '_>, in_flight: usize) {
    requests(bencher, pooled(in_flight), "/close", in_flight);
}
