//! A server that runs out of descriptors waits for some, and does not spin.
#![cfg(feature = "cli")]

mod process;

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use process::Server;

const CONNECTIONS: usize = 60;

fn ask(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n")?;
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[test]
fn what_does_not_fit_waits_and_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "the letter a").unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n 40 && exec \"$0\" serve \"$1\" --addr 127.0.0.1:0 --workers 1",
        ])
        .arg(env!("CARGO_BIN_EXE_roundtrip"))
        .arg(folder.path());
    let server = Server::start(&mut command);
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let stream = TcpStream::connect(&server.address).unwrap();
            let patience = Some(Duration::from_millis(50));
            stream.set_read_timeout(patience).unwrap();
            stream
        })
        .collect();
    sleep(Duration::from_millis(300));

    // All descriptors are used, more connections wait: nothing happens, and nothing is burnt.
    let before = server.processor_seconds();
    sleep(Duration::from_secs(1));
    let used = server.processor_seconds() - before;
    assert!(used < 0.1, "{used} s of processor time in one second");

    // The last one is in the kernel's queue. Once the first ones go, it is served.
    let mut last = streams.pop().unwrap();
    assert!(ask(&mut last).is_err(), "it should wait for a descriptor");
    streams.drain(..40);
    last.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut answer = [0; 1024];
    let length = last.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(server.end("TERM").success());
}
