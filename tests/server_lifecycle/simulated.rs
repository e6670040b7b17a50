//! Time-outs, rates and ages by the clock of the simulated kernel: hours in milliseconds.
//!
//! ```text
//!   Slow (head, body, reader, silent) ─► server ◄─ a normal client
//!            └── cut at its time-out ──┘
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files;
use roundtrip::runtime;
use roundtrip::runtime::Instant;
use roundtrip::server::Statistics;
use roundtrip::simulation;
use roundtrip::simulation::Peer;
use roundtrip::simulation::PeerIo;
use roundtrip::simulation::PeerReceived;
use roundtrip::simulation::PeerSent;
use roundtrip::simulation::PeerSocket;
use roundtrip::simulation::Simulation;

const URL: &str = "http://127.0.0.1/";
const SECOND: Duration = Duration::from_secs(1);
const BIG_BYTES: usize = 4 << 20;

/// What a peer does: what it sends at once, what it sends then and how often, and how it reads.
#[derive(Clone, Copy)]
struct Manner {
    first: &'static [u8],
    then: &'static [u8],
    every: Duration,
    /// Bytes read each time; `None` is all there is, at once.
    reads: Option<usize>,
}

const SILENT: Manner = Manner {
    first: b"",
    then: b"",
    every: SECOND,
    reads: None,
};

/// A byte of a head now and then.
const SLOW_HEAD: Manner = Manner {
    first: b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
    then: b"a",
    every: Duration::from_secs(5),
    reads: None,
};

/// A byte of a body, always just before the time-out.
const SLOW_BODY: Manner = Manner {
    first: b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
    then: b"a",
    every: Duration::from_secs(29),
    reads: None,
};

/// Reads a byte of a response, always just before the time-out.
const SLOW_READER: Manner = Manner {
    first: b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
    then: b"",
    every: Duration::from_secs(29),
    reads: Some(1),
};

/// What has become of a peer.
#[derive(Default)]
struct Fate {
    ended_after: Cell<Option<Duration>>,
    received: Cell<usize>,
    status: Cell<u16>,
}

struct Slow {
    manner: Manner,
    fate: Rc<Fate>,
    began: Option<Instant>,
    socket: Option<PeerSocket>,
    next: Instant,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
}

impl Slow {
    fn add(manner: Manner) -> Rc<Fate> {
        let fate = Rc::new(Fate::default());
        simulation::add_peer(Slow {
            manner,
            fate: Rc::clone(&fate),
            began: None,
            socket: None,
            next: Instant::default(),
            outbox: manner.first.to_vec(),
            inbox: Vec::new(),
        });
        fate
    }

    /// False at the end of the connection.
    fn receive(&mut self, io: &mut PeerIo<'_>, socket: PeerSocket, bytes_max: usize) -> bool {
        let goes_on = match io.receive(socket, &mut self.inbox, bytes_max) {
            PeerReceived::Bytes(bytes) => {
                self.fate.received.set(self.fate.received.get() + bytes);
                true
            }
            PeerReceived::Nothing => true,
            PeerReceived::End | PeerReceived::Reset => false,
        };
        if self.fate.status.get() == 0 && self.inbox.len() >= 12 {
            let digits = std::str::from_utf8(&self.inbox[9..12]).unwrap();
            self.fate.status.set(digits.parse().unwrap());
        }
        self.inbox.truncate(12);
        goes_on
    }
}

