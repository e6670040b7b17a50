//! Anything in any order: no panic, nothing that waits for ever, nothing counted that is gone.

use std::any::Any;
use std::cell::RefCell;
use std::time::Duration;

use ::http::StatusCode;
use bytes::Bytes;

use crate::error::Error;
use crate::http::body::Body;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::net::Receive;
use crate::server::h1::tests::Bench;
use crate::server::h1::tests::release;
use crate::server::h1::tests::released;
use crate::server::h1::tests::stream;
use crate::server::options::Options;
use crate::server::router::Router;
use crate::server::upgrade::Duplex;

thread_local! {
    /// What handlers left behind.
    static LEFT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    static REQUESTS: RefCell<Vec<Request>> = const { RefCell::new(Vec::new()) };
}

fn leave(what: impl Any) {
    LEFT.with_borrow_mut(|left| left.push(Box::new(what)));
}

fn routes() -> Router {
    let late = Router::new()
        .handler_timeout(Duration::from_secs(3))
        .body_bytes_max(7)
        .any("/late", async |mut r: Request| {
            let _ = r.inform(StatusCode::EARLY_HINTS, [("Link", "x")]);
            let _ = r.body_mut().chunk().await;
            released().await;
            "late"
        })
        .any("/late-stream", async |_: Request| {
            let body = Body::produce(async |sender: &mut crate::http::incoming::Sender| {
                sender.send(Bytes::from_static(b"ab")).await?;
                released().await;
                Ok(())
            });
            Response::new().body(body)
        });
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .any("/inline", |_: &Request| "inline")
        .any("/panic", async |_: Request| -> &'static str {
            panic!("a handler that fails")
        })
        .any("/abort", async |_: Request| Response::abort())
        .any("/abort-later", async |r: Request| {
            let _ = r.into_body().bytes().await;
            released().await;
            Response::abort()
        })
        .any("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
        .any("/keep-body", async |r: Request| {
            leave(r.into_body());
            "kept"
        })
        .any("/keep-request", async |r: Request| {
            let _ = r.inform(StatusCode::EARLY_HINTS, [("Link", "x")]);
            REQUESTS.with_borrow_mut(|all| all.push(r));
            released().await;
            "kept"
        })
        .any("/read", async |r: Request| {
            let body = r.into_body().bytes().await?;
            Ok::<_, Error>(body.len().to_string())
        })
        .any("/gone", async |r: Request| {
            r.disconnected().await;
            "gone"
        })
        .any("/stream", async |_: Request| {
            Response::new().body(stream(&["ab", "cde"]))
        })
        .any("/big", |_: &Request| vec![b'x'; 300_000])
        .merge(late)
        .merge(upgrading())
}

