//! The same bytes in different pieces.
//!
//! ```text
//!   input ──► whole │ byte by byte │ in two, everywhere │ at random ──► one answer
//! ```

use std::fmt::Debug;

/// Up to this length an input is cut in two at every place.
const EVERYWHERE_BYTES_MAX: usize = 48;
/// Ways to cut a longer one at random, and cuts of each.
const RANDOM_WAYS: usize = 4;
const RANDOM_CUTS: usize = 5;

/// The answer to the whole input, after all other ways to cut it gave the same.
pub fn one_answer<T: PartialEq + Debug>(input: &[u8], read: impl Fn(&[&[u8]]) -> T) -> T {
    one_answer_by(input, read, T::eq)
}

/// As [`one_answer`], with another idea of what is the same.
pub fn one_answer_by<T: Debug>(
    input: &[u8],
    read: impl Fn(&[&[u8]]) -> T,
    is_same: impl Fn(&T, &T) -> bool,
) -> T {
    let whole = read(&[input]);
    let check = |pieces: &[&[u8]]| {
        let found = read(pieces);
        let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
        assert!(
            is_same(&found, &whole),
            "{found:?} instead of {whole:?}, in pieces of {lengths:?}: {}",
            input.escape_ascii()
        );
    };
    check(&input.chunks(1).collect::<Vec<_>>());
    if input.len() <= EVERYWHERE_BYTES_MAX {
        for at in 1..input.len() {
            let (head, tail) = input.split_at(at);
            check(&[head, tail]);
        }
        return whole;
    }
    let mut random = Random::of(input);
    for _ in 0..RANDOM_WAYS {
        check(&random.cut(input, RANDOM_CUTS));
    }
    whole
}

/// Numbers that depend on nothing but their seed (xorshift64*).
pub struct Random(u64);

impl Random {
    /// From a number.
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    /// From bytes (FNV-1a).
    pub fn of(bytes: &[u8]) -> Random {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random::new(hash)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() >> 33) as usize % end
    }

    /// The input in up to `cuts` + 1 pieces; some may be empty.
    pub fn cut<'a>(&mut self, input: &'a [u8], cuts: usize) -> Vec<&'a [u8]> {
        let mut places: Vec<usize> = (0..cuts).map(|_| self.below(input.len() + 1)).collect();
        places.sort_unstable();
        let mut pieces = Vec::with_capacity(cuts + 1);
        let mut start = 0;
        for place in places {
            pieces.push(&input[start..place]);
            start = place;
        }
        pieces.push(&input[start..]);
        pieces
    }
}