impl Peer for Slow {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        let Some(socket) = self.socket else {
            self.began = Some(io.now());
            self.socket = Some(io.connect("127.0.0.1:80".parse().unwrap()));
            return true;
        };
        if !io.is_connected(socket) && self.next == Instant::default() {
            return true;
        }
        if self.next == Instant::default() {
            self.next = io.now() + self.manner.every;
            io.wake_in(self.manner.every);
        }
        let is_due = io.now() >= self.next;
        if is_due {
            self.next = io.now() + self.manner.every;
            io.wake_in(self.manner.every);
            self.outbox.extend_from_slice(self.manner.then);
        }
        let mut goes_on = true;
        if let PeerSent::Bytes(bytes) = io.send(socket, &self.outbox) {
            self.outbox.drain(..bytes);
        }
        match self.manner.reads {
            None => goes_on = self.receive(io, socket, 64 * 1024),
            Some(bytes) if is_due => goes_on = self.receive(io, socket, bytes),
            Some(_) => {}
        }
        if !goes_on {
            let began = self.began.expect("it has begun");
            self.fate.ended_after.set(Some(io.now().since(began)));
            io.close(socket);
        }
        goes_on
    }
}

fn router() -> Router {
    Router::new()
        .get("/files/", files::serve("/srv"))
        .get("/{$}", |_: &Request| "hello")
        .get("/big", |_: &Request| vec![b'x'; BIG_BYTES])
        .post("/length", async |r: Request| {
            Ok::<_, Error>(r.into_body().bytes().await?.len().to_string())
        })
        // Reads a piece, then does something else for longer than any time-out.
        .post("/busy", async |r: Request| {
            let mut body = r.into_body();
            let mut len = 0;
            while let Some(chunk) = body.chunk().await {
                len += chunk?.len();
                runtime::sleep(Duration::from_secs(45)).await;
            }
            Ok::<_, Error>(len.to_string())
        })
        .get("/wait", async |_: Request| {
            runtime::sleep(Duration::from_secs(100)).await;
            "waited"
        })
}

/// Runs `program` beside a server, and hands out what the server counted at its end.
fn serve<F>(
    knobs: impl FnOnce(Server) -> Server,
    program: impl FnOnce(roundtrip::server::ServerHandle) -> F,
) -> Statistics
where
    F: Future<Output = Result<(), Error>>,
{
    let simulation = Simulation::new(1).file("/srv/film", vec![b'x'; BIG_BYTES]);
    let report = simulation.run(async {
        let server = knobs(Server::new(router()).bind("127.0.0.1:80")?);
        let handle = server.handle();
        let serving = runtime::spawn(server.run_here());
        program(handle.clone()).await?;
        let statistics = handle.statistics();
        handle.shutdown();
        serving.await??;
        Ok::<_, Error>(statistics)
    });
    report.unwrap().unwrap()
}

fn seconds(fate: &Fate) -> f64 {
    let ended = fate.ended_after.get().expect("its connection has ended");
    ended.as_secs_f64()
}

/// Slow heads, bodies and reads, a thousand together: none outlasts its time-out, and a client that
/// behaves does not notice.
#[test]
fn a_thousand_slow_connections_are_cut_while_another_is_served() {
    let knobs = |server: Server| server;
    let statistics = serve(knobs, async |handle| {
        let kinds = [SLOW_HEAD, SLOW_BODY, SLOW_READER, SILENT];
        let fates: Vec<Rc<Fate>> = (0..1_000).map(|i| Slow::add(kinds[i % 4])).collect();
        let client = Client::new();
        for second in 0..40 {
            let began = simulation::now();
            let text = client.get(URL).send().await?.text().await?;
            assert_eq!(text, "hello");
            let taken = simulation::now().since(began);
            assert!(taken < Duration::from_millis(50), "{taken:?} at {second}");
            if second == 25 {
                assert_eq!(handle.statistics().connections_open, 1_001);
            }
            runtime::sleep(SECOND).await;
        }
        assert_eq!(handle.statistics().connections_open, 1);
        for (index, fate) in fates.iter().enumerate() {
            match index % 4 {
                0 => assert_eq!(fate.status.get(), 408),
                1 => assert_eq!(fate.status.get(), 408, "the handler answers for its body"),
                2 => assert!(fate.received.get() < 3, "{}", fate.received.get()),
                _ => assert_eq!(fate.received.get(), 0),
            }
            if index % 4 != 2 {
                assert!((29.9..31.5).contains(&seconds(fate)), "{}", seconds(fate));
            }
        }
        Ok(())
    });
    assert_eq!(statistics.header_timeouts, 500);
    assert_eq!(statistics.body_timeouts, 250);
    assert_eq!(statistics.write_timeouts, 250);
    assert_eq!(statistics.idle_timeouts, 0);
}

