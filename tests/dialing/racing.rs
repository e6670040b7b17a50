//! Which address is tried when, and which one wins (RFC 8305).

use std::cell::Cell;
use std::cell::RefCell;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use roundtrip::Error;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::limits::CONNECT_ADDRESSES_MAX;
use roundtrip::net::Attempts;
use roundtrip::net::ConnectOptions;
use roundtrip::net::Connected;
use roundtrip::net::TcpListener;
use roundtrip::net::race;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::simulation;
use roundtrip::simulation::Reach;
use roundtrip::simulation::Simulation;

use crate::OURS;
use crate::address;
use crate::exact;
use crate::milliseconds;
use crate::with;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses elsewhere.
const V6: [&str; 2] = ["2001:db8::1", "2001:db8::2"];

/// Notes what is tried when, and refuses what it is told to.
#[derive(Default)]
struct Notes {
    began: Cell<Option<runtime::Instant>>,
    lines: RefCell<Vec<String>>,
    refused: Option<SocketAddr>,
}

impl Notes {
    fn note(&self, what: &str, address: SocketAddr) {
        let now = Core::current().unwrap().now();
        let began = self.began.get().unwrap_or(now);
        self.began.set(Some(began));
        let after = (now - began).as_millis();
        let line = format!("{after} {what} {}", address.ip());
        self.lines.borrow_mut().push(line);
    }
}

impl Attempts for Notes {
    fn begin(&self, address: SocketAddr) -> Result<(), Error> {
        if self.refused == Some(address) {
            self.note("refuse", address);
            return Err(Error::new(ErrorKind::Invalid, "not there"));
        }
        self.note("try", address);
        Ok(())
    }

    fn connected(&self, address: SocketAddr, _time: Duration) {
        self.note("connected", address);
    }

    fn failed(&self, address: SocketAddr, _error: &Error) {
        self.note("failed", address);
    }
}

async fn run_race(ips: &[&str], notes: &Notes) -> Result<Connected, Error> {
    let addresses: Vec<SocketAddr> = ips.iter().map(|ip| address(ip)).collect();
    let options = ConnectOptions {
        deadline: Core::try_current()?.now() + TIMEOUT,
        timeout: TIMEOUT,
        source: None,
    };
    race(&addresses, options, notes).await
}

/// Listens on one address, races over some, and gives what happened, and the error.
fn raced(
    simulation: Simulation,
    listens: &'static str,
    ips: &'static [&'static str],
) -> (Vec<String>, Option<Error>) {
    let report = simulation.run(async {
        let _listener = TcpListener::bind(address(listens)).unwrap();
        let notes = Notes::default();
        let before = simulation::descriptors();
        let connected = run_race(ips, &notes).await;
        let error = connected.as_ref().err().map(|error| format!("{error:#}"));
        drop(connected);
        // What was cancelled is closed with its last completion.
        runtime::sleep(Duration::from_secs(200)).await;
        assert_eq!(simulation::descriptors(), before);
        let kind = error.map(|text| Error::new(ErrorKind::Io, text));
        (notes.lines.into_inner(), kind)
    });
    report.unwrap()
}

