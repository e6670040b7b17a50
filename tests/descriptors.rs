//! A server that runs out of descriptors waits for some, and does not spin; caches give up theirs.
#![cfg(feature = "cli")]

mod process;

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::sleep;
use std::time::Duration;

use process::Server;

const CONNECTIONS: usize = 60;

fn serve(folder: &Path, descriptors: usize, workers: usize) -> Server {
    let script = format!(
        "ulimit -n {descriptors} && exec \"$0\" serve \"$1\" --addr 127.0.0.1:0 --workers {workers}"
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .arg(env!("CARGO_BIN_EXE_roundtrip"))
        .arg(folder);
    Server::start(&mut command)
}

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
    let server = serve(folder.path(), 40, 1);
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

/// A folder of files that are too large to be kept in memory.
fn folder_of_large_files(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..count {
        std::fs::write(folder.path().join(format!("{index}.bin")), [7; LARGE]).unwrap();
    }
    std::fs::write(folder.path().join("a.txt"), "the letter a").unwrap();
    folder
}

const LARGE: usize = 20_000;

/// Asks for a large file and reads all of it; false when it was refused.
fn read_large(stream: &mut TcpStream, index: usize) -> bool {
    let request = format!("GET /{index}.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut received = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the connection ended");
        received.extend_from_slice(&buffer[..length]);
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let is_served = received.starts_with(b"HTTP/1.1 200");
        assert!(is_served || received.starts_with(b"HTTP/1.1 503"));
        if !is_served || received.len() == end + 4 + LARGE {
            return is_served;
        }
    }
}

/// Sixty-four descriptors, of which files that may be asked for again take an eighth at most.
#[test]
fn a_cache_of_files_is_as_large_as_descriptors_allow() {
    let folder = folder_of_large_files(30);
    let server = serve(folder.path(), 64, 2);
    let mut streams: Vec<TcpStream> = (0..8)
        .map(|_| TcpStream::connect(&server.address).unwrap())
        .collect();
    for index in 0..30 {
        for stream in &mut streams {
            assert!(read_large(stream, index));
        }
        let open = server.open_paths(folder.path());
        // The directory itself, for each worker.
        assert!(open <= 64 / 8 + 2, "{open}");
    }
    assert!(server.open_paths(folder.path()) > 2);
}

/// Files stay in use all the time; connections get their descriptors all the same.
#[test]
fn a_cache_of_files_yields_to_connections() {
    for workers in [1, 2] {
        let folder = folder_of_large_files(8);
        let server = serve(folder.path(), 64, workers);
        let mut busy: Vec<TcpStream> = (0..4)
            .map(|_| TcpStream::connect(&server.address).unwrap())
            .collect();
        let fill = |streams: &mut [TcpStream]| {
            ask(&mut streams[0]).unwrap();
            for index in 0..4 {
                for stream in &mut *streams {
                    let _ = read_large(stream, index);
                }
            }
        };
        fill(&mut busy);
        // Files that were written just now are opened a second time.
        sleep(Duration::from_millis(2_100));
        fill(&mut busy);
        let free = server.free_descriptors(64);
        let is_done = Arc::new(AtomicBool::new(false));
        let busy = thread::spawn({
            let is_done = Arc::clone(&is_done);
            move || {
                while !is_done.load(Ordering::SeqCst) {
                    fill(&mut busy);
                }
            }
        });
        // The last of them find nothing but what the caches have.
        let mut streams: Vec<TcpStream> = (0..free + 1)
            .map(|_| TcpStream::connect(&server.address).unwrap())
            .collect();
        for (index, stream) in streams.iter_mut().enumerate() {
            let patience = Some(Duration::from_secs(10));
            stream.set_read_timeout(patience).unwrap();
            let answer = ask(stream).unwrap_or_else(|error| panic!("{index} of {free}: {error}"));
            // It is in memory, and to see that it is the same takes no descriptor.
            let is_known = workers == 1;
            assert!(answer.starts_with("HTTP/1.1 200") || !is_known, "{answer}");
        }
        is_done.store(true, Ordering::SeqCst);
        drop(streams);
        busy.join().unwrap();
    }
}
