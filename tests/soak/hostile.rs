//! A server that does not play fair, for our client.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::random::Random;
use crate::threads::reset;

/// What it answers when it does.
pub const BODY: &str = "the whole of it";
const PATIENCE: Duration = Duration::from_millis(100);

/// Accepts one connection after the other until `is_over`.
pub fn serve(listener: &TcpListener, mut random: Random, is_over: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    while !is_over.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((peer, _)) => drop(answer(peer, &mut random)),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    // What still waits for it goes as well.
    while listener.accept().is_ok() {}
}

fn answer(mut peer: TcpStream, random: &mut Random) -> std::io::Result<()> {
    peer.set_nonblocking(false)?;
    peer.set_read_timeout(Some(PATIENCE))?;
    peer.set_write_timeout(Some(PATIENCE))?;
    if random.below(8) == 0 {
        return Ok(());
    }
    let mut request = [0; 4_096];
    if peer.read(&mut request)? == 0 {
        return Ok(());
    }
    let length = BODY.len();
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{BODY}");
    let some = random.below(response.len());
    match random.below(8) {
        0 | 1 => peer.write_all(response.as_bytes())?,
        2 => peer.write_all(&response.as_bytes()[..some])?,
        3 => {
            peer.write_all(&response.as_bytes()[..some])?;
            reset(peer);
        }
        4 => reset(peer),
        5 => {
            let garbage: Vec<u8> = (0..300).map(|_| random.next() as u8).collect();
            peer.write_all(&garbage)?;
        }
        6 => peer.write_all(format!("{response}{response}").as_bytes())?,
        _ => {
            peer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            std::thread::sleep(Duration::from_millis(random.below(40) as u64));
            peer.write_all(&response.as_bytes()[..some])?;
        }
    }
    Ok(())
}
