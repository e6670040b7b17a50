//! The binary: what it prints, its exit codes, and one clear line for each thing that goes wrong.
#![cfg(feature = "cli")]
#![allow(
    unsafe_code,
    reason = "a system call filter is set between fork and exec, and a terminal is made"
)]

mod cli {
    mod bytes;
    mod exit;
    mod get;
    mod refused;
    mod serve;
}
#[path = "../examples/refuse/filter.rs"]
mod filter;
mod process;

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Output;

use tempfile::TempDir;

/// A folder with one file.
pub fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.txt"), "the letter a\n").expect("a file");
    folder
}

/// One request on a connection of its own; all that comes back.
pub fn request(address: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(head.as_bytes()).expect("the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer");
    answer
}

/// Exit code ≠ 0, nothing on standard output, one line on standard error with all `words`.
pub fn assert_one_line(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is missing: {said}");
    }
}