/// Faster than the least rate is fast enough, however long it takes.
#[test]
fn what_keeps_the_rate_is_not_cut() {
    // 10,000 bytes, 500 each two seconds: 250 per second.
    const PIECE: &[u8] = &[b'a'; 500];
    let body = Manner {
        first: b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\nConnection: close\r\n\r\n",
        then: PIECE,
        every: Duration::from_secs(2),
        reads: None,
    };
    let reader = Manner {
        first: b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        then: b"",
        every: Duration::from_secs(20),
        reads: Some(20 * 250),
    };
    // 4 MiB at 250 bytes per second take four hours and a half.
    let statistics = serve(
        |server| server,
        async |_| {
            let (body, reader) = (Slow::add(body), Slow::add(reader));
            runtime::sleep(Duration::from_secs(6 * 3_600)).await;
            assert_eq!(body.status.get(), 200);
            assert!((39.0..45.0).contains(&seconds(&body)), "{}", seconds(&body));
            assert_eq!(reader.status.get(), 200);
            assert!(reader.received.get() > BIG_BYTES);
            Ok(())
        },
    );
    assert_eq!(statistics.body_timeouts, 0);
    assert_eq!(statistics.write_timeouts, 0);
}

/// Slower than the least rate is cut once the credit is used up, not before and not much later.
#[test]
fn what_is_slower_than_the_rate_is_cut_when_its_credit_is_gone() {
    // 120 bytes per second, half the rate: the credit of 30 s is gone after 60 s.
    const PIECE: &[u8] = &[b'a'; 120];
    let body = Manner {
        then: PIECE,
        every: SECOND,
        ..SLOW_BODY
    };
    let statistics = serve(
        |server| server,
        async |_| {
            let body = Slow::add(body);
            runtime::sleep(Duration::from_secs(70)).await;
            assert_eq!(body.status.get(), 408);
            assert!((58.0..62.0).contains(&seconds(&body)), "{}", seconds(&body));
            Ok(())
        },
    );
    assert_eq!(statistics.body_timeouts, 1);
}

/// A player that is paused for two and a half minutes, again and again, sees its film to the end. What is
/// no file is cut as ever, and so is who never goes on.
#[test]
fn a_player_may_be_paused() {
    let paused = |first, reads| {
        Slow::add(Manner {
            first,
            every: Duration::from_secs(150),
            reads: Some(reads),
            ..SLOW_READER
        })
    };
    const FILM: &[u8] = b"GET /files/film HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    const PART: &[u8] = b"GET /files/film HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
        Range: bytes=0-999999,1500000-4000000\r\n\r\n";
    let statistics = serve(
        |server| server,
        async |handle| {
            let fates = [paused(FILM, BIG_BYTES), paused(PART, BIG_BYTES)];
            let page = paused(SLOW_READER.first, BIG_BYTES);
            let lost = paused(FILM, 1);
            runtime::sleep(Duration::from_secs(60)).await;
            assert_eq!(handle.statistics().write_timeouts, 1);
            runtime::sleep(Duration::from_secs(20_000)).await;
            for fate in fates {
                assert!(fate.received.get() > 3_000_000, "{}", fate.received.get());
            }
            assert!(page.received.get() < BIG_BYTES && lost.received.get() < BIG_BYTES);
            Ok(())
        },
    );
    assert_eq!(
        (statistics.write_timeouts, statistics.connections_open),
        (2, 0)
    );
}