#[test]
fn a_silent_address_costs_its_head_start() {
    let simulation = with(exact(), &[(V6[0], Reach::Silent)]);
    let (lines, _) = raced(simulation, OURS[0], &[V6[0], OURS[0]]);
    let expected = [
        "0 try 2001:db8::1",
        "250 try 10.0.0.1",
        "250 connected 10.0.0.1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_failure_starts_the_next_at_once() {
    let reaches = [
        (V6[0], Reach::Unreachable),
        (V6[1], Reach::After(milliseconds(20))),
    ];
    let ips = &[V6[0], V6[1], OURS[0]];
    // The families take turns: the second of IPv6 comes last.
    let (lines, _) = raced(with(exact(), &reaches), OURS[0], ips);
    let expected = [
        "0 try 2001:db8::1",
        "0 failed 2001:db8::1",
        "0 try 10.0.0.1",
        "0 connected 10.0.0.1",
    ];
    assert_eq!(lines, expected);
    let (lines, _) = raced(with(exact(), &reaches), OURS[1], ips);
    let expected = [
        "0 try 2001:db8::1",
        "0 failed 2001:db8::1",
        "0 try 10.0.0.1",
        "0 failed 10.0.0.1",
        "0 try 2001:db8::2",
        "20 failed 2001:db8::2",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_failure_beside_a_silent_one_starts_the_next_too() {
    let reaches = [
        (V6[0], Reach::Silent),
        (OURS[1], Reach::After(milliseconds(30))),
    ];
    let (lines, _) = raced(with(exact(), &reaches), OURS[0], &[V6[0], OURS[1], OURS[0]]);
    let expected = [
        "0 try 2001:db8::1",
        "250 try 10.0.0.2",
        "280 failed 10.0.0.2",
        "280 try 10.0.0.1",
        "280 connected 10.0.0.1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_slow_address_may_still_win() {
    let reaches = [
        (OURS[0], Reach::After(milliseconds(300))),
        (V6[0], Reach::After(milliseconds(100))),
    ];
    let (lines, _) = raced(with(exact(), &reaches), OURS[0], &[OURS[0], V6[0]]);
    let expected = [
        "0 try 10.0.0.1",
        "250 try 2001:db8::1",
        "300 connected 10.0.0.1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_deadline_is_one_for_all() {
    let reaches = [
        (OURS[0], Reach::Silent),
        (OURS[1], Reach::Silent),
        (V6[0], Reach::Unreachable),
    ];
    let ips = &[OURS[0], V6[0], OURS[1]];
    let (lines, error) = raced(with(exact(), &reaches), OURS[2], ips);
    let expected = [
        "0 try 10.0.0.1",
        "250 try 2001:db8::1",
        "250 failed 2001:db8::1",
        "250 try 10.0.0.2",
        "10000 failed 10.0.0.1",
        "10000 failed 10.0.0.2",
    ];
    assert_eq!(lines, expected);
    let text = format!("{:#}", error.unwrap());
    for words in [
        "within 10s (connect_timeout)",
        "of 3 addresses tried, 2 did not answer, the first of them 10.0.0.1:80",
        "cannot connect to [2001:db8::1]:80: Network is unreachable",
    ] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn all_failures_are_told_by_the_first_and_the_last() {
    let simulation = with(exact(), &[(V6[0], Reach::Unreachable)]);
    let (_, error) = raced(simulation, OURS[2], &[V6[0], OURS[0], OURS[1]]);
    let text = format!("{:#}", error.unwrap());
    for words in [
        "none of 3 addresses took the connection",
        "(the first: cannot connect to [2001:db8::1]:80: Network is unreachable",
        "): cannot connect to 10.0.0.2:80: Connection refused",
    ] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn two_that_answer_in_one_turn_make_one_connection() {
    let report = with(exact(), &[(OURS[0], Reach::After(milliseconds(250)))]).run(async {
        let first = TcpListener::bind(address(OURS[0])).unwrap();
        let second = TcpListener::bind(address(OURS[1])).unwrap();
        let before = simulation::descriptors();
        let connected = run_race(&[OURS[0], OURS[1]], &Notes::default())
            .await
            .unwrap();
        runtime::sleep(Duration::from_secs(1)).await;
        assert_eq!(simulation::descriptors(), before + 1);
        // The loser, if it came so far, is closed and not left open.
        let loser = match connected.address == address(OURS[0]) {
            true => second,
            false => first,
        };
        let accepted = runtime::timeout(Duration::from_secs(1), loser.accept()).await;
        if let Ok(accepted) = accepted {
            let buffer = bytes::BytesMut::with_capacity(1);
            let (read, _) = accepted.unwrap().read(buffer).await;
            assert_eq!(read.unwrap_or(0), 0);
        }
    });
    report.unwrap();
}

#[test]
fn a_race_that_is_dropped_leaves_nothing() {
    let reaches = [(OURS[0], Reach::Silent), (OURS[1], Reach::Silent)];
    let report = with(exact(), &reaches).run(async {
        let before = simulation::descriptors();
        let notes = Notes::default();
        let racing = run_race(&[OURS[0], OURS[1]], &notes);
        let dropped = runtime::timeout(Duration::from_secs(1), racing).await;
        assert!(dropped.is_err());
        assert_eq!(notes.lines.borrow().len(), 2);
        runtime::sleep(Duration::from_secs(1)).await;
        assert_eq!(simulation::descriptors(), before);
    });
    report.unwrap();
}

#[test]
fn few_of_many_addresses_are_tried() {
    let many: Vec<SocketAddr> = (0..100)
        .map(|last| SocketAddr::new(IpAddr::from([192, 0, 2, last]), 80))
        .collect();
    let report = exact().run(async move {
        let error = roundtrip::net::connect(&many, TIMEOUT).await.unwrap_err();
        let expected = format!("none of {CONNECT_ADDRESSES_MAX} of 100 addresses took");
        assert!(error.to_string().contains(&expected), "{error}");
    });
    assert!(
        report.elapsed() < milliseconds(1),
        "all of them fail at once"
    );
    report.unwrap();
}

#[test]
fn a_refused_address_is_like_one_that_failed() {
    let report = exact().run(async {
        let _listener = TcpListener::bind(address(OURS[1])).unwrap();
        let notes = Notes {
            refused: Some(address(OURS[0])),
            ..Notes::default()
        };
        let connected = run_race(&[OURS[0], OURS[1]], &notes).await.unwrap();
        assert_eq!(connected.address, address(OURS[1]));
        let expected = [
            "0 refuse 10.0.0.1",
            "0 try 10.0.0.2",
            "0 connected 10.0.0.2",
        ];
        assert_eq!(*notes.lines.borrow(), expected);
        let error = run_race(&[OURS[0]], &notes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.phase(), Some(Phase::Connect));
        assert_eq!(error.to_string(), "not there");
        // Beside one that was tried, its failure is what is told.
        let error = run_race(&[OURS[0], OURS[2]], &notes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
    });
    report.unwrap();
}

#[test]
fn connections_come_from_the_address_that_was_chosen() {
    let report = exact().run(async {
        let listener = TcpListener::bind(address(OURS[0])).unwrap();
        let options = |source: &str| ConnectOptions {
            deadline: Core::current().unwrap().now() + TIMEOUT,
            timeout: TIMEOUT,
            source: Some(source.parse().unwrap()),
        };
        let both = [address(V6[0]), address(OURS[0])];
        let notes = Notes::default();
        let connected = race(&both, options(OURS[1]), &notes).await.unwrap();
        assert_eq!(connected.address, address(OURS[0]));
        let peer = listener.accept().await.unwrap().peer_addr().unwrap();
        assert_eq!(peer.ip().to_string(), OURS[1]);
        // The other family was left out, and is the only one here.
        assert_eq!(notes.lines.borrow().len(), 2);
        let error = race(&both[..1], options(OURS[1]), &notes)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("local_address"), "{error}");
        let error = race(&both, options("192.0.2.7"), &()).await.unwrap_err();
        assert!(error.to_string().contains("from 192.0.2.7"), "{error}");
    });
    report.unwrap();
}
