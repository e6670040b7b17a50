//! The access log against outputs that stall, fail and panic.

use std::collections::VecDeque;
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use ::http::Method;
use ::http::Version;

use crate::limits::ACCESS_LOG_TARGET_BYTES_MAX;
use crate::runtime::Instant;
use crate::server::access_log::AccessLog;
use crate::server::access_log::Ended;
use crate::server::access_log::Line;

/// Writes into memory that the test can see; waits for a permit before each write, if any.
struct Sink {
    written: Arc<Mutex<Vec<u8>>>,
    permits: Option<mpsc::Receiver<()>>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(permits) = &self.permits {
            permits
                .recv()
                .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn line(target: &str) -> Line {
    let peer = Some("127.0.0.1:9".parse().unwrap());
    let request = Some((&Method::GET, target, Version::HTTP_11));
    Line::begin(peer, request, Instant::default(), 784_111_777)
}

#[test]
fn a_line_is_in_common_log_format() {
    let written = Arc::default();
    let log = AccessLog::start(Sink {
        written: Arc::clone(&written),
        permits: None,
    })
    .unwrap();
    let later = Instant::default() + Duration::from_micros(1_000_212);
    let worker = log.for_worker();
    let mut routed = line("/a\"b\\c\n");
    routed.set_pattern("GET /{\"");
    routed.set_pattern("GET /{ä}");
    worker.write(routed, 200, 13, later, Ended::Complete);
    let nobody = Line::begin(None, None, Instant::default(), 0);
    worker.write(nobody, 400, 0, Instant::default(), Ended::PeerGone);
    log.stop();
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert_eq!(
        text,
        "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a\\x22b\\x5cc\\x0a HTTP/1.1\" 200 13 1.000212 \
             \"GET /{\\xc3\\xa4}\" complete\n\
         - - - [01/Jan/1970:00:00:00 +0000] \"-\" 400 0 0.000000 \"-\" peer-gone\n"
    );
    assert_eq!(log.dropped(), 0);
}

#[test]
fn a_long_target_is_cut() {
    let line = line(&"x".repeat(ACCESS_LOG_TARGET_BYTES_MAX + 1));
    let text = String::from_utf8(line.text).unwrap();
    assert!(text.ends_with("xxx... HTTP/1.1\" "), "{text}");
}

#[test]
fn a_stalled_writer_costs_lines_and_no_time() {
    let written = Arc::default();
    let (permit, permits) = mpsc::channel();
    let sink = Sink {
        written: Arc::clone(&written),
        permits: Some(permits),
    };
    let log = AccessLog::with_lines_max(sink, 4).unwrap();
    let worker = log.for_worker();
    for _ in 0..100 {
        worker.write(line("/"), 200, 0, Instant::default(), Ended::Complete);
    }
    // The writer may have taken up to four lines before it stalled, and four wait.
    let dropped = log.dropped();
    assert!((92..=96).contains(&dropped), "{dropped}");
    for _ in 0..100 {
        permit.send(()).unwrap();
    }
    log.stop();
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("GET").count() as u64 + dropped, 100);
    // In one line, or in two, of what was lost before it took some and after.
    let told = text.lines().filter_map(|line| line.strip_prefix("# "));
    let told = told.map(|line| line.strip_suffix(" lines lost").unwrap());
    let sum: u64 = told.map(|count| count.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, dropped, "{text}");
}

/// What an output does with the next call.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// It takes so many bytes at most.
    Takes(usize),
    /// A write fails.
    Fails(io::ErrorKind),
    /// It takes nothing, and says so.
    TakesNone,
    /// A flush fails.
    FlushFails(io::ErrorKind),
}

