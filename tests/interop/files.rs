//! Files to be served: small ones, and a large one whose every part is known.

use std::fs;
use std::fs::File;
use std::io::Read as _;
use std::io::Seek as _;
use std::io::SeekFrom;
use std::io::Write as _;
use std::path::Path;

use tempfile::TempDir;

/// Length of the large file.
pub const LARGE_BYTES: u64 = 1 << 30;
/// Distance between its patterned blocks; between them it is sparse.
const STRIDE_BYTES: u64 = 8 << 20;
/// Length of a patterned block, odd so that no buffer size divides it.
const BLOCK_BYTES: usize = 1_000_003;

/// A folder with `index.html`, `a.txt`, `numbers.bin` (100 kB) and a folder without an index.
pub fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path();
    fs::write(
        path.join("index.html"),
        "<!doctype html><title>index</title>\n",
    )
    .expect("a file");
    fs::write(path.join("a.txt"), "the letter a\n").expect("a file");
    fs::write(path.join("numbers.bin"), numbers()).expect("a file");
    fs::create_dir(path.join("listed")).expect("a folder");
    fs::write(path.join("listed/one two.txt"), "12").expect("a file");
    folder
}

/// The content of `numbers.bin`.
pub fn numbers() -> Vec<u8> {
    (0..100_000_u32).map(|index| (index % 251) as u8).collect()
}

/// Writes the large file.
pub fn write_large(path: &Path) {
    let mut file = File::create(path).expect("a file");
    file.set_len(LARGE_BYTES).expect("room for 1 GiB");
    let mut block = vec![0; BLOCK_BYTES];
    for start in (0..LARGE_BYTES).step_by(STRIDE_BYTES as usize) {
        let seed = start / STRIDE_BYTES;
        for (index, byte) in block.iter_mut().enumerate() {
            *byte = ((index as u64 * 31 + seed * 17) % 253) as u8;
        }
        file.seek(SeekFrom::Start(start)).expect("a seek");
        file.write_all(&block).expect("a write");
    }
}

/// Compares a stream with a file as it comes.
pub struct Comparison {
    file: File,
    expected: Vec<u8>,
    /// Bytes seen so far.
    pub bytes: u64,
}

impl Comparison {
    pub fn with(path: &Path) -> Comparison {
        Comparison {
            file: File::open(path).expect("the file"),
            expected: Vec::new(),
            bytes: 0,
        }
    }

    pub fn next(&mut self, piece: &[u8]) {
        self.expected.resize(piece.len(), 0);
        self.file
            .read_exact(&mut self.expected)
            .expect("no more than the file has");
        assert!(self.expected == piece, "differs behind byte {}", self.bytes);
        self.bytes += piece.len() as u64;
    }
}
