//! Sockets as futures: a server of echoes, and tasks that drop their reads, writes, connects and
//! accepts in the middle.
//!
//! ```text
//!   task ─► connect ─► write a piece ─► read it back, compare ─► … ─► dropped anywhere, or closed
//! ```

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use roundtrip::Error;
use roundtrip::net::TcpListener;
use roundtrip::net::TcpStream;
use roundtrip::net::UnixListener;
use roundtrip::net::UnixStream;
use roundtrip::runtime;
use roundtrip::runtime::JoinHandle;
use roundtrip::simulation;
use roundtrip::simulation::Random;

use crate::ask::Ask;
use crate::content;
use crate::content::Way;
use crate::job::draw_bytes;
use crate::ledger;
use crate::ledger::Rule;
use crate::plan::Part;
use crate::plan::Plan;
use crate::wire;
use crate::wire::Framing;
use crate::wire::Progress;

const PORT: u16 = 7;
const PATH: &str = "/run/echo.sock";
/// Where the server under test listens too.
pub const UNIX_PATH: &str = "/run/http.sock";
/// Conversations of each task.
const ROUNDS: usize = 6;
/// No conversation takes longer.
const ROUND_TIME_MAX: Duration = Duration::from_secs(600);

/// Either kind of stream.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    async fn connect(is_unix: bool) -> Result<Stream, Error> {
        Ok(match is_unix {
            true => Stream::Unix(UnixStream::connect(PATH).await?),
            false => Stream::Tcp(TcpStream::connect("127.0.0.1", PORT).await?),
        })
    }

    async fn read(&self, buffer: BytesMut) -> (io::Result<usize>, BytesMut) {
        match self {
            Stream::Tcp(stream) => stream.read(buffer).await,
            Stream::Unix(stream) => stream.read(buffer).await,
        }
    }

    async fn write_all(&self, bytes: Bytes) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Unix(stream) => stream.write_all(bytes).await,
        }
    }

    fn shutdown_write(&self) {
        match self {
            Stream::Tcp(stream) => stream.shutdown_write(),
            Stream::Unix(stream) => stream.shutdown_write(),
        }
    }
}

/// Starts the servers of echoes; they run until they are aborted.
pub async fn serve() -> Vec<JoinHandle<()>> {
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    let mut tasks = Vec::new();
    // Descriptors may be used up for a while.
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind(address) {
            tasks.push(runtime::spawn(accept(async move || {
                listener.accept().await.map(Stream::Tcp)
            })));
            break;
        }
        runtime::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..100 {
        if let Ok(listener) = UnixListener::bind(PATH) {
            tasks.push(runtime::spawn(accept(async move || {
                listener.accept().await.map(Stream::Unix)
            })));
            break;
        }
        runtime::sleep(Duration::from_millis(1)).await;
    }
    tasks
}

async fn accept(next: impl AsyncFn() -> io::Result<Stream>) {
    for turn in 0u64.. {
        // Now and then the accept is dropped while it waits.
        let patience = Duration::from_millis(1 + turn % 7 * 50);
        match runtime::timeout(patience, next()).await {
            Ok(Ok(stream)) => drop(runtime::spawn(echo(stream))),
            Ok(Err(_)) => runtime::sleep(Duration::from_millis(5)).await,
            Err(_) => {}
        }
    }
}

/// Sends back what comes. An error is the other side's to notice.
async fn echo(stream: Stream) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(4_096);
        let (read, filled) = stream.read(buffer).await;
        buffer = filled;
        match read {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if stream.write_all(buffer.split().freeze()).await.is_err() {
            return;
        }
    }
}

/// A task that talks to the servers of echoes.
pub async fn run_task(plan: Rc<Plan>, index: usize) {
    let mut random = plan.stream(Part::Stream, index);
    for _ in 0..ROUNDS {
        let id = ledger::next(Rule::Often);
        let is_unix = random.chance(0.4);
        let patience = match random.index(3) {
            0 => random.duration(Duration::ZERO..Duration::from_millis(100)),
            _ => ROUND_TIME_MAX,
        };
        let talk = async {
            match random.chance(0.3) {
                true => ask(&mut random, id, plan.guards.may_shed()).await,
                false => talk(&mut random, id, is_unix).await,
            }
        };
        let ended = runtime::timeout(patience, talk).await;
        match ended {
            Ok(Ok(())) => ledger::count(|counts| counts.answered += 1),
            Ok(Err(Failure::Wrong(wrong))) => {
                simulation::fail(format!("echo {id}: {wrong}"));
            }
            // A connection that its server has not accepted in time is lost with the accept.
            Ok(Err(Failure::Lost(error))) => {
                simulation::note(|| format!("echo {id} failed: {error}"));
                ledger::count(|counts| counts.failed += 1);
            }
            Err(_) if patience == ROUND_TIME_MAX => {
                simulation::fail(format!("echo {id} has no end"));
            }
            Err(_) => ledger::count(|counts| counts.dropped += 1),
        }
        ledger::event(30, id);
    }
}

enum Failure {
    Wrong(String),
    Lost(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Lost(error.into())
    }
}

async fn talk(random: &mut Random, id: u32, is_unix: bool) -> Result<(), Failure> {
    let stream = Stream::connect(is_unix).await.map_err(Failure::Lost)?;
    let whole = content::of(id, Way::Up, draw_bytes(random, 20_000));
    let mut at = 0;
    while at < whole.len() {
        // Less than a socket holds: both sides would wait for the other to read.
        let len = 1 + random.index((whole.len() - at).min(1_500));
        let piece = &whole[at..at + len];
        stream.write_all(Bytes::from_static(piece)).await?;
        let mut back = BytesMut::new();
        while back.len() < len {
            // Never more than what is on its way.
            back.reserve(1 + random.index(len - back.len()));
            let (read, filled) = stream.read(back).await;
            back = filled;
            if read? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        if back != piece {
            return Err(Failure::Wrong(format!(
                "the {len} bytes from {at} on differ"
            )));
        }
        at += len;
    }
    stream.shutdown_write();
    let (read, _) = stream.read(BytesMut::with_capacity(10)).await;
    match read? {
        0 => Ok(()),
        more => Err(Failure::Wrong(format!("{more} bytes more"))),
    }
}

/// A request over a Unix socket, by hand.
async fn ask(random: &mut Random, id: u32, may_shed: bool) -> Result<(), Failure> {
    let ask = Ask {
        id,
        down: draw_bytes(random, 100_000) as u32,
        ..Ask::default()
    };
    let stream = UnixStream::connect(UNIX_PATH)
        .await
        .map_err(Failure::Lost)?;
    let mut head = b"GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-ask: ".to_vec();
    head.extend_from_slice(&ask.value());
    head.extend_from_slice(b"\r\n\r\n");
    stream.write_all(head).await?;
    let mut all = BytesMut::new();
    loop {
        all.reserve(1 + random.index(20_000));
        let (read, filled) = stream.read(all).await;
        all = filled;
        if read? == 0 {
            break;
        }
    }
    let parsed = wire::parse(&all, Framing::Nothing, &mut Progress::default());
    let Some(message) = parsed.map_err(Failure::Wrong)? else {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    };
    match &message.body {
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        _ if message.status == 408 => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        _ if message.status == 503 && may_shed => {
            Err(io::Error::from(io::ErrorKind::ResourceBusy).into())
        }
        _ if message.status != 200 => Err(Failure::Wrong(format!("status {}", message.status))),
        Some(body) if **body == *content::of(id, Way::Down, ask.down as usize) => Ok(()),
        Some(_) => Err(Failure::Wrong("an answer that differs".to_owned())),
    }
}
