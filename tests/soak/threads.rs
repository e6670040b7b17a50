//! Threads: our blocking client, and bare sockets that do what peers do.

use std::io::Read as _;
use std::io::Result;
use std::io::Write as _;
use std::net::Shutdown;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use roundtrip::client::blocking;

use crate::Targets;
use crate::content;
use crate::content::Reading;
use crate::random::Random;
use crate::requests::BODY_BYTES_MAX;
use crate::server::PATIENCE;

/// No answer takes as long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How many peers stall at the same time.
const STALLED: usize = 30;
const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\n";

// ---- our blocking client --------------------------------------------------------------------

/// One request after the other until `end`.
pub fn blocking(targets: &Targets, mut random: Random, end: Instant) {
    let client = blocking::Client::new();
    while Instant::now() < end {
        targets.done.count_request();
        blocking_request(&client, targets, &mut random).unwrap();
    }
}

fn blocking_request(
    client: &blocking::Client,
    targets: &Targets,
    random: &mut Random,
) -> roundtrip::Result<()> {
    let (seed, bytes) = (random.below(256), random.spread(BODY_BYTES_MAX));
    match random.below(6) {
        0 | 1 => assert_eq!(client.get(targets.url("/sync")).send()?.text()?, "hello"),
        2 => {
            let request = client.post(targets.url("/echo"));
            let mut response = request.body(content::body(seed, bytes)).send()?;
            let mut reading = Reading::new(seed);
            while let Some(chunk) = response.chunk()? {
                reading.take(&chunk);
            }
            reading.end(bytes);
            targets.done.count_bytes(bytes);
        }
        3 => {
            let url = targets.url(&format!("/stream/{seed}/{bytes}"));
            let mut response = client.get(url).send()?;
            if let Some(chunk) = response.chunk()? {
                Reading::new(seed).take(&chunk);
            }
            targets.done.count_canceled();
        }
        4 => {
            let limit = Duration::from_millis(1 + random.below(30) as u64);
            let result = client.get(targets.url("/slow")).timeout(limit).send();
            assert!(result.unwrap_err().is_timeout());
            targets.done.count_canceled();
        }
        _ => {
            // One connection, closed with its client.
            let own = blocking::Client::new();
            assert_eq!(own.get(targets.url("/async")).send()?.text()?, "waited");
        }
    }
    Ok(())
}

// ---- bare sockets ---------------------------------------------------------------------------

/// One connection after the other until `end`.
pub fn peer(targets: &Targets, mut random: Random, end: Instant) {
    while Instant::now() < end {
        // A peer that goes may see a reset, whatever it wanted.
        match converse(targets, &mut random) {
            Ok(()) => {}
            Err(error) => {
                use std::io::ErrorKind::BrokenPipe;
                use std::io::ErrorKind::ConnectionReset;
                assert!(
                    matches!(error.kind(), BrokenPipe | ConnectionReset),
                    "{error}"
                );
            }
        }
        std::thread::sleep(Duration::from_micros(random.spread(2_000) as u64));
    }
}

fn converse(targets: &Targets, random: &mut Random) -> Result<()> {
    let mut stream = TcpStream::connect(targets.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    targets.done.count_request();
    let upload = random.spread(BODY_BYTES_MAX);
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {upload}\r\n\r\n");
    let get = "GET /sync HTTP/1.1\r\nHost: a\r\n\r\n";
    let body = content::body(0, upload);
    let some = random.below(upload + 1);
    let act = random.below(11);
    match act {
        // A reset, or an end, in the head, in the body, in the response.
        0 | 1 => {
            stream.write_all(&head.as_bytes()[..random.below(head.len())])?;
            leave(stream, act == 0, targets);
        }
        2 | 3 => {
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body[..some])?;
            leave(stream, act == 2, targets);
        }
        4 | 5 => {
            let head = "GET /bytes/0/3000000 HTTP/1.1\r\nHost: a\r\n\r\n";
            stream.write_all(head.as_bytes())?;
            let mut some = vec![0; 1 + random.spread(200_000)];
            let _ = stream.read(&mut some)?;
            leave(stream, act == 4, targets);
        }
        6 => {
            stream.write_all(get.as_bytes())?;
            stream.shutdown(Shutdown::Write)?;
            expect_all(&mut stream, HELLO, 1)?;
        }
        7 => {
            // In drops.
            for byte in get.as_bytes().chunks(1 + random.below(6)) {
                stream.write_all(byte)?;
                std::thread::sleep(Duration::from_micros(200));
            }
            stream.shutdown(Shutdown::Write)?;
            expect_all(&mut stream, HELLO, 1)?;
        }
        8 | 9 => {
            let count = 1 + random.below(40);
            stream.write_all(get.repeat(count).as_bytes())?;
            if act == 8 {
                stream.shutdown(Shutdown::Write)?;
                expect_all(&mut stream, HELLO, count)?;
            } else {
                leave(stream, true, targets);
            }
        }
        _ => {
            let garbage: Vec<u8> = (0..random.spread(9_000))
                .map(|_| random.next() as u8)
                .collect();
            stream.write_all(&garbage)?;
            leave(stream, random.below(2) == 0, targets);
        }
    }
    Ok(())
}

/// Peers that say something and then nothing more, until they are thrown out; where there is time.
pub fn stalled(targets: &Targets, mut random: Random, end: Instant) {
    if end.saturating_duration_since(Instant::now()) < PATIENCE + Duration::from_secs(1) {
        return;
    }
    let head = "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
    let connect = |_| {
        let mut stream = TcpStream::connect(targets.address).unwrap();
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        let part = &head.as_bytes()[..random.below(head.len() + 1)];
        stream.write_all(part).unwrap();
        (stream, !part.is_empty())
    };
    let streams: Vec<_> = (0..STALLED).map(connect).collect();
    for (mut stream, has_begun) in streams {
        targets.done.count_request();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        // The handler gets an error for its body, and that is the answer.
        let is_told = answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5");
        assert_eq!(is_told, has_begun, "{answer}");
        targets.done.count_aborted();
    }
}

/// Reads to the end; as many responses must be there as were asked for.
fn expect_all(stream: &mut TcpStream, start: &[u8], count: usize) -> Result<()> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let found = answer
        .windows(start.len())
        .filter(|part| *part == start)
        .count();
    assert_eq!(found, count);
    Ok(())
}

fn leave(stream: TcpStream, with_reset: bool, targets: &Targets) {
    if with_reset {
        reset(stream);
    }
    targets.done.count_aborted();
}

/// Closes with a reset instead of an end.
pub fn reset(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}