/// The reader too; of it, what the sockets hold comes on top.
#[test]
fn a_reader_slower_than_the_rate_is_cut() {
    let reader = Manner {
        every: SECOND,
        reads: Some(120),
        ..SLOW_READER
    };
    let statistics = serve(
        |server| server,
        async |handle| {
            Slow::add(reader);
            runtime::sleep(Duration::from_secs(58)).await;
            assert_eq!(handle.statistics().write_timeouts, 0);
            runtime::sleep(Duration::from_secs(5)).await;
            assert_eq!(handle.statistics().write_timeouts, 1);
            Ok(())
        },
    );
    assert_eq!(statistics.connections_open, 0);
}

/// Zero is no rate: any progress does, as long as it comes in time.
#[test]
fn without_a_rate_any_progress_does() {
    let knobs = |server: Server| {
        server
            .body_bytes_per_second_min(0)
            .write_bytes_per_second_min(0)
    };
    let statistics = serve(knobs, async |handle| {
        let (body, reader) = (Slow::add(SLOW_BODY), Slow::add(SLOW_READER));
        runtime::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(handle.statistics().connections_open, 2);
        assert_eq!(body.ended_after.get(), None);
        assert!(reader.received.get() > 100);
        Ok(())
    });
    assert_eq!(statistics.body_timeouts, 0);
}

/// Whose handler takes its time is not slow, and does not get a new credit by it either.
#[test]
fn the_time_of_the_handler_is_not_counted() {
    let eager = Manner {
        first:
            b"POST /busy HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab",
        then: b"c",
        every: Duration::from_secs(10),
        reads: None,
    };
    // A byte only when 20 s of the credit have gone, each time.
    let lazy = Manner {
        first: b"POST /busy HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
        then: b"c",
        every: Duration::from_secs(65),
        reads: None,
    };
    let knobs = |server: Server| server.body_timeout(Duration::from_secs(70));
    let statistics = serve(knobs, async |_| {
        let (eager, lazy) = (Slow::add(eager), Slow::add(lazy));
        runtime::sleep(Duration::from_secs(1_000)).await;
        assert_eq!(eager.status.get(), 200);
        assert_eq!(lazy.status.get(), 408);
        Ok(())
    });
    assert_eq!(statistics.body_timeouts, 1);
}

/// The idle time-out ends a kept connection without a word; the header time-out begins with the
/// first byte of the next request, not with the wait for it.
#[test]
fn a_kept_connection_has_its_own_time_out() {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let idle = Manner {
        first: GET,
        ..SILENT
    };
    let late = Manner {
        first: GET,
        then: b"G",
        every: Duration::from_secs(80),
        reads: None,
    };
    let regular = Manner {
        first: GET,
        then: GET,
        every: Duration::from_secs(80),
        reads: None,
    };
    let statistics = serve(
        |server| server,
        async |_| {
            let (idle, late, regular) = (Slow::add(idle), Slow::add(late), Slow::add(regular));
            runtime::sleep(Duration::from_secs(500)).await;
            assert!((90.0..91.0).contains(&seconds(&idle)), "{}", seconds(&idle));
            assert_eq!(regular.received.get(), 7 * idle.received.get());
            // 80 s of idling, then 30 s for its head.
            assert!(
                (110.0..112.0).contains(&seconds(&late)),
                "{}",
                seconds(&late)
            );
            assert_eq!(regular.ended_after.get(), None);
            Ok(())
        },
    );
    assert_eq!(statistics.idle_timeouts, 1);
    assert_eq!(statistics.header_timeouts, 1);
    assert_eq!(statistics.connections_open, 1);
}

