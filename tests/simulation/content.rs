//! What bodies are made of: both ends know every byte from the number of the request.
//!
//! ```text
//!   (number, direction) ─► place in one table of noise ─► any length from there: one slice
//! ```

use std::sync::OnceLock;

use roundtrip::simulation::Random;

/// Longest body.
pub const BYTES_MAX: usize = 256 * 1024;
/// Places at which a body can begin.
const PLACES: usize = 256 * 1024;
const SEED: u64 = 0x726f_756e_6474_7269;

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// The first `len` bytes of a body.
pub fn of(id: u32, way: Way, len: usize) -> &'static [u8] {
    part(id, way, 0, len)
}

/// `len` bytes of a body from `offset` on.
pub fn part(id: u32, way: Way, offset: usize, len: usize) -> &'static [u8] {
    assert!(offset + len <= BYTES_MAX, "a body is not as long");
    let start = place(id, way) + offset;
    &table()[start..start + len]
}

/// Where the body of a request begins: a mix of its number, so that neighbours are far apart.
fn place(id: u32, way: Way) -> usize {
    let mixed =
        (u64::from(id) << 1 | u64::from(way == Way::Up)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize % PLACES
}

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = Random::new(SEED);
        (0..(PLACES + BYTES_MAX) / 8)
            .flat_map(|_| random.number().to_le_bytes())
            .collect()
    })
}