/// Does what a script says, then takes all.
struct Scripted {
    written: Arc<Mutex<Vec<u8>>>,
    script: VecDeque<Answer>,
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self.script.front() {
            Some(Answer::Takes(most)) => bytes.len().min(*most),
            Some(Answer::TakesNone) => 0,
            Some(Answer::Fails(kind)) => {
                let error = io::Error::from(*kind);
                self.script.pop_front();
                return Err(error);
            }
            Some(Answer::FlushFails(_)) | None => bytes.len(),
        };
        if matches!(
            self.script.front(),
            Some(Answer::Takes(_) | Answer::TakesNone)
        ) {
            self.script.pop_front();
        }
        self.written
            .lock()
            .unwrap()
            .extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.script.front() {
            Some(Answer::FlushFails(kind)) => {
                let error = io::Error::from(*kind);
                self.script.pop_front();
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

/// A real thread and a real clock are outside of the simulation, and no table of the kernel is: each
/// way in which a write fails is one answer of a script.
#[test]
fn what_fails_is_tried_again_and_no_line_is_cut() {
    use Answer::Fails;
    use Answer::FlushFails;
    use Answer::Takes;
    use Answer::TakesNone;
    let (again, full, broken) = (
        io::ErrorKind::WouldBlock,
        io::ErrorKind::StorageFull,
        io::ErrorKind::BrokenPipe,
    );
    let cases: &[(&[Answer], u64)] = &[
        (&[], 0),
        (&[Fails(again), Fails(again), Takes(7), Fails(again)], 0),
        (
            &[
                Takes(1),
                Fails(io::ErrorKind::Interrupted),
                Takes(3),
                Fails(io::ErrorKind::Interrupted),
            ],
            0,
        ),
        (
            &[Takes(30), Fails(full), Takes(1), Fails(full), Takes(200)],
            2,
        ),
        (&[Fails(broken), Takes(90), Fails(broken)], 2),
        (
            &[
                Takes(9),
                Fails(io::ErrorKind::FileTooLarge),
                Fails(io::ErrorKind::Other),
            ],
            2,
        ),
        (&[Takes(9), TakesNone, Takes(9), TakesNone], 2),
        (&[FlushFails(full), FlushFails(again)], 1),
    ];
    for (script, failures) in cases {
        let written = Arc::default();
        let log = AccessLog::start(Scripted {
            written: Arc::clone(&written),
            script: script.iter().copied().collect(),
        })
        .unwrap();
        let worker = log.for_worker();
        let mut expected = Vec::new();
        for number in 0..5 {
            let target = format!("/{number}");
            expected.extend(line(&target).end(200, 0, Instant::default(), Ended::Complete));
            worker.write(line(&target), 200, 0, Instant::default(), Ended::Complete);
        }
        log.stop();
        assert_eq!(*written.lock().unwrap(), expected, "{script:?}");
        assert_eq!(log.failures(), *failures, "{script:?}");
        assert_eq!(log.dropped(), 0, "{script:?}");
    }
}

#[test]
fn what_is_lost_meanwhile_is_said_where_the_log_goes_on() {
    /// Takes half a line, then nothing until it is permitted.
    struct Halting(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>);

    impl Write for Halting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.0.lock().unwrap();
            let taken = match written.len() {
                0 => 20,
                _ if self.1.load(Ordering::SeqCst) => bytes.len(),
                _ => return Err(io::ErrorKind::StorageFull.into()),
            };
            written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (written, permit) = (
        Arc::<Mutex<Vec<u8>>>::default(),
        Arc::<AtomicBool>::default(),
    );
    let output = Halting(Arc::clone(&written), Arc::clone(&permit));
    let log = AccessLog::with_lines_max(output, 4).unwrap();
    let worker = log.for_worker();
    let write = |target| worker.write(line(target), 200, 0, Instant::default(), Ended::Complete);
    write("/first");
    while log.failures() == 0 {
        std::thread::yield_now();
    }
    (0..10).for_each(|_| write("/during"));
    assert_eq!(log.dropped(), 6);
    permit.store(true, Ordering::SeqCst);
    while !written.lock().unwrap().ends_with(b"# 6 lines lost\n") {
        std::thread::yield_now();
    }
    write("/after");
    log.stop();
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    let targets = text.lines().map(|line| match line.split(' ').nth(6) {
        Some(target) if line.ends_with("\"-\" complete") => target,
        _ => line,
    });
    let expected = ["/first", "/during", "/during", "/during", "/during"];
    let expected = expected.into_iter().chain(["# 6 lines lost", "/after"]);
    assert!(targets.eq(expected), "{text}");
}

#[test]
fn an_output_that_takes_nothing_ends_with_its_log() {
    let (_, permits) = mpsc::channel();
    let sink = Sink {
        written: Arc::default(),
        permits: Some(permits),
    };
    let log = AccessLog::start(sink).unwrap();
    let worker = log.for_worker();
    worker.write(line("/"), 200, 0, Instant::default(), Ended::Complete);
    log.stop();
    worker.write(line("/"), 200, 0, Instant::default(), Ended::Complete);
    while log.dropped() < 2 {
        std::thread::yield_now();
    }
    assert!(log.failures() > 1);
}

#[test]
fn a_writer_that_panics_is_left_alone() {
    struct Panics;

    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("an output that fails");
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let log = AccessLog::start(Panics).unwrap();
    let worker = log.for_worker();
    worker.write(line("/"), 200, 0, Instant::default(), Ended::Complete);
    log.stop();
    worker.write(line("/"), 200, 0, Instant::default(), Ended::Complete);
    assert_eq!(log.dropped(), 2);
}

#[test]
fn workers_share_no_bound() {
    let written = Arc::default();
    let (permit, permits) = mpsc::channel();
    let sink = Sink {
        written: Arc::clone(&written),
        permits: Some(permits),
    };
    let log = AccessLog::with_lines_max(sink, 4).unwrap();
    let (busy, quiet) = (log.for_worker(), log.for_worker());
    for _ in 0..100 {
        busy.write(line("/busy"), 200, 0, Instant::default(), Ended::Complete);
    }
    for _ in 0..4 {
        quiet.write(line("/quiet"), 200, 0, Instant::default(), Ended::Complete);
    }
    assert_eq!(quiet.buffer.dropped.load(Ordering::Relaxed), 0);
    assert_eq!(busy.buffer.dropped.load(Ordering::Relaxed), log.dropped());
    for _ in 0..100 {
        permit.send(()).unwrap();
    }
    log.stop();
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("/quiet").count(), 4);
    let busy_lines = text.matches("/busy").count() as u64;
    assert_eq!(busy_lines + log.dropped(), 100);
}

#[test]
fn each_worker_keeps_its_order_and_no_line_is_lost() {
    const LINES: usize = 5_000;
    let written = Arc::default();
    let log = AccessLog::start(Sink {
        written: Arc::clone(&written),
        permits: None,
    })
    .unwrap();
    let workers = ["a", "b", "c"].map(|name| (name, log.for_worker()));
    std::thread::scope(|scope| {
        for (name, worker) in workers {
            scope.spawn(move || {
                for number in 0..LINES {
                    let target = format!("/{name}/{number}");
                    worker.write(line(&target), 200, 0, Instant::default(), Ended::Complete);
                }
            });
        }
    });
    log.stop();
    assert_eq!(log.dropped(), 0);
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    for name in ["a", "b", "c"] {
        let mark = format!("/{name}/");
        let numbers = text.lines().filter_map(|line| {
            let rest = line.split_once(&mark)?.1;
            rest.split(' ').next()?.parse::<usize>().ok()
        });
        assert!(numbers.eq(0..LINES), "{name}");
    }
}

#[test]
fn a_writer_ends_with_the_last_worker() {
    struct Last(mpsc::Sender<()>);

    impl Write for Last {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }

    let (sender, ends) = mpsc::channel();
    let log = AccessLog::start(Last(sender)).unwrap();
    let (one, other) = (log.for_worker(), log.for_worker());
    drop(one);
    other.write(line("/"), 200, 0, Instant::default(), Ended::Complete);
    drop(other);
    // Nobody stops a log whose server was dropped.
    assert_eq!(ends.recv_timeout(Duration::from_secs(10)), Ok(()));
    assert_eq!(log.dropped(), 0);
}
