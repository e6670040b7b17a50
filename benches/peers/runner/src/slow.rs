//! What slow clients cost the others: a thousand that send a byte now and then, or read one.
//!
//! ```text
//!   1,000 slow: a third sends its head, a third its body, a third reads its responses
//!        │ one byte per connection every 200 ms
//!        ▼
//!      server ◄── one normal client, with them and without, in turn ──► p50, p99
//! ```

use std::io;
use std::io::ErrorKind;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use measure::cpus;

use crate::load::LOAD_CPU;
use crate::load::WORKLOADS;
use crate::server::Server;
use crate::server::Spec;

/// How many are slow, in three equal parts and one more.
pub const CONNECTIONS: usize = 1_000;
/// Each of them does something so often.
const PAUSE: Duration = Duration::from_millis(200);
/// They have all begun by then, and the server has answered what it could.
const BEGUN: Duration = Duration::from_secs(1);
/// Requests of the normal client in one measurement.
const TIMED: usize = 3_000;
/// Bytes of responses that a slow reader asks for are some 130 for each of these.
const PIPELINED: usize = 3_000;

/// One measurement of the normal client.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub p50_micros: f64,
    pub p99_micros: f64,
}

/// Of one server: pairs of measurements, alone and beside the slow ones.
#[derive(Debug, Default)]
pub struct Slow {
    pub pairs: Vec<(Times, Times)>,
    /// The fewest slow connections that were open still at the end of a measurement.
    pub alive: usize,
}

/// The server of a spec that takes bodies. All clients run on the CPU of the load.
pub fn start(spec: &'static Spec) -> io::Result<Server> {
    cpus::pin(LOAD_CPU)?;
    let echo = WORKLOADS.iter().find(|workload| workload.is_echo);
    Server::start(spec, echo.expect("there is one"))
}

/// One pair; which of the two goes first is the caller's to change.
pub fn measure(server: &Server, slow_first: bool, into: &mut Slow) -> io::Result<()> {
    let (alone, beside, alive);
    if slow_first {
        (beside, alive) = time_beside(server)?;
        alone = time(server)?;
    } else {
        alone = time(server)?;
        (beside, alive) = time_beside(server)?;
    }
    into.alive = if into.pairs.is_empty() {
        alive
    } else {
        into.alive.min(alive)
    };
    into.pairs.push((alone, beside));
    Ok(())
}

fn time_beside(server: &Server) -> io::Result<(Times, usize)> {
    let mut slow = (0..CONNECTIONS)
        .map(|index| Client::open(server, index))
        .collect::<io::Result<Vec<Client>>>()?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let slow = &mut slow;
        let is_over = &is_over;
        let driver = scope.spawn(move || drive(slow, is_over));
        std::thread::sleep(BEGUN);
        let times = time(server);
        is_over.store(true, Ordering::Relaxed);
        let alive = driver.join().expect("the driver");
        Ok((times?, alive))
    })
}

/// A normal client: one request after the other on one connection.
fn time(server: &Server) -> io::Result<Times> {
    let mut stream = TcpStream::connect(&server.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let start = Instant::now();
        ask(&mut stream)?;
        times.push(start.elapsed());
    }
    times.sort();
    let percentile = |percent: usize| times[TIMED * percent / 100].as_secs_f64() * 1e6;
    Ok(Times {
        p50_micros: percentile(50),
        p99_micros: percentile(99),
    })
}

/// One request; the answer is short and has a Content-Length.
fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(GET)?;
    let mut answer = [0; 1024];
    let mut length = 0;
    loop {
        let got = stream.read(&mut answer[length..])?;
        if got == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        length += got;
        if whole(&answer[..length])? {
            return Ok(());
        }
    }
}

/// True when the body is there as well.
fn whole(answer: &[u8]) -> io::Result<bool> {
    let text = str::from_utf8(answer).map_err(io::Error::other)?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Ok(false);
    };
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let length: usize = length.ok_or_else(|| io::Error::other("no Content-Length"))?;
    Ok(head.starts_with("http/1.1 200") && body.len() >= length)
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A client that is slow.
struct Client {
    stream: TcpStream,
    /// What it sends, a byte at a time, without end; nothing for one that reads slowly.
    sends: &'static [u8],
    at: usize,
    is_open: bool,
}

impl Client {
    fn open(server: &Server, index: usize) -> io::Result<Client> {
        let mut stream = TcpStream::connect(&server.address)?;
        stream.set_nodelay(true)?;
        let sends: &[u8] = match index % 3 {
            // A head that never ends.
            0 => {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n")?;
                b"X-Slow: 1\r\n"
            }
            // A body of a megabyte.
            1 => {
                stream.write_all(
                    b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
                )?;
                b"body"
            }
            _ => {
                small_window(&stream)?;
                stream.set_nonblocking(true)?;
                // As many as the kernel and the server take.
                let requests = GET.repeat(PIPELINED);
                let mut from = 0;
                while from < requests.len() {
                    match stream.write(&requests[from..]) {
                        Ok(length) => from += length,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    }
                }
                b""
            }
        };
        stream.set_nonblocking(true)?;
        Ok(Client {
            stream,
            sends,
            at: 0,
            is_open: true,
        })
    }

    fn go_on(&mut self) {
        let done = if self.sends.is_empty() {
            match self.stream.read(&mut [0]) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                other => other,
            }
        } else {
            let byte = self.sends[self.at % self.sends.len()];
            self.at += 1;
            self.stream.write(&[byte])
        };
        let is_waiting = |error: &io::Error| error.kind() == ErrorKind::WouldBlock;
        self.is_open &= done.is_ok() || done.is_err_and(|error| is_waiting(&error));
    }
}

/// Lets them go on, evenly spread over the pause; how many are open in the end.
fn drive(clients: &mut [Client], is_over: &AtomicBool) -> usize {
    let step = PAUSE / 20;
    let share = clients.len().div_ceil(20);
    for part in (0..20).cycle() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let clients = clients.iter_mut().skip(part * share).take(share);
        clients
            .filter(|client| client.is_open)
            .for_each(Client::go_on);
        std::thread::sleep(step);
    }
    clients.iter().filter(|client| client.is_open).count()
}

/// A receive buffer of a few kilobytes.
fn small_window(stream: &TcpStream) -> io::Result<()> {
    let bytes: libc::c_int = 4096;
    // SAFETY: the value is as long as is said, and only read during the call.
    let done = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_whole_answer() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for length in 0..answer.len() {
            assert!(!whole(&answer[..length]).unwrap());
        }
        assert!(whole(answer).unwrap());
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\nhello").is_err());
    }
}
