//! 1 GiB down and up: every byte right, in constant memory.

use std::fs::File;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::interop::files;
use crate::interop::files::Comparison;
use crate::interop::files::LARGE_BYTES;
use crate::process;
use crate::process::Server;

/// The most memory that a server, or our client, may use.
const RESIDENT_BYTES_MAX: u64 = 64 << 20;

/// All in one test: two of them at once would measure the disk.
#[test]
fn one_gibibyte_in_constant_memory() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("large.bin");
    files::write_large(&path);
    download_by_curl(folder.path(), &path);
    download_by_ourselves(folder.path(), &path);
    upload_and_read_slowly(&path);
}

fn download_by_curl(folder: &Path, path: &Path) {
    let server = Server::serve(folder);
    let mut comparison = Comparison::with(path);
    let url = server.url("/large.bin");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", &url]);
    process::for_each_piece(&mut curl, |piece| comparison.next(piece));
    assert_eq!(comparison.bytes, LARGE_BYTES);
    assert_small("serve", server.peak_resident_bytes());
}

fn download_by_ourselves(folder: &Path, path: &Path) {
    let server = Server::serve(folder);
    let mut comparison = Comparison::with(path);
    let mut get = process::roundtrip();
    get.args(["get", &server.url("/large.bin")]);
    let peak = process::for_each_piece(&mut get, |piece| comparison.next(piece));
    assert_eq!(comparison.bytes, LARGE_BYTES);
    assert_small("serve", server.peak_resident_bytes());
    assert_small("get", peak);
}

fn upload_and_read_slowly(path: &Path) {
    let server = Server::echo();
    let stream = TcpStream::connect(&server.address).expect("a connection");
    let mut writer = stream.try_clone().expect("a second handle");
    let source = File::open(path).expect("the file");
    let writing = thread::spawn(move || {
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"
        );
        writer.write_all(head.as_bytes()).expect("the head");
        let copied = std::io::copy(&mut source.take(LARGE_BYTES), &mut writer);
        assert_eq!(copied.expect("the body"), LARGE_BYTES);
    });
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let chunked = read_head(&mut reader);
    let mut comparison = Comparison::with(path);
    let mut pause = Pauses::default();
    let mut body = |piece: &[u8]| {
        comparison.next(piece);
        pause.after(piece.len());
    };
    match chunked {
        true => read_chunks(&mut reader, &mut body),
        false => read_pieces(&mut reader, LARGE_BYTES, &mut body),
    }
    writing.join().expect("the writer");
    assert_eq!(comparison.bytes, LARGE_BYTES);
    assert_small("echo", server.peak_resident_bytes());
}

/// Sleeps now and then, long enough for every buffer between the two ends to fill.
#[derive(Default)]
struct Pauses {
    bytes: usize,
}

impl Pauses {
    fn after(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= 16 << 20 {
            self.bytes = 0;
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Reads a response head; true if its body is chunked.
fn read_head(reader: &mut impl std::io::BufRead) -> bool {
    let mut chunked = false;
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a field");
        if line == "\r\n" {
            return chunked;
        }
        chunked |= line
            .to_ascii_lowercase()
            .starts_with("transfer-encoding: chunked");
    }
}

fn read_chunks(reader: &mut BufReader<TcpStream>, each: &mut impl FnMut(&[u8])) {
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a chunk's size");
        let size = u64::from_str_radix(line.trim_end(), 16).expect("a hexadecimal size");
        read_pieces(reader, size, each);
        line.clear();
        reader.read_line(&mut line).expect("the end of a chunk");
        assert_eq!(line, "\r\n");
        if size == 0 {
            return;
        }
    }
}

fn read_pieces(reader: &mut impl Read, mut bytes: u64, each: &mut impl FnMut(&[u8])) {
    let mut piece = vec![0; 64 * 1024];
    while bytes > 0 {
        let most = piece
            .len()
            .min(usize::try_from(bytes).unwrap_or(usize::MAX));
        let length = reader.read(&mut piece[..most]).expect("more of the body");
        assert!(length > 0, "the body ends {bytes} bytes early");
        each(&piece[..length]);
        bytes -= length as u64;
    }
}

fn assert_small(name: &str, bytes: u64) {
    let mib = bytes >> 20;
    println!("{name}: at most {mib} MiB");
    assert!(bytes < RESIDENT_BYTES_MAX, "{name} used {mib} MiB");
}
