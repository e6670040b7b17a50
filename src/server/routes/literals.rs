//! Texts to values: few are compared one by one, many are hashed.
//!
//! ```text
//!   "users" ─ hash ─► slots [ – 3 – 0 – – 1 2 ] ─► entries [ ("users", …) ("repos", …) … ]
//! ```
//!
//! The texts are a program's own, so that nobody can choose them to collide.

/// Values by text. None is ever removed.
#[derive(Clone, Debug)]
pub(super) struct Literals<T> {
    /// In the order in which they came.
    entries: Vec<(Box<str>, T)>,
    /// Indexes of entries plus one, 0 where free; at most half are taken. Empty for few entries.
    slots: Box<[u32]>,
}

/// Up to so many are compared one by one, which their lengths decide mostly.
const FEW: usize = 6;

impl<T> Default for Literals<T> {
    fn default() -> Literals<T> {
        Literals {
            entries: Vec::new(),
            slots: Box::default(),
        }
    }
}

impl<T> Literals<T> {
    /// True without texts.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a text.
    #[inline]
    pub(super) fn get(&self, text: &[u8]) -> Option<&T> {
        if self.slots.is_empty() {
            let found = self.entries.iter().find(|(own, _)| is_same(own, text));
            return found.map(|(_, value)| value);
        }
        let at = self.position(text)?;
        Some(&self.entries[at].1)
    }

    /// The value of the first text for which this is true.
    pub(super) fn get_by(&self, is_it: impl Fn(&str) -> bool) -> Option<&T> {
        let found = self.entries.iter().find(|(own, _)| is_it(own));
        found.map(|(_, value)| value)
    }

    /// All values.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, value)| value)
    }

    fn position(&self, text: &[u8]) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash(text) as usize & mask;
        loop {
            let at = self.slots[slot].checked_sub(1)? as usize;
            if is_same(&self.entries[at].0, text) {
                return Some(at);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn occupy(&mut self, at: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = hash(self.entries[at].0.as_bytes()) as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = u32::try_from(at + 1).expect("fewer than four billion texts");
    }
}

impl<T: Default> Literals<T> {
    /// The value of a text, which is added if it is not there.
    pub(super) fn get_or_insert(&mut self, text: &str) -> &mut T {
        let found = match self.slots.is_empty() {
            true => self.entries.iter().position(|(own, _)| **own == *text),
            false => self.position(text.as_bytes()),
        };
        let at = found.unwrap_or_else(|| {
            self.entries.push((text.into(), T::default()));
            let count = self.entries.len();
            if count > FEW && 2 * count > self.slots.len() {
                self.slots = vec![0; (4 * count).next_power_of_two()].into();
                (0..count).for_each(|at| self.occupy(at));
            } else if count > FEW {
                self.occupy(count - 1);
            }
            count - 1
        });
        &mut self.entries[at].1
    }
}

/// Nothing is compared with nothing: an empty string may point to no memory, and reading zero bytes
/// there takes a hundred nanoseconds with the masked loads of AVX-512.
#[inline]
fn is_same(own: &str, text: &[u8]) -> bool {
    own.len() == text.len() && (text.is_empty() || own.as_bytes() == text)
}

/// Of the length and all bytes, eight at a time; the last eight may overlap those before.
#[inline]
fn hash(text: &[u8]) -> u64 {
    let mut hash = text.len() as u64;
    match text.last_chunk::<8>() {
        Some(last) => {
            for chunk in text.chunks_exact(8) {
                let chunk = chunk.first_chunk::<8>().expect("eight bytes");
                hash = mixed(hash, u64::from_le_bytes(*chunk));
            }
            hash = mixed(hash, u64::from_le_bytes(*last));
        }
        None => {
            let word = match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
                (Some(first), Some(last)) => {
                    u64::from(u32::from_le_bytes(*first)) << 32
                        | u64::from(u32::from_le_bytes(*last))
                }
                _ => text
                    .iter()
                    .fold(0, |word, &byte| word << 8 | u64::from(byte)),
            };
            hash = mixed(hash, word);
        }
    }
    hash ^ hash >> 29
}

fn mixed(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_there() {
        for count in 0..200 {
            let texts: Vec<String> = (0..count)
                .map(|index: usize| "abcdefghij".repeat(index % 3) + &index.to_string())
                .collect();
            let mut literals: Literals<usize> = Literals::default();
            for (index, text) in texts.iter().enumerate() {
                *literals.get_or_insert(text) = index;
            }
            for (index, text) in texts.iter().enumerate() {
                assert_eq!(literals.get(text.as_bytes()), Some(&index));
                *literals.get_or_insert(text) = index;
                assert_eq!(literals.get_by(|own| own == text), Some(&index));
            }
            assert!(literals.all().copied().eq(0..count));
            for other in ["", "x", "abcdefghijx", "999"] {
                assert_eq!(literals.get(other.as_bytes()), None);
            }
        }
    }

    #[test]
    fn texts_of_all_lengths_differ() {
        let mut hashes: Vec<u64> = (0..40).map(|length| hash(&vec![b'a'; length])).collect();
        for text in [
            "ab",
            "ba",
            "abcd",
            "abdc",
            "abcdefgh",
            "hgfedcba",
            "abcdefghi",
        ] {
            hashes.push(hash(text.as_bytes()));
        }
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 47);
    }
}
