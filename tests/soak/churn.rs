//! Connections that come and go without a request, as fast as one core can: nothing stays.
//!
//! ```text
//!   one thread: connect ─► close · reset · half-close, close · half-close, wait for the end
//!   then: descriptors, slots, connections as before; memory without a trend
//! ```

use std::io::ErrorKind;
use std::io::Read as _;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use crate::SETTLED;
use crate::figures::HEAD;
use crate::figures::Memory;
use crate::figures::Rest;
use crate::figures::Round;
use crate::figures::Tolerance;
use crate::figures::Work;
use crate::figures::closing_table;
use crate::figures::descriptors;
use crate::figures::growth;
use crate::server::Serving;
use crate::threads::reset;

/// Rounds of `length`; the first `warm` fill lists.
pub fn churn(length: Duration, warm: usize, rounds: usize, tolerance: Tolerance) {
    let descriptors_before = descriptors();
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path());
    let rest = rest_now(&serving);
    let mut done: Vec<Round> = Vec::new();
    println!("before the first round: {rest:?}\n{HEAD}");
    for number in 0..warm + rounds {
        let round = round(&serving, length, &rest);
        println!("{}", round.line(&number.to_string()));
        done.push(round);
    }
    let connections: u64 = done.iter().map(|round| round.work.connections).sum();
    let seconds = (length * done.len() as u32).as_secs_f64();
    let measured = &done[warm..];
    println!("{}", closing_table(measured, tolerance));
    println!(
        "{connections} connections, {:.0} a second; the rest is as before: {:?}",
        connections as f64 / seconds,
        rest_now(&serving)
    );
    assert_eq!(growth(measured, tolerance), None);
    let statistics = serving.handle.statistics();
    assert_eq!(statistics.connections_open, 0);
    assert_eq!(statistics.requests, 0);
    serving.stop();
    assert_eq!(descriptors(), descriptors_before);
}

fn round(serving: &Serving, length: Duration, rest: &Rest) -> Round {
    let accepted = || serving.handle.statistics().connections_accepted;
    let (before, end) = (accepted(), Instant::now() + length);
    let mut begun = 0;
    for act in (0..4).cycle() {
        // The clock is read now and then.
        if begun % 64 == 0 && Instant::now() >= end {
            break;
        }
        begun += u64::from(come_and_go(serving.address, act));
    }
    let begin = Instant::now();
    // A connection that was reset in the accept queue is accepted all the same.
    while accepted() < before + begun || rest_now(serving) != *rest {
        let now = rest_now(serving);
        let missing = before + begun - accepted();
        assert!(
            begin.elapsed() < SETTLED,
            "not back after {SETTLED:?}: {missing} not accepted, {now:#?}\nwas {rest:#?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Round {
        work: Work {
            connections: accepted() - before,
            ..Work::default()
        },
        memory: Memory::now(),
        settled_milliseconds: begin.elapsed().as_millis(),
    }
}

/// One connection; false where there was no port for it.
fn come_and_go(address: SocketAddr, act: u32) -> bool {
    let mut stream = match TcpStream::connect(address) {
        Ok(stream) => stream,
        // Ports of connections that were closed by us rest for a second.
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            std::thread::sleep(Duration::from_millis(1));
            return false;
        }
        Err(error) => panic!("{error}"),
    };
    match act {
        0 => {}
        1 => reset(stream),
        2 => stream.shutdown(Shutdown::Write).unwrap(),
        _ => {
            stream.shutdown(Shutdown::Write).unwrap();
            stream.set_read_timeout(Some(SETTLED)).unwrap();
            // Nothing was asked, so nothing is said.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
    }
    true
}

fn rest_now(serving: &Serving) -> Rest {
    Rest {
        descriptors: descriptors(),
        cores: serving.held(),
    }
}
