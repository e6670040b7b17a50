//! Enough randomness to shuffle.

pub struct Random(u64);

impl Random {
    /// Seeded by the time.
    pub fn new() -> Random {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default();
        Random(now.as_nanos() as u64 | 1)
    }

    pub fn shuffle<T>(&mut self, order: &mut [T]) {
        for index in (1..order.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            order.swap(index, (self.0 % (index as u64 + 1)) as usize);
        }
    }
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_and_loses_nothing() {
        let mut random = Random(1);
        let mut order: Vec<usize> = (0..50).collect();
        random.shuffle(&mut order);
        assert!(order.windows(2).any(|pair| pair[0] > pair[1]));
        order.sort();
        assert!(order.into_iter().eq(0..50));
    }
}