/// A connection gets as old as it may, within ten percent: idle ones are closed then, others with
/// their next response. No request is lost.
#[test]
fn connections_end_at_their_age() {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let regular = Manner {
        first: GET,
        then: GET,
        every: Duration::from_secs(7),
        reads: None,
    };
    let idle = Manner {
        first: GET,
        ..SILENT
    };
    let knobs = |server: Server| {
        server
            .connection_age_max(Duration::from_secs(1_000))
            .idle_timeout(Duration::from_secs(10_000))
    };
    let statistics = serve(knobs, async |_| {
        let fates: Vec<Rc<Fate>> = (0..100)
            .map(|index| Slow::add([regular, idle][index % 2]))
            .collect();
        let client = Client::new();
        for _ in 0..1_300 {
            assert_eq!(client.get(URL).send().await?.text().await?, "hello");
            runtime::sleep(SECOND).await;
        }
        let ends: Vec<f64> = fates.iter().map(|fate| seconds(fate)).collect();
        let (least, most) = (
            ends.iter().copied().fold(f64::MAX, f64::min),
            ends.iter().copied().fold(0.0, f64::max),
        );
        assert!(least >= 900.0 && most <= 1_108.0, "{least} to {most}");
        assert!(most - least > 100.0, "spread over {least} to {most}");
        Ok(())
    });
    assert_eq!(statistics.connections_retired, 101);
    assert_eq!(statistics.idle_timeouts, 0);
}

/// A new connection is given a moment when the server ends; one that idles is not.
#[test]
fn a_shutdown_waits_a_moment_for_new_connections() {
    let report = Simulation::new(1).run(async {
        let server = Server::new(router()).bind("127.0.0.1:80")?;
        let handle = server.handle();
        let serving = runtime::spawn(server.run_here());
        let silent = Slow::add(SILENT);
        let idle = Slow::add(Manner {
            first: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            ..SILENT
        });
        runtime::sleep(Duration::from_secs(2)).await;
        let busy = runtime::spawn(async {
            let client = Client::new();
            client.get(format!("{URL}wait")).send().await?.text().await
        });
        runtime::sleep(SECOND).await;
        let began = simulation::now();
        handle.shutdown();
        serving.await??;
        let taken = simulation::now().since(began).as_secs_f64();
        // The deadline: the request that runs would take longer.
        assert!((30.0..31.0).contains(&taken), "{taken}");
        assert!((3.0..3.1).contains(&seconds(&idle)), "{}", seconds(&idle));
        assert!(
            (4.0..4.1).contains(&seconds(&silent)),
            "{}",
            seconds(&silent)
        );
        assert!(busy.await?.is_err());
        Ok::<_, Error>(())
    });
    report.unwrap().unwrap();
}

/// One time-out covers the PROXY header and the first head: neither renews it.
#[test]
fn a_proxy_header_has_no_time_of_its_own() {
    let trickled = Manner {
        first: b"PROXY UNKNOWN ",
        then: b"a",
        every: SECOND,
        reads: None,
    };
    // The header is complete after 20 s.
    let late = Manner {
        first: b"PROXY UNKNOWN",
        then: b"\r\n",
        every: Duration::from_secs(20),
        reads: None,
    };
    let slow_head = Manner {
        first: b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nX: ",
        ..SLOW_HEAD
    };
    let good = Manner {
        first: b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ..SILENT
    };
    let knobs = |server: Server| server.proxy_protocol(["127.0.0.0/8"]).unwrap();
    let statistics = serve(knobs, async |_| {
        let cut = [SILENT, trickled, late, slow_head].map(Slow::add);
        let good = Slow::add(good);
        runtime::sleep(Duration::from_secs(40)).await;
        for fate in &cut {
            assert!((29.9..31.5).contains(&seconds(fate)), "{}", seconds(fate));
        }
        let statuses = cut.each_ref().map(|fate| fate.status.get());
        assert_eq!(statuses, [0, 0, 0, 408], "only HTTP is answered");
        assert_eq!((good.status.get(), good.ended_after.get()), (200, None));
        Ok(())
    });
    assert_eq!(statistics.header_timeouts, 4);
    assert_eq!(statistics.connections_refused, 2);
}