fn upgrading() -> Router {
    Router::new()
        .any("/upgrade", |_: &Request| {
            Response::upgrade("echo", async |mut duplex: Duplex| {
                while let Some(bytes) = duplex.read().await? {
                    duplex.write(bytes).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .any("/upgrade-later", async |r: Request| {
            let _ = r.into_body().bytes().await;
            released().await;
            Response::upgrade("echo", async |duplex: Duplex| {
                let (reader, writer) = duplex.split();
                leave(reader);
                released().await;
                drop(writer);
            })
        })
}

/// Runs, each of them other events.
const SEEDS: u64 = 3_000;

const PATHS: [&str; 19] = [
    "/",
    "/inline",
    "/panic",
    "/abort",
    "/abort-later",
    "/echo",
    "/keep-body",
    "/keep-request",
    "/read",
    "/gone",
    "/upgrade",
    "/upgrade-later",
    "/stream",
    "/late",
    "/late-stream",
    "/nowhere",
    "//",
    "/big",
    "/inline",
];

struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % count
    }
}

fn some_request(random: &mut Random) -> Vec<u8> {
    let path = PATHS[random.below(PATHS.len())];
    let method =
        ["GET", "POST", "HEAD", "OPTIONS", "CONNECT"][[0, 0, 1, 1, 1, 2, 3][random.below(7)]];
    let mut text = format!(
        "{method} {path} HTTP/1.{}\r\nHost: a\r\n",
        usize::from(random.below(8) > 0)
    );
    if random.below(4) == 0 || path.starts_with("/upgrade") {
        text += "Connection: upgrade\r\nUpgrade: echo\r\n";
    }
    if random.below(10) == 0 {
        text += "Connection: close\r\n";
    }
    if random.below(4) == 0 {
        text += "Expect: 100-continue\r\n";
    }
    match random.below(8) {
        0 | 1 => text += "Content-Length: 5\r\n\r\nabcde",
        2 => {
            text += "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: x\r\n\r\n"
        }
        3 => text += "Content-Length: 100000\r\n\r\nab",
        4 => text += "Transfer-Encoding: chunked\r\n\r\n9\r\nabc\r\n",
        _ => text += "\r\n",
    }
    if random.below(30) == 0 {
        text += "x y\r\n\r\n";
    }
    text.into_bytes()
}

fn some_options(random: &mut Random) -> Options {
    let seconds = Duration::from_secs;
    let mut options = Options::default();
    if random.below(2) == 0 {
        options.handler_timeout = Some(seconds(5));
    }
    if random.below(3) == 0 {
        options.body_bytes_max = Some(50_000);
    }
    if random.below(3) == 0 {
        options.requests_in_flight_max = Some(random.below(2));
    }
    if random.below(3) == 0 {
        options.requests_per_connection_max = Some(random.below(4) as u64);
    }
    if random.below(3) == 0 {
        options.connection_age_max = Some(seconds(random.below(20) as u64));
    }
    if random.below(4) == 0 {
        options.pipelined_bytes_max = random.below(100);
    }
    if random.below(4) == 0 {
        options.body_bytes_per_second_min = 0;
    }
    options
}

/// What the connection waits for: it must have a deadline, or somebody who wakes it.
fn check_waits(bench: &mut Bench, is_eof: bool, seed: u64, at: usize) {
    let connection = &mut bench.connection;
    if bench.end.is_some() || bench.successor.is_some() {
        return;
    }
    let is_held = connection
        .exchange
        .body()
        .is_some_and(|body| body.is_held());
    let rests = !connection.exchange.is_running() && !is_held && bench.io.pending_bytes() == 0;
    if rests {
        assert!(
            bench.io.deadline().is_some(),
            "seed {seed} at {at}: no deadline"
        );
        let hears = bench.io.receive() != Receive::Paused || !connection.behind.is_empty();
        assert!(hears || is_eof, "seed {seed} at {at}: deaf");
    }
}

/// A piece of what the client has to say, if the connection hears it.
fn send_some(bench: &mut Bench, random: &mut Random, input: &mut Vec<u8>) {
    if input.is_empty() || random.below(3) == 0 {
        input.extend(some_request(random));
    }
    let count = match random.below(3) {
        0 => 1 + random.below(input.len()),
        1 => input.len(),
        _ => 1 + random.below(input.len().min(10)),
    };
    if bench.io.receive() != Receive::Paused {
        let piece: Vec<u8> = input.drain(..count).collect();
        match random.below(2) {
            0 => bench.recv(&piece),
            _ => bench.recv_owned(&piece),
        };
    }
}

/// What the output was full for has gone.
fn go_on(bench: &mut Bench) {
    while bench.end.is_none() && bench.io.take_due_sent() {
        bench.call(|protocol, io| protocol.on_sent(io));
    }
}

fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let options = some_options(&mut random);
    let mut bench = Bench::routed(routes(), options);
    let worker = std::rc::Rc::clone(&bench.connection.worker);
    worker.counters.count_accepted();
    let mut input: Vec<u8> = Vec::new();
    let mut is_eof = false;
    for at in 0..60 {
        if bench.end.is_some() {
            break;
        }
        let event = random.below(20);
        match event {
            0..=8 if !is_eof => send_some(&mut bench, &mut random, &mut input),
            9 if !is_eof && random.below(4) == 0 => {
                is_eof = true;
                bench.eof();
            }
            10 => {
                release();
                bench.ready();
            }
            11 => {
                drop(LEFT.take());
                bench.ready();
            }
            12 => {
                for request in REQUESTS.take() {
                    let _ = request.inform(StatusCode::EARLY_HINTS, [("Link", "y")]);
                    drop(request);
                }
                bench.ready();
            }
            13 | 14 => {
                let later = bench.io.now() + Duration::from_millis(random.below(4_000) as u64);
                bench.io.set_now(later, 784_111_777);
            }
            15 => {
                if let Some(deadline) = bench.io.deadline() {
                    let now = bench.io.now().max(deadline);
                    bench.io.set_now(now, 784_111_777);
                    bench.io.set_deadline(None);
                    bench.call(|protocol, io| protocol.on_deadline(io));
                }
            }
            16 if random.below(10) == 0 => {
                worker.begin_shutdown();
                bench.ready();
            }
            _ => {
                bench.ready();
            }
        }
        go_on(&mut bench);
        check_waits(&mut bench, is_eof, seed, at);
        bench.sent.clear();
    }
    bench.call_closed();
    let mut sum = crate::server::statistics::Statistics::default();
    worker.counters.add_to(&mut sum);
    assert_eq!(sum.requests_in_flight, 0, "seed {seed}");
    assert_eq!(sum.connections_open, 0, "seed {seed}");
    drop(bench);
    drop((LEFT.take(), REQUESTS.take()));
    assert_eq!(std::rc::Rc::strong_count(&worker), 1, "seed {seed}");
}

#[test]
fn anything_in_any_order() {
    for seed in 1..=SEEDS {
        run(seed);
    }
}
