//! The corpus of the fuzzers, and small changes of it, as an ordinary test.
//!
//! ```text
//!   fuzz/corpus/TARGET/* ──► fuzz/bodies ──► assertions
//!        └── changed in MUTATIONS ways, always the same ──┘
//! ```
//!
//! What once made a fuzzer fail stays in the corpus. New inputs are found by `make fuzz`.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use bodies::Body;
use bodies::splits::Random;

/// Changed inputs of each target.
const MUTATIONS: usize = 400;
/// Files of each target: enough to say something, few enough to run each time.
const FILES: std::ops::RangeInclusive<usize> = 20..=250;
/// Bytes of one file.
const FILE_BYTES_MAX: usize = 4_096;

/// What is put in, where a byte alone rarely says something.
const WORDS: [&[u8]; 17] = [
    b"\r\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"0",
    b"%2e",
    b"HTTP/1.0",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

fn folder(target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("fuzz/corpus").join(target)
}

/// Names and contents, in order.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("a folder that can be read");
            let name = entry.file_name().into_string().expect("a name in ASCII");
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

/// One byte, a word or a piece changed, once or more.
fn changed(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below(bytes.len() - at + 1).min(8);
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = random.number() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let tail = &other[random.below(other.len() + 1)..];
                bytes.splice(at.., tail.iter().copied());
            }
            _ => {
                let word = WORDS[random.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
    bytes
}

fn run(body: Body, name: &str, input: &[u8]) {
    let result = catch_unwind(AssertUnwindSafe(|| body(input)));
    if let Err(panic) = result {
        eprintln!("the input ({name}): {}", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

fn check(target: &str) {
    let found = bodies::TARGETS.iter().find(|(name, _)| *name == target);
    let body = found.expect("a target").1;
    let files = corpus(target);
    assert!(FILES.contains(&files.len()), "{} files", files.len());
    for (name, input) in &files {
        assert!(input.len() <= FILE_BYTES_MAX, "{name} is long");
        run(body, name, input);
    }
    let mut random = Random::of(target.as_bytes());
    for _ in 0..MUTATIONS {
        let (name, input) = &files[random.below(files.len())];
        let other = &files[random.below(files.len())].1;
        let input = changed(&mut random, input, other);
        run(body, name, &input);
    }
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                check(stringify!($target));
            }
        )*

        /// No target is left out, here or among the folders.
        #[test]
        fn all_targets_are_run() {
            let names = bodies::TARGETS.map(|(name, _)| name);
            assert_eq!(names, [$(stringify!($target)),*]);
            let root = folder("..").join("corpus");
            let mut folders: Vec<String> = fs::read_dir(root)
                .expect("the corpus")
                .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
                .collect();
            folders.sort();
            let mut names = names.to_vec();
            names.sort_unstable();
            assert_eq!(folders, names);
        }
    };
}

targets! {
    request_head
    response_head
    chunked
    framing
    target
    range
    multipart
    query
    cookie
    decompress
    proxy_protocol
    server_connection
    client_connection
    differential
}

/// A change does change, and is always the same.
#[test]
fn changes_repeat() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let make = || {
        let mut random = Random::new(7);
        let all: Vec<_> = (0..50)
            .map(|_| changed(&mut random, input, input))
            .collect();
        all
    };
    assert_eq!(make(), make());
    let distinct: std::collections::BTreeSet<_> = make().into_iter().collect();
    assert!(distinct.len() > 30, "{}", distinct.len());
}
