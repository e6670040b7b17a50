//! What every peer shares: the allocator, the arguments `[ADDR] [WORKERS]`, the first line printed.

use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpListener;

use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;

/// The same allocator for all: a binary that names this crate has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The answer to `GET /`.
pub const HELLO: &str = "Hello, World!";
/// The most that `POST /echo` takes.
pub const ECHO_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Address and number of workers from the command line, from argument `first` on.
pub fn arguments(first: usize) -> (SocketAddr, usize) {
    let argument = |index| std::env::args().nth(first + index);
    let address = argument(0).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let workers = argument(1).unwrap_or_else(|| "1".to_owned());
    (
        address.parse().expect("ADDR is IP:PORT"),
        workers.parse().expect("WORKERS is a number"),
    )
}

/// A non-blocking listener that shares its port.
pub fn listen(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .expect("a socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    socket.set_nonblocking(true).expect("non-blocking");
    socket.bind(&address.into()).expect("bind");
    socket.listen(4096).expect("listen");
    socket.into()
}

/// One listener per worker, all on one port; prints where.
pub fn listeners(first: usize) -> Vec<TcpListener> {
    let (address, workers) = arguments(first);
    let mut all = vec![listen(address)];
    let address = all[0].local_addr().expect("a bound socket");
    all.extend((1..workers).map(|_| listen(address)));
    announce(address);
    all
}

/// The line that everybody who starts a server waits for.
pub fn announce(address: SocketAddr) {
    println!("listening on http://{address}");
    std::io::stdout().flush().expect("stdout");
}

/// Runs `serve` on a thread per listener.
pub fn run(serve: fn(TcpListener)) {
    let mut all = listeners(1);
    let last = all.pop().expect("at least one worker");
    for listener in all {
        std::thread::spawn(move || serve(listener));
    }
    serve(last);
}
